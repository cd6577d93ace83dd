// Blocks of products that keep their sums in registers, of up to 4 rows by two vectors of 8 lanes: what AVX2 and the
// portable path compute with. Numbers are in the compiler's own vectors, one register of AVX2 or two of SSE and NEON.
// Right-hand sides are packed: entry k of output j is at `b[k * ldb + j]`. Each sum runs over k in order.
#pragma once
#include "dispatch.h"
#include <string.h>

// Of 16 registers 8 then hold sums, and both halves of bf16 operands have room. Measured against three vectors: faster.
enum { LANES = 8, LANE_ROWS = 4, LANE_VECTORS = 2, LANE_WIDTH = LANE_VECTORS * LANES };
typedef float floats8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef uint32_t words8 __attribute__((vector_size(32), aligned(4), may_alias));

TK_INLINE void add_f32(const int rows, size_t k, const float *a, size_t lda, const float *b, size_t ldb,
                       floats8 (*s)[LANE_VECTORS]) {
  for (size_t l = 0; l < k; l++) {
    floats8 w[LANE_VECTORS];
    FULL_UNROLL for (int j = 0; j < LANE_VECTORS; j++) w[j] = *(const floats8 *)(b + l * ldb + LANES * j);
    FULL_UNROLL for (int i = 0; i < rows; i++) {
      float value = a[i * lda + l];
      FULL_UNROLL for (int j = 0; j < LANE_VECTORS; j++) s[i][j] += value * w[j];
    }
  }
}

// Pairs of bf16: the low ones of a pair first.
TK_INLINE void add_bf16(const int rows, size_t pairs, const uint16_t *a, size_t lda, const uint32_t *b,
                        size_t ldb, floats8 (*s)[LANE_VECTORS]) {
  for (size_t l = 0; l < pairs; l++) {
    floats8 low[LANE_VECTORS], high[LANE_VECTORS];
    FULL_UNROLL for (int j = 0; j < LANE_VECTORS; j++) {
      words8 both = *(const words8 *)(b + l * ldb + LANES * j);
      low[j] = (floats8)(both << 16);
      high[j] = (floats8)(both & 0xffff0000u);
    }
    FULL_UNROLL for (int i = 0; i < rows; i++) {
      uint32_t pair;
      memcpy(&pair, a + i * lda + 2 * l, 4);
      words8 both = pair - (words8){0};
      floats8 first = (floats8)(both << 16), second = (floats8)(both & 0xffff0000u);
      FULL_UNROLL for (int j = 0; j < LANE_VECTORS; j++) s[i][j] += first * low[j];
      FULL_UNROLL for (int j = 0; j < LANE_VECTORS; j++) s[i][j] += second * high[j];
    }
  }
}

// A row's sums from memory and back, where `count` of them are.
TK_INLINE void load_lanes(floats8 *s, const float *from, size_t count) {
  float part[LANE_WIDTH] = {0};
  if (count < LANE_WIDTH) memcpy(part, from, count * sizeof *from), from = part;
  FULL_UNROLL for (int j = 0; j < LANE_VECTORS; j++) s[j] = *(const floats8 *)(from + LANES * j);
}
TK_INLINE void store_lanes(const floats8 *s, float *to, size_t count) {
  float part[LANE_WIDTH], *out = count < LANE_WIDTH ? part : to;
  FULL_UNROLL for (int j = 0; j < LANE_VECTORS; j++) *(floats8 *)(out + LANES * j) = s[j];
  if (out == part) memcpy(to, part, count * sizeof *to);
}

#if TK_X86
// Quads of 8-bit integers, those of `a` unsigned. The plain instructions of AVX2 would saturate where two products of
// bytes are added, so bytes are widened to words: even ones, then odd ones.
TK_INLINE TK_TARGET_AVX2 void add_int8_avx2(const int rows, size_t quads, const uint8_t *a, size_t lda,
                                            const uint32_t *b, size_t ldb, __m256i (*s)[LANE_VECTORS]) {
  __m256i bytes = _mm256_set1_epi16(255);
  for (size_t l = 0; l < quads; l++) {
    __m256i even[LANE_VECTORS], odd[LANE_VECTORS];
    FULL_UNROLL for (int j = 0; j < LANE_VECTORS; j++) {
      __m256i w = _mm256_loadu_si256((const __m256i *)(b + l * ldb + LANES * j));
      even[j] = _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8);
      odd[j] = _mm256_srai_epi16(w, 8);
    }
    FULL_UNROLL for (int i = 0; i < rows; i++) {
      int quad;
      memcpy(&quad, a + i * lda + 4 * l, 4);
      __m256i value = _mm256_set1_epi32(quad), first = _mm256_and_si256(value, bytes),
              second = _mm256_srli_epi16(value, 8);
      FULL_UNROLL for (int j = 0; j < LANE_VECTORS; j++) {
        s[i][j] = _mm256_add_epi32(s[i][j], _mm256_madd_epi16(first, even[j]));
        s[i][j] = _mm256_add_epi32(s[i][j], _mm256_madd_epi16(second, odd[j]));
      }
    }
  }
}

TK_INLINE TK_TARGET_AVX2_VNNI void add_int8_avx2_vnni(const int rows, size_t quads, const uint8_t *a,
                                                      size_t lda, const uint32_t *b, size_t ldb, __m256i (*s)[LANE_VECTORS]) {
  for (size_t l = 0; l < quads; l++) {
    __m256i w[LANE_VECTORS];
    FULL_UNROLL for (int j = 0; j < LANE_VECTORS; j++) w[j] = _mm256_loadu_si256((const __m256i *)(b + l * ldb + LANES * j));
    FULL_UNROLL for (int i = 0; i < rows; i++) {
      int quad;
      memcpy(&quad, a + i * lda + 4 * l, 4);
      __m256i value = _mm256_set1_epi32(quad);
      FULL_UNROLL for (int j = 0; j < LANE_VECTORS; j++) s[i][j] = _mm256_dpbusd_avx_epi32(s[i][j], value, w[j]);
    }
  }
}
#endif
