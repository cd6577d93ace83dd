#include "shared.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/mem.h>
#include <libavutil/pixdesc.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

struct CFFmpegReader {
  AVFormatContext *format;
  AVCodecContext *codec;
  AVStream *stream;
  struct SwsContext *converter;
  // As decoded, and as handed out.
  AVFrame *frame;
  AVFrame *rgb;
  AVPacket *packet;
  // Of the first frame; a later change is an error.
  int pixel_format;
  int draining;
  int64_t count;
  // Where the last packet ends, in the stream's time base.
  int64_t end;
  uint8_t *tags;
  size_t tags_size;
};

// A file may claim to be a list of other files and addresses to open: those kinds are not listed here.
static const char containers[] = "mov,matroska,gif";
static const char decoders[] = "h264,hevc,libdav1d,libaom-av1,vp9,libvpx-vp9,ffv1,gif";

static int failed(const char *what, int code, uint8_t *error) {
  const int io = code == AVERROR(ENOENT) || code == AVERROR(EACCES) || code == AVERROR(EISDIR);
  return fail(io ? CFFMPEG_IO_FAILED : CFFMPEG_FAILED, io ? "" : what, code, error);
}

static int collect_tags(CFFmpegReader *reader, size_t limit, uint8_t *error) {
  const AVDictionaryEntry *entry = NULL;
  size_t size = 0;
  while ((entry = av_dict_get(reader->format->metadata, "", entry, AV_DICT_IGNORE_SUFFIX))) {
    size += strlen(entry->key) + strlen(entry->value) + 2;
  }
  if (size > limit) return fail(CFFMPEG_FAILED, "too much text", 0, error);
  uint8_t *next = reader->tags = av_malloc(size ? size : 1);
  if (!next) return fail(CFFMPEG_FAILED, "out of memory", 0, error);
  reader->tags_size = size;
  while ((entry = av_dict_get(reader->format->metadata, "", entry, AV_DICT_IGNORE_SUFFIX))) {
    const size_t key = strlen(entry->key) + 1, value = strlen(entry->value) + 1;
    memcpy(next, entry->key, key);
    memcpy(next + key, entry->value, value);
    next += key + value;
  }
  return CFFMPEG_DONE;
}

static int open_file(CFFmpegReader *reader, const char *path, uint8_t *error) {
  AVFormatContext *format = avformat_alloc_context();
  char *address = file_address(path);
  if (format && address) {
    format->format_whitelist = av_strdup(containers);
    format->codec_whitelist = av_strdup(decoders);
    format->protocol_whitelist = av_strdup("file");
  }
  if (!format || !address || !format->format_whitelist || !format->codec_whitelist || !format->protocol_whitelist) {
    av_free(address);
    avformat_free_context(format);
    return fail(CFFMPEG_FAILED, "out of memory", 0, error);
  }
  // A header can ask for far more than a file of its size can fill.
  struct stat file;
  if (stat(path, &file) == 0) av_max_alloc(4 * (size_t)file.st_size + (4 << 20));
  // Frees the context when it fails.
  const int code = avformat_open_input(&format, address, NULL, NULL);
  av_max_alloc(INT_MAX);
  av_free(address);
  if (code < 0) return failed("not a video file", code, error);
  reader->format = format;
  return CFFMPEG_DONE;
}

