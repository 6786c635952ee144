/* layers/feature_space.c: columns of a table as one vector a row, as keras.utils.FeatureSpace makes it.
 *   y[n] = the encoded features, sorted by name, then the crosses, sorted by name, joined
 * Input: none; a batch of INPUT values that encode fills. Output (N, D).
 *
 *   float                the number                                                                width 1
 *   float_normalized     (x - mean) / max(sqrt(variance), 1e-7), measured on the training rows     width 1
 *   float_rescaled       x scale + offset                                                          width 1
 *   float_discretized    one-hot of the number of boundaries <= x; boundaries are quantiles        width num_bins
 *   integer_categorical, string_categorical
 *                        one-hot of the place in the vocabulary: OOV slots first, then the values by falling count, of
 *                        equal counts the larger first                                             width of the vocabulary
 *   integer_hashed, string_hashed
 *                        one-hot of FarmHash64 of the text modulo num_bins                         width num_bins
 *   cross                one-hot of the hash of several indices modulo crossing_dim                width crossing_dim
 *
 * Bare (no `features`), it takes every feature column: text as string_categorical with one OOV slot and at most 10,000
 * values, numbers as float_normalized with a column behind it that is 1 where the value was missing, if any was in training.
 * A missing number becomes the mean of its column, a missing integer category is OOV. A missing text is the empty text, a word
 * like any other, as in Keras; bare, it is OOV. */
#include "layers/feature_space.h"

#include <string.h>

/* ---- kinds of category "feature" ---- */

static const char *const output_modes[] = {"one_hot", "int", NULL};
enum { OUTPUT_ONE_HOT, OUTPUT_INT };

#define OUTPUT_MODE(T)                                                                                       \
    DLT_ENUM(T, output_mode, output_modes, one_hot, "one_hot; int cannot be joined to one vector")

static const dlt_field rescaled_fields[] = {
    DLT_FLOAT(dlt_feature_params, scale, -INFINITY, INFINITY, 1, "factor"),
    DLT_FLOAT(dlt_feature_params, offset, -INFINITY, INFINITY, 0, "what is added then"),
    {0},
};
static const dlt_field discretized_fields[] = {
    DLT_OPT_INT(dlt_feature_params, num_bins, 1, DLT_FEATURE_MAX_BINS,
                "how many bins hold as many values each; null: num_discretization_bins of FeatureSpace"),
    DLT_FLOATS(dlt_feature_params, bin_boundaries, -INFINITY, INFINITY, "null",
               "rising boundaries in place of quantiles"),
    OUTPUT_MODE(dlt_feature_params),
    {0},
};
static const dlt_field categorical_fields[] = {
    DLT_OPT_INT(dlt_feature_params, max_tokens, 2, DLT_FEATURE_MAX_BINS,
                "most slots, OOV included; null: no bound"),
    DLT_INT(dlt_feature_params, num_oov_indices, 0, DLT_FEATURE_MAX_BINS, 1,
            "slots for values not seen in training"),
    OUTPUT_MODE(dlt_feature_params),
    {0},
};
static const dlt_field hashed_fields[] = {
    DLT_OPT_INT(dlt_feature_params, num_bins, 1, DLT_FEATURE_MAX_BINS,
                "how many bins; null: hashing_dim of FeatureSpace"),
    OUTPUT_MODE(dlt_feature_params),
    {0},
};

static void joined_check(const dlt_item *item, int output_mode, dlt_diag *diag)
{
    if (output_mode == OUTPUT_INT) {
        dlt_fail(
            diag, DLT_E_CONFIG, dlt_item_pos(item, "output_mode"),
            "%s: an integer cannot be joined with other features to one vector; use output_mode: one_hot",
            item->kind->name);
    }
}

