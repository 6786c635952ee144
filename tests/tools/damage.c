/* tests/tools/damage.c: damaged and forged checkpoints and HDF5 files, very many of them, given to the program's own doors in one
 * process. For tests/sweeps/sweep_flips.py and sweep_hostile.py, which read what it prints: one JSON object.
 *
 *     damage flips FILE FOLDER SEED COUNT
 *         Flips single bits of a checkpoint: COUNT of them, drawn by SEED, or all (COUNT 0). Each time the file is listed by libhdf5 in
 *         a forked worker (a child for each would take milliseconds), verified and read whole. A bit is refused, or nothing that is
 *         read is another (same), or it was missed (wrong); it may kill libhdf5 (died), which the parent reports as a bad file.
 *     damage hostile FOLDER SEED FIRST COUNT MODEL ROWS FILE [MODEL ROWS FILE]...
 *         Makes COUNT mutated files, from number FIRST on; half of those that are checkpoints get their digests repaired where that is
 *         still possible. Each is opened with the real child as data, as the weights of a model file, and as a checkpoint that predicts.
 *         Prints the number of a file before it is opened, so that whoever started this knows which one ended it.
 *     damage make FOLDER SEED NUMBER MODEL ROWS FILE...
 *         Writes one of these files, to be given to the program itself; prints its path and the files it was made from.
 *     damage forge FILE CONFIG NEW
 *         Writes the checkpoint NEW: FILE's, with the config of the text file CONFIG and digests that are right. */
#define _GNU_SOURCE /* memmem */
#include "support/data_support.h"
#include "support/h5_inside.h"
#include "support/scratch.h"
#include "support/support.h"

#include "base/alloc.h"
#include "base/linux_guard.h"
#include "base/rng.h"
#include "base/sha256.h"
#include "base/text.h"
#include "cmd/catalogue.h"
#include "io/file.h"
#include "io/h5/checkpoint_internal.h"
#include "io/h5/h5_internal.h"
#include "trainer/model.h"
#include "trainer/predict.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- what a checkpoint says, as one digest: paths, types, shapes, values, names of groups ---- */

static bool digest_of(dlt_checkpoint *c, dlt_sha256 *sha, dlt_diag *diag)
{
    size_t bytes = 0;
    const char *manifest = dlt_checkpoint_manifest(c, &bytes); /* lists all of these but the values */
    dlt_sha256_update(sha, manifest, bytes);
    for (size_t i = 0; i < dlt_checkpoint_count(c); i++) {
        const dlt_checkpoint_entry *e = dlt_checkpoint_at(c, i);
        char *out = malloc((size_t)e->bytes + 1);
        const bool read =
            out != NULL && dlt_checkpoint_read(c, e->path, e->dtype, &e->shape, out, diag) == DLT_OK;
        if (read) {
            dlt_sha256_update(sha, out, (size_t)e->bytes);
        }
        free(out);
        if (!read) {
            return false;
        }
    }
    return true;
}

/* ---- flips ---- */

typedef struct flips {
    const char *path;
    const unsigned char *data;
    size_t size;
    const uint64_t *bits;
    uint8_t whole[DLT_SHA256_BYTES];
} flips;

enum { SAME, REFUSED, WRONG, SILENT };

static unsigned char look(const char *path, const uint8_t whole[DLT_SHA256_BYTES], uint8_t digest[DLT_SHA256_BYTES])
{
    dlt_h5_file *file = NULL;
    dlt_checkpoint *c = NULL;
    dlt_sha256 sha;
    dlt_diag *diag = dlt_diag_create();
    unsigned char result = REFUSED;
    dlt_sha256_init(&sha);
    if (dlt_h5_open_inside(path, DLT_E_CHECKPOINT, &file, diag) == DLT_OK &&
        dlt_checkpoint_of_file(file, DLT_CHECKPOINT_OURS, &c, diag) == DLT_OK &&
        dlt_checkpoint_verify(c, diag) == DLT_OK && digest_of(c, &sha, diag)) {
        dlt_sha256_final(&sha, digest);
        result = memcmp(whole, digest, DLT_SHA256_BYTES) == 0 ? SAME : WRONG;
    } else if (dlt_diag_count(diag, DLT_ERROR) != 1) {
        result = SILENT;
    }
    dlt_checkpoint_close(c);
    dlt_diag_destroy(diag);
    return result;
}

