/* tests/registry/test_ops.c: every op of graph/op.def against its formula, its gradient against differences. Elementwise ops and
 * reductions: test_ew.c. */
#include "support/op_case.h"

#include "base/rng.h"
#include "graph/graph_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t count_of(const dlt_shape *s)
{
    return dlt_shape_count(s);
}

/* Strides of a row-major tensor. */
static void strides_of(const dlt_shape *s, int64_t *strides)
{
    int64_t next = 1;
    for (int i = s->rank - 1; i >= 0; i--) {
        strides[i] = next;
        next *= s->dim[i];
    }
}

/* ---- moving ---- */

enum { TRANSPOSE, SLICE, PAD, CONCAT, REVERSE, RESHAPE };

typedef struct move_case {
    int what, axis;
    int perm[DLT_MAX_RANK];
    int64_t first, second; /* start and count of a slice, padding before and behind */
    dlt_shape shape;       /* of the result */
} move_case;

static void build_move(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out)
{
    const move_case *m = c->attrs;
    switch (m->what) {
    case TRANSPOSE:
        out[0] = dlt_transpose(b, in[0], m->perm);
        break;
    case SLICE:
        out[0] = dlt_slice(b, in[0], m->axis, m->first, m->second);
        break;
    case PAD:
        out[0] = dlt_pad(b, in[0], m->axis, m->first, m->second);
        break;
    case CONCAT:
        out[0] = dlt_concat(b, in, c->input_count, m->axis);
        break;
    case REVERSE:
        out[0] = dlt_reverse(b, in[0], m->axis);
        break;
    default:
        out[0] = dlt_reshape(b, in[0], m->shape);
    }
}

static void naive_move(const op_case *c, double *const *in, double *const *out)
{
    const move_case *m = c->attrs;
    int64_t from[DLT_MAX_RANK], to[DLT_MAX_RANK];
    strides_of(&m->shape, to);
    for (int64_t i = 0; i < count_of(&m->shape); i++) {
        int64_t at[DLT_MAX_RANK], index = 0;
        int input = 0;
        bool outside = false;
        for (int k = 0; k < m->shape.rank; k++) {
            at[k] = i / to[k] % m->shape.dim[k];
        }
        if (m->what == SLICE) {
            at[m->axis] += m->first;
        } else if (m->what == PAD) {
            at[m->axis] -= m->first;
            outside = at[m->axis] < 0 || at[m->axis] >= c->inputs[0].shape.dim[m->axis];
        } else if (m->what == REVERSE) {
            at[m->axis] = m->shape.dim[m->axis] - 1 - at[m->axis];
        } else if (m->what == CONCAT) {
            for (; at[m->axis] >= c->inputs[input].shape.dim[m->axis]; input++) {
                at[m->axis] -= c->inputs[input].shape.dim[m->axis];
            }
        }
        strides_of(&c->inputs[input].shape, from);
        for (int k = 0; k < m->shape.rank && m->what != RESHAPE; k++) {
            index += at[k] * from[m->what == TRANSPOSE ? m->perm[k] : k];
        }
        out[0][i] = outside ? 0 : in[input][m->what == RESHAPE ? i : index];
    }
}

static void check_move(const char *name, const move_case *given, const dlt_shape *inputs, int count)
{
    move_case m = *given;
    if (m.shape.rank == 0) {
        m.shape = inputs[0];
    }
    for (int i = 0; i < m.shape.rank && m.what == TRANSPOSE; i++) {
        m.shape.dim[i] = inputs[0].dim[m.perm[i]];
    }
    if (m.what == SLICE) {
        m.shape.dim[m.axis] = m.second;
    } else if (m.what == PAD) {
        m.shape.dim[m.axis] += m.first + m.second;
    }
    for (int i = 1; i < count && m.what == CONCAT; i++) {
        m.shape.dim[m.axis] += inputs[i].dim[m.axis];
    }
    static const dlt_dtype types[] = {DLT_F32, DLT_U8, DLT_I16, DLT_I64};
    for (size_t t = 0; t < DLT_COUNT(types); t++) {
        op_case c = {.name = name,
                     .build = build_move,
                     .naive = naive_move,
                     .attrs = &m,
                     .input_count = count,
                     .output_count = 1,
                     .no_gradient = t > 0};
        for (int i = 0; i < count; i++) {
            c.inputs[i] = (op_input){.shape = inputs[i], .integer = t > 0, .type = types[t], .low = 0, .high = 100};
        }
        op_check(&c);
    }
}

static void moving_keeps_values(void **state)
{
    (void)state;
    const dlt_shape x = DLT_SHAPE(3, 4, 5), one = DLT_SHAPE(2, 1, 3), large = DLT_SHAPE(70, 90);
    check_move("transpose 2 0 1", &(move_case){.what = TRANSPOSE, .perm = {2, 0, 1}}, &x, 1);
    check_move("transpose 1 0 2", &(move_case){.what = TRANSPOSE, .perm = {1, 0, 2}}, &x, 1);
    check_move("transpose 2 1 0", &(move_case){.what = TRANSPOSE, .perm = {2, 1, 0}}, &x, 1);
    check_move("transpose around 1", &(move_case){.what = TRANSPOSE, .perm = {2, 1, 0}}, &one, 1);
    check_move("transpose large", &(move_case){.what = TRANSPOSE, .perm = {1, 0}}, &large, 1);
    check_move("transpose rank 5", &(move_case){.what = TRANSPOSE, .perm = {4, 1, 3, 0, 2}},
               &DLT_SHAPE(2, 3, 2, 4, 3), 1);
    check_move("reshape", &(move_case){.what = RESHAPE, .shape = DLT_SHAPE(6, 10)}, &x, 1);
    for (int axis = 0; axis < 3; axis++) {
        check_move("slice", &(move_case){.what = SLICE, .axis = axis, .first = 1, .second = 2}, &x, 1);
        check_move("empty slice", &(move_case){.what = SLICE, .axis = axis, .first = 1, .second = 0}, &x, 1);
        check_move("pad", &(move_case){.what = PAD, .axis = axis, .first = 2, .second = 1}, &x, 1);
        check_move("pad in front", &(move_case){.what = PAD, .axis = axis, .first = 1}, &one, 1);
        check_move("reverse", &(move_case){.what = REVERSE, .axis = axis}, &x, 1);
        dlt_shape parts[3] = {x, x, x};
        parts[0].dim[axis] = 1;
        parts[2].dim[axis] = 7;
        check_move("concat", &(move_case){.what = CONCAT, .axis = axis}, parts, 3);
    }
}

/* ---- rows by number ---- */

static void build_gather(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out)
{
    (void)c;
    out[0] = dlt_gather(b, in[0], in[1]);
}

static void naive_gather(const op_case *c, double *const *in, double *const *out)
{
    const dlt_shape *table = &c->inputs[0].shape;
    const int64_t width = count_of(table) / table->dim[0];
    for (int64_t i = 0; i < count_of(&c->inputs[1].shape); i++) {
        for (int64_t k = 0; k < width; k++) {
            const double id = in[1][i];
            out[0][i * width + k] = id < 0 || id >= (double)table->dim[0] ? NAN : in[0][(int64_t)id * width + k];
        }
    }
}

static void build_scatter(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out)
{
    out[0] = dlt_scatter_add(b, in[1], in[0], *(const int64_t *)c->attrs);
}

static void naive_scatter(const op_case *c, double *const *in, double *const *out)
{
    const int64_t rows = *(const int64_t *)c->attrs, ids = count_of(&c->inputs[1].shape);
    const int64_t width = count_of(&c->inputs[0].shape) / ids;
    for (int64_t i = 0; i < ids; i++) {
        const int64_t id = in[1][i] < 0 || in[1][i] >= (double)rows ? 0 : (int64_t)in[1][i];
        for (int64_t k = 0; k < width; k++) {
            out[0][id * width + k] += in[0][i * width + k];
        }
    }
}

static void rows_are_gathered_and_scattered(void **state)
{
    (void)state;
    static const dlt_dtype types[] = {DLT_I32, DLT_U8, DLT_I64, DLT_I16};
    static const dlt_shape tables[] = {{2, {5, 3}}, {1, {7}}, {3, {4, 2, 3}}, {2, {9, 65}}};
    static const dlt_shape ids[] = {{2, {2, 4}}, {1, {6}}, {0, {0}}, {1, {40}}};
    for (size_t i = 0; i < DLT_COUNT(tables); i++) {
        op_check(&(op_case){.name = "gather",
                            .build = build_gather,
                            .naive = naive_gather,
                            .input_count = 2,
                            .output_count = 1,
                            .seed = i,
                            .inputs = {{.shape = tables[i]},
                                       {.shape = ids[i], .integer = true, .type = types[i], .high = (double)tables[i].dim[0]}}});
        dlt_shape x = ids[i];
        for (int k = 1; k < tables[i].rank; k++) {
            x.dim[x.rank++] = tables[i].dim[k];
        }
        const int64_t rows = tables[i].dim[0];
        op_check(&(op_case){.name = "scatter_add",
                            .build = build_scatter,
                            .naive = naive_scatter,
                            .attrs = &rows,
                            .input_count = 2,
                            .output_count = 1,
                            .seed = i,
                            .inputs = {{.shape = x},
                                       {.shape = ids[i], .integer = true, .type = types[i], .high = (double)rows}}});
    }
}

