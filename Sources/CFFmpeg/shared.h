// What writer and reader share.
#pragma once
#include "CFFmpeg.h"

#include <libavutil/frame.h>
#include <libswscale/swscale.h>

/// Sends FFmpeg's log to nowhere but the last messages kept for `fail`, and forgets those of this thread.
void start_listening(void);

/// Writes "what: FFmpeg's words for code (what it logged last)" and returns `status`. A code of 0 has no words.
int fail(int status, const char *what, int code, uint8_t error[CFFMPEG_ERROR_SIZE]);

/// FFmpeg takes a path with a colon for an address. To be freed with av_free; null without memory.
char *file_address(const char *path);

/// A converter between RGB24 and `frame`'s kind of pixels, of equal size; null when there is none. Chroma lies at the
/// left, as in MPEG-2 and H.264.
struct SwsContext *make_converter(const AVFrame *from, const AVFrame *to);
