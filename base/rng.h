/* base/rng.h: random numbers as a pure function of a counter. No state anywhere: CPU, GPU, any number of threads and
 * ranks agree, and any position is reached at once (decisions 18). */
#ifndef DLT_BASE_RNG_H
#define DLT_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/** Philox 4x32-10. Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11; constants of Random123. */
static inline void dlt_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        const uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/** 32-bit FNV-1a of a string: the stream of a node path and purpose ("layers/dropout:mask"). */
uint32_t dlt_fnv1a(const char *text);

/**
 * The 32 random bits of (seed, stream, sample, element): word element % 4 of the block with counter
 * {element / 4, stream, sample low, sample high}. Elements of a sample are counted from 0 and below 2^34.
 */
static inline uint32_t dlt_random_bits(uint64_t seed, uint32_t stream, uint64_t sample, uint64_t element)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)(element / 4), stream, (uint32_t)sample, (uint32_t)(sample >> 32)};
    uint32_t out[4];
    dlt_philox(counter, key, out);
    return out[element % 4];
}

/** Uniform in [0, 1): the upper 24 bits, so that every value is exact in float. */
static inline float dlt_uniform_of(uint32_t bits)
{
    return (float)(bits >> 8) * 0x1p-24f;
}

/** Uniform in [0, 1) for initialisers, split keys and the like. */
static inline float dlt_random_uniform(uint64_t seed, uint32_t stream, uint64_t sample, uint64_t element)
{
    return dlt_uniform_of(dlt_random_bits(seed, stream, sample, element));
}

/** Standard normal by Box-Muller from elements 2i and 2i+1 of the stream. */
double dlt_random_normal(uint64_t seed, uint32_t stream, uint64_t sample, uint64_t element);

/** Order of rows: a keyed bijection of [0, count), so that the row at any position is found without a table. */
typedef struct dlt_shuffle {
    uint64_t count;
    uint32_t half_bits; /* the domain is 2^(2 half_bits), the smallest that holds count */
    uint32_t key[2];
} dlt_shuffle;

/** Order of pass `pass` (from 0) over `count` rows for a seed. */
void dlt_shuffle_init(dlt_shuffle *shuffle, uint64_t count, uint64_t seed, uint64_t pass);
/** Row at `position` < count. */
uint64_t dlt_shuffle_at(const dlt_shuffle *shuffle, uint64_t position);
/** Rows at `many` positions from `first` on: the same as dlt_shuffle_at for each, several times as fast. */
void dlt_shuffle_rows(const dlt_shuffle *shuffle, uint64_t first, size_t many, int64_t *rows);

#endif
