// The adjoint of the same networks, from the last cell to the first, in all that the spikes depend
// on: the derivatives of `_backward.py`. Threads share out the samples.
//
// In a cell the derivatives in the potentials at its end, and at spikes and releases in it, are
// found from the latest to the earliest; every arrival and the state at its start are felt there.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "matrices.h"
#include "threads.h"

namespace roughsnn {
namespace {

// The spikes of all samples, (B, S), as the run has written them down, and derivatives in their
// offsets.
struct Spikes {
  const std::int32_t *cells, *neurons, *release_cells, *counts;
  const Real *offsets, *speeds, *release_offsets, *release_speeds, *drops, *from_offsets;
  Size room;
};

// What is asked for; null where it is not.
struct Asked {
  Real *start_v, *start_i, *by_inputs, *by_noise, *current;
  Size current_size;
  bool weights, input_weights, current_of_each_sample;
  // potentials and currents at the starts of all cells, (T, B, N), for derivatives in the rates
  const Real *states_v, *states_i;
};

// Derivatives that are sums over all samples.
struct Totals {
  std::vector<Real> a, b, threshold, reset, refractory, weights, input_weights, delays, current;
};

class Worker {
 public:
  Totals totals;

  Worker(const Problem& problem, const Propagators& propagators, const Spikes& spikes,
         const Asked& asked)
      : p(problem), decay_(propagators), s_(spikes), ask_(asked),
        has_refractory_(problem.any_refractory()), group_of_(problem.groups.of_neurons()),
        from_v_(p.neurons), from_i_(p.neurons), weight_(p.neurons), at_(p.neurons),
        met_(p.neurons), held_(p.neurons), own_current_(p.neurons) {
    auto size_of = [&](const Shared& x) { return x.stride ? p.neurons : Size(1); };
    totals.a.resize(size_of(p.a));
    totals.b.resize(size_of(p.b));
    totals.threshold.resize(size_of(p.threshold));
    totals.reset.resize(size_of(p.reset));
    totals.refractory.resize(size_of(p.refractory));
    totals.delays.resize(p.is_delayed ? size_of(p.delays) : 0);
    if (ask_.weights) totals.weights.resize(p.weights ? p.neurons * p.neurons : 0);
    if (ask_.input_weights) totals.input_weights.resize(p.inputs.rows * p.neurons);
    if (ask_.current && !ask_.current_of_each_sample) totals.current.resize(ask_.current_size);
  }

  void run(Size sample) {
    sample_ = sample;
    first_ = sample * s_.room;
    const Size count = std::min(Size(s_.counts[sample]), s_.room);
    std::fill(from_v_.begin(), from_v_.end(), Real(0));
    std::fill(from_i_.begin(), from_i_.end(), Real(0));
    std::fill(met_.begin(), met_.end(), Size(-1));
    std::fill(held_.begin(), held_.end(), char(0));
    from_release_.assign(count, 0);
    from_arrival_.assign(count, 0);
    when_.resize(count);
    spikes_.fill(p.cells, count, [&](Size k) { return Size(s_.cells[first_ + k]); });
    releases_.fill(p.cells, count, [&](Size k) { return Size(s_.release_cells[first_ + k]); });
    for (Size k = 0; k < count; ++k) {
      if (s_.release_cells[first_ + k] >= p.cells) held_[s_.neurons[first_ + k]] = 1;
    }
    if (p.is_delayed && p.weights) {
      arrivals_.fill(p.cells, count, [&](Size k) {
        const Size at = first_ + k;
        const Arriving x = arriving(s_.offsets[at], p.delays[s_.neurons[at]], p.cells);
        when_[k] = x.when;
        return s_.cells[at] + x.later;
      });
    }
    const Size first_input = sample * p.inputs.number;
    inputs_.fill(p.cells, p.inputs.number, [&](Size k) {
      const std::int32_t source = p.inputs.sources[first_input + k];
      return source >= 0 && source < p.inputs.rows ? Size(p.inputs.cells[first_input + k])
                                                   : Size(-1);
    });
    if (ask_.by_inputs) std::fill_n(ask_.by_inputs + first_input, p.inputs.number, Real(0));
    for (Size cell = p.cells - 1; cell >= 0; --cell) step(cell);
    std::copy_n(from_v_.begin(), p.neurons, ask_.start_v + sample * p.neurons);
    std::copy_n(from_i_.begin(), p.neurons, ask_.start_i + sample * p.neurons);
  }

