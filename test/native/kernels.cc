// Calls every kernel of every level on random shapes, for the sanitizers (npm run test:sanitizers):
// with 1 thread and with several, whose results must be equal bit for bit, and against loops that do
// nothing clever, in double precision. Arrays are as long as they must be, so that the address
// sanitizer sees whatever is read or written beside them; outputs and scratch memory start as NaN.
// Every level gets the same arguments, and levels with fused multiply-add must give the same bits, on every
// processor; and so must those without.
//
//   kernels [trials]
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <new>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "../../native/levels.h"
#include "../../native/memory.h"
#include "../../native/threads.h"

void bang::outOfMemory() { throw std::bad_alloc(); }

namespace {

using bang::Kernels;
using bang::Geometry;
using Floats = std::vector<float>;

std::mt19937 generator;
uint32_t bits() { return static_cast<uint32_t>(generator()); }
int between(int low, int high) {
  return low + static_cast<int>(bits() % static_cast<uint32_t>(high - low + 1));
}
bool coin() { return between(0, 1); }

/// What ReLU and pooling leave: a quarter exact zeros, a few equal values. The others are about normal, and the same
/// with every mathematical library.
Floats values(size_t count) {
  Floats all(count);
  for (float& value : all) {
    const int kind = between(0, 19);
    double sum = -2;
    for (int i = 0; i < 4; i++) sum += bits() / 4294967296.0;
    value = kind < 5 ? 0 : kind == 5 ? 0.5f : static_cast<float>(sum * 1.75);
  }
  return all;
}

/// A sum in double precision, and how large its terms are.
struct Sum {
  double value = 0, size = 0;
  void add(double term) {
    value += term;
    size += fabs(term);
  }
  void add(double a, double b, double c = 1) { add(a * b * c); }
  void clip() { value = value > 0 ? value : 0; }
};
using Sums = std::vector<Sum>;

/// What a kernel writes to.
struct Outputs {
  std::vector<Floats> floats;
  std::vector<uint8_t> bytes;
  Outputs(std::initializer_list<size_t> sizes, size_t byteCount = 0) : bytes(byteCount, 0xff) {
    for (size_t size : sizes) floats.emplace_back(size, NAN);
  }
  float* operator[](size_t i) { return floats[i].data(); }
};

bool same(const Floats& a, const Floats& b) {
  return a.empty() || memcmp(a.data(), b.data(), a.size() * 4) == 0;
}

[[noreturn]] void fail(const std::string& what) {
  fprintf(stderr, "kernels: %s\n", what.c_str());
  exit(1);
}

std::string text(const Geometry& g) {
  std::string all = "geometry";
  for (int v : {g.batch, g.inH, g.inW, g.inC, g.outH, g.outW, g.outC, g.kH, g.kW, g.strideH,
                g.strideW, g.padTop, g.padLeft})
    all += " " + std::to_string(v);
  return all;
}

/// The kernels that have been checked, for every level together.
std::set<std::string> checked;

/// FNV-1a of what a level has computed, and what it is after some trials, with and without fused multiply-add. Where
/// kernels round otherwise than before, these change, and with them the digits of all results: only on purpose.
uint64_t hash;
constexpr int HASHED_TRIALS = 20;
constexpr uint64_t FUSED_HASH = 0x8c5fa80efd04c1fc, OTHER_HASH = 0xabc0bae62b573b12;
#ifdef __aarch64__
constexpr bool ALWAYS_FUSED = true;
#else
constexpr bool ALWAYS_FUSED = false;
#endif
bool isFused(const Kernels& kernels) { return ALWAYS_FUSED || strcmp(kernels.level, "baseline") != 0; }
void addToHash(const void* data, size_t size) {
  for (size_t i = 0; i < size; i++) hash = (hash ^ static_cast<const uint8_t*>(data)[i]) * 1099511628211u;
}
/// These call the mathematical library, whose last bits differ from system to system.
const std::set<std::string> OF_THE_SYSTEM = {"softmaxCrossEntropy", "eta"};

/// Runs a kernel into fresh outputs with 1, 2 and 5 threads and compares. `expected` holds the sums
/// of the first outputs; any further ones are compared between numbers of threads only.
Outputs check(const std::string& name, const std::string& on, const Outputs& fresh,
              const std::function<void(Outputs&)>& kernel, const std::vector<Sums>& expected) {
  checked.insert(name);
  Outputs first = fresh;
  bang::setThreads(1);
  kernel(first);
  for (int threads : {2, 5}) {
    bang::setThreads(threads);
    Outputs again = fresh;
    kernel(again);
    bool equal = first.bytes == again.bytes;
    for (size_t k = 0; k < first.floats.size(); k++)
      equal = equal && same(first.floats[k], again.floats[k]);
    if (!equal) fail(name + ", " + on + ": other bits with " + std::to_string(threads) + " threads");
  }
  for (size_t k = 0; k < expected.size(); k++)
    for (size_t i = 0; i < expected[k].size(); i++) {
      const double actual = first.floats[k][i], wanted = expected[k][i].value;
      if (!(fabs(actual - wanted) <= 1e-5 * expected[k][i].size + 1e-30))
        fail(name + ", " + on + ": output " + std::to_string(k) + "[" + std::to_string(i) + "] is " +
             std::to_string(actual) + ", not " + std::to_string(wanted));
    }
  if (OF_THE_SYSTEM.count(name)) return first;
  for (const Floats& floats : first.floats) addToHash(floats.data(), floats.size() * 4);
  addToHash(first.bytes.data(), first.bytes.size());
  return first;
}

/// Calls visit(input pixel's index, output pixel's index, row and column in the window) wherever a
/// window meets the image; indices are without channels.
template <class Visit>
void forTaps(const Geometry& g, Visit visit) {
  for (int n = 0; n < g.batch; n++)
    for (int oh = 0; oh < g.outH; oh++)
      for (int ow = 0; ow < g.outW; ow++)
        for (int kh = 0; kh < g.kH; kh++)
          for (int kw = 0; kw < g.kW; kw++) {
            const int h = oh * g.strideH + kh - g.padTop, w = ow * g.strideW + kw - g.padLeft;
            if (h < 0 || h >= g.inH || w < 0 || w >= g.inW) continue;
            visit((static_cast<size_t>(n) * g.inH + h) * g.inW + w,
                  (static_cast<size_t>(n) * g.outH + oh) * g.outW + ow, kh, kw);
          }
}

Geometry randomGeometry(bool pooling) {
  Geometry g;
  g.kH = between(1, 5), g.kW = between(1, 5);
  g.strideH = between(1, 3), g.strideW = between(1, 3);
  g.padTop = coin() ? 0 : between(0, g.kH - 1), g.padLeft = coin() ? 0 : between(0, g.kW - 1);
  g.batch = between(0, 20) == 0 ? 0 : between(1, coin() ? 3 : 20);
  g.inH = g.kH + between(0, 6), g.inW = g.kW + between(0, 6);
  g.inC = coin() ? between(1, 4) : between(1, 40);
  g.outC = pooling ? g.inC : coin() ? between(1, 20) : between(1, 70);
  // Windows may stop before the image does, or reach beyond it.
  const auto outputs = [](int in, int pad, int kernel, int stride) {
    const int most = (in + pad + (coin() ? kernel - 1 : 0) - kernel) / stride + 1;
    return between(most > 1 && coin() ? most - 1 : most, most);
  };
  g.outH = outputs(g.inH, g.padTop, g.kH, g.strideH);
  g.outW = outputs(g.inW, g.padLeft, g.kW, g.strideW);
  return g;
}

/// A pooling of a convolution's output: cells that tile it, or any windows, clipped at its end.
Geometry poolingOf(const Geometry& g) {
  Geometry pool = {g.batch, g.outH, g.outW, g.outC, 0, 0, g.outC, 2, 2, 2, 2, 0, 0};
  if (coin()) {
    pool.kH = between(1, 4), pool.kW = between(1, 4);
    pool.strideH = between(1, 3), pool.strideW = between(1, 3);
    pool.padTop = coin() ? 0 : between(0, pool.kH - 1), pool.padLeft = coin() ? 0 : between(0, pool.kW - 1);
  }
  // Every window holds a pixel.
  pool.outH = between(1, (pool.inH - 1 + pool.padTop) / pool.strideH + 1);
  pool.outW = between(1, (pool.inW - 1 + pool.padLeft) / pool.strideW + 1);
  if (coin()) {
    pool.outH = pool.inH / 2 > 0 ? pool.inH / 2 : pool.outH;
    pool.outW = pool.inW / 2 > 0 ? pool.inW / 2 : pool.outW;
    while ((pool.outH - 1) * pool.strideH - pool.padTop >= pool.inH) pool.outH--;
    while ((pool.outW - 1) * pool.strideW - pool.padLeft >= pool.inW) pool.outW--;
  }
  return pool;
}

/// A convolution of so many images that they may lie in the lanes.
Geometry manyImages() {
  Geometry g;
  g.kH = between(1, 3), g.kW = between(1, 3);
  g.strideH = between(1, 2), g.strideW = between(1, 2);
  g.padTop = g.padLeft = 0;
  g.batch = between(12, 36);
  g.outH = 2 * between(1, 4), g.outW = 2 * between(1, 2);
  g.inH = (g.outH - 1) * g.strideH + g.kH + between(0, 1), g.inW = (g.outW - 1) * g.strideW + g.kW;
  g.inC = between(1, 6), g.outC = between(17, 70);
  return g;
}

void convolutions(const Kernels& kernels, const Geometry& g) {
  const size_t in = static_cast<size_t>(g.batch) * g.inH * g.inW,
               out = static_cast<size_t>(g.batch) * g.outH * g.outW, C = g.inC, O = g.outC;
  const Floats x = values(in * C), w = values(static_cast<size_t>(g.kH) * g.kW * C * O),
               bias = values(O), kappa = values(out * O), scale = values(g.batch);
  const bool relu = coin(), withBias = coin(), withScale = coin();
  const auto weight = [&](int kh, int kw) { return (static_cast<size_t>(kh) * g.kW + kw) * C * O; };

  Sums y(out * O), dx(x.size()), dw(w.size()), db(O);
  for (size_t i = 0; i < y.size(); i++)
    if (withBias) y[i].add(bias[i % O]);
  forTaps(g, [&](size_t i, size_t o, int kh, int kw) {
    for (size_t c = 0; c < C; c++)
      for (size_t k = 0; k < O; k++) y[o * O + k].add(x[i * C + c], w[weight(kh, kw) + c * O + k]);
  });
  /// What the gradients are, given kappa of the convolution's output.
  const auto addGradients = [&](const Floats& of, Sums& byX, Sums& byW, Sums& byBias) {
    const auto factor = [&](size_t o) { return withScale ? scale[o / g.outH / g.outW] : 1; };
    for (size_t i = 0; i < of.size(); i++) byBias[i % O].add(of[i], factor(i / O));
    forTaps(g, [&](size_t i, size_t o, int kh, int kw) {
      for (size_t c = 0; c < C; c++)
        for (size_t k = 0; k < O; k++) {
          const size_t at = weight(kh, kw) + c * O + k;
          byX[i * C + c].add(of[o * O + k], w[at]);
          byW[at].add(x[i * C + c], of[o * O + k], factor(o));
        }
    });
  };
  addGradients(kappa, dx, dw, db);
  if (relu)
    for (Sum& sum : y) sum.clip();
  const std::string name = std::string(kernels.level) + " " + text(g);
  const float* scales = withScale ? scale.data() : nullptr;
  check("conv2d", name, {y.size()}, [&](Outputs& o) {
    kernels.conv2d(g, x.data(), w.data(), withBias ? bias.data() : nullptr, relu, o[0]);
  }, {y});
  const bang::Kappa direct = {kappa.data(), nullptr, nullptr};
  check("conv2dInputGradient", name, {dx.size()}, [&](Outputs& o) {
    kernels.conv2dInputGradient(g, direct, w.data(), o[0]);
  }, {dx});
  check("conv2dWeightGradient", name, {dw.size(), O}, [&](Outputs& o) {
    kernels.conv2dWeightGradient(g, x.data(), direct, scales, o[0], o[1]);
  }, {dw, db});

  // Fused with pooling: against the kernels apart, which have just been checked.
  const Geometry pool = poolingOf(g);
  const size_t pools = static_cast<size_t>(g.batch) * pool.outH * pool.outW;
  Floats whole(y.size()), pooled(pools * O);
  kernels.conv2d(g, x.data(), w.data(), bias.data(), false, whole.data());
  kernels.maxPool(pool, whole.data(), pooled.data());
  const Floats poolKappa = values(pooled.size());
  Outputs fused = check("conv2dMaxPool", name, Outputs({pooled.size()}, pooled.size()), [&](Outputs& o) {
    kernels.conv2dMaxPool(g, pool, x.data(), w.data(), bias.data(), o[0], o.bytes.data());
  }, {});
  for (size_t i = 0; i < pooled.size(); i++)
    if (fabsf(fused[0][i] - pooled[i]) > 1e-4f * (1 + fabsf(pooled[i])))
      fail(name + " conv2dMaxPool: not what convolution and pooling say");
  // Of two nearly equal maxima the fused kernel may choose the other: kappa goes where it says.
  Floats wholeKappa(y.size());
  size_t inside = 0;
  forTaps(pool, [&](size_t i, size_t o, int kh, int kw) {
    for (size_t k = 0; k < O; k++) {
      if (fused.bytes[o * O + k] != kh * pool.kW + kw) continue;
      if (fabsf(whole[i * O + k] - pooled[o * O + k]) > 1e-4f * (1 + fabsf(pooled[o * O + k])))
        fail(name + " conv2dMaxPool: the winner is not the largest");
      wholeKappa[i * O + k] += poolKappa[o * O + k];
      inside++;
    }
  });
  if (inside != pooled.size()) fail(name + " conv2dMaxPool: a winner outside its window");
  Sums dxPool(x.size()), dwPool(w.size()), dbPool(O), norms(g.batch);
  addGradients(wholeKappa, dxPool, dwPool, dbPool);
  for (size_t i = 0; i < wholeKappa.size(); i++)
    norms[i / O / g.outH / g.outW].add(wholeKappa[i], wholeKappa[i]);
  for (Sum& sum : norms) sum.size = sum.value = sqrt(sum.value);
  const bang::Kappa pooledKappa = {poolKappa.data(), fused.bytes.data(), &pool};
  check("conv2dInputGradient", name + ", pooled", {x.size()}, [&](Outputs& o) {
    kernels.conv2dInputGradient(g, pooledKappa, w.data(), o[0]);
  }, {dxPool});
  check("conv2dWeightGradient", name + ", pooled", {w.size(), O}, [&](Outputs& o) {
    kernels.conv2dWeightGradient(g, x.data(), pooledKappa, scales, o[0], o[1]);
  }, {dwPool, dbPool});
  check("pooledNorms", name, {norms.size()},
        [&](Outputs& o) { kernels.pooledNorms(pooledKappa, o[0]); }, {norms});
  // Bytes from elsewhere: nothing is touched beside the arrays.
  std::vector<uint8_t> wild(pooled.size());
  for (uint8_t& byte : wild) byte = static_cast<uint8_t>(bits());
  const bang::Kappa hostile = {poolKappa.data(), wild.data(), &pool};
  check("pooledNorms", name + ", any winners", {x.size(), w.size(), norms.size()}, [&](Outputs& o) {
    kernels.conv2dInputGradient(g, hostile, w.data(), o[0]);
    Floats byBias(O);
    kernels.conv2dWeightGradient(g, x.data(), hostile, scales, o[1], byBias.data());
    kernels.pooledNorms(hostile, o[2]);
  }, {});
}

void poolings(const Kernels& kernels) {
  Geometry g = randomGeometry(true);
  // Every window holds a pixel.
  while ((g.outH - 1) * g.strideH - g.padTop >= g.inH) g.outH--;
  while ((g.outW - 1) * g.strideW - g.padLeft >= g.inW) g.outW--;
  const size_t C = g.inC, in = static_cast<size_t>(g.batch) * g.inH * g.inW,
               out = static_cast<size_t>(g.batch) * g.outH * g.outW;
  const Floats x = values(in * C), dy = values(out * C);
  Sums largest(out * C), mean(out * C), dLargest(x.size()), dMean(x.size());
  std::vector<size_t> first(out * C);
  std::vector<int> pixels(out);
  for (Sum& sum : largest) sum.value = -INFINITY;
  forTaps(g, [&](size_t i, size_t o, int, int) {
    pixels[o]++;
    for (size_t c = 0; c < C; c++) {
      const float value = x[i * C + c];
      if (value > largest[o * C + c].value) {
        largest[o * C + c].value = value;
        first[o * C + c] = i * C + c;
      }
    }
  });
  forTaps(g, [&](size_t i, size_t o, int, int) {
    for (size_t c = 0; c < C; c++) {
      mean[o * C + c].add(x[i * C + c], 1.0 / pixels[o]);
      dMean[i * C + c].add(dy[o * C + c], 1.0 / pixels[o]);
    }
  });
  for (size_t o = 0; o < out * C; o++) dLargest[first[o]].add(dy[o]);
  const std::string name = std::string(kernels.level) + " " + text(g);
  check("maxPool", name, {out * C},
        [&](Outputs& o) { kernels.maxPool(g, x.data(), o[0]); }, {largest});
  check("maxPoolGradient", name, {x.size()},
        [&](Outputs& o) { kernels.maxPoolGradient(g, x.data(), dy.data(), o[0]); }, {dLargest});
  check("avgPool", name, {out * C},
        [&](Outputs& o) { kernels.avgPool(g, x.data(), o[0]); }, {mean});
  check("avgPoolGradient", name, {x.size()},
        [&](Outputs& o) { kernels.avgPoolGradient(g, dy.data(), o[0]); }, {dMean});
}

void products(const Kernels& kernels) {
  const int M = between(0, 20) == 0 ? 0 : between(1, coin() ? 20 : 150), N = between(1, coin() ? 20 : 150),
            K = between(0, 20) == 0 ? 0 : between(1, 150);
  const Floats a = values(static_cast<size_t>(M) * K), b = values(static_cast<size_t>(K) * N),
               bias = values(N), scale = values(K), rowScale = values(M), x = values(static_cast<size_t>(M) * N);
  const bool transposeA = coin(), transposeB = coin(), relu = coin(), withScale = coin(),
             withBias = coin();
  Sums c(static_cast<size_t>(M) * N), sums(N);
  for (int m = 0; m < M; m++)
    for (int n = 0; n < N; n++) {
      Sum& sum = c[static_cast<size_t>(m) * N + n];
      if (withBias) sum.add(bias[n]);
      for (int k = 0; k < K; k++)
        sum.add(a[transposeA ? k * M + m : m * K + k], b[transposeB ? n * K + k : k * N + n],
                withScale ? scale[k] : 1);
      if (relu) sum.clip();
      sums[n].add(x[static_cast<size_t>(m) * N + n], withScale ? rowScale[m] : 1);
    }
  const std::string name = std::string(kernels.level) + " M " + std::to_string(M) + " N " +
                           std::to_string(N) + " K " + std::to_string(K);
  check("matMul", name, {c.size()}, [&](Outputs& o) {
    kernels.matMul(M, N, K, a.data(), transposeA, b.data(), transposeB,
                   withScale ? scale.data() : nullptr, withBias ? bias.data() : nullptr, relu, o[0]);
  }, {c});
  check("columnSums", name, {sums.size()}, [&](Outputs& o) {
    kernels.columnSums(M, N, x.data(), withScale ? rowScale.data() : nullptr, o[0]);
  }, {sums});
}

void elementwise(const Kernels& kernels) {
  const int N = between(0, 9), D = between(1, coin() ? 40 : 9000);
  const size_t count = static_cast<size_t>(N) * D;
  const Floats a = values(count), b = values(count), mean = values(D), scale = values(N);
  Sums relu(count), reluGradient(count), product(count), normalized(count), perturbed(count),
      unit(count), norms(N), etas(N), velocity(count), weight(count), loss(N), gradient(count), correct(N);
  const bool withMean = coin();
  std::vector<int32_t> labels, rows;
  for (int n = 0; n < N; n++) rows.push_back(between(0, N - 1));
  double largest = 0;
  for (int n = 0; n < N; n++) {
    double squares = 0, top = -INFINITY, exponentials = 0, farthest = 0;
    int best = 0;
    labels.push_back(between(0, D - 1));
    for (int d = 0; d < D; d++) {
      const size_t i = static_cast<size_t>(n) * D + d;
      relu[i].add(a[i] > 0 ? a[i] : 0);
      reluGradient[i].add(a[i] > 0 ? b[i] : 0);
      product[i].add(a[i], b[i]);
      normalized[i].add(a[i], 0.25);
      normalized[i].add(withMean ? mean[d] : 0, -0.25);
      // Halves are exact, and so are pixels moved by them.
      const double half = 0.5 * rintf(200 * a[static_cast<size_t>(rows[n]) * D + d]);
      perturbed[i].add(fmin(fmax(rint(100 + half), 0), 255));
      velocity[i].add(0.9f, a[i]);
      velocity[i].add(0.5f, b[i]);
      velocity[i].add(0.5f * 0.125f, a[i]);
      weight[i].add(a[i]);
      weight[i].add(-velocity[i].value);
      weight[i].size += velocity[i].size;
      squares += static_cast<double>(a[i]) * a[i];
      if (a[i] > top) top = a[i], best = d;
      farthest = fmax(farthest, fabsf(a[i]));
    }
    for (int d = 0; d < D; d++) {
      const size_t i = static_cast<size_t>(n) * D + d;
      unit[i].add(farthest > 0 ? a[i] / farthest : 0);
    }
    for (int d = 0; d < D; d++) exponentials += exp(a[static_cast<size_t>(n) * D + d] - top);
    for (int d = 0; d < D; d++) {
      Sum& sum = gradient[static_cast<size_t>(n) * D + d];
      sum.add(0.5 * exp(a[static_cast<size_t>(n) * D + d] - top) / exponentials);
      if (d == labels[n]) sum.add(-0.5);
      sum.size *= 10;
    }
    loss[n].add(log(exponentials));
    loss[n].add(top - a[static_cast<size_t>(n) * D + labels[n]]);
    loss[n].size = 10 * (loss[n].size + 1);
    correct[n].add(best == labels[n]);
    norms[n].add(sqrt(squares));
    norms[n].size *= 10;
    largest = fmax(largest, norms[n].value);
  }
  Floats norm(N);
  for (int n = 0; n < N; n++) {
    norm[n] = static_cast<float>(norms[n].value);
    etas[n].add(norm[n] > 0 ? pow(largest / norm[n], scale[n] * (1 - norm[n] / largest)) : 1);
    etas[n].size *= 10;
  }
  const std::string name =
      std::string(kernels.level) + " N " + std::to_string(N) + " D " + std::to_string(D);
  check("relu", name, {count}, [&](Outputs& o) { kernels.relu(count, a.data(), o[0]); }, {relu});
  check("reluGradient", name, {count},
        [&](Outputs& o) { kernels.reluGradient(count, a.data(), b.data(), o[0]); }, {reluGradient});
  check("multiply", name, {count},
        [&](Outputs& o) { kernels.multiply(count, a.data(), b.data(), o[0]); }, {product});
  check("softmaxCrossEntropy", name, {static_cast<size_t>(N), count, static_cast<size_t>(N)}, [&](Outputs& o) {
    kernels.softmaxCrossEntropy(N, D, a.data(), labels.data(), 0.5f, o[0], o[1], o[2]);
  }, {loss, gradient, correct});
  check("rowNorms", name, {static_cast<size_t>(N)},
        [&](Outputs& o) { kernels.rowNorms(N, D, a.data(), o[0]); }, {norms});
  check("eta", name, {static_cast<size_t>(N)},
        [&](Outputs& o) { kernels.eta(N, norm.data(), scale.data(), o[0]); }, {etas});
  Outputs sgd({0, 0});
  sgd.floats = {a, a};
  check("sgd", name, sgd, [&](Outputs& o) {
    kernels.sgd({o[0], o[1], b.data(), count, 0.5f, 0.9f, 0.125f});
  }, {weight, velocity});
  check("normalize", name, {count}, [&](Outputs& o) {
    kernels.normalize(N, D, a.data(), withMean ? mean.data() : nullptr, 0.25f, o[0]);
  }, {normalized});
  Floats pixels(count, 100.0f), halves(count), ones(N, 0.5f);
  for (size_t i = 0; i < count; i++) halves[i] = rintf(200 * a[i]);
  check("perturb", name, {count}, [&](Outputs& o) {
    kernels.perturb(N, D, pixels.data(), halves.data(), rows.data(), ones.data(), o[0]);
  }, {perturbed});
  check("overLargest", name, {count},
        [&](Outputs& o) { kernels.overLargest(N, D, a.data(), o[0]); }, {unit});
}

/// The generator's words at one counter, as its authors describe it.
void philox(uint32_t (&c)[4], uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; round++, key0 += 0x9E3779B9u, key1 += 0xBB67AE85u) {
    const uint64_t a = uint64_t{0xD2511F53u} * c[0], b = uint64_t{0xCD9E8D57u} * c[2];
    const uint32_t next[4] = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ key0, static_cast<uint32_t>(b),
                              static_cast<uint32_t>(a >> 32) ^ c[3] ^ key1, static_cast<uint32_t>(a)};
    memcpy(c, next, sizeof next);
  }
}

