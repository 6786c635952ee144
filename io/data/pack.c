/* io/data/pack.c: cache files.
 *
 * Integers are little-endian.
 *    0  "dltpack" NUL        80  u64 bytes of records
 *    8  u64 version          88  u64 1 if records are there
 *   16  key[32]              96  u64 bytes of meta
 *   48  stamp[32]           104  digest[32] of bytes 0..103, the page checks and the meta
 * Page 1 and on: records, the last page filled with zeros. Then a u32 check for each of these pages, then the
 * meta. */
#include "io/data/pack.h"

#include "base/alloc.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { VERSION = 1, HEADER_BYTES = 136, DIGESTED_BYTES = 104, BUFFER_PAGES = 256, MOST_META_BYTES = 1 << 30 };
static const char magic[8] = {'d', 'l', 't', 'p', 'a', 'c', 'k', '\0'};

struct dlt_pack {
    char *path;
    int fd;
    int64_t bytes; /* of records */
    uint32_t *checks;
    unsigned char *meta;
    size_t meta_bytes;
};

struct dlt_pack_writer {
    char *folder, *path, *temporary;
    int fd;
    uint8_t key[DLT_SHA256_BYTES], stamp[DLT_SHA256_BYTES];
    bool has_records;
    int64_t bytes;
    uint64_t pages; /* written */
    dlt_buf checks; /* u32 of each but the first */
    size_t filled;  /* of buffer */
    unsigned char buffer[BUFFER_PAGES * DLT_PACK_PAGE];
};

/* Checksum of a page at its place: four independent lanes of multiply and rotate, so that it costs little
 * more than reading. */
static uint32_t check_of(const unsigned char *page, uint64_t number)
{
    uint64_t lane[4] = {number ^ 0x243F6A8885A308D3u, 0x13198A2E03707344u, 0xA4093822299F31D0u,
                        0x082EFA98EC4E6C89u};
    for (size_t i = 0; i < DLT_PACK_PAGE; i += 32) {
        for (size_t k = 0; k < 4; k++) {
            uint64_t word;
            memcpy(&word, page + i + 8 * k, sizeof word);
            lane[k] = (lane[k] ^ word) * 0x9E3779B97F4A7C15u;
            lane[k] = lane[k] << 29 | lane[k] >> 35;
        }
    }
    uint64_t all = lane[0];
    for (size_t k = 1; k < 4; k++) {
        all = (all ^ lane[k]) * 0xD6E8FEB86659FD93u;
        all ^= all >> 32;
    }
    return (uint32_t)(all ^ all >> 32);
}

/* ---- content ---- */

void dlt_content_begin(dlt_content *c)
{
    dlt_sha256_init(&c->sha);
    c->pages = c->filled = 0;
}

static void add_check(dlt_sha256 *sha, uint32_t check)
{
    const unsigned char bytes[4] = {(unsigned char)check, (unsigned char)(check >> 8), (unsigned char)(check >> 16),
                                    (unsigned char)(check >> 24)};
    dlt_sha256_update(sha, bytes, sizeof bytes);
}

void dlt_content_add(dlt_content *c, const unsigned char *records, size_t bytes)
{
    while (bytes > 0) {
        if (c->filled == 0 && bytes >= DLT_PACK_PAGE) { /* where it lies */
            add_check(&c->sha, check_of(records, c->pages++));
            records += DLT_PACK_PAGE;
            bytes -= DLT_PACK_PAGE;
            continue;
        }
        const size_t n = bytes < DLT_PACK_PAGE - c->filled ? bytes : DLT_PACK_PAGE - c->filled;
        memcpy(c->page + c->filled, records, n);
        c->filled += n;
        records += n;
        bytes -= n;
        if (c->filled == DLT_PACK_PAGE) {
            add_check(&c->sha, check_of(c->page, c->pages++));
            c->filled = 0;
        }
    }
}

void dlt_content_end(dlt_content *c, uint8_t digest[DLT_SHA256_BYTES])
{
    if (c->filled > 0) {
        memset(c->page + c->filled, 0, DLT_PACK_PAGE - c->filled);
        add_check(&c->sha, check_of(c->page, c->pages++));
    }
    dlt_sha256_final(&c->sha, digest);
}

