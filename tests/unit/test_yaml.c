/* tests/unit/test_yaml.c: trees from YAML texts: places, types, limits, refused allocations. What broken YAML
 * makes of messages is tested by the cases yaml-*.yaml of tests/errors/. */
#include "support/support.h"

#include "base/alloc.h"
#include "base/text.h"
#include "io/yaml.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

/* libyaml's own allocator, replaced: the dynamic linker takes these, so that its allocations can be refused
 * as well. */
static uint64_t libyaml_calls;
DLT_EXPORT void *yaml_malloc(size_t size);
DLT_EXPORT void *yaml_realloc(void *block, size_t size);
DLT_EXPORT void yaml_free(void *block);
DLT_EXPORT yaml_char_t *yaml_strdup(const yaml_char_t *text);

void *yaml_malloc(size_t size)
{
    libyaml_calls++;
    return dlt_alloc(size);
}

void *yaml_realloc(void *block, size_t size)
{
    libyaml_calls++;
    return dlt_realloc(block, size, 1);
}

void yaml_free(void *block)
{
    dlt_free(block);
}

yaml_char_t *yaml_strdup(const yaml_char_t *text)
{
    const size_t bytes = text != NULL ? strlen((const char *)text) + 1 : 0;
    yaml_char_t *copy = text != NULL ? dlt_alloc(bytes) : NULL;
    if (copy != NULL) {
        memcpy(copy, text, bytes);
    }
    return copy;
}

typedef struct fixture {
    dlt_arena *arena;
    dlt_diag *diag;
    dlt_yaml *root;
    dlt_status status;
} fixture;

static void parse_bytes(fixture *f, const char *text, size_t bytes)
{
    f->arena = dlt_arena_create();
    f->diag = dlt_diag_create();
    assert_true(f->arena != NULL && f->diag != NULL);
    f->status = dlt_yaml_parse(f->arena, "t.yaml", text, bytes, &f->root, f->diag);
}

static void parse(fixture *f, const char *text)
{
    parse_bytes(f, text, strlen(text));
}

static void release(fixture *f)
{
    dlt_arena_destroy(f->arena);
    dlt_diag_destroy(f->diag);
}

/* The tree in one line: maps {k=v}, lists [..], null ~, texts in "" when quoted, each with line:column+span
 * if asked. */
static void write_node(const dlt_yaml *node, bool places, dlt_buf *out)
{
    switch (node->type) {
    case DLT_YAML_NULL:
        dlt_buf_char(out, '~');
        break;
    case DLT_YAML_LIST:
        dlt_buf_char(out, '[');
        for (size_t i = 0; i < node->count; i++) {
            dlt_buf_string(out, i > 0 ? " " : "");
            write_node(node->values[i], places, out);
        }
        dlt_buf_char(out, ']');
        break;
    case DLT_YAML_MAP:
        dlt_buf_char(out, '{');
        for (size_t i = 0; i < node->count; i++) {
            dlt_buf_string(out, i > 0 ? " " : "");
            write_node(node->keys[i], places, out);
            dlt_buf_char(out, '=');
            write_node(node->values[i], places, out);
        }
        dlt_buf_char(out, '}');
        break;
    case DLT_YAML_SCALAR:
    default:
        dlt_buf_printf(out, node->quoted ? "\"%s\"" : "%s", node->text);
        break;
    }
    if (places) {
        dlt_buf_printf(out, "@%u:%u+%u", node->pos.line, node->pos.column, node->pos.span);
    }
}

static void assert_tree(const char *text, bool places, const char *expected)
{
    fixture f = {0};
    dlt_buf out = {0};
    parse(&f, text);
    if (f.status != DLT_OK) {
        print_error("%s\n", dlt_diag_text(f.diag, 0));
    }
    assert_int_equal(f.status, DLT_OK);
    assert_int_equal(dlt_diag_size(f.diag), 0);
    write_node(f.root, places, &out);
    assert_string_equal(dlt_buf_text(&out), expected);
    dlt_buf_release(&out);
    release(&f);
}

static void assert_message(const char *text, size_t bytes, const char *expected)
{
    fixture f = {0};
    parse_bytes(&f, text, bytes);
    assert_int_equal(f.status, DLT_E_CONFIG);
    assert_int_equal(dlt_diag_size(f.diag), 1);
    assert_string_equal(dlt_diag_text(f.diag, 0), expected);
    release(&f);
}

