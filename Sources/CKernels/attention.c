// Block-sparse attention, one block of queries at a time: scores against listed panels of 16 keys, online softmax,
// weighted sum of values (FlashAttention, Dao et al. 2022, arXiv:2205.14135; the online softmax is Milakov and
// Gimelshein 2018, arXiv:1805.02867). Panels not listed cost nothing. Scores are in units of log2, so that the softmax
// is one exp2 away.
//
// Packed layouts, by panel p of 16 keys in plan order:
//   keys    fp32 [size][16]              bf16 [size / 2][16] pairs along `size`
//   values  fp32 [chunk][16 keys][w]     bf16 [chunk][8 pairs of keys][w]
// where values come in chunks of w = 32 channels, the last one 16 if that covers what is left.
#include "attention_parts.h"
#include "transpose.h"

size_t tk_attention_key_panel(size_t size, int bf16) { return bf16 ? rounded(size, 2) / 2 * KEYS : size * KEYS; }
size_t tk_attention_value_panel(size_t size, int bf16) { return rounded(size, 16) * (bf16 ? KEYS / 2 : KEYS); }

// Queries, scores, weights, sums, then each row's largest score and sum of weights.
size_t tk_attention_scratch(size_t size) {
  return ROWS * (rounded(size, 2) + TILE + TILE / 2 + rounded(size, 16) + 2) + 64;
}

TK_INLINE uint32_t bf16_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >> 16) | 0x40;
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}
TK_INLINE uint32_t bf16_pair(float low, float high) { return bf16_bits(low) | bf16_bits(high) << 16; }
// ---- Packing

TK_INLINE void pack_keys_f32(size_t count, size_t size, const float *const *rows, float *out) {
  for (size_t c = 0; c < size; c++)
    for (size_t j = 0; j < KEYS; j++) out[c * KEYS + j] = j < count ? rows[j][c] : 0;
}
TK_INLINE void pack_values_f32(size_t count, size_t size, const float *const *rows, float *out) {
  for (size_t start = 0; start < size; start += 32) {
    size_t width = size - start > 16 ? 32 : 16, real = size - start < width ? size - start : width;
    for (size_t j = 0; j < KEYS; j++, out += width) {
      if (j < count) memcpy(out, rows[j] + start, real * sizeof *out);
      if (j >= count || real < width) memset(out + (j < count ? real : 0), 0, (j < count ? width - real : width) * 4);
    }
  }
}
TK_INLINE void pack_keys_bf16(size_t count, size_t size, const float *const *rows, uint32_t *out) {
  for (size_t c = 0; c < size; c += 2, out += KEYS)
    for (size_t j = 0; j < KEYS; j++)
      out[j] = j < count ? bf16_pair(rows[j][c], c + 1 < size ? rows[j][c + 1] : 0) : 0;
}
TK_INLINE void pack_values_bf16(size_t count, size_t size, const float *const *rows, uint32_t *out) {
  for (size_t start = 0; start < size; start += 32) {
    size_t width = size - start > 16 ? 32 : 16, real = size - start < width ? size - start : width;
    for (size_t j = 0; j < KEYS; j += 2, out += width)
      for (size_t c = 0; c < width; c++) {
        float low = c < real && j < count ? rows[j][start + c] : 0;
        float high = c < real && j + 1 < count ? rows[j + 1][start + c] : 0;
        out[c] = bf16_pair(low, high);
      }
  }
}

// ---- Portable and AVX2: plain loops over 4 rows by 16 lanes, which the compiler vectorises per target.

