// The vector instructions that Swift cannot spell, each with a portable fallback.
#pragma once
#include <stddef.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

/// Sixteen lanes; `SIMD16<Float>` in Swift.
typedef float ink_float16 __attribute__((ext_vector_type(16)));
typedef int ink_int16 __attribute__((ext_vector_type(16)));

// A macro, so that other functions can use it: a call that passes vectors, even one that is inlined, draws a warning about
// their passing where the build has no registers of that width.
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define INK_MULTIPLY_ADD(a, b, c) __builtin_elementwise_fma((a), (b), (c))
#else
#define INK_MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#endif

/// a·b + c per lane, rounded once where the build's instruction set fuses the two operations and twice elsewhere:
/// there a fused product would be a call of libm per lane.
static inline __attribute__((always_inline)) ink_float16 ink_multiply_add16(
    ink_float16 a, ink_float16 b, ink_float16 c) {
  return INK_MULTIPLY_ADD(a, b, c);
}

/// √x per lane; Swift's own calls libm for each.
static inline __attribute__((always_inline)) ink_float16 ink_square_root16(ink_float16 x) {
  return __builtin_elementwise_sqrt(x);
}

/// x·2ⁿ per lane for integral n in −252 … 254, rounded once; too much is infinity.
static inline __attribute__((always_inline)) ink_float16 ink_scale16(ink_float16 x, ink_float16 n) {
#if defined(__AVX512F__)
  return (ink_float16)_mm512_scalef_ps((__m512)x, (__m512)n);
#else
  // In two steps, because the exponent of a float ends at 127. The first product is exact for x near 1.
  ink_int16 whole = __builtin_convertvector(n, ink_int16);
  ink_int16 half = whole >> 1;
  return x * (ink_float16)((half + 127) << 23) * (ink_float16)((whole - half + 127) << 23);
#endif
}

/// The first `count < 16` lanes from memory, the others from `rest`.
static inline __attribute__((always_inline)) ink_float16 ink_load16_partial(
    const float *source, size_t count, ink_float16 rest) {
#if defined(__AVX512F__)
  return (ink_float16)_mm512_mask_loadu_ps((__m512)rest, (__mmask16)((1u << count) - 1), source);
#else
  memcpy(&rest, source, count * sizeof(float));
  return rest;
#endif
}

/// The first `count < 16` lanes to memory; nothing else is written.
static inline __attribute__((always_inline)) void ink_store16_partial(
    float *target, size_t count, ink_float16 x) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(target, (__mmask16)((1u << count) - 1), (__m512)x);
#else
  memcpy(target, &x, count * sizeof(float));
#endif
}

/// Asks for a cache line that will be read, into the second cache; any address is allowed.
static inline __attribute__((always_inline)) void ink_prefetch(const void *address) { __builtin_prefetch(address, 0, 2); }
