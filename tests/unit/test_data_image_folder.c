/* tests/unit/test_data_image_folder.c: images in folders. Golden values: tests/data/images/make.py. */
#include "support/support.h"

#include "base/alloc.h"
#include "io/data/datasets.h"
#include "io/data/image.h"
#include "io/data/rows.h"
#include "support/data_support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOURCES &dlt_source_category
#define FIXTURES "tests/data/images/classes/"

/* ---- files ---- */

static void make_folders(const char *path)
{
    char part[1024];
    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        (void)mkdir(part, 0777);
    }
}

/* A file below the fixture's folder, with the folders that lead to it. */
static const char *put(data_fixture *f, const char *name, const void *bytes, size_t count)
{
    make_folders(data_path(f, name));
    return data_file(f, name, bytes, count);
}

static unsigned char *image_bytes(data_fixture *f, const char *fixture, size_t *count)
{
    char *data = NULL, path[200];
    snprintf(path, sizeof path, FIXTURES "%s", fixture);
    assert_int_equal(
        dlt_file_load(dlt_test_path(path), 1 << 20, DLT_E_DATA, (dlt_pos){0}, &data, count, f->diag), DLT_OK);
    unsigned char *kept = dlt_arena_alloc(f->arena, *count, 1);
    memcpy(kept, data, *count);
    dlt_free(data);
    return kept;
}

/* A copy of one of the repository's images. */
static const char *copy(data_fixture *f, const char *name, const char *fixture)
{
    size_t count = 0;
    const unsigned char *bytes = image_bytes(f, fixture, &count);
    return put(f, name, bytes, count);
}

/* A small set of two classes: in order cat/1.png, cat/2.jpg, dog/a.png, dog/b.jpg, dog/c.png. */
static const char *small_set(data_fixture *f)
{
    copy(f, "s/dog/b.jpg", "ape/baseline.jpg");
    copy(f, "s/dog/c.png", "bee/rgb.png");
    copy(f, "s/dog/a.png", "bee/palette.png");
    copy(f, "s/cat/2.jpg", "ape/full.jpeg");
    copy(f, "s/cat/1.png", "cow/rgba.png");
    return data_path(f, "s");
}

static const dlt_item *images(data_fixture *f, const char *path, const char *bad_files)
{
    return data_item(f, SOURCES, "ImageFolder", "path", path, "image_size", "[7, 9]", "bad_files", bad_files,
                     NULL);
}

static void refuses(data_fixture *f, const dlt_item *item, const char *message)
{
    assert_null(data_open(f, item, DLT_DEPTH_LOAD));
    assert_string_equal(data_message(f, dlt_diag_size(f->diag) - 1), message);
    data_forget(f);
}

/* ---- values ---- */

static const float *golden(data_fixture *f, const char *name, int64_t *count)
{
    dlt_dataset *ds =
        data_open(f,
                  data_item(f, SOURCES, "NPZ", "path", dlt_test_path("tests/data/images/golden.npz"),
                            "features", name, NULL),
                  DLT_DEPTH_LOAD);
    assert_non_null(ds);
    *count = dlt_dataset_count(ds) * dlt_shape_count(&dlt_dataset_frame(ds)->layout.parts[0].shape);
    const float *values = data_part(f, ds, 0);
    dlt_dataset_close(ds);
    return values;
}

/* Largest difference between what ImageFolder makes and Keras'. */
static double difference(data_fixture *f, const char *name, const dlt_item *item)
{
    int64_t count = 0;
    double most = 0;
    const float *wanted = golden(f, name, &count);
    dlt_dataset *ds = data_open(f, item, DLT_DEPTH_LOAD);
    assert_non_null(ds);
    assert_int_equal(dlt_dataset_count(ds) * dlt_shape_count(&dlt_dataset_frame(ds)->layout.parts[0].shape),
                     count);
    assert_int_equal(dlt_dataset_frame(ds)->layout.parts[0].dtype, DLT_U8);
    const unsigned char *pixels = data_part(f, ds, 0);
    for (int64_t i = 0; i < count; i++) {
        most = fmax(most, fabs((double)pixels[i] - (double)wanted[i]));
    }
    dlt_dataset_close(ds);
    return most;
}