static void discretized_check(const dlt_item *item, dlt_diag *diag)
{
    const dlt_feature_params *p = item->params;
    joined_check(item, p->output_mode, diag);
    if (p->bin_boundaries.count > 0 && p->num_bins.set) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "bin_boundaries"),
                 "float_discretized: num_bins and bin_boundaries exclude each other; give one of them");
    }
    for (size_t i = 1; i < p->bin_boundaries.count; i++) {
        if (!(p->bin_boundaries.at[i - 1] <= p->bin_boundaries.at[i])) {
            dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "bin_boundaries"),
                     "float_discretized: bin_boundaries must rise, but number %zu is below the one before it",
                     i + 1);
            return;
        }
    }
}

static void categorical_check(const dlt_item *item, dlt_diag *diag)
{
    const dlt_feature_params *p = item->params;
    joined_check(item, p->output_mode, diag);
    if (p->max_tokens.set && p->max_tokens.value <= p->num_oov_indices) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "max_tokens"),
                 "%s: max_tokens of %lld leaves no slot beside %lld OOV slots; raise it", item->kind->name,
                 (long long)p->max_tokens.value, (long long)p->num_oov_indices);
    }
}

static void hashed_check(const dlt_item *item, dlt_diag *diag)
{
    joined_check(item, ((const dlt_feature_params *)item->params)->output_mode, diag);
}

#define PARAMS(table, check_) .size = sizeof(dlt_feature_params), .fields = table, .check = check_
static const dlt_kind kinds[DLT_FEATURE_KINDS] = {
    [DLT_FEATURE_FLOAT] = {.name = "float", .doc = "the number as it is"},
    [DLT_FEATURE_NORMALIZED] = {.name = "float_normalized",
                                .doc = "to mean 0 and variance 1 over the training rows"},
    [DLT_FEATURE_RESCALED] = {.name = "float_rescaled",
                              .doc = "multiplied by a number, then another added",
                              PARAMS(rescaled_fields, NULL)},
    [DLT_FEATURE_DISCRETIZED] = {.name = "float_discretized",
                                 .doc = "the bin that the number falls into",
                                 PARAMS(discretized_fields, discretized_check)},
    [DLT_FEATURE_INTEGER_CATEGORICAL] = {.name = "integer_categorical",
                                         .doc = "an integer's place among those seen in training",
                                         PARAMS(categorical_fields, categorical_check)},
    [DLT_FEATURE_STRING_CATEGORICAL] = {.name = "string_categorical",
                                        .doc = "a text's place among those seen in training",
                                        PARAMS(categorical_fields, categorical_check)},
    [DLT_FEATURE_INTEGER_HASHED] = {.name = "integer_hashed",
                                    .doc = "a bin chosen by a hash of the integer",
                                    PARAMS(hashed_fields, hashed_check)},
    [DLT_FEATURE_STRING_HASHED] = {.name = "string_hashed",
                                   .doc = "a bin chosen by a hash of the text",
                                   PARAMS(hashed_fields, hashed_check)},
};

const dlt_kind *const dlt_feature_kinds[] = {
    &kinds[DLT_FEATURE_FLOAT],
    &kinds[DLT_FEATURE_NORMALIZED],
    &kinds[DLT_FEATURE_RESCALED],
    &kinds[DLT_FEATURE_DISCRETIZED],
    &kinds[DLT_FEATURE_INTEGER_CATEGORICAL],
    &kinds[DLT_FEATURE_STRING_CATEGORICAL],
    &kinds[DLT_FEATURE_INTEGER_HASHED],
    &kinds[DLT_FEATURE_STRING_HASHED],
};
const size_t dlt_feature_kind_count = DLT_COUNT(dlt_feature_kinds);

dlt_feature_kind dlt_feature_kind_of(const dlt_item *item)
{
    return (dlt_feature_kind)(item->kind - kinds);
}

const char *dlt_feature_kind_name(dlt_feature_kind kind)
{
    return kinds[kind].name;
}

bool dlt_feature_is_index(dlt_feature_kind kind)
{
    return kind >= DLT_FEATURE_DISCRETIZED;
}

/* ---- kinds of category "cross" ---- */