TK_INLINE void scores_plain(int bf16, size_t size, const float *q, size_t ldq, const void *keys, size_t count,
                            float *scores) {
  const uint32_t *pairs = keys;
  const float *floats = keys;
  for (int row = 0; row < GROUP; row += 4) {
    float sum[4][KEYS] = {{0}};
    if (bf16) {
      for (size_t c = 0; c < ldq; c++)
        for (int i = 0; i < 4; i++) {
          uint32_t value;
          memcpy(&value, q + (row + i) * ldq + c, 4);
          float low = bits_float(value << 16), high = bits_float(value & 0xffff0000u);
          for (int j = 0; j < KEYS; j++) {
            uint32_t pair = pairs[c * KEYS + j];
            sum[i][j] += low * bits_float(pair << 16);
            sum[i][j] += high * bits_float(pair & 0xffff0000u);
          }
        }
    } else {
      for (size_t c = 0; c < size; c++)
        for (int i = 0; i < 4; i++)
          for (int j = 0; j < KEYS; j++) sum[i][j] += q[(row + i) * ldq + c] * floats[c * KEYS + j];
    }
    for (int i = 0; i < 4; i++)
      for (size_t j = 0; j < KEYS; j++) scores[(row + i) * TILE + j] = j < count ? sum[i][j] : ABSENT;
  }
}

TK_INLINE float softmax_plain(int bf16, size_t width, float *scores, uint16_t *weights, float largest) {
  float lanes[KEYS] = {0};
  for (size_t j = 0; j < width; j += KEYS)
    for (size_t l = 0; l < KEYS; l++) {
      float weight = exp2_plain(scores[j + l] - largest);
      weight = scores[j + l] > ABSENT ? weight : 0;
      lanes[l] += weight;
      scores[j + l] = weight;
    }
  if (bf16)
    for (size_t j = 0; j < width; j++) weights[j] = (uint16_t)bf16_bits(scores[j]);
  float total = 0;
  for (int l = 0; l < KEYS; l++) total += lanes[l];
  return total;
}

TK_INLINE void sums_plain(int bf16, size_t panels, const uint32_t *list, size_t stride, const void *values,
                          size_t offset, size_t width, const float *scores, const uint16_t *weights, float *sums,
                          size_t lds) {
  for (int row = 0; row < GROUP; row++)
    for (size_t start = 0; start < width; start += KEYS) {
      float sum[KEYS];
      memcpy(sum, sums + row * lds + start, sizeof sum);
      for (size_t p = 0; p < panels; p++) {
        const float *floats = (const float *)values + list[p] * stride + offset + start;
        const uint32_t *pairs = (const uint32_t *)values + list[p] * stride + offset + start;
        if (bf16) {
          for (size_t k = 0; k < KEYS / 2; k++) {
            uint32_t weight;
            memcpy(&weight, weights + row * TILE + p * KEYS + 2 * k, 4);
            float low = bits_float(weight << 16), high = bits_float(weight & 0xffff0000u);
            for (int j = 0; j < KEYS; j++) {
              uint32_t pair = pairs[k * width + j];
              sum[j] += low * bits_float(pair << 16);
              sum[j] += high * bits_float(pair & 0xffff0000u);
            }
          }
        } else {
          for (size_t k = 0; k < KEYS; k++)
            for (int j = 0; j < KEYS; j++) sum[j] += scores[row * TILE + p * KEYS + k] * floats[k * width + j];
        }
      }
      memcpy(sums + row * lds + start, sum, sizeof sum);
    }
}

// ---- AVX-512

#if TK_X86
#define WIDE TK_INLINE TK_TARGET_AVX512
#define WIDE_BF16 TK_INLINE TK_TARGET_BF16

WIDE __m512 exp2_wide(__m512 x) {
  __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 f = _mm512_sub_ps(x, whole);
  __m512 p = _mm512_set1_ps(1.3390839e-3f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.6184370e-3f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.5503324e-2f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.4022651e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9314718e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, whole);
}

