/* base/kind.c: looking things up in field tables and catalogues. */
#include "base/kind.h"

#include "base/text.h"

#include <string.h>

dlt_pos dlt_item_pos(const dlt_item *item, const char *field)
{
    if (field != NULL && item->field_pos != NULL) {
        for (size_t i = 0; item->kind->fields[i].name != NULL; i++) {
            if (strcmp(item->kind->fields[i].name, field) == 0 && item->field_pos[i].line > 0) {
                return item->field_pos[i];
            }
        }
    }
    return item->pos;
}

bool dlt_field_required(const dlt_field *field)
{
    return field->def == NULL || strcmp(field->def, "DLT_REQUIRED") == 0;
}

size_t dlt_field_count(const dlt_field *fields)
{
    size_t count = 0;
    while (fields != NULL && fields[count].name != NULL) {
        count++;
    }
    return count;
}

const dlt_category *dlt_catalogue_find(const dlt_catalogue *catalogue, const char *category)
{
    for (size_t i = 0; i < catalogue->count; i++) {
        if (strcmp(catalogue->categories[i].name, category) == 0) {
            return &catalogue->categories[i];
        }
    }
    return NULL;
}

/* True if `name` is one of the words of a list separated by spaces. */
static bool is_word_of(const char *words, const char *name)
{
    const size_t length = strlen(name);
    for (const char *at = words; at != NULL && *at != '\0';) {
        const size_t word = strcspn(at, " ");
        if (word == length && memcmp(at, name, length) == 0) {
            return true;
        }
        at += word;
        at += *at == ' ';
    }
    return false;
}

bool dlt_kind_is(const dlt_kind *kind, const char *name)
{
    char snake[128];
    if (strcmp(kind->name, name) == 0 || is_word_of(kind->aliases, name)) {
        return true;
    }
    dlt_snake_case(kind->name, snake, sizeof snake);
    return strcmp(snake, name) == 0;
}

const dlt_kind *dlt_kind_find(const dlt_category *category, const char *name)
{
    for (size_t i = 0; i < category->count; i++) {
        if (dlt_kind_is(category->kinds[i], name)) {
            return category->kinds[i];
        }
    }
    return NULL;
}
