// The vector instructions that Swift cannot spell, each with a portable fallback.
#pragma once
#include <stddef.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

/// Whether the build's instruction set fuses a multiplication with an addition. Where it does not, a fused
/// product is a call of libm per lane.
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define INK_HAS_FMA 1
#else
#define INK_HAS_FMA 0
#endif

/// Sixteen lanes; `SIMD16<Float>` in Swift.
typedef float ink_float16 __attribute__((ext_vector_type(16)));
typedef int ink_int16 __attribute__((ext_vector_type(16)));

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