// 8 queries against one or two panels; `halves` is a constant at every call.
#define SCORES_BODY(LOAD, STEPS, QUERY, ACCUMULATE)                                                                    \
  __m512 s[GROUP][2];                                                                                                  \
  FULL_UNROLL for (int i = 0; i < GROUP; i++) s[i][0] = s[i][1] = _mm512_setzero_ps();                                 \
  for (size_t c = 0; c < (STEPS); c++) {                                                                               \
    LOAD                                                                                                               \
    FULL_UNROLL for (int i = 0; i < GROUP; i++) {                                                                      \
      QUERY                                                                                                            \
      s[i][0] = ACCUMULATE(s[i][0], value, b0);                                                                        \
      if (halves > 1) s[i][1] = ACCUMULATE(s[i][1], value, b1);                                                        \
    }                                                                                                                  \
  }                                                                                                                    \
  __m512 absent = _mm512_set1_ps(ABSENT);                                                                              \
  FULL_UNROLL for (int i = 0; i < GROUP; i++) {                                                                        \
    _mm512_storeu_ps(scores + i * TILE, _mm512_mask_mov_ps(absent, m0, s[i][0]));                                      \
    if (halves > 1) _mm512_storeu_ps(scores + i * TILE + KEYS, _mm512_mask_mov_ps(absent, m1, s[i][1]));               \
  }
#define FMA(sum, a, b) _mm512_fmadd_ps(a, b, sum)

WIDE void scores_f32_wide(const int halves, size_t size, const float *q, size_t ldq, const float *k0, const float *k1,
                          __mmask16 m0, __mmask16 m1, float *scores) {
  SCORES_BODY(__m512 b0 = _mm512_loadu_ps(k0 + c * KEYS); __m512 b1 = halves > 1 ? _mm512_loadu_ps(k1 + c * KEYS) : b0;
              , size, __m512 value = _mm512_set1_ps(q[i * ldq + c]);, FMA)
}
WIDE_BF16 void scores_bf16_wide(const int halves, size_t pairs, const float *q, const uint32_t *k0, const uint32_t *k1,
                                __mmask16 m0, __mmask16 m1, float *scores) {
  SCORES_BODY(__m512bh b0 = (__m512bh)_mm512_loadu_si512(k0 + c * KEYS);
              __m512bh b1 = halves > 1 ? (__m512bh)_mm512_loadu_si512(k1 + c * KEYS) : b0;
              , pairs, __m512bh value = (__m512bh)_mm512_set1_ps(q[i * pairs + c]);, _mm512_dpbf16_ps)
}

WIDE float softmax_wide(size_t width, float *scores, float largest) {
  __m512 base = _mm512_set1_ps(largest), a = _mm512_setzero_ps(), b = a;
  for (size_t j = 0; j < width; j += 2 * KEYS) {
    __m512 x = exp2_wide(_mm512_sub_ps(_mm512_loadu_ps(scores + j), base));
    __m512 y = exp2_wide(_mm512_sub_ps(_mm512_loadu_ps(scores + j + KEYS), base));
    a = _mm512_add_ps(a, x);
    b = _mm512_add_ps(b, y);
    _mm512_storeu_ps(scores + j, x);
    _mm512_storeu_ps(scores + j + KEYS, y);
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(a, b));
}
WIDE_BF16 float softmax_bf16_wide(size_t width, const float *scores, uint16_t *weights, float largest) {
  __m512 base = _mm512_set1_ps(largest), a = _mm512_setzero_ps(), b = a;
  for (size_t j = 0; j < width; j += 2 * KEYS) {
    __m512 x = exp2_coarse_wide(_mm512_sub_ps(_mm512_loadu_ps(scores + j), base));
    __m512 y = exp2_coarse_wide(_mm512_sub_ps(_mm512_loadu_ps(scores + j + KEYS), base));
    a = _mm512_add_ps(a, x);
    b = _mm512_add_ps(b, y);
    _mm512_storeu_si512(weights + j, (__m512i)_mm512_cvtne2ps_pbh(y, x));
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(a, b));
}

