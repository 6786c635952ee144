/* schema/reference.c: the field tables as text to read. */
#include "schema/reference.h"

#include "io/data/source.h"
#include "schema/schema_internal.h"

#include <string.h>

/* One key of a table, with the three of a weight written out. */
typedef struct row {
    const char *key, *def, *doc;
    const dlt_field *field;
    dlt_part_of part;
} row;

/* Calls `each` for every key of a table; key and doc live for the call. `out` fails where one is not whole.
 */
static void each_row(const dlt_field *fields, const dlt_category *category, void (*each)(void *, const row *),
                     void *context, dlt_buf *out)
{
    static const dlt_field name_field = {.name = "name", .type = DLT_FIELD_STRING, .def = "null"};
    static const dlt_field trainable_field = {.name = "trainable", .type = DLT_FIELD_BOOL, .def = "true"};
    for (size_t i = 0; i < dlt_field_count(fields); i++) {
        const dlt_field *f = &fields[i];
        if (f->type != DLT_FIELD_WEIGHT) {
            const row r = {f->name, dlt_field_required(f) ? "required" : f->def, f->doc, f, DLT_WHOLE};
            each(context, &r);
            continue;
        }
        for (dlt_part_of part = DLT_INITIALIZER; part <= DLT_CONSTRAINT; part++) {
            dlt_buf key = {0}, doc = {0};
            dlt_buf_printf(&key, "%s%s", f->name, dlt_part_suffix(part));
            dlt_buf_printf(&doc, "%s: %s", f->doc,
                           part == DLT_INITIALIZER   ? "what it starts from"
                           : part == DLT_REGULARIZER ? "what it costs in the loss"
                                                     : "what it is held to after each step");
            const row r = {dlt_buf_text(&key), part == DLT_INITIALIZER ? f->def : "null", dlt_buf_text(&doc),
                           f, part};
            each(context, &r);
            dlt_buf_finish(&key, out);
            dlt_buf_finish(&doc, out);
        }
    }
    if (category != NULL && category->named) {
        const row r = {"name", "null", "by which others and -o refer to it; null is made from the kind",
                       &name_field, DLT_WHOLE};
        each(context, &r);
    }
    if (category != NULL && category->trainable) {
        const row r = {"trainable", "true", "false freezes its weights", &trainable_field, DLT_WHOLE};
        each(context, &r);
    }
}

/* What may stand under a key. */
static void expectation(const row *r, dlt_buf *out)
{
    if (r->part != DLT_WHOLE) {
        dlt_expect_item(dlt_part_suffix(r->part) + 1, out);
    } else {
        dlt_expect(r->field, out);
    }
    const bool optional = r->field->type == DLT_FIELD_OPT_INT || r->field->type == DLT_FIELD_OPT_FLOAT;
    if (optional && (r->field->flags & DLT_FIELD_AUTO) == 0) {
        dlt_buf_string(out, ", or null");
    }
}

/* ---- one kind ---- */

typedef struct row_writer {
    dlt_buf *out;
    int width, key_width, def_width;
    const char *only; /* NULL, or the one key that is wanted */
    bool found;
} row_writer;

static const char *shown_default(const row *r)
{
    return r->field->type == DLT_FIELD_STRUCT && r->def != NULL && strcmp(r->def, "{}") == 0 ? "" : r->def;
}

static void measure_row(void *context, const row *r)
{
    row_writer *w = context;
    if (w->only != NULL && strcmp(w->only, r->key) != 0) {
        return;
    }
    const int key = (int)strlen(r->key), def = (int)strlen(shown_default(r));
    w->key_width = key > w->key_width && key <= 24 ? key : w->key_width;
    w->def_width = def > w->def_width && def <= 16 ? def : w->def_width;
}