static void pixels_are_those_of_keras(void **state)
{
    data_fixture *f = *state;
    const char *path = dlt_arena_string(f->arena, dlt_test_path("tests/data/images/classes"));
#define CASE(...) data_item(f, SOURCES, "ImageFolder", "path", path, __VA_ARGS__, NULL)
    const double half = 0.5 + 1e-4; /* a byte is the nearest to Keras' float32 */
    assert_true(
        difference(f, "native", CASE("image_size", "[7, 9]", "class_names", "[ape, bee, cow, dog]")) == 0);
    assert_true(difference(f, "rgba",
                           CASE("image_size", "[7, 9]", "class_names", "[cow, bee]", "color_mode", "rgba")) ==
                0);
    assert_true(difference(f, "grey_jpeg",
                           CASE("image_size", "[7, 9]", "class_names", "ape", "color_mode", "grayscale")) ==
                0);
    assert_true(difference(f, "grey_png",
                           CASE("image_size", "[7, 9]", "class_names", "[bee, cow]", "color_mode",
                                "grayscale")) == 0);
    assert_true(difference(f, "nearest", CASE("image_size", "[8, 6]", "interpolation", "nearest")) == 0);
    assert_true(difference(f, "resized", CASE("image_size", "[8, 6]")) <= half);
    assert_true(difference(f, "larger", CASE("image_size", "[23, 31]", "class_names", "elk")) <= half);
    assert_true(difference(f, "crop", CASE("image_size", "[6, 8]", "crop_to_aspect_ratio", "true")) <= half);
    assert_true(difference(f, "pad", CASE("image_size", "[6, 8]", "pad_to_aspect_ratio", "true")) <= half);
#undef CASE
}

static void labels_are_those_of_keras(void **state)
{
    data_fixture *f = *state;
    const char *path = dlt_arena_string(f->arena, dlt_test_path("tests/data/images/classes"));
    static const char *const variants[][2] = {{"resized_labels", "null"}, {"rgba_labels", "[cow, bee]"}};
    for (size_t v = 0; v < 2; v++) {
        int64_t count = 0;
        const int32_t *wanted = (const int32_t *)(const void *)golden(f, variants[v][0], &count);
        dlt_dataset *ds = data_open(f,
                                    data_item(f, SOURCES, "ImageFolder", "path", path, "image_size", "[8, 6]",
                                              "class_names", variants[v][1], NULL),
                                    DLT_DEPTH_LOAD);
        assert_int_equal(dlt_dataset_count(ds), count);
        assert_memory_equal(data_part(f, ds, 1), wanted, (size_t)count * 4);
        const dlt_dictionary *names = dlt_dataset_frame(ds)->layout.parts[1].dictionary;
        assert_string_equal(names->at[0], v == 0 ? "ape" : "cow");
        assert_int_equal(names->count, v == 0 ? 5 : 2);
        assert_int_equal(dlt_dataset_frame(ds)->class_count, v == 0 ? 5 : 2);
        assert_int_equal(dlt_dataset_stats(ds)->classes.records[0], v == 0 ? 5 : 6);
        dlt_dataset_close(ds);
    }
}

static void the_default_size_is_that_of_keras(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds =
        data_open(f, data_item(f, SOURCES, "ImageFolder", "path", small_set(f), NULL), DLT_DEPTH_PROBE);
    assert_non_null(ds);
    const dlt_shape wanted = DLT_SHAPE(256, 256, 3);
    assert_true(dlt_shape_equal(&dlt_dataset_frame(ds)->layout.parts[0].shape, &wanted));
    assert_int_equal(dlt_dataset_count(ds), 5); /* known without opening a file */
    assert_true(dlt_dataset_exact(ds));
    dlt_dataset_close(ds);
}

/* 700 files of different pixels, more than are decoded at once. */
static const char *many(data_fixture *f, const char *one_bad)
{
    static const char *const files[] = {"bee/rgb.png", "ape/baseline.jpg", "cow/rgba.png", "bee/grey.png",
                                        "ape/full.jpeg"};
    for (int i = 0; i < 700; i++) {
        copy(f, dlt_arena_printf(f->arena, "m/%c/%03d.img.png", 'a' + i % 3, i), files[i % 5]);
    }
    if (one_bad != NULL) {
        data_text(f, one_bad, "no image");
    }
    return data_path(f, "m");
}

