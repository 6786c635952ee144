/* schema/spec.c: the tables of a model file, and the way from its text to a run spec. */
#include "schema/spec.h"

#include "base/alloc.h"
#include "io/data/source.h"
#include "io/file.h"
#include "schema/dump.h"
#include "schema/schema_internal.h"

#include <math.h>
#include <string.h>

/* ---- tables ---- */

static const char *const precision_names[] = {"float32", "mixed_bfloat16", "mixed_float16", NULL};
static const char *const shuffle_names[] = {"false", "true", "batch", NULL};
static const char *const non_finite_names[] = {"stop", "skip", "rollback", NULL};
static const char *const kernel_names[] = {"auto", "reference", NULL};
static const char *const class_weight_words[] = {"balanced", NULL};

static const dlt_field data_fields[] = {
    DLT_ITEM(dlt_data_spec, train, "source", null, "what is trained on"),
    DLT_ITEM(dlt_data_spec, validation, "validation", null,
             "a source, or split: the share of train that is kept back"),
    {.name = "test",
     .type = DLT_FIELD_ITEM,
     .offset = offsetof(dlt_data_spec, test),
     .category = "source",
     .def = "null",
     .flags = DLT_FIELD_NOT_IN_RUN,
     .doc = "what is evaluated when training is done"},
    {.name = "memory",
     .type = DLT_FIELD_OPT_INT,
     .offset = offsetof(dlt_data_spec, memory),
     .min = 1 << 20,
     .max = 0x1p50,
     .def = "null",
     .flags = DLT_FIELD_NOT_IN_RUN | DLT_FIELD_AUTO,
     .doc = "bytes of records kept in memory; auto is a quarter of the machine's"},
    {.name = "workers",
     .type = DLT_FIELD_OPT_INT,
     .offset = offsetof(dlt_data_spec, workers),
     .min = 1,
     .max = 256,
     .def = "null",
     .flags = DLT_FIELD_NOT_IN_RUN | DLT_FIELD_AUTO,
     .doc = "threads that read ahead; auto chooses"},
    {.name = "cache",
     .type = DLT_FIELD_PATH,
     .offset = offsetof(dlt_data_spec, cache),
     .def = "null",
     .flags = DLT_FIELD_NOT_IN_RUN,
     .doc = "folder of packed sources; null is the user's cache folder"},
    {0},
};

static const dlt_field fit_fields[] = {
    {.name = "epochs",
     .type = DLT_FIELD_INT,
     .offset = offsetof(dlt_fit_spec, epochs),
     .min = 1,
     .max = 1e9,
     .def = "1",
     .flags = DLT_FIELD_NOT_IN_RUN,
     .doc = "number of the last epoch, counted from 1"},
    DLT_INT(dlt_fit_spec, batch_size, 1, 1 << 24, 32, "samples a step"),
    DLT_INT(dlt_fit_spec, initial_epoch, 0, 1e9, 0, "epochs that count as done before the first"),
    DLT_OPT_INT(dlt_fit_spec, steps_per_epoch, 1, 0x1p40,
                "steps that make an epoch; null is one pass over train"),
    DLT_OPT_INT(dlt_fit_spec, validation_steps, 1, 0x1p40, "steps of a validation; null is one pass"),
    DLT_OPT_INT(dlt_fit_spec, validation_batch_size, 1, 1 << 24,
                "samples a step of validation; null is batch_size"),
    DLT_INT(dlt_fit_spec, validation_freq, 1, 1e9, 1, "epochs from one validation to the next"),
    DLT_ENUM(dlt_fit_spec, shuffle, shuffle_names, true,
             "a new order each epoch; batch keeps batches together"),
    DLT_FLOAT_MAP(dlt_fit_spec, class_weight, 0, INFINITY, class_weight_words,
                  "weight of each class in the loss, by name or number; balanced weighs by frequency"),
    {.name = "callbacks",
     .type = DLT_FIELD_ITEMS,
     .offset = offsetof(dlt_fit_spec, callbacks),
     .category = "callback",
     .def = "[]",
     .flags = DLT_FIELD_CHANGEABLE,
     .doc = "what happens between epochs, in this order"},
    DLT_ENUM(dlt_fit_spec, non_finite, non_finite_names, stop,
             "what a loss, gradient, layer state or update that is not finite does"),
    {.name = "save_every_min",
     .type = DLT_FIELD_OPT_FLOAT,
     .offset = offsetof(dlt_fit_spec, save_every_min),
     .min = 0,
     .max = 1e6,
     .def = "null",
     .flags = DLT_FIELD_OPEN_MIN | DLT_FIELD_NOT_IN_RUN,
     .doc = "minutes between checkpoints inside an epoch; null saves at its end"},
    {.name = "keep",
     .type = DLT_FIELD_INT,
     .offset = offsetof(dlt_fit_spec, keep),
     .min = 2,
     .max = 1e6,
     .def = "2",
     .flags = DLT_FIELD_NOT_IN_RUN,
     .doc = "checkpoints kept besides the best"},
    {0},
};

