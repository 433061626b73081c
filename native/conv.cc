// Convolution (cross-correlation) in NHWC, alone and followed by max pooling. Computed directly, without
// im2col, FFT or Winograd, so that equal windows give equal sums (see kernels.def).

namespace {

using bang::Geometry;

/// Height and width of the part of the padded image that windows cover.
inline int paddedHeight(const Geometry& g) { return (g.outH - 1) * g.strideH + g.kH; }
inline int paddedWidth(const Geometry& g) { return (g.outW - 1) * g.strideW + g.kW; }

/// Whether all windows lie inside the image without padding, which can then be read in place.
inline bool coversExactly(const Geometry& g) {
  return g.padTop == 0 && g.padLeft == 0 && paddedWidth(g) <= g.inW && paddedHeight(g) <= g.inH;
}

/// Copies image n with zero padding to `to`, without rows and columns that no window covers.
void padImage(const Geometry& g, const float* x, int n, float* to) {
  const int H = paddedHeight(g), W = paddedWidth(g), C = g.inC;
  const int left = most(0, least(g.padLeft, W)), width = most(0, least(g.inW, W - g.padLeft));
  for (int h = 0; h < H; h++, to += (ptrdiff_t)W * C) {
    const int from = h - g.padTop;
    if (from < 0 || from >= g.inH) {
      memset(to, 0, (size_t)W * C * 4);
      continue;
    }
    memset(to, 0, (size_t)left * C * 4);
    memcpy(to + left * C, x + ((ptrdiff_t)n * g.inH + from) * g.inW * C, (size_t)width * C * 4);
    memset(to + (left + width) * C, 0, (size_t)(W - left - width) * C * 4);
  }
}

/// A convolution's filter, packed into panels once for all images, and the offsets of its windows. With
/// `cells`, windows are in groups of four, one group for each 2×2 cell of output pixels, for pooling.
struct Filter {
  const Geometry& g;
  int width, panels, rowPixels;
  bool exact;
  RowShape window;
  const float *packed, *bias;
  const int32_t* begins;  // offset in the image of each output pixel's window

  Filter(const Geometry& geometry, const float* w, const float* biasOrNull, bool cells)
      : g(geometry), width(panelWidth(g.outC, cells ? 2 : MAX_V)), panels(ceilDiv(g.outC, width)),
        rowPixels(coversExactly(g) ? g.inW : paddedWidth(g)), exact(coversExactly(g)),
        window{g.kH, g.kW * g.inC, 0, (ptrdiff_t)rowPixels * g.inC}, bias(biasOrNull) {
    const int K = g.kH * g.kW * g.inC;
    float* to = bang::sharedScratch(0, (uint64_t)K * width * panels);
    for (int p = 0; p < panels; p++)
      packColumns(K, w + p * width, g.outC, least(width, g.outC - p * width), width, nullptr,
                  to + (size_t)K * width * p);
    packed = to;
    const int pixels = g.outH * g.outW;
    int32_t* table = (int32_t*)bang::sharedScratch(1, (uint64_t)pixels);
    for (int i = 0; i < pixels; i++) {
      const int cell = i / 4, cellsW = g.outW / 2;
      const int oh = cells ? cell / cellsW * 2 + i % 4 / 2 : i / g.outW;
      const int ow = cells ? cell % cellsW * 2 + i % 2 : i % g.outW;
      table[i] = (oh * g.strideH * rowPixels + ow * g.strideW) * g.inC;
    }
    begins = table;
  }

  Panel panel(int p, bool relu) const {
    return {packed + (size_t)g.kH * g.kW * g.inC * width * p, width,
            least(width, g.outC - p * width), g.outC <= NARROW_COLUMNS, bias ? bias + p * width : nullptr,
            relu};
  }

