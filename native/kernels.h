// The table of kernels of one level (AVX-512, AVX2, baseline, WebAssembly), and the structs that they take. kernels.def
// lists the kernels.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace bang {

/// Geometry of a 2-D convolution or pooling.
struct Geometry {
  int batch, inH, inW, inC;
  int outH, outW, outC;  // outC == inC for pooling
  int kH, kW, strideH, strideW, padTop, padLeft;
};

/// The gradient with respect to a convolution's output, [N,oH,oW,O]; or, after conv2dMaxPool, with respect
/// to the pooled output, [N,pH,pW,O], together with the pooling's winners, to which it is routed. Either both
/// `winner` and `pool` are null or neither is.
struct Kappa {
  const float* values;
  const uint8_t* winner;
  const Geometry* pool;
};
/// The most pixels in a window of such a pooling, because a winner's index is a byte.
constexpr int MOST_POOL_PIXELS = 256;

/// A layer of a forward pass; relu: max(0, ·) follows. An inner product maps all values of its input,
/// [inH, inW, inC], to outC. Poolings have no weights; the bias may be null.
struct ForwardLayer {
  enum Kind : int32_t { CONV, DENSE, MAX_POOL, AVG_POOL } kind;
  bool relu;
  Geometry geometry;
  const float *weight, *bias;
};
constexpr int MOST_FORWARD_LAYERS = 64;

/// Parameters with one learning rate, updated in place by SGD.
struct SgdStep {
  float *weight, *velocity;
  const float* gradient;
  size_t count;
  float rate, momentum, decay;
};

/// The noise of one image's copies: the generator's counters and key, and the distribution.
struct Noise {
  uint32_t seed, purpose;
  uint32_t image, firstCopy, sigma;
  /// Ascending. The last is 2^32 - 1, which no word exceeds. At most 2^16.
  const uint32_t* thresholds;
  int lowest;
};

/// A level. Kernels rely on the border to check their arguments.
struct Kernels {
  const char* level;
  /// Multiply-adds per second of one thread on values in registers: the machine's limit.
  double (*peak)(double seconds);

#define KERNEL(name, ...) void (*name)(__VA_ARGS__);
#include "kernels.def"
};

#if defined(__wasm__)
const Kernels* wasmKernels();
#else
const Kernels* baselineKernels();
#endif
#if defined(__x86_64__)
const Kernels* avx2Kernels();
const Kernels* avx512Kernels();
#endif

}  // namespace bang