static const dlt_field model_fields[] = {
    {.name = "name",
     .type = DLT_FIELD_STRING,
     .offset = offsetof(dlt_spec, name),
     .def = "null",
     .flags = DLT_FIELD_NOT_IN_RUN,
     .doc = "of the model; null is the file's name without its suffix"},
    DLT_INT(dlt_spec, seed, 0, 0x1p63, 0, "of all random numbers"),
    {.name = "device",
     .type = DLT_FIELD_STRING,
     .offset = offsetof(dlt_spec, device),
     .def = "auto",
     .flags = DLT_FIELD_NOT_IN_RUN,
     .doc = "auto, cpu, cuda or cuda:N; a device named here never falls back to another"},
    DLT_ENUM(dlt_spec, precision, precision_names, float32, "of the numbers that flow through the network"),
    DLT_BOOL(dlt_spec, deterministic, false,
             "on a GPU, take only algorithms that give the same bits each time"),
    {.name = "tune",
     .type = DLT_FIELD_BOOL,
     .offset = offsetof(dlt_spec, tune),
     .def = "false",
     .flags = DLT_FIELD_NOT_IN_RUN,
     .doc = "time the kernels on this machine when training begins, instead of choosing them by rule"},
    {.name = "tuned",
     .type = DLT_FIELD_STRING_MAP,
     .offset = offsetof(dlt_spec, tuned),
     .def = "null",
     .flags = DLT_FIELD_NOT_IN_RUN,
     .doc = "kernels that tune took, by what they work on; fit writes them into the run and its checkpoints"},
    DLT_ENUM(dlt_spec, kernels, kernel_names, auto,
             "reference takes the plain ones that the others are checked against"),
    DLT_STRUCT(dlt_spec, data, data_fields, "{}", "where samples come from"),
    DLT_ITEMS(dlt_spec, layers, "layer", NULL, "the network, from input to output"),
    DLT_ITEM(dlt_spec, optimizer, "optimizer", rmsprop, "how gradients become updates"),
    DLT_ITEM(dlt_spec, loss, "loss", null, "what training makes small; null where the model only predicts"),
    DLT_ITEMS(dlt_spec, metrics, "metric", "[]", "figures of merit"),
    DLT_ITEMS(dlt_spec, weighted_metrics, "metric", "[]",
              "figures of merit that sample and class weights count in"),
    DLT_STRUCT(dlt_spec, fit, fit_fields, "{}", "how training runs"),
    {0},
};

const dlt_kind dlt_kind_model = {
    .name = "model", .doc = "a model file", .size = sizeof(dlt_spec), .fields = model_fields};

/* ---- rules across fields ---- */

dlt_pos dlt_run_spec_pos(const dlt_run_spec *spec, const char *path)
{
    enum { LONGEST = 512 };
    char part[LONGEST];
    size_t length = strlen(path);
    while (length > 0 && length < sizeof part && spec->effective != NULL) {
        memcpy(part, path, length);
        part[length] = '\0';
        const dlt_shown *shown = dlt_shown_find(spec->effective, part);
        if (shown != NULL && shown->pos.line > 0) {
            return shown->pos;
        }
        do { /* what holds it */
            length--;
        } while (length > 0 && path[length] != '.' && path[length] != '[');
    }
    return (dlt_pos){spec->file, 1, 1, 1};
}