static void save(const char *path, const void *data, size_t bytes)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes || close(fd) != 0) {
        perror(path);
        exit(99);
    }
}

static unsigned char flip(void *context, size_t i)
{
    const flips *f = context;
    uint8_t digest[DLT_SHA256_BYTES];
    static unsigned char *copy;
    copy = copy != NULL ? copy : malloc(f->size);
    memcpy(copy, f->data, f->size);
    copy[f->bits[i] / 8] ^= (unsigned char)(1U << f->bits[i] % 8);
    save(f->path, copy, f->size);
    return look(f->path, f->whole, digest);
}

static int run_flips(const char *file, const char *folder, uint64_t seed, size_t count)
{
    flips f = {.path = dlt_scratch_path(folder, "flipped.weights.h5")};
    unsigned char *whole;
    uint8_t none[DLT_SHA256_BYTES] = {0};
    size_t size = 0, of[256] = {0};
    f.data = whole = (unsigned char *)dlt_scratch_load(file, &size);
    f.size = size;
    if (look(file, none, f.whole) != WRONG) {
        fprintf(stderr, "damage: '%s' is no whole checkpoint\n", file);
        return 2;
    }
    const bool all = count == 0;
    count = all ? 8 * size : count;
    uint64_t *bits = malloc(count * sizeof *bits);
    unsigned char *results = malloc(count);
    if (bits == NULL || results == NULL) {
        return 2;
    }
    for (size_t i = 0; i < count; i++) {
        bits[i] = all ? i : ((uint64_t)dlt_random_bits(seed, 1, i, 0) << 16 ^ dlt_random_bits(seed, 1, i, 1)) % (8 * size);
    }
    f.bits = bits;
    dlt_sweep(count, flip, &f, results);
    for (size_t i = 0; i < count; i++) {
        of[results[i]]++;
        if (results[i] == WRONG || results[i] == SILENT) {
            fprintf(stderr, "bit %llu of '%s': %s\n", (unsigned long long)bits[i], file,
                    results[i] == WRONG ? "not noticed" : "refused without a message");
        }
    }
    printf("{\"bytes\": %zu, \"flips\": %zu, \"refused\": %zu, \"same\": %zu, \"wrong\": %zu, \"silent\": %zu, \"died\": %zu, "
           "\"first_refused\": [",
           size, count, of[REFUSED], of[SAME], of[WRONG], of[SILENT], of[DLT_SWEEP_DIED]);
    size_t shown = 0; /* some that were refused, spread over the file, for those who want to resume after one */
    for (size_t i = 0; i < count && shown < 400; i += 1 + count / 4000) {
        if (results[i] == REFUSED || results[i] == DLT_SWEEP_DIED) {
            printf("%s%llu", shown++ > 0 ? ", " : "", (unsigned long long)bits[i]);
        }
    }
    printf("]}\n");
    free(bits);
    free(results);
    free(whole);
    return 0;
}

/* ---- mutations ---- */

typedef struct victim {
    const char *model, *rows, *file;
    unsigned char *data;
    size_t size;
    bool ours;
    size_t regions, region[512][2]; /* offset and bytes of what its datasets hold */
    char *names[512];               /* and their paths */
} victim;

