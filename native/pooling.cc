// Max and average pooling in NHWC, vectors along the channels. A window is clipped to the image.

namespace {

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
