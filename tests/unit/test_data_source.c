/* tests/unit/test_data_source.c: what holds of every source kind, run over the list. */
#include "support/support.h"

#include "io/data/data_spec.h"
#include "support/data_support.h"

#include <string.h>

static void kinds_are_listed_once_and_described(void **state)
{
    (void)state;
    for (size_t i = 0; i < dlt_source_category.count; i++) {
        const dlt_kind *kind = dlt_source_category.kinds[i];
        assert_true(kind->doc != NULL && kind->doc[0] != '\0');
        assert_ptr_equal(dlt_kind_find(&dlt_source_category, kind->name), kind);
        assert_ptr_equal(dlt_kind_find(&dlt_validation_category, kind->name), kind);
        const dlt_source_desc *desc = (const dlt_source_desc *)(const void *)kind;
        assert_true(desc->files != NULL && desc->open != NULL && desc->next != NULL && desc->close != NULL);
        for (const dlt_field *field = kind->fields; field->name != NULL; field++) {
            assert_true(field->doc != NULL && field->doc[0] != '\0' &&
                        field->doc[strlen(field->doc) - 1] != '.');
        }
    }
    assert_int_equal(dlt_validation_category.count, dlt_source_category.count + 1);
    assert_ptr_equal(dlt_kind_find(&dlt_validation_category, "split"), &dlt_split_kind);
    assert_null(dlt_kind_find(&dlt_source_category, "split"));
    assert_string_equal(dlt_split_kind.scalar_field, "fraction");
}

/* Another value for a field, in YAML syntax. */
static const char *other_value(const dlt_field *field)
{
    switch (field->type) {
    case DLT_FIELD_BOOL:
        return strcmp(field->def, "true") == 0 ? "false" : "true";
    case DLT_FIELD_ENUM:
        return strcmp(field->names[0], field->def) == 0 ? field->names[1] : field->names[0];
    case DLT_FIELD_INT:
    case DLT_FIELD_OPT_INT:
        return "17";
    case DLT_FIELD_FLOAT:
        return "0.125";
    case DLT_FIELD_STRING:
        return "z";
    case DLT_FIELD_PATH:
    case DLT_FIELD_PATHS:
        return "/other";
    case DLT_FIELD_STRINGS:
        return "[z]";
    case DLT_FIELD_SHAPE:
        return "[3]";
    case DLT_FIELD_COLUMNS:
        return "[z]";
    case DLT_FIELD_STRING_MAP:
        return "{z: number}";
    default:
        fail_msg("field %s has a type that dlt_source_digest passes over", field->name);
        return NULL;
    }
}

static const char *digest_of(data_fixture *f, const dlt_item *item, bool with_paths)
{
    const dlt_source source = {.item = item};
    dlt_sha256 sha;
    uint8_t digest[DLT_SHA256_BYTES];
    char *text = dlt_arena_alloc(f->arena, DLT_SHA256_HEX, 1);
    dlt_sha256_init(&sha);
    dlt_source_digest(&source, with_paths, &sha);
    dlt_sha256_final(&sha, digest);
    dlt_sha256_hex(digest, text);
    return text;
}

static void every_parameter_is_in_the_digest(void **state)
{
    data_fixture *f = *state;
    for (size_t i = 0; i < dlt_source_category.count; i++) {
        const dlt_kind *kind = dlt_source_category.kinds[i];
        for (const dlt_field *field = kind->fields; field->name != NULL; field++) {
            if (field->type == DLT_FIELD_ENUM && field->names[1] == NULL) {
                continue; /* there is no other value */
            }
            const bool path = field->type == DLT_FIELD_PATH || field->type == DLT_FIELD_PATHS;
            const dlt_item *plain =
                data_item(f, &dlt_source_category, kind->name, path ? field->name : NULL, "/plain", NULL);
            const dlt_item *other =
                data_item(f, &dlt_source_category, kind->name, field->name, other_value(field), NULL);
            assert_string_not_equal(digest_of(f, plain, true), digest_of(f, other, true));
            /* data that lie elsewhere are the same data */
            assert_int_equal(strcmp(digest_of(f, plain, false), digest_of(f, other, false)) == 0, path);
        }
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, data_setup, data_teardown)
    const struct CMUnitTest tests[] = {
        TEST(kinds_are_listed_once_and_described),
        TEST(every_parameter_is_in_the_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
