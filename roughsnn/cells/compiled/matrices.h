// A network whose synapses are matrices: what its spikes depend on, for both directions.

#ifndef ROUGHSNN_MATRICES_H_
#define ROUGHSNN_MATRICES_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "fans.h"
#include "walk.h"

namespace roughsnn {
namespace {

// Groups of neurons, each of which needs the spikes of earlier ones only, and which groups the
// spikes of each reach in the same cell.
struct Groups {
  const std::int32_t *starts, *firsts, *children;
  Size count;

  Groups(const Ints& starts, const Ints& firsts, const Ints& children)
      : starts(starts.typed_data()), firsts(firsts.typed_data()), children(children.typed_data()),
        count(Size(starts.element_count()) - 1) {}

  std::vector<Size> of_neurons() const {
    std::vector<Size> group(starts[count]);
    for (Size g = 0; g < count; ++g) {
      std::fill(group.begin() + starts[g], group.begin() + starts[g + 1], g);
    }
    return group;
  }
};

// Input spikes, (B, S): in which cell, at which offset in it and from which input.
struct Inputs {
  const std::int32_t *cells, *sources;
  const Real* offsets;
  Size number, rows;

  Inputs(const Ints& cells, const Reals& offsets, const Ints& sources, Size rows)
      : cells(cells.typed_data()), sources(sources.typed_data()), offsets(offsets.typed_data()),
        number(cells.dimensions()[1]), rows(rows) {}
};

struct Problem {
  Shared a, b, threshold, reset, refractory;
  // from row to column; (N, N), or null without synapses between neurons, and (inputs, N)
  const Real *weights, *input_weights;
  // of each neuron, in cells; where there are none, spikes arrive at once
  Shared delays;
  bool is_delayed;
  ByCell current;
  const Real* noise;  // (T, B, N), or null
  Inputs inputs;
  Groups groups;
  Size cells, samples, neurons;

  bool share_rates() const { return a.stride == 0 && b.stride == 0; }
  bool any_refractory() const {
    const Size size = refractory.stride ? neurons : 1;
    return std::any_of(refractory.values, refractory.values + size, [](Real x) { return x != 0; });
  }
};

// When a spike arrives: how many cells after its own, and at which offset.
struct Arriving {
  Size later;
  Real when;
};

inline Arriving arriving(Real offset, Real delay, Size cells) {
  // (one that is longer than the window arrives in no cell)
  const Real most = Real(cells) + 1, whole = delay >= 0 ? std::floor(std::min(delay, most)) : Real(0);
  const Real when = offset + (delay - whole);
  return when >= 1 ? Arriving{Size(whole) + 1, when - 1} : Arriving{Size(whole), when};
}

// Numbers by the cell that they belong to, in their order.
class ByCells {
 public:
  // `cell_of` says the cell of each number below `total`; one outside of the window is left out.
  template <class CellOf>
  void fill(Size cells, Size total, CellOf cell_of) {
    starts_.assign(cells + 1, 0);
    for (Size n = 0; n < total; ++n) {
      const Size cell = cell_of(n);
      if (cell >= 0 && cell < cells) ++starts_[cell + 1];
    }
    std::partial_sum(starts_.begin(), starts_.end(), starts_.begin());
    next_.assign(starts_.begin(), starts_.end() - 1);
    numbers_.resize(starts_[cells]);
    for (Size n = 0; n < total; ++n) {
      const Size cell = cell_of(n);
      if (cell >= 0 && cell < cells) numbers_[next_[cell]++] = n;
    }
  }

  Size* begin(Size cell) { return numbers_.data() + starts_[cell]; }
  Size* end(Size cell) { return numbers_.data() + starts_[cell + 1]; }

 private:
  std::vector<Size> starts_, next_, numbers_;
};

// What depends on the parameters of a neuron alone.
struct Propagators {
  std::vector<Real> v, by_i, rise, i, grown, lost, threshold, reset;

  explicit Propagators(const Problem& p) {
    for (auto* x : {&v, &by_i, &rise, &i, &grown, &lost, &threshold, &reset}) x->resize(p.neurons);
    for (Size n = 0; n < p.neurons; ++n) {
      const Real a = p.a[n], b = p.b[n];
      v[n] = std::exp(-a);
      by_i[n] = response(a, b, 1);
      rise[n] = -std::expm1(-a);
      i[n] = std::exp(-b);
      grown[n] = std::exp(b);
      lost[n] = -std::expm1(-b);
      threshold[n] = p.threshold[n];
      reset[n] = p.reset[n];
    }
  }
};

}  // namespace
}  // namespace roughsnn

#endif  // ROUGHSNN_MATRICES_H_
