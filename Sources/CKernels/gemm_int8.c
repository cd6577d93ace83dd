// Products of 8-bit integers: weights with a scale for each output, activations with a scale for each row. Sums are
// exact, so every code path gives the same integers.
#include "integers.h"
#include "lanes.h"

TK_INLINE void tk_rows_to_int8_body(size_t m, size_t k, const float *x, size_t ldx, uint8_t *y, size_t ldy,
                                    float *scales) {
  for (size_t i = 0; i < m; i++) {
    const float *row = x + i * ldx;
    uint8_t *out = y + i * ldy;
    float largest = largest_of(k, row), inverse = steps_of(largest);
    scales[i] = largest / 127;
    for (size_t j = 0; j < k; j++) out[j] = (uint8_t)(ZERO + whole(row[j], inverse));
    for (size_t j = k; j < ldy; j++) out[j] = ZERO;
  }
}
TK_DISPATCH(tk_rows_to_int8,
            (size_t m, size_t k, const float *x, size_t ldx, uint8_t *y, size_t ldy, float *scales),
            (m, k, x, ldx, y, ldy, scales))

// One row by a panel of outputs, in plain loops.
TK_INLINE void plain_int8(size_t rows, size_t quads, const uint8_t *a, size_t lda, const uint32_t *b, int32_t *sums) {
  for (size_t i = 0; i < rows; i++) {
    int32_t *sum = sums + i * TK_PANEL;
    for (size_t j = 0; j < TK_PANEL; j++) sum[j] = 0;
    for (size_t l = 0; l < quads; l++) {
      const uint8_t *values = a + i * lda + 4 * l;
      int32_t x0 = values[0], x1 = values[1], x2 = values[2], x3 = values[3];
      for (size_t j = 0; j < TK_PANEL; j++) {
        uint32_t quad = b[l * TK_PANEL + j];
        sum[j] += x0 * (int8_t)quad + x1 * (int8_t)(quad >> 8) + x2 * (int8_t)(quad >> 16) + x3 * (int8_t)(quad >> 24);
      }
    }
  }
}

#if TK_X86

TK_INLINE TK_TARGET_VNNI void wide_int8(const int rows, const int vectors, size_t quads, const uint8_t *a, size_t lda,
                                        const uint32_t *b, int32_t *sums) {
  __m512i s[8][3];
  FULL_UNROLL for (int i = 0; i < rows; i++)
    FULL_UNROLL for (int j = 0; j < vectors; j++) s[i][j] = _mm512_setzero_si512();
  for (size_t l = 0; l < quads; l++) {
    __m512i w[3];
    FULL_UNROLL for (int j = 0; j < vectors; j++) w[j] = _mm512_loadu_si512(b + l * TK_PANEL + 16 * j);
    FULL_UNROLL for (int i = 0; i < rows; i++) {
      int quad;
      memcpy(&quad, a + i * lda + 4 * l, 4);
      __m512i value = _mm512_set1_epi32(quad);
      FULL_UNROLL for (int j = 0; j < vectors; j++) s[i][j] = _mm512_dpbusd_epi32(s[i][j], value, w[j]);
    }
  }
  FULL_UNROLL for (int i = 0; i < rows; i++)
    FULL_UNROLL for (int j = 0; j < vectors; j++) _mm512_storeu_si512(sums + i * TK_PANEL + 16 * j, s[i][j]);
}

#define ROWS_OF(VECTORS)                                                                                               \
  TK_TARGET_VNNI static void rows_int8_vnni_##VECTORS(size_t rows, size_t quads, const uint8_t *a, size_t lda,         \
                                                      const uint32_t *b, int32_t *sums) {                              \
    switch (rows) {                                                                                                    \
    case 1: wide_int8(1, VECTORS, quads, a, lda, b, sums); break;                                                      \
    case 2: wide_int8(2, VECTORS, quads, a, lda, b, sums); break;                                                      \
    case 3: wide_int8(3, VECTORS, quads, a, lda, b, sums); break;                                                      \
    case 4: wide_int8(4, VECTORS, quads, a, lda, b, sums); break;                                                      \
    case 5: wide_int8(5, VECTORS, quads, a, lda, b, sums); break;                                                      \
    case 6: wide_int8(6, VECTORS, quads, a, lda, b, sums); break;                                                      \
    case 7: wide_int8(7, VECTORS, quads, a, lda, b, sums); break;                                                      \
    default: wide_int8(8, VECTORS, quads, a, lda, b, sums); break;                                                     \
    }                                                                                                                  \
  }
