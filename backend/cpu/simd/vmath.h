/* backend/cpu/simd/vmath.h: elementary functions of vectors, without libm: the same bits on every machine that has the
 * instruction set, whatever its C library.
 *
 * Errors are at most 2.1 ulp for results that are not denormal (measured by tests/registry/test_vmath.c; bounds stand beside
 * each function). Denormal operands count as zero and denormal results become zero, as the pool's threads have it anyway.
 * NaN stays NaN; infinities and zeros give what C's functions give. Polynomials are minimax fits made for this file. */
#ifndef DLT_CPU_SIMD_VMATH_H
#define DLT_CPU_SIMD_VMATH_H

#include "backend/cpu/simd/vec.h"

#include <math.h>

/* ln 2 in two parts: n * LN2_HI is exact for |n| < 2^15 */
#define LN2_HI 0x1.63p-1f
#define LN2_LO -0x1.bd0106p-13f

/* 2^n for integral -126 <= n <= 127 */
VEC vf vexp2_int(vf n)
{
    return vfrombits(vshl_i(vadd_i(vto_int(n), vset_i(127)), 23));
}

/* x = n ln 2 + r, |r| <= ln 2 / 2 */
VEC vf vexp_reduce(vf x, vf *r)
{
    const vf n = vround(x * vset(0x1.715476p0f));
    *r = vfnma(n, vset(LN2_LO), vfnma(n, vset(LN2_HI), x));
    return n;
}

/* (e^r - 1 - r) / r^2 */
VEC vf vexp_tail(vf r)
{
    vf p = vset(0x1.a032c8p-13f);
    p = vfma(p, r, vset(0x1.6d7298p-10f));
    p = vfma(p, r, vset(0x1.11118ap-7f));
    p = vfma(p, r, vset(0x1.5554b0p-5f));
    p = vfma(p, r, vset(0x1.555554p-3f));
    return vfma(p, r, vset(0.5f));
}

/* 1.1 ulp */
VEC vf vexp(vf x)
{
    vf r;
    const vf inside = vminof(vmaxof(x, vset(-88)), vset(89)); /* NaN becomes a number here */
    const vf n = vexp_reduce(inside, &r);
    const vf p = vfma(r * r, vexp_tail(r), r) + vset(1);
    /* 2^n in two steps, as n may be 128 */
    const vf half = vfloor(n * vset(0.5f));
    vf y = p * vexp2_int(half) * vexp2_int(n - half);
    y = vselect(vlt(x, vset(-0x1.5d589ep+6f)), vzero(), y);           /* below the smallest normal number */
    y = vselect(vlt(vset(0x1.62e42ep+6f), x), vset(HUGE_VALF), y);
    return vselect(vne(x, x), x, y);
}

/* 1.6 ulp */
VEC vf vexpm1(vf x)
{
    vf r;
    const vf inside = vminof(vmaxof(x, vset(-20)), vset(88));
    const vf n = vexp_reduce(inside, &r);
    const vf p = vfma(r * r, vexp_tail(r), r), scale = vexp2_int(n);
    vf y = vfma(p, scale, scale - vset(1));
    y = vselect(vlt(vset(88.0f), x), vexp(x), y);
    y = vselect(veq(x, vzero()), x, y);
    return vselect(vne(x, x), x, y);
}

/* log(2^e m (1 + c)) for m in [sqrt 1/2, sqrt 2] and a tiny correction c */
VEC vf vlog_parts(vf e, vf m, vf c)
{
    const vf f = (m - vset(1)) + c, f2 = f * f;
    vf p = vset(0x1.1462aep-4f);
    p = vfma(p, f, vset(-0x1.de4f84p-4f));
    p = vfma(p, f, vset(0x1.e6f626p-4f));
    p = vfma(p, f, vset(-0x1.fc1f72p-4f));
    p = vfma(p, f, vset(0x1.2336e0p-3f));
    p = vfma(p, f, vset(-0x1.555c5ap-3f));
    p = vfma(p, f, vset(0x1.99a4bcp-3f));
    p = vfma(p, f, vset(-0x1.000006p-2f));
    p = vfma(p, f, vset(0x1.555548p-2f));
    vf y = f * f2 * p;
    y = vfma(e, vset(LN2_LO), y);
    y = vfma(vset(-0.5f), f2, y);
    return vfma(e, vset(LN2_HI), f + y);
}