 private:
  struct Event {
    Real offset;
    bool is_spike;
    Size spike;
  };

  // The derivative in the potential, without the resets of its cell, of a neuron at an offset.
  struct Height {
    Size neuron;
    Real offset, value;
  };

  void step(Size cell) {
    cell_ = cell;
    heights_.clear();
    if (has_refractory_) {
      for (Size n = 0; n < p.neurons; ++n) {
        if (!held_[n]) continue;
        add_to(totals.reset, n, from_v_[n]);
        from_v_[n] = 0;
      }
    }
    events_.clear();
    for (const Size* k = spikes_.begin(cell); k != spikes_.end(cell); ++k) {
      events_.push_back({s_.offsets[first_ + *k], true, *k});
    }
    for (const Size* k = releases_.begin(cell); k != releases_.end(cell); ++k) {
      events_.push_back({s_.release_offsets[first_ + *k], false, *k});
    }
    std::sort(events_.begin(), events_.end(), [](const Event& x, const Event& y) {
      if (x.offset != y.offset) return x.offset > y.offset;
      return x.is_spike != y.is_spike ? !x.is_spike : x.spike > y.spike;
    });
    for (const Event& x : events_) x.is_spike ? fire(x) : let_go(x);
    if (p.is_delayed && p.weights) {
      for (const Size* k = arrivals_.begin(cell); k != arrivals_.end(cell); ++k) {
        const Size source = s_.neurons[first_ + *k];
        const Real by_when = arrive(p.weights + source * p.neurons, row_of(totals.weights, source),
                                    when_[*k], 0, p.neurons);
        from_arrival_[*k] = by_when;
        add_to(totals.delays, source, by_when);
      }
    }
    const Size first_input = sample_ * p.inputs.number;
    for (const Size* k = inputs_.begin(cell); k != inputs_.end(cell); ++k) {
      const Size at = first_input + *k, source = p.inputs.sources[at];
      const Real by_when = arrive(p.input_weights + source * p.neurons,
                                  row_of(totals.input_weights, source), p.inputs.offsets[at], 0,
                                  p.neurons);
      if (ask_.by_inputs) ask_.by_inputs[at] = by_when;
    }
    go_to_start();
  }

  Real* row_of(std::vector<Real>& total, Size source) {
    return total.empty() ? nullptr : total.data() + source * p.neurons;
  }

  // The first event of a neuron that is met in a cell: what comes after it is the end of the cell.
  void meet(Size n) {
    if (met_[n] == cell_) return;
    met_[n] = cell_;
    weight_[n] = from_v_[n];
    at_[n] = 1;
  }

  void let_go(const Event& event) {
    const Size at = first_ + event.spike, n = s_.neurons[at];
    meet(n);
    const Real a = p.a[n], since = at_[n] - event.offset;
    const Real part = weight_[n] * std::exp(-a * since);
    add_to(totals.a, n, part * since * s_.drops[at]);
    add_to(totals.reset, n, part);
    heights_.push_back({n, event.offset, -part});
    from_release_[event.spike] = -part * s_.release_speeds[at];
    weight_[n] = 0;
    held_[n] = 1;
  }