static void put_u64(unsigned char *at, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        at[i] = (unsigned char)(value >> (8 * i));
    }
}

static uint64_t get_u64(const unsigned char *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

static uint32_t get_u32(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static int64_t pages_of(int64_t bytes)
{
    return (bytes + DLT_PACK_PAGE - 1) / DLT_PACK_PAGE;
}

/* ---- names ---- */

bool dlt_pack_folder(const char *chosen, char **folder)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    dlt_buf path = {0};
    if (chosen != NULL) {
        dlt_buf_string(&path, chosen);
    } else if (base != NULL &&
               base[0] == '/') { /* a relative one is to be ignored: XDG base directory specification */
        dlt_buf_printf(&path, "%s/dltrain", base);
    } else if (home != NULL && home[0] == '/') {
        dlt_buf_printf(&path, "%s/.cache/dltrain", home);
    }
    *folder = path.data;
    if (path.failed) {
        dlt_buf_release(&path);
        *folder = NULL;
        return false;
    }
    return true;
}

/* FOLDER/NAME-0123456789abcdef.pack; free with dlt_free. */
static char *path_of(const char *folder, const dlt_pack_key *key)
{
    enum { NAME_BYTES = 40, DIGITS = 16 };
    char hex[DLT_SHA256_HEX];
    dlt_buf path = {0};
    dlt_buf_printf(&path, "%s/", folder);
    for (size_t i = 0; i < NAME_BYTES && key->name[i] != '\0'; i++) {
        const char c = key->name[i];
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                           (c == '.' && i > 0) || c == '-' || c == '_';
        dlt_buf_char(&path, plain ? c : '_');
    }
    dlt_sha256_hex(key->key, hex);
    dlt_buf_printf(&path, "-%.*s.pack", DIGITS, hex);
    if (path.failed) {
        dlt_buf_release(&path);
        return NULL;
    }
    return path.data;
}

static const char *host_name(struct utsname *names)
{
    return uname(names) == 0 ? names->nodename : "localhost";
}

/* Unlinks temporary files whose process on this machine is gone. */
static void clear_leftovers(const char *folder)
{
    struct utsname names;
    const char *host = host_name(&names);
    DIR *listing = opendir(folder);
    if (listing == NULL) {
        return;
    }
    for (const struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        const char *mark = strstr(entry->d_name, ".pack.tmp-");
        const char *dash = strrchr(entry->d_name, '-');
        if (mark == NULL || dash == NULL || dash < mark + 10) {
            continue;
        }
        const char *owner = mark + 10;
        const bool ours =
            strlen(host) == (size_t)(dash - owner) && memcmp(owner, host, (size_t)(dash - owner)) == 0;
        char *end = NULL;
        errno = 0;
        const long pid = strtol(dash + 1, &end, 10);
        if (!ours || errno != 0 || end == dash + 1 || *end != '\0' || pid <= 0 ||
            (kill((pid_t)pid, 0) == 0 || errno != ESRCH)) {
            continue;
        }
        char *path = dlt_path_join(folder, entry->d_name);
        if (path != NULL) {
            dlt_file()->unlink(path); /* if it cannot be, it stays: nobody reads it */
            dlt_free(path);
        }
    }
    closedir(listing);
}

/* ---- reading ---- */

void dlt_pack_close(dlt_pack *pack)
{
    if (pack == NULL) {
        return;
    }
    if (pack->fd >= 0) {
        dlt_file()->close(pack->fd); /* only read from */
    }
    dlt_free(pack->path);
    dlt_free(pack->checks);
    dlt_free(pack->meta);
    dlt_free(pack);
}

/* Fills in the pack; *why is set when the file will not do. */
static dlt_status read_front(dlt_pack *pack, int64_t size, const dlt_pack_key *key, bool want_records,
                             const char **why, dlt_diag *diag)
{
    unsigned char header[HEADER_BYTES];
    uint8_t digest[DLT_SHA256_BYTES];
    dlt_sha256 sha;
    *why = "is damaged";
    if (size < HEADER_BYTES) {
        return DLT_OK;
    }
    DLT_TRY(dlt_file_read_at(pack->fd, pack->path, header, sizeof header, 0, DLT_E_DATA, diag));
    if (memcmp(header, magic, sizeof magic) != 0 || get_u64(header + 8) != VERSION ||
        memcmp(header + 16, key->key, sizeof key->key) != 0) {
        *why = "was written by another version";
        return DLT_OK;
    }
    const uint64_t bytes = get_u64(header + 80), meta_bytes = get_u64(header + 96);
    if (bytes > (uint64_t)size || meta_bytes > (uint64_t)size || meta_bytes > MOST_META_BYTES) {
        return DLT_OK;
    }
    const int64_t pages = pages_of((int64_t)bytes), checks_at = DLT_PACK_PAGE + pages * DLT_PACK_PAGE;
    const size_t check_bytes = (size_t)pages * 4;
    if (checks_at + (int64_t)check_bytes + (int64_t)meta_bytes != size) {
        return DLT_OK;
    }
    pack->bytes = (int64_t)bytes;
    pack->meta_bytes = (size_t)meta_bytes;
    pack->meta = dlt_alloc(pack->meta_bytes);
    pack->checks = dlt_alloc(check_bytes);
    if (pack->meta == NULL || pack->checks == NULL) {
        return dlt_fail_memory(diag);
    }
    unsigned char *raw = (unsigned char *)pack->checks;
    DLT_TRY(dlt_file_read_at(pack->fd, pack->path, raw, check_bytes, checks_at, DLT_E_DATA, diag));
    DLT_TRY(dlt_file_read_at(pack->fd, pack->path, pack->meta, pack->meta_bytes,
                             checks_at + (int64_t)check_bytes, DLT_E_DATA, diag));
    dlt_sha256_init(&sha);
    dlt_sha256_update(&sha, header, DIGESTED_BYTES);
    dlt_sha256_update(&sha, raw, check_bytes);
    dlt_sha256_update(&sha, pack->meta, pack->meta_bytes);
    dlt_sha256_final(&sha, digest);
    if (memcmp(digest, header + DIGESTED_BYTES, sizeof digest) != 0) {
        return DLT_OK;
    }
    for (int64_t i = 0; i < pages; i++) {
        pack->checks[i] = get_u32(raw + 4 * i);
    }
    if (memcmp(header + 48, key->stamp, sizeof key->stamp) != 0) {
        *why = "is of an older state";
        return DLT_OK;
    }
    *why = want_records && header[88] == 0 ? "" : NULL; /* "": nothing is wrong with it */
    return DLT_OK;
}

dlt_status dlt_pack_open(const char *folder, const dlt_pack_key *key, bool want_records, dlt_pack **pack,
                         dlt_diag *diag)
{
    struct stat seen;
    int64_t size = 0;
    const char *why = NULL;
    *pack = NULL;
    dlt_pack *p = dlt_alloc_zeroed(1, sizeof *p);
    if (p == NULL) {
        return dlt_fail_memory(diag);
    }
    p->fd = -1;
    p->path = path_of(folder, key);
    if (p->path == NULL) {
        dlt_free(p);
        return dlt_fail_memory(diag);
    }
    if (dlt_file()->stat(p->path, &seen) != 0) {
        dlt_pack_close(p);
        return DLT_OK;
    }
    dlt_status status = dlt_file_open_read(p->path, DLT_E_DATA, (dlt_pos){0}, &p->fd, &size, diag);
    if (status == DLT_OK) {
        status = read_front(p, size, key, want_records, &why, diag);
    }
    if (status == DLT_OK && why != NULL && why[0] != '\0') {
        dlt_note(diag, (dlt_pos){0}, "%s: the packed copy '%s' %s; packing it anew", key->what, p->path, why);
    }
    if (status != DLT_OK || why != NULL) {
        dlt_pack_close(p);
        return status;
    }
    *pack = p;
    return DLT_OK;
}

const char *dlt_pack_path(const dlt_pack *pack)
{
    return pack->path;
}

const void *dlt_pack_meta(const dlt_pack *pack, size_t *bytes)
{
    *bytes = pack->meta_bytes;
    return pack->meta;
}

int64_t dlt_pack_bytes(const dlt_pack *pack)
{
    return pack->bytes;
}

void dlt_pack_content(const dlt_pack *pack, uint8_t digest[DLT_SHA256_BYTES])
{
    dlt_sha256 sha;
    dlt_sha256_init(&sha);
    for (int64_t i = 0; i < pages_of(pack->bytes); i++) {
        add_check(&sha, pack->checks[i]);
    }
    dlt_sha256_final(&sha, digest);
}

size_t dlt_pack_room(size_t bytes)
{
    return (bytes + 2 * (size_t)DLT_PACK_PAGE - 2) / DLT_PACK_PAGE * DLT_PACK_PAGE;
}

dlt_status dlt_pack_read(const dlt_pack *pack, int64_t from, size_t bytes, unsigned char *pages,
                         const unsigned char **at, dlt_diag *diag)
{
    const int64_t first = from / DLT_PACK_PAGE, last = (from + (int64_t)bytes - 1) / DLT_PACK_PAGE;
    const size_t many = (size_t)(last - first + 1);
    DLT_TRY(dlt_file_read_at(pack->fd, pack->path, pages, many * DLT_PACK_PAGE, (1 + first) * DLT_PACK_PAGE,
                             DLT_E_DATA, diag));
    for (size_t i = 0; i < many; i++) {
        if (check_of(pages + i * DLT_PACK_PAGE, (uint64_t)first + i) != pack->checks[first + (int64_t)i]) {
            return dlt_fail(
                diag, DLT_E_DATA, (dlt_pos){0},
                "the cache file '%s' is damaged in its page %lld; delete it, and it is packed anew",
                pack->path, (long long)(first + (int64_t)i));
        }
    }
    *at = pages + (from - first * DLT_PACK_PAGE);
    return DLT_OK;
}

/* ---- writing ---- */

static dlt_status cannot_write(const dlt_pack_writer *writer, dlt_diag *diag)
{
    return dlt_fail(diag, DLT_E_DATA, (dlt_pos){0},
                    "cannot write the packed copy '%s': %s; data.cache names another folder, data.memory the "
                    "bytes that are kept "
                    "in memory instead",
                    writer->temporary, strerror(errno));
}

void dlt_pack_abort(dlt_pack_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    if (writer->fd >= 0) {
        dlt_file()->close(writer->fd);
        dlt_file()->unlink(writer->temporary);
    }
    dlt_free(writer->folder);
    dlt_free(writer->path);
    dlt_free(writer->temporary);
    dlt_buf_release(&writer->checks);
    dlt_free(writer);
}

dlt_status dlt_pack_create(const char *folder, const dlt_pack_key *key, dlt_pack_writer **writer,
                           dlt_diag *diag)
{
    struct utsname names;
    dlt_buf temporary = {0};
    *writer = NULL;
    dlt_pack_writer *w = dlt_alloc_zeroed(1, sizeof *w);
    if (w == NULL) {
        return dlt_fail_memory(diag);
    }
    w->fd = -1;
    w->folder = dlt_path_join("", folder);
    w->path = path_of(folder, key);
    memcpy(w->key, key->key, sizeof w->key);
    memcpy(w->stamp, key->stamp, sizeof w->stamp);
    dlt_buf_printf(&temporary, "%s.tmp-%s-%ld", w->path != NULL ? w->path : "", host_name(&names),
                   (long)getpid());
    w->temporary = temporary.data;
    if (w->folder == NULL || w->path == NULL || temporary.failed) {
        dlt_pack_abort(w);
        return dlt_fail_memory(diag);
    }
    dlt_status status = dlt_file_make_folders(folder, false, DLT_E_DATA, diag);
    if (status == DLT_OK) {
        clear_leftovers(folder);
        const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
        w->fd = dlt_file()->open(w->temporary, flags, 0600);
        if (w->fd < 0 && errno == EEXIST) { /* left by a process that had our number */
            dlt_file()->unlink(w->temporary);
            w->fd = dlt_file()->open(w->temporary, flags, 0600);
        }
        status = w->fd >= 0 ? DLT_OK : cannot_write(w, diag);
    }
    if (status == DLT_OK) {
        w->filled = DLT_PACK_PAGE; /* the header's page, written again when all is known */
        *writer = w;
    } else {
        dlt_pack_abort(w);
    }
    return status;
}

static dlt_status write_all(dlt_pack_writer *w, const void *data, size_t bytes, dlt_diag *diag)
{
    const char *at = data;
    while (bytes > 0) {
        const ssize_t n = dlt_file()->write(w->fd, at, bytes);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return cannot_write(w, diag);
        }
        at += n;
        bytes -= (size_t)n;
    }
    return DLT_OK;
}

