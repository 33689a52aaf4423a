// Dot products of bytes and of 16-bit floats within lanes, and the conversions around them.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "Vector.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef unsigned ink_word16 __attribute__((ext_vector_type(16)));
typedef int8_t ink_sbyte16 __attribute__((ext_vector_type(16)));
typedef uint8_t ink_byte16 __attribute__((ext_vector_type(16)));
typedef uint16_t ink_short16 __attribute__((ext_vector_type(16)));

#define INK_INLINE static inline __attribute__((always_inline))

/// Rows that a register tile of 32 outputs holds without spilling.
#if defined(__AVX512F__)
enum { ink_tile_rows = 6 };
#else
enum { ink_tile_rows = 2 };
#endif

/// Whether products of bfloat16 pairs are an instruction of this build.
#if defined(__AVX512BF16__)
enum { ink_has_bfloat16_dots = 1 };
#else
enum { ink_has_bfloat16_dots = 0 };
#endif

/// sum + Σ a[j]·b[j] over the four bytes of each lane, exactly; a unsigned, b signed: plain C.
INK_INLINE ink_int16 ink_dot_bytes16_portable(ink_int16 sum, ink_word16 a, ink_word16 b) {
  for (int j = 0; j < 4; j++) {
    ink_int16 wide = (ink_int16)(b << (24 - 8 * j)) >> 24;
    sum += (ink_int16)(a >> (8 * j) & 0xFF) * wide;
  }
  return sum;
}

/// sum + Σ a[j]·b[j] over the four bytes of each lane, exactly; a unsigned, b signed.
INK_INLINE ink_int16 ink_dot_bytes16(ink_int16 sum, ink_word16 a, ink_word16 b) {
#if defined(__AVX512VNNI__)
  return (ink_int16)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(__AVXVNNI__)
  union { ink_int16 v; __m256i half[2]; } s = {.v = sum}, x = {.v = (ink_int16)a}, y = {.v = (ink_int16)b};
  for (int i = 0; i < 2; i++) s.half[i] = _mm256_dpbusd_avx_epi32(s.half[i], x.half[i], y.half[i]);
  return s.v;
#elif defined(__AVX2__)
  // Even and odd bytes apart as 16-bit numbers: unlike vpmaddubsw this cannot saturate.
  union { ink_int16 v; __m256i half[2]; } s = {.v = sum}, x = {.v = (ink_int16)a}, y = {.v = (ink_int16)b};
  for (int i = 0; i < 2; i++) {
    __m256i even = _mm256_madd_epi16(
        _mm256_and_si256(x.half[i], _mm256_set1_epi16(255)),
        _mm256_srai_epi16(_mm256_slli_epi16(y.half[i], 8), 8));
    __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(x.half[i], 8), _mm256_srai_epi16(y.half[i], 8));
    s.half[i] = _mm256_add_epi32(s.half[i], _mm256_add_epi32(even, odd));
  }
  return s.v;
#elif defined(__SSE2__)
  union { ink_int16 v; __m128i part[4]; } s = {.v = sum}, x = {.v = (ink_int16)a}, y = {.v = (ink_int16)b};
  for (int i = 0; i < 4; i++) {
    __m128i even = _mm_madd_epi16(
        _mm_and_si128(x.part[i], _mm_set1_epi16(255)), _mm_srai_epi16(_mm_slli_epi16(y.part[i], 8), 8));
    __m128i odd = _mm_madd_epi16(_mm_srli_epi16(x.part[i], 8), _mm_srai_epi16(y.part[i], 8));
    s.part[i] = _mm_add_epi32(s.part[i], _mm_add_epi32(even, odd));
  }
  return s.v;
#else
  return ink_dot_bytes16_portable(sum, a, b);
#endif
}

/// sum + Σ a[j]·b[j] over the two bfloat16 of each lane. The instruction rounds in its own order and
/// takes subnormals as 0; without it, each product is added in turn.
INK_INLINE ink_float16 ink_dot_bfloat16(ink_float16 sum, ink_word16 a, ink_word16 b) {
#if defined(__AVX512BF16__)
  return (ink_float16)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#else
  sum = INK_MULTIPLY_ADD((ink_float16)(a << 16), (ink_float16)(b << 16), sum);
  return INK_MULTIPLY_ADD((ink_float16)(a & 0xFFFF0000u), (ink_float16)(b & 0xFFFF0000u), sum);
#endif
}

/// a >> n per lane, for n below 32.
INK_INLINE ink_word16 ink_shift_right16(ink_word16 a, unsigned n) { return a >> n; }

/// Integers as floats, rounded to nearest.
INK_INLINE ink_float16 ink_int_to_float16(ink_int16 a) { return __builtin_convertvector(a, ink_float16); }

