/* io/data/signature.c: what is known of the data, and how people are told. */
#include "io/data/signature.h"

#include "base/alloc.h"
#include "base/num.h"
#include "base/sha256.h"

#include <math.h>
#include <string.h>

enum { INTEGER_CLASSES_MOST = 1000 }; /* an integer column with more values is a number to people */

/* Classes 0..count-1 of which none is left out, and nothing else. */
static bool are_classes(const dlt_class_stats *classes)
{
    bool all = classes->count > 0 && classes->other < 0;
    for (int64_t i = 0; all && i < classes->count; i++) {
        all = classes->records[i] > 0;
    }
    return all;
}

int64_t dlt_classes_seen(const dlt_record_layout *layout, const dlt_stats *stats)
{
    const int first = dlt_layout_find(layout, DLT_ROLE_TARGET, 0);
    if (first < 0 || dlt_layout_find(layout, DLT_ROLE_TARGET, (size_t)first + 1) >= 0) {
        return 0;
    }
    const dlt_part *part = &layout->parts[first];
    if (part->dictionary != NULL) {
        return part->dictionary->count;
    }
    const bool integers =
        part->type == DLT_COLUMN_TENSOR ? !dlt_dtype_is_real(part->dtype) : part->type == DLT_COLUMN_INTEGER;
    const bool few = part->type == DLT_COLUMN_TENSOR || stats->classes.count <= INTEGER_CLASSES_MOST;
    const bool one = dlt_shape_count(&part->shape) == 1;
    return integers && few && one && are_classes(&stats->classes) ? stats->classes.count : 0;
}

dlt_target_type dlt_target_of(const dlt_frame *frame, dlt_shape *shape)
{
    const dlt_record_layout *layout = &frame->layout;
    int64_t targets = 0;
    *shape = dlt_scalar();
    for (int i = dlt_layout_find(layout, DLT_ROLE_TARGET, 0); i >= 0;
         i = dlt_layout_find(layout, DLT_ROLE_TARGET, (size_t)i + 1)) {
        *shape = layout->parts[i].shape;
        targets++;
    }
    if (targets == 0) {
        return DLT_TARGET_NONE;
    }
    if (targets > 1) {
        *shape = DLT_SHAPE(targets);
        return DLT_TARGET_TENSOR;
    }
    if (dlt_shape_count(shape) != 1) {
        return DLT_TARGET_TENSOR;
    }
    return frame->class_count > 0 ? DLT_TARGET_CLASS : DLT_TARGET_NUMBER;
}

/* ---- texts ---- */

static void put_count(dlt_buf *out, int64_t count)
{
    char text[40];
    dlt_format_count(count, text, sizeof text);
    dlt_buf_string(out, count >= 0 ? text : "?");
}

/* What an input is: "28x28x1", "9 columns (1 text)". */
static void put_input(const dlt_record_layout *layout, dlt_buf *out)
{
    int64_t columns = 0, texts = 0;
    for (size_t i = 0; i < layout->count; i++) {
        const dlt_part *part = &layout->parts[i];
        if (part->role != DLT_ROLE_FEATURE) {
            continue;
        }
        if (part->type == DLT_COLUMN_TENSOR) {
            for (int d = 0; d < part->shape.rank; d++) {
                dlt_buf_printf(out, "%s%lld", d > 0 ? "x" : "", (long long)part->shape.dim[d]);
            }
            dlt_buf_string(out, part->shape.rank == 0 ? "1" : "");
            return;
        }
        columns++;
        texts += part->type == DLT_COLUMN_TEXT;
    }
    dlt_buf_printf(out, "%lld column%s", (long long)columns, columns == 1 ? "" : "s");
    if (texts > 0) {
        dlt_buf_printf(out, " (%lld text)", (long long)texts);
    }
}