// 8 rows of sums by 32 or 16 channels, over all listed panels.
#define SUMS_BODY(TYPE, STEPS, LOAD, WEIGHT, ACCUMULATE)                                                               \
  __m512 s[GROUP][2];                                                                                                  \
  FULL_UNROLL for (int i = 0; i < GROUP; i++) {                                                                        \
    s[i][0] = _mm512_loadu_ps(sums + i * lds);                                                                         \
    s[i][1] = halves > 1 ? _mm512_loadu_ps(sums + i * lds + 16) : s[i][0];                                             \
  }                                                                                                                    \
  for (size_t p = 0; p < panels; p++) {                                                                                \
    const TYPE *v = values + list[p] * stride;                                                                         \
    for (size_t k = 0; k < (STEPS); k++) {                                                                             \
      LOAD                                                                                                             \
      FULL_UNROLL for (int i = 0; i < GROUP; i++) {                                                                    \
        WEIGHT                                                                                                         \
        s[i][0] = ACCUMULATE(s[i][0], value, b0);                                                                      \
        if (halves > 1) s[i][1] = ACCUMULATE(s[i][1], value, b1);                                                      \
      }                                                                                                                \
    }                                                                                                                  \
  }                                                                                                                    \
  FULL_UNROLL for (int i = 0; i < GROUP; i++) {                                                                        \
    _mm512_storeu_ps(sums + i * lds, s[i][0]);                                                                         \
    if (halves > 1) _mm512_storeu_ps(sums + i * lds + 16, s[i][1]);                                                    \
  }

WIDE void sums_f32_wide(const int halves, size_t panels, const uint32_t *list, size_t stride, const float *values,
                        const float *scores, float *sums, size_t lds) {
  const size_t width = halves * 16;
  SUMS_BODY(float, KEYS, __m512 b0 = _mm512_loadu_ps(v + k * width);
            __m512 b1 = halves > 1 ? _mm512_loadu_ps(v + k * width + 16) : b0;
            , __m512 value = _mm512_set1_ps(scores[i * TILE + p * KEYS + k]);, FMA)
}
WIDE_BF16 void sums_bf16_wide(const int halves, size_t panels, const uint32_t *list, size_t stride,
                              const uint32_t *values, const uint16_t *weights, float *sums, size_t lds) {
  const size_t width = halves * 16;
  SUMS_BODY(uint32_t, KEYS / 2, __m512bh b0 = (__m512bh)_mm512_loadu_si512(v + k * width);
            __m512bh b1 = halves > 1 ? (__m512bh)_mm512_loadu_si512(v + k * width + 16) : b0;
            , int pair; memcpy(&pair, weights + i * TILE + p * KEYS + 2 * k, 4);
            __m512bh value = (__m512bh)_mm512_set1_epi32(pair);, _mm512_dpbf16_ps)
}

TK_TARGET_AVX512 static void pack_keys_f32_wide(size_t count, size_t size, const float *const *rows, float *out) {
  size_t c = 0;
  for (; c + 16 <= size; c += 16) {
    __m512i in[16];
    FULL_UNROLL for (int j = 0; j < 16; j++)
      in[j] = (size_t)j < count ? _mm512_loadu_si512(rows[j] + c) : _mm512_setzero_si512();
    transpose16(in, (uint32_t *)(out + c * KEYS), KEYS);
  }
  for (; c < size; c++)
    for (size_t j = 0; j < KEYS; j++) out[c * KEYS + j] = j < count ? rows[j][c] : 0;
}
TK_TARGET_BF16 static void pack_keys_bf16_wide(size_t count, size_t size, const float *const *rows, uint32_t *out) {
  size_t c = 0;
  for (; c + 32 <= size; c += 32) {
    __m512i in[16];
    FULL_UNROLL for (int j = 0; j < 16; j++)
      in[j] = (size_t)j < count
                  ? (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(rows[j] + c + 16), _mm512_loadu_ps(rows[j] + c))
                  : _mm512_setzero_si512();
    transpose16(in, out + c / 2 * KEYS, KEYS);
  }
  for (; c < size; c += 2)
    for (size_t j = 0; j < KEYS; j++)
      out[c / 2 * KEYS + j] = j < count ? bf16_pair(rows[j][c], c + 1 < size ? rows[j][c + 1] : 0) : 0;
}
TK_TARGET_BF16 static void pack_values_bf16_wide(size_t count, size_t size, const float *const *rows, uint32_t *out) {
  // Two rows of bf16 to pairs: low 0, high 0, low 1, high 1, ...
  static const uint16_t interleave[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                          8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  __m512i order = _mm512_loadu_si512(interleave);
  for (size_t j = 0; j < KEYS; j += 2)
    for (size_t c = 0; c < rounded(size, 16); c += 16) {
      size_t left = size - c, width = size - c / 32 * 32 > 16 ? 32 : 16;
      __mmask16 mask = c >= size ? 0 : left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
      __m512 low = _mm512_maskz_loadu_ps(j < count ? mask : 0, rows[j] + c);
      __m512 high = _mm512_maskz_loadu_ps(j + 1 < count ? mask : 0, rows[j + 1] + c);
      __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high, low);
      _mm512_storeu_si512(out + c / 32 * (32 * KEYS / 2) + j / 2 * width + c % 32,
                          _mm512_permutexvar_epi16(order, both));
    }
}
#endif

