// Products with packed right-hand sides. Micro-kernels of up to 8 rows by 48 outputs; each row's sum runs over k in
// order, so a result does not depend on how rows are grouped into panels.
#include "bfloat16.h"
#include "lanes.h"
#include <string.h>

// k, or pairs of k, per pass: a panel of outputs then stays in the second-level cache.
enum { BLOCK_K = 1536 };

TK_INLINE void tk_f32_to_bf16_body(size_t count, const float *x, uint16_t *y) {
  for (size_t i = 0; i < count; i++) y[i] = to_bf16(x[i]);
}
TK_DISPATCH(tk_f32_to_bf16, (size_t count, const float *x, uint16_t *y), (count, x, y))

void tk_rows_to_bf16(size_t m, size_t k, const float *x, size_t ldx, uint16_t *y, size_t ldy) {
  for (size_t i = 0; i < m; i++) {
    tk_f32_to_bf16(k, x + i * ldx, y + i * ldy);
    if (ldy > k) memset(y + i * ldy + k, 0, (ldy - k) * sizeof *y);
  }
}

// ---- Portable and AVX2 micro-kernels

// Up to 4 rows.
#define SOME_ROWS(NAME, ADD, A, B)                                                                                     \
  TK_INLINE void NAME(const int rows, size_t k, const A *a, size_t lda, const B *b, const float *start, size_t lds,    \
                      float *c, size_t ldc, size_t n) {                                                                \
    for (size_t first = 0; first < n; first += LANE_WIDTH) {                                                           \
      floats8 s[LANE_ROWS][LANE_VECTORS] = {{{0}}};                                                                    \
      FULL_UNROLL for (int i = 0; i < rows; i++)                                                                       \
        if (start) load_lanes(s[i], start + i * lds + first, n - first);                                               \
      ADD(rows, k, a, lda, b + first, TK_PANEL, s);                                                                    \
      FULL_UNROLL for (int i = 0; i < rows; i++) store_lanes(s[i], c + i * ldc + first, n - first);                    \
    }                                                                                                                  \
  }
SOME_ROWS(some_f32, add_f32, float, float)
SOME_ROWS(some_bf16, add_bf16, uint16_t, uint32_t)

// Up to 8 rows.
#define PLAIN(NAME, SOME, A, B)                                                                                        \
  TK_INLINE void NAME(size_t rows, size_t k, const A *a, size_t lda, const B *b, const float *start, size_t lds,       \
                      float *c, size_t ldc, size_t n) {                                                                \
    for (size_t i = 0; i < rows; i += LANE_ROWS) {                                                                     \
      const A *x = a + i * lda;                                                                                        \
      const float *from = start ? start + i * lds : 0;                                                                 \
      float *to = c + i * ldc;                                                                                         \
      if (rows - i >= 4) SOME(4, k, x, lda, b, from, lds, to, ldc, n);                                                 \
      else if (rows - i == 3) SOME(3, k, x, lda, b, from, lds, to, ldc, n);                                            \
      else if (rows - i == 2) SOME(2, k, x, lda, b, from, lds, to, ldc, n);                                            \
      else SOME(1, k, x, lda, b, from, lds, to, ldc, n);                                                               \
    }                                                                                                                  \
  }
PLAIN(plain_f32, some_f32, float, float)
PLAIN(plain_bf16, some_bf16, uint16_t, uint32_t)

#if TK_X86

// `vectors` of 16 outputs; sums live in registers. Three by eight rows: the fewest loads for a multiply-add that fit.
#define SUMS_BEGIN                                                                                                     \
  __m512 s[8][3];                                                                                                      \
  FULL_UNROLL for (int i = 0; i < rows; i++)                                                                           \
    FULL_UNROLL for (int j = 0; j < vectors; j++)                                                                      \
      s[i][j] = start ? _mm512_maskz_loadu_ps(j + 1 < vectors ? 0xffff : last, start + i * lds + 16 * j)               \
                      : _mm512_setzero_ps();