static void scalars_stay_text_and_know_whether_they_were_quoted(void **state)
{
    (void)state;
    assert_tree("a: 1e-3\nb: '1'\nc: \"x\\ty\"\nd: |\n  l\n  m\ne: >-\n  l\n  m\nf: no\ng: 010\n", false,
                "{a=1e-3 b=\"1\" c=\"x\ty\" d=\"l\nm\n\" e=\"l m\" f=no g=010}");
    assert_tree("[a b, 'it''s', 12:30, 1_000, ~, null, Null, NULL, nUll, '', '~']", false,
                "[a b \"it's\" 12:30 1_000 ~ ~ ~ ~ nUll \"\" \"~\"]");
    assert_tree("a:\nb: {}\nc: []\nd:\n- 1\n-\n", false, "{a=~ b={} c=[] d=[1 ~]}");
}

static void json_is_read_too(void **state)
{
    (void)state;
    assert_tree("{\"a\": [1, true, null, \"x\\u00e9\\n\"], \"b\": {}}", false,
                "{\"a\"=[1 true ~ \"x\xc3\xa9\n\"] \"b\"={}}");
}

static void places_count_characters_from_one_and_cover_the_token(void **state)
{
    (void)state;
    assert_tree("a: bcd\n  \nkey: 'x y'  # c\n", true, "{a@1:1+1=bcd@1:4+3 key@3:1+3=\"x y\"@3:6+5}@1:1+1");
    assert_tree("- [1, [2, 33]]\n- {k: v}\n", true,
                "[[1@1:4+1 [2@1:8+1 33@1:11+2]@1:7+7]@1:3+12 {k@2:4+1=v@2:7+1}@2:3+6]@1:1+1");
    assert_tree(
        "\xc3\xa9\xc3\xa9: \xe6\xb7\xb1 # \xf0\x9f\x90\x88\nb: \xf0\x9f\x90\x88\xf0\x9f\x90\x88\n", true,
        "{\xc3\xa9\xc3\xa9@1:1+2=\xe6\xb7\xb1@1:5+1 b@2:1+1=\xf0\x9f\x90\x88\xf0\x9f\x90\x88@2:4+2}@1:1+2");
    /* a token over several lines is covered to the end of its first one */
    assert_tree("a: [1,\n  2]\nb: 'x\n  y'\nc: |\n  t\n", true,
                "{a@1:1+1=[1@1:5+1 2@2:3+1]@1:4+3 b@3:1+1=\"x y\"@3:4+2 c@5:1+1=\"t\n\"@5:4+1}@1:1+1");
}

static void anchors_and_tags_are_no_part_of_the_place(void **state)
{
    (void)state;
    assert_tree("a: &x 12\nb: !!str 34\nc: &y\n  # note\n  k: v\nd: &z !!seq [1]\n", true,
                "{a@1:1+1=12@1:7+2 b@2:1+1=\"34\"@2:10+2 c@3:1+1={k@5:3+1=v@5:6+1}@5:3+1 "
                "d@6:1+1=[1@6:14+1]@6:13+3}@1:1+1");
}

static void line_ends_of_windows_and_byte_order_marks_change_nothing(void **state)
{
    (void)state;
    assert_tree("\xef\xbb\xbf"
                "a: b\r\nc:\r\n  - d\r\n",
                true, "{a@1:1+1=b@1:4+1 c@2:1+1=[d@3:5+1]@3:3+1}@1:1+1");
}

static void lines_are_counted_as_editors_do(void **state)
{
    (void)state;
    /* YAML 1.1 ends lines at U+0085 and U+2028 as well; an editor does not */
    assert_tree("a: 'x\xe2\x80\xa8y' \nb: c\n", true,
                "{a@1:1+1=\"x\xe2\x80\xa8y\"@1:4+5 b@2:1+1=c@2:4+1}@1:1+1");
}

static void an_empty_text_is_null(void **state)
{
    (void)state;
    assert_tree("", true, "~@1:1+1");
    assert_tree("# only this\n\n", false, "~");
    assert_tree("---\n", false, "~");
    assert_tree("\xef\xbb\xbf", false, "~");
}

