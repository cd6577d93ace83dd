#include "CPNG.h"

#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

// libpng reports errors by a callback that must not return: it copies the message and jumps back into the function
// that made the call. All that must be freed after a jump lives in a context that its caller owns, so that no local
// variable is read after the jump.

typedef struct {
  jmp_buf jump;
  uint8_t *error;
} Failure;

static void copy_message(uint8_t *error, const char *message) {
  strncpy((char *)error, message ? message : "unknown error", CPNG_ERROR_SIZE - 1);
  error[CPNG_ERROR_SIZE - 1] = 0;
}

static void on_error(png_structp png, png_const_charp message) {
  Failure *failure = png_get_error_ptr(png);
  copy_message(failure->error, message);
  longjmp(failure->jump, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
  (void)png;
  (void)message;
}

// MARK: encoding

typedef struct {
  Failure failure;
  png_structp png;
  png_infop info;
  png_text *texts;
  CPNGBuffer out;
  size_t capacity;
} Writer;

static void append(png_structp png, png_bytep bytes, size_t count) {
  Writer *writer = png_get_io_ptr(png);
  if (count > writer->capacity - writer->out.count) {
    size_t capacity = writer->capacity ? writer->capacity : 1 << 16;
    while (capacity - writer->out.count < count) {
      if (capacity > SIZE_MAX / 2) png_error(png, "image too large");
      capacity *= 2;
    }
    uint8_t *grown = realloc(writer->out.bytes, capacity);
    if (!grown) png_error(png, "out of memory");
    writer->out.bytes = grown;
    writer->capacity = capacity;
  }
  memcpy(writer->out.bytes + writer->out.count, bytes, count);
  writer->out.count += count;
}

static void flush(png_structp png) { (void)png; }

static int encode(
    Writer *writer, const uint8_t *pixels, uint32_t width, uint32_t height, const uint8_t *texts, size_t text_count) {
  if (setjmp(writer->failure.jump)) return 1;
  png_structp png = writer->png;
  png_set_write_fn(png, writer, append, flush);
  png_set_user_limits(png, 0x7fffffff, 0x7fffffff);
  png_set_IHDR(
      png, writer->info, width, height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
      PNG_FILTER_TYPE_DEFAULT);
  const uint8_t *next = texts;
  for (size_t i = 0; i < text_count; i++) {
    char *key = (char *)next, *value = key + strlen(key) + 1;
    size_t length = strlen(value);
    next = (const uint8_t *)value + length + 1;
    writer->texts[i].compression = length >= 1024 ? PNG_ITXT_COMPRESSION_zTXt : PNG_ITXT_COMPRESSION_NONE;
    writer->texts[i].key = key;
    writer->texts[i].text = value;
    writer->texts[i].itxt_length = length;
    writer->texts[i].lang = "";
    writer->texts[i].lang_key = "";
  }
  if (text_count) png_set_text(png, writer->info, writer->texts, (int)text_count);
  png_write_info(png, writer->info);
  for (uint32_t y = 0; y < height; y++) png_write_row(png, pixels + (size_t)y * width * 3);
  png_write_end(png, NULL);
  return 0;
}

int cpng_encode(
    const uint8_t *pixels, uint32_t width, uint32_t height, const uint8_t *texts, size_t text_count,
    CPNGBuffer *result, uint8_t error[CPNG_ERROR_SIZE]) {
  memset(result, 0, sizeof *result);
  Writer *writer = calloc(1, sizeof *writer);
  if (!writer) {
    copy_message(error, "out of memory");
    return 1;
  }
  writer->failure.error = error;
  int status = 1;
  writer->texts = calloc(text_count ? text_count : 1, sizeof(png_text));
  if (text_count > 1000) {
    copy_message(error, "too many text entries");
  } else if (
      !writer->texts ||
      !(writer->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &writer->failure, on_error, on_warning)) ||
      !(writer->info = png_create_info_struct(writer->png))) {
    copy_message(error, "cannot start libpng");
  } else {
    status = encode(writer, pixels, width, height, texts, text_count);
  }
  if (writer->png) png_destroy_write_struct(&writer->png, &writer->info);
  free(writer->texts);
  if (status) {
    free(writer->out.bytes);
  } else {
    *result = writer->out;
  }
  free(writer);
  return status;
}

// MARK: decoding

typedef struct {
  Failure failure;
  png_structp png;
  png_infop info;
  png_infop end;
  const uint8_t *bytes;
  size_t count;
  size_t position;
  CPNGLimits limits;
  size_t memory_left;
  CPNGImage image;
} Reader;

static void supply(png_structp png, png_bytep bytes, size_t count) {
  Reader *reader = png_get_io_ptr(png);
  if (count > reader->count - reader->position) png_error(png, "the file ends early");
  memcpy(bytes, reader->bytes + reader->position, count);
  reader->position += count;
}

// libpng's own memory is counted, so that a small file of many compressed texts cannot grow without bound. Each block
// is preceded by its size.
#define BLOCK_HEADER 16

