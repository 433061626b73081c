// The border to JavaScript: checks every shape, length and number, then calls the kernels of the
// best level this processor has. Nothing that a caller passes may crash the process.
#include <napi.h>

#include <cmath>
#include <exception>
#include <initializer_list>
#include <new>
#include <string>

#include "kernels.h"
#include "levels.h"
#include "threads.h"

namespace {

using bang::availableLevels;
using bang::Kernels;
using bang::Geometry;

const Kernels* kernels = nullptr;

[[noreturn]] void fail(const Napi::CallbackInfo& info, const std::string& message) {
  throw Napi::TypeError::New(info.Env(), message);
}

/// The arguments of one call, read in order. Sizes are below 2^31 so that products of two of them
/// fit 64 bits, and no array is longer than that.
class Arguments {
 public:
  explicit Arguments(const Napi::CallbackInfo& info) : info_(info) {}

  int size(const char* name) {
    const Napi::Value value = info_[next_++];
    const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
    if (!(number >= 0 && number < 2147483648.0) || number != std::floor(number))
      fail(info_, std::string(name) + " must be a whole number from 0 to 2^31-1");
    return static_cast<int>(number);
  }
  float number(const char* name) {
    const Napi::Value value = info_[next_++];
    if (!value.IsNumber()) fail(info_, std::string(name) + " must be a number");
    return value.As<Napi::Number>().FloatValue();
  }
  bool flag() { return info_[next_++].ToBoolean().Value(); }

  float* floats(const char* name, std::initializer_list<int> shape) {
    const Napi::Value value = info_[next_++];
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array)
      fail(info_, std::string(name) + " must be a Float32Array");
    auto array = value.As<Napi::Float32Array>();
    checkLength(name, array.ElementLength(), shape);
    return array.Data();
  }
  /// Whether the next argument is null or undefined, which is then passed over.
  bool skipNull() {
    const bool none = info_[next_].IsNull() || info_[next_].IsUndefined();
    if (none) next_++;
    return none;
  }
  float* floatsOrNull(const char* name, std::initializer_list<int> shape) {
    return skipNull() ? nullptr : floats(name, shape);
  }
  /// Winners of a pooling; whatever their numbers are, the kernels write only inside of a window.
  uint8_t* bytes(const char* name, std::initializer_list<int> shape) {
    const Napi::Value value = info_[next_++];
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
      fail(info_, std::string(name) + " must be a Uint8Array");
    auto array = value.As<Napi::Uint8Array>();
    checkLength(name, array.ElementLength(), shape);
    return array.Data();
  }
  int32_t* integers(const char* name, std::initializer_list<int> shape) {
    const Napi::Value value = info_[next_++];
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array)
      fail(info_, std::string(name) + " must be an Int32Array");
    auto array = value.As<Napi::Int32Array>();
    checkLength(name, array.ElementLength(), shape);
    return array.Data();
  }

  /// From `least` to `most` values; how many goes to `count`.
  uint32_t* words(const char* name, int least, int most, int* count = nullptr) {
    const Napi::Value value = info_[next_++];
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array)
      fail(info_, std::string(name) + " must be a Uint32Array");
    auto array = value.As<Napi::Uint32Array>();
    const size_t length = array.ElementLength();
    if (length < static_cast<size_t>(least) || length > static_cast<size_t>(most))
      fail(info_, std::string(name) + " has " + std::to_string(length) + " values, expected " +
                      std::to_string(least) + " to " + std::to_string(most));
    if (count) *count = static_cast<int>(length);
    return array.Data();
  }

  /// [batch, inH, inW, inC, outH, outW, outC, kH, kW, strideH, strideW, padTop, padLeft]
  Geometry geometry(bool pooling) { return geometryIn(integers("geometry", {13}), pooling); }
  Geometry geometryIn(const int32_t* v, bool pooling) {
    const Geometry g = {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12]};
    // Bounds that keep every product of the kernels inside 31 bits an image, 63 bits a batch.
    const bool positive = g.batch >= 0 && g.inH > 0 && g.inW > 0 && g.inC > 0 && g.outH > 0 &&
                          g.outW > 0 && g.outC > 0 && g.kH > 0 && g.kW > 0 && g.strideH > 0 &&
                          g.strideW > 0 && g.padTop >= 0 && g.padLeft >= 0;
    if (!positive) fail(info_, "geometry: every extent must be positive");
    const double limit = 1 << 28;
    const double paddedH = (g.outH - 1.0) * g.strideH + g.kH;
    const double paddedW = (g.outW - 1.0) * g.strideW + g.kW;
    // A single window has a stride, too, though it leads nowhere.
    if (static_cast<double>(g.strideH) * g.inC > limit || static_cast<double>(g.strideW) * g.inC > limit)
      fail(info_, "geometry: a stride is longer than 2^28 values");
    if (static_cast<double>(g.inH) * g.inW * g.inC > limit || paddedH * paddedW * g.inC > limit ||
        static_cast<double>(g.outH) * g.outW * g.outC > limit ||
        static_cast<double>(g.kH) * g.kW * g.inC * g.outC > limit)
      fail(info_, "geometry: an image or a filter has more than 2^28 values");
    if (g.padTop >= g.kH || g.padLeft >= g.kW)
      fail(info_, "geometry: the padding must be smaller than the window");
    // Each window of a pooling must hold at least one pixel of the image.
    if (pooling && (g.inC != g.outC || (g.outH - 1.0) * g.strideH - g.padTop >= g.inH ||
                    (g.outW - 1.0) * g.strideW - g.padLeft >= g.inW))
      fail(info_, "geometry: a pooling window lies outside the image");
    return g;
  }

  void label(const int32_t* labels, int count, int classes) {
    for (int i = 0; i < count; i++)
      if (labels[i] < 0 || labels[i] >= classes)
        fail(info_, "label " + std::to_string(labels[i]) + " is not one of " +
                        std::to_string(classes) + " classes");
  }

 private:
  void checkLength(const char* name, size_t length, std::initializer_list<int> shape) {
    double expected = 1;
    for (int extent : shape) expected *= extent;
    if (static_cast<double>(length) != expected)
      fail(info_, std::string(name) + " has " + std::to_string(length) + " values, expected " +
                      std::to_string(static_cast<long long>(expected)));
  }

  const Napi::CallbackInfo& info_;
  size_t next_ = 0;
};

