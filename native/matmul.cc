// c[M,N] = op(a) op(b) + bias.

namespace {

/// from[R,C] transposed, on all threads.
void transpose(int R, int C, const float* from, float* to) {
  const int blocks = ceilDiv(C, 64);
  parallel(blocks, [&](int i) {
    const int c = i * 64;
    transposeInto(R, least(64, C - c), from + c, C, to + (ptrdiff_t)c * R, R);
  }, 4.0 * R * C);
}

/// panelRows for sums of one block, which need no registers but those of the block.
template <class RowOf, class OutOf>
void blockRows(int count, int terms, const Panel& panel, RowOf rowOf, OutOf outOf) {
  forPanel(panel, [&](auto vectors, auto turns) {
    constexpr int V = vectors, T = turns, P = rowsFor(V);
    Vec start[V];
    startOf<V>(panel, start);
    forTiles<P>(count, rowOf, [&](const float* const* rows, int i, int have) {
      Vec sum[T][P][V] = {};
      tileRun<V, P, T>(rows, terms, panel.data, panel.stride, sum);
#pragma GCC unroll 8
      for (int p = 0; p < P; p++) {
        if (p >= have) break;
        float* out = outOf(i + p);
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
          const Vec y = start[v] + totalOf<P, V, T>(sum, p, v);
          storeUpTo(out + v * LANES, panel.relu ? reluOf(y) : y, panel.width - v * LANES);
        }
      }
    });
  });
}

/// c[M,N] = a op(b) + bias, with the rows of `a` one after the other. `narrow` as in Panel.
void multiplyRows(int M, int N, int K, const float* a, const float* b, bool transposeB,
                  const float* scale, const float* bias, bool relu, bool narrow, float* c) {
  const int width = panelWidth(N), panels = ceilDiv(N, width);
  const int rowBlock = 96, rowBlocks = ceilDiv(M, rowBlock);
  const RowShape row = {K / BLOCK_TERMS, BLOCK_TERMS, K % BLOCK_TERMS, BLOCK_TERMS};
  // Full panels of b are read in place if b is neither transposed nor scaled. All others are packed
  // first.
  const bool packAll = transposeB || scale;
  const int firstPacked = packAll ? 0 : N / width;
  const uint64_t panelFloats = (uint64_t)K * width;
  float* packed = bang::sharedScratch(1, panelFloats * (uint64_t)(panels - firstPacked));
  parallel(panels - firstPacked, [&](int i) {
    const int n = (firstPacked + i) * width, columns = least(width, N - n);
    float* panel = packed + panelFloats * (size_t)i;
    if (!transposeB) return packColumns(K, b + n, N, columns, width, scale, panel);
    if (columns < width) memset(panel, 0, panelFloats * 4);
    transposeInto(columns, K, b + (ptrdiff_t)n * K, K, panel, width);
    if (!scale) return;
    for (int k = 0; k < K; k++)
      for (int j = 0; j < columns; j++) panel[(ptrdiff_t)k * width + j] *= scale[k];
  }, 4.0 * K * N);
  parallel(panels * rowBlocks, [&](int i) {
    const int p = i % panels, n = p * width, m0 = i / panels * rowBlock;
    const bool direct = p < firstPacked;
    const Panel panel = {direct ? b + n : packed + panelFloats * (size_t)(p - firstPacked),
                         direct ? N : width, least(width, N - n), narrow,
                         bias ? bias + n : nullptr, relu};
    const int rows = least(rowBlock, M - m0);
    const auto rowOf = [&](int r) { return a + (ptrdiff_t)(m0 + r) * K; };
    const auto outOf = [&](int r) { return c + (ptrdiff_t)(m0 + r) * N + n; };
    if (K <= BLOCK_TERMS) blockRows(rows, K, panel, rowOf, outOf);
    else panelRows(rows, row, panel, rowOf, outOf);
  }, 0.1 * M * N * K);
}

void matMul(int M, int N, int K, const float* a, bool transposeA, const float* b, bool transposeB,
            const float* scale, const float* bias, bool relu, float* c) {
  if (M == 0 || N == 0) return;
  const bool narrow = N <= NARROW_COLUMNS;
  if (transposeA) {
    float* rows = bang::sharedScratch(0, (uint64_t)M * K);
    transpose(K, M, a, rows);
    multiplyRows(M, N, K, rows, b, transposeB, scale, bias, relu, narrow, c);
  } else if (transposeB && (int64_t)N * K > (int64_t)M * ((int64_t)K + N) && !scale && !bias && !relu) {
    // The transposed product, b times a transposed, has the same sums. To transpose b would cost more.
    float* turned = bang::sharedScratch(0, (uint64_t)N * M);
    multiplyRows(N, M, K, b, a, true, nullptr, nullptr, false, narrow, turned);
    transpose(N, M, turned, c);
  } else {
    multiplyRows(M, N, K, a, b, transposeB, scale, bias, relu, narrow, c);
  }
}

void columnSums(int R, int C, const float* x, const float* scale, float* sum) {
  const int blocks = ceilDiv(C, LANES);
  parallel(blocks, [&](int block) {
    const int c = block * LANES, columns = least(LANES, C - c);
    Vec total = {};
    for (int r = 0; r < R; r++)
      total = multiplyAdd(splat(scale ? scale[r] : 1.0f), loadUpTo(x + (ptrdiff_t)r * C + c, columns), total);
    storeUpTo(sum + c, total, columns);
  }, (double)R * C);
}

}  // namespace
