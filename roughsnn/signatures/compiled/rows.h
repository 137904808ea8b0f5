// Rows of numbers, padded to whole vectors, and their products, several rows at a time.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <type_traits>

#include "real.h"

namespace roughsnn {
namespace {

// As wide as registers are, and as many rows at a time as there are registers for.
#if defined(__AVX512F__)
constexpr int kWideBytes = 64, kTile = 8;
#else
constexpr int kWideBytes = 32, kTile = 4;
#endif
constexpr int kWide = kWideBytes / sizeof(Real);
constexpr int kAcross = 3;
static_assert(kWide % kTile == 0, "whole tiles of rows in a row of vectors");
typedef Real Wide __attribute__((vector_size(kWideBytes)));
// In memory, at a multiple of its size or anywhere.
typedef Real WideThere __attribute__((vector_size(kWideBytes), may_alias));
typedef Real WideAnywhere __attribute__((vector_size(kWideBytes), aligned(sizeof(Real)), may_alias));

// Length of a row of so many numbers with its padding.
int padded(int size) { return (size + kWide - 1) / kWide * kWide; }

// Memory for numbers that grows and is not cleared.
class Numbers {
 public:
  Numbers() = default;
  Numbers(const Numbers&) = delete;
  Numbers& operator=(const Numbers&) = delete;
  ~Numbers() { std::free(start_); }

  Real* of(std::int64_t size) {
    if (size > size_) {
      std::free(start_);
      size_ = 0;
      start_ = static_cast<Real*>(std::aligned_alloc(64, (size * sizeof(Real) + 63) / 64 * 64));
      if (start_ == nullptr) throw std::bad_alloc();
      size_ = size;
    }
    return start_;
  }

  Real* cleared(std::int64_t size) {
    Real* start = of(size);
    std::fill(start, start + size, Real(0));
    return start;
  }

 private:
  Real* start_ = nullptr;
  std::int64_t size_ = 0;
};

ROUGHSNN_INLINE Wide wide(const Real* at) { return *reinterpret_cast<const WideThere*>(at); }
ROUGHSNN_INLINE WideThere& wide(Real* at) { return *reinterpret_cast<WideThere*>(at); }

// to += factor * row
ROUGHSNN_INLINE void add_row(Real* to, const Real* row, Real factor, int width) {
  for (int c = 0; c < width; c += kWide) wide(to + c) += wide(row + c) * factor;
}

// Sum of the entries of a vector of so many bytes: halves, and halves of these.
template <int bytes, class Entries>
ROUGHSNN_INLINE Real sum_of_entries(Entries values) {
  if constexpr (bytes == sizeof(Real)) {
    return values[0];
  } else {
    typedef Real Half __attribute__((vector_size(bytes / 2)));
    Half low, high;
    __builtin_memcpy(&low, &values, bytes / 2);
    __builtin_memcpy(&high, reinterpret_cast<const char*>(&values) + bytes / 2, bytes / 2);
    return sum_of_entries<bytes / 2>(low + high);
  }
}
ROUGHSNN_INLINE Real total(Wide values) { return sum_of_entries<kWideBytes>(values); }

ROUGHSNN_INLINE Real inner_product(const Real* a, const Real* b, int width) {
  Wide sum{};
  for (int c = 0; c < width; c += kWide) sum += wide(a + c) * wide(b + c);
  return total(sum);
}

// Calls `f` with the first of some columns and, as a constant, how many vectors from there.
template <class F>
ROUGHSNN_INLINE void by_columns(int width, F f) {
  int column = 0;
  for (; column + kAcross * kWide <= width; column += kAcross * kWide) {
    f(column, std::integral_constant<int, kAcross>{});
  }
  const int left = (width - column) / kWide;
  if (left == 2) f(column, std::integral_constant<int, 2>{});
  if (left == 1) f(column, std::integral_constant<int, 1>{});
}

// Which row, and with which factor.
struct Weighted {
  std::int64_t row;
  Real weight;
};

// Rows of the sum of weight * left (x) right: `kTile` of them, each of some columns.
template <int across>
ROUGHSNN_INLINE void outer_products(const Weighted* begin, const Weighted* end, const Real* lefts,
                                    const Real* rights, Wide (&sums)[kTile][across]) {
  Wide totals[kTile][across]{};
  for (const Weighted* at = begin; at < end; ++at) {
    const Real* left = lefts + at->row;
    Wide right[across];
#pragma GCC unroll 3
    for (int c = 0; c < across; ++c) right[c] = wide(rights + at->row + c * kWide) * at->weight;
#pragma GCC unroll 8
    for (int r = 0; r < kTile; ++r) {
#pragma GCC unroll 3
      for (int c = 0; c < across; ++c) totals[r][c] += right[c] * left[r];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kTile; ++r) {
#pragma GCC unroll 3
    for (int c = 0; c < across; ++c) sums[r][c] = totals[r][c];
  }
}

// Some columns of `count` rows times a matrix of `size` rows.
template <int count, int across>
ROUGHSNN_INLINE void rows_by_matrix(const Real* const* rows, const Real* matrix, int size,
                                    int width, Real* const* products, int column) {
  Wide totals[count][across]{};
  for (int k = 0; k < size; ++k) {
    Wide entries[across];
#pragma GCC unroll 3
    for (int c = 0; c < across; ++c) {
      entries[c] = wide(matrix + std::int64_t(k) * width + column + c * kWide);
    }
#pragma GCC unroll 8
    for (int r = 0; r < count; ++r) {
#pragma GCC unroll 3
      for (int c = 0; c < across; ++c) totals[r][c] += entries[c] * rows[r][k];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < count; ++r) {
#pragma GCC unroll 3
    for (int c = 0; c < across; ++c) wide(products[r] + column + c * kWide) = totals[r][c];
  }
}

// All rows times the matrix.
void multiply(const Real* const* rows, int number, const Real* matrix, int size, int width,
              Real* const* products) {
  by_columns(width, [&](int column, auto across) {
    int done = 0;
    const auto some = [&](auto count) {
      for (; number - done >= count; done += count) {
        rows_by_matrix<count, across>(rows + done, matrix, size, width, products + done, column);
      }
    };
    some(std::integral_constant<int, kTile>{});
    some(std::integral_constant<int, 4>{});
    some(std::integral_constant<int, 2>{});
    some(std::integral_constant<int, 1>{});
  });
}

}  // namespace
}  // namespace roughsnn
