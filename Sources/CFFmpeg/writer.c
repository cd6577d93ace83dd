#include "shared.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/cpu.h>
#include <libavutil/dict.h>
#include <libavutil/mem.h>
#include <libavutil/pixdesc.h>
#include <stdio.h>
#include <string.h>

struct CFFmpegWriter {
  AVFormatContext *format;
  AVCodecContext *codec;
  AVStream *stream;
  struct SwsContext *converter;
  // As given but for padding (for YUV only), and as the encoder takes it: one frame each.
  AVFrame *rgb;
  AVFrame *frame;
  AVPacket *packet;
  int32_t width;
  int32_t height;
  int64_t count;
};

// What a file is to be.
typedef struct {
  const char *path;
  const char *container;
  const char *container_options;
  const char *encoder;
  const char *encoder_options;
  const char *pixel_format;
  CFFmpegShape shape;
  const uint8_t *tags;
  size_t tag_count;
} Output;

int cffmpeg_has_encoder(const char *name) { return avcodec_find_encoder_by_name(name) != NULL; }

int cffmpeg_has_container(const char *name) { return av_guess_format(name, NULL, NULL) != NULL; }

// A write that failed is remembered by the file, whatever the code that came back from the muxer.
static int failed(CFFmpegWriter *writer, const char *what, int code, uint8_t *error) {
  AVIOContext *file = writer->format ? writer->format->pb : NULL;
  if (file && file->error < 0) return fail(CFFMPEG_IO_FAILED, "", file->error, error);
  return fail(CFFMPEG_FAILED, what, code, error);
}

static int parse(const char *lines, AVDictionary **options) {
  return *lines ? av_dict_parse_string(options, lines, "=", "\n", 0) : 0;
}

// Options nobody took are mistakes of the caller's.
static int refuse_rest(AVDictionary **options, uint8_t *error) {
  const AVDictionaryEntry *entry = av_dict_get(*options, "", NULL, AV_DICT_IGNORE_SUFFIX);
  if (!entry) return CFFMPEG_DONE;
  char message[128];
  snprintf(message, sizeof message, "no option '%s'", entry->key);
  return fail(CFFMPEG_FAILED, message, 0, error);
}

// MARK: opening

static void set_colours(AVCodecContext *codec) {
  if (codec->pix_fmt == AV_PIX_FMT_YUV420P) {
    codec->color_primaries = AVCOL_PRI_BT709;
    codec->color_trc = AVCOL_TRC_BT709;
    codec->colorspace = AVCOL_SPC_BT709;
    codec->color_range = AVCOL_RANGE_MPEG;
    codec->chroma_sample_location = AVCHROMA_LOC_LEFT;
  } else if (codec->pix_fmt == AV_PIX_FMT_BGR0) {
    codec->color_primaries = AVCOL_PRI_BT709;
    codec->color_trc = AVCOL_TRC_IEC61966_2_1;
    codec->colorspace = AVCOL_SPC_RGB;
    codec->color_range = AVCOL_RANGE_JPEG;
  }
}

static AVFrame *make_frame(int format, int width, int height) {
  AVFrame *frame = av_frame_alloc();
  if (!frame) return NULL;
  frame->format = format;
  frame->width = width;
  frame->height = height;
  if (av_frame_get_buffer(frame, 0) < 0) {
    av_frame_free(&frame);
    return NULL;
  }
  // What lies between rows is read here and there, as vectors are.
  memset(frame->buf[0]->data, 0, frame->buf[0]->size);
  return frame;
}

