/* io/data/image.c: decoding by libjpeg-turbo and libpng, resizing as TensorFlow does.
 *
 * Both libraries leave by longjmp, so what is changed behind setjmp lies in a struct of the caller's. */
#include "io/data/image.h"

#include "base/alloc.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
/* behind jpeglib.h, whose types it needs */
#include <jerror.h>
#include <png.h>

enum {
    JPEG_MOST_SCANS = 500, /* of a progressive file: each costs the time of a whole image */
    /* Pixels that a byte of a file can make at most. Deflate gives 1,032 bytes for one, with 8 pixels each: a
     * black image of the most pixels comes to 8,162. A block of 64 pixels of a JPEG takes a bit or two. */
    PNG_BYTE_PIXELS = 8192,
    JPEG_BYTE_PIXELS = 1024
};

/* ---- what both need ---- */

static dlt_status bad(dlt_image *image, const char *text)
{
    (void)snprintf(image->why, sizeof image->why, "%s", text);
    return DLT_E_DATA;
}

static bool size_is_good(uint64_t width, uint64_t height, size_t bytes, uint64_t byte_pixels,
                         dlt_image *image)
{
    if (width == 0 || height == 0 || width > DLT_IMAGE_MOST_PIXELS || height > DLT_IMAGE_MOST_PIXELS ||
        width * height > DLT_IMAGE_MOST_PIXELS) {
        (void)snprintf(image->why, sizeof image->why,
                       "it says that it has %llu x %llu pixels; at most %d are read",
                       (unsigned long long)width, (unsigned long long)height, DLT_IMAGE_MOST_PIXELS);
        return false;
    }
    if (width * height / byte_pixels > bytes) {
        (void)snprintf(image->why, sizeof image->why,
                       "it says that it has %llu x %llu pixels, which its %zu bytes cannot hold",
                       (unsigned long long)width, (unsigned long long)height, bytes);
        return false;
    }
    return true;
}

/* Room for the pixels, with `channels` of them; the old ones are lost. */
static bool make_room(dlt_image *image, uint64_t width, uint64_t height, int channels)
{
    const size_t bytes = (size_t)width * (size_t)height * (size_t)channels;
    if (bytes > image->room) {
        dlt_free(image->pixels);
        image->pixels = dlt_alloc(bytes);
        image->room = image->pixels != NULL ? bytes : 0;
    }
    image->width = (int64_t)width;
    image->height = (int64_t)height;
    image->channels = channels;
    return image->pixels != NULL;
}