static void rows_that_are_not_there_are_nan(void **state)
{
    (void)state;
    op_check(&(op_case){.name = "gather outside",
                        .build = build_gather,
                        .naive = naive_gather,
                        .input_count = 2,
                        .output_count = 1,
                        .no_gradient = true,
                        .inputs = {{.shape = DLT_SHAPE(3, 2)},
                                   {.shape = DLT_SHAPE(9), .integer = true, .type = DLT_I32, .low = -3, .high = 6}}});
    const int64_t rows = 4;
    op_check(&(op_case){.name = "scatter_add outside",
                        .build = build_scatter,
                        .naive = naive_scatter,
                        .attrs = &rows,
                        .input_count = 2,
                        .output_count = 1,
                        .no_gradient = true,
                        .inputs = {{.shape = DLT_SHAPE(9, 2)},
                                   {.shape = DLT_SHAPE(9), .integer = true, .type = DLT_I32, .low = -3, .high = 6}}});
}

/* ---- images ---- */

typedef struct warp_case {
    dlt_warp_attrs attrs;
    const double *rows; /* of the transform; NULL: input 1 */
    int64_t count;      /* of them */
} warp_case;

/* y = warp(x), and what dy sends back to x. */
static void build_warp(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out)
{
    const warp_case *w = c->attrs;
    dlt_value *x = in[0], *dy = in[2];
    dlt_value *transform = w->rows != NULL ? dlt_constant_array(b, dlt_real(b), DLT_SHAPE(w->count, 6), w->rows) : in[1];
    out[0] = dlt_warp(b, x, transform, &w->attrs);
    dlt_gradients_from(b, &out[0], &dy, 1, &x, 1, &out[1]);
}

/* Where a position is that may lie outside: one step of the fill mode after the other; -1: nowhere. */
static int64_t walk_inside(int64_t i, int64_t n, dlt_fill_mode mode)
{
    while (i < 0 || i >= n) {
        switch (mode) {
        case DLT_FILL_CONSTANT:
            return -1;
        case DLT_FILL_NEAREST:
            i += i < 0 ? 1 : -1;
            break;
        case DLT_FILL_REFLECT:
            i = i < 0 ? -1 - i : 2 * n - 1 - i;
            break;
        default:
            i += i < 0 ? n : -n;
        }
    }
    return i;
}

static void naive_warp(const op_case *c, double *const *in, double *const *out)
{
    const warp_case *w = c->attrs;
    const dlt_shape *x = &c->inputs[0].shape, *y = &c->inputs[2].shape;
    const int64_t transforms = w->rows != NULL ? w->count : c->inputs[1].shape.dim[0];
    for (int64_t to = 0; to < count_of(y); to++) {
        const int64_t channel = to % y->dim[3], i = to / y->dim[3] % y->dim[2], j = to / y->dim[3] / y->dim[2] % y->dim[1];
        const int64_t sample = to / y->dim[3] / y->dim[2] / y->dim[1];
        const double *t = (w->rows != NULL ? w->rows : in[1]) + 6 * (transforms == 1 ? 0 : sample);
        const double across = t[0] * (double)i + t[1] * (double)j + t[2], down = t[3] * (double)i + t[4] * (double)j + t[5];
        const double left = w->attrs.nearest ? round(across) : floor(across), top = w->attrs.nearest ? round(down) : floor(down);
        for (int corner = 0; corner < 4; corner++) {
            const double u = corner % 2 == 0 ? 1 - (across - left) : across - left;
            const double v = corner / 2 == 0 ? 1 - (down - top) : down - top;
            const double weight = !w->attrs.nearest ? u * v : corner == 0 ? 1 : 0;
            const int64_t column = walk_inside((int64_t)left + corner % 2, x->dim[2], w->attrs.fill_mode);
            const int64_t row = walk_inside((int64_t)top + corner / 2, x->dim[1], w->attrs.fill_mode);
            const bool outside = row < 0 || column < 0;
            const int64_t from = ((sample * x->dim[1] + row) * x->dim[2] + column) * x->dim[3] + channel;
            out[0][to] += weight * (outside ? w->attrs.fill_value : in[0][from]);
            if (!outside) {
                out[1][from] += weight * in[2][to];
            }
        }
    }
}

static void check_warp(const char *name, const warp_case *w, dlt_shape x, double most, uint64_t number)
{
    const dlt_shape y = DLT_SHAPE(x.dim[0], w->attrs.height, w->attrs.width, x.dim[3]);
    const int64_t transforms = number % 3 == 0 ? 1 : x.dim[0];
    op_check(&(op_case){.name = name,
                        .build = build_warp,
                        .naive = naive_warp,
                        .attrs = w,
                        .input_count = 3,
                        .output_count = 2,
                        .seed = number,
                        .inputs = {{.shape = x},
                                   {.shape = DLT_SHAPE(transforms, 6), .fixed = true, .low = -most, .high = most},
                                   {.shape = y}}});
}

static void images_are_sampled(void **state)
{
    (void)state;
    /* moved by whole and by broken steps, mirrored, stretched, turned; for two samples */
    static const double straight[][12] = {{1, 0, 0, 0, 1, 0, -1, 0, 4, 0, 1, 0},
                                          {-1, 0, 4, 0, -1, 3, 1, 0, -2, 0, 1, 3},
                                          {1, 0, 0.25, 0, 1, -1.5, 1, 0, -7.75, 0, 1, 9.5},
                                          {-1, 0, 3.75, 0, -1, 3.5, 1, 0, 2, 0, 1, 0.5},
                                          {0.5, 0, -0.25, 0, 0.5, 1.75, 2, 0, -3, 0, 1.5, -2},
                                          {0, 1, 0, -1, 0, 4, 0, 0, 1, 0, 0, 2.25},
                                          {1, 0, 0.5, 0, 1, 0.5, 0.75, 0.25, 0, -0.25, 0.75, 1}};
    static const dlt_shape images[] = {{4, {2, 4, 5, 3}}, {4, {2, 1, 1, 1}}, {4, {2, 6, 3, 17}}, {4, {2, 3, 40, 1}}};
    uint64_t number = 0;
    for (int mode = DLT_FILL_CONSTANT; mode <= DLT_FILL_WRAP; mode++) {
        for (int nearest = 0; nearest < 2; nearest++) {
            warp_case w = {.attrs = {.height = 4, .width = 5, .nearest = nearest == 1, .fill_mode = (dlt_fill_mode)mode, .fill_value = 0.5},
                           .count = 2};
            for (size_t i = 0; i < DLT_COUNT(straight); i++) {
                w.rows = straight[i];
                check_warp("warp by given transforms", &w, images[0], 1, number++);
            }
            w.rows = NULL;
            for (size_t i = 0; i < DLT_COUNT(images); i++) {
                w.attrs.height = 3 + (int64_t)i;
                w.attrs.width = i == 3 ? 37 : 7 - (int64_t)i;
                check_warp("warp by any transforms", &w, images[i], i % 2 == 0 ? 1.5 : 4, number++);
            }
        }
    }
}

static void build_far(dlt_builder *b, const void *context)
{
    const dlt_warp_attrs attrs = {.height = 2, .width = 2, .fill_mode = *(const dlt_fill_mode *)context, .fill_value = 7};
    dlt_value *x = dlt_input(b, "x", dlt_real(b), DLT_SHAPE(1, 2, 2, 1));
    dlt_output(b, "y", dlt_warp(b, x, dlt_input(b, "t", dlt_real(b), DLT_SHAPE(1, 6)), &attrs));
}

/* Transforms that lead nowhere, and pixels that are not finite but do not count. */
static void far_places_and_weights_of_0_are_safe(void **state)
{
    (void)state;
    const double ends[] = {1e300, -1e300, INFINITY, -INFINITY, NAN};
    for (int mode = DLT_FILL_CONSTANT; mode <= DLT_FILL_WRAP; mode++) {
        for (int reference = 0; reference < 2; reference++) {
            const dlt_fill_mode fill = (dlt_fill_mode)mode;
            test_program *t = test_compile(build_far, &fill, &(test_options){.reference = reference == 1});
            double x[] = {1, NAN, INFINITY, 4}, y[4];
            test_set_input(t, 0, x);
            test_set_input(t, 1, (double[]){-1, 0, 1, 0, 1, 0}); /* mirrored: a copy, whatever stands in it */
            test_run(t);
            test_get(t, "y", y);
            test_close("mirrored", y, (double[]){NAN, 1, 4, INFINITY}, 4, 0);
            test_set_input(t, 0, (double[]){1, 1, 1, 1});
            for (size_t i = 0; i < DLT_COUNT(ends); i++) {
                for (int k = 0; k < 6; k++) {
                    double place[6] = {1, 0, 0, 0, 1, 0};
                    place[k] = ends[i];
                    test_set_input(t, 1, place);
                    test_run(t);
                    test_get(t, "y", y);
                    for (int pixel = 0; pixel < 4; pixel++) {
                        assert_true(y[pixel] == 1 || (fill == DLT_FILL_CONSTANT && y[pixel] == 7));
                    }
                }
            }
            test_release(t);
        }
    }
}

