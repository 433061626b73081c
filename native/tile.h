// The multiply-add loop: P rows of x times a panel of V vectors of weights, in registers. Convolution and
// matrix product differ only in the location of the rows. lanes.h has a second loop (laneRun, laneTile),
// whose sums have the same terms in the same order; blocks and turns must be the same in both.
#pragma once
#include "simd.h"
#include "threads.h"

namespace {

/// Rows of the left factor, each a sequence of `segments` runs of `run` floats, `segmentStride`
/// floats apart, and a last one of `tail` floats: a window of an image is kH rows of kW*I floats, a
/// row of a matrix is cut into blocks.
struct RowShape {
  int segments, run, tail;
  ptrdiff_t segmentStride;
};

/// The number of terms in a block, which are added one by one. Longer sums are sums of blocks, so rounding
/// errors grow with the length of a block plus the number of blocks, not with their product.
constexpr int BLOCK_TERMS = 64;

/// The most vectors in a panel, and the rows of a tile for each width: V * P accumulators, V weights and
/// one broadcast fit in the registers, and 8 or more accumulators hide the latency of multiply-add.
constexpr int MAX_V = MANY_REGISTERS ? 4 : FUSED ? 3 : 2;
constexpr int rowsFor(int V) {
  return MANY_REGISTERS ? (V == 1 || V == 4 ? 6 : 8) : !FUSED ? 4 : V == 3 ? 4 : V == 2 ? 6 : 3;
}

/// If the right factor has few columns, as for logits, several partial sums take the terms in turn. This has
/// smaller rounding errors than a single sum; logits can be in the thousands and differ by only a few units.
/// The limit is the same on every level, so that all round in the same way.
constexpr int NARROW_TURNS = 4, NARROW_COLUMNS = 16;

/// sum[turn][p][v] += rows[p][j] * panel[j][v] for j < run, turn by turn.
template <int V, int P, int T>
inline void tileRun(const float* const* rows, int run, const float* panel, ptrdiff_t panelStride,
                    Vec (&sum)[T][P][V]) {
  const auto term = [&](int turn, int j) {
    Vec w[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) w[v] = load(panel + j * panelStride + v * LANES);
#pragma GCC unroll 8
    for (int p = 0; p < P; p++) {
      const Vec value = splat(rows[p][j]);
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) sum[turn][p][v] = multiplyAdd(value, w[v], sum[turn][p][v]);
    }
  };
  int j = 0;
  for (; j + T <= run; j += T) {
#pragma GCC unroll 4
    for (int turn = 0; turn < T; turn++) term(turn, j + turn);
  }
  if constexpr (T > 1)
    for (; j < run; j++) term(0, j);
}

/// The sum of the partial sums of the turns, always in the same order.
template <int P, int V, int T>
inline Vec totalOf(const Vec (&sum)[T][P][V], int p, int v) {
  return T == 1 ? sum[0][p][v] : (sum[0][p][v] + sum[2 % T][p][v]) + (sum[1 % T][p][v] + sum[3 % T][p][v]);
}

/// y[p][v] = start[v] + sum over (segment, j) of rows[p][segment][j] * panel[segment * run + j][v].
/// Every output is summed in one fixed order, which does not depend on the tile.
template <int V, int P, int T>
inline void tile(const float* const* rows, RowShape shape, const float* panel,
                 ptrdiff_t panelStride, const Vec* start, Vec (*y)[V]) {
  Vec sum[T][P][V] = {};
  const float* x[P];
#pragma GCC unroll 8
  for (int p = 0; p < P; p++) {
    x[p] = rows[p];
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) y[p][v] = start[v];
  }
  int pending = 0;
  const auto endBlock = [&] {
#pragma GCC unroll 8
    for (int p = 0; p < P; p++)
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) {
        y[p][v] += totalOf<P, V, T>(sum, p, v);
#pragma GCC unroll 4
        for (int turn = 0; turn < T; turn++) sum[turn][p][v] = Vec{};
      }
  };
  for (int s = 0; s < shape.segments; s++) {
    if (pending > 0 && pending + shape.run > BLOCK_TERMS) {
      endBlock();
      pending = 0;
    }
    tileRun<V, P, T>(x, shape.run, panel, panelStride, sum);
    pending += shape.run;
    panel += shape.run * panelStride;
#pragma GCC unroll 8
    for (int p = 0; p < P; p++) x[p] += shape.segmentStride;
  }
  if (shape.tail > 0) {
    endBlock();
    tileRun<V, P, T>(x, shape.tail, panel, panelStride, sum);
  }
  endBlock();
}