static void any_number_of_threads_gives_the_same_records(void **state)
{
    data_fixture *f = *state;
    const char *path = many(f, "m/b/400.img.png");
    const char *digest = NULL;
    for (int threads = 1; threads <= 8; threads *= 2) {
        const dlt_dataset_options in_memory = {.memory = 1 << 24,
                                               .threads = threads,
                                               .cache =
                                                   data_path(f, dlt_arena_printf(f->arena, "c%d", threads))};
        dlt_dataset_options packed = in_memory;
        packed.memory = 1000;
        packed.cache = data_path(f, dlt_arena_printf(f->arena, "p%d", threads));
        dlt_dataset *ds = data_open_with(f, images(f, path, "skip"), DLT_DEPTH_LOAD, in_memory);
        assert_non_null(ds);
        assert_int_equal(dlt_dataset_count(ds), 699);
        assert_string_equal(data_message(f, 0), "model.yaml:2:5: 1 of 700 images in 'm' cannot be read and "
                                                "is left out: 'b/400.img.png' (it is neither JPEG nor PNG)");
        digest = digest != NULL ? digest : data_digest(f, ds);
        assert_string_equal(data_digest(f, ds), digest);
        const char *content = dlt_arena_string(f->arena, dlt_dataset_content(ds));
        dlt_dataset_close(ds);
        ds = data_open_with(f, images(f, path, "skip"), DLT_DEPTH_LOAD, packed);
        assert_non_null(ds);
        assert_int_equal(strncmp(dlt_dataset_place(ds), "cache file ", 11), 0);
        assert_string_equal(data_digest(f, ds), digest);
        assert_string_equal(dlt_dataset_content(ds), content);
        dlt_dataset_close(ds);
        data_forget(f);
    }
}

/* ---- the cache ---- */

static int packs(data_fixture *f, ino_t *inode)
{
    DIR *listing = opendir(data_path(f, "cache"));
    int count = 0;
    for (const struct dirent *entry; listing != NULL && (entry = readdir(listing)) != NULL;) {
        if (strstr(entry->d_name, ".pack") != NULL) {
            count++;
            *inode = entry->d_ino;
        }
    }
    if (listing != NULL) {
        closedir(listing);
    }
    return count;
}

/* Opens and says whether the packed copy was made anew; the digest of the records is left in *digest. */
static bool packs_anew(data_fixture *f, const dlt_item *item, const char **digest)
{
    ino_t before = 0, after = 0;
    packs(f, &before);
    dlt_dataset *ds = data_open(f, item, DLT_DEPTH_LOAD);
    assert_non_null(ds);
    assert_string_equal(dlt_dataset_place(ds), "memory"); /* and a copy in the cache all the same */
    *digest = data_digest(f, ds);
    dlt_dataset_close(ds);
    assert_int_equal(packs(f, &after), 1);
    return before != after;
}

static void images_are_decoded_once(void **state)
{
    data_fixture *f = *state;
    const dlt_item *item = images(f, small_set(f), "error");
    const char *first = NULL, *now = NULL;
    size_t count = 0;
    assert_true(packs_anew(f, item, &first));
    assert_false(packs_anew(f, item, &now));
    assert_string_equal(now, first);
    assert_int_equal(dlt_diag_size(f->diag), 0);
    /* a file of the same size with another time, even an older one */
    const struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, data_path(f, "s/cat/1.png"), old, 0), 0);
    assert_true(packs_anew(f, item, &now));
    assert_string_equal(now, first);
    assert_non_null(strstr(data_message(f, 0), "s: the packed copy 'cache/s-"));
    assert_non_null(strstr(data_message(f, 0), "' is of an older state; packing it anew"));
    data_forget(f);
    /* another content */
    copy(f, "s/dog/c.png", "bee/grey.png");
    assert_true(packs_anew(f, item, &now));
    assert_string_not_equal(now, first);
    /* one more, one less, another name of a class */
    copy(f, "s/dog/d.png", "bee/grey.png");
    assert_true(packs_anew(f, item, &now));
    assert_int_equal(unlink(data_path(f, "s/dog/d.png")), 0);
    assert_true(packs_anew(f, item, &now));
    assert_int_equal(rename(data_path(f, "s/dog"), data_path(f, "s/wolf")), 0);
    assert_true(packs_anew(f, item, &now));
    data_forget(f);
    /* what is no image does not count */
    const unsigned char *bytes = image_bytes(f, "bee/rgb.png", &count);
    put(f, "s/cat/.hidden.png", bytes, count);
    data_text(f, "s/cat/notes.txt", "x");
    data_text(f, "s/list.txt", "x");
    assert_false(packs_anew(f, item, &now));
    assert_int_equal(dlt_diag_size(f->diag), 0);
}

static void a_cache_that_cannot_be_written_is_a_note(void **state)
{
    data_fixture *f = *state;
    data_text(f, "cache", "a file where the folder should be");
    dlt_dataset *ds = data_open(f, images(f, small_set(f), "error"), DLT_DEPTH_LOAD);
    assert_non_null(ds);
    assert_string_equal(data_message(f, 0),
                        "s: no packed copy can be kept in 'cache'; the next start reads all of it again");
    data_forget(f);
    dlt_dataset_close(ds);
}

