// Numbers to 8-bit integers, for products and attention alike.
#pragma once
#include "dispatch.h"
#include <math.h>
#include <string.h>

// The unsigned side of a product is stored as 128 + q, q in -127 ... 127: the instruction wants one side unsigned. What the
// 128 adds to a sum, 128 times the other side's sum, is taken off at the end.
enum { ZERO = 128 };

// Rounds to nearest even without a call, for values of less than 2^22: their integer is in the low bits of the sum.
TK_INLINE int32_t nearest(float value) {
  float shifted = value + 12582912.0f;
  int32_t bits;
  memcpy(&bits, &shifted, 4);
  return bits - 0x4b400000;
}

TK_INLINE float largest_of(size_t count, const float *x) {
  float largest = 0;
  for (size_t i = 0; i < count; i++) {
    float size = fabsf(x[i]);
    largest = size > largest ? size : largest;
  }
  return largest;
}
