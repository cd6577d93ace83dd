// The whole C surface of Tessera's arithmetic: plain pointers and sizes, scratch passed in. Nothing here allocates,
// prints or knows what a model is; the only state is the processor's level, found once. Every function runs on the
// calling thread only.
//
// Layouts are row-major. "Packed" matrices are the right-hand sides of products, W[N x K] (one row per output), cut
// into panels of 48 outputs: panel p holds, for every k (fp32) or pair of k (bf16), 48 consecutive outputs. The last
// panel is padded with zeros.
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { TK_PANEL = 48 };

/// Code paths, slowest first.
typedef enum { TK_PORTABLE = 0, TK_AVX2 = 1, TK_AVX2_VNNI = 2, TK_AVX512 = 3, TK_AVX512_BF16 = 4 } tk_level;
/// The code path of this process: what the processor has, at most `tk_level_limit`. The same throughout.
tk_level tk_cpu_level(void);
/// The path that the environment variable TESSERA_CPU names, for tests and measurements of the slower paths; the fastest
/// where it is not set, -1 where it names none.
int tk_level_limit(void);
/// portable, avx2, avx512 or avx512-bf16.
const char *tk_level_name(tk_level level);
/// Physical cores the process may run on, at least 1.
int tk_physical_cores(void);

// Packing. `values` is W[n x k] with row stride ldw.
/// 32-bit words of a packed matrix, with `words` to a row.
size_t tk_packed_count(size_t n, size_t words);
void tk_pack_f32(size_t panel, size_t n, size_t k, const float *w, size_t ldw, float *packed);
/// The same for a matrix stored as its transpose, w[k x n] with row stride ldw.
void tk_pack_transposed_f32(size_t panel, size_t n, size_t k, const float *w, size_t ldw, float *packed);
void tk_pack_bf16_from_f32(size_t panel, size_t n, size_t k, const float *w, size_t ldw, uint32_t *packed);
void tk_pack_bf16_from_bf16(size_t panel, size_t n, size_t k, const uint16_t *w, size_t ldw, uint32_t *packed);
/// y[j * ldy + i] = x[i * n + j] + bias[i] for i < m; `bias` may be null.
void tk_transpose(size_t m, size_t n, const float *x, const float *bias, float *y, size_t ldy);

/// Round to nearest even.
void tk_f32_to_bf16(size_t count, const float *x, uint16_t *y);
/// Rows of x[m x k] to bf16 rows of ldy elements, the tail of each row set to zero.
void tk_rows_to_bf16(size_t m, size_t k, const float *x, size_t ldx, uint16_t *y, size_t ldy);

/// c[m x n] = (accumulate ? c : bias or 0) + a[m x k] * W^T, W packed. `lda` may be smaller than k (overlapping rows).
void tk_gemm_f32(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *packed, const float *bias,
                 int accumulate, float *c, size_t ldc);
/// The same with bf16 operands and fp32 sums; k even, lda in elements and even.
void tk_gemm_bf16(size_t m, size_t n, size_t k, const uint16_t *a, size_t lda, const uint32_t *packed,
                  const float *bias, int accumulate, float *c, size_t ldc);

/// W[n x k] as 8-bit integers, a scale for each output: packed as above, with four neighbouring k in a word. `scales` and
/// `offsets` (what the inputs' offset adds to a sum) have one entry an output.
void tk_pack_int8(size_t panel, size_t n, size_t k, const float *w, size_t ldw, uint32_t *packed, float *scales,
                  int32_t *offsets);
/// Rows of x[m x k] to rows of ldy 8-bit integers, a scale for each row; ldy a multiple of 4.
void tk_rows_to_int8(size_t m, size_t k, const float *x, size_t ldx, uint8_t *y, size_t ldy, float *scales);
/// c[m x n] = (bias or 0) + a * W^T of what the two above made; `quads` words of four in a row of `lda` bytes.
void tk_gemm_int8(size_t m, size_t n, size_t quads, const uint8_t *a, size_t lda, const float *row_scales,
                  const uint32_t *packed, const float *scales, const int32_t *offsets, const float *bias, float *c,
                  size_t ldc);

// Elementwise, over `count` values.
typedef enum { TK_GELU_TANH, TK_GELU_ERF, TK_SILU, TK_RELU, TK_TANH } tk_activation;
void tk_activate(tk_activation kind, size_t count, const float *x, float *y);
void tk_add(size_t count, const float *a, const float *b, float *y);
void tk_multiply(size_t count, const float *a, const float *b, float *y);
/// y = a * x + b * y.
void tk_scale_add(size_t count, float a, const float *x, float b, float *y);
/// y[c] = x[c] + gate[c] * r[c] for one row.
void tk_gate_add(size_t count, const float *x, const float *gate, const float *r, float *y);

