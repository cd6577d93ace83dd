// Block-sparse attention on 8-bit integers: the loop of attention.c with both products in integers, whose sums are exact.
//
// Queries have a scale each, keys too, after the mean of the head's keys was taken off, which changes every score of a
// query by the same amount and so no weight (SageAttention, Zhang et al. 2024, arXiv:2410.02367). Weights are whole
// multiples of 1/255 of the largest of their tile, values have a scale for each channel of the head. A row's sum of
// weights is that of the integers, so that equal values come out as they are.
//
// Packed layouts, by panel p of 16 keys in plan order:
//   keys    [size / 4][16] words of four channels, then 16 scales (floats), then 16 offsets (integers)
//   values  [chunk][4][w] words of four keys, in chunks of w = 16, 32 or 48 channels
#include "attention_parts.h"
#include "integers.h"
#include "lanes.h"
#include "transpose.h"

enum { FOUR = 4, PART = 64 };

size_t tk_attention_int8_key_panel(size_t size) { return (rounded(size, FOUR) / FOUR + 2) * KEYS; }
size_t tk_attention_int8_value_panel(size_t size) { return rounded(size, 16) * (KEYS / FOUR); }

// Queries, their scales, scores, weights, sums; each row's largest score, two sums of weights, and two factors.
size_t tk_attention_int8_scratch(size_t size) {
  return ROWS * (rounded(size, FOUR) / FOUR + TILE + TILE / FOUR + rounded(size, 16) + 6) + 64;
}

typedef struct {
  float *scores, *sums, *query_scales, *largest, *total, *exact_total, *keep, *unit;
  uint8_t *weights, *q;
} parts;

static parts parts_of(float *scratch, size_t size) {
  float *at = (float *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63);
  parts s;
  s.scores = at, at += ROWS * TILE;
  s.weights = (uint8_t *)at, at += ROWS * TILE / FOUR;
  s.sums = at, at += ROWS * rounded(size, 16);
  s.q = (uint8_t *)at, at += ROWS * rounded(size, FOUR) / FOUR;
  s.query_scales = at, at += ROWS;
  s.largest = at, at += ROWS;
  s.total = at, at += ROWS;
  s.exact_total = at, at += ROWS;
  s.keep = at, at += ROWS;
  s.unit = at;
  return s;
}

// ---- What a head's keys and values have in common

TK_INLINE void tk_attention_int8_survey_body(size_t count, size_t size, const float *k, const float *v, float *sums,
                                             float *largest) {
  for (size_t token = 0; token < count; token++)
    for (size_t c = 0; c < size; c++) {
      sums[c] += k[token * size + c];
      largest[c] = larger(largest[c], fabsf(v[token * size + c]));
    }
}
TK_DISPATCH(tk_attention_int8_survey,
            (size_t count, size_t size, const float *k, const float *v, float *sums, float *largest),
            (count, size, k, v, sums, largest))

#if TK_X86
// ---- Rows to integers, 16 channels at a time: the bytes of the plain loops below.

TK_INLINE TK_TARGET_AVX512 __mmask16 lanes_of(size_t left) {
  return left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
}
TK_INLINE TK_TARGET_AVX512 __m512 less_mean(size_t c, size_t size, const float *x, const float *means) {
  __mmask16 mask = lanes_of(size - c);
  __m512 value = _mm512_maskz_loadu_ps(mask, x + c);
  return means ? _mm512_sub_ps(value, _mm512_maskz_loadu_ps(mask, means + c)) : value;
}
TK_INLINE TK_TARGET_AVX512 float row_largest(size_t size, const float *x, const float *means) {
  __m512i largest = _mm512_setzero_si512(), size_bits = _mm512_set1_epi32(0x7fffffff);
  for (size_t c = 0; c < size; c += 16)
    largest = _mm512_max_epu32(largest, _mm512_and_si512((__m512i)less_mean(c, size, x, means), size_bits));
  return bits_float(_mm512_reduce_max_epu32(largest));
}
// By number of steps, each in a lane of its own; `real` tells lanes with a step.
TK_INLINE TK_TARGET_AVX512 __m512i steps(__m512 x, __m512 inverse, __mmask16 real) {
  return _mm512_maskz_cvtps_epi32(real, _mm512_mul_ps(x, inverse));
}

