/* tests/unit/test_checkpoint.c: what a checkpoint holds, how it is found, and that Keras reads it. */
#include "support/scratch.h"
#include "support/support.h"

#include "base/alloc.h"
#include "base/sha256.h"
#include "base/text.h"
#include "io/file.h"
#include "io/h5/checkpoint_internal.h"
#include "io/h5/h5_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct fixture {
    dlt_diag *diag;
    char *folder;
    dlt_checkpoint_folder *shelf;
    dlt_checkpoint *open;
} fixture;

static int setup(void **state)
{
    static fixture f;
    f = (fixture){.diag = dlt_diag_create(), .folder = dlt_scratch_create("checkpoint")};
    *state = &f;
    return dlt_checkpoint_folder_open(f.folder, &f.shelf, f.diag) != DLT_OK;
}

static int teardown(void **state)
{
    fixture *f = *state;
    dlt_checkpoint_close(f->open);
    dlt_checkpoint_folder_close(f->shelf);
    dlt_scratch_destroy(f->folder);
    dlt_diag_destroy(f->diag);
    return 0;
}

#define GOOD(call)                                                                                                   \
    do {                                                                                                             \
        if ((call) != DLT_OK) {                                                                                      \
            fail_msg("%s", dlt_diag_text(f->diag, 0));                                                               \
        }                                                                                                            \
    } while (0)

#define BAD(call, expected_status, message)                                                                          \
    do {                                                                                                             \
        dlt_diag_reset(f->diag);                                                                                     \
        assert_int_equal(call, expected_status);                                                                     \
        assert_int_equal(dlt_diag_size(f->diag), 1);                                                                 \
        assert_string_equal(dlt_diag_text(f->diag, 0), message);                                                     \
    } while (0)

static const float kernel[6] = {1, 2, 3, 4, 5, -0.5F}, bias[3] = {0.1F, 0.2F, 0.3F};
static const char config[] = "name: m\nlayers:\n  - Dense: {units: 3}\n";

/* Everything up to finish. */
static dlt_status fill(dlt_checkpoint_writer *w, int64_t step, dlt_diag *diag)
{
    const float rate = 1e-3F;
    const uint16_t brain[2] = {0x3F80, 0xC040}, half[1] = {0x3C00};
    DLT_TRY(dlt_checkpoint_group(w, "/layers/dense/vars", "gr\xc3\xbc\xc3\x9f", diag));
    DLT_TRY(dlt_checkpoint_add(w, "/layers/dense/vars/0", DLT_F32, &DLT_SHAPE(2, 3), kernel, diag));
    DLT_TRY(dlt_checkpoint_add(w, "/layers/dense/vars/1", DLT_F32, &DLT_SHAPE(3), bias, diag));
    DLT_TRY(dlt_checkpoint_group(w, "/layers/flatten/vars", "flatten", diag));
    DLT_TRY(dlt_checkpoint_group(w, "/layers/lstm/vars", "lstm", diag));
    DLT_TRY(dlt_checkpoint_group(w, "/layers/lstm/cell/vars", "lstm_cell", diag));
    DLT_TRY(dlt_checkpoint_add(w, "/layers/lstm/cell/vars/0", DLT_BF16, &DLT_SHAPE(2), brain, diag));
    DLT_TRY(dlt_checkpoint_add(w, "/layers/lstm/cell/vars/1", DLT_F16, &DLT_SHAPE(1), half, diag));
    DLT_TRY(dlt_checkpoint_group(w, "/optimizer/vars", "adam", diag));
    DLT_TRY(dlt_checkpoint_add(w, "/optimizer/vars/0", DLT_I64, &(dlt_shape){.rank = 0}, &step, diag));
    DLT_TRY(dlt_checkpoint_add(w, "/optimizer/vars/1", DLT_F32, &(dlt_shape){.rank = 0}, &rate, diag));
    DLT_TRY(dlt_checkpoint_group(w, "/vars", "m", diag));
    DLT_TRY(dlt_checkpoint_text(w, "config", config, sizeof config - 1, diag));
    DLT_TRY(dlt_checkpoint_text(w, "empty", "", 0, diag));
    return dlt_checkpoint_add(w, "/dltrain/cursor", DLT_I64, &DLT_SHAPE(2), (int64_t[]){step, 7}, diag);
}

static dlt_status save_as(const char *path, int64_t step, dlt_diag *diag)
{
    dlt_checkpoint_writer *w = NULL;
    DLT_TRY(dlt_checkpoint_begin(path, &w, diag));
    const dlt_status status = fill(w, step, diag);
    if (status != DLT_OK) {
        dlt_checkpoint_abandon(w);
        return status;
    }
    return dlt_checkpoint_finish(w, diag);
}

