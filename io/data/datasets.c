/* io/data/datasets.c: train, validation and test together. */
#include "io/data/datasets.h"

#include "base/alloc.h"
#include "base/linux_map.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MOST_THREADS = 8, MISSING_SHOWN = 10 };

struct dlt_datasets {
    dlt_arena *arena;
    dlt_dataset *datasets[DLT_SET_COUNT]; /* NULL: absent, or a part of train */
    dlt_split *split;
    dlt_view views[DLT_SET_COUNT];
    bool has_view[DLT_SET_COUNT];
    const dlt_frame *frame;
    dlt_signature signature;
};

/* ---- how much memory ---- */

/* Reads the beginning of a file of the kernel's, with a NUL behind it; 0 where there is none. Needs no memory: a limit must not
 * be overlooked where it is felt. */
static size_t read_small(const char *path, char *text, size_t room)
{
    const int fd = dlt_file()->open(path, O_RDONLY | O_CLOEXEC, 0);
    size_t bytes = 0;
    for (ssize_t got = 1; fd >= 0 && got > 0 && bytes < room - 1; bytes += got > 0 ? (size_t)got : 0) {
        got = dlt_file()->read(fd, text + bytes, room - 1 - bytes);
    }
    if (fd >= 0) {
        dlt_file()->close(fd);
    }
    text[bytes] = '\0';
    return bytes;
}

/* The number in a small file such as memory.max; UINT64_MAX when there is none ("max"). */
static uint64_t number_in(const char *path)
{
    char text[64];
    const size_t bytes = read_small(path, text, sizeof text);
    uint64_t value = 0;
    size_t digits = 0;
    for (; digits < bytes && text[digits] >= '0' && text[digits] <= '9' && value < UINT64_MAX / 16;
         digits++) {
        value = value * 10 + (uint64_t)(text[digits] - '0');
    }
    return digits > 0 ? value : UINT64_MAX;
}

/* Limit of our control group and those above it (version 2); UINT64_MAX: none. A batch system sets it to what
 * was asked for. */
static uint64_t group_limit(void)
{
    char text[8192], path[sizeof text + 64];
    uint64_t least = UINT64_MAX;
    (void)read_small("/proc/self/cgroup", text, sizeof text);
    char *group = strstr(text, "0::/");
    if (group != NULL) {
        group += 3;
        group[strcspn(group, "\n")] = '\0';
        for (;;) {
            snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", strcmp(group, "/") == 0 ? "" : group);
            const uint64_t limit = number_in(path);
            least = limit < least ? limit : least;
            char *slash = strrchr(group, '/');
            if (slash == NULL || strcmp(group, "/") == 0) {
                break;
            }
            slash[slash == group ? 1 : 0] = '\0';
        }
    }
    return least;
}

uint64_t dlt_datasets_memory(const dlt_opt_int *asked)
{
    if (asked->set) {
        return asked->value > 0 ? (uint64_t)asked->value : 0;
    }
    const size_t known = dlt_memory_of_machine();
    const uint64_t machine = known > 0 ? known : (uint64_t)4 << 30;
    const uint64_t group = group_limit();
    return (group < machine ? group : machine) / 4;
}

/* ---- opening ---- */

static const char *set_name(int set)
{
    static const char *const names[] = {"train", "validation", "test"};
    return names[set];
}

static dlt_status open_set(dlt_datasets *data, int set, const dlt_item *item, const dlt_data_spec *spec,
                           const dlt_datasets_options *options, uint64_t *memory, dlt_diag *diag)
{
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    const int chosen = processors < 1 ? 1 : processors > MOST_THREADS ? MOST_THREADS : (int)processors;
    const dlt_dataset_options how = {.follow = data->frame,
                                     .memory = *memory,
                                     .cache = spec->cache,
                                     .threads = options->threads > 0 ? options->threads : chosen,
                                     .stop = options->stop};
    DLT_TRY(dlt_dataset_open(item, options->depth, &how, &data->datasets[set], diag));
    const uint64_t held = dlt_dataset_memory(data->datasets[set]);
    *memory -= held < *memory ? held : *memory;
    if (options->depth == DLT_DEPTH_LOAD) {
        data->views[set] = dlt_view_whole(data->datasets[set]);
        data->has_view[set] = true;
    }
    return DLT_OK;
}