static void load_victim(victim *v)
{
    dlt_h5_file *file = NULL;
    v->data = (unsigned char *)dlt_scratch_load(v->file, &v->size);
    if (dlt_h5_open(v->file, DLT_E_DATA, (dlt_pos){0}, &file, NULL) != DLT_OK) {
        fprintf(stderr, "damage: '%s' cannot be read\n", v->file);
        exit(2);
    }
    v->ours = dlt_h5_find(file, CHECKPOINT_MANIFEST) != NULL;
    for (size_t i = 0; i < dlt_h5_count(file) && v->regions < DLT_COUNT(v->region); i++) {
        const dlt_h5_object *o = dlt_h5_at(file, i);
        const h5_layout *layout = o->layout;
        if (o->object_class == DLT_H5_DATASET && o->refused == NULL && o->storage == DLT_H5_CONTIGUOUS && o->bytes > 0 &&
            layout->offset != DLT_H5_NOWHERE && !dlt_text_starts(o->path, CHECKPOINT_MANIFEST)) {
            v->names[v->regions] = strdup(o->path);
            v->region[v->regions][0] = (size_t)layout->offset;
            v->region[v->regions++][1] = (size_t)o->bytes;
        }
    }
    dlt_h5_close(file);
}

static void free_victims(victim *victims, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < victims[i].regions; k++) {
            free(victims[i].names[k]);
        }
        free(victims[i].data);
    }
    free(victims);
}

/* Numbers of one mutation, in order. */
typedef struct draw {
    uint64_t seed, number, next;
} draw;

static uint32_t draw_next(draw *d)
{
    return dlt_random_bits(d->seed, 2, d->number, d->next++);
}

static void mutate(const victim *v, draw *d, unsigned char *data, size_t *bytes, bool inside)
{
    static const unsigned char words[][9] = {"/etc/pas", "${HOME}", "999999999", "-1", "null", "\xff\xff\xff\xff", "\x7f\xff\xff\xff",
                                             "1e308", "[[[[[[[[", "nan"};
    const unsigned changes = 1 + draw_next(d) % 10;
    for (unsigned k = 0; k < changes; k++) {
        size_t from = 0, room = *bytes;
        if (inside && v->regions > 0) {
            const size_t r = draw_next(d) % v->regions;
            from = v->region[r][0];
            room = v->region[r][1];
        }
        const uint32_t a = draw_next(d), b = draw_next(d), c = draw_next(d);
        const size_t at = from + a % room, run = 1 + b % 8, end = from + room < *bytes ? from + room : *bytes;
        const unsigned char *word = words[b % DLT_COUNT(words)];
        switch (c % 9) {
        case 0: /* a field of ones or zeros */
        case 1:
            for (size_t i = at; i < end && i < at + run; i++) {
                data[i] = c % 9 == 0 ? 0xFF : 0;
            }
            break;
        case 2: /* a piece from elsewhere */
            for (size_t i = 0; i < 4 * run && at + i < end; i++) {
                data[at + i] = data[(b + i) % *bytes];
            }
            break;
        case 3:
            if (!inside && k == 0 && c % 5 == 0) {
                *bytes = at + 1;
            }
            break;
        case 4:
            for (size_t i = 0; word[i] != '\0' && i < sizeof words[0] && at + i < end; i++) {
                data[at + i] = word[i];
            }
            break;
        case 5: /* another digit, or a small change of a number */
            data[at] = data[at] >= '0' && data[at] <= '9' ? (unsigned char)('0' + b % 10) : (unsigned char)(data[at] + 1);
            break;
        default:
            data[at] ^= (unsigned char)(1U << b % 8);
        }
    }
}

