// The cells of a window, one after the other, of a network whose synapses are a list: what
// `_fan_forward.py` computes, for XLA to call. Samples are computed one after the other, and their
// records put together cell by cell.

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

struct Given {
  Shared a, b, threshold, reset, refractory;
  Fans sent, into;
  ByCell current;
  const Real* noise;  // (T, B, N), or null
  const Real* inputs;  // (T, K, B)
  const std::int32_t* sources;
  Size cells, samples, neurons, num_inputs, num_sources, width;
  int places, back;
};

// A neuron in whose cell something has happened.
struct Record {
  std::int32_t cell, neuron;
};

// Offsets and what belongs to them, `row` numbers for each record.
struct Rows {
  std::vector<Real> values;

  void add(const std::vector<Real>& row) { values.insert(values.end(), row.begin(), row.end()); }
};

struct Outcome {
  std::vector<Record> records;
  Rows offsets, speeds, release_offsets, release_speeds, drops;
  bool bursting = false;
  Size most_arrivals = 0, active = 0, rows = 0;
  std::vector<Size> arrivals;  // in each cell, at all neurons that were looked at
};

// (by value: the library's give back references, which keep a loop from being done in vectors)
inline Real larger(Real x, Real y) { return x < y ? y : x; }
inline Real smaller(Real x, Real y) { return y < x ? y : x; }

// What depends on the parameters of a neuron alone.
struct Decay {
  std::vector<Real> v, by_i, rise, i, grown, lost, threshold, reset;

  Decay(const Given& g) {
    for (auto* x : {&v, &by_i, &rise, &i, &grown, &lost, &threshold, &reset}) x->resize(g.neurons);
    for (Size n = 0; n < g.neurons; ++n) {
      const Real a = g.a[n], b = g.b[n];
      v[n] = std::exp(-a);
      by_i[n] = response(a, b, 1);
      rise[n] = -std::expm1(-a);
      i[n] = std::exp(-b);
      grown[n] = std::exp(b);
      lost[n] = -std::expm1(-b);
      threshold[n] = g.threshold[n];
      reset[n] = g.reset[n];
    }
  }
};

// One sample.
class Sample {
 public:
  Sample(const Given& given, const Decay& decay, Size number, const Real* v, const Real* i,
         Outcome& outcome)
      : g(given), decay_(decay), number_(number), out_(outcome), v_(v, v + given.neurons),
        i_(i, i + given.neurons), left_(given.neurons), end_(given.neurons), i_end_(given.neurons),
        highest_(given.neurons), above_(given.neurons), current_(given.neurons),
        to_v_(given.back * given.neurons), to_i_(to_v_.size()), negative_(to_v_.size()),
        history_(Size(given.back) * given.places * given.num_sources, kNoSpike),
        written_(given.back), walked_(given.places) {}

  // `states`, where they are asked for: potentials and currents at the starts of all cells.
  void run(Real* states_v, Real* states_i, Size stride) {
    out_.arrivals.resize(g.cells);
    for (Size cell = 0; cell < g.cells; ++cell) {
      step(cell, states_v ? states_v + cell * stride : nullptr,
           states_i ? states_i + cell * stride : nullptr);
    }
  }

  const std::vector<Real>& v() const { return v_; }
  const std::vector<Real>& i() const { return i_; }
  const std::vector<Real>& left() const { return left_; }

 private:
  Size slot_of(Size cell) const { return ((cell % g.back) + g.back) % g.back; }

  Real& spike(Size slot, int place, Size source) {
    return history_[(slot * g.places + place) * g.num_sources + source];
  }

  void write(Size slot, int place, Size source, Real offset) {
    Real& here = spike(slot, place, source);
    here = offset;
    written_[slot].push_back(&here);
  }

