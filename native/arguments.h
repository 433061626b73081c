// Reads and checks what JavaScript passes, so that no call can crash the process. Independent of how it is
// passed: by Node-API (addon.cc) or in WebAssembly's memory (wasm.cc).
#pragma once
#include <stdint.h>

#include <initializer_list>

#include "kernels.h"

namespace bang {

/// One argument of a call.
struct Argument {
  enum Kind : int32_t { NONE, NUMBER, FLAG, FLOATS, INTEGERS, WORDS, BYTES, OTHER };
  /// NONE is null or undefined, OTHER what no kernel takes.
  Kind kind = NONE;
  /// Of an array: in memory that another thread may change.
  bool shared = false;
  /// Of an array: whether the kernel writes it. Set as it is read.
  bool written = false;
  /// The value of a number; 0 or 1 of a flag.
  double number = 0;
  /// An array's values.
  void* data = nullptr;
  size_t length = 0;
};

/// forward takes the most: 6 arguments, and two for each layer.
constexpr int MOST_ARGUMENTS = 6 + 2 * MOST_FORWARD_LAYERS;

/// So that a size that is rounded up, or a step further, is still an int, and the product of two fits in 64 bits.
constexpr int MOST_SIZE = 0x7fff0000;

/// A short text, without the C++ library: a module of WebAssembly would have to compile all of it.
class Text {
 public:
  /// What does not fit is left out.
  void add(const char* part) {
    while (*part && size_ < sizeof(text_)) text_[size_++] = *part++;
  }
  void add(long long number) {
    char digits[24], *first = digits + sizeof(digits);
    *--first = 0;
    unsigned long long rest = number < 0 ? -static_cast<unsigned long long>(number) : number;
    do *--first = static_cast<char>('0' + rest % 10);
    while (rest /= 10);
    if (number < 0) *--first = '-';
    add(first);
  }
  const char* data() const { return text_; }
  size_t size() const { return size_; }

 private:
  char text_[256];
  size_t size_ = 0;
};

/// Ends the call with a TypeError of this message. Defined where the calls come from.
[[noreturn]] void refuse(const Text& message);

/// The same, of a message of these texts and whole numbers.
template <class... Parts>
[[noreturn]] void fail(Parts... parts) {
  Text message;
  (message.add(parts), ...);
  refuse(message);
}

/// The arguments of one call, read in order. Each function reads the next argument and throws a TypeError
/// that begins with the argument's name if it is invalid. `shape` determines an array's exact length.
class Arguments {
 public:
  /// `count` is at most MOST_ARGUMENTS; the ones after them are NONE.
  Arguments(Argument* given, int count) : given_(given), count_(count) {}

  /// From 0 to MOST_SIZE.
  int size(const char* name);
  float number(const char* name);
  bool flag();

  float* floats(const char* name, std::initializer_list<int> shape);
  /// Arrays that the kernel writes. They share no memory with another argument, except that with `inPlace` one
  /// may be an input itself.
  float* output(const char* name, std::initializer_list<int> shape, bool inPlace = false);
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

 private:
  /// The next argument.
  Argument& next();
  Argument& array(const char* name, Argument::Kind kind, const char* expected);
  template <class T>
  T* array(const char* name, Argument::Kind kind, const char* expected, std::initializer_list<int> shape,
           bool written = false, bool inPlace = false);

  /// The memory of an argument.
  struct Range {
    const char *name, *begin, *end;
    bool written;
  };
  /// Remembers an argument, and refuses one that overlaps with what is written.
  void remember(const char* name, Argument& argument, size_t bytes, bool written, bool inPlace);

  Argument* given_;
  int count_, next_ = 0;
  Argument none_;
  Range ranges_[MOST_ARGUMENTS];
  int rangeCount_ = 0;
};

}  // namespace bang