/* Writes the buffer's whole pages, which end it, and notes their checks; page 0, the header, has none. */
static dlt_status flush(dlt_pack_writer *w, dlt_diag *diag)
{
    for (size_t i = 0; i * DLT_PACK_PAGE < w->filled; i++, w->pages++) {
        if (w->pages > 0) {
            const uint32_t check = check_of(w->buffer + i * DLT_PACK_PAGE, w->pages - 1);
            const char bytes[4] = {(char)(check & 0xff), (char)(check >> 8 & 0xff),
                                   (char)(check >> 16 & 0xff), (char)(check >> 24)};
            dlt_buf_append(&w->checks, bytes, sizeof bytes);
        }
    }
    if (w->checks.failed) {
        return dlt_fail_memory(diag);
    }
    DLT_TRY(write_all(w, w->buffer, w->filled, diag));
    w->filled = 0;
    return DLT_OK;
}

dlt_status dlt_pack_append(dlt_pack_writer *w, const void *data, size_t bytes, dlt_diag *diag)
{
    const unsigned char *at = data;
    w->has_records = true;
    w->bytes += (int64_t)bytes;
    while (bytes > 0) {
        const size_t room = sizeof w->buffer - w->filled, n = bytes < room ? bytes : room;
        memcpy(w->buffer + w->filled, at, n);
        w->filled += n;
        at += n;
        bytes -= n;
        if (w->filled == sizeof w->buffer) {
            DLT_TRY(flush(w, diag));
        }
    }
    return DLT_OK;
}

