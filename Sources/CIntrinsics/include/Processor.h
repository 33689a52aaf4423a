// Instruction sets: which the compiler was allowed to use, and which the running CPU and system offer.
#pragma once
#include <stdbool.h>
#include <stddef.h>

/// How many instruction sets are known here.
size_t ink_cpu_feature_count(void);

/// The name of one, as compilers spell it; `index` below the count.
const char *ink_cpu_feature_name(size_t index);

/// Whether this build may contain its instructions.
bool ink_cpu_feature_is_compiled_in(size_t index);

/// Whether the running CPU has it and the operating system keeps its registers. Where the CPU cannot be asked (not
/// x86-64), whatever was compiled in counts as offered.
bool ink_cpu_feature_is_offered(size_t index);

/// Writes the CPU's name for itself, NUL-terminated and cut to the capacity; empty where it has none.
void ink_cpu_brand(char *text, size_t capacity);
