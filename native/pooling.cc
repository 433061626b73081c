// Max and average pooling in NHWC, with vectors along the channels. Windows are clipped to the image.

namespace {

using bang::Kappa;
using bang::Geometry;

/// The part of one output's window that lies in the image.
struct Clip {
  int h0, h1, w0, w1;
  int size() const { return (h1 - h0) * (w1 - w0); }
};

inline Clip clip(const Geometry& g, int oh, int ow) {
  const int h = oh * g.strideH - g.padTop, w = ow * g.strideW - g.padLeft;
  return {most(0, h), least(g.inH, h + g.kH), most(0, w), least(g.inW, w + g.kW)};
}

/// Calls visit(image n, output pixel i, clip, channel c, channels in this vector) for all outputs;
/// images in parallel.
template <class Begin, class Visit>
inline void forWindows(const Geometry& g, Begin begin, Visit visit) {
  parallel(g.batch, [&](int n) {
    begin(n);
    for (int oh = 0; oh < g.outH; oh++)
      for (int ow = 0; ow < g.outW; ow++) {
        const Clip window = clip(g, oh, ow);
        const ptrdiff_t out = (((ptrdiff_t)n * g.outH + oh) * g.outW + ow) * g.outC;
        for (int c = 0; c < g.outC; c += LANES)
          visit((ptrdiff_t)n * g.inH * g.inW * g.inC + c, out + c, window, least(LANES, g.outC - c));
      }
  });
}

inline void zeroImage(const Geometry& g, float* dx, int n) {
  const size_t size = (size_t)g.inH * g.inW * g.inC;
  memset(dx + size * n, 0, size * 4);
}

void maxPool(const Geometry& g, const float* x, float* y) {
  forWindows(
      g, [](int) {},
      [&](ptrdiff_t in, ptrdiff_t out, Clip window, int channels) {
        Vec best;
        pickLargest([&](auto nans) {
          Vec sum = {};
          best = splat(-__builtin_inff());
          for (int h = window.h0; h < window.h1; h++)
            for (int w = window.w0; w < window.w1; w++) {
              const Vec v = loadUpTo(x + in + ((ptrdiff_t)h * g.inW + w) * g.inC, channels);
              best = maxOf<nans>(v, best);
              sum += v;
            }
          return sum;
        });
        storeUpTo(y + out, best, channels);
      });
}

/// Rows of an image, [width][channels] each, of which only the last `period` are kept.
struct Rows {
  float* data;
  ptrdiff_t row;
  int period;

