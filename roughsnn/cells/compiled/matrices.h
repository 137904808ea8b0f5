// A network whose synapses are matrices: what its spikes depend on, for both directions.

#ifndef ROUGHSNN_MATRICES_H_
#define ROUGHSNN_MATRICES_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "groups.h"

namespace roughsnn {
namespace {

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
