/* tests/fuzz/fuzz_checkpoint.c: a stranger's checkpoint whose digests are right: what lies behind them must
 * hold by itself.
 *
 * The input lists the objects of the file; manifest, digests, table and bytes are made from it, so that
 * mutations get past them. Then the file is opened as evaluate and predict open it: manifest, values,
 * progress, config, frame, what was fitted; and for some of the inputs a session is built, the weights are
 * loaded, and rows are predicted.
 *
 *   u8 flags: 1 no manifest (a file of Keras), 2 the manifest's own digest is wrong
 *   records: u8 kind, u8 bytes of the path, path, ...
 *     kind & 3: 0 group    u8 bytes, its name
 *               1 dataset  u8 type, u8 rank, u16 dimensions, u16 bytes, values (cut or filled with zeros)
 *               2 line     u16 bytes, put into the manifest as it is
 *               3 rows     u16 bytes, what predict reads
 *     kind & 64: not in the manifest; kind & 32: its digest is wrong */
#include "fuzz/h5_fuzz.h"

#include "cmd/catalogue.h"
#include "io/h5/checkpoint_internal.h"
#include "trainer/model.h"
#include "trainer/predict.h"

#include <string.h>

enum { MOST_ENTRIES = 200, MOST_VALUES = 1 << 16, NO_MANIFEST = 1, WRONG_DIGEST = 2 };

typedef struct entry {
    char path[256];
    bool group;
    dlt_dtype type;
    dlt_shape shape;
    size_t offset, bytes;
    bool told;   /* a group: in the table already */
    bool listed; /* a dataset: with the right digest */
} entry;

static struct made {
    entry entries[MOST_ENTRIES];
    size_t count;
    dlt_buf file, manifest;
    const uint8_t *rows;
    size_t row_bytes;
} made;

static entry *find(const char *path, size_t length)
{
    for (size_t i = 0; i < made.count; i++) {
        if (strlen(made.entries[i].path) == length && memcmp(made.entries[i].path, path, length) == 0) {
            return &made.entries[i];
        }
    }
    return NULL;
}

static entry *append(const char *path, size_t length, bool group)
{
    if (made.count == MOST_ENTRIES) {
        return NULL;
    }
    entry *e = &made.entries[made.count++];
    memset(e, 0, sizeof *e);
    memcpy(e->path, path, length);
    e->group = group;
    return e;
}

/* A new object and the groups above it; NULL where its path is impossible or taken. The child's own checks of
 * paths are tried by fuzz_h5_table. */
static entry *add(const char *path, size_t length, bool group)
{
    if (length < 2 || path[0] != '/' || path[length - 1] == '/' || memchr(path, '\0', length) != NULL ||
        find(path, length) != NULL) {
        return NULL;
    }
    for (size_t i = 1; i < length; i++) {
        if (path[i] == '/' && path[i - 1] == '/') {
            return NULL;
        }
    }
    for (size_t i = 1; i < length; i++) {
        const entry *above = path[i] == '/' ? find(path, i) : NULL;
        if (path[i] == '/' && (above != NULL ? !above->group : append(path, i, true) == NULL)) {
            return NULL;
        }
    }
    return append(path, length, group);
}

static void put_digest(const void *data, size_t bytes, bool wrong, char hex[DLT_SHA256_HEX])
{
    dlt_sha256_of(data, bytes, hex);
    hex[0] = wrong ? (char)(hex[0] == '0' ? '1' : '0') : hex[0];
}

static void add_values(entry *e, const void *data, size_t got)
{
    e->offset = made.file.length;
    dlt_buf_append(&made.file, data, got);
    for (size_t i = got; i < e->bytes; i++) {
        dlt_buf_char(&made.file, '\0');
    }
}

static void add_group(fuzz_input *in, unsigned kind, const char *path, size_t length)
{
    size_t bytes = 0;
    const char *name = (const char *)fuzz_take(in, fuzz_next(in, 1), &bytes);
    entry *e = add(path, length, true);
    if (e == NULL) {
        return;
    }
    e->told = true;
    fuzz_group(e->path, name, bytes);
    if ((kind & 64) == 0) {
        dlt_buf_printf(&made.manifest, "group\t%s\t", e->path);
        dlt_buf_append(&made.manifest, name, bytes);
        dlt_buf_char(&made.manifest, '\n');
    }
}