static dlt_status make_split(dlt_datasets *data, const dlt_item *item, const dlt_datasets_options *options,
                             dlt_diag *diag)
{
    const dlt_split_params *params = item->params;
    dlt_set_info *sets = data->signature.sets;
    if (data->datasets[DLT_TRAIN] == NULL) {
        return dlt_fail(diag, DLT_E_CONFIG, item->pos, "split takes a part of train, but there is no train");
    }
    const dlt_class_stats *classes = &dlt_dataset_stats(data->datasets[DLT_TRAIN])->classes;
    if (params->stratify && classes->other >= 0 && data->signature.target != DLT_TARGET_TENSOR) {
        char text[40];
        dlt_format_double(classes->other_value, text, sizeof text);
        return dlt_fail(diag, DLT_E_DATA, dlt_item_pos(item, "stratify"),
                        "stratify needs classes, but the target of record %lld is %s",
                        (long long)classes->other + 1, text);
    }
    const int64_t count = dlt_dataset_count(data->datasets[DLT_TRAIN]);
    if (options->depth != DLT_DEPTH_LOAD) {
        sets[DLT_TRAIN].count = count >= 0 ? dlt_split_count(count, params->fraction) : -1;
        sets[DLT_VALIDATION].count = count >= 0 ? count - sets[DLT_TRAIN].count : -1;
        if (count >= 0 && (sets[DLT_TRAIN].count == 0 || sets[DLT_VALIDATION].count == 0)) {
            return dlt_fail(diag, DLT_E_DATA, item->pos, "split %g of %lld records leaves %s empty",
                            params->fraction, (long long)count,
                            sets[DLT_TRAIN].count == 0 ? "train" : "validation");
        }
        return DLT_OK;
    }
    DLT_TRY(dlt_split_create(data->datasets[DLT_TRAIN], params, options->seed, item->pos, options->stop,
                             &data->split, diag));
    data->views[DLT_TRAIN] = data->split->train;
    data->views[DLT_VALIDATION] = data->split->validation;
    data->has_view[DLT_VALIDATION] = true;
    sets[DLT_TRAIN].count = data->split->train.count;
    sets[DLT_VALIDATION].count = data->split->validation.count;
    return DLT_OK;
}

/* ---- signature ---- */

/* What people call the data: the folder of files named train..., else the first file's name without its
 * endings. */
static const char *name_of(dlt_datasets *data, const dlt_dataset *dataset, const dlt_item *item)
{
    const char *path = dlt_dataset_path(dataset), *name = NULL;
    if (path != NULL) {
        const char *base = dlt_path_base(path), *end;
        if (dlt_text_starts(base, "train") && base > path + 1) {
            end = base - 1; /* the slash */
            base = end;
            while (base > path && base[-1] != '/') {
                base--;
            }
        } else {
            end = base + strcspn(base, ".");
        }
        name = dlt_arena_copy(data->arena, base, (size_t)(end - base));
    }
    return name != NULL && name[0] != '\0' ? name : item->kind->name;
}

static void describe_set(dlt_datasets *data, int set)
{
    const dlt_dataset *dataset = data->datasets[set];
    dlt_set_info *info = &data->signature.sets[set];
    *info = (dlt_set_info){.present = true,
                           .count = dlt_dataset_count(dataset),
                           .digest = dlt_dataset_digest(dataset),
                           .content = dlt_dataset_content(dataset),
                           .place = dlt_dataset_place(dataset),
                           .file_bytes = dlt_dataset_file_bytes(dataset),
                           .stats = dlt_dataset_stats(dataset)};
    data->signature.exact = data->signature.exact && dlt_dataset_exact(dataset);
}

/* Classes of a set that is a source of its own, as many as the signature has. */
static const int64_t *counts_of_source(dlt_datasets *data, int set)
{
    const dlt_class_stats *classes = &dlt_dataset_stats(data->datasets[set])->classes;
    int64_t *counts = dlt_arena_alloc(data->arena, (size_t)data->signature.class_count, sizeof *counts);
    for (int64_t i = 0; counts != NULL && i < data->signature.class_count && i < classes->count; i++) {
        counts[i] = classes->records[i];
    }
    return counts;
}