static int open_encoder(CFFmpegWriter *writer, const Output *output, uint8_t *error) {
  const AVCodec *encoder = avcodec_find_encoder_by_name(output->encoder);
  if (!encoder) return fail(CFFMPEG_UNAVAILABLE, output->encoder, 0, error);
  AVCodecContext *codec = writer->codec = avcodec_alloc_context3(encoder);
  if (!codec) return fail(CFFMPEG_FAILED, "out of memory", 0, error);
  codec->pix_fmt = av_get_pix_fmt(output->pixel_format);
  if (codec->pix_fmt != AV_PIX_FMT_YUV420P && codec->pix_fmt != AV_PIX_FMT_BGR0 &&
      codec->pix_fmt != AV_PIX_FMT_BGRA && codec->pix_fmt != AV_PIX_FMT_PAL8) {
    return fail(CFFMPEG_FAILED, "no such pixel format", 0, error);
  }
  const int is_yuv = codec->pix_fmt == AV_PIX_FMT_YUV420P;
  codec->width = output->shape.width + (is_yuv & output->shape.width);
  codec->height = output->shape.height + (is_yuv & output->shape.height);
  codec->time_base = (AVRational){output->shape.rate_denominator, output->shape.rate_numerator};
  codec->framerate = (AVRational){output->shape.rate_numerator, output->shape.rate_denominator};
  codec->sample_aspect_ratio = (AVRational){1, 1};
  codec->thread_count = 1;
  codec->flags |= AV_CODEC_FLAG_BITEXACT;
  if (writer->format->oformat->flags & AVFMT_GLOBALHEADER) codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  set_colours(codec);
  AVDictionary *options = NULL;
  int code = parse(output->encoder_options, &options);
  // x264 (core 164) reads memory that it never wrote in the AVX-512 part of its lookahead, and so gives other bytes from
  // run to run: narrower vectors do not.
  if (code >= 0 && !strcmp(output->encoder, "libx264") && av_get_cpu_flags() & AV_CPU_FLAG_AVX512) {
    code = av_dict_set(&options, "x264-params", "asm=avx2", 0);
  }
  if (code >= 0) code = avcodec_open2(codec, encoder, &options);
  const int status = code < 0 ? failed(writer, output->encoder, code, error) : refuse_rest(&options, error);
  av_dict_free(&options);
  return status;
}

static int make_frames(CFFmpegWriter *writer, uint8_t *error) {
  const AVCodecContext *codec = writer->codec;
  writer->packet = av_packet_alloc();
  writer->frame = make_frame(codec->pix_fmt, codec->width, codec->height);
  if (!writer->packet || !writer->frame) return fail(CFFMPEG_FAILED, "out of memory", 0, error);
  writer->frame->color_primaries = codec->color_primaries;
  writer->frame->color_trc = codec->color_trc;
  writer->frame->colorspace = codec->colorspace;
  writer->frame->color_range = codec->color_range;
  writer->frame->chroma_location = codec->chroma_sample_location;
  writer->frame->sample_aspect_ratio = codec->sample_aspect_ratio;
  if (codec->pix_fmt != AV_PIX_FMT_YUV420P) return CFFMPEG_DONE;
  writer->rgb = make_frame(AV_PIX_FMT_RGB24, codec->width, codec->height);
  if (writer->rgb) writer->converter = make_converter(writer->rgb, writer->frame);
  return writer->converter ? CFFMPEG_DONE : fail(CFFMPEG_FAILED, "cannot convert the colours", 0, error);
}

static int set_tags(AVFormatContext *format, const uint8_t *tags, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const char *key = (const char *)tags, *value = key + strlen(key) + 1;
    if (av_dict_set(&format->metadata, key, value, 0) < 0) return -1;
    tags = (const uint8_t *)value + strlen(value) + 1;
  }
  return 0;
}