void dlt_signature_text(const dlt_signature *s, dlt_buf *out)
{
    static const char *const names[] = {"train", "validation", "test"};
    dlt_buf_string(out, s->name);
    for (int i = 0; i < DLT_SET_COUNT; i++) {
        if (s->sets[i].present) {
            dlt_buf_string(out, "  ");
            put_count(out, s->sets[i].count);
            dlt_buf_printf(out, " %s", names[i]);
        }
    }
    dlt_buf_string(out, "   ");
    put_input(s->layout, out);
    const int target = dlt_layout_find(s->layout, DLT_ROLE_TARGET, 0);
    if (s->target == DLT_TARGET_CLASS) {
        dlt_buf_printf(out, ", %lld classes", (long long)s->class_count);
    } else if (s->class_count > 0) {
        dlt_buf_printf(out, ", %lld characters", (long long)s->class_count);
    } else if (s->target == DLT_TARGET_NUMBER) {
        dlt_buf_printf(out, ", %s",
                       s->layout->parts[target].type == DLT_COLUMN_TENSOR ? "a number"
                                                                          : s->layout->parts[target].name);
    } else if (s->target == DLT_TARGET_TENSOR) {
        char shape[160];
        dlt_buf_printf(out, ", targets %s", dlt_shape_text(&s->target_shape, shape, sizeof shape));
    }
}

static const char *type_text(const dlt_part *part)
{
    switch (part->type) {
    case DLT_COLUMN_NUMBER:
        return "number";
    case DLT_COLUMN_INTEGER:
        return "integer";
    case DLT_COLUMN_TEXT:
        return "text";
    default:
        return dlt_dtype_name(part->dtype);
    }
}

/* A number as people write it: whole ones without an exponent. */
static void put_number(dlt_buf *out, double value)
{
    char text[40];
    if (fabs(value) < 1e15 && value == floor(value)) {
        dlt_buf_printf(out, "%lld", (long long)value);
    } else {
        dlt_format_double(value, text, sizeof text);
        dlt_buf_string(out, text);
    }
}

void dlt_signature_columns(const dlt_signature *s, dlt_buf *out)
{
    static const char *const roles[] = {"input", "target", "weight"};
    size_t widest = 6;
    for (size_t i = 0; i < s->layout->count; i++) {
        const size_t length = strlen(s->layout->parts[i].name);
        widest = length > widest && length <= 40 ? length : widest;
    }
    dlt_buf_printf(out, "%-*s  %-6s  %-8s  %9s  %9s  %s\n", (int)widest, "column", "role", "type", "missing",
                   "distinct", "range");
    for (size_t i = 0; i < s->layout->count; i++) {
        const dlt_part *part = &s->layout->parts[i];
        static const dlt_part_stats unknown = {.distinct = -1};
        const dlt_part_stats *stats = i < s->stats->part_count ? &s->stats->part[i] : &unknown;
        char count[40];
        dlt_buf_printf(out, "%-*s  %-6s  %-8s  ", (int)widest, part->name, roles[part->role],
                       type_text(part));
        dlt_format_count(stats->missing, count, sizeof count);
        dlt_buf_printf(out, "%9s  ", count);
        if (stats->distinct >= 0) {
            dlt_format_count(stats->distinct, count, sizeof count);
            dlt_buf_printf(out, "%9s", count);
        } else {
            dlt_buf_printf(out, "%9s", part->type == DLT_COLUMN_TENSOR ? "" : "many");
        }
        if (!isnan(stats->least)) {
            dlt_buf_string(out, "  ");
            put_number(out, stats->least);
            dlt_buf_string(out, " .. ");
            put_number(out, stats->most);
        } else if (part->type == DLT_COLUMN_TENSOR) {
            char shape[160];
            dlt_buf_printf(out, "  %s", dlt_shape_text(&part->shape, shape, sizeof shape));
        }
        dlt_buf_char(out, '\n');
    }
}

/* ---- classes ---- */