/* Writes the digests that the file has now into its manifest, as far as its table still tells where; false if it does not. */
static bool repair(const char *path, unsigned char *data, size_t bytes)
{
    dlt_h5_file *file = NULL;
    bool done = false;
    if (dlt_h5_open(path, DLT_E_DATA, (dlt_pos){0}, &file, NULL) != DLT_OK) {
        return false;
    }
    const dlt_h5_object *manifest = dlt_h5_find(file, CHECKPOINT_MANIFEST), *sum = dlt_h5_find(file, CHECKPOINT_DIGEST);
    const h5_layout *m = manifest != NULL ? manifest->layout : NULL, *s = sum != NULL ? sum->layout : NULL;
    if (m != NULL && s != NULL && manifest->storage == DLT_H5_CONTIGUOUS && sum->storage == DLT_H5_CONTIGUOUS &&
        m->offset != DLT_H5_NOWHERE && s->offset != DLT_H5_NOWHERE && sum->bytes == DLT_SHA256_BYTES &&
        m->offset + (uint64_t)manifest->bytes <= bytes && s->offset + DLT_SHA256_BYTES <= bytes) {
        unsigned char *at = data + m->offset, *end = at + manifest->bytes;
        for (unsigned char *line = at; line < end;) {
            unsigned char *stop = memchr(line, '\n', (size_t)(end - line));
            stop = stop != NULL ? stop : end;
            if (stop - line > 8 + 64 && memcmp(line, "dataset\t", 8) == 0) {
                const unsigned char *tab = memchr(line + 8, '\t', (size_t)(stop - line - 8));
                char *name = tab != NULL ? strndup((const char *)line + 8, (size_t)(tab - line - 8)) : NULL;
                const dlt_h5_object *o = name != NULL ? dlt_h5_find(file, name) : NULL;
                uint8_t digest[DLT_SHA256_BYTES];
                char hex[DLT_SHA256_HEX];
                if (o != NULL && o->object_class == DLT_H5_DATASET && o->refused == NULL &&
                    dlt_h5_digest(file, o, digest, NULL) == DLT_OK) {
                    dlt_sha256_hex(digest, hex);
                    memcpy(stop - 64, hex, 64);
                }
                free(name);
            }
            line = stop + 1;
        }
        dlt_sha256 sha;
        dlt_sha256_init(&sha);
        dlt_sha256_update(&sha, at, (size_t)manifest->bytes);
        dlt_sha256_final(&sha, data + s->offset);
        done = true;
    }
    dlt_h5_close(file);
    return done;
}

/* Makes mutated file `number` at path; true if its digests were repaired. */
static bool make_hostile(const victim *v, uint64_t seed, uint64_t number, const char *path)
{
    draw d = {seed, number, 0};
    size_t bytes = v->size;
    unsigned char *data = malloc(bytes);
    if (data == NULL) {
        exit(99);
    }
    memcpy(data, v->data, bytes);
    const bool wanted = v->ours && draw_next(&d) % 2 == 0;
    mutate(v, &d, data, &bytes, wanted && draw_next(&d) % 3 > 0);
    save(path, data, bytes);
    const bool repaired = wanted && repair(path, data, bytes);
    if (repaired) {
        save(path, data, bytes);
    }
    free(data);
    return repaired;
}

/* ---- the doors ---- */

typedef struct tally {
    unsigned long files, repaired, refused, accepted, died, wrong, undocumented, silent, large, slow;
    double slowest; /* seconds of processor time, readers included */
    long most_kib;
} tally;

/* One opening is over: accepted, or refused with a documented status and a message. */
static void judge(tally *t, const char *door, uint64_t number, dlt_status status, dlt_diag *diag)
{
    static const dlt_status documented[] = {DLT_E_CONFIG,      DLT_E_DATA,    DLT_E_CHECKPOINT,
                                            DLT_E_UNSUPPORTED, DLT_E_NUMERIC, DLT_E_MEMORY};
    bool known = status == DLT_OK;
    for (size_t i = 0; i < DLT_COUNT(documented); i++) {
        known = known || status == documented[i];
    }
    t->accepted += status == DLT_OK;
    t->refused += status != DLT_OK;
    if (!known) {
        t->undocumented++;
        fprintf(stderr, "file %llu as %s: status %d: %s\n", (unsigned long long)number, door, (int)status,
                dlt_diag_size(diag) > 0 ? dlt_diag_text(diag, 0) : "");
    }
    if (status != DLT_OK && dlt_diag_count(diag, DLT_ERROR) == 0) {
        t->silent++;
        fprintf(stderr, "file %llu as %s: refused without a message\n", (unsigned long long)number, door);
    }
    for (size_t i = 0; i < dlt_diag_size(diag); i++) {
        t->died += strstr(dlt_diag_text(diag, i), "the reader died") != NULL;
    }
    dlt_diag_reset(diag);
}