static void write_row(void *context, const row *r)
{
    row_writer *w = context;
    if (w->only != NULL && strcmp(w->only, r->key) != 0) {
        return;
    }
    w->found = true;
    const int column = w->key_width + w->def_width + 4;
    dlt_buf allowed = {0};
    expectation(r, &allowed);
    const size_t start = w->out->length;
    dlt_buf_printf(w->out, "%-*s  %-*s  ", w->key_width, r->key, w->def_width, shown_default(r));
    const int at = (int)(w->out->length - start);
    dlt_buf_wrap(w->out, dlt_buf_text(&allowed), at, column, w->width);
    dlt_buf_printf(w->out, "\n%*s", column, "");
    dlt_buf_wrap(w->out, r->doc, column, column, w->width);
    dlt_buf_char(w->out, '\n');
    dlt_buf_finish(&allowed, w->out);
}

static void write_rows(const dlt_field *fields, const dlt_category *category, int width, const char *only,
                       dlt_buf *out)
{
    row_writer w = {.out = out, .width = width, .only = only};
    each_row(fields, category, measure_row, &w, out);
    each_row(fields, category, write_row, &w, out);
}

void dlt_reference_kind(const dlt_catalogue *catalogue, const dlt_category *category, const dlt_kind *kind,
                        int width, dlt_buf *out)
{
    char snake[128];
    dlt_snake_case(kind->name, snake, sizeof snake);
    dlt_buf_string(out, kind->name);
    if (category != NULL) {
        dlt_buf_string(out, ", ");
        dlt_expect_item(category->name, out);
    }
    dlt_buf_printf(out, ": %s\n", kind->doc);
    if (category != NULL) {
        const bool has_snake = strcmp(snake, kind->name) != 0;
        dlt_buf also = {0};
        if (has_snake) {
            dlt_buf_string(&also, snake);
        }
        for (const char *word = kind->aliases; word != NULL && *word != '\0';) {
            const size_t length = strcspn(word, " ");
            if (strlen(snake) != length || strncmp(snake, word, length) != 0) {
                dlt_buf_printf(&also, "%s%.*s", also.length > 0 ? ", " : "", (int)length, word);
            }
            word += length;
            word += *word == ' ';
        }
        if (also.length > 0) {
            dlt_buf_printf(out, "also written %s\n", dlt_buf_text(&also));
        }
        dlt_buf_finish(&also, out);
        dlt_buf_string(out, "\n    ");
        dlt_example_item(catalogue, kind, out);
        dlt_buf_char(out, '\n');
        if (kind->scalar_field != NULL) {
            dlt_part_of part = DLT_WHOLE;
            const dlt_field *scalar = dlt_field_of(kind->fields, kind->scalar_field, &part);
            dlt_buf_printf(out, "    %s: ", kind->name);
            dlt_example_value(catalogue, scalar, out);
            dlt_buf_printf(out, "    the same as {%s: ...}\n", kind->scalar_field);
        }
    }
    dlt_buf_char(out, '\n');
    write_rows(kind->fields, category, width, NULL, out);
    if (category == NULL) {
        dlt_buf_string(out, "\ninclude: [FILE, ...]     files whose keys stand where this one has none\n"
                            "vars: {NAME: value}      values to use as ${vars.NAME}\n"
                            "x-NAME: anything         notes, at any level\n");
    }
}

void dlt_reference_category(const dlt_category *category, int width, dlt_buf *out)
{
    enum { MOST = 30 };
    dlt_buf plural = {0};
    int column = 0;
    dlt_plural(category->name, &plural);
    dlt_buf_printf(out, "%s: %s\n\n", dlt_buf_text(&plural), category->doc);
    dlt_buf_finish(&plural, out);
    for (size_t i = 0; i < category->count; i++) {
        const int length = (int)strlen(category->kinds[i]->name);
        column = length > column && length <= MOST ? length : column;
    }
    for (size_t i = 0; i < category->count; i++) {
        const dlt_kind *kind = category->kinds[i];
        if (strcmp(kind->name, "number") == 0) {
            continue;
        }
        const size_t start = out->length;
        dlt_buf_printf(out, "%-*s  ", column, kind->name);
        dlt_buf_wrap(out, kind->doc, (int)(out->length - start), column + 2, width);
        dlt_buf_char(out, '\n');
    }
    if (category->count == 0) {
        dlt_buf_string(out, "none in this build\n");
    }
}