/* A rule broken at a path. */
static void broken(dlt_loader *l, const dlt_run_spec *spec, const char *path, const char *found,
                   const char *allowed, const char *text)
{
    const dlt_detail detail = {.key = path, .found = found, .allowed = allowed};
    dlt_mistake(l, dlt_run_spec_pos(spec, path), &detail, "%s", text != NULL ? text : "out of memory");
}

static void check_device(dlt_loader *l, dlt_run_spec *spec)
{
    const char *device = spec->value.device;
    if (strcmp(device, "auto") == 0 || strcmp(device, "cpu") == 0 || strcmp(device, "cuda") == 0) {
        return;
    }
    if (dlt_text_starts(device, "cuda:")) {
        const char *number = device + 5;
        const size_t digits = strspn(number, "0123456789");
        if (digits > 0 && digits <= 3 && number[digits] == '\0') {
            return;
        }
    }
    const bool gpu =
        dlt_text_same(device, "gpu") || dlt_text_starts(device, "gpu:") || dlt_text_same(device, "nvidia");
    static const char *const devices[] = {"auto", "cpu", "cuda"};
    const int near = gpu || dlt_text_starts(device, "cuda:") ? -1 : dlt_nearest(device, devices, DLT_COUNT(devices));
    broken(l, spec, "device", device, "auto, cpu, cuda, cuda:N",
           dlt_arena_printf(l->arena, "device must be auto, cpu, cuda or cuda:N, found '%s'%s%s%s", device,
                            gpu         ? "; write cuda"
                            : near >= 0 ? "; did you mean '"
                                        : "",
                            near >= 0 ? devices[near] : "", near >= 0 ? "'?" : ""));
    spec->value.device = devices[0]; /* to look on with */
}

static void check_name(dlt_loader *l, const dlt_run_spec *spec)
{
    const char *name = spec->value.name;
    const bool good =
        *name != '\0' && *name != '.' && strchr(name, '/') == NULL && dlt_text_plain(name);
    if (!good) {
        broken(l, spec, "name", name, "a word without '/'",
               dlt_arena_printf(l->arena,
                                "name must be a word without '/' that does not begin with '.', found '%s'; "
                                "it names the folder of the runs",
                                name));
    }
}

static void check_fit(dlt_loader *l, const dlt_run_spec *spec)
{
    const dlt_fit_spec *fit = &spec->value.fit;
    if (fit->initial_epoch >= fit->epochs && (l->broken & DLT_BROKEN_FIT) == 0) {
        broken(l, spec, "fit.initial_epoch", NULL, NULL,
               dlt_arena_printf(l->arena,
                                "fit: initial_epoch %lld leaves nothing to train: epochs is the number of "
                                "the last epoch, %lld",
                                (long long)fit->initial_epoch, (long long)fit->epochs));
    }
    if (spec->value.data.validation != NULL || (l->broken & DLT_BROKEN_DATA) != 0) {
        return;
    }
    const char *const needs[] = {fit->validation_steps.set ? "validation_steps" : NULL,
                                 fit->validation_batch_size.set ? "validation_batch_size" : NULL,
                                 fit->validation_freq != 1 ? "validation_freq" : NULL};
    for (size_t i = 0; i < DLT_COUNT(needs); i++) {
        if (needs[i] != NULL) {
            broken(l, spec, dlt_arena_printf(l->arena, "fit.%s", needs[i]), NULL, NULL,
                   dlt_arena_printf(
                       l->arena,
                       "fit: %s is set, but there is no validation; write data: {validation: {split: 0.1}}",
                       needs[i]));
        }
    }
}

