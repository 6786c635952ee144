/* backend/cpu/simd/rnn.c: what a step of a recurrent cell does besides its products, for one row of a batch, and its gradient.
 *
 *   LSTM    i, f, o = sigmoid, a = tanh of z;  c' = f c + i a;  h' = o tanh c'
 *   GRU     u, r = sigmoid(z), n = tanh(z_n + r inner);  h' = u h + (1 - u) n     (reset after the product)
 *   simple  h' = tanh z
 *
 * z: gates one after another, each `units` long; they are overwritten by what comes out of their activations. Each operation
 * rounds once, in the order written, so all instruction sets agree but for tanh and sigmoid. */
#include "backend/cpu/simd.h"
#include "backend/cpu/simd/vmath.h"

/* for (j, n): n of `units` from j on, at most a vector */
#define EACH_VECTOR(j, n, units) for (int64_t j = 0, n; n = (units) - j, j < (units); j += VW)

static void lstm(float *z, const float *c, float *next_c, float *next_h, int64_t units)
{
    float *const i = z, *const f = z + units, *const a = f + units, *const o = a + units;
    EACH_VECTOR(j, n, units)
    {
        const vf in = vsigmoid(vload_to(i + j, n)), forget = vsigmoid(vload_to(f + j, n));
        const vf fresh = vtanh(vload_to(a + j, n)), out = vsigmoid(vload_to(o + j, n));
        const vf cell = forget * vload_to(c + j, n) + in * fresh;
        vstore_to(i + j, in, n);
        vstore_to(f + j, forget, n);
        vstore_to(a + j, fresh, n);
        vstore_to(o + j, out, n);
        vstore_to(next_c + j, cell, n);
        vstore_to(next_h + j, out * vtanh(cell), n);
    }
}

static void lstm_back(float *dz, float *dh, float *dc, const float *z, const float *c, const float *next_c, int64_t units)
{
    const float *const i = z, *const f = z + units, *const a = f + units, *const o = a + units;
    const vf one = vset(1);
    EACH_VECTOR(j, n, units)
    {
        const vf in = vload_to(i + j, n), forget = vload_to(f + j, n), fresh = vload_to(a + j, n), out = vload_to(o + j, n);
        const vf s = vload_to(dh + j, n), t = vtanh(vload_to(next_c + j, n));
        const vf cell = vload_to(dc + j, n) + s * out * (one - t * t);
        vstore_to(dz + j, cell * fresh * in * (one - in), n);
        vstore_to(dz + units + j, cell * vload_to(c + j, n) * forget * (one - forget), n);
        vstore_to(dz + 2 * units + j, cell * in * (one - fresh * fresh), n);
        vstore_to(dz + 3 * units + j, s * t * out * (one - out), n);
        vstore_to(dc + j, cell * forget, n);
        vstore_to(dh + j, vzero(), n);
    }
}

static void gru(float *z, const float *inner, const float *h, float *next_h, int64_t units)
{
    EACH_VECTOR(j, n, units)
    {
        const vf update = vsigmoid(vload_to(z + j, n)), reset = vsigmoid(vload_to(z + units + j, n));
        const vf fresh = vtanh(vload_to(z + 2 * units + j, n) + reset * vload_to(inner + j, n));
        vstore_to(z + j, update, n);
        vstore_to(z + units + j, reset, n);
        vstore_to(z + 2 * units + j, fresh, n);
        vstore_to(next_h + j, update * vload_to(h + j, n) + (vset(1) - update) * fresh, n);
    }
}

static void gru_back(float *dz, float *dh, const float *z, const float *inner, const float *h, int64_t units)
{
    const vf one = vset(1);
    EACH_VECTOR(j, n, units)
    {
        const vf update = vload_to(z + j, n), reset = vload_to(z + units + j, n), fresh = vload_to(z + 2 * units + j, n);
        const vf s = vload_to(dh + j, n), d = s * (one - update) * (one - fresh * fresh);
        vstore_to(dz + j, s * (vload_to(h + j, n) - fresh) * update * (one - update), n);
        vstore_to(dz + units + j, d * vload_to(inner + j, n) * reset * (one - reset), n);
        vstore_to(dz + 2 * units + j, d, n);
        vstore_to(dz + 3 * units + j, d * reset, n);
        vstore_to(dh + j, s * update, n);
    }
}

static void simple(float *z, float *next_h, int64_t units)
{
    EACH_VECTOR(j, n, units)
    {
        const vf h = vtanh(vload_to(z + j, n));
        vstore_to(z + j, h, n);
        vstore_to(next_h + j, h, n);
    }
}

static void simple_back(float *dz, float *dh, const float *z, int64_t units)
{
    EACH_VECTOR(j, n, units)
    {
        const vf h = vload_to(z + j, n);
        vstore_to(dz + j, vload_to(dh + j, n) * (vset(1) - h * h), n);
        vstore_to(dh + j, vzero(), n);
    }
}

static void sums(double *sum, const float *x, int64_t stride, int64_t rows, int64_t cols)
{
    for (int64_t r = 0; r < rows; r++) {
        const float *const row = x + r * stride;
        for (int64_t j = 0; j < cols; j++) {
            sum[j] += (double)row[j];
        }
    }
}

extern const dlt_rnn_ops DLT_SIMD(rnn);
const dlt_rnn_ops DLT_SIMD(rnn) = {.lstm = lstm,
                                   .lstm_back = lstm_back,
                                   .gru = gru,
                                   .gru_back = gru_back,
                                   .simple = simple,
                                   .simple_back = simple_back,
                                   .sums = sums};