/* ---- any word ---- */

/* A key of a table: its row under a heading. True if the table has it. */
static bool write_key(const char *heading, const dlt_field *fields, const char *key, int width, dlt_buf *out)
{
    dlt_part_of part = DLT_WHOLE;
    const dlt_field *field = dlt_field_of(fields, key, &part);
    if (field == NULL) {
        return false;
    }
    dlt_buf_printf(out, "%s%s\n", out->length > 0 ? "\n" : "", heading);
    write_rows(fields, NULL, width, key, out);
    if (field->type == DLT_FIELD_STRUCT) {
        dlt_buf_char(out, '\n');
        write_rows(field->fields, NULL, width, NULL, out);
    }
    return true;
}

/* Keys at the top of a model file and in its sections: "batch_size", "fit.batch_size". */
static bool write_model_key(const char *word, int width, dlt_buf *out)
{
    const dlt_field *model = dlt_kind_model.fields;
    const char *dot = strchr(word, '.');
    bool found = dot == NULL && write_key("in a model file", model, word, width, out);
    for (size_t i = 0; i < dlt_field_count(model); i++) {
        const dlt_field *section = &model[i];
        const size_t length = strlen(section->name);
        if (section->type != DLT_FIELD_STRUCT ||
            (dot != NULL && ((size_t)(dot - word) != length || strncmp(word, section->name, length) != 0))) {
            continue;
        }
        dlt_buf heading = {0};
        dlt_buf_printf(&heading, "in %s", section->name);
        found =
            write_key(dlt_buf_text(&heading), section->fields, dot != NULL ? dot + 1 : word, width, out) ||
            found;
        dlt_buf_finish(&heading, out);
    }
    return found;
}

/* A key of kinds: one entry for each table that has it; the same field of several kinds is shown once. */
static bool write_kind_key(const dlt_catalogue *catalogue, const char *word, int width, dlt_buf *out)
{
    bool found = false;
    for (size_t i = 0; i < catalogue->count; i++) {
        const dlt_category *category = &catalogue->categories[i];
        for (size_t k = 0; k < category->count; k++) {
            const dlt_kind *kind = category->kinds[k];
            if (strcmp(category->name, "validation") == 0 && strcmp(kind->name, "split") != 0) {
                continue; /* the sources once more */
            }
            dlt_buf heading = {0};
            dlt_buf_printf(&heading, "in %s", kind->name);
            found = write_key(dlt_buf_text(&heading), kind->fields, word, width, out) || found;
            dlt_buf_finish(&heading, out);
        }
    }
    return found;
}

/* Keys that no table has, for they are gone before the tables are asked. */
static bool write_own_key(const char *word, int width, dlt_buf *out)
{
    static const char *const keys[][3] = {
        {"include", "include: [base.yaml]",
         "Files whose keys stand where this one has none; of two files the later wins. Mappings merge key by "
         "key, and so do "
         "things of one kind; lists and single values are replaced. Only files below the folder of this one "
         "are read."},
        {"vars", "vars: {width: 64}",
         "Values to use as ${vars.width}. A value that is one reference and nothing else takes the type of "
         "what it refers "
         "to; inside [ ] and { } it needs quotes. ${env:NAME} and ${env:NAME:-default} read the environment, "
         "$$ is a dollar "
         "sign. -o vars.width=128 changes one."},
    };
    for (size_t i = 0; i < DLT_COUNT(keys); i++) {
        if (strcmp(word, keys[i][0]) == 0) {
            dlt_buf_printf(out, "%s, at the top of a model file\n\n    %s\n\n", keys[i][0], keys[i][1]);
            dlt_buf_wrap(out, keys[i][2], 0, 0, width);
            dlt_buf_char(out, '\n');
            return true;
        }
    }
    return false;
}

