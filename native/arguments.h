// Reads and checks what JavaScript passes to the addon, so that no call can crash the process.
#pragma once
#include <napi.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "kernels.h"

namespace bang {

/// The arguments of one call, read in order. Each function reads the next argument and throws a TypeError
/// that begins with the argument's name if it is invalid. `shape` determines an array's exact length.
class Arguments {
 public:
  explicit Arguments(const Napi::CallbackInfo& info) : info_(info) {}

  /// From 0 to 2^31 - 1, so that the product of two fits in 64 bits.
  int size(const char* name);
  float number(const char* name);
  bool flag();

  float* floats(const char* name, std::initializer_list<int> shape);
  /// Arrays that the kernel writes. They share no memory with another argument, except that with `inPlace` one
  /// may be an input itself.
  float* output(const char* name, std::initializer_list<int> shape, bool inPlace = false);
  float* outputOrNull(const char* name, std::initializer_list<int> shape);
  uint8_t* outputBytes(const char* name, std::initializer_list<int> shape);
  float* floatsOrNull(const char* name, std::initializer_list<int> shape);
  uint8_t* bytes(const char* name, std::initializer_list<int> shape);
  int32_t* integers(const char* name, std::initializer_list<int> shape);
  /// From `least` to `most` values; their number is written to `count`.
  uint32_t* words(const char* name, int least, int most, int* count = nullptr);
  /// Skips the next argument if it is null or undefined, and returns whether it was.
  bool skipNull();

  /// [batch, inH, inW, inC, outH, outW, outC, kH, kW, strideH, strideW, padTop, padLeft], of a pooling or of
  /// a convolution.
  Geometry geometry(bool pooling);
  /// The same from an array that has already been read.
  Geometry geometryIn(const int32_t* values, bool pooling) const;

  [[noreturn]] void fail(const std::string& message) const;

 private:
  template <class T>
  Napi::TypedArrayOf<T> array(const char* name, napi_typedarray_type type, const char* expected);
  template <class T>
  T* array(const char* name, napi_typedarray_type type, const char* expected,
           std::initializer_list<int> shape, bool written = false, bool inPlace = false);

  /// The memory of an argument.
  struct Range {
    const char *name, *begin, *end;
    bool written;
  };
  /// Remembers an argument, and refuses one that overlaps with what is written.
  template <class T>
  T* known(const char* name, T* data, size_t count, bool written = false, bool inPlace = false);

  const Napi::CallbackInfo& info_;
  std::vector<Range> ranges_;
  size_t next_ = 0;
};

}  // namespace bang
