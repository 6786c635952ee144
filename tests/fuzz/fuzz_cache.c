/* tests/fuzz/fuzz_cache.c: cache files: what was learnt from a source and its packed records, with checks and
 * digest that are right. Input: u8 flags (1: the digest is wrong, 2: a page's check is wrong, 4: cut short),
 * u32 bytes of what was learnt, that, the records.
 *
 * DLT_WRITE_SEEDS=FOLDER in the environment writes the cache file of the source itself as a seed. */
#include "fuzz/h5_fuzz.h"

#include "io/data/pack.h"

#include <fcntl.h>

enum { HEADER = 136, DIGESTED = 104, FOLDER_FILE = 3 };

static const char table[] = "size,colour,kind\n1.5,red,a\n2,green,b\n,red,a\n-4e3,blue,b\n";

/* What the program itself writes for the table: key and stamp are taken from it. */
static dlt_buf real;
static bool writing;

static bool in_folder(const char *path)
{
    return strncmp(path, "/nowhere/", 9) == 0;
}

static int cache_open(const char *path, int flags, mode_t mode)
{
    if (writing && ((in_folder(path) && (flags & O_CREAT) != 0) || (flags & O_DIRECTORY) != 0)) { /* a folder to be synced */
        return FUZZ_FD + FOLDER_FILE;
    }
    return fuzz_open(in_folder(path) && (flags & O_CREAT) == 0 && fuzz_files[FOLDER_FILE].size > 0 ? "mem:3"
                                                                                                   : path,
                     flags, mode);
}

static int cache_stat(const char *path, struct stat *status)
{
    return fuzz_stat(in_folder(path) && fuzz_files[FOLDER_FILE].size > 0 ? "mem:3" : path, status);
}

static int cache_mkdir(const char *path, mode_t mode)
{
    return writing ? 0 : fuzz_mkdir(path, mode);
}

static ssize_t cache_pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    FUZZ_CLAIM(fd == FUZZ_FD + FOLDER_FILE);
    while (real.length < (size_t)offset + bytes) {
        dlt_buf_char(&real, '\0');
    }
    memcpy(real.data + offset, data, bytes);
    return (ssize_t)bytes;
}

static ssize_t cache_write(int fd, const void *data, size_t bytes)
{
    return cache_pwrite(fd, data, bytes, (off_t)real.length);
}

static int succeed(int fd)
{
    (void)fd;
    return 0;
}

static int rename_none(const char *from, const char *to)
{
    (void)from;
    (void)to;
    return 0;
}

static int unlink_none(const char *path)
{
    (void)path;
    return 0;
}

static void install(void)
{
    static dlt_file_ops ops;
    ops = *dlt_file();
    ops.open = cache_open;
    ops.stat = cache_stat;
    ops.mkdir = cache_mkdir;
    ops.write = cache_write;
    ops.pwrite = cache_pwrite;
    ops.fsync = succeed;
    ops.rename = rename_none;
    ops.rename_new = rename_none;
    ops.unlink = unlink_none;
    dlt_file_install(&ops);
}

/* As check_of in io/data/pack.c: they change together. */
static uint32_t check_of(const unsigned char *page, uint64_t number)
{
    uint64_t lane[4] = {number ^ 0x243F6A8885A308D3u, 0x13198A2E03707344u, 0xA4093822299F31D0u,
                        0x082EFA98EC4E6C89u};
    for (size_t i = 0; i < DLT_PACK_PAGE; i += 8) {
        uint64_t word = 0, *at = &lane[i / 8 % 4];
        memcpy(&word, page + i, sizeof word);
        *at = (*at ^ word) * 0x9E3779B97F4A7C15u;
        *at = *at << 29 | *at >> 35;
    }
    uint64_t all = lane[0];
    for (size_t k = 1; k < 4; k++) {
        all = (all ^ lane[k]) * 0xD6E8FEB86659FD93u;
        all ^= all >> 32;
    }
    return (uint32_t)(all ^ all >> 32);
}

static void put_u64(char *at, uint64_t value)
{
    memcpy(at, &value, sizeof value); /* tests run on little-endian machines alone */
}

/* A cache file of the table with these records and this meta. */
static void make_pack(unsigned flags, const void *meta, size_t meta_bytes, const void *records, size_t bytes,
                      dlt_buf *out)
{
    uint8_t digest[DLT_SHA256_BYTES];
    dlt_sha256 sha;
    const size_t pages = (bytes + DLT_PACK_PAGE - 1) / DLT_PACK_PAGE;
    dlt_buf_append(out, real.data, DLT_PACK_PAGE);
    put_u64(out->data + 80, bytes);
    put_u64(out->data + 88, 1);
    put_u64(out->data + 96, meta_bytes);
    dlt_buf_append(out, records, bytes);
    while (out->length < (1 + pages) * DLT_PACK_PAGE) {
        dlt_buf_char(out, '\0');
    }
    for (size_t i = 0; i < pages; i++) {
        const uint32_t check =
            check_of((unsigned char *)out->data + (1 + i) * DLT_PACK_PAGE, i) ^ (flags >> 1 & 1);
        dlt_buf_append(out, (const char *)&check, sizeof check);
    }
    dlt_buf_append(out, meta, meta_bytes);
    FUZZ_CLAIM(!out->failed);
    dlt_sha256_init(&sha);
    dlt_sha256_update(&sha, out->data, DIGESTED);
    dlt_sha256_update(&sha, out->data + (1 + pages) * DLT_PACK_PAGE,
                      out->length - (1 + pages) * DLT_PACK_PAGE);
    dlt_sha256_final(&sha, digest);
    digest[0] ^= flags & 1;
    memcpy(out->data + DIGESTED, digest, sizeof digest);
    out->length -= (flags & 4) != 0;
}

