/* io/data/npy.c: NPY headers. The header is the literal of a Python dict with the keys descr, fortran_order
 * and shape; order, spacing and kind of quotes are free, so it is read by a small parser. Pickled objects are
 * refused, never loaded. */
#include "io/data/npy.h"

#include "base/num.h"

#include <string.h>

typedef struct cursor {
    const char *at, *end;
} cursor;

static void skip_blank(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r')) {
        c->at++;
    }
}

/* True and moves on if `symbol` comes next. */
static bool eat(cursor *c, char symbol)
{
    skip_blank(c);
    if (c->at < c->end && *c->at == symbol) {
        c->at++;
        return true;
    }
    return false;
}

/* A quoted string without escapes; NULL if none comes next. */
static const char *quoted(cursor *c, size_t *length)
{
    skip_blank(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) {
        return NULL;
    }
    const char quote = *c->at++, *start = c->at;
    while (c->at < c->end && *c->at != quote && *c->at != '\\') {
        c->at++;
    }
    if (c->at == c->end || *c->at != quote) {
        return NULL;
    }
    *length = (size_t)(c->at++ - start);
    return start;
}

static bool word(cursor *c, const char *text)
{
    const size_t length = strlen(text);
    skip_blank(c);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, text, length) != 0) {
        return false;
    }
    c->at += length;
    return true;
}

static dlt_status bad(const dlt_array *a, const char *why, dlt_diag *diag)
{
    return dlt_fail(diag, DLT_E_DATA, a->at, "'%s' has a damaged NPY header: %s", a->path, why);
}

static dlt_status parse_shape(cursor *c, dlt_array *a, dlt_diag *diag)
{
    a->shape.rank = 0;
    if (!eat(c, '(')) {
        return bad(a, "shape is not a tuple", diag);
    }
    while (!eat(c, ')')) {
        const char *start = (skip_blank(c), c->at);
        while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
            c->at++;
        }
        int64_t size = 0;
        if (!dlt_parse_i64(start, (size_t)(c->at - start), &size)) {
            return bad(a, "an axis of shape is no whole number", diag);
        }
        if (c->at < c->end && *c->at == 'L') { /* Python 2 wrote long integers so */
            c->at++;
        }
        if (a->shape.rank == DLT_MAX_RANK) {
            return dlt_fail(diag, DLT_E_DATA, a->at, "'%s' has more than %d axes, the most that is supported",
                            a->path, DLT_MAX_RANK);
        }
        a->shape.dim[a->shape.rank++] = size;
        if (!eat(c, ',')) {
            if (!eat(c, ')')) {
                return bad(a, "shape is not closed", diag);
            }
            break;
        }
    }
    return DLT_OK;
}

/* Type code such as "<f4": byte order, kind, bytes. */
static dlt_status parse_type(dlt_array *a, const char *text, size_t length, dlt_diag *diag)
{
    static const struct {
        char kind, bytes;
        dlt_dtype dtype;
        dlt_element element;
    } types[] = {
        {'f', 2, DLT_F16, DLT_ELEMENT_SAME}, {'f', 4, DLT_F32, DLT_ELEMENT_SAME},
        {'f', 8, DLT_F64, DLT_ELEMENT_SAME}, {'i', 1, DLT_I8, DLT_ELEMENT_SAME},
        {'i', 2, DLT_I16, DLT_ELEMENT_SAME}, {'i', 4, DLT_I32, DLT_ELEMENT_SAME},
        {'i', 8, DLT_I64, DLT_ELEMENT_SAME}, {'u', 1, DLT_U8, DLT_ELEMENT_SAME},
        {'b', 1, DLT_U8, DLT_ELEMENT_BOOL},  {'u', 2, DLT_I32, DLT_ELEMENT_U16},
        {'u', 4, DLT_I64, DLT_ELEMENT_U32},  {'u', 8, DLT_I64, DLT_ELEMENT_U64},
    };
    const bool ordered = length > 0 && strchr("<>|=", text[0]) != NULL;
    const char *code = text + ordered;
    const size_t code_length = length - ordered;
    for (size_t i = 0; code_length == 2 && i < DLT_COUNT(types); i++) {
        if (code[0] == types[i].kind && code[1] == '0' + types[i].bytes) {
            a->dtype = types[i].dtype;
            a->element = types[i].element;
            const uint16_t one = 1;
            const bool little_here = *(const unsigned char *)&one == 1;
            a->swap =
                types[i].bytes > 1 && ((text[0] == '>' && little_here) || (text[0] == '<' && !little_here));
            return DLT_OK;
        }
    }
    if (code_length > 0 && code[0] == 'O') {
        return dlt_fail(
            diag, DLT_E_DATA, a->at,
            "'%s' holds Python objects (pickle), which are not loaded: they could run code; save numbers",
            a->path);
    }
    return dlt_fail(
        diag, DLT_E_DATA, a->at,
        "'%s' holds elements of type '%.*s'; supported are f2 f4 f8, i1 i2 i4 i8, u1 u2 u4 u8, b1", a->path,
        (int)(length < 32 ? length : 32), text);
}