  /// Image n with its padding: in scratch memory, unless it can be read in place.
  const float* image(const float* x, int n) const {
    if (exact) return x + (ptrdiff_t)n * g.inH * g.inW * g.inC;
    float* padded = bang::scratch(0, (uint64_t)paddedHeight(g) * rowPixels * g.inC);
    padImage(g, x, n, padded);
    return padded;
  }
};

void conv2d(const Geometry& g, const float* x, const float* w, const float* bias, bool relu,
            float* y) {
  const Filter filter(g, w, bias, false);
  const int O = g.outC, pixels = g.outH * g.outW;
  const int32_t* begins = filter.begins;
  parallel(g.batch, [&](int n) {
    const float* image = filter.image(x, n);
    float* out = y + (ptrdiff_t)n * pixels * O;
    for (int p = 0; p < filter.panels; p++)
      panelRows(
          pixels, filter.window, filter.panel(p, relu),
          [&](int i) { return image + begins[i]; },
          [&](int i) { return out + (ptrdiff_t)i * O + p * filter.width; });
  });
}

/// Pools 2×2 cells of output pixels as they are computed: a tile is one or two cells, whose maxima are taken
/// while the sums are in registers. Panels are two vectors wide, because wider ones would be read
/// from the L2 cache for each cell.
template <int V, int T>
void poolCells(const Filter& filter, const Panel& panel, const float* image, float* y,
               uint8_t* winner) {
  constexpr int CELLS = MANY_REGISTERS && V > 1 ? 2 : 1, P = 4 * CELLS;
  const int cells = filter.g.outH * filter.g.outW / 4, O = filter.g.outC;
  const int32_t* begins = filter.begins;
  const RowShape window = filter.window;
  Vec start[V], sum[P][V];
  startOf<V>(panel, start);
  for (int i = 0; i < cells; i += CELLS) {
    const float* rows[P];
    for (int p = 0; p < P; p++) rows[p] = image + begins[least(4 * i + p, 4 * cells - 1)];
    tile<V, P, T>(rows, window, panel.data, panel.stride, start, sum);
    for (int c = 0; c < CELLS && i + c < cells; c++) {
      for (int v = 0; v < V; v++) {
        Vec best;
        VecI first;
        pickLargest([&](auto nans) {
          Vec total = best = sum[4 * c][v];
          first = VecI{};
          for (int q = 1; q < 4; q++) {
            const Vec value = sum[4 * c + q][v];
            const VecI wins = exceeds<nans>(value, best);
            first = wins ? VecI{} + q : first;
            best = wins ? value : best;
            total += value;
          }
          return total;
        });
        const int left = least(LANES, panel.width - v * LANES);
        const ptrdiff_t at = (ptrdiff_t)(i + c) * O + v * LANES;
        storeUpTo(y + at, best, left);
        storeBytes(winner + at, first, left);
      }
    }
  }
}

/// Pools an image row by row, keeping only the rows of the convolution that the current windows need.
void poolRows(const Filter& filter, const Geometry& pool, const float* image, float* y,
              uint8_t* winner) {
  const int O = filter.g.outC, width = filter.g.outW;
  const Rows kept = {bang::scratch(3, (uint64_t)pool.kH * width * O), (ptrdiff_t)width * O, pool.kH};
  int made = 0;
  for (int oh = 0; oh < pool.outH; oh++) {
    const Clip rows = clip(pool, oh, 0);
    for (int h = most(made, rows.h0); h < rows.h1; h++) {
      const int32_t* begins = filter.begins + h * width;
      float* out = kept.at(h);
      for (int p = 0; p < filter.panels; p++)
        panelRows(
            width, filter.window, filter.panel(p, false),
            [&](int i) { return image + begins[i]; },
            [&](int i) { return out + (ptrdiff_t)i * O + p * filter.width; });
    }
    made = rows.h1;
    const ptrdiff_t at = (ptrdiff_t)oh * pool.outW * O;
    maxPoolRow(pool, oh, kept, y + at, winner + at);
  }
}

/// Whether images are better in the lanes than channels: fewer lanes are idle, there are tasks enough for all threads to
/// be busy alike, and the images, which are copied, are not too many.
bool imagesFillLanes(const Geometry& g) {
  const int64_t lanes = roundUp(g.batch, LANES);
  return lanes * g.outC < (int64_t)roundUp(g.outC, LANES) * g.batch &&
         lanes / LANES * (g.outH / 2) >= 4 * bang::threads() && lanes * g.inH * g.inW * g.inC <= (1 << 24);
}

/// As conv2dMaxPool, with images in the lanes, of a convolution without padding and a pooling by cells.
void poolCellsOfLanes(const Geometry& g, const float* x, const float* w, const float* bias, float* y,
                      uint8_t* winner) {
  const int O = g.outC, cellsH = g.outH / 2, cellsW = g.outW / 2, groups = ceilDiv(g.batch, LANES);
  const ptrdiff_t inputs = (ptrdiff_t)g.inH * g.inW * g.inC, row = (ptrdiff_t)cellsW * O;
  const ptrdiff_t outputs = cellsH * row;
  const LaneWeights weights =
      laneWeights(g, w, bias, false, false, bang::sharedScratch(0, (uint64_t)g.kH * g.kW * g.inC * O));
  float* images = bang::sharedScratch(1, (uint64_t)inputs * groups * LANES);
  parallel(groups, [&](int group) {
    const int first = group * LANES;
    interleave(x + first * inputs, least(LANES, g.batch - first), (int)inputs, images + first * inputs);
  });
  parallel(groups * cellsH, [&](int i) {
    const int group = i / cellsH, oh = i % cellsH, first = group * LANES;
    const int inGroup = least(LANES, g.batch - first);
    float* values = bang::scratch(0, (uint64_t)row * LANES);
    uint8_t* winners = (uint8_t*)bang::scratch(1, (uint64_t)row * LANES / 4);
    laneCellRow<CELL_AND_WINNER>(g, weights, images + first * inputs, oh, values, winners);
    const ptrdiff_t at = first * outputs + oh * row;
    transposeInto((int)row, inGroup, values, LANES, y + at, outputs);
    transposeInto((int)row, inGroup, winners, LANES, winner + at, outputs);
  });
}

void conv2dMaxPool(const Geometry& g, const Geometry& pool, const float* x, const float* w,
                   const float* bias, float* y, uint8_t* winner) {
  const bool cells = tilesByCells(pool);
  if (cells && coversExactly(g) && g.outC > NARROW_COLUMNS && imagesFillLanes(g))
    return poolCellsOfLanes(g, x, w, bias, y, winner);
  const Filter filter(g, w, bias, cells);
  const ptrdiff_t outputs = (ptrdiff_t)pool.outH * pool.outW * pool.outC;
  parallel(g.batch, [&](int n) {
    const float* image = filter.image(x, n);
    if (!cells) return poolRows(filter, pool, image, y + n * outputs, winner + n * outputs);
    for (int p = 0; p < filter.panels; p++) {
      const Panel panel = filter.panel(p, false);
      float* to = y + n * outputs + p * filter.width;
      uint8_t* who = winner + n * outputs + p * filter.width;
      const bool one = panel.width <= LANES;
      if (panel.narrow && one) poolCells<1, NARROW_TURNS>(filter, panel, image, to, who);
      else if (panel.narrow) poolCells<2, NARROW_TURNS>(filter, panel, image, to, who);
      else if (one) poolCells<1, 1>(filter, panel, image, to, who);
      else poolCells<2, 1>(filter, panel, image, to, who);
    }
  });
}

}  // namespace
