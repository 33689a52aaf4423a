// OpenBLAS through its CBLAS interface. Only Kernels/Matmul imports this module.
#pragma once
#include <cblas.h>

#ifdef __APPLE__
#define INK_MAY_BE_MISSING __attribute__((weak_import))
#else
#define INK_MAY_BE_MISSING __attribute__((weak))
#endif

// What the library calls before a fork: ends its threads, which it starts anew where it needs them. No header has it, and not every
// build.
extern int blas_thread_shutdown_(void) INK_MAY_BE_MISSING;

static inline void ink_end_blas_threads(void) {
  if (blas_thread_shutdown_) blas_thread_shutdown_();
}