  void fire(const Event& event) {
    const Size at = first_ + event.spike, n = s_.neurons[at];
    meet(n);
    const Real moved = from_release_[event.spike];
    add_to(totals.refractory, n, moved);
    Real from_offset = s_.from_offsets[at] + moved + from_arrival_[event.spike];
    if (!p.is_delayed && p.weights) {
      const Size group = group_of_[n];
      for (Size c = p.groups.firsts[group]; c < p.groups.firsts[group + 1]; ++c) {
        const Size child = p.groups.children[c];
        from_offset += arrive(p.weights + n * p.neurons, row_of(totals.weights, n), event.offset,
                              p.groups.starts[child], p.groups.starts[child + 1]);
      }
    }
    const Real height = -from_offset / s_.speeds[at];
    heights_.push_back({n, event.offset, height});
    add_to(totals.threshold, n, -height);
    weight_[n] = height;
    at_[n] = event.offset;
    held_[n] = 0;
  }

  // The derivative in when a row of weights arrives, at some neurons; that in the row is added up.
  Real arrive(const Real* row, Real* by_row, Real when, Size begin, Size end) {
    const Real left = 1 - when;
    const Real *__restrict__ from_v = from_v_.data(), *__restrict__ from_i = from_i_.data();
    const Real* __restrict__ weights = row;
    Real by_when = 0;
    if (p.share_rates()) {
      const Real a = p.a[0], b = p.b[0], by_v = response(a, b, left), by_i = std::exp(-b * left);
      Real felt_v = 0, felt_i = 0;
      if (by_row) {
        Real* __restrict__ to = by_row;
        for (Size n = begin; n < end; ++n) to[n] += by_v * from_v[n] + by_i * from_i[n];
      }
#pragma omp simd reduction(+ : felt_v, felt_i)
      for (Size n = begin; n < end; ++n) {
        felt_v += weights[n] * from_v[n];
        felt_i += weights[n] * from_i[n];
      }
      by_when = b * by_i * felt_i - a * (by_i - by_v) * felt_v;
      if (ask_.states_v) {
        const ByRates rates = response_by_rates(a, b, left);
        totals.a[0] += felt_v * rates.a;
        totals.b[0] += felt_v * rates.b - felt_i * left * by_i;
      }
    } else {
      for (Size n = begin; n < end; ++n) {
        if (from_v[n] == 0 && from_i[n] == 0) continue;
        const Real a = p.a[n], b = p.b[n], by_v = response(a, b, left), by_i = std::exp(-b * left);
        if (by_row) by_row[n] += by_v * from_v[n] + by_i * from_i[n];
        if (weights[n] == 0) continue;
        by_when += weights[n] * (b * by_i * from_i[n] - a * (by_i - by_v) * from_v[n]);
        if (ask_.states_v) {
          const ByRates rates = response_by_rates(a, b, left);
          add_to(totals.a, n, weights[n] * from_v[n] * rates.a);
          add_to(totals.b, n, weights[n] * (from_v[n] * rates.b - from_i[n] * left * by_i));
        }
      }
    }
    for (const Height& x : heights_) {
      if (x.neuron < begin || x.neuron >= end || !(when < x.offset) || x.value == 0) continue;
      const Size n = x.neuron;
      const Real a = p.a[n], b = p.b[n], since = x.offset - when, felt = weights[n] * x.value;
      const Real by_v = response(a, b, since);
      if (by_row) by_row[n] += x.value * by_v;
      by_when -= felt * a * (std::exp(-b * since) - by_v);
      if (ask_.states_v && felt != 0) {
        const ByRates rates = response_by_rates(a, b, since);
        add_to(totals.a, n, felt * rates.a);
        add_to(totals.b, n, felt * rates.b);
      }
    }
    return by_when;
  }

