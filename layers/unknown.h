/* layers/unknown.h: looking on behind a mistake, so that one run tells all of them. */
#ifndef DLT_LAYERS_UNKNOWN_H
#define DLT_LAYERS_UNKNOWN_H

#include "layers/layer.h"

/** Stands for a layer that is wrong (dlt_load_options.stand_in): is refused in silence, for its mistake was told. Not in dlt_layers. */
extern const dlt_layer_desc dlt_layer_unknown;

/**
 * Number of the first layer, from `from` on, that makes the same of whatever it can take, as Dense behind Flatten does; *in is
 * something that it takes, an INPUT, or NULL for Input itself. items->count if there is none. For a builder that looks on (dlt_builder_look_on).
 */
size_t dlt_layers_known_again(dlt_builder *b, const dlt_items *items, size_t from, dlt_value **in);

#endif
