/* schema/number.c: scalars to numbers, and what someone meant by a scalar that is none. */
#include "base/num.h"
#include "schema/schema_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* "1/255": two numbers and a slash. */
static bool read_ratio(const char *text, size_t length, double *value)
{
    const char *slash = memchr(text, '/', length);
    double over = 0, under = 0;
    if (slash == NULL) {
        return false;
    }
    const size_t before = (size_t)(slash - text);
    if (!dlt_parse_double(text, before, &over) || !dlt_parse_double(slash + 1, length - before - 1, &under) ||
        under == 0 || !isfinite(over / under)) {
        return false;
    }
    *value = over / under;
    return true;
}

bool dlt_read_number(const char *text, size_t length, bool special, double *value)
{
    return dlt_parse_double(text, length, value) || read_ratio(text, length, value) ||
           (special && dlt_parse_special(text, length, value));
}

static bool wants_integer(const dlt_field *field)
{
    switch (field->type) {
    case DLT_FIELD_INT:
    case DLT_FIELD_OPT_INT:
    case DLT_FIELD_AXES:
    case DLT_FIELD_INTS:
    case DLT_FIELD_SHAPE:
        return true;
    default:
        return false;
    }
}

bool dlt_beyond_float(const dlt_field *field, double value)
{
    return !wants_integer(field) && isfinite(value) && !isfinite((float)value);
}

bool dlt_in_bounds(const dlt_field *field, double value)
{
    if (!isfinite(value)) {
        return (field->flags & DLT_FIELD_NON_FINITE) != 0;
    }
    if (dlt_beyond_float(field, value)) {
        return false;
    }
    const bool above = (field->flags & DLT_FIELD_OPEN_MIN) != 0 ? value > field->min : value >= field->min;
    const bool below = (field->flags & DLT_FIELD_OPEN_MAX) != 0 ? value < field->max : value <= field->max;
    return above && below;
}

void dlt_number_text(double value, char *text, size_t room)
{
    if (!isfinite(value)) {
        snprintf(text, room, "%s", isnan(value) ? ".nan" : value > 0 ? ".inf" : "-.inf");
    } else if (value == floor(value) && fabs(value) < 1e15) {
        snprintf(text, room, "%lld", (long long)value); /* "10", where the shortest form is 1e+01 */
    } else {
        dlt_format_double(value, text, room);
    }
}

int64_t dlt_bound_int(double bound)
{
    if (bound >= 0x1p63) {
        return INT64_MAX;
    }
    return bound <= -0x1p63 ? INT64_MIN : (int64_t)bound;
}

/* ---- hints ---- */

/* `text` is good as it stands for the field. */
static bool fits(const dlt_field *field, const char *text, size_t length, double *value)
{
    int64_t whole = 0;
    if (wants_integer(field)) {
        if (!dlt_parse_i64(text, length, &whole)) {
            return false;
        }
        *value = (double)whole;
    } else if (!dlt_read_number(text, length, false, value)) {
        return false;
    }
    return dlt_in_bounds(field, *value);
}

/* "write NUMBER", if the field would take that number. */
static const char *write_number(dlt_arena *arena, const dlt_field *field, double value)
{
    char text[40];
    if (wants_integer(field) && (value != floor(value) || fabs(value) > 0x1p53)) {
        return NULL;
    }
    if (!dlt_in_bounds(field, value)) {
        return NULL;
    }
    dlt_number_text(value, text, sizeof text);
    return dlt_arena_printf(arena, "write %s", text);
}

/* Copies text without the characters of `drop`; false if it does not fit. */
static bool without(const char *text, const char *drop, char *out, size_t room)
{
    size_t at = 0;
    for (; *text != '\0'; text++) {
        if (strchr(drop, *text) == NULL) {
            if (at + 1 >= room) {
                return false;
            }
            out[at++] = *text;
        }
    }
    out[at] = '\0';
    return at > 0;
}

