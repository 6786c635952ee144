/* schema/expect.c: what may stand in a field, in words and by example; for messages, `help` and the docs
 * alike. */
#include "schema/schema_internal.h"

#include <math.h>
#include <string.h>

static void number(double value, bool integer, dlt_buf *out)
{
    char text[40];
    if (integer) {
        dlt_buf_printf(out, "%lld", (long long)dlt_bound_int(value));
        return;
    }
    dlt_number_text(value, text, sizeof text);
    dlt_buf_string(out, text);
}

/* " of 1..10", " above 0 and at most 1", " of at least 1"; nothing where every number will do. */
static void bounds(const dlt_field *field, bool integer, dlt_buf *out)
{
    const bool open_min = (field->flags & DLT_FIELD_OPEN_MIN) != 0,
               open_max = (field->flags & DLT_FIELD_OPEN_MAX) != 0;
    const double far = integer ? 0x1p62 : INFINITY; /* a bound beyond this is none */
    const bool low = field->min > -far, high = field->max < far;
    if (low && high && !open_min && !open_max) {
        dlt_buf_string(out, " of ");
        number(field->min, integer, out);
        dlt_buf_string(out, "..");
        number(field->max, integer, out);
        return;
    }
    if (low) {
        dlt_buf_string(out, open_min ? " above " : " of at least ");
        number(field->min, integer, out);
    }
    if (high) {
        dlt_buf_string(out, low ? " and " : " ");
        dlt_buf_string(out, open_max ? "below " : low ? "at most " : "of at most ");
        number(field->max, integer, out);
    }
}

void dlt_plural(const char *word, dlt_buf *out)
{
    const size_t length = strlen(word);
    if (dlt_text_ends(word, "s")) {
        dlt_buf_printf(out, "%ses", word);
    } else if (dlt_text_ends(word, "y")) {
        dlt_buf_append(out, word, length - 1);
        dlt_buf_string(out, "ies");
    } else {
        dlt_buf_printf(out, "%ss", word);
    }
}

void dlt_expect_item(const char *category, dlt_buf *out)
{
    dlt_buf_printf(out, "%s %s", strchr("aeiou", category[0]) != NULL ? "an" : "a", category);
}

static void words(const char *const *names, dlt_buf *out)
{
    for (size_t i = 0; names != NULL && names[i] != NULL; i++) {
        dlt_buf_printf(out, "%s%s", i > 0 ? ", " : "", names[i]);
    }
}

void dlt_expect_element(const dlt_field *field, dlt_buf *out)
{
    switch (field->type) {
    case DLT_FIELD_INT:
    case DLT_FIELD_OPT_INT:
    case DLT_FIELD_AXES:
    case DLT_FIELD_INTS:
    case DLT_FIELD_SHAPE:
        dlt_buf_string(out, "an integer");
        bounds(field, true, out);
        if (field->type == DLT_FIELD_SHAPE && field->min <= -1) {
            dlt_buf_string(out, " (null and -1: any size)");
        }
        break;
    case DLT_FIELD_FLOAT:
    case DLT_FIELD_OPT_FLOAT:
    case DLT_FIELD_FLOATS:
    case DLT_FIELD_FLOAT_MAP:
    case DLT_FIELD_FLOAT_OR_ITEM:
        dlt_buf_string(out, "a number");
        bounds(field, false, out);
        if ((field->flags & DLT_FIELD_NON_FINITE) != 0) {
            dlt_buf_string(out, ", .inf or .nan");
        }
        break;
    case DLT_FIELD_BOOL:
        dlt_buf_string(out, "true or false");
        break;
    case DLT_FIELD_STRING:
    case DLT_FIELD_STRINGS:
    case DLT_FIELD_STRING_MAP:
        dlt_buf_string(out, "a text");
        break;
    case DLT_FIELD_PATH:
    case DLT_FIELD_PATHS:
        dlt_buf_string(out, "a path");
        break;
    case DLT_FIELD_COLUMNS:
        dlt_buf_string(out, "the name or number of a column");
        break;
    case DLT_FIELD_ENUM:
        dlt_buf_string(out, "one of ");
        words(field->names, out);
        break;
    case DLT_FIELD_STRUCT:
        dlt_buf_string(out, "a mapping");
        break;
    case DLT_FIELD_ITEM:
    case DLT_FIELD_ITEMS:
    case DLT_FIELD_ITEM_LISTS:
    case DLT_FIELD_ITEM_MAP:
        dlt_expect_item(field->category, out);
        break;
    case DLT_FIELD_WEIGHT:
        dlt_buf_string(out, "what one weight starts from and is held to");
        break;
    default:
        break;
    }
}

