/* trainer/initializers/init_orthogonal.c: a random orthogonal matrix times gain.
 * A weight of shape (..., c) is taken as a matrix of r rows and c columns. A ~ N(0, 1) of shape (max(r, c),
 * min(r, c)) = Q R; the result is Q times the signs of R's diagonal, transposed if r < c. Householder's
 * reflections, in double. Source: Saxe et al., arXiv:1312.6120. */
#include "trainer/initializers/draw.h"

#include "base/alloc.h"

typedef struct orthogonal_params {
    double gain;
    dlt_opt_int seed;
} orthogonal_params;

static const dlt_field fields[] = {
    DLT_FLOAT(orthogonal_params, gain, -HUGE_VAL, HUGE_VAL, 1.0, "factor of all values"),
    DLT_SEED_FIELD(orthogonal_params),
    {0},
};

/* Sum of x[i] y[i], in four lanes: a fixed order that the compiler can run in parallel. */
static double dot(const double *x, const double *y, int64_t n)
{
    double lane[4] = {0};
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (int k = 0; k < 4; k++) {
            lane[k] += x[i + k] * y[i + k];
        }
    }
    for (; i < n; i++) {
        lane[0] += x[i] * y[i];
    }
    return (lane[0] + lane[1]) + (lane[2] + lane[3]);
}

/* column -= v (2 v . column / v . v), from row `from` on. half = v . v / 2; 0: no reflection. */
static void reflect(const double *v, double half, double *column, int64_t from, int64_t rows)
{
    if (half > 0) {
        const double factor = dot(v + from, column + from, rows - from) / half;
        for (int64_t i = from; i < rows; i++) {
            column[i] -= factor * v[i];
        }
    }
}

/* Columns that are worked on together, so that each reflection is read from memory once for all of them. */
enum { GROUP = 8 };

/*
 * Turns the n columns of a (m elements each) into vectors of reflections: below row k in column k, with
 * half[k], and puts the sign of R's diagonal into sign[k].
 */
static void factor(double *a, int64_t m, int64_t n, double *half, double *sign)
{
    for (int64_t begin = 0; begin < n; begin += GROUP) {
        const int64_t end = begin + GROUP < n ? begin + GROUP : n;
        for (int64_t k = 0; k < begin; k++) {
            for (int64_t j = begin; j < end; j++) {
                reflect(a + k * m, half[k], a + j * m, k, m);
            }
        }
        for (int64_t k = begin; k < end; k++) {
            double *v = a + k * m;
            const double norm = sqrt(dot(v + k, v + k, m - k));
            const double diagonal = v[k] > 0 ? -norm : norm; /* of R: the sign that does not cancel */
            sign[k] = diagonal < 0 ? -1 : diagonal > 0 ? 1 : 0;
            v[k] -= diagonal;
            half[k] = dot(v + k, v + k, m - k) / 2;
            for (int64_t j = k + 1; j < end; j++) {
                reflect(v, half[k], a + j * m, k, m);
            }
        }
    }
}

/* Column j of Q for j in [begin, end), into q: the reflections applied to unit vectors, the last first. */
static void unfold(const double *a, const double *half, int64_t m, int64_t begin, int64_t end, double *q)
{
    for (int64_t j = begin; j < end; j++) {
        double *column = q + (j - begin) * m;
        for (int64_t i = 0; i < m; i++) {
            column[i] = i == j ? 1 : 0;
        }
    }
    for (int64_t k = end - 1; k >= 0; k--) {
        for (int64_t j = k > begin ? k : begin; j < end; j++) { /* a unit vector before k is not moved */
            reflect(a + k * m, half[k], q + (j - begin) * m, k, m);
        }
    }
}

static bool fill(const void *params, const dlt_initializer_io *io)
{
    const orthogonal_params *p = params;
    const int64_t count = dlt_shape_count(&io->shape);
    const int64_t columns = io->shape.dim[io->shape.rank - 1];
    if (count == 0) {
        return true;
    }
    const int64_t rows = count / columns;
    const int64_t m = rows > columns ? rows : columns, n = rows > columns ? columns : rows;
    double *a = dlt_alloc_zeroed((size_t)count, sizeof *a), *half = dlt_alloc_zeroed((size_t)n, sizeof *half);
    double *sign = dlt_alloc_zeroed((size_t)n, sizeof *sign),
           *q = dlt_alloc_zeroed((size_t)m, GROUP * sizeof *q);
    const bool ok = a != NULL && half != NULL && sign != NULL && q != NULL;
    if (ok) {
        const dlt_draw draw = dlt_draw_of(io, &p->seed);
        dlt_draw_normal(&draw, 0, 1, count, io->out); /* row-major (m, n) */
        for (int64_t i = 0; i < m; i++) {
            for (int64_t j = 0; j < n; j++) {
                a[j * m + i] = io->out[i * n + j];
            }
        }
        factor(a, m, n, half, sign);
        for (int64_t begin = 0; begin < n; begin += GROUP) {
            const int64_t end = begin + GROUP < n ? begin + GROUP : n;
            unfold(a, half, m, begin, end, q);
            for (int64_t j = begin; j < end; j++) {
                for (int64_t i = 0; i < m; i++) {
                    const double value = p->gain * sign[j] * q[(j - begin) * m + i];
                    io->out[rows >= columns ? i * columns + j : j * columns + i] = value;
                }
            }
        }
    }
    dlt_free(a);
    dlt_free(half);
    dlt_free(sign);
    dlt_free(q);
    return ok;
}

const dlt_initializer_desc dlt_initializer_orthogonal = {
    .kind = {.name = "Orthogonal",
             .doc = "a random orthogonal matrix",
             .size = sizeof(orthogonal_params),
             .fields = fields,
             .aliases = "OrthogonalInitializer"},
    .fill = fill,
    .min_rank = 2,
};