/* ---- order and counting ---- */

static void build_top_k(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out)
{
    out[0] = dlt_top_k(b, in[0], *(const int64_t *)c->attrs, &out[1]);
    out[2] = dlt_argmax(b, in[0]);
}

static void naive_top_k(const op_case *c, double *const *in, double *const *out)
{
    const dlt_shape *s = &c->inputs[0].shape;
    const int64_t n = s->dim[s->rank - 1], k = *(const int64_t *)c->attrs, rows = count_of(s) / n;
    for (int64_t row = 0; row < rows; row++) {
        const double *x = in[0] + row * n;
        for (int64_t i = 0; i < n; i++) { /* its rank: how many come before it */
            int64_t rank = 0;
            for (int64_t j = 0; j < n; j++) {
                const bool larger = x[j] > x[i] || (isnan(x[j]) && !isnan(x[i]));
                const bool equal = x[j] == x[i] || (isnan(x[j]) && isnan(x[i]));
                rank += larger || (equal && j < i);
            }
            if (rank < k) {
                out[0][row * k + rank] = x[i];
                out[1][row * k + rank] = (double)i;
            }
            if (rank == 0) {
                out[2][row] = (double)i;
            }
        }
    }
}

static void the_largest_come_first(void **state)
{
    (void)state;
    static const int64_t ks[] = {1, 3, 7};
    for (size_t i = 0; i < DLT_COUNT(ks); i++) {
        op_case c = {.name = "top_k",
                     .build = build_top_k,
                     .naive = naive_top_k,
                     .attrs = &ks[i],
                     .input_count = 1,
                     .output_count = 3,
                     .seed = i,
                     .inputs = {{.shape = DLT_SHAPE(4, 3, 7), .spread = true}}};
        op_check(&c);
        c.name = "top_k of integers with equals";
        c.no_gradient = true;
        c.inputs[0] = (op_input){.shape = DLT_SHAPE(5, 11), .integer = true, .type = DLT_I32, .low = -3, .high = 3};
        op_check(&c);
    }
}

static void build_order(dlt_builder *b, const void *context)
{
    const int64_t k = *(const int64_t *)context;
    dlt_value *at = NULL;
    dlt_output(b, "y0", dlt_top_k(b, dlt_input(b, "x", DLT_F32, DLT_SHAPE(1, 6)), k, &at));
    dlt_output(b, "y1", at);
}

static void nan_is_the_largest(void **state)
{
    (void)state;
    const int64_t k = 4;
    double x[] = {1, NAN, INFINITY, -INFINITY, NAN, 2}, y[4], at[4];
    test_program *t = test_compile(build_order, &k, &(test_options){0});
    test_set_input(t, 0, x);
    test_run(t);
    test_get(t, "y0", y);
    test_get(t, "y1", at);
    assert_true(isnan(y[0]) && isnan(y[1]) && y[2] == INFINITY && y[3] == 2);
    assert_true(at[0] == 1 && at[1] == 4 && at[2] == 2 && at[3] == 5);
    test_release(t);
}

static void build_bincount(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out)
{
    out[0] = dlt_bincount(b, in[0], in[1], *(const int64_t *)c->attrs);
    out[1] = dlt_bincount(b, in[0], dlt_constant(b, 1), *(const int64_t *)c->attrs);
}

static void naive_bincount(const op_case *c, double *const *in, double *const *out)
{
    const int64_t bins = *(const int64_t *)c->attrs;
    for (int64_t i = 0; i < count_of(&c->inputs[0].shape); i++) {
        if (in[0][i] >= 0 && in[0][i] < (double)bins) {
            out[0][(int64_t)in[0][i]] += in[1][i];
            out[1][(int64_t)in[0][i]] += 1;
        }
    }
}

static void build_cumsum(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out)
{
    out[0] = dlt_cumsum(b, in[0], *(const int *)c->attrs, false);
    out[1] = dlt_cumsum(b, in[0], *(const int *)c->attrs, true);
}

static void naive_cumsum(const op_case *c, double *const *in, double *const *out)
{
    const dlt_shape *s = &c->inputs[0].shape;
    const int axis = *(const int *)c->attrs;
    int64_t strides[DLT_MAX_RANK];
    strides_of(s, strides);
    for (int64_t i = 0; i < count_of(s); i++) {
        const int64_t at = i / strides[axis] % s->dim[axis];
        for (int64_t k = 0; k < s->dim[axis]; k++) {
            out[0][i] += k <= at ? in[0][i + (k - at) * strides[axis]] : 0;
            out[1][i] += k >= at ? in[0][i + (k - at) * strides[axis]] : 0;
        }
    }
}

static void counting_and_running_sums(void **state)
{
    (void)state;
    const int64_t bins = 5;
    op_check(&(op_case){.name = "bincount",
                        .build = build_bincount,
                        .naive = naive_bincount,
                        .attrs = &bins,
                        .input_count = 2,
                        .output_count = 2,
                        .no_gradient = true,
                        .inputs = {{.shape = DLT_SHAPE(7, 9), .integer = true, .type = DLT_I32, .low = -2, .high = 7},
                                   {.shape = DLT_SHAPE(7, 9)}}});
    static const dlt_shape shapes[] = {{3, {3, 4, 5}}, {3, {1, 130, 2}}, {3, {2, 1, 7}}};
    for (int i = 0; i < 9; i++) {
        const int axis = i % 3;
        op_check(&(op_case){.name = "cumsum",
                            .build = build_cumsum,
                            .naive = naive_cumsum,
                            .attrs = &axis,
                            .input_count = 1,
                            .output_count = 2,
                            .inputs = {{.shape = shapes[i / 3]}}});
        op_check(&(op_case){.name = "cumsum of integers",
                            .build = build_cumsum,
                            .naive = naive_cumsum,
                            .attrs = &axis,
                            .input_count = 1,
                            .output_count = 2,
                            .no_gradient = true,
                            .inputs = {{.shape = shapes[i / 3], .integer = true, .type = DLT_I32, .low = -9, .high = 9}}});
    }
}

/* ---- products ---- */

typedef struct matmul_case {
    bool trans_a, trans_b;
    int64_t batch, m, n, k;
    bool shared; /* b has no leading axes */
} matmul_case;

static void build_matmul(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out)
{
    const matmul_case *m = c->attrs;
    out[0] = dlt_matmul(b, in[0], in[1], m->trans_a, m->trans_b);
}

static void naive_matmul(const op_case *c, double *const *in, double *const *out)
{
    const matmul_case *p = c->attrs;
    for (int64_t i = 0; i < p->batch * p->m * p->n; i++) {
        const int64_t col = i % p->n, row = i / p->n % p->m, batch = i / p->n / p->m;
        for (int64_t k = 0; k < p->k; k++) {
            const double a = in[0][batch * p->m * p->k + (p->trans_a ? k * p->m + row : row * p->k + k)];
            out[0][i] += a * in[1][(p->shared ? 0 : batch * p->k * p->n) + (p->trans_b ? col * p->k + k : k * p->n + col)];
        }
    }
}

static void products_of_matrices(void **state)
{
    (void)state;
    static const struct {
        int64_t batch, m, n, k;
    } sizes[] = {{1, 3, 4, 5}, {1, 1, 1, 1},  {4, 2, 3, 7},   {1, 1, 9, 3},   {3, 5, 1, 2}, {1, 33, 17, 65},
                 {2, 1, 1, 6}, {1, 7, 40, 1}, {1, 64, 64, 64}, {5, 13, 11, 3}, {1, 2, 3, 0}};
    for (size_t i = 0; i < DLT_COUNT(sizes); i++) {
        for (int t = 0; t < 8; t++) {
            matmul_case m = {(t & 1) != 0, (t & 2) != 0, sizes[i].batch, sizes[i].m, sizes[i].n, sizes[i].k, (t & 4) != 0};
            const bool ranked = m.batch > 1 || !m.shared; /* shared with one batch: both of rank 2 */
            if (m.shared && ranked && m.trans_a) {
                continue;
            }
            dlt_shape a = m.trans_a ? DLT_SHAPE(m.batch, m.k, m.m) : DLT_SHAPE(m.batch, m.m, m.k);
            dlt_shape b = m.trans_b ? DLT_SHAPE(m.batch, m.n, m.k) : DLT_SHAPE(m.batch, m.k, m.n);
            if (m.shared) {
                b = DLT_SHAPE(b.dim[1], b.dim[2]);
            }
            if (!ranked) {
                a = DLT_SHAPE(a.dim[1], a.dim[2]);
            }
            char name[80];
            snprintf(name, sizeof name, "matmul %d, form %d", (int)i, t);
            op_check(&(op_case){.name = name,
                                .build = build_matmul,
                                .naive = naive_matmul,
                                .attrs = &m,
                                .input_count = 2,
                                .output_count = 1,
                                .seed = i,
                                .tolerance = 2e-5,
                                .inputs = {{.shape = a}, {.shape = b}}});
        }
    }
}

/* ---- windows ---- */

