/* trainer/initializers/init_identity.c: gain on the diagonal of a matrix, 0 elsewhere; the matrix need not be
 * square. */
#include "trainer/kinds.h"

typedef struct identity_params {
    double gain;
} identity_params;

static const dlt_field fields[] = {
    DLT_FLOAT(identity_params, gain, -HUGE_VAL, HUGE_VAL, 1.0, "the number on the diagonal"),
    {0},
};

static bool fill(const void *params, const dlt_initializer_io *io)
{
    const double gain = ((const identity_params *)params)->gain;
    const int64_t rows = io->shape.dim[0], columns = io->shape.dim[1];
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            io->out[r * columns + c] = r == c ? gain : 0;
        }
    }
    return true;
}

const dlt_initializer_desc dlt_initializer_identity = {
    .kind = {.name = "Identity",
             .doc = "ones on the diagonal of a matrix",
             .size = sizeof(identity_params),
             .fields = fields,
             .aliases = "IdentityInitializer"},
    .fill = fill,
    .min_rank = 2,
    .max_rank = 2,
};
