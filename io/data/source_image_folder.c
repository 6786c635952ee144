/* io/data/source_image_folder.c: JPEG and PNG files, a folder for each class, as
 * keras.utils.image_dataset_from_directory reads them: classes in order of their names' bytes or as listed,
 * files in order of their folders and names, images below a class's folder at any depth.
 *
 * A record is features (height, width, channels) as bytes, whatever the files' own sizes: its type is known
 * before any file is opened, takes a quarter of float32, and resizing rounds by half a step of 255 at most,
 * which is less than what JPEG loses. Its label is the code of the class's name.
 *
 * For prediction, all images in the folder and below it, or one file; no labels. */
#include "io/data/folder.h"
#include "io/data/image.h"
#include "io/data/source.h"

#include "base/alloc.h"
#include "base/pool.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { RGB, GRAYSCALE, RGBA };
static const char *const color_names[] = {"rgb", "grayscale", "rgba", NULL};
static const char *const interpolation_names[] = {"bilinear", "nearest", NULL};
enum { BAD_ERROR, BAD_SKIP };
static const char *const bad_names[] = {"error", "skip", NULL};

typedef struct image_params {
    const char *path;
    dlt_strings class_names;
    int color_mode;
    dlt_ints image_size;
    int interpolation;
    bool crop_to_aspect_ratio, pad_to_aspect_ratio;
    int bad_files;
} image_params;

static const dlt_field image_fields[] = {
    DLT_PATH(image_params, path, NULL, "folder that holds a folder for each class"),
    DLT_STRINGS(image_params, class_names, "null",
                "folders to read, in the order of their class numbers; default: all, sorted by their bytes"),
    DLT_ENUM(image_params, color_mode, color_names, rgb, "3, 1 or 4 channels; files are converted"),
    DLT_SHAPE_FIELD(image_params, image_size, 1, 1 << 14, 2, "null",
                    "height and width that images are resized to; default: [256, 256], or those of train"),
    DLT_ENUM(image_params, interpolation, interpolation_names, bilinear,
             "how images are resized; no antialiasing"),
    DLT_BOOL(image_params, crop_to_aspect_ratio, false,
             "keep proportions: cut away what is too wide or too high"),
    DLT_BOOL(image_params, pad_to_aspect_ratio, false, "keep proportions: put black around"),
    DLT_ENUM(image_params, bad_files, bad_names, error, "what becomes of files that cannot be decoded"),
    {0},
};

enum {
    MOST_FILE_BYTES = 256 << 20,
    STAGE_BYTES = 32 << 20, /* of records decoded at once, about */
    STAGE_RECORDS = 256,
    MOST_DEPTH = 32, /* of folders below a class */
    MOST_NAMED = 5   /* bad files in a message */
};
/* A folder that holds images. */
typedef struct image_dir {
    dlt_folder listing;
    int32_t label; /* number of the class among `classes`; -1: none */
    int depth;
} image_dir;

/* A file on its way to a record. */
typedef struct image_job {
    const image_dir *dir;
    const char *name;
    unsigned char *record;
    dlt_status status;
    char why[DLT_IMAGE_WHY_BYTES];
} image_job;

/* What a thread needs; kept from file to file. */
typedef struct image_worker {
    unsigned char *bytes;
    size_t room;
    dlt_image image;
} image_worker;

typedef struct image_state {
    dlt_arena *names; /* of folders and files; given back when all are read */
    const char *one_file;
    const char **classes; /* in order */
    size_t class_count;
    image_dir *dirs;
    size_t dir_count, dir_room;
    int64_t file_count, root_images;
    int64_t unread_count;
    const char *first_unread;

    int32_t *label_of; /* by class: its number in train */
    dlt_image_target target;
    int channels;

    dlt_pool *pool;
    image_worker *workers;
    size_t worker_count;
    unsigned char *stage; /* records, as many as jobs */
    image_job *jobs;
    int64_t stage_room, staged, given; /* of the stage: given out already */
    size_t dir, file;                  /* that comes next */
    int64_t looked_at; /* files that were staged, or passed over because nobody wants their pixels */
    int64_t bad;
    dlt_buf bad_list;
    bool finished;
} image_state;

