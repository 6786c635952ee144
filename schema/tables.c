/* schema/tables.c: looking for mistakes in the field tables themselves, so that no user ever meets one. */
#include "schema/schema_internal.h"

#include <string.h>

typedef struct checker {
    dlt_loader *l;
    const dlt_category *category;
    const dlt_kind *kind;
    char *memory; /* room for the parameters of the kind */
} checker;

static void wrong_table(const checker *c, const dlt_field *field, const char *what)
{
    dlt_fail(c->l->diag, DLT_E_INTERNAL, (dlt_pos){0}, "table of %s%s%s%s%s: %s",
             c->category != NULL ? c->category->name : "", c->category != NULL ? " " : "", c->kind->name,
             field != NULL ? ", field " : "", field != NULL ? field->name : "", what);
    c->l->errors++;
}

static void check_doc(const checker *c, const dlt_field *field, const char *doc)
{
    const size_t length = doc != NULL ? strlen(doc) : 0;
    if (length == 0) {
        wrong_table(c, field, "has no doc");
    } else if (doc[length - 1] == '.' || strchr(doc, '\n') != NULL) {
        wrong_table(c, field, "its doc is one line without a full stop");
    }
}

static bool needs_category(dlt_field_type type)
{
    return type == DLT_FIELD_ITEM || type == DLT_FIELD_ITEMS || type == DLT_FIELD_ITEM_LISTS ||
           type == DLT_FIELD_ITEM_MAP || type == DLT_FIELD_FLOAT_OR_ITEM;
}

static bool has_bounds(dlt_field_type type)
{
    switch (type) {
    case DLT_FIELD_INT:
    case DLT_FIELD_OPT_INT:
    case DLT_FIELD_FLOAT:
    case DLT_FIELD_OPT_FLOAT:
    case DLT_FIELD_AXES:
    case DLT_FIELD_INTS:
    case DLT_FIELD_SHAPE:
    case DLT_FIELD_FLOATS:
    case DLT_FIELD_FLOAT_MAP:
    case DLT_FIELD_FLOAT_OR_ITEM:
        return true;
    default:
        return false;
    }
}

static void check_fields(const checker *c, const dlt_field *fields, size_t size)
{
    for (size_t i = 0; i < dlt_field_count(fields); i++) {
        const dlt_field *f = &fields[i];
        dlt_part_of part = DLT_WHOLE;
        check_doc(c, f, f->doc);
        if (f->type != DLT_FIELD_WEIGHT && dlt_field_of(fields, f->name, &part) != f) {
            wrong_table(c, f, "its name stands in the table twice");
        }
        if (f->offset >= size) {
            wrong_table(c, f, "lies outside its struct");
        }
        if (has_bounds(f->type) && !(f->min <= f->max)) {
            wrong_table(c, f, "min is above max");
        }
        if (f->type == DLT_FIELD_ENUM && (f->names == NULL || f->names[0] == NULL)) {
            wrong_table(c, f, "has no names");
        }
        if (f->type == DLT_FIELD_AXES && f->count < 1) {
            wrong_table(c, f, "has no number of axes");
        }
        if (needs_category(f->type) &&
            (f->category == NULL || dlt_catalogue_find(c->l->catalogue, f->category) == NULL)) {
            wrong_table(c, f, "its category is not in the catalogue");
        }
        if (f->type == DLT_FIELD_STRUCT) {
            check_fields(c, f->fields, f->size);
        }
    }
}

/* Applies the kind to nothing: every default is read; what is required gets an example. */
static void check_defaults(const checker *c)
{
    dlt_loader *l = c->l;
    for (size_t i = 0; i < dlt_field_count(c->kind->fields); i++) {
        const dlt_field *f = &c->kind->fields[i];
        if (dlt_field_required(f)) {
            continue;
        }
        const dlt_yaml *node = dlt_default_node(l, f->def);
        if (node == NULL) {
            wrong_table(c, f, "its default is no YAML");
            continue;
        }
        dlt_field alone[2] = {*f, {0}};
        const size_t errors = l->errors;
        if (!dlt_apply_default(l, alone, c->memory) || l->errors > errors) {
            wrong_table(c, f, "its default is not allowed by the field itself");
        }
    }
    if (c->kind->scalar_field != NULL) {
        dlt_part_of part = DLT_WHOLE;
        if (dlt_field_of(c->kind->fields, c->kind->scalar_field, &part) == NULL) {
            wrong_table(c, NULL, "scalar_field names no field");
        }
    }
}

static void check_kind(checker *c)
{
    check_doc(c, NULL, c->kind->doc);
    if (dlt_field_count(c->kind->fields) > DLT_MOST_FIELDS) {
        wrong_table(c, NULL, "has too many fields");
        return;
    }
    if (dlt_field_count(c->kind->fields) > 0 && c->kind->size == 0) {
        wrong_table(c, NULL, "has fields, but no size");
        return;
    }
    c->memory = dlt_arena_alloc(c->l->arena, 1, c->kind->size);
    if (c->memory != NULL) {
        check_fields(c, c->kind->fields, c->kind->size);
        check_defaults(c);
    }
}

/* Every name and alias means one kind of its category. */
static void check_names(checker *c)
{
    const dlt_category *category = c->category;
    for (size_t i = 0; i < category->count; i++) {
        char alias[128];
        c->kind = category->kinds[i];
        dlt_snake_case(c->kind->name, alias, sizeof alias);
        if (dlt_kind_find(category, c->kind->name) != c->kind || dlt_kind_find(category, alias) != c->kind) {
            wrong_table(c, NULL, "its name means another kind too");
        }
        for (const char *word = c->kind->aliases; word != NULL && *word != '\0';) {
            const size_t length = strcspn(word, " ");
            if (length < sizeof alias) {
                memcpy(alias, word, length);
                alias[length] = '\0';
                if (dlt_kind_find(category, alias) != c->kind) {
                    wrong_table(c, NULL, "an alias means another kind too");
                }
            }
            word += length;
            word += *word == ' ';
        }
    }
}

dlt_status dlt_catalogue_check(const dlt_catalogue *catalogue, dlt_diag *diag)
{
    dlt_arena *arena = dlt_arena_create();
    dlt_loader *l = arena != NULL ? dlt_arena_alloc(arena, 1, sizeof *l) : NULL;
    if (l == NULL) {
        dlt_arena_destroy(arena);
        return dlt_fail_memory(diag);
    }
    *l = (dlt_loader){
        .arena = arena, .catalogue = catalogue, .model = dlt_kind_model.fields, .diag = diag, .element = -1};
    checker c = {.l = l, .kind = &dlt_kind_model};
    check_kind(&c);
    for (size_t i = 0; i < catalogue->count; i++) {
        c.category = &catalogue->categories[i];
        for (size_t k = 0; k < c.category->count; k++) {
            c.kind = c.category->kinds[k];
            check_kind(&c);
        }
        check_names(&c);
    }
    const bool failed = dlt_arena_failed(arena);
    const size_t errors = l->errors;
    dlt_buf_release(&l->path);
    dlt_arena_destroy(arena);
    if (failed) {
        return dlt_fail_memory(diag);
    }
    return errors == 0 ? DLT_OK : DLT_E_INTERNAL;
}
