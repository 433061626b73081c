// Transposes of matrices.
#pragma once
#include "simd.h"

namespace {

typedef float Four __attribute__((vector_size(16)));
typedef float FourAnywhere __attribute__((vector_size(16), aligned(4), may_alias));

/// 4×4 values of a transpose.
inline void transposeFour(const float* from, ptrdiff_t fromStride, float* to, ptrdiff_t toStride) {
  const auto row = [&](int r) -> Four { return *(const FourAnywhere*)(from + r * fromStride); };
  const auto put = [&](int c, Four column) { *(FourAnywhere*)(to + c * toStride) = column; };
  const auto low = [](Four a, Four b) { return Four{a[0], b[0], a[1], b[1]}; };
  const auto high = [](Four a, Four b) { return Four{a[2], b[2], a[3], b[3]}; };
  const Four left02 = low(row(0), row(2)), left13 = low(row(1), row(3));
  const Four right02 = high(row(0), row(2)), right13 = high(row(1), row(3));
  put(0, low(left02, left13));
  put(1, high(left02, left13));
  put(2, low(right02, right13));
  put(3, high(right02, right13));
}

/// to[C,R] = from[R,C] transposed, in blocks that stay in the L1 cache.
template <class T>
void transposeInto(int R, int C, const T* from, ptrdiff_t fromStride, T* to, ptrdiff_t toStride) {
  constexpr int B = 16;
  for (int r0 = 0; r0 < R; r0 += B)
    for (int c0 = 0; c0 < C; c0 += B) {
      const int rows = least(B, R - r0), columns = least(B, C - c0);
      const T* block = from + r0 * fromStride + c0;
      T* turned = to + c0 * toStride + r0;
      int done = 0;
      if constexpr (std::is_same_v<T, float>)
        for (; done + 4 <= columns; done += 4) {
          int r = 0;
          for (; r + 4 <= rows; r += 4)
            transposeFour(block + r * fromStride + done, fromStride, turned + done * toStride + r, toStride);
          for (; r < rows; r++)
            for (int c = done; c < done + 4; c++) turned[c * toStride + r] = block[r * fromStride + c];
        }
      for (int c = done; c < columns; c++)
        for (int r = 0; r < rows; r++) turned[c * toStride + r] = block[r * fromStride + c];
    }
}

}  // namespace