void conv2d(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const Geometry g = in.geometry(false);
  const float* x = in.floats("x", {g.batch, g.inH, g.inW, g.inC});
  const float* w = in.floats("filter", {g.kH, g.kW, g.inC, g.outC});
  const float* bias = in.floatsOrNull("bias", {g.outC});
  const bool relu = in.flag();
  kernels->conv2d(g, x, w, bias, relu, in.floats("y", {g.batch, g.outH, g.outW, g.outC}));
}

/// A max pooling whose winners are bytes.
Geometry maxPooling(const Napi::CallbackInfo& info, Arguments& in) {
  const Geometry pool = in.geometry(true);
  if (pool.kH > bang::MOST_POOL_PIXELS / pool.kW)
    fail(info, "pool: a window has more than " + std::to_string(bang::MOST_POOL_PIXELS) + " pixels");
  return pool;
}

/// The one behind a convolution.
Geometry maxPoolingOf(const Geometry& g, const Napi::CallbackInfo& info, Arguments& in) {
  const Geometry pool = maxPooling(info, in);
  if (pool.batch != g.batch || pool.inH != g.outH || pool.inW != g.outW || pool.inC != g.outC)
    fail(info, "pool: not a pooling of what the convolution gives");
  return pool;
}

void conv2dMaxPool(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const Geometry g = in.geometry(false);
  const Geometry pool = maxPoolingOf(g, info, in);
  const float* x = in.floats("x", {g.batch, g.inH, g.inW, g.inC});
  const float* w = in.floats("filter", {g.kH, g.kW, g.inC, g.outC});
  const float* bias = in.floats("bias", {g.outC});
  float* y = in.floats("y", {g.batch, pool.outH, pool.outW, pool.outC});
  uint8_t* winner = in.bytes("winner", {g.batch, pool.outH, pool.outW, pool.outC});
  kernels->conv2dMaxPool(g, pool, x, w, bias, y, winner);
}

/// A pooling, its winners and kappa of its output.
bang::Kappa pooledKappa(Arguments& in, const Geometry& pool) {
  const uint8_t* winner = in.bytes("winner", {pool.batch, pool.outH, pool.outW, pool.outC});
  return {in.floats("kappa", {pool.batch, pool.outH, pool.outW, pool.outC}), winner, &pool};
}

/// The same behind a convolution; or null, null and kappa of the convolution's own output.
bang::Kappa kappaOf(const Geometry& g, const Napi::CallbackInfo& info, Arguments& in, Geometry& pool) {
  if (in.skipNull()) {
    if (!in.skipNull()) fail(info, "winner: expected null where there is no pooling");
    return {in.floats("kappa", {g.batch, g.outH, g.outW, g.outC}), nullptr, nullptr};
  }
  pool = maxPoolingOf(g, info, in);
  return pooledKappa(in, pool);
}

