// All kernels for one level of instruction set. Compiled once for each level, with -DBANG_LEVEL=avx512 (…)
// and the compiler flags of that level.
#include "kernels.h"

#include <math.h>

#include "lanes.h"
#include "memory.h"
#include "simd.h"
#include "threads.h"
#include "tile.h"
#include "transpose.h"

// In this order: later files use what earlier ones define.
#include "matmul.cc"

#include "pooling.cc"

#include "conv.cc"

#include "conv_gradient.cc"

#include "elementwise.cc"

#include "noise.cc"

#include "forward.cc"

#define NAME_OF(level) #level
#define LEVEL_NAME(level) NAME_OF(level)
#define FUNCTION_OF(level) level##Kernels
#define LEVEL_FUNCTION(level) FUNCTION_OF(level)

namespace bang {

const Kernels* LEVEL_FUNCTION(BANG_LEVEL)() {
  static const Kernels kernels = {
      LEVEL_NAME(BANG_LEVEL),
      peak,
#define KERNEL(name, ...) name,
#include "kernels.def"
  };
  return &kernels;
}

}  // namespace bang
