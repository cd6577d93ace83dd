// Activations, norms and softmax, written as plain loops and compiled once per processor level.
#include "dispatch.h"
#include <math.h>
#include <string.h>

// Before a loop whose results each depend on their own place alone: it may run in place, where the compiler's check
// that nothing overlaps would choose the scalar loop.
#if defined(__clang__)
#define TK_EACH _Pragma("clang loop vectorize(assume_safety)")
#else
#define TK_EACH _Pragma("GCC ivdep")
#endif

// exp(x) within 2 units in the last place for -87 <= x <= 88, clamped outside; vectorises.
TK_INLINE float exp_fast(float x) {
  x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  float scaled = x * 1.44269504088896341f;
  float shifted = scaled + 12582912.0f; // 1.5 * 2^23: the low bits are now round(scaled)
  float whole = shifted - 12582912.0f;
  float rest = x - whole * 0.693145751953125f; // ln 2 in two parts
  rest = rest - whole * 1.428606765330187e-06f;
  float p = 1.9841270e-4f;
  p = p * rest + 1.3888889e-3f;
  p = p * rest + 8.3333333e-3f;
  p = p * rest + 4.1666667e-2f;
  p = p * rest + 1.6666667e-1f;
  p = p * rest + 0.5f;
  p = p * rest + 1.0f;
  p = p * rest + 1.0f;
  uint32_t bits;
  memcpy(&bits, &shifted, 4);
  uint32_t power = (bits + 127) << 23; // the constant's own bits fall out of the top
  float scale;
  memcpy(&scale, &power, 4);
  return p * scale;
}

TK_INLINE float tanh_fast(float x) {
  float a = fabsf(x);
  // Near zero the quotient cancels: use the series there.
  float small = x * (1.0f + x * x * (-1.0f / 3 + x * x * (2.0f / 15 + x * x * (-17.0f / 315))));
  float e = exp_fast(-2.0f * a);
  float large = copysignf((1.0f - e) / (1.0f + e), x);
  return a < 0.15f ? small : large;
}

TK_INLINE float gelu_tanh(float x) {
  return 0.5f * x * (1.0f + tanh_fast(0.7978845608028654f * (x + 0.044715f * x * x * x)));
}
TK_INLINE float silu(float x) { return x / (1.0f + exp_fast(-x)); }

TK_INLINE void tk_activate_body(tk_activation kind, size_t count, const float *x, float *y) {
  switch (kind) {
  case TK_GELU_TANH:
    TK_EACH
    for (size_t i = 0; i < count; i++) y[i] = gelu_tanh(x[i]);
    break;
  case TK_SILU:
    TK_EACH
    for (size_t i = 0; i < count; i++) y[i] = silu(x[i]);
    break;
  case TK_RELU:
    TK_EACH
    for (size_t i = 0; i < count; i++) y[i] = x[i] > 0 ? x[i] : 0;
    break;
  case TK_TANH:
    TK_EACH
    for (size_t i = 0; i < count; i++) y[i] = tanh_fast(x[i]);
    break;
  case TK_GELU_ERF:
    for (size_t i = 0; i < count; i++) y[i] = 0.5f * x[i] * (1.0f + erff(x[i] * 0.7071067811865476f));
    break;
  }
}
TK_DISPATCH(tk_activate, (tk_activation kind, size_t count, const float *x, float *y), (kind, count, x, y))

TK_INLINE void tk_add_body(size_t count, const float *a, const float *b, float *y) {
  TK_EACH
  for (size_t i = 0; i < count; i++) y[i] = a[i] + b[i];
}
TK_DISPATCH(tk_add, (size_t count, const float *a, const float *b, float *y), (count, a, b, y))

TK_INLINE void tk_multiply_body(size_t count, const float *a, const float *b, float *y) {
  TK_EACH
  for (size_t i = 0; i < count; i++) y[i] = a[i] * b[i];
}
TK_DISPATCH(tk_multiply, (size_t count, const float *a, const float *b, float *y), (count, a, b, y))

TK_INLINE void tk_scale_add_body(size_t count, float a, const float *x, float b, float *y) {
  TK_EACH
  for (size_t i = 0; i < count; i++) y[i] = a * x[i] + b * y[i];
}
TK_DISPATCH(tk_scale_add, (size_t count, float a, const float *x, float b, float *y), (count, a, x, b, y))

TK_INLINE void tk_gate_add_body(size_t count, const float *x, const float *gate, const float *r, float *y) {
  TK_EACH
  for (size_t i = 0; i < count; i++) y[i] = x[i] + gate[i] * r[i];
}
TK_DISPATCH(tk_gate_add, (size_t count, const float *x, const float *gate, const float *r, float *y),
            (count, x, gate, r, y))

TK_INLINE void tk_rotate_body(size_t pairs, const float *cos, const float *sin, const float *x, float *y) {
  TK_EACH
  for (size_t i = 0; i < pairs; i++) {
    float even = x[2 * i], odd = x[2 * i + 1];
    y[2 * i] = even * cos[i] - odd * sin[i];
    y[2 * i + 1] = even * sin[i] + odd * cos[i];
  }
}
TK_DISPATCH(tk_rotate, (size_t pairs, const float *cos, const float *sin, const float *x, float *y),
            (pairs, cos, sin, x, y))

// Sums run in 16 fixed lanes, so that every level adds in the same order.
enum { LANES = 16 };
TK_INLINE float sum_lanes(const float *lanes) {
  float total = 0;
  for (int l = 0; l < LANES; l++) total += lanes[l];
  return total;
}

