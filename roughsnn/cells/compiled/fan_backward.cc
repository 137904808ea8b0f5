// The adjoint of the same network, from its last cell to the first: what `_fan_backward.py`
// computes, in all that the spikes depend on.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "fans.h"
#include "walk.h"

namespace roughsnn {
namespace {

// Numbers of all records, one row for each place.
struct Columns {
  const Real* values;
  Size length;

  explicit Columns(const Reals& given)
      : values(given.typed_data()), length(given.dimensions().back()) {}
  Real at(int place, Size record) const { return values[place * length + record]; }
};

struct Kept {
  const std::int32_t *lanes, *firsts;
  Columns offsets, speeds, release_offsets, release_speeds, drops, from_offsets;
};

// A derivative that is summed up; nowhere, where it is not asked for.
struct Total {
  Real* values;
  Size stride;

  explicit Total(RealResults& result)
      : values(result->element_count() ? result->typed_data() : nullptr),
        stride(result->element_count() == 1 ? 0 : 1) {
    fill(result, 0);
  }
  void add(Size n, Real value) {
    if (values) values[n * stride] += value;
  }
};

struct Problem {
  Shared a, b;
  Fans sent;
  Kept kept;
  const Real* inputs;
  const std::int32_t* sources;
  // where derivatives in the rates are asked for: potentials and currents at the starts of all
  // cells, (T, B, N), and the input current and what the noise adds to it
  const Real *states_v, *states_i;
  ByCell current;
  const Real* noise;
  Size cells, samples, neurons, num_inputs, num_sources;
  int places, back;
};

struct Totals {
  Total a, b, threshold, reset, refractory, weights, delays;
};

class Adjoint {
 public:
  Adjoint(const Problem& problem, Totals& totals, const std::int32_t* held)
      : p(problem), totals_(totals), size_(problem.samples * problem.neurons), from_v(size_),
        from_i(size_), from_held_(size_), held_(held, held + size_), ends_(size_),
        extra_v_(size_), extra_i_(size_), extra_c_(size_), ring_v_(p.back * size_),
        ring_i_(p.back * size_), which_(p.back * size_, -1), slots_(p.back),
        decay_v_(p.neurons), by_i_(p.neurons), rise_(p.neurons), decay_i_(p.neurons),
        current(size_), noise(size_) {
    for (Size n = 0; n < p.neurons; ++n) {
      decay_v_[n] = std::exp(-p.a[n]);
      by_i_[n] = response(p.a[n], p.b[n], 1);
      rise_[n] = -std::expm1(-p.a[n]);
      decay_i_[n] = std::exp(-p.b[n]);
    }
  }

  // The derivatives at the start of a cell from those at its end; those in its input spikes go to
  // `by_inputs`, where they are asked for.
  void step(Size cell, Real* by_inputs) {
    const Size slot = cell % p.back;
    cell_ = cell;
    for (const Slots& x : slots_[slot]) which_[slot * size_ + x.lane] = -1;
    slots_[slot].clear();
    ends_ = from_v;
    before_.assign(held_.begin(), held_.end());
    for (Size r = p.kept.firsts[cell]; r < p.kept.firsts[cell + 1]; ++r) look(cell, slot, r);
    for (Size lane = 0; lane < size_; ++lane) {
      // (a neuron in whose cell something has happened is not held all through it)
      if (held_[lane]) totals_.reset.add(lane % p.neurons, from_v[lane]);
      from_v[lane] = held_[lane] ? 0 : ends_[lane];
      if (!before_[lane]) from_held_[lane] = 0;
    }
    std::copy(from_v.begin(), from_v.end(), ring_v_.begin() + slot * size_);
    std::copy(from_i.begin(), from_i.end(), ring_i_.begin() + slot * size_);
    held_.swap(before_);
    if (p.num_inputs) send_inputs_back(cell, by_inputs);
    for (Size s = 0, lane = 0; s < p.samples; ++s) {
      for (Size n = 0; n < p.neurons; ++n, ++lane) {
        const Real v = from_v[lane], i = from_i[lane];
        if (p.states_v && (v != 0 || i != 0)) add_ends_to_rates(s, n, lane, v, i);
        current[lane] = rise_[n] * v;
        from_v[lane] = decay_v_[n] * v;
        from_i[lane] = by_i_[n] * v + decay_i_[n] * i;
        noise[lane] = i;
      }
    }
    for (const Slots& x : slots_[slot]) {
      from_v[x.lane] += extra_v_[x.lane];
      from_i[x.lane] += extra_i_[x.lane];
      current[x.lane] += extra_c_[x.lane];
    }
    for (Size lane = 0; lane < size_; ++lane) noise[lane] += current[lane] - from_i[lane];
  }