static dlt_status count_classes(dlt_datasets *data, const dlt_datasets_options *options, dlt_diag *diag)
{
    dlt_signature *s = &data->signature;
    if (s->target != DLT_TARGET_CLASS || s->class_count == 0) {
        return DLT_OK;
    }
    for (int set = 0; set < DLT_SET_COUNT; set++) {
        if (data->datasets[set] != NULL && dlt_dataset_stats(data->datasets[set])->complete &&
            dlt_dataset_stats(data->datasets[set])->classes.count > 0) {
            s->sets[set].class_counts = counts_of_source(data, set);
        }
    }
    if (data->split != NULL && s->sets[DLT_TRAIN].class_counts != NULL) {
        int64_t *train = dlt_arena_alloc(data->arena, (size_t)s->class_count, sizeof *train);
        int64_t *validation = dlt_arena_alloc(data->arena, (size_t)s->class_count, sizeof *validation);
        if (train == NULL || validation == NULL) {
            return dlt_fail_memory(diag);
        }
        DLT_TRY(
            dlt_view_classes(&data->views[DLT_VALIDATION], validation, s->class_count, options->stop, diag));
        for (int64_t i = 0; i < s->class_count; i++) {
            train[i] = s->sets[DLT_TRAIN].class_counts[i] - validation[i];
        }
        s->sets[DLT_TRAIN].class_counts = train;
        s->sets[DLT_VALIDATION].class_counts = validation;
    } else if (s->sets[DLT_VALIDATION].present && data->datasets[DLT_VALIDATION] == NULL) {
        s->sets[DLT_TRAIN].class_counts =
            NULL; /* of the whole; which part of it is train's was not looked at */
    }
    return dlt_arena_failed(data->arena) ? dlt_fail_memory(diag) : DLT_OK;
}

static void warn_of_missing_classes(const dlt_datasets *data, dlt_pos at, dlt_diag *diag)
{
    const dlt_signature *s = &data->signature;
    const int64_t *train = s->sets[DLT_TRAIN].class_counts,
                  *validation = s->sets[DLT_VALIDATION].class_counts;
    int missing = 0;
    for (int64_t i = 0; train != NULL && validation != NULL && i < s->class_count; i++) {
        if ((train[i] > 0) == (validation[i] > 0) || ++missing > MISSING_SHOWN) {
            continue;
        }
        char number[32];
        snprintf(number, sizeof number, "%lld", (long long)i);
        dlt_warn(diag, at, "class '%s' is missing from %s (%lld records in %s)",
                 s->class_names != NULL ? s->class_names[i] : number,
                 validation[i] == 0 ? "validation" : "train",
                 (long long)(validation[i] == 0 ? train[i] : validation[i]),
                 validation[i] == 0 ? "train" : "validation");
    }
    if (missing > MISSING_SHOWN) {
        dlt_warn(diag, at, "and %d more classes are missing from train or validation",
                 missing - MISSING_SHOWN);
    }
}

