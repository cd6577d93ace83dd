// Preloaded into a program, makes the n-th call of the system's that touches a folder fail, as a full disk would.
//
//   FAIL_UNDER   the folder, absolute: paths below it, and descriptors opened there. Unset: no calls but memory's count
//   FAIL_AT      which call fails, from 1; 0 or unset: none, but calls are counted
//   FAIL_ERRNO   the error number it fails with
//   FAIL_REST    1: all later ones fail too, as on a disk that stays full
//   FAIL_MEMORY  the least size in bytes of allocations that count instead of files
//   FAIL_SITES   1: of allocations only the first from each place counts, told by the functions that led to it
//   FAIL_LOG     a file that gets a line: how many calls there were, and which failed
//
// cc -shared -fPIC -O1 -o fail_nth.so fail_nth.c -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_int calls, failed_at;
static const char *failed_name = "none";
static char folder[4096];
static int at, code, rest, is_ready, by_site;
static size_t memory;

static void count_calls(void) {
  const char *path = getenv("FAIL_LOG");
  if (!path) return;
  char line[160];
  int length = snprintf(line, sizeof line, "%d %d %s\n", calls, failed_at, failed_name);
  int log = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (log >= 0) syscall(SYS_write, log, line, length), syscall(SYS_close, log);
}

__attribute__((constructor)) static void begin(void) {
  const char *text = getenv("FAIL_UNDER");
  if (text) snprintf(folder, sizeof folder, "%s/", text);
  at = (text = getenv("FAIL_AT")) ? atoi(text) : 0;
  code = (text = getenv("FAIL_ERRNO")) ? atoi(text) : ENOSPC;
  rest = (text = getenv("FAIL_REST")) ? atoi(text) : 0;
  memory = (text = getenv("FAIL_MEMORY")) ? strtoul(text, NULL, 10) : 0;
  by_site = (text = getenv("FAIL_SITES")) ? atoi(text) : 0;
}

// Calls count from `main` on: before it libraries and the language's runtime set themselves up, and no handler is there.
typedef int main_function(int, char **, char **);
static main_function *program;
static int ready_main(int count, char **arguments, char **environment) {
  is_ready = 1;
  return program(count, arguments, environment);
}
int __libc_start_main(main_function *main, int count, char **arguments, void (*init)(void), void (*fini)(void),
                      void (*loader_fini)(void), void *stack_end) {
  __typeof__(&__libc_start_main) real = (__typeof__(&__libc_start_main))dlsym(RTLD_NEXT, "__libc_start_main");
  program = main;
  return real(ready_main, count, arguments, init, fini, loader_fini, stack_end);
}

__attribute__((destructor)) static void end(void) { count_calls(); }

// Counts one call; whether it is to fail.
static int fails(const char *name) {
  int number = atomic_fetch_add(&calls, 1) + 1;
  if (!at || (rest ? number < at : number != at)) return 0;
  if (!failed_at) {
    failed_at = number;
    failed_name = name;
    // A process that ends abruptly does not get to its destructors.
    count_calls();
  }
  errno = code;
  return 1;
}

static int path_counts(const char *path) {
  if (!is_ready || memory || !folder[0] || !path) return 0;
  size_t length = strlen(folder) - 1;
  return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static int descriptor_counts(int descriptor) {
  if (!is_ready || memory || !folder[0]) return 0;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return path_counts(path);
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

// Reading is not what a full disk refuses.
static int writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT); }