/// A panel: `width` columns (at most V * LANES) of the right factor.
struct Panel {
  const float* data;
  ptrdiff_t stride;
  int width;
  bool narrow;        // the right factor has no more than NARROW_COLUMNS in all
  const float* bias;  // of these columns, or null
  bool relu;
};

/// The bias, the initial value of every sum of the panel.
template <int V>
inline void startOf(const Panel& panel, Vec* start) {
  for (int v = 0; v < V; v++)
    start[v] = panel.bias ? loadUpTo(panel.bias + v * LANES, panel.width - v * LANES) : Vec{};
}

/// Calls body(columns in vectors V, turns T) for a panel.
template <class Body>
inline void forPanel(const Panel& panel, Body body) {
  const auto inTurns = [&](auto turns) {
    withConstant<MAX_V>(ceilDiv(panel.width, LANES), [&](auto vectors) { body(vectors, turns); });
  };
  if (panel.narrow) return inTurns(std::integral_constant<int, NARROW_TURNS>{});
  inTurns(std::integral_constant<int, 1>{});
}

/// Calls each(rows, i, how many) for the tiles of P rows of `count`. The unused rows of the last one repeat its last.
template <int P, class RowOf, class Each>
inline void forTiles(int count, RowOf rowOf, Each each) {
  for (int i = 0; i < count; i += P) {
    const float* rows[P];
    for (int p = 0; p < P; p++) rows[p] = rowOf(least(i + p, count - 1));
    each(rows, i, least(P, count - i));
  }
}

/// `count` rows of output for one panel: row i is computed from rowOf(i) and stored at outOf(i).
template <class RowOf, class OutOf>
inline void panelRows(int count, RowShape shape, const Panel& panel, RowOf rowOf, OutOf outOf) {
  forPanel(panel, [&](auto vectors, auto turns) {
    constexpr int V = vectors, T = turns, P = rowsFor(V);
    Vec start[V], sum[P][V];
    startOf<V>(panel, start);
    forTiles<P>(count, rowOf, [&](const float* const* rows, int i, int have) {
      tile<V, P, T>(rows, shape, panel.data, panel.stride, start, sum);
      for (int p = 0; p < P && p < have; p++)
        for (int v = 0; v < V; v++)
          storeUpTo(outOf(i + p) + v * LANES, panel.relu ? reluOf(sum[p][v]) : sum[p][v], panel.width - v * LANES);
    });
  });
}

/// Columns per panel, chosen so that all are about equally wide: 5 vectors become 3 + 2, not 4 + 1.
inline int panelWidth(int columns, int mostVectors = MAX_V) {
  const int vectors = ceilDiv(columns, LANES);
  return ceilDiv(vectors, ceilDiv(vectors, mostVectors)) * LANES;
}

/// Copies `width` columns of a K × columns matrix into rows of `stride` floats, zero-filled.
inline void packColumns(int K, const float* matrix, ptrdiff_t columns, int width, int stride,
                        const float* scale, float* panel) {
  for (int k = 0; k < K; k++, matrix += columns, panel += stride) {
    const Vec s = splat(scale ? scale[k] : 1.0f);
    for (int j = 0; j < stride; j += LANES) {
      const int left = width - j;
      store(panel + j, left > 0 ? s * loadUpTo(matrix + j, left) : Vec{});
    }
  }
}

/// With fewer operations than this, other threads cost more than they save.
constexpr double WORTH_THREADS = 200e3;

/// Runs task(i) for i in [0, count) on all threads, or only on this one if there are few `operations` in
/// total.
template <class Task>
inline void parallel(int count, const Task& task, double operations = WORTH_THREADS) {
  if (operations < WORTH_THREADS) {
    for (int i = 0; i < count; i++) task(i);
    return;
  }
  bang::parallelFor(
      count, [](void* context, int i) { (*static_cast<const Task*>(context))(i); },
      const_cast<Task*>(&task));
}

}  // namespace
