// Elementwise and rowwise kernels: ReLU, loss, norms, eta, SGD, perturbation.

namespace {

/// Calls task(begin, count) for pieces of [0, count).
template <class Task>
inline void forPieces(size_t count, const Task& task) {
  const size_t piece = 16384;
  parallel((int)((count + piece - 1) / piece), [&](int i) {
    const size_t begin = piece * (size_t)i;
    task(begin, count - begin < piece ? count - begin : piece);
  }, (double)count);
}

void relu(size_t count, const float* x, float* y) {
  forPieces(count, [&](size_t begin, size_t n) {
    for (size_t i = begin; i < begin + n; i++) y[i] = x[i] <= 0 ? 0 : x[i];
  });
}

void reluGradient(size_t count, const float* y, const float* dy, float* dx) {
  forPieces(count, [&](size_t begin, size_t n) {
    // Loaded unconditionally, which lets compilers avoid a branch.
    for (size_t i = begin; i < begin + n; i++) {
      const float gradient = dy[i];
      dx[i] = y[i] > 0 ? gradient : 0;
    }
  });
}

void multiply(size_t count, const float* a, const float* b, float* y) {
  forPieces(count, [&](size_t begin, size_t n) {
    for (size_t i = begin; i < begin + n; i++) y[i] = a[i] * b[i];
  });
}

void softmaxCrossEntropy(int N, int C, const float* logits, const int32_t* labels, float factor,
                         float* loss, float* gradient, float* correct) {
  for (int n = 0; n < N; n++, logits += C, gradient += C) {
    int best = 0;
    for (int c = 1; c < C; c++)
      if (logits[c] > logits[best]) best = c;
    const float top = logits[best];
    float sum = 0;
    for (int c = 0; c < C; c++) sum += gradient[c] = expf(logits[c] - top);
    for (int c = 0; c < C; c++) gradient[c] /= sum;
    const int label = labels[n];
    // Computed from the logits, because -log(p) is infinite if p underflows.
    loss[n] = logf(sum) - (logits[label] - top);
    correct[n] = best == label;
    gradient[label] -= 1;
    for (int c = 0; c < C; c++) gradient[c] *= factor;
  }
}

/// The L2 norm of row[D], its squares summed in float32.
inline float normOf(const float* row, int D) {
  Vec sums[4][SUM_VECTORS] = {}, total[SUM_VECTORS];
  const auto add = [&](Vec& sum, Vec a) { sum = multiplyAdd(a, a, sum); };
  int i = 0;
  for (; i + 4 * SUM_FLOATS <= D; i += 4 * SUM_FLOATS)
#pragma GCC unroll 16
    for (int v = 0; v < 4 * SUM_VECTORS; v++) add(sums[v / SUM_VECTORS][v % SUM_VECTORS], load(row + i + v * LANES));
  for (; i < D; i += SUM_FLOATS)
    for (int v = 0; v < SUM_VECTORS && i + v * LANES < D; v++)
      add(sums[0][v], loadUpTo(row + i + v * LANES, D - i - v * LANES));
  for (int v = 0; v < SUM_VECTORS; v++) total[v] = (sums[0][v] + sums[1][v]) + (sums[2][v] + sums[3][v]);
  return sqrtf(sumOf(total));
}

void rowNorms(int N, int D, const float* x, float* norm) {
  parallel(N, [&](int n) { norm[n] = normOf(x + (ptrdiff_t)n * D, D); });
}

void pooledNorms(const Kappa& kappa, float* norm) {
  const Geometry& pool = *kappa.pool;
  parallel(pool.batch, [&](int n) {
    // If windows do not overlap, unpooling only adds zeros, which do not change the norm.
    const ptrdiff_t values = (ptrdiff_t)pool.outH * pool.outW * pool.outC;
    norm[n] = tilesByCells(pool) ? normOf(kappa.values + n * values, (int)values)
                                 : normOf(unpooled(kappa, n), pool.inH * pool.inW * pool.inC);
  });
}

void eta(int N, const float* norm, const float* epsilonHat, float* eta) {
  float m = 0;
  for (int n = 0; n < N; n++) m = norm[n] > m ? norm[n] : m;
  for (int n = 0; n < N; n++)
    eta[n] = norm[n] > 0 ? powf(m / norm[n], epsilonHat[n] * (1 - norm[n] / m)) : 1;
}

void sgd(const bang::SgdStep& s) {
  forPieces(s.count, [&](size_t begin, size_t n) {
    for (size_t i = begin; i < begin + n; i++) {
      const float gradient = multiplyAdd(s.decay, s.weight[i], s.gradient[i]);
      s.velocity[i] = multiplyAdd(s.momentum, s.velocity[i], s.rate * gradient);
      s.weight[i] -= s.velocity[i];
    }
  });
}

void normalize(int N, int D, const float* x, const float* mean, float factor, float* y) {
  parallel(N, [&](int n) {
    const ptrdiff_t row = (ptrdiff_t)n * D;
    for (int i = 0; i < D; i++) y[row + i] = (x[row + i] - (mean ? mean[i] : 0)) * factor;
  });
}

void overLargest(int N, int D, const float* x, float* y) {
  parallel(N, [&](int n) {
    const float* from = x + (ptrdiff_t)n * D;
    float* to = y + (ptrdiff_t)n * D;
    float largest = 0;
    for (int i = 0; i < D; i++) {
      const float magnitude = from[i] < 0 ? -from[i] : from[i];
      largest = magnitude > largest ? magnitude : largest;
    }
    for (int i = 0; i < D; i++) to[i] = largest > 0 ? from[i] / largest : 0;
  });
}

void perturb(int N, int D, const float* x, const float* d, const int32_t* rows, const float* s,
             float* y) {
  parallel(N, [&](int n) {
    const float scale = s[n];
    const float* from = x + (ptrdiff_t)rows[n] * D;
    const float* along = d + (ptrdiff_t)rows[n] * D;
    float* to = y + (ptrdiff_t)n * D;
    for (int i = 0; i < D; i++) {
      float v = multiplyAdd(scale, along[i], from[i]);
      v = v > 0 ? v : 0;
      v = v < 255 ? v : 255;
      // Adding 1.5 * 2^23 leaves no bits for a fraction, so the sum is rounded, half to even.
      to[i] = (v + 12582912.0f) - 12582912.0f;
    }
  });
}

double peak(double seconds) {
  const double begin = bang::now();
  constexpr int CHAINS = MANY_REGISTERS ? 24 : 12;
  Vec sum[CHAINS];
  for (int i = 0; i < CHAINS; i++) sum[i] = splat(1.0f + (float)i);
  Vec a = splat(0.999f), b = splat(0.001f);
  double operations = 0, elapsed = 0;
  do {
    for (int k = 0; k < 20000; k++) {
#pragma GCC unroll 24
      for (int i = 0; i < CHAINS; i++) sum[i] = multiplyAdd(sum[i], a, b);
    }
    operations += 20000.0 * CHAINS * LANES;
    elapsed = bang::now() - begin;
  } while (elapsed < seconds);
  Vec total = {};
  for (int i = 0; i < CHAINS; i++) total += sum[i];
  volatile float used = total[0];
  (void)used;
  return operations / elapsed;
}

}  // namespace