static const dlt_field cross_fields[] = {
    DLT_STRINGS(dlt_cross_params, feature_names, NULL, "the features that are crossed: two or more"),
    DLT_OPT_INT(dlt_cross_params, crossing_dim, 1, DLT_FEATURE_MAX_BINS,
                "how many bins; null: crossing_dim of FeatureSpace"),
    OUTPUT_MODE(dlt_cross_params),
    {0},
};

static void cross_check(const dlt_item *item, dlt_diag *diag)
{
    const dlt_cross_params *p = item->params;
    joined_check(item, p->output_mode, diag);
    if (p->feature_names.count < 2) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "feature_names"),
                 "cross: two features or more are needed, found %zu", p->feature_names.count);
    }
}

static const dlt_kind cross_kind = {.name = "cross",
                                    .doc = "a bin chosen by a hash of several features together",
                                    .size = sizeof(dlt_cross_params),
                                    .fields = cross_fields,
                                    .scalar_field = "feature_names",
                                    .check = cross_check};
const dlt_kind *const dlt_cross_kinds[] = {&cross_kind};
const size_t dlt_cross_kind_count = DLT_COUNT(dlt_cross_kinds);

/* ---- the layer ---- */

static const char *const space_modes[] = {"concat", NULL};

static const dlt_field feature_space_fields[] = {
    DLT_ITEM_MAP(dlt_feature_space_params, features, "feature",
                 "columns and what they become; null: every feature column, by its type"),
    DLT_ITEMS(dlt_feature_space_params, crosses, "cross", "null", "features that are looked at together"),
    DLT_ENUM(dlt_feature_space_params, output_mode, space_modes, concat, "one vector a row"),
    DLT_INT(dlt_feature_space_params, crossing_dim, 1, DLT_FEATURE_MAX_BINS, 32,
            "bins of a cross that names none"),
    DLT_INT(dlt_feature_space_params, hashing_dim, 1, DLT_FEATURE_MAX_BINS, 32,
            "bins of a hashed feature that names none"),
    DLT_INT(dlt_feature_space_params, num_discretization_bins, 1, DLT_FEATURE_MAX_BINS, 32,
            "bins of a discretized feature that names none"),
    {0},
};

static const dlt_item *declared(const dlt_item_map *features, const char *name)
{
    for (size_t i = 0; i < features->count; i++) {
        if (strcmp(features->key[i], name) == 0) {
            return features->value[i];
        }
    }
    return NULL;
}

static void feature_space_check(const dlt_item *item, dlt_diag *diag)
{
    const dlt_feature_space_params *p = item->params;
    for (size_t i = 0; i < p->crosses.count && p->features.count > 0; i++) {
        const dlt_item *cross = p->crosses.at[i];
        const dlt_strings *names = &((const dlt_cross_params *)cross->params)->feature_names;
        for (size_t k = 0; k < names->count; k++) {
            const dlt_item *feature = declared(&p->features, names->at[k]);
            if (feature == NULL) {
                dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(cross, "feature_names"),
                         "cross: '%s' is not among the features; add it there", names->at[k]);
            } else if (!dlt_feature_is_index(dlt_feature_kind_of(feature))) {
                dlt_fail(
                    diag, DLT_E_CONFIG, dlt_item_pos(cross, "feature_names"),
                    "cross: '%s' is %s, a number; only categorical, hashed and discretized features can be crossed",
                    names->at[k], feature->kind->name);
            }
        }
    }
}

const char *dlt_feature_cross_name(dlt_arena *arena, const dlt_cross_params *params)
{
    const char *name = params->feature_names.count > 0 ? params->feature_names.at[0] : "";
    for (size_t i = 1; i < params->feature_names.count && name != NULL; i++) {
        name = dlt_arena_printf(arena, "%s_X_%s", name, params->feature_names.at[i]);
    }
    return name;
}

const char *dlt_feature_entry_name(dlt_arena *arena, const char *feature, const char *what)
{
    return dlt_arena_printf(arena, "%s:%s", feature, what);
}

/* ---- the plan: parameters and what was fitted, together ---- */

