/* layers/feature_encode.c: rows of a table as the INPUT values of FeatureSpace. Runs in loader threads: reads only what the
 * encoder holds, allocates nothing. */
#include "layers/feature_space.h"

#include "layers/farmhash.h"

#include <stdio.h>
#include <string.h>

/* A vocabulary as a hash table; open addressing, room is a power of two. index -1: free. */
typedef struct slot {
    uint64_t hash;
    const char *text; /* NULL: an integer */
    int64_t value;
    int32_t index;
} slot;

typedef struct encoded {
    const dlt_feature *feature;
    size_t part;
    dlt_column_type type;
    const dlt_dictionary *dictionary;
    int32_t *by_code; /* index of each text that the dictionary had when the encoder was made */
    int64_t code_count;
    slot *slots;
    size_t room;
    size_t output;
} encoded;

typedef struct encoder {
    dlt_pos pos;
    dlt_feature_plan plan;
    encoded *features;
    size_t first_cross; /* output of the first cross */
} encoder;

/* ---- looking up ---- */

static uint64_t hash_of(const char *text, int64_t value)
{
    return text != NULL ? dlt_fingerprint64(text, strlen(text))
                        : (uint64_t)value * UINT64_C(0x9E3779B97F4A7C15);
}

static slot *place_of(const encoded *e, uint64_t hash, const char *text, int64_t value)
{
    size_t at = (size_t)(hash >> 20) & (e->room - 1);
    for (;; at = (at + 1) & (e->room - 1)) {
        slot *s = &e->slots[at];
        if (s->index < 0 ||
            (s->hash == hash && (text != NULL ? strcmp(s->text, text) == 0 : s->value == value))) {
            return s;
        }
    }
}

/* Decimal text of an integer, as TensorFlow hashes it. */
static const char *decimal(int64_t value, char text[24])
{
    snprintf(text, 24, "%lld", (long long)value);
    return text;
}

/* Index of a text (or, where it is NULL, an integer), or -1 where it is unknown and there is no OOV slot. */
static int32_t look_up(const encoded *e, const char *text, int64_t value)
{
    const dlt_feature *f = e->feature;
    const uint64_t hash = hash_of(text, value);
    const slot *s = place_of(e, hash, text, value);
    if (s->index >= 0) {
        return s->index;
    }
    if (f->oov == 0) {
        return -1;
    }
    if (text != NULL) {
        return (int32_t)(hash % (uint64_t)f->oov);
    }
    const int64_t rest = value % f->oov; /* floored, as Keras does it */
    return (int32_t)(rest < 0 ? rest + f->oov : rest);
}

static int32_t hashed(const encoded *e, const char *text)
{
    return (int32_t)(dlt_fingerprint64(text, strlen(text)) % (uint64_t)e->feature->size);
}

/* Number of boundaries <= x, both as float32; NaN lies above all. */
static int32_t bin_of(const dlt_fitted_entry *boundaries, double x)
{
    size_t low = 0, high = boundaries->count;
    const float wanted = (float)x;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (wanted < (float)boundaries->numbers[middle]) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return (int32_t)low;
}

/* ---- making the encoder ---- */

static dlt_status fill_slots(encoded *e, dlt_arena *arena, dlt_diag *diag)
{
    const dlt_feature *f = e->feature;
    const dlt_fitted_entry *v = f->vocabulary;
    const bool texts = f->kind == DLT_FEATURE_STRING_CATEGORICAL;
    e->room = 16;
    while (e->room < 2 * v->count + 1) {
        e->room *= 2;
    }
    e->slots = dlt_arena_alloc(arena, e->room, sizeof *e->slots);
    if (e->slots == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < e->room; i++) {
        e->slots[i].index = -1;
    }
    for (size_t i = 0; i < v->count; i++) {
        const char *text = texts ? v->texts[i] : NULL;
        const int64_t value = texts ? 0 : (int64_t)v->numbers[i];
        const uint64_t hash = hash_of(text, value);
        *place_of(e, hash, text, value) = (slot){hash, text, value, (int32_t)(f->oov + (int64_t)i)};
    }
    return DLT_OK;
}

static dlt_status fill_codes(encoded *e, dlt_arena *arena, dlt_diag *diag)
{
    const bool hashes = e->feature->kind == DLT_FEATURE_STRING_HASHED;
    e->code_count = e->dictionary->count;
    e->by_code = dlt_arena_alloc(arena, (size_t)e->code_count, sizeof *e->by_code);
    if (e->by_code == NULL) {
        return dlt_fail_memory(diag);
    }
    for (int64_t i = 0; i < e->code_count; i++) {
        const char *text = e->dictionary->at[i];
        e->by_code[i] = hashes ? hashed(e, text) : look_up(e, text, 0);
    }
    return DLT_OK;
}

dlt_status dlt_feature_encoder(const dlt_item *item, const dlt_fitted *fitted,
                               const dlt_record_layout *layout, dlt_arena *arena, void **out, dlt_diag *diag)
{
    encoder *e = dlt_arena_alloc(arena, 1, sizeof *e);
    size_t output = 0;
    *out = e;
    if (e == NULL) {
        return dlt_fail_memory(diag);
    }
    e->pos = item->pos;
    DLT_TRY(dlt_feature_plan_make(item, fitted, arena, &e->plan, diag));
    e->features = dlt_arena_alloc(arena, e->plan.feature_count, sizeof *e->features);
    if (e->features == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < e->plan.feature_count; i++) {
        const dlt_feature *f = &e->plan.features[i];
        encoded *one = &e->features[i];
        const int64_t part = dlt_feature_part(layout, f->name, item->pos, diag);
        if (part < 0) {
            return dlt_diag_status(diag);
        }
        DLT_TRY(dlt_feature_accepts(f->kind, &layout->parts[part], item->pos, diag));
        *one = (encoded){.feature = f,
                         .part = (size_t)part,
                         .type = layout->parts[part].type,
                         .dictionary = layout->parts[part].dictionary,
                         .output = output};
        output += f->indicator ? 2 : 1;
        if (f->vocabulary != NULL) {
            DLT_TRY(fill_slots(one, arena, diag));
        }
        if (one->type == DLT_COLUMN_TEXT && one->dictionary != NULL) {
            DLT_TRY(fill_codes(one, arena, diag));
        }
    }
    e->first_cross = output;
    return DLT_OK;
}

