// Convolution with images side by side, one per lane: [row][column][channel][LANES]. No vector has idle lanes, whatever
// the number of channels. Every output is the same sum in the same order as in tile.h, so the results are bit-identical.
#pragma once
#include "kernels.h"
#include "simd.h"
#include "tile.h"
#include "transpose.h"

namespace {

using bang::Geometry;

/// Pixels and channels of a tile: P * C sums, P inputs and a weight fit in the registers.
constexpr int TILE_PIXELS = 4, TILE_CHANNELS = MANY_REGISTERS ? 6 : FUSED ? 3 : 2;
/// Channels of a tile of one pixel, at the border of an image.
constexpr int SINGLE_CHANNELS = MANY_REGISTERS ? 16 : 8;

/// The terms of a sum: the window's rows of `run` terms each. Of the rows only [row0, row1) and of
/// their terms only [j0, j1) lie in the image; the others are zero.
struct Terms {
  int rows, run;
  ptrdiff_t rowStride;  // floats, from one row of x to the next
  int row0, row1, j0, j1;
};

/// sum[turn][p][c] += x[p][j] * w[j][c] for j0 <= j < j1; the turn of a term depends only on j.
/// This and laneTile are tileRun and tile of tile.h with images in the lanes; blocks and turns must be the
/// same in both.
template <int P, int C, int T>
inline void laneRun(const float* const* x, int run, int j0, int j1, const float* w,
                    ptrdiff_t weightStride, Vec (&sum)[T][P][C]) {
  const auto term = [&](int turn, int j) {
    Vec value[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) value[p] = load(x[p] + (ptrdiff_t)(j - j0) * LANES);
#pragma GCC unroll 16
    for (int c = 0; c < C; c++) {
      const Vec weight = splat(w[j * weightStride + c]);
#pragma GCC unroll 4
      for (int p = 0; p < P; p++)
        sum[turn][p][c] = multiplyAdd(value[p], weight, sum[turn][p][c]);
    }
  };
  if constexpr (T == 1) {
    for (int j = j0; j < j1; j++) term(0, j);
  } else {
    const int inTurns = run / T * T;
    for (int j = j0; j < j1; j++) {
      switch (j < inTurns ? j % T : 0) {
        case 0: term(0, j); break;
        case 1: term(1, j); break;
        case 2: term(2, j); break;
        default: term(3, j); break;
      }
    }
  }
}

/// y[p][c] = bias[c] + sum over the terms of x[p] * w[·][c], with the blocks and turns of `tile`.
template <int P, int C, int T>
inline void laneTile(const float* const* begins, const Terms& terms, const float* w,
                     ptrdiff_t weightStride, const float* bias, Vec (&y)[P][C]) {
  Vec sum[T][P][C] = {};
  const float* x[P];
#pragma GCC unroll 4
  for (int p = 0; p < P; p++) {
    x[p] = begins[p];
#pragma GCC unroll 16
    for (int c = 0; c < C; c++) y[p][c] = splat(bias ? bias[c] : 0.0f);
  }
  const auto endBlock = [&] {
#pragma GCC unroll 4
    for (int p = 0; p < P; p++)
#pragma GCC unroll 16
      for (int c = 0; c < C; c++) {
        y[p][c] += totalOf<P, C, T>(sum, p, c);
#pragma GCC unroll 4
        for (int turn = 0; turn < T; turn++) sum[turn][p][c] = Vec{};
      }
  };
  int pending = 0;
  for (int row = 0; row < terms.rows; row++, w += terms.run * weightStride) {
    if (pending > 0 && pending + terms.run > BLOCK_TERMS) {
      endBlock();
      pending = 0;
    }
    pending += terms.run;
    if (row < terms.row0 || row >= terms.row1) continue;
    laneRun<P, C, T>(x, terms.run, terms.j0, terms.j1, w, weightStride, sum);
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) x[p] += terms.rowStride;
  }
  endBlock();
}

/// A convolution's weights, and the same in panels of at most TILE_CHANNELS columns, [K][columns].
struct LaneWeights {
  const float *weight, *bias, *panels;
  int K, columns;
  bool relu, reluPooled;

  bool narrow() const { return columns <= NARROW_COLUMNS; }
  int panelCount() const { return ceilDiv(columns, TILE_CHANNELS); }
  int panelBegin(int i) const { return (int)((int64_t)i * columns / panelCount()); }
};

