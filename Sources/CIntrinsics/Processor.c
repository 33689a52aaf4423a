// A build for one CPU that is started on another would die of an illegal instruction at some later point, without a
// word. The constructor below runs before any code of this package and says what is wrong instead. It must itself
// run on every CPU, so this whole file is compiled for the oldest one, whatever -march says.
#include "Processor.h"

#include <stdint.h>
#include <string.h>

// is_one(__AVX2__) is 1 if the macro is defined as 1, and 0 if it is not defined: only in the first case does the
// pasted name exist and bring a comma that moves the 1 into second place.
#define pasted_1 ignored,
#define second(first, value, ...) value
#define is_one_(arguments) second(arguments 1, 0, 0)
#define is_one_expanded(value) is_one_(pasted_##value)
#define is_one(macro) is_one_expanded(macro)

#if defined(__x86_64__)

#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// -march=native reaches the compiler as a list of features that a bare "arch=x86-64" leaves switched on; each root is
// switched off by name, and what builds on it goes with it. ProcessorFeaturesTests looks for what is left.
#define oldest_cpu "arch=x86-64,no-sse3,no-avx,no-popcnt,no-lzcnt,no-bmi,no-bmi2,no-movbe,no-adx,no-gfni"
#pragma clang attribute push(__attribute__((target(oldest_cpu))), apply_to = function)

enum { eax, ebx, ecx, edx };

// The registers that the operating system must save for a set to be usable (bits of XCR0).
enum { in_sse = 0, in_avx = 0x6, in_avx512 = 0xE6, in_amx = 0x60000 };

struct feature {
  const char *name;
  bool compiled_in;
  // Where CPUID reports it: leaf and subleaf, register, bit. SDM volume 2A, CPUID; AMD APM volume 3, appendix E.
  uint32_t leaf, subleaf;
  uint8_t in_register, bit;
  uint32_t state;
};

static const struct feature features[] = {
    {"sse3", is_one(__SSE3__), 1, 0, ecx, 0, in_sse},
    {"ssse3", is_one(__SSSE3__), 1, 0, ecx, 9, in_sse},
    {"sse4.1", is_one(__SSE4_1__), 1, 0, ecx, 19, in_sse},
    {"sse4.2", is_one(__SSE4_2__), 1, 0, ecx, 20, in_sse},
    {"popcnt", is_one(__POPCNT__), 1, 0, ecx, 23, in_sse},
    {"movbe", is_one(__MOVBE__), 1, 0, ecx, 22, in_sse},
    {"lzcnt", is_one(__LZCNT__), 0x80000001, 0, ecx, 5, in_sse},
    {"bmi", is_one(__BMI__), 7, 0, ebx, 3, in_sse},
    {"bmi2", is_one(__BMI2__), 7, 0, ebx, 8, in_sse},
    {"adx", is_one(__ADX__), 7, 0, ebx, 19, in_sse},
    {"pclmul", is_one(__PCLMUL__), 1, 0, ecx, 1, in_sse},
    {"aes", is_one(__AES__), 1, 0, ecx, 25, in_sse},
    {"sha", is_one(__SHA__), 7, 0, ebx, 29, in_sse},
    {"gfni", is_one(__GFNI__), 7, 0, ecx, 8, in_sse},
    {"sse4a", is_one(__SSE4A__), 0x80000001, 0, ecx, 6, in_sse},
    {"avx", is_one(__AVX__), 1, 0, ecx, 28, in_avx},
    {"f16c", is_one(__F16C__), 1, 0, ecx, 29, in_avx},
    {"fma", is_one(__FMA__), 1, 0, ecx, 12, in_avx},
    {"fma4", is_one(__FMA4__), 0x80000001, 0, ecx, 16, in_avx},
    {"xop", is_one(__XOP__), 0x80000001, 0, ecx, 11, in_avx},
    {"avx2", is_one(__AVX2__), 7, 0, ebx, 5, in_avx},
    {"vaes", is_one(__VAES__), 7, 0, ecx, 9, in_avx},
    {"vpclmulqdq", is_one(__VPCLMULQDQ__), 7, 0, ecx, 10, in_avx},
    {"avxvnni", is_one(__AVXVNNI__), 7, 1, eax, 4, in_avx},
    {"avxifma", is_one(__AVXIFMA__), 7, 1, eax, 23, in_avx},
    {"avxvnniint8", is_one(__AVXVNNIINT8__), 7, 1, edx, 4, in_avx},
    {"avxneconvert", is_one(__AVXNECONVERT__), 7, 1, edx, 5, in_avx},
    {"avxvnniint16", is_one(__AVXVNNIINT16__), 7, 1, edx, 10, in_avx},
    {"avx512f", is_one(__AVX512F__), 7, 0, ebx, 16, in_avx512},
    {"avx512cd", is_one(__AVX512CD__), 7, 0, ebx, 28, in_avx512},
    {"avx512dq", is_one(__AVX512DQ__), 7, 0, ebx, 17, in_avx512},
    {"avx512bw", is_one(__AVX512BW__), 7, 0, ebx, 30, in_avx512},
    {"avx512vl", is_one(__AVX512VL__), 7, 0, ebx, 31, in_avx512},
    {"avx512ifma", is_one(__AVX512IFMA__), 7, 0, ebx, 21, in_avx512},
    {"avx512vbmi", is_one(__AVX512VBMI__), 7, 0, ecx, 1, in_avx512},
    {"avx512vbmi2", is_one(__AVX512VBMI2__), 7, 0, ecx, 6, in_avx512},
    {"avx512vnni", is_one(__AVX512VNNI__), 7, 0, ecx, 11, in_avx512},
    {"avx512bitalg", is_one(__AVX512BITALG__), 7, 0, ecx, 12, in_avx512},
    {"avx512vpopcntdq", is_one(__AVX512VPOPCNTDQ__), 7, 0, ecx, 14, in_avx512},
    {"avx512vp2intersect", is_one(__AVX512VP2INTERSECT__), 7, 0, edx, 8, in_avx512},
    {"avx512bf16", is_one(__AVX512BF16__), 7, 1, eax, 5, in_avx512},
    {"avx512fp16", is_one(__AVX512FP16__), 7, 0, edx, 23, in_avx512},
    {"amx-tile", is_one(__AMX_TILE__), 7, 0, edx, 24, in_amx},
    {"amx-int8", is_one(__AMX_INT8__), 7, 0, edx, 25, in_amx},
    {"amx-bf16", is_one(__AMX_BF16__), 7, 0, edx, 22, in_amx},
};