// ---- One block of queries. `LEVEL` is 0 for plain loops, 1 for AVX-512.

typedef struct {
  float *q, *scores, *sums, *largest, *total;
  uint16_t *weights;
} scratch_parts;

static scratch_parts parts_of(float *scratch, size_t size) {
  float *at = (float *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63);
  scratch_parts parts;
  parts.scores = at, at += ROWS * TILE;
  parts.weights = (uint16_t *)at, at += ROWS * TILE / 2;
  parts.sums = at, at += ROWS * rounded(size, 16);
  parts.q = at, at += ROWS * rounded(size, 2);
  parts.largest = at, at += ROWS;
  parts.total = at;
  return parts;
}

TK_INLINE void load_queries(const int bf16, const tk_attention_block *b, size_t padded, float *q) {
  float scale = b->scale * 1.44269504088896341f;
  for (size_t row = 0; row < padded; row++) {
    const float *from = b->q + token_at(b->query_tokens, row < b->rows ? b->first + row : b->first) * b->size;
    if (bf16) {
      size_t pairs = (b->size + 1) / 2;
      for (size_t c = 0; c < pairs; c++) {
        uint32_t pair = bf16_pair(from[2 * c] * scale, 2 * c + 1 < b->size ? from[2 * c + 1] * scale : 0);
        memcpy(q + row * pairs + c, &pair, 4);
      }
    } else {
      for (size_t c = 0; c < b->size; c++) q[row * b->size + c] = from[c] * scale;
    }
  }
}

TK_INLINE void store_rows(const tk_attention_block *b, const scratch_parts *s) {
  size_t lds = rounded(b->size, 16);
  for (size_t row = 0; row < b->rows; row++) {
    size_t token = token_at(b->query_tokens, b->first + row);
    float inverse = 1.0f / s->total[row];
    for (size_t c = 0; c < b->size; c++) b->out[token * b->size + c] = s->sums[row * lds + c] * inverse;
    if (b->log_sum_exp) b->log_sum_exp[token] = (s->largest[row] + log2f(s->total[row])) * 0.693147180559945309f;
  }
}

// Begins a tile of `width` scores of a row: the new largest score, with what was summed before brought to it.
TK_INLINE float begin_row(const scratch_parts *s, size_t row, size_t width, size_t lds) {
  const float *scores = s->scores + row * TILE;
  float lanes[KEYS];
  memcpy(lanes, scores, sizeof lanes);
  for (size_t j = KEYS; j < width; j += KEYS)
    for (int l = 0; l < KEYS; l++) lanes[l] = scores[j + l] > lanes[l] ? scores[j + l] : lanes[l];
  float largest = s->largest[row];
  for (int l = 0; l < KEYS; l++) largest = lanes[l] > largest ? lanes[l] : largest;
  if (largest > s->largest[row]) {
    float distance = s->largest[row] - largest, factor = distance > -126.0f ? exp2_plain(distance) : 0;
    s->total[row] *= factor;
    for (size_t c = 0; c < lds; c++) s->sums[row * lds + c] *= factor;
    s->largest[row] = largest;
  }
  return largest;
}