static void names_that_change_under_a_run_are_an_error(void **state)
{
    data_fixture *f = *state;
    const dlt_item *item = images(f, small_set(f), "error");
    for (int hit = 0; hit < 2; hit++) { /* from the files, from the cache */
        dlt_dataset *ds = data_open(f, item, DLT_DEPTH_LOAD);
        assert_int_equal(dlt_dataset_unchanged(ds, f->diag), DLT_OK);
        const struct timespec later[2] = {{.tv_sec = 2000000000}, {.tv_sec = 2000000000}};
        assert_int_equal(utimensat(AT_FDCWD, data_path(f, "s/cat"), later, 0), 0);
        assert_int_equal(dlt_dataset_unchanged(ds, f->diag), DLT_OK); /* the same names and sizes */
        data_text(f, "s/cat/notes.txt", "x");
        assert_int_equal(dlt_dataset_unchanged(ds, f->diag), DLT_OK);
        const char *more = copy(f, "s/cat/3.png", "bee/rgb.png");
        assert_int_equal(dlt_dataset_unchanged(ds, f->diag), DLT_E_DATA);
        assert_string_equal(data_message(f, 0), "'s/cat' changed while the run was using it; a run needs the "
                                                "same data from its first step to its last");
        data_forget(f);
        assert_int_equal(unlink(more), 0);
        assert_int_equal(dlt_dataset_unchanged(ds, f->diag), DLT_OK);
        assert_int_equal(mkdir(data_path(f, "s/cow"), 0777), 0);
        assert_int_equal(dlt_dataset_unchanged(ds, f->diag), DLT_E_DATA);
        assert_int_equal(rmdir(data_path(f, "s/cow")), 0);
        data_forget(f);
        dlt_dataset_close(ds);
    }
}

/* ---- what cannot be read ---- */

static void bad_files_are_named_and_counted(void **state)
{
    data_fixture *f = *state;
    const char *path = small_set(f);
    put(f, "s/cat/0.png", "", 0);
    data_text(f, "s/dog/notes.jpg", "GIF89a");
    refuses(f, images(f, path, "error"),
            "model.yaml:2:5: 2 of 7 images in 's' cannot be read: 'cat/0.png' (it is empty), 'dog/notes.jpg' "
            "(it is a GIF file; only JPEG "
            "and PNG are read); bad_files: skip leaves such files out");
    ino_t none = 0;
    assert_int_equal(packs(f, &none), 0);
    for (int i = 0; i < 5; i++) {
        put(f, dlt_arena_printf(f->arena, "s/dog/deep/%d.png", i), "\x89PNG\r\n\x1a\n", 8);
    }
    dlt_dataset *ds = data_open(f, images(f, path, "skip"), DLT_DEPTH_LOAD);
    assert_non_null(ds);
    assert_int_equal(dlt_dataset_count(ds), 5);
    const int32_t labels[5] = {0, 0, 1, 1, 1};
    assert_memory_equal(data_part(f, ds, 1), labels, sizeof labels);
    assert_string_equal(data_message(f, 0), "model.yaml:2:5: 7 of 12 images in 's' cannot be read and are "
                                            "left out: 'cat/0.png' (it is empty), 'dog/notes.jpg' (it "
                                            "is a GIF file; only JPEG and PNG are read), 'dog/deep/0.png' "
                                            "(it ends early), 'dog/deep/1.png' (it ends "
                                            "early), 'dog/deep/2.png' (it ends early), and 2 more");
    data_forget(f);
    dlt_dataset_close(ds);
    ds = data_open(f, images(f, path, "skip"), DLT_DEPTH_LOAD); /* from the cache */
    assert_int_equal(dlt_dataset_count(ds), 5);
    assert_non_null(strstr(data_message(f, 0), "model.yaml:2:5: 7 of 12 records were left out when 'cache/s-"));
    data_forget(f);
    dlt_dataset_close(ds);
    /* a scan of what may be left out counts what is good */
    ds = data_open_with(
        f, images(f, path, "skip"), DLT_DEPTH_SCAN,
        (dlt_dataset_options){.memory = 1 << 20, .threads = 2, .cache = data_path(f, "other")});
    assert_int_equal(dlt_dataset_count(ds), 5);
    data_forget(f);
    dlt_dataset_close(ds);
}

