#include "shared.h"

#include <libavutil/avstring.h>
#include <libavutil/error.h>
#include <libavutil/log.h>
#include <libavutil/mem.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

// The first message since start_listening: later ones are consequences.
static _Thread_local char logged[160];

static void listen_to(void *source, int level, const char *format, va_list arguments) {
  (void)source;
  if (level > AV_LOG_ERROR || logged[0]) return;
  vsnprintf(logged, sizeof logged, format, arguments);
  for (char *c = logged; *c; c++) {
    if ((unsigned char)*c < ' ') *c = ' ';
  }
  for (size_t end = strlen(logged); end && strchr(" .:", logged[end - 1]);) logged[--end] = 0;
}

static void set_listener(void) { av_log_set_callback(listen_to); }

void start_listening(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, set_listener);
  logged[0] = 0;
}

int fail(int status, const char *what, int code, uint8_t error[CFFMPEG_ERROR_SIZE]) {
  char words[AV_ERROR_MAX_STRING_SIZE] = "";
  if (code) av_strerror(code, words, sizeof words);
  snprintf(
      (char *)error, CFFMPEG_ERROR_SIZE, "%s%s%s%s%s%s", what, *what && *words ? ": " : "", words,
      *logged ? " (" : "", logged, *logged ? ")" : "");
  return status;
}

char *file_address(const char *path) { return av_asprintf("file:%s", path); }

static int is_yuv(const AVFrame *frame) {
  const AVPixFmtDescriptor *description = av_pix_fmt_desc_get(frame->format);
  return description && description->nb_components >= 3 && !(description->flags & AV_PIX_FMT_FLAG_RGB);
}

// Files that do not name their matrix are taken for BT.709 when large and BT.601 when small, as players do.
static const int *coefficients(const AVFrame *frame) {
  int matrix = frame->colorspace;
  if (matrix == AVCOL_SPC_UNSPECIFIED) matrix = frame->height >= 720 ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
  return sws_getCoefficients(matrix);
}

struct SwsContext *make_converter(const AVFrame *from, const AVFrame *to) {
  struct SwsContext *converter = sws_alloc_context();
  if (!converter) return NULL;
  // Full chroma both ways: without it one of two neighbours is dropped instead of averaged.
  int flags = SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP;
  av_opt_set_int(converter, "sws_flags", flags, 0);
  av_opt_set_int(converter, "srcw", from->width, 0);
  av_opt_set_int(converter, "srch", from->height, 0);
  av_opt_set_int(converter, "src_format", from->format, 0);
  av_opt_set_int(converter, "dstw", to->width, 0);
  av_opt_set_int(converter, "dsth", to->height, 0);
  av_opt_set_int(converter, "dst_format", to->format, 0);
  const AVFrame *yuv = is_yuv(from) ? from : is_yuv(to) ? to : NULL;
  if (yuv) {
    // In 1/256 of a luma pixel.
    av_opt_set_int(converter, yuv == from ? "src_h_chr_pos" : "dst_h_chr_pos", 0, 0);
    av_opt_set_int(converter, yuv == from ? "src_v_chr_pos" : "dst_v_chr_pos", 128, 0);
  }
  if (sws_init_context(converter, NULL, NULL) < 0) {
    sws_freeContext(converter);
    return NULL;
  }
  if (yuv) {
    const int full_from = yuv != from || from->color_range == AVCOL_RANGE_JPEG;
    const int full_to = yuv != to || to->color_range == AVCOL_RANGE_JPEG;
    const int *table = coefficients(yuv);
    if (sws_setColorspaceDetails(converter, table, full_from, table, full_to, 0, 1 << 16, 1 << 16) < 0) {
      sws_freeContext(converter);
      return NULL;
    }
  }
  return converter;
}