enum { CONV, MAX_POOL, AVG_POOL, CONV_BACK };

typedef struct window_case {
    int what;
    dlt_window window;
    int64_t groups, filters;
    dlt_shape x;
} window_case;

static void build_window(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out)
{
    const window_case *w = c->attrs;
    switch (w->what) {
    case CONV:
        out[0] = dlt_conv(b, in[0], in[1], &w->window, w->groups);
        break;
    case CONV_BACK: { /* gradients of a sum of squares: through them come the gradients of CONV_DX and CONV_DW */
        dlt_value *const wrt[] = {in[0], in[1]};
        dlt_value *y = dlt_conv(b, in[0], in[1], &w->window, w->groups);
        dlt_gradients(b, dlt_sum_all(b, dlt_square(b, y)), wrt, 2, out);
        break;
    }
    case MAX_POOL:
        out[0] = dlt_max_pool(b, in[0], &w->window);
        break;
    default:
        out[0] = dlt_avg_pool(b, in[0], &w->window);
    }
}

/* Over three spatial axes, the missing ones in front of size 1. */
typedef struct volume {
    int64_t n, size[3], c;
} volume;

static volume volume_of(const dlt_shape *s)
{
    volume v = {s->dim[0], {1, 1, 1}, s->dim[s->rank - 1]};
    for (int i = 0; i < s->rank - 2; i++) {
        v.size[3 - (s->rank - 2) + i] = s->dim[1 + i];
    }
    return v;
}

static void naive_window(const op_case *c, double *const *in, double *const *out)
{
    const window_case *w = c->attrs;
    const volume x = volume_of(&w->x);
    int64_t size[3] = {1, 1, 1}, stride[3] = {1, 1, 1}, dilation[3] = {1, 1, 1}, before[3] = {0}, results[3] = {1, 1, 1};
    int64_t given[3];
    assert_true(dlt_window_output(&w->window, &w->x, given));
    for (int i = 0; i < w->window.axes; i++) {
        const int k = 3 - w->window.axes + i;
        size[k] = w->window.size[i];
        stride[k] = w->window.stride[i];
        dilation[k] = w->window.dilation[i];
        before[k] = w->window.before[i];
        results[k] = given[i];
    }
    const int64_t channels = w->what == CONV ? w->filters : x.c, in_each = x.c / w->groups, out_each = w->filters / w->groups;
    int64_t at = 0;
    for (int64_t n = 0; n < x.n; n++) {
        for (int64_t o = 0; o < results[0] * results[1] * results[2]; o++) {
            const int64_t place[3] = {o / results[2] / results[1], o / results[2] % results[1], o % results[2]};
            for (int64_t f = 0; f < channels; f++, at++) {
                double sum = 0, largest = -INFINITY, cells = 0;
                for (int64_t k = 0; k < size[0] * size[1] * size[2]; k++) {
                    const int64_t cell[3] = {k / size[2] / size[1], k / size[2] % size[1], k % size[2]};
                    int64_t from = n;
                    bool inside = true;
                    for (int i = 0; i < 3; i++) {
                        const int64_t p = place[i] * stride[i] + cell[i] * dilation[i] - before[i];
                        inside = inside && p >= 0 && p < x.size[i];
                        from = from * x.size[i] + p;
                    }
                    if (!inside) {
                        continue;
                    }
                    cells++;
                    if (w->what != CONV) {
                        sum += in[0][from * x.c + f];
                        largest = fmax(largest, in[0][from * x.c + f]);
                        continue;
                    }
                    for (int64_t ch = 0; ch < in_each; ch++) {
                        sum += in[0][from * x.c + f / out_each * in_each + ch] * in[1][(k * in_each + ch) * w->filters + f];
                    }
                }
                out[0][at] = w->what == CONV ? sum : w->what == MAX_POOL ? largest : sum / cells;
            }
        }
    }
}

static void check_window(const char *name, window_case w, bool same)
{
    for (int i = 0; i < w.window.axes; i++) {
        w.window.size[i] = w.window.size[i] > 0 ? w.window.size[i] : 1;
        w.window.stride[i] = w.window.stride[i] > 0 ? w.window.stride[i] : 1;
        w.window.dilation[i] = w.window.dilation[i] > 0 ? w.window.dilation[i] : 1;
    }
    if (same) {
        dlt_window_same(&w.window, &w.x);
    }
    w.groups = w.groups > 0 ? w.groups : 1;
    w.filters = w.filters > 0 ? w.filters : w.groups;
    dlt_shape kernel = {.rank = w.x.rank};
    for (int i = 0; i < w.window.axes; i++) {
        kernel.dim[i] = w.window.size[i];
    }
    kernel.dim[w.window.axes] = w.x.dim[w.x.rank - 1] / w.groups;
    kernel.dim[w.window.axes + 1] = w.filters;
    const bool conv = w.what == CONV || w.what == CONV_BACK;
    op_check(&(op_case){.name = name,
                        .build = build_window,
                        .naive = w.what == CONV_BACK ? NULL : naive_window,
                        .attrs = &w,
                        .input_count = conv ? 2 : 1,
                        .output_count = w.what == CONV_BACK ? 2 : 1,
                        .tolerance = 1e-4,
                        .inputs = {{.shape = w.x, .spread = w.what == MAX_POOL}, {.shape = kernel}}});
    if (w.what == CONV) {
        w.what = CONV_BACK;
        check_window(name, w, false);
    }
}

static void convolutions(void **state)
{
    (void)state;
    const dlt_shape image = DLT_SHAPE(2, 7, 6, 3);
    for (int same = 0; same < 2; same++) {
        check_window("conv 3x3", (window_case){.what = CONV, .x = image, .filters = 4, .window = {.axes = 2, .size = {3, 3}}}, same);
        check_window("conv 2x3, stride 2x1",
                     (window_case){.what = CONV, .x = image, .filters = 5, .window = {.axes = 2, .size = {2, 3}, .stride = {2, 1}}}, same);
        check_window("conv 3x2, dilation 2",
                     (window_case){.what = CONV, .x = image, .filters = 2, .window = {.axes = 2, .size = {3, 2}, .stride = {1, 1}, .dilation = {2, 2}}}, same);
        check_window("conv 1x1", (window_case){.what = CONV, .x = image, .filters = 16, .window = {.axes = 2, .size = {1, 1}}}, same);
        check_window("conv in groups",
                     (window_case){
                         .what = CONV, .x = DLT_SHAPE(2, 5, 5, 6), .groups = 3, .filters = 6, .window = {.axes = 2, .size = {3, 3}, .stride = {2, 2}}},
                     same);
        check_window("depthwise conv, two of each",
                     (window_case){.what = CONV, .x = DLT_SHAPE(1, 5, 4, 3), .groups = 3, .filters = 6, .window = {.axes = 2, .size = {3, 3}}},
                     same);
        check_window("conv over 1 axis",
                     (window_case){.what = CONV, .x = DLT_SHAPE(3, 9, 4), .filters = 3, .window = {.axes = 1, .size = {4}, .stride = {3}}}, same);
        check_window("conv over 3 axes",
                     (window_case){.what = CONV, .x = DLT_SHAPE(1, 4, 3, 5, 2), .filters = 3, .window = {.axes = 3, .size = {2, 2, 3}, .stride = {1, 2, 2}}},
                     same);
        check_window("conv over many channels",
                     (window_case){.what = CONV, .x = DLT_SHAPE(2, 4, 4, 32), .filters = 32, .window = {.axes = 2, .size = {3, 3}}}, same);
    }
    check_window("conv, stride larger than the window",
                 (window_case){.what = CONV, .x = DLT_SHAPE(1, 11, 2), .filters = 2, .window = {.axes = 1, .size = {2}, .stride = {4}}}, true);
    check_window("conv, uneven padding",
                 (window_case){.what = CONV, .x = DLT_SHAPE(1, 6, 2), .filters = 2, .window = {.axes = 1, .size = {3}, .stride = {1}, .dilation = {2}, .before = {4}, .after = {0}}},
                 false);
    check_window("conv, window of the whole input",
                 (window_case){.what = CONV, .x = DLT_SHAPE(3, 4, 5, 2), .filters = 3, .window = {.axes = 2, .size = {4, 5}}}, false);
}

static void pools(void **state)
{
    (void)state;
    for (int what = MAX_POOL; what <= AVG_POOL; what++) {
        for (int same = 0; same < 2; same++) {
            check_window("pool 2x2", (window_case){.what = what, .x = DLT_SHAPE(2, 6, 5, 3), .window = {.axes = 2, .size = {2, 2}, .stride = {2, 2}}}, same);
            check_window("pool 3x3, stride 2",
                         (window_case){.what = what, .x = DLT_SHAPE(2, 7, 8, 2), .window = {.axes = 2, .size = {3, 3}, .stride = {2, 2}}}, same);
            check_window("pool 3, stride 1", (window_case){.what = what, .x = DLT_SHAPE(2, 9, 17), .window = {.axes = 1, .size = {3}, .stride = {1}}}, same);
            check_window("pool over 3 axes",
                         (window_case){.what = what, .x = DLT_SHAPE(1, 4, 5, 3, 2), .window = {.axes = 3, .size = {2, 3, 2}, .stride = {2, 1, 2}}}, same);
            check_window("pool of more than 256 cells",
                         (window_case){.what = what, .x = DLT_SHAPE(1, 18, 19, 2), .window = {.axes = 2, .size = {17, 17}, .stride = {1, 2}}}, same);
        }
    }
}