void dlt_expect(const dlt_field *field, dlt_buf *out)
{
    switch (field->type) {
    case DLT_FIELD_AXES:
        dlt_expect_element(field, out);
        dlt_buf_printf(out, ", or a list of %d", field->count);
        break;
    case DLT_FIELD_INTS:
    case DLT_FIELD_FLOATS:
        dlt_expect_element(field, out);
        dlt_buf_string(out, ", or a list of them");
        break;
    case DLT_FIELD_SHAPE:
        dlt_buf_string(out, "a list");
        if (field->count > 0) {
            dlt_buf_printf(out, " of at most %d", field->count);
        }
        dlt_buf_string(out, ", each ");
        dlt_expect_element(field, out);
        break;
    case DLT_FIELD_STRINGS:
    case DLT_FIELD_PATHS:
    case DLT_FIELD_COLUMNS:
        dlt_expect_element(field, out);
        dlt_buf_string(out, ", or a list of them");
        break;
    case DLT_FIELD_FLOAT_MAP:
        dlt_buf_string(out, "a mapping to numbers");
        bounds(field, false, out);
        if (field->names != NULL && field->names[0] != NULL) {
            dlt_buf_string(out, ", or ");
            words(field->names, out);
        }
        break;
    case DLT_FIELD_STRING_MAP:
        dlt_buf_string(out, "a mapping to texts");
        break;
    case DLT_FIELD_ITEMS:
        dlt_buf_string(out, "a list of ");
        dlt_plural(field->category, out);
        break;
    case DLT_FIELD_ITEM_LISTS:
        dlt_buf_string(out, "a list of lists of ");
        dlt_plural(field->category, out);
        break;
    case DLT_FIELD_ITEM_MAP:
        dlt_buf_string(out, "a mapping to ");
        dlt_plural(field->category, out);
        break;
    case DLT_FIELD_FLOAT_OR_ITEM:
        dlt_expect_element(field, out);
        dlt_buf_string(out, ", or ");
        dlt_expect_item(field->category, out);
        break;
    default:
        dlt_expect_element(field, out);
        break;
    }
    if ((field->flags & DLT_FIELD_AUTO) != 0) {
        dlt_buf_string(out, ", or auto");
    }
}

/* ---- examples ---- */

static void example_number(const dlt_field *field, bool integer, dlt_buf *out)
{
    static const double tries[] = {10, 0.1, 1, 0, 2, 100};
    for (size_t i = 0; i < DLT_COUNT(tries); i++) {
        const bool whole = tries[i] == floor(tries[i]);
        if ((whole || !integer) && dlt_in_bounds(field, tries[i])) {
            number(tries[i], whole, out);
            return;
        }
    }
    number(field->min, integer, out);
}

/* First kind of a category that can stand as a bare name; NULL when there is none. */
static const dlt_kind *bare_kind(const dlt_catalogue *catalogue, const char *category)
{
    const dlt_category *found = dlt_catalogue_find(catalogue, category);
    for (size_t i = 0; found != NULL && i < found->count; i++) {
        bool bare = strcmp(found->kinds[i]->name, "number") != 0;
        for (size_t k = 0; bare && k < dlt_field_count(found->kinds[i]->fields); k++) {
            bare = !dlt_field_required(&found->kinds[i]->fields[k]);
        }
        if (bare) {
            return found->kinds[i];
        }
    }
    return NULL;
}

void dlt_example_value(const dlt_catalogue *catalogue, const dlt_field *field, dlt_buf *out)
{
    const dlt_kind *kind = field->category != NULL ? bare_kind(catalogue, field->category) : NULL;
    const char *name = kind != NULL ? kind->name : "...";
    switch (field->type) {
    case DLT_FIELD_INT:
    case DLT_FIELD_OPT_INT:
    case DLT_FIELD_AXES:
    case DLT_FIELD_INTS:
        example_number(field, true, out);
        break;
    case DLT_FIELD_FLOAT:
    case DLT_FIELD_OPT_FLOAT:
    case DLT_FIELD_FLOATS:
    case DLT_FIELD_FLOAT_OR_ITEM:
        example_number(field, false, out);
        break;
    case DLT_FIELD_BOOL:
        dlt_buf_string(out, "true");
        break;
    case DLT_FIELD_ENUM:
        dlt_buf_string(out, field->names != NULL && field->names[0] != NULL ? field->names[0] : "...");
        break;
    case DLT_FIELD_SHAPE:
        dlt_buf_char(out, '[');
        example_number(field, true, out);
        dlt_buf_char(out, ']');
        break;
    case DLT_FIELD_PATH:
    case DLT_FIELD_PATHS:
        dlt_buf_string(out, "FILE");
        break;
    case DLT_FIELD_COLUMNS:
        dlt_buf_string(out, "NAME");
        break;
    case DLT_FIELD_ITEM:
        dlt_buf_string(out, name);
        break;
    case DLT_FIELD_ITEMS:
        dlt_buf_printf(out, "[%s]", name);
        break;
    case DLT_FIELD_ITEM_LISTS:
        dlt_buf_printf(out, "[[%s]]", name);
        break;
    case DLT_FIELD_ITEM_MAP:
        dlt_buf_printf(out, "{NAME: %s}", name);
        break;
    case DLT_FIELD_FLOAT_MAP:
        dlt_buf_string(out, "{NAME: ");
        example_number(field, false, out);
        dlt_buf_char(out, '}');
        break;
    case DLT_FIELD_STRING_MAP:
        dlt_buf_string(out, "{NAME: TEXT}");
        break;
    default:
        dlt_buf_string(out, "...");
        break;
    }
}

void dlt_example_item(const dlt_catalogue *catalogue, const dlt_kind *kind, dlt_buf *out)
{
    size_t shown = 0;
    dlt_buf_string(out, kind->name);
    for (size_t i = 0; i < dlt_field_count(kind->fields); i++) {
        const dlt_field *field = &kind->fields[i];
        if (dlt_field_required(field)) {
            dlt_buf_printf(out, "%s%s: ", shown++ == 0 ? ": {" : ", ", field->name);
            dlt_example_value(catalogue, field, out);
        }
    }
    if (shown > 0) {
        dlt_buf_char(out, '}');
    }
}
