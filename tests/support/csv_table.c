/* tests/support/csv_table.c: a table from a few lines of text. */
#include "support/csv_table.h"

#include "support/support.h"

#include "base/num.h"

#include <math.h>
#include <string.h>

enum { MAX_COLUMNS = 16, MAX_ROWS = 20000 };

static void *some(dlt_arena *arena, size_t count, size_t size)
{
    void *memory = dlt_arena_alloc(arena, count, size);
    assert_non_null(memory);
    return memory;
}

/* Next field of a line; *at moves behind it. */
static char *field(dlt_arena *arena, const char **at)
{
    const char *start = *at;
    size_t length;
    if (*start == '"') {
        start++;
        length = strcspn(start, "\"");
        *at = start + length + 1;
    } else {
        length = strcspn(start, ",\n");
        *at = start + length;
    }
    char *text = dlt_arena_copy(arena, start, length);
    assert_non_null(text);
    return text;
}

static bool missing(const char *text)
{
    return text[0] == '\0' || strcmp(text, "?") == 0;
}

static void fill(dlt_arena *arena, dlt_part *part, void **column, char *const *cells, size_t rows)
{
    bool numbers = true, integers = true;
    double *values = some(arena, rows, sizeof *values);
    for (size_t r = 0; r < rows; r++) {
        int64_t whole;
        values[r] = NAN;
        part->may_be_missing = part->may_be_missing || missing(cells[r]);
        if (!missing(cells[r])) {
            numbers = numbers && dlt_parse_double(cells[r], strlen(cells[r]), &values[r]);
            integers = integers && dlt_parse_i64(cells[r], strlen(cells[r]), &whole);
        }
    }
    part->shape = dlt_scalar();
    if (numbers) {
        part->type = integers ? DLT_COLUMN_INTEGER : DLT_COLUMN_NUMBER;
        part->dtype = DLT_F64;
        *column = values;
        return;
    }
    int32_t *codes = some(arena, rows, sizeof *codes);
    const char **words = some(arena, rows, sizeof *words);
    size_t *lengths = some(arena, rows, sizeof *lengths);
    dlt_dictionary *dictionary = some(arena, 1, sizeof *dictionary);
    for (size_t r = 0; r < rows; r++) {
        int64_t code = missing(cells[r]) ? -1 : 0;
        while (code >= 0 && code < dictionary->count && strcmp(words[code], cells[r]) != 0) {
            code++;
        }
        if (code == dictionary->count) {
            words[code] = cells[r];
            lengths[code] = strlen(cells[r]);
            dictionary->count++;
        }
        codes[r] = (int32_t)code;
    }
    dictionary->at = words;
    dictionary->length = lengths;
    part->type = DLT_COLUMN_TEXT;
    part->dtype = DLT_I32;
    part->dictionary = dictionary;
    *column = codes;
}

dlt_table *dlt_csv_table(dlt_arena *arena, const char *text, const char *target)
{
    dlt_part *parts = some(arena, MAX_COLUMNS, sizeof *parts);
    char ***cells = some(arena, MAX_COLUMNS, sizeof *cells);
    size_t columns = 0, rows = 0;
    const char *at = text;
    for (bool more = true; more;) {
        assert_true(columns < MAX_COLUMNS);
        parts[columns].name = field(arena, &at);
        parts[columns].role =
            target != NULL && strcmp(parts[columns].name, target) == 0 ? DLT_ROLE_TARGET : DLT_ROLE_FEATURE;
        cells[columns] = some(arena, MAX_ROWS, sizeof(char *));
        columns++;
        more = *at++ == ',';
    }
    while (*at != '\0') {
        assert_true(rows < MAX_ROWS);
        for (size_t c = 0; c < columns; c++) {
            cells[c][rows] = field(arena, &at);
            assert_true(*at == (c + 1 < columns ? ',' : '\n'));
            at++;
        }
        rows++;
    }
    void **data = some(arena, columns, sizeof *data);
    size_t *offsets = some(arena, columns, sizeof *offsets);
    int64_t *numbers = some(arena, rows, sizeof *numbers);
    for (size_t c = 0; c < columns; c++) {
        fill(arena, &parts[c], &data[c], cells[c], rows);
        offsets[c] = 8 * c;
    }
    for (size_t r = 0; r < rows; r++) {
        numbers[r] = (int64_t)r;
    }
    dlt_record_layout *layout = some(arena, 1, sizeof *layout);
    *layout = (dlt_record_layout){
        .count = columns, .parts = parts, .offsets = offsets, .record_bytes = 8 * columns};
    dlt_table *table = some(arena, 1, sizeof *table);
    *table = (dlt_table){.layout = layout, .rows = (int64_t)rows, .columns = data, .row_numbers = numbers};
    return table;
}
