// 16 x 16 words of 32 bits, transposed in registers.
#pragma once
#include "dispatch.h"

#if TK_X86
/// out[c * stride + j] = word c of in[j].
TK_INLINE TK_TARGET_AVX512 void transpose16(const __m512i *in, uint32_t *out, size_t stride) {
  __m512i a[16], b[16];
  FULL_UNROLL for (int i = 0; i < 8; i++) {
    a[2 * i] = _mm512_unpacklo_epi32(in[2 * i], in[2 * i + 1]);
    a[2 * i + 1] = _mm512_unpackhi_epi32(in[2 * i], in[2 * i + 1]);
  }
  FULL_UNROLL for (int i = 0; i < 4; i++) {
    b[4 * i] = _mm512_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
    b[4 * i + 1] = _mm512_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
    b[4 * i + 2] = _mm512_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
    b[4 * i + 3] = _mm512_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
  }
  // b[4 g + c] holds columns c, c + 4, c + 8, c + 12 of rows 4 g ... 4 g + 3, one a quarter.
  FULL_UNROLL for (int c = 0; c < 4; c++) {
    __m512i low = _mm512_shuffle_i32x4(b[c], b[4 + c], 0x44), high = _mm512_shuffle_i32x4(b[c], b[4 + c], 0xee);
    __m512i low2 = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0x44);
    __m512i high2 = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0xee);
    _mm512_storeu_si512(out + c * stride, _mm512_shuffle_i32x4(low, low2, 0x88));
    _mm512_storeu_si512(out + (c + 4) * stride, _mm512_shuffle_i32x4(low, low2, 0xdd));
    _mm512_storeu_si512(out + (c + 8) * stride, _mm512_shuffle_i32x4(high, high2, 0x88));
    _mm512_storeu_si512(out + (c + 12) * stride, _mm512_shuffle_i32x4(high, high2, 0xdd));
  }
}
#endif
