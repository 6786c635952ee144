/* tests/unit/test_golden_warps.c: affine sampling of images and its gradient against keras.ops.image.affine_transform: every fill mode and
 * interpolation, with the reference kernels and with those that are chosen. */
#include "support/golden.h"
#include "support/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct subject {
    const dlt_golden_array *x, *transform, *dy;
    dlt_warp_attrs attrs;
} subject;

static void build(dlt_builder *b, const void *context)
{
    const subject *s = context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, s->x->shape), *dx;
    dlt_value *y = dlt_warp(b, x, dlt_input(b, "transform", DLT_F32, s->transform->shape), &s->attrs);
    dlt_value *dy = dlt_input(b, "dy", DLT_F32, s->dy->shape);
    dlt_gradients_from(b, &y, &dy, 1, &x, 1, &dx);
    dlt_output(b, "y", y);
    dlt_output(b, "dx", dx);
}

static dlt_fill_mode fill_mode_of(const char *name)
{
    static const char *const names[] = {"constant", "nearest", "reflect", "wrap"};
    int mode = 0;
    while (strcmp(names[mode], name) != 0) {
        mode++;
        assert_true(mode < 4);
    }
    return (dlt_fill_mode)mode;
}

static void compare(const dlt_golden *g, const dlt_yaml *c, bool reference)
{
    static const char *const outputs[] = {"y", "dx"};
    const char *name = dlt_golden_text(c, "name");
    subject s = {.x = dlt_golden_find(g, name, "x"), .transform = dlt_golden_find(g, name, "transform"), .dy = dlt_golden_find(g, name, "dy")};
    assert_true(s.x != NULL && s.transform != NULL && s.dy != NULL);
    s.attrs = (dlt_warp_attrs){.height = s.dy->shape.dim[1],
                               .width = s.dy->shape.dim[2],
                               .nearest = strcmp(dlt_golden_text(c, "interpolation"), "nearest") == 0,
                               .fill_mode = fill_mode_of(dlt_golden_text(c, "fill_mode")),
                               .fill_value = strtod(dlt_golden_text(c, "fill_value"), NULL)};
    test_program *t = test_compile(build, &s, &(test_options){.reference = reference, .label = name});
    test_set_input(t, 0, s.x->values);
    test_set_input(t, 1, s.transform->values);
    test_set_input(t, 2, s.dy->values);
    assert_true(test_run(t));
    for (int i = 0; i < 2; i++) {
        const dlt_golden_array *expected = dlt_golden_find(g, name, outputs[i]);
        char what[160];
        assert_non_null(expected);
        double *got = calloc((size_t)dlt_shape_count(&expected->shape), sizeof *got);
        assert_non_null(got);
        assert_int_equal(test_count(t, outputs[i]), dlt_shape_count(&expected->shape));
        test_get(t, outputs[i], got);
        snprintf(what, sizeof what, "%s: %s%s", name, outputs[i], reference ? ", reference" : "");
        dlt_assert_close(what, got, expected->values, dlt_shape_count(&expected->shape), 1e-6);
        free(got);
    }
    test_release(t);
}

static void images_are_sampled_as_keras_samples_them(void **state)
{
    dlt_golden *g = dlt_golden_open("warps");
    (void)state;
    assert_non_null(g);
    assert_int_equal(g->cases->count, 4 * 4 * 2);
    for (size_t i = 0; i < g->cases->count; i++) {
        compare(g, g->cases->values[i], true);
        compare(g, g->cases->values[i], false);
    }
    dlt_golden_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(images_are_sampled_as_keras_samples_them)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