TK_TARGET_AVX512 static void pack_keys_wide(size_t count, size_t size, const float *const *rows, const float *means,
                                            uint32_t *keys) {
  size_t quads = rounded(size, FOUR) / FOUR;
  float *scales = (float *)(keys + quads * KEYS), inverses[KEYS];
  int32_t *offsets = (int32_t *)(keys + (quads + 1) * KEYS);
  for (size_t j = 0; j < KEYS; j++) {
    float largest = j < count ? row_largest(size, rows[j], means) : 0;
    inverses[j] = steps_of(largest);
    scales[j] = largest / 127;
  }
  __m512i sums[KEYS];
  FULL_UNROLL for (int j = 0; j < KEYS; j++) sums[j] = _mm512_setzero_si512();
  for (size_t start = 0; start < size; start += PART) {
    __m512i in[KEYS];
    for (int j = 0; j < KEYS; j++) {
      __m512 inverse = _mm512_set1_ps(inverses[j]);
      __m128i bytes[4];
      for (size_t i = 0; i < 4; i++) {
        size_t c = start + 16 * i;
        bytes[i] = _mm_setzero_si128();
        if (c >= size || inverses[j] == 0) continue;
        __m512i q = steps(less_mean(c, size, rows[j], means), inverse, 0xffff);
        sums[j] = _mm512_add_epi32(sums[j], q);
        bytes[i] = _mm512_cvtepi32_epi8(q);
      }
      __m256i low = _mm256_set_m128i(bytes[1], bytes[0]), high = _mm256_set_m128i(bytes[3], bytes[2]);
      in[j] = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    }
    size_t first = start / FOUR;
    if (first + PART / FOUR <= quads) {
      transpose16(in, keys + first * KEYS, KEYS);
    } else {
      uint32_t part[PART / FOUR * KEYS];
      transpose16(in, part, KEYS);
      memcpy(keys + first * KEYS, part, (quads - first) * KEYS * sizeof *part);
    }
  }
  for (size_t j = 0; j < KEYS; j++) offsets[j] = ZERO * _mm512_reduce_add_epi32(sums[j]);
}

TK_TARGET_AVX512 static void pack_values_wide(size_t count, size_t size, const float *const *rows,
                                              const float *value_scales, uint32_t *values) {
  for (size_t start = 0; start < size; start += chunk_size(size)) {
    size_t width = chunk_width(size, start);
    for (size_t c = start; c < start + width; c += 16) {
      __mmask16 mask = c < size ? lanes_of(size - c) : 0;
      __m512 largest = _mm512_mul_ps(_mm512_set1_ps(127), _mm512_maskz_loadu_ps(mask, value_scales + c));
      __mmask16 real = _mm512_cmp_ps_mask(largest, _mm512_setzero_ps(), _CMP_GT_OQ) &
                       _mm512_cmp_ps_mask(largest, _mm512_set1_ps(3.4e38f), _CMP_LE_OQ);
      __m512 inverse = _mm512_maskz_div_ps(real, _mm512_set1_ps(127), largest);
      for (size_t j = 0; j < KEYS; j += FOUR) {
        __m512i quad = _mm512_setzero_si512();
        for (size_t i = 0; i < FOUR && j + i < count; i++) {
          __m512i q = steps(_mm512_maskz_loadu_ps(mask, rows[j + i] + c), inverse, real);
          q = _mm512_and_si512(q, _mm512_set1_epi32(255));
          quad = _mm512_or_si512(quad, _mm512_slli_epi32(q, (unsigned)(8 * i)));
        }
        _mm512_storeu_si512(values + start * (KEYS / FOUR) + j / FOUR * width + c - start, quad);
      }
    }
  }
}
#endif

// ---- Packing

