// Short power series on the edges of a rectangle of the Goursat problem, for several pairs at once.
//
// The formulas are those of `_edge_series.py`, which derives them. An edge is an array of its
// coefficients of order 1, 2, ..., each a vector with one entry for each of `kLanes` pairs. Loops
// over the orders are unrolled by templates up to `kLargestUnrolled`, so that a whole edge stays in
// registers; beyond, they are loops.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "real.h"

namespace roughsnn {
namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#else
constexpr int kBytes = 32;
#endif
constexpr int kLanes = kBytes / sizeof(Real);
typedef Real Vector __attribute__((vector_size(kBytes)));
typedef decltype(Vector{} == Vector{}) Mask;

constexpr int kLargestOrder = 32;
constexpr int kLargestUnrolled = 16;

template <class F, int... I>
ROUGHSNN_INLINE void for_each_of(F f, std::integer_sequence<int, I...>) {
  (f(std::integral_constant<int, I>{}), ...);
}

// f(0), f(1), ..., f(N - 1), with arguments known to the compiler.
template <int N, class F>
ROUGHSNN_INLINE void unrolled(F f) {
  for_each_of(f, std::make_integer_sequence<int, N>{});
}

constexpr double factorial(int n) { return n < 2 ? 1.0 : n * factorial(n - 1); }

// 1 / n!
const std::array<Real, 2 * kLargestOrder + 2>& inverse_factorials() {
  static const auto table = [] {
    std::array<Real, 2 * kLargestOrder + 2> values{};
    for (int n = 0; n < int(values.size()); ++n) values[n] = Real(1.0 / factorial(n));
    return values;
  }();
  return table;
}

Vector absolute(Vector a) { return a < 0 ? -a : a; }

ROUGHSNN_INLINE bool any(Mask mask) {
  auto total = mask[0];
  for (int lane = 1; lane < kLanes; ++lane) total |= mask[lane];
  return total != 0;
}

// The entries where the mask is true, zero elsewhere.
ROUGHSNN_INLINE Vector where(Mask mask, Vector a) { return (Vector)((Mask)a & mask); }

// ---- orders that the compiler knows

template <int N>
ROUGHSNN_INLINE void carried(const Vector (&ratios)[N + 1], Vector corner, const Vector* along,
                             const Vector* across, Vector (&total)[N + 1]) {
  unrolled<N>([&](auto i) __attribute__((always_inline)) { total[i + 1] = corner; });
  unrolled<N - 1>([&](auto i) __attribute__((always_inline)) {
    constexpr int p = i + 1;
    const Vector coefficient = across[p - 1];
    unrolled<N - p>([&](auto k) __attribute__((always_inline)) {
      constexpr int m = k + 1;
      constexpr Real weight = Real(factorial(m) / factorial(p + m));
      total[m] += coefficient * weight;
    });
  });
  // Horner's rule in z for all orders m side by side.
  unrolled<N>([&](auto i) __attribute__((always_inline)) {
    constexpr int k = i;
    const Vector coefficient = along[k];
    unrolled<N - k>([&](auto n) __attribute__((always_inline)) {
      constexpr int m = k + n + 1;
      total[m] = total[m] * ratios[m - k] + coefficient;
    });
  });
}

template <int N>
struct Unrolled {
  // The upper edge goes to `upper`, the right one takes the place of the left one.
  static void cross(int, Vector z, Vector corner, const Vector* lower, Vector* left,
                    Vector* upper) {
    Vector ratios[N + 1], total[N + 1];
    unrolled<N>([&](auto i) __attribute__((always_inline)) {
      ratios[i + 1] = z * Real(1.0 / (i + 1));
    });
    carried<N>(ratios, corner, lower, left, total);
    unrolled<N>([&](auto i) __attribute__((always_inline)) { upper[i] = total[i + 1]; });
    carried<N>(ratios, corner, left, lower, total);
    unrolled<N>([&](auto i) __attribute__((always_inline)) { left[i] = total[i + 1]; });
  }

  static Vector increment(int, const Vector* edge) {
    Vector total = edge[N - 1] * Real(1.0 / factorial(N));
    unrolled<N - 1>([&](auto i) __attribute__((always_inline)) {
      constexpr int m = N - 1 - i;
      total += edge[m - 1] * Real(1.0 / factorial(m));
    });
    return total;
  }

  static Vector pairing(int, Vector start, const Vector* edge, Vector end, const Vector* reverse) {
    Vector total{};
    unrolled<N>([&](auto i) __attribute__((always_inline)) {
      constexpr int p = i;
      Vector inner = end * Real(1.0 / factorial(p + 1));
      unrolled<N - 1 - p>([&](auto k) __attribute__((always_inline)) {
        constexpr int q = k + 1;
        inner += reverse[q - 1] * Real(1.0 / factorial(p + q + 1));
      });
      total += (p == 0 ? start : edge[p > 0 ? p - 1 : 0]) * inner;
    });
    return total;
  }
};

// ---- any order

struct Looped {
  static void carried(int order, const Vector* ratios, Vector corner, const Vector* along,
                      const Vector* across, Vector* total) {
    for (int m = 1; m <= order; ++m) {
      Vector sum = corner;
      double weight = 1.0;
      for (int p = 1; p <= order - m; ++p) {
        weight /= p + m;
        sum += across[p - 1] * Real(weight);
      }
      for (int n = m; n > 0; --n) sum = sum * ratios[n] + along[m - n];
      total[m] = sum;
    }
  }

