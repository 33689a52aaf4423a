// Swapping two paths in one step.
#pragma once
#if defined(__linux__)
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

/// Gives each of two paths what the other one was, with no instant between; 0 when done, −1 where the system cannot.
static inline int ink_exchange_paths(const char *a, const char *b) {
#if defined(__linux__) && defined(SYS_renameat2)
  return (int)syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 2u);
#else
  return -1;
#endif
}