/* What is wrong with the labels of one set, as class numbers below `classes` (0: any). */
static dlt_status check_labels(const dlt_signature *s, int set, int64_t classes, const char *limit,
                               dlt_pos at, dlt_diag *diag)
{
    enum { SHOWN = 20 };
    static const char *const of[] = {"", " of validation", " of test"};
    const dlt_class_stats *seen = &s->sets[set].stats->classes;
    const int target = dlt_layout_find(s->layout, DLT_ROLE_TARGET, 0);
    const bool table = s->layout->parts[target].type != DLT_COLUMN_TENSOR;
    dlt_status status = DLT_OK;
    if (seen->other >= 0) {
        char text[40];
        dlt_format_double(seen->other_value, text, sizeof text);
        status = dlt_fail(
            diag, DLT_E_DATA, at, "record %lld%s has the label %s; class labels are integers from 0%s",
            (long long)seen->other + 1, of[set], text,
            table ? " (declare types: {NAME: text} to use the values of the column as names)" : "");
    }
    int shown = 0;
    for (int64_t i = classes; classes > 0 && i < seen->count && shown < SHOWN; i++) {
        if (seen->records[i] > 0) {
            status =
                dlt_fail(diag, DLT_E_DATA, at, "record %lld%s has the label %lld; %lld %s labels 0..%lld",
                         (long long)seen->first[i] + 1, of[set], (long long)i, (long long)classes, limit,
                         (long long)classes - 1);
            shown++;
        }
    }
    return status;
}

/* Where nobody says how many classes there are, none may be left out in train. */
static dlt_status check_gaps(const dlt_signature *s, dlt_pos at, dlt_diag *diag)
{
    const dlt_class_stats *seen = &s->stats->classes;
    for (int64_t i = 0; i < seen->count; i++) {
        if (seen->records[i] == 0) {
            int64_t next = i;
            while (seen->records[next] == 0) {
                next++;
            }
            return dlt_fail(diag, DLT_E_DATA, at,
                            "no record has the label %lld, but record %lld has %lld; labels count from 0 and "
                            "leave none out%s",
                            (long long)i, (long long)seen->first[next] + 1, (long long)next,
                            i == 0 ? " (subtract the lowest, or declare the column text)" : "");
        }
    }
    return DLT_OK;
}

dlt_status dlt_signature_classes(const dlt_signature *s, int64_t units, dlt_pos at, dlt_diag *diag)
{
    const int target = dlt_layout_find(s->layout, DLT_ROLE_TARGET, 0);
    dlt_status status = DLT_OK;
    if (target < 0) {
        return dlt_fail(diag, DLT_E_DATA, at, "class labels are wanted, but the data have no target");
    }
    for (int set = 0; set < DLT_SET_COUNT; set++) {
        if (s->sets[set].stats != NULL) {
            /* without units, train's own labels say how many classes there are for the others */
            const bool own = s->sets[set].stats == s->stats;
            const int64_t classes = units > 0 ? units : own ? 0 : s->stats->classes.count;
            const dlt_status checked =
                check_labels(s, set, classes, units > 0 ? "outputs take" : "classes of train are", at, diag);
            status = status == DLT_OK ? checked : status;
        }
    }
    if (status == DLT_OK && units == 0 && s->layout->parts[target].dictionary == NULL) {
        status = check_gaps(s, at, diag);
    }
    return status;
}

/* Class that a key of class_weight means, or -1. */
static int64_t class_of_key(const dlt_signature *s, const char *key)
{
    int64_t label = -1;
    for (int64_t i = 0; s->class_names != NULL && i < s->class_count; i++) {
        if (strcmp(s->class_names[i], key) == 0) {
            return i;
        }
    }
    if (dlt_parse_i64(key, strlen(key), &label) && label >= 0 && label < DLT_CLASSES_MOST &&
        (s->class_count == 0 || label < s->class_count)) {
        return label;
    }
    return -1;
}

