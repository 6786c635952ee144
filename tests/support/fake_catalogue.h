/* tests/support/fake_catalogue.h: a small catalogue of kinds shaped like Keras' ones, with every type of field, so that the
 * schema and the command line are tested without the layers, optimizers and sources themselves. */
#ifndef DLT_TESTS_FAKE_CATALOGUE_H
#define DLT_TESTS_FAKE_CATALOGUE_H

#include "base/kind.h"

#include <stdbool.h>

/** The params of kind "Everything": one of each field type. */
typedef struct fake_inner {
    int64_t depth;
    bool flag;
} fake_inner;

typedef struct fake_everything {
    int64_t count;
    dlt_opt_int maybe_count;
    double ratio;
    dlt_opt_float maybe_ratio;
    bool flag;
    const char *text, *path;
    dlt_strings paths;
    int mode;
    int64_t axes[2];
    dlt_ints ints, shape;
    dlt_floats floats;
    dlt_strings strings;
    dlt_columns columns;
    dlt_float_map float_map;
    dlt_string_map string_map;
    const dlt_item *item;
    dlt_items items;
    dlt_item_lists item_lists;
    dlt_item_map item_map;
    fake_inner inner;
    dlt_weight_params kernel;
    const dlt_item *rate;
    double any;
    dlt_opt_int auto_count;
} fake_everything;

/** Stands where cmd/catalogue.c stands in the program. */
const dlt_catalogue *dlt_catalogue_all(void);

#endif
