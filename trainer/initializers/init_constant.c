/* trainer/initializers/init_constant.c: every element the same: 0, 1 or a number. */
#include "trainer/kinds.h"

typedef struct constant_params {
    double value;
} constant_params;

static const dlt_field fields[] = {
    DLT_FLOAT(constant_params, value, -HUGE_VAL, HUGE_VAL, 0.0, "the number"),
    {0},
};

static bool fill_with(const dlt_initializer_io *io, double value)
{
    const int64_t count = dlt_shape_count(&io->shape);
    for (int64_t i = 0; i < count; i++) {
        io->out[i] = value;
    }
    return true;
}

static bool zeros(const void *params, const dlt_initializer_io *io)
{
    (void)params;
    return fill_with(io, 0);
}

static bool ones(const void *params, const dlt_initializer_io *io)
{
    (void)params;
    return fill_with(io, 1);
}

static bool constant(const void *params, const dlt_initializer_io *io)
{
    return fill_with(io, ((const constant_params *)params)->value);
}

const dlt_initializer_desc dlt_initializer_zeros = {
    .kind = {.name = "Zeros", .doc = "zeros", .aliases = "zero"}, .fill = zeros};
const dlt_initializer_desc dlt_initializer_ones = {.kind = {.name = "Ones", .doc = "ones", .aliases = "one"},
                                                   .fill = ones};
const dlt_initializer_desc dlt_initializer_constant = {
    .kind = {.name = "Constant",
             .doc = "one number everywhere",
             .size = sizeof(constant_params),
             .fields = fields,
             .scalar_field = "value"},
    .fill = constant,
};