static int start_file(CFFmpegWriter *writer, const Output *output, uint8_t *error) {
  AVFormatContext *format = writer->format;
  AVStream *stream = writer->stream = avformat_new_stream(format, NULL);
  if (!stream || avcodec_parameters_from_context(stream->codecpar, writer->codec) < 0 ||
      set_tags(format, output->tags, output->tag_count) < 0) {
    return fail(CFFMPEG_FAILED, "out of memory", 0, error);
  }
  stream->time_base = writer->codec->time_base;
  stream->avg_frame_rate = writer->codec->framerate;
  stream->sample_aspect_ratio = writer->codec->sample_aspect_ratio;
  // The other tag of H.265 in MP4, hev1, is not played by QuickTime.
  if (writer->codec->codec_id == AV_CODEC_ID_HEVC && !strcmp(output->container, "mp4")) {
    stream->codecpar->codec_tag = MKTAG('h', 'v', 'c', '1');
  }
  int code = avio_open2(&format->pb, format->url, AVIO_FLAG_WRITE, NULL, NULL);
  if (code < 0) return fail(CFFMPEG_IO_FAILED, "", code, error);
  AVDictionary *options = NULL;
  code = parse(output->container_options, &options);
  if (code >= 0) code = avformat_write_header(format, &options);
  const int status = code < 0 ? failed(writer, output->container, code, error) : refuse_rest(&options, error);
  av_dict_free(&options);
  return status;
}

static int open_writer(CFFmpegWriter *writer, const Output *output, uint8_t *error) {
  const AVOutputFormat *container = av_guess_format(output->container, NULL, NULL);
  if (!container) return fail(CFFMPEG_UNAVAILABLE, output->container, 0, error);
  char *address = file_address(output->path);
  const int code =
      address ? avformat_alloc_output_context2(&writer->format, container, NULL, address) : AVERROR(ENOMEM);
  av_free(address);
  if (code < 0) return fail(CFFMPEG_FAILED, output->container, code, error);
  writer->format->flags |= AVFMT_FLAG_BITEXACT;
  writer->width = output->shape.width;
  writer->height = output->shape.height;
  int status = open_encoder(writer, output, error);
  if (!status) status = make_frames(writer, error);
  return status ? status : start_file(writer, output, error);
}

int cffmpeg_open_writer(
    const char *path, const char *container, const char *container_options, const char *encoder,
    const char *encoder_options, const char *pixel_format, CFFmpegShape shape, const uint8_t *tags, size_t tag_count,
    CFFmpegWriter **result, uint8_t error[CFFMPEG_ERROR_SIZE]) {
  const Output output = {
      path, container, container_options, encoder, encoder_options, pixel_format, shape, tags, tag_count};
  start_listening();
  *result = NULL;
  CFFmpegWriter *writer = av_mallocz(sizeof *writer);
  if (!writer) return fail(CFFMPEG_FAILED, "out of memory", 0, error);
  const int status = open_writer(writer, &output, error);
  if (status) {
    cffmpeg_close_writer(writer);
  } else {
    *result = writer;
  }
  return status;
}

int32_t cffmpeg_coded_width(const CFFmpegWriter *writer) { return writer->codec->width; }

int32_t cffmpeg_coded_height(const CFFmpegWriter *writer) { return writer->codec->height; }

// MARK: writing

// Hands a frame to the encoder, or none at the end, and writes the packets that come out.
static int encode(CFFmpegWriter *writer, AVFrame *frame, uint8_t *error) {
  const char *encoder = writer->codec->codec->name;
  int code = avcodec_send_frame(writer->codec, frame);
  if (code < 0) return failed(writer, encoder, code, error);
  while ((code = avcodec_receive_packet(writer->codec, writer->packet)) >= 0) {
    if (!writer->packet->duration) writer->packet->duration = 1;
    av_packet_rescale_ts(writer->packet, writer->codec->time_base, writer->stream->time_base);
    writer->packet->stream_index = writer->stream->index;
    code = av_interleaved_write_frame(writer->format, writer->packet);
    if (code < 0 || writer->format->pb->error < 0) {
      return failed(writer, writer->format->oformat->name, code, error);
    }
  }
  return code == AVERROR(EAGAIN) || code == AVERROR_EOF ? CFFMPEG_DONE : failed(writer, encoder, code, error);
}

