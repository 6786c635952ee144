/* backend/cpu/simd/norm.c: softmax, cross-entropy and norms of rows; statistics of channels. Means come first and squares are
 * taken of distances from them, so that a large mean costs no accuracy. Sums go to lanes and are joined by halves. */
#include "backend/cpu/simd.h"
#include "backend/cpu/simd/vmath.h"

#include <stddef.h>

/* for (i, n): whole vectors, then what is left */
#define EACH_VECTOR(i, n) for (int64_t i = 0; i < (n); i += VW)

/* The other lanes keep what is neutral. */
VEC vf load_or(const float *p, int64_t n, float neutral)
{
    if (n >= VW) {
        return vload(p);
    }
    float x[VW];
    for (int64_t i = 0; i < VW; i++) {
        x[i] = i < n ? p[i] : neutral;
    }
    return vload(x);
}

static float largest(const float *x, int64_t n)
{
    vf m = vset(-HUGE_VALF);
    EACH_VECTOR(i, n)
    {
        const vf v = load_or(x + i, n - i, -HUGE_VALF);
        m = vselect(vor_m(vlt(m, v), vne(v, v)), vselect(vne(m, m), m, v), m); /* NaN stays */
    }
    float lanes[VW], best;
    vstore(lanes, m);
    best = lanes[0];
    for (int i = 1; i < VW; i++) {
        best = lanes[i] > best || lanes[i] != lanes[i] ? lanes[i] : best;
        if (best != best) {
            break;
        }
    }
    return best;
}

/* y = exp(x - m) (y may be NULL); returns the sum. */
static float exponentials(float *y, const float *x, float m, int64_t n)
{
    vf sum = vzero();
    const vf top = vset(m);
    EACH_VECTOR(i, n)
    {
        const vf e = vexp(load_or(x + i, n - i, -HUGE_VALF) - top);
        if (y != NULL) {
            vstore_to(y + i, e, n - i);
        }
        sum = sum + e;
    }
    return vsum(sum);
}

static void softmax(float *y, const float *x, int64_t n)
{
    const float sum = exponentials(y, x, largest(x, n), n);
    EACH_VECTOR(i, n)
    {
        vstore_to(y + i, vload_to(y + i, n - i) / vset(sum), n - i);
    }
}

static void softmax_dx(float *dx, const float *dy, const float *y, int64_t n)
{
    vf sum = vzero();
    EACH_VECTOR(i, n)
    {
        sum = vfma(vload_to(dy + i, n - i), vload_to(y + i, n - i), sum);
    }
    const vf all = vset(vsum(sum));
    EACH_VECTOR(i, n)
    {
        vstore_to(dx + i, vload_to(y + i, n - i) * (vload_to(dy + i, n - i) - all), n - i);
    }
}

static float xent(float *y, const float *x, const float *t, int64_t target, int64_t n)
{
    const float m = largest(x, n), sum = exponentials(y, x, m, n);
    float one;
    vstore_n(&one, vlog(vset(sum)), 1);
    const vf log_sum = vset(one), top = vset(m);
    float loss = 0;
    if (t != NULL) {
        vf l = vzero();
        EACH_VECTOR(i, n)
        {
            l = vfma(vload_to(t + i, n - i), log_sum - (vload_to(x + i, n - i) - top), l);
        }
        loss = vsum(l);
    } else if (target >= 0 && target < n) {
        loss = one - (x[target] - m);
    }
    EACH_VECTOR(i, y != NULL ? n : 0)
    {
        vstore_to(y + i, vload_to(y + i, n - i) / vset(sum), n - i);
    }
    return loss;
}

/* ---- layer norm ---- */

static void layer(float *y, float stats[3], const float *x, const float *gamma, const float *beta, float epsilon, int64_t n)
{
    vf sum = vzero(), squares = vzero();
    EACH_VECTOR(i, n)
    {
        sum = sum + vload_to(x + i, n - i);
    }
    const float mean = vsum(sum) / (float)(n > 0 ? n : 1);
    EACH_VECTOR(i, n)
    {
        const vf d = load_or(x + i, n - i, mean) - vset(mean);
        squares = vfma(d, d, squares);
    }
    const float variance = vsum(squares) / (float)(n > 0 ? n : 1), rstd = 1 / sqrtf(variance + epsilon);
    EACH_VECTOR(i, y != NULL ? n : 0)
    {
        vf v = (vload_to(x + i, n - i) - vset(mean)) * vset(rstd);
        if (gamma != NULL) {
            v = v * vload_to(gamma + i, n - i);
        }
        if (beta != NULL) {
            v = v + vload_to(beta + i, n - i);
        }
        vstore_to(y + i, v, n - i);
    }
    stats[0] = mean;
    stats[1] = variance;
    stats[2] = rstd;
}

static void layer_dx(float *dx, float *dgamma, float *dbeta, const float *dy, const float *x, float mean, float rstd,
                     const float *gamma, int64_t n)
{
    const vf m = vset(mean), r = vset(rstd), one = vset(1);
    vf sum = vzero(), product = vzero();
    EACH_VECTOR(i, n)
    {
        const int64_t left = n - i;
        const vf d = vload_to(dy + i, left), h = (vload_to(x + i, left) - m) * r;
        const vf g = d * (gamma != NULL ? vload_to(gamma + i, left) : one);
        sum = sum + g; /* lanes beyond the end hold g = 0 */
        product = vfma(g, h, product);
        if (dgamma != NULL) {
            vstore_to(dgamma + i, vfma(d, h, vload_to(dgamma + i, left)), left);
        }
        if (dbeta != NULL) {
            vstore_to(dbeta + i, vload_to(dbeta + i, left) + d, left);
        }
    }
    const vf a = vset(vsum(sum) / (float)n), b = vset(vsum(product) / (float)n);
    EACH_VECTOR(i, dx != NULL ? n : 0)
    {
        const int64_t left = n - i;
        const vf h = (vload_to(x + i, left) - m) * r;
        const vf g = vload_to(dy + i, left) * (gamma != NULL ? vload_to(gamma + i, left) : one);
        vstore_to(dx + i, r * (g - a - h * b), left);
    }
}

