/* layers/images.h: what the layers for images share: images and their sizes, ranges of random factors, affine transforms. */
#ifndef DLT_LAYERS_IMAGES_H
#define DLT_LAYERS_IMAGES_H

#include "layers/layer.h"

#include <math.h>

enum { DLT_MAX_IMAGE = 1 << 16 }; /* pixels of a result along an axis */

/** Names for DLT_ENUM: those of dlt_fill_mode in its order, and {bilinear, nearest}. */
extern const char *const dlt_fill_mode_names[];
extern const char *const dlt_interpolation_names[];
enum { DLT_BILINEAR, DLT_NEAREST };

/** Images as (N, H, W, C) in the real type; NULL after a message if x is not of that kind. dlt_channels_first goes back. */
dlt_value *dlt_images(dlt_builder *b, dlt_value *x, int format);
/** Rows top..top+height-1 and columns left..left+width-1 of images. */
dlt_value *dlt_image_window(dlt_builder *b, dlt_value *x, int64_t top, int64_t left, int64_t height, int64_t width);
/** Where the largest window of the aspect ratio of width : height lies in the middle of an image. */
typedef struct dlt_image_place {
    int64_t top, left, height, width;
} dlt_image_place;
dlt_image_place dlt_image_aspect(const dlt_shape *x, int64_t height, int64_t width);
/**
 * Images of another size: bilinear with half-pixel centres and without antialiasing, or the pixel floor((i + 0.5) in / out). Both are
 * keras.ops.image.resize. nearest is exact while in times out is less than 2 million.
 */
dlt_value *dlt_image_resize(dlt_builder *b, dlt_value *x, int64_t height, int64_t width, bool nearest);

/* ---- layers that move each image at random ---- */

typedef struct dlt_affine_params {
    dlt_floats factor, height_factor, width_factor; /* one number f: -f to f; two: from the one to the other */
    int fill_mode, interpolation;
    double fill_value;
    dlt_opt_int seed;
    int data_format;
} dlt_affine_params;
/** The last rows of their tables. */
#define DLT_AFFINE_FIELDS                                                                                    \
    DLT_ENUM(dlt_affine_params, fill_mode, dlt_fill_mode_names, reflect,                                     \
             "what lies outside: fill_value, the edge, the mirrored image with its edge, the image again"),  \
        DLT_ENUM(dlt_affine_params, interpolation, dlt_interpolation_names, bilinear,                        \
                 "between pixels: weighted, or the nearest"),                                                \
        DLT_FLOAT(dlt_affine_params, fill_value, -INFINITY, INFINITY, 0, "with fill_mode: constant"),        \
        DLT_ENUM(dlt_affine_params, data_format, dlt_data_format_names, channels_last,                       \
                 "where the channels stand"),                                                                \
        DLT_OPT_INT(dlt_affine_params, seed, INT64_MIN, INT64_MAX,                                           \
                    "sets this layer's draws apart; null: its name does")

/** Says so if a factor has not one or two numbers, or one that is not above `above`. */
void dlt_factor_check(const dlt_item *item, const char *field, const dlt_floats *factor, double above, dlt_diag *diag);
/** One draw for each of the images x, (N, 1), uniform between the ends of a factor. */
dlt_value *dlt_factor_draw(dlt_builder *b, const char *purpose, dlt_opt_int seed, const dlt_floats *factor, const dlt_value *x);

/** A transform of WARP, a0 a1 a2 b0 b1 b2, as a sum: fixed numbers and multiples of values (N, 1) or (1, 1). */
typedef struct dlt_affine_term {
    dlt_value *value;
    double by[6];
} dlt_affine_term;
dlt_value *dlt_affine(dlt_builder *b, const double fixed[6], const dlt_affine_term *terms, int count);
/** Images, as dlt_images gave them, by a transform; size and layout of channels are those of the layer's input. */
dlt_value *dlt_affine_apply(dlt_builder *b, const dlt_affine_params *p, dlt_value *x, dlt_value *transform);

#endif