/* ITU-R BT.601, as JPEG has it, to the nearest. */
static unsigned char luma(unsigned red, unsigned green, unsigned blue)
{
    return (unsigned char)((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16);
}

/* ---- JPEG ---- */

typedef struct jpeg_reader {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf back;
    size_t bytes;
    int channels;
    dlt_image *image;
    unsigned char *row; /* of CMYK */
    dlt_status status;
} jpeg_reader;

static void jpeg_leave(j_common_ptr info)
{
    jpeg_reader *r = info->client_data;
    char text[JMSG_LENGTH_MAX];
    const int code = info->err->msg_code;
    info->err->format_message(info, text);
    r->status = code == JERR_OUT_OF_MEMORY ? DLT_E_MEMORY
                                           : bad(r->image, code == JWRN_JPEG_EOF ? "it ends early" : text);
    longjmp(r->back, 1);
}

/* Of libjpeg's warnings, those that say that pixels are missing or made up; what others (bytes between
 * markers, odd versions) are about leaves the image whole. */
static void jpeg_message(j_common_ptr info, int level)
{
    const int code = info->err->msg_code;
    if (level < 0 && (code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE || code == JWRN_ARITH_BAD_CODE ||
                      code == JWRN_JPEG_EOF || code == JWRN_MUST_RESYNC)) {
        jpeg_leave(info);
    }
}

static void jpeg_count_scans(j_common_ptr info)
{
    jpeg_reader *r = info->client_data;
    if (info->is_decompressor && r->info.input_scan_number > JPEG_MOST_SCANS) {
        r->status = bad(r->image, "it has more than 500 scans");
        longjmp(r->back, 1);
    }
}

/* A row of CMYK to the wanted channels. Adobe's programs store it inverted, and say who they are. */
static void jpeg_convert_cmyk(const jpeg_reader *r, const unsigned char *from, unsigned char *to)
{
    const unsigned flip = r->info.saw_Adobe_marker ? 0 : 255;
    for (int64_t x = 0; x < r->image->width; x++, from += 4, to += r->channels) {
        const unsigned key = from[3] ^ flip;
        unsigned char rgb[3];
        for (int c = 0; c < 3; c++) {
            rgb[c] = (unsigned char)((from[c] ^ flip) * key / 255);
        }
        if (r->channels == 1) {
            to[0] = luma(rgb[0], rgb[1], rgb[2]);
            continue;
        }
        memcpy(to, rgb, 3);
        if (r->channels == 4) {
            to[3] = 255;
        }
    }
}

static void jpeg_read(jpeg_reader *r)
{
    struct jpeg_decompress_struct *info = &r->info;
    (void)jpeg_read_header(info, TRUE);
    if (!size_is_good(info->image_width, info->image_height, r->bytes, JPEG_BYTE_PIXELS, r->image)) {
        r->status = DLT_E_DATA;
        return;
    }
    const bool cmyk = info->jpeg_color_space == JCS_CMYK || info->jpeg_color_space == JCS_YCCK;
    info->out_color_space = cmyk               ? JCS_CMYK
                            : r->channels == 1 ? JCS_GRAYSCALE
                            : r->channels == 3 ? JCS_RGB
                                               : JCS_EXT_RGBA;
    info->dct_method =
        JDCT_IFAST; /* as TensorFlow, and so Keras: a few steps of 255 from the accurate one, on edges */
    const size_t width = info->image_width;
    if (!make_room(r->image, width, info->image_height, r->channels) ||
        (cmyk && (r->row = dlt_alloc(4 * width)) == NULL)) {
        r->status = DLT_E_MEMORY;
        return;
    }
    (void)jpeg_start_decompress(info);
    while (info->output_scanline < info->output_height) {
        unsigned char *to = r->image->pixels + (size_t)info->output_scanline * width * (size_t)r->channels;
        JSAMPROW row = cmyk ? r->row : to;
        (void)jpeg_read_scanlines(info, &row, 1);
        if (cmyk) {
            jpeg_convert_cmyk(r, row, to);
        }
    }
    (void)jpeg_finish_decompress(info);
}

static void jpeg_run(jpeg_reader *r, const unsigned char *bytes)
{
    if (setjmp(r->back) == 0) {
        jpeg_create_decompress(&r->info);
        r->progress.progress_monitor = jpeg_count_scans;
        r->info.progress = &r->progress;
        jpeg_mem_src(&r->info, bytes, r->bytes);
        jpeg_read(r);
    }
}

static dlt_status jpeg_decode(const unsigned char *bytes, size_t count, int channels, dlt_image *image)
{
    jpeg_reader r = {.bytes = count, .channels = channels, .image = image, .status = DLT_OK};
    r.info.err = jpeg_std_error(&r.errors);
    r.errors.error_exit = jpeg_leave;
    r.errors.emit_message = jpeg_message;
    r.info.client_data = &r;
    jpeg_run(&r, bytes);
    jpeg_destroy_decompress(&r.info);
    dlt_free(r.row);
    return r.status;
}

/* ---- PNG ---- */

typedef struct png_reader {
    png_structp png;
    png_infop info;
    jmp_buf back;
    const unsigned char *at;
    size_t left, bytes;
    size_t most; /* that is taken at a time; 0: not known yet */
    int channels;
    dlt_image *image;
    dlt_status status;
} png_reader;

static void png_leave(png_structp png, png_const_charp text)
{
    png_reader *r = png_get_error_ptr(png);
    if (r->status == DLT_OK) {
        r->status = bad(r->image, text);
    }
    longjmp(r->back, 1);
}

/* What libpng warns of (profiles, times, texts) is not about pixels. */
static void png_message(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void *png_get_memory(png_structp png, png_alloc_size_t bytes)
{
    png_reader *r = png_get_mem_ptr(png);
    if (r->most > 0 && bytes > r->most) {
        return NULL; /* a chunk that says so: it is passed over, or the file is bad */
    }
    void *block = dlt_alloc(bytes);
    if (block == NULL) {
        r->status = DLT_E_MEMORY;
    }
    return block;
}

static void png_give_memory(png_structp png, void *block)
{
    (void)png;
    dlt_free(block);
}

static void png_get_bytes(png_structp png, png_bytep to, size_t bytes)
{
    png_reader *r = png_get_io_ptr(png);
    if (bytes > r->left) {
        png_error(png, "it ends early");
    }
    memcpy(to, r->at, bytes);
    r->at += bytes;
    r->left -= bytes;
}

/* Which conversions libpng makes; grey of colours is made later. Returns the channels that come. */
static int png_ask(png_reader *r)
{
    const int type = png_get_color_type(r->png, r->info);
    const bool colours = (type & PNG_COLOR_MASK_COLOR) != 0,
               transparent = png_get_valid(r->png, r->info, PNG_INFO_tRNS) != 0;
    if (type == PNG_COLOR_TYPE_PALETTE) {
        png_set_palette_to_rgb(r->png);
    }
    if (type == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(r->png, r->info) < 8) {
        png_set_expand_gray_1_2_4_to_8(r->png);
    }
    png_set_strip_16(r->png);
    if (r->channels != 4) {
        png_set_strip_alpha(r->png);
    } else if (transparent) {
        png_set_tRNS_to_alpha(r->png);
    } else {
        png_set_add_alpha(r->png, 255, PNG_FILLER_AFTER);
    }
    if (!colours && r->channels != 1) {
        png_set_gray_to_rgb(r->png);
    }
    return r->channels == 1 && colours ? 3 : r->channels;
}

static void png_read(png_reader *r)
{
    enum { CHUNK_BYTES = 8000000 }; /* libpng's own bound, which it does not look at for all chunks */
    r->most = r->bytes > CHUNK_BYTES ? r->bytes : CHUNK_BYTES; /* no chunk is longer than the file */
    png_set_read_fn(r->png, r, png_get_bytes);
    png_set_user_limits(r->png, DLT_IMAGE_MOST_PIXELS, DLT_IMAGE_MOST_PIXELS);
    png_set_chunk_malloc_max(r->png, r->most);
    png_read_info(r->png, r->info);
    const uint32_t width = png_get_image_width(r->png, r->info),
                   height = png_get_image_height(r->png, r->info);
    if (!size_is_good(width, height, r->bytes, PNG_BYTE_PIXELS, r->image)) {
        r->status = DLT_E_DATA;
        return;
    }
    r->most = SIZE_MAX; /* rows: the size is good */
    const int come = png_ask(r), passes = png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    const size_t row_bytes = (size_t)width * (size_t)come;
    if (png_get_rowbytes(r->png, r->info) != row_bytes) {
        r->status = bad(r->image, "its rows have an unexpected size");
        return;
    }
    if (!make_room(r->image, width, height, come)) {
        r->status = DLT_E_MEMORY;
        return;
    }
    for (int pass = 0; pass < passes; pass++) {
        for (size_t y = 0; y < height; y++) {
            png_read_row(r->png, r->image->pixels + y * row_bytes, NULL);
        }
    }
    png_read_end(r->png, NULL); /* the last check sums */
    if (come != r->channels) {
        unsigned char *pixels = r->image->pixels;
        for (size_t i = 0; i < (size_t)width * height; i++) {
            pixels[i] = luma(pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]);
        }
        r->image->channels = 1;
    }
}

static void png_run(png_reader *r)
{
    if (setjmp(r->back) == 0) {
        r->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, r, png_leave, png_message, r, png_get_memory,
                                          png_give_memory);
        r->info = r->png != NULL ? png_create_info_struct(r->png) : NULL;
        if (r->info != NULL) {
            png_read(r);
        } else {
            r->status = DLT_E_MEMORY;
        }
    }
}