ROWS_OF(1)
ROWS_OF(2)
ROWS_OF(3)
static void rows_int8_vnni(size_t rows, size_t n, size_t quads, const uint8_t *a, size_t lda, const uint32_t *b,
                           int32_t *sums) {
  if (n > 32) rows_int8_vnni_3(rows, quads, a, lda, b, sums);
  else if (n > 16) rows_int8_vnni_2(rows, quads, a, lda, b, sums);
  else rows_int8_vnni_1(rows, quads, a, lda, b, sums);
}
// 4 rows at a time.
#define NARROW_ROWS(NAME, TARGET, ADD)                                                                                 \
  TARGET static void NAME(size_t rows, size_t n, size_t quads, const uint8_t *a, size_t lda, const uint32_t *b,        \
                          int32_t *sums) {                                                                             \
    for (size_t i = 0; i < rows; i += LANE_ROWS)                                                                       \
      for (size_t first = 0; first < n; first += LANE_WIDTH) {                                                         \
        __m256i s[LANE_ROWS][LANE_VECTORS];                                                                            \
        int count = rows - i < LANE_ROWS ? (int)(rows - i) : LANE_ROWS;                                                \
        FULL_UNROLL for (int r = 0; r < LANE_ROWS; r++)                                                                \
          FULL_UNROLL for (int j = 0; j < LANE_VECTORS; j++) s[r][j] = _mm256_setzero_si256();                         \
        if (count == 4) ADD(4, quads, a + i * lda, lda, b + first, TK_PANEL, s);                                       \
        else if (count == 3) ADD(3, quads, a + i * lda, lda, b + first, TK_PANEL, s);                                  \
        else if (count == 2) ADD(2, quads, a + i * lda, lda, b + first, TK_PANEL, s);                                  \
        else ADD(1, quads, a + i * lda, lda, b + first, TK_PANEL, s);                                                  \
        FULL_UNROLL for (int r = 0; r < LANE_ROWS; r++)                                                                \
          FULL_UNROLL for (int j = 0; j < LANE_VECTORS; j++)                                                           \
            if (r < count)                                                                                             \
              _mm256_storeu_si256((__m256i *)(sums + (i + r) * TK_PANEL + first + LANES * j), s[r][j]);                \
      }                                                                                                                \
  }
NARROW_ROWS(rows_int8_avx2, TK_TARGET_AVX2, add_int8_avx2)
NARROW_ROWS(rows_int8_avx2_vnni, TK_TARGET_AVX2_VNNI, add_int8_avx2_vnni)
#endif
static void rows_int8_portable(size_t rows, size_t n, size_t quads, const uint8_t *a, size_t lda, const uint32_t *b,
                               int32_t *sums) {
  (void)n;
  plain_int8(rows, quads, a, lda, b, sums);
}

// Integers to numbers: (sum - 128 * sum of weights) * scale of the row * scale of the output + bias.
TK_INLINE void finish_body(size_t rows, size_t n, const int32_t *sums, const float *row_scales, const float *scales,
                           const int32_t *offsets, const float *bias, float *c, size_t ldc) {
  for (size_t i = 0; i < rows; i++) {
    const int32_t *sum = sums + i * TK_PANEL;
    float row = row_scales[i], *out = c + i * ldc;
    for (size_t j = 0; j < n; j++) {
      float value = (float)(sum[j] - offsets[j]) * (row * scales[j]);
      out[j] = bias ? value + bias[j] : value;
    }
  }
}
TK_DISPATCH_LOCAL(finish,
            (size_t rows, size_t n, const int32_t *sums, const float *row_scales, const float *scales,
             const int32_t *offsets, const float *bias, float *c, size_t ldc),
            (rows, n, sums, row_scales, scales, offsets, bias, c, ldc))

void tk_gemm_int8(size_t m, size_t n, size_t quads, const uint8_t *a, size_t lda, const float *row_scales,
                  const uint32_t *packed, const float *scales, const int32_t *offsets, const float *bias, float *c,
                  size_t ldc) {
  void (*kernel)(size_t, size_t, size_t, const uint8_t *, size_t, const uint32_t *, int32_t *) = rows_int8_portable;
#if TK_X86
  if (tk_has_int8()) kernel = rows_int8_vnni;
  else if (tk_cpu_level() == TK_AVX2_VNNI) kernel = rows_int8_avx2_vnni;
  else if (tk_cpu_level() >= TK_AVX2) kernel = rows_int8_avx2;
#endif
  int32_t tile[8 * TK_PANEL];
  for (size_t column = 0; column < n; column += TK_PANEL) {
    size_t width = n - column < TK_PANEL ? n - column : TK_PANEL;
    for (size_t row = 0; row < m; row += 8) {
      size_t rows = m - row < 8 ? m - row : 8;
      kernel(rows, width, quads, a + row * lda, lda, packed + column * quads, tile);
      finish(rows, width, tile, row_scales + row, scales + column, offsets + column, bias ? bias + column : 0,
             c + row * ldc + column, ldc);
    }
  }
}