static const dlt_fitted_entry *entry(const dlt_fitted *fitted, dlt_arena *arena, const char *feature,
                                     const char *what)
{
    const char *name = dlt_feature_entry_name(arena, feature, what);
    return name != NULL ? dlt_fitted_find(fitted, name) : NULL;
}

static double number(const dlt_fitted_entry *e, double absent)
{
    return e != NULL && e->numbers != NULL && e->count > 0 ? e->numbers[0] : absent;
}

/* The kind that a name stands for, or -1. */
static int kind_named(const char *name)
{
    for (int k = 0; k < DLT_FEATURE_KINDS; k++) {
        if (strcmp(kinds[k].name, name) == 0) {
            return k;
        }
    }
    return -1;
}

static dlt_status damaged(const dlt_item *item, const char *name, dlt_diag *diag)
{
    return dlt_fail(diag, DLT_E_CHECKPOINT, item->pos,
                    "what FeatureSpace learned about '%s' is missing or damaged; train again", name);
}

static dlt_status plan_feature(const dlt_item *item, const dlt_fitted *fitted, dlt_arena *arena,
                               dlt_feature *f, dlt_diag *diag)
{
    const dlt_feature_space_params *space = item->params;
    const dlt_item *by_user = declared(&space->features, f->name);
    const dlt_feature_params none = {.scale = 1, .num_oov_indices = 1};
    const dlt_feature_params *p = by_user != NULL && by_user->params != NULL ? by_user->params : &none;
    f->bare = by_user == NULL;
    f->indicator = entry(fitted, arena, f->name, "missing") != NULL;
    f->mean = number(entry(fitted, arena, f->name, "mean"), 0);
    f->variance = number(entry(fitted, arena, f->name, "variance"), 1);
    f->scale = p->scale;
    f->offset = p->offset;
    f->vocabulary = entry(fitted, arena, f->name, "vocabulary");
    f->boundaries = entry(fitted, arena, f->name, "boundaries");
    switch (f->kind) {
    case DLT_FEATURE_DISCRETIZED:
        if (f->boundaries == NULL || f->boundaries->numbers == NULL) {
            return damaged(item, f->name, diag);
        }
        f->size = p->bin_boundaries.count > 0 ? (int64_t)p->bin_boundaries.count + 1
                  : p->num_bins.set           ? p->num_bins.value
                                              : space->num_discretization_bins;
        if ((int64_t)f->boundaries->count >= f->size) {
            return damaged(item, f->name, diag);
        }
        break;
    case DLT_FEATURE_INTEGER_CATEGORICAL:
    case DLT_FEATURE_STRING_CATEGORICAL:
        if (f->vocabulary == NULL ||
            (f->kind == DLT_FEATURE_STRING_CATEGORICAL ? f->vocabulary->texts == NULL
                                                       : f->vocabulary->numbers == NULL)) {
            return damaged(item, f->name, diag);
        }
        f->oov = p->num_oov_indices;
        f->size = f->oov + (int64_t)f->vocabulary->count;
        break;
    case DLT_FEATURE_INTEGER_HASHED:
    case DLT_FEATURE_STRING_HASHED:
        f->size = p->num_bins.set ? p->num_bins.value : space->hashing_dim;
        break;
    default:
        break;
    }
    return DLT_OK;
}

static dlt_status plan_cross(const dlt_item *item, const dlt_item *cross, dlt_arena *arena,
                             const dlt_feature_plan *plan, dlt_feature_cross *out, dlt_diag *diag)
{
    const dlt_cross_params *p = cross->params;
    size_t *of = dlt_arena_alloc(arena, p->feature_names.count, sizeof *of);
    *out = (dlt_feature_cross){.name = dlt_feature_cross_name(arena, p),
                               .count = p->feature_names.count,
                               .of = of,
                               .bins = p->crossing_dim.set
                                           ? p->crossing_dim.value
                                           : ((const dlt_feature_space_params *)item->params)->crossing_dim};
    if (of == NULL || out->name == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < out->count; i++) {
        size_t at = 0;
        while (at < plan->feature_count && strcmp(plan->features[at].name, p->feature_names.at[i]) != 0) {
            at++;
        }
        if (at == plan->feature_count || !dlt_feature_is_index(plan->features[at].kind)) {
            return dlt_fail(
                diag, DLT_E_CONFIG, dlt_item_pos(cross, "feature_names"),
                at == plan->feature_count
                    ? "cross: there is no feature '%s'"
                    : "cross: '%s' is a number; only categorical, hashed and discretized features can be crossed",
                p->feature_names.at[i]);
        }
        of[i] = at;
    }
    return DLT_OK;
}

