/* backend/cpu/simd/winograd.c: the transforms of Winograd's F(4 x 4, 3 x 3), for 16 channels at a time.
 *
 * Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2015), interpolation at 0, 1, -1, 2, -2 and infinity:
 *
 *   y = A^T ((G g G^T) * (B^T d B)) A       d: 6 x 6 of the input, g: 3 x 3 of the kernel, y: 4 x 4 of the result
 *
 * and turned round for the gradient with respect to the kernel: dg = G^T ((B^T d B) * (A dy A^T)) G. Each transform goes over
 * columns first, then over rows. */
#include "backend/cpu/simd.h"
#include "backend/cpu/simd/vec.h"

enum { IN = 6, OUT = 4, TAPS = 3, BLOCK = DLT_CONV_BLOCK };

/* B^T */
VEC void input6(vf d[IN])
{
    const vf four = vset(4), five = vset(5), two = vset(2);
    const vf a = vfnma(four, d[2], d[4]), b = vfnma(four, d[1], d[3]), c = d[4] - d[2], e = d[3] - d[1];
    const vf first = vfma(four, d[0], vfnma(five, d[2], d[4]));
    d[5] = vfma(four, d[1], vfnma(five, d[3], d[5]));
    d[0] = first;
    d[1] = a + b;
    d[2] = a - b;
    d[3] = vfma(two, e, c);
    d[4] = vfnma(two, e, c);
}

/* A^T */
VEC void output4(vf y[OUT], const vf m[IN])
{
    const vf a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
    y[0] = m[0] + a + c;
    y[1] = vfma(vset(2), d, b);
    y[2] = vfma(vset(4), c, a);
    y[3] = vfma(vset(8), d, b) + m[5];
}

/* A */
VEC void gradient6(vf m[IN], const vf d[OUT])
{
    const vf even = d[0] + d[2], odd = d[1] + d[3], even2 = vfma(vset(4), d[2], d[0]), odd2 = vfma(vset(8), d[3], d[1] + d[1]);
    m[0] = d[0];
    m[1] = even + odd;
    m[2] = even - odd;
    m[3] = even2 + odd2;
    m[4] = even2 - odd2;
    m[5] = d[3];
}

/* G */
VEC void kernel6(vf u[IN], const vf g[TAPS])
{
    const vf sixth = vset(1.0f / 6), a = (g[0] + g[2]) * sixth, b = g[1] * sixth;
    const vf c = vfma(vset(1.0f / 24), g[0], g[2] * sixth), d = g[1] * vset(1.0f / 12);
    u[0] = g[0] * vset(0.25f);
    u[1] = -a - b;
    u[2] = b - a;
    u[3] = c + d;
    u[4] = c - d;
    u[5] = g[2];
}

/* G^T */
VEC void weights3(vf g[TAPS], const vf u[IN])
{
    const vf sixth = vset(1.0f / 6), near = (u[1] + u[2]) * sixth, far = u[3] + u[4];
    g[0] = vfma(vset(0.25f), u[0], vfma(vset(1.0f / 24), far, -near));
    g[1] = vfma(vset(1.0f / 12), u[3] - u[4], (u[2] - u[1]) * sixth);
    g[2] = vfma(sixth, far, u[5] - near);
}

/* whole: every place of the tile is there. */
VEC void input_tile(bool whole, float *v, int64_t v_point, const float *x, int64_t x_row, const dlt_winograd_place *p)
{
    for (int64_t lane = 0; lane < BLOCK; lane += VW) {
        vf t[IN][IN];
        for (int j = 0; j < IN; j++) {
            vf d[IN];
            UNROLL(6)
            for (int i = 0; i < IN; i++) {
                const bool there = whole || (i >= p->top && i < p->bottom && j >= p->left && j < p->right);
                d[i] = there ? vload(x + i * x_row + j * BLOCK + lane) : vzero();
            }
            input6(d);
            UNROLL(6)
            for (int i = 0; i < IN; i++) {
                t[i][j] = d[i];
            }
        }
        for (int i = 0; i < IN; i++) {
            input6(t[i]);
            UNROLL(6)
            for (int j = 0; j < IN; j++) {
                vstore(v + (i * IN + j) * v_point + lane, t[i][j]);
            }
        }
    }
}

