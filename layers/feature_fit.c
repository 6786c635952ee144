/* layers/feature_fit.c: what FeatureSpace learns from the training rows: means, vocabularies, boundaries of bins. */
#include "layers/feature_space.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An integer and how often it was seen; open addressing, room is a power of two. */
typedef struct tally {
    int64_t value, count; /* count 0: free */
} tally;

typedef struct column {
    const char *name;
    dlt_pos pos;
    dlt_feature_kind kind;
    const dlt_item *item; /* NULL: chosen by the column's type */
    size_t part;
    /* numbers (Welford 1962) */
    int64_t count, missing;
    double mean, squares;
    /* values of a discretized column, as float32 */
    float *values;
    size_t value_count, value_room;
    /* categories: texts by code, integers by value */
    int64_t *codes;
    size_t code_room;
    tally *tallies;
    size_t tally_count, tally_room;
} column;

typedef struct fit {
    dlt_arena *arena;
    const dlt_record_layout *layout;
    dlt_pos pos;
    int64_t default_bins;
    column *columns; /* sorted by name */
    size_t count;
} fit;

/* Memory for `wanted` elements in place of `count` of them, which are copied; doubling wastes as much again. */
static void *grown(dlt_arena *arena, const void *old, size_t count, size_t wanted, size_t size)
{
    void *memory = dlt_arena_alloc(arena, wanted, size);
    if (memory != NULL && count > 0) {
        memcpy(memory, old, count * size);
    }
    return memory;
}

int64_t dlt_feature_part(const dlt_record_layout *layout, const char *name, dlt_pos at, dlt_diag *diag)
{
    const char *known[256];
    size_t count = 0;
    for (size_t i = 0; i < layout->count; i++) {
        const dlt_part *part = &layout->parts[i];
        if (strcmp(part->name, name) == 0) {
            if (part->role == DLT_ROLE_FEATURE) {
                return (int64_t)i;
            }
            dlt_fail(diag, DLT_E_CONFIG, at, "column '%s' is the %s, it cannot be a feature as well", name,
                     part->role == DLT_ROLE_TARGET ? "target" : "sample weight");
            return -1;
        }
        if (part->role == DLT_ROLE_FEATURE && count < DLT_COUNT(known)) {
            known[count++] = part->name;
        }
    }
    const int nearest = dlt_nearest(name, known, count);
    if (nearest >= 0) {
        dlt_fail(diag, DLT_E_DATA, at, "the data have no column '%s'; did you mean '%s'?", name,
                 known[nearest]);
    } else {
        dlt_fail(diag, DLT_E_DATA, at, "the data have no column '%s'", name);
    }
    return -1;
}

dlt_status dlt_feature_accepts(dlt_feature_kind kind, const dlt_part *part, dlt_pos at, dlt_diag *diag)
{
    const char *name = dlt_feature_kind_name(kind);
    const bool wants_text = kind == DLT_FEATURE_STRING_CATEGORICAL || kind == DLT_FEATURE_STRING_HASHED;
    if (part->type == DLT_COLUMN_TENSOR) {
        return dlt_fail(diag, DLT_E_CONFIG, at,
                        "FeatureSpace needs columns of a table, but '%s' is a tensor; remove FeatureSpace",
                        part->name);
    }
    if (wants_text && part->type == DLT_COLUMN_NUMBER) {
        return dlt_fail(diag, DLT_E_CONFIG, at,
                        "column '%s' holds numbers that are not whole, which %s cannot take; use "
                        "float_normalized or float_discretized",
                        part->name, name);
    }
    if (!wants_text && part->type == DLT_COLUMN_TEXT) {
        return dlt_fail(diag, DLT_E_CONFIG, at,
                        "column '%s' holds text, which %s cannot take; use string_categorical or "
                        "string_hashed",
                        part->name, name);
    }
    return DLT_OK;
}

static dlt_status add_column(fit *f, const char *name, dlt_feature_kind kind, const dlt_item *item,
                             dlt_pos pos, size_t part)
{
    size_t at = f->count++;
    while (at > 0 && strcmp(f->columns[at - 1].name, name) > 0) {
        f->columns[at] = f->columns[at - 1];
        at--;
    }
    f->columns[at] = (column){.name = name, .pos = pos, .kind = kind, .item = item, .part = part};
    return DLT_OK;
}

