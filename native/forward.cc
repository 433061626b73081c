// A whole forward pass that stores nothing for a backward pass. Up to the first inner product, the images of a group lie
// in the lanes (lanes.h) and are processed together: zero padding is not multiplied, because windows are clipped to the
// image, and the data of a group stay in the caches. The logits are bit-identical to those of the single kernels.

namespace {

using bang::ForwardLayer;

/// All columns of a layer for one input.
void laneSingle(const float* x, const Terms& terms, const LaneWeights& layer, float* out) {
  const int O = layer.columns;
  for (int o = 0; o < O;) {
    const float* w = layer.weight + o;
    const int left = O - o;
    if (layer.narrow()) {
      if (left >= 4) laneTileInto<1, 4, NARROW_TURNS>(&x, 1, terms, layer, w, O, o, &out), o += 4;
      else laneTileInto<1, 1, NARROW_TURNS>(&x, 1, terms, layer, w, O, o, &out), o++;
    } else if (left >= SINGLE_CHANNELS) {
      laneTileInto<1, SINGLE_CHANNELS, 1>(&x, 1, terms, layer, w, O, o, &out), o += SINGLE_CHANNELS;
    } else if (left >= 4) {
      laneTileInto<1, 4, 1>(&x, 1, terms, layer, w, O, o, &out), o += 4;
    } else {
      laneTileInto<1, 1, 1>(&x, 1, terms, layer, w, O, o, &out), o++;
    }
  }
}

/// Row oh of a convolution: out[outW][outC][LANES]. Pixels whose windows lie inside the
/// image's width are computed in tiles, the others one by one.
void laneConvRow(const Geometry& g, const LaneWeights& layer, const float* image, int oh, float* out) {
  const int I = g.inC, O = g.outC, run = g.kW * I;
  const int top = oh * g.strideH - g.padTop;
  const ptrdiff_t imageRow = (ptrdiff_t)g.inW * I * LANES;
  Terms terms = {g.kH, run, imageRow, most(0, -top), least(g.kH, g.inH - top), 0, run};
  const float* rows = image + (top + terms.row0) * imageRow;
  const auto begin = [&](int ow) { return rows + (ptrdiff_t)(ow * g.strideW - g.padLeft) * I * LANES; };
  // [inner, outer) lie inside.
  const int inner = least(g.outW, ceilDiv(g.padLeft, g.strideW));
  const int room = g.inW + g.padLeft - g.kW;
  const int outer = room < 0 ? inner : most(inner, least(g.outW, room / g.strideW + 1));
  const bool tiles = !layer.narrow();
  for (int ow = 0; ow < g.outW; ow++) {
    if (tiles && ow >= inner && ow < outer) continue;
    const int left = ow * g.strideW - g.padLeft;
    terms.j0 = most(0, -left) * I;
    terms.j1 = least(g.kW, g.inW - left) * I;
    laneSingle(begin(ow) + (ptrdiff_t)terms.j0 * LANES, terms, layer, out + (ptrdiff_t)ow * O * LANES);
  }
  if (!tiles) return;
  terms.j0 = 0;
  terms.j1 = run;
  for (int ow = inner; ow < outer; ow += TILE_PIXELS) {
    const int count = least(TILE_PIXELS, outer - ow);
    const float* x[TILE_PIXELS];
    float* to[TILE_PIXELS];
    for (int p = 0; p < TILE_PIXELS; p++) {
      const int pixel = ow + least(p, count - 1);
      x[p] = begin(pixel);
      to[p] = out + (ptrdiff_t)pixel * O * LANES;
    }
    for (int i = 0; i < layer.panelCount(); i++) lanePanel(x, count, terms, layer, i, to);
  }
}

/// Whether laneCellRow can compute this convolution and the pooling that follows.
bool pooledByCells(const Geometry& g, const LaneWeights& weights, const ForwardLayer& next) {
  return next.kind == ForwardLayer::MAX_POOL && tilesByCells(next.geometry) && !weights.narrow() &&
         coversExactly(g);
}

/// Row oh of a max or average pooling: out[outW][C][LANES].
template <bool MAX>
void lanePoolRowOf(const ForwardLayer& layer, int oh, const Rows& in, float* out) {
  const Geometry& g = layer.geometry;
  const ptrdiff_t pixel = (ptrdiff_t)g.inC * LANES;
  for (int ow = 0; ow < g.outW; ow++) {
    const Clip window = clip(g, oh, ow);
    const Vec size = splat((float)window.size());
    const int first = window.h0 % in.period;
    for (int c = 0; c < g.inC; c++, out += LANES) {
      Vec best, sum;
      const auto pick = [&](auto nans) {
        best = splat(-__builtin_inff());
        sum = Vec{};
        for (int h = window.h0, kept = first; h < window.h1; h++) {
          const float* x = in.data + kept * in.row + window.w0 * pixel + (ptrdiff_t)c * LANES;
          for (int w = window.w0; w < window.w1; w++, x += pixel) {
            if (MAX) best = maxOf<nans>(load(x), best);
            sum += load(x);
          }
          if (++kept == in.period) kept = 0;
        }
        return sum;
      };
      if (MAX) pickLargest(pick);
      else best = pick(std::false_type{}) / size;
      store(out, layer.relu ? reluOf(best) : best);
    }
  }
}

void lanePoolRow(const ForwardLayer& layer, int oh, const Rows& in, float* out) {
  if (layer.kind == ForwardLayer::MAX_POOL) lanePoolRowOf<true>(layer, oh, in, out);
  else lanePoolRowOf<false>(layer, oh, in, out);
}

/// The layers up to the first inner product on one group: from `x` (overwritten) into `out`.
void laneImageLayers(const ForwardLayer* layers, const LaneWeights* weights, int count, float* x,
                     float* spare, float* out) {
  for (int i = 0; i < count; i++) {
    const ForwardLayer& layer = layers[i];
    const Geometry& g = layer.geometry;
    const ptrdiff_t outRow = (ptrdiff_t)g.outW * g.outC * LANES;
    // A pooling after a convolution reads its rows as they are computed, because the whole output would not
    // fit in the caches.
    const bool pooled = layer.kind == ForwardLayer::CONV && i + 1 < count &&
                        layers[i + 1].kind != ForwardLayer::CONV;
    const int last = pooled ? i + 1 : i;
    float* to = last + 1 == count ? out : spare;
    if (pooled && pooledByCells(g, weights[i], layers[i + 1])) {
      for (int oh = 0; oh < g.outH / 2; oh++)
        laneCellRow<CELL>(g, weights[i], x, oh, to + oh * outRow / 2);
    } else if (pooled) {
      const Geometry& pool = layers[i + 1].geometry;
      const Rows kept = {bang::scratch(2, (uint64_t)pool.kH * outRow), outRow, pool.kH};
      int made = 0;
      for (int oh = 0; oh < pool.outH; oh++) {
        const Clip rows = clip(pool, oh, 0);
        for (int h = most(made, rows.h0); h < rows.h1; h++)
          laneConvRow(g, weights[i], x, h, kept.at(h));
        made = rows.h1;
        lanePoolRow(layers[i + 1], oh, kept, to + (ptrdiff_t)oh * pool.outW * pool.outC * LANES);
      }
    } else if (layer.kind == ForwardLayer::CONV) {
      for (int oh = 0; oh < g.outH; oh++) laneConvRow(g, weights[i], x, oh, to + oh * outRow);
    } else {
      const Rows all = {x, (ptrdiff_t)g.inW * g.inC * LANES, g.inH};
      for (int oh = 0; oh < g.outH; oh++) lanePoolRow(layer, oh, all, to + oh * outRow);
    }
    spare = x;
    x = to;
    i = last;
  }
}

inline int valuesInto(const Geometry& g) { return g.inH * g.inW * g.inC; }

void forward(const ForwardLayer* layers, int count, int N, const float* x, const float* mean,
             float factor, float* logits) {
  int images = 0;  // layers before the first inner product
  uint64_t largest = 0, packedFloats = 0;
  for (; layers[images].kind != ForwardLayer::DENSE; images++) {
    const Geometry& g = layers[images].geometry;
    largest = largest > (size_t)valuesInto(g) ? largest : (size_t)valuesInto(g);
    packedFloats += (uint64_t)g.kH * g.kW * g.inC * g.outC;
  }
  LaneWeights weights[bang::MOST_FORWARD_LAYERS];
  float* packed = bang::sharedScratch(2, packedFloats);
  for (int i = 0; i < images; i++) {
    if (layers[i].kind != ForwardLayer::CONV) continue;
    const auto& [kind, relu, geometry, weight, bias] = layers[i];
    weights[i] = laneWeights(geometry, weight, bias, relu, layers[i + 1].relu, packed);
    packed += (size_t)weights[i].K * geometry.outC;
  }
  const int D = valuesInto(layers[0].geometry), flat = valuesInto(layers[images].geometry);
  uint64_t widest = (uint64_t)flat;
  for (int i = images; i < count; i++) {
    const uint64_t outputs = (uint64_t)layers[i].geometry.outC;
    widest = widest > outputs ? widest : outputs;
  }
  // matMul uses the other slots of shared scratch memory.
  float* have = bang::sharedScratch(3, widest * (uint64_t)N);
  float* next = bang::sharedScratch(4, widest * (uint64_t)N);
  if (images == 0) normalize(N, D, x, mean, factor, have);
  parallel(images ? ceilDiv(N, LANES) : 0, [&](int group) {
    const int first = group * LANES, inGroup = least(LANES, N - first);
    float* a = bang::scratch(0, largest * LANES);
    float* out = bang::scratch(3, (uint64_t)flat * LANES);
    interleave(x + (ptrdiff_t)first * D, inGroup, D, a);
    for (int d = 0; d < D; d++) {
      float* pixels = a + (ptrdiff_t)d * LANES;
      store(pixels, (load(pixels) - splat(mean ? mean[d] : 0)) * splat(factor));
    }
    laneImageLayers(layers, weights, images, a, bang::scratch(1, largest * LANES), out);
    transposeInto(flat, inGroup, out, LANES, have + (ptrdiff_t)first * flat, flat);
  });
  for (int i = images; i < count; i++) {
    const ForwardLayer& layer = layers[i];
    const int inputs = valuesInto(layer.geometry), outputs = layer.geometry.outC;
    matMul(N, outputs, inputs, have, false, layer.weight, false, nullptr, layer.bias, layer.relu,
           i + 1 == count ? logits : next);
    float* filled = next;
    next = have;
    have = filled;
  }
}

}  // namespace