void noises(const Kernels& kernels) {
  const int N = between(0, 9), D = between(1, 3000), firstCopy = between(0, 1000);
  std::vector<uint32_t> thresholds(static_cast<size_t>(between(0, 600)));
  for (uint32_t& threshold : thresholds) threshold = bits() << between(0, 31);
  thresholds.push_back(0xffffffffu);
  std::sort(thresholds.begin(), thresholds.end());
  const int lowest = -static_cast<int>(thresholds.size() / 2);
  const bang::Noise noise = {bits(), bits(), bits(), static_cast<uint32_t>(firstCopy),
                             bits(), thresholds.data(), lowest};
  Floats x(D);
  for (float& pixel : x) pixel = static_cast<float>(between(0, 255));
  Sums expected(static_cast<size_t>(N) * D);
  for (int n = 0; n < N; n++)
    for (int p = 0; p < D; p++) {
      uint32_t words[4] = {static_cast<uint32_t>(p / 4), static_cast<uint32_t>(firstCopy + n),
                           noise.image, noise.sigma};
      philox(words, noise.seed, noise.purpose);
      const auto below = std::lower_bound(thresholds.begin(), thresholds.end(), words[p % 4]);
      const double moved = x[p] + lowest + static_cast<double>(below - thresholds.begin());
      expected[static_cast<size_t>(n) * D + p].add(fmin(fmax(moved, 0), 255));
    }
  check("addNoise", std::string(kernels.level) + " N " + std::to_string(N) + " D " + std::to_string(D),
        {expected.size()},
        [&](Outputs& o) { kernels.addNoise(N, D, x.data(), noise, o[0]); }, {expected});
}

