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

// The larger of two sizes, of which none has a sign. As bits they are in the same order, with NaN above all, so that it
// is not lost: a scale that is not a number says so in every result.
TK_INLINE float larger(float a, float b) {
  uint32_t x, y;
  memcpy(&x, &a, 4);
  memcpy(&y, &b, 4);
  x = x > y ? x : y;
  memcpy(&a, &x, 4);
  return a;
}

TK_INLINE float largest_of(size_t count, const float *x) {
  float largest = 0;
  for (size_t i = 0; i < count; i++) largest = larger(largest, fabsf(x[i]));
  return largest;
}

// Steps in one unit of values of at most `largest`; 0, for integers of 0, where there is no such step.
TK_INLINE float steps_of(float largest) { return largest > 0 && largest <= 3.4e38f ? 127 / largest : 0; }

// Rounded to a whole number of steps; what is not finite becomes 0 by `inverse`, its scale tells.
TK_INLINE int32_t whole(float value, float inverse) { return inverse == 0 ? 0 : nearest(value * inverse); }
