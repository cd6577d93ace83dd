// Right-hand sides of products into the micro-kernels' order: for each panel of outputs, word after word of its rows. A
// word is a float, a pair of bf16 or four bytes.
#include "bfloat16.h"
#include "integers.h"
#include "transpose.h"

size_t tk_packed_count(size_t n, size_t words) { return (n + TK_PANEL - 1) / TK_PANEL * TK_PANEL * words; }

// ---- One word of a row, by the type of what is stored and of what is packed.

typedef struct {
  const void *w; // [n][k]
  size_t n, k, ldw;
} matrix;

TK_INLINE uint32_t word_f32(const matrix *m, size_t row, size_t word) {
  uint32_t bits;
  memcpy(&bits, (const float *)m->w + row * m->ldw + word, 4);
  return bits;
}
TK_INLINE uint32_t word_bf16_f32(const matrix *m, size_t row, size_t word) {
  const float *from = (const float *)m->w + row * m->ldw + 2 * word;
  return to_bf16(from[0]) | (2 * word + 1 < m->k ? (uint32_t)to_bf16(from[1]) << 16 : 0);
}
TK_INLINE uint32_t word_bf16(const matrix *m, size_t row, size_t word) {
  const uint16_t *from = (const uint16_t *)m->w + row * m->ldw + 2 * word;
  uint16_t low, high = 0;
  memcpy(&low, from, 2);
  if (2 * word + 1 < m->k) memcpy(&high, from + 1, 2);
  return low | (uint32_t)high << 16;
}

#if TK_X86
// 16 words of a row.
TK_INLINE TK_TARGET_AVX512 __m512i words_f32(const matrix *m, size_t row, size_t word) {
  return _mm512_loadu_si512((const float *)m->w + row * m->ldw + word);
}
TK_INLINE TK_TARGET_AVX512 __m512i words_bf16(const matrix *m, size_t row, size_t word) {
  return _mm512_loadu_si512((const uint16_t *)m->w + row * m->ldw + 2 * word);
}
TK_INLINE TK_TARGET_AVX512 __m512i rounded_bf16(__m512i bits) {
  __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i near = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  __mmask16 nan = _mm512_cmpgt_epu32_mask(_mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff)),
                                          _mm512_set1_epi32(0x7f800000));
  return _mm512_mask_or_epi32(near, nan, bits, _mm512_set1_epi32(0x400000));
}
TK_INLINE TK_TARGET_AVX512 __m512i words_bf16_f32(const matrix *m, size_t row, size_t word) {
  static const uint16_t high_halves[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                                           33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
  const float *from = (const float *)m->w + row * m->ldw + 2 * word;
  __m512i low = rounded_bf16(_mm512_loadu_si512(from)), high = rounded_bf16(_mm512_loadu_si512(from + 16));
  return _mm512_permutex2var_epi16(low, _mm512_loadu_si512(high_halves), high);
}
#endif

// ---- A panel. `whole` counts the words of a row that lie in memory without a gap.

#define PACK(NAME, WORD, WORDS)                                                                                        \
  static void NAME##_plain(size_t panel, const matrix *m, size_t from, size_t words, uint32_t *out) {                  \
    size_t first = panel * TK_PANEL, count = m->n - first < TK_PANEL ? m->n - first : TK_PANEL;                        \
    for (size_t word = from; word < words; word++)                                                                     \
      for (size_t j = 0; j < TK_PANEL; j++) out[word * TK_PANEL + j] = j < count ? WORD(m, first + j, word) : 0;       \
  }                                                                                                                    \
  PACK_WIDE(NAME, WORDS)                                                                                               \
  static void NAME(size_t panel, const matrix *m, size_t whole, size_t words, uint32_t *packed) {                      \
    uint32_t *out = packed + panel * TK_PANEL * words;                                                                 \
    NAME##_plain(panel, m, WIDE_PART(NAME, panel, m, whole, out), words, out);                                         \
  }
#if TK_X86
#define PACK_WIDE(NAME, WORDS)                                                                                         \
  TK_TARGET_AVX512 static size_t NAME##_wide(size_t panel, const matrix *m, size_t whole, uint32_t *out) {             \
    size_t first = panel * TK_PANEL, word = 0;                                                                         \
    for (; word + 16 <= whole; word += 16)                                                                             \
      for (size_t j = 0; j < TK_PANEL; j += 16) {                                                                      \
        __m512i in[16];                                                                                                \
        FULL_UNROLL for (size_t i = 0; i < 16; i++)                                                                    \
          in[i] = first + j + i < m->n ? WORDS(m, first + j + i, word) : _mm512_setzero_si512();                       \
        transpose16(in, out + word * TK_PANEL + j, TK_PANEL);                                                          \
      }                                                                                                                \
    return word;                                                                                                       \
  }
#define WIDE_PART(NAME, panel, m, whole, out) tk_cpu_level() >= TK_AVX512 ? NAME##_wide(panel, m, whole, out) : 0
#else
#define PACK_WIDE(NAME, WORDS)
#define WIDE_PART(NAME, panel, m, whole, out) 0
#endif

PACK(pack_f32, word_f32, words_f32)
PACK(pack_bf16_from_f32, word_bf16_f32, words_bf16_f32)
PACK(pack_bf16, word_bf16, words_bf16)