#define SUMS_END                                                                                                       \
  FULL_UNROLL for (int i = 0; i < rows; i++)                                                                           \
    FULL_UNROLL for (int j = 0; j < vectors; j++)                                                                      \
      _mm512_mask_storeu_ps(c + i * ldc + 16 * j, j + 1 < vectors ? 0xffff : last, s[i][j]);

TK_INLINE TK_TARGET_AVX512 void wide_f32(const int rows, const int vectors, size_t k, const float *a, size_t lda,
                                         const float *b, const float *start, size_t lds, float *c, size_t ldc,
                                         __mmask16 last) {
  SUMS_BEGIN
  for (size_t l = 0; l < k; l++) {
    __m512 w[3];
    FULL_UNROLL for (int j = 0; j < vectors; j++) w[j] = _mm512_loadu_ps(b + l * TK_PANEL + 16 * j);
    FULL_UNROLL for (int i = 0; i < rows; i++) {
      __m512 value = _mm512_set1_ps(a[i * lda + l]);
      FULL_UNROLL for (int j = 0; j < vectors; j++) s[i][j] = _mm512_fmadd_ps(value, w[j], s[i][j]);
    }
  }
  SUMS_END
}

TK_INLINE TK_TARGET_BF16 void wide_bf16(const int rows, const int vectors, size_t pairs, const uint16_t *a, size_t lda,
                                        const uint32_t *b, const float *start, size_t lds, float *c, size_t ldc,
                                        __mmask16 last) {
  SUMS_BEGIN
  for (size_t l = 0; l < pairs; l++) {
    __m512bh w[3];
    FULL_UNROLL for (int j = 0; j < vectors; j++) w[j] = (__m512bh)_mm512_loadu_si512(b + l * TK_PANEL + 16 * j);
    FULL_UNROLL for (int i = 0; i < rows; i++) {
      int pair;
      memcpy(&pair, a + i * lda + 2 * l, 4);
      __m512bh value = (__m512bh)_mm512_set1_epi32(pair);
      FULL_UNROLL for (int j = 0; j < vectors; j++) s[i][j] = _mm512_dpbf16_ps(s[i][j], value, w[j]);
    }
  }
  SUMS_END
}

// One function per row and vector count.
#define ROW_SWITCH(TARGET, NAME, INNER, A, B)                                                                          \
  ROW_SWITCH_OF(TARGET, NAME, INNER, A, B, 1)                                                                          \
  ROW_SWITCH_OF(TARGET, NAME, INNER, A, B, 2)                                                                          \
  ROW_SWITCH_OF(TARGET, NAME, INNER, A, B, 3)                                                                          \
  TARGET static void NAME(size_t rows, size_t k, const A *a, size_t lda, const B *b, const float *start, size_t lds,   \
                          float *c, size_t ldc, size_t n) {                                                            \
    __mmask16 last = (__mmask16)(0xffffu >> ((16 - n % 16) % 16));                                                     \
    if (n > 32) NAME##_3(rows, k, a, lda, b, start, lds, c, ldc, last);                                                \
    else if (n > 16) NAME##_2(rows, k, a, lda, b, start, lds, c, ldc, last);                                           \
    else NAME##_1(rows, k, a, lda, b, start, lds, c, ldc, last);                                                       \
  }
#define ROW_SWITCH_OF(TARGET, NAME, INNER, A, B, VECTORS)                                                              \
  TARGET static void NAME##_##VECTORS(size_t rows, size_t k, const A *a, size_t lda, const B *b, const float *start,   \
                                      size_t lds, float *c, size_t ldc, __mmask16 last) {                              \
    switch (rows) {                                                                                                    \
    case 1: INNER(1, VECTORS, k, a, lda, b, start, lds, c, ldc, last); break;                                          \
    case 2: INNER(2, VECTORS, k, a, lda, b, start, lds, c, ldc, last); break;                                          \
    case 3: INNER(3, VECTORS, k, a, lda, b, start, lds, c, ldc, last); break;                                          \
    case 4: INNER(4, VECTORS, k, a, lda, b, start, lds, c, ldc, last); break;                                          \
    case 5: INNER(5, VECTORS, k, a, lda, b, start, lds, c, ldc, last); break;                                          \
    case 6: INNER(6, VECTORS, k, a, lda, b, start, lds, c, ldc, last); break;                                          \
    case 7: INNER(7, VECTORS, k, a, lda, b, start, lds, c, ldc, last); break;                                          \
    default: INNER(8, VECTORS, k, a, lda, b, start, lds, c, ldc, last); break;                                         \
    }                                                                                                                  \
  }