dlt_status dlt_feature_plan_make(const dlt_item *item, const dlt_fitted *fitted, dlt_arena *arena,
                                 dlt_feature_plan *plan, dlt_diag *diag)
{
    const dlt_feature_space_params *p = item->params;
    const dlt_fitted_entry *names = fitted != NULL ? dlt_fitted_find(fitted, "features") : NULL;
    const dlt_fitted_entry *of = fitted != NULL ? dlt_fitted_find(fitted, "kinds") : NULL;
    if (fitted == NULL) {
        return dlt_fail(diag, DLT_E_INTERNAL, item->pos, "FeatureSpace is used before it was fitted");
    }
    if (names == NULL || of == NULL || names->texts == NULL || of->texts == NULL ||
        names->count != of->count) { /* of a checkpoint that was made for another model, or by a forger */
        return dlt_fail(diag, DLT_E_CHECKPOINT, item->pos,
                        "what FeatureSpace learned is missing or damaged; train again");
    }
    dlt_feature *features = dlt_arena_alloc(arena, names->count, sizeof *features);
    dlt_feature_cross *crosses = dlt_arena_alloc(arena, p->crosses.count, sizeof *crosses);
    if (features == NULL || crosses == NULL) {
        return dlt_fail_memory(diag);
    }
    *plan = (dlt_feature_plan){.feature_count = names->count,
                               .cross_count = p->crosses.count,
                               .features = features,
                               .crosses = crosses};
    for (size_t i = 0; i < names->count; i++) {
        const int kind = kind_named(of->texts[i]);
        if (kind < 0) {
            return damaged(item, names->texts[i], diag);
        }
        features[i] = (dlt_feature){.name = names->texts[i], .kind = (dlt_feature_kind)kind};
        DLT_TRY(plan_feature(item, fitted, arena, &features[i], diag));
    }
    for (size_t i = 0; i < p->crosses.count; i++) {
        dlt_feature_cross cross = {.name = ""};
        DLT_TRY(plan_cross(item, p->crosses.at[i], arena, plan, &cross, diag));
        size_t at = i; /* sorted by name; equal ones in the order written */
        while (at > 0 && strcmp(crosses[at - 1].name, cross.name) > 0) {
            crosses[at] = crosses[at - 1];
            at--;
        }
        crosses[at] = cross;
    }
    return dlt_arena_failed(arena) ? dlt_fail_memory(diag) : DLT_OK;
}

/* ---- INPUT values, and what the graph makes of them ---- */

static dlt_status feature_inputs(const dlt_item *item, const dlt_fitted *fitted, dlt_arena *arena,
                                 const dlt_layer_input **inputs, int *count, dlt_diag *diag)
{
    dlt_feature_plan plan = {0};
    DLT_TRY(dlt_feature_plan_make(item, fitted, arena, &plan, diag));
    dlt_layer_input *list = dlt_arena_alloc(arena, 2 * plan.feature_count + plan.cross_count, sizeof *list);
    int at = 0;
    if (list == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < plan.feature_count; i++) {
        const dlt_feature *f = &plan.features[i];
        list[at++] =
            (dlt_layer_input){f->name, dlt_feature_is_index(f->kind) ? DLT_I32 : DLT_F32, dlt_scalar()};
        if (f->indicator) {
            list[at++] =
                (dlt_layer_input){dlt_feature_entry_name(arena, f->name, "missing"), DLT_U8, dlt_scalar()};
        }
    }
    for (size_t i = 0; i < plan.cross_count; i++) {
        list[at++] = (dlt_layer_input){plan.crosses[i].name, DLT_I32, dlt_scalar()};
    }
    *inputs = list;
    *count = at;
    return dlt_arena_failed(arena) ? dlt_fail_memory(diag) : DLT_OK;
}