static void image_check(const dlt_item *item, dlt_diag *diag)
{
    const image_params *p = item->params;
    if (p->image_size.count == 1) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "image_size"),
                 "ImageFolder: image_size is [height, width], found one number; write [%lld, %lld]",
                 (long long)p->image_size.at[0], (long long)p->image_size.at[0]);
    }
    if (p->crop_to_aspect_ratio && p->pad_to_aspect_ratio) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "pad_to_aspect_ratio"),
                 "ImageFolder: only one of crop_to_aspect_ratio and pad_to_aspect_ratio can be true");
    }
    for (size_t i = 0; i < p->class_names.count; i++) {
        const char *name = p->class_names.at[i];
        if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL) {
            dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "class_names"),
                     "ImageFolder: class_names are names of folders in path, found '%s'", name);
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(name, p->class_names.at[k]) == 0) {
                dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "class_names"),
                         "ImageFolder: class_names has '%s' twice", name);
            }
        }
    }
}

/* ---- finding the files ---- */

static dlt_pos at_path(const dlt_source *source)
{
    return dlt_item_pos(source->item, "path");
}

static dlt_status list(const dlt_source *source, const char *path, bool links, dlt_folder *folder,
                       dlt_diag *diag)
{
    const image_state *s = source->state;
    return dlt_folder_list(path, links, at_path(source), s->names, folder, diag);
}

static dlt_status add_dir(dlt_source *source, const image_dir *dir, dlt_diag *diag)
{
    image_state *s = source->state;
    if (s->dir_count == s->dir_room) {
        const size_t room = s->dir_room > 0 ? 2 * s->dir_room : 16;
        image_dir *grown = dlt_realloc(s->dirs, room, sizeof *grown);
        if (grown == NULL) {
            return dlt_fail_memory(diag);
        }
        s->dirs = grown;
        s->dir_room = room;
    }
    s->dirs[s->dir_count++] = *dir;
    s->file_count += (int64_t)dir->listing.count;
    s->unread_count += (int64_t)dir->listing.other_count;
    if (s->first_unread == NULL && dir->listing.first_other != NULL) {
        s->first_unread = dlt_arena_printf(s->names, "%s/%s", dir->listing.path, dir->listing.first_other);
    }
    return DLT_OK;
}

/* The folders that were added from `first` on come in order of their paths' bytes. */
static dlt_status sort_dirs(image_state *s, size_t first, dlt_diag *diag)
{
    const size_t count = s->dir_count - first;
    const char **paths = dlt_alloc_zeroed(count, sizeof *paths);
    size_t *order = dlt_alloc_zeroed(count, sizeof *order);
    image_dir *sorted = dlt_alloc_zeroed(count, sizeof *sorted);
    const bool good = paths != NULL && order != NULL && sorted != NULL;
    for (size_t i = 0; good && i < count; i++) {
        paths[i] = s->dirs[first + i].listing.path;
    }
    if (good) {
        dlt_sort_texts(paths, order, count);
    }
    for (size_t i = 0; good && i < count; i++) {
        sorted[i] = s->dirs[first + order[i]];
    }
    if (good) {
        memcpy(s->dirs + first, sorted, count * sizeof *sorted);
    }
    dlt_free(paths);
    dlt_free(order);
    dlt_free(sorted);
    return good ? DLT_OK : dlt_fail_memory(diag);
}

/* Adds a folder and all below it. Links are followed to the folder itself, and where `links` from it, but no
 * further: there is no circle. */
static dlt_status add_tree(dlt_source *source, const char *path, int32_t label, bool links, dlt_diag *diag)
{
    image_state *s = source->state;
    const size_t first = s->dir_count;
    image_dir root = {.label = label};
    DLT_TRY(list(source, path, links, &root.listing, diag));
    DLT_TRY(add_dir(source, &root, diag));
    for (size_t i = first; i < s->dir_count; i++) { /* which grows meanwhile */
        const image_dir above = s->dirs[i];
        if (above.depth == MOST_DEPTH && above.listing.folder_count > 0) {
            return dlt_fail(diag, DLT_E_DATA, at_path(source),
                            "'%s': folders lie more than %d deep in one another", path, MOST_DEPTH);
        }
        for (size_t k = 0; k < above.listing.folder_count; k++) {
            image_dir inner = {.label = label, .depth = above.depth + 1};
            const char *inner_path =
                dlt_arena_printf(s->names, "%s/%s", above.listing.path, above.listing.folders[k]);
            if (inner_path == NULL) {
                return dlt_fail_memory(diag);
            }
            DLT_TRY(list(source, inner_path, false, &inner.listing, diag));
            DLT_TRY(add_dir(source, &inner, diag));
        }
    }
    return sort_dirs(s, first, diag);
}