static const char *step_path(fixture *f, int64_t step)
{
    char name[DLT_CHECKPOINT_NAME];
    dlt_checkpoint_name(step, name);
    return dlt_scratch_path(f->folder, name);
}

static void save(fixture *f, int64_t step)
{
    GOOD(save_as(step_path(f, step), step, f->diag));
}

static void damage(const char *path)
{
    size_t bytes = 0;
    char *data = dlt_scratch_load(path, &bytes);
    bool found = false;
    for (size_t i = 0; i + sizeof bias <= bytes; i++) { /* the bias */
        if (memcmp(data + i, bias, sizeof bias) == 0) {
            data[i] = (char)(data[i] ^ 1);
            found = true;
        }
    }
    assert_true(found);
    dlt_scratch_save(path, data, bytes);
    free(data);
}

/* ---- content ---- */

static void what_was_saved_is_read(void **state)
{
    fixture *f = *state;
    save(f, 42);
    assert_int_equal(dlt_scratch_count(f->folder), 1);
    GOOD(dlt_checkpoint_open(step_path(f, 42), DLT_CHECKPOINT_OURS, &f->open, f->diag));
    GOOD(dlt_checkpoint_verify(f->open, f->diag));
    assert_true(dlt_checkpoint_is_ours(f->open));
    assert_int_equal(dlt_checkpoint_count(f->open), 9);
    float read[6];
    GOOD(dlt_checkpoint_read(f->open, "/layers/dense/vars/0", DLT_F32, &DLT_SHAPE(2, 3), read, f->diag));
    assert_memory_equal(read, kernel, sizeof kernel);
    double wide[3];
    GOOD(dlt_checkpoint_read(f->open, "/layers/dense/vars/1", DLT_F64, &DLT_SHAPE(3), wide, f->diag));
    assert_true(wide[0] == (double)0.1F && wide[2] == (double)0.3F);
    float brain[2], half[1];
    GOOD(dlt_checkpoint_read(f->open, "/layers/lstm/cell/vars/0", DLT_F32, &DLT_SHAPE(2), brain, f->diag));
    assert_true(brain[0] == 1 && brain[1] == -3);
    GOOD(dlt_checkpoint_read(f->open, "/layers/lstm/cell/vars/1", DLT_F32, &DLT_SHAPE(1), half, f->diag));
    assert_true(half[0] == 1);
    int64_t step = 0, cursor[2];
    const dlt_shape scalar = dlt_scalar();
    GOOD(dlt_checkpoint_read(f->open, "/optimizer/vars/0", DLT_I64, &scalar, &step, f->diag));
    assert_int_equal(step, 42);
    GOOD(dlt_checkpoint_read(f->open, "/dltrain/cursor", DLT_I64, &DLT_SHAPE(2), cursor, f->diag));
    assert_true(cursor[0] == 42 && cursor[1] == 7);
    char *text = NULL;
    size_t bytes = 0;
    GOOD(dlt_checkpoint_read_text(f->open, "config", &text, &bytes, f->diag));
    assert_int_equal(bytes, sizeof config - 1);
    assert_string_equal(text, config);
    dlt_free(text);
    GOOD(dlt_checkpoint_read_text(f->open, "empty", &text, &bytes, f->diag));
    assert_int_equal(bytes, 0);
    dlt_free(text);
    GOOD(dlt_checkpoint_expect(f->open, "/layers/dense", 2, f->diag));
    GOOD(dlt_checkpoint_expect(f->open, "/layers/flatten", 0, f->diag));
    GOOD(dlt_checkpoint_expect(f->open, "/layers/nowhere", 0, f->diag));
    GOOD(dlt_checkpoint_expect(f->open, "/optimizer", 2, f->diag));
    assert_int_equal(dlt_checkpoint_variables(f->open, "/"), 0);
    const dlt_checkpoint_entry *entry = dlt_checkpoint_find(f->open, "/layers/dense/vars/0");
    assert_true(entry != NULL && entry->dtype == DLT_F32 && entry->shape.rank == 2 && entry->bytes == 24);
    assert_null(dlt_checkpoint_find(f->open, "/layers/dense/vars/2"));
    assert_null(dlt_checkpoint_at(f->open, 9));
}