  void step(Size cell, Real* state_v, Real* state_i) {
    const Size slot = slot_of(cell), before = slot_of(cell - 1), size = g.neurons;
    if (before != slot) {
      for (auto* x : {&to_v_, &to_i_, &negative_}) {
        std::fill_n(x->begin() + before * size, size, Real(0));
      }
    }
    for (Real* x : written_[slot]) *x = kNoSpike;
    written_[slot].clear();
    take_inputs(cell, slot);
    const Real* noise = g.noise ? g.noise + (cell * g.samples + number_) * size : nullptr;
    const Real* given = g.current.values + cell * g.current.cell + number_ * g.current.sample;
    for (Size n = 0; n < size; ++n) current_[n] = given[n * g.current.neuron];
    if (noise) {
      for (Size n = 0; n < size; ++n) {
        i_[n] -= noise[n];
        current_[n] += noise[n];
      }
    }
    if (state_v) std::copy(v_.begin(), v_.end(), state_v);
    if (state_i) std::copy(i_.begin(), i_.end(), state_i);
    free_ends(slot);
    for (Size n = 0; n < size; ++n) {
      if (above_[n] >= 0) look(cell, slot, n);
    }
    for (Real& left : left_) left = larger(left - 1, 0);
    for (const Left& x : left_after_) left_[x.neuron] = x.value;
    left_after_.clear();
    v_.swap(end_);
    i_.swap(i_end_);
    if (noise) {
      for (Size n = 0; n < size; ++n) i_[n] += noise[n];
    }
  }

  // The input spikes of a cell, sent on and written down.
  void take_inputs(Size cell, Size slot) {
    const Size first = cell * g.num_inputs;
    for (Size k = 0; k < g.num_inputs; ++k) {
      const Size at = (first + k) * g.samples + number_;
      const std::int32_t source = g.sources[at];
      if (source >= g.num_sources) continue;
      int place = 0;
      for (Size m = 0; m < k; ++m) place += g.sources[(first + m) * g.samples + number_] == source;
      if (place < g.places) {
        write(slot, place, source, g.inputs[at]);
      } else {
        out_.bursting = true;
      }
      push(cell, source, g.inputs[at]);
    }
  }

  // What a spike will add to the ends of the cells in which it arrives.
  void push(Size cell, Size source, Real offset) {
    const Size begin = g.sent.starts[source], end = g.sent.starts[source + 1];
    out_.rows += (end - begin + g.width - 1) / g.width;
    if (g.sent.stride == 0 && g.a.stride == 0 && g.b.stride == 0) {
      const auto [at, left] = arrival(cell, begin, offset);
      const Real a = g.a[0], b = g.b[0], to_v = response(a, b, left), to_i = std::exp(-b * left);
      for (Size e = begin; e < end; ++e) {
        const Size n = at + g.sent.others[e];
        const Real weight = g.sent.weights[e];
        to_v_[n] += weight * to_v;
        to_i_[n] += weight * to_i;
        negative_[n] += std::max(-weight, Real(0));
      }
      return;
    }
    for (Size e = begin; e < end; ++e) {
      const auto [at, left] = arrival(cell, e, offset);
      const Size other = g.sent.others[e], n = at + other;
      const Real a = g.a[other], b = g.b[other], weight = g.sent.weights[e];
      to_v_[n] += weight * response(a, b, left);
      to_i_[n] += weight * std::exp(-b * left);
      negative_[n] += std::max(-weight, Real(0));
    }
  }

  struct Arriving {
    Size at;
    Real left;
  };

  // Where in the ring a spike arrives, and how much of that cell is left then.
  Arriving arrival(Size cell, Size synapse, Real offset) const {
    Size later = g.sent.whole[synapse * g.sent.stride];
    Real when = offset + g.sent.rest[synapse * g.sent.stride];
    if (when >= 1) {
      ++later;
      when -= 1;
    }
    return {slot_of(cell + later) * g.neurons, 1 - when};
  }

