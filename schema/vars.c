/* schema/vars.c: `${vars.x}`, `${env:NAME}`, `${env:NAME:-default}` and `$$` in scalars.
 *
 * A value that is one reference and nothing else takes the type of what it refers to, whether it stands in
 * quotes or not (inside [ ] and { } YAML wants the quotes); an environment variable reads as if its text
 * stood there without quotes. Otherwise the pieces are joined to a text of the scalar's own kind. Keys are
 * never replaced. */
#include "schema/schema_internal.h"

#include <stdlib.h>
#include <string.h>

/* A reference inside a scalar: text[start..end) is "${...}", inner[0..length) what stands between the braces.
 */
typedef struct reference {
    size_t start, end;
    const char *inner;
    size_t length;
} reference;

/* Place of bytes from..to of a scalar. Exact where the scalar is plain or in quotes without escapes, on one
 * line. */
static dlt_pos inside(const dlt_yaml *node, size_t from, size_t to)
{
    dlt_pos pos = node->pos;
    const size_t quote = node->quoted ? 1 : 0;
    if (node->origin == NULL && dlt_utf8_length(node->text, node->length) + 2 * quote == pos.span) {
        pos.column += (unsigned)(quote + dlt_utf8_length(node->text, from));
        pos.span = (unsigned)dlt_utf8_length(node->text + from, to - from);
    }
    return pos;
}

/* Names that say that what they hold must not be written into a run directory (decisions 35). */
static bool is_secret(const char *name)
{
    static const char *const ends[] = {"KEY", "TOKEN", "SECRET", "PASSWORD"};
    const size_t length = strlen(name);
    for (size_t i = 0; i < DLT_COUNT(ends); i++) {
        const size_t end = strlen(ends[i]);
        if (length >= end && dlt_text_same(name + length - end, ends[i])) {
            return true;
        }
    }
    return false;
}

