// What a thread does while it waits for another one that is about to finish.
#pragma once

/// Tells the CPU that this is a spin loop, so that it yields resources to the sibling hardware thread.
static inline void ink_spin_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}