 private:
  // The end of a cell without arrivals and resets, as a function of the rates.
  void add_ends_to_rates(Size sample, Size n, Size lane, Real v, Real i) {
    const Size at = cell_ * size_ + lane;
    const Real a = p.a[n], own_i = p.states_i[at];
    const ByRates grown = response_by_rates(a, p.b[n], 1);
    totals_.a.add(n, v * (decay_v_[n] * (current_at(sample, n) - p.states_v[at]) + grown.a * own_i));
    totals_.b.add(n, v * grown.b * own_i - i * decay_i_[n] * own_i);
  }

  // The input current of a neuron in this cell, with what the noise adds to it.
  Real current_at(Size sample, Size n) const {
    const ByCell& c = p.current;
    const Real given = c.values[cell_ * c.cell + sample * c.sample + n * c.neuron];
    return p.noise ? given + p.noise[cell_ * size_ + sample * p.neurons + n] : given;
  }

  // Derivatives in the potentials at the spikes and releases of a neuron in a cell.
  struct Slots {
    Size lane;
    std::vector<Real> offsets, heights;
  };

  void look(Size cell, Size slot, Size r) {
    const Kept& k = p.kept;
    const Size lane = k.lanes[r], n = lane % p.neurons;
    const Real a = p.a[n], b = p.b[n];
    const int places = p.places;
    auto fires = [&](int m) { return k.offsets.at(m, r) <= 1; };
    auto freed = [&](int m) { return k.release_offsets.at(m, r) <= 1; };
    bool stays = false;
    for (int m = 0; m < places; ++m) stays = stays || (fires(m) && !freed(m + 1));
    Slots slots{lane, std::vector<Real>(2 * places + 1), std::vector<Real>(2 * places + 1)};
    Real weight = stays ? Real(0) : from_v[lane], x = 1, reset = stays ? from_v[lane] : Real(0);
    ends_[lane] = weight;
    Real period = 0, threshold = 0, by_a = 0, by_b = 0;
    auto let_go = [&](int m) {
      Real part = 0;
      if (freed(m)) {
        const Real since = x - k.release_offsets.at(m, r);
        part = weight * std::exp(-a * since);
        by_a += part * since * k.drops.at(m, r);
      }
      slots.offsets[places + m] = k.release_offsets.at(m, r);
      slots.heights[places + m] = -part;
      reset += part;
      return -part * k.release_speeds.at(m, r);
    };
    for (int m = places - 1; m >= 0; --m) {
      Real moved = let_go(m + 1);
      if (!freed(m + 1)) moved = fires(m) ? from_held_[lane] : Real(0);
      period += moved;
      slots.offsets[m] = k.offsets.at(m, r);
      if (!fires(m)) continue;
      const Real back = send_back(cell, lane / p.neurons, n, k.offsets.at(m, r));
      const Real height = -(k.from_offsets.at(m, r) + back + moved) / k.speeds.at(m, r);
      slots.heights[m] = height;
      threshold -= height;
      weight = height;
      x = k.offsets.at(m, r);
    }
    const Real moved = let_go(0);
    from_held_[lane] = freed(0) ? moved : Real(0);
    held_[lane] = false;
    before_[lane] = freed(0);
    totals_.threshold.add(n, threshold);
    totals_.reset.add(n, reset);
    totals_.refractory.add(n, period);
    Real by_v = 0, by_i = 0, by_c = 0;
    for (int m = 0; m < 2 * places + 1; ++m) {
      const Real height = slots.heights[m], at = std::min(slots.offsets[m], Real(1));
      if (height == 0) continue;
      by_v += height * std::exp(-a * at);
      by_i += height * response(a, b, at);
      by_c -= height * std::expm1(-a * at);
      if (p.states_v) {
        const Size state = cell * size_ + lane;
        const Real own_i = p.states_i[state], decay = std::exp(-a * at);
        const ByRates grown = response_by_rates(a, b, at);
        const Real c = current_at(lane / p.neurons, n);
        by_a += height * (at * decay * (c - p.states_v[state]) + grown.a * own_i);
        by_b += height * grown.b * own_i;
      }
    }
    totals_.a.add(n, by_a);
    totals_.b.add(n, by_b);
    extra_v_[lane] = by_v;
    extra_i_[lane] = by_i;
    extra_c_[lane] = by_c;
    which_[slot * size_ + lane] = std::int32_t(slots_[slot].size());
    slots_[slot].push_back(std::move(slots));
  }