TK_INLINE void pack_body(size_t first, size_t count, size_t size, const int32_t *tokens, const float *k, const float *v,
                         const float *means, const float *value_scales, uint32_t *keys, uint32_t *values) {
  size_t quads = rounded(size, FOUR) / FOUR;
  float *scales = (float *)(keys + quads * KEYS);
  int32_t *offsets = (int32_t *)(keys + (quads + 1) * KEYS);
  const float *value_rows[KEYS];
  for (size_t j = 0; j < KEYS; j++) {
    size_t token = token_at(tokens, first + (j < count ? j : 0));
    const float *from = k + token * size;
    value_rows[j] = v + token * size;
    float largest = 0;
    for (size_t c = 0; c < size; c++) largest = larger(largest, fabsf(from[c] - means[c]));
    if (j >= count) largest = 0;
    float inverse = steps_of(largest);
    int32_t sum = 0;
    for (size_t start = 0; start < size; start += PART) {
      int8_t narrow[PART] = {0};
      size_t width = size - start < PART ? size - start : PART;
      for (size_t c = 0; c < width; c++) {
        int32_t q = whole(from[start + c] - means[start + c], inverse);
        sum += q;
        narrow[c] = (int8_t)q;
      }
      uint32_t *out = keys + start / FOUR * KEYS + j;
      for (size_t i = 0; i < rounded(width, FOUR) / FOUR; i++) memcpy(out + i * KEYS, narrow + i * FOUR, 4);
    }
    scales[j] = largest / 127;
    offsets[j] = ZERO * sum;
  }
  for (size_t start = 0; start < size; start += chunk_size(size)) {
    size_t width = chunk_width(size, start), real = size - start < width ? size - start : width;
    for (size_t j = 0; j < KEYS; j += FOUR, values += width) {
      for (size_t c = 0; c < width; c++) values[c] = 0;
      for (size_t i = 0; i < FOUR && j + i < count; i++)
        for (size_t c = 0; c < real; c++) {
          float inverse = steps_of(127 * value_scales[start + c]);
          values[c] |= ((uint32_t)whole(value_rows[j + i][start + c], inverse) & 255) << 8 * i;
        }
    }
  }
}
TK_DISPATCH_LOCAL(pack,
                  (size_t first, size_t count, size_t size, const int32_t *tokens, const float *k, const float *v,
                   const float *means, const float *value_scales, uint32_t *keys, uint32_t *values),
                  (first, count, size, tokens, k, v, means, value_scales, keys, values))

void tk_attention_int8_pack(size_t first, size_t count, size_t size, const int32_t *tokens, const float *k,
                            const float *v, const float *means, const float *value_scales, uint32_t *keys,
                            uint32_t *values) {
#if TK_X86
  if (tk_cpu_level() >= TK_AVX512) {
    const float *key_rows[KEYS], *value_rows[KEYS];
    for (size_t j = 0; j < KEYS; j++) {
      size_t token = token_at(tokens, first + (j < count ? j : 0));
      key_rows[j] = k + token * size;
      value_rows[j] = v + token * size;
    }
    pack_keys_wide(count, size, key_rows, means, keys);
    pack_values_wide(count, size, value_rows, value_scales, values);
    return;
  }
#endif
  pack(first, count, size, tokens, k, v, means, value_scales, keys, values);
}

// ---- Queries in, rows out

TK_INLINE void load_queries_plain_body(const tk_attention_block *b, size_t padded, const parts *s) {
  size_t ldq = rounded(b->size, FOUR);
  for (size_t row = 0; row < padded; row++) {
    const float *from = b->q + token_at(b->query_tokens, row < b->rows ? b->first + row : b->first) * b->size;
    float largest = largest_of(b->size, from), inverse = steps_of(largest);
    uint8_t *out = s->q + row * ldq;
    for (size_t c = 0; c < b->size; c++) out[c] = (uint8_t)(ZERO + whole(from[c], inverse));
    for (size_t c = b->size; c < ldq; c++) out[c] = ZERO;
    s->query_scales[row] = largest / 127 * b->scale * 1.44269504088896341f;
  }
}
TK_DISPATCH_LOCAL(load_queries_plain, (const tk_attention_block *b, size_t padded, const parts *s), (b, padded, s))

#if TK_X86
TK_TARGET_AVX512 static void load_queries_wide(const tk_attention_block *b, size_t padded, const parts *s) {
  size_t ldq = rounded(b->size, FOUR);
  for (size_t row = 0; row < padded; row++) {
    const float *from = b->q + token_at(b->query_tokens, row < b->rows ? b->first + row : b->first) * b->size;
    float largest = row_largest(b->size, from, 0), inverse = steps_of(largest);
    for (size_t c = 0; c < ldq; c += 16) {
      __m512i q = steps(less_mean(c, b->size, from, 0), _mm512_set1_ps(inverse), inverse == 0 ? 0 : 0xffff);
      __m128i bytes = _mm_xor_si128(_mm512_cvtepi32_epi8(q), _mm_set1_epi8((char)ZERO));
      _mm_mask_storeu_epi8(s->q + row * ldq + c, lanes_of(ldq - c), bytes);
    }
    s->query_scales[row] = largest / 127 * b->scale * 1.44269504088896341f;
  }
}
#endif
static void load_queries(const tk_attention_block *b, size_t padded, const parts *s) {
#if TK_X86
  if (tk_cpu_level() >= TK_AVX512) {
    load_queries_wide(b, padded, s);
    return;
  }
#endif
  load_queries_plain(b, padded, s);
}