static void consider(const char *word, const char *name, const char **best, int *distance)
{
    if (dlt_nearest(word, &name, 1) == 0) {
        const int d = dlt_edit_distance(word, name);
        if (*best == NULL || d < *distance) {
            *best = name;
            *distance = d;
        }
    }
}

/* The known word most like `word`: kinds, categories, keys. */
static const char *nearest_word(const dlt_catalogue *catalogue, const char *word, char *room)
{
    const char *best = NULL;
    int distance = 0;
    for (size_t i = 0; i < catalogue->count; i++) {
        const dlt_category *category = &catalogue->categories[i];
        consider(word, category->name, &best, &distance);
        for (size_t k = 0; k < category->count; k++) {
            char snake[128];
            consider(word, category->kinds[k]->name, &best, &distance);
            dlt_snake_case(category->kinds[k]->name, snake, sizeof snake);
            consider(word, snake, &best, &distance);
            if (best == snake) {
                memcpy(room, snake, sizeof snake);
                best = room;
            }
            for (size_t f = 0; f < dlt_field_count(category->kinds[k]->fields); f++) {
                consider(word, category->kinds[k]->fields[f].name, &best, &distance);
            }
        }
    }
    for (size_t i = 0; i < dlt_field_count(dlt_kind_model.fields); i++) {
        const dlt_field *field = &dlt_kind_model.fields[i];
        consider(word, field->name, &best, &distance);
        for (size_t k = 0; field->type == DLT_FIELD_STRUCT && k < dlt_field_count(field->fields); k++) {
            consider(word, field->fields[k].name, &best, &distance);
        }
    }
    return best;
}

bool dlt_reference(const dlt_catalogue *catalogue, const char *word, int width, dlt_buf *out, char *room,
                   const char **nearest)
{
    const size_t before = out->length;
    *nearest = NULL;
    if (strcmp(word, "model") == 0) {
        dlt_reference_kind(catalogue, NULL, &dlt_kind_model, width, out);
        return true;
    }
    if (write_own_key(word, width, out)) {
        return true;
    }
    for (size_t i = 0; i < catalogue->count; i++) {
        const dlt_category *category = &catalogue->categories[i];
        dlt_buf plural = {0};
        dlt_plural(category->name, &plural);
        if (strcmp(word, category->name) == 0 || strcmp(word, dlt_buf_text(&plural)) == 0) {
            dlt_buf_string(out, out->length > before ? "\n" : "");
            dlt_reference_category(category, width, out);
        }
        dlt_buf_finish(&plural, out);
        const dlt_kind *kind = dlt_kind_find(category, word);
        const bool source_again = strcmp(category->name, "validation") == 0 && kind != &dlt_split_kind;
        if (kind != NULL && strcmp(kind->name, "number") != 0 && !source_again) {
            dlt_buf_string(out, out->length > before ? "\n" : "");
            dlt_reference_kind(catalogue, category, kind, width, out);
        }
    }
    if (out->length == before) {
        write_model_key(word, width, out);
        write_kind_key(catalogue, word, width, out);
    }
    if (out->length == before) {
        *nearest = nearest_word(catalogue, word, room);
        return false;
    }
    return true;
}

/* ---- Markdown ---- */

/* Text in a cell of a table: '|' would end it. */
static void cell(const char *text, dlt_buf *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '|') {
            dlt_buf_char(out, '\\');
        }
        dlt_buf_char(out, *text);
    }
}

