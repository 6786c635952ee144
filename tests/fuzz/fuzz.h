/* tests/fuzz/fuzz.h: what the fuzz targets share. Each target is one source with libFuzzer's entry point;
 * with -DDLT_FUZZ=ON under clang it is linked with libFuzzer, and always with run_seeds.c, which ctest runs
 * over seeds/. */
#ifndef DLT_TESTS_FUZZ_H
#define DLT_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** A claim about the program: unlike assert it is there in every build. */
#define FUZZ_CLAIM(claim)                                                                                    \
    do {                                                                                                     \
        if (!(claim)) {                                                                                      \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #claim);                              \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/** A number that the input decides: which of several claims are looked at. Each input is run many times in forms that
 * differ little, so that what one leaves out another takes. */
static inline unsigned fuzz_choice(const uint8_t *data, size_t size)
{
    unsigned hash = 2166136261U; /* FNV-1a */
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ data[i]) * 16777619U;
    }
    return hash >> 8;
}

/** A text for a target: the bytes and a NUL; free it. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    FUZZ_CLAIM(text != NULL);
    for (size_t i = 0; i < size; i++) {
        text[i] = (char)data[i];
    }
    text[size] = '\0';
    return text;
}

#endif