/* Everything that our own manifest vouches for has the digest it names: compared by the manifest's text, not by the reader. */
static void open_values(const char *path, uint64_t number, tally *t, dlt_diag *diag)
{
    dlt_checkpoint *c = NULL;
    dlt_status status = dlt_checkpoint_open(path, DLT_CHECKPOINT_OURS, &c, diag);
    status = status == DLT_OK ? dlt_checkpoint_verify(c, diag) : status;
    for (size_t i = 0; status == DLT_OK && i < dlt_checkpoint_count(c); i++) {
        const dlt_checkpoint_entry *e = dlt_checkpoint_at(c, i);
        char hex[DLT_SHA256_HEX];
        size_t bytes = 0;
        const char *manifest = dlt_checkpoint_manifest(c, &bytes);
        char *out = malloc((size_t)e->bytes + 1);
        if (out == NULL) {
            exit(99);
        }
        status = dlt_checkpoint_read(c, e->path, e->dtype, &e->shape, out, diag);
        if (status == DLT_OK) {
            dlt_buf line = {0};
            dlt_sha256_of(out, (size_t)e->bytes, hex);
            dlt_buf_printf(&line, "dataset\t%s\t%s\t", e->path, dlt_dtype_name(e->dtype));
            const char *found = memmem(manifest, bytes, dlt_buf_text(&line), line.length);
            const char *tab = found != NULL ? memchr(found + line.length, '\t', bytes - (size_t)(found - manifest) - line.length)
                                            : NULL;
            if (tab == NULL || strncmp(tab + 1, hex, 64) != 0) {
                t->wrong++;
                fprintf(stderr, "file %llu: '%s' was read with other values than its digest vouches for\n",
                        (unsigned long long)number, e->path);
            }
            dlt_buf_release(&line);
        }
        free(out);
    }
    judge(t, "checkpoint to verify", number, status, diag);
    dlt_checkpoint_close(c);
}

static dlt_status swallow(void *context, const char *bytes, size_t count, dlt_diag *diag)
{
    (void)diag;
    *(size_t *)context += count + (bytes == NULL);
    return DLT_OK;
}

static void open_model(const char *door, const dlt_model_choice *choice, const char *rows, uint64_t number, tally *t,
                       dlt_diag *diag)
{
    dlt_arena *arena = dlt_arena_create();
    const dlt_load_options load = {0};
    dlt_model model;
    dlt_session *session = NULL;
    dlt_status status = dlt_model_open(choice, dlt_catalogue_all(), &load, arena, &model, diag);
    if (status == DLT_OK) {
        const dlt_session_options options = {.predict = true, .batch = 4, .threads = 1, .device = "cpu"};
        size_t written = 0;
        int64_t count = 0;
        status = dlt_model_session(&model, &options, NULL, &session, diag);
        if (status == DLT_OK) {
            const dlt_predict_options predict = {
                .input = rows, .format = DLT_PREDICT_CSV, .write = swallow, .context = &written};
            status = dlt_predict(&model, session, &predict, &count, diag);
        }
        dlt_session_close(session);
        dlt_model_close(&model);
    }
    judge(t, door, number, status, diag);
    dlt_arena_destroy(arena);
}

static void open_data(const victim *v, const char *path, uint64_t number, tally *t, dlt_diag *diag)
{
    data_fixture f = {.arena = dlt_arena_create(), .diag = diag};
    const char *name = v->regions > 0 ? v->names[number % v->regions] : "x";
    const dlt_item *item = data_item(&f, &dlt_source_category, "HDF5", "path", path, "features", name, NULL);
    const dlt_dataset_options options = {.memory = 1 << 20, .cache = "/nowhere", .threads = 1};
    dlt_dataset *ds = NULL;
    const dlt_status status = dlt_dataset_open(item, DLT_DEPTH_LOAD, &options, &ds, diag);
    judge(t, "data", number, status, diag);
    dlt_dataset_close(ds);
    dlt_arena_destroy(f.arena);
}

/* Memory of this process in KiB: now, or the most since it was asked to begin again. */
static long memory_kib(const char *which)
{
    char text[4096] = {0};
    const int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0) {
        close(fd);
    }
    const char *at = n > 0 ? strstr(text, which) : NULL;
    return at != NULL ? strtol(at + strlen(which), NULL, 10) : 0;
}