  static void cross(int order, Vector z, Vector corner, const Vector* lower, Vector* left,
                    Vector* upper) {
    Vector ratios[kLargestOrder + 1], above[kLargestOrder + 1], right[kLargestOrder + 1];
    for (int n = 1; n <= order; ++n) ratios[n] = z * Real(1.0 / n);
    carried(order, ratios, corner, lower, left, above);
    carried(order, ratios, corner, left, lower, right);
    for (int m = 0; m < order; ++m) upper[m] = above[m + 1], left[m] = right[m + 1];
  }

  static Vector increment(int order, const Vector* edge) {
    const auto& inverse = inverse_factorials();
    Vector total = edge[order - 1] * inverse[order];
    for (int m = order - 1; m > 0; --m) total += edge[m - 1] * inverse[m];
    return total;
  }

  static Vector pairing(int order, Vector start, const Vector* edge, Vector end,
                        const Vector* reverse) {
    const auto& inverse = inverse_factorials();
    Vector total{};
    for (int p = 0; p < order; ++p) {
      Vector inner = end * inverse[p + 1];
      for (int q = 1; q < order - p; ++q) inner += reverse[q - 1] * inverse[p + q + 1];
      total += (p == 0 ? start : edge[p - 1]) * inner;
    }
    return total;
  }
};

// ---- the series of one order, chosen when the program runs

struct Series {
  int order;
  void (*cross_)(int, Vector, Vector, const Vector*, Vector*, Vector*);
  Vector (*increment_)(int, const Vector*);
  Vector (*pairing_)(int, Vector, const Vector*, Vector, const Vector*);

  explicit Series(int order) : order(order) {
    use<Looped>();
    unrolled<kLargestUnrolled - 1>([&](auto i) {
      if (order == i + 2) use<Unrolled<i + 2>>();
    });
  }

  template <class Functions>
  void use() {
    cross_ = Functions::cross;
    increment_ = Functions::increment;
    pairing_ = Functions::pairing;
  }

  void cross(Vector z, Vector corner, const Vector* lower, Vector* left, Vector* upper) const {
    cross_(order, z, corner, lower, left, upper);
  }
  Vector increment(const Vector* edge) const { return increment_(order, edge); }
  Vector pairing(Vector start, const Vector* edge, Vector end, const Vector* reverse) const {
    return pairing_(order, start, edge, end, reverse);
  }

  Vector tail(const Vector* edge) const {
    const auto& inverse = inverse_factorials();
    const Vector last = absolute(edge[order - 1]) * inverse[order];
    const Vector before = absolute(edge[order - 2]) * inverse[order - 1];
    const Vector one = Vector{} + Real(1);
    const Vector ratio = where(before > 0, last / (before > 0 ? before : one));
    const Vector bounded = ratio < Real(0.5) ? ratio : one * Real(0.5);
    return last * bounded / (one - bounded);
  }

  // Integral of the kernel of the past times that of the future over a rectangle.
  Vector rectangle_integral(Vector z, Vector corner, const Vector* alpha, const Vector* beta,
                            Vector far_corner, const Vector* far_alpha,
                            const Vector* far_beta) const {
    const auto& inverse = inverse_factorials();
    Vector same[kLargestOrder + 1];
    for (int s = 2; s < order; ++s) {
      Vector sum{};
      for (int p = 1; p < s; ++p) {
        sum += alpha[p - 1] * far_alpha[s - p - 1] + beta[p - 1] * far_beta[s - p - 1];
      }
      same[s] = sum;
    }
    // sum_p c_p / (p + n)!, 1 <= p <= N - n
    const auto shifted = [&](const Vector* edge, int n) {
      Vector total{};
      for (int p = 1; p <= order - n; ++p) total += edge[p - 1] * inverse[p + n];
      return total;
    };
    Vector total{};
    for (int n = order; n > 0; --n) {
      const Real weight = inverse[n];
      const Vector from = corner * weight, to = far_corner * weight;
      const Vector from_alpha = shifted(alpha, n), from_beta = shifted(beta, n);
      const Vector to_alpha = shifted(far_alpha, n) + to, to_beta = shifted(far_beta, n) + to;
      Vector part = from * (to_alpha + to_beta - to);
      part += from_alpha * to_beta + from_beta * to_alpha;
      for (int s = 2; s < order && s + n <= order; ++s) {
        part += same[s] * (weight * inverse[s + n]);
      }
      total = total * z + part * Real(n);
    }
    return total;
  }
};

}  // namespace
}  // namespace roughsnn