static dlt_status open_all(dlt_datasets *data, const dlt_data_spec *spec, const dlt_datasets_options *options,
                           dlt_diag *diag)
{
    uint64_t memory = dlt_datasets_memory(&spec->memory);
    dlt_signature *s = &data->signature;
    const dlt_item *items[DLT_SET_COUNT] = {spec->train, spec->validation, spec->test};
    const bool splits = spec->validation != NULL && spec->validation->kind == &dlt_split_kind;
    data->frame = options->follow;
    s->exact = true;
    dlt_status status = DLT_OK;
    for (int set = 0; set < DLT_SET_COUNT; set++) {
        if (items[set] == NULL || (set == DLT_VALIDATION && splits)) {
            continue;
        }
        if (set != DLT_TRAIN && data->frame == NULL && status == DLT_OK) {
            return dlt_fail(diag, DLT_E_CONFIG, items[set]->pos,
                            "%s needs train, whose columns and classes it follows", set_name(set));
        }
        const dlt_status opened = open_set(data, set, items[set], spec, options, &memory, diag);
        if (opened != DLT_OK && opened != DLT_E_DATA && opened != DLT_E_CONFIG) {
            return opened;
        }
        status = status == DLT_OK ? opened : status;
        if (opened == DLT_OK) {
            describe_set(data, set);
            data->frame = data->frame == NULL ? dlt_dataset_frame(data->datasets[set]) : data->frame;
        }
    }
    DLT_TRY(status);
    int first = 0;
    while (first < DLT_SET_COUNT && (items[first] == NULL || data->datasets[first] == NULL)) {
        first++;
    }
    if (first == DLT_SET_COUNT) {
        return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0},
                        "the model file names no data: data.train is missing");
    }
    s->name = name_of(data, data->datasets[first], items[first]);
    s->layout = &data->frame->layout;
    s->stats = dlt_dataset_stats(data->datasets[first]);
    s->target = dlt_target_of(data->frame, &s->target_shape);
    s->class_count = data->frame->class_count;
    const int target = dlt_layout_find(s->layout, DLT_ROLE_TARGET, 0);
    if (target >= 0 && s->layout->parts[target].dictionary != NULL) {
        s->class_names = s->layout->parts[target].dictionary->at;
    }
    if (splits) {
        s->sets[DLT_VALIDATION] =
            (dlt_set_info){.present = true, .digest = "", .content = "", .place = s->sets[DLT_TRAIN].place};
        DLT_TRY(make_split(data, items[DLT_VALIDATION], options, diag));
    }
    DLT_TRY(count_classes(data, options, diag));
    if (items[DLT_VALIDATION] != NULL) {
        warn_of_missing_classes(data, items[DLT_VALIDATION]->pos, diag);
    }
    return dlt_arena_failed(data->arena) ? dlt_fail_memory(diag) : DLT_OK;
}

dlt_status dlt_datasets_open(const dlt_data_spec *spec, const dlt_datasets_options *options,
                             dlt_datasets **data, dlt_diag *diag)
{
    *data = NULL;
    dlt_datasets *made = dlt_alloc_zeroed(1, sizeof *made);
    dlt_arena *arena = dlt_arena_create();
    if (made == NULL || arena == NULL) {
        dlt_free(made);
        dlt_arena_destroy(arena);
        return dlt_fail_memory(diag);
    }
    made->arena = arena;
    const dlt_status status = open_all(made, spec, options, diag);
    if (status != DLT_OK) {
        dlt_datasets_close(made);
        return status;
    }
    *data = made;
    return DLT_OK;
}

void dlt_datasets_close(dlt_datasets *data)
{
    if (data == NULL) {
        return;
    }
    dlt_split_destroy(data->split);
    for (int set = DLT_SET_COUNT - 1; set >= 0;
         set--) { /* train last: the others' frames point into its own */
        dlt_dataset_close(data->datasets[set]);
    }
    dlt_arena_destroy(data->arena);
    dlt_free(data);
}

const dlt_signature *dlt_datasets_signature(const dlt_datasets *data)
{
    return &data->signature;
}

const dlt_frame *dlt_datasets_frame(const dlt_datasets *data)
{
    return data->frame;
}

const dlt_view *dlt_datasets_view(const dlt_datasets *data, dlt_set set)
{
    return data->has_view[set] ? &data->views[set] : NULL;
}

uint64_t dlt_datasets_resident(const dlt_datasets *data)
{
    uint64_t bytes = 0;
    for (int set = 0; set < DLT_SET_COUNT; set++) {
        bytes += data->datasets[set] != NULL ? dlt_dataset_memory(data->datasets[set]) : 0;
    }
    return bytes;
}

dlt_status dlt_datasets_unchanged(const dlt_datasets *data, dlt_diag *diag)
{
    for (int set = 0; set < DLT_SET_COUNT; set++) {
        if (data->datasets[set] != NULL) {
            DLT_TRY(dlt_dataset_unchanged(data->datasets[set], diag));
        }
    }
    return DLT_OK;
}