static dlt_status png_decode(const unsigned char *bytes, size_t count, int channels, dlt_image *image)
{
    png_reader r = {
        .at = bytes, .left = count, .bytes = count, .channels = channels, .image = image, .status = DLT_OK};
    png_run(&r);
    png_destroy_read_struct(&r.png, &r.info, NULL);
    return r.status;
}

dlt_status dlt_image_decode(const unsigned char *bytes, size_t count, int channels, dlt_image *image)
{
    static const struct {
        const char *name, *mark;
        size_t at, length;
    } others[] = {{"GIF", "GIF8", 0, 4},     {"BMP", "BM", 0, 2},     {"WebP", "WEBP", 8, 4},
                  {"TIFF", "II*\0", 0, 4},   {"TIFF", "MM\0*", 0, 4}, {"AVIF", "ftypavif", 4, 8},
                  {"HEIC", "ftypheic", 4, 8}};
    image->why[0] = '\0';
    if (count == 0) {
        return bad(image, "it is empty");
    }
    if (count >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0) {
        return jpeg_decode(bytes, count, channels, image);
    }
    if (count >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0) {
        return png_decode(bytes, count, channels, image);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const size_t at = others[i].at, length = others[i].length;
        if (count >= at + length && memcmp(bytes + at, others[i].mark, length) == 0) {
            (void)snprintf(image->why, sizeof image->why, "it is a %s file; only JPEG and PNG are read",
                           others[i].name);
            return DLT_E_DATA;
        }
    }
    return bad(image, "it is neither JPEG nor PNG");
}

void dlt_image_release(dlt_image *image)
{
    dlt_free(image->pixels);
    dlt_free(image->taps);
    *image = (dlt_image){0};
}

/* ---- resizing ---- */

/* Two neighbours along an axis and how near the second is. */
typedef struct dlt_image_tap {
    int64_t low, high;
    float part;
} dlt_image_tap;