#define OPEN(name)                                                     \
  int name(const char *path, int flags, ...) {                         \
    REAL(name);                                                        \
    mode_t mode = 0;                                                   \
    if (flags & (O_CREAT | O_TMPFILE)) {                               \
      va_list list;                                                    \
      va_start(list, flags);                                           \
      mode = va_arg(list, mode_t);                                     \
      va_end(list);                                                    \
    }                                                                  \
    if (writes(flags) && path_counts(path) && fails(#name)) return -1; \
    return real(path, flags, mode);                                    \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                   \
  int name(int at_folder, const char *path, int flags, ...) {          \
    REAL(name);                                                        \
    mode_t mode = 0;                                                   \
    if (flags & (O_CREAT | O_TMPFILE)) {                               \
      va_list list;                                                    \
      va_start(list, flags);                                           \
      mode = va_arg(list, mode_t);                                     \
      va_end(list);                                                    \
    }                                                                  \
    if (writes(flags) && path_counts(path) && fails(#name)) return -1; \
    return real(at_folder, path, flags, mode);                         \
  }
OPENAT(openat)
OPENAT(openat64)

#define BY_PATH(type, name, parameters, arguments, path)               \
  type name parameters {                                               \
    REAL(name);                                                        \
    if (path_counts(path) && fails(#name)) return -1;                  \
    return real arguments;                                             \
  }
#define BY_DESCRIPTOR(type, name, parameters, arguments)               \
  type name parameters {                                               \
    REAL(name);                                                        \
    if (descriptor_counts(descriptor) && fails(#name)) return -1;      \
    return real arguments;                                             \
  }
BY_PATH(int, creat, (const char *path, mode_t mode), (path, mode), path)
BY_PATH(int, rename, (const char *from, const char *to), (from, to), to)
BY_PATH(int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), to)
BY_PATH(int, mkdir, (const char *path, mode_t mode), (path, mode), path)
BY_PATH(int, unlink, (const char *path), (path), path)
BY_PATH(int, unlinkat, (int a, const char *path, int flags), (a, path, flags), path)
BY_PATH(int, truncate, (const char *path, off_t size), (path, size), path)
BY_DESCRIPTOR(ssize_t, write, (int descriptor, const void *bytes, size_t count), (descriptor, bytes, count))
BY_DESCRIPTOR(ssize_t, pwrite, (int descriptor, const void *bytes, size_t count, off_t place),
              (descriptor, bytes, count, place))
BY_DESCRIPTOR(ssize_t, pwrite64, (int descriptor, const void *bytes, size_t count, off64_t place),
              (descriptor, bytes, count, place))
BY_DESCRIPTOR(ssize_t, writev, (int descriptor, const struct iovec *parts, int count), (descriptor, parts, count))
BY_DESCRIPTOR(int, fsync, (int descriptor), (descriptor))
BY_DESCRIPTOR(int, fdatasync, (int descriptor), (descriptor))
BY_DESCRIPTOR(int, ftruncate, (int descriptor, off_t size), (descriptor, size))
BY_DESCRIPTOR(int, ftruncate64, (int descriptor, off64_t size), (descriptor, size))

// A descriptor is gone after `close`, even where it reports a failure.
int close(int descriptor) {
  REAL(close);
  int counts = descriptor_counts(descriptor);
  int flags = counts ? fcntl(descriptor, F_GETFL) : 0;
  int result = real(descriptor);
  return counts && writes(flags) && fails("close") ? -1 : result;
}

FILE *fopen(const char *path, const char *mode) {
  REAL(fopen);
  return path_counts(path) && mode[0] != 'r' && fails("fopen") ? NULL : real(path, mode);
}

// Memory. `dlsym` itself allocates, so glibc's own names are called.
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);


// Whether an allocation's place was not seen before. Frames are followed by their pointers, as far as they are kept: a
// library without them makes a place look like another of its callers, and no more.
extern void *__libc_stack_end;
static int is_new_site(void) {
  enum { DEPTH = 12, PLACES = 1 << 18 };
  static _Atomic uint64_t seen[PLACES];
  char **frame = __builtin_frame_address(0), *top = (char *)__libc_stack_end;
  if ((char *)frame > top || (char *)frame < top - (8 << 20)) top = (char *)pthread_self();
  uint64_t hash = 14695981039346656037u;
  for (int depth = 0; depth < DEPTH && (char *)(frame + 2) < top; depth++) {
    hash = (hash ^ (uint64_t)frame[1]) * 1099511628211u;
    char **next = (char **)frame[0];
    if (next <= frame || ((uintptr_t)next & 7)) break;
    frame = next;
  }
  hash |= 1;
  for (size_t place = hash >> 20 & (PLACES - 1);; place = (place + 1) & (PLACES - 1)) {
    uint64_t there = 0;
    if (atomic_compare_exchange_strong(&seen[place], &there, hash)) return 1;
    if (there == hash) return 0;
  }
}

static int memory_fails(const char *name, size_t size) {
  return is_ready && memory && size >= memory && (!by_site || is_new_site()) && fails(name);
}

void *malloc(size_t size) { return memory_fails("malloc", size) ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) {
  return memory_fails("calloc", count * size) ? NULL : __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) { return memory_fails("realloc", size) ? NULL : __libc_realloc(old, size); }
void *aligned_alloc(size_t alignment, size_t size) {
  return memory_fails("aligned_alloc", size) ? NULL : __libc_memalign(alignment, size);
}
int posix_memalign(void **result, size_t alignment, size_t size) {
  if (memory_fails("posix_memalign", size)) return ENOMEM;
  void *block = __libc_memalign(alignment, size);
  if (!block) return ENOMEM;
  *result = block;
  return 0;
}
void *mmap(void *address, size_t size, int protection, int flags, int descriptor, off_t place) {
  if (memory_fails("mmap", size)) return MAP_FAILED;
  return (void *)syscall(SYS_mmap, address, size, protection, flags, descriptor, place);
}
void *mmap64(void *address, size_t size, int protection, int flags, int descriptor, off64_t place) {
  return mmap(address, size, protection, flags, descriptor, place);
}