/* x > 0 and finite: x = 2^e m, m in [sqrt 1/2, sqrt 2) */
VEC vf vsplit(vf x, vf *m)
{
    const vi bits = vsub_i(vbits(x), vset_i(0x3F3504F3)); /* sqrt 1/2 */
    const vi e = vshr_i(bits, 23);
    *m = vfrombits(vsub_i(vbits(x), vshl_i(e, 23)));
    return vto_float(e);
}

/* y where x is in the range of log, and what log gives elsewhere */
VEC vf vlog_ends(vf x, vf y)
{
    y = vselect(vlt(x, vset(0x1p-126f)), vset(-HUGE_VALF), y);
    y = vselect(vle(x, vset(-0x1p-126f)), vset(NAN), y);
    y = vselect(veq(x, vset(HUGE_VALF)), x, y);
    return vselect(vne(x, x), x, y);
}

/* 1.0 ulp */
VEC vf vlog(vf x)
{
    vf m;
    const vf e = vsplit(x, &m);
    return vlog_ends(x, vlog_parts(e, m, vzero()));
}

/* 1.2 ulp */
VEC vf vlog1p(vf x)
{
    vf m;
    const vf u = x + vset(1);
    const vf e = vsplit(u, &m);
    /* what the addition lost, on the scale of m */
    const vf lost = vselect(vlt(x, vset(1)), x - (u - vset(1)), vset(1) - (u - x));
    const vf scale = vfrombits(vsub_i(vset_i(0x3F800000), vshl_i(vto_int(vmaxof(vset(-126), vminof(vset(126), e))), 23)));
    const vf y = vlog_ends(u, vlog_parts(e, m, lost * scale));
    return vselect(vlt(vabs(x), vset(0x1p-24f)), x, y); /* and zeros keep their sign */
}

/* 1.5 ulp */
VEC vf vtanh(vf x)
{
    const vf a = vabs(x), u = x * x;
    vf p = vset(-0x1.756218p-8f);
    p = vfma(p, u, vset(0x1.520b22p-6f));
    p = vfma(p, u, vset(-0x1.b83852p-5f));
    p = vfma(p, u, vset(0x1.11070ap-3f));
    p = vfma(p, u, vset(-0x1.555532p-2f));
    const vf small = vfma(x * u, p, x);
    const vf e = vexp(vminof(a + a, vset(20))); /* from 10 on the result is 1 */
    const vf large = vset(1) - vset(2) / (e + vset(1));
    const vf y = vcopysign(vselect(vlt(a, vset(0.625f)), small, large), x);
    return vselect(vne(x, x), x, y);
}

/* 2.1 ulp */
VEC vf vsigmoid(vf x)
{
    const vf e = vexp(vneg(vabs(x))), d = e + vset(1);
    const vf y = vselect(vlt(x, vzero()), e, vset(1)) / d;
    return vselect(vne(x, x), x, y);
}

/* max(x, 0) + log(1 + exp(-|x|)); 1.6 ulp */
VEC vf vsoftplus(vf x)
{
    const vf y = vmaxof(x, vzero()) + vlog1p(vexp(vneg(vabs(x))));
    return vselect(vne(x, x), x, y);
}

/* 1.5 ulp */
VEC vf verf(vf x)
{
    const vf a = vminof(vabs(x), vset(4)), u = x * x;
    vf p = vset(0x1.5cd4aap-14f);
    p = vfma(p, u, vset(-0x1.aa3f2cp-11f));
    p = vfma(p, u, vset(0x1.54c7f4p-8f));
    p = vfma(p, u, vset(-0x1.b80e90p-6f));
    p = vfma(p, u, vset(0x1.ce2e0ap-4f));
    p = vfma(p, u, vset(-0x1.812742p-2f));
    p = vfma(p, u, vset(0x1.06eba8p-3f));
    /* x p would be flushed to zero where x is tiny */
    const vf small = vselect(vlt(vabs(x), vset(0x1p-60f)), x * vset(0x1.20dd76p0f), vfma(x, p, x));
    /* 1 - exp(-q), q = -log erfc */
    vf q = vset(0x1.186b1cp-21f);
    q = vfma(q, a, vset(0x1.e00408p-17f));
    q = vfma(q, a, vset(-0x1.9ff188p-12f));
    q = vfma(q, a, vset(0x1.09a4b8p-8f));
    q = vfma(q, a, vset(-0x1.97e1aap-6f));
    q = vfma(q, a, vset(0x1.ba6a9ep-4f));
    q = vfma(q, a, vset(0x1.445fd2p-1f));
    q = vfma(q, a, vset(0x1.212298p0f));
    q = vfma(q, a, vset(-0x1.50612cp-13f));
    const vf large = vcopysign(vset(1) - vexp(vneg(q)), x);
    const vf y = vselect(vlt(vabs(x), vset(0.925f)), small, large);
    return vselect(vne(x, x), x, y);
}

