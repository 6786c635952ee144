/* trainer/culprit.c: which record of the data holds a number that is not finite, or the largest. */
#include "trainer/culprit.h"

#include "base/text.h"
#include "io/data/convert.h"

#include <float.h>
#include <math.h>
#include <string.h>

static dlt_status see_rows(void *context, const dlt_table *rows, dlt_diag *diag)
{
    dlt_culprit *c = context;
    (void)diag;
    for (size_t p = 0; p < rows->layout->count; p++) {
        const dlt_part *part = &rows->layout->parts[p];
        if (!c->parts[p]) {
            continue;
        }
        const int64_t width = dlt_shape_count(&part->shape), count = rows->rows * width;
        const bool table = part->type != DLT_COLUMN_TENSOR;
        for (int64_t i = 0; i < count; i++) {
            const double x = dlt_element_value(part->dtype, rows->columns[p], (size_t)i);
            if (table && isnan(x)) {
                continue; /* missing: FeatureSpace fills it in, anything else has refused it */
            }
            if (!c->found || (c->finite && (!isfinite(x) || fabs(x) > fabs(c->value)))) {
                *c = (dlt_culprit){.view = c->view,
                                   .parts = c->parts,
                                   .found = true,
                                   .finite = isfinite(x),
                                   .part = p,
                                   .record = rows->row_numbers[i / width],
                                   .element = i % width,
                                   .value = x};
            }
        }
    }
    return DLT_OK;
}

dlt_status dlt_culprit_find(dlt_arena *arena, const dlt_view *view, dlt_role role, const char *name,
                            dlt_culprit *c, dlt_diag *diag)
{
    const dlt_record_layout *layout = &dlt_dataset_frame(view->dataset)->layout;
    bool *parts = dlt_arena_alloc(arena, layout->count, sizeof *parts), named = false;
    if (parts == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t p = 0; p < layout->count; p++) {
        const dlt_part *part = &layout->parts[p];
        parts[p] = part->role == role && part->type != DLT_COLUMN_TEXT;
        named = named || (parts[p] && name != NULL && strcmp(part->name, name) == 0);
    }
    for (size_t p = 0; p < layout->count && named; p++) {
        parts[p] = parts[p] && strcmp(layout->parts[p].name, name) == 0;
    }
    *c = (dlt_culprit){.view = view, .parts = parts};
    return dlt_view_walk(view, parts, NULL, see_rows, c, diag);
}

void dlt_culprit_describe(const dlt_culprit *c, dlt_buf *out)
{
    const dlt_part *part = &dlt_dataset_frame(c->view->dataset)->layout.parts[c->part];
    const char *path = dlt_dataset_part_path(c->view->dataset, c->part);
    char number[40];
    dlt_buf_printf(out, "record %lld", (long long)c->record + 1);
    if (path != NULL) {
        const char *slash = strrchr(path, '/');
        dlt_buf_printf(out, " of %s", slash != NULL ? slash + 1 : path);
    }
    if (part->type != DLT_COLUMN_TENSOR) {
        dlt_buf_printf(out, ", column %s", part->name);
    } else if (part->shape.rank == 1) {
        dlt_buf_printf(out, ", column %lld%s%s", (long long)c->element,
                       part->role != DLT_ROLE_FEATURE ? " of " : "",
                       part->role != DLT_ROLE_FEATURE ? part->name : "");
    } else {
        dlt_buf_printf(out, ", %s", part->name);
        int64_t below = dlt_shape_count(&part->shape), rest = c->element;
        for (int i = 0; i < part->shape.rank; i++) {
            below /= part->shape.dim[i];
            dlt_buf_printf(out, "%s%lld%s", i == 0 ? " [" : ", ", (long long)(rest / below),
                           i + 1 == part->shape.rank ? "]" : "");
            rest %= below;
        }
    }
    if (part->dtype == DLT_F32) {
        dlt_format_float((float)c->value, number, sizeof number);
    } else {
        dlt_format_double(c->value, number, sizeof number);
    }
    dlt_buf_printf(out, " is %s%s", number,
                   fabs(c->value) > (double)FLT_MAX && c->finite ? ", beyond float32" : "");
}

void dlt_culprit_say(const char *before, const dlt_culprit *c, dlt_diag *diag)
{
    dlt_buf text = {0};
    dlt_culprit_describe(c, &text);
    dlt_note(diag, (dlt_pos){0}, "  %s: %s", before, dlt_buf_text(&text));
    dlt_buf_release(&text);
}