TK_INLINE void tk_layer_norm_body(size_t count, const float *x, float epsilon, const float *scale, int one_plus,
                                  const float *shift, float *y) {
  float lanes[LANES] = {0};
  size_t whole = count / LANES * LANES;
  for (size_t i = 0; i < whole; i += LANES)
    for (int l = 0; l < LANES; l++) lanes[l] += x[i + l];
  for (size_t i = whole; i < count; i++) lanes[i - whole] += x[i];
  float mean = sum_lanes(lanes) / (float)count;
  memset(lanes, 0, sizeof lanes);
  for (size_t i = 0; i < whole; i += LANES)
    for (int l = 0; l < LANES; l++) lanes[l] += (x[i + l] - mean) * (x[i + l] - mean);
  for (size_t i = whole; i < count; i++) lanes[i - whole] += (x[i] - mean) * (x[i] - mean);
  float inverse = 1.0f / sqrtf(sum_lanes(lanes) / (float)count + epsilon);
  float base = one_plus ? 1.0f : 0.0f;
  if (scale && shift)
    TK_EACH
    for (size_t i = 0; i < count; i++) y[i] = (x[i] - mean) * inverse * (base + scale[i]) + shift[i];
  else if (scale)
    TK_EACH
    for (size_t i = 0; i < count; i++) y[i] = (x[i] - mean) * inverse * (base + scale[i]);
  else
    TK_EACH
    for (size_t i = 0; i < count; i++) y[i] = (x[i] - mean) * inverse;
}
TK_DISPATCH(tk_layer_norm,
            (size_t count, const float *x, float epsilon, const float *scale, int one_plus, const float *shift, float *y),
            (count, x, epsilon, scale, one_plus, shift, y))

TK_INLINE void tk_rms_norm_body(size_t count, const float *x, float epsilon, const float *scale, float *y) {
  float lanes[LANES] = {0};
  size_t whole = count / LANES * LANES;
  for (size_t i = 0; i < whole; i += LANES)
    for (int l = 0; l < LANES; l++) lanes[l] += x[i + l] * x[i + l];
  for (size_t i = whole; i < count; i++) lanes[i - whole] += x[i] * x[i];
  float inverse = 1.0f / sqrtf(sum_lanes(lanes) / (float)count + epsilon);
  if (scale)
    TK_EACH
    for (size_t i = 0; i < count; i++) y[i] = x[i] * inverse * scale[i];
  else
    TK_EACH
    for (size_t i = 0; i < count; i++) y[i] = x[i] * inverse;
}
TK_DISPATCH(tk_rms_norm, (size_t count, const float *x, float epsilon, const float *scale, float *y),
            (count, x, epsilon, scale, y))

TK_INLINE void tk_softmax_body(size_t count, float *x, const float *bias) {
  float largest = -INFINITY;
  if (bias)
    TK_EACH
    for (size_t i = 0; i < count; i++) x[i] += bias[i];
  for (size_t i = 0; i < count; i++) largest = x[i] > largest ? x[i] : largest;
  float lanes[LANES] = {0};
  size_t whole = count / LANES * LANES;
  for (size_t i = 0; i < whole; i += LANES)
    for (int l = 0; l < LANES; l++) {
      float d = x[i + l] - largest, e = exp_fast(d);
      // Scores this far below the largest are exact zeros, as masked ones must be.
      x[i + l] = d < -87.0f ? 0.0f : e;
      lanes[l] += x[i + l];
    }
  for (size_t i = whole; i < count; i++) {
    float d = x[i] - largest;
    x[i] = d < -87.0f ? 0.0f : exp_fast(d);
    lanes[i - whole] += x[i];
  }
  float inverse = 1.0f / sum_lanes(lanes);
  TK_EACH
  for (size_t i = 0; i < count; i++) x[i] *= inverse;
}
TK_DISPATCH(tk_softmax, (size_t count, float *x, const float *bias), (count, x, bias))

// In double: a variance is a difference, and small groups would lose it.
TK_INLINE void tk_channel_sums_body(size_t pixels, size_t channels, const float *x, double *sums, double *squares) {
  for (size_t c = 0; c < channels; c++) sums[c] = squares[c] = 0;
  for (size_t p = 0; p < pixels; p++) {
    const float *row = x + p * channels;
    for (size_t c = 0; c < channels; c++) {
      double value = (double)row[c];
      sums[c] += value;
      squares[c] += value * value;
    }
  }
}
TK_DISPATCH(tk_channel_sums, (size_t pixels, size_t channels, const float *x, double *sums, double *squares),
            (pixels, channels, x, sums, squares))

TK_INLINE void tk_channel_affine_body(size_t pixels, size_t channels, const float *x, const float *scale,
                                      const float *shift, int apply_silu, float *y) {
  for (size_t p = 0; p < pixels; p++) {
    const float *row = x + p * channels;
    float *out = y + p * channels;
    if (apply_silu)
      TK_EACH
      for (size_t c = 0; c < channels; c++) out[c] = silu(row[c] * scale[c] + shift[c]);
    else
      TK_EACH
      for (size_t c = 0; c < channels; c++) out[c] = row[c] * scale[c] + shift[c];
  }
}
TK_DISPATCH(tk_channel_affine,
            (size_t pixels, size_t channels, const float *x, const float *scale, const float *shift, int apply_silu,
             float *y),
            (pixels, channels, x, scale, shift, apply_silu, y))