/* sin r and cos r for |r| <= pi / 4 */
VEC vf vsin_core(vf r)
{
    const vf u = r * r;
    vf p = vset(-0x1.994e40p-13f);
    p = vfma(p, u, vset(0x1.110760p-7f));
    p = vfma(p, u, vset(-0x1.555546p-3f));
    return vfma(r * u, p, r);
}
VEC vf vcos_core(vf r)
{
    const vf u = r * r;
    vf p = vset(0x1.99eb30p-16f);
    p = vfma(p, u, vset(-0x1.6c0c32p-10f));
    p = vfma(p, u, vset(0x1.55554ap-5f));
    return vfma(u * u, p, vfma(vset(-0.5f), u, vset(1)));
}

/* Quadrant (0..3) and rest of x by pi / 2 for the few arguments too large for a double product: x = mantissa 2^e with the
 * bits of 2 / pi that matter (Payne and Hanek, "Radian reduction for trigonometric functions", 1983). */
static __attribute__((noinline, unused)) double dlt_reduce_large(float x, int *quadrant)
{
    /* bits of 2 / pi behind the point, 32 a word */
    static const uint32_t two_over_pi[] = {0xA2F9836Eu, 0x4E441529u, 0xFC2757D1u, 0xF534DDC0u,
                                           0xDB629599u, 0x3C439041u, 0xFE5163ABu, 0xDEBBC561u};
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const int e = (int)(bits >> 23 & 255) - 150; /* |x| = mantissa 2^e, -29 <= e */
    const uint64_t mantissa = (bits & 0x7FFFFF) | 0x800000;
    /* bits before position e - 2 of 2 / pi give multiples of 4 quadrants: skip whole words of them */
    const int skip = e > 2 ? (e - 2) / 32 : 0, shift = e - 32 * skip; /* -29..33 */
    /* product of mantissa with 96 bits, modulo what falls out at the top; the point stands 96 - shift bits up */
    const uint64_t w0 = two_over_pi[skip], w1 = two_over_pi[skip + 1], w2 = two_over_pi[skip + 2];
    const uint64_t low = mantissa * w2, middle = mantissa * w1 + (low >> 32);
    uint64_t high = mantissa * w0 + (middle >> 32);           /* bits 64.. of the product */
    uint64_t rest = middle << 32 | (low & UINT32_C(0xFFFFFFFF)); /* bits 0..63 */
    /* the two bits of the quadrant, 97 - shift and 96 - shift, go to the top */
    const int up = 30 + shift; /* 1..63 */
    high = high << up | rest >> (64 - up);
    rest <<= up;
    int q = (int)(high >> 62);
    double r = (double)(high << 2) * 0x1p-64 + (double)rest * 0x1p-126;
    if (r > 0.5) {
        r -= 1;
        q++;
    }
    r *= 1.57079632679489661923;
    if (x < 0) {
        r = -r;
        q = -q;
    }
    *quadrant = q & 3;
    return r;
}

/* r and the quadrant of each lane; the reduction is done in double: its error is far below a float's */
VEC vf vquarter(vf x, vi *quadrant)
{
    float in[VW], out[VW];
    int32_t q[VW];
    vf r;
    vstore(in, x);
    for (int i = 0; i < VW; i++) {
        const double v = in[i];
        const double n = (v * 0.63661977236758134308 + 0x1.8p52) - 0x1.8p52;
        if (v < 0x1p20 && v > -0x1p20) { /* n times the upper part is exact */
            out[i] = (float)((v - n * 0x1.921fb544p0) - n * 0x1.0b4611a626331p-34);
            q[i] = (int32_t)((int64_t)n & 3);
        } else if (v - v == 0) {
            int at;
            out[i] = (float)dlt_reduce_large(in[i], &at);
            q[i] = at;
        } else {
            out[i] = NAN;
            q[i] = 0;
        }
    }
    r = vload(out);
    memcpy(quadrant, q, sizeof q);
    return r;
}