// The registers the system saves. XGETBV exists only where OSXSAVE says so.
static uint32_t saved_state(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 27)) return 0;
  __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return a;
}

bool ink_cpu_feature_is_offered(size_t index) {
  const struct feature *feature = &features[index];
  uint32_t registers[4];
  if (feature->subleaf > 0) {
    // An unknown subleaf of 7 reads as another one's; subleaf 0 says how many there are.
    if (!__get_cpuid_count(feature->leaf, 0, &registers[eax], &registers[ebx], &registers[ecx], &registers[edx]) ||
        registers[eax] < feature->subleaf)
      return false;
  }
  if (!__get_cpuid_count(feature->leaf, feature->subleaf, &registers[eax], &registers[ebx], &registers[ecx],
                         &registers[edx]))
    return false;
  return (registers[feature->in_register] >> feature->bit & 1) && (saved_state() & feature->state) == feature->state;
}

void ink_cpu_brand(char *text, size_t capacity) {
  uint32_t parts[13] = {0};
  if (capacity == 0) return;
  text[0] = 0;
  for (uint32_t part = 0; part < 3; part++) {
    uint32_t *word = parts + 4 * part;
    if (!__get_cpuid(0x80000002 + part, &word[0], &word[1], &word[2], &word[3])) return;
  }
  // The CPU pads with spaces, some at the front.
  const char *start = (const char *)parts;
  while (*start == ' ') start++;
  size_t length = strlen(start);
  while (length > 0 && start[length - 1] == ' ') length--;
  if (length >= capacity) length = capacity - 1;
  memcpy(text, start, length);
  text[length] = 0;
}

static bool is_offered(const char *name) {
  for (size_t index = 0; index < ink_cpu_feature_count(); index++)
    if (strcmp(features[index].name, name) == 0) return ink_cpu_feature_is_offered(index);
  return false;
}

// As early as a program's own code can run: before the constructors of C++ and of other files.
__attribute__((constructor(101))) static void refuse_foreign_cpu(void) {
  char names[128] = "";
  int missing = 0;
  // The newest first: they tell best what the build was made for.
  for (size_t index = ink_cpu_feature_count(); index-- > 0;) {
    if (!features[index].compiled_in || ink_cpu_feature_is_offered(index)) continue;
    missing++;
    if (missing > 3) continue;
    if (missing > 1) strcat(names, ", ");
    strcat(names, features[index].name);
  }
  if (missing == 0) return;
  char more[32] = "";
  if (missing > 3) snprintf(more, sizeof more, " and %d more", missing - 3);
  char line[512];
  int length = snprintf(
      line, sizeof line,
      "inkstone: this build needs %s%s, which this CPU does not offer; rebuild it on this machine with 'make build', "
      "or for this and other CPUs with 'make build ARCH=%s'\n",
      names, more, is_offered("avx2") && is_offered("fma") && is_offered("bmi2") ? "x86-64-v3" : "x86-64");
  // stdio may not be ready yet, and nothing can be done about a closed stderr.
  ssize_t written = write(STDERR_FILENO, line, (size_t)length);
  (void)written;
  _exit(2);
}

#else

struct feature {
  const char *name;
  bool compiled_in;
};

static const struct feature features[] = {
    {"neon", is_one(__ARM_NEON)},
    {"fp16", is_one(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC)},
    {"dotprod", is_one(__ARM_FEATURE_DOTPROD)},
    {"bf16", is_one(__ARM_FEATURE_BF16)},
    {"i8mm", is_one(__ARM_FEATURE_MATMUL_INT8)},
    {"sve", is_one(__ARM_FEATURE_SVE)},
};

bool ink_cpu_feature_is_offered(size_t index) { return features[index].compiled_in; }

void ink_cpu_brand(char *text, size_t capacity) {
  if (capacity > 0) text[0] = 0;
}

#endif

size_t ink_cpu_feature_count(void) { return sizeof features / sizeof features[0]; }

const char *ink_cpu_feature_name(size_t index) { return features[index].name; }

bool ink_cpu_feature_is_compiled_in(size_t index) { return features[index].compiled_in; }

#if defined(__x86_64__)
#pragma clang attribute pop
#endif