dlt_status dlt_npy_parse(dlt_array *a, const char *text, size_t bytes, dlt_diag *diag)
{
    cursor c = {text, text + bytes};
    bool has_type = false, has_order = false, has_shape = false;
    if (!eat(&c, '{')) {
        return bad(a, "no '{'", diag);
    }
    while (!eat(&c, '}')) {
        size_t length = 0;
        const char *key = quoted(&c, &length);
        if (key == NULL || !eat(&c, ':')) {
            return bad(a, "a key is expected", diag);
        }
        if (length == 5 && memcmp(key, "descr", 5) == 0 && !has_type) {
            size_t type_length = 0;
            const char *type = quoted(&c, &type_length);
            if (type == NULL && eat(&c, '[')) {
                return dlt_fail(
                    diag, DLT_E_DATA, a->at,
                    "'%s' is a structured array (several fields a record); save one array of numbers",
                    a->path);
            }
            if (type == NULL) {
                return bad(a, "descr is no string", diag);
            }
            DLT_TRY(parse_type(a, type, type_length, diag));
            has_type = true;
        } else if (length == 13 && memcmp(key, "fortran_order", 13) == 0 && !has_order) {
            a->by_column = word(&c, "True");
            if (!a->by_column && !word(&c, "False")) {
                return bad(a, "fortran_order is neither True nor False", diag);
            }
            has_order = true;
        } else if (length == 5 && memcmp(key, "shape", 5) == 0 && !has_shape) {
            DLT_TRY(parse_shape(&c, a, diag));
            has_shape = true;
        } else {
            return bad(a, "an unknown or repeated key", diag);
        }
        if (!eat(&c, ',')) {
            if (!eat(&c, '}')) {
                return bad(a, "it does not end with '}'", diag);
            }
            break;
        }
    }
    skip_blank(&c);
    if (c.at != c.end) {
        return bad(a, "something follows the '}'", diag);
    }
    if (!has_type || !has_order || !has_shape) {
        return bad(a, "descr, fortran_order or shape is missing", diag);
    }
    a->by_column = a->by_column && a->shape.rank > 1;
    return DLT_OK;
}

dlt_status dlt_npy_header(dlt_array *a, dlt_npy_take take, void *context, int64_t *data_at, dlt_diag *diag)
{
    unsigned char start[DLT_NPY_START];
    char text[DLT_NPY_MOST_HEADER];
    size_t got = 0;
    DLT_TRY(take(context, start, 10, &got, diag));
    if (got < 10 || memcmp(start, "\x93NUMPY", 6) != 0) {
        return dlt_fail(diag, DLT_E_DATA, a->at, "'%s' is no NPY file: it does not begin with \\x93NUMPY",
                        a->path);
    }
    if (start[6] < 1 || start[6] > 3) {
        return dlt_fail(diag, DLT_E_DATA, a->at, "'%s' has NPY version %d; 1, 2 and 3 are supported", a->path,
                        start[6]);
    }
    size_t length = (size_t)start[8] | (size_t)start[9] << 8, front = 10;
    if (start[6] > 1) {
        DLT_TRY(take(context, start + 10, 2, &got, diag));
        if (got < 2) {
            return bad(a, "it ends early", diag);
        }
        length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
        front = 12;
    }
    if (length > sizeof text) {
        return dlt_fail(diag, DLT_E_DATA, a->at, "'%s' has an NPY header of %zu bytes; at most %d are read",
                        a->path, length, DLT_NPY_MOST_HEADER);
    }
    DLT_TRY(take(context, text, length, &got, diag));
    if (got < length) {
        return bad(a, "it ends early", diag);
    }
    *data_at = (int64_t)(front + length);
    return dlt_npy_parse(a, text, length, diag);
}