TK_INLINE void store_rows_body(const tk_attention_block *b, const parts *s) {
  size_t lds = rounded(b->size, 16);
  for (size_t row = 0; row < b->rows; row++) {
    size_t token = token_at(b->query_tokens, b->first + row);
    float inverse = 1 / s->total[row];
    for (size_t c = 0; c < b->size; c++)
      b->out[token * b->size + c] = s->sums[row * lds + c] * (inverse * b->value_scales[c]);
  }
}
TK_DISPATCH_LOCAL(store_rows, (const tk_attention_block *b, const parts *s), (b, s))

TK_INLINE void store_log_sums_body(const tk_attention_block *b, const parts *s) {
  for (size_t row = 0; row < b->rows; row++) {
    size_t token = token_at(b->query_tokens, b->first + row);
    // What the mean of the keys adds to all scores of this query.
    float shift = 0;
    for (size_t c = 0; c < b->size; c++) shift += b->q[token * b->size + c] * b->key_means[c];
    b->log_sum_exp[token] =
        (s->largest[row] + log2f(s->exact_total[row])) * 0.693147180559945309f + shift * b->scale;
  }
}
TK_DISPATCH_LOCAL(store_log_sums, (const tk_attention_block *b, const parts *s), (b, s))

#if TK_X86
// As store_rows; whole lines past the caches, since writing through them would first read what is overwritten.
TK_TARGET_VNNI static void stream_rows(const tk_attention_block *b, const parts *s) {
  for (size_t row = 0; row < b->rows; row++) {
    size_t token = token_at(b->query_tokens, b->first + row);
    __m512 inverse = _mm512_set1_ps(1 / s->total[row]);
    for (size_t c = 0; c < b->size; c += 16) {
      __m512 unit = _mm512_mul_ps(inverse, _mm512_loadu_ps(b->value_scales + c));
      _mm512_stream_ps(b->out + token * b->size + c, _mm512_mul_ps(_mm512_loadu_ps(s->sums + row * b->size + c), unit));
    }
  }
  _mm_sfence();
}
#endif
static void store(const tk_attention_block *b, const parts *s) {
#if TK_X86
  if (b->streams && b->size % 16 == 0 && (uintptr_t)b->out % 64 == 0 && tk_has_int8()) stream_rows(b, s);
  else store_rows(b, s);
#else
  store_rows(b, s);
#endif
  if (b->log_sum_exp) store_log_sums(b, s);
}

// ---- Plain loops

// Integer sums of a panel to scores.
TK_INLINE void finish_scores(const int32_t *sums, const float *scales, const int32_t *offsets, float query_scale,
                             size_t count, float *scores) {
  for (size_t j = 0; j < KEYS; j++) scores[j] = (float)(sums[j] - offsets[j]) * (query_scale * scales[j]);
  for (size_t j = count; j < KEYS; j++) scores[j] = ABSENT;
}

TK_INLINE void scores_plain(const uint8_t *q, size_t quads, const float *query_scales, const uint32_t *keys,
                            size_t count, float *scores) {
  const float *scales = (const float *)(keys + quads * KEYS);
  const int32_t *offsets = (const int32_t *)(keys + (quads + 1) * KEYS);
  for (int row = 0; row < GROUP; row++) {
    int32_t sum[KEYS] = {0};
    for (size_t c = 0; c < quads; c++) {
      const uint8_t *x = q + row * quads * FOUR + c * FOUR;
      int32_t x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
      for (int j = 0; j < KEYS; j++) {
        uint32_t quad = keys[c * KEYS + j];
        sum[j] += x0 * (int8_t)quad + x1 * (int8_t)(quad >> 8) + x2 * (int8_t)(quad >> 16) + x3 * (int8_t)(quad >> 24);
      }
    }
    finish_scores(sum, scales, offsets, query_scales[row], count, scores + row * TILE);
  }
}

// 2^x for x of at most 0, to 1e-4: what is rounded to 255 steps needs no more.
TK_INLINE float exp2_coarse(float x) {
  x = x < -126.0f ? -126.0f : x;
  float shifted = x + 12582912.0f, f = x - (shifted - 12582912.0f);
  float p = ((5.5008930e-2f * f + 2.4221097e-1f) * f + 6.9328293e-1f) * f + 1;
  uint32_t bits;
  memcpy(&bits, &shifted, 4);
  return p * bits_float((bits + 127) << 23);
}