static void add_dataset(fuzz_input *in, unsigned kind, const char *path, size_t length)
{
    char hex[DLT_SHA256_HEX];
    const dlt_dtype type = (dlt_dtype)(fuzz_next(in, 1) % DLT_DTYPE_COUNT);
    dlt_shape shape = {.rank = (int)(fuzz_next(in, 1) % (DLT_MAX_RANK + 1))};
    for (int i = 0; i < shape.rank; i++) {
        shape.dim[i] = (int64_t)fuzz_next(in, 2);
    }
    size_t got = 0;
    const uint8_t *data = fuzz_take(in, fuzz_next(in, 2), &got);
    const int64_t count = dlt_shape_count(&shape);
    if (count < 0 || count > MOST_VALUES) {
        return;
    }
    entry *e = add(path, length, false);
    if (e == NULL) {
        return;
    }
    e->type = type;
    e->shape = shape;
    e->bytes = (size_t)count * dlt_dtype_size(type);
    add_values(e, data, got < e->bytes ? got : e->bytes);
    fuzz_dataset(e->path, type, &shape, e->offset);
    if ((kind & 64) == 0) {
        put_digest(made.file.data + e->offset, e->bytes, (kind & 32) != 0, hex);
        dlt_buf_printf(&made.manifest, "dataset\t%s\t%s\t[", e->path, dlt_dtype_name(type));
        for (int i = 0; i < shape.rank; i++) {
            dlt_buf_printf(&made.manifest, "%s%lld", i > 0 ? "," : "", (long long)shape.dim[i]);
        }
        dlt_buf_printf(&made.manifest, "]\t%s\n", hex);
        e->listed = (kind & 32) == 0;
    }
}

static void add_bytes(const char *path, const void *data, size_t bytes)
{
    entry *e = add(path, strlen(path), false);
    if (e != NULL) {
        e->type = DLT_U8;
        e->shape = DLT_SHAPE((int64_t)bytes);
        e->bytes = bytes;
        add_values(e, data, bytes);
        fuzz_dataset(e->path, DLT_U8, &e->shape, e->offset);
    }
}

static void make_file(fuzz_input *in)
{
    uint8_t digest[DLT_SHA256_BYTES];
    dlt_sha256 sha;
    made.count = made.row_bytes = 0;
    dlt_buf_reset(&made.file);
    dlt_buf_reset(&made.manifest);
    dlt_buf_append(&made.file, fuzz_signature, sizeof fuzz_signature);
    dlt_buf_string(&made.manifest, "dltrain checkpoint 1\n");
    fuzz_begin_table();
    fuzz_group("/", NULL, 0);
    const unsigned flags = (unsigned)fuzz_next(in, 1);
    while (in->left > 0) {
        const unsigned kind = (unsigned)fuzz_next(in, 1);
        size_t length = 0, bytes = 0;
        const char *path = (const char *)fuzz_take(in, fuzz_next(in, 1), &length);
        const uint8_t *data = NULL;
        switch (kind & 3) {
        case 0:
            add_group(in, kind, path, length);
            break;
        case 1:
            add_dataset(in, kind, path, length);
            break;
        case 2:
            data = fuzz_take(in, fuzz_next(in, 2), &bytes);
            dlt_buf_append(&made.manifest, (const char *)data, bytes);
            break;
        default:
            made.rows = fuzz_take(in, fuzz_next(in, 2), &made.row_bytes);
        }
    }
    if ((flags & NO_MANIFEST) == 0) {
        dlt_sha256_init(&sha);
        dlt_sha256_update(&sha, dlt_buf_text(&made.manifest), made.manifest.length);
        dlt_sha256_final(&sha, digest);
        digest[0] ^= (flags & WRONG_DIGEST) != 0;
        add_bytes(CHECKPOINT_MANIFEST, made.manifest.data, made.manifest.length);
        add_bytes(CHECKPOINT_DIGEST, digest, sizeof digest);
    }
    for (size_t i = 0; i < made.count; i++) { /* groups that only stand above others */
        if (made.entries[i].group && !made.entries[i].told) {
            fuzz_group(made.entries[i].path, NULL, 0);
        }
    }
    fuzz_end_table();
    FUZZ_CLAIM(!made.file.failed && !made.manifest.failed);
}