/* Processor time of this process, or of the readers that it started. */
static double cpu_seconds(int who)
{
    struct rusage used;
    if (getrusage(who, &used) != 0) {
        return 0;
    }
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

static void begin_again(void)
{
    const int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!write(fd, "5", 1);
        close(fd);
    }
}

static int run_hostile(const char *folder, uint64_t seed, uint64_t first, uint64_t count, victim *victims, size_t many)
{
    const char *path = dlt_scratch_path(folder, "hostile.weights.h5");
    tally t = {0};
    dlt_diag *diag = dlt_diag_create();
    for (uint64_t number = first; number < first + count; number++) {
        const victim *v = &victims[number % many];
        printf("%llu\n", (unsigned long long)number);
        fflush(stdout);
        t.files++;
        t.repaired += make_hostile(v, seed, number, path);
        begin_again();
        const long before = memory_kib("VmRSS:");
        const double own = cpu_seconds(RUSAGE_SELF), readers = cpu_seconds(RUSAGE_CHILDREN);
        open_data(v, path, number, &t, diag);
        if (v->ours) {
            open_values(path, number, &t, diag);
        }
        open_model("checkpoint", &(dlt_model_choice){.given = path}, v->rows, number, &t, diag);
        if (strcmp(v->model, "-") != 0) {
            open_model("weights", &(dlt_model_choice){.given = v->model, .weights = path}, v->rows, number, &t, diag);
        }
        const double took = cpu_seconds(RUSAGE_SELF) - own, all = took + cpu_seconds(RUSAGE_CHILDREN) - readers;
        const long more = memory_kib("VmHWM:") - before;
        t.slowest = all > t.slowest ? all : t.slowest;
        t.most_kib = more > t.most_kib ? more : t.most_kib;
        if (!DLT_SANITIZED && more > (long)(4 * v->size / 1024) + (64L << 10)) { /* sanitizers keep what is freed */
            t.large++;
            fprintf(stderr, "file %llu: took %ld KiB more memory; it has %zu bytes\n", (unsigned long long)number, more, v->size);
        }
        if (took > 1 || all > 4 * (DLT_H5_CHILD_CPU_S + 1) + 1) { /* four readers, each held to its limit */
            t.slow++;
            fprintf(stderr, "file %llu: took %.1f s of processor time, with its readers %.1f s\n", (unsigned long long)number,
                    took, all);
        }
    }
    dlt_diag_destroy(diag);
    struct rusage readers_all = {0};
    (void)getrusage(RUSAGE_CHILDREN, &readers_all);
    printf("{\"files\": %lu, \"repaired\": %lu, \"refused\": %lu, \"accepted\": %lu, \"reader_died\": %lu, \"wrong\": %lu, "
           "\"undocumented\": %lu, \"silent\": %lu, \"large\": %lu, \"slow\": %lu, \"slowest_ms\": %.0f, \"most_kib\": %ld, \"reader_kib\": %ld}\n",
           t.files, t.repaired, t.refused, t.accepted, t.died, t.wrong, t.undocumented, t.silent, t.large, t.slow,
           1e3 * t.slowest, t.most_kib, DLT_SANITIZED ? 0 : readers_all.ru_maxrss);
    return 0;
}

/* ---- a forger ---- */

static dlt_status forge_into(dlt_h5_file *file, dlt_checkpoint *c, const char *config, dlt_checkpoint_writer *w,
                             dlt_diag *diag)
{
    for (size_t i = 0; i < dlt_h5_count(file); i++) {
        const dlt_h5_object *o = dlt_h5_at(file, i);
        const dlt_h5_attribute *name = dlt_h5_find_attribute(o, "name");
        if (o->object_class == DLT_H5_GROUP && name != NULL) {
            DLT_TRY(dlt_checkpoint_group(w, o->path, name->strings[0], diag));
        }
    }
    for (size_t i = 0; i < dlt_checkpoint_count(c); i++) {
        const dlt_checkpoint_entry *e = dlt_checkpoint_at(c, i);
        char *out = malloc((size_t)e->bytes + 1);
        dlt_status status =
            out != NULL ? dlt_checkpoint_read(c, e->path, e->dtype, &e->shape, out, diag) : DLT_E_MEMORY;
        if (status == DLT_OK) {
            status = strcmp(e->path, "/dltrain/config") == 0
                         ? dlt_checkpoint_text(w, "config", config, strlen(config), diag)
                         : dlt_checkpoint_add(w, e->path, e->dtype, &e->shape, out, diag);
        }
        free(out);
        DLT_TRY(status);
    }
    return DLT_OK;
}