static bool good_variable_name(const char *name)
{
    if (*name == '\0' || (*name >= '0' && *name <= '9')) {
        return false;
    }
    for (; *name != '\0'; name++) {
        if (!((*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
              (*name >= '0' && *name <= '9') || *name == '_')) {
            return false;
        }
    }
    return true;
}

/* ${env:NAME} and ${env:NAME:-default} */
static const dlt_yaml *environment(dlt_loader *l, const dlt_yaml *node, const reference *ref)
{
    const char *inner = ref->inner + 4; /* behind "env:" */
    const size_t length = ref->length - 4;
    const char *dash = NULL;
    for (size_t i = 0; i + 1 < length && dash == NULL; i++) {
        dash = inner[i] == ':' && inner[i + 1] == '-' ? inner + i : NULL;
    }
    const char *name = dlt_arena_copy(l->arena, inner, dash != NULL ? (size_t)(dash - inner) : length);
    if (name == NULL) {
        return NULL;
    }
    const dlt_detail detail = {.found = name};
    if (!good_variable_name(name)) {
        dlt_mistake(l, inside(node, ref->start, ref->end), &detail,
                    "'%s' is no name of an environment variable; write ${env:NAME} or ${env:NAME:-default}",
                    name);
        return NULL;
    }
    if (is_secret(name)) {
        dlt_mistake(l, inside(node, ref->start, ref->end), &detail,
                    "the environment variable %s sounds like a secret, and this value is saved with the run; "
                    "give it another name if it is none",
                    name);
        return NULL;
    }
    const char *value = getenv(name);
    const char *origin = dlt_arena_printf(l->arena, "env %s", name);
    if (dash != NULL && (value == NULL || *value == '\0')) {
        value = dlt_arena_copy(l->arena, dash + 2, length - (size_t)(dash + 2 - inner));
    } else if (value == NULL || *value == '\0') {
        dlt_mistake(l, inside(node, ref->start, ref->end), &detail,
                    "the environment variable %s is %s; set it, or write ${env:%s:-default}", name,
                    value == NULL ? "not set" : "empty", name);
        return NULL;
    }
    if (value == NULL || origin == NULL) {
        return NULL;
    }
    const size_t bytes = strlen(value);
    if (bytes > DLT_YAML_MAX_SCALAR || !dlt_utf8_valid(value, bytes)) {
        dlt_mistake(l, inside(node, ref->start, ref->end), &detail, "the environment variable %s is %s", name,
                    bytes > DLT_YAML_MAX_SCALAR ? "too long" : "not valid UTF-8");
        return NULL;
    }
    dlt_yaml *made = dlt_tree_scalar(l, value, bytes, bytes == 0, node->pos);
    if (made != NULL) {
        made->origin = origin;
    }
    return made;
}

/* ${vars.name} and ${vars.name.of.more} */
static const dlt_yaml *variable(dlt_loader *l, const dlt_yaml *node, const reference *ref)
{
    const char *inner = dlt_arena_copy(l->arena, ref->inner, ref->length);
    if (inner == NULL) {
        return NULL;
    }
    const dlt_yaml *at = l->vars;
    char part[128];
    for (const char *name = inner + 5;;) {
        const size_t length = strcspn(name, ".");
        if (length == 0 || length >= sizeof part) {
            dlt_mistake(l, inside(node, ref->start, ref->end), NULL,
                        "'${%s}' names no variable; write ${vars.NAME}", inner);
            return NULL;
        }
        memcpy(part, name, length);
        part[length] = '\0';
        const dlt_yaml *next = dlt_yaml_get(at, part);
        if (next == NULL && l->include_missing) {
            l->errors++; /* told as a missing file */
            return NULL;
        }
        if (next == NULL) {
            const char *names[64];
            size_t count = 0;
            for (size_t i = 0;
                 at != NULL && at->type == DLT_YAML_MAP && i < at->count && count < DLT_COUNT(names); i++) {
                names[count++] = at->keys[i]->text;
            }
            const int nearest = dlt_nearest(part, names, count);
            const dlt_detail detail = {.found = inner, .nearest = nearest >= 0 ? names[nearest] : NULL};
            if (nearest >= 0) {
                dlt_mistake(l, inside(node, ref->start, ref->end), &detail,
                            "unknown variable '%s'; did you mean '%s'?", inner, names[nearest]);
            } else {
                dlt_mistake(l, inside(node, ref->start, ref->end), &detail,
                            "unknown variable '%s'; write it under vars: {%s: ...}", inner, part);
            }
            return NULL;
        }
        at = next;
        name += length;
        if (*name == '\0') {
            break;
        }
        name++;
    }
    if (l->resolving >= DLT_VARS_MAX_DEPTH) {
        dlt_mistake(l, inside(node, ref->start, ref->end), NULL,
                    "'%s' refers to itself, or through more than %d others", inner, (int)DLT_VARS_MAX_DEPTH);
        return NULL;
    }
    l->resolving++;
    const dlt_yaml *value = dlt_resolve(l, at);
    l->resolving--;
    if (value == NULL) {
        return NULL;
    }
    dlt_yaml *made = dlt_tree_copy(l, value);
    if (made == NULL) {
        return NULL;
    }
    made->origin = dlt_arena_printf(l->arena, "%s %s:%u:%u", inner, at->pos.file != NULL ? at->pos.file : "?",
                                    at->pos.line, at->pos.column);
    made->pos = node->pos;
    return made->origin != NULL ? made : NULL;
}

static const dlt_yaml *look_up(dlt_loader *l, const dlt_yaml *node, const reference *ref)
{
    if (ref->length > 4 && memcmp(ref->inner, "env:", 4) == 0) {
        return environment(l, node, ref);
    }
    if (ref->length > 5 && memcmp(ref->inner, "vars.", 5) == 0) {
        return variable(l, node, ref);
    }
    const char *inner = dlt_arena_copy(l->arena, ref->inner, ref->length);
    if (inner != NULL && dlt_yaml_get(l->vars, inner) != NULL) {
        dlt_mistake(l, inside(node, ref->start, ref->end), NULL, "'${%s}' is not known; write ${vars.%s}",
                    inner, inner);
    } else if (inner != NULL && good_variable_name(inner) && getenv(inner) != NULL) {
        dlt_mistake(l, inside(node, ref->start, ref->end), NULL, "'${%s}' is not known; write ${env:%s}",
                    inner, inner);
    } else if (inner != NULL) {
        dlt_mistake(l, inside(node, ref->start, ref->end), NULL,
                    "'${%s}' is not known; write ${vars.NAME}, ${env:NAME} or ${env:NAME:-default}, and $$ "
                    "for a dollar sign",
                    inner);
    }
    return NULL;
}

/* The next reference at or behind *at; appends what stands before it to `out`. False at the end or after a
 * mistake. */
static bool next_reference(dlt_loader *l, const dlt_yaml *node, size_t *at, dlt_buf *out, reference *ref,
                           bool *wrong)
{
    const char *t = node->text;
    while (*at < node->length) {
        const char c = t[*at];
        if (c != '$' || *at + 1 == node->length || (t[*at + 1] != '$' && t[*at + 1] != '{')) {
            dlt_buf_char(out, c);
            ++*at;
        } else if (t[*at + 1] == '$') {
            dlt_buf_char(out, '$');
            *at += 2;
        } else {
            const char *close = memchr(t + *at, '}', node->length - *at);
            if (close == NULL) {
                dlt_mistake(l, inside(node, *at, node->length), NULL,
                            "'${' is not closed; write ${vars.NAME}, or $$ for a dollar sign");
                *wrong = true;
                return false;
            }
            const size_t end = (size_t)(close - t) + 1;
            *ref = (reference){*at, end, t + *at + 2, end - *at - 3};
            *at = end;
            return true;
        }
    }
    return false;
}

const dlt_yaml *dlt_resolve(dlt_loader *l, const dlt_yaml *node)
{
    if (l->in_default) {
        return node;
    }
    if (++l->visited > DLT_YAML_MAX_NODES && !l->stop) {
        dlt_mistake(l, node->pos, NULL,
                    "more than %d values, those of variables counted as often as they are used",
                    (int)DLT_YAML_MAX_NODES);
        l->stop = true;
    }
    if (l->stop) {
        return NULL;
    }
    if (node->type != DLT_YAML_SCALAR || node->origin != NULL ||
        memchr(node->text, '$', node->length) == NULL) {
        return node; /* what a variable gave is not looked at again: its own references are replaced already
                      */
    }
    dlt_buf out = {0};
    reference ref;
    size_t at = 0;
    bool wrong = false;
    const char *origin = NULL;
    const dlt_yaml *whole = NULL;
    if (l->stored) { /* only what was escaped is undone; nothing of a checkpoint is looked up */
        for (; at < node->length; at++) {
            dlt_buf_char(&out, node->text[at]);
            at += node->text[at] == '$' && at + 1 < node->length && node->text[at + 1] == '$';
        }
    }
    while (!wrong && next_reference(l, node, &at, &out, &ref, &wrong)) {
        const dlt_yaml *value = look_up(l, node, &ref);
        if (value == NULL) {
            wrong = true;
        } else if (ref.start == 0 && ref.end == node->length) {
            whole = value;
        } else if (value->type == DLT_YAML_LIST || value->type == DLT_YAML_MAP) {
            dlt_mistake(l, inside(node, ref.start, ref.end), NULL,
                        "'${%.*s}' is %s; only single values can stand inside a text", (int)ref.length,
                        ref.inner, value->type == DLT_YAML_LIST ? "a list" : "a mapping");
            wrong = true;
        } else {
            dlt_buf_append(&out, value->text != NULL ? value->text : "", value->length);
            origin = value->origin;
            if (out.length > DLT_YAML_MAX_SCALAR) {
                dlt_mistake(l, node->pos, NULL, "with its variables this text has more than %d bytes",
                            (int)DLT_YAML_MAX_SCALAR);
                wrong = true;
            }
        }
    }
    dlt_yaml *made = NULL;
    if (!wrong && whole == NULL && !out.failed) {
        made = dlt_tree_scalar(l, dlt_buf_text(&out), out.length, node->quoted, node->pos);
        if (made != NULL) {
            made->origin = origin != NULL ? origin : NULL;
        }
    }
    if (out.failed) {
        dlt_fail_memory(l->diag);
    }
    dlt_buf_release(&out);
    return whole != NULL ? whole : made;
}