dlt_status dlt_class_weights(const dlt_signature *s, const dlt_float_map *map, dlt_pos at, dlt_arena *arena,
                             float **weights, int64_t *count, dlt_diag *diag)
{
    *weights = NULL;
    *count = 0;
    if (map->word == NULL && map->count == 0) {
        return DLT_OK;
    }
    const bool balanced = map->word != NULL;
    const int64_t *counts = s->sets[DLT_TRAIN].class_counts;
    if (balanced && counts == NULL && s->target == DLT_TARGET_CLASS && s->class_count > 0) {
        return dlt_fail(diag, DLT_E_DATA, at,
                        "class_weight: the classes of this source are not counted, which balanced needs; give the weights by class");
    }
    if (balanced && (counts == NULL || s->class_count == 0)) {
        return dlt_fail(diag, DLT_E_DATA, at, "class_weight: balanced needs one class a record as target");
    }
    if (s->target == DLT_TARGET_NONE || (s->target != DLT_TARGET_TENSOR && s->stats->classes.other >= 0)) {
        char text[40] = "nothing";
        if (s->target != DLT_TARGET_NONE) {
            dlt_format_double(s->stats->classes.other_value, text, sizeof text);
        }
        return dlt_fail(diag, DLT_E_DATA, at,
                        "class_weight needs class numbers or names as targets; record %lld has %s",
                        (long long)(s->target != DLT_TARGET_NONE ? s->stats->classes.other : 0) + 1, text);
    }
    int64_t classes = s->class_count;
    dlt_status status = DLT_OK;
    for (size_t i = 0; i < map->count; i++) {
        const int64_t label = class_of_key(s, map->key[i]);
        if (label < 0) {
            const int near = s->class_names != NULL
                                 ? dlt_nearest(map->key[i], s->class_names, (size_t)s->class_count)
                                 : -1;
            const dlt_detail detail = {.key = "fit.class_weight",
                                       .found = map->key[i],
                                       .nearest = near >= 0 ? s->class_names[near] : NULL};
            status = dlt_fail_detail(diag, DLT_E_CONFIG, map->pos != NULL ? map->pos[i] : at, &detail,
                                     "class_weight: '%s' is no class of the data%s%s%s", map->key[i],
                                     near >= 0 ? "; did you mean '" : "",
                                     near >= 0 ? s->class_names[near] : "", near >= 0 ? "'?" : "");
        }
        classes = label >= classes ? label + 1 : classes;
    }
    DLT_TRY(status);
    float *table = dlt_arena_alloc(arena, (size_t)classes, sizeof *table);
    if (table == NULL) {
        return dlt_fail_memory(diag);
    }
    int64_t records = 0, present = 0;
    for (int64_t i = 0; balanced && i < classes; i++) {
        records += counts[i];
        present += counts[i] > 0;
    }
    for (int64_t i = 0; i < classes; i++) {
        table[i] = balanced && counts[i] > 0
                       ? (float)((double)records / ((double)present * (double)counts[i]))
                       : 1.0f;
    }
    for (size_t i = 0; i < map->count; i++) {
        table[class_of_key(s, map->key[i])] = (float)map->value[i];
    }
    *weights = table;
    *count = classes;
    return DLT_OK;
}

static void digest_sets(const dlt_signature *s, bool whole, char text[DLT_SHA256_HEX])
{
    dlt_sha256 sha;
    uint8_t digest[DLT_SHA256_BYTES];
    dlt_sha256_init(&sha);
    for (int i = 0; i < DLT_SET_COUNT; i++) {
        const char *set = !s->sets[i].present ? "-" : whole ? s->sets[i].content : s->sets[i].digest;
        dlt_sha256_update(&sha, set, strlen(set) + 1);
    }
    dlt_sha256_final(&sha, digest);
    dlt_sha256_hex(digest, text);
}

void dlt_signature_digest(const dlt_signature *s, char text[DLT_DATA_DIGEST])
{
    bool whole = true;
    for (int i = 0; i < DLT_SET_COUNT; i++) {
        const dlt_set_info *set = &s->sets[i];
        whole = whole && (!set->present || set->digest[0] == '\0' || set->content[0] != '\0');
    }
    digest_sets(s, false, text);
    if (whole) {
        text[DLT_SHA256_HEX - 1] = ':';
        digest_sets(s, true, text + DLT_SHA256_HEX);
    }
}

bool dlt_same_data(const char *a, const char *b)
{
    const char *whole_a = strchr(a, ':'), *whole_b = strchr(b, ':');
    return strncmp(a, b, DLT_SHA256_HEX - 1) == 0 && (whole_a == NULL || whole_b == NULL || strcmp(whole_a, whole_b) == 0);
}