static dlt_status write_end(dlt_pack_writer *w, const void *meta, size_t meta_bytes, dlt_diag *diag)
{
    unsigned char header[HEADER_BYTES] = {0};
    dlt_sha256 sha;
    const size_t odd = w->filled % DLT_PACK_PAGE;
    if (odd > 0) {
        memset(w->buffer + w->filled, 0, DLT_PACK_PAGE - odd);
        w->filled += DLT_PACK_PAGE - odd;
    }
    DLT_TRY(flush(w, diag));
    memcpy(header, magic, sizeof magic);
    put_u64(header + 8, VERSION);
    memcpy(header + 16, w->key, sizeof w->key);
    memcpy(header + 48, w->stamp, sizeof w->stamp);
    put_u64(header + 80, (uint64_t)w->bytes);
    put_u64(header + 88, w->has_records);
    put_u64(header + 96, meta_bytes);
    dlt_sha256_init(&sha);
    dlt_sha256_update(&sha, header, DIGESTED_BYTES);
    dlt_sha256_update(&sha, dlt_buf_text(&w->checks), w->checks.length);
    dlt_sha256_update(&sha, meta, meta_bytes);
    dlt_sha256_final(&sha, header + DIGESTED_BYTES);
    DLT_TRY(write_all(w, dlt_buf_text(&w->checks), w->checks.length, diag));
    DLT_TRY(write_all(w, meta, meta_bytes, diag));
    for (size_t done = 0; done < sizeof header;) {
        const ssize_t n = dlt_file()->pwrite(w->fd, header + done, sizeof header - done, (off_t)done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return cannot_write(w, diag);
        }
        done += (size_t)n;
    }
    if (dlt_file()->fsync(w->fd) != 0) {
        return cannot_write(w, diag);
    }
    return DLT_OK;
}

dlt_status dlt_pack_finish(dlt_pack_writer *w, const void *meta, size_t meta_bytes, dlt_diag *diag)
{
    dlt_status status = write_end(w, meta, meta_bytes, diag);
    if (status == DLT_OK) {
        const int fd = w->fd;
        w->fd = -1;
        if (dlt_file()->close(fd) != 0 || dlt_file()->rename(w->temporary, w->path) != 0) {
            status = cannot_write(w, diag);
            dlt_file()->unlink(w->temporary);
        } else {
            status = dlt_file_sync_folder(w->folder, DLT_E_DATA, diag);
        }
    }
    dlt_pack_abort(w);
    return status;
}