static int run_forge(const char *path, const char *config_path, const char *new)
{
    dlt_h5_file *file = NULL;
    dlt_checkpoint *c = NULL;
    dlt_checkpoint_writer *w = NULL;
    char *config = NULL;
    size_t size = 0;
    dlt_diag *diag = dlt_diag_create();
    const dlt_pos nowhere = {0};
    dlt_status status = dlt_h5_open(path, DLT_E_CHECKPOINT, nowhere, &file, diag);
    status = status == DLT_OK ? dlt_checkpoint_open(path, DLT_CHECKPOINT_OURS, &c, diag) : status;
    status = status == DLT_OK ? dlt_file_load(config_path, 1 << 20, DLT_E_CONFIG, nowhere, &config, &size, diag) : status;
    status = status == DLT_OK ? dlt_checkpoint_begin(new, &w, diag) : status;
    if (status == DLT_OK) {
        status = forge_into(file, c, config, w, diag);
        if (status == DLT_OK) {
            status = dlt_checkpoint_finish(w, diag);
        } else {
            dlt_checkpoint_abandon(w);
        }
    }
    if (status != DLT_OK) {
        fprintf(stderr, "damage: %s\n", dlt_diag_size(diag) > 0 ? dlt_diag_text(diag, 0) : "failed");
    }
    dlt_free(config);
    dlt_checkpoint_close(c);
    dlt_h5_close(file);
    dlt_diag_destroy(diag);
    return status == DLT_OK ? 0 : 1;
}

static uint64_t number_of(const char *text)
{
    return strtoull(text, NULL, 10);
}

int main(int argc, char **argv)
{
    dlt_h5_child_main(argc, argv);
    if (argc == 6 && strcmp(argv[1], "flips") == 0) {
        return run_flips(argv[2], argv[3], number_of(argv[4]), number_of(argv[5]));
    }
    if (argc == 5 && strcmp(argv[1], "forge") == 0) {
        return run_forge(argv[2], argv[3], argv[4]);
    }
    const bool make = argc > 1 && strcmp(argv[1], "make") == 0;
    const int front = make ? 5 : 6;
    if (argc < front + 3 || (argc - front) % 3 != 0 || (!make && strcmp(argv[1], "hostile") != 0)) {
        fputs("damage: see the head of its source\n", stderr);
        return 2;
    }
    const size_t many = (size_t)(argc - front) / 3;
    victim *victims = calloc(many, sizeof *victims);
    if (victims == NULL) {
        return 99;
    }
    for (size_t i = 0; i < many; i++) {
        char **words = argv + front + 3 * i;
        victims[i].model = words[0];
        victims[i].rows = words[1];
        victims[i].file = words[2];
        load_victim(&victims[i]);
    }
    if (make) {
        const uint64_t number = number_of(argv[4]);
        const victim *v = &victims[number % many];
        const char *path = dlt_scratch_path(argv[2], "one.weights.h5");
        const bool repaired = make_hostile(v, number_of(argv[3]), number, path);
        printf("{\"path\": \"%s\", \"model\": \"%s\", \"rows\": \"%s\", \"repaired\": %s}\n", path, v->model, v->rows,
               repaired ? "true" : "false");
        free_victims(victims, many);
        return 0;
    }
    const int result = run_hostile(argv[2], number_of(argv[3]), number_of(argv[4]), number_of(argv[5]), victims, many);
    free_victims(victims, many);
    return result;
}
