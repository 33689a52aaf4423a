// The matrix registers of AMX (Intel, from Sapphire Rapids on): eight of 16 rows of 64 bytes, and products of two of them that are
// added to a third.
//
// Registers 0 … 3 hold 32 × 32 sums, four times 16 × 16; 4 and 5 hold 32 rows of the left operand, 6 and 7 hold 32 columns of the
// right one. Only where `ink_has_matrix_registers` is 1 may anything but the request be called.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "Products.h"

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AMX_INT8__) && defined(__AVX512BF16__)
enum { ink_has_matrix_registers = 1 };
#else
enum { ink_has_matrix_registers = 0 };
#endif

/// Asks the system for the registers, for all threads of the process; whether it gives them.
bool ink_request_matrix_registers(void);

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AMX_INT8__) && defined(__AVX512BF16__)

/// Shapes the registers of this thread, zeros: sums of 16 rows of 64 bytes, left operands of 16 rows, right ones of rows of 64 bytes.
///
/// - Parameter bytes: of a row of a left operand, four for each row of a right one; 64 at most.
INK_INLINE void ink_configure_matrix_registers(int bytes) {
  struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } all = {.palette = 1};
  for (int index = 0; index < 8; index++) {
    bool isLeft = index == 4 || index == 5, isRight = index > 5;
    all.row_bytes[index] = isLeft ? bytes : 64;
    all.rows[index] = isRight ? bytes / 4 : 16;
  }
  _tile_loadconfig(&all);
}

/// Gives the registers of this thread back: the system no longer saves them.
INK_INLINE void ink_release_matrix_registers(void) { _tile_release(); }

/// Sets the sums to 0; of the first 16 rows, or of all 32.
INK_INLINE void ink_clear_sums(bool both) {
  _tile_zero(0);
  _tile_zero(1);
  if (both) {
    _tile_zero(2);
    _tile_zero(3);
  }
}

/// Loads sums, rows `stride` bytes apart.
INK_INLINE void ink_load_sums(const void *source, ptrdiff_t stride, bool both) {
  const char *rows = source;
  _tile_loadd(0, rows, stride);
  _tile_loadd(1, rows + 64, stride);
  if (both) {
    _tile_loadd(2, rows + 16 * stride, stride);
    _tile_loadd(3, rows + 16 * stride + 64, stride);
  }
}

/// Stores sums, rows `stride` bytes apart.
INK_INLINE void ink_store_sums(void *target, ptrdiff_t stride, bool both) {
  char *rows = target;
  _tile_stored(0, rows, stride);
  _tile_stored(1, rows + 64, stride);
  if (both) {
    _tile_stored(2, rows + 16 * stride, stride);
    _tile_stored(3, rows + 16 * stride + 64, stride);
  }
}

// Asks for sixteen lines that come next, into the first cache: what is loaded from the second one is waited for.
#define INK_ASK_FOR_SQUARE(source)                                                        \
  do {                                                                                    \
    for (int line = 0; line < 16; line++) __builtin_prefetch((source) + line * 64, 0, 3); \
  } while (0)