static int open_decoder(CFFmpegReader *reader, int64_t max_pixels, uint8_t *error) {
  int code = avformat_find_stream_info(reader->format, NULL);
  if (code < 0) return failed("no stream", code, error);
  code = av_find_best_stream(reader->format, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
  if (code < 0) return failed("no video stream", code, error);
  reader->stream = reader->format->streams[code];
  const AVCodecParameters *parameters = reader->stream->codecpar;
  const AVCodec *decoder = avcodec_find_decoder(parameters->codec_id);
  if (!decoder) return fail(CFFMPEG_UNAVAILABLE, avcodec_get_name(parameters->codec_id), 0, error);
  if (parameters->width <= 0 || parameters->height <= 0 ||
      (int64_t)parameters->width * parameters->height > max_pixels) {
    return fail(CFFMPEG_FAILED, "frames empty or too large", 0, error);
  }
  AVCodecContext *codec = reader->codec = avcodec_alloc_context3(decoder);
  if (!codec || avcodec_parameters_to_context(codec, parameters) < 0) {
    return fail(CFFMPEG_FAILED, "out of memory", 0, error);
  }
  codec->thread_count = 1;
  codec->max_pixels = max_pixels;
  codec->err_recognition = AV_EF_CRCCHECK | AV_EF_BITSTREAM | AV_EF_BUFFER | AV_EF_EXPLODE;
  codec->codec_whitelist = av_strdup(decoders);
  codec->pkt_timebase = reader->stream->time_base;
  code = avcodec_open2(codec, decoder, NULL);
  if (code < 0) return failed(decoder->name, code, error);
  reader->frame = av_frame_alloc();
  reader->packet = av_packet_alloc();
  AVFrame *rgb = reader->rgb = av_frame_alloc();
  if (!reader->frame || !reader->packet || !rgb) return fail(CFFMPEG_FAILED, "out of memory", 0, error);
  rgb->format = AV_PIX_FMT_RGB24;
  rgb->width = parameters->width;
  rgb->height = parameters->height;
  code = av_frame_get_buffer(rgb, 0);
  return code < 0 ? failed("no frame", code, error) : CFFMPEG_DONE;
}

int cffmpeg_open_reader(
    const char *path, int decode, int64_t max_pixels, size_t max_tag_bytes, CFFmpegReader **result,
    uint8_t error[CFFMPEG_ERROR_SIZE]) {
  start_listening();
  *result = NULL;
  CFFmpegReader *reader = av_mallocz(sizeof *reader);
  if (!reader) return fail(CFFMPEG_FAILED, "out of memory", 0, error);
  int status = open_file(reader, path, error);
  if (!status) status = collect_tags(reader, max_tag_bytes, error);
  if (!status && decode) status = open_decoder(reader, max_pixels, error);
  if (status) {
    cffmpeg_close_reader(reader);
  } else {
    *result = reader;
  }
  return status;
}

static const char *text(const char *name) { return name ? name : "unknown"; }

CFFmpegDescription cffmpeg_describe(const CFFmpegReader *reader) {
  CFFmpegDescription result = {
      reader->format->iformat->name, "", "", "", "", "", "", {0, 0, 0, 0}, reader->tags, reader->tags_size};
  if (!reader->codec) return result;
  const AVCodecParameters *stream = reader->stream->codecpar;
  result.codec = avcodec_get_name(stream->codec_id);
  result.pixel_format = text(av_get_pix_fmt_name(stream->format));
  result.primaries = text(av_color_primaries_name(stream->color_primaries));
  result.transfer = text(av_color_transfer_name(stream->color_trc));
  result.matrix = text(av_color_space_name(stream->color_space));
  result.range = text(av_color_range_name(stream->color_range));
  const AVRational rate = reader->stream->avg_frame_rate;
  result.shape = (CFFmpegShape){stream->width, stream->height, rate.num, rate.den};
  return result;
}

// Gives the decoder the next packet of the stream, or word that there is none.
static int feed(CFFmpegReader *reader, uint8_t *error) {
  AVPacket *packet = reader->packet;
  int code;
  while ((code = av_read_frame(reader->format, packet)) >= 0) {
    if (packet->stream_index == reader->stream->index) break;
    av_packet_unref(packet);
  }
  if (code < 0 && code != AVERROR_EOF) return failed("damaged file", code, error);
  if (code >= 0 && packet->flags & AV_PKT_FLAG_CORRUPT) {
    av_packet_unref(packet);
    return fail(CFFMPEG_FAILED, "the file ends early", 0, error);
  }
  reader->draining = code == AVERROR_EOF;
  if (!reader->draining && packet->pts != AV_NOPTS_VALUE) {
    reader->end = FFMAX(reader->end, packet->pts + packet->duration);
  }
  code = avcodec_send_packet(reader->codec, reader->draining ? NULL : packet);
  av_packet_unref(packet);
  return code < 0 && code != AVERROR_EOF ? failed("damaged frame", code, error) : CFFMPEG_DONE;
}

// A file cut between two frames shows where the container counts them, or says how long it is.
static int misses_frames(const CFFmpegReader *reader) {
  const AVFormatContext *format = reader->format;
  const AVStream *stream = reader->stream;
  if (reader->count == 0 || reader->count < stream->nb_frames) return 1;
  const int states_duration = format->nb_streams == 1 && format->duration > 0 && stream->avg_frame_rate.num > 0 &&
                              format->duration_estimation_method == AVFMT_DURATION_FROM_STREAM;
  if (!states_duration) return 0;
  const int64_t start = format->start_time == AV_NOPTS_VALUE ? 0 : format->start_time;
  const int64_t end = av_rescale_q(reader->end, stream->time_base, AV_TIME_BASE_Q);
  return end + av_rescale_q(1, av_inv_q(stream->avg_frame_rate), AV_TIME_BASE_Q) / 2 < start + format->duration;
}

static void copy_bgra(const AVFrame *frame, uint8_t *pixels) {
  for (int y = 0; y < frame->height; y++) {
    const uint8_t *line = frame->data[0] + (ptrdiff_t)y * frame->linesize[0];
    for (int x = 0; x < frame->width; x++, line += 4, pixels += 3) {
      pixels[0] = line[2];
      pixels[1] = line[1];
      pixels[2] = line[0];
    }
  }
}

static int convert(CFFmpegReader *reader, uint8_t *pixels, uint8_t *error) {
  const AVFrame *frame = reader->frame, *rgb = reader->rgb;
  if (reader->count == 0) reader->pixel_format = frame->format;
  if (frame->width != rgb->width || frame->height != rgb->height || frame->format != reader->pixel_format) {
    return fail(CFFMPEG_FAILED, "frames of several kinds", 0, error);
  }
  reader->count++;
  if (frame->format == AV_PIX_FMT_BGR0 || frame->format == AV_PIX_FMT_BGRA) {
    copy_bgra(frame, pixels);
    return CFFMPEG_DONE;
  }
  if (!reader->converter) reader->converter = make_converter(frame, rgb);
  if (!reader->converter) return fail(CFFMPEG_FAILED, "cannot convert the colours", 0, error);
  const uint8_t *const *source = (const uint8_t *const *)frame->data;
  sws_scale(reader->converter, source, frame->linesize, 0, frame->height, rgb->data, rgb->linesize);
  const size_t row = (size_t)rgb->width * 3;
  for (int y = 0; y < rgb->height; y++) {
    memcpy(pixels + (size_t)y * row, rgb->data[0] + (ptrdiff_t)y * rgb->linesize[0], row);
  }
  return CFFMPEG_DONE;
}

int cffmpeg_read_rgb(CFFmpegReader *reader, uint8_t *pixels, uint8_t error[CFFMPEG_ERROR_SIZE]) {
  start_listening();
  if (!reader->codec) return fail(CFFMPEG_FAILED, "opened for its tags only", 0, error);
  for (;;) {
    const int code = avcodec_receive_frame(reader->codec, reader->frame);
    if (code >= 0) {
      const int status = convert(reader, pixels, error);
      av_frame_unref(reader->frame);
      return status;
    }
    if (code == AVERROR_EOF) {
      return misses_frames(reader) ? fail(CFFMPEG_FAILED, "frames are missing", 0, error) : CFFMPEG_END;
    }
    if (code != AVERROR(EAGAIN)) return failed("damaged frame", code, error);
    if (reader->draining) return fail(CFFMPEG_FAILED, "damaged frame", 0, error);
    const int status = feed(reader, error);
    if (status) return status;
  }
}

void cffmpeg_close_reader(CFFmpegReader *reader) {
  if (!reader) return;
  sws_freeContext(reader->converter);
  av_frame_free(&reader->frame);
  av_frame_free(&reader->rgb);
  av_packet_free(&reader->packet);
  avcodec_free_context(&reader->codec);
  avformat_close_input(&reader->format);
  av_free(reader->tags);
  av_free(reader);
}
