// What every level (AVX-512, AVX2, baseline) provides. Arrays are float32, row-major, NHWC.
// Arguments have been checked by addon.cc; kernels trust them.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace bang {

/// Geometry of a convolution or a pooling.
struct Window {
  int batch, inH, inW, inC;
  int outH, outW, outC;  // outC == inC for pooling
  int kH, kW, strideH, strideW, padTop, padLeft;
};

/// The gradient by a convolution's output, [N,oH,oW,O]; or, behind conv2dMaxPool, by the pooled values,
/// [N,pH,pW,O], with the winners of the pooling, to which it goes: `winner` and `pool` are null or not
/// together.
struct Kappa {
  const float* values;
  const uint8_t* winner;
  const Window* pool;
};
/// Pixels in a pooling's window at most: the number of one is a byte.
constexpr int MOST_POOL_PIXELS = 256;

/// A layer of a whole forward pass; relu: max(0, ·) behind it. An inner product takes all values of
/// its input, [inH, inW, inC], to outC. Poolings have no weights; a bias may be null.
struct ForwardLayer {
  enum Kind { CONV, DENSE, MAX_POOL, AVG_POOL } kind;
  bool relu;
  Window window;
  const float *weight, *bias;
};
constexpr int MOST_FORWARD_LAYERS = 64;

/// One parameter tensor of a layer, updated in place by SGD.
struct SgdStep {
  float *weight, *velocity;
  const float* gradient;
  size_t count;
  float rate, momentum, decay;
};

/// Noise of one image's copies: counters and key of the generator, and the distribution.
struct Noise {
  uint32_t seed, purpose;
  uint32_t image, firstCopy, sigma;
  /// Ascending; the last is 2^32 - 1, which no word is above. At most 2^16.
  const uint32_t* thresholds;
  int lowest;
};

struct Kernels {
  const char* name;
  int lanes;

  /// y[N,oH,oW,O] = x * w[kH,kW,I,O] + bias[O] (null: none), then max(0, ·) if relu.
  /// Every output is one sum in the order (kh, kw, i), wherever it lies: equal windows of the input
  /// give equal outputs, on which the ties of max pooling rest.
  void (*conv2d)(const Window&, const float* x, const float* w, const float* bias, bool relu,
                 float* y);
  /// The same, then max pooling, whose full-size input is never written: y[N,pH,pW,O], and winner[…],
  /// the first maximum of each window in row-major order, as row * pool.kW + column. As in maxPool, NaN is
  /// the largest of all. The pooling's input
  /// is the convolution's output, its window has at most MOST_POOL_PIXELS.
  void (*conv2dMaxPool)(const Window&, const Window& pool, const float* x, const float* w,
                        const float* bias, float* y, uint8_t* winner);
  /// dx[N,iH,iW,I] = gradient with respect to x, given kappa.
  void (*conv2dInputGradient)(const Window&, const Kappa&, const float* w, float* dx);
  /// dw[kH,kW,I,O] = sum over n of scale[n] * (element n's gradient); db[O] likewise (null: not
  /// wanted). scale null: all ones.
  void (*conv2dWeightGradient)(const Window&, const float* x, const Kappa&, const float* scale,
                               float* dw, float* db);
  /// norm[N] = the L2 norm of each element's gradient by the convolution's output, as rowNorms has it,
  /// given kappa of the pooled values.
  void (*pooledNorms)(const Kappa&, float* norm);

  /// c[M,N] = op(a) op(b) + bias[N], then max(0, ·) if relu. op transposes if asked:
  /// a is [M,K] or [K,M], b is [K,N] or [N,K]. scale[K] (null: ones) multiplies row k of op(b).
  void (*matMul)(int M, int N, int K, const float* a, bool transposeA, const float* b,
                 bool transposeB, const float* scale, const float* bias, bool relu, float* c);
  /// sum[C] = sum over r of scale[r] * x[R,C]; scale null: ones.
  void (*columnSums)(int R, int C, const float* x, const float* scale, float* sum);

  /// NaN where a window has one: such a network must not look sound.
  void (*maxPool)(const Window&, const float* x, float* y);
  /// The gradient goes to the first maximum of each window in row-major order, or its first NaN.
  void (*maxPoolGradient)(const Window&, const float* x, const float* dy, float* dx);
  /// Divides by the size of the window clipped to the image.
  void (*avgPool)(const Window&, const float* x, float* y);
  void (*avgPoolGradient)(const Window&, const float* dy, float* dx);

  /// y = max(0, x), here as behind other kernels: +0 for -0, NaN for NaN.
  void (*relu)(size_t count, const float* x, float* y);
  /// dx = y > 0 ? dy : 0
  void (*reluGradient)(size_t count, const float* y, const float* dy, float* dx);
  void (*multiply)(size_t count, const float* a, const float* b, float* y);

  /// loss[N], gradient[N,C] = factor * (softmax - one-hot) and correct[N] (1 or 0: the label has the
  /// first largest logit). Exponentials of z - max z are summed in class order.
  void (*softmaxCrossEntropy)(int N, int C, const float* logits, const int32_t* labels,
                              float factor, float* loss, float* gradient, float* correct);
  /// norm[N] = the L2 norm of each row of x[N,D], accumulated in float32.
  void (*rowNorms)(int N, int D, const float* x, float* norm);
  /// eta[n] = (m / norm[n]) ^ (epsilonHat[n] * (1 - norm[n] / m)), m = max norm; 1 where norm is 0.
  void (*eta)(int N, const float* norm, const float* epsilonHat, float* eta);
  void (*sgd)(const SgdStep&);
  /// y[n] = (x[n] - mean) * factor for rows of D values; mean null: zero.
  void (*normalize)(int N, int D, const float* x, const float* mean, float factor, float* y);
  /// y[n] = x[n] / max |x[n]| for rows of D values; rows of zeros stay so.
  void (*overLargest)(int N, int D, const float* x, float* y);
  /// y[n] = clip(round(x[r] + s[n] * d[r]), 0, 255), r = rows[n], for rows of D values; round half to
  /// even.
  void (*perturb)(int N, int D, const float* x, const float* d, const int32_t* rows, const float* s,
                  float* y);

  /// logits[N,C] of pixels x[N,H,W,I], prepared as by normalize, through layers that end in an inner
  /// product: bit for bit what the kernels above give layer by layer.
  void (*forward)(const ForwardLayer* layers, int count, int N, const float* x, const float* mean,
                  float factor, float* logits);

  /// y[n] = clip(x + k, 0, 255) for N copies of one image x[D]. k = lowest + the number of thresholds
  /// below a random word: for pixel p of copy n that is word p % 4 of Philox4x32-10 at the counter
  /// (p / 4, firstCopy + n, image, sigma) under the key (seed, purpose).
  void (*addNoise)(int N, int D, const float* x, const Noise&, float* y);

  /// Multiply-adds per second of one thread in registers alone: what the machine could do.
  double (*peak)(double seconds);
};

const Kernels* baselineKernels();
#if defined(__x86_64__)
const Kernels* avx2Kernels();
const Kernels* avx512Kernels();
#endif

}  // namespace bang