TK_INLINE void block_plain(const int bf16, const tk_attention_block *b) {
  scratch_parts s = parts_of(b->scratch, b->size);
  size_t padded = rounded(b->rows, GROUP), lds = rounded(b->size, 16), ldq = bf16 ? (b->size + 1) / 2 : b->size;
  size_t key_stride = tk_attention_key_panel(b->size, bf16), value_stride = tk_attention_value_panel(b->size, bf16);
  load_queries(bf16, b, padded, s.q);
  memset(s.sums, 0, padded * lds * sizeof *s.sums);
  for (size_t row = 0; row < padded; row++) s.largest[row] = ABSENT, s.total[row] = 0;
  for (size_t first = 0; first < b->panels; first += TILE / KEYS) {
    size_t panels = b->panels - first < TILE / KEYS ? b->panels - first : TILE / KEYS, width = panels * KEYS;
    const uint32_t *list = b->panel_list + first;
    for (size_t p = 0; p < panels; p++)
      for (size_t row = 0; row < padded; row += GROUP)
        scores_plain(bf16, b->size, s.q + row * ldq, ldq, (const float *)b->keys + list[p] * key_stride,
                     b->panel_counts[first + p], s.scores + row * TILE + p * KEYS);
    for (size_t row = 0; row < padded; row++) {
      float largest = begin_row(&s, row, width, lds);
      s.total[row] += softmax_plain(bf16, width, s.scores + row * TILE, s.weights + row * TILE, largest);
    }
    for (size_t start = 0; start < lds; start += 32)
      for (size_t row = 0; row < padded; row += GROUP)
        sums_plain(bf16, panels, list, value_stride, b->values, start * (bf16 ? KEYS / 2 : KEYS),
                   lds - start < 32 ? 16 : 32, s.scores + row * TILE, s.weights + row * TILE,
                   s.sums + row * lds + start, lds);
  }
  store_rows(b, &s);
}

#if TK_X86
TK_TARGET_BF16 static void load_queries_wide(const tk_attention_block *b, size_t padded, float *q) {
  __m512 scale = _mm512_set1_ps(b->scale * 1.44269504088896341f);
  size_t pairs = (b->size + 1) / 2;
  for (size_t row = 0; row < padded; row++) {
    const float *from = b->q + token_at(b->query_tokens, row < b->rows ? b->first + row : b->first) * b->size;
    for (size_t c = 0; c < b->size; c += 16) {
      size_t left = b->size - c;
      __mmask16 real = left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
      __m256bh y = _mm512_cvtneps_pbh(_mm512_mul_ps(_mm512_maskz_loadu_ps(real, from + c), scale));
      __mmask8 words = left >= 16 ? 0xff : (__mmask8)((1u << (left + 1) / 2) - 1);
      _mm256_mask_storeu_epi32(q + row * pairs + c / 2, words, (__m256i)y);
    }
  }
}

// As store_rows; whole lines past the caches, since writing through them would first read what is overwritten.
TK_TARGET_AVX512 static void store_rows_wide(const tk_attention_block *b, const scratch_parts *s) {
  if (!b->streams || b->size % 16 != 0 || (uintptr_t)b->out % 64 != 0) {
    store_rows(b, s);
    return;
  }
  for (size_t row = 0; row < b->rows; row++) {
    size_t token = token_at(b->query_tokens, b->first + row);
    __m512 inverse = _mm512_set1_ps(1.0f / s->total[row]);
    for (size_t c = 0; c < b->size; c += 16)
      _mm512_stream_ps(b->out + token * b->size + c,
                       _mm512_mul_ps(_mm512_loadu_ps(s->sums + row * b->size + c), inverse));
    if (b->log_sum_exp) b->log_sum_exp[token] = (s->largest[row] + log2f(s->total[row])) * 0.693147180559945309f;
  }
  _mm_sfence();
}