/* ---- what must hold ---- */

static void claim_status(dlt_diag *diag, dlt_status status)
{
    if (status == DLT_E_INTERNAL) {
        fprintf(stderr, "%s\n", dlt_diag_size(diag) > 0 ? dlt_diag_text(diag, 0) : "no message");
    }
    FUZZ_CLAIM(status != DLT_E_INTERNAL);
    FUZZ_CLAIM((status == DLT_OK) == (dlt_diag_count(diag, DLT_ERROR) == 0));
    for (size_t i = 0; i < dlt_diag_size(diag); i++) {
        const char *text = dlt_diag_text(diag, i);
        FUZZ_CLAIM(text[0] != '\0' && strchr(text, '\n') == NULL && strchr(text, '\033') == NULL);
    }
    dlt_diag_reset(diag);
}

/* What is read is what was put in. */
static void claim_values(dlt_diag *diag)
{
    dlt_checkpoint *c = NULL;
    dlt_status status = dlt_checkpoint_open("mem:0", DLT_CHECKPOINT_ANY, &c, diag);
    claim_status(diag, status);
    for (size_t i = 0; status == DLT_OK && i < made.count; i++) {
        const entry *e = &made.entries[i];
        if (e->group) {
            continue;
        }
        const dlt_checkpoint_entry *seen = dlt_checkpoint_find(c, e->path);
        FUZZ_CLAIM(seen == NULL || (seen->dtype == e->type && dlt_shape_equal(&seen->shape, &e->shape)));
        char *out = malloc(e->bytes + 1);
        FUZZ_CLAIM(out != NULL);
        const dlt_status read = dlt_checkpoint_read(c, e->path, e->type, &e->shape, out, diag);
        FUZZ_CLAIM(read != DLT_OK || memcmp(out, made.file.data + e->offset, e->bytes) == 0);
        FUZZ_CLAIM(!dlt_checkpoint_is_ours(c) || read != DLT_OK || e->listed || seen != NULL);
        claim_status(diag, read);
        free(out);
    }
    if (status == DLT_OK) {
        claim_status(diag, dlt_checkpoint_verify(c, diag));
    }
    dlt_checkpoint_close(c);
}

static dlt_status swallow(void *context, const char *bytes, size_t count, dlt_diag *diag)
{
    (void)diag;
    *(size_t *)context += count + (bytes == NULL);
    return DLT_OK;
}