/* ---- channels ---- */

/* Four sums, so that additions need not wait for each other: row k goes to sum k % 4. */
enum { SUMS = 4 };

static void moments(float *mean, float *squares, const float *x, const dlt_channel_rows *r)
{
    const float count = (float)(r->segments * r->rows);
    for (int64_t c = 0; c < r->width; c += VW) {
        const int64_t n = r->width - c;
        vf s[SUMS], q[SUMS];
        for (int k = 0; k < SUMS; k++) {
            s[k] = q[k] = vzero();
        }
        for (int64_t g = 0; g < r->segments; g++) {
            const float *p = x + g * r->segment_step + c;
            int64_t i = 0;
            for (; i + SUMS <= r->rows; i += SUMS, p += SUMS * r->row_step) {
                for (int k = 0; k < SUMS; k++) {
                    s[k] = s[k] + vload_to(p + k * r->row_step, n);
                }
            }
            for (; i < r->rows; i++, p += r->row_step) {
                s[0] = s[0] + vload_to(p, n);
            }
        }
        const vf m = ((s[0] + s[1]) + (s[2] + s[3])) / vset(count);
        for (int64_t g = 0; g < r->segments; g++) {
            const float *p = x + g * r->segment_step + c;
            int64_t i = 0;
            for (; i + SUMS <= r->rows; i += SUMS, p += SUMS * r->row_step) {
                for (int k = 0; k < SUMS; k++) {
                    const vf d = vload_to(p + k * r->row_step, n) - m;
                    q[k] = vfma(d, d, q[k]);
                }
            }
            for (; i < r->rows; i++, p += r->row_step) {
                const vf d = vload_to(p, n) - m;
                q[0] = vfma(d, d, q[0]);
            }
        }
        vstore_to(mean + c, m, n);
        vstore_to(squares + c, (q[0] + q[1]) + (q[2] + q[3]), n);
    }
}

static void batch(float *y, const float *x, const float *mean, const float *rstd, const float *gamma, const float *beta,
                  const dlt_channel_rows *r)
{
    for (int64_t c = 0; c < r->width; c += VW) {
        const int64_t n = r->width - c;
        const vf m = vload_to(mean + c, n), s = vload_to(rstd + c, n), g = vload_to(gamma + c, n), b = vload_to(beta + c, n);
        for (int64_t k = 0; k < r->segments; k++) {
            for (int64_t i = 0; i < r->rows; i++) {
                const int64_t at = k * r->segment_step + i * r->row_step + c;
                vstore_to(y + at, (vload_to(x + at, n) - m) * s * g + b, n);
            }
        }
    }
}

static void batch_sums(float *sum, float *product, const float *dy, const float *x, const float *mean, const float *rstd,
                       const dlt_channel_rows *r)
{
    for (int64_t c = 0; c < r->width; c += VW) {
        const int64_t n = r->width - c;
        const vf m = vload_to(mean + c, n);
        vf s[SUMS], q[SUMS];
        for (int k = 0; k < SUMS; k++) {
            s[k] = q[k] = vzero();
        }
        for (int64_t g = 0; g < r->segments; g++) {
            int64_t i = 0, at = g * r->segment_step + c;
            for (; i + SUMS <= r->rows; i += SUMS, at += SUMS * r->row_step) {
                for (int k = 0; k < SUMS; k++) {
                    const vf d = vload_to(dy + at + k * r->row_step, n);
                    s[k] = s[k] + d;
                    q[k] = vfma(d, vload_to(x + at + k * r->row_step, n) - m, q[k]);
                }
            }
            for (; i < r->rows; i++, at += r->row_step) {
                const vf d = vload_to(dy + at, n);
                s[0] = s[0] + d;
                q[0] = vfma(d, vload_to(x + at, n) - m, q[0]);
            }
        }
        vstore_to(sum + c, (s[0] + s[1]) + (s[2] + s[3]), n);
        vstore_to(product + c, ((q[0] + q[1]) + (q[2] + q[3])) * vload_to(rstd + c, n), n);
    }
}

static void batch_dx(float *dx, const float *dy, const float *x, const float *mean, const float *rstd, const float *scale,
                     const float *a, const float *b, const dlt_channel_rows *r)
{
    for (int64_t c = 0; c < r->width; c += VW) {
        const int64_t n = r->width - c;
        const vf m = vload_to(mean + c, n), s = vload_to(rstd + c, n), f = vload_to(scale + c, n), av = vload_to(a + c, n),
                 bv = vload_to(b + c, n);
        for (int64_t k = 0; k < r->segments; k++) {
            for (int64_t i = 0; i < r->rows; i++) {
                const int64_t at = k * r->segment_step + i * r->row_step + c;
                const vf h = (vload_to(x + at, n) - m) * s;
                vstore_to(dx + at, f * (vload_to(dy + at, n) - av - h * bv), n);
            }
        }
    }
}

extern const dlt_norm_ops DLT_SIMD(norm);
const dlt_norm_ops DLT_SIMD(norm) = {softmax, softmax_dx, xent, layer, layer_dx, moments, batch, batch_sums, batch_dx};
