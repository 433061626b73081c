// The two gradients of a convolution. Both skip zeros in kappa; max pooling and ReLU leave many.

namespace {

using bang::Kappa;

/// A nonzero element of kappa.
struct Entry {
  int32_t at;  // its channel, or its window's offset in the image
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
    for (int v = 0; v < V; v++) sum[v] = multiplyAdd(value, load(w + v * LANES), sum[v]);
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
    withConstant<8>(ceilDiv(run, LANES), [&](auto v) { addWeighted<v>(entries, count, weights, stride, run, y); });
  }
}

/// The nonzero elements of one image's kappa, output pixel by output pixel: those of pixel i are
/// entries[begins[i] … ends[i]), each with its channel.
struct Entries {
  Entry* entries;
  int *begins, *ends;
};

/// From kappa[pixels][O].
Entries entriesOf(const Geometry& g, const float* kappa) {
  const int O = g.outC, pixels = g.outH * g.outW;
  Entry* entries = (Entry*)bang::scratch(1, (uint64_t)pixels * O * 2);
  int* begins = (int*)bang::scratch(2, (uint64_t)pixels + 1);
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

/// From kappa[cells][O] of a 2×2 max pooling with known winners.
Entries entriesOf(const Geometry& g, const float* kappa, const uint8_t* winner) {
  const int O = g.outC, pixels = g.outH * g.outW, cellsW = g.outW / 2;
  Entry* entries = (Entry*)bang::scratch(1, (uint64_t)pixels * O * 2);
  int* begins = (int*)bang::scratch(2, (uint64_t)pixels * 2);
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

/// One image's kappa as the two gradients read it: for each output pixel, or for each cell of 2×2.
struct ImageKappa {
  const float* values;    // [pixels][O], or [cells][O] if there are winners
  const uint8_t* winner;  // of cells of 2×2

  ImageKappa(const Kappa& kappa, const Geometry& g, int n) {
    const bool cells = kappa.pool && tilesByCells(*kappa.pool);
    const ptrdiff_t at = (ptrdiff_t)n * g.outH * g.outW * g.outC / (cells ? 4 : 1);
    values = kappa.pool && !cells ? unpooled(kappa, n) : kappa.values + at;
    winner = cells ? kappa.winner + at : nullptr;
  }
};

Entries entriesOf(const Geometry& g, const ImageKappa& kappa) {
  return kappa.winner ? entriesOf(g, kappa.values, kappa.winner) : entriesOf(g, kappa.values);
}

// Each element of kappa adds its weights to its window of dx. For a fixed row of the window these are
// kW*I contiguous floats, in dx and in the weights.
void conv2dInputGradient(const Geometry& g, const Kappa& kappa, const float* w, float* dx) {
  const int O = g.outC, C = g.inC, run = g.kW * C;
  const int runPadded = roundUp(run, LANES);
  // weights[kH][O][runPadded]
  float* weights = bang::sharedScratch(0, (uint64_t)g.kH * O * runPadded);
  memset(weights, 0, (size_t)g.kH * O * runPadded * 4);
  for (int kh = 0; kh < g.kH; kh++)
    transposeInto(run, O, w + (ptrdiff_t)kh * run * O, O, weights + (ptrdiff_t)kh * O * runPadded,
                  runPadded);
  const int W = paddedWidth(g), H = paddedHeight(g);
  parallel(g.batch, [&](int n) {
    float* padded = bang::scratch(0, (uint64_t)H * W * C);
    memset(padded, 0, (size_t)H * W * C * 4);
    const Entries found = entriesOf(g, ImageKappa(kappa, g, n));
    for (int kh = 0; kh < g.kH; kh++) {
      // Column by column, because neighbours in a row write to the same cache lines in quick succession.
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

/// dw[G rows of the window][V vectors] += sum over entries of value * x[entry.at …], in U partial sums that take
/// the entries in turn.
template <class Vector, int U, int V, int G>
inline void addOuter(const Entry* entries, int count, const float* x, ptrdiff_t rowStride,
                     float* dw, ptrdiff_t dwStride) {
  typedef Vector Anywhere __attribute__((aligned(4), may_alias));
  constexpr int lanes = sizeof(Vector) / 4;
  Vector sum[U][G][V] = {};
  const auto add = [&](int u, const Entry& entry) {
    const float* window = x + entry.at;
    const Vector value = entry.value - Vector{};
#pragma GCC unroll 8
    for (int r = 0; r < G; r++)
#pragma GCC unroll 8
      for (int v = 0; v < V; v++)
        sum[u][r][v] = multiplyAdd(value, *(const Anywhere*)(window + r * rowStride + v * lanes), sum[u][r][v]);
  };
  int e = 0;
  for (; e + U <= count; e += U) {
#pragma GCC unroll 2
    for (int u = 0; u < U; u++) add(u, entries[e + u]);
  }
  if (e < count) add(0, entries[e]);
#pragma GCC unroll 8
  for (int r = 0; r < G; r++)
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) {
      Anywhere& to = *(Anywhere*)(dw + r * dwStride + v * lanes);
      to = to + (U == 2 ? sum[0][r][v] + sum[U - 1][r][v] : sum[0][r][v]);
    }
}

/// Rows of a window that are summed together, `wide` blocks of SUM_FLOATS each, so that the accumulators fill the
/// registers of AVX-512.
constexpr int rowsTogether(int wide) { return wide <= 3 ? 5 : wide <= 7 ? 2 : 1; }

template <class Vector, int U, int V>
void addOuterRows(const Entry* entries, int count, const float* x, ptrdiff_t rowStride, int rows,
                  float* dw, ptrdiff_t dwStride) {
  constexpr int G = LANES == SUM_FLOATS ? rowsTogether(V) : most(1, least(5, 12 / (U * V)));
  int r = 0;
  for (; r + G <= rows; r += G)
    addOuter<Vector, U, V, G>(entries, count, x + r * rowStride, rowStride, dw + r * dwStride, dwStride);
  for (; G > 2 && r + 2 <= rows; r += 2)
    addOuter<Vector, U, V, 2>(entries, count, x + r * rowStride, rowStride, dw + r * dwStride, dwStride);
  for (; r < rows; r++)
    addOuter<Vector, U, V, 1>(entries, count, x + r * rowStride, rowStride, dw + r * dwStride, dwStride);
}

/// dw[rows][columns] of a window, in pieces of at most 8 vectors.
template <int U>
void addOuterPieces(const Entry* entries, int count, const float* x, ptrdiff_t rowStride, int rows,
                    int columns, float* dw, ptrdiff_t dwStride) {
  if (columns * 4 == sizeof(Half))
    return addOuterRows<Half, U, 1>(entries, count, x, rowStride, rows, dw, dwStride);
  for (int c = 0; rows > 0 && c < columns; c += 8 * LANES) {
    const float* from = x + c;
    float* to = dw + c;
    withConstant<8>((columns - c) / LANES, [&](auto v) {
      addOuterRows<Vec, U, v>(entries, count, from, rowStride, rows, to, dwStride);
    });
  }
}

/// Two partial sums where with a single one AVX-512's multiply-adds would wait for each other. Which sums have two
/// is the same on every level, so that all round alike.
void addOuterWindow(const Entry* entries, int count, const float* x, ptrdiff_t rowStride, int kH,
                    int runPadded, float* dw) {
  for (int c = 0; c < runPadded; c += 8 * SUM_FLOATS) {
    const int columns = least(8 * SUM_FLOATS, runPadded - c), wide = ceilDiv(columns, SUM_FLOATS);
    const int together = rowsTogether(wide), grouped = kH / together * together;
    const auto add = [&](int row, int rows, bool two) {
      (two ? addOuterPieces<2> : addOuterPieces<1>)(entries, count, x + c + row * rowStride, rowStride, rows,
                                                    columns, dw + c + (ptrdiff_t)row * runPadded, runPadded);
    };
    add(0, grouped, wide * together <= 6);
    add(grouped, kH - grouped, wide <= 6);
  }
}

/// A row of `run` floats with its padding, as addOuterPieces takes it.
inline int paddedRun(int run) {
  constexpr int half = sizeof(Half) / 4;
  return run <= half ? half : roundUp(run, LANES);
}

/// One batch element, as it is added to a chunk's weight gradient.
struct Element {
  const Geometry& g;
  ptrdiff_t rowStride;  // floats from one row of the padded image to the next
  const float* image;   // in scratch memory, because whole vectors are read past its end
  ImageKappa kappa;
  float factor;

  ptrdiff_t windowAt(int oh, int ow) const {
    return oh * g.strideH * rowStride + (ptrdiff_t)ow * g.strideW * g.inC;
  }
};

/// total[T][V vectors] += x[ow * step + t] * kappa[ow] for one row of output pixels.
template <int V, int T>
inline void addTaps(int width, const float* x, int step, const float* kappa, int columns,
                    float* total) {
  Vec sum[T][V];
#pragma GCC unroll 8
  for (int t = 0; t < T; t++)
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) sum[t][v] = load(total + t * columns + v * LANES);
  for (int ow = 0; ow < width; ow++, x += step, kappa += columns) {
    Vec k[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) k[v] = load(kappa + v * LANES);
#pragma GCC unroll 8
    for (int t = 0; t < T; t++)
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) sum[t][v] = multiplyAdd(splat(x[t]), k[v], sum[t][v]);
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; t++)
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) store(total + t * columns + v * LANES, sum[t][v]);
}

template <int V>
void addTapsOf(int taps, int width, const float* x, int step, const float* kappa, int columns,
               float* total) {
  withConstant<8>(taps, [&](auto t) { addTaps<V, t>(width, x, step, kappa, columns, total); });
}

/// For windows with short rows (grey or colour images): dw[kH*kW*I][O] += x * kappa, with vectors along the
/// channels. Works on one row of output pixels at a time, so that its data stay in the L1 cache.
void addAlongChannels(const Element& e, float* sum) {
  constexpr int TAPS = MANY_REGISTERS ? 8 : FUSED ? 5 : 4;
  const Geometry& g = e.g;
  const int run = g.kW * g.inC, O = g.outC, columns = roundUp(O, LANES);
  const int parts = ceilDiv(run, TAPS);
  const uint64_t count = (uint64_t)g.kH * run * columns;
  const Vec factor = splat(e.factor);
  float* total = bang::scratch(1, count);
  float* scaled = bang::scratch(2, (uint64_t)g.outW * columns);
  memset(total, 0, count * 4);
  const float* kappa = e.kappa.values;
  for (int oh = 0; oh < g.outH; oh++) {
    for (int ow = 0; ow < g.outW; ow++, kappa += O)
      for (int o = 0; o < O; o += LANES)
        store(scaled + (ptrdiff_t)ow * columns + o, factor * loadUpTo(kappa + o, O - o));
    for (int kh = 0; kh < g.kH; kh++) {
      const float* x = e.image + e.windowAt(oh, 0) + kh * e.rowStride;
      for (int part = 0; part < parts; part++) {
        const int first = part * run / parts, taps = (part + 1) * run / parts - first;
        float* to = total + (ptrdiff_t)(kh * run + first) * columns;
        const int step = g.strideW * g.inC;
        int o = 0;
        for (; o + 2 * LANES <= columns; o += 2 * LANES)
          addTapsOf<2>(taps, g.outW, x + first, step, scaled + o, columns, to + o);
        if (o < columns) addTapsOf<1>(taps, g.outW, x + first, step, scaled + o, columns, to + o);
      }
    }
  }
  for (size_t i = 0; i < count; i += LANES) store(sum + i, load(sum + i) + load(total + i));
}

/// For windows with longer rows: the nonzero elements of kappa are sorted by channel. For each channel,
/// dw[O][kH][kW*I] += kappa * window, with vectors along the rows of the window.
void addAlongRows(const Element& e, float* sum) {
  const Geometry& g = e.g;
  const int O = g.outC, pixels = g.outH * g.outW, runPadded = paddedRun(g.kW * g.inC);
  Entry* entries = (Entry*)bang::scratch(1, (uint64_t)pixels * O * 2);
  int* have = (int*)bang::scratch(2, (uint64_t)O);
  memset(have, 0, (size_t)O * 4);
  const float* row = e.kappa.values;
  for (int cell = 0; e.kappa.winner && cell < pixels / 4; cell++, row += O) {
    const int oh = cell / (g.outW / 2) * 2, ow = cell % (g.outW / 2) * 2;
    const uint8_t* who = e.kappa.winner + (ptrdiff_t)cell * O;
    int32_t at[4];
    for (int q = 0; q < 4; q++) at[q] = (int32_t)e.windowAt(oh + q / 2, ow + q % 2);
    for (int o = 0; o < O; o++) {
      entries[(ptrdiff_t)o * pixels + have[o]] = {at[who[o] & 3], row[o] * e.factor};
      have[o] += row[o] != 0;
    }
  }
  for (int oh = 0; !e.kappa.winner && oh < g.outH; oh++)
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
  const int O = e.g.outC, pixels = e.g.outH * e.g.outW / (e.kappa.winner ? 4 : 1);
  const Vec factor = splat(e.factor);
  for (int o = 0; o < O; o += LANES) {
    const int channels = least(LANES, O - o);
    Vec total = {};
    for (int i = 0; i < pixels; i++) total += loadUpTo(e.kappa.values + (ptrdiff_t)i * O + o, channels);
    storeUpTo(bias + o, loadUpTo(bias + o, channels) + factor * total, channels);
  }
}

// The batch is split into a fixed number of chunks whose sums are added in order, so the result does
// not depend on the number of threads.
constexpr int GRADIENT_CHUNKS = 16;

void conv2dWeightGradient(const Geometry& g, const float* x, const Kappa& kappa, const float* scale,
                          float* dw, float* db) {
  const int O = g.outC, run = g.kW * g.inC;
  const int columns = roundUp(O, LANES), runPadded = paddedRun(run);
  const bool alongChannels = run <= 16 && !(kappa.pool && tilesByCells(*kappa.pool));
  const uint64_t imageFloats = (uint64_t)paddedHeight(g) * paddedWidth(g) * g.inC;
  const int perChunk = most(1, ceilDiv(g.batch, GRADIENT_CHUNKS));
  const int chunks = ceilDiv(g.batch, perChunk);
  // sums[chunk][kH*run][columns] or sums[chunk][O][kH][runPadded]; biases[chunk][columns]
  const uint64_t chunkFloats =
      alongChannels ? (uint64_t)g.kH * run * columns : (uint64_t)O * g.kH * runPadded;
  float* sums = bang::sharedScratch(0, chunkFloats * chunks);
  float* biases = bang::sharedScratch(1, (uint64_t)chunks * columns);
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
                               ImageKappa(kappa, g, n), scale ? scale[n] : 1.0f};
      addBias(element, bias);
      if (!alongChannels) addAlongRows(element, sum);
      else addAlongChannels(element, sum);
    }
  });
  // Add the chunks in order, and transpose [O][kH][runPadded] to [kH*run][O].
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
  for (int o = 0; o < O; o++) {
    float sum = 0;
    for (int chunk = 0; chunk < chunks; chunk++) sum += biases[(ptrdiff_t)chunk * columns + o];
    db[o] = sum;
  }
}

}  // namespace