/// Adds the products of 32 (or 16) rows and 32 columns over 32 terms of bfloat16; asks for the next squares of `a`.
///
/// - Parameters:
///   - a: two squares of 16 rows by 32 terms, one after the other.
///   - b: squares of 16 pairs of terms by 16 columns, the second 64 bytes after the first or, if `stride` is 64, a kilobyte.
///   - stride: bytes from one pair of terms to the next.
INK_INLINE void ink_multiply_squares_bfloat16(const void *a, const void *b, ptrdiff_t stride, bool both) {
  const char *left = a, *right = b;
  _tile_loadd(4, left, 64);
  _tile_loadd(6, right, stride);
  INK_ASK_FOR_SQUARE(left + 2048);
  _tile_dpbf16ps(0, 4, 6);
  if (both) INK_ASK_FOR_SQUARE(left + 3072);
  _tile_loadd(7, right + (stride == 64 ? 1024 : 64), stride);
  _tile_dpbf16ps(1, 4, 7);
  if (both) {
    _tile_loadd(5, left + 1024, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

// Products of what the registers hold.
#define INK_MULTIPLY_SQUARES()    \
  do {                            \
    _tile_dpbf16ps(0, 4, 6);      \
    _tile_dpbf16ps(1, 4, 7);      \
    if (both) {                   \
      _tile_dpbf16ps(2, 5, 6);    \
      _tile_dpbf16ps(3, 5, 7);    \
    }                             \
  } while (0)
#define INK_LOAD_LEFT_PART(part)                               \
  do {                                                         \
    _tile_loadd(4, left + (part) * 2048, 64);                  \
    if (both) _tile_loadd(5, left + (part) * 2048 + 1024, 64); \
  } while (0)
#define INK_LOAD_RIGHT_PART(part)                     \
  do {                                                \
    _tile_loadd(6, right + (part) * 2048, 64);        \
    _tile_loadd(7, right + (part) * 2048 + 1024, 64); \
  } while (0)

/// Adds the products of 32 (or 16) rows and 32 columns over 32 terms of floats, each the sum of three bfloat16.
///
/// Six of the nine products of parts count, the small ones first; the others are below 2⁻²⁶ of the product.
///
/// - Parameters:
///   - a: three times two squares of 16 rows by 32 terms: the largest parts, the middle ones, the smallest ones.
///   - b: three times two squares of 16 pairs of terms by 16 columns.
INK_INLINE void ink_multiply_squares_float(const void *a, const void *b, bool both) {
  const char *left = a, *right = b;
  INK_LOAD_LEFT_PART(0);
  INK_LOAD_RIGHT_PART(2);
  INK_MULTIPLY_SQUARES();
  INK_LOAD_RIGHT_PART(1);
  INK_MULTIPLY_SQUARES();
  INK_LOAD_LEFT_PART(1);
  INK_MULTIPLY_SQUARES();
  INK_LOAD_RIGHT_PART(0);
  INK_MULTIPLY_SQUARES();
  INK_LOAD_LEFT_PART(2);
  INK_MULTIPLY_SQUARES();
  INK_LOAD_LEFT_PART(0);
  INK_MULTIPLY_SQUARES();
}

/// Sums of integers, of 32 (or 16) rows and 32 columns over the terms of a group, in place of those of the group before, which go to
/// memory: each register is stored late, when what it holds has long been there.
///
/// - Parameters:
///   - a: two squares of 16 rows by a group of signed bytes.
///   - b: two squares of a quarter as many rows, each 16 columns by four terms, of signed bytes.
///   - group: terms, as the registers were configured for.
///   - before: receives what the registers hold, rows of 32.
INK_INLINE void ink_multiply_group_int8(const void *a, const void *b, int group, void *before, bool both) {
  const char *left = a, *right = b;
  char *rows = before;
  _tile_loadd(4, left, group);
  _tile_loadd(6, right, 64);
  _tile_stored(0, rows, 128);
  _tile_zero(0);
  _tile_dpbssd(0, 4, 6);
  _tile_loadd(7, right + group * 16, 64);
  _tile_stored(1, rows + 64, 128);
  _tile_zero(1);
  _tile_dpbssd(1, 4, 7);
  if (both) {
    _tile_loadd(5, left + group * 16, group);
    _tile_stored(2, rows + 2048, 128);
    _tile_zero(2);
    _tile_dpbssd(2, 5, 6);
    _tile_stored(3, rows + 2112, 128);
    _tile_zero(3);
    _tile_dpbssd(3, 5, 7);
  }
  for (int line = 0; line < group / 2; line++) __builtin_prefetch(left + group * 32 + line * 64, 0, 3);
}

#else

INK_INLINE void ink_configure_matrix_registers(int bytes) { __builtin_trap(); }
INK_INLINE void ink_release_matrix_registers(void) { __builtin_trap(); }
INK_INLINE void ink_clear_sums(bool both) { __builtin_trap(); }
INK_INLINE void ink_load_sums(const void *source, ptrdiff_t stride, bool both) { __builtin_trap(); }
INK_INLINE void ink_store_sums(void *target, ptrdiff_t stride, bool both) { __builtin_trap(); }
INK_INLINE void ink_multiply_squares_bfloat16(const void *a, const void *b, ptrdiff_t stride, bool both) { __builtin_trap(); }
INK_INLINE void ink_multiply_squares_float(const void *a, const void *b, bool both) { __builtin_trap(); }
INK_INLINE void ink_multiply_group_int8(const void *a, const void *b, int group, void *target, bool both) { __builtin_trap(); }

#endif
