#define _GNU_SOURCE
#include "Affinity.h"

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

// The system call itself: unlike glibc's wrapper it says how many bytes the kernel's mask has.
size_t ink_processor_affinity(unsigned char *mask, size_t capacity) {
  long written = syscall(SYS_sched_getaffinity, 0, capacity, mask);
  return written > 0 ? (size_t)written : 0;
}
#else
size_t ink_processor_affinity(unsigned char *mask, size_t capacity) {
  (void)mask;
  (void)capacity;
  return 0;
}
#endif