static void aliases_are_the_nodes_they_name(void **state)
{
    (void)state;
    assert_tree("a: &x [1]\nb: *x\nc: &x 2\nd: *x\n", false, "{a=[1] b=[1] c=2 d=2}");
    fixture f = {0};
    parse(&f, "a: &x [1]\nb: *x\n");
    assert_ptr_equal(dlt_yaml_get(f.root, "a"), dlt_yaml_get(f.root, "b"));
    assert_null(dlt_yaml_get(f.root, "c"));
    assert_null(dlt_yaml_get(dlt_yaml_get(f.root, "a"), "a"));
    assert_null(dlt_yaml_get(NULL, "a"));
    release(&f);
}

static void core_tags_say_what_a_scalar_is(void **state)
{
    (void)state;
    assert_tree("[!!str 12, !!str ~, !!int '3', !!float 1, !!bool 'true', !!null '', ! 5, !!str ]", false,
                "[\"12\" \"~\" 3 1 true ~ \"5\" \"\"]");
}

static void duplicate_keys_do_not_hide_what_else_is_wrong(void **state)
{
    (void)state;
    fixture f = {0};
    dlt_buf out = {0};
    parse(&f, "a: 1\nb: {x: 1, y: 2, x: 3}\na: 4\nc: !odd 5\n<<: 6\n");
    assert_int_equal(f.status, DLT_E_CONFIG);
    dlt_diag_sort(f.diag);
    assert_int_equal(dlt_diag_size(f.diag), 4);
    assert_string_equal(dlt_diag_text(f.diag, 0),
                        "t.yaml:2:17: key 'x' stands here twice; the first is on line 2, column 5");
    assert_string_equal(dlt_diag_text(f.diag, 1),
                        "t.yaml:3:1: key 'a' stands here twice; the first is on line 1, column 1");
    assert_string_equal(dlt_diag_text(f.diag, 2), "t.yaml:4:4: the tag '!odd' is not known here; remove it, "
                                                  "or put text that begins with '!' in quotes");
    assert_string_equal(dlt_diag_text(f.diag, 3),
                        "t.yaml:5:1: merge keys ('<<') are not read; write the keys out, or use 'include'");
    assert_non_null(f.root); /* whole, with the first of each key */
    write_node(f.root, false, &out);
    assert_string_equal(dlt_buf_text(&out), "{a=1 b={x=1 y=2} c=5}");
    dlt_buf_release(&out);
    release(&f);
}

static void three_of_one_key_are_two_mistakes(void **state)
{
    (void)state;
    fixture f = {0};
    parse(&f, "{a: 1, <<: 2, a: 3, '<<': 4, a: 5}");
    assert_int_equal(dlt_diag_size(f.diag), 4); /* a twice more, the merge key, and '<<' again */
    release(&f);
}

static void a_part_counts_from_where_it_begins(void **state)
{
    (void)state;
    dlt_arena *arena = dlt_arena_create();
    dlt_diag *diag = dlt_diag_create();
    dlt_yaml *root = NULL;
    dlt_buf out = {0};
    const char text[] = "{a: 1,\n b: 2}";
    assert_int_equal(dlt_yaml_parse_part(arena, (dlt_pos){"-o", 3, 12, 1}, text, strlen(text), &root, diag),
                     DLT_OK);
    write_node(root, true, &out);
    assert_string_equal(dlt_buf_text(&out), "{a@3:13+1=1@3:16+1 b@4:2+1=2@4:5+1}@3:12+6");
    size_t length = 0;
    assert_null(dlt_diag_source_line(diag, "-o", 3, &length));
    dlt_buf_release(&out);
    dlt_arena_destroy(arena);
    dlt_diag_destroy(diag);
}

/* ---- limits ---- */

/* `open` n times, then `middle`, then `close` n times. */
static char *nested(size_t n, const char *open, const char *middle, const char *close)
{
    dlt_buf out = {0};
    for (size_t i = 0; i < n; i++) {
        dlt_buf_string(&out, open);
    }
    dlt_buf_string(&out, middle);
    for (size_t i = 0; i < n; i++) {
        dlt_buf_string(&out, close);
    }
    assert_false(out.failed);
    return out.data;
}