void tk_pack_f32(size_t panel, size_t n, size_t k, const float *w, size_t ldw, float *packed) {
  pack_f32(panel, &(matrix){w, n, k, ldw}, k, k, (uint32_t *)packed);
}
void tk_pack_bf16_from_f32(size_t panel, size_t n, size_t k, const float *w, size_t ldw, uint32_t *packed) {
  pack_bf16_from_f32(panel, &(matrix){w, n, k, ldw}, k / 2, (k + 1) / 2, packed);
}
void tk_pack_bf16_from_bf16(size_t panel, size_t n, size_t k, const uint16_t *w, size_t ldw, uint32_t *packed) {
  pack_bf16(panel, &(matrix){w, n, k, ldw}, k / 2, (k + 1) / 2, packed);
}

void tk_pack_transposed_f32(size_t panel, size_t n, size_t k, const float *w, size_t ldw, float *packed) {
  float *out = packed + panel * TK_PANEL * k;
  size_t first = panel * TK_PANEL, count = n - first < TK_PANEL ? n - first : TK_PANEL;
  for (size_t i = 0; i < k; i++) {
    memcpy(out + i * TK_PANEL, w + i * ldw + first, count * sizeof *w);
    if (count < TK_PANEL) memset(out + i * TK_PANEL + count, 0, (TK_PANEL - count) * sizeof *w);
  }
}

// ---- Back from products with the matrix on the left

static void transpose_part(size_t m, size_t from, size_t to, size_t n, const float *x, const float *bias, float *y,
                           size_t ldy) {
  for (size_t j = from; j < to; j++)
    for (size_t i = 0; i < m; i++) y[j * ldy + i] = x[i * n + j] + (bias ? bias[i] : 0);
}

#if TK_X86
// Whole blocks of 16 x 16; where they end.
TK_TARGET_AVX512 static void transpose_wide(size_t m, size_t n, const float *x, const float *bias, float *y, size_t ldy) {
  size_t j = 0;
  for (; j + 16 <= n; j += 16) {
    size_t i = 0;
    for (; i + 16 <= m; i += 16) {
      __m512i in[16];
      FULL_UNROLL for (size_t l = 0; l < 16; l++) {
        __m512 row = _mm512_loadu_ps(x + (i + l) * n + j);
        in[l] = (__m512i)_mm512_add_ps(row, _mm512_set1_ps(bias ? bias[i + l] : 0));
      }
      transpose16(in, (uint32_t *)(y + j * ldy + i), ldy);
    }
    transpose_part(m - i, j, j + 16, n, x + i * n, bias ? bias + i : 0, y + i, ldy);
  }
  transpose_part(m, j, n, n, x, bias, y, ldy);
}
#endif

void tk_transpose(size_t m, size_t n, const float *x, const float *bias, float *y, size_t ldy) {
#if TK_X86
  if (tk_cpu_level() >= TK_AVX512) {
    transpose_wide(m, n, x, bias, y, ldy);
    return;
  }
#endif
  transpose_part(m, 0, n, n, x, bias, y, ldy);
}

// ---- 8-bit integers: each row in steps of its own, rounded a stretch at a time.

enum { STRETCH = 256 };

TK_INLINE void stretch_to_int8_body(size_t count, const float *x, float inverse, int8_t *y) {
  for (size_t i = 0; i < count; i++) y[i] = (int8_t)whole(x[i], inverse);
}
TK_DISPATCH_LOCAL(stretch_to_int8, (size_t count, const float *x, float inverse, int8_t *y), (count, x, inverse, y))

TK_INLINE void survey_body(size_t count, const float *x, float *largest) { *largest = largest_of(count, x); }
TK_DISPATCH_LOCAL(survey, (size_t count, const float *x, float *largest), (count, x, largest))

void tk_pack_int8(size_t panel, size_t n, size_t k, const float *w, size_t ldw, uint32_t *packed, float *scales,
                  int32_t *offsets) {
  size_t quads = (k + 3) / 4, first = panel * TK_PANEL, count = n - first < TK_PANEL ? n - first : TK_PANEL;
  float inverses[TK_PANEL];
  for (size_t j = 0; j < count; j++) {
    float largest;
    survey(k, w + (first + j) * ldw, &largest);
    inverses[j] = steps_of(largest);
    scales[first + j] = largest / 127;
    offsets[first + j] = 0;
  }
  for (size_t start = 0; start < k; start += STRETCH) {
    size_t length = k - start < STRETCH ? k - start : STRETCH, words = (length + 3) / 4;
    uint32_t rows[TK_PANEL][STRETCH / 4];
    memset(rows, 0, sizeof rows);
    for (size_t j = 0; j < count; j++) {
      stretch_to_int8(length, w + (first + j) * ldw + start, inverses[j], (int8_t *)rows[j]);
      int32_t sum = 0;
      for (size_t i = 0; i < 4 * words; i++) sum += ((const int8_t *)rows[j])[i];
      offsets[first + j] += ZERO * sum;
    }
    // The rows are a matrix of words by themselves.
    matrix m = {rows, TK_PANEL, STRETCH / 4, STRETCH / 4};
    pack_f32(0, &m, words, words, packed + (panel * quads + start / 4) * TK_PANEL);
  }
}
