/* layers/farmhash.c: Fingerprint64 of FarmHash, and TensorFlow's hash of a combination. */
#include "layers/farmhash.h"

/* Primes of the algorithm. */
static const uint64_t k0 = UINT64_C(0xc3a5c85c97cb3127), k1 = UINT64_C(0xb492b66fbe98f273),
                      k2 = UINT64_C(0x9ae16a3b2f90404f);

/* Little-endian words at any address, on any machine. */
static uint64_t word(const unsigned char *s, int bytes)
{
    uint64_t w = 0;
    for (int i = bytes - 1; i >= 0; i--) {
        w = w << 8 | s[i];
    }
    return w;
}

static uint64_t fetch(const unsigned char *s)
{
    return word(s, 8);
}

static uint64_t turn(uint64_t v, int by)
{
    return v >> by | v << (64 - by);
}

static uint64_t fold(uint64_t v)
{
    return v ^ v >> 47;
}

static uint64_t mix(uint64_t u, uint64_t v, uint64_t factor)
{
    const uint64_t a = fold((u ^ v) * factor);
    return fold((v ^ a) * factor) * factor;
}

static uint64_t up_to_16(const unsigned char *s, size_t n)
{
    const uint64_t factor = k2 + 2 * (uint64_t)n;
    if (n >= 8) {
        const uint64_t a = fetch(s) + k2, b = fetch(s + n - 8);
        return mix(turn(b, 37) * factor + a, (turn(a, 25) + b) * factor, factor);
    }
    if (n >= 4) {
        return mix(n + (word(s, 4) << 3), word(s + n - 4, 4), factor);
    }
    if (n > 0) {
        const uint64_t y = s[0] + ((uint64_t)s[n / 2] << 8), z = n + ((uint64_t)s[n - 1] << 2);
        return fold(y * k2 ^ z * k0) * k2;
    }
    return k2;
}

static uint64_t up_to_32(const unsigned char *s, size_t n)
{
    const uint64_t factor = k2 + 2 * (uint64_t)n;
    const uint64_t a = fetch(s) * k1, b = fetch(s + 8), c = fetch(s + n - 8) * factor,
                   d = fetch(s + n - 16) * k2;
    return mix(turn(a + b, 43) + turn(c, 30) + d, a + turn(b + k2, 18) + c, factor);
}

static uint64_t up_to_64(const unsigned char *s, size_t n)
{
    const uint64_t factor = k2 + 2 * (uint64_t)n;
    const uint64_t a = fetch(s) * k2, b = fetch(s + 8), c = fetch(s + n - 8) * factor,
                   d = fetch(s + n - 16) * k2;
    const uint64_t y = turn(a + b, 43) + turn(c, 30) + d, z = mix(y, a + turn(b + k2, 18) + c, factor);
    const uint64_t e = fetch(s + 16) * factor, f = fetch(s + 24);
    const uint64_t g = (y + fetch(s + n - 32)) * factor, h = (z + fetch(s + n - 24)) * factor;
    return mix(turn(e + f, 43) + turn(g, 30) + h, e + turn(f + a, 18) + g, factor);
}

typedef struct pair {
    uint64_t a, b;
} pair;

static pair weak(const unsigned char *s, uint64_t a, uint64_t b)
{
    a += fetch(s);
    b = turn(b + a + fetch(s + 24), 21);
    const uint64_t before = a;
    a += fetch(s + 8);
    a += fetch(s + 16);
    b += turn(a, 44);
    return (pair){a + fetch(s + 24), b + before};
}

/* One block of 64 bytes; `factor` and `times` differ in the last one. */
typedef struct state {
    uint64_t x, y, z;
    pair v, w;
} state;

static void block(state *t, const unsigned char *s, uint64_t factor, uint64_t times)
{
    t->x = turn(t->x + t->y + t->v.a + fetch(s + 8), 37) * factor;
    t->y = turn(t->y + t->v.b + fetch(s + 48), 42) * factor;
    t->x ^= t->w.b * times;
    t->y += t->v.a * times + fetch(s + 40);
    t->z = turn(t->z + t->w.a, 33) * factor;
    t->v = weak(s, t->v.b * factor, t->x + t->w.a);
    t->w = weak(s + 32, t->z + t->w.b, t->y + fetch(s + 16));
    const uint64_t z = t->z;
    t->z = t->x;
    t->x = z;
}

uint64_t dlt_fingerprint64(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    if (n <= 16) {
        return up_to_16(s, n);
    }
    if (n <= 32) {
        return up_to_32(s, n);
    }
    if (n <= 64) {
        return up_to_64(s, n);
    }
    const uint64_t seed = 81;
    state t = {.x = seed * k2 + fetch(s), .y = seed * k1 + 113};
    t.z = fold(t.y * k2 + 113) * k2;
    const size_t blocks = (n - 1) / 64, rest = (n - 1) % 64;
    for (size_t i = 0; i < blocks; i++) {
        block(&t, s + 64 * i, k1, 1);
    }
    const uint64_t factor = k1 + ((t.z & 0xff) << 1);
    t.w.a += rest;
    t.v.a += t.w.a;
    t.w.a += t.v.a;
    block(&t, s + n - 64, factor, 9);
    return mix(mix(t.v.a, t.w.a, factor) + fold(t.y) * k0 + t.z, mix(t.v.b, t.w.b, factor) + t.x, factor);
}

uint64_t dlt_cross_step(uint64_t hash, int64_t value)
{
    const uint64_t factor = UINT64_C(0xc6a4a7935bd1e995);
    uint64_t h = hash ^ factor;
    h ^= fold((uint64_t)value * factor) * factor;
    h *= factor;
    return fold(fold(h) * factor);
}