static dlt_dataset *open_table(data_fixture *f, uint64_t memory, dlt_depth depth)
{
    const dlt_item *item =
        data_item(f, &dlt_source_category, "CSV", "path", "mem:0", "header", "true", "target", "kind", NULL);
    const dlt_dataset_options options = {.memory = memory, .cache = "/nowhere", .threads = 1};
    dlt_dataset *ds = NULL;
    const dlt_status status = dlt_dataset_open(item, depth, &options, &ds, f->diag);
    fuzz_claim_messages(f->diag, status);
    dlt_diag_reset(f->diag);
    return status == DLT_OK ? ds : NULL;
}

static void write_seed(const char *folder)
{
    char path[4096];
    uint64_t bytes = 0, meta_bytes = 0;
    memcpy(&bytes, real.data + 80, 8);
    memcpy(&meta_bytes, real.data + 96, 8);
    snprintf(path, sizeof path, "%s/table", folder);
    FILE *file = fopen(path, "wb");
    FUZZ_CLAIM(file != NULL);
    const uint32_t length = (uint32_t)meta_bytes;
    FUZZ_CLAIM(fputc(0, file) == 0 && fwrite(&length, 1, 4, file) == 4 &&
               fwrite(real.data + real.length - meta_bytes, 1, meta_bytes, file) == meta_bytes &&
               fwrite(real.data + DLT_PACK_PAGE, 1, bytes, file) == bytes && fclose(file) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    data_fixture f;
    fuzz_input in = {data, size};
    size_t meta_bytes = 0, bytes = 0;
    const unsigned choice = fuzz_choice(data, size);
    fuzz_begin(&f);
    install();
    fuzz_put_file(0, (const uint8_t *)table, sizeof table - 1);
    fuzz_put_file(FOLDER_FILE, NULL, 0);
    if (real.length == 0) {
        writing = true;
        dlt_dataset_close(open_table(&f, 1, DLT_DEPTH_LOAD));
        writing = false;
        FUZZ_CLAIM(real.length > DLT_PACK_PAGE && memcmp(real.data, "dltpack", 8) == 0);
        if (getenv("DLT_WRITE_SEEDS") != NULL) {
            write_seed(getenv("DLT_WRITE_SEEDS"));
        }
    }
    const unsigned flags = (unsigned)fuzz_next(&in, 1);
    const uint8_t *meta = fuzz_take(&in, fuzz_next(&in, 4), &meta_bytes);
    const uint8_t *records = fuzz_take(&in, in.left, &bytes);
    dlt_buf pack = {0};
    make_pack(flags, meta, meta_bytes, records, bytes, &pack);
    fuzz_put_file(FOLDER_FILE, (const uint8_t *)pack.data, pack.length);
    dlt_dataset *ds =
        open_table(&f, choice % 2 == 0 ? 1 : 1 << 20, choice / 2 % 4 == 0 ? DLT_DEPTH_SCAN : DLT_DEPTH_LOAD);
    dlt_reader *reader = NULL;
    if (ds != NULL && choice / 2 % 4 != 0 && dlt_reader_create(ds, 4, &reader, f.diag) == DLT_OK) {
        const dlt_record_layout *layout = &dlt_dataset_frame(ds)->layout;
        void **columns = calloc(layout->count, sizeof *columns);
        FUZZ_CLAIM(columns != NULL);
        for (size_t i = 0; i < layout->count; i++) {
            columns[i] = calloc(4, dlt_part_bytes(&layout->parts[i]));
            FUZZ_CLAIM(columns[i] != NULL);
        }
        for (int64_t row = 0; row < dlt_dataset_count(ds) && row < 64; row++) {
            const dlt_status status = dlt_reader_read(reader, &row, 1, columns, f.diag);
            fuzz_claim_messages(f.diag, status);
            dlt_diag_reset(f.diag);
            for (size_t i = 0; status == DLT_OK && i < layout->count; i++) { /* codes are indexed with */
                const dlt_part *part = &layout->parts[i];
                const int32_t code = part->type == DLT_COLUMN_TEXT ? *(const int32_t *)columns[i] : 0;
                FUZZ_CLAIM(part->type != DLT_COLUMN_TEXT || (code >= DLT_CODE_UNSEEN && code < part->dictionary->count));
            }
        }
        for (size_t i = 0; i < layout->count; i++) {
            free(columns[i]);
        }
        free(columns);
    }
    dlt_reader_destroy(reader);
    dlt_dataset_close(ds);
    dlt_buf_release(&pack);
    fuzz_end(&f);
    return 0;
}
