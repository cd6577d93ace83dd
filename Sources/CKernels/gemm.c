// Products with packed right-hand sides. One micro-kernel of up to 8 rows by 32 outputs, in three compilations; each
// row's sum runs over k in order, so a result does not depend on how rows are grouped into panels.
#include "dispatch.h"
#include <string.h>

// k per pass: a panel of 32 outputs then stays in the second-level cache.
enum { BLOCK_K = 1536 };

size_t tk_packed_count(size_t n, size_t k_rounded) { return (n + TK_PANEL - 1) / TK_PANEL * TK_PANEL * k_rounded; }

void tk_pack_f32(size_t panel, size_t n, size_t k, const float *w, size_t ldw, float *packed) {
  float *out = packed + panel * TK_PANEL * k;
  const float *rows = w + panel * TK_PANEL * ldw;
  size_t count = n - panel * TK_PANEL < TK_PANEL ? n - panel * TK_PANEL : TK_PANEL;
  for (size_t i = 0; i < k; i++) {
    for (size_t j = 0; j < count; j++) out[i * TK_PANEL + j] = rows[j * ldw + i];
    for (size_t j = count; j < TK_PANEL; j++) out[i * TK_PANEL + j] = 0;
  }
}

void tk_pack_transposed_f32(size_t panel, size_t n, size_t k, const float *w, size_t ldw, float *packed) {
  float *out = packed + panel * TK_PANEL * k;
  size_t first = panel * TK_PANEL, count = n - first < TK_PANEL ? n - first : TK_PANEL;
  for (size_t i = 0; i < k; i++) {
    memcpy(out + i * TK_PANEL, w + i * ldw + first, count * sizeof *w);
    if (count < TK_PANEL) memset(out + i * TK_PANEL + count, 0, (TK_PANEL - count) * sizeof *w);
  }
}

TK_INLINE uint16_t to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  uint32_t nan = (bits >> 16) | 0x40;
  return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

void tk_pack_bf16_from_f32(size_t panel, size_t n, size_t k, const float *w, size_t ldw, uint32_t *packed) {
  size_t pairs = (k + 1) / 2;
  uint32_t *out = packed + panel * TK_PANEL * pairs;
  for (size_t j = 0; j < TK_PANEL; j++) {
    size_t row = panel * TK_PANEL + j;
    for (size_t i = 0; i < pairs; i++) {
      uint32_t low = row < n ? to_bf16(w[row * ldw + 2 * i]) : 0;
      uint32_t high = row < n && 2 * i + 1 < k ? to_bf16(w[row * ldw + 2 * i + 1]) : 0;
      out[i * TK_PANEL + j] = low | high << 16;
    }
  }
}

void tk_pack_bf16_from_bf16(size_t panel, size_t n, size_t k, const uint16_t *w, size_t ldw, uint32_t *packed) {
  size_t pairs = (k + 1) / 2;
  uint32_t *out = packed + panel * TK_PANEL * pairs;
  for (size_t j = 0; j < TK_PANEL; j++) {
    size_t row = panel * TK_PANEL + j;
    for (size_t i = 0; i < pairs; i++) {
      uint16_t low = 0, high = 0;
      if (row < n) {
        memcpy(&low, w + row * ldw + 2 * i, 2);
        if (2 * i + 1 < k) memcpy(&high, w + row * ldw + 2 * i + 1, 2);
      }
      out[i * TK_PANEL + j] = low | (uint32_t)high << 16;
    }
  }
}

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

// ---- Portable and AVX2 micro-kernels: plain loops over 32 outputs that the compiler vectorises per target.