/* Where element i of `out` lies among `in`: tf.image.resize, in its float32. */
static dlt_image_tap tap_of(int64_t i, int64_t out, int64_t in, bool nearest)
{
    const float scale = (float)in / (float)out;
    const float middle = ((float)i + 0.5f) * scale;
    if (nearest) {
        const int64_t at = (int64_t)floorf(middle);
        const int64_t low = at < in ? at : in - 1;
        return (dlt_image_tap){low, low, 0};
    }
    const float at = middle - 0.5f, below = floorf(at);
    const int64_t low = (int64_t)below, high = (int64_t)ceilf(at);
    return (dlt_image_tap){low > 0 ? low : 0, high < in ? high : in - 1, at - below};
}

typedef struct box {
    int64_t top, left, height, width;
} box;

/* int(float32(a) / b), at most `most`, at least 1: how Keras crops. */
static int64_t crop_side(int64_t a, int64_t b, int64_t most)
{
    const int64_t side = (int64_t)((float)a / (float)b);
    return side < 1 ? 1 : side < most ? side : most;
}

/* The part of the image that is taken, and the part of the target that it fills. */
static void choose_boxes(const dlt_image *image, const dlt_image_target *target, box *from, box *to)
{
    *from = (box){0, 0, image->height, image->width};
    *to = (box){0, 0, target->height, target->width};
    if (target->aspect == DLT_IMAGE_CROP) {
        from->height = crop_side(image->width * target->height, target->width, image->height);
        from->width = crop_side(image->height * target->width, target->height, image->width);
        from->top = (image->height - from->height) / 2;
        from->left = (image->width - from->width) / 2;
    } else if (target->aspect == DLT_IMAGE_PAD) { /* tf.image.resize_with_pad */
        const float across = (float)image->width / (float)target->width,
                    down = (float)image->height / (float)target->height;
        const float ratio = across > down ? across : down;
        const float height = (float)image->height / ratio, width = (float)image->width / ratio;
        to->height = height >= 1 ? (int64_t)floorf(height) : 1;
        to->width = width >= 1 ? (int64_t)floorf(width) : 1;
        to->height = to->height < target->height ? to->height : target->height;
        to->width = to->width < target->width ? to->width : target->width;
        const float above = floorf(((float)target->height - height) / 2),
                    before = floorf(((float)target->width - width) / 2);
        to->top = above > 0 ? (int64_t)above : 0;
        to->left = before > 0 ? (int64_t)before : 0;
        to->top = to->top < target->height - to->height ? to->top : target->height - to->height;
        to->left = to->left < target->width - to->width ? to->left : target->width - to->width;
    }
}

/* One row of the result between two rows of the image. */
static void blend_row(const dlt_image_tap *columns, int64_t width, int channels, const unsigned char *low,
                      const unsigned char *high, float part, unsigned char *out)
{
    for (int64_t x = 0; x < width; x++) {
        const int64_t left = columns[x].low * channels, right = columns[x].high * channels;
        const float across = columns[x].part;
        for (int c = 0; c < channels; c++) {
            const float tl = low[left + c], tr = low[right + c], bl = high[left + c], br = high[right + c];
            const float top = tl + (tr - tl) * across, bottom = bl + (br - bl) * across;
            *out++ = (unsigned char)lrintf(top + (bottom - top) * part);
        }
    }
}

dlt_status dlt_image_fit(dlt_image *image, const dlt_image_target *target, unsigned char *out)
{
    const int channels = image->channels;
    const size_t row_bytes = (size_t)target->width * (size_t)channels,
                 image_row = (size_t)image->width * (size_t)channels;
    if (image->height == target->height && image->width == target->width) {
        memcpy(out, image->pixels, row_bytes * (size_t)target->height);
        return DLT_OK;
    }
    box from, to;
    choose_boxes(image, target, &from, &to);
    if (image->tap_room < (size_t)to.width) {
        dlt_free(image->taps);
        image->taps = dlt_alloc_zeroed((size_t)to.width, sizeof *image->taps);
        image->tap_room = image->taps != NULL ? (size_t)to.width : 0;
    }
    if (image->taps == NULL) {
        return DLT_E_MEMORY;
    }
    for (int64_t x = 0; x < to.width; x++) {
        image->taps[x] = tap_of(x, to.width, from.width, target->nearest);
    }
    if (to.height < target->height || to.width < target->width) {
        memset(out, 0, row_bytes * (size_t)target->height);
    }
    const unsigned char *pixels =
        image->pixels + (size_t)from.top * image_row + (size_t)(from.left * channels);
    for (int64_t y = 0; y < to.height; y++) {
        const dlt_image_tap rows = tap_of(y, to.height, from.height, target->nearest);
        blend_row(image->taps, to.width, channels, pixels + (size_t)rows.low * image_row,
                  pixels + (size_t)rows.high * image_row, rows.part,
                  out + (size_t)(to.top + y) * row_bytes + (size_t)(to.left * channels));
    }
    return DLT_OK;
}
