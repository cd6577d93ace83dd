// Tells the thread sanitizer what Synchronization's Mutex orders. What is inlined of it into our code is instrumented and
// seen: taking a free lock, and giving back one that nobody waits for. The library itself is not (Swift 6.3, Linux), so
// its two slow paths are wrapped here. Preloaded by sanitize.sh; where there is no sanitizer it only passes calls on.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context))

// Of the sanitizer's runtime, in the program.
__attribute__((weak)) void __tsan_acquire(void *address);
__attribute__((weak)) void __tsan_release(void *address);

// _MutexHandle._lockSlow(_: UInt32) and ._unlockSlow(); `self` is the lock's word, on which the fast paths work.
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

typedef SWIFT void (*lock_t)(uint32_t thread, SELF void *self);
typedef SWIFT void (*unlock_t)(SELF void *self);

SWIFT void lock_slow(uint32_t thread, SELF void *self) __asm__(LOCK);
SWIFT void unlock_slow(SELF void *self) __asm__(UNLOCK);

SWIFT void lock_slow(uint32_t thread, SELF void *self) {
  ((lock_t)dlsym(RTLD_NEXT, LOCK))(thread, self);
  if (__tsan_acquire) __tsan_acquire(self);
}

SWIFT void unlock_slow(SELF void *self) {
  if (__tsan_release) __tsan_release(self);
  ((unlock_t)dlsym(RTLD_NEXT, UNLOCK))(self);
}