/// Sixteen bytes as floats.
INK_INLINE ink_float16 ink_bytes_to_float16(const void *source) {
  ink_byte16 a;
  memcpy(&a, source, 16);
  return __builtin_convertvector(__builtin_convertvector(a, ink_int16), ink_float16);
}

/// Sixteen signed bytes as floats.
INK_INLINE ink_float16 ink_signed_bytes_to_float16(const void *source) {
  ink_sbyte16 a;
  memcpy(&a, source, 16);
  return __builtin_convertvector(__builtin_convertvector(a, ink_int16), ink_float16);
}

/// Sixteen binary16 as floats, exactly; subnormals, infinities and NaN too.
INK_INLINE ink_float16 ink_halves_to_float16(const void *source) {
#if defined(__AVX512F__)
  return (ink_float16)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)source));
#else
  ink_short16 raw;
  memcpy(&raw, source, 32);
  ink_word16 bits = __builtin_convertvector(raw, ink_word16);
  ink_word16 sign = (bits & 0x8000u) << 16;
  ink_word16 magnitude = bits & 0x7FFFu;
  // Shifted into place, the exponent lacks 112, and 112 more where it is all ones. A subnormal is scaled as an integer:
  // a product of floats would need a subnormal operand.
  ink_word16 normal = (magnitude << 13) + (112u << 23);
  ink_word16 special = (magnitude << 13) | (255u << 23);
  ink_word16 small =
      (ink_word16)(__builtin_convertvector((ink_int16)magnitude, ink_float16) * 0x1p-24f);
  ink_int16 isSmall = (ink_int16)(magnitude < 0x400u);
  ink_int16 isSpecial = (ink_int16)(magnitude >= 0x7C00u);
  ink_word16 result = (normal & ~(ink_word16)isSmall) | (small & (ink_word16)isSmall);
  result = (result & ~(ink_word16)isSpecial) | (special & (ink_word16)isSpecial);
  return (ink_float16)(result | sign);
#endif
}

/// The low byte of each lane, to sixteen bytes.
INK_INLINE void ink_store_bytes16(void *target, ink_int16 a) {
  ink_sbyte16 bytes = __builtin_convertvector(a, ink_sbyte16);
  memcpy(target, &bytes, 16);
}

/// The sum of the lanes.
INK_INLINE int ink_sum_of_lanes16(ink_int16 a) { return __builtin_reduce_add(a); }

/// The largest lane.
INK_INLINE unsigned ink_largest_lane16(ink_word16 a) { return __builtin_reduce_max(a); }

/// The larger of two lanes.
INK_INLINE ink_word16 ink_larger16(ink_word16 a, ink_word16 b) { return __builtin_elementwise_max(a, b); }

#if !defined(__AVX512BF16__)
// A macro, because a vector that is passed from C to C has an ABI, which depends on the instruction set.
// What is added carries into the exponent of no number but into the sign of a NaN, which is made quiet instead.
#define INK_ROUND_PAIRS(low, high)                                          \
  ({                                                                        \
    ink_word16 l = (ink_word16)(low), h = (ink_word16)(high);               \
    ink_word16 lnan = (ink_word16)((low) != (low)), hnan = (ink_word16)((high) != (high)); \
    l = ((l + (0x7FFFu + (l >> 16 & 1u))) & ~lnan) | ((l | 0x400000u) & lnan); \
    h = ((h + (0x7FFFu + (h >> 16 & 1u))) & ~hnan) | ((h | 0x400000u) & hnan); \
    l >> 16 | (h & 0xFFFF0000u);                                            \
  })
#endif

/// Floats rounded to bfloat16 (to nearest, ties to even), two to a word: `low` in the lower halves, `high` in the upper ones.
/// The instruction takes subnormals as 0.
INK_INLINE ink_word16 ink_round_to_bfloat16_pairs(ink_float16 low, ink_float16 high) {
#if defined(__AVX512BF16__)
  typedef uint16_t ink_short32 __attribute__((ext_vector_type(32)));
  const ink_short32 interleaved = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                   8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return (ink_word16)_mm512_permutexvar_epi16(
      (__m512i)interleaved, (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low));
#else
  return INK_ROUND_PAIRS(low, high);
#endif
}

/// Sixteen pairs that follow one another, rounded to bfloat16: element 2i in the lower half of word i, 2i + 1 in the upper one.
INK_INLINE ink_word16 ink_round_32_to_bfloat16(const float *source) {
  ink_float16 a, b;
  memcpy(&a, source, 64);
  memcpy(&b, source + 16, 64);
#if defined(__AVX512BF16__)
  return (ink_word16)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
#else
  ink_float16 even = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  ink_float16 odd = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  return INK_ROUND_PAIRS(even, odd);
#endif
}

/// Elements 0, 2, … 30 of 32 floats.
INK_INLINE ink_float16 ink_even_floats(const float *source) {
  ink_float16 a, b;
  memcpy(&a, source, 64);
  memcpy(&b, source + 16, 64);
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}