/* The lanes with bit `bit` of q set. */
VEC vm vbit(vi q, int bit)
{
    return vlt(vfrombits(vor_i(vshl_i(q, 31 - bit), vset_i(0x3F800000))), vzero());
}

/* 1.6 ulp, both */
VEC vf vsin(vf x)
{
    vi q;
    const vf r = vquarter(x, &q);
    const vf y = vselect(vbit(q, 0), vcos_core(r), vsin_core(r));
    return vselect(veq(x, vzero()), x, vselect(vbit(q, 1), vneg(y), y));
}
VEC vf vcos(vf x)
{
    vi q;
    const vf r = vquarter(x, &q);
    const vf y = vselect(vbit(q, 0), vsin_core(r), vcos_core(r));
    const vm negative = vbit(vxor_i(q, vshl_i(q, 1)), 1); /* quadrants 1 and 2: bits 0 and 1 differ */
    return vselect(negative, vneg(y), y);
}

/* x^y by double logarithm and exponential: 0.6 ulp. */
VEC float dlt_pow_lane(float x, float y)
{
    if (y == 0 || x == 1) {
        return 1;
    }
    if (x != x || y != y) {
        return x + y;
    }
    const float a = fabsf(x);
    const bool whole = fabsf(y) >= 0x1p24f || y == (float)(int32_t)y;
    const bool odd = whole && fabsf(y) < 0x1p24f && ((int32_t)y & 1) != 0;
    const float sign = odd && (x < 0 || (x == 0 && 1 / x < 0)) ? -1.0f : 1.0f;
    if (a < 0x1p-126f || a > 0x1.fffffep127f) { /* 0 or infinity */
        return (a < 1) == (y > 0) ? sign * 0.0f : sign * HUGE_VALF;
    }
    if (x < 0 && !whole) {
        return NAN;
    }
    if (fabsf(y) > 0x1.fffffep127f) {
        return a == 1 ? 1 : (a > 1) == (y > 0) ? HUGE_VALF : 0;
    }
    /* log a = e ln 2 + 2 atanh s, s = (m - 1) / (m + 1) */
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    const int32_t e = (int32_t)(bits - 0x3F3504F3u) >> 23;
    bits -= (uint32_t)e << 23;
    float m;
    memcpy(&m, &bits, sizeof m);
    const double s = ((double)m - 1) / ((double)m + 1), u = s * s;
    double p = 1.0 / 17;
    p = p * u + 1.0 / 15;
    p = p * u + 1.0 / 13;
    p = p * u + 1.0 / 11;
    p = p * u + 1.0 / 9;
    p = p * u + 1.0 / 7;
    p = p * u + 1.0 / 5;
    p = p * u + 1.0 / 3;
    p = p * u + 1;
    const double z = (double)y * ((double)e * 0.69314718055994530942 + 2 * s * p);
    if (z > 89 || z < -88) {
        return z > 0 ? sign * HUGE_VALF : sign * 0.0f;
    }
    const double n = (z * 1.44269504088896340736 + 0x1.8p52) - 0x1.8p52, r = z - n * 0.69314718055994530942;
    double t = 1.0 / 479001600;
    for (int k = 11; k > 0; k--) {
        static const double inverse[] = {0,        1.0,      1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040,
                                         1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800};
        t = t * r + inverse[k];
    }
    t = t * r + 1;
    uint64_t scale_bits = (uint64_t)(1023 + (int64_t)n) << 52;
    double scale;
    memcpy(&scale, &scale_bits, sizeof scale);
    const float result = (float)(t * scale);
    return result < 0x1p-126f ? sign * 0.0f : sign * result;
}
VEC vf vpow(vf x, vf y)
{
    float a[VW], b[VW];
    vstore(a, x);
    vstore(b, y);
    for (int i = 0; i < VW; i++) {
        a[i] = dlt_pow_lane(a[i], b[i]);
    }
    return vload(a);
}

#endif