  float* at(int h) const { return data + h % period * row; }
};

/// The maximum of a window's pixels and its index, as in conv2dMaxPool, for the `channels` at `rows`.
/// Returns the sum of the pixels. With NANS the first NaN is the maximum.
template <bool FULL, bool NANS>
inline Vec maxOfWindow(const Geometry& g, const float* const* rows, int kh0, int kh1, int left,
                       int channels, float* y, uint8_t* winner) {
  const int w0 = most(0, -left), w1 = least(g.kW, g.inW - left);
  Vec best = splat(-__builtin_inff()), sum = {};
  VecI first = VecI{} + (kh0 * g.kW + w0);
  for (int kh = kh0; kh < kh1; kh++) {
    const float* x = rows[kh] + (ptrdiff_t)(left + w0) * g.inC;
    VecI pixel = VecI{} + (kh * g.kW + w0);
    for (int kw = w0; kw < w1; kw++, x += g.inC, pixel += 1) {
      const Vec value = FULL ? load(x) : loadPart(x, channels);
      const VecI wins = exceeds<NANS>(value, best);
      first = wins ? pixel : first;
      best = wins ? value : best;
      sum += value;
    }
  }
  if (FULL) store(y, best);
  else storePart(y, best, channels);
  storeBytes(winner, first, channels);
  return sum;
}

/// Row oh of a max pooling of `image`: y[outW][C], and the winners.
void maxPoolRow(const Geometry& g, int oh, const Rows& image, float* y, uint8_t* winner) {
  const int top = oh * g.strideH - g.padTop, C = g.inC;
  const int kh0 = most(0, -top), kh1 = least(g.kH, g.inH - top);
  for (int c = 0; c < C; c += LANES) {
    const int channels = least(LANES, C - c);
    const float* rows[bang::MOST_POOL_PIXELS];
    for (int kh = kh0; kh < kh1; kh++) rows[kh] = image.at(top + kh) + c;
    const auto windows = [&](auto maximum) {
      Vec sum = {};
      for (int ow = 0; ow < g.outW; ow++) {
        const ptrdiff_t at = (ptrdiff_t)ow * C + c;
        const int left = ow * g.strideW - g.padLeft;
        sum += maximum(g, rows, kh0, kh1, left, channels, y + at, winner + at);
      }
      return sum;
    };
    if (channels == LANES) pickLargest([&](auto nans) { return windows(maxOfWindow<true, nans>); });
    else pickLargest([&](auto nans) { return windows(maxOfWindow<false, nans>); });
  }
}

/// Whether the windows are 2×2 cells that tile the image.
inline bool tilesByCells(const Geometry& g) {
  return g.kH == 2 && g.kW == 2 && g.strideH == 2 && g.strideW == 2 && g.padTop == 0 &&
         g.padLeft == 0 && g.outH * 2 == g.inH && g.outW * 2 == g.inW;
}

/// whole[window][channels] += gradient where the window's winner is that pixel.
template <bool FULL>
inline void unpoolWindow(const Geometry& g, int oh, int ow, const float* gradients,
                         const uint8_t* winner, int channels, float* whole) {
  const auto part = [&](const float* p) { return FULL ? load(p) : loadPart(p, channels); };
  const Vec gradient = part(gradients);
  const VecI who = loadBytes(winner, channels);
  const int top = oh * g.strideH - g.padTop, left = ow * g.strideW - g.padLeft;
  const int w0 = most(0, -left), w1 = least(g.kW, g.inW - left);
  for (int kh = most(0, -top); kh < least(g.kH, g.inH - top); kh++) {
    float* to = whole + ((ptrdiff_t)(top + kh) * g.inW + left + w0) * g.inC;
    VecI pixel = VecI{} + (kh * g.kW + w0);
    for (int kw = w0; kw < w1; kw++, to += g.inC, pixel += 1) {
      const Vec sum = part(to) + (who == pixel ? gradient : Vec{});
      if (FULL) store(to, sum);
      else storePart(to, sum, channels);
    }
  }
}

/// The gradient with respect to the pooling's input, [inH][inW][C], for image n, in scratch memory: for each
/// pixel the sum over the windows that it won.
const float* unpooled(const Kappa& kappa, int n) {
  const Geometry& g = *kappa.pool;
  const int C = g.inC;
  const uint64_t pixels = (uint64_t)g.inH * g.inW;
  float* whole = bang::scratch(3, pixels * C);
  memset(whole, 0, pixels * C * 4);
  const float* values = kappa.values + (ptrdiff_t)n * g.outH * g.outW * C;
  const uint8_t* winner = kappa.winner + (ptrdiff_t)n * g.outH * g.outW * C;
  for (int oh = 0; oh < g.outH; oh++)
    for (int ow = 0; ow < g.outW; ow++, values += C, winner += C) {
      int c = 0;
      for (; c + LANES <= C; c += LANES)
        unpoolWindow<true>(g, oh, ow, values + c, winner + c, LANES, whole + c);
      if (c < C) unpoolWindow<false>(g, oh, ow, values + c, winner + c, C - c, whole + c);
    }
  return whole;
}

void maxPoolGradient(const Geometry& g, const float* x, const float* dy, float* dx) {
  // If windows tile the image, each gradient is written once, so dx need not be zeroed first.
  const bool apart = g.strideH == g.kH && g.strideW == g.kW && g.outH * g.kH == g.inH &&
                     g.outW * g.kW == g.inW && g.padTop == 0 && g.padLeft == 0;
  forWindows(
      g,
      [&](int n) {
        if (!apart) zeroImage(g, dx, n);
      },
      [&](ptrdiff_t in, ptrdiff_t out, Clip window, int channels) {
        VecI first;
        pickLargest([&](auto nans) {
          Vec best = splat(-__builtin_inff()), sum = {};
          first = VecI{} + (window.h0 * g.inW + window.w0);
          for (int h = window.h0; h < window.h1; h++)
            for (int w = window.w0; w < window.w1; w++) {
              const int at = h * g.inW + w;
              const Vec v = loadUpTo(x + in + (ptrdiff_t)at * g.inC, channels);
              const VecI wins = exceeds<nans>(v, best);
              first = wins ? VecI{} + at : first;
              best = wins ? v : best;
              sum += v;
            }
          return sum;
        });
        const Vec gradient = loadUpTo(dy + out, channels);
        for (int h = window.h0; h < window.h1; h++)
          for (int w = window.w0; w < window.w1; w++) {
            const int at = h * g.inW + w;
            float* to = dx + in + (ptrdiff_t)at * g.inC;
            const Vec mine = first == VecI{} + at ? gradient : Vec{};
            storeUpTo(to, apart ? mine : loadUpTo(to, channels) + mine, channels);
          }
      });
}

void avgPool(const Geometry& g, const float* x, float* y) {
  forWindows(
      g, [](int) {},
      [&](ptrdiff_t in, ptrdiff_t out, Clip window, int channels) {
        Vec sum = {};
        for (int h = window.h0; h < window.h1; h++)
          for (int w = window.w0; w < window.w1; w++)
            sum += loadUpTo(x + in + ((ptrdiff_t)h * g.inW + w) * g.inC, channels);
        storeUpTo(y + out, sum / splat((float)window.size()), channels);
      });
}

void avgPoolGradient(const Geometry& g, const float* dy, float* dx) {
  forWindows(
      g, [&](int n) { zeroImage(g, dx, n); },
      [&](ptrdiff_t in, ptrdiff_t out, Clip window, int channels) {
        const Vec share = loadUpTo(dy + out, channels) / splat((float)window.size());
        for (int h = window.h0; h < window.h1; h++)
          for (int w = window.w0; w < window.w1; w++) {
            float* to = dx + in + ((ptrdiff_t)h * g.inW + w) * g.inC;
            storeUpTo(to, loadUpTo(to, channels) + share, channels);
          }
      });
}

}  // namespace