// Weights of a tile of a row, and its sums; the tile's largest score is `base`.
TK_INLINE void softmax_plain(size_t width, const float *scores, uint8_t *weights, float base, float *total,
                             int32_t *integers) {
  float lanes[KEYS] = {0}, sum = 0;
  int32_t wholes[KEYS] = {0}, all = 0;
  for (size_t j = 0; j < width; j += KEYS)
    for (size_t l = 0; l < KEYS; l++) {
      float score = scores[j + l], weight = exp2_coarse(score - base);
      weight = score <= ABSENT ? 0 : weight;
      int32_t q = nearest(weight * 255);
      q = weight <= 1.01f ? q : 0;
      q = q > 255 ? 255 : q;
      lanes[l] += weight;
      wholes[l] += q;
      weights[j + l] = (uint8_t)q;
    }
  for (int l = 0; l < KEYS; l++) sum += lanes[l], all += wholes[l];
  *total = sum;
  *integers = all;
}

// A tile's integers join 16 sums of a row.
TK_INLINE void join_sums(const int32_t *tile, float keep, float unit, float *sums) {
  for (int c = 0; c < 16; c++) sums[c] = sums[c] * keep + (float)tile[c] * unit;
}

TK_INLINE void sums_plain(size_t panels, const uint32_t *list, size_t stride, const uint32_t *values, size_t width,
                          const uint8_t *weights, const float *keep, const float *unit, float *sums, size_t lds) {
  for (int row = 0; row < GROUP; row++)
    for (size_t start = 0; start < width; start += 16) {
      int32_t sum[16] = {0};
      for (size_t p = 0; p < panels; p++) {
        const uint32_t *v = values + list[p] * stride + start;
        for (size_t k = 0; k < KEYS / FOUR; k++) {
          const uint8_t *w = weights + row * TILE + p * KEYS + k * FOUR;
          int32_t w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
          for (int c = 0; c < 16; c++) {
            uint32_t quad = v[k * width + c];
            sum[c] +=
                w0 * (int8_t)quad + w1 * (int8_t)(quad >> 8) + w2 * (int8_t)(quad >> 16) + w3 * (int8_t)(quad >> 24);
          }
        }
      }
      join_sums(sum, keep[row], unit[row], sums + row * lds + start);
    }
}

// ---- AVX-512 with VNNI

#if TK_X86
#define WIDE TK_INLINE TK_TARGET_VNNI

// 8 queries against up to three panels.
WIDE void scores_wide(const int vectors, size_t quads, const uint8_t *q, const float *query_scales,
                      const uint32_t *const *keys, const __mmask16 *masks, float *scores) {
  __m512i s[GROUP][3];
  FULL_UNROLL for (int i = 0; i < GROUP; i++)
    FULL_UNROLL for (int j = 0; j < vectors; j++) s[i][j] = _mm512_setzero_si512();
  for (size_t c = 0; c < quads; c++) {
    __m512i w[3];
    FULL_UNROLL for (int j = 0; j < vectors; j++) w[j] = _mm512_loadu_si512(keys[j] + c * KEYS);
    FULL_UNROLL for (int i = 0; i < GROUP; i++) {
      int quad;
      memcpy(&quad, q + (i * quads + c) * FOUR, 4);
      __m512i value = _mm512_set1_epi32(quad);
      FULL_UNROLL for (int j = 0; j < vectors; j++) s[i][j] = _mm512_dpbusd_epi32(s[i][j], value, w[j]);
    }
  }
  __m512 absent = _mm512_set1_ps(ABSENT);
  FULL_UNROLL for (int j = 0; j < vectors; j++) {
    const uint32_t *tail = keys[j] + quads * KEYS;
    __m512 scale = _mm512_loadu_ps(tail);
    __m512i offset = _mm512_loadu_si512(tail + KEYS);
    FULL_UNROLL for (int i = 0; i < GROUP; i++) {
      __m512 x = _mm512_cvtepi32_ps(_mm512_sub_epi32(s[i][j], offset));
      x = _mm512_mul_ps(x, _mm512_mul_ps(_mm512_set1_ps(query_scales[i]), scale));
      _mm512_storeu_ps(scores + i * TILE + j * KEYS, _mm512_mask_mov_ps(absent, masks[j], x));
    }
  }
}

