// The border of the kernels that work on matrices, rows or single values.
#include "border.h"

namespace bang {
namespace border {

void matMul(Arguments& in) {
  const int M = in.size("M"), N = in.size("N"), K = in.size("K");
  const float* a = in.floats("a", {M, K});
  const bool transposeA = in.flag();
  const float* b = in.floats("b", {K, N});
  const bool transposeB = in.flag();
  const float* scale = in.floatsOrNull("scale", {K});
  const float* bias = in.floatsOrNull("bias", {N});
  const bool relu = in.flag();
  kernels->matMul(M, N, K, a, transposeA, b, transposeB, scale, bias, relu,
                  in.output("c", {M, N}));
}

void columnSums(Arguments& in) {
  const int R = in.size("rows"), C = in.size("columns");
  const float* x = in.floats("x", {R, C});
  const float* scale = in.floatsOrNull("scale", {R});
  kernels->columnSums(R, C, x, scale, in.output("sums", {C}));
}

void relu(Arguments& in) {
  const int count = in.size("count");
  const float* x = in.floats("x", {count});
  kernels->relu(static_cast<size_t>(count), x, in.output("y", {count}, true));
}

void reluGradient(Arguments& in) {
  const int count = in.size("count");
  const float* y = in.floats("y", {count});
  const float* dy = in.floats("dy", {count});
  kernels->reluGradient(static_cast<size_t>(count), y, dy, in.output("dx", {count}, true));
}

void multiply(Arguments& in) {
  const int count = in.size("count");
  const float* a = in.floats("a", {count});
  const float* b = in.floats("b", {count});
  kernels->multiply(static_cast<size_t>(count), a, b, in.output("y", {count}, true));
}

void softmaxCrossEntropy(Arguments& in) {
  const int N = in.size("batch"), C = in.size("classes");
  const float* logits = in.floats("logits", {N, C});
  const int32_t* labels = in.integers("labels", {N});
  for (int n = 0; n < N; n++)
    if (labels[n] < 0 || labels[n] >= C)
      fail("label ", labels[n], " is not one of ", C, " classes");
  const float factor = in.number("factor");
  float* loss = in.output("loss", {N});
  float* gradient = in.output("gradient", {N, C});
  kernels->softmaxCrossEntropy(N, C, logits, labels, factor, loss, gradient,
                               in.output("correct", {N}));
}

void rowNorms(Arguments& in) {
  const int N = in.size("batch"), D = in.size("values");
  const float* x = in.floats("x", {N, D});
  kernels->rowNorms(N, D, x, in.output("norm", {N}));
}

void eta(Arguments& in) {
  const int N = in.size("batch");
  const float* norm = in.floats("norm", {N});
  const float* epsilonHat = in.floats("epsilonHat", {N});
  kernels->eta(N, norm, epsilonHat, in.output("eta", {N}));
}

void sgd(Arguments& in) {
  SgdStep step;
  const int count = in.size("count");
  step.count = static_cast<size_t>(count);
  step.weight = in.output("weight", {count});
  step.velocity = in.output("velocity", {count});
  step.gradient = in.floats("gradient", {count});
  step.rate = in.number("rate");
  step.momentum = in.number("momentum");
  step.decay = in.number("decay");
  kernels->sgd(step);
}

void normalize(Arguments& in) {
  const int N = in.size("batch"), D = in.size("values");
  const float* x = in.floats("x", {N, D});
  const float* mean = in.floatsOrNull("mean", {D});
  const float factor = in.number("factor");
  kernels->normalize(N, D, x, mean, factor, in.output("y", {N, D}, true));
}

void overLargest(Arguments& in) {
  const int N = in.size("batch"), D = in.size("values");
  const float* x = in.floats("x", {N, D});
  kernels->overLargest(N, D, x, in.output("y", {N, D}));
}

void perturb(Arguments& in) {
  const int M = in.size("images"), N = in.size("batch"), D = in.size("values");
  const float* x = in.floats("x", {M, D});
  const float* d = in.floats("direction", {M, D});
  const int32_t* rows = in.integers("rows", {N});
  for (int n = 0; n < N; n++)
    if (rows[n] < 0 || rows[n] >= M) fail("rows: not one of the images");
  const float* s = in.floats("scale", {N});
  kernels->perturb(N, D, x, d, rows, s, in.output("y", {N, D}));
}

void addNoise(Arguments& in) {
  const int N = in.size("copies"), D = in.size("values");
  const float* x = in.floats("x", {D});
  // [seed, purpose, image, firstCopy, sigma]
  const uint32_t* counters = in.words("counters", 5, 5);
  Noise noise = {counters[0], counters[1], counters[2], counters[3], counters[4], nullptr, 0};
  int count;
  noise.thresholds = in.words("thresholds", 1, 1 << 16, &count);
  if (noise.thresholds[count - 1] != 0xffffffffu)
    fail("the last threshold must be 2^32-1");
  noise.lowest = -in.size("depth");
  kernels->addNoise(N, D, x, noise, in.output("y", {N, D}));
}

}  // namespace border
}  // namespace bang
