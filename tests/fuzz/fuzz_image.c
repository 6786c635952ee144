/* tests/fuzz/fuzz_image.c: JPEG and PNG files: any bytes. The first byte chooses channels and what the image
 * is resized to. */
#include "fuzz/fuzz.h"

#include "io/data/image.h"

#include <string.h>

static dlt_status decode(const uint8_t *bytes, size_t count, int channels, dlt_image *image)
{
    const dlt_status status = dlt_image_decode(bytes, count, channels, image);
    FUZZ_CLAIM(status == DLT_OK || status == DLT_E_DATA);
    FUZZ_CLAIM((status == DLT_OK) == (image->why[0] == '\0'));
    FUZZ_CLAIM(memchr(image->why, '\0', sizeof image->why) != NULL);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { MOST_SIDE = 12, COMPARED_PIXELS = 1 << 20 };
    static const int channel_counts[] = {1, 3, 4};
    if (size < 1) {
        return 0;
    }
    const int channels = channel_counts[data[0] % 3];
    const dlt_image_target target = {.height = 1 + data[0] / 3 % MOST_SIDE,
                                     .width = 1 + fuzz_choice(data, size) % MOST_SIDE,
                                     .aspect = (dlt_image_fitting)(data[0] / 36 % 3),
                                     .nearest = data[0] >= 128};
    uint8_t *bytes = malloc(size); /* of their own, so that reading behind them is seen */
    FUZZ_CLAIM(bytes != NULL);
    memcpy(bytes, data + 1, size - 1);
    dlt_image image = {0}, again = {0};
    const dlt_status status = decode(bytes, size - 1, channels, &image);
    if (status == DLT_OK) {
        const size_t pixels = (size_t)image.height * (size_t)image.width,
                     count = (size_t)(target.height * target.width) * (size_t)channels;
        FUZZ_CLAIM(image.height > 0 && image.width > 0 && pixels <= DLT_IMAGE_MOST_PIXELS &&
                   image.channels == channels);
        uint8_t *small = malloc(2 * count);
        FUZZ_CLAIM(small != NULL);
        memset(small, 0x5a, count);
        memset(small + count, 0xa5, count);
        FUZZ_CLAIM(dlt_image_fit(&image, &target, small) == DLT_OK);
        FUZZ_CLAIM(dlt_image_fit(&image, &target, small + count) == DLT_OK);
        FUZZ_CLAIM(memcmp(small, small + count, count) == 0); /* every byte was set */
        free(small);
        if (pixels <= COMPARED_PIXELS) {
            FUZZ_CLAIM(decode(bytes, size - 1, channels, &again) == DLT_OK);
            FUZZ_CLAIM(memcmp(image.pixels, again.pixels, pixels * (size_t)channels) == 0);
        }
    }
    dlt_image_release(&image);
    dlt_image_release(&again);
    free(bytes);
    return 0;
}