static void check_data(dlt_loader *l, const dlt_run_spec *spec)
{
    const dlt_data_spec *data = &spec->value.data;
    if (data->validation != NULL && data->train == NULL) {
        const bool split = data->validation->kind == &dlt_split_kind;
        broken(l, spec, "data.validation", NULL, NULL,
               split ? "data: validation keeps back a share of train, but train is missing"
                     : "data: there is a validation set, but train is missing");
    }
}

/* Levels of lists and mappings that a value is written on; *deepest is the place of the deepest thing. */
static int depth_of(const dlt_shown *shown, int above, int *most, dlt_pos *deepest)
{
    int depth = 0;
    for (size_t i = 0; i < shown->count; i++) {
        const int below = depth_of(shown->at[i], above + 1, most, deepest);
        depth = below > depth ? below : depth;
    }
    if (above > *most && shown->pos.line > 0) {
        *most = above;
        *deepest = shown->pos;
    }
    return depth + 1;
}

/* What is read must be readable again when it is written down: a run keeps it. */
static void check_size(dlt_loader *l, const dlt_run_spec *spec)
{
    enum { SHORT = 4000 /* values, which never come to a megabyte */ };
    int most = 0;
    dlt_pos deepest = spec->root->pos;
    /* a list of values counts as one level although it is one text here */
    if (depth_of(spec->effective, 0, &most, &deepest) > DLT_YAML_MAX_DEPTH) {
        dlt_mistake(l, deepest, NULL, "nested more than %d levels deep", (int)DLT_YAML_MAX_DEPTH);
    } else if (l->visited > SHORT) {
        dlt_buf text = {0};
        dlt_spec_dump(spec, 0, &text);
        if (text.failed) {
            dlt_fail_memory(l->diag);
        } else if (text.length > DLT_YAML_MAX_BYTES) {
            dlt_mistake(l, (dlt_pos){.file = spec->file}, NULL,
                        "written out this model has %zu bytes; at most %d are read", text.length,
                        (int)DLT_YAML_MAX_BYTES);
        }
        dlt_buf_release(&text);
    }
}

static void check_spec(dlt_loader *l, dlt_run_spec *spec)
{
    if (l->errors == 0) {
        check_size(l, spec);
    }
    if (spec->value.layers.count == 0 && (l->broken & DLT_BROKEN_LAYERS) == 0) {
        broken(l, spec, "layers", NULL, NULL, "layers is empty; a model needs at least one layer");
    }
    check_name(l, spec);
    check_device(l, spec);
    if ((l->broken & DLT_BROKEN_DATA) == 0) {
        check_data(l, spec);
    }
    check_fit(l, spec);
}

/* ---- from text to spec ---- */

/* "mnist-cnn" of "configs/mnist-cnn.yaml". */
static const char *stem_of(dlt_arena *arena, const char *file)
{
    static const char *const suffixes[] = {".yaml", ".yml", ".json"};
    const char *base = dlt_path_base(file);
    size_t length = strlen(base);
    for (size_t i = 0; i < DLT_COUNT(suffixes); i++) {
        if (dlt_text_ends(base, suffixes[i]) && length > strlen(suffixes[i])) {
            length -= strlen(suffixes[i]);
            break;
        }
    }
    return dlt_arena_copy(arena, base, length);
}

/* Tells the loader where relative paths of the file and of overrides start. */
static bool place_files(dlt_loader *l, const char *name, dlt_run_spec *spec)
{
    char *folder = dlt_path_folder(name), *absolute = folder != NULL ? dlt_path_absolute(folder) : NULL;
    char *here = dlt_path_absolute(".");
    bool good = absolute != NULL && here != NULL && dlt_loader_add_file(l, name, absolute) &&
                dlt_loader_add_file(l, "-o", here);
    if (good) {
        spec->file = l->files[0].name;
        spec->folder = l->files[0].folder;
    }
    dlt_free(folder);
    dlt_free(absolute);
    dlt_free(here);
    return good;
}

