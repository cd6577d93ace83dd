// What this processor can do. The only file with system calls in this target.
#define _GNU_SOURCE
#include "dispatch.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif

static const char *const level_names[] = {"portable", "avx2", "avx2-vnni", "avx512", "avx512-bf16"};

const char *tk_level_name(tk_level level) { return level_names[level]; }

int tk_level_limit(void) {
  const char *name = getenv("TESSERA_CPU");
  if (!name || !*name) return TK_AVX512_BF16;
  for (int level = TK_PORTABLE; level <= TK_AVX512_BF16; level++) {
    if (strcmp(name, level_names[level]) == 0) return level;
  }
  return -1;
}

static int detected_level(void) {
  int level = TK_PORTABLE;
#if TK_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) level = TK_AVX2;
  int has_avx2 = level == TK_AVX2;
  if (has_avx2 && __builtin_cpu_supports("avxvnni")) level = TK_AVX2_VNNI;
  if (has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")) {
    level = TK_AVX512;
    if (__builtin_cpu_supports("avx512bf16")) level = TK_AVX512_BF16;
  }
#endif
  return level;
}

tk_level tk_cpu_level(void) {
  static atomic_int cache = -1;
  int level = atomic_load_explicit(&cache, memory_order_relaxed);
  if (level >= 0) return (tk_level)level;
  int limit = tk_level_limit();
  level = detected_level();
  if (limit >= 0 && level > limit) level = limit;
  atomic_store(&cache, level);
  return (tk_level)level;
}

int tk_has_int8(void) {
#if TK_X86
  static atomic_int cache = -1;
  int known = atomic_load_explicit(&cache, memory_order_relaxed);
  if (known < 0) {
    known = tk_cpu_level() >= TK_AVX512 && __builtin_cpu_supports("avx512vnni");
    atomic_store(&cache, known);
  }
  return known;
#else
  return 0;
#endif
}

int tk_physical_cores(void) {
#if defined(__linux__)
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
  int cores = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    // A core counts once: by the first of its hardware threads that we may use.
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    FILE *file = fopen(path, "r");
    int first = cpu;
    if (file) {
      if (fscanf(file, "%d", &first) != 1) first = cpu;
      fclose(file);
    }
    if (first == cpu || first < 0 || first >= CPU_SETSIZE || !CPU_ISSET(first, &allowed)) cores++;
  }
  return cores > 0 ? cores : 1;
#else
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  return cores > 0 ? (int)cores : 1;
#endif
}