static void input(float *v, int64_t v_point, const float *x, int64_t x_row, const dlt_winograd_place *p)
{
    if (p->top == 0 && p->bottom == IN && p->left == 0 && p->right == IN) {
        input_tile(true, v, v_point, x, x_row, p);
    } else {
        input_tile(false, v, v_point, x, x_row, p);
    }
}

static void output(float *y, int64_t y_row, int64_t rows, int64_t columns, const float *m, int64_t m_point)
{
    for (int64_t lane = 0; lane < BLOCK; lane += VW) {
        vf t[OUT][IN];
        for (int j = 0; j < IN; j++) {
            vf d[IN], made[OUT];
            UNROLL(6)
            for (int i = 0; i < IN; i++) {
                d[i] = vload(m + (i * IN + j) * m_point + lane);
            }
            output4(made, d);
            UNROLL(4)
            for (int i = 0; i < OUT; i++) {
                t[i][j] = made[i];
            }
        }
        for (int i = 0; i < OUT && i < rows; i++) {
            vf made[OUT];
            output4(made, t[i]);
            UNROLL(4)
            for (int j = 0; j < OUT; j++) {
                if (j < columns) {
                    vstore(y + i * y_row + j * BLOCK + lane, made[j]);
                }
            }
        }
    }
}

static void gradient(float *v, int64_t v_point, const float *dy, int64_t dy_row, int64_t rows, int64_t columns)
{
    for (int64_t lane = 0; lane < BLOCK; lane += VW) {
        vf t[IN][OUT];
        for (int j = 0; j < OUT; j++) {
            vf d[OUT], made[IN];
            UNROLL(4)
            for (int i = 0; i < OUT; i++) {
                d[i] = i < rows && j < columns ? vload(dy + i * dy_row + j * BLOCK + lane) : vzero();
            }
            gradient6(made, d);
            UNROLL(6)
            for (int i = 0; i < IN; i++) {
                t[i][j] = made[i];
            }
        }
        for (int i = 0; i < IN; i++) {
            vf made[IN];
            gradient6(made, t[i]);
            UNROLL(6)
            for (int j = 0; j < IN; j++) {
                vstore(v + (i * IN + j) * v_point + lane, made[j]);
            }
        }
    }
}

static void kernel(float *u, int64_t u_point, const float *w, int64_t w_place)
{
    for (int64_t lane = 0; lane < BLOCK; lane += VW) {
        vf t[IN][TAPS];
        for (int j = 0; j < TAPS; j++) {
            vf g[TAPS], made[IN];
            UNROLL(3)
            for (int i = 0; i < TAPS; i++) {
                g[i] = vload(w + (i * TAPS + j) * w_place + lane);
            }
            kernel6(made, g);
            UNROLL(6)
            for (int i = 0; i < IN; i++) {
                t[i][j] = made[i];
            }
        }
        for (int i = 0; i < IN; i++) {
            vf made[IN];
            kernel6(made, t[i]);
            UNROLL(6)
            for (int j = 0; j < IN; j++) {
                vstore(u + (i * IN + j) * u_point + lane, made[j]);
            }
        }
    }
}

static void weights(float *w, int64_t w_place, const float *u, int64_t u_point)
{
    for (int64_t lane = 0; lane < BLOCK; lane += VW) {
        vf t[TAPS][IN];
        for (int j = 0; j < IN; j++) {
            vf d[IN], made[TAPS];
            UNROLL(6)
            for (int i = 0; i < IN; i++) {
                d[i] = vload(u + (i * IN + j) * u_point + lane);
            }
            weights3(made, d);
            UNROLL(3)
            for (int i = 0; i < TAPS; i++) {
                t[i][j] = made[i];
            }
        }
        for (int i = 0; i < TAPS; i++) {
            vf made[TAPS];
            weights3(made, t[i]);
            UNROLL(3)
            for (int j = 0; j < TAPS; j++) {
                vstore(w + (i * TAPS + j) * w_place + lane, made[j]);
            }
        }
    }
}

extern const dlt_winograd_ops DLT_SIMD(winograd);
const dlt_winograd_ops DLT_SIMD(winograd) = {
    .input = input, .output = output, .gradient = gradient, .kernel = kernel, .weights = weights};
