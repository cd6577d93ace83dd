// The part of libpng that Tessera uses: 8-bit RGB images with iTXt text, in memory. No function aborts, prints or lets
// a jump leave C. Functions return 0 when done, else non-zero with a message in `error`.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// Room for a message, its final zero included.
#define CPNG_ERROR_SIZE 256

/// Bytes made by cpng_encode. Free with cpng_free.
typedef struct {
  uint8_t *bytes;
  size_t count;
} CPNGBuffer;

/// A decoded image: width * height * 3 bytes, row after row. Free with cpng_image_free.
///
/// `texts` holds the text entries one after another: a letter, the key, a zero, the value, a zero. The letter is 'U'
/// where key and value are UTF-8 (or claim to be) and 'L' where they are Latin-1.
typedef struct {
  uint32_t width;
  uint32_t height;
  uint8_t *pixels;
  uint8_t *texts;
  size_t texts_count;
} CPNGImage;

/// What the decoder accepts.
typedef struct {
  uint32_t max_extent;
  uint64_t max_pixel_bytes;
  uint64_t max_text_bytes;
} CPNGLimits;

/// Writes width * height * 3 bytes as PNG. `texts` holds `text_count` times a key, a zero, a value, a zero, in UTF-8;
/// values of 1024 bytes and more are compressed.
int cpng_encode(
    const uint8_t *pixels, uint32_t width, uint32_t height, const uint8_t *texts, size_t text_count,
    CPNGBuffer *result, uint8_t error[CPNG_ERROR_SIZE]);

/// Reads any PNG as 8-bit RGB: palettes and grey are expanded, 16 bits scaled to 8, alpha dropped.
int cpng_decode(
    const uint8_t *bytes, size_t count, CPNGLimits limits, CPNGImage *result, uint8_t error[CPNG_ERROR_SIZE]);

void cpng_free(CPNGBuffer *buffer);
void cpng_image_free(CPNGImage *image);