ROW_SWITCH(TK_TARGET_AVX512, rows_f32_avx512, wide_f32, float, float)
ROW_SWITCH(TK_TARGET_BF16, rows_bf16_avx512, wide_bf16, uint16_t, uint32_t)
TK_TARGET_AVX2 static void rows_f32_avx2(size_t rows, size_t k, const float *a, size_t lda, const float *b,
                                         const float *start, size_t lds, float *c, size_t ldc, size_t n) {
  plain_f32(rows, k, a, lda, b, start, lds, c, ldc, n);
}
TK_TARGET_AVX2 static void rows_bf16_avx2(size_t rows, size_t k, const uint16_t *a, size_t lda, const uint32_t *b,
                                          const float *start, size_t lds, float *c, size_t ldc, size_t n) {
  plain_bf16(rows, k, a, lda, b, start, lds, c, ldc, n);
}
#endif

static void rows_f32_portable(size_t rows, size_t k, const float *a, size_t lda, const float *b, const float *start,
                              size_t lds, float *c, size_t ldc, size_t n) {
  plain_f32(rows, k, a, lda, b, start, lds, c, ldc, n);
}
static void rows_bf16_portable(size_t rows, size_t k, const uint16_t *a, size_t lda, const uint32_t *b,
                               const float *start, size_t lds, float *c, size_t ldc, size_t n) {
  plain_bf16(rows, k, a, lda, b, start, lds, c, ldc, n);
}

// Both products: passes over k, panels of outputs, blocks of 8 rows. Sums start from `c`, the bias or zero, in registers.
#define PRODUCT(LENGTH, STEP)                                                                                          \
  for (size_t start = 0; start < LENGTH; start += BLOCK_K) {                                                           \
    size_t length = LENGTH - start < BLOCK_K ? LENGTH - start : BLOCK_K;                                               \
    int adds = accumulate || start > 0;                                                                                \
    for (size_t column = 0; column < n; column += TK_PANEL) {                                                          \
      size_t width = n - column < TK_PANEL ? n - column : TK_PANEL;                                                    \
      for (size_t row = 0; row < m; row += 8) {                                                                        \
        float *out = c + row * ldc + column;                                                                           \
        const float *first = adds ? out : bias ? bias + column : 0;                                                    \
        kernel(m - row < 8 ? m - row : 8, length, a + row * lda + STEP * start, lda,                                   \
               packed + column * LENGTH + start * TK_PANEL, first, adds ? ldc : 0, out, ldc, width);                   \
      }                                                                                                                \
    }                                                                                                                  \
  }

void tk_gemm_f32(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *packed, const float *bias,
                 int accumulate, float *c, size_t ldc) {
  void (*kernel)(size_t, size_t, const float *, size_t, const float *, const float *, size_t, float *, size_t, size_t) =
      rows_f32_portable;
#if TK_X86
  if (tk_cpu_level() >= TK_AVX512) kernel = rows_f32_avx512;
  else if (tk_cpu_level() >= TK_AVX2) kernel = rows_f32_avx2;
#endif
  PRODUCT(k, 1)
}

void tk_gemm_bf16(size_t m, size_t n, size_t k, const uint16_t *a, size_t lda, const uint32_t *packed,
                  const float *bias, int accumulate, float *c, size_t ldc) {
  void (*kernel)(size_t, size_t, const uint16_t *, size_t, const uint32_t *, const float *, size_t, float *, size_t,
                 size_t) = rows_bf16_portable;
#if TK_X86
  if (tk_cpu_level() >= TK_AVX512_BF16) kernel = rows_bf16_avx512;
  else if (tk_cpu_level() >= TK_AVX2) kernel = rows_bf16_avx2;
#endif
  size_t pairs = (k + 1) / 2;
  PRODUCT(pairs, 2)
}
