// What the attention kernels of all precisions share: sizes, tokens in plan order, powers of two, prefetching.
#pragma once
#include "dispatch.h"
#include <math.h>
#include <string.h>

// Queries are taken by groups of 8, keys by three panels and values by up to three vectors of channels at a time: three
// vectors by eight rows of sums are what registers hold. A tile of scores is a whole number of such threes, and even.
enum { KEYS = TK_ATTENTION_KEYS, ROWS = TK_ATTENTION_ROWS, TILE = 576, GROUP = 8 };
// Scores of absent keys: far below any real one, and finite, so that their differences are numbers.
#define ABSENT (-1e30f)

static size_t rounded(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

// Channels of a chunk of values, and of the one that begins at channel `start`: whole vectors, as even as three at most
// allow.
static size_t chunk_size(size_t size) {
  size_t vectors = (size + 15) / 16, chunks = (vectors + 2) / 3;
  return (vectors + chunks - 1) / chunks * 16;
}
static size_t chunk_width(size_t size, size_t start) {
  return size - start < chunk_size(size) ? rounded(size - start, 16) : chunk_size(size);
}

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
TK_INLINE TK_TARGET_AVX512 float largest_wide(size_t width, const float *scores) {
  __m512 a = _mm512_loadu_ps(scores), b = a;
  for (size_t j = 0; j < width; j += 2 * KEYS) {
    a = _mm512_max_ps(a, _mm512_loadu_ps(scores + j));
    b = _mm512_max_ps(b, _mm512_loadu_ps(scores + j + KEYS));
  }
  return _mm512_reduce_max_ps(_mm512_max_ps(a, b));
}

// 2^x for x of at most 0, to 1e-4 and exact at 0: enough for what is rounded to bf16 or to 255 steps.
TK_INLINE TK_TARGET_AVX512 __m512 exp2_coarse_wide(__m512 x) {
  __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 f = _mm512_sub_ps(x, whole);
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(5.5008930e-2f), f, _mm512_set1_ps(2.4221097e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9328293e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1));
  return _mm512_scalef_ps(p, whole);
}

// Panels lie apart, each at a page's begin as often as not, where the processor's own prefetching stops: what the next
// pair of panels needs is asked for while this one is computed, a share with each group of rows.
TK_INLINE TK_TARGET_AVX512 void prefetch_share(const void *from, size_t bytes, size_t share, size_t shares) {
  const char *at = from;
  size_t lines = bytes / 64, end = lines * (share + 1) / shares;
  for (size_t line = lines * share / shares; line < end; line++) _mm_prefetch(at + line * 64, _MM_HINT_T1);
}
// The same for a loop of `steps`: some lines at every eighth step. A processor has few requests under way, and what it
// needs at once waits behind them; keys and values come from memory, not from a cache, when a head has many.
typedef struct {
  const char *at;
  size_t each;
} lines_ahead;
TK_INLINE lines_ahead lines_of(const void *from, size_t bytes, size_t share, size_t shares, size_t steps) {
  size_t lines = bytes / 64, times = (steps + 7) / 8 * shares;
  return (lines_ahead){(const char *)from + lines * share / shares * 64, (lines + times - 1) / times};
}
TK_INLINE TK_TARGET_AVX512 void fetch_lines(lines_ahead *ahead) {
  for (size_t i = 0; i < ahead->each; i++) _mm_prefetch(ahead->at + i * 64, _MM_HINT_T1);
  ahead->at += ahead->each * 64;
}
// What is needed right after a block is asked for in its last steps, to be in the cache still: the next queries, and keys
// and values of another head. A step is a group of queries against three panels.
typedef struct {
  size_t left, queries, ahead; // steps to come; rows to ask for at each
} fetching;
TK_INLINE fetching fetching_of(const tk_attention_block *b) {
  size_t steps = (b->panels + 2) / 3 * (rounded(b->rows, GROUP) / GROUP);
  return (fetching){steps, (b->next_rows + steps - 1) / steps, (b->ahead_rows + steps - 1) / steps};
}
// Rows of x by distance from the last of `count`, at plan positions from `first` on.
TK_INLINE TK_TARGET_AVX512 void fetch_rows(size_t left, size_t each, size_t count, const float *x, const int32_t *tokens,
                                           size_t first, size_t size) {
  for (size_t row = left * each; row < count && row < (left + 1) * each; row++)
    prefetch_share(x + token_at(tokens, first + count - 1 - row) * size, 4 * size, 0, 1);
}
TK_INLINE TK_TARGET_AVX512 void fetch_step(const tk_attention_block *b, fetching *f) {
  f->left--;
  fetch_rows(f->left, f->queries, b->next_rows, b->q, b->query_tokens, b->first + b->rows, b->size);
  fetch_rows(f->left, f->ahead, b->ahead_rows, b->ahead_keys, b->ahead_tokens, b->ahead_first, b->size);
  fetch_rows(f->left, f->ahead, b->ahead_rows, b->ahead_values, b->ahead_tokens, b->ahead_first, b->size);
}
#endif