/* A model file must be a mapping; anything else gets a sentence about what it should hold. */
static bool is_mapping(dlt_loader *l, const dlt_yaml *tree)
{
    if (tree->type == DLT_YAML_MAP) {
        return true;
    }
    if (tree->type == DLT_YAML_NULL) {
        return dlt_mistake(l, tree->pos, NULL,
                           "nothing stands in this file; a model needs at least layers: [...]; 'dltrain "
                           "init' writes a file to start from");
    }
    return dlt_mistake(l, tree->pos, NULL,
                       "a model file is a mapping of keys such as 'layers:' and 'fit:', found %s",
                       dlt_found_text(l, tree));
}

/* Everything behind the parser. */
static dlt_status build(dlt_loader *l, const dlt_yaml *tree, const dlt_load_options *options,
                        dlt_run_spec *spec)
{
    if (!is_mapping(l, tree)) {
        return DLT_E_CONFIG;
    }
    if (l->stored && dlt_yaml_get(tree, "include") != NULL) {
        dlt_mistake(l, dlt_yaml_get(tree, "include")->pos, NULL,
                    "'include' is not followed in a stored config");
        return DLT_E_CONFIG;
    }
    const char *name = spec->file;
    if (!l->stored) {
        tree = dlt_include(l, &dlt_kind_model, tree, spec->folder);
        if (tree == NULL) {
            return DLT_E_CONFIG;
        }
    }
    tree = dlt_override_all(l, &dlt_kind_model, tree, options);
    if (tree == NULL) {
        return DLT_E_MEMORY;
    }
    l->vars = l->stored ? NULL : dlt_yaml_get(tree, "vars");
    if (l->vars != NULL && l->vars->type != DLT_YAML_MAP && l->vars->type != DLT_YAML_NULL) {
        dlt_mistake_value(l, "vars", l->vars, "a mapping of names to values", NULL);
        l->vars = NULL;
    }
    dlt_item *root = dlt_arena_alloc(l->arena, 1, sizeof *root);
    if (root == NULL) {
        return DLT_E_MEMORY;
    }
    spec->root = root;
    const bool good = dlt_apply_model(l, &dlt_kind_model, tree, &spec->value, root);
    if (dlt_arena_failed(l->arena)) {
        return DLT_E_MEMORY;
    }
    if (!good && (l->stand_in == NULL || l->stop)) {
        return DLT_E_CONFIG;
    }
    if (spec->value.name == NULL) {
        spec->value.name = stem_of(l->arena, name);
    }
    dlt_shown *effective = dlt_effective(l->arena, root, l->origins);
    if (effective == NULL || spec->value.name == NULL) {
        return DLT_E_MEMORY;
    }
    for (size_t i = 0; i < effective->count; i++) { /* a copy of the config in another file keeps the name */
        effective->at[i]->always = strcmp(effective->at[i]->key, "name") == 0;
    }
    spec->effective = effective;
    check_spec(l, spec);
    spec->unsure_metrics = (l->broken & DLT_BROKEN_METRICS) != 0;
    spec->unsure_activation = (l->broken & DLT_BROKEN_ACTIVATION) != 0;
    spec->unsure_validation = (l->broken & DLT_BROKEN_VALIDATION) != 0;
    dlt_shown_digest(spec->effective, spec->digest);
    return l->errors == 0 ? DLT_OK : DLT_E_CONFIG;
}

/* True if the diag says, as its last message, that memory was refused. */
static bool ran_out(const dlt_diag *diag)
{
    const size_t count = dlt_diag_size(diag);
    return count > 0 && dlt_diag_at(diag, count - 1)->status == DLT_E_MEMORY;
}