static void build_max_pool(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(1, 6, 1)), *g;
    const dlt_window w = {.axes = 1, .size = {2}, .stride = {2}, .dilation = {1}};
    dlt_value *y = dlt_max_pool(b, x, &w);
    dlt_output(b, "y", y);
    dlt_gradients(b, dlt_sum_all(b, dlt_mul(b, y, dlt_constant_array(b, DLT_F32, DLT_SHAPE(1, 3, 1), (double[]){1, 2, 3}))), &x,
                  1, &g);
    dlt_output(b, "g", g);
}

static void pools_keep_nan_and_the_first_of_equals_wins(void **state)
{
    (void)state;
    double x[] = {NAN, 5, 2, 2, 1, NAN}, y[3], g[6];
    test_program *t = test_compile(build_max_pool, NULL, &(test_options){0});
    test_set_input(t, 0, x);
    test_run(t);
    test_get(t, "y", y);
    test_get(t, "g", g);
    assert_true(isnan(y[0]) && y[1] == 2 && isnan(y[2]));
    test_close("gradient", g, (double[]){1, 0, 2, 0, 0, 3}, 6, 0);
    test_release(t);
}

/* ---- norms ---- */

typedef struct norm_case {
    int axes; /* 0: batch norm */
    bool gamma, beta;
} norm_case;

static void build_norm(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out)
{
    const norm_case *n = c->attrs;
    dlt_value *gamma = n->gamma ? in[1] : NULL, *beta = n->beta ? in[n->gamma ? 2 : 1] : NULL;
    if (n->axes == 0) {
        out[0] = dlt_batch_norm(b, in[0], gamma, beta, 1e-3, &out[1], &out[2]);
    } else {
        out[0] = dlt_layer_norm(b, in[0], gamma, beta, n->axes, 1e-3);
    }
}

static void naive_norm(const op_case *c, double *const *in, double *const *out)
{
    const norm_case *n = c->attrs;
    const dlt_shape *s = &c->inputs[0].shape;
    int64_t width = 1;
    for (int i = s->rank - (n->axes > 0 ? n->axes : 1); i < s->rank; i++) {
        width *= s->dim[i];
    }
    const int64_t rows = count_of(s) / width, groups = n->axes > 0 ? rows : width, members = n->axes > 0 ? width : rows;
    for (int64_t g = 0; g < groups; g++) {
        double mean = 0, square = 0;
        for (int64_t i = 0; i < members; i++) {
            const double x = in[0][n->axes > 0 ? g * width + i : i * width + g];
            mean += x / (double)members;
            square += x * x / (double)members;
        }
        const double variance = square - mean * mean;
        for (int64_t i = 0; i < members; i++) {
            const int64_t at = n->axes > 0 ? g * width + i : i * width + g;
            const double gamma = n->gamma ? in[1][at % width] : 1, beta = n->beta ? in[n->gamma ? 2 : 1][at % width] : 0;
            out[0][at] = (in[0][at] - mean) / sqrt(variance + 1e-3) * gamma + beta;
        }
        if (n->axes == 0) {
            out[1][g] = mean;
            out[2][g] = variance;
        }
    }
}

static void norms(void **state)
{
    (void)state;
    static const dlt_shape shapes[] = {{2, {5, 3}}, {4, {2, 3, 4, 6}}, {3, {1, 7, 2}}, {2, {9, 1}}, {3, {4, 5, 65}}};
    for (size_t i = 0; i < DLT_COUNT(shapes); i++) {
        for (int how = 0; how < 12; how++) {
            const norm_case n = {how / 4, (how & 1) != 0, (how & 2) != 0};
            const int axes = n.axes > 0 ? n.axes : 1;
            dlt_shape weights = {.rank = axes};
            if (n.axes >= shapes[i].rank) {
                continue;
            }
            for (int k = 0; k < axes; k++) {
                weights.dim[k] = shapes[i].dim[shapes[i].rank - axes + k];
            }
            const int count = 1 + n.gamma + n.beta;
            char name[80];
            snprintf(name, sizeof name, "norm of shape %d, form %d", (int)i, how);
            op_check(&(op_case){.name = name,
                                .build = build_norm,
                                .naive = naive_norm,
                                .attrs = &n,
                                .input_count = count,
                                .output_count = n.axes == 0 ? 3 : 1,
                                .loose = {false, true, true},
                                .seed = i,
                                .tolerance = 1e-4,
                                .inputs = {{.shape = shapes[i]}, {.shape = weights, .low = 0.5, .high = 2}, {.shape = weights}}});
        }
    }
}

/* ---- softmax ---- */

enum { SOFTMAX, LOG_SOFTMAX, XENT, SPARSE_XENT };

static void build_softmax(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out)
{
    const int what = *(const int *)c->attrs;
    out[0] = what == SOFTMAX       ? dlt_softmax(b, in[0])
             : what == LOG_SOFTMAX ? dlt_log_softmax(b, in[0])
                                   : dlt_softmax_xent(b, in[0], in[1]);
}

static void naive_softmax(const op_case *c, double *const *in, double *const *out)
{
    const int what = *(const int *)c->attrs;
    const dlt_shape *s = &c->inputs[0].shape;
    const int64_t width = s->dim[s->rank - 1], rows = count_of(s) / width;
    for (int64_t row = 0; row < rows; row++) {
        double sum = 0, loss = 0;
        for (int64_t i = 0; i < width; i++) {
            sum += exp(in[0][row * width + i]);
        }
        for (int64_t i = 0; i < width; i++) {
            const double z = in[0][row * width + i];
            if (what <= LOG_SOFTMAX) {
                out[0][row * width + i] = what == SOFTMAX ? exp(z) / sum : z - log(sum);
            } else if (what == XENT) {
                loss -= in[1][row * width + i] * (z - log(sum));
            } else if (in[1][row] == (double)i) {
                loss -= z - log(sum);
            }
        }
        if (what > LOG_SOFTMAX) {
            out[0][row] = loss;
        }
    }
}

static void softmax_and_its_cross_entropy(void **state)
{
    (void)state;
    static const dlt_shape shapes[] = {{2, {4, 10}}, {3, {2, 3, 5}}, {1, {7}}, {2, {3, 1}}, {2, {2, 130}}};
    for (size_t i = 0; i < DLT_COUNT(shapes); i++) {
        for (int what = SOFTMAX; what <= SPARSE_XENT; what++) {
            op_case c = {.name = what == SOFTMAX ? "softmax" : what == LOG_SOFTMAX ? "log_softmax" : "softmax_xent",
                         .build = build_softmax,
                         .naive = naive_softmax,
                         .attrs = &what,
                         .input_count = what > LOG_SOFTMAX ? 2 : 1,
                         .output_count = 1,
                         .seed = i,
                         .tolerance = 1e-5,
                         .inputs = {{.shape = shapes[i], .low = -4, .high = 4}}};
            c.inputs[1] = (op_input){.shape = shapes[i], .high = 1, .fixed = true};
            if (what == SPARSE_XENT) { /* classes outside, too: they do not count */
                c.inputs[1] = (op_input){.shape = shapes[i],
                                         .low = -2,
                                         .high = (double)shapes[i].dim[shapes[i].rank - 1] + 1,
                                         .integer = true,
                                         .type = i % 2 == 0 ? DLT_I32 : DLT_I64};
                c.inputs[1].shape.rank--;
            }
            op_check(&c);
        }
    }
}

static void build_large_logits(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(2, 3)), *target = dlt_input(b, "t", DLT_U8, DLT_SHAPE(2)), *g;
    dlt_value *loss = dlt_softmax_xent(b, x, target);
    dlt_output(b, "softmax", dlt_softmax(b, x));
    dlt_output(b, "loss", loss);
    dlt_gradients(b, dlt_sum_all(b, loss), &x, 1, &g);
    dlt_output(b, "g", g);
}

static void large_logits_do_not_overflow(void **state)
{
    (void)state;
    double x[] = {1e30, 1e30, -1e30, 0, -200, 300}, p[6], loss[2], g[6];
    test_program *t = test_compile(build_large_logits, NULL, &(test_options){0});
    test_set_input(t, 0, x);
    test_set_input(t, 1, (double[]){1, 1});
    test_run(t);
    test_get(t, "softmax", p);
    test_get(t, "loss", loss);
    test_get(t, "g", g);
    test_close("softmax", p, (double[]){0.5, 0.5, 0, 0, 0, 1}, 6, 1e-6);
    test_close("loss", loss, (double[]){log(2), 500}, 2, 1e-6);
    test_close("gradient", g, (double[]){0.5, -0.5, 0, 0, -1, 1}, 6, 1e-6);
    test_release(t);
}

/* ---- attention ---- */

typedef struct attention_case {
    int64_t b, t, s, h, d, e;
    bool mask;
    dlt_attention_attrs attrs;
} attention_case;