  // The ends of all neurons without spikes, and which of them may fire; see `free_end`.
  void free_ends(Size slot) {
    const Size size = g.neurons;
    const Real *__restrict__ to_v = &to_v_[slot * size], *__restrict__ to_i = &to_i_[slot * size];
    const Real *__restrict__ negative = &negative_[slot * size], *__restrict__ v = v_.data();
    const Real *__restrict__ i = i_.data(), *__restrict__ current = current_.data();
    const Real *__restrict__ left = left_.data(), *__restrict__ decay_v = decay_.v.data();
    const Real *__restrict__ by_i = decay_.by_i.data(), *__restrict__ rise = decay_.rise.data();
    const Real *__restrict__ decay_i = decay_.i.data(), *__restrict__ grown = decay_.grown.data();
    const Real *__restrict__ faded = decay_.lost.data(), *__restrict__ reset = decay_.reset.data();
    const Real* __restrict__ threshold = decay_.threshold.data();
    Real *__restrict__ end = end_.data(), *__restrict__ i_end = i_end_.data();
    Real *__restrict__ highest = highest_.data(), *__restrict__ above = above_.data();
#pragma omp simd
    for (Size n = 0; n < size; ++n) {
      const Real own_end = decay_v[n] * v[n] + by_i[n] * i[n] + rise[n] * current[n] + to_v[n];
      const Real own_i = decay_i[n] * i[n];
      const Real top = larger(i[n], own_i) +
                       grown[n] * larger(to_i[n] + negative[n], Real(0)) + current[n];
      const Real decayed = larger((threshold[n] - current[n]) * faded[n], Real(0));
      const Real lost = rise[n] * (decayed + negative[n]);
      const Real reach = smaller(top, v[n] + rise[n] * (top - v[n])) - threshold[n];
      const Real over = own_end - threshold[n];
      const Real may_fire = larger(over, smaller(reach, over + lost));
      const Real let_go = left[n] < 1 ? Real(1) : Real(-1);
      above[n] = left[n] > 0 ? let_go : may_fire;
      highest[n] = top;
      end[n] = left[n] >= 1 ? reset[n] : own_end;
      i_end[n] = own_i + to_i[n];
    }
  }

  // A neuron that may fire, or is let go.
  void look(Size cell, Size slot, Size n) {
    const Size at = slot * g.neurons + n;
    arrivals_.clear();
    if (std::abs(to_i_[at]) + negative_[at] > 0) find_arrivals(cell, n);
    ++out_.active;
    out_.arrivals[cell] += arrivals_.size();
    out_.most_arrivals = std::max(out_.most_arrivals, Size(arrivals_.size()));
    const Lane lane{v_[n],     i_[n],          current_[n], g.a[n],   g.b[n], g.threshold[n],
                    g.reset[n], g.refractory[n], left_[n],    highest_[n]};
    walk_.run(lane, arrivals_, g.places, walked_);
    out_.bursting = out_.bursting || walked_.more;
    const bool held = walked_.left >= 0;
    if (walked_.happened) end_[n] = held ? lane.reset : end_[n] + decay_.v[n] * walked_.shift;
    left_after_.push_back({n, std::max(walked_.left, Real(0))});
    if (!walked_.happened) return;
    for (int place = 0; place < g.places; ++place) {
      if (walked_.offsets[place] > 1) break;
      write(slot, place, n, walked_.offsets[place]);
      push(cell, n, walked_.offsets[place]);
    }
    out_.records.push_back({std::int32_t(cell), std::int32_t(n)});
    out_.offsets.add(walked_.offsets);
    out_.speeds.add(walked_.speeds);
    out_.release_offsets.add(walked_.release_offsets);
    out_.release_speeds.add(walked_.release_speeds);
    out_.drops.add(walked_.drops);
  }

  // What has been sent to a neuron and arrives in a cell, in its order.
  void find_arrivals(Size cell, Size n) {
    for (Size e = g.into.starts[n]; e < g.into.starts[n + 1]; ++e) {
      const Size source = g.into.others[e], whole = g.into.whole[e * g.into.stride];
      const Real rest = g.into.rest[e * g.into.stride];
      for (int back = 0; back < 2; ++back) {
        const Size slot = slot_of(cell - whole - back);
        for (int place = 0; place < g.places; ++place) {
          const Real offset = spike(slot, place, source);
          if (offset > 1) break;
          const Real when = offset + rest - back;
          if (back == 0 ? when < 1 : when >= 0) arrivals_.push_back({when, g.into.weights[e]});
        }
      }
    }
    std::stable_sort(arrivals_.begin(), arrivals_.end(),
                     [](const Arrival& x, const Arrival& y) { return x.offset < y.offset; });
  }