/// `panels`: room for as many floats as there are weights.
LaneWeights laneWeights(const Geometry& g, const float* weight, const float* bias, bool relu, bool reluPooled,
                        float* panels) {
  const LaneWeights layer = {weight, bias, panels, g.kH * g.kW * g.inC, g.outC, relu, reluPooled};
  for (int i = 0; i < layer.panelCount(); i++) {
    const int first = layer.panelBegin(i), columns = layer.panelBegin(i + 1) - first;
    const float* from = weight + first;
    for (int k = 0; k < layer.K; k++, from += layer.columns)
      for (int c = 0; c < columns; c++) *panels++ = from[c];
  }
  return layer;
}

/// How a tile is pooled: not at all, or by the maximum of its pixels, which are a cell; with its index, or without.
enum Pooled { PIXELS, CELL, CELL_AND_WINNER };

template <int P, int C, int T, Pooled POOLED = PIXELS>
inline void laneTileInto(const float* const* x, int count, const Terms& terms,
                         const LaneWeights& layer, const float* w, ptrdiff_t weightStride, int first,
                         float* const* out, [[maybe_unused]] uint8_t* winner = nullptr) {
  Vec y[P][C];
  laneTile<P, C, T>(x, terms, w, weightStride, layer.bias ? layer.bias + first : nullptr, y);
  if constexpr (POOLED == PIXELS) {
    for (int p = 0; p < P && p < count; p++)
      for (int c = 0; c < C; c++)
        store(out[p] + (ptrdiff_t)(first + c) * LANES, layer.relu ? reluOf(y[p][c]) : y[p][c]);
  } else {
    static_assert(P == 4, "a tile is a cell");
#pragma GCC unroll 16
    for (int c = 0; c < C; c++) {
      const ptrdiff_t at = (ptrdiff_t)(first + c) * LANES;
      const auto value = [&](int q) { return layer.relu ? reluOf(y[q][c]) : y[q][c]; };
      Vec best = value(0);
      VecI index = {};
#pragma GCC unroll 4
      for (int q = 1; q < P; q++) {
        const Vec next = value(q);
        if (POOLED == CELL_AND_WINNER) {
          const VecI wins = exceeds<true>(next, best);
          index = wins ? VecI{} + q : index;
          best = wins ? next : best;
        } else {
          best = maxOf<true>(next, best);
        }
      }
      if (POOLED == CELL_AND_WINNER) storeBytes(winner + at, index, LANES);
      store(out[0] + at, layer.reluPooled ? reluOf(best) : best);
    }
  }
}

/// Panel i of a layer for `count` <= TILE_PIXELS inputs; unused ones repeat the last and are not stored.
template <Pooled POOLED = PIXELS>
void lanePanel(const float* const* x, int count, const Terms& terms, const LaneWeights& layer, int i,
               float* const* out, uint8_t* winner = nullptr) {
  const int first = layer.panelBegin(i), columns = layer.panelBegin(i + 1) - first;
  const float* w = layer.panels + (ptrdiff_t)first * layer.K;
  constexpr int P = TILE_PIXELS;
  // No panel is wider than a tile.
  withConstant<TILE_CHANNELS>(columns, [&](auto c) {
    laneTileInto<P, c, 1, POOLED>(x, count, terms, layer, w, columns, first, out, winner);
  });
}

/// Row oh of a convolution without padding pooled over cells of 2×2: out[outW / 2][outC][LANES], and the winners.
template <Pooled POOLED>
void laneCellRow(const Geometry& g, const LaneWeights& layer, const float* image, int oh, float* out,
                 uint8_t* winner = nullptr) {
  static_assert(TILE_PIXELS == 4, "a tile is a cell");
  const ptrdiff_t pixel = (ptrdiff_t)g.inC * LANES, imageRow = g.inW * pixel;
  const Terms terms = {g.kH, g.kW * g.inC, imageRow, 0, g.kH, 0, g.kW * g.inC};
  for (int ow = 0; ow < g.outW / 2; ow++) {
    const float* x[TILE_PIXELS];
    for (int p = 0; p < TILE_PIXELS; p++)
      x[p] = image + (2 * oh + p / 2) * g.strideH * imageRow + (2 * ow + p % 2) * g.strideW * pixel;
    for (int i = 0; i < layer.panelCount(); i++) lanePanel<POOLED>(x, 1, terms, layer, i, &out, winner);
    out += (ptrdiff_t)g.outC * LANES;
    if (POOLED == CELL_AND_WINNER) winner += (ptrdiff_t)g.outC * LANES;
  }
}

/// to[D][LANES] = x[images][D] transposed; the other lanes are zero.
void interleave(const float* x, int images, int D, float* to) {
  if (images < LANES) memset(to, 0, (size_t)D * LANES * 4);
  transposeInto(images, D, x, D, to, LANES);
}

}  // namespace
