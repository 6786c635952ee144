/* trainer/regularizers/regularizer_orthogonal.c: keeps the rows (or columns) of a matrix at right angles:
 * with X the rows divided by their norms, factor / 2 sum |off-diagonal of X X^T| / (n (n - 1) / 2). */
#include "trainer/kinds.h"

typedef struct orthogonal_params {
    double factor;
    int mode;
} orthogonal_params;

static const char *const modes[] = {"rows", "columns", NULL};
static const dlt_field fields[] = {
    DLT_FLOAT_OPEN(orthogonal_params, factor, 0, HUGE_VAL, DLT_FIELD_OPEN_MAX, 0.01, "factor of the penalty"),
    DLT_ENUM(orthogonal_params, mode, modes, rows, "which vectors are kept at right angles"),
    {0},
};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *w)
{
    const orthogonal_params *p = params;
    const bool rows = p->mode == 0;
    const dlt_shape shape = dlt_shape_of(w);
    if (dlt_builder_failed(b)) {
        return NULL;
    }
    if (shape.rank != 2) {
        char text[160];
        return dlt_reject(b, "OrthogonalRegularizer needs a matrix, got shape %s",
                          dlt_shape_text(&shape, text, sizeof text));
    }
    const int64_t n = shape.dim[rows ? 0 : 1];
    if (n < 2) { /* one vector is at right angles to nothing */
        return dlt_constant(b, 0);
    }
    dlt_value *x = dlt_normalize(b, w, rows ? 1 : 0);
    dlt_value *product = dlt_matmul(b, x, x, !rows, rows);
    dlt_value *row = dlt_index(b, DLT_I32, DLT_SHAPE(n, n), 0),
              *column = dlt_index(b, DLT_I32, DLT_SHAPE(n, n), 1);
    dlt_value *off = dlt_cast(b, dlt_not(b, dlt_equal(b, row, column)), dlt_real(b));
    const double pairs = (double)n * ((double)n - 1) / 2;
    return dlt_mul_c(b, dlt_sum_all(b, dlt_abs(b, dlt_mul(b, product, off))), p->factor * 0.5 / pairs);
}

const dlt_regularizer_desc dlt_regularizer_orthogonal = {
    .kind = {.name = "OrthogonalRegularizer",
             .doc = "keeps the rows or columns of a matrix at right angles",
             .size = sizeof(orthogonal_params),
             .fields = fields},
    .build = build,
};