void conv2dInputGradient(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const Geometry g = in.geometry(false);
  Geometry pool;
  const bang::Kappa kappa = kappaOf(g, info, in, pool);
  const float* w = in.floats("filter", {g.kH, g.kW, g.inC, g.outC});
  kernels->conv2dInputGradient(g, kappa, w, in.floats("dx", {g.batch, g.inH, g.inW, g.inC}));
}

void conv2dWeightGradient(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const Geometry g = in.geometry(false);
  const float* x = in.floats("x", {g.batch, g.inH, g.inW, g.inC});
  Geometry pool;
  const bang::Kappa kappa = kappaOf(g, info, in, pool);
  const float* scale = in.floatsOrNull("scale", {g.batch});
  float* dw = in.floats("dw", {g.kH, g.kW, g.inC, g.outC});
  float* db = in.floatsOrNull("db", {g.outC});
  kernels->conv2dWeightGradient(g, x, kappa, scale, dw, db);
}

void pooledNorms(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const Geometry pool = maxPooling(info, in);
  const bang::Kappa kappa = pooledKappa(in, pool);
  kernels->pooledNorms(kappa, in.floats("norm", {pool.batch}));
}

void matMul(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const int M = in.size("M"), N = in.size("N"), K = in.size("K");
  const float* a = in.floats("a", {M, K});
  const bool transposeA = in.flag();
  const float* b = in.floats("b", {K, N});
  const bool transposeB = in.flag();
  const float* scale = in.floatsOrNull("scale", {K});
  const float* bias = in.floatsOrNull("bias", {N});
  const bool relu = in.flag();
  kernels->matMul(M, N, K, a, transposeA, b, transposeB, scale, bias, relu,
                  in.floats("c", {M, N}));
}

void columnSums(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const int R = in.size("rows"), C = in.size("columns");
  const float* x = in.floats("x", {R, C});
  const float* scale = in.floatsOrNull("scale", {R});
  kernels->columnSums(R, C, x, scale, in.floats("sums", {C}));
}

void maxPool(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const Geometry g = in.geometry(true);
  const float* x = in.floats("x", {g.batch, g.inH, g.inW, g.inC});
  kernels->maxPool(g, x, in.floats("y", {g.batch, g.outH, g.outW, g.outC}));
}

void maxPoolGradient(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const Geometry g = in.geometry(true);
  const float* x = in.floats("x", {g.batch, g.inH, g.inW, g.inC});
  const float* dy = in.floats("dy", {g.batch, g.outH, g.outW, g.outC});
  kernels->maxPoolGradient(g, x, dy, in.floats("dx", {g.batch, g.inH, g.inW, g.inC}));
}

void avgPool(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const Geometry g = in.geometry(true);
  const float* x = in.floats("x", {g.batch, g.inH, g.inW, g.inC});
  kernels->avgPool(g, x, in.floats("y", {g.batch, g.outH, g.outW, g.outC}));
}

void avgPoolGradient(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const Geometry g = in.geometry(true);
  const float* dy = in.floats("dy", {g.batch, g.outH, g.outW, g.outC});
  kernels->avgPoolGradient(g, dy, in.floats("dx", {g.batch, g.inH, g.inW, g.inC}));
}

void relu(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const int count = in.size("count");
  const float* x = in.floats("x", {count});
  kernels->relu(static_cast<size_t>(count), x, in.floats("y", {count}));
}

void reluGradient(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const int count = in.size("count");
  const float* y = in.floats("y", {count});
  const float* dy = in.floats("dy", {count});
  kernels->reluGradient(static_cast<size_t>(count), y, dy, in.floats("dx", {count}));
}

void multiply(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const int count = in.size("count");
  const float* a = in.floats("a", {count});
  const float* b = in.floats("b", {count});
  kernels->multiply(static_cast<size_t>(count), a, b, in.floats("y", {count}));
}

void softmaxCrossEntropy(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const int N = in.size("batch"), C = in.size("classes");
  const float* logits = in.floats("logits", {N, C});
  const int32_t* labels = in.integers("labels", {N});
  in.label(labels, N, C);
  const float factor = in.number("factor");
  float* loss = in.floats("loss", {N});
  float* gradient = in.floats("gradient", {N, C});
  kernels->softmaxCrossEntropy(N, C, logits, labels, factor, loss, gradient,
                               in.floats("correct", {N}));
}

