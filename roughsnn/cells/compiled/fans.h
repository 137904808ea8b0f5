// Buffers of XLA, and what the cells of a network depend on.

#ifndef ROUGHSNN_FANS_H_
#define ROUGHSNN_FANS_H_

#include <algorithm>
#include <cstdint>

#include "walk.h"
#include "xla/ffi/api/ffi.h"

// (without a name outside of its file: the libraries of both precisions are in one process)
namespace roughsnn {
namespace {

namespace ffi = xla::ffi;

constexpr auto kReal = sizeof(Real) == 4 ? ffi::DataType::F32 : ffi::DataType::F64;
using Reals = ffi::Buffer<kReal>;
using Ints = ffi::Buffer<ffi::DataType::S32>;
using RealResults = ffi::Result<Reals>;
using IntResults = ffi::Result<Ints>;
using Size = std::int64_t;

// A number that all share, or one of each.
struct Shared {
  const Real* values;
  Size stride;

  explicit Shared(const Reals& given)
      : values(given.typed_data()), stride(given.element_count() == 1 ? 0 : 1) {}
  Real operator[](Size n) const { return values[n * stride]; }
};

// Synapses by the neurons that they lead from, or to.
struct Fans {
  const std::int32_t *starts, *others, *whole;
  const Real *weights, *rest;
  // of the delays: 0 where one is shared
  Size stride;

  Fans(const Ints& starts, const Ints& others, const Reals& weights, const Ints& whole,
       const Reals& rest)
      : starts(starts.typed_data()), others(others.typed_data()), whole(whole.typed_data()),
        weights(weights.typed_data()), rest(rest.typed_data()),
        stride(rest.element_count() == 1 ? 0 : 1) {}
};

// Cells that spikes are kept for: as many as the longest delay needs, where there is room for them.
// (More would be gone through all the same, and would push the states of neurons out of the cache.)
int cells_kept(const Ints& whole, Size room) {
  Size needed = 2;
  for (Size n = 0; n < Size(whole.element_count()); ++n) {
    needed = std::max(needed, Size(whole.typed_data()[n]) + 2);
  }
  return int(std::min(room, needed));
}

// What is added to a number in a cell, by sample and neuron; axes of length 1 are shared.
struct ByCell {
  const Real* values;
  Size cell = 0, sample = 0, neuron = 0;

  explicit ByCell(const Reals& given) : values(given.typed_data()) {
    const auto shape = given.dimensions();
    if (shape.size() != 3) return;
    neuron = shape[2] > 1 ? 1 : 0;
    sample = shape[1] > 1 ? shape[2] : 0;
    cell = shape[0] > 1 ? shape[1] * shape[2] : 0;
  }
};

inline void fill(RealResults& result, Real value) {
  std::fill_n(result->typed_data(), result->element_count(), value);
}

}  // namespace
}  // namespace roughsnn

#endif  // ROUGHSNN_FANS_H_