/* Decodes bytes and gives what is said of them. */
static const char *verdict(data_fixture *f, const void *bytes, size_t count)
{
    dlt_image image = {0};
    const dlt_status status = dlt_image_decode(bytes, count, 3, &image);
    assert_int_equal(status == DLT_OK, image.why[0] == '\0');
    assert_true(status == DLT_OK || status == DLT_E_DATA);
    const char *why = dlt_arena_string(f->arena, image.why);
    dlt_image_release(&image);
    return status == DLT_OK ? "good" : why;
}

static void an_image_that_is_cut_anywhere_is_bad(void **state)
{
    data_fixture *f = *state;
    static const char *const files[] = {"ape/baseline.jpg", "ape/progressive.jpg", "ape/grey.JPG",
                                        "dog/adobe.jpg",    "bee/rgb.png",         "bee/interlaced.png",
                                        "cow/16-rgb.png"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        size_t count = 0;
        const unsigned char *bytes = image_bytes(f, files[i], &count);
        assert_string_equal(verdict(f, bytes, count), "good");
        for (size_t cut = 0; cut < count; cut++) {
            assert_string_not_equal(verdict(f, bytes, cut), "good");
        }
        assert_string_equal(verdict(f, bytes, count - 1), "it ends early");
    }
    size_t count = 0;
    unsigned char *bytes = image_bytes(f, "bee/rgb.png", &count);
    bytes[count - 20] ^= 1; /* in the pixels */
    assert_string_not_equal(verdict(f, bytes, count), "good");
}

static void a_jpeg_has_so_many_scans_at_most(void **state)
{
    data_fixture *f = *state;
    size_t count = 0;
    const unsigned char *bytes = image_bytes(f, "ape/progressive.jpg", &count);
    size_t scan = 0, end;
    while (bytes[scan] != 0xff || bytes[scan + 1] != 0xda) {
        scan++;
    }
    for (end = scan + 2; bytes[end] != 0xff || bytes[end + 1] == 0; end++) {
    }
    for (int times = 400; times <= 600; times += 200) { /* the first scan again and again */
        dlt_buf file = {0};
        dlt_buf_append(&file, (const char *)bytes, scan);
        for (int i = 0; i < times; i++) {
            dlt_buf_append(&file, (const char *)bytes + scan, end - scan);
        }
        dlt_buf_append(&file, (const char *)bytes + end, count - end);
        assert_string_equal(verdict(f, file.data, file.length),
                            times == 400 ? "good" : "it has more than 500 scans");
        dlt_buf_release(&file);
    }
}

static ssize_t broken_pread(int fd, void *data, size_t bytes, off_t offset)
{
    (void)fd;
    (void)data;
    (void)bytes;
    (void)offset;
    errno = EIO;
    return -1;
}

static void a_broken_disk_is_no_bad_file(void **state)
{
    data_fixture *f = *state;
    const dlt_item *item = images(f, small_set(f), "skip");
    dlt_file_ops ops = *dlt_file_system();
    ops.pread = broken_pread;
    dlt_file_install(&ops);
    dlt_dataset *ds = data_open(f, item, DLT_DEPTH_LOAD);
    dlt_file_install(NULL);
    assert_null(ds);
    assert_string_equal(data_message(f, 0), "model.yaml:2:5: cannot read 's/cat/1.png': Input/output error");
    data_forget(f);
}

static void a_file_may_be_no_larger_than_it_can_be(void **state)
{
    data_fixture *f = *state;
    size_t count = 0;
    unsigned char *bytes = image_bytes(f, "ape/baseline.jpg", &count);
    size_t frame = 0;
    while (bytes[frame] != 0xff || bytes[frame + 1] != 0xc0) {
        frame++;
    }
    memcpy(bytes + frame + 5, "\xff\x00\xff\x00", 4); /* height, width */
    assert_string_equal(verdict(f, bytes, count),
                        "it says that it has 65280 x 65280 pixels; at most 67108864 are read");
    memcpy(bytes + frame + 5, "\x20\x00\x20\x00", 4);
    assert_string_equal(verdict(f, bytes, count),
                        "it says that it has 8192 x 8192 pixels, which its 722 bytes cannot hold");
    memcpy(bytes + frame + 5, "\x00\x00\x00\x00", 4);
    assert_string_not_equal(verdict(f, bytes, count), "good");
    assert_string_equal(verdict(f, "BM and more", 11), "it is a BMP file; only JPEG and PNG are read");
    assert_string_equal(verdict(f, "RIFF1234WEBPVP8 ", 16), "it is a WebP file; only JPEG and PNG are read");
    assert_string_equal(verdict(f, "hello", 5), "it is neither JPEG nor PNG");
}

