#include "arguments.h"

#include <cmath>

namespace bang {

void Arguments::fail(const std::string& message) const {
  throw Napi::TypeError::New(info_.Env(), message);
}

int Arguments::size(const char* name) {
  const Napi::Value value = info_[next_++];
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0 && number < 2147483648.0) || number != std::floor(number))
    fail(std::string(name) + " must be a whole number from 0 to 2^31-1");
  return static_cast<int>(number);
}

float Arguments::number(const char* name) {
  const Napi::Value value = info_[next_++];
  if (!value.IsNumber()) fail(std::string(name) + " must be a number");
  return value.As<Napi::Number>().FloatValue();
}

bool Arguments::flag() { return info_[next_++].ToBoolean().Value(); }

template <class T>
Napi::TypedArrayOf<T> Arguments::array(const char* name, napi_typedarray_type type,
                                       const char* expected) {
  const Napi::Value value = info_[next_++];
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type)
    fail(std::string(name) + " must be " + expected);
  // Another thread could change it after it has been checked.
  if (!value.As<Napi::TypedArray>().ArrayBuffer().IsArrayBuffer())
    fail(std::string(name) + " must not be in shared memory");
  return value.As<Napi::TypedArrayOf<T>>();
}

template <class T>
T* Arguments::known(const char* name, T* data, size_t count, bool written, bool inPlace) {
  if (count == 0) return data;
  const char* begin = reinterpret_cast<const char*>(data);
  const Range range = {name, begin, begin + count * sizeof(T), written};
  for (const Range& other : ranges_) {
    const bool apart = range.end <= other.begin || other.end <= range.begin;
    const bool same = range.begin == other.begin && range.end == other.end;
    if (apart || (!written && !other.written) || (inPlace && same && !other.written)) continue;
    fail(std::string(name) + " shares memory with " + other.name);
  }
  ranges_.push_back(range);
  return data;
}

template <class T>
T* Arguments::array(const char* name, napi_typedarray_type type, const char* expected,
                    std::initializer_list<int> shape, bool written, bool inPlace) {
  auto values = array<T>(name, type, expected);
  double length = 1;
  for (int extent : shape) length *= extent;
  if (static_cast<double>(values.ElementLength()) != length)
    fail(std::string(name) + " has " + std::to_string(values.ElementLength()) + " values, expected " +
         std::to_string(static_cast<long long>(length)));
  return known(name, values.Data(), values.ElementLength(), written, inPlace);
}

float* Arguments::floats(const char* name, std::initializer_list<int> shape) {
  return array<float>(name, napi_float32_array, "a Float32Array", shape);
}

float* Arguments::output(const char* name, std::initializer_list<int> shape, bool inPlace) {
  return array<float>(name, napi_float32_array, "a Float32Array", shape, true, inPlace);
}

float* Arguments::outputOrNull(const char* name, std::initializer_list<int> shape) {
  return skipNull() ? nullptr : output(name, shape);
}

uint8_t* Arguments::outputBytes(const char* name, std::initializer_list<int> shape) {
  return array<uint8_t>(name, napi_uint8_array, "a Uint8Array", shape, true);
}

float* Arguments::floatsOrNull(const char* name, std::initializer_list<int> shape) {
  return skipNull() ? nullptr : floats(name, shape);
}

uint8_t* Arguments::bytes(const char* name, std::initializer_list<int> shape) {
  return array<uint8_t>(name, napi_uint8_array, "a Uint8Array", shape);
}

int32_t* Arguments::integers(const char* name, std::initializer_list<int> shape) {
  return array<int32_t>(name, napi_int32_array, "an Int32Array", shape);
}

uint32_t* Arguments::words(const char* name, int least, int most, int* count) {
  auto values = array<uint32_t>(name, napi_uint32_array, "a Uint32Array");
  const size_t length = values.ElementLength();
  if (length < static_cast<size_t>(least) || length > static_cast<size_t>(most))
    fail(std::string(name) + " has " + std::to_string(length) + " values, expected " +
         std::to_string(least) + " to " + std::to_string(most));
  if (count) *count = static_cast<int>(length);
  return known(name, values.Data(), length);
}

bool Arguments::skipNull() {
  const bool none = info_[next_].IsNull() || info_[next_].IsUndefined();
  if (none) next_++;
  return none;
}

Geometry Arguments::geometry(bool pooling) {
  return geometryIn(integers("geometry", {13}), pooling);
}

Geometry Arguments::geometryIn(const int32_t* v, bool pooling) const {
  const Geometry g = {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12]};
  // These bounds keep every product in the kernels below 2^31 for an image and below 2^63 for a batch.
  const bool positive = g.batch >= 0 && g.inH > 0 && g.inW > 0 && g.inC > 0 && g.outH > 0 &&
                        g.outW > 0 && g.outC > 0 && g.kH > 0 && g.kW > 0 && g.strideH > 0 &&
                        g.strideW > 0 && g.padTop >= 0 && g.padLeft >= 0;
  if (!positive) fail("geometry: every extent must be positive");
  const double limit = 1 << 28;
  const double paddedH = (g.outH - 1.0) * g.strideH + g.kH;
  const double paddedW = (g.outW - 1.0) * g.strideW + g.kW;
  // Kernels compute offsets from the stride even if there is only one window.
  if (static_cast<double>(g.strideH) * g.inC > limit || static_cast<double>(g.strideW) * g.inC > limit)
    fail("geometry: a stride is longer than 2^28 values");
  if (static_cast<double>(g.inH) * g.inW * g.inC > limit || paddedH * paddedW * g.inC > limit ||
      static_cast<double>(g.outH) * g.outW * g.outC > limit ||
      static_cast<double>(g.kH) * g.kW * g.inC * g.outC > limit)
    fail("geometry: an image or a filter has more than 2^28 values");
  if (g.padTop >= g.kH || g.padLeft >= g.kW)
    fail("geometry: the padding must be smaller than the window");
  // Each window of a pooling must contain at least one pixel of the image.
  if (pooling && (g.inC != g.outC || (g.outH - 1.0) * g.strideH - g.padTop >= g.inH ||
                  (g.outW - 1.0) * g.strideW - g.padLeft >= g.inW))
    fail("geometry: a pooling window lies outside the image");
  return g;
}

}  // namespace bang