dlt_status dlt_feature_fit_begin(const dlt_item *item, const dlt_record_layout *layout, dlt_arena *arena,
                                 void **state, dlt_diag *diag)
{
    const dlt_feature_space_params *p = item->params;
    fit *f = dlt_arena_alloc(arena, 1, sizeof *f);
    const size_t room = p->features.count > 0 ? p->features.count : layout->count;
    dlt_status status = DLT_OK;
    *state = f;
    if (f == NULL) {
        return dlt_fail_memory(diag);
    }
    *f = (fit){.arena = arena,
               .layout = layout,
               .pos = item->pos,
               .default_bins = p->num_discretization_bins,
               .columns = dlt_arena_alloc(arena, room, sizeof(column))};
    if (f->columns == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < p->features.count; i++) { /* all mistakes are said, not only the first */
        const dlt_item *feature = p->features.value[i];
        const dlt_feature_kind kind = dlt_feature_kind_of(feature);
        const int64_t part = dlt_feature_part(layout, p->features.key[i], feature->pos, diag);
        dlt_status one = part < 0 ? dlt_diag_status(diag) : DLT_OK;
        if (one == DLT_OK) {
            one = dlt_feature_accepts(kind, &layout->parts[part], feature->pos, diag);
        }
        if (one == DLT_OK) {
            one = add_column(f, p->features.key[i], kind, feature, feature->pos, (size_t)part);
        }
        status = status == DLT_OK ? one : status;
    }
    for (size_t i = 0; i < layout->count && p->features.count == 0; i++) {
        const dlt_part *part = &layout->parts[i];
        if (part->role != DLT_ROLE_FEATURE) {
            continue;
        }
        const dlt_feature_kind kind =
            part->type == DLT_COLUMN_TEXT ? DLT_FEATURE_STRING_CATEGORICAL : DLT_FEATURE_NORMALIZED;
        dlt_status one = dlt_feature_accepts(kind, part, item->pos, diag);
        if (one == DLT_OK) {
            one = add_column(f, part->name, kind, NULL, item->pos, i);
        }
        status = status == DLT_OK ? one : status;
    }
    if (status == DLT_OK && f->count == 0) {
        return dlt_fail(diag, DLT_E_DATA, item->pos, "the data have no feature columns for FeatureSpace");
    }
    return status;
}

/* ---- rows ---- */

static bool count_code(fit *f, column *c, int32_t code)
{
    const size_t at = (size_t)code;
    if (at >= c->code_room) {
        size_t room = c->code_room > 0 ? c->code_room : 64;
        while (room <= at) {
            room *= 2;
        }
        int64_t *codes = grown(f->arena, c->codes, c->code_room, room, sizeof *codes);
        if (codes == NULL) {
            return false;
        }
        c->codes = codes;
        c->code_room = room;
    }
    c->codes[at]++;
    return true;
}

