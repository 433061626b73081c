// The vector type of the instruction set that this object is compiled for, in the compilers' own
// vector extensions: one source for AVX-512, AVX2, SSE2, NEON and WebAssembly.
//
// Everything here and in the files that level.cc includes has internal linkage: the same source is
// compiled once for each level, and the linker must never use one level's copy for another.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <type_traits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__wasm_simd128__)
#include <wasm_simd128.h>
#endif
#if defined(__AVX512F__)
#define BANG_VECTOR_BYTES 64
#elif defined(__AVX__)
#include <immintrin.h>
#define BANG_VECTOR_BYTES 32
#elif defined(__aarch64__)
#include <arm_neon.h>
#define BANG_VECTOR_BYTES 16
#else
#define BANG_VECTOR_BYTES 16
#endif

namespace {

constexpr int LANES = BANG_VECTOR_BYTES / 4;
// The size of a register tile: AVX-512 and NEON have 32 vector registers, SSE and AVX2 16. Where multiply-add
// is not one instruction, a product takes one of them.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr bool MANY_REGISTERS = true;
#else
constexpr bool MANY_REGISTERS = false;
#endif
#if defined(__FMA__) || defined(__aarch64__)
constexpr bool FUSED = true;
#else
constexpr bool FUSED = false;
#endif

typedef float Vec __attribute__((vector_size(BANG_VECTOR_BYTES)));
typedef int32_t VecI __attribute__((vector_size(BANG_VECTOR_BYTES)));
typedef uint64_t VecL __attribute__((vector_size(BANG_VECTOR_BYTES)));
typedef float VecU __attribute__((vector_size(BANG_VECTOR_BYTES), aligned(4), may_alias));

inline Vec load(const float* p) { return *(const VecU*)p; }
inline void store(float* p, Vec v) { *(VecU*)p = v; }
inline Vec splat(float s) { return s - Vec{}; }

/// Half a vector where whole ones are long: rows of few floats waste less of it, and fewer of its loads cross the
/// border of a cache line.
#if defined(__AVX512F__)
typedef float Half __attribute__((vector_size(32)));
#else
typedef Vec Half;
#endif

/// Loads the first `n` lanes (0 … LANES - 1), zero in the others. Memory beyond them is not read.
inline Vec loadPart(const float* p, int n) {
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
  Vec v = {};
  for (int i = 0; i < LANES; i++)
    if (i < n) v[i] = p[i];
  return v;
#endif
}
inline void storePart(float* p, Vec v, int n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#else
  for (int i = 0; i < LANES; i++)
    if (i < n) p[i] = v[i];
#endif
}

inline Vec loadUpTo(const float* p, int n) { return n >= LANES ? load(p) : loadPart(p, n); }
inline void storeUpTo(float* p, Vec v, int n) {
  if (n >= LANES) store(p, v);
  else storePart(p, v, n);
}

/// a * b + c, rounded once if the level supports it. Compilers fuse nothing by themselves, so that every
/// compiler and every level with fused multiply-add rounds in the same places.
inline float multiplyAdd(float a, float b, float c) { return FUSED ? __builtin_fmaf(a, b, c) : a * b + c; }
inline Vec multiplyAdd(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
  return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return (Vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

#if defined(__AVX512F__)
inline Half multiplyAdd(Half a, Half b, Half c) {
  return (Half)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
#endif

/// Lanes as bytes: the first `n` of them (or all, if there are fewer) to memory and back. With intrinsics,
/// because compilers would convert byte by byte.
typedef uint8_t Bytes __attribute__((vector_size(LANES)));
inline void storeBytes(uint8_t* to, VecI values, int n) {
#if defined(__AVX512F__)
  const Bytes bytes = (Bytes)_mm512_maskz_cvtepi32_epi8(0xffff, (__m512i)values);
#else
  const Bytes bytes = __builtin_convertvector(values, Bytes);
#endif
  if (n >= LANES) memcpy(to, &bytes, LANES);
  else memcpy(to, &bytes, (size_t)n);
}
inline VecI loadBytes(const uint8_t* from, int n) {
  Bytes bytes = {};
  if (n >= LANES) memcpy(&bytes, from, LANES);
  else memcpy(&bytes, from, (size_t)n);
#if defined(__AVX512F__)
  return (VecI)_mm512_maskz_cvtepu8_epi32(0xffff, (__m128i)bytes);
#elif defined(__AVX2__)
  return (VecI)_mm256_cvtepu8_epi32(_mm_set_epi64x(0, (int64_t)bytes));
#else
  return __builtin_convertvector(bytes, VecI);
#endif
}

/// The lanes in which `value` replaces the largest so far: it is larger or, with NANS, the first NaN. Without
/// NANS, comparisons with NaN are false, so NaN is ignored unless it comes first.
template <bool NANS>
inline VecI exceeds(Vec value, Vec best) {
  return NANS ? ~(value <= best) & (best == best) : value > best;
}
/// `value` in those lanes, `best` in the others.
template <bool NANS>
inline Vec maxOf(Vec value, Vec best) {
  if (!NANS) return value > best ? value : best;
#if defined(__AVX512F__)
  // The instruction returns its second operand if either is NaN.
  const __m512 v = (__m512)value;
  return (Vec)_mm512_mask_max_ps(v, _mm512_cmp_ps_mask(v, v, _CMP_ORD_Q), v, (__m512)best);
#elif defined(__AVX__)
  const __m256 v = (__m256)value;
  return (Vec)_mm256_blendv_ps(_mm256_max_ps(v, (__m256)best), v, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
#else
  return exceeds<true>(value, best) ? value : best;
#endif
}
/// Whether a lane is NaN.
inline bool anyNaN(Vec v) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)v, (__m512)v, _CMP_UNORD_Q) != 0;
#elif defined(__AVX__)
  return _mm256_movemask_ps(_mm256_cmp_ps((__m256)v, (__m256)v, _CMP_UNORD_Q)) != 0;
#elif defined(__SSE2__)
  return _mm_movemask_ps(_mm_cmpunord_ps((__m128)v, (__m128)v)) != 0;
#elif defined(__wasm_simd128__)
  return wasm_v128_any_true(wasm_f32x4_ne((v128_t)v, (v128_t)v));
#else
  bool found = false;
  for (int i = 0; i < LANES; i++) found |= v[i] != v[i];
  return found;
#endif
}
/// Calls pick(std::false_type{}), which finds maxima as if no value were NaN and returns the sum of the
/// values. If that is NaN, calls pick(std::true_type{}), which finds them again. Adding is cheaper than
/// testing each value. The sum is also NaN if infinities cancel; this is rare and harmless.
template <class Pick>
inline void pickLargest(Pick pick) {
  if (__builtin_expect(anyNaN(pick(std::false_type{})), 0)) pick(std::true_type{});
}
/// max(0, v): +0 for -0, and NaN for NaN, so that a network that has diverged shows in its loss.
inline Vec reluOf(Vec v) { return v <= 0 ? Vec{} : v; }

/// The full product of each lane's low 32 bits and b, with intrinsics because compilers do not find the
/// instruction.
inline VecL productOfLow(VecL a, uint32_t b) {
  const VecL factor = (uint64_t)b - VecL{};
#if defined(__AVX512F__)
  return (VecL)_mm512_maskz_mul_epu32(0xff, (__m512i)a, (__m512i)factor);
#elif defined(__AVX2__)
  return (VecL)_mm256_mul_epu32((__m256i)a, (__m256i)factor);
#elif defined(__SSE2__)
  return (VecL)_mm_mul_epu32((__m128i)a, (__m128i)factor);
#else
  return (a & 0xffffffffu) * factor;
#endif
}

/// Sums over many values are split as for AVX-512's vectors of 16 floats, of which narrower levels take several:
/// levels with fused multiply-add give the same bits, and so do those without.
constexpr int SUM_FLOATS = 16, SUM_VECTORS = SUM_FLOATS / LANES;

/// Sum of SUM_FLOATS floats, always in the same order.
inline float sumOf(const Vec (&parts)[SUM_VECTORS]) {
  float s = 0;
  for (const Vec& v : parts)
    for (int i = 0; i < LANES; i++) s += v[i];
  return s;
}

/// Bit i is set where lane i is not exactly zero (NaN counts as not zero).
inline uint32_t nonzeroMask(Vec v) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
#elif defined(__wasm_simd128__)
  return wasm_i32x4_bitmask(wasm_f32x4_ne((v128_t)v, wasm_f32x4_const_splat(0)));
#else
  uint32_t mask = 0;
  for (int i = 0; i < LANES; i++) mask |= (uint32_t)(v[i] != 0) << i;
  return mask;
#endif
}

constexpr int ceilDiv(int a, int b) { return (a + b - 1) / b; }
constexpr int roundUp(int a, int b) { return ceilDiv(a, b) * b; }
constexpr int least(int a, int b) { return a < b ? a : b; }
constexpr int most(int a, int b) { return a > b ? a : b; }

/// Calls body(std::integral_constant<int, n>{}) for n from 1 to MOST; larger numbers count as MOST.
template <int MOST, int N = 1, class Body>
inline void withConstant(int n, const Body& body) {
  if constexpr (N < MOST) {
    if (n > N) return withConstant<MOST, N + 1>(n, body);
  }
  body(std::integral_constant<int, N>{});
}

}  // namespace