  // From the end of the cell and what was found in it to its start.
  void go_to_start() {
    const Size size = p.neurons, at = (cell_ * p.samples + sample_) * size;
    if (ask_.states_v) add_rates(at);
    Real* noise = ask_.by_noise ? ask_.by_noise + at : nullptr;
    const bool wants_current = ask_.current || noise;
    if (noise) std::copy(from_i_.begin(), from_i_.end(), noise);
    if (wants_current) {
      for (Size n = 0; n < size; ++n) own_current_[n] = decay_.rise[n] * from_v_[n];
    }
    Real *__restrict__ from_v = from_v_.data(), *__restrict__ from_i = from_i_.data();
    const Real *__restrict__ decay_v = decay_.v.data(), *__restrict__ by_i = decay_.by_i.data();
    const Real* __restrict__ decay_i = decay_.i.data();
    for (Size n = 0; n < size; ++n) {
      const Real v = from_v[n];
      from_i[n] = by_i[n] * v + decay_i[n] * from_i[n];
      from_v[n] = decay_v[n] * v;
    }
    for (const Height& x : heights_) {
      const Size n = x.neuron;
      const Real a = p.a[n];
      from_v_[n] += x.value * std::exp(-a * x.offset);
      from_i_[n] += x.value * response(a, p.b[n], x.offset);
      if (wants_current) own_current_[n] -= x.value * std::expm1(-a * x.offset);
    }
    if (noise) {
      for (Size n = 0; n < size; ++n) noise[n] += own_current_[n] - from_i_[n];
    }
    if (!ask_.current) return;
    const ByCell& c = p.current;
    Real* to = ask_.current_of_each_sample ? ask_.current : totals.current.data();
    to += cell_ * c.cell + sample_ * c.sample;
    for (Size n = 0; n < size; ++n) to[n * c.neuron] += own_current_[n];
  }

  // The end of the cell, and potentials in it, as functions of the rates.
  void add_rates(Size at) {
    for (Size n = 0; n < p.neurons; ++n) {
      const Real v = from_v_[n], i = from_i_[n];
      if (v == 0 && i == 0) continue;
      const Real own_i = ask_.states_i[at + n];
      const ByRates grown = response_by_rates(p.a[n], p.b[n], 1);
      const Real over = current_at(n, at) - ask_.states_v[at + n];
      add_to(totals.a, n, v * (decay_.v[n] * over + grown.a * own_i));
      add_to(totals.b, n, v * grown.b * own_i - i * decay_.i[n] * own_i);
    }
    for (const Height& x : heights_) {
      const Size n = x.neuron;
      const Real a = p.a[n], own_i = ask_.states_i[at + n];
      const ByRates grown = response_by_rates(a, p.b[n], x.offset);
      const Real over = current_at(n, at) - ask_.states_v[at + n];
      add_to(totals.a, n, x.value * (x.offset * std::exp(-a * x.offset) * over + grown.a * own_i));
      add_to(totals.b, n, x.value * grown.b * own_i);
    }
  }

  // The input current of a neuron in this cell, with what the noise adds to it.
  Real current_at(Size n, Size at) const {
    const ByCell& c = p.current;
    const Real given = c.values[cell_ * c.cell + sample_ * c.sample + n * c.neuron];
    return p.noise ? given + p.noise[at + n] : given;
  }