static void markdown_row(void *context, const row *r)
{
    dlt_buf *out = context, allowed = {0};
    expectation(r, &allowed);
    const char *def = shown_default(r);
    const bool required = strcmp(def, "required") == 0;
    dlt_buf_printf(out, "| `%s` | ", r->key);
    if (*def != '\0') {
        dlt_buf_string(out, required ? "" : "`");
        cell(def, out);
        dlt_buf_string(out, required ? "" : "`");
    }
    dlt_buf_string(out, " | ");
    cell(dlt_buf_text(&allowed), out);
    dlt_buf_string(out, " | ");
    cell(r->doc, out);
    dlt_buf_string(out, " |\n");
    dlt_buf_finish(&allowed, out);
}

static void markdown_table(const dlt_field *fields, const dlt_category *category, dlt_buf *out)
{
    const bool common = category != NULL && (category->named || category->trainable);
    if (dlt_field_count(fields) == 0 && !common) {
        dlt_buf_string(out, "No parameters.\n\n");
        return;
    }
    dlt_buf_string(out, "| key | default | what may stand there | meaning |\n|---|---|---|---|\n");
    each_row(fields, NULL, markdown_row, out, out);
    dlt_buf_char(out, '\n');
}

void dlt_reference_markdown(const dlt_catalogue *catalogue, dlt_buf *out)
{
    dlt_buf_string(
        out,
        "# The model file\n\n"
        "Made from the field tables by `dltrain help --markdown`; change those, not this file.\n\n"
        "A thing is written as a mapping of one key, its kind, or as the bare name of the kind where nothing "
        "is\n"
        "required: `Dense: {units: 10}`, `Flatten`. Kinds go by their class names, by those in snake case, "
        "and by\n"
        "Keras' identifiers. Keys that begin with `x-` are notes. Booleans are `true` and `false`; numbers "
        "may be\n"
        "written `1e-3` and `1/255`. `include: [base.yaml]` takes keys from other files below the folder of "
        "this\n"
        "one; `vars: {x: 1}` and `${vars.x}`, `${env:NAME}`, `${env:NAME:-default}` substitute values.\n\n"
        "## Keys at the top\n\n");
    markdown_table(dlt_kind_model.fields, NULL, out);
    for (size_t i = 0; i < dlt_field_count(dlt_kind_model.fields); i++) {
        const dlt_field *field = &dlt_kind_model.fields[i];
        if (field->type == DLT_FIELD_STRUCT) {
            dlt_buf_printf(out, "### %s\n\n", field->name);
            markdown_table(field->fields, NULL, out);
        }
    }
    for (size_t i = 0; i < catalogue->count; i++) {
        const dlt_category *category = &catalogue->categories[i];
        dlt_buf plural = {0};
        dlt_plural(category->name, &plural);
        dlt_buf_printf(out, "## %s\n\n%s.", dlt_buf_text(&plural), category->doc);
        dlt_buf_finish(&plural, out);
        if (category->named) {
            dlt_buf_printf(out, " Each takes `name`%s.",
                           category->trainable ? " and `trainable` (true)" : "");
        }
        dlt_buf_string(out, "\n\n");
        for (size_t k = 0; k < category->count; k++) {
            const dlt_kind *kind = category->kinds[k];
            const bool source_again = strcmp(category->name, "validation") == 0 && kind != &dlt_split_kind;
            if (strcmp(kind->name, "number") == 0 || source_again) {
                continue;
            }
            dlt_buf_printf(out, "### %s\n\n", kind->name);
            dlt_buf_printf(out, "%s.", kind->doc);
            if (kind->aliases != NULL) {
                dlt_buf_printf(out, " Also written ");
                for (const char *word = kind->aliases; *word != '\0';) {
                    const size_t length = strcspn(word, " ");
                    dlt_buf_printf(out, "%s`%.*s`", word == kind->aliases ? "" : ", ", (int)length, word);
                    word += length;
                    word += *word == ' ';
                }
                dlt_buf_char(out, '.');
            }
            dlt_buf_string(out, "\n\n```yaml\n");
            dlt_example_item(catalogue, kind, out);
            dlt_buf_string(out, "\n```\n\n");
            markdown_table(kind->fields, NULL, out);
        }
    }
}