static void what_does_not_fit_the_model_is_named(void **state)
{
    fixture *f = *state;
    char message[2048], out[64];
    const char *path = "tests/data/h5/keras.weights.h5";
    GOOD(dlt_checkpoint_open(path, DLT_CHECKPOINT_ANY, &f->open, f->diag));
    assert_false(dlt_checkpoint_is_ours(f->open));
    GOOD(dlt_checkpoint_verify(f->open, f->diag));
#define HERE(text) (snprintf(message, sizeof message, "'%s': %s", path, text), message)
    BAD(dlt_checkpoint_read(f->open, "/layers/dense_1/vars/0", DLT_F32, &DLT_SHAPE(2, 3), out, f->diag),
        DLT_E_CHECKPOINT, HERE("variable 0 of '/layers/dense_1' has shape (3, 2); expected (2, 3)"));
    BAD(dlt_checkpoint_read(f->open, "/layers/dense_1/vars/2", DLT_F32, &DLT_SHAPE(2, 3), out, f->diag),
        DLT_E_CHECKPOINT, HERE("variable 2 of '/layers/dense_1' is missing"));
    BAD(dlt_checkpoint_read(f->open, "/vars/0", DLT_F32, &DLT_SHAPE(2, 3), out, f->diag), DLT_E_CHECKPOINT,
        HERE("variable 0 of the model is missing"));
    BAD(dlt_checkpoint_read(f->open, "/layers/dense_1/vars", DLT_F32, &DLT_SHAPE(2, 3), out, f->diag),
        DLT_E_CHECKPOINT, "'/layers/dense_1/vars' in 'tests/data/h5/keras.weights.h5' cannot be read: it is a group");
    BAD(dlt_checkpoint_expect(f->open, "/layers/dense", 3, f->diag), DLT_E_CHECKPOINT,
        HERE("'/layers/dense' has 2 variables; expected 3"));
    BAD(dlt_checkpoint_expect(f->open, "/layers/flatten", 1, f->diag), DLT_E_CHECKPOINT,
        HERE("'/layers/flatten' has 0 variables; expected 1"));
    BAD(dlt_checkpoint_expect(f->open, "/layers/gru", 1, f->diag), DLT_E_CHECKPOINT,
        HERE("there is no '/layers/gru'; expected it with 1 variable"));
    char *text = NULL;
    BAD(dlt_checkpoint_read_text(f->open, "config", &text, NULL, f->diag), DLT_E_CHECKPOINT,
        HERE("'/dltrain/config' is missing"));
    dlt_checkpoint_close(f->open);
    f->open = NULL;
    BAD(dlt_checkpoint_open(path, DLT_CHECKPOINT_OURS, &f->open, f->diag), DLT_E_CHECKPOINT,
        HERE("it is no checkpoint of dltrain (there is no '/dltrain')"));
    path = "tests/data/h5/keras_legacy.h5";
    BAD(dlt_checkpoint_open(path, DLT_CHECKPOINT_ANY, &f->open, f->diag), DLT_E_CHECKPOINT,
        HERE("it has Keras' old layout; load it with Keras 3 and save it as NAME.weights.h5"));
    path = "tests/data/h5/good.h5";
    BAD(dlt_checkpoint_open(path, DLT_CHECKPOINT_ANY, &f->open, f->diag), DLT_E_CHECKPOINT,
        HERE("it holds no weights (there is no '/layers')"));
}

static void what_is_not_finite_is_not_saved(void **state)
{
    fixture *f = *state;
    static float large[9000];
    static const struct {
        dlt_dtype dtype;
        uint64_t bits;
        bool good;
    } cases[] = {{DLT_F32, 0x7FC00000, false},
                 {DLT_F32, 0xFF800000, false},
                 {DLT_F32, 0x7F7FFFFF, true},
                 {DLT_F64, 0x7FF0000000000000, false},
                 {DLT_F64, 0x7FEFFFFFFFFFFFFF, true},
                 {DLT_BF16, 0xFF80, false},
                 {DLT_BF16, 0x7F7F, true},
                 {DLT_F16, 0x7C01, false},
                 {DLT_F16, 0x7BFF, true},
                 {DLT_I64, 0x7FF0000000000000, true}};
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        dlt_checkpoint_writer *w = NULL;
        dlt_diag_reset(f->diag);
        GOOD(dlt_checkpoint_begin(step_path(f, 1), &w, f->diag));
        assert_int_equal(
            dlt_checkpoint_add(w, "/layers/dense/vars/0", cases[i].dtype, &DLT_SHAPE(1), &cases[i].bits, f->diag),
            cases[i].good ? DLT_OK : DLT_E_NUMERIC);
        dlt_checkpoint_abandon(w);
        assert_int_equal(dlt_scratch_count(f->folder), 0);
    }
    dlt_checkpoint_writer *w = NULL;
    char message[2048];
    snprintf(message, sizeof message, "'%s' is not saved: variable 1 of '/layers/dense' is not finite at (2, 2000)",
             step_path(f, 1));
    large[8000] = NAN;
    GOOD(dlt_checkpoint_begin(step_path(f, 1), &w, f->diag));
    GOOD(dlt_checkpoint_add(w, "/dltrain/best", DLT_F32, &DLT_SHAPE(9000), large,
                            f->diag)); /* state may be infinite */
    BAD(dlt_checkpoint_add(w, "/layers/dense/vars/1", DLT_F32, &DLT_SHAPE(3, 3000), large, f->diag), DLT_E_NUMERIC,
        message);
    assert_int_equal(dlt_checkpoint_text(w, "config", "x", 1, f->diag), DLT_E_NUMERIC);
    assert_int_equal(dlt_checkpoint_finish(w, f->diag), DLT_E_NUMERIC);
    assert_int_equal(dlt_diag_size(f->diag), 1);
    assert_int_equal(dlt_scratch_count(f->folder), 0);
}