// As begin_row: a chain of single numbers' maxima took a tenth of the time.
WIDE float begin_row_wide(const scratch_parts *s, size_t row, size_t width, size_t lds) {
  float before = s->largest[row], largest = largest_wide(width, s->scores + row * TILE);
  if (!(largest > before)) return before;
  float distance = before - largest, factor = distance > -126.0f ? exp2_plain(distance) : 0;
  __m512 factors = _mm512_set1_ps(factor);
  s->total[row] *= factor;
  for (float *at = s->sums + row * lds, *end = at + lds; at < end; at += 16)
    _mm512_storeu_ps(at, _mm512_mul_ps(_mm512_loadu_ps(at), factors));
  s->largest[row] = largest;
  return largest;
}

#define MASK(count) ((__mmask16)((1u << (count)) - 1))
#define BLOCK_WIDE(BF16, TYPE, LOAD, SCORES, SOFTMAX, SUMS)                                                                  \
  scratch_parts s = parts_of(b->scratch, b->size);                                                                     \
  size_t padded = rounded(b->rows, GROUP), lds = rounded(b->size, 16), ldq = BF16 ? (b->size + 1) / 2 : b->size;       \
  size_t key_stride = tk_attention_key_panel(b->size, BF16), value_stride = tk_attention_value_panel(b->size, BF16);   \
  LOAD;                                                                                                                \
  memset(s.sums, 0, padded * lds * sizeof *s.sums);                                                                    \
  for (size_t row = 0; row < padded; row++) s.largest[row] = ABSENT, s.total[row] = 0;                                 \
  for (size_t first = 0; first < b->panels; first += TILE / KEYS) {                                                    \
    size_t panels = b->panels - first < TILE / KEYS ? b->panels - first : TILE / KEYS, width = panels * KEYS;          \
    const uint32_t *list = b->panel_list + first;                                                                      \
    const uint8_t *counts = b->panel_counts + first;                                                                   \
    for (size_t p = 0; p < panels; p += 2) {                                                                           \
      const TYPE *k0 = (const TYPE *)b->keys + list[p] * key_stride;                                                   \
      __mmask16 m0 = MASK(counts[p]);                                                                                  \
      if (p + 1 < panels) {                                                                                            \
        const TYPE *k1 = (const TYPE *)b->keys + list[p + 1] * key_stride;                                             \
        __mmask16 m1 = MASK(counts[p + 1]);                                                                            \
        size_t next = first + p + 2 < b->panels ? list[p + 2] : list[p];                                                \
        for (size_t row = 0; row < padded; row += GROUP) {                                                             \
          prefetch_share((const TYPE *)b->keys + next * key_stride, 8 * key_stride, row / GROUP, padded / GROUP);                      \
          size_t fetched = row + p / 2;                                                                                \
          if (first == 0 && fetched < b->next_rows)                                                                    \
            prefetch_share(b->q + token_at(b->query_tokens, b->first + b->rows + fetched) * b->size, 4 * b->size, 0, 1); \
          prefetch_share((const TYPE *)b->values + list[p] * value_stride, 8 * value_stride, row / GROUP, padded / GROUP);             \
          SCORES(2, k0, k1, m0, m1);                                                                                   \
        }                                                                                                              \
      } else {                                                                                                         \
        for (size_t row = 0; row < padded; row += GROUP) SCORES(1, k0, k0, m0, m0);                                    \
      }                                                                                                                \
    }                                                                                                                  \
    if (panels % 2) {                                                                                                  \
      for (size_t row = 0; row < padded; row++)                                                                        \
        _mm512_storeu_ps(s.scores + row * TILE + width, _mm512_set1_ps(ABSENT));                                       \
      width += KEYS;                                                                                                   \
    }                                                                                                                  \
    for (size_t row = 0; row < padded; row++) {                                                                        \
      float largest = begin_row_wide(&s, row, width, lds);                                                             \
      s.total[row] += SOFTMAX;                                                                                         \
    }                                                                                                                  \
    for (size_t start = 0; start < lds; start += 32) {                                                                 \
      const TYPE *v = (const TYPE *)b->values + start * (BF16 ? KEYS / 2 : KEYS);                                      \
      if (lds - start > 16)                                                                                            \
        for (size_t row = 0; row < padded; row += GROUP) SUMS(2);                                                      \
      else                                                                                                             \
        for (size_t row = 0; row < padded; row += GROUP) SUMS(1);                                                      \
    }                                                                                                                  \
  }                                                                                                                    \
  store_rows_wide(b, &s);