/* Reads a parsed file; `parsed` is the parser's status, `tree` NULL where there is none. */
static dlt_status finish(dlt_arena *arena, const dlt_catalogue *catalogue, const char *name, dlt_yaml *tree,
                         dlt_status parsed, const dlt_load_options *options, const dlt_run_spec **out,
                         dlt_diag *diag)
{
    dlt_status status = parsed;
    dlt_loader *l = NULL;
    dlt_run_spec *spec = NULL;
    if (tree == NULL) {
        goto out;
    }
    l = dlt_arena_alloc(arena, 1, sizeof *l);
    spec = dlt_arena_alloc(arena, 1, sizeof *spec);
    if (l == NULL || spec == NULL) {
        status = dlt_fail_memory(diag);
        goto out;
    }
    *l = (dlt_loader){.arena = arena,
                      .catalogue = catalogue,
                      .model = dlt_kind_model.fields,
                      .diag = diag,
                      .stored = options != NULL && options->stored,
                      .stand_in = options != NULL ? options->stand_in : NULL,
                      .element = -1};
    if (!place_files(l, name, spec)) {
        status = dlt_fail_memory(diag);
        goto out;
    }
    const dlt_status built = build(l, tree, options, spec);
    status = status != DLT_OK ? status : built;
    if (l->stop) {
        dlt_note(diag, (dlt_pos){0}, "so many mistakes; the rest of %s was not looked at", name);
    }
out:
    if (l != NULL) {
        status = l->path.failed ? DLT_E_MEMORY : status; /* messages did not name their keys */
        dlt_buf_release(&l->path);
    }
    if (dlt_arena_failed(arena) || status == DLT_E_MEMORY || ran_out(diag)) {
        status = dlt_fail_memory(diag);
    }
    const bool in_spite = status == DLT_E_CONFIG && l != NULL && l->stand_in != NULL && !l->stop && spec->effective != NULL;
    if (in_spite) {
        spec->mistaken = true;
    }
    *out = status == DLT_OK || in_spite ? spec : NULL;
    dlt_diag_sort(diag);
    return status;
}

dlt_status dlt_spec_parse(dlt_arena *arena, const dlt_catalogue *catalogue, const char *name,
                          const char *text, size_t bytes, const dlt_load_options *options,
                          const dlt_run_spec **spec, dlt_diag *diag)
{
    dlt_yaml *tree = NULL;
    *spec = NULL;
    const dlt_status status = dlt_yaml_parse(arena, name, text, bytes, &tree, diag);
    return finish(arena, catalogue, name, tree, status, options, spec, diag);
}

dlt_status dlt_spec_load(dlt_arena *arena, const dlt_catalogue *catalogue, const char *path,
                         const dlt_load_options *options, const dlt_run_spec **spec, dlt_diag *diag)
{
    dlt_yaml *tree = NULL;
    *spec = NULL;
    const dlt_status status = dlt_yaml_load(arena, path, &tree, diag);
    return finish(arena, catalogue, strcmp(path, "-") == 0 ? "stdin" : path, tree, status, options, spec,
                  diag);
}

dlt_status dlt_item_read(dlt_arena *arena, const dlt_catalogue *catalogue, const char *category,
                         const dlt_yaml *node, const dlt_item **item, dlt_diag *diag)
{
    dlt_run_spec files;
    *item = NULL;
    dlt_loader *l = dlt_arena_alloc(arena, 1, sizeof *l);
    if (l == NULL) {
        return dlt_fail_memory(diag);
    }
    *l = (dlt_loader){
        .arena = arena, .catalogue = catalogue, .model = dlt_kind_model.fields, .diag = diag, .element = -1};
    const dlt_field field = {.name = "item", .type = DLT_FIELD_ITEM, .category = category};
    const bool good = place_files(l, node->pos.file != NULL ? node->pos.file : ".", &files) &&
                      dlt_apply_item(l, dlt_category_of(l, &field, DLT_WHOLE), node, item);
    dlt_buf_release(&l->path);
    if (good && !dlt_arena_failed(arena)) {
        return DLT_OK;
    }
    *item = NULL;
    return dlt_arena_failed(arena) || ran_out(diag) ? dlt_fail_memory(diag) : DLT_E_CONFIG;
}

dlt_status dlt_item_parse(dlt_arena *arena, const dlt_catalogue *catalogue, const char *category,
                          const char *name, const char *text, const dlt_item **item, dlt_diag *diag)
{
    dlt_yaml *tree = NULL;
    *item = NULL;
    DLT_TRY(dlt_yaml_parse(arena, name, text, strlen(text), &tree, diag));
    return dlt_item_read(arena, catalogue, category, tree, item, diag);
}
