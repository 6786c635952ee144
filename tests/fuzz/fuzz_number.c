/* tests/fuzz/fuzz_number.c: text to numbers and back. The C library's own readers are the oracle; they take
 * more forms. */
#include "fuzz/fuzz.h"

#include "base/num.h"
#include "base/text.h"
#include "schema/schema_internal.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static void claim_round_trip(double value)
{
    char text[64];
    double again = 0;
    dlt_format_double(value, text, sizeof text);
    FUZZ_CLAIM(dlt_parse_double(text, strlen(text), &again) && again == value);
    dlt_number_text(value, text, sizeof text);
    FUZZ_CLAIM(dlt_read_number(text, strlen(text), false, &again) && again == value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    int64_t whole = 0;
    double number = 0, special = 0, ratio = 0;
    char *end = NULL;
    const bool is_whole = dlt_parse_i64(text, size, &whole),
               is_number = dlt_parse_double(text, size, &number);
    const bool is_special = dlt_parse_special(text, size, &special);
    if (is_whole && strchr(text, 'x') == NULL && strchr(text, 'o') == NULL) {
        errno = 0;
        FUZZ_CLAIM(strtoll(text, &end, 10) == whole && end == text + size && errno == 0);
        FUZZ_CLAIM(is_number && number == (double)whole); /* every decimal integer is a number too */
    }
    if (is_number) {
        FUZZ_CLAIM(strtod(text, &end) == number && end == text + size && isfinite(number));
        FUZZ_CLAIM(!is_special);
        claim_round_trip(number);
    }
    if (is_special) {
        FUZZ_CLAIM(!isfinite(special) && !is_whole);
    }
    if (dlt_read_number(text, size, false, &ratio)) {
        FUZZ_CLAIM(isfinite(ratio) && (is_number || memchr(text, '/', size) != NULL));
        claim_round_trip(ratio);
    }
    if (size >= sizeof(double)) { /* any bits that are a number */
        memcpy(&number, data, sizeof number);
        if (isfinite(number)) {
            claim_round_trip(number);
        }
    }
    /* hints may say anything, but never break */
    static const dlt_field fields[] = {
        {.name = "i", .type = DLT_FIELD_INT, .min = 0, .max = 1e6, .def = "null"},
        {.name = "f",
         .type = DLT_FIELD_FLOAT,
         .min = 0,
         .max = 1,
         .def = "null",
         .flags = DLT_FIELD_OPEN_MIN},
        {.name = "s", .type = DLT_FIELD_SHAPE, .min = -1, .max = 10, .def = "null"},
    };
    dlt_arena *arena = dlt_arena_create();
    for (size_t i = 0; i < 2 * DLT_COUNT(fields) && memchr(text, '\0', size) == NULL; i++) {
        const dlt_yaml node = {.type = DLT_YAML_SCALAR, .text = text, .length = size, .quoted = i % 2 == 1};
        dlt_number_hint(arena, &fields[i / 2], &node);
        dlt_bool_hint(arena, &node);
    }
    dlt_arena_destroy(arena);
    free(text);
    return 0;
}
