#include "levels.h"

#include <stdint.h>

#include <initializer_list>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace bang {
namespace {

#if defined(__x86_64__)
// Not __builtin_cpu_supports, which needs a run-time library that not every compiler has.

constexpr bool hasAll(uint32_t word, std::initializer_list<int> bits) {
  for (int bit : bits)
    if (!(word >> bit & 1)) return false;
  return true;
}

struct Processor {
  bool avx2 = false, avx512 = false;

  Processor() {
    uint32_t a, b, c, d, b7, c7;
    // FMA, OSXSAVE, AVX
    if (!__get_cpuid(1, &a, &b, &c, &d) || !hasAll(c, {12, 27, 28})) return;
    if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d)) return;
    // The registers that the operating system saves.
    uint32_t saved, high;
    __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    // AVX2, BMI2; the halves of YMM
    avx2 = hasAll(b7, {5, 8}) && hasAll(saved, {1, 2});
    // AVX-512 F, DQ, CD, BW, VL; masks and the parts of ZMM
    avx512 = avx2 && hasAll(b7, {16, 17, 28, 30, 31}) && hasAll(saved, {5, 6, 7});
  }
};
#endif

}  // namespace

std::vector<const Kernels*> availableLevels() {
  std::vector<const Kernels*> levels;
#if defined(__x86_64__)
  const Processor processor;
  if (processor.avx512) levels.push_back(avx512Kernels());
  if (processor.avx2) levels.push_back(avx2Kernels());
#endif
  levels.push_back(baselineKernels());
  return levels;
}

}  // namespace bang