  const Given& g;
  const Decay& decay_;
  const Size number_;
  Outcome& out_;
  std::vector<Real> v_, i_, left_, end_, i_end_, highest_, above_, current_;
  // what will have been added by the ends of the cells to come, in a ring
  std::vector<Real> to_v_, to_i_, negative_;
  // the spikes of the last cells, in a ring
  std::vector<Real> history_;
  std::vector<std::vector<Real*>> written_;
  struct Left {
    Size neuron;
    Real value;
  };
  std::vector<Left> left_after_;
  std::vector<Arrival> arrivals_;
  Walk walk_;
  Walked walked_;
};

// The numbers of each record, one row of `result` for each of them.
void put(const Rows& rows, Size record, Size place, int width, Real* result, Size capacity) {
  for (int m = 0; m < width; ++m) result[m * capacity + place] = rows.values[record * width + m];
}

// The spikes of all samples, each as the number of its place among the offsets of all records:
// sample by sample, in the order of their times.
void put_in_order(const std::int32_t* lane, const std::int32_t* cell, const Real* offsets,
                  Size capacity, Size count, int places, Size neurons, Size samples,
                  IntResults& order, IntResults& begins) {
  struct Spike {
    std::int32_t cell;
    Real offset;
    std::int32_t neuron, place;
  };
  std::vector<std::vector<Spike>> of_samples(samples);
  for (Size r = 0; r < count; ++r) {
    for (int m = 0; m < places && offsets[m * capacity + r] <= 1; ++m) {
      const Size at = m * capacity + r;
      const std::int32_t neuron = std::int32_t(lane[r] % neurons);
      of_samples[lane[r] / neurons].push_back({cell[r], offsets[at], neuron, std::int32_t(at)});
    }
  }
  const Size room = order->element_count();
  std::fill_n(order->typed_data(), room, 0);
  Size next = 0;
  for (Size s = 0; s < samples; ++s) {
    begins->typed_data()[s] = std::int32_t(next);
    auto& spikes = of_samples[s];
    std::sort(spikes.begin(), spikes.end(), [](const Spike& x, const Spike& y) {
      if (x.cell != y.cell) return x.cell < y.cell;
      return x.offset != y.offset ? x.offset < y.offset : x.neuron < y.neuron;
    });
    for (const Spike& x : spikes) {
      if (next < room) order->typed_data()[next] = x.place;
      ++next;
    }
  }
  begins->typed_data()[samples] = std::int32_t(next);
}