/// Elements 1, 3, … 31 of 32 floats.
INK_INLINE ink_float16 ink_odd_floats(const float *source) {
  ink_float16 a, b;
  memcpy(&a, source, 64);
  memcpy(&b, source + 16, 64);
  return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

// Words of sixteen rows, four to a register of rows i, i + 4, i + 8 and i + 12, arranged so that each register holds one word of
// all rows.
#define INK_INTERLEAVE_4(r, out)                                                                         \
  do {                                                                                                   \
    const ink_word16 a = __builtin_shufflevector(r[0], r[1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25,   \
                                                 12, 28, 13, 29);                                        \
    const ink_word16 b = __builtin_shufflevector(r[0], r[1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, \
                                                 14, 30, 15, 31);                                        \
    const ink_word16 c = __builtin_shufflevector(r[2], r[3], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25,   \
                                                 12, 28, 13, 29);                                        \
    const ink_word16 d = __builtin_shufflevector(r[2], r[3], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, \
                                                 14, 30, 15, 31);                                        \
    out[0] = __builtin_shufflevector(a, c, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);    \
    out[1] = __builtin_shufflevector(a, c, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);  \
    out[2] = __builtin_shufflevector(b, d, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);    \
    out[3] = __builtin_shufflevector(b, d, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);  \
  } while (0)

// Four words of rows 0, 4, 8 and 12 of those at `rows`.
#define INK_LOAD_4_ROWS(words, rows, stride) \
  do {                                       \
    for (int row = 0; row < 4; row++)        \
      memcpy((char *)&(words) + 16 * row, (const char *)(rows) + 4 * row * (stride), 16); \
  } while (0)

/// Arranges four words of each of sixteen rows: word w of row i becomes word i of line w; lines are 128 bytes apart.
///
/// - Parameter stride: bytes from a row to the next.
INK_INLINE void ink_interleave_4_words(const void *rows, ptrdiff_t stride, void *target) {
  ink_word16 r[4], out[4];
  for (int i = 0; i < 4; i++) INK_LOAD_4_ROWS(r[i], (const char *)rows + i * stride, stride);
  INK_INTERLEAVE_4(r, out);
  for (int i = 0; i < 4; i++) memcpy((char *)target + 128 * i, &out[i], 64);
}

/// The same of eight words, with some of their bits flipped.
INK_INLINE void ink_interleave_8_words(const void *rows, ptrdiff_t stride, void *target, uint32_t flip) {
  for (int half = 0; half < 2; half++) {
    ink_word16 r[4], out[4];
    for (int i = 0; i < 4; i++) {
      INK_LOAD_4_ROWS(r[i], (const char *)rows + 16 * half + i * stride, stride);
      r[i] ^= flip;
    }
    INK_INTERLEAVE_4(r, out);
    for (int i = 0; i < 4; i++) memcpy((char *)target + 512 * half + 128 * i, &out[i], 64);
  }
}

/// The same of four words that hold the low or high halves of 32 bytes: those of the first sixteen low, the others high.
///
/// - Parameter shift: 0 for the low halves, 4 for the high ones.
INK_INLINE void ink_interleave_nibbles(const void *rows, ptrdiff_t stride, void *target, uint32_t shift) {
  ink_word16 r[4], out[4];
  for (int i = 0; i < 4; i++) {
    ink_word16 low, high;
    INK_LOAD_4_ROWS(low, (const char *)rows + i * stride, stride);
    INK_LOAD_4_ROWS(high, (const char *)rows + 16 + i * stride, stride);
    r[i] = (low >> shift & 0x0F0F0F0Fu) | (high >> shift & 0x0F0F0F0Fu) << 4;
  }
  INK_INTERLEAVE_4(r, out);
  for (int i = 0; i < 4; i++) memcpy((char *)target + 128 * i, &out[i], 64);
}

/// Transposes sixteen rows of sixteen words in place: `words` is (16, 16), contiguous.
INK_INLINE void ink_transpose_words16(void *words) {
  ink_word16 r[16], t[16];
  memcpy(r, words, sizeof r);
  // Each stage exchanges bit s of a word's column with bit s of its row.
  for (int i = 0; i < 16; i += 2) {
    t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30);
    t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
  }
  for (int i = 0; i < 16; i++) {
    if (i & 2) continue;
    r[i] = __builtin_shufflevector(t[i], t[i + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
    r[i + 2] = __builtin_shufflevector(t[i], t[i + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  }
  for (int i = 0; i < 16; i++) {
    if (i & 4) continue;
    t[i] = __builtin_shufflevector(r[i], r[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
    t[i + 4] = __builtin_shufflevector(r[i], r[i + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
  }
  for (int i = 0; i < 8; i++) {
    r[i] = __builtin_shufflevector(t[i], t[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
    r[i + 8] = __builtin_shufflevector(t[i], t[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  }
  memcpy(words, r, sizeof r);
}
