#include "arguments.h"

#include <cmath>

namespace bang {

Argument& Arguments::next() {
  return next_ < count_ ? given_[next_++] : none_;
}

int Arguments::size(const char* name) {
  const Argument& value = next();
  const double number = value.kind == Argument::NUMBER ? value.number : -1;
  if (!(number >= 0 && number <= MOST_SIZE) || number != std::floor(number))
    fail(name, " must be a whole number from 0 to 2^31-2^16");
  return static_cast<int>(number);
}

float Arguments::number(const char* name) {
  const Argument& value = next();
  if (value.kind != Argument::NUMBER) fail(name, " must be a number");
  return static_cast<float>(value.number);
}

bool Arguments::flag() { return next().number != 0; }

Argument& Arguments::array(const char* name, Argument::Kind kind, const char* expected) {
  Argument& value = next();
  if (value.kind != kind) fail(name, " must be ", expected);
  // Another thread could change it after it has been checked.
  if (value.shared) fail(name, " must not be in shared memory");
  return value;
}

void Arguments::remember(const char* name, Argument& argument, size_t bytes, bool written,
                         bool inPlace) {
  if (argument.length == 0) return;
  argument.written |= written;
  const char* begin = static_cast<const char*>(argument.data);
  const Range range = {name, begin, begin + bytes, written};
  for (int i = 0; i < rangeCount_; i++) {
    const Range& other = ranges_[i];
    const bool apart = range.end <= other.begin || other.end <= range.begin;
    const bool same = range.begin == other.begin && range.end == other.end;
    if (apart || (!written && !other.written) || (inPlace && same && !other.written)) continue;
    fail(name, " shares memory with ", other.name);
  }
  ranges_[rangeCount_++] = range;
}

template <class T>
T* Arguments::array(const char* name, Argument::Kind kind, const char* expected,
                    std::initializer_list<int> shape, bool written, bool inPlace) {
  Argument& values = array(name, kind, expected);
  double length = 1;
  for (int extent : shape) length *= extent;
  if (static_cast<double>(values.length) != length)
    fail(name, " has ", values.length, " values, expected ", static_cast<long long>(length));
  remember(name, values, values.length * sizeof(T), written, inPlace);
  return static_cast<T*>(values.data);
}

float* Arguments::floats(const char* name, std::initializer_list<int> shape) {
  return array<float>(name, Argument::FLOATS, "a Float32Array", shape);
}

float* Arguments::output(const char* name, std::initializer_list<int> shape, bool inPlace) {
  return array<float>(name, Argument::FLOATS, "a Float32Array", shape, true, inPlace);
}

uint8_t* Arguments::outputBytes(const char* name, std::initializer_list<int> shape) {
  return array<uint8_t>(name, Argument::BYTES, "a Uint8Array", shape, true);
}

float* Arguments::floatsOrNull(const char* name, std::initializer_list<int> shape) {
  return skipNull() ? nullptr : floats(name, shape);
}

uint8_t* Arguments::bytes(const char* name, std::initializer_list<int> shape) {
  return array<uint8_t>(name, Argument::BYTES, "a Uint8Array", shape);
}

int32_t* Arguments::integers(const char* name, std::initializer_list<int> shape) {
  return array<int32_t>(name, Argument::INTEGERS, "an Int32Array", shape);
}

uint32_t* Arguments::words(const char* name, int least, int most, int* count) {
  Argument& values = array(name, Argument::WORDS, "a Uint32Array");
  if (values.length < static_cast<size_t>(least) || values.length > static_cast<size_t>(most))
    fail(name, " has ", values.length, " values, expected ", least, " to ", most);
  if (count) *count = static_cast<int>(values.length);
  remember(name, values, values.length * sizeof(uint32_t), false, false);
  return static_cast<uint32_t*>(values.data);
}

bool Arguments::skipNull() {
  const bool none = next_ >= count_ || given_[next_].kind == Argument::NONE;
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
  if (g.batch > MOST_SIZE) fail("geometry: more than 2^31-2^16 images");
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
