// The part of FFmpeg's libraries that Tessera uses: one video stream of 8-bit RGB frames into a file, and back.
//
// No function prints or aborts. Functions that can fail return CFFMPEG_DONE, else another status with a message in
// `error`. One thread at a time may use a writer or a reader. Encoders and decoders run in the calling thread, so that
// the same frames give the same bytes on any machine.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// Room for a message, its final zero included.
#define CFFMPEG_ERROR_SIZE 256

#define CFFMPEG_DONE 0
/// This FFmpeg was built without the encoder, decoder or container.
#define CFFMPEG_UNAVAILABLE 1
/// The system would not open, write or read the file.
#define CFFMPEG_IO_FAILED 2
/// The encoder refuses the frames or settings; the file is no video or a damaged one.
#define CFFMPEG_FAILED 3
/// No frame is left to read.
#define CFFMPEG_END 4

typedef struct CFFmpegWriter CFFmpegWriter;
typedef struct CFFmpegReader CFFmpegReader;

/// Size and speed of a video.
typedef struct {
  int32_t width;
  int32_t height;
  /// Frames a second, as a fraction.
  int32_t rate_numerator;
  int32_t rate_denominator;
} CFFmpegShape;

int cffmpeg_has_encoder(const char *name);
int cffmpeg_has_container(const char *name);

/// Opens a local file, made or emptied, and an encoder.
/// - container, encoder: FFmpeg's names of the muxer and the encoder.
/// - container_options, encoder_options: name=value, one a line. One that is not known is an error.
/// - pixel_format: what the encoder is fed: yuv420p (BT.709 in limited range), bgr0 (sRGB in full range), bgra or pal8.
/// - tags: `tag_count` times a key, a zero, a value, a zero, in UTF-8.
int cffmpeg_open_writer(
    const char *path, const char *container, const char *container_options, const char *encoder,
    const char *encoder_options, const char *pixel_format, CFFmpegShape shape, const uint8_t *tags, size_t tag_count,
    CFFmpegWriter **writer, uint8_t error[CFFMPEG_ERROR_SIZE]);

/// The size of the coded frames: that asked for, made even where the pixel format asks for it.
int32_t cffmpeg_coded_width(const CFFmpegWriter *writer);
int32_t cffmpeg_coded_height(const CFFmpegWriter *writer);

/// Adds width * height * 3 bytes, red first. The last column and row are repeated where coded frames are larger.
int cffmpeg_write_rgb(CFFmpegWriter *writer, const uint8_t *pixels, uint8_t error[CFFMPEG_ERROR_SIZE]);

/// Adds width * height places in a palette of 256 colours (768 bytes, red first); place 255 must not be used: it stands
/// for "as before". For pal8 only.
int cffmpeg_write_indexed(
    CFFmpegWriter *writer, const uint8_t *indices, const uint8_t *palette, uint8_t error[CFFMPEG_ERROR_SIZE]);

/// Writes what the encoder still holds and the end of the file. Nothing can be added then.
int cffmpeg_finish(CFFmpegWriter *writer, uint8_t error[CFFMPEG_ERROR_SIZE]);

/// Frees a writer, finished or not. Does not delete the file.
void cffmpeg_close_writer(CFFmpegWriter *writer);

/// What a file says of itself. Strings live as long as the reader.
typedef struct {
  const char *container;
  /// Empty where only the tags were asked for, like all that follows but the tags.
  const char *codec;
  const char *pixel_format;
  const char *primaries;
  const char *transfer;
  const char *matrix;
  const char *range;
  CFFmpegShape shape;
  /// Laid out as cffmpeg_open_writer takes them.
  const uint8_t *tags;
  size_t tags_size;
} CFFmpegDescription;

/// Opens an MP4, Matroska, WebM or GIF file. Other kinds are refused, and no other file or address is opened.
/// - decode: 0 for the tags only.
/// - max_pixels, max_tag_bytes: larger frames and more tags are refused.
int cffmpeg_open_reader(
    const char *path, int decode, int64_t max_pixels, size_t max_tag_bytes, CFFmpegReader **reader,
    uint8_t error[CFFMPEG_ERROR_SIZE]);

CFFmpegDescription cffmpeg_describe(const CFFmpegReader *reader);

/// The next frame as width * height * 3 bytes, red first; CFFMPEG_END behind the last. Damage is an error.
int cffmpeg_read_rgb(CFFmpegReader *reader, uint8_t *pixels, uint8_t error[CFFMPEG_ERROR_SIZE]);

void cffmpeg_close_reader(CFFmpegReader *reader);
