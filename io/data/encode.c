/* io/data/encode.c: the plain encoder. */
#include "io/data/encode.h"

#include "base/text.h"
#include "io/data/convert.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

int64_t dlt_plain_output_elements(const dlt_plain_output *output, const dlt_record_layout *layout)
{
    int64_t elements = 0;
    for (size_t i = 0; i < output->count; i++) {
        elements += dlt_shape_count(&layout->parts[output->parts[i]].shape);
    }
    return elements;
}

dlt_status dlt_encode_plain_check(const dlt_plain_encoder *encoder, const dlt_record_layout *layout,
                                  dlt_pos at, dlt_diag *diag)
{
    dlt_status status = DLT_OK;
    for (size_t o = 0; o < encoder->count; o++) {
        for (size_t i = 0; i < encoder->outputs[o].count; i++) {
            const dlt_part *part = &layout->parts[encoder->outputs[o].parts[i]];
            if (part->type == DLT_COLUMN_TEXT && part->role != DLT_ROLE_TARGET) {
                status = dlt_fail(diag, DLT_E_DATA, at,
                                  "column '%s' is text; put FeatureSpace first, or leave it out with columns",
                                  part->name);
            } else if (part->may_be_missing && part->role != DLT_ROLE_TARGET) {
                status = dlt_fail(
                    diag, DLT_E_DATA, at,
                    "column '%s' has missing values; put FeatureSpace first, or leave it out with columns",
                    part->name);
            }
        }
    }
    return status;
}

/* Whether a part is the whole of an output, bytes as they are. */
static bool is_direct(const dlt_plain_output *output, const dlt_part *part)
{
    return output->count == 1 && part->dtype == output->dtype && part->type == DLT_COLUMN_TENSOR;
}

void dlt_encode_plain_direct(const dlt_plain_encoder *encoder, const dlt_record_layout *layout, int *direct)
{
    for (size_t i = 0; i < layout->count; i++) {
        direct[i] = -1;
    }
    for (size_t o = 0; o < encoder->count; o++) {
        const size_t part = encoder->outputs[o].parts[0];
        if (is_direct(&encoder->outputs[o], &layout->parts[part]) && direct[part] < 0) {
            direct[part] = (int)o; /* another output of the same part is copied from this one */
        }
    }
}

static dlt_status refuse(const dlt_table *rows, dlt_pos at, int64_t row, const dlt_part *part,
                         const char *why, dlt_diag *diag)
{
    return dlt_fail(diag, DLT_E_DATA, at, "record %lld: %s of '%s'", (long long)rows->row_numbers[row] + 1,
                    why, part->name);
}

/* Element `bad` of a row is not one of the type that is wanted. */
static dlt_status refuse_value(const dlt_table *rows, dlt_pos at, int64_t row, const dlt_part *part, size_t bad,
                               dlt_dtype wanted, dlt_diag *diag)
{
    const size_t width = (size_t)dlt_shape_count(&part->shape);
    const char *values = rows->columns[part - rows->layout->parts];
    char number[40], place[32] = "";
    dlt_format_double(dlt_element_value(part->dtype, values, (size_t)row * width + bad), number, sizeof number);
    if (width > 1) {
        (void)snprintf(place, sizeof place, "[%zu]", bad);
    }
    return dlt_fail(diag, DLT_E_DATA, at, "record %lld: %s%s is %s, which is %s %s",
                    (long long)rows->row_numbers[row] + 1, part->name, place, number,
                    dlt_dtype_is_real(wanted) ? "beyond" : "no", dlt_dtype_name(wanted));
}

/* One part of all rows into its place of an output whose rows are `stride` bytes apart. */
static dlt_status put_part(const dlt_table *rows, dlt_pos at, size_t index, dlt_dtype dtype, char *to,
                           size_t stride, dlt_diag *diag)
{
    const dlt_part *part = &rows->layout->parts[index];
    const size_t elements = (size_t)dlt_shape_count(&part->shape),
                 bytes = elements * dlt_dtype_size(part->dtype);
    const char *from = rows->columns[index];
    const bool table = part->type != DLT_COLUMN_TENSOR;
    if (part->dtype == dtype && stride == bytes && !table) { /* one piece */
        if (to != from) {
            memcpy(to, from, (size_t)rows->rows * bytes);
        }
        return DLT_OK;
    }
    for (int64_t r = 0; r < rows->rows; r++, from += bytes, to += stride) {
        if (table && part->type == DLT_COLUMN_TEXT) {
            int32_t code;
            memcpy(&code, from, sizeof code);
            if (code < 0) {
                return refuse(rows, at, r, part,
                              code == DLT_CODE_MISSING ? "no value" : "a value that train does not have",
                              diag);
            }
        } else if (table) {
            double value;
            memcpy(&value, from, sizeof value);
            if (isnan(value)) {
                return refuse(rows, at, r, part, "no value", diag);
            }
            if (dtype == DLT_F32) { /* what nearly all tables come to */
                const float single = (float)value;
                if (isinf(single)) {
                    return refuse(rows, at, r, part, "a value beyond float32", diag);
                }
                memcpy(to, &single, sizeof single);
                continue;
            }
        }
        const size_t good = dlt_convert(part->dtype, from, dtype, to, elements);
        if (good < elements) {
            return refuse_value(rows, at, r, part, good, dtype, diag);
        }
    }
    return DLT_OK;
}

dlt_status dlt_encode_plain(const void *context, const dlt_table *rows, void *const *outputs, dlt_diag *diag)
{
    const dlt_plain_encoder *encoder = context;
    for (size_t o = 0; o < encoder->count; o++) {
        const dlt_plain_output *output = &encoder->outputs[o];
        const size_t size = dlt_dtype_size(output->dtype);
        const size_t stride = (size_t)dlt_plain_output_elements(output, rows->layout) * size;
        size_t offset = 0;
        for (size_t i = 0; i < output->count; i++) {
            DLT_TRY(put_part(rows, encoder->at, output->parts[i], output->dtype, (char *)outputs[o] + offset,
                             stride, diag));
            offset += (size_t)dlt_shape_count(&rows->layout->parts[output->parts[i]].shape) * size;
        }
    }
    return DLT_OK;
}
