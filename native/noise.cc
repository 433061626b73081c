// Gaussian noise on pixels, from a counter-based generator.

namespace {

/// Counters that the generator processes at once: one in each 64 bits of a vector.
constexpr int BLOCKS = LANES / 2;

/// Philox4x32-10 of Salmon, Moraes, Dror and Shaw, Parallel Random Numbers: As Easy as 1, 2, 3
/// (SC 2011). Each lane's low half is a word; its high half is never read.
inline void philox(VecL (&c)[4], uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; round++) {
    const VecL a = productOfLow(c[0], 0xD2511F53u), b = productOfLow(c[2], 0xCD9E8D57u);
    c[0] = (b >> 32) ^ c[1] ^ (uint64_t)key0;
    c[2] = (a >> 32) ^ c[3] ^ (uint64_t)key1;
    c[1] = b;
    c[3] = a;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

/// The search for a word's threshold starts from a guide table, indexed by its leading bits (Chen and Asau
/// 1974).
constexpr int GUIDE_BITS = 12;

void addNoise(int N, int D, const float* x, const bang::Noise& noise, float* y) {
  const uint32_t* const thresholds = noise.thresholds;
  uint16_t guide[1 << GUIDE_BITS];
  int below = 0;
  for (uint32_t cell = 0; cell < 1u << GUIDE_BITS; cell++) {
    while (thresholds[below] < cell << (32 - GUIDE_BITS)) below++;
    guide[cell] = (uint16_t)below;
  }
  parallel(N, [&](int n) {
    float* const row = y + (ptrdiff_t)n * D;
    for (int i = 0; i < D; i += 4 * BLOCKS) {
      VecL words[4];
      for (int b = 0; b < BLOCKS; b++) words[0][b] = (uint32_t)(i / 4 + b);
      words[1] = noise.firstCopy + (uint32_t)n - VecL{};
      words[2] = noise.image - VecL{};
      words[3] = noise.sigma - VecL{};
      philox(words, noise.seed, noise.purpose);
      const int end = least(D - i, 4 * BLOCKS);
      for (int p = 0; p < end; p++) {
        const uint32_t word = (uint32_t)words[p % 4][p / 4];
        int k = guide[word >> (32 - GUIDE_BITS)];
        while (thresholds[k] < word) k++;
        const float v = x[i + p] + (float)(noise.lowest + k);
        row[i + p] = v > 0 ? (v < 255 ? v : 255) : 0;
      }
    }
  }, 20.0 * N * D);
}

}  // namespace