TK_INLINE void plain_f32(int rows, size_t k, const float *a, size_t lda, const float *b, const float *start, size_t lds,
                         float *c, size_t ldc, size_t n) {
  for (int i = 0; i < rows; i++) {
    float sum[TK_PANEL];
    for (size_t j = 0; j < TK_PANEL; j++) sum[j] = start && j < n ? start[i * lds + j] : 0;
    for (size_t l = 0; l < k; l++) {
      float value = a[i * lda + l];
      for (size_t j = 0; j < TK_PANEL; j++) sum[j] += value * b[l * TK_PANEL + j];
    }
    for (size_t j = 0; j < n; j++) c[i * ldc + j] = sum[j];
  }
}

TK_INLINE float low_half(uint32_t pair) {
  uint32_t bits = pair << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
TK_INLINE float high_half(uint32_t pair) {
  uint32_t bits = pair & 0xffff0000u;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

TK_INLINE void plain_bf16(int rows, size_t pairs, const uint16_t *a, size_t lda, const uint32_t *b, const float *start,
                          size_t lds, float *c, size_t ldc, size_t n) {
  for (int i = 0; i < rows; i++) {
    float sum[TK_PANEL];
    for (size_t j = 0; j < TK_PANEL; j++) sum[j] = start && j < n ? start[i * lds + j] : 0;
    for (size_t l = 0; l < pairs; l++) {
      uint32_t pair;
      memcpy(&pair, a + i * lda + 2 * l, 4);
      float low = low_half(pair), high = high_half(pair);
      for (size_t j = 0; j < TK_PANEL; j++) {
        uint32_t weights = b[l * TK_PANEL + j];
        sum[j] += low * low_half(weights);
        sum[j] += high * high_half(weights);
      }
    }
    for (size_t j = 0; j < n; j++) c[i * ldc + j] = sum[j];
  }
}

#if TK_X86
#define FULL_UNROLL _Pragma("clang loop unroll(full)")

TK_INLINE TK_TARGET_AVX512 void wide_f32(const int rows, size_t k, const float *a, size_t lda, const float *b,
                                         const float *start, size_t lds, float *c, size_t ldc, __mmask16 m0,
                                         __mmask16 m1) {
  __m512 s[8][2];
  FULL_UNROLL for (int i = 0; i < rows; i++) {
    s[i][0] = start ? _mm512_maskz_loadu_ps(m0, start + i * lds) : _mm512_setzero_ps();
    s[i][1] = start ? _mm512_maskz_loadu_ps(m1, start + i * lds + 16) : _mm512_setzero_ps();
  }
  for (size_t l = 0; l < k; l++) {
    __m512 b0 = _mm512_loadu_ps(b + l * TK_PANEL), b1 = _mm512_loadu_ps(b + l * TK_PANEL + 16);
    FULL_UNROLL for (int i = 0; i < rows; i++) {
      __m512 value = _mm512_set1_ps(a[i * lda + l]);
      s[i][0] = _mm512_fmadd_ps(value, b0, s[i][0]);
      s[i][1] = _mm512_fmadd_ps(value, b1, s[i][1]);
    }
  }
  FULL_UNROLL for (int i = 0; i < rows; i++) {
    _mm512_mask_storeu_ps(c + i * ldc, m0, s[i][0]);
    _mm512_mask_storeu_ps(c + i * ldc + 16, m1, s[i][1]);
  }
}

TK_INLINE TK_TARGET_BF16 void wide_bf16(const int rows, size_t pairs, const uint16_t *a, size_t lda, const uint32_t *b,
                                        const float *start, size_t lds, float *c, size_t ldc, __mmask16 m0,
                                        __mmask16 m1) {
  __m512 s[8][2];
  FULL_UNROLL for (int i = 0; i < rows; i++) {
    s[i][0] = start ? _mm512_maskz_loadu_ps(m0, start + i * lds) : _mm512_setzero_ps();
    s[i][1] = start ? _mm512_maskz_loadu_ps(m1, start + i * lds + 16) : _mm512_setzero_ps();
  }
  for (size_t l = 0; l < pairs; l++) {
    __m512bh b0 = (__m512bh)_mm512_loadu_si512(b + l * TK_PANEL);
    __m512bh b1 = (__m512bh)_mm512_loadu_si512(b + l * TK_PANEL + 16);
    FULL_UNROLL for (int i = 0; i < rows; i++) {
      int pair;
      memcpy(&pair, a + i * lda + 2 * l, 4);
      __m512bh value = (__m512bh)_mm512_set1_epi32(pair);
      s[i][0] = _mm512_dpbf16_ps(s[i][0], value, b0);
      s[i][1] = _mm512_dpbf16_ps(s[i][1], value, b1);
    }
  }
  FULL_UNROLL for (int i = 0; i < rows; i++) {
    _mm512_mask_storeu_ps(c + i * ldc, m0, s[i][0]);
    _mm512_mask_storeu_ps(c + i * ldc + 16, m1, s[i][1]);
  }
}

// One function per row count, so that sums live in registers.
#define ROW_SWITCH(TARGET, NAME, INNER, A, B)                                                                          \
  TARGET static void NAME(size_t rows, size_t k, const A *a, size_t lda, const B *b, const float *start, size_t lds,   \
                          float *c, size_t ldc, size_t n) {                                                            \
    __mmask16 m0 = n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1);                                                      \
    __mmask16 m1 = n >= 32 ? 0xffff : n <= 16 ? 0 : (__mmask16)((1u << (n - 16)) - 1);                                 \
    switch (rows) {                                                                                                    \
    case 1: INNER(1, k, a, lda, b, start, lds, c, ldc, m0, m1); break;                                                             \
    case 2: INNER(2, k, a, lda, b, start, lds, c, ldc, m0, m1); break;                                                             \
    case 3: INNER(3, k, a, lda, b, start, lds, c, ldc, m0, m1); break;                                                             \
    case 4: INNER(4, k, a, lda, b, start, lds, c, ldc, m0, m1); break;                                                             \
    case 5: INNER(5, k, a, lda, b, start, lds, c, ldc, m0, m1); break;                                                             \
    case 6: INNER(6, k, a, lda, b, start, lds, c, ldc, m0, m1); break;                                                             \
    case 7: INNER(7, k, a, lda, b, start, lds, c, ldc, m0, m1); break;                                                             \
    default: INNER(8, k, a, lda, b, start, lds, c, ldc, m0, m1); break;                                                            \
    }                                                                                                                  \
  }
ROW_SWITCH(TK_TARGET_AVX512, rows_f32_avx512, wide_f32, float, float)
ROW_SWITCH(TK_TARGET_BF16, rows_bf16_avx512, wide_bf16, uint16_t, uint32_t)
TK_TARGET_AVX2 static void rows_f32_avx2(size_t rows, size_t k, const float *a, size_t lda, const float *b, const float *start, size_t lds,
                                         float *c, size_t ldc, size_t n) {
  plain_f32((int)rows, k, a, lda, b, start, lds, c, ldc, n);
}
TK_TARGET_AVX2 static void rows_bf16_avx2(size_t rows, size_t k, const uint16_t *a, size_t lda, const uint32_t *b, const float *start, size_t lds,
                                          float *c, size_t ldc, size_t n) {
  plain_bf16((int)rows, k, a, lda, b, start, lds, c, ldc, n);
}
#endif

static void rows_f32_portable(size_t rows, size_t k, const float *a, size_t lda, const float *b, const float *start, size_t lds,
                              float *c, size_t ldc, size_t n) {
  plain_f32((int)rows, k, a, lda, b, start, lds, c, ldc, n);
}
static void rows_bf16_portable(size_t rows, size_t k, const uint16_t *a, size_t lda, const uint32_t *b, const float *start, size_t lds,
                               float *c, size_t ldc, size_t n) {
  plain_bf16((int)rows, k, a, lda, b, start, lds, c, ldc, n);
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
  else if (tk_cpu_level() == TK_AVX2) kernel = rows_f32_avx2;
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
