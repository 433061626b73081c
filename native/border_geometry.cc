// The border of the kernels that take a geometry: convolutions, poolings, whole networks.
#include "border.h"

namespace bang {
namespace border {
namespace {

/// A max pooling whose winners are bytes.
Geometry maxPooling(Arguments& in) {
  const Geometry pool = in.geometry(true);
  if (pool.kH > MOST_POOL_PIXELS / pool.kW)
    fail("pool: a window has more than ", MOST_POOL_PIXELS, " pixels");
  return pool;
}

/// The max pooling of a convolution's output.
Geometry maxPoolingOf(const Geometry& g, Arguments& in) {
  const Geometry pool = maxPooling(in);
  if (pool.batch != g.batch || pool.inH != g.outH || pool.inW != g.outW || pool.inC != g.outC)
    fail("pool: its input is not the convolution's output");
  return pool;
}

/// The winners of a pooling, and kappa of its output. Winners may be any bytes, because the kernels never
/// write outside a window.
Kappa pooledKappa(Arguments& in, const Geometry& pool) {
  const uint8_t* winner = in.bytes("winner", {pool.batch, pool.outH, pool.outW, pool.outC});
  return {in.floats("kappa", {pool.batch, pool.outH, pool.outW, pool.outC}), winner, &pool};
}

/// A pooling of the convolution's output, its winners, and kappa of the pooled output; or null, null, and
/// kappa of the convolution's own output. The result refers to `pool`.
Kappa kappaOf(const Geometry& g, Arguments& in, Geometry& pool) {
  if (in.skipNull()) {
    if (!in.skipNull()) fail("winner: expected null where there is no pooling");
    return {in.floats("kappa", {g.batch, g.outH, g.outW, g.outC}), nullptr, nullptr};
  }
  pool = maxPoolingOf(g, in);
  return pooledKappa(in, pool);
}

}  // namespace

void conv2d(Arguments& in) {
  const Geometry g = in.geometry(false);
  const float* x = in.floats("x", {g.batch, g.inH, g.inW, g.inC});
  const float* w = in.floats("filter", {g.kH, g.kW, g.inC, g.outC});
  const float* bias = in.floatsOrNull("bias", {g.outC});
  const bool relu = in.flag();
  kernels->conv2d(g, x, w, bias, relu, in.output("y", {g.batch, g.outH, g.outW, g.outC}));
}

void conv2dMaxPool(Arguments& in) {
  const Geometry g = in.geometry(false);
  const Geometry pool = maxPoolingOf(g, in);
  const float* x = in.floats("x", {g.batch, g.inH, g.inW, g.inC});
  const float* w = in.floats("filter", {g.kH, g.kW, g.inC, g.outC});
  const float* bias = in.floats("bias", {g.outC});
  float* y = in.output("y", {g.batch, pool.outH, pool.outW, pool.outC});
  uint8_t* winner = in.outputBytes("winner", {g.batch, pool.outH, pool.outW, pool.outC});
  kernels->conv2dMaxPool(g, pool, x, w, bias, y, winner);
}

void conv2dInputGradient(Arguments& in) {
  const Geometry g = in.geometry(false);
  Geometry pool;
  const Kappa kappa = kappaOf(g, in, pool);
  const float* w = in.floats("filter", {g.kH, g.kW, g.inC, g.outC});
  kernels->conv2dInputGradient(g, kappa, w, in.output("dx", {g.batch, g.inH, g.inW, g.inC}));
}

void conv2dWeightGradient(Arguments& in) {
  const Geometry g = in.geometry(false);
  const float* x = in.floats("x", {g.batch, g.inH, g.inW, g.inC});
  Geometry pool;
  const Kappa kappa = kappaOf(g, in, pool);
  const float* scale = in.floatsOrNull("scale", {g.batch});
  float* dw = in.output("dw", {g.kH, g.kW, g.inC, g.outC});
  kernels->conv2dWeightGradient(g, x, kappa, scale, dw, in.output("db", {g.outC}));
}

void pooledNorms(Arguments& in) {
  const Geometry pool = maxPooling(in);
  const Kappa kappa = pooledKappa(in, pool);
  kernels->pooledNorms(kappa, in.output("norm", {pool.batch}));
}

void maxPool(Arguments& in) {
  const Geometry g = in.geometry(true);
  const float* x = in.floats("x", {g.batch, g.inH, g.inW, g.inC});
  kernels->maxPool(g, x, in.output("y", {g.batch, g.outH, g.outW, g.outC}));
}

void maxPoolGradient(Arguments& in) {
  const Geometry g = in.geometry(true);
  const float* x = in.floats("x", {g.batch, g.inH, g.inW, g.inC});
  const float* dy = in.floats("dy", {g.batch, g.outH, g.outW, g.outC});
  kernels->maxPoolGradient(g, x, dy, in.output("dx", {g.batch, g.inH, g.inW, g.inC}));
}

void avgPool(Arguments& in) {
  const Geometry g = in.geometry(true);
  const float* x = in.floats("x", {g.batch, g.inH, g.inW, g.inC});
  kernels->avgPool(g, x, in.output("y", {g.batch, g.outH, g.outW, g.outC}));
}

void avgPoolGradient(Arguments& in) {
  const Geometry g = in.geometry(true);
  const float* dy = in.floats("dy", {g.batch, g.outH, g.outW, g.outC});
  kernels->avgPoolGradient(g, dy, in.output("dx", {g.batch, g.inH, g.inW, g.inC}));
}

/// program: for each layer its kind, 1 if ReLU follows (else 0), and its geometry. The logits are followed by
/// the weight and bias of each layer that has them.
void forward(Arguments& in) {
  constexpr int FIELDS = 15;
  const int count = in.size("layers");
  if (count < 1 || count > MOST_FORWARD_LAYERS) fail("layers: too many or none");
  const int32_t* program = in.integers("program", {count, FIELDS});
  ForwardLayer layers[MOST_FORWARD_LAYERS];
  const auto kindOf = [&](int i) { return static_cast<ForwardLayer::Kind>(program[i * FIELDS]); };
  for (int i = 0; i < count; i++) {
    const auto kind = kindOf(i);
    if (kind < ForwardLayer::CONV || kind > ForwardLayer::AVG_POOL) fail("program: no such kind");
    const bool pooling = kind == ForwardLayer::MAX_POOL || kind == ForwardLayer::AVG_POOL;
    const Geometry g = in.geometryIn(program + i * FIELDS + 2, pooling);
    layers[i] = {kind, program[i * FIELDS + 1] != 0, g, nullptr, nullptr};
    // Bounds the memory of a thread, which interleaves up to 16 images.
    const int limit = 1 << 22;
    if (g.inH * g.inW * g.inC > limit || g.outH * g.outW * g.outC > limit)
      fail("program: an image has more than 2^22 values");
    if (kind == ForwardLayer::DENSE && (g.outH != 1 || g.outW != 1))
      fail("program: an inner product has one pixel");
    if (i == 0) continue;
    const Geometry& before = layers[i - 1].geometry;
    const bool dense = kind == ForwardLayer::DENSE;
    if (g.batch != before.batch ||
        (dense ? g.inH * g.inW * g.inC != before.outH * before.outW * before.outC
               : kindOf(i - 1) == ForwardLayer::DENSE || g.inH != before.outH ||
                     g.inW != before.outW || g.inC != before.outC))
      fail("program: layers do not fit each other");
  }
  if (kindOf(count - 1) != ForwardLayer::DENSE) fail("program: no inner product at the end");
  const Geometry &first = layers[0].geometry, &last = layers[count - 1].geometry;
  const float* x = in.floats("x", {first.batch, first.inH, first.inW, first.inC});
  const float* mean = in.floatsOrNull("mean", {first.inH, first.inW, first.inC});
  const float factor = in.number("factor");
  float* logits = in.output("logits", {last.batch, last.outC});
  for (int i = 0; i < count; i++) {
    const Geometry& g = layers[i].geometry;
    if (layers[i].kind == ForwardLayer::CONV)
      layers[i].weight = in.floats("weight", {g.kH, g.kW, g.inC, g.outC});
    else if (layers[i].kind == ForwardLayer::DENSE)
      layers[i].weight = in.floats("weight", {g.inH, g.inW, g.inC, g.outC});
    else
      continue;
    layers[i].bias = in.floats("bias", {g.outC});
  }
  kernels->forward(layers, count, first.batch, x, mean, factor, logits);
}

}  // namespace border
}  // namespace bang