/* ---- folders ---- */

static void folders_that_will_not_do_are_errors(void **state)
{
    data_fixture *f = *state;
    refuses(f, images(f, data_path(f, "none"), "error"),
            "model.yaml:2:5: cannot open 'none': No such file or directory");
    refuses(f, images(f, data_text(f, "file", "x"), "error"),
            "model.yaml:2:5: cannot open 'file': it is no folder");
    assert_int_equal(mkdir(data_path(f, "empty"), 0777), 0);
    refuses(f, images(f, data_path(f, "empty"), "error"),
            "model.yaml:2:5: 'empty' has no folders and no images; there is to be one for each class, with "
            "its images in it");
    copy(f, "empty/1.png", "bee/rgb.png");
    copy(f, "empty/2.png", "bee/rgb.png");
    refuses(f, images(f, data_path(f, "empty"), "error"),
            "model.yaml:2:5: 'empty' has no folders and 2 images; there is to be one for each class, with "
            "its images in it");
    put(f, "odd/a/x.gif", "GIF89a", 6);
    refuses(
        f, images(f, data_path(f, "odd"), "error"),
        "model.yaml:2:5: 'odd' has no images: no file in it ends in .jpg, .jpeg or .png; there is a .gif");
    if (geteuid() != 0) { /* root reads everything */
        small_set(f);
        assert_int_equal(chmod(data_path(f, "s/cat"), 0), 0);
        refuses(f, images(f, data_path(f, "s"), "error"),
                "model.yaml:2:5: cannot open 's/cat': Permission denied");
        assert_int_equal(chmod(data_path(f, "s/cat"), 0777), 0);
    }
}

static void class_names_choose_and_order(void **state)
{
    data_fixture *f = *state;
    const char *path = small_set(f);
    copy(f, "s/emu/1.png", "bee/rgb.png");
    dlt_dataset *ds = data_open(f,
                                data_item(f, SOURCES, "ImageFolder", "path", path, "image_size", "[7, 9]",
                                          "class_names", "[emu, cat]", NULL),
                                DLT_DEPTH_LOAD);
    assert_non_null(ds);
    const int32_t labels[3] = {0, 1, 1};
    assert_int_equal(dlt_dataset_count(ds), 3);
    assert_memory_equal(data_part(f, ds, 1), labels, sizeof labels);
    dlt_dataset_close(ds);
    refuses(f, data_item(f, SOURCES, "ImageFolder", "path", path, "class_names", "[emu, cats]", NULL),
            "model.yaml:3:5: 's' has no folder 'cats'; did you mean 'cat'?");
    refuses(f, data_item(f, SOURCES, "ImageFolder", "path", path, "class_names", "[emu, zebra]", NULL),
            "model.yaml:3:5: 's' has no folder 'zebra'; it has cat, dog, emu");
}

static void what_is_passed_over_is_said(void **state)
{
    data_fixture *f = *state;
    const char *path = small_set(f);
    put(f, "s/cat/9.gif", "GIF89a", 6);
    put(f, "s/dog/deep/9.bmp", "BM", 2);
    copy(f, "s/lost.png", "bee/rgb.png");
    assert_int_equal(mkdir(data_path(f, "s/yak"), 0777), 0);
    assert_int_equal(mkdir(data_path(f, "s/.git"), 0777), 0);
    copy(f, "s/dog/.hidden.png", "bee/rgb.png");
    dlt_dataset *ds = data_open(f, images(f, path, "error"), DLT_DEPTH_LOAD);
    assert_non_null(ds);
    assert_int_equal(dlt_dataset_count(ds), 5);
    assert_int_equal(dlt_dataset_frame(ds)->class_count, 3); /* yak is one */
    assert_int_equal(dlt_diag_size(f->diag), 3);
    assert_string_equal(
        data_message(f, 0),
        "model.yaml:2:5: the folder 's/yak' has no images (.jpg, .jpeg, .png); it is a class all the same");
    assert_string_equal(data_message(f, 1), "model.yaml:2:5: 2 files of a kind that is not read are left "
                                            "out, the first is 's/cat/9.gif'; only JPEG and PNG are read");
    assert_string_equal(
        data_message(f, 2),
        "model.yaml:2:5: 1 image in 's' itself is left out: only those in a class's folder have a class");
    data_forget(f);
    dlt_dataset_close(ds);
}