static png_voidp take(png_structp png, png_alloc_size_t size) {
  Reader *reader = png_get_mem_ptr(png);
  if (size > reader->memory_left) return NULL;
  uint8_t *block = malloc(size + BLOCK_HEADER);
  if (!block) return NULL;
  memcpy(block, &size, sizeof size);
  reader->memory_left -= size;
  return block + BLOCK_HEADER;
}

static void give(png_structp png, png_voidp pointer) {
  if (!pointer) return;
  Reader *reader = png_get_mem_ptr(png);
  uint8_t *block = (uint8_t *)pointer - BLOCK_HEADER;
  png_alloc_size_t size;
  memcpy(&size, block, sizeof size);
  reader->memory_left += size;
  free(block);
}

// Copies the text entries of one info struct behind those already found.
static void collect_text(Reader *reader, png_infop info) {
  png_textp texts = NULL;
  int count = 0;
  png_get_text(reader->png, info, &texts, &count);
  CPNGImage *image = &reader->image;
  for (int i = 0; i < count; i++) {
    const char *value = texts[i].text ? texts[i].text : "";
    size_t key_size = strlen(texts[i].key) + 1, value_size = strlen(value) + 1, size = 1 + key_size + value_size;
    if (image->texts_count + size > reader->limits.max_text_bytes) png_error(reader->png, "too much text");
    uint8_t *grown = realloc(image->texts, image->texts_count + size);
    if (!grown) png_error(reader->png, "out of memory");
    image->texts = grown;
    uint8_t *entry = grown + image->texts_count;
    entry[0] = texts[i].compression >= PNG_ITXT_COMPRESSION_NONE ? 'U' : 'L';
    memcpy(entry + 1, texts[i].key, key_size);
    memcpy(entry + 1 + key_size, value, value_size);
    image->texts_count += size;
  }
}

static int decode(Reader *reader) {
  if (setjmp(reader->failure.jump)) return 1;
  png_structp png = reader->png;
  png_set_read_fn(png, reader, supply);
  png_set_user_limits(png, reader->limits.max_extent, reader->limits.max_extent);
  png_set_chunk_malloc_max(png, reader->limits.max_text_bytes);
  png_set_chunk_cache_max(png, 1000);
  png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_WARN_DISCARD);
  png_read_info(png, reader->info);
  uint32_t width = png_get_image_width(png, reader->info), height = png_get_image_height(png, reader->info);
  if ((uint64_t)width * height * 3 > reader->limits.max_pixel_bytes) png_error(png, "too many pixels");
  png_set_expand(png);
  png_set_scale_16(png);
  png_set_gray_to_rgb(png);
  png_set_strip_alpha(png);
  int passes = png_set_interlace_handling(png);
  png_read_update_info(png, reader->info);
  if (png_get_rowbytes(png, reader->info) != (size_t)width * 3) png_error(png, "not an RGB image");
  reader->image.width = width;
  reader->image.height = height;
  // Zeroed: interlaced reading combines with what is there.
  reader->image.pixels = calloc((size_t)width * height, 3);
  if (!reader->image.pixels) png_error(png, "out of memory");
  for (int pass = 0; pass < passes; pass++) {
    for (uint32_t y = 0; y < height; y++) png_read_row(png, reader->image.pixels + (size_t)y * width * 3, NULL);
  }
  png_read_end(png, reader->end);
  collect_text(reader, reader->info);
  collect_text(reader, reader->end);
  return 0;
}

int cpng_decode(
    const uint8_t *bytes, size_t count, CPNGLimits limits, CPNGImage *result, uint8_t error[CPNG_ERROR_SIZE]) {
  memset(result, 0, sizeof *result);
  if (count < 8 || png_sig_cmp(bytes, 0, 8)) {
    copy_message(error, "not a PNG file");
    return 1;
  }
  Reader *reader = calloc(1, sizeof *reader);
  if (!reader) {
    copy_message(error, "out of memory");
    return 1;
  }
  reader->failure.error = error;
  reader->bytes = bytes;
  reader->count = count;
  reader->limits = limits;
  // Room for rows and tables beside the texts, which libpng holds twice while it inflates one.
  reader->memory_left = 3 * limits.max_text_bytes + (32 << 20);
  int status = 1;
  if (!(reader->png = png_create_read_struct_2(
            PNG_LIBPNG_VER_STRING, &reader->failure, on_error, on_warning, reader, take, give)) ||
      !(reader->info = png_create_info_struct(reader->png)) || !(reader->end = png_create_info_struct(reader->png))) {
    copy_message(error, "cannot start libpng");
  } else {
    status = decode(reader);
  }
  if (reader->png) png_destroy_read_struct(&reader->png, &reader->info, &reader->end);
  if (status) {
    cpng_image_free(&reader->image);
  } else {
    *result = reader->image;
  }
  free(reader);
  return status;
}

void cpng_free(CPNGBuffer *buffer) {
  free(buffer->bytes);
  memset(buffer, 0, sizeof *buffer);
}

void cpng_image_free(CPNGImage *image) {
  free(image->texts);
  free(image->pixels);
  memset(image, 0, sizeof *image);
}