static bool has_name(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static dlt_status no_class(const dlt_source *source, const dlt_folder *root, const char *name, dlt_diag *diag)
{
    const int near = dlt_nearest(name, root->folders, root->folder_count);
    dlt_buf found = {0};
    for (size_t i = 0; near < 0 && i < root->folder_count && i < MOST_NAMED; i++) {
        dlt_buf_printf(&found, "%s%s", i > 0 ? ", " : "; it has ", root->folders[i]);
    }
    dlt_buf_string(&found, near < 0 && root->folder_count > MOST_NAMED ? ", ..." : "");
    const dlt_status status =
        dlt_fail(diag, DLT_E_DATA, dlt_item_pos(source->item, "class_names"), "'%s' has no folder '%s'%s%s%s",
                 root->path, name, near >= 0 ? "; did you mean '" : dlt_buf_text(&found),
                 near >= 0 ? root->folders[near] : "", near >= 0 ? "'?" : "");
    dlt_buf_release(&found);
    return status;
}

/* Which classes there are, by the folders in the root or as the user lists them. */
static dlt_status choose_classes(dlt_source *source, const dlt_folder *root, dlt_diag *diag)
{
    const image_params *p = source->item->params;
    image_state *s = source->state;
    dlt_status status = DLT_OK;
    s->class_count = p->class_names.count > 0 ? p->class_names.count : root->folder_count;
    s->classes = dlt_arena_alloc(source->arena, s->class_count, sizeof *s->classes);
    for (size_t i = 0; s->classes != NULL && i < s->class_count; i++) {
        const char *name = p->class_names.count > 0 ? p->class_names.at[i] : root->folders[i];
        s->classes[i] = dlt_arena_string(source->arena, name);
        if (p->class_names.count > 0 && !has_name(root->folders, root->folder_count, name)) {
            status = no_class(source, root, name, diag);
        }
        if (!dlt_utf8_valid(name, strlen(name)) || !dlt_text_plain(name)) {
            status = dlt_fail(diag, DLT_E_DATA, at_path(source),
                              "'%s': the name of the folder '%s' cannot be that of a class: it is no UTF-8, "
                              "or has control characters",
                              root->path, name);
        }
    }
    if (dlt_arena_failed(source->arena)) {
        return dlt_fail_memory(diag);
    }
    if (s->class_count == 0) {
        char count[40];
        dlt_format_count((int64_t)root->count, count, sizeof count);
        return dlt_fail(
            diag, DLT_E_DATA, at_path(source),
            "'%s' has no folders and %s image%s; there is to be one for each class, with its images in it",
            root->path, root->count > 0 ? count : "no", root->count == 1 ? "" : "s");
    }
    return status;
}

static dlt_status find_classes(dlt_source *source, dlt_folder *root, dlt_diag *diag)
{
    const image_params *p = source->item->params;
    image_state *s = source->state;
    DLT_TRY(list(source, p->path, true, root, diag));
    DLT_TRY(choose_classes(source, root, diag));
    s->root_images = (int64_t)root->count;
    for (size_t i = 0; i < s->class_count; i++) {
        const char *path = dlt_arena_printf(s->names, "%s/%s", p->path, s->classes[i]);
        const int64_t before = s->file_count;
        if (path == NULL) {
            return dlt_fail_memory(diag);
        }
        DLT_TRY(add_tree(source, path, (int32_t)i, false, diag));
        if (s->file_count == before && source->options.follow == NULL) {
            dlt_warn(diag, at_path(source),
                     "the folder '%s' has no images (.jpg, .jpeg, .png); it is a class all the same", path);
        }
    }
    return DLT_OK;
}

/* One stamp for each folder, the root's first: by it the data are named. */
static dlt_status take_stamps(dlt_source *source, const dlt_folder *root, dlt_diag *diag)
{
    const image_params *p = source->item->params;
    const image_state *s = source->state;
    source->stamps = dlt_alloc_zeroed(1 + s->dir_count, sizeof *source->stamps);
    if (source->stamps == NULL) {
        return dlt_fail_memory(diag);
    }
    const unsigned from_root = p->class_names.count > 0 ? 0 : DLT_FOLDER_FOLDERS;
    DLT_TRY(dlt_folder_stamp_of(root, from_root | DLT_FOLDER_LINKS, source->arena,
                                &source->stamps[source->stamp_count++], diag));
    for (size_t i = 0; i < s->dir_count; i++) {
        dlt_stamp *stamp = &source->stamps[source->stamp_count++];
        DLT_TRY(dlt_folder_stamp_of(&s->dirs[i].listing, DLT_FOLDER_FILES | DLT_FOLDER_FOLDERS, source->arena,
                                    stamp, diag));
        stamp->path = dlt_arena_string(source->arena, stamp->path);
        if (stamp->path == NULL) {
            return dlt_fail_memory(diag);
        }
    }
    return DLT_OK;
}

static void warn_of_others(const dlt_source *source, dlt_diag *diag)
{
    const image_params *p = source->item->params;
    const image_state *s = source->state;
    char count[40];
    if (s->unread_count > 0 && s->first_unread != NULL) {
        dlt_format_count(s->unread_count, count, sizeof count);
        dlt_warn(
            diag, at_path(source),
            "%s file%s of a kind that is not read %s left out, the first is '%s'; only JPEG and PNG are read",
            count, s->unread_count == 1 ? "" : "s", s->unread_count == 1 ? "is" : "are", s->first_unread);
    }
    if (s->root_images > 0) {
        dlt_format_count(s->root_images, count, sizeof count);
        dlt_warn(diag, at_path(source),
                 "%s image%s in '%s' itself %s left out: only those in a class's folder have a class", count,
                 s->root_images == 1 ? "" : "s", p->path, s->root_images == 1 ? "is" : "are");
    }
}

static dlt_status image_files(dlt_source *source, dlt_diag *diag)
{
    const image_params *p = source->item->params;
    image_state *s = dlt_alloc_zeroed(1, sizeof *s);
    struct stat status;
    if (s == NULL) {
        return dlt_fail_memory(diag);
    }
    source->state = s;
    s->names = dlt_arena_create();
    if (s->names == NULL) {
        return dlt_fail_memory(diag);
    }
    if (!source->options.predict) {
        dlt_folder root;
        DLT_TRY(find_classes(source, &root, diag));
        DLT_TRY(take_stamps(source, &root, diag));
    } else if (dlt_file()->stat(p->path, &status) == 0 && !S_ISDIR(status.st_mode)) {
        s->one_file = p->path;
        s->file_count = 1;
        return dlt_source_add_file(source, p->path, at_path(source), diag);
    } else {
        DLT_TRY(add_tree(source, p->path, -1, true, diag)); /* read once: no stamps */
    }
    if (s->file_count == 0) {
        return dlt_fail(diag, DLT_E_DATA, at_path(source),
                        "'%s' has no images: no file in it ends in .jpg, .jpeg or .png%s%s", p->path,
                        s->first_unread != NULL ? "; there is a " : "",
                        s->first_unread != NULL ? strrchr(s->first_unread, '.') : "");
    }
    source->wanted = s->file_count;
    warn_of_others(source, diag);
    return DLT_OK;
}

/* ---- what a record is ---- */

static dlt_status not_trains(const dlt_source *source, dlt_diag *diag)
{
    return dlt_fail(
        diag, DLT_E_DATA, source->item->pos,
        "train does not have images as bytes (height, width, channels), ImageFolder gives nothing else");
}

/* Size and channels: those of the item, or train's, which rule. */
static dlt_status choose_shape(dlt_source *source, dlt_diag *diag)
{
    static const int channels_of[] = {[RGB] = 3, [GRAYSCALE] = 1, [RGBA] = 4};
    const image_params *p = source->item->params;
    const dlt_frame *train = source->options.follow;
    image_state *s = source->state;
    const bool given = p->image_size.count == 2;
    s->channels = channels_of[p->color_mode];
    s->target = (dlt_image_target){.height = given ? p->image_size.at[0] : 256,
                                   .width = given ? p->image_size.at[1] : 256,
                                   .aspect = p->crop_to_aspect_ratio  ? DLT_IMAGE_CROP
                                             : p->pad_to_aspect_ratio ? DLT_IMAGE_PAD
                                                                      : DLT_IMAGE_STRETCH,
                                   .nearest = p->interpolation == 1};
    if (train == NULL) {
        return DLT_OK;
    }
    const int at = dlt_layout_find(&train->layout, DLT_ROLE_FEATURE, 0);
    const dlt_part *part = at >= 0 ? &train->layout.parts[at] : NULL;
    if (part == NULL || train->table || part->dtype != DLT_U8 || part->shape.rank != 3 ||
        part->dictionary != NULL || dlt_layout_find(&train->layout, DLT_ROLE_FEATURE, (size_t)at + 1) >= 0) {
        return not_trains(source, diag);
    }
    const int64_t *dim = part->shape.dim;
    const bool fits = dim[0] == s->target.height && dim[1] == s->target.width;
    if (source->options.predict && (dim[2] == 1 || dim[2] == 3 || dim[2] == 4)) {
        s->channels = (int)dim[2];
    }
    if ((given && !fits && !source->options.predict) || dim[2] != s->channels) {
        return dlt_fail(diag, DLT_E_DATA,
                        dlt_item_pos(source->item, dim[2] != s->channels ? "color_mode" : "image_size"),
                        "images of train have %lld x %lld pixels and %lld channel%s, these have %lld x %lld "
                        "and %d; give both the same",
                        (long long)dim[0], (long long)dim[1], (long long)dim[2], dim[2] == 1 ? "" : "s",
                        (long long)(given ? s->target.height : dim[0]),
                        (long long)(given ? s->target.width : dim[1]), s->channels);
    }
    s->target.height = dim[0];
    s->target.width = dim[1];
    return DLT_OK;
}

/* Number of a class among those of train. */
static dlt_status find_in_train(const dlt_source *source, const dlt_dictionary *classes, const char *name,
                                int32_t *label, dlt_diag *diag)
{
    *label = dlt_words_find(dlt_words_of(classes), name, strlen(name));
    if (*label >= 0) {
        return DLT_OK;
    }
    const int near = dlt_nearest(name, classes->at, (size_t)classes->count);
    dlt_buf known = {0};
    for (int64_t i = 0; near < 0 && i < classes->count && i < MOST_NAMED; i++) {
        dlt_buf_printf(&known, "%s%s", i > 0 ? ", " : ", which has ", classes->at[i]);
    }
    dlt_buf_string(&known, near < 0 && classes->count > MOST_NAMED ? ", ..." : "");
    const dlt_status status =
        dlt_fail(diag, DLT_E_DATA, at_path(source), "the folder '%s' is no class of train%s%s%s", name,
                 near >= 0 ? "; did you mean '" : dlt_buf_text(&known), near >= 0 ? classes->at[near] : "",
                 near >= 0 ? "'?" : "");
    dlt_buf_release(&known);
    return status;
}

/* The class numbers of the folders: train's. */
static dlt_status number_classes(dlt_source *source, dlt_diag *diag)
{
    image_state *s = source->state;
    const dlt_frame *train = source->options.follow;
    const int at = train != NULL ? dlt_layout_find(&train->layout, DLT_ROLE_TARGET, 0) : -1;
    const dlt_part *target = at >= 0 ? &train->layout.parts[at] : NULL;
    dlt_status status = DLT_OK;
    s->label_of = dlt_arena_alloc(source->arena, s->class_count, sizeof *s->label_of);
    if (s->label_of == NULL) {
        return dlt_fail_memory(diag);
    }
    if (train != NULL && (target == NULL || target->type != DLT_COLUMN_TEXT)) {
        return dlt_fail(diag, DLT_E_DATA, source->item->pos,
                        "train has no names of classes, which the folders of this source are");
    }
    for (size_t i = 0; i < s->class_count; i++) {
        if (target == NULL) {
            s->label_of[i] = (int32_t)i;
        } else if (find_in_train(source, target->dictionary, s->classes[i], &s->label_of[i], diag) !=
                   DLT_OK) {
            status = DLT_E_DATA;
        }
    }
    return status;
}

static dlt_status make_frame(dlt_source *source, dlt_diag *diag)
{
    static const dlt_dictionary some = {0};
    const image_state *s = source->state;
    const dlt_frame *train = source->options.follow;
    const dlt_part parts[2] = {
        {.name = "features",
         .role = DLT_ROLE_FEATURE,
         .dtype = DLT_U8,
         .shape = DLT_SHAPE(s->target.height, s->target.width, s->channels)},
        {.name = "labels",
         .role = DLT_ROLE_TARGET,
         .type = DLT_COLUMN_TEXT,
         .dtype = DLT_I32,
         .shape = dlt_scalar(),
         .dictionary = &some},
    };
    const size_t part_count = source->options.predict ? 1 : 2;
    DLT_TRY(dlt_frame_create(&(dlt_frame_plan){.count = part_count, .parts = parts}, &source->frame, diag));
    if (!dlt_stats_init(&source->stats, part_count)) {
        return dlt_fail_memory(diag);
    }
    if (part_count == 2 && train != NULL) {
        source->frame->parts[1].dictionary =
            train->layout.parts[dlt_layout_find(&train->layout, DLT_ROLE_TARGET, 0)].dictionary;
    }
    for (size_t i = 0; part_count == 2 && train == NULL && i < s->class_count; i++) {
        const int32_t code =
            dlt_words_add(dlt_frame_words(source->frame, 1), s->classes[i], strlen(s->classes[i]));
        if (code < 0) {
            return code == DLT_WORDS_FULL ? dlt_fail(diag, DLT_E_DATA, at_path(source),
                                                     "there are more classes than can be named")
                                          : dlt_fail_memory(diag);
        }
    }
    if (part_count == 2) {
        source->stats.part[1].distinct = source->frame->parts[1].dictionary->count;
    }
    return DLT_OK;
}

static bool count_record(dlt_source *source, const image_dir *dir)
{
    const image_state *s = source->state;
    return dir == NULL || dir->label < 0 ||
           dlt_stats_class(&source->stats, (double)s->label_of[dir->label], source->stats.records);
}

static dlt_status image_open(dlt_source *source, dlt_diag *diag)
{
    const image_params *p = source->item->params;
    image_state *s = source->state;
    DLT_TRY(choose_shape(source, diag));
    if (!source->options.predict) {
        DLT_TRY(number_classes(source, diag));
    }
    DLT_TRY(make_frame(source, diag));
    source->unit_bytes = source->frame->layout.record_bytes;
    source->stride = source->span = (int64_t)source->unit_bytes;
    source->costly = true;
    source->units = -1;
    if (p->bad_files == BAD_ERROR) { /* each file is a record, or there will be none */
        for (size_t i = 0; i < s->dir_count; i++) {
            for (size_t k = 0; k < s->dirs[i].listing.count; k++, source->stats.records++) {
                if (!count_record(source, &s->dirs[i])) {
                    return dlt_fail_memory(diag);
                }
            }
        }
        source->stats.records = s->file_count;
        source->stats.complete = source->labels_known = true;
        source->units = s->file_count;
    }
    return DLT_OK;
}

/* ---- decoding ---- */

/* Errors that are the machine's, not the file's: leaving the file out would hide them. */
static bool is_serious(int reason)
{
    return reason != ENOENT && reason != EACCES && reason != EPERM && reason != ELOOP && reason != ENOTDIR &&
           reason != ENXIO;
}

static dlt_status cannot_read(image_job *job, int reason)
{
    (void)snprintf(job->why, sizeof job->why, "%s", strerror(reason));
    return reason == ENOMEM ? DLT_E_MEMORY : is_serious(reason) ? DLT_E_INTERNAL : DLT_E_DATA;
}

/* Reads a whole file into the worker's memory. Without dlt_diag: several threads do this. */
static dlt_status read_opened(image_job *job, image_worker *w, int fd, size_t *bytes)
{
    struct stat status;
    if (dlt_file()->fstat(fd, &status) != 0) {
        return cannot_read(job, errno);
    }
    if (!S_ISREG(status.st_mode) || status.st_size > MOST_FILE_BYTES) {
        (void)snprintf(job->why, sizeof job->why,
                       S_ISREG(status.st_mode) ? "it has more than 256 MiB" : "it is not a regular file");
        return DLT_E_DATA;
    }
    *bytes = (size_t)status.st_size;
    if (*bytes > w->room) {
        dlt_free(w->bytes);
        w->bytes = dlt_alloc(*bytes);
        w->room = w->bytes != NULL ? *bytes : 0;
        if (w->bytes == NULL) {
            return DLT_E_MEMORY;
        }
    }
    for (size_t done = 0; done < *bytes;) {
        const ssize_t n = dlt_file()->pread(fd, w->bytes + done, *bytes - done, (off_t)done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return cannot_read(job, errno);
        }
        if (n == 0) { /* it became shorter */
            *bytes = done;
        }
        done += (size_t)n;
    }
    return DLT_OK;
}

static dlt_status read_file(image_job *job, image_worker *w, size_t *bytes)
{
    char place[4096];
    const int length = job->dir != NULL
                           ? snprintf(place, sizeof place, "%s/%s", job->dir->listing.path, job->name)
                           : snprintf(place, sizeof place, "%s", job->name);
    if (length < 0 || (size_t)length >= sizeof place) {
        return cannot_read(job, ENAMETOOLONG);
    }
    const int fd = dlt_file()->open(place, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0) {
        return cannot_read(job, errno);
    }
    const dlt_status status = read_opened(job, w, fd, bytes);
    dlt_file()->close(fd); /* only read from */
    return status;
}

static void decode_one(void *context, int stage, int64_t task, int rank)
{
    dlt_source *source = context;
    image_state *s = source->state;
    image_job *job = &s->jobs[task];
    image_worker *w = &s->workers[rank];
    const dlt_record_layout *layout = &source->frame->layout;
    size_t bytes = 0;
    (void)stage;
    memset(job->record, 0, source->unit_bytes);
    job->status = read_file(job, w, &bytes);
    if (job->status == DLT_OK) {
        job->status = dlt_image_decode(w->bytes, bytes, s->channels, &w->image);
        memcpy(job->why, w->image.why, sizeof job->why);
    }
    if (job->status == DLT_OK) {
        job->status = dlt_image_fit(&w->image, &s->target, job->record + layout->offsets[0]);
    }
    if (job->status == DLT_OK && layout->count == 2) {
        memcpy(job->record + layout->offsets[1], &s->label_of[job->dir->label], sizeof *s->label_of);
    }
}

static int64_t count_tasks(void *context, int stage)
{
    const dlt_source *source = context;
    (void)stage;
    return ((const image_state *)source->state)->staged;
}

/* Threads and their memory, when the first image is wanted. */
static dlt_status start_work(dlt_source *source, dlt_diag *diag)
{
    image_state *s = source->state;
    const int64_t fit = (int64_t)(STAGE_BYTES / source->unit_bytes),
                  fewest = 2 * (int64_t)source->options.threads;
    s->stage_room = fit < fewest ? fewest : fit < STAGE_RECORDS ? fit : STAGE_RECORDS;
    s->stage_room = source->options.predict ? fewest : s->stage_room;
    s->stage_room = s->stage_room < s->file_count ? s->stage_room : s->file_count;
    s->worker_count = (size_t)source->options.threads;
    size_t bytes = 0;
    s->workers = dlt_alloc_zeroed(s->worker_count, sizeof *s->workers);
    s->jobs = dlt_alloc_zeroed((size_t)s->stage_room, sizeof *s->jobs);
    s->stage =
        dlt_mul_size((size_t)s->stage_room, source->unit_bytes, &bytes) ? dlt_alloc_aligned(64, bytes) : NULL;
    if (s->workers == NULL || s->jobs == NULL || s->stage == NULL) {
        return dlt_fail_memory(diag);
    }
    if (s->worker_count > 1) {
        s->pool = dlt_pool_create((int)s->worker_count, false);
    }
    if (s->pool == NULL) { /* threads are not to be had: this one does all */
        s->worker_count = 1;
    }
    return DLT_OK;
}

static void end_work(image_state *s)
{
    dlt_pool_destroy(s->pool);
    s->pool = NULL;
    for (size_t i = 0; s->workers != NULL && i < s->worker_count; i++) {
        dlt_free(s->workers[i].bytes);
        dlt_image_release(&s->workers[i].image);
    }
    dlt_free(s->workers);
    dlt_free(s->jobs);
    dlt_free(s->stage);
    dlt_free(s->dirs);
    dlt_arena_destroy(s->names);
    s->workers = NULL;
    s->jobs = NULL;
    s->stage = NULL;
    s->dirs = NULL;
    s->names = NULL;
    s->staged = s->given = 0;
    s->dir_count = 0;
}

/* Names a bad file, by its place below the path. */
static void note_bad(const dlt_source *source, image_state *s, const image_job *job)
{
    const image_params *p = source->item->params;
    if (s->bad++ >= MOST_NAMED) {
        return;
    }
    const char *folder = job->dir != NULL ? job->dir->listing.path : "";
    const size_t skip = strlen(p->path);
    folder += job->dir != NULL && strlen(folder) > skip ? skip + 1 : strlen(folder);
    dlt_buf_printf(&s->bad_list, "%s'%s%s%s' (%s)", s->bad > 1 ? ", " : "", folder,
                   folder[0] != '\0' ? "/" : "", job->dir != NULL ? job->name : dlt_path_base(job->name),
                   job->why);
}

/* What is said of all bad files, once. */
static dlt_status report_bad(dlt_source *source, dlt_diag *diag)
{
    const image_params *p = source->item->params;
    image_state *s = source->state;
    char bad[40], all[40], more[40];
    dlt_format_count(s->bad, bad, sizeof bad);
    dlt_format_count(s->file_count, all, sizeof all);
    dlt_format_count(s->bad - MOST_NAMED, more, sizeof more);
    const bool shortened = s->bad > MOST_NAMED;
    if (s->bad_list.failed) {
        return dlt_fail_memory(diag);
    }
    if (p->bad_files == BAD_SKIP) {
        dlt_warn(diag, at_path(source), "%s of %s images in '%s' cannot be read and %s left out: %s%s%s%s",
                 bad, all, p->path, s->bad == 1 ? "is" : "are", dlt_buf_text(&s->bad_list),
                 shortened ? ", and " : "", shortened ? more : "", shortened ? " more" : "");
        return DLT_OK;
    }
    return dlt_fail(diag, DLT_E_DATA, at_path(source),
                    "%s of %s images in '%s' cannot be read: %s%s%s%s; bad_files: skip leaves such files out",
                    bad, all, p->path, dlt_buf_text(&s->bad_list), shortened ? ", and " : "",
                    shortened ? more : "", shortened ? " more" : "");
}

/* The next files, decoded into the stage. */
static dlt_status fill_stage(dlt_source *source, dlt_diag *diag)
{
    image_state *s = source->state;
    if (s->jobs == NULL) {
        DLT_TRY(start_work(source, diag));
    }
    s->staged = s->given = 0;
    while (s->staged < s->stage_room && s->looked_at < s->file_count) {
        image_job *job = &s->jobs[s->staged];
        job->record = s->stage + (size_t)s->staged * source->unit_bytes;
        job->dir = NULL;
        job->name = s->one_file;
        if (s->one_file == NULL) {
            while (s->file == s->dirs[s->dir].listing.count) {
                s->dir++;
                s->file = 0;
            }
            job->dir = &s->dirs[s->dir];
            job->name = job->dir->listing.files[s->file++].name;
        }
        s->staged++;
        s->looked_at++;
    }
    if (s->pool != NULL) {
        dlt_pool_run(s->pool, &(dlt_pool_job){
                                  .stages = 1, .tasks = count_tasks, .task = decode_one, .context = source});
    } else {
        for (int64_t i = 0; i < s->staged; i++) {
            decode_one(source, 0, i, 0);
        }
    }
    for (int64_t i = 0; i < s->staged; i++) {
        const image_job *job = &s->jobs[i];
        if (job->status == DLT_E_MEMORY) {
            return dlt_fail_memory(diag);
        }
        if (job->status == DLT_E_INTERNAL) {
            return dlt_fail(diag, DLT_E_DATA, at_path(source), "cannot read '%s%s%s': %s",
                            job->dir != NULL ? job->dir->listing.path : "", job->dir != NULL ? "/" : "",
                            job->name, job->why);
        }
        if (job->status != DLT_OK) {
            note_bad(source, s, job);
        }
    }
    return DLT_OK;
}

static dlt_status finish(dlt_source *source, dlt_diag *diag)
{
    image_state *s = source->state;
    if (s->finished) {
        return DLT_OK;
    }
    s->finished = true;
    end_work(s);
    source->stats.complete = true;
    return s->bad > 0 ? report_bad(source, diag) : DLT_OK;
}

/* Gives what is staged. A bad file is left out, or, where it makes the reading fail at its end, empty in its
 * place. */
static dlt_status give(dlt_source *source, int64_t most, unsigned char *units, int64_t *got, dlt_diag *diag)
{
    const image_params *p = source->item->params;
    image_state *s = source->state;
    const bool skip = p->bad_files == BAD_SKIP;
    for (; s->given < s->staged && *got < most; s->given++) {
        const image_job *job = &s->jobs[s->given];
        if (job->status != DLT_OK && skip) {
            continue;
        }
        if (units != NULL) {
            memcpy(units + (size_t)*got * source->unit_bytes, job->record, source->unit_bytes);
        }
        if (skip) { /* else all are counted already */
            if (!count_record(source, job->dir)) {
                return dlt_fail_memory(diag);
            }
            source->stats.records++;
        }
        ++*got;
    }
    return DLT_OK;
}

static dlt_status image_next(dlt_source *source, int64_t most, unsigned char *units, int64_t *got,
                             dlt_diag *diag)
{
    image_state *s = source->state;
    *got = 0;
    while (*got == 0) {
        if (dlt_source_stopped(source)) {
            return dlt_source_stop(source, diag);
        }
        if (s->given < s->staged) {
            DLT_TRY(give(source, most, units, got, diag));
            continue;
        }
        if (s->looked_at == s->file_count) {
            return finish(source, diag);
        }
        if (units == NULL && source->units >= 0) { /* what there is to know is known without their pixels */
            *got = s->file_count - s->looked_at;
            s->looked_at = s->file_count;
            return DLT_OK;
        }
        DLT_TRY(fill_stage(source, diag));
        if (source->options.predict && s->bad > 0 && source->units >= 0) {
            return report_bad(source, diag);
        }
    }
    return DLT_OK;
}

static void image_close(dlt_source *source)
{
    image_state *s = source->state;
    if (s != NULL) {
        end_work(s);
        dlt_buf_release(&s->bad_list);
        dlt_free(s);
        source->state = NULL;
    }
}

static dlt_status image_input(dlt_arena *arena, const dlt_item *like, const char *path, bool targets,
                              void *params, dlt_diag *diag)
{
    (void)arena;
    (void)targets; /* folders are labels */
    (void)diag;
    image_params *p = params;
    *p = like != NULL ? *(const image_params *)like->params : (image_params){0};
    p->path = path;
    p->class_names = (dlt_strings){0}; /* train's numbers hold; a class need not occur */
    return DLT_OK;
}

const dlt_source_desc dlt_source_image_folder = {
    .kind = {.name = "ImageFolder",
             .doc = "JPEG and PNG files, a folder for each class",
             .size = sizeof(image_params),
             .fields = image_fields,
             .check = image_check},
    .files = image_files,
    .open = image_open,
    .next = image_next,
    .close = image_close,
    .input = image_input,
};