static void links_lead_to_files_and_classes_but_not_in_circles(void **state)
{
    data_fixture *f = *state;
    const char *path = small_set(f);
    const char *outside = copy(f, "elsewhere/1.png", "bee/rgb.png");
    assert_int_equal(symlink(outside, data_path(f, "s/cat/link.png")), 0);
    assert_int_equal(symlink(data_path(f, "elsewhere"), data_path(f, "s/emu")), 0);
    assert_int_equal(symlink("..", data_path(f, "s/dog/up")), 0);
    dlt_dataset *ds = data_open(f, images(f, path, "error"), DLT_DEPTH_LOAD);
    assert_non_null(ds);
    assert_int_equal(dlt_dataset_count(ds), 7);
    assert_int_equal(dlt_dataset_stats(ds)->classes.records[2], 1);
    dlt_dataset_close(ds);
    assert_int_equal(unlink(outside), 0);
    copy(f, "elsewhere/2.png", "bee/rgb.png");
    refuses(f, images(f, path, "error"),
            "model.yaml:2:5: 1 of 7 images in 's' cannot be read: 'cat/link.png' (No such file or "
            "directory); bad_files: skip leaves such files out");
    assert_int_equal(mkdir(data_path(f, "s/cat/folder.png"), 0777), 0); /* a folder, whatever its name */
    ds = data_open(f, images(f, path, "skip"), DLT_DEPTH_LOAD);
    assert_int_equal(dlt_dataset_count(ds), 6);
    data_forget(f);
    dlt_dataset_close(ds);
}

/* ---- sets that follow train ---- */

static void validation_has_trains_classes_and_size(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *train = data_open(f, images(f, small_set(f), "error"), DLT_DEPTH_LOAD);
    const dlt_dataset_options follow = {.follow = dlt_dataset_frame(train), .memory = 1 << 20, .threads = 2};
    copy(f, "v/dog/1.png", "elk/tall.png");
    dlt_dataset *ds = data_open_with(f, data_item(f, SOURCES, "ImageFolder", "path", data_path(f, "v"), NULL),
                                     DLT_DEPTH_LOAD, follow);
    assert_non_null(ds);
    const dlt_shape wanted = DLT_SHAPE(7, 9, 3);
    assert_true(dlt_shape_equal(&dlt_dataset_frame(ds)->layout.parts[0].shape, &wanted));
    assert_int_equal(*(const int32_t *)data_part(f, ds, 1), 1); /* dog, though it is the first folder here */
    dlt_dataset_close(ds);
    ds = data_open_with(f, data_item(f, SOURCES, "ImageFolder", "path", data_path(f, "v"), NULL),
                        DLT_DEPTH_LOAD, follow);
    assert_int_equal(*(const int32_t *)data_part(f, ds, 1), 1); /* from the cache */
    dlt_dataset_close(ds);
    assert_null(data_open_with(
        f, data_item(f, SOURCES, "ImageFolder", "path", data_path(f, "v"), "image_size", "[8, 9]", NULL),
        DLT_DEPTH_LOAD, follow));
    assert_string_equal(data_message(f, 0), "model.yaml:5:5: images of train have 7 x 9 pixels and 3 "
                                            "channels, these have 8 x 9 and 3; give both the same");
    data_forget(f);
    assert_null(data_open_with(
        f, data_item(f, SOURCES, "ImageFolder", "path", data_path(f, "v"), "color_mode", "grayscale", NULL),
        DLT_DEPTH_LOAD, follow));
    assert_string_equal(data_message(f, 0), "model.yaml:4:5: images of train have 7 x 9 pixels and 3 "
                                            "channels, these have 7 x 9 and 1; give both the same");
    data_forget(f);
    copy(f, "v/dogs/1.png", "elk/tall.png");
    assert_null(data_open_with(f, data_item(f, SOURCES, "ImageFolder", "path", data_path(f, "v"), NULL),
                               DLT_DEPTH_LOAD, follow));
    assert_string_equal(data_message(f, 1),
                        "model.yaml:2:5: the folder 'dogs' is no class of train; did you mean 'dog'?");
    data_forget(f);
    dlt_dataset_close(train);
}

/* Counts the rows that prediction gets, and compares the first with a golden one. */
static int64_t predicted(data_fixture *f, const char *path, const dlt_frame *frame, const dlt_item *like)
{
    dlt_rows *rows = NULL;
    dlt_table table;
    int64_t seen = 0;
    if (dlt_rows_open(path, frame, like, 2, NULL, &rows, f->diag) != DLT_OK) {
        return -1;
    }
    do {
        if (dlt_rows_next(rows, &table, f->diag) != DLT_OK) {
            seen = -1;
            break;
        }
        seen += table.rows;
    } while (table.rows > 0);
    dlt_rows_close(rows);
    return seen;
}