  void send_inputs_back(Size cell, Real* by_inputs) {
    for (Size k = 0; k < p.num_inputs; ++k) {
      for (Size s = 0; s < p.samples; ++s) {
        const Size at = (cell * p.num_inputs + k) * p.samples + s;
        Real back = 0;
        if (p.sources[at] < p.num_sources) back = send_back(cell, s, p.sources[at], p.inputs[at]);
        if (by_inputs) by_inputs[at] = back;
      }
    }
  }

  // The derivative in when a spike happened, from where it arrived.
  Real send_back(Size cell, Size sample, Size source, Real offset) {
    Real total = 0;
    for (Size e = p.sent.starts[source]; e < p.sent.starts[source + 1]; ++e) {
      Size later = p.sent.whole[e * p.sent.stride];
      Real when = offset + p.sent.rest[e * p.sent.stride];
      if (when >= 1) {
        ++later;
        when -= 1;
      }
      const Size n = p.sent.others[e];
      const Size at = ((cell + later) % p.back) * size_ + sample * p.neurons + n;
      const Real v = ring_v_[at], i = ring_i_[at];
      const std::int32_t which = which_[at];
      if (v == 0 && i == 0 && which < 0) continue;
      const Real a = p.a[n], b = p.b[n];
      Real by_weight = 0, by_when = 0;
      const Real own_weight = p.sent.weights[e];
      auto add = [&](Real height, Real since) {
        const Real grown = response(a, b, since);
        if (p.states_v) {
          const ByRates by_rates = response_by_rates(a, b, since);
          totals_.a.add(n, own_weight * height * by_rates.a);
          totals_.b.add(n, own_weight * height * by_rates.b);
        }
        by_weight += height * grown;
        by_when -= height * a * (std::exp(-b * since) - grown);
      };
      const Real decay = std::exp(-b * (1 - when));
      by_weight += i * decay;
      by_when += i * b * decay;
      if (p.states_v) totals_.b.add(n, -own_weight * i * (1 - when) * decay);
      add(v, 1 - when);
      if (which >= 0) {
        const Slots& slots = slots_[(cell + later) % p.back][which];
        for (std::size_t m = 0; m < slots.offsets.size(); ++m) {
          const Real x = slots.offsets[m];
          if (when < x && x <= 1 && slots.heights[m] != 0) add(slots.heights[m], x - when);
        }
      }
      by_when *= own_weight;
      totals_.weights.add(e, by_weight);
      totals_.delays.add(e, by_when);
      total += by_when;
    }
    return total;
  }

  const Problem& p;
  Totals& totals_;
  const Size size_;
  Size cell_ = 0;

 public:
  std::vector<Real> from_v, from_i;

 private:
  std::vector<Real> from_held_;
  // which neurons are held at the end of the cell, and at its start
  std::vector<char> held_, before_;
  std::vector<Real> ends_, extra_v_, extra_i_, extra_c_;
  // derivatives in the ends of the last cells, and of which number the slots of a neuron are there
  std::vector<Real> ring_v_, ring_i_;
  std::vector<std::int32_t> which_;
  std::vector<std::vector<Slots>> slots_;
  std::vector<Real> decay_v_, by_i_, rise_, decay_i_;