  const Problem& p;
  const Propagators& decay_;
  const Spikes& s_;
  const Asked& ask_;
  const bool has_refractory_;
  const std::vector<Size> group_of_;
  Size sample_ = 0, first_ = 0, cell_ = 0;
  // derivatives in potentials and currents; of a neuron with events in the cell, that in its
  // potential at the earliest of them so far, and when that is
  std::vector<Real> from_v_, from_i_, weight_, at_;
  // the cell in which each neuron was met last, and which are held still
  std::vector<Size> met_;
  std::vector<char> held_;
  std::vector<Real> own_current_;
  // derivatives in when each spike is let go, and in when it arrives
  std::vector<Real> from_release_, from_arrival_, when_;
  ByCells spikes_, releases_, arrivals_, inputs_;
  std::vector<Event> events_;
  std::vector<Height> heights_;
};

ffi::Error compute(ffi::ThreadPool pool, Reals a, Reals b, Reals threshold, Reals reset,
                   Reals refractory, Reals weights, Reals input_weights, Reals delays, Reals current,
                   Reals noise, Ints input_cells, Reals input_offsets, Ints input_sources,
                   Ints starts, Ints firsts, Ints children, Ints cells, Reals offsets, Ints neurons,
                   Reals speeds, Ints release_cells, Reals release_offsets, Reals release_speeds,
                   Reals drops, Ints counts, Reals states_v, Reals states_i, Reals from_offsets,
                   Size num_cells, RealResults by_a, RealResults by_b, RealResults by_threshold,
                   RealResults by_reset, RealResults by_refractory, RealResults by_weights,
                   RealResults by_input_weights, RealResults by_delays, RealResults start_v,
                   RealResults start_i, RealResults by_current, RealResults by_inputs,
                   RealResults by_noise) try {
  const Size samples = start_v->dimensions()[0], size = start_v->dimensions()[1];
  const Problem problem{
      Shared(a), Shared(b), Shared(threshold), Shared(reset), Shared(refractory),
      weights.element_count() ? weights.typed_data() : nullptr, input_weights.typed_data(),
      Shared(delays), delays.element_count() > 0, ByCell(current),
      noise.element_count() ? noise.typed_data() : nullptr,
      Inputs(input_cells, input_offsets, input_sources, input_weights.dimensions()[0]),
      Groups(starts, firsts, children), num_cells, samples, size};
  const Propagators propagators(problem);
  const Spikes spikes{cells.typed_data(), neurons.typed_data(), release_cells.typed_data(),
                      counts.typed_data(), offsets.typed_data(), speeds.typed_data(),
                      release_offsets.typed_data(), release_speeds.typed_data(), drops.typed_data(),
                      from_offsets.typed_data(), Size(cells.dimensions()[1])};
  const bool each_sample = problem.current.sample > 0;
  const Asked asked{start_v->typed_data(), start_i->typed_data(), asked_for(by_inputs),
                    asked_for(by_noise), asked_for(by_current), Size(by_current->element_count()),
                    by_weights->element_count() > 0, by_input_weights->element_count() > 0,
                    each_sample, states_v.element_count() ? states_v.typed_data() : nullptr,
                    states_i.element_count() ? states_i.typed_data() : nullptr};
  for (auto* x : {&by_a, &by_b, &by_threshold, &by_reset, &by_refractory, &by_weights,
                  &by_input_weights, &by_delays, &by_current}) {
    fill(*x, 0);
  }
  // Always the same samples together, whichever thread takes them: sums come out the same each time.
  const Size parts = std::min<Size>(samples, kParts);
  std::vector<std::shared_ptr<Worker>> workers(parts);
  share_out(pool, parts, [&] {
    return [&](Size part) {
      workers[part] = std::make_shared<Worker>(problem, propagators, spikes, asked);
      const Size end = (part + 1) * samples / parts;
      for (Size sample = part * samples / parts; sample < end; ++sample) workers[part]->run(sample);
    };
  });
  for (const auto& worker : workers) {
    const Totals& t = worker->totals;
    add_up(by_a, t.a);
    add_up(by_b, t.b);
    add_up(by_threshold, t.threshold);
    add_up(by_reset, t.reset);
    add_up(by_refractory, t.refractory);
    add_up(by_weights, t.weights);
    add_up(by_input_weights, t.input_weights);
    add_up(by_delays, t.delays);
    add_up(by_current, t.current);
  }
  return ffi::Error::Success();
} catch (const std::exception& failure) {
  return ffi::Error::Internal(std::string("the adjoint of a network failed: ") + failure.what());
}

}  // namespace
}  // namespace roughsnn

XLA_FFI_DEFINE_HANDLER_SYMBOL(roughsnn_matrix_backward, roughsnn::compute,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<roughsnn::Reals>()  // a, b, threshold, reset, refractory
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()  // weights, of inputs, delays
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()  // input current, noise
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Ints>()  // input spikes
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Ints>()  // groups
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Ints>()  // spikes
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Ints>()  // when their potentials are let go
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Ints>()   // counts
                                  .Arg<roughsnn::Reals>()  // states
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()  // derivatives in the offsets
                                  .Attr<std::int64_t>("num_cells")
                                  .Ret<roughsnn::Reals>()  // a, b, threshold, reset, refractory
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()  // weights, of inputs, delays
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()  // potentials, currents
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()  // input current, input spikes, noise
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>());