static void prediction_takes_folders_and_files(void **state)
{
    data_fixture *f = *state;
    const char *path = small_set(f);
    const dlt_item *item = images(f, path, "error");
    dlt_dataset *train = data_open(f, item, DLT_DEPTH_LOAD);
    const dlt_frame *frame = dlt_dataset_frame(train);
    assert_int_equal(predicted(f, data_path(f, "s"), frame, item), 5);     /* folders in it */
    assert_int_equal(predicted(f, data_path(f, "s/dog"), frame, item), 3); /* images in it */
    assert_int_equal(predicted(f, data_path(f, "s/dog/b.jpg"), frame, item), 1);
    assert_int_equal(predicted(f, data_path(f, "s/dog/b.jpg"), frame, NULL),
                     1); /* train was no ImageFolder: its frame tells the size */
    dlt_rows *rows = NULL;
    dlt_table table;
    int64_t count = 0;
    const float *wanted = golden(f, "native", &count); /* the first is ape/baseline.jpg */
    assert_int_equal(dlt_rows_open(data_path(f, "s/dog/b.jpg"), frame, item, 4, NULL, &rows, f->diag),
                     DLT_OK);
    assert_int_equal(dlt_rows_next(rows, &table, f->diag), DLT_OK);
    for (int i = 0; i < 7 * 9 * 3; i++) {
        assert_int_equal(((const unsigned char *)table.columns[0])[i], (int)wanted[i]);
    }
    dlt_rows_close(rows);
    data_text(f, "s/dog/bad.jpg", "x");
    assert_int_equal(predicted(f, data_path(f, "s/dog"), frame, item), -1);
    assert_string_equal(data_message(f, 0), "1 of 4 images in 's/dog' cannot be read: 'bad.jpg' (it is "
                                            "neither JPEG nor PNG); bad_files: skip leaves such files out");
    data_forget(f);
    assert_int_equal(predicted(f, data_path(f, "s/dog"), frame, images(f, path, "skip")), 3);
    data_forget(f);
    const dlt_item *table_item =
        data_item(f, SOURCES, "CSV", "path", data_text(f, "t.csv", "a,b\n1,2\n3,4\n"), "target", "b", NULL);
    dlt_dataset *numbers = data_open(f, table_item, DLT_DEPTH_LOAD);
    assert_int_equal(predicted(f, data_path(f, "s/dog/b.jpg"), dlt_dataset_frame(numbers), table_item), -1);
    assert_string_equal(data_message(f, 0), "'s/dog/b.jpg' is a JPEG file; the model takes a table");
    data_forget(f);
    dlt_dataset_close(numbers);
    dlt_dataset_close(train);
}

static void a_stop_is_heard(void **state)
{
    data_fixture *f = *state;
    atomic_int stop = 1;
    const dlt_dataset_options options = {.memory = 1 << 20, .threads = 2, .stop = &stop};
    dlt_dataset *ds = NULL;
    assert_int_equal(
        dlt_dataset_open(images(f, small_set(f), "error"), DLT_DEPTH_LOAD, &options, &ds, f->diag),
        DLT_E_STOPPED);
    assert_null(ds);
    data_forget(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, data_setup, data_teardown)
    const struct CMUnitTest tests[] = {
        TEST(pixels_are_those_of_keras),
        TEST(labels_are_those_of_keras),
        TEST(the_default_size_is_that_of_keras),
        TEST(any_number_of_threads_gives_the_same_records),
        TEST(images_are_decoded_once),
        TEST(a_cache_that_cannot_be_written_is_a_note),
        TEST(names_that_change_under_a_run_are_an_error),
        TEST(bad_files_are_named_and_counted),
        TEST(an_image_that_is_cut_anywhere_is_bad),
        TEST(a_jpeg_has_so_many_scans_at_most),
        TEST(a_broken_disk_is_no_bad_file),
        TEST(a_file_may_be_no_larger_than_it_can_be),
        TEST(folders_that_will_not_do_are_errors),
        TEST(class_names_choose_and_order),
        TEST(what_is_passed_over_is_said),
        TEST(links_lead_to_files_and_classes_but_not_in_circles),
        TEST(validation_has_trains_classes_and_size),
        TEST(prediction_takes_folders_and_files),
        TEST(a_stop_is_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