static void depth_ends_at_32_by_nesting_and_by_aliases(void **state)
{
    (void)state;
    fixture f = {0};
    char *text = nested(32, "[", "1", "]");
    parse(&f, text);
    assert_int_equal(f.status, DLT_OK);
    release(&f);
    dlt_free(text);
    text = nested(33, "[", "1", "]");
    assert_message(text, strlen(text), "t.yaml:1:33: nested more than 32 levels deep");
    dlt_free(text);
    text = nested(30, "[", "*a", "]");
    dlt_buf both = {0};
    dlt_buf_printf(&both, "x: &a [[1]]\ny: %s\n", text);
    assert_message(dlt_buf_text(&both), both.length, "t.yaml:2:34: nested more than 32 levels deep");
    dlt_free(text);
    dlt_buf_release(&both);
}

static void long_scalars_and_files_are_refused(void **state)
{
    (void)state;
    dlt_buf text = {0};
    dlt_buf_string(&text, "a: ");
    while (text.length < DLT_YAML_MAX_SCALAR + 4) {
        dlt_buf_char(&text, 'x');
    }
    assert_message(text.data, text.length, "t.yaml:1:4: this text has 65537 bytes; at most 65536 are read");
    assert_int_equal(text.length - 1, DLT_YAML_MAX_SCALAR + 3);
    fixture f = {0};
    parse_bytes(&f, text.data, text.length - 1);
    assert_int_equal(f.status, DLT_OK);
    release(&f);
    dlt_buf_reset(&text);
    while (text.length <= DLT_YAML_MAX_BYTES) {
        dlt_buf_string(&text, "# 0123456789\n");
    }
    char expected[128];
    snprintf(expected, sizeof expected, "t.yaml: has %zu bytes; at most 1048576 are read", text.length);
    assert_message(text.data, text.length, expected);
    dlt_buf_release(&text);
}

static void anchors_end_at_1000(void **state)
{
    (void)state;
    dlt_buf text = {0};
    for (int i = 0; i <= DLT_YAML_MAX_ANCHORS; i++) {
        dlt_buf_printf(&text, "- &a%d x\n", i);
    }
    assert_message(text.data, text.length, "t.yaml:1001:10: more than 1000 anchors in one file");
    dlt_buf_release(&text);
}

enum { HOSTILE_BYTES = DLT_YAML_MAX_BYTES / 4 };

/* Refused or not, a megabyte takes less than a second; sanitizers are given more time. */
static void assert_quick(const char *what, const dlt_buf *text)
{
    fixture f = {0};
    const double start = dlt_test_cpu_seconds();
    parse_bytes(&f, text->data, text->length);
    const double seconds = dlt_test_cpu_seconds() - start;
    const size_t held = dlt_arena_bytes(f.arena);
    if (seconds > 1.0 * dlt_test_slower() * (double)text->length / DLT_YAML_MAX_BYTES ||
        held > 4 * text->length + ((size_t)64 << 20)) {
        print_error("%s: %zu bytes took %.2f s and %zu bytes of memory\n", what, text->length, seconds, held);
        fail();
    }
    release(&f);
}

static void hostile_texts_are_quick(void **state)
{
    (void)state;
    static const char *const units[] = {
        "[",      "{",      "- ",     "a: ",      "[a,",  "x,",    "? ",         "&a ",      "*a ",
        "!!str ", "\"",     "'",      "{a: b},",  "|\n ", "# c\n", "\n",         "\t",       "- a\n",
        "%",      "- - - ", "k: v\n", "!!str a,", "[],",  "{},",   "[[1,\n2]],", "a:\n b:\n"};
    for (size_t i = 0; i < DLT_COUNT(units); i++) {
        for (int shape = 0; shape < 3; shape++) {
            dlt_buf text = {0};
            dlt_buf_string(&text, shape == 1 ? "[" : shape == 2 ? "x: &a [1]\ny: [" : "");
            while (text.length + 8 < HOSTILE_BYTES) {
                dlt_buf_string(&text, units[i]);
            }
            dlt_buf_string(&text, shape > 0 ? "]" : "");
            assert_false(text.failed);
            assert_quick(units[i], &text);
            dlt_buf_release(&text);
        }
    }
    dlt_buf keys = {0};
    for (int i = 0; keys.length + 16 < HOSTILE_BYTES; i++) { /* many keys of one mapping */
        dlt_buf_printf(&keys, "%x:\n", i);
    }
    assert_quick("many keys", &keys);
    dlt_buf_release(&keys);
    dlt_buf aliases = {0};
    for (int i = 0; i < 999; i++) {
        dlt_buf_printf(&aliases, "- &a%d x\n", i);
    }
    while (aliases.length + 8 < HOSTILE_BYTES) {
        dlt_buf_string(&aliases, "- *a0\n");
    }
    assert_quick("many aliases", &aliases);
    dlt_buf_release(&aliases);
}