static void build_attention(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out)
{
    const attention_case *a = c->attrs;
    dlt_scope_enter(b, "mha", NULL, (dlt_pos){0}, true);
    out[0] = dlt_attention(b, in[0], in[1], in[2], a->mask ? in[3] : NULL, &a->attrs);
    dlt_scope_leave(b);
}

static void naive_attention(const op_case *c, double *const *in, double *const *out)
{
    const attention_case *a = c->attrs;
    double *p = calloc((size_t)a->s, sizeof *p);
    assert_non_null(p);
    for (int64_t b = 0; b < a->b; b++) {
        for (int64_t h = 0; h < a->h; h++) {
            for (int64_t i = 0; i < a->t; i++) {
                double sum = 0;
                for (int64_t j = 0; j < a->s; j++) {
                    double score = 0;
                    for (int64_t d = 0; d < a->d; d++) {
                        score += in[0][((b * a->t + i) * a->h + h) * a->d + d] * in[1][((b * a->s + j) * a->h + h) * a->d + d];
                    }
                    const bool hidden = (a->attrs.causal && j > i) || (a->mask && in[3][b * a->s + j] == 0);
                    p[j] = hidden ? 0 : exp(score * a->attrs.scale);
                    sum += p[j];
                }
                for (int64_t j = 0; j < a->s; j++) {
                    p[j] = sum > 0 ? p[j] / sum : 1 / (double)a->s;
                    if (a->attrs.dropout > 0) {
                        const double u = (double)dlt_random_uniform(0, dlt_fnv1a("mha:dropout"), (uint64_t)b,
                                                                    (uint64_t)((h * a->t + i) * a->s + j));
                        p[j] = u < a->attrs.dropout ? 0 : p[j] / (1 - a->attrs.dropout);
                    }
                    for (int64_t e = 0; e < a->e; e++) {
                        out[0][((b * a->t + i) * a->h + h) * a->e + e] += p[j] * in[2][((b * a->s + j) * a->h + h) * a->e + e];
                    }
                }
            }
        }
    }
    free(p);
}

static void attention(void **state)
{
    (void)state;
    static const attention_case cases[] = {
        {2, 4, 4, 2, 3, 3, false, {.scale = 0.5}},
        {2, 4, 4, 2, 3, 3, false, {.scale = 0.5, .causal = true}},
        {3, 3, 5, 1, 2, 4, true, {.scale = 1}},
        {3, 5, 5, 2, 4, 2, true, {.scale = 0.7, .causal = true}},
        {2, 4, 6, 3, 2, 2, false, {.scale = 1, .dropout = 0.4}},
        {2, 3, 3, 2, 2, 3, true, {.scale = 1, .causal = true, .dropout = 0.25}},
        {1, 1, 1, 1, 1, 1, false, {.scale = 1}},
        {1, 37, 70, 2, 16, 8, true, {.scale = 0.25}},
        {1, 6, 2, 1, 2, 2, false, {.scale = 1, .causal = true}},
    };
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        const attention_case *a = &cases[i];
        char name[40];
        snprintf(name, sizeof name, "attention %d", (int)i);
        op_check(&(op_case){.name = name,
                            .build = build_attention,
                            .naive = naive_attention,
                            .attrs = a,
                            .input_count = a->mask ? 4 : 3,
                            .output_count = 1,
                            .seed = i,
                            .tolerance = 1e-5,
                            .inputs = {{.shape = DLT_SHAPE(a->b, a->t, a->h, a->d)},
                                       {.shape = DLT_SHAPE(a->b, a->s, a->h, a->d)},
                                       {.shape = DLT_SHAPE(a->b, a->s, a->h, a->e)},
                                       /* about half; sample 0 of case 2 sees none at all with this seed */
                                       {.shape = DLT_SHAPE(a->b, a->s), .integer = true, .type = DLT_U8, .high = 2}}});
    }
}

static void build_blind(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out)
{
    attention_case a = *(const attention_case *)c->attrs;
    const double mask[] = {0, 0, 0, 1, 0, 1};
    out[0] = dlt_attention(b, in[0], in[1], in[2], dlt_constant_array(b, DLT_U8, DLT_SHAPE(2, 3), mask), &a.attrs);
}

static void naive_blind(const op_case *c, double *const *in, double *const *out)
{
    const attention_case *a = c->attrs;
    const double mask[] = {0, 0, 0, 1, 0, 1};
    double *const all[] = {in[0], in[1], in[2], (double *)(uintptr_t)mask};
    (void)a;
    naive_attention(c, all, out);
}

static void a_query_that_sees_nothing_gets_the_mean(void **state)
{
    (void)state;
    const attention_case a = {2, 3, 3, 2, 2, 2, true, {.scale = 1}};
    op_check(&(op_case){.name = "blind attention",
                        .build = build_blind,
                        .naive = naive_blind,
                        .attrs = &a,
                        .input_count = 3,
                        .output_count = 1,
                        .inputs = {{.shape = DLT_SHAPE(2, 3, 2, 2)}, {.shape = DLT_SHAPE(2, 3, 2, 2)}, {.shape = DLT_SHAPE(2, 3, 2, 2)}}});
}

/* ---- recurrence ---- */

typedef struct rnn_case {
    int64_t b, t, c, u;
    bool kernel, bias, mask, initial, backwards, zero_masked;
    bool two_states; /* s1 = s1 + tanh(s0'), and s0' = tanh(x + s0 W) s1; else s0' = tanh(x + s0 W) */
} rnn_case;

enum { X = 0 };

static dlt_rnn_body rnn_body(dlt_builder *outer, const rnn_case *r)
{
    const dlt_builder_options options = {.name = "cell", .mode = DLT_MODE_TRAIN, .real = dlt_real(outer), .batch = r->b};
    dlt_arena *arena = dlt_builder_graph(outer)->arena;
    dlt_builder *b = dlt_builder_create(arena, dlt_variables_create(arena), &options, dlt_builder_diag(outer));
    const int states = r->two_states ? 2 : 1;
    dlt_value *x = dlt_input(b, "x", dlt_real(b), DLT_SHAPE(r->b, r->u)), *s[2];
    for (int i = 0; i < states; i++) {
        s[i] = dlt_input(b, "s", dlt_real(b), DLT_SHAPE(r->b, r->u));
    }
    dlt_value *w = dlt_input(b, "w", dlt_real(b), DLT_SHAPE(r->u, r->u));
    dlt_value *h = dlt_tanh(b, dlt_add(b, x, dlt_matmul(b, s[0], w, false, false)));
    dlt_rnn_body body = {.states = states, .params = 1};
    if (r->two_states) {
        dlt_output(b, "s0", dlt_mul(b, h, s[1]));
        dlt_output(b, "s1", dlt_add(b, s[1], dlt_sigmoid(b, h)));
    } else {
        dlt_output(b, "s0", h);
    }
    assert_int_equal(dlt_builder_finish(b, &body.graph), DLT_OK);
    return body;
}

/* Inputs: x, recurrent kernel, [kernel], [bias], [mask], [states...]. */
static void build_rnn(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out)
{
    const rnn_case *r = c->attrs;
    const dlt_rnn_attrs attrs = {.cell = DLT_RNN_OTHER,
                                 .units = r->u,
                                 .backwards = r->backwards,
                                 .zero_masked = r->zero_masked,
                                 .projected = !r->kernel,
                                 .body = rnn_body(b, r)};
    int at = 2;
    dlt_rnn_args args = {.x = in[0], .params = &in[1], .param_count = 1, .attrs = &attrs};
    args.kernel = r->kernel ? in[at++] : NULL;
    args.bias = r->bias ? in[at++] : NULL;
    args.mask = r->mask ? in[at++] : NULL;
    args.initial = r->initial ? &in[at] : NULL;
    out[0] = dlt_rnn(b, &args, &out[1]);
}

static void naive_rnn(const op_case *c, double *const *in, double *const *out)
{
    const rnn_case *r = c->attrs;
    int at = 2;
    const double *kernel = r->kernel ? in[at++] : NULL, *bias = r->bias ? in[at++] : NULL, *mask = r->mask ? in[at++] : NULL;
    double *s[2], *next = calloc((size_t)r->u, sizeof *next);
    assert_non_null(next);
    for (int64_t b = 0; b < r->b; b++) {
        for (int i = 0; i < 2; i++) {
            s[i] = calloc((size_t)r->u, sizeof *s[i]);
            assert_non_null(s[i]);
            for (int64_t u = 0; u < r->u && r->initial && (i == 0 || r->two_states); u++) {
                s[i][u] = in[at + i][b * r->u + u];
            }
        }
        for (int64_t t = 0; t < r->t; t++) {
            const int64_t time = r->backwards ? r->t - 1 - t : t;
            const bool masked = mask != NULL && mask[b * r->t + time] == 0;
            for (int64_t u = 0; u < r->u; u++) {
                double z = bias != NULL ? bias[u] : 0;
                for (int64_t k = 0; k < r->c; k++) {
                    const double x = in[0][(b * r->t + time) * r->c + k];
                    z += kernel != NULL ? x * kernel[k * r->u + u] : k == u ? x : 0;
                }
                for (int64_t k = 0; k < r->u; k++) {
                    z += s[0][k] * in[1][k * r->u + u];
                }
                next[u] = tanh(z);
            }
            for (int64_t u = 0; u < r->u; u++) {
                if (!masked) {
                    s[0][u] = r->two_states ? next[u] * s[1][u] : next[u];
                    s[1][u] += 1 / (1 + exp(-next[u]));
                }
                out[0][(b * r->t + t) * r->u + u] = masked && r->zero_masked ? 0 : s[0][u];
                out[1][b * r->u + u] = s[0][u];
            }
        }
        free(s[0]);
        free(s[1]);
    }
    free(next);
}

