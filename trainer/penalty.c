/* trainer/penalty.c: regularizers and constraints of items. */
#include "trainer/kinds.h"

dlt_value *dlt_regularize(dlt_builder *b, const dlt_item *item, dlt_value *w)
{
    if (item == NULL || w == NULL) {
        return NULL;
    }
    return ((const dlt_regularizer_desc *)(const void *)item->kind)->build(b, item->params, w);
}

dlt_value *dlt_constrain(dlt_builder *b, const dlt_item *item, dlt_value *w)
{
    if (item == NULL || w == NULL) {
        return w;
    }
    return ((const dlt_constraint_desc *)(const void *)item->kind)->build(b, item->params, w);
}
