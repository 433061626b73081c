// Max and average pooling in NHWC, vectors along the channels. A window is clipped to the image.

namespace {

using bang::Kappa;
using bang::Window;

/// The part of one output's window that lies in the image.
struct Clip {
  int h0, h1, w0, w1;
  int size() const { return (h1 - h0) * (w1 - w0); }
};

inline Clip clip(const Window& g, int oh, int ow) {
  const int h = oh * g.strideH - g.padTop, w = ow * g.strideW - g.padLeft;
  return {most(0, h), least(g.inH, h + g.kH), most(0, w), least(g.inW, w + g.kW)};
}

/// Calls visit(image n, output pixel i, clip, channel c, channels in this vector) for all outputs;
/// images in parallel.
template <class Begin, class Visit>
inline void forWindows(const Window& g, Begin begin, Visit visit) {
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

inline void zeroImage(const Window& g, float* dx, int n) {
  const size_t size = (size_t)g.inH * g.inW * g.inC;
  memset(dx + size * n, 0, size * 4);
}

void maxPool(const Window& g, const float* x, float* y) {
  forWindows(
      g, [](int) {},
      [&](ptrdiff_t in, ptrdiff_t out, Clip window, int channels) {
        Vec best = splat(-__builtin_inff());
        for (int h = window.h0; h < window.h1; h++)
          for (int w = window.w0; w < window.w1; w++)
            best = maxOf(loadUpTo(x + in + ((ptrdiff_t)h * g.inW + w) * g.inC, channels), best);
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

typedef uint8_t Bytes __attribute__((vector_size(LANES)));
inline void storeBytes(uint8_t* to, VecI values, int n) {
  const Bytes bytes = __builtin_convertvector(values, Bytes);
  memcpy(to, &bytes, (size_t)least(n, LANES));
}
inline VecI loadBytes(const uint8_t* from, int n) {
  Bytes bytes = {};
  if (n >= LANES) memcpy(&bytes, from, LANES);
  else memcpy(&bytes, from, (size_t)n);
  return __builtin_convertvector(bytes, VecI);
}

/// Row oh of a max pooling of `rows`: y[outW][C], and the winners as conv2dMaxPool has them.
void maxPoolRow(const Window& g, int oh, const Rows& rows, float* y, uint8_t* winner) {
  for (int ow = 0; ow < g.outW; ow++, y += g.outC, winner += g.outC) {
    const Clip window = clip(g, oh, ow);
    const int top = oh * g.strideH - g.padTop, left = ow * g.strideW - g.padLeft;
    for (int c = 0; c < g.outC; c += LANES) {
      const int channels = least(LANES, g.outC - c);
      Vec best = splat(-__builtin_inff());
      VecI first = {};
      for (int h = window.h0; h < window.h1; h++) {
        const float* x = rows.at(h) + c;
        for (int w = window.w0; w < window.w1; w++) {
          const Vec value = loadUpTo(x + (ptrdiff_t)w * g.inC, channels);
          first = value > best ? VecI{} + ((h - top) * g.kW + w - left) : first;
          best = maxOf(value, best);
        }
      }
      storeUpTo(y + c, best, channels);
      storeBytes(winner + c, first, channels);
    }
  }
}

/// Whether the windows are cells of 2×2 that tile the image: no pixel is in two of them.
inline bool tilesByCells(const Window& g) {
  return g.kH == 2 && g.kW == 2 && g.strideH == 2 && g.strideW == 2 && g.padTop == 0 &&
         g.padLeft == 0 && g.outH * 2 == g.inH && g.outW * 2 == g.inW;
}

/// Image n's kappa before the pooling, [inH][inW][C], in scratch memory: sums over the windows that a
/// pixel won.
const float* unpooled(const Kappa& kappa, int n) {
  const Window& g = *kappa.pool;
  const int C = g.inC;
  const size_t pixels = (size_t)g.inH * g.inW;
  float* whole = bang::scratch(3, pixels * C);
  memset(whole, 0, pixels * C * 4);
  const float* values = kappa.values + (ptrdiff_t)n * g.outH * g.outW * C;
  const uint8_t* winner = kappa.winner + (ptrdiff_t)n * g.outH * g.outW * C;
  for (int oh = 0; oh < g.outH; oh++)
    for (int ow = 0; ow < g.outW; ow++, values += C, winner += C) {
      const Clip window = clip(g, oh, ow);
      const int top = oh * g.strideH - g.padTop, left = ow * g.strideW - g.padLeft;
      for (int c = 0; c < C; c += LANES) {
        const int channels = least(LANES, C - c);
        const Vec gradient = loadUpTo(values + c, channels);
        const VecI who = loadBytes(winner + c, channels);
        for (int h = window.h0; h < window.h1; h++)
          for (int w = window.w0; w < window.w1; w++) {
            float* to = whole + ((ptrdiff_t)h * g.inW + w) * C + c;
            const Vec mine = who == VecI{} + ((h - top) * g.kW + w - left) ? gradient : Vec{};
            storeUpTo(to, loadUpTo(to, channels) + mine, channels);
          }
      }
    }
  return whole;
}

void maxPoolGradient(const Window& g, const float* x, const float* dy, float* dx) {
  // Windows that tile the image need no zeros to add to.
  const bool apart = g.strideH == g.kH && g.strideW == g.kW && g.outH * g.kH == g.inH &&
                     g.outW * g.kW == g.inW && g.padTop == 0 && g.padLeft == 0;
  forWindows(
      g,
      [&](int n) {
        if (!apart) zeroImage(g, dx, n);
      },
      [&](ptrdiff_t in, ptrdiff_t out, Clip window, int channels) {
        Vec best = splat(-__builtin_inff());
        VecI first = VecI{} - 1;
        for (int h = window.h0; h < window.h1; h++)
          for (int w = window.w0; w < window.w1; w++) {
            const int at = h * g.inW + w;
            const Vec v = loadUpTo(x + in + (ptrdiff_t)at * g.inC, channels);
            first = v > best ? VecI{} + at : first;
            best = maxOf(v, best);
          }
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

void avgPool(const Window& g, const float* x, float* y) {
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

void avgPoolGradient(const Window& g, const float* dy, float* dx) {
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
