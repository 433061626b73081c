// Convolution (cross-correlation) in NHWC with its two gradients, directly: no im2col, no FFT, no
// Winograd, so that equal windows give equal sums (see kernels.h).

namespace {

using bang::Window;

/// Width and height of an image with its padding: what the windows cover.
inline int paddedHeight(const Window& g) { return (g.outH - 1) * g.strideH + g.kH; }
inline int paddedWidth(const Window& g) { return (g.outW - 1) * g.strideW + g.kW; }

/// Whether the windows lie in the image as it is, row by row.
inline bool coversExactly(const Window& g) {
  return g.padTop == 0 && g.padLeft == 0 && paddedWidth(g) <= g.inW && paddedHeight(g) <= g.inH;
}

/// Image n with its zero border in `to`; rows and columns that no window covers are left out.
void padImage(const Window& g, const float* x, int n, float* to) {
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

/// A convolution's filter, packed into panels once for all images, and where its windows lie. With
/// `cells` the windows come four by four, as 2×2 cells of output pixels, for pooling.
struct Filter {
  const Window& g;
  int width, panels, rowPixels;
  bool exact;
  RowShape window;
  const float *packed, *bias;
  const int32_t* begins;  // offset in the image of each output pixel's window

  Filter(const Window& geometry, const float* w, const float* biasOrNull, bool cells)
      : g(geometry), width(panelWidth(g.outC, cells ? 2 : MAX_V)), panels(ceilDiv(g.outC, width)),
        rowPixels(coversExactly(g) ? g.inW : paddedWidth(g)), exact(coversExactly(g)),
        window{g.kH, g.kW * g.inC, 0, (ptrdiff_t)rowPixels * g.inC}, bias(biasOrNull) {
    const int K = g.kH * g.kW * g.inC;
    float* to = bang::sharedScratch(0, (size_t)K * width * panels);
    for (int p = 0; p < panels; p++)
      packColumns(K, w + p * width, g.outC, least(width, g.outC - p * width), width, nullptr,
                  to + (size_t)K * width * p);
    packed = to;
    const int pixels = g.outH * g.outW;
    int32_t* table = (int32_t*)bang::sharedScratch(1, (size_t)pixels);
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

  /// Image n as the windows want it: padded in scratch memory if need be.
  const float* image(const float* x, int n) const {
    if (exact) return x + (ptrdiff_t)n * g.inH * g.inW * g.inC;
    float* padded = bang::scratch(0, (size_t)paddedHeight(g) * rowPixels * g.inC);
    padImage(g, x, n, padded);
    return padded;
  }
};

void conv2d(const Window& g, const float* x, const float* w, const float* bias, bool relu,
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

/// Pools cells of 2×2 output pixels as they are computed: a tile is some cells, whose sums never
/// leave the registers before their maximum is known. Panels are two vectors wide: wider ones would
/// be read from the second-level cache for each cell.
template <int V, int T>
void poolCells(const Filter& filter, const Panel& panel, const float* image, float* y,
               uint8_t* winner) {
  constexpr int CELLS = MANY_REGISTERS && V > 1 ? 2 : 1, P = 4 * CELLS;
  typedef uint8_t Bytes __attribute__((vector_size(LANES)));
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
        Vec best = splat(-__builtin_inff());
        VecI first = {};
        for (int q = 0; q < 4; q++) {
          const Vec value = sum[4 * c + q][v];
          first = value > best ? VecI{} + q : first;
          best = maxOf(value, best);
        }
        const int left = least(LANES, panel.width - v * LANES);
        const ptrdiff_t at = (ptrdiff_t)(i + c) * O + v * LANES;
        storeUpTo(y + at, best, left);
        const Bytes bytes = __builtin_convertvector(first, Bytes);
        memcpy(winner + at, &bytes, (size_t)left);
      }
    }
  }
}

void conv2dMaxPool(const Window& g, const float* x, const float* w, const float* bias, float* y,
                   uint8_t* winner) {
  const Filter filter(g, w, bias, true);
  const ptrdiff_t outputs = (ptrdiff_t)g.outH / 2 * (g.outW / 2) * g.outC;
  parallel(g.batch, [&](int n) {
    const float* image = filter.image(x, n);
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

/// An element of kappa that is not zero: after max pooling and ReLU few are.
struct Entry {
  int32_t at;  // where it belongs: a channel or an offset into the image
  float value;
};

/// y[0 … run) += sum over entries of value * weights[entry.at * stride + 0 … run), V vectors.
template <int V>
inline void addWeighted(const Entry* entries, int count, const float* weights, ptrdiff_t stride,
                        int run, float* y) {
  Vec sum[V] = {};
  for (int e = 0; e < count; e++) {
    const float* w = weights + entries[e].at * stride;
    const Vec value = splat(entries[e].value);
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) sum[v] += value * load(w + v * LANES);
  }
#pragma GCC unroll 8
  for (int v = 0; v < V; v++) {
    const int left = run - v * LANES;
    storeUpTo(y + v * LANES, loadUpTo(y + v * LANES, left) + sum[v], left);
  }
}

void addWeightedRun(const Entry* entries, int count, const float* weights, ptrdiff_t stride,
                    int run, float* y) {
  for (; run > 0; run -= 8 * LANES, weights += 8 * LANES, y += 8 * LANES) {
    switch (least(8, ceilDiv(run, LANES))) {
      case 1: addWeighted<1>(entries, count, weights, stride, run, y); break;
      case 2: addWeighted<2>(entries, count, weights, stride, run, y); break;
      case 3: addWeighted<3>(entries, count, weights, stride, run, y); break;
      case 4: addWeighted<4>(entries, count, weights, stride, run, y); break;
      case 5: addWeighted<5>(entries, count, weights, stride, run, y); break;
      case 6: addWeighted<6>(entries, count, weights, stride, run, y); break;
      case 7: addWeighted<7>(entries, count, weights, stride, run, y); break;
      default: addWeighted<8>(entries, count, weights, stride, run, y); break;
    }
  }
}

/// The nonzero elements of one image's kappa, output pixel by output pixel: those of pixel i are
/// entries[begins[i] … ends[i]), each with its channel.
struct Entries {
  Entry* entries;
  int *begins, *ends;
};

/// From kappa[pixels][O].
Entries entriesOf(const Window& g, const float* kappa) {
  const int O = g.outC, pixels = g.outH * g.outW;
  Entry* entries = (Entry*)bang::scratch(1, (size_t)pixels * O * 2);
  int* begins = (int*)bang::scratch(2, (size_t)pixels + 1);
  int have = begins[0] = 0;
  for (int i = 0; i < pixels; i++, kappa += O) {
    for (int o = 0; o < O; o += LANES)
      for (uint32_t mask = nonzeroMask(loadUpTo(kappa + o, least(LANES, O - o))); mask;
           mask &= mask - 1) {
        const int channel = o + __builtin_ctz(mask);
        entries[have++] = {channel, kappa[channel]};
      }
    begins[i + 1] = have;
  }
  return {entries, begins, begins + 1};
}

/// From kappa[cells][O] behind a pooling of 2×2 whose winners are known.
Entries entriesOf(const Window& g, const float* kappa, const uint8_t* winner) {
  const int O = g.outC, pixels = g.outH * g.outW, cellsW = g.outW / 2;
  Entry* entries = (Entry*)bang::scratch(1, (size_t)pixels * O * 2);
  int* begins = (int*)bang::scratch(2, (size_t)pixels * 2);
  int* ends = begins + pixels;
  for (int i = 0; i < pixels; i++) begins[i] = ends[i] = i * O;
  for (int cell = 0; cell < pixels / 4; cell++) {
    const int first = cell / cellsW * 2 * g.outW + cell % cellsW * 2;
    const int pixel[4] = {first, first + 1, first + g.outW, first + g.outW + 1};
    for (int o = 0; o < O; o++) {
      const float value = kappa[(ptrdiff_t)cell * O + o];
      int& end = ends[pixel[winner[(ptrdiff_t)cell * O + o] & 3]];
      entries[end] = {o, value};
      end += value != 0;
    }
  }
  return {entries, begins, ends};
}

// Each element of kappa adds its window's worth of weights to dx: for a fixed row of the window
// those are one run of kW*I floats, in dx as in the weights.
void conv2dInputGradient(const Window& g, const float* kappa, const uint8_t* winner,
                         const float* w, float* dx) {
  const int O = g.outC, C = g.inC, run = g.kW * C;
  const ptrdiff_t kappas = (ptrdiff_t)g.outH * g.outW * O / (winner ? 4 : 1);
  const int runPadded = roundUp(run, LANES);
  // weights[kH][O][runPadded]
  float* weights = bang::sharedScratch(0, (size_t)g.kH * O * runPadded);
  memset(weights, 0, (size_t)g.kH * O * runPadded * 4);
  for (int kh = 0; kh < g.kH; kh++)
    transposeInto(run, O, w + (ptrdiff_t)kh * run * O, O, weights + (ptrdiff_t)kh * O * runPadded,
                  runPadded);
  const int W = paddedWidth(g), H = paddedHeight(g);
  parallel(g.batch, [&](int n) {
    float* padded = bang::scratch(0, (size_t)H * W * C);
    memset(padded, 0, (size_t)H * W * C * 4);
    const Entries found = winner ? entriesOf(g, kappa + n * kappas, winner + n * kappas)
                                 : entriesOf(g, kappa + n * kappas);
    for (int kh = 0; kh < g.kH; kh++) {
      // Down the columns: neighbours in a row would add to the same cache lines at once.
      for (int ow = 0; ow < g.outW; ow++) {
        for (int oh = 0; oh < g.outH; oh++) {
          const int i = oh * g.outW + ow, count = found.ends[i] - found.begins[i];
          if (count == 0) continue;
          addWeightedRun(found.entries + found.begins[i], count,
                         weights + (ptrdiff_t)kh * O * runPadded, runPadded, run,
                         padded + ((ptrdiff_t)(oh * g.strideH + kh) * W + ow * g.strideW) * C);
        }
      }
    }
    for (int h = 0; h < g.inH; h++) {
      float* to = dx + ((ptrdiff_t)n * g.inH + h) * g.inW * C;
      const int from = h + g.padTop;
      const int width = from < H ? most(0, least(g.inW, W - g.padLeft)) : 0;
      if (width) memcpy(to, padded + ((ptrdiff_t)from * W + g.padLeft) * C, (size_t)width * C * 4);
      memset(to + (ptrdiff_t)width * C, 0, (size_t)(g.inW - width) * C * 4);
    }
  });
}

/// dw[G rows of the window][V vectors] += sum over entries of value * x[entry.at …].
template <int V, int G>
inline void addOuter(const Entry* entries, int count, const float* x, ptrdiff_t rowStride,
                     float* dw, ptrdiff_t dwStride) {
  // Two sums of each where one alone would leave the multiply-adds waiting for each other.
  constexpr int U = V * G <= 6 ? 2 : 1;
  Vec sum[U][G][V] = {};
  int e = 0;
  for (; e + U <= count; e += U) {
#pragma GCC unroll 2
    for (int u = 0; u < U; u++) {
      const float* window = x + entries[e + u].at;
      const Vec value = splat(entries[e + u].value);
#pragma GCC unroll 8
      for (int r = 0; r < G; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++) sum[u][r][v] += value * load(window + r * rowStride + v * LANES);
    }
  }
  for (; e < count; e++) {
    const float* window = x + entries[e].at;
    for (int r = 0; r < G; r++)
      for (int v = 0; v < V; v++)
        sum[0][r][v] += splat(entries[e].value) * load(window + r * rowStride + v * LANES);
  }
#pragma GCC unroll 8
  for (int r = 0; r < G; r++)
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) {
      float* to = dw + r * dwStride + v * LANES;
      const Vec total = U == 2 ? sum[0][r][v] + sum[U - 1][r][v] : sum[0][r][v];
      store(to, load(to) + total);
    }
}

/// Rows of the window that are summed together, so that V * G accumulators fill the registers.
constexpr int rowsTogether(int V) {
  return V == 1 ? 5 : MANY_REGISTERS ? (V <= 3 ? 5 : V <= 7 ? 2 : 1) : (V <= 3 ? 3 : 1);
}

template <int V>
void addOuterRows(const Entry* entries, int count, const float* x, ptrdiff_t rowStride, int kH,
                  float* dw, ptrdiff_t dwStride) {
  constexpr int G = rowsTogether(V);
  int r = 0;
  for (; r + G <= kH; r += G)
    addOuter<V, G>(entries, count, x + r * rowStride, rowStride, dw + r * dwStride, dwStride);
  for (; r < kH; r++)
    addOuter<V, 1>(entries, count, x + r * rowStride, rowStride, dw + r * dwStride, dwStride);
}

void addOuterWindow(const Entry* entries, int count, const float* x, ptrdiff_t rowStride, int kH,
                    int runPadded, float* dw) {
  for (int c = 0; c < runPadded; c += 8 * LANES) {
    switch (least(8, (runPadded - c) / LANES)) {
      case 1: addOuterRows<1>(entries, count, x + c, rowStride, kH, dw + c, runPadded); break;
      case 2: addOuterRows<2>(entries, count, x + c, rowStride, kH, dw + c, runPadded); break;
      case 3: addOuterRows<3>(entries, count, x + c, rowStride, kH, dw + c, runPadded); break;
      case 4: addOuterRows<4>(entries, count, x + c, rowStride, kH, dw + c, runPadded); break;
      case 5: addOuterRows<5>(entries, count, x + c, rowStride, kH, dw + c, runPadded); break;
      case 6: addOuterRows<6>(entries, count, x + c, rowStride, kH, dw + c, runPadded); break;
      case 7: addOuterRows<7>(entries, count, x + c, rowStride, kH, dw + c, runPadded); break;
      default: addOuterRows<8>(entries, count, x + c, rowStride, kH, dw + c, runPadded); break;
    }
  }
}

/// One element of the batch, on its way into a chunk's weight gradient.
struct Element {
  const Window& g;
  ptrdiff_t rowStride;  // floats from one row of the padded image to the next
  const float* image;   // in scratch memory: runs of it are read in whole vectors, past its end
  const float* kappa;   // [pixels][O], or [cells][O] if there are winners
  const uint8_t* winner;
  float factor;

  ptrdiff_t windowAt(int oh, int ow) const {
    return oh * g.strideH * rowStride + (ptrdiff_t)ow * g.strideW * g.inC;
  }
};

/// For windows with short rows (a grey or colour image): dw[kH*kW*I][O] += x * kappa, vectors along
/// the channels, TAPS values of the window and V vectors of channels at a time in registers.
template <int V>
void addAlongChannels(const Element& e, float* sum) {
  constexpr int TAPS = MANY_REGISTERS ? (V == 1 ? 10 : V == 2 ? 8 : 5) : V == 1 ? 8 : 4;
  const Window& g = e.g;
  const int run = g.kW * g.inC, taps = g.kH * run, O = g.outC, columns = roundUp(O, LANES);
  const Vec factor = splat(e.factor);
  for (int o = 0; o < O; o += V * LANES) {
    for (int first = 0; first < taps; first += TAPS) {
      ptrdiff_t offsets[TAPS];
      Vec total[TAPS][V] = {};
      // Spare taps repeat the last one and are not stored.
      for (int t = 0; t < TAPS; t++) {
        const int tap = least(first + t, taps - 1);
        offsets[t] = tap / run * e.rowStride + tap % run;
      }
      const float* row = e.kappa + o;
      for (int oh = 0; oh < g.outH; oh++)
        for (int ow = 0; ow < g.outW; ow++, row += O) {
          const float* x = e.image + e.windowAt(oh, ow);
          Vec kappa[V];
#pragma GCC unroll 4
          for (int v = 0; v < V; v++)
            kappa[v] = factor * loadUpTo(row + v * LANES, most(0, O - o - v * LANES));
#pragma GCC unroll 10
          for (int t = 0; t < TAPS; t++)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) total[t][v] += splat(x[offsets[t]]) * kappa[v];
        }
      for (int t = 0; t < TAPS && first + t < taps; t++)
        for (int v = 0; v < V && o + v * LANES < columns; v++) {
          float* to = sum + (ptrdiff_t)(first + t) * columns + o + v * LANES;
          store(to, load(to) + total[t][v]);
        }
    }
  }
}

/// For windows with longer rows: the nonzero elements of kappa are sorted by channel, and for each
/// channel dw[O][kH][kW*I] += kappa * window, vectors along the rows of the window.
void addAlongRows(const Element& e, float* sum) {
  const Window& g = e.g;
  const int O = g.outC, pixels = g.outH * g.outW, runPadded = roundUp(g.kW * g.inC, LANES);
  Entry* entries = (Entry*)bang::scratch(1, (size_t)pixels * O * 2);
  int* have = (int*)bang::scratch(2, (size_t)O);
  memset(have, 0, (size_t)O * 4);
  const float* row = e.kappa;
  for (int cell = 0; e.winner && cell < pixels / 4; cell++, row += O) {
    const int oh = cell / (g.outW / 2) * 2, ow = cell % (g.outW / 2) * 2;
    const uint8_t* who = e.winner + (ptrdiff_t)cell * O;
    int32_t at[4];
    for (int q = 0; q < 4; q++) at[q] = (int32_t)e.windowAt(oh + q / 2, ow + q % 2);
    for (int o = 0; o < O; o++) {
      entries[(ptrdiff_t)o * pixels + have[o]] = {at[who[o] & 3], row[o] * e.factor};
      have[o] += row[o] != 0;
    }
  }
  for (int oh = 0; !e.winner && oh < g.outH; oh++)
    for (int ow = 0; ow < g.outW; ow++, row += O) {
      const int32_t at = (int32_t)e.windowAt(oh, ow);
      for (int o = 0; o < O; o += LANES)
        for (uint32_t mask = nonzeroMask(loadUpTo(row + o, O - o)); mask; mask &= mask - 1) {
          const int channel = o + __builtin_ctz(mask);
          entries[(ptrdiff_t)channel * pixels + have[channel]++] = {at, row[channel] * e.factor};
        }
    }
  for (int o = 0; o < O; o++)
    addOuterWindow(entries + (ptrdiff_t)o * pixels, have[o], e.image, e.rowStride, g.kH, runPadded,
                   sum + (ptrdiff_t)o * g.kH * runPadded);
}

/// bias[O] += factor * sum over pixels of kappa.
void addBias(const Element& e, float* bias) {
  const int O = e.g.outC, pixels = e.g.outH * e.g.outW / (e.winner ? 4 : 1);
  const Vec factor = splat(e.factor);
  for (int o = 0; o < O; o += LANES) {
    const int channels = least(LANES, O - o);
    Vec total = {};
    for (int i = 0; i < pixels; i++) total += loadUpTo(e.kappa + (ptrdiff_t)i * O + o, channels);
    storeUpTo(bias + o, loadUpTo(bias + o, channels) + factor * total, channels);
  }
}

// The batch is cut into a fixed number of chunks whose sums are added in order, so the result does
// not depend on the number of threads.
constexpr int GRADIENT_CHUNKS = 16;

void conv2dWeightGradient(const Window& g, const float* x, const float* kappa,
                          const uint8_t* winner, const float* scale, float* dw, float* db) {
  const int O = g.outC, run = g.kW * g.inC;
  const ptrdiff_t kappas = (ptrdiff_t)g.outH * g.outW * O / (winner ? 4 : 1);
  const int columns = roundUp(O, LANES), runPadded = roundUp(run, LANES);
  const bool alongChannels = run <= 16 && !winner;
  const size_t imageFloats = (size_t)paddedHeight(g) * paddedWidth(g) * g.inC;
  const int perChunk = most(1, ceilDiv(g.batch, GRADIENT_CHUNKS));
  const int chunks = ceilDiv(g.batch, perChunk);
  // sums[chunk][kH*run][columns] or sums[chunk][O][kH][runPadded]; biases[chunk][columns]
  const size_t chunkFloats =
      alongChannels ? (size_t)g.kH * run * columns : (size_t)O * g.kH * runPadded;
  float* sums = bang::sharedScratch(0, chunkFloats * chunks);
  float* biases = bang::sharedScratch(1, (size_t)chunks * columns);
  parallel(chunks, [&](int chunk) {
    float* sum = sums + chunkFloats * chunk;
    float* bias = biases + (ptrdiff_t)chunk * columns;
    memset(sum, 0, chunkFloats * 4);
    memset(bias, 0, (size_t)columns * 4);
    float* image = bang::scratch(0, imageFloats);
    const int last = least(g.batch, (chunk + 1) * perChunk);
    for (int n = chunk * perChunk; n < last; n++) {
      padImage(g, x, n, image);
      const Element element = {g, (ptrdiff_t)paddedWidth(g) * g.inC, image,
                               kappa + n * kappas, winner ? winner + n * kappas : nullptr,
                               scale ? scale[n] : 1.0f};
      addBias(element, bias);
      if (!alongChannels) addAlongRows(element, sum);
      else if (O <= LANES) addAlongChannels<1>(element, sum);
      else addAlongChannels<2>(element, sum);
    }
  });
  // Add the chunks in order, and bring [O][kH][runPadded] back to [kH*run][O].
  const auto total = [&](const float* first, size_t at) {
    Vec sum = {};
    for (int chunk = 0; chunk < chunks; chunk++) sum += load(first + at + chunkFloats * chunk);
    return sum;
  };
  parallel(g.kH, [&](int kh) {
    for (int j = 0; alongChannels && j < run; j++)
      for (int o = 0; o < O; o += LANES)
        storeUpTo(dw + (ptrdiff_t)(kh * run + j) * O + o,
                  total(sums, (size_t)(kh * run + j) * columns + o), O - o);
    for (int o = 0; !alongChannels && o < O; o++)
      for (int j = 0; j < run; j += LANES) {
        const Vec values = total(sums, ((size_t)o * g.kH + kh) * runPadded + j);
        for (int lane = 0; lane < least(LANES, run - j); lane++)
          dw[(ptrdiff_t)(kh * run + j + lane) * O + o] = values[lane];
      }
  });
  for (int o = 0; db && o < O; o++) {
    float sum = 0;
    for (int chunk = 0; chunk < chunks; chunk++) sum += biases[(ptrdiff_t)chunk * columns + o];
    db[o] = sum;
  }
}

}  // namespace
