// The multiply-add rate of one core: independent chains that never leave the registers.
#include "dispatch.h"

static volatile float sink;

#if TK_X86
#define SIXTEEN(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)
TK_TARGET_AVX512 static double probe_f32_avx512(size_t iterations) {
  __m512 x = _mm512_set1_ps(1.0001f), y = _mm512_set1_ps(0.9999f);
#define DECLARE(i) __m512 s##i = _mm512_set1_ps(i);
  SIXTEEN(DECLARE)
  for (size_t n = 0; n < iterations; n++) {
#define STEP(i) __asm__ volatile("vfmadd231ps %1,%2,%0" : "+v"(s##i) : "v"(x), "v"(y));
    SIXTEEN(STEP)
  }
  __m512 total = _mm512_setzero_ps();
#define GATHER(i) total = _mm512_add_ps(total, s##i);
  SIXTEEN(GATHER)
  sink = _mm512_reduce_add_ps(total);
  return 16.0 * 32 * (double)iterations;
}
TK_TARGET_BF16 static double probe_bf16_avx512(size_t iterations) {
  __m512 x = _mm512_set1_ps(1.0001f), y = _mm512_set1_ps(0.9999f);
  SIXTEEN(DECLARE)
  for (size_t n = 0; n < iterations; n++) {
#define STEP_BF16(i) __asm__ volatile("vdpbf16ps %1,%2,%0" : "+v"(s##i) : "v"(x), "v"(y));
    SIXTEEN(STEP_BF16)
  }
  __m512 total = _mm512_setzero_ps();
  SIXTEEN(GATHER)
  sink = _mm512_reduce_add_ps(total);
  return 16.0 * 64 * (double)iterations;
}
TK_TARGET_VNNI static double probe_int8_avx512(size_t iterations) {
  __m512i x = _mm512_set1_epi8(1), y = _mm512_set1_epi8(-1);
#define DECLARE_INT8(i) __m512i s##i = _mm512_set1_epi32(i);
  SIXTEEN(DECLARE_INT8)
  for (size_t n = 0; n < iterations; n++) {
#define STEP_INT8(i) __asm__ volatile("vpdpbusd %1,%2,%0" : "+v"(s##i) : "v"(x), "v"(y));
    SIXTEEN(STEP_INT8)
  }
  __m512i total = _mm512_setzero_si512();
#define GATHER_INT8(i) total = _mm512_add_epi32(total, s##i);
  SIXTEEN(GATHER_INT8)
  sink = (float)_mm512_reduce_add_epi32(total);
  return 16.0 * 128 * (double)iterations;
}
TK_TARGET_AVX2 static double probe_f32_avx2(size_t iterations) {
  __m256 x = _mm256_set1_ps(1.0001f), y = _mm256_set1_ps(0.9999f);
  __m256 s[12];
  for (int i = 0; i < 12; i++) s[i] = _mm256_set1_ps((float)i);
  for (size_t n = 0; n < iterations; n++) {
    _Pragma("clang loop unroll(full)") for (int i = 0; i < 12; i++)
        __asm__ volatile("vfmadd231ps %1,%2,%0" : "+x"(s[i]) : "x"(x), "x"(y));
  }
  float out[8];
  _mm256_storeu_ps(out, s[0]);
  sink = out[0];
  return 12.0 * 16 * (double)iterations;
}
TK_TARGET_AVX2_VNNI static double probe_int8_avx2_vnni(size_t iterations) {
  __m256i x = _mm256_set1_epi8(1), y = _mm256_set1_epi8(-1);
  __m256i s[12];
  for (int i = 0; i < 12; i++) s[i] = _mm256_set1_epi32(i);
  for (size_t n = 0; n < iterations; n++) {
    _Pragma("clang loop unroll(full)") for (int i = 0; i < 12; i++)
        __asm__ volatile("%{vex%} vpdpbusd %1,%2,%0" : "+x"(s[i]) : "x"(x), "x"(y));
  }
  int32_t out[8];
  _mm256_storeu_si256((__m256i *)out, s[0]);
  sink = (float)out[0];
  return 12.0 * 64 * (double)iterations;
}
#endif

static double probe_portable(size_t iterations) {
  float s[16] = {0};
  for (size_t n = 0; n < iterations; n++)
    for (int i = 0; i < 16; i++) s[i] = s[i] * 0.9999f + 1.0001f;
  sink = s[3];
  return 32.0 * (double)iterations;
}

double tk_probe_f32(size_t iterations) {
#if TK_X86
  if (tk_cpu_level() >= TK_AVX512) return probe_f32_avx512(iterations);
  if (tk_cpu_level() >= TK_AVX2) return probe_f32_avx2(iterations);
#endif
  return probe_portable(iterations);
}

double tk_probe_bf16(size_t iterations) {
#if TK_X86
  if (tk_cpu_level() >= TK_AVX512_BF16) return probe_bf16_avx512(iterations);
#endif
  return tk_probe_f32(iterations);
}

double tk_probe_int8(size_t iterations) {
#if TK_X86
  if (tk_has_int8()) return probe_int8_avx512(iterations);
  if (tk_cpu_level() == TK_AVX2_VNNI) return probe_int8_avx2_vnni(iterations);
#endif
  return tk_probe_f32(iterations);
}