static void the_same_content_gives_the_same_bytes(void **state)
{
    fixture *f = *state;
    size_t a_bytes = 0, b_bytes = 0;
    GOOD(save_as(dlt_scratch_path(f->folder, "a.weights.h5"), 5, f->diag));
    sleep(1); /* no times in it */
    GOOD(save_as(dlt_scratch_path(f->folder, "b.weights.h5"), 5, f->diag));
    char *a = dlt_scratch_load(dlt_scratch_path(f->folder, "a.weights.h5"), &a_bytes);
    char *b = dlt_scratch_load(dlt_scratch_path(f->folder, "b.weights.h5"), &b_bytes);
    assert_int_equal(a_bytes, b_bytes);
    assert_memory_equal(a, b, a_bytes);
    free(a);
    free(b);
}

static void a_checkpoint_is_never_replaced(void **state)
{
    fixture *f = *state;
    size_t before = 0, after = 0;
    char message[2048];
    save(f, 3);
    char *old = dlt_scratch_load(step_path(f, 3), &before);
    snprintf(message, sizeof message, "'%s' exists; a checkpoint is never replaced", step_path(f, 3));
    BAD(save_as(step_path(f, 3), 4, f->diag), DLT_E_CHECKPOINT, message);
    char *new = dlt_scratch_load(step_path(f, 3), &after);
    assert_int_equal(before, after);
    assert_memory_equal(old, new, before);
    assert_int_equal(dlt_scratch_count(f->folder), 1);
    free(old);
    free(new);
}

static void mistakes_of_the_caller_are_errors(void **state)
{
    fixture *f = *state;
    dlt_checkpoint_writer *w = NULL, *second = NULL;
    assert_int_equal(dlt_checkpoint_begin(dlt_scratch_path(f->folder, "none/x.weights.h5"), &w, f->diag),
                     DLT_E_CHECKPOINT);
    assert_non_null(strstr(dlt_diag_text(f->diag, 0), "cannot create '"));
    assert_non_null(strstr(dlt_diag_text(f->diag, 0), "': No such file or directory"));
    GOOD(dlt_checkpoint_begin(step_path(f, 1), &w, f->diag));
    BAD(dlt_checkpoint_begin(step_path(f, 2), &second, f->diag), DLT_E_INTERNAL,
        "two HDF5 files are written at once");
    BAD(dlt_checkpoint_group(w, "/layers/a\tb/vars", "x", f->diag), DLT_E_INTERNAL,
        "'/layers/a\\x09b/vars' cannot be a name in a checkpoint: it holds control characters or is not UTF-8");
    dlt_checkpoint_abandon(w);
    dlt_diag_reset(f->diag);
    GOOD(dlt_checkpoint_begin(step_path(f, 1), &w, f->diag));
    GOOD(dlt_checkpoint_group(w, "/vars", "x", f->diag));
    assert_int_equal(dlt_checkpoint_group(w, "/vars", "x", f->diag), DLT_E_CHECKPOINT); /* twice */
    assert_int_equal(dlt_checkpoint_finish(w, f->diag), DLT_E_CHECKPOINT);
    assert_int_equal(dlt_diag_size(f->diag), 1);
    assert_non_null(strstr(dlt_diag_text(f->diag, 0), "(/vars): "));
    assert_int_equal(dlt_scratch_count(f->folder), 0);
}

/* ---- changed files ---- */