WIDE void softmax_wide(size_t width, const float *scores, uint8_t *weights, float base, float *total,
                       int32_t *integers) {
  __m512 first = _mm512_set1_ps(base), steps = _mm512_set1_ps(255), a = _mm512_setzero_ps(), b = a;
  __m512i m = _mm512_setzero_si512(), n = m;
  for (size_t j = 0; j < width; j += 2 * KEYS) {
    __m512 x = exp2_coarse_wide(_mm512_sub_ps(_mm512_loadu_ps(scores + j), first));
    __m512 y = exp2_coarse_wide(_mm512_sub_ps(_mm512_loadu_ps(scores + j + KEYS), first));
    __m512i p = _mm512_cvtps_epi32(_mm512_mul_ps(x, steps)), q = _mm512_cvtps_epi32(_mm512_mul_ps(y, steps));
    a = _mm512_add_ps(a, x), b = _mm512_add_ps(b, y);
    m = _mm512_add_epi32(m, p), n = _mm512_add_epi32(n, q);
    _mm_storeu_si128((__m128i *)(weights + j), _mm512_cvtusepi32_epi8(p));
    _mm_storeu_si128((__m128i *)(weights + j + KEYS), _mm512_cvtusepi32_epi8(q));
  }
  *total = _mm512_reduce_add_ps(_mm512_add_ps(a, b));
  *integers = _mm512_reduce_add_epi32(_mm512_add_epi32(m, n));
}

// 8 rows of sums by up to 48 channels, over all listed panels.
WIDE void sums_wide(const int vectors, size_t panels, const uint32_t *list, size_t stride, const uint32_t *values,
                    const uint8_t *weights, const float *keep, const float *unit, float *sums, size_t lds) {
  const size_t width = vectors * 16;
  __m512i s[GROUP][3];
  FULL_UNROLL for (int i = 0; i < GROUP; i++)
    FULL_UNROLL for (int j = 0; j < vectors; j++) s[i][j] = _mm512_setzero_si512();
  for (size_t p = 0; p < panels; p++) {
    const uint32_t *v = values + list[p] * stride;
    FULL_UNROLL for (size_t k = 0; k < KEYS / FOUR; k++) {
      __m512i w[3];
      FULL_UNROLL for (int j = 0; j < vectors; j++) w[j] = _mm512_loadu_si512(v + k * width + 16 * j);
      FULL_UNROLL for (int i = 0; i < GROUP; i++) {
        int quad;
        memcpy(&quad, weights + i * TILE + p * KEYS + k * FOUR, 4);
        __m512i value = _mm512_set1_epi32(quad);
        FULL_UNROLL for (int j = 0; j < vectors; j++) s[i][j] = _mm512_dpbusd_epi32(s[i][j], value, w[j]);
      }
    }
  }
  FULL_UNROLL for (int i = 0; i < GROUP; i++) {
    __m512 kept = _mm512_set1_ps(keep[i]), one = _mm512_set1_ps(unit[i]);
    FULL_UNROLL for (int j = 0; j < vectors; j++) {
      float *at = sums + i * lds + j * 16;
      __m512 before = _mm512_mul_ps(_mm512_loadu_ps(at), kept);
      _mm512_storeu_ps(at, _mm512_fmadd_ps(_mm512_cvtepi32_ps(s[i][j]), one, before));
    }
  }
}
#endif

// ---- One block of queries

// A tile's sums join a row's: what was summed before is brought to the larger of the largest scores.
TK_INLINE void join(const parts *s, size_t row, float base, float total, int32_t integers) {
  float before = s->largest[row], largest = base > before ? base : before;
  float keep = before - largest > -126 ? exp2_plain(before - largest) : 0;
  float unit = base - largest > -126 ? exp2_plain(base - largest) : 0;
  s->keep[row] = keep;
  s->unit[row] = unit / 255;
  // A score that is no number is one in the exact sum alone: integers have none.
  s->total[row] = s->total[row] * keep + ((float)integers + 0 * total) * s->unit[row];
  s->exact_total[row] = s->exact_total[row] * keep + total * unit;
  s->largest[row] = largest;
}

