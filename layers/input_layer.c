/* layers/input_layer.c: what the model expects of its data. Stands first; needed only where the data do not tell it.
 * Output (N, shape...). Data that differ from `shape` by axes of size 1 alone are reshaped: images (N, 28, 28) serve a
 * model of (28, 28, 1). Without data (`check --no-data`) it makes the input itself. */
#include "layers/layer.h"

#include <string.h>

typedef struct input_params {
    dlt_ints shape;
    int dtype;
} input_params;

static const char *const dtype_names[] = {"auto", "float32", "float64", "float16", "bfloat16", "uint8",
                                          "int8", "int16",   "int32",   "int64",   NULL};

static const dlt_field input_fields[] = {
    DLT_SHAPE_FIELD(input_params, shape, -1, INT32_MAX, DLT_MAX_RANK - 1, NULL,
                    "sizes of one sample, without the batch; null: whatever the data have"),
    DLT_ENUM(input_params, dtype, dtype_names, auto, "type that the data are turned into; auto: as they are"),
    {0},
};

static void input_check(const dlt_item *item, dlt_diag *diag)
{
    const input_params *p = item->params;
    for (size_t i = 0; i < p->shape.count; i++) {
        if (p->shape.at[i] == 0) {
            dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "shape"),
                     "Input: a size of 0 leaves nothing; sizes are at least 1, or null");
            return;
        }
    }
}

/* The type that the data are turned into; false: none. */
static bool input_type(dlt_builder *b, int dtype, dlt_dtype *type)
{
    if (dtype == 0) {
        return false;
    }
    for (int i = 0; i < DLT_DTYPE_COUNT; i++) {
        if (strcmp(dlt_dtype_name((dlt_dtype)i), dtype_names[dtype]) == 0) {
            *type = dlt_dtype_is_real((dlt_dtype)i) ? dlt_real(b) : (dlt_dtype)i;
        }
    }
    return true;
}

/* The wanted shape of a batch of x, with what is left open taken from x; false if x has not these sizes. */
static bool fit(const input_params *p, const dlt_shape *x, dlt_shape *wanted)
{
    *wanted = (dlt_shape){.rank = (int)p->shape.count + 1, .dim = {x->dim[0]}};
    if (wanted->rank == x->rank) {
        bool fits = true;
        for (int i = 1; i < x->rank; i++) {
            const int64_t size = p->shape.at[i - 1];
            wanted->dim[i] = size < 0 ? x->dim[i] : size;
            fits = fits && wanted->dim[i] == x->dim[i];
        }
        if (fits) {
            return true;
        }
    }
    int at = 1; /* walk both, passing over axes of size 1 */
    for (int i = 1; i < wanted->rank; i++) {
        const int64_t size = p->shape.at[i - 1];
        wanted->dim[i] = 1;
        if (size == 1) {
            continue;
        }
        while (at < x->rank && x->dim[at] == 1) {
            at++;
        }
        if (at == x->rank || (size >= 0 && size != x->dim[at])) {
            return false;
        }
        wanted->dim[i] = x->dim[at++];
    }
    while (at < x->rank && x->dim[at] == 1) {
        at++;
    }
    return at == x->rank;
}

static dlt_value *input_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const input_params *p = params;
    dlt_shape shape = {.rank = (int)p->shape.count + 1, .dim = {dlt_batch_size(b)}};
    dlt_dtype type = dlt_real(b);
    if (!dlt_layer_first(b)) {
        return dlt_reject(
            b, "Input must be the first layer; remove it here, the layer before it gives the shape");
    }
    const bool typed = input_type(b, p->dtype, &type);
    if (in == NULL) {
        for (int i = 1; i < shape.rank; i++) {
            shape.dim[i] = p->shape.at[i - 1];
            if (shape.dim[i] < 0) {
                return dlt_layer_reject(
                    b, "shape", "size %d of the shape is left open, and there are no data to tell it", i);
            }
        }
        return dlt_input(b, "features", type, shape);
    }
    const dlt_shape x = dlt_shape_of(in);
    if (!fit(p, &x, &shape)) {
        char is[160], wanted[160];
        dlt_shape one = x, said = {.rank = (int)p->shape.count};
        one.rank--;
        memmove(one.dim, x.dim + 1, (size_t)one.rank * sizeof *one.dim);
        for (int i = 0; i < said.rank; i++) {
            said.dim[i] = p->shape.at[i];
        }
        return dlt_layer_reject(
            b, "shape", "Input says %s, but one sample of the data has shape %s; correct the shape, or %s",
            dlt_shape_text(&said, wanted, sizeof wanted), dlt_shape_text(&one, is, sizeof is),
            "leave Input out");
    }
    in = dlt_reshape(b, in, shape);
    return typed ? dlt_cast(b, in, type) : in;
}

static const char *const input_examples[] = {
    "{input: [2, 3], layer: {Input: {shape: [3]}}}",
    "{input: [2, 3, 4], layer: {Input: {shape: [3, 4, 1]}}}",
    "{input: [2, 3], dtype: uint8, high: 9, layer: {Input: {shape: [null], dtype: float32}}, no_gradient: true}",
    NULL,
};

const dlt_layer_desc dlt_layer_input_layer = {
    .kind = {.name = "Input",
             .doc = "shape and type of the data; stands first",
             .size = sizeof(input_params),
             .fields = input_fields,
             .check = input_check},
    .build = input_build,
    .mask = DLT_MASK_PASS,
    .no_key = true,
    .starts = true,
    .examples = input_examples,
};