void rowNorms(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const int N = in.size("batch"), D = in.size("values");
  const float* x = in.floats("x", {N, D});
  kernels->rowNorms(N, D, x, in.floats("norm", {N}));
}

void eta(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const int N = in.size("batch");
  const float* norm = in.floats("norm", {N});
  const float* epsilonHat = in.floats("epsilonHat", {N});
  kernels->eta(N, norm, epsilonHat, in.floats("eta", {N}));
}

void sgd(const Napi::CallbackInfo& info) {
  Arguments in(info);
  bang::SgdStep step;
  const int count = in.size("count");
  step.count = static_cast<size_t>(count);
  step.weight = in.floats("weight", {count});
  step.velocity = in.floats("velocity", {count});
  step.gradient = in.floats("gradient", {count});
  step.rate = in.number("rate");
  step.momentum = in.number("momentum");
  step.decay = in.number("decay");
  kernels->sgd(step);
}

void normalize(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const int N = in.size("batch"), D = in.size("values");
  const float* x = in.floats("x", {N, D});
  const float* mean = in.floatsOrNull("mean", {D});
  const float factor = in.number("factor");
  kernels->normalize(N, D, x, mean, factor, in.floats("y", {N, D}));
}

void overLargest(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const int N = in.size("batch"), D = in.size("values");
  const float* x = in.floats("x", {N, D});
  kernels->overLargest(N, D, x, in.floats("y", {N, D}));
}

void perturb(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const int M = in.size("images"), N = in.size("batch"), D = in.size("values");
  const float* x = in.floats("x", {M, D});
  const float* d = in.floats("direction", {M, D});
  const int32_t* rows = in.integers("rows", {N});
  for (int n = 0; n < N; n++)
    if (rows[n] < 0 || rows[n] >= M) fail(info, "rows: not one of the images");
  const float* s = in.floats("scale", {N});
  kernels->perturb(N, D, x, d, rows, s, in.floats("y", {N, D}));
}

/// program: for each layer its kind, 1 where ReLU follows, and its geometry; behind the logits come
/// weight and bias of each layer that has them.
void forward(const Napi::CallbackInfo& info) {
  using bang::ForwardLayer;
  constexpr int FIELDS = 15;
  Arguments in(info);
  const int count = in.size("layers");
  if (count < 1 || count > bang::MOST_FORWARD_LAYERS) fail(info, "layers: too many or none");
  const int32_t* program = in.integers("program", {count, FIELDS});
  ForwardLayer layers[bang::MOST_FORWARD_LAYERS];
  const auto kindOf = [&](int i) { return static_cast<ForwardLayer::Kind>(program[i * FIELDS]); };
  for (int i = 0; i < count; i++) {
    const auto kind = kindOf(i);
    if (kind < ForwardLayer::CONV || kind > ForwardLayer::AVG_POOL) fail(info, "program: no such kind");
    const bool pooling = kind == ForwardLayer::MAX_POOL || kind == ForwardLayer::AVG_POOL;
    const Geometry g = in.geometryIn(program + i * FIELDS + 2, pooling);
    layers[i] = {kind, program[i * FIELDS + 1] != 0, g, nullptr, nullptr};
    // Sixteen images lie side by side: these are the memory of a thread.
    const int limit = 1 << 22;
    if (g.inH * g.inW * g.inC > limit || g.outH * g.outW * g.outC > limit)
      fail(info, "program: an image has more than 2^22 values");
    if (kind == ForwardLayer::DENSE && (g.outH != 1 || g.outW != 1))
      fail(info, "program: an inner product has one pixel");
    if (i == 0) continue;
    const Geometry& before = layers[i - 1].geometry;
    const bool dense = kind == ForwardLayer::DENSE;
    if (g.batch != before.batch ||
        (dense ? g.inH * g.inW * g.inC != before.outH * before.outW * before.outC
               : kindOf(i - 1) == ForwardLayer::DENSE || g.inH != before.outH ||
                     g.inW != before.outW || g.inC != before.outC))
      fail(info, "program: layers do not fit each other");
  }
  if (kindOf(count - 1) != ForwardLayer::DENSE) fail(info, "program: no inner product at the end");
  const Geometry &first = layers[0].geometry, &last = layers[count - 1].geometry;
  const float* x = in.floats("x", {first.batch, first.inH, first.inW, first.inC});
  const float* mean = in.floatsOrNull("mean", {first.inH, first.inW, first.inC});
  const float factor = in.number("factor");
  float* logits = in.floats("logits", {last.batch, last.outC});
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

void addNoise(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const int N = in.size("copies"), D = in.size("values");
  const float* x = in.floats("x", {D});
  // [seed, purpose, image, firstCopy, sigma]
  const uint32_t* counters = in.words("counters", 5, 5);
  bang::Noise noise = {counters[0], counters[1], counters[2], counters[3], counters[4], nullptr, 0};
  int count;
  noise.thresholds = in.words("thresholds", 1, 1 << 16, &count);
  if (noise.thresholds[count - 1] != 0xffffffffu)
    fail(info, "the last threshold must be 2^32-1");
  noise.lowest = -in.size("depth");
  kernels->addNoise(N, D, x, noise, in.floats("y", {N, D}));
}

void setThreads(const Napi::CallbackInfo& info) {
  const int count = Arguments(info).size("threads");
  if (count < 1 || count > 256) fail(info, "threads must be from 1 to 256");
  bang::setThreads(count);
}

/// Multiply-adds per second of each of `threads` threads at once.
Napi::Value peak(const Napi::CallbackInfo& info) {
  const float seconds = Arguments(info).number("seconds");
  struct Peak {
    double seconds, each[256];
  } result = {seconds, {}};
  const int count = bang::threads();
  bang::parallelFor(
      count,
      [](void* context, int i) {
        auto* peak = static_cast<Peak*>(context);
        peak->each[i] = kernels->peak(peak->seconds);
      },
      &result);
  double sum = 0;
  for (int i = 0; i < count; i++) sum += result.each[i];
  return Napi::Number::New(info.Env(), sum);
}

/// Bytes from the start of an ArrayBuffer to its first address that a cache line begins at.
Napi::Value alignment(const Napi::CallbackInfo& info) {
  if (!info[0].IsArrayBuffer()) fail(info, "alignment takes an ArrayBuffer");
  const auto address = reinterpret_cast<uintptr_t>(info[0].As<Napi::ArrayBuffer>().Data());
  return Napi::Number::New(info.Env(), static_cast<double>((64 - address % 64) % 64));
}

Napi::Value scratchBytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(bang::scratchBytes()));
}