#define SCORES_F32(halves, k0, k1, m0, m1)                                                                             \
  scores_f32_wide(halves, b->size, s.q + row * ldq, ldq, k0, k1, m0, m1, s.scores + row * TILE + p * KEYS)
#define SCORES_BF16(halves, k0, k1, m0, m1)                                                                            \
  scores_bf16_wide(halves, ldq, s.q + row * ldq, k0, k1, m0, m1, s.scores + row * TILE + p * KEYS)
#define SUMS_F32(halves)                                                                                               \
  sums_f32_wide(halves, panels, list, value_stride, v, s.scores + row * TILE, s.sums + row * lds + start, lds)
#define SUMS_BF16(halves)                                                                                              \
  sums_bf16_wide(halves, panels, list, value_stride, v, s.weights + row * TILE, s.sums + row * lds + start, lds)

TK_TARGET_AVX512 static void block_f32_avx512(const tk_attention_block *b) {
  BLOCK_WIDE(0, float, load_queries(0, b, padded, s.q), SCORES_F32, softmax_wide(width, s.scores + row * TILE, largest), SUMS_F32)
}
TK_TARGET_BF16 static void block_bf16_avx512(const tk_attention_block *b) {
  BLOCK_WIDE(1, uint32_t, load_queries_wide(b, padded, s.q), SCORES_BF16,
             softmax_bf16_wide(width, s.scores + row * TILE, s.weights + row * TILE, largest), SUMS_BF16)
}
TK_TARGET_AVX2 static void block_f32_avx2(const tk_attention_block *b) { block_plain(0, b); }
TK_TARGET_AVX2 static void block_bf16_avx2(const tk_attention_block *b) { block_plain(1, b); }
#endif
static void block_f32_portable(const tk_attention_block *b) { block_plain(0, b); }
static void block_bf16_portable(const tk_attention_block *b) { block_plain(1, b); }

void tk_attention(const tk_attention_block *block) {
#if TK_X86
  tk_level level = tk_cpu_level();
  if (block->bf16) {
    if (level >= TK_AVX512_BF16) block_bf16_avx512(block);
    else if (level >= TK_AVX2) block_bf16_avx2(block);
    else block_bf16_portable(block);
  } else {
    if (level >= TK_AVX512) block_f32_avx512(block);
    else if (level == TK_AVX2) block_f32_avx2(block);
    else block_f32_portable(block);
  }
#else
  if (block->bf16) block_bf16_portable(block);
  else block_f32_portable(block);
#endif
}

void tk_attention_pack(size_t first, size_t count, size_t size, const int32_t *tokens, const float *k, const float *v,
                       int bf16, void *keys, void *values) {
  const float *key_rows[KEYS], *value_rows[KEYS];
  for (size_t j = 0; j < KEYS; j++) {
    size_t token = token_at(tokens, first + (j < count ? j : 0));
    key_rows[j] = k + token * size;
    value_rows[j] = v + token * size;
  }
#if TK_X86
  for (size_t j = 0; j < count; j++)
    for (size_t c = 0; c < size; c += 16) _mm_prefetch((const char *)(value_rows[j] + c), _MM_HINT_T0);
  if (bf16 && tk_cpu_level() >= TK_AVX512_BF16) {
    pack_keys_bf16_wide(count, size, key_rows, keys);
    pack_values_bf16_wide(count, size, value_rows, values);
    return;
  }
  if (!bf16 && tk_cpu_level() >= TK_AVX512) {
    pack_keys_f32_wide(count, size, key_rows, keys);
    pack_values_f32(count, size, value_rows, values);
    return;
  }
#endif
  if (bf16) {
    pack_keys_bf16(count, size, key_rows, keys);
    pack_values_bf16(count, size, value_rows, values);
  } else {
    pack_keys_f32(count, size, key_rows, keys);
    pack_values_f32(count, size, value_rows, values);
  }
}
