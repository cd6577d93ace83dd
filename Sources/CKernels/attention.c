// Block-sparse attention, one block of queries at a time: scores against listed panels of 16 keys, online softmax,
// weighted sum of values (FlashAttention, Dao et al. 2022, arXiv:2205.14135; the online softmax is Milakov and
// Gimelshein 2018, arXiv:1805.02867). Panels not listed cost nothing. Scores are in units of log2, so that the softmax
// is one exp2 away.
//
// Packed layouts, by panel p of 16 keys in plan order:
//   keys    fp32 [size][16]              bf16 [size / 2][16] pairs along `size`
//   values  fp32 [chunk][16 keys][w]     bf16 [chunk][8 pairs of keys][w]
// where values come in chunks of w = 16, 32 or 48 channels.
#include "attention_parts.h"
#include "lanes.h"
#include "transpose.h"

size_t tk_attention_key_panel(size_t size, int bf16) { return bf16 ? rounded(size, 2) / 2 * KEYS : size * KEYS; }
size_t tk_attention_value_panel(size_t size, int bf16) { return rounded(size, 16) * (bf16 ? KEYS / 2 : KEYS); }

// Queries, scores, weights, sums; by row and lane the largest score and sums of weights; each row's largest score and sum.
size_t tk_attention_scratch(size_t size) {
  return ROWS * (rounded(size, 2) + TILE + TILE / 2 + rounded(size, 16) + 3 * KEYS + 2) + 64;
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
  for (size_t start = 0; start < size; start += chunk_size(size)) {
    size_t width = chunk_width(size, start), real = size - start < width ? size - start : width;
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
  for (size_t start = 0; start < size; start += chunk_size(size)) {
    size_t width = chunk_width(size, start), real = size - start < width ? size - start : width;
    for (size_t j = 0; j < KEYS; j += 2, out += width)
      for (size_t c = 0; c < width; c++) {
        float low = c < real && j < count ? rows[j][start + c] : 0;
        float high = c < real && j + 1 < count ? rows[j + 1][start + c] : 0;
        out[c] = bf16_pair(low, high);
      }
  }
}

// ---- Portable and AVX2: 4 rows by 16 lanes at a time, in vectors of the compiler's own.

_Static_assert(KEYS == LANE_WIDTH, "a panel of keys is what a block of products is wide");

TK_INLINE void scores_plain(int bf16, size_t size, const float *q, size_t ldq, const void *keys, size_t count,
                            const float *biases, float *scores) {
  for (int row = 0; row < GROUP; row += LANE_ROWS) {
    floats8 sum[LANE_ROWS][LANE_VECTORS] = {{{0}}};
    const float *from = q + row * ldq;
    if (bf16) add_bf16(LANE_ROWS, ldq, (const uint16_t *)from, 2 * ldq, keys, KEYS, sum);
    else add_f32(LANE_ROWS, size, from, ldq, keys, KEYS, sum);
    FULL_UNROLL for (int i = 0; i < LANE_ROWS; i++) {
      float *out = scores + (row + i) * TILE;
      store_lanes(sum[i], out, KEYS);
      if (biases)
        for (size_t j = 0; j < KEYS; j++) out[j] += biases[j];
      for (size_t j = count; j < KEYS; j++) out[j] = ABSENT;
    }
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
  for (int row = 0; row < GROUP; row += LANE_ROWS)
    for (size_t start = 0; start < width; start += KEYS) {
      floats8 sum[LANE_ROWS][LANE_VECTORS];
      float *out = sums + row * lds + start;
      FULL_UNROLL for (int i = 0; i < LANE_ROWS; i++) load_lanes(sum[i], out + i * lds, KEYS);
      for (size_t p = 0; p < panels; p++) {
        size_t at = list[p] * stride + offset + start, first = row * TILE + p * KEYS;
        if (bf16)
          add_bf16(LANE_ROWS, KEYS / 2, weights + first, TILE, (const uint32_t *)values + at, width, sum);
        else add_f32(LANE_ROWS, KEYS, scores + first, TILE, (const float *)values + at, width, sum);
      }
      FULL_UNROLL for (int i = 0; i < LANE_ROWS; i++) store_lanes(sum[i], out + i * lds, KEYS);
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

// Weights are 2^(score - base) for a base that each row keeps for as long as no score is far above it: floating-point
// numbers are as exact at any scale. So scores need not leave the registers before their weights are known. A row's
// first base is its largest score against the first panels.
#define FAR 32

// Keys and values of panels to come.
typedef struct {
  lines_ahead keys, values;
} panels_ahead;

// 8 queries against up to three panels; `vectors` is a constant at every call. The largest score and the sum of weights
// are kept by row and lane.
#define SCORES_BODY(TYPE, LOAD, STEPS, QUERY, ACCUMULATE, EXP2, STORE)                                                 \
  __m512 s[GROUP][3];                                                                                                  \
  FULL_UNROLL for (int i = 0; i < GROUP; i++)                                                                          \
    FULL_UNROLL for (int j = 0; j < vectors; j++) s[i][j] = biases[j];                                                 \
  for (size_t c = 0; c < (STEPS);) {                                                                                   \
    size_t end = c + 8 < (STEPS) ? c + 8 : (STEPS);                                                                    \
    fetch_lines(&ahead.keys), fetch_lines(&ahead.values);                                                              \
    for (; c < end; c++) {                                                                                             \
      TYPE w[3];                                                                                                       \
      FULL_UNROLL for (int j = 0; j < vectors; j++) w[j] = LOAD(keys[j] + c * KEYS);                                   \
      FULL_UNROLL for (int i = 0; i < GROUP; i++) {                                                                    \
        QUERY                                                                                                          \
        FULL_UNROLL for (int j = 0; j < vectors; j++) s[i][j] = ACCUMULATE(s[i][j], value, w[j]);                      \
      }                                                                                                                \
    }                                                                                                                  \
  }                                                                                                                    \
  FULL_UNROLL for (int i = 0; i < GROUP; i++) {                                                                        \
    float *most = rows.most + i * KEYS;                                                                                \
    __m512 largest = _mm512_loadu_ps(most);                                                                            \
    FULL_UNROLL for (int j = 0; j < vectors; j++) largest = _mm512_mask_max_ps(largest, masks[j], largest, s[i][j]);   \
    _mm512_storeu_ps(most, largest);                                                                                   \
    if (is_first) rows.base[i] = _mm512_reduce_max_ps(largest);                                                        \
  }                                                                                                                    \
  FULL_UNROLL for (int i = 0; i < GROUP; i++) {                                                                        \
    __m512 base = _mm512_set1_ps(rows.base[i]), total = _mm512_loadu_ps(rows.sum + i * KEYS), x[3];                    \
    FULL_UNROLL for (int j = 0; j < vectors; j++) {                                                                    \
      x[j] = _mm512_maskz_mov_ps(masks[j], EXP2(_mm512_sub_ps(s[i][j], base)));                                        \
      total = _mm512_add_ps(total, x[j]);                                                                              \
    }                                                                                                                  \
    _mm512_storeu_ps(rows.sum + i * KEYS, total);                                                                      \
    STORE                                                                                                              \
  }
#define LOAD_BF16(from) ((__m512bh)_mm512_loadu_si512(from))
#define FMA(sum, a, b) _mm512_fmadd_ps(a, b, sum)

// What is kept of 8 rows: largest scores and sums of this tile's weights by lane, and bases.
typedef struct {
  float *most, *sum, *base;
} row_state;

WIDE void weights_f32_wide(const int vectors, size_t size, const float *q, const float *const *keys,
                           const __mmask16 *masks, const __m512 *biases, int is_first, panels_ahead ahead, row_state rows,
                          float *weights) {
  SCORES_BODY(
      __m512, _mm512_loadu_ps, size, __m512 value = _mm512_set1_ps(q[i * size + c]);, FMA, exp2_wide,
      FULL_UNROLL for (int j = 0; j < vectors; j++) _mm512_storeu_ps(weights + i * TILE + j * KEYS, x[j]);)
}
WIDE_BF16 void weights_bf16_wide(const int vectors, size_t pairs, const float *q, const uint32_t *const *keys,
                                 const __mmask16 *masks, const __m512 *biases, int is_first, panels_ahead ahead,
                                 row_state rows, uint16_t *weights) {
  SCORES_BODY(
      __m512bh, LOAD_BF16, pairs, __m512bh value = (__m512bh)_mm512_set1_ps(q[i * pairs + c]);, _mm512_dpbf16_ps,
      exp2_coarse_wide, uint16_t *out = weights + i * TILE;
      if (vectors > 1) _mm512_storeu_si512(out, (__m512i)_mm512_cvtne2ps_pbh(x[1], x[0]));
      if (vectors != 2) _mm256_storeu_si256((__m256i *)(out + (vectors - 1) * KEYS),
                                            (__m256i)_mm512_cvtneps_pbh(x[vectors - 1]));)
}

// 8 rows of sums by up to 48 channels, over all listed panels.
#define SUMS_BODY(TYPE, VECTOR, STEPS, LOAD, WEIGHT, ACCUMULATE)                                                       \
  const size_t width = vectors * 16;                                                                                   \
  __m512 s[GROUP][3];                                                                                                  \
  FULL_UNROLL for (int i = 0; i < GROUP; i++)                                                                          \
    FULL_UNROLL for (int j = 0; j < vectors; j++) s[i][j] = _mm512_loadu_ps(sums + i * lds + 16 * j);                  \
  for (size_t p = 0; p < panels; p++) {                                                                                \
    const TYPE *v = values + list[p] * stride;                                                                         \
    for (size_t k = 0; k < (STEPS); k++) {                                                                             \
      VECTOR w[3];                                                                                                     \
      FULL_UNROLL for (int j = 0; j < vectors; j++) w[j] = LOAD(v + k * width + 16 * j);                               \
      FULL_UNROLL for (int i = 0; i < GROUP; i++) {                                                                    \
        WEIGHT                                                                                                         \
        FULL_UNROLL for (int j = 0; j < vectors; j++) s[i][j] = ACCUMULATE(s[i][j], value, w[j]);                      \
      }                                                                                                                \
    }                                                                                                                  \
  }                                                                                                                    \
  FULL_UNROLL for (int i = 0; i < GROUP; i++)                                                                          \
    FULL_UNROLL for (int j = 0; j < vectors; j++) _mm512_storeu_ps(sums + i * lds + 16 * j, s[i][j]);

WIDE void sums_f32_wide(const int vectors, size_t panels, const uint32_t *list, size_t stride, const float *values,
                        const float *scores, float *sums, size_t lds) {
  SUMS_BODY(float, __m512, KEYS, _mm512_loadu_ps, __m512 value = _mm512_set1_ps(scores[i * TILE + p * KEYS + k]);, FMA)
}
WIDE_BF16 void sums_bf16_wide(const int vectors, size_t panels, const uint32_t *list, size_t stride,
                              const uint32_t *values, const uint16_t *weights, float *sums, size_t lds) {
  SUMS_BODY(uint32_t, __m512bh, KEYS / 2, LOAD_BF16, int pair;
            memcpy(&pair, weights + i * TILE + p * KEYS + 2 * k, 4);
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
      size_t left = size - c, chunk = c / chunk_size(size) * chunk_size(size), width = chunk_width(size, chunk);
      __mmask16 mask = c >= size ? 0 : left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
      __m512 low = _mm512_maskz_loadu_ps(j < count ? mask : 0, rows[j] + c);
      __m512 high = _mm512_maskz_loadu_ps(j + 1 < count ? mask : 0, rows[j + 1] + c);
      __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high, low);
      _mm512_storeu_si512(out + chunk * (KEYS / 2) + j / 2 * width + c - chunk, _mm512_permutexvar_epi16(order, both));
    }
}
#endif

// ---- One block of queries. `LEVEL` is 0 for plain loops, 1 for AVX-512.

typedef struct {
  float *q, *scores, *sums, *most, *sum, *tile_sum, *largest, *total;
  uint16_t *weights;
} scratch_parts;

static scratch_parts parts_of(float *scratch, size_t size) {
  float *at = (float *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63);
  scratch_parts parts;
  parts.scores = at, at += ROWS * TILE;
  parts.weights = (uint16_t *)at, at += ROWS * TILE / 2;
  parts.sums = at, at += ROWS * rounded(size, 16);
  parts.q = at, at += ROWS * rounded(size, 2);
  parts.most = at, at += ROWS * KEYS;
  parts.sum = at, at += ROWS * KEYS;
  parts.tile_sum = at, at += ROWS * KEYS;
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
                     b->panel_counts[first + p], b->panel_biases ? b->panel_biases + list[p] * KEYS : NULL,
                     s.scores + row * TILE + p * KEYS);
    for (size_t row = 0; row < padded; row++) {
      float largest = begin_row(&s, row, width, lds);
      s.total[row] += softmax_plain(bf16, width, s.scores + row * TILE, s.weights + row * TILE, largest);
    }
    for (size_t start = 0; start < lds; start += chunk_size(b->size))
      for (size_t row = 0; row < padded; row += GROUP)
        sums_plain(bf16, panels, list, value_stride, b->values, start * (bf16 ? KEYS / 2 : KEYS),
                   chunk_width(b->size, start), s.scores + row * TILE, s.weights + row * TILE,
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

// Ends a tile of 8 rows: whether all their weights are of use. Rows with a score far above their base get a new one, and
// what was summed before is brought to it; their tile has to be done again.
WIDE int end_tile(const scratch_parts *s, size_t first, size_t lds) {
  int holds = 1;
  for (size_t row = first; row < first + GROUP; row++) {
    float before = s->largest[row];
    __m512 most = _mm512_loadu_ps(s->most + row * KEYS);
    if (!_mm512_cmp_ps_mask(most, _mm512_set1_ps(before + FAR), _CMP_GT_OQ)) continue;
    float largest = _mm512_reduce_max_ps(most), distance = before - largest;
    __m512 factors = _mm512_set1_ps(distance > -126.0f ? exp2_plain(distance) : 0);
    float *sum = s->sum + row * KEYS;
    _mm512_storeu_ps(sum, _mm512_mul_ps(_mm512_loadu_ps(sum), factors));
    for (float *at = s->sums + row * lds, *end = at + lds; at < end; at += 16)
      _mm512_storeu_ps(at, _mm512_mul_ps(_mm512_loadu_ps(at), factors));
    s->largest[row] = largest;
    holds = 0;
  }
  for (size_t row = first; row < first + GROUP; row++) {
    float *sum = s->sum + row * KEYS, *tile = s->tile_sum + row * KEYS;
    if (holds) _mm512_storeu_ps(sum, _mm512_add_ps(_mm512_loadu_ps(sum), _mm512_loadu_ps(tile)));
    _mm512_storeu_ps(tile, _mm512_setzero_ps());
  }
  return holds;
}

#define MASK(count) ((__mmask16)((1u << (count)) - 1))
#define BLOCK_WIDE(BF16, TYPE, LOAD, WEIGHTS, SUMS)                                                                    \
  scratch_parts s = parts_of(b->scratch, b->size);                                                                     \
  size_t padded = rounded(b->rows, GROUP), lds = rounded(b->size, 16), ldq = BF16 ? (b->size + 1) / 2 : b->size;       \
  size_t key_stride = tk_attention_key_panel(b->size, BF16), value_stride = tk_attention_value_panel(b->size, BF16);   \
  for (size_t p = 0; p < 3 && p < b->panels; p++)                                                                      \
    prefetch_share((const TYPE *)b->keys + b->panel_list[p] * key_stride, 4 * key_stride, 0, 1);                       \
  LOAD;                                                                                                                \
  memset(s.sums, 0, padded * lds * sizeof *s.sums);                                                                    \
  memset(s.sum, 0, padded * KEYS * sizeof *s.sum);                                                                     \
  memset(s.tile_sum, 0, padded * KEYS * sizeof *s.tile_sum);                                                           \
  for (size_t i = 0; i < padded * KEYS; i++) s.most[i] = ABSENT;                                                       \
  fetching fetching = fetching_of(b);                                                                                  \
  for (size_t first = 0; first < b->panels; first += TILE / KEYS) {                                                    \
    size_t panels = b->panels - first < TILE / KEYS ? b->panels - first : TILE / KEYS;                                 \
    const uint32_t *list = b->panel_list + first;                                                                      \
    const uint8_t *counts = b->panel_counts + first;                                                                   \
    for (size_t p = 0; p < panels; p += 3) {                                                                           \
      size_t next = first + p + 3 < b->panels ? list[p + 3] : list[p];                                                 \
      THREE_PANELS(TYPE)                                                                                               \
      for (size_t row = 0; row < padded; row += GROUP) {                                                               \
        size_t share = row / GROUP, shares = padded / GROUP;                                                           \
        fetch_step(b, &fetching);                                                                                      \
        panels_ahead ahead = {                                                                                         \
            lines_of((const TYPE *)b->keys + next * key_stride, 12 * key_stride, share, shares, ldq),                  \
            lines_of((const TYPE *)b->values + list[p] * value_stride, 12 * value_stride, share, shares, ldq)};        \
        WEIGHTS(first + p == 0)                                                                                        \
      }                                                                                                                \
    }                                                                                                                  \
    for (size_t row = 0; row < padded; row += GROUP)                                                                   \
      while (!end_tile(&s, row, lds))                                                                                  \
        for (size_t p = 0; p < panels; p += 3) {                                                                       \
          THREE_PANELS(TYPE)                                                                                           \
          panels_ahead ahead = {0};                                                                                    \
          WEIGHTS(0)                                                                                                   \
        }                                                                                                              \
    for (size_t start = 0; start < lds; start += chunk_size(b->size)) {                                                \
      const TYPE *v = (const TYPE *)b->values + start * (BF16 ? KEYS / 2 : KEYS);                                      \
      size_t channels = chunk_width(b->size, start);                                                                   \
      for (size_t row = 0; row < padded; row += GROUP) {                                                               \
        if (channels > 32) SUMS(3);                                                                                    \
        else if (channels > 16) SUMS(2);                                                                               \
        else SUMS(1);                                                                                                  \
      }                                                                                                                \
    }                                                                                                                  \
  }                                                                                                                    \
  for (size_t row = 0; row < padded; row++) s.total[row] = _mm512_reduce_add_ps(_mm512_loadu_ps(s.sum + row * KEYS));  \
  store_rows_wide(b, &s);

// Up to three panels of keys from panel p of a tile on.
#define THREE_PANELS(TYPE)                                                                                             \
  size_t count = panels - p < 3 ? panels - p : 3;                                                                      \
  const TYPE *keys[3];                                                                                                 \
  __mmask16 masks[3];                                                                                                  \
  __m512 biases[3];                                                                                                    \
  for (size_t j = 0; j < count; j++) {                                                                                 \
    keys[j] = (const TYPE *)b->keys + list[p + j] * key_stride;                                                        \
    masks[j] = MASK(counts[p + j]);                                                                                    \
    biases[j] = b->panel_biases ? _mm512_loadu_ps(b->panel_biases + list[p + j] * KEYS) : _mm512_setzero_ps();         \
  }
#define WEIGHTS_OF(NAME, SIZE, OUT, is_first)                                                                          \
  {                                                                                                                    \
    row_state rows = {s.most + row * KEYS, s.tile_sum + row * KEYS, s.largest + row};                                  \
    if (count == 3) NAME(3, SIZE, s.q + row * ldq, keys, masks, biases, is_first, ahead, rows, OUT + row * TILE + p * KEYS);   \
    else if (count == 2)                                                                                               \
      NAME(2, SIZE, s.q + row * ldq, keys, masks, biases, is_first, ahead, rows, OUT + row * TILE + p * KEYS);                 \
    else NAME(1, SIZE, s.q + row * ldq, keys, masks, biases, is_first, ahead, rows, OUT + row * TILE + p * KEYS);              \
  }
#define WEIGHTS_F32(is_first) WEIGHTS_OF(weights_f32_wide, b->size, s.scores, is_first)
#define WEIGHTS_BF16(is_first) WEIGHTS_OF(weights_bf16_wide, ldq, s.weights, is_first)
#define SUMS_F32(vectors)                                                                                              \
  sums_f32_wide(vectors, panels, list, value_stride, v, s.scores + row * TILE, s.sums + row * lds + start, lds)
#define SUMS_BF16(vectors)                                                                                             \
  sums_bf16_wide(vectors, panels, list, value_stride, v, s.weights + row * TILE, s.sums + row * lds + start, lds)

TK_TARGET_AVX512 static void block_f32_avx512(const tk_attention_block *b) {
  BLOCK_WIDE(0, float, load_queries(0, b, padded, s.q), WEIGHTS_F32, SUMS_F32)
}
TK_TARGET_BF16 static void block_bf16_avx512(const tk_attention_block *b) {
  BLOCK_WIDE(1, uint32_t, load_queries_wide(b, padded, s.q), WEIGHTS_BF16, SUMS_BF16)
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
    else if (level >= TK_AVX2) block_f32_avx2(block);
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
