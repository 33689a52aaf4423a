// The CPUs that the scheduler may run this process on.
#pragma once
#include <stddef.h>

/// Writes one bit per CPU, lowest first; returns how many bytes were written, 0 where the system has no such notion.
size_t ink_processor_affinity(unsigned char *mask, size_t capacity);