/* (N) of a number as (N, 1), after what the kind does to it. */
static dlt_value *of_number(dlt_builder *b, const dlt_feature *f, dlt_value *x)
{
    x = dlt_expand(b, dlt_cast(b, x, dlt_real(b)), -1);
    if (f->kind == DLT_FEATURE_NORMALIZED) {
        const double deviation = sqrt(f->variance);
        return dlt_div_c(b, dlt_sub_c(b, x, f->mean),
                         deviation > DLT_KERAS_EPSILON ? deviation : DLT_KERAS_EPSILON);
    }
    if (f->kind == DLT_FEATURE_RESCALED) {
        return dlt_add_c(b, dlt_mul_c(b, x, f->scale), f->offset);
    }
    return x;
}

static dlt_value *feature_space_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const dlt_item *item = dlt_layer_item(b);
    dlt_arena *arena = dlt_builder_graph(b)->arena;
    dlt_feature_plan plan;
    int count, at = 0, parts = 0;
    dlt_value *const *inputs = dlt_layer_inputs(b, &count);
    (void)params;
    (void)in;
    if (!dlt_layer_first(b)) {
        return dlt_reject(b, "FeatureSpace must be the first layer: it takes the columns of a table");
    }
    if (dlt_feature_plan_make(item, dlt_layer_fitted(b), arena, &plan, dlt_builder_diag(b)) != DLT_OK) {
        dlt_builder_fail(b);
        return NULL;
    }
    dlt_value **vectors = dlt_arena_alloc(arena, (size_t)count + 1, sizeof(dlt_value *));
    if (vectors == NULL) {
        return dlt_reject_at(b, DLT_E_MEMORY, dlt_scope_pos(b), "out of memory");
    }
    for (size_t i = 0; i < plan.feature_count && at < count; i++) {
        const dlt_feature *f = &plan.features[i];
        dlt_value *x = inputs[at++];
        vectors[parts++] = dlt_feature_is_index(f->kind) ? dlt_one_hot(b, x, f->size) : of_number(b, f, x);
        if (f->indicator && at < count) {
            vectors[parts++] = dlt_expand(b, dlt_cast(b, inputs[at++], dlt_real(b)), -1);
        }
    }
    for (size_t i = 0; i < plan.cross_count && at < count; i++) {
        vectors[parts++] = dlt_one_hot(b, inputs[at++], plan.crosses[i].bins);
    }
    if (parts == 0 || at != count) {
        return dlt_reject_at(b, DLT_E_INTERNAL, dlt_scope_pos(b),
                             "FeatureSpace got %d inputs, not those it encodes", count);
    }
    return dlt_concat(b, vectors, parts, -1);
}

static const dlt_table_layer feature_space_table = {.fit_begin = dlt_feature_fit_begin,
                                                    .fit_rows = dlt_feature_fit_rows,
                                                    .fit_end = dlt_feature_fit_end,
                                                    .encoder = dlt_feature_encoder,
                                                    .inputs = feature_inputs,
                                                    .encode = dlt_feature_encode};

/* Needs a table: its tests stand in tests/unit/test_feature_space.c. */
static const char *const feature_space_examples[] = {NULL};

const dlt_layer_desc dlt_layer_feature_space = {
    .kind = {.name = "FeatureSpace",
             .doc = "columns of a table as one vector a row; stands first",
             .size = sizeof(dlt_feature_space_params),
             .fields = feature_space_fields,
             .check = feature_space_check},
    .build = feature_space_build,
    .mask = DLT_MASK_END,
    .starts = true,
    .table = &feature_space_table,
    .examples = feature_space_examples,
};