#define BLOCK(LARGEST, SCORES, SOFTMAX, SUMS)                                                                          \
  parts s = parts_of(b->scratch, b->size);                                                                             \
  size_t padded = rounded(b->rows, GROUP), lds = rounded(b->size, 16), quads = rounded(b->size, FOUR) / FOUR;          \
  size_t key_stride = tk_attention_int8_key_panel(b->size), value_stride = tk_attention_int8_value_panel(b->size);     \
  load_queries(b, padded, &s);                                                                                         \
  memset(s.sums, 0, padded * lds * sizeof *s.sums);                                                                    \
  for (size_t row = 0; row < padded; row++) s.largest[row] = ABSENT, s.total[row] = s.exact_total[row] = 0;            \
  for (size_t first = 0; first < b->panels; first += TILE / KEYS) {                                                    \
    size_t panels = b->panels - first < TILE / KEYS ? b->panels - first : TILE / KEYS, width = panels * KEYS;          \
    const uint32_t *list = b->panel_list + first;                                                                      \
    const uint8_t *counts = b->panel_counts + first;                                                                   \
    SCORES                                                                                                             \
    if (panels % 2) {                                                                                                  \
      for (size_t row = 0; row < padded; row++)                                                                        \
        for (size_t j = 0; j < KEYS; j++) s.scores[row * TILE + width + j] = ABSENT;                                   \
      width += KEYS;                                                                                                   \
    }                                                                                                                  \
    for (size_t row = 0; row < padded; row++) {                                                                        \
      float base = LARGEST(width, s.scores + row * TILE), total;                                                       \
      int32_t integers;                                                                                                \
      SOFTMAX(width, s.scores + row * TILE, s.weights + row * TILE, base, &total, &integers);                          \
      join(&s, row, base, total, integers);                                                                            \
    }                                                                                                                  \
    for (size_t start = 0; start < lds; start += chunk_size(b->size)) {                                                \
      const uint32_t *v = (const uint32_t *)b->values + start * (KEYS / FOUR);                                         \
      for (size_t row = 0; row < padded; row += GROUP) SUMS                                                            \
    }                                                                                                                  \
  }                                                                                                                    \
  store(b, &s);

TK_INLINE float largest_plain(size_t width, const float *scores) {
  float lanes[KEYS], largest;
  memcpy(lanes, scores, sizeof lanes);
  for (size_t j = KEYS; j < width; j += KEYS)
    for (int l = 0; l < KEYS; l++) lanes[l] = scores[j + l] > lanes[l] ? scores[j + l] : lanes[l];
  largest = lanes[0];
  for (int l = 1; l < KEYS; l++) largest = lanes[l] > largest ? lanes[l] : largest;
  return largest;
}

#define PLAIN_BLOCK(SCORES, SUMS)                                                                                      \
  BLOCK(                                                                                                               \
      largest_plain,                                                                                                   \
      for (size_t p = 0; p < panels; p++) for (size_t row = 0; row < padded; row += GROUP)                             \
          SCORES(s.q + row * quads * FOUR, quads, s.query_scales + row,                                                \
                 (const uint32_t *)b->keys + list[p] * key_stride, counts[p], s.scores + row * TILE + p * KEYS);       \
      , softmax_plain,                                                                                                 \
      SUMS(panels, list, value_stride, v, chunk_width(b->size, start), s.weights + row * TILE, s.keep + row,           \
           s.unit + row, s.sums + row * lds + start, lds);)

#if TK_X86
#define MASK(count) ((__mmask16)((1u << (count)) - 1))
#define SCORES_OF(vectors)                                                                                             \
  scores_wide(vectors, quads, s.q + row * quads * FOUR, s.query_scales + row, keys, masks, s.scores + row * TILE + p * KEYS)
#define SUMS_OF(vectors)                                                                                               \
  sums_wide(vectors, panels, list, value_stride, v, s.weights + row * TILE, s.keep + row, s.unit + row,                \
            s.sums + row * lds + start, lds)

TK_TARGET_VNNI static void block_vnni(const tk_attention_block *b) {
  fetching fetching = fetching_of(b);
  BLOCK(
      largest_wide,
      for (size_t p = 0; p < panels; p += 3) {
        size_t count = panels - p < 3 ? panels - p : 3;
        size_t next = first + p + 3 < b->panels ? list[p + 3] : list[p];
        const uint32_t *keys[3];
        __mmask16 masks[3];
        for (size_t j = 0; j < count; j++) {
          keys[j] = (const uint32_t *)b->keys + list[p + j] * key_stride;
          masks[j] = MASK(counts[p + j]);
        }
        for (size_t row = 0; row < padded; row += GROUP) {
          size_t share = row / GROUP;
          size_t shares = padded / GROUP;
          fetch_step(b, &fetching);
          prefetch_share((const uint32_t *)b->keys + next * key_stride, 12 * key_stride, share, shares);
          prefetch_share((const uint32_t *)b->values + list[p] * value_stride, 12 * value_stride, share, shares);
          if (count == 3) SCORES_OF(3);
          else if (count == 2) SCORES_OF(2);
          else SCORES_OF(1);
        }
      },
      softmax_wide, {
        if (chunk_width(b->size, start) > 32) SUMS_OF(3);
        else if (chunk_width(b->size, start) > 16) SUMS_OF(2);
        else SUMS_OF(1);
      })
}