 public:
  // derivatives in the input current of the cell, and in what the noise adds to it
  std::vector<Real> current, noise;
};

ffi::Error compute(Reals a, Reals b, Ints sent_starts, Ints sent_others, Reals sent_weights,
                   Ints sent_whole, Reals sent_rest, Ints lanes, Reals offsets, Reals speeds,
                   Reals release_offsets, Reals release_speeds, Reals drops, Reals from_offsets,
                   Ints firsts, Ints held, Reals inputs, Ints sources, Reals states_v,
                   Reals states_i, Reals current, Reals noise, Size samples, Size neurons,
                   Size num_sources, Size places, Size back, RealResults by_a, RealResults by_b,
                   RealResults threshold,
                   RealResults reset, RealResults refractory, RealResults weights,
                   RealResults delays, RealResults start_v, RealResults start_i,
                   RealResults by_current, RealResults by_inputs, RealResults by_noise) try {
  const Size cells = inputs.dimensions()[0], num_inputs = inputs.dimensions()[1];
  const Problem problem{
      Shared(a), Shared(b), Fans(sent_starts, sent_others, sent_weights, sent_whole, sent_rest),
      Kept{lanes.typed_data(), firsts.typed_data(), Columns(offsets), Columns(speeds),
           Columns(release_offsets), Columns(release_speeds), Columns(drops),
           Columns(from_offsets)},
      inputs.typed_data(), sources.typed_data(),
      states_v.element_count() ? states_v.typed_data() : nullptr,
      states_i.element_count() ? states_i.typed_data() : nullptr, ByCell(current),
      noise.element_count() ? noise.typed_data() : nullptr, cells, samples, neurons, num_inputs, num_sources,
      int(places), cells_kept(sent_whole, back)};
  Totals totals{Total(by_a),  Total(by_b), Total(threshold), Total(reset), Total(refractory), Total(weights), Total(delays)};
  const Size size = samples * neurons;
  // (T or 1, B, N): summed over the cells where there is one of them
  const Size current_cells = by_current->element_count() / std::max<Size>(size, 1);
  fill(by_current, 0);
  Adjoint adjoint(problem, totals, held.typed_data());
  for (Size cell = cells - 1; cell >= 0; --cell) {
    adjoint.step(cell, by_inputs->element_count() ? by_inputs->typed_data() : nullptr);
    if (current_cells) {
      Real* to = by_current->typed_data() + (current_cells > 1 ? cell * size : 0);
      for (Size n = 0; n < size; ++n) to[n] += adjoint.current[n];
    }
    if (by_noise->element_count()) {
      std::copy_n(adjoint.noise.begin(), size, by_noise->typed_data() + cell * size);
    }
  }
  std::copy_n(adjoint.from_v.begin(), size, start_v->typed_data());
  std::copy_n(adjoint.from_i.begin(), size, start_i->typed_data());
  return ffi::Error::Success();
} catch (const std::exception& failure) {
  return ffi::Error::Internal(std::string("the adjoint of a network failed: ") + failure.what());
}

}  // namespace
}  // namespace roughsnn

XLA_FFI_DEFINE_HANDLER_SYMBOL(roughsnn_fan_backward, roughsnn::compute,
                              xla::ffi::Ffi::Bind()
                                  .Arg<roughsnn::Reals>()  // a, b
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Ints>()  // synapses
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Ints>()  // records
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()  // derivatives in their offsets
                                  .Arg<roughsnn::Ints>()   // firsts, held
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Reals>()  // input spikes
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Reals>()  // states, current, noise
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Attr<std::int64_t>("samples")
                                  .Attr<std::int64_t>("neurons")
                                  .Attr<std::int64_t>("num_sources")
                                  .Attr<std::int64_t>("places")
                                  .Attr<std::int64_t>("back")
                                  .Ret<roughsnn::Reals>()  // a, b
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()  // threshold, reset, refractory
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()  // weights, delays
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()  // start
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()  // current, inputs, noise
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>());