static void every_mistake_is_reported_up_to_a_hundred(void **state)
{
    (void)state;
    dlt_buf text = {0};
    for (int i = 0; i < 300; i++) {
        dlt_buf_string(&text, "a: 1\n");
    }
    fixture f = {0};
    parse_bytes(&f, text.data, text.length);
    assert_int_equal(f.status, DLT_E_CONFIG);
    assert_int_equal(dlt_diag_size(f.diag), DLT_YAML_MAX_ERRORS);
    assert_null(f.root);
    release(&f);
    dlt_buf_release(&text);
}

/* ---- refused allocations ---- */

static const char medium[] = "# a model\n"
                             "name: &n \"m \\u00e9\"\n"
                             "x: !!map {a: [1, 2, {b: 'c'}], d: *n, a: 2}\n"
                             "list:\n  - one: {two: three}\n  - four\n  -\n"
                             "text: |\n  some\n  lines\n";

static void a_refused_allocation_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    for (int later = 0; later < 2; later++) {
        uint64_t n = 1;
        for (bool refused = true; refused; n++) {
            fixture f = {.arena = dlt_arena_create(), .diag = dlt_diag_create()};
            const uint64_t before = dlt_alloc_fail_at(n, later != 0);
            f.status = dlt_yaml_parse(f.arena, "t.yaml", medium, strlen(medium), &f.root, f.diag);
            refused = dlt_alloc_fail_at(0, false) > before;
            if (refused) { /* what had to be said before that may be said */
                assert_true(f.status == DLT_E_MEMORY || dlt_diag_status(f.diag) != DLT_OK);
                assert_true(dlt_diag_count(f.diag, DLT_ERROR) >= 1);
                assert_string_equal(dlt_diag_at(f.diag, dlt_diag_size(f.diag) - 1)->text, "out of memory");
            } else {
                assert_int_equal(f.status, DLT_E_CONFIG);
                assert_string_equal(
                    dlt_diag_text(f.diag, 0),
                    "t.yaml:3:39: key 'a' stands here twice; the first is on line 3, column 11");
            }
            release(&f);
        }
        assert_true(n > 30);
    }
}

static void libyaml_allocates_through_us_in_this_test(void **state)
{
    (void)state;
    if (libyaml_calls == 0) {
        print_message("libyaml here is bound to its own allocator: its refusals were not tested\n");
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_stay_text_and_know_whether_they_were_quoted),
        cmocka_unit_test(json_is_read_too),
        cmocka_unit_test(places_count_characters_from_one_and_cover_the_token),
        cmocka_unit_test(anchors_and_tags_are_no_part_of_the_place),
        cmocka_unit_test(line_ends_of_windows_and_byte_order_marks_change_nothing),
        cmocka_unit_test(lines_are_counted_as_editors_do),
        cmocka_unit_test(an_empty_text_is_null),
        cmocka_unit_test(aliases_are_the_nodes_they_name),
        cmocka_unit_test(core_tags_say_what_a_scalar_is),
        cmocka_unit_test(duplicate_keys_do_not_hide_what_else_is_wrong),
        cmocka_unit_test(three_of_one_key_are_two_mistakes),
        cmocka_unit_test(a_part_counts_from_where_it_begins),
        cmocka_unit_test(depth_ends_at_32_by_nesting_and_by_aliases),
        cmocka_unit_test(long_scalars_and_files_are_refused),
        cmocka_unit_test(anchors_end_at_1000),
        cmocka_unit_test(hostile_texts_are_quick),
        cmocka_unit_test(every_mistake_is_reported_up_to_a_hundred),
        cmocka_unit_test(a_refused_allocation_is_an_error_and_leaks_nothing),
        cmocka_unit_test(libyaml_allocates_through_us_in_this_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
