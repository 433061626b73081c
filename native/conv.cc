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

void conv2d(const Window& g, const float* x, const float* w, const float* bias, bool relu,
            float* y) {
  const int K = g.kH * g.kW * g.inC, O = g.outC, pixels = g.outH * g.outW;
  const int width = panelWidth(O), panels = ceilDiv(O, width);
  const size_t panelFloats = (size_t)K * width;
  float* packed = bang::sharedScratch(0, panelFloats * panels);
  for (int p = 0; p < panels; p++)
    packColumns(K, w + p * width, O, least(width, O - p * width), width, nullptr,
                packed + panelFloats * p);
  const bool exact = coversExactly(g);
  const int W = exact ? g.inW : paddedWidth(g), C = g.inC;
  const RowShape window = {g.kH, g.kW * C, (ptrdiff_t)W * C};
  parallel(g.batch, [&](int n) {
    const float* image = x + (ptrdiff_t)n * g.inH * g.inW * C;
    if (!exact) {
      float* padded = bang::scratch(0, (size_t)paddedHeight(g) * W * C);
      padImage(g, x, n, padded);
      image = padded;
    }
    float* out = y + (ptrdiff_t)n * pixels * O;
    for (int p = 0; p < panels; p++) {
      const Panel panel = {packed + panelFloats * p, width, least(width, O - p * width),
                           bias ? bias + p * width : nullptr, relu};
      panelRows(
          pixels, window, panel,
          [&](int i) {
            return image + ((ptrdiff_t)(i / g.outW) * g.strideH * W + i % g.outW * g.strideW) * C;
          },
          [&](int i) { return out + (ptrdiff_t)i * O + p * width; });
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

/// Appends the nonzero elements of row[0 … count) to `entries`.
inline int collect(const float* row, int count, Entry* entries, int have) {
  for (int c = 0; c < count; c += LANES) {
    const Vec v = loadUpTo(row + c, count - c);
    for (uint32_t mask = nonzeroMask(v); mask; mask &= mask - 1) {
      const int lane = __builtin_ctz(mask);
      entries[have++] = {c + lane, row[c + lane]};
    }
  }
  return have;
}

// Each element of kappa adds its window's worth of weights to dx: for a fixed row of the window
// those are one run of kW*I floats, in dx as in the weights.
void conv2dInputGradient(const Window& g, const float* kappa, const float* w, float* dx) {
  const int O = g.outC, C = g.inC, run = g.kW * C, pixels = g.outH * g.outW;
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
    Entry* entries = (Entry*)bang::scratch(1, (size_t)pixels * O * 2);
    int* ends = (int*)bang::scratch(2, (size_t)pixels + 1);
    memset(padded, 0, (size_t)H * W * C * 4);
    const float* rows = kappa + (ptrdiff_t)n * pixels * O;
    ends[0] = 0;
    for (int i = 0; i < pixels; i++)
      ends[i + 1] = collect(rows + (ptrdiff_t)i * O, O, entries, ends[i]);
    for (int kh = 0; kh < g.kH; kh++) {
      // Down the columns: neighbours in a row would add to the same cache lines at once.
      for (int ow = 0; ow < g.outW; ow++) {
        for (int oh = 0; oh < g.outH; oh++) {
          const int i = oh * g.outW + ow;
          addWeightedRun(entries + ends[i], ends[i + 1] - ends[i],
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
  Vec sum[G][V];
#pragma GCC unroll 8
  for (int r = 0; r < G; r++)
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) sum[r][v] = load(dw + r * dwStride + v * LANES);
  for (int e = 0; e < count; e++) {
    const float* window = x + entries[e].at;
    const Vec value = splat(entries[e].value);
#pragma GCC unroll 8
    for (int r = 0; r < G; r++)
#pragma GCC unroll 8
      for (int v = 0; v < V; v++) sum[r][v] += value * load(window + r * rowStride + v * LANES);
  }
#pragma GCC unroll 8
  for (int r = 0; r < G; r++)
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) store(dw + r * dwStride + v * LANES, sum[r][v]);
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
  const float* kappa;   // [pixels][O]
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
  for (int oh = 0; oh < g.outH; oh++)
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
  const int O = e.g.outC, pixels = e.g.outH * e.g.outW;
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

void conv2dWeightGradient(const Window& g, const float* x, const float* kappa, const float* scale,
                          float* dw, float* db) {
  const int O = g.outC, run = g.kW * g.inC, pixels = g.outH * g.outW;
  const int columns = roundUp(O, LANES), runPadded = roundUp(run, LANES);
  const bool alongChannels = run <= 16;
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
                               kappa + (ptrdiff_t)n * pixels * O, scale ? scale[n] : 1.0f};
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