/// A whole network in one call: bit for bit what the kernels give layer by layer.
void networks(const Kernels& kernels) {
  using bang::ForwardLayer;
  std::vector<ForwardLayer> layers;
  std::vector<Floats> parameters;
  parameters.reserve(20);
  const auto drawn = [&](size_t size) { return parameters.emplace_back(values(size)).data(); };
  const int N = between(0, 10) == 0 ? 0 : between(1, 40), images = between(0, 4), dense = between(1, 3);
  const int H = between(1, 12), W = between(1, 12), C = between(1, 6);
  int h = H, w = W, c = C;
  for (int i = 0; i < images + dense; i++) {
    if (i >= images) {
      const int outputs = between(1, 40);
      const Geometry g = {N, h, w, c, 1, 1, outputs, 1, 1, 1, 1, 0, 0};
      const float* weight = drawn(static_cast<size_t>(h) * w * c * outputs);
      layers.push_back({ForwardLayer::DENSE, coin(), g, weight, drawn(outputs)});
    } else {
      const auto kind = static_cast<ForwardLayer::Kind>(coin() ? 0 : between(2, 3));
      Geometry g = randomGeometry(kind != ForwardLayer::CONV);
      g.batch = N, g.inH = h, g.inW = w, g.inC = c;
      if (kind != ForwardLayer::CONV) g.outC = c;
      const auto outputs = [](int in, int pad, int kernel, int stride, bool convolution) {
        // A convolution's windows may lie outside the image.
        return between(1, (in + pad - 1) / stride + 1 + (convolution ? kernel / stride : 0));
      };
      g.outH = outputs(h, g.padTop, g.kH, g.strideH, kind == ForwardLayer::CONV);
      g.outW = outputs(w, g.padLeft, g.kW, g.strideW, kind == ForwardLayer::CONV);
      const float *weight = nullptr, *bias = nullptr;
      if (kind == ForwardLayer::CONV) {
        weight = drawn(static_cast<size_t>(g.kH) * g.kW * c * g.outC);
        bias = drawn(g.outC);
      }
      layers.push_back({kind, coin(), g, weight, bias});
    }
    const Geometry& g = layers.back().geometry;
    h = g.outH, w = g.outW, c = g.outC;
  }
  const size_t D = static_cast<size_t>(H) * W * C;
  const Floats x = values(D * N), mean = values(D);
  const bool withMean = coin();
  std::string name = std::string(kernels.level);
  Floats have(x.size());
  kernels.normalize(N, static_cast<int>(D), x.data(), withMean ? mean.data() : nullptr, 0.5f, have.data());
  for (const ForwardLayer& layer : layers) {
    const Geometry& g = layer.geometry;
    name += " " + std::to_string(layer.kind) + " (" + text(g) + ")";
    Floats y(static_cast<size_t>(N) * g.outH * g.outW * g.outC);
    if (layer.kind == ForwardLayer::CONV)
      kernels.conv2d(g, have.data(), layer.weight, layer.bias, layer.relu, y.data());
    else if (layer.kind == ForwardLayer::DENSE)
      kernels.matMul(N, g.outC, g.inH * g.inW * g.inC, have.data(), false, layer.weight, false,
                     nullptr, layer.bias, layer.relu, y.data());
    else
      (layer.kind == ForwardLayer::MAX_POOL ? kernels.maxPool : kernels.avgPool)(g, have.data(), y.data());
    // A pooling's ReLU is a kernel of its own.
    have = y;
    if (layer.relu) kernels.relu(y.size(), y.data(), have.data());
  }
  Outputs whole = check("forward", name, {have.size()}, [&](Outputs& o) {
    kernels.forward(layers.data(), static_cast<int>(layers.size()), N, x.data(),
                    withMean ? mean.data() : nullptr, 0.5f, o[0]);
  }, {});
  if (!same(whole.floats[0], have)) fail("forward, " + name + ": not what its layers give one by one");
}

