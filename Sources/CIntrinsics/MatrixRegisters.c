#define _GNU_SOURCE
#include "MatrixRegisters.h"

#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>

// Linux gives a process the eight kilobytes of each thread's registers only when it asks: arch_prctl(2), since 5.16.
enum { arch_get_permissions = 0x1022, arch_request_permission = 0x1023, tile_data = 18 };

bool ink_request_matrix_registers(void) {
  unsigned long given = 0;
  return syscall(SYS_arch_prctl, arch_request_permission, tile_data) == 0 &&
         syscall(SYS_arch_prctl, arch_get_permissions, &given) == 0 && (given >> tile_data & 1);
}
#else
bool ink_request_matrix_registers(void) { return false; }
#endif
