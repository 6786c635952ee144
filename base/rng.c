/* base/rng.c: what of the counter-based random numbers is too long for the header. */
#include "base/rng.h"

#include <math.h>

uint32_t dlt_fnv1a(const char *text)
{
    uint32_t hash = 2166136261u;
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        hash = (hash ^ *c) * 16777619u;
    }
    return hash;
}

double dlt_random_normal(uint64_t seed, uint32_t stream, uint64_t sample, uint64_t element)
{
    /* (bits + 0.5) / 2^32 lies strictly inside (0, 1): the logarithm is finite */
    const double u = ((double)dlt_random_bits(seed, stream, sample, 2 * element) + 0.5) * 0x1p-32;
    const double v = ((double)dlt_random_bits(seed, stream, sample, 2 * element + 1) + 0.5) * 0x1p-32;
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586476925 * v);
}

void dlt_shuffle_init(dlt_shuffle *shuffle, uint64_t count, uint64_t seed, uint64_t pass)
{
    uint32_t half = 1;
    while (half < 32 && ((uint64_t)1 << (2 * half)) < count) {
        half++;
    }
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {0, dlt_fnv1a("data:shuffle"), (uint32_t)pass, (uint32_t)(pass >> 32)};
    uint32_t out[4];
    dlt_philox(counter, key, out);
    *shuffle = (dlt_shuffle){.count = count, .half_bits = half, .key = {out[0], out[1]}};
}

uint64_t dlt_shuffle_at(const dlt_shuffle *shuffle, uint64_t position)
{
    /* A Feistel network permutes the domain 2^(2h); stepping again from a result outside [0, count) stays on the same
     * cycle and so ends at a row inside (cycle walking, Black & Rogaway 2002). The domain is at most 4 times count. */
    const uint32_t half = shuffle->half_bits;
    const uint32_t mask = half < 32 ? ((uint32_t)1 << half) - 1 : UINT32_MAX;
    uint64_t at = position;
    do {
        uint32_t left = (uint32_t)(at >> half) & mask, right = (uint32_t)at & mask;
        for (uint32_t round = 0; round < 4; round++) {
            const uint32_t counter[4] = {right, round, half, 0};
            uint32_t out[4];
            dlt_philox(counter, shuffle->key, out);
            const uint32_t next = left ^ (out[0] & mask);
            left = right;
            right = next;
        }
        at = (uint64_t)left << half | right;
    } while (at >= shuffle->count);
    return at;
}

/* The four rounds of dlt_shuffle_at for `many` positions at once: the loops run over independent lanes, so that the long
 * chain of multiplications of one position overlaps with those of the others. */
enum { LANES = 64 };
#if defined(__GNUC__) && !defined(__clang__)
__attribute__((optimize("O3"))) /* gcc turns the lanes into vectors at this level only; clang does so at -O2 */
#endif
static void feistel(const dlt_shuffle *shuffle, uint64_t *at, size_t many)
{
    const uint32_t half = shuffle->half_bits;
    const uint32_t mask = half < 32 ? ((uint32_t)1 << half) - 1 : UINT32_MAX;
    uint32_t left[LANES], right[LANES];
    for (size_t i = 0; i < many; i++) {
        left[i] = (uint32_t)(at[i] >> half) & mask;
        right[i] = (uint32_t)at[i] & mask;
    }
    for (uint32_t round = 0; round < 4; round++) {
        for (size_t i = 0; i < many; i++) {
            const uint32_t counter[4] = {right[i], round, half, 0};
            uint32_t out[4];
            dlt_philox(counter, shuffle->key, out);
            const uint32_t next = left[i] ^ (out[0] & mask);
            left[i] = right[i];
            right[i] = next;
        }
    }
    for (size_t i = 0; i < many; i++) {
        at[i] = (uint64_t)left[i] << half | right[i];
    }
}

void dlt_shuffle_rows(const dlt_shuffle *shuffle, uint64_t first, size_t many, int64_t *rows)
{
    uint64_t at[LANES];
    size_t who[LANES]; /* which row lane i works for: a position that walks on keeps its place in the result */
    for (size_t done = 0; done < many; done += LANES) {
        size_t active = many - done < LANES ? many - done : LANES;
        for (size_t i = 0; i < active; i++) {
            at[i] = first + done + i;
            who[i] = done + i;
        }
        while (active > 0) {
            feistel(shuffle, at, active);
            size_t left = 0;
            for (size_t i = 0; i < active; i++) {
                if (at[i] < shuffle->count) {
                    rows[who[i]] = (int64_t)at[i];
                } else {
                    at[left] = at[i];
                    who[left++] = who[i];
                }
            }
            active = left;
        }
    }
}