static tally *slot_of(tally *tallies, size_t room, int64_t value)
{
    size_t at = (size_t)(((uint64_t)value * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (room - 1);
    while (tallies[at].count != 0 && tallies[at].value != value) {
        at = (at + 1) & (room - 1);
    }
    return &tallies[at];
}

static bool count_value(fit *f, column *c, int64_t value)
{
    if (c->tally_count * 2 >= c->tally_room) {
        const size_t room = c->tally_room > 0 ? 2 * c->tally_room : 64;
        tally *tallies = dlt_arena_alloc(f->arena, room, sizeof *tallies);
        if (tallies == NULL) {
            return false;
        }
        for (size_t i = 0; i < c->tally_room; i++) {
            if (c->tallies[i].count != 0) {
                *slot_of(tallies, room, c->tallies[i].value) = c->tallies[i];
            }
        }
        c->tallies = tallies;
        c->tally_room = room;
    }
    tally *t = slot_of(c->tallies, c->tally_room, value);
    c->tally_count += t->count == 0;
    t->value = value;
    t->count++;
    return true;
}

static bool keep_value(fit *f, column *c, double x)
{
    if (c->value_count == c->value_room) {
        const size_t room = c->value_room > 0 ? 2 * c->value_room : 1024;
        float *values = grown(f->arena, c->values, c->value_count, room, sizeof *values);
        if (values == NULL) {
            return false;
        }
        c->values = values;
        c->value_room = room;
    }
    c->values[c->value_count++] = (float)x;
    return true;
}

static dlt_status add_number(fit *f, column *c, double x, int64_t row, dlt_diag *diag)
{
    if (isnan(x)) {
        c->missing++;
        return DLT_OK;
    }
    if (c->kind >= DLT_FEATURE_INTEGER_CATEGORICAL) {
        if (x != floor(x) || fabs(x) > 0x1p53) {
            return dlt_fail(diag, DLT_E_DATA, c->pos,
                            "column '%s', record %lld: %g is not a whole number, which %s needs", c->name,
                            (long long)row + 1, x, dlt_feature_kind_name(c->kind));
        }
        const bool hashed = c->kind == DLT_FEATURE_INTEGER_HASHED || c->kind == DLT_FEATURE_STRING_HASHED;
        return hashed || count_value(f, c, (int64_t)x) ? DLT_OK : dlt_fail_memory(diag);
    }
    if (isinf(x)) {
        return dlt_fail(diag, DLT_E_DATA, c->pos, "column '%s', record %lld: the number is infinite", c->name,
                        (long long)row + 1);
    }
    c->count++;
    const double distance = x - c->mean;
    c->mean += distance / (double)c->count;
    c->squares += distance * (x - c->mean);
    const bool keeps = c->kind == DLT_FEATURE_DISCRETIZED &&
                       ((const dlt_feature_params *)c->item->params)->bin_boundaries.count == 0;
    return !keeps || keep_value(f, c, x) ? DLT_OK : dlt_fail_memory(diag);
}

dlt_status dlt_feature_fit_rows(void *state, const dlt_table *rows, dlt_diag *diag)
{
    fit *f = state;
    for (size_t i = 0; i < f->count; i++) {
        column *c = &f->columns[i];
        const dlt_part *part = &f->layout->parts[c->part];
        for (int64_t r = 0; r < rows->rows; r++) {
            if (part->type != DLT_COLUMN_TEXT) {
                DLT_TRY(add_number(f, c, ((const double *)rows->columns[c->part])[r], rows->row_numbers[r],
                                   diag));
                continue;
            }
            const int32_t code = ((const int32_t *)rows->columns[c->part])[r];
            if (code < 0) {
                c->missing++;
            } else if (c->kind == DLT_FEATURE_STRING_CATEGORICAL && !count_code(f, c, code)) {
                return dlt_fail_memory(diag);
            }
        }
    }
    return DLT_OK;
}

/* ---- the end: vocabularies ---- */

typedef struct token {
    const char *text; /* or NULL */
    int64_t value, count;
} token;

/* Falling count; of equal counts the larger token first (Keras: a lexsort read backwards). */
static int compare_tokens(const void *left, const void *right)
{
    const token *a = left, *b = right;
    if (a->count != b->count) {
        return a->count > b->count ? -1 : 1;
    }
    if (a->text != NULL) {
        return -strcmp(a->text, b->text);
    }
    return a->value > b->value ? -1 : a->value < b->value ? 1 : 0;
}

/* All tokens of a column, sorted. NULL: no memory. */
static token *tokens_of(fit *f, const column *c, size_t *count)
{
    const dlt_dictionary *dictionary = f->layout->parts[c->part].dictionary;
    token *tokens = dlt_arena_alloc(f->arena, c->code_room + c->tally_count + 1, sizeof *tokens);
    /* a missing text is the empty one, where the user declared the feature */
    int64_t empty = c->item != NULL && c->kind == DLT_FEATURE_STRING_CATEGORICAL ? c->missing : 0;
    *count = 0;
    for (size_t i = 0; tokens != NULL && i < c->code_room; i++) {
        if (c->codes[i] > 0 && strcmp(dictionary->at[i], "[UNK]") != 0) {
            const bool is_empty = dictionary->at[i][0] == '\0';
            tokens[(*count)++] =
                (token){.text = dictionary->at[i], .count = c->codes[i] + (is_empty ? empty : 0)};
            empty = is_empty ? 0 : empty;
        }
    }
    if (tokens != NULL && empty > 0) {
        tokens[(*count)++] = (token){.text = "", .count = empty};
    }
    for (size_t i = 0; tokens != NULL && i < c->tally_room; i++) {
        const tally *t = &c->tallies[i];
        if (t->count == 0) {
            continue;
        }
        token *next = &tokens[*count];
        *next = (token){.value = t->value, .count = t->count};
        if (c->kind == DLT_FEATURE_STRING_CATEGORICAL) { /* a text feature on a column of whole numbers */
            next->text = dlt_arena_printf(f->arena, "%lld", (long long)t->value);
            if (next->text == NULL) {
                return NULL;
            }
        } else if (t->value == -1) { /* Keras' OOV token of integers has no slot of its own */
            continue;
        }
        (*count)++;
    }
    if (tokens != NULL) {
        qsort(tokens, *count, sizeof *tokens, compare_tokens);
    }
    return tokens;
}

static dlt_status fit_vocabulary(fit *f, const column *c, dlt_fitted *fitted, dlt_diag *diag)
{
    const dlt_feature_params *p = c->item != NULL ? c->item->params : NULL;
    size_t count;
    const token *tokens = tokens_of(f, c, &count);
    if (tokens == NULL) {
        return dlt_fail_memory(diag);
    }
    if (p == NULL && count > DLT_FEATURE_BARE_TOKENS) {
        return dlt_fail(diag, DLT_E_DATA, c->pos,
                        "column '%s' has %zu different texts, more than the 10,000 that FeatureSpace "
                        "takes unasked; list the features, with string_hashed or max_tokens for it",
                        c->name, count);
    }
    if (p != NULL && p->max_tokens.set && (int64_t)count > p->max_tokens.value - p->num_oov_indices) {
        count = (size_t)(p->max_tokens.value - p->num_oov_indices);
    }
    const char *name = dlt_feature_entry_name(f->arena, c->name, "vocabulary");
    bool kept;
    if (c->kind == DLT_FEATURE_STRING_CATEGORICAL) {
        const char **texts = dlt_arena_alloc(f->arena, count, sizeof *texts);
        for (size_t i = 0; texts != NULL && i < count; i++) {
            texts[i] = tokens[i].text;
        }
        kept = texts != NULL && name != NULL && dlt_fitted_texts(fitted, name, texts, count);
    } else {
        double *numbers = dlt_arena_alloc(f->arena, count, sizeof *numbers);
        for (size_t i = 0; numbers != NULL && i < count; i++) {
            numbers[i] = (double)tokens[i].value;
        }
        kept = numbers != NULL && name != NULL && dlt_fitted_numbers(fitted, name, numbers, count);
    }
    return kept ? DLT_OK : dlt_fail_memory(diag);
}

/* ---- the end: boundaries of bins, as keras.layers.Discretization finds them in one array ---- */

static int compare_floats(const void *left, const void *right)
{
    const float a = *(const float *)left, b = *(const float *)right;
    return a < b ? -1 : a > b ? 1 : 0;
}

/* numpy.interp: y at x of the line through (xs, ys), xs rising. */
static double interpolate(double x, const float *xs, const float *ys, size_t count)
{
    if (x <= xs[0]) {
        return ys[0];
    }
    if (x >= xs[count - 1]) {
        return ys[count - 1];
    }
    size_t low = 0, high = count - 1; /* xs[low] <= x < xs[high] */
    while (high - low > 1) {
        const size_t middle = (low + high) / 2;
        if (x < xs[middle]) {
            high = middle;
        } else {
            low = middle;
        }
    }
    const double slope = ((double)ys[high] - ys[low]) / ((double)xs[high] - xs[low]);
    return slope * (x - xs[low]) + ys[low];
}

/* A summary: points of rising value, each with the number of values that it stands for. */
typedef struct summary {
    float *value, *weight;
    size_t count;
} summary;

/* Fewer points, at equal parts of the cumulated weight (Keras' compress_summary). False: no memory. */
static bool compress(dlt_arena *arena, summary *s, double epsilon)
{
    if ((double)s->count * epsilon < 1) {
        return true;
    }
    const size_t points = (size_t)ceil(1 / epsilon);
    float *sums = dlt_arena_alloc(arena, s->count, sizeof *sums),
          *parts = dlt_arena_alloc(arena, s->count, sizeof *parts);
    summary out = {dlt_arena_alloc(arena, points, sizeof(float)),
                   dlt_arena_alloc(arena, points, sizeof(float)), points};
    if (sums == NULL || parts == NULL || out.value == NULL || out.weight == NULL) {
        return false;
    }
    float sum = 0;
    for (size_t i = 0; i < s->count; i++) {
        sum += s->weight[i];
        sums[i] = sum;
    }
    for (size_t i = 0; i < s->count; i++) {
        parts[i] = sums[i] / sum;
    }
    double before = 0;
    for (size_t i = 0; i < points; i++) {
        const double part = epsilon + (double)i * epsilon, reached = interpolate(part, parts, sums, s->count);
        out.value[i] = (float)interpolate(part, parts, s->value, s->count);
        out.weight[i] = (float)(reached - before);
        before = reached;
    }
    *s = out;
    return true;
}

static dlt_status fit_boundaries(fit *f, column *c, dlt_fitted *fitted, dlt_diag *diag)
{
    const dlt_feature_params *p = c->item->params;
    const int64_t bins = p->num_bins.set ? p->num_bins.value : f->default_bins;
    const char *name = dlt_feature_entry_name(f->arena, c->name, "boundaries");
    if (name == NULL) {
        return dlt_fail_memory(diag);
    }
    if (p->bin_boundaries.count > 0) {
        return dlt_fitted_numbers(fitted, name, p->bin_boundaries.at, p->bin_boundaries.count)
                   ? DLT_OK
                   : dlt_fail_memory(diag);
    }
    const double error = 0.01; /* Discretization's epsilon */
    const size_t n = c->value_count;
    if (n == 0) {
        return dlt_fail(diag, DLT_E_DATA, c->pos, "column '%s' has no values to take bins from", c->name);
    }
    qsort(c->values, n, sizeof *c->values, compare_floats);
    const double increment = (double)n / (1 / error), step = increment > 1 ? increment : 1;
    const size_t first = (size_t)(step - 1), stride = (size_t)step,
                 points = (n - first + stride - 1) / stride;
    summary s = {dlt_arena_alloc(f->arena, points, sizeof(float)),
                 dlt_arena_alloc(f->arena, points, sizeof(float)), points};
    if (s.value == NULL || s.weight == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < points; i++) {
        s.value[i] = c->values[first + i * stride];
        s.weight[i] = (float)step;
    }
    if (!compress(f->arena, &s, error) || !compress(f->arena, &s, 1.0 / (double)bins)) {
        return dlt_fail_memory(diag);
    }
    const size_t count = s.count - 1;
    double *boundaries = dlt_arena_alloc(f->arena, count, sizeof *boundaries);
    for (size_t i = 0; boundaries != NULL && i < count; i++) {
        boundaries[i] = s.value[i];
    }
    return boundaries != NULL && dlt_fitted_numbers(fitted, name, boundaries, count) ? DLT_OK
                                                                                     : dlt_fail_memory(diag);
}

static bool keep_number(fit *f, dlt_fitted *fitted, const column *c, const char *what, double number)
{
    const char *name = dlt_feature_entry_name(f->arena, c->name, what);
    return name != NULL && dlt_fitted_numbers(fitted, name, &number, 1);
}

static dlt_status fit_column(fit *f, column *c, dlt_fitted *fitted, dlt_diag *diag)
{
    if (c->kind == DLT_FEATURE_INTEGER_CATEGORICAL || c->kind == DLT_FEATURE_STRING_CATEGORICAL) {
        return fit_vocabulary(f, c, fitted, diag);
    }
    if (c->kind > DLT_FEATURE_STRING_CATEGORICAL) {
        return DLT_OK; /* hashes learn nothing */
    }
    if (c->kind == DLT_FEATURE_DISCRETIZED) {
        return fit_boundaries(f, c, fitted, diag);
    }
    bool kept = keep_number(f, fitted, c, "mean", c->mean);
    if (c->kind == DLT_FEATURE_NORMALIZED) {
        kept =
            kept && keep_number(f, fitted, c, "variance", c->count > 0 ? c->squares / (double)c->count : 1);
    }
    if (c->item == NULL && c->missing > 0) {
        kept = kept && keep_number(f, fitted, c, "missing", 1);
    }
    return kept ? DLT_OK : dlt_fail_memory(diag);
}

dlt_status dlt_feature_fit_end(void *state, dlt_fitted *fitted, dlt_diag *diag)
{
    fit *f = state;
    const char **names = dlt_arena_alloc(f->arena, f->count, sizeof *names);
    const char **kinds = dlt_arena_alloc(f->arena, f->count, sizeof *kinds);
    if (names == NULL || kinds == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < f->count; i++) {
        column *c = &f->columns[i];
        names[i] = c->name;
        kinds[i] = dlt_feature_kind_name(c->kind);
        DLT_TRY(fit_column(f, c, fitted, diag));
    }
    return dlt_fitted_texts(fitted, "features", names, f->count) &&
                   dlt_fitted_texts(fitted, "kinds", kinds, f->count)
               ? DLT_OK
               : dlt_fail_memory(diag);
}