Napi::Value level(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), kernels->name);
}

Napi::Value levels(const Napi::CallbackInfo& info) {
  const auto available = availableLevels();
  auto names = Napi::Array::New(info.Env(), available.size());
  for (uint32_t i = 0; i < available.size(); i++)
    names[i] = Napi::String::New(info.Env(), available[i]->name);
  return names;
}

/// Chooses a level by name, for tests of one level on a machine that has a better one.
void setLevel(const Napi::CallbackInfo& info) {
  const std::string wanted = info[0].ToString().Utf8Value();
  for (const Kernels* candidate : availableLevels()) {
    if (wanted != candidate->name) continue;
    kernels = candidate;
    return;
  }
  fail(info, "this processor does not run the level " + wanted);
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  kernels = availableLevels().front();
  const auto define = [&](const char* name, auto function) {
    // What is thrown for want of memory or threads is not Node's: it would end the process.
    const auto guarded = [function](const Napi::CallbackInfo& info) {
      try {
        return function(info);
      } catch (const Napi::Error&) {
        throw;
      } catch (const std::bad_alloc&) {
        throw Napi::Error::New(info.Env(), "not enough memory");
      } catch (const std::exception& error) {
        throw Napi::Error::New(info.Env(), error.what());
      }
    };
    exports.Set(name, Napi::Function::New(env, guarded, name));
  };
  define("conv2d", conv2d);
  define("conv2dMaxPool", conv2dMaxPool);
  define("conv2dInputGradient", conv2dInputGradient);
  define("conv2dWeightGradient", conv2dWeightGradient);
  define("matMul", matMul);
  define("columnSums", columnSums);
  define("maxPool", maxPool);
  define("maxPoolGradient", maxPoolGradient);
  define("avgPool", avgPool);
  define("avgPoolGradient", avgPoolGradient);
  define("relu", relu);
  define("reluGradient", reluGradient);
  define("multiply", multiply);
  define("softmaxCrossEntropy", softmaxCrossEntropy);
  define("pooledNorms", pooledNorms);
  define("rowNorms", rowNorms);
  define("eta", eta);
  define("sgd", sgd);
  define("normalize", normalize);
  define("overLargest", overLargest);
  define("perturb", perturb);
  define("forward", forward);
  define("addNoise", addNoise);
  define("setThreads", setThreads);
  define("peak", peak);
  define("alignment", alignment);
  define("scratchBytes", scratchBytes);
  define("level", level);
  define("levels", levels);
  define("setLevel", setLevel);
  return exports;
}

}  // namespace

NODE_API_MODULE(bang, init)