/* Bytes and counts as people write them: "4GiB", "16 MB", "10k". */
static bool with_unit(const char *text, double *value)
{
    static const struct unit {
        const char *name;
        double factor;
    } units[] = {{"k", 1e3},      {"K", 1e3},      {"M", 1e6},      {"G", 1e9},
                 {"KB", 1e3},     {"kB", 1e3},     {"MB", 1e6},     {"GB", 1e9},
                 {"TB", 1e12},    {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30},
                 {"TiB", 0x1p40}, {"Ki", 0x1p10},  {"Mi", 0x1p20},  {"Gi", 0x1p30}};
    const size_t digits = strspn(text, "0123456789.");
    const char *unit = text + digits;
    unit += strspn(unit, " ");
    double number = 0;
    if (digits == 0 || !dlt_parse_double(text, digits, &number)) {
        return false;
    }
    for (size_t i = 0; i < DLT_COUNT(units); i++) {
        if (strcmp(unit, units[i].name) == 0) {
            *value = number * units[i].factor;
            return true;
        }
    }
    return false;
}

/* "(3, 3)" -> "write [3, 3]" */
static const char *tuple_hint(dlt_arena *arena, const dlt_yaml *node)
{
    if (node->text[0] != '(') {
        return NULL;
    }
    const size_t length = strcspn(node->text + 1, ")");
    if (node->text[length + 1] != ')' || length == 0) {
        return "lists are written in square brackets: [28, 28, 1]";
    }
    return dlt_arena_printf(arena, "lists are written in square brackets: [%.*s]",
                            (int)(length < 60 ? length : 60), node->text + 1);
}

const char *dlt_number_hint(dlt_arena *arena, const dlt_field *field, const dlt_yaml *node)
{
    char plain[64];
    double value = 0;
    if (node->type != DLT_YAML_SCALAR || node->text == NULL || node->length >= sizeof plain) {
        return NULL;
    }
    const char *text = node->text;
    if (node->quoted) {
        return fits(field, text, node->length, &value) ? "numbers stand without quotes" : NULL;
    }
    const char *tuple = tuple_hint(arena, node);
    if (tuple != NULL) {
        return tuple;
    }
    if (strcmp(text, "None") == 0) {
        const bool any_size = field->type == DLT_FIELD_SHAPE && field->min <= -1;
        return any_size || (field->def != NULL && strcmp(field->def, "null") == 0) ? "write null" : NULL;
    }
    if (dlt_read_number(text, node->length, false, &value) && dlt_beyond_float(field, value)) {
        return "numbers are float32 here: at most 3.4028235e+38";
    }
    if (dlt_parse_special(text, node->length, &value)) {
        return wants_integer(field) ? NULL : "it must be finite here";
    }
    if (dlt_text_ends(text, "%") && dlt_parse_double(text, node->length - 1, &value)) {
        return write_number(arena, field, value / 100);
    }
    const char *comma = strchr(text, ',');
    if (comma != NULL && without(text, ",", plain, sizeof plain) &&
        dlt_parse_double(plain, strlen(plain), &value)) {
        if (wants_integer(field)) {
            return write_number(arena, field, value);
        }
        memcpy(plain, text, node->length + 1);
        plain[comma - text] = '.';
        return dlt_parse_double(plain, strlen(plain), &value) ? write_number(arena, field, value) : NULL;
    }
    if (strchr(text, '_') != NULL && without(text, "_", plain, sizeof plain) &&
        dlt_read_number(plain, strlen(plain), false, &value)) {
        return write_number(arena, field, value);
    }
    if (strchr(text, ' ') != NULL && without(text, " ", plain, sizeof plain) &&
        fits(field, plain, strlen(plain), &value)) {
        return dlt_arena_printf(arena, "write %s", plain);
    }
    if (wants_integer(field) && dlt_read_number(text, node->length, false, &value)) {
        return value == floor(value) ? write_number(arena, field, value) : NULL;
    }
    if (with_unit(text, &value)) {
        return write_number(arena, field, value);
    }
    return NULL;
}

const char *dlt_bool_hint(dlt_arena *arena, const dlt_yaml *node)
{
    static const char *const yes[] = {"true", "yes", "on", "y", "1", "t"};
    static const char *const no[] = {"false", "no", "off", "n", "0", "f", "none"};
    if (node->type != DLT_YAML_SCALAR) {
        return NULL;
    }
    for (size_t i = 0; i < DLT_COUNT(yes); i++) {
        if (dlt_text_same(node->text, yes[i])) {
            return node->quoted ? "write true, without quotes" : "write true";
        }
    }
    for (size_t i = 0; i < DLT_COUNT(no); i++) {
        if (dlt_text_same(node->text, no[i])) {
            return node->quoted ? "write false, without quotes" : "write false";
        }
    }
    (void)arena;
    return NULL;
}