/// Tasks that find no memory: whoever called learns of it when none of them runs any more, and the
/// threads go on.
void failures() {
  for (int threads : {1, 2, 5}) {
    bang::setThreads(threads);
    std::atomic<int> running{0}, done{0};
    const auto task = [&](int i) {
      running++;
      std::this_thread::yield();
      running--;
      if (i % 7 == 3) throw std::bad_alloc();
      done++;
    };
    const auto runAll = [&](int count) {
      bang::parallelFor(
          count, [](void* context, int i) { (*static_cast<decltype(task)*>(context))(i); },
          const_cast<void*>(static_cast<const void*>(&task)));
    };
    bool thrown = false;
    try {
      runAll(100);
    } catch (const std::bad_alloc&) {
      thrown = true;
    }
    if (!thrown || running != 0) fail("a task's exception was lost, or came too early");
    done = 0;
    runAll(3);
    if (done != 3) fail("no tasks are done after an exception");
  }
}

}  // namespace

int main(int count, char** arguments) {
  const int trials = count > 1 ? atoi(arguments[1]) : 40;
  for (const Kernels* kernels : bang::availableLevels()) {
    generator.seed(1);
    hash = 14695981039346656037u;
    for (int trial = 0; trial < trials; trial++) {
      convolutions(*kernels, randomGeometry(false));
      poolings(*kernels);
      products(*kernels);
      elementwise(*kernels);
      networks(*kernels);
      noises(*kernels);
      if (trial + 1 == HASHED_TRIALS && hash != (isFused(*kernels) ? FUSED_HASH : OTHER_HASH))
        fail(std::string(kernels->level) + ": other bits than other processors give");
    }
    for (int trial = 0; trial < trials; trial++) convolutions(*kernels, manyImages());
    printf("%s: %d trials\n", kernels->level, trials);
  }
#define KERNEL(name, ...) if (!checked.count(#name)) fail(#name " is not tested");
#include "../../native/kernels.def"
  for (int trial = 0; trial < trials; trial++) failures();
  // The sanitizers look for leaks and for threads that are left.
  bang::setThreads(1);
}
