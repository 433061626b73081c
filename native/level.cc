// All kernels, for one level of instruction set: compiled once for each, with
// -DBANG_LEVEL=avx512 (…) and the compiler flags that belong to it.
#include "kernels.h"

#include <math.h>
#include <time.h>

#include "simd.h"
#include "threads.h"
#include "tile.h"

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
      LANES,
      conv2d,
      conv2dMaxPool,
      conv2dInputGradient,
      conv2dWeightGradient,
      pooledNorms,
      matMul,
      columnSums,
      maxPool,
      maxPoolGradient,
      avgPool,
      avgPoolGradient,
      relu,
      reluGradient,
      multiply,
      softmaxCrossEntropy,
      rowNorms,
      eta,
      sgd,
      normalize,
      overLargest,
      perturb,
      forward,
      addNoise,
      peak,
  };
  return &kernels;
}

}  // namespace bang
