/* io/data/image.h: one JPEG or PNG file, from its bytes in memory to pixels of a wanted size.
 *
 * Values are those of keras.utils.image_dataset_from_directory (TensorFlow's decoders and tf.image.resize,
 * half-pixel centres, no antialiasing), rounded to bytes. EXIF orientation is ignored, as there. */
#ifndef DLT_IO_DATA_IMAGE_H
#define DLT_IO_DATA_IMAGE_H

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DLT_IMAGE_MOST_PIXELS =
        1 << 26, /* of a file: 8192 x 8192; what declares more is refused before memory is taken */
    DLT_IMAGE_WHY_BYTES = 200
};

/** A decoded file. All zero is an empty one; it may be used again and again, and keeps its memory. */
typedef struct dlt_image {
    int64_t height, width;
    int channels;
    unsigned char *pixels; /* (height, width, channels) */
    size_t room;
    struct dlt_image_tap *taps; /* of a row's columns, for resizing */
    size_t tap_room;
    char why[DLT_IMAGE_WHY_BYTES]; /* the last file was bad: in which way, as "it ends early" */
} dlt_image;

/** What becomes of an image that has another shape than the wanted one. */
typedef enum dlt_image_fitting {
    DLT_IMAGE_STRETCH, /* both sides are scaled to the wanted ones */
    DLT_IMAGE_CROP,    /* the largest part in the middle that has the wanted aspect ratio is scaled */
    DLT_IMAGE_PAD      /* scaled to fit inside, black around it */
} dlt_image_fitting;

typedef struct dlt_image_target {
    int64_t height, width;
    dlt_image_fitting aspect;
    bool nearest; /* the nearest pixel; else bilinear */
} dlt_image_target;

/**
 * Decodes a file, told by its first bytes, to 1 (grey), 3 (RGB) or 4 (RGBA) channels of 8 bits. Grey is the
 * luma of ITU-R BT.601, which a JPEG stores; alpha is left out, not blended, and 255 where it is wanted and
 * there is none; 16 bits lose the lower 8; CMYK becomes RGB without a profile. A file that ends early or is
 * corrupt is bad, though a part of it could be shown. DLT_E_DATA: a bad file, image->why says in which way;
 * DLT_E_MEMORY. Any thread, each with an image of its own.
 */
dlt_status dlt_image_decode(const unsigned char *bytes, size_t count, int channels, dlt_image *image);
/** Fills out (height, width, channels). DLT_E_MEMORY, or DLT_OK. */
dlt_status dlt_image_fit(dlt_image *image, const dlt_image_target *target, unsigned char *out);
void dlt_image_release(dlt_image *image);

#endif
