// Groups of neurons, and spikes by the cells in which they are felt: what networks whose synapses
// are matrices have in common.

#ifndef ROUGHSNN_GROUPS_H_
#define ROUGHSNN_GROUPS_H_

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

// Into so many parts samples are shared out where derivatives are summed up.
constexpr Size kParts = 8;

// A row of weights that arrives at an offset.
struct Row {
  Real when;
  const Real* weights;
};

// A derivative that is a sum, of one number or of one for each neuron.
inline void add_to(std::vector<Real>& total, Size n, Real value) {
  total[total.size() == 1 ? 0 : n] += value;
}

inline Real* asked_for(RealResults& result) {
  return result->element_count() ? result->typed_data() : nullptr;
}

// Adds sums to a result, all of them to the one number of a parameter that neurons share.
inline void add_up(RealResults& result, const std::vector<Real>& more) {
  const bool is_shared = result->element_count() == 1;
  const Size size = result->element_count() ? Size(more.size()) : 0;
  for (Size n = 0; n < size; ++n) result->typed_data()[is_shared ? 0 : n] += more[n];
}

}  // namespace
}  // namespace roughsnn

#endif  // ROUGHSNN_GROUPS_H_
