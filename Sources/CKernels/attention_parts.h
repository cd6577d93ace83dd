// What the attention kernels of all precisions share: sizes, tokens in plan order, powers of two, prefetching.
#pragma once
#include "dispatch.h"
#include <math.h>
#include <string.h>

enum { KEYS = TK_ATTENTION_KEYS, ROWS = TK_ATTENTION_ROWS, TILE = 256, GROUP = 8 };
// Scores of absent keys: far below any real one, and finite, so that their differences are numbers.
#define ABSENT (-1e30f)

static size_t rounded(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

TK_INLINE float bits_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
TK_INLINE size_t token_at(const int32_t *tokens, size_t index) { return tokens ? (size_t)tokens[index] : index; }

TK_INLINE float exp2_plain(float x) {
  x = x < -126.0f ? -126.0f : x;
  float shifted = x + 12582912.0f; // 1.5 * 2^23: the low bits are now round(x)
  float f = x - (shifted - 12582912.0f);
  float p = 1.3390839e-3f;
  p = p * f + 9.6184370e-3f;
  p = p * f + 5.5503324e-2f;
  p = p * f + 2.4022651e-1f;
  p = p * f + 6.9314718e-1f;
  p = p * f + 1.0f;
  uint32_t bits;
  memcpy(&bits, &shifted, 4);
  uint32_t power = (bits + 127) << 23;
  return p * bits_float(power);
}

#if TK_X86
// Panels lie apart, each at a page's begin as often as not, where the processor's own prefetching stops: what the next
// pair of panels needs is asked for while this one is computed, a share with each group of rows.
TK_INLINE TK_TARGET_AVX512 void prefetch_share(const void *from, size_t bytes, size_t share, size_t shares) {
  const char *at = from;
  size_t lines = bytes / 64, end = lines * (share + 1) / shares;
  for (size_t line = lines * share / shares; line < end; line++) _mm_prefetch(at + line * 64, _MM_HINT_T1);
}
#endif