ffi::Error compute(Reals a, Reals b, Reals threshold, Reals reset, Reals refractory, Reals v,
                   Reals i, Reals current, Reals noise, Ints sent_starts, Ints sent_others,
                   Reals sent_weights, Ints sent_whole, Reals sent_rest, Ints into_starts,
                   Ints into_others, Reals into_weights, Ints into_whole, Reals into_rest,
                   Reals inputs, Ints sources, Size num_sources, Size places, Size back,
                   Size num_records, Size width, IntResults lane, IntResults in_cell,
                   RealResults offsets,
                   RealResults speeds, RealResults release_offsets, RealResults release_speeds,
                   RealResults drops, IntResults firsts, IntResults order, IntResults begins,
                   RealResults left, RealResults end_v,
                   RealResults end_i, IntResults bursting, RealResults need, RealResults states_v,
                   RealResults states_i) try {
  const auto shape = v.dimensions();
  const Size samples = shape[0], neurons = shape[1], cells = inputs.dimensions()[0];
  const Given given{
      Shared(a), Shared(b), Shared(threshold), Shared(reset), Shared(refractory),
      Fans(sent_starts, sent_others, sent_weights, sent_whole, sent_rest),
      Fans(into_starts, into_others, into_weights, into_whole, into_rest), ByCell(current),
      noise.element_count() ? noise.typed_data() : nullptr, inputs.typed_data(),
      sources.typed_data(), cells, samples, neurons, Size(inputs.dimensions()[1]), num_sources,
      width, int(places), cells_kept(sent_whole, back)};
  const Decay decay(given);
  const bool keeps_states = states_v->element_count() > 0;
  std::vector<Outcome> outcomes(samples);
  for (Size s = 0; s < samples; ++s) {
    const Size at = s * neurons;
    Sample sample(given, decay, s, v.typed_data() + at, i.typed_data() + at, outcomes[s]);
    sample.run(keeps_states ? states_v->typed_data() + at : nullptr,
               keeps_states ? states_i->typed_data() + at : nullptr, samples * neurons);
    std::copy_n(sample.v().begin(), neurons, end_v->typed_data() + at);
    std::copy_n(sample.i().begin(), neurons, end_i->typed_data() + at);
    std::copy_n(sample.left().begin(), neurons, left->typed_data() + at);
    bursting->typed_data()[s] = outcomes[s].bursting;
  }

  const Size capacity = lane->element_count();
  std::fill_n(lane->typed_data(), capacity, std::int32_t(samples * neurons));
  std::fill_n(in_cell->typed_data(), capacity, std::int32_t(std::max<Size>(cells - 1, 0)));
  fill(offsets, kNoSpike);
  fill(speeds, 1);
  fill(release_offsets, kNoSpike);
  fill(release_speeds, 0);
  fill(drops, 0);
  std::vector<Size> next(samples, 0);
  Size count = 0, events = 0, most = 0, active = 0, rows = 0;
  for (Size cell = 0; cell < cells; ++cell) {
    firsts->typed_data()[cell] = std::int32_t(std::min(count, num_records + 1));
    Size arrivals = 0;
    for (Size s = 0; s < samples; ++s) {
      const Outcome& found = outcomes[s];
      arrivals += found.arrivals[cell];
      for (Size& r = next[s]; r < Size(found.records.size()) && found.records[r].cell == cell;
           ++r) {
        if (count < num_records) {
          lane->typed_data()[count] = std::int32_t(s * neurons + found.records[r].neuron);
          in_cell->typed_data()[count] = std::int32_t(cell);
          put(found.offsets, r, count, places, offsets->typed_data(), capacity);
          put(found.speeds, r, count, places, speeds->typed_data(), capacity);
          put(found.release_offsets, r, count, places + 1, release_offsets->typed_data(), capacity);
          put(found.release_speeds, r, count, places + 1, release_speeds->typed_data(), capacity);
          put(found.drops, r, count, places + 1, drops->typed_data(), capacity);
        }
        ++count;
      }
    }
    events = std::max(events, arrivals);
  }
  firsts->typed_data()[cells] = std::int32_t(std::min(count, num_records + 1));
  put_in_order(lane->typed_data(), in_cell->typed_data(), offsets->typed_data(), capacity,
               std::min(count, num_records), int(places), neurons, samples, order, begins);
  for (const Outcome& found : outcomes) {
    most = std::max(most, found.most_arrivals);
    active += found.active;
    rows += found.rows;
  }
  const Real all = Real(std::max<Size>(cells, 1));
  const Real needed[] = {Real(most), Real(events), Real(active) / all, Real(rows) / all};
  std::copy_n(needed, 4, need->typed_data());
  return ffi::Error::Success();
} catch (const std::exception& failure) {
  return ffi::Error::Internal(std::string("the cells of a network failed: ") + failure.what());
}

}  // namespace
}  // namespace roughsnn

XLA_FFI_DEFINE_HANDLER_SYMBOL(roughsnn_fan_forward, roughsnn::compute,
                              xla::ffi::Ffi::Bind()
                                  .Arg<roughsnn::Reals>()  // a, b, threshold, reset, refractory
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()  // potentials, currents, input, noise
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Ints>()  // synapses by where they lead from
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Ints>()  // by where they lead to
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()  // input spikes
                                  .Arg<roughsnn::Ints>()
                                  .Attr<std::int64_t>("num_sources")
                                  .Attr<std::int64_t>("places")
                                  .Attr<std::int64_t>("back")
                                  .Attr<std::int64_t>("num_records")
                                  .Attr<std::int64_t>("width")
                                  .Ret<roughsnn::Ints>()  // records
                                  .Ret<roughsnn::Ints>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Ints>()   // firsts, order, begins
                                  .Ret<roughsnn::Ints>()
                                  .Ret<roughsnn::Ints>()
                                  .Ret<roughsnn::Reals>()  // left, potentials, currents at the end
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Ints>()   // bursting
                                  .Ret<roughsnn::Reals>()  // need
                                  .Ret<roughsnn::Reals>()  // states
                                  .Ret<roughsnn::Reals>());