static void recurrence(void **state)
{
    (void)state;
    static const rnn_case cases[] = {
        {2, 4, 3, 2, .kernel = true, .bias = true},
        {3, 5, 2, 4, .kernel = true, .mask = true},
        {3, 5, 2, 3, .kernel = true, .bias = true, .mask = true, .backwards = true},
        {2, 6, 2, 3, .kernel = true, .mask = true, .zero_masked = true, .initial = true},
        {2, 3, 3, 3, .kernel = false},
        {2, 3, 3, 3, .kernel = false, .initial = true, .mask = true, .two_states = true},
        {1, 1, 1, 1, .kernel = true, .bias = true, .initial = true, .two_states = true},
        {4, 7, 9, 17, .kernel = true, .bias = true, .backwards = true, .two_states = true, .initial = true},
        {2, 4, 2, 2, .kernel = true, .mask = true, .backwards = true, .zero_masked = true, .two_states = true, .initial = true},
    };
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        const rnn_case *r = &cases[i];
        for (int outputs = 0; outputs < 3; outputs++) { /* gradients of both, of y alone, of the last alone */
            char name[40];
            snprintf(name, sizeof name, "rnn %d, %d", (int)i, outputs);
            op_case c = {.name = name,
                         .build = build_rnn,
                         .naive = naive_rnn,
                         .attrs = r,
                         .output_count = 2,
                         .loose = {outputs == 2, outputs == 1},
                         .seed = i,
                         .tolerance = 1e-5,
                         .inputs = {{.shape = DLT_SHAPE(r->b, r->t, r->c)}, {.shape = DLT_SHAPE(r->u, r->u)}}};
            int at = 2;
            if (r->kernel) {
                c.inputs[at++] = (op_input){.shape = DLT_SHAPE(r->c, r->u)};
            }
            if (r->bias) {
                c.inputs[at++] = (op_input){.shape = DLT_SHAPE(r->u)};
            }
            if (r->mask) {
                c.inputs[at++] = (op_input){.shape = DLT_SHAPE(r->b, r->t), .integer = true, .type = DLT_U8, .high = 2};
            }
            for (int k = 0; k < 1 + r->two_states && r->initial; k++) {
                c.inputs[at++] = (op_input){.shape = DLT_SHAPE(r->b, r->u)};
            }
            c.input_count = at;
            op_check(&c);
        }
    }
}

/* ---- results that nobody wants ---- */

static const rnn_case few = {2, 3, 2, 2, .kernel = true};

static void build_some(dlt_builder *b, const void *context)
{
    const bool all = *(const bool *)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(2, 3, 2)), *w = dlt_input(b, "w", DLT_F32, DLT_SHAPE(2, 2));
    dlt_value *mean, *variance, *at, *last;
    dlt_value *norm = dlt_batch_norm(b, x, NULL, NULL, 1e-3, &mean, &variance), *top = dlt_top_k(b, x, 2, &at);
    const dlt_rnn_attrs attrs = {.units = 2, .body = rnn_body(b, &few)};
    dlt_value *y = dlt_rnn(b, &(dlt_rnn_args){.x = x, .kernel = w, .params = &w, .param_count = 1, .attrs = &attrs}, &last);
    const dlt_window window = {.axes = 1, .size = {2}, .stride = {1}, .dilation = {1}};
    dlt_value *pool = dlt_max_pool(b, x, &window);
    dlt_output(b, "variance", variance);
    dlt_output(b, "at", at);
    dlt_output(b, "last", last);
    dlt_output(b, "pool", pool);
    dlt_output(b, "loss", dlt_softmax_xent(b, x, x));
    if (all) {
        dlt_output(b, "norm", norm);
        dlt_output(b, "mean", mean);
        dlt_output(b, "top", top);
        dlt_output(b, "y", y);
        dlt_output(b, "p", pool->node->outputs[1]);
    }
}

static void results_that_nobody_wants_are_left_out(void **state)
{
    (void)state;
    static const char *const names[] = {"variance", "at", "last", "pool", "loss"};
    double x[12], w[4], got[2][5][16] = {{{0}}};
    test_fill(x, 12, 1, -1, 1);
    test_fill(w, 4, 2, -1, 1);
    for (int k = 0; k < 2; k++) {
        const bool all = k == 1;
        test_program *t = test_compile(build_some, &all, &(test_options){.reference = true});
        test_set_input(t, 0, x);
        test_set_input(t, 1, w);
        test_run(t);
        for (size_t i = 0; i < DLT_COUNT(names); i++) {
            test_get(t, names[i], got[k][i]);
        }
        test_release(t);
    }
    assert_memory_equal(got[0], got[1], sizeof got[0]);
}

/* ---- layouts ---- */

static dlt_layout wished; /* of REORDER nodes, for the test's target */

static double wish(void *self, const dlt_node *node, dlt_layout *layouts)
{
    (void)self;
    if (node->op != DLT_OP_REORDER) {
        return 0;
    }
    layouts[0] = (dlt_layout){0};
    layouts[1] = wished;
    return 1;
}

static dlt_value *reordered(dlt_builder *b, dlt_value *x)
{
    return dlt_node_simple(b, DLT_OP_REORDER, &x, 1, NULL, 0, x->type, x->shape);
}

typedef struct layout_case {
    dlt_shape shape;
    bool blocked, channels;
} layout_case;

static void build_layout(dlt_builder *b, const void *context)
{
    const layout_case *c = context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, c->shape), *y = dlt_input(b, "y", DLT_F32, c->shape);
    if (c->blocked) {
        x = reordered(b, x);
    }
    dlt_value *z = dlt_mul(b, dlt_tanh(b, dlt_add(b, x, y)), dlt_constant(b, 0.3));
    if (c->channels) { /* a vector of channels, and the reduction that keeps them */
        dlt_value *v = dlt_input(b, "v", DLT_F32, DLT_SHAPE(c->shape.dim[c->shape.rank - 1]));
        z = dlt_add(b, dlt_mul(b, z, v), x);
        dlt_output(b, "sums", dlt_sum(b, z, dlt_axes_from(z, 0) >> 1, false));
        dlt_output(b, "largest", dlt_reduce(b, DLT_REDUCE_MAX, dlt_mul(b, z, v), dlt_axes_from(z, 0) >> 1, false));
    }
    dlt_output(b, "z", z);
    dlt_output(b, "all", dlt_sum_all(b, dlt_square(b, z)));
}

static void layouts_do_not_change_bits(void **state)
{
    (void)state;
    static const struct {
        dlt_shape shape;
        dlt_layout layout;
    } cases[] = {{{4, {2, 3, 5, 8}}, {DLT_LAYOUT_CHANNEL_BLOCKED, 8, 0}},
                 {{4, {3, 4, 3, 16}}, {DLT_LAYOUT_CHANNEL_BLOCKED, 4, 0}},
                 {{3, {2, 70, 32}}, {DLT_LAYOUT_CHANNEL_BLOCKED, 16, 0}},
                 {{2, {5, 12}}, {DLT_LAYOUT_CHANNEL_BLOCKED, 4, 0}},
                 {{4, {3, 3, 4, 8}}, {DLT_LAYOUT_KERNEL_BLOCKED, 8, 2}},
                 {{3, {5, 6, 32}}, {DLT_LAYOUT_KERNEL_BLOCKED, 16, 3}},
                 {{2, {8, 8}}, {DLT_LAYOUT_KERNEL_BLOCKED, 4, 4}}};
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        const int64_t count = dlt_shape_count(&cases[i].shape);
        double *x = calloc(3 * (size_t)count, sizeof *x);
        assert_non_null(x);
        test_fill(x, 3 * count, i, -2, 2);
        void *plain = NULL;
        size_t plain_bytes = 0;
        for (int how = 0; how < 3; how++) {
            const layout_case c = {cases[i].shape, how > 0, cases[i].layout.kind == DLT_LAYOUT_CHANNEL_BLOCKED};
            const dlt_target target = {.layout = wish, .max_inputs = 16, .max_instrs = 96, .max_outputs = 8, .reduces = NULL};
            wished = cases[i].layout;
            test_program *t = test_compile(build_layout, &c,
                                           &(test_options){.target = &target, .reference = true, .no_fuse = how == 2, .threads = how + 1});
            for (int k = 0; k < t->graph->input_count; k++) {
                test_set_input(t, k, x + k * count);
            }
            test_run(t);
            size_t bytes;
            void *got = test_bytes(t, &bytes);
            if (how == 0) {
                plain = got;
                plain_bytes = bytes;
            } else {
                assert_true(test_nodes(t, DLT_OP_REORDER) >= 2);
                assert_int_equal(bytes, plain_bytes);
                if (memcmp(got, plain, bytes) != 0) {
                    fail_msg("case %d: other bits in another layout", (int)i);
                }
                free(got);
            }
            for (int k = 0; k < t->graph->node_count; k++) {
                op_covered[t->graph->nodes[k]->op] = true;
            }
            test_release(t);
        }
        free(plain);
        free(x);
    }
}