/* A file of ours with another manifest, digest repaired: as a forger would make it. */
static void forge(fixture *f, const char *manifest, const char *expected)
{
    const char *path = dlt_scratch_path(f->folder, "forged.h5");
    char digest[65], message[2048];
    uint8_t raw[32];
    const float x[2] = {1, 2};
    dlt_sha256_of(manifest, strlen(manifest), digest);
    for (int i = 0; i < 32; i++) {
        char pair[3] = {digest[2 * i], digest[2 * i + 1], '\0'};
        raw[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    FILE *file = fopen(path, "w+b");
    dlt_h5_writer *w = NULL;
    assert_non_null(file);
    GOOD(dlt_h5_writer_create(fileno(file), path, DLT_E_CHECKPOINT, &w, f->diag));
    GOOD(dlt_h5_writer_group(w, "/layers/dense/vars", f->diag));
    GOOD(dlt_h5_writer_text(w, "/layers/dense/vars", "name", "dense", f->diag));
    GOOD(dlt_h5_writer_dataset(w, "/layers/dense/vars/0", DLT_F32, &DLT_SHAPE(2), x, f->diag));
    GOOD(dlt_h5_writer_dataset(w, CHECKPOINT_MANIFEST, DLT_U8, &DLT_SHAPE((int64_t)strlen(manifest)), manifest,
                               f->diag));
    GOOD(dlt_h5_writer_dataset(w, CHECKPOINT_DIGEST, DLT_U8, &DLT_SHAPE(32), raw, f->diag));
    GOOD(dlt_h5_writer_finish(w, f->diag));
    fclose(file);
    if (expected == NULL) {
        GOOD(dlt_checkpoint_open(path, DLT_CHECKPOINT_OURS, &f->open, f->diag));
        GOOD(dlt_checkpoint_verify(f->open, f->diag));
        dlt_checkpoint_close(f->open);
        f->open = NULL;
    } else {
        snprintf(message, sizeof message, "'%s': %s", path, expected);
        BAD(dlt_checkpoint_open(path, DLT_CHECKPOINT_OURS, &f->open, f->diag), DLT_E_CHECKPOINT, message);
    }
    unlink(path);
}

static void a_manifest_is_read_strictly(void **state)
{
    fixture *f = *state;
#define HEAD "dltrain checkpoint 1\n"
#define GROUP "group\t/layers/dense/vars\tdense\n"
#define SHA "6ac8ff2ab8ab2e4d3f0e4ab8a2e7c5a8e2a0b9d0e3c5d7f1a2b4c6d8e0f1a3b5"
    static const float x[2] = {1, 2};
    char good[1024], digest[65], line[200];
    dlt_sha256_of(x, sizeof x, digest);
    snprintf(line, sizeof line, "dataset\t/layers/dense/vars/0\tfloat32\t[2]\t%s\n", digest);
    snprintf(good, sizeof good, HEAD GROUP "%s", line);
    forge(f, good, NULL);
    static const char *const invalid[] = {
        "",
        "dltrain checkpoint 1",
        "dltrain checkpoint x\n",
        "dltrain checkpoint 0\n",
        "something else\n",
        HEAD "\n",
        HEAD "group\n",
        HEAD "group\ta\tb\tc\n",
        HEAD "dataset\t/layers/dense/vars/0\tfloat32\t[2]\n",
        HEAD "dataset\t/layers/dense/vars/0\tfloat31\t[2]\t" SHA "\n",
        HEAD "dataset\t/layers/dense/vars/0\tfloat32\t2\t" SHA "\n",
        HEAD "dataset\t/layers/dense/vars/0\tfloat32\t[2,]\t" SHA "\n",
        HEAD "dataset\t/layers/dense/vars/0\tfloat32\t[-2]\t" SHA "\n",
        HEAD "dataset\t/layers/dense/vars/0\tfloat32\t[0x2]\t" SHA "\n",
        HEAD "dataset\t/layers/dense/vars/0\tfloat32\t[1,1,1,1,1,1,1,1,2]\t" SHA "\n",
        HEAD "dataset\t/layers/dense/vars/0\tfloat32\t[9223372036854775807,9]\t" SHA "\n",
        HEAD "dataset\t/layers/dense/vars/0\tfloat32\t[2]\t" SHA "0\n",
        HEAD "dataset\t/layers/dense/vars/0\tfloat32\t[2]\tx\n",
        HEAD "dataset\t/layers/dense/vars/0\tfloat32\t[2]\t" SHA "\textra\n"};
    for (size_t i = 0; i < DLT_COUNT(invalid); i++) {
        forge(f, invalid[i], "its manifest is not valid");
    }
    forge(f, "dltrain checkpoint 2\nwhatever\n",
          "it was written by a newer dltrain (checkpoint format 2; this one reads up to 1)");
    forge(f, HEAD, "'/layers' does not belong there: the file was changed or is damaged");
    forge(f, HEAD GROUP, "'/layers/dense/vars/0' does not belong there: the file was changed or is damaged");
    forge(f, HEAD "group\t/layers/dense/vars\tother\n", "'/layers/dense/vars' is damaged: its name is not 'other'");
    forge(f, HEAD "group\t/layers/dense\tdense\n", "'/layers/dense' is damaged: its name is not 'dense'");
    forge(f, HEAD "group\t/layers/conv/vars\tconv\n", "'/layers/conv/vars' is damaged: it is missing");
    forge(f, HEAD "dataset\t/layers/dense/vars/1\tfloat32\t[2]\t" SHA "\n",
          "variable 1 of '/layers/dense' is damaged: it is missing");
    forge(f, HEAD "dataset\t/layers/dense/vars\tfloat32\t[2]\t" SHA "\n",
          "'/layers/dense/vars' is damaged: it is no dataset");
    forge(f, HEAD "dataset\t/layers/dense/vars/0\tfloat32\t[1,2]\t" SHA "\n",
          "variable 0 of '/layers/dense' is damaged: it has shape (2,) and was written with (1, 2)");
    forge(f, HEAD "dataset\t/layers/dense/vars/0\tint32\t[2]\t" SHA "\n",
          "variable 0 of '/layers/dense' is damaged: it has type float32 and was written as int32");
    snprintf(good, sizeof good, HEAD GROUP "%s%s", line, line);
    forge(f, good, "its manifest is not valid");
}

/* ---- the folder ---- */

static void the_newest_whole_checkpoint_wins(void **state)
{
    fixture *f = *state;
    int64_t step = 0;
    GOOD(dlt_checkpoint_newest(f->shelf, &f->open, &step, f->diag));
    assert_null(f->open);
    assert_int_equal(dlt_diag_size(f->diag), 0);
    save(f, 9);
    save(f, 10);
    save(f, 200);
    dlt_scratch_save(step_path(f, 1000), "rubbish", 7);
    dlt_scratch_save(dlt_scratch_path(f->folder, "step-5.weights.h5"), "x", 1); /* not our way of writing it */
    dlt_scratch_save(dlt_scratch_path(f->folder, "step-000000000300.weights.h5.tmp"), "x", 1);
    damage(step_path(f, 200));
    char message[2048];
    GOOD(dlt_checkpoint_newest(f->shelf, &f->open, &step, f->diag));
    assert_int_equal(step, 10);
    assert_int_equal(dlt_diag_size(f->diag), 2);
    assert_int_equal(dlt_diag_count(f->diag, DLT_ERROR), 0);
    snprintf(message, sizeof message, "a checkpoint is passed over: '%s' is not an HDF5 file", step_path(f, 1000));
    assert_string_equal(dlt_diag_text(f->diag, 0), message);
    snprintf(message, sizeof message,
             "a checkpoint is passed over: '%s': variable 1 of '/layers/dense' is damaged: its bytes do not match "
             "their digest",
             step_path(f, 200));
    assert_string_equal(dlt_diag_text(f->diag, 1), message);
    dlt_checkpoint_close(f->open);
    f->open = NULL;
    damage(step_path(f, 9));
    damage(step_path(f, 10));
    dlt_diag_reset(f->diag);
    assert_int_equal(dlt_checkpoint_newest(f->shelf, &f->open, &step, f->diag), DLT_E_CHECKPOINT);
    assert_int_equal(dlt_diag_count(f->diag, DLT_ERROR), 1);
    snprintf(message, sizeof message, "none of the 4 checkpoints in '%s' is whole", f->folder);
    assert_string_equal(dlt_diag_text(f->diag, 4), message);
}

static void links_are_relative_and_replaced_in_one_step(void **state)
{
    fixture *f = *state;
    char target[256] = {0};
    save(f, 1);
    save(f, 2);
    const char *last = dlt_scratch_path(f->folder, "last.weights.h5");
    GOOD(dlt_checkpoint_link(f->shelf, "last.weights.h5", 1, f->diag));
    GOOD(dlt_checkpoint_link(f->shelf, "last.weights.h5", 2, f->diag));
    assert_true(readlink(last, target, sizeof target - 1) > 0);
    assert_string_equal(target, "step-000000000002.weights.h5");
    GOOD(dlt_checkpoint_open(last, DLT_CHECKPOINT_OURS, &f->open, f->diag));
    assert_int_equal(dlt_scratch_count(f->folder), 3);
    const char *best = dlt_scratch_path(f->folder, "best.weights.h5");
    char message[2048];
    dlt_scratch_save(best, "mine", 4);
    snprintf(message, sizeof message, "'%s' is not replaced: it is no link of ours", best);
    BAD(dlt_checkpoint_link(f->shelf, "best.weights.h5", 2, f->diag), DLT_E_CHECKPOINT, message);
}

static bool exists(fixture *f, int64_t step)
{
    return access(step_path(f, step), F_OK) == 0;
}

static void old_checkpoints_go_when_enough_whole_ones_are_newer(void **state)
{
    fixture *f = *state;
    for (int64_t step = 1; step <= 7; step++) {
        save(f, step);
    }
    GOOD(dlt_checkpoint_link(f->shelf, "best.weights.h5", 2, f->diag));
    GOOD(dlt_checkpoint_link(f->shelf, "last.weights.h5", 7, f->diag));
    damage(step_path(f, 6));
    GOOD(dlt_checkpoint_retain(f->shelf, 3, -1, f->diag));
    /* 7, 5 and 4 are whole, 6 is newer than the oldest of them, 2 is the best */
    assert_true(exists(f, 7) && exists(f, 6) && exists(f, 5) && exists(f, 4) && exists(f, 2));
    assert_false(exists(f, 3) || exists(f, 1));
    assert_int_equal(dlt_diag_size(f->diag), 1);
    dlt_diag_reset(f->diag);
    GOOD(dlt_checkpoint_retain(f->shelf, 0, -1, f->diag)); /* never fewer than two */
    assert_true(exists(f, 7) && exists(f, 6) && exists(f, 5) && exists(f, 2));
    assert_false(exists(f, 4));
}

static void trusted_files_are_not_read_again(void **state)
{
    fixture *f = *state;
    save(f, 1);
    save(f, 2);
    save(f, 3);
    dlt_checkpoint_trust(f->shelf, 3);
    dlt_checkpoint_trust(f->shelf, 2);
    struct stat before;
    assert_int_equal(stat(step_path(f, 3), &before), 0);
    damage(step_path(f, 3));
    const struct timespec times[2] = {before.st_atim, before.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, step_path(f, 3), times, 0), 0);
    GOOD(dlt_checkpoint_retain(f->shelf, 2, -1, f->diag));
    assert_false(exists(f, 1)); /* the damage was not seen: the file was not opened */
    assert_int_equal(dlt_diag_size(f->diag), 0);
    save(f, 1);
    assert_int_equal(utimensat(AT_FDCWD, step_path(f, 3), NULL, 0), 0);
    GOOD(dlt_checkpoint_retain(f->shelf, 2, -1, f->diag));
    assert_true(exists(f, 1) && exists(f, 2) && exists(f, 3)); /* another time: read, found bad, not counted */
    assert_int_equal(dlt_diag_size(f->diag), 1);
}

static void leftovers_of_ours_are_removed(void **state)
{
    fixture *f = *state;
    static const char *const ours[] = {".step-000000000001.weights.h5.tmp-123-456", ".last.weights.h5.tmp-1-2",
                                       ".trial.weights.h5.tmp-99-1"};
    static const char *const others[] = {"step-000000000001.weights.h5", ".step-1.weights.h5.tmp-123-",
                                         ".step-1.weights.h5.tmp-12x-4", "notes.tmp-1-2",
                                         ".weights.h5.tmp-1-2",          ".step-1.h5.tmp-1-2",
                                         "x.weights.h5.tmp-1-2"};
    for (size_t i = 0; i < DLT_COUNT(ours); i++) {
        dlt_scratch_save(dlt_scratch_path(f->folder, ours[i]), "x", 1);
    }
    for (size_t i = 0; i < DLT_COUNT(others); i++) {
        dlt_scratch_save(dlt_scratch_path(f->folder, others[i]), "x", 1);
    }
    assert_int_equal(mkdir(dlt_scratch_path(f->folder, ".folder.weights.h5.tmp-1-2"), 0777), 0);
    size_t removed = 0;
    GOOD(dlt_checkpoint_clean(f->shelf, &removed, f->diag));
    assert_int_equal(removed, DLT_COUNT(ours));
    assert_int_equal(dlt_scratch_count(f->folder), DLT_COUNT(others) + 1);
    char *name = dlt_checkpoint_temporary("some/folder/step-000000000001.weights.h5");
    assert_true(dlt_checkpoint_is_temporary(dlt_path_base(name)));
    assert_true(dlt_text_starts(name, "some/folder/.step-"));
    dlt_free(name);
}

static void what_dead_processes_left_of_one_file_is_removed(void **state)
{
    fixture *f = *state;
    char names[6][80];
    const pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    assert_true(child > 0 && waitpid(child, NULL, 0) == child);
    (void)snprintf(names[0], sizeof names[0], ".mine.weights.h5.tmp-%d-1", (int)child);
    (void)snprintf(names[1], sizeof names[1], ".mine.weights.h5.tmp-%d-2", (int)getpid());
    (void)snprintf(names[2], sizeof names[2], ".mine.weights.h5.tmp-%d-3", (int)getppid()); /* it lives */
    (void)snprintf(names[3], sizeof names[3], ".mine-2.weights.h5.tmp-%d-4", (int)child);
    (void)snprintf(names[4], sizeof names[4], ".mine.weights.h5.tmp-99999999999-5"); /* no process has such a number */
    (void)snprintf(names[5], sizeof names[5], "mine.weights.h5");
    for (size_t i = 0; i < DLT_COUNT(names); i++) {
        dlt_scratch_save(dlt_scratch_path(f->folder, names[i]), "x", 1);
    }
    dlt_checkpoint_clean_beside(dlt_scratch_path(f->folder, "mine.weights.h5"));
    for (size_t i = 0; i < DLT_COUNT(names); i++) {
        assert_int_equal(access(dlt_scratch_path(f->folder, names[i]), F_OK) == 0, i >= 2);
    }
    dlt_checkpoint_clean_beside("/nowhere/mine.weights.h5");
}

static int no_rename(const char *from, const char *to)
{
    (void)from;
    (void)to;
    errno = EPERM;
    return -1;
}

static void a_trial_tells_what_a_save_costs(void **state)
{
    fixture *f = *state;
    double seconds = -1;
    GOOD(dlt_checkpoint_trial(f->shelf, 3000000, &seconds, f->diag));
    assert_true(seconds > 0);
    assert_int_equal(dlt_scratch_count(f->folder), 0);
    dlt_file_ops ops = *dlt_file_system();
    ops.rename_new = no_rename;
    dlt_file_install(&ops);
    assert_int_equal(dlt_checkpoint_trial(f->shelf, 10, &seconds, f->diag), DLT_E_CHECKPOINT);
    dlt_file_install(NULL);
    assert_non_null(strstr(dlt_diag_text(f->diag, 0), "Operation not permitted"));
    assert_int_equal(dlt_scratch_count(f->folder), 0);
}

static void a_folder_that_is_none_is_refused(void **state)
{
    fixture *f = *state;
    dlt_checkpoint_folder *folder = NULL;
    BAD(dlt_checkpoint_folder_open("tests/no-such", &folder, f->diag), DLT_E_CHECKPOINT,
        "cannot open folder 'tests/no-such': No such file or directory");
    BAD(dlt_checkpoint_folder_open("tests/CMakeLists.txt", &folder, f->diag), DLT_E_CHECKPOINT,
        "cannot open folder 'tests/CMakeLists.txt': Not a directory");
}

/* ---- others read it ---- */

static void python_reads_it(void **state, const char *script)
{
    fixture *f = *state;
    char command[4096];
    const char *python = getenv("DLTRAIN_PYTHON");
    save(f, 42);
    snprintf(command, sizeof command, "'%s' '%s' '%s'", python != NULL ? python : "python3", dlt_test_path(script),
             step_path(f, 42));
    fflush(NULL);
    const int result = system(command);
    if (WIFEXITED(result) && (WEXITSTATUS(result) == 77 || WEXITSTATUS(result) == 127)) {
        print_message("skipped: DLTRAIN_PYTHON names no Python with what %s needs\n", script);
        skip();
    }
    assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 0);
}

static void h5py_reads_it(void **state)
{
    python_reads_it(state, "tests/tools/read_with_h5py.py");
}

static void keras_reads_it(void **state)
{
    python_reads_it(state, "tests/tools/read_with_keras.py");
}

int main(int argc, char **argv)
{
    dlt_h5_child_main(argc, argv);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_was_saved_is_read),
        TEST(what_does_not_fit_the_model_is_named),
        TEST(what_is_not_finite_is_not_saved),
        TEST(the_same_content_gives_the_same_bytes),
        TEST(a_checkpoint_is_never_replaced),
        TEST(mistakes_of_the_caller_are_errors),
        TEST(a_manifest_is_read_strictly),
        TEST(the_newest_whole_checkpoint_wins),
        TEST(links_are_relative_and_replaced_in_one_step),
        TEST(old_checkpoints_go_when_enough_whole_ones_are_newer),
        TEST(trusted_files_are_not_read_again),
        TEST(leftovers_of_ours_are_removed),
        TEST(what_dead_processes_left_of_one_file_is_removed),
        TEST(a_trial_tells_what_a_save_costs),
        TEST(a_folder_that_is_none_is_refused),
        TEST(h5py_reads_it),
        TEST(keras_reads_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