/// Turns neighbouring pairs: y[2i] = x[2i] cos[i] - x[2i+1] sin[i], y[2i+1] = x[2i] sin[i] + x[2i+1] cos[i].
void tk_rotate(size_t pairs, const float *cos, const float *sin, const float *x, float *y);

// Rows of `count` values.
/// y = (x - mean) / sqrt(variance + epsilon) * scale + shift; null scale means 1, null shift 0; `one_plus` adds 1 to scale.
void tk_layer_norm(size_t count, const float *x, float epsilon, const float *scale, int one_plus, const float *shift,
                   float *y);
void tk_rms_norm(size_t count, const float *x, float epsilon, const float *scale, float *y);
/// In place: x = softmax(x + bias), bias may be null.
void tk_softmax(size_t count, float *x, const float *bias);
/// Sums of x[pixels x channels] and of its squares, by channel.
void tk_channel_sums(size_t pixels, size_t channels, const float *x, double *sums, double *squares);
/// y = x * scale[c] + shift[c] over pixels, then SiLU if `silu`.
void tk_channel_affine(size_t pixels, size_t channels, const float *x, const float *scale, const float *shift, int silu,
                       float *y);

// Attention of a block of queries over listed panels of keys.
enum { TK_ATTENTION_KEYS = 16, TK_ATTENTION_ROWS = 64 };
typedef struct {
  size_t size;                  // of a head
  size_t rows;                  // queries of this block, 1 ... TK_ATTENTION_ROWS
  size_t first;                 // position of the first in plan order
  size_t next_rows;             // queries after these that this thread is likely to get next, to be fetched early
  const int32_t *query_tokens;  // plan position -> token; null where they are the same
  const float *q;               // [tokens][size] of this head
  float scale;                  // of the scores
  size_t panels;                // panels read, at least 1
  const uint32_t *panel_list;   // their indices
  const uint8_t *panel_counts;  // real keys in each, 1 ... TK_ATTENTION_KEYS
  const void *keys, *values;    // packed panels of this head
  int bf16;                     // whether products have bf16 operands
  float *scratch;               // tk_attention_scratch(size) floats
  float *out;                   // [tokens][size] of this head
  int streams;                  // whether results go past the caches: for outputs larger than they are
  float *log_sum_exp;           // [tokens], natural logarithm; may be null
  const float *key_means;       // [size], and [size] scales of the values: for 8-bit integers
  const float *value_scales;
  const float *ahead_keys;      // another head's, to be fetched on the way: `ahead_rows` of each from a plan position on
  const float *ahead_values;
  const int32_t *ahead_tokens;
  size_t ahead_first, ahead_rows;
  const float *panel_biases;    // [panel][TK_ATTENTION_KEYS], added to scores in units of log2; may be null; not for 8-bit
} tk_attention_block;
void tk_attention(const tk_attention_block *block);
/// Packs the `count` <= 16 keys and values at plan positions first ... of one head into one panel each.
void tk_attention_pack(size_t first, size_t count, size_t size, const int32_t *tokens, const float *k, const float *v,
                       int bf16, void *keys, void *values);
/// 32-bit words of a panel of keys or values, and floats of scratch.
size_t tk_attention_key_panel(size_t size, int bf16);
size_t tk_attention_value_panel(size_t size, int bf16);
size_t tk_attention_scratch(size_t size);

/// The same on 8-bit integers; `scratch` has tk_attention_int8_scratch(size) floats.
void tk_attention_int8(const tk_attention_block *block);
/// Adds `count` keys to `sums` and takes values' largest sizes into `largest`, by channel: what packing needs to know.
void tk_attention_int8_survey(size_t count, size_t size, const float *k, const float *v, float *sums, float *largest);
/// As tk_attention_pack, with the means taken off keys and a scale for each channel of the values.
void tk_attention_int8_pack(size_t first, size_t count, size_t size, const int32_t *tokens, const float *k,
                            const float *v, const float *means, const float *value_scales, uint32_t *keys,
                            uint32_t *values);
size_t tk_attention_int8_key_panel(size_t size);
size_t tk_attention_int8_value_panel(size_t size);
size_t tk_attention_int8_scratch(size_t size);

// Peaks, for benchmarks: runs for `iterations` and returns the floating-point operations done.
double tk_probe_f32(size_t iterations);
double tk_probe_bf16(size_t iterations);
double tk_probe_int8(size_t iterations);