// The plain loops with their integers in registers: 4 rows by 16 sums.
#define NARROW_BLOCK(LEVEL, TARGET, ADD)                                                                               \
  TARGET static void scores_##LEVEL(const uint8_t *q, size_t quads, const float *query_scales, const uint32_t *keys,   \
                                    size_t count, float *scores) {                                                     \
    const float *scales = (const float *)(keys + quads * KEYS);                                                        \
    const int32_t *offsets = (const int32_t *)(keys + (quads + 1) * KEYS);                                             \
    for (int row = 0; row < GROUP; row += LANE_ROWS) {                                                                 \
      __m256i s[LANE_ROWS][LANE_VECTORS];                                                                              \
      NARROW_ZERO(s)                                                                                                   \
      ADD(LANE_ROWS, quads, q + row * quads * FOUR, quads * FOUR, keys, KEYS, s);                                      \
      FULL_UNROLL for (int i = 0; i < LANE_ROWS; i++) {                                                                \
        int32_t sum[KEYS];                                                                                             \
        NARROW_STORE(sum, s[i])                                                                                        \
        finish_scores(sum, scales, offsets, query_scales[row + i], count, scores + (row + i) * TILE);                  \
      }                                                                                                                \
    }                                                                                                                  \
  }                                                                                                                    \
  TARGET static void sums_##LEVEL(size_t panels, const uint32_t *list, size_t stride, const uint32_t *values,          \
                                  size_t width, const uint8_t *weights, const float *keep, const float *unit,          \
                                  float *sums, size_t lds) {                                                           \
    for (int row = 0; row < GROUP; row += LANE_ROWS)                                                                   \
      for (size_t start = 0; start < width; start += 16) {                                                             \
        __m256i s[LANE_ROWS][LANE_VECTORS];                                                                            \
        NARROW_ZERO(s)                                                                                                 \
        for (size_t p = 0; p < panels; p++)                                                                            \
          ADD(LANE_ROWS, KEYS / FOUR, weights + row * TILE + p * KEYS, TILE, values + list[p] * stride + start,        \
              width, s);                                                                                               \
        FULL_UNROLL for (int i = 0; i < LANE_ROWS; i++) {                                                              \
          int32_t sum[16];                                                                                             \
          NARROW_STORE(sum, s[i])                                                                                      \
          join_sums(sum, keep[row + i], unit[row + i], sums + (row + i) * lds + start);                                \
        }                                                                                                              \
      }                                                                                                                \
  }                                                                                                                    \
  TARGET static void block_##LEVEL(const tk_attention_block *b) { PLAIN_BLOCK(scores_##LEVEL, sums_##LEVEL) }
#define NARROW_ZERO(s)                                                                                                 \
  FULL_UNROLL for (int i = 0; i < LANE_ROWS; i++)                                                                      \
    FULL_UNROLL for (int j = 0; j < LANE_VECTORS; j++) s[i][j] = _mm256_setzero_si256();
#define NARROW_STORE(to, s)                                                                                            \
  FULL_UNROLL for (int j = 0; j < LANE_VECTORS; j++) _mm256_storeu_si256((__m256i *)(to + LANES * j), s[j]);
NARROW_BLOCK(avx2, TK_TARGET_AVX2, add_int8_avx2)
NARROW_BLOCK(avx2_vnni, TK_TARGET_AVX2_VNNI, add_int8_avx2_vnni)
#endif
static void block_portable(const tk_attention_block *b) { PLAIN_BLOCK(scores_plain, sums_plain) }

void tk_attention_int8(const tk_attention_block *block) {
#if TK_X86
  if (tk_has_int8()) block_vnni(block);
  else if (tk_cpu_level() == TK_AVX2_VNNI) block_avx2_vnni(block);
  else if (tk_cpu_level() >= TK_AVX2) block_avx2(block);
  else block_portable(block);
#else
  block_portable(block);
#endif
}