static void fill_yuv(const CFFmpegWriter *writer, const uint8_t *pixels) {
  const size_t row = (size_t)writer->width * 3;
  const AVFrame *rgb = writer->rgb, *frame = writer->frame;
  for (int y = 0; y < rgb->height; y++) {
    const int from = y < writer->height ? y : writer->height - 1;
    uint8_t *line = rgb->data[0] + (ptrdiff_t)y * rgb->linesize[0];
    memcpy(line, pixels + (size_t)from * row, row);
    for (int x = writer->width; x < rgb->width; x++) memcpy(line + (size_t)x * 3, line + row - 3, 3);
  }
  const uint8_t *const *source = (const uint8_t *const *)rgb->data;
  sws_scale(writer->converter, source, rgb->linesize, 0, rgb->height, frame->data, frame->linesize);
}

static void fill_bgra(const CFFmpegWriter *writer, const uint8_t *pixels) {
  for (int y = 0; y < writer->height; y++) {
    uint8_t *line = writer->frame->data[0] + (ptrdiff_t)y * writer->frame->linesize[0];
    for (int x = 0; x < writer->width; x++, line += 4, pixels += 3) {
      line[0] = pixels[2];
      line[1] = pixels[1];
      line[2] = pixels[0];
      line[3] = 255;
    }
  }
}

int cffmpeg_write_rgb(CFFmpegWriter *writer, const uint8_t *pixels, uint8_t error[CFFMPEG_ERROR_SIZE]) {
  start_listening();
  AVFrame *frame = writer->frame;
  if (frame->format == AV_PIX_FMT_PAL8) return fail(CFFMPEG_FAILED, "this format takes indexed colours", 0, error);
  // The encoder may still hold the buffer of the frame before.
  const int code = av_frame_make_writable(frame);
  if (code < 0) return failed(writer, "no frame", code, error);
  if (writer->converter) {
    fill_yuv(writer, pixels);
  } else {
    fill_bgra(writer, pixels);
  }
  frame->pts = writer->count++;
  return encode(writer, frame, error);
}

int cffmpeg_write_indexed(
    CFFmpegWriter *writer, const uint8_t *indices, const uint8_t *palette, uint8_t error[CFFMPEG_ERROR_SIZE]) {
  start_listening();
  AVFrame *frame = writer->frame;
  if (frame->format != AV_PIX_FMT_PAL8) return fail(CFFMPEG_FAILED, "this format takes RGB", 0, error);
  const int code = av_frame_make_writable(frame);
  if (code < 0) return failed(writer, "no frame", code, error);
  for (int y = 0; y < writer->height; y++) {
    memcpy(frame->data[0] + (ptrdiff_t)y * frame->linesize[0], indices + (size_t)y * writer->width, writer->width);
  }
  for (int i = 0; i < 256; i++) {
    const uint32_t alpha = i < 255 ? 255 : 0;
    const uint32_t entry = alpha << 24 | palette[3 * i] << 16 | palette[3 * i + 1] << 8 | palette[3 * i + 2];
    memcpy(frame->data[1] + 4 * i, &entry, 4);
  }
  frame->pts = writer->count++;
  return encode(writer, frame, error);
}

int cffmpeg_finish(CFFmpegWriter *writer, uint8_t error[CFFMPEG_ERROR_SIZE]) {
  start_listening();
  const int status = encode(writer, NULL, error);
  if (status) return status;
  int code = av_write_trailer(writer->format);
  if (code >= 0) {
    avio_flush(writer->format->pb);
    code = writer->format->pb->error;
  }
  if (code < 0) return failed(writer, writer->format->oformat->name, code, error);
  code = avio_closep(&writer->format->pb);
  return code < 0 ? fail(CFFMPEG_IO_FAILED, "", code, error) : CFFMPEG_DONE;
}

void cffmpeg_close_writer(CFFmpegWriter *writer) {
  if (!writer) return;
  if (writer->format) avio_closep(&writer->format->pb);
  sws_freeContext(writer->converter);
  av_frame_free(&writer->rgb);
  av_frame_free(&writer->frame);
  av_packet_free(&writer->packet);
  avcodec_free_context(&writer->codec);
  avformat_free_context(writer->format);
  av_free(writer);
}