/* The file as predict takes it. */
static void claim_model(dlt_arena *arena, dlt_diag *diag, unsigned choice)
{
    const dlt_model_choice given = {.given = "mem:0"};
    const dlt_load_options load = {0};
    dlt_model model;
    dlt_session *session = NULL;
    dlt_status status = dlt_model_open(&given, dlt_catalogue_all(), &load, arena, &model, diag);
    claim_status(diag, status);
    if (status != DLT_OK) {
        return;
    }
    if (choice % 4 == 0) {
        dlt_callback_set *set = dlt_callback_set_create(arena, &model.spec->value.fit.callbacks);
        FUZZ_CLAIM(set != NULL);
        claim_status(diag, dlt_saved_callbacks_read(model.checkpoint, set, NULL, diag));
    }
    if (choice / 4 % 4 == 0) {
        size_t written = 0;
        int64_t rows = 0;
        const dlt_session_options options = {.predict = true, .batch = 4, .threads = 1, .device = "cpu"};
        status = dlt_model_session(&model, &options, NULL, &session, diag);
        if (status == DLT_OK) {
            const dlt_predict_options predict = {.input = "mem:1",
                                                 .format = choice / 16 % 2 == 0 ? DLT_PREDICT_CSV
                                                                                : DLT_PREDICT_JSONL,
                                                 .write = swallow,
                                                 .context = &written};
            status = dlt_predict(&model, session, &predict, &rows, diag);
        }
        claim_status(diag, status);
        dlt_session_close(session);
    }
    dlt_model_close(&model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    data_fixture f;
    fuzz_input in = {data, size};
    fuzz_begin(&f);
    dlt_h5_set_lister(fuzz_lister);
    make_file(&in);
    fuzz_put_file(0, (const uint8_t *)made.file.data, made.file.length);
    fuzz_put_file(1, made.rows, made.row_bytes);
    fuzz_strangers = 0;
    claim_values(f.diag);
    claim_model(f.arena, f.diag, fuzz_choice(data, size));
    FUZZ_CLAIM(fuzz_strangers == 0); /* no path of the file was opened or looked at */
    dlt_h5_set_lister(NULL);
    fuzz_end(&f);
    return 0;
}

#ifdef DLT_FUZZ
/* ---- mutations that keep the records apart ---- */

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

/* Place and length of the payload of a record that begins at `at`, and where its u16 length stands; false at
 * the end. */
static bool payload_of(const uint8_t *data, size_t size, size_t at, size_t *length_at, size_t *next)
{
    if (at + 2 > size) {
        return false;
    }
    const unsigned kind = data[at];
    size_t here = at + 2 + data[at + 1];
    if ((kind & 3) == 0) {
        *length_at = 0;
        *next = here < size ? here + 1 + data[here] : size + 1;
        return *next <= size;
    }
    if ((kind & 3) == 1) {
        here += here + 1 < size ? 2 + 2 * (size_t)(data[here + 1] % (DLT_MAX_RANK + 1)) : 2;
    }
    if (here + 2 > size) {
        return false;
    }
    *length_at = here;
    *next = here + 2 + ((size_t)data[here] | (size_t)data[here + 1] << 8);
    return *next <= size;
}

/* Half of the mutations change one payload, with its length (and the shape of a list of bytes) kept right. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    enum { MOST_RECORDS = 256, MOST_PAYLOAD = 8192 };
    static uint8_t payload[MOST_PAYLOAD];
    size_t starts[MOST_RECORDS], lengths[MOST_RECORDS], ends[MOST_RECORDS], count = 0, length_at = 0,
                                                                            next = 0;
    for (size_t at = 1; count < MOST_RECORDS && payload_of(data, size, at, &length_at, &next); at = next) {
        if (length_at > 0) {
            starts[count] = at;
            lengths[count] = length_at;
            ends[count++] = next;
        }
    }
    const size_t chosen = count > 0 ? seed / 4 % count : 0;
    if (seed % 4 == 0 || count == 0 || ends[chosen] - lengths[chosen] - 2 > MOST_PAYLOAD) {
        return LLVMFuzzerMutate(data, size, most);
    }
    const size_t begin = lengths[chosen] + 2, old = ends[chosen] - begin, tail = size - ends[chosen];
    memcpy(payload, data + begin, old);
    size_t bytes = LLVMFuzzerMutate(payload, old, MOST_PAYLOAD);
    if (begin + bytes + tail > most || bytes > UINT16_MAX) {
        return size;
    }
    memmove(data + begin + bytes, data + ends[chosen], tail);
    memcpy(data + begin, payload, bytes);
    data[begin - 2] = (uint8_t)bytes;
    data[begin - 1] = (uint8_t)(bytes >> 8);
    const size_t type_at = starts[chosen] + 2 + data[starts[chosen] + 1];
    if ((data[starts[chosen]] & 3) == 1 && data[type_at] % DLT_DTYPE_COUNT == DLT_U8 &&
        data[type_at + 1] == 1) {
        data[type_at + 2] = (uint8_t)bytes;
        data[type_at + 3] = (uint8_t)(bytes >> 8);
    }
    return begin + bytes + tail;
}
#endif