/* ---- the end of a step ---- */

enum { A = 5, B = 70 };

static void build_step(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", dlt_real(b), DLT_SHAPE(A));
    dlt_value *v[2] = {dlt_weight(b, &(dlt_weight_params){.name = "a"}, DLT_SHAPE(A)),
                       dlt_weight(b, &(dlt_weight_params){.name = "b"}, DLT_SHAPE(B, 1))};
    dlt_value *g[2], *loss = dlt_add(b, dlt_sum_all(b, dlt_mul(b, x, v[0])), dlt_sum_all(b, dlt_square(b, v[1])));
    dlt_variable *slot;
    dlt_gradients(b, loss, v, 2, g);
    dlt_output(b, "loss", loss);
    dlt_guard(b, &loss, 1);
    dlt_builder_phase(b, DLT_PHASE_UPDATE);
    dlt_value *flat = dlt_flat_grads(b, g, 2), *m = dlt_flat_slot(b, "m", 0, &slot);
    /* positions in the flat vector: a REORDER from row-major brings them there */
    dlt_value *place = dlt_index(b, dlt_real(b), dlt_shape_of(flat), 0);
    m = dlt_add(b, dlt_mul_c(b, m, 0.5), dlt_add(b, flat, place));
    dlt_assign(b, slot, m);
    dlt_variable *second = dlt_variable_of(v[1]);
    dlt_assign_flat(b, dlt_sub(b, dlt_flat_params(b), m));
    dlt_assign(b, second, dlt_max_c(b, dlt_current(b, second), -20)); /* a constraint on one of them */
    dlt_output(b, "norm", dlt_sum_all(b, dlt_square(b, m)));
}

static void flat_vectors_hold_all_variables(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        test_program *t = test_compile(build_step, NULL, &(test_options){.no_fuse = how % 2 != 0, .real = how < 2 ? DLT_F32 : DLT_F64});
        double x[A], a[A], b[B], m[A + B] = {0}, got[B], norm;
        test_fill(x, A, 1, -1, 1);
        test_fill(a, A, 2, -1, 1);
        test_fill(b, B, 3, -1, 1);
        test_set_input(t, 0, x);
        test_set_variable(t, "a", a);
        test_set_variable(t, "b", b);
        for (int step = 0; step < 3; step++) {
            double squares = 0;
            for (int i = 0; i < A + B; i++) {
                double *p = i < A ? &a[i] : &b[i - A];
                m[i] = 0.5 * m[i] + (i < A ? x[i] : 2 * *p) + i;
                *p = i < A ? *p - m[i] : fmax(*p - m[i], -20);
                squares += m[i] * m[i];
            }
            assert_true(test_run(t));
            test_get(t, "norm", &norm);
            test_close("norm", &norm, &squares, 1, 1e-5);
            test_get_variable(t, "a", got);
            test_close("a", got, a, A, 1e-5);
            test_get_variable(t, "b", got);
            test_close("b", got, b, B, 1e-5);
        }
        for (int k = 0; k < t->graph->node_count; k++) {
            op_covered[t->graph->nodes[k]->op] = true;
        }
        test_release(t);
    }
}

/* Variables in blocked layouts: the flat vector holds each as it lies. */
enum { K = 3 * 3 * 4 * 8 };

static void build_blocked(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *a = dlt_weight(b, &(dlt_weight_params){.name = "a"}, DLT_SHAPE(3));
    dlt_value *k = dlt_weight(b, &(dlt_weight_params){.name = "k"}, DLT_SHAPE(3, 3, 4, 8));
    dlt_value *plain = dlt_input(b, "x", DLT_F32, DLT_SHAPE(3 + K));
    dlt_variable_of(k)->layout = k->layout = (dlt_layout){DLT_LAYOUT_KERNEL_BLOCKED, 4, 2};
    (void)a;
    dlt_value *flat = dlt_flat_params(b);
    dlt_output(b, "k", dlt_mul_c(b, k, 2));
    dlt_output(b, "flat", flat); /* in logical order */
    dlt_assign_flat(b, dlt_add(b, flat, plain));
    dlt_output(b, "new", dlt_current(b, dlt_variable_of(k)));
}

static void flat_vectors_follow_the_layouts_of_variables(void **state)
{
    (void)state;
    double x[3 + K], k[K], flat[3 + K], expected[3 + K], a[3];
    for (int off = 0; off < 2; off++) {
        test_program *t = test_compile(build_blocked, NULL, &(test_options){.reference = true, .no_fuse = off == 1});
        test_fill(x, 3 + K, 1, -1, 1);
        memset(expected, 0, sizeof expected);
        test_set_input(t, 0, x);
        for (int step = 0; step < 2; step++) {
            test_run(t);
            test_get(t, "flat", flat);
            test_close("flat", flat, expected, 3 + K, 1e-6);
            test_get(t, "k", k);
            for (int i = 0; i < K; i++) {
                assert_true(k[i] == 2 * flat[3 + i]);
            }
            for (int i = 0; i < 3 + K; i++) {
                expected[i] += x[i];
            }
            test_get(t, "new", k);
            test_close("new", k, expected + 3, K, 1e-6);
            test_get_variable(t, "a", a);
            test_close("a", a, expected, 3, 1e-6);
        }
        test_release(t);
    }
}

static void build_small_step(dlt_builder *b, const void *context)
{
    const bool scalar = *(const bool *)context; /* else no weight at all */
    dlt_value *x = dlt_input(b, "x", DLT_F32, dlt_scalar()), *g = NULL, *loss = dlt_square(b, x);
    dlt_value *w = scalar ? dlt_weight(b, &(dlt_weight_params){.name = "w"}, dlt_scalar()) : NULL;
    dlt_variable *slot;
    if (scalar) {
        loss = dlt_mul(b, w, x);
        dlt_gradients(b, loss, &w, 1, &g);
    }
    dlt_output(b, "loss", loss);
    dlt_guard(b, &loss, 1);
    dlt_value *flat = dlt_flat_grads(b, &g, scalar ? 1 : 0), *m = dlt_flat_slot(b, "m", 0, &slot);
    m = dlt_add(b, m, dlt_mul(b, flat, flat));
    dlt_assign(b, slot, m);
    dlt_assign_flat(b, dlt_sub(b, dlt_flat_params(b), m));
    dlt_output(b, "norm", dlt_sum_all(b, dlt_square(b, flat)));
}

static void one_scalar_weight_and_none_at_all(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        const bool scalar = how % 2 == 1;
        double w = 5, norm, x = 3;
        test_program *t = test_compile(build_small_step, &scalar, &(test_options){.no_fuse = how > 1});
        test_set_input(t, 0, &x);
        if (scalar) {
            test_set_variable(t, "w", &w);
        }
        assert_true(test_run(t));
        test_get(t, "norm", &norm);
        assert_true(norm == (scalar ? 9 : 0));
        if (scalar) {
            test_get_variable(t, "w", &w);
            assert_true(w == 5 - 9);
        }
        test_release(t);
    }
}

static void every_op_has_a_case(void **state)
{
    (void)state;
    for (int i = 0; i < DLT_OP_COUNT; i++) {
        if (!op_covered[i]) {
            fail_msg("op %s has no case", dlt_op_name((dlt_op)i));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moving_keeps_values),
        cmocka_unit_test(rows_are_gathered_and_scattered),
        cmocka_unit_test(rows_that_are_not_there_are_nan),
        cmocka_unit_test(images_are_sampled),
        cmocka_unit_test(far_places_and_weights_of_0_are_safe),
        cmocka_unit_test(the_largest_come_first),
        cmocka_unit_test(nan_is_the_largest),
        cmocka_unit_test(counting_and_running_sums),
        cmocka_unit_test(products_of_matrices),
        cmocka_unit_test(convolutions),
        cmocka_unit_test(pools),
        cmocka_unit_test(pools_keep_nan_and_the_first_of_equals_wins),
        cmocka_unit_test(norms),
        cmocka_unit_test(softmax_and_its_cross_entropy),
        cmocka_unit_test(large_logits_do_not_overflow),
        cmocka_unit_test(attention),
        cmocka_unit_test(a_query_that_sees_nothing_gets_the_mean),
        cmocka_unit_test(recurrence),
        cmocka_unit_test(results_that_nobody_wants_are_left_out),
        cmocka_unit_test(layouts_do_not_change_bits),
        cmocka_unit_test(flat_vectors_hold_all_variables),
        cmocka_unit_test(flat_vectors_follow_the_layouts_of_variables),
        cmocka_unit_test(one_scalar_weight_and_none_at_all),
        cmocka_unit_test(every_op_has_a_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
