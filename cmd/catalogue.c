/* cmd/catalogue.c: collects what the folders of the program can do, for schema/ (decisions 17). */
#include "cmd/catalogue.h"

#include "io/data/source.h"
#include "layers/layer.h"
#include "schema/spec.h"
#include "trainer/kinds.h"

static const struct {
    dlt_category category;
    const size_t *count;
} of_layers[] = {
    {{.name = "layer",
      .doc = "a step of the network",
      .kinds = dlt_layer_kinds,
      .named = true,
      .trainable = true},
     &dlt_layer_kind_count},
    {{.name = "activation", .doc = "a function of each value", .kinds = dlt_activation_kinds},
     &dlt_activation_kind_count},
    {{.name = "feature", .doc = "what becomes of a column of a table", .kinds = dlt_feature_kinds},
     &dlt_feature_kind_count},
    {{.name = "cross",
      .doc = "features that are looked at together",
      .kinds = dlt_cross_kinds,
      .implied = "cross"},
     &dlt_cross_kind_count},
};

const dlt_catalogue *dlt_catalogue_all(void)
{
    static dlt_category categories[DLT_COUNT(of_layers) + DLT_TRAINER_CATEGORIES + 2];
    static dlt_catalogue catalogue;
    if (catalogue.count > 0) {
        return &catalogue;
    }
    size_t count = 0;
    for (size_t i = 0; i < DLT_COUNT(of_layers); i++) {
        categories[count] = of_layers[i].category;
        categories[count++].count = *of_layers[i].count;
    }
    for (size_t i = 0; i < DLT_TRAINER_CATEGORIES; i++) {
        categories[count++] = dlt_trainer_categories[i];
    }
    categories[count++] = dlt_source_category;
    categories[count++] = dlt_validation_category;
    catalogue = (dlt_catalogue){categories, count};
    return &catalogue;
}