/* ---- encoding ---- */

static dlt_status unknown(const encoder *e, const encoded *one, const char *text, int64_t row, dlt_diag *diag)
{
    return dlt_fail(diag, DLT_E_DATA, e->pos,
                    "column '%s', record %lld: '%s' was not seen in training, and num_oov_indices is 0",
                    one->feature->name, (long long)row + 1, text);
}

/* Index of a missing value. */
static int32_t index_of_missing(const encoded *one)
{
    const dlt_feature *f = one->feature;
    switch (f->kind) {
    case DLT_FEATURE_INTEGER_HASHED:
    case DLT_FEATURE_STRING_HASHED:
        return hashed(one, "");
    case DLT_FEATURE_STRING_CATEGORICAL:
        return f->bare ? 0 : look_up(one, "", 0);
    default:
        return f->oov > 0 ? 0 : -1;
    }
}

static dlt_status encode_text(const encoder *e, const encoded *one, const dlt_table *rows, int32_t *out,
                              dlt_diag *diag)
{
    const int32_t *codes = rows->columns[one->part];
    for (int64_t r = 0; r < rows->rows; r++) {
        const int32_t code = codes[r];
        const char *text = code >= 0 ? one->dictionary->at[code] : "";
        if (code < 0) {
            out[r] = index_of_missing(one);
        } else if (code < one->code_count) {
            out[r] = one->by_code[code];
        } else { /* the dictionary has grown since */
            out[r] =
                one->feature->kind == DLT_FEATURE_STRING_HASHED ? hashed(one, text) : look_up(one, text, 0);
        }
        if (out[r] < 0) {
            return unknown(e, one, text, rows->row_numbers[r], diag);
        }
    }
    return DLT_OK;
}

static dlt_status encode_index(const encoder *e, const encoded *one, const dlt_table *rows, int32_t *out,
                               dlt_diag *diag)
{
    const dlt_feature_kind kind = one->feature->kind;
    const double *numbers = rows->columns[one->part];
    char text[24];
    if (one->type == DLT_COLUMN_TEXT) {
        return encode_text(e, one, rows, out, diag);
    }
    for (int64_t r = 0; r < rows->rows; r++) {
        const double x = numbers[r];
        if (kind == DLT_FEATURE_DISCRETIZED) {
            out[r] = bin_of(one->feature->boundaries, x);
            continue;
        }
        if (isnan(x)) {
            out[r] = index_of_missing(one);
        } else if (x != floor(x) || fabs(x) > 0x1p53) {
            return dlt_fail(diag, DLT_E_DATA, e->pos,
                            "column '%s', record %lld: %g is not a whole number, which %s needs",
                            one->feature->name, (long long)rows->row_numbers[r] + 1, x,
                            dlt_feature_kind_name(kind));
        } else if (kind == DLT_FEATURE_INTEGER_CATEGORICAL) {
            out[r] = look_up(one, NULL, (int64_t)x);
        } else if (kind == DLT_FEATURE_STRING_CATEGORICAL) {
            out[r] = look_up(one, decimal((int64_t)x, text), 0);
        } else {
            out[r] = hashed(one, decimal((int64_t)x, text));
        }
        if (out[r] < 0) {
            return unknown(e, one, isnan(x) ? "" : decimal((int64_t)x, text), rows->row_numbers[r], diag);
        }
    }
    return DLT_OK;
}

static void encode_numbers(const encoded *one, const dlt_table *rows, float *out, uint8_t *missing)
{
    const double *numbers = rows->columns[one->part];
    for (int64_t r = 0; r < rows->rows; r++) {
        const bool absent = isnan(numbers[r]);
        out[r] = (float)(absent ? one->feature->mean : numbers[r]);
        if (missing != NULL) {
            missing[r] = absent;
        }
    }
}

static void encode_cross(const encoder *e, const dlt_feature_cross *cross, const dlt_table *rows,
                         void *const *outputs, int32_t *out)
{
    for (int64_t r = 0; r < rows->rows; r++) {
        uint64_t hash = DLT_CROSS_SEED;
        for (size_t i = 0; i < cross->count; i++) {
            const int32_t *indices = outputs[e->features[cross->of[i]].output];
            hash = dlt_cross_step(hash, indices[r]);
        }
        out[r] = (int32_t)(hash % (uint64_t)cross->bins);
    }
}

dlt_status dlt_feature_encode(const void *encoder_, const dlt_table *rows, void *const *outputs,
                              dlt_diag *diag)
{
    const encoder *e = encoder_;
    for (size_t i = 0; i < e->plan.feature_count; i++) {
        const encoded *one = &e->features[i];
        if (dlt_feature_is_index(one->feature->kind)) {
            DLT_TRY(encode_index(e, one, rows, outputs[one->output], diag));
        } else {
            encode_numbers(one, rows, outputs[one->output],
                           one->feature->indicator ? outputs[one->output + 1] : NULL);
        }
    }
    for (size_t i = 0; i < e->plan.cross_count; i++) {
        encode_cross(e, &e->plan.crosses[i], rows, outputs, outputs[e->first_cross + i]);
    }
    return DLT_OK;
}
