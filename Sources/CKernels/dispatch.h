// Run-time choice of the code path, and the attributes that compile one function for one processor.
#pragma once
#include "CKernels.h"

#if defined(__x86_64__)
#define TK_X86 1
#include <immintrin.h>
#define TK_TARGET_AVX2 __attribute__((target("avx2,fma,f16c")))
#define TK_TARGET_AVX2_VNNI __attribute__((target("avxvnni,avx2,fma,f16c")))
#define TK_TARGET_AVX512 __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c")))
#define TK_TARGET_BF16 __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx512bf16,avx2,fma,f16c")))
#define TK_TARGET_VNNI __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,avx2,fma,f16c")))
#else
#define TK_X86 0
#endif

/// Whether products of 8-bit integers run in hardware: on every path from avx512 on where the processor has them.
int tk_has_int8(void);

#define TK_INLINE static inline __attribute__((always_inline))
#define FULL_UNROLL _Pragma("clang loop unroll(full)")

// Defines NAME, which runs the always-inlined NAME##_body compiled for this processor; LINKAGE is empty or static.
#define TK_DISPATCH(NAME, PARAMETERS, ARGUMENTS) TK_DISPATCH_AS(, NAME, PARAMETERS, ARGUMENTS)
#define TK_DISPATCH_LOCAL(NAME, PARAMETERS, ARGUMENTS) TK_DISPATCH_AS(static, NAME, PARAMETERS, ARGUMENTS)
#if TK_X86
#define TK_DISPATCH_AS(LINKAGE, NAME, PARAMETERS, ARGUMENTS)                                                           \
  static void NAME##_portable PARAMETERS { NAME##_body ARGUMENTS; }                                                    \
  TK_TARGET_AVX2 static void NAME##_avx2 PARAMETERS { NAME##_body ARGUMENTS; }                                         \
  TK_TARGET_AVX512 static void NAME##_avx512 PARAMETERS { NAME##_body ARGUMENTS; }                                     \
  LINKAGE void NAME PARAMETERS {                                                                                               \
    tk_level level = tk_cpu_level();                                                                                   \
    if (level >= TK_AVX512) NAME##_avx512 ARGUMENTS;                                                                   \
    else if (level >= TK_AVX2) NAME##_avx2 ARGUMENTS;                                                                  \
    else NAME##_portable ARGUMENTS;                                                                                    \
  }
#else
#define TK_DISPATCH_AS(LINKAGE, NAME, PARAMETERS, ARGUMENTS)                                                           \
  LINKAGE void NAME PARAMETERS { NAME##_body ARGUMENTS; }
#endif
