// The cells of a window, one after the other, of networks whose synapses are matrices: the same
// spikes as those of `_forward.py`, for XLA to call. Threads share out the samples.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "matrices.h"
#include "threads.h"

namespace roughsnn {
namespace {

// so many spikes of a neuron in a cell are looked for at first
constexpr int kFew = 2;

// A spike, and when its potential is let go again; in no cell, where that is after the window.
struct Spike {
  std::int32_t cell, neuron;
  Real offset, speed;
  std::int32_t release_cell;
  Real release_offset, release_speed, drop;
};

// What is written down of all samples.
struct Outputs {
  std::int32_t *cells, *neurons, *release_cells, *counts, *bursting, *finite;
  Real *offsets, *speeds, *release_offsets, *release_speeds, *drops, *slowest, *states_v, *states_i;
  Size room;
};

struct Settings {
  // how often a neuron may fire in a cell, and up to which offset the last cell is in the window
  int most_spikes;
  Real last;
};

bool is_earlier(const Row& x, const Row& y) { return x.when < y.when; }

// One sample after the other.
class Worker {
 public:
  Worker(const Problem& problem, const Propagators& propagators, const Settings& settings,
         const Outputs& outputs)
      : p(problem), decay_(propagators), settings_(settings), out_(outputs),
        has_refractory_(problem.any_refractory()), group_of_(problem.groups.of_neurons()),
        few_(std::min(kFew, settings.most_spikes)), many_(settings.most_spikes) {
    for (auto* x : {&v_, &i_, &left_, &end_, &i_end_, &highest_, &above_, &current_, &to_v_, &to_i_,
                    &negative_}) {
      x->resize(p.neurons);
    }
    holder_.resize(p.neurons);
    pending_.resize(p.groups.count);
    if (p.is_delayed) {
      Real longest = 0;
      for (Size n = 0; n < (p.delays.stride ? p.neurons : 1); ++n) {
        longest = std::max(longest, p.delays[n]);
      }
      ring_.resize(arriving(0, longest, p.cells).later + 2);
    }
  }

  void run(Size sample, const Real* v, const Real* i) {
    sample_ = sample;
    std::copy_n(v, p.neurons, v_.begin());
    std::copy_n(i, p.neurons, i_.begin());
    std::fill(left_.begin(), left_.end(), Real(0));
    std::fill(holder_.begin(), holder_.end(), -1);
    for (auto& rows : ring_) rows.clear();
    spikes_.clear();
    bursting_ = false;
    const Size first = sample * p.inputs.number;
    inputs_.fill(p.cells, p.inputs.number, [&](Size k) {
      const std::int32_t source = p.inputs.sources[first + k];
      return source >= 0 && source < p.inputs.rows ? Size(p.inputs.cells[first + k]) : Size(-1);
    });
    for (Size cell = 0; cell < p.cells; ++cell) step(cell);
    write_down();
  }

 private:
  void step(Size cell) {
    const Size size = p.neurons, at = (cell * p.samples + sample_) * size;
    const Real* given = p.current.values + cell * p.current.cell + sample_ * p.current.sample;
    for (Size n = 0; n < size; ++n) current_[n] = given[n * p.current.neuron];
    if (p.noise) {
      for (Size n = 0; n < size; ++n) {
        i_[n] -= p.noise[at + n];
        current_[n] += p.noise[at + n];
      }
    }
    if (out_.states_v) {
      std::copy(v_.begin(), v_.end(), out_.states_v + at);
      std::copy(i_.begin(), i_.end(), out_.states_i + at);
    }
    take_arrivals(cell);
    in_cell_.clear();
    left_after_.clear();
    for (Size g = 0; g < p.groups.count; ++g) {
      const Size begin = p.groups.starts[g], end = p.groups.starts[g + 1];
      free_ends(begin, end);
      rows_ = &arrivals_;
      if (!pending_[g].empty()) {
        merged_ = arrivals_;
        merged_.insert(merged_.end(), pending_[g].begin(), pending_[g].end());
        std::stable_sort(merged_.begin(), merged_.end(), is_earlier);
        rows_ = &merged_;
      }
      for (Size n = begin; n < end; ++n) {
        if (above_[n] >= 0) look(cell, n);
      }
      pending_[g].clear();
    }
    if (has_refractory_) hold(cell);
    keep_spikes();
    v_.swap(end_);
    i_.swap(i_end_);
    if (p.noise) {
      for (Size n = 0; n < size; ++n) i_[n] += p.noise[at + n];
    }
  }

  // Input spikes and delayed spikes of a cell, in their order, and what they do by its end.
  void take_arrivals(Size cell) {
    arrivals_.clear();
    const Size first = sample_ * p.inputs.number;
    for (const Size* k = inputs_.begin(cell); k != inputs_.end(cell); ++k) {
      const Real* row = p.input_weights + p.inputs.sources[first + *k] * p.neurons;
      arrivals_.push_back({p.inputs.offsets[first + *k], row});
    }
    if (!ring_.empty()) {
      auto& late = ring_[cell % ring_.size()];
      arrivals_.insert(arrivals_.end(), late.begin(), late.end());
      late.clear();
    }
    if (!std::is_sorted(arrivals_.begin(), arrivals_.end(), is_earlier)) {
      std::stable_sort(arrivals_.begin(), arrivals_.end(), is_earlier);
    }
    for (auto* x : {&to_v_, &to_i_, &negative_}) std::fill(x->begin(), x->end(), Real(0));
    for (const Row& row : arrivals_) add(row, 0, p.neurons);
  }

  // What a row of weights adds by the end of the cell to some neurons.
  void add(const Row& row, Size begin, Size end) {
    const Real left = 1 - row.when;
    const Real* __restrict__ weights = row.weights;
    Real *__restrict__ to_v = to_v_.data(), *__restrict__ to_i = to_i_.data();
    Real* __restrict__ negative = negative_.data();
    if (p.share_rates()) {
      const Real by_v = response(p.a[0], p.b[0], left), by_i = std::exp(-p.b[0] * left);
#pragma omp simd
      for (Size n = begin; n < end; ++n) {
        const Real weight = weights[n];
        to_v[n] += weight * by_v;
        to_i[n] += weight * by_i;
        negative[n] += weight < 0 ? -weight : Real(0);
      }
      return;
    }
    for (Size n = begin; n < end; ++n) {
      const Real weight = weights[n];
      if (weight == 0) continue;
      to_v[n] += weight * response(p.a[n], p.b[n], left);
      to_i[n] += weight * std::exp(-p.b[n] * left);
      negative[n] += weight < 0 ? -weight : Real(0);
    }
  }

  // The ends of some neurons without spikes, and which of them may fire; see `free_end`.
  void free_ends(Size begin, Size stop) {
    const Real *__restrict__ to_v = to_v_.data(), *__restrict__ to_i = to_i_.data();
    const Real *__restrict__ negative = negative_.data(), *__restrict__ v = v_.data();
    const Real *__restrict__ i = i_.data(), *__restrict__ current = current_.data();
    const Real *__restrict__ decay_v = decay_.v.data(), *__restrict__ by_i = decay_.by_i.data();
    const Real *__restrict__ rise = decay_.rise.data(), *__restrict__ decay_i = decay_.i.data();
    const Real *__restrict__ grown = decay_.grown.data(), *__restrict__ faded = decay_.lost.data();
    const Real* __restrict__ threshold = decay_.threshold.data();
    Real *__restrict__ end = end_.data(), *__restrict__ i_end = i_end_.data();
    Real *__restrict__ highest = highest_.data(), *__restrict__ above = above_.data();
#pragma omp simd
    for (Size n = begin; n < stop; ++n) {
      const Real own_i = decay_i[n] * i[n];
      const Real own_end = decay_v[n] * v[n] + by_i[n] * i[n] + rise[n] * current[n] + to_v[n];
      const Real inward = to_i[n] + negative[n];
      const Real top = (i[n] > own_i ? i[n] : own_i) + grown[n] * (inward > 0 ? inward : Real(0)) +
                       current[n];
      const Real fade = (threshold[n] - current[n]) * faded[n];
      const Real lost = rise[n] * ((fade > 0 ? fade : Real(0)) + negative[n]);
      const Real nearer = v[n] + rise[n] * (top - v[n]);
      const Real reach = (top < nearer ? top : nearer) - threshold[n];
      const Real over = own_end - threshold[n], humped = over + lost;
      const Real hump = reach < humped ? reach : humped;
      above[n] = over > hump ? over : hump;
      highest[n] = top;
      end[n] = own_end;
      i_end[n] = own_i + to_i[n];
    }
    if (!has_refractory_) return;
    for (Size n = begin; n < stop; ++n) {
      if (!(left_[n] > 0)) continue;
      above_[n] = left_[n] < 1 ? Real(1) : Real(-1);
      if (left_[n] >= 1) end_[n] = decay_.reset[n];
    }
  }

  // A neuron that may fire, or is let go.
  void look(Size cell, Size n) {
    at_neuron_.clear();
    for (const Row& row : *rows_) {
      if (row.weights[n] != 0) at_neuron_.push_back({row.when, row.weights[n]});
    }
    const Lane lane{v_[n],     i_[n],          current_[n], p.a[n],   p.b[n], p.threshold[n],
                    p.reset[n], p.refractory[n], left_[n],    highest_[n]};
    Walked* found = &few_;
    walk_.run(lane, at_neuron_, int(few_.offsets.size()), few_);
    if (few_.more && few_.offsets.size() < many_.offsets.size()) {
      found = &many_;
      walk_.run(lane, at_neuron_, int(many_.offsets.size()), many_);
    }
    bursting_ = bursting_ || found->more;
    if (has_refractory_) left_after_.push_back({n, std::max(found->left, Real(0))});
    if (!found->happened) return;
    const Real free_end = end_[n];
    end_[n] = found->left >= 0 ? lane.reset : free_end + fall(lane, *found);
    if (found->release_offsets[0] <= 1) release(holder_[n], cell, *found);
    for (std::size_t m = 0; m < found->offsets.size() && found->offsets[m] <= 1; ++m) {
      Spike x{std::int32_t(cell), std::int32_t(n), found->offsets[m], found->speeds[m],
              std::int32_t(cell), found->release_offsets[m + 1], found->release_speeds[m + 1],
              found->drops[m + 1]};
      if (!(x.release_offset <= 1)) {
        if (found->left == 0) {
          // let go just where the cell ends
          x.release_offset = 1;
          x.release_speed = p.a[n] * (i_end_[n] + current_[n] - lane.reset);
          x.drop = free_end - lane.reset;
        } else {
          x.release_cell = std::int32_t(p.cells);
        }
      }
      in_cell_.push_back(x);
      send(cell, n, x.offset);
    }
  }

  // What resets in a cell add to the potential at its end.
  Real fall(const Lane& lane, const Walked& found) const {
    if (has_refractory_) return std::exp(-lane.a) * found.shift;
    Real total = 0;
    for (std::size_t m = 0; m < found.offsets.size() && found.offsets[m] <= 1; ++m) {
      total += std::exp(-lane.a * (1 - found.offsets[m]));
    }
    return (lane.reset - lane.threshold) * total;
  }

  void release(Size spike, Size cell, const Walked& found) {
    if (spike < 0) return;
    Spike& x = spikes_[spike];
    x.release_cell = std::int32_t(cell);
    x.release_offset = found.release_offsets[0];
    x.release_speed = found.release_speeds[0];
    x.drop = found.drops[0];
  }

  void send(Size cell, Size n, Real offset) {
    if (!p.weights) return;
    const Real* row = p.weights + n * p.neurons;
    if (p.is_delayed) {
      const Arriving x = arriving(offset, p.delays[n], p.cells);
      if (cell + x.later < p.cells) ring_[(cell + x.later) % ring_.size()].push_back({x.when, row});
      return;
    }
    const Size group = group_of_[n];
    for (Size c = p.groups.firsts[group]; c < p.groups.firsts[group + 1]; ++c) {
      const Size child = p.groups.children[c];
      add({offset, row}, p.groups.starts[child], p.groups.starts[child + 1]);
      pending_[child].push_back({offset, row});
    }
  }

  // For how long neurons are held after the cell.
  void hold(Size cell) {
    for (Size n = 0; n < p.neurons; ++n) {
      if (!(left_[n] >= 1)) {
        left_[n] = 0;
        continue;
      }
      left_[n] -= 1;
      if (left_[n] == 0 && holder_[n] >= 0 && cell + 1 < p.cells) {
        // let go just where the next cell begins
        Spike& x = spikes_[holder_[n]];
        x.release_cell = std::int32_t(cell + 1);
        x.release_offset = x.drop = 0;
        x.release_speed = p.a[n] * (i_end_[n] + current_[n] - p.reset[n]);
      }
    }
    for (const Left& x : left_after_) left_[x.neuron] = x.value;
  }

  // The spikes of the cell in their order.
  void keep_spikes() {
    std::sort(in_cell_.begin(), in_cell_.end(), [](const Spike& x, const Spike& y) {
      return x.offset != y.offset ? x.offset < y.offset : x.neuron < y.neuron;
    });
    for (const Spike& x : in_cell_) {
      if (x.cell == p.cells - 1 && x.offset > settings_.last) break;
      if (x.release_cell == p.cells) holder_[x.neuron] = Size(spikes_.size());
      spikes_.push_back(x);
    }
  }

  void write_down() {
    const Size count = spikes_.size(), first = sample_ * out_.room;
    out_.counts[sample_] = std::int32_t(count);
    out_.bursting[sample_] = bursting_;
    bool finite = true;
    for (Size n = 0; n < p.neurons; ++n) {
      finite = finite && std::isfinite(v_[n]) && std::isfinite(i_[n]);
    }
    out_.finite[sample_] = finite;
    Real slowest = std::numeric_limits<Real>::infinity();
    for (Size k = 0; k < out_.room; ++k) {
      const Spike x = k < count ? spikes_[k]
                                : Spike{std::int32_t(p.cells), -1, 0, 1, std::int32_t(p.cells), 0, 0, 0};
      const Size at = first + k;
      out_.cells[at] = x.cell;
      out_.neurons[at] = x.neuron;
      out_.offsets[at] = x.offset;
      out_.speeds[at] = x.speed;
      out_.release_cells[at] = x.release_cell;
      out_.release_offsets[at] = x.release_offset;
      out_.release_speeds[at] = x.release_speed;
      out_.drops[at] = x.drop;
      if (k < count) {
        const Size n = x.neuron;
        const Real threshold = p.threshold[n];
        const Real unit = p.a[n] * (std::abs(threshold) + std::abs(threshold - p.reset[n]));
        slowest = std::min(slowest, x.speed / unit);
      }
    }
    out_.slowest[sample_] = slowest;
  }

  const Problem& p;
  const Propagators& decay_;
  const Settings settings_;
  const Outputs out_;
  const bool has_refractory_;
  const std::vector<Size> group_of_;
  Size sample_ = 0;
  bool bursting_ = false;
  std::vector<Real> v_, i_, left_, end_, i_end_, highest_, above_, current_, to_v_, to_i_, negative_;
  // the spike after which each neuron is held
  std::vector<Size> holder_;
  ByCells inputs_;
  std::vector<Row> arrivals_, merged_;
  const std::vector<Row>* rows_ = nullptr;
  // what arrives at once at later groups of neurons, and what arrives in later cells
  std::vector<std::vector<Row>> pending_, ring_;
  std::vector<Spike> in_cell_, spikes_;
  struct Left {
    Size neuron;
    Real value;
  };
  std::vector<Left> left_after_;
  std::vector<Arrival> at_neuron_;
  Walk walk_;
  Walked few_, many_;
};

ffi::Error compute(ffi::ThreadPool pool, Reals a, Reals b, Reals threshold, Reals reset,
                   Reals refractory, Reals weights, Reals input_weights, Reals delays, Reals v,
                   Reals i, Reals current, Reals noise, Ints input_cells, Reals input_offsets,
                   Ints input_sources, Ints starts, Ints firsts, Ints children, Size num_cells,
                   Size most_spikes, double last, IntResults cells, RealResults offsets,
                   IntResults neurons, RealResults speeds, IntResults release_cells,
                   RealResults release_offsets, RealResults release_speeds, RealResults drops,
                   IntResults counts, IntResults bursting, IntResults finite, RealResults slowest,
                   RealResults states_v, RealResults states_i) try {
  const Size samples = v.dimensions()[0], size = v.dimensions()[1];
  const bool is_delayed = delays.element_count() > 0;
  const Problem problem{
      Shared(a), Shared(b), Shared(threshold), Shared(reset), Shared(refractory),
      weights.element_count() ? weights.typed_data() : nullptr, input_weights.typed_data(),
      Shared(delays), is_delayed, ByCell(current),
      noise.element_count() ? noise.typed_data() : nullptr,
      Inputs(input_cells, input_offsets, input_sources, input_weights.dimensions()[0]),
      Groups(starts, firsts, children), num_cells, samples, size};
  const Propagators propagators(problem);
  const bool keeps_states = states_v->element_count() > 0;
  const Outputs outputs{
      cells->typed_data(), neurons->typed_data(), release_cells->typed_data(),
      counts->typed_data(), bursting->typed_data(), finite->typed_data(), offsets->typed_data(),
      speeds->typed_data(), release_offsets->typed_data(), release_speeds->typed_data(),
      drops->typed_data(), slowest->typed_data(),
      keeps_states ? states_v->typed_data() : nullptr,
      keeps_states ? states_i->typed_data() : nullptr, Size(cells->dimensions()[1])};
  const Settings settings{int(most_spikes), Real(last)};
  share_out(pool, samples, [&] {
    const auto worker = std::make_shared<Worker>(problem, propagators, settings, outputs);
    return [&, worker](Size sample) {
      worker->run(sample, v.typed_data() + sample * size, i.typed_data() + sample * size);
    };
  });
  return ffi::Error::Success();
} catch (const std::exception& failure) {
  return ffi::Error::Internal(std::string("the cells of a network failed: ") + failure.what());
}

}  // namespace
}  // namespace roughsnn

XLA_FFI_DEFINE_HANDLER_SYMBOL(roughsnn_matrix_forward, roughsnn::compute,
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
                                  .Arg<roughsnn::Reals>()  // potentials, currents, input, noise
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Ints>()  // input spikes
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Ints>()  // groups
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Ints>()
                                  .Attr<std::int64_t>("num_cells")
                                  .Attr<std::int64_t>("most_spikes")
                                  .Attr<double>("last")
                                  .Ret<roughsnn::Ints>()  // spikes
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Ints>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Ints>()  // when their potentials are let go
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Ints>()  // counts, bursting, finite, slowest
                                  .Ret<roughsnn::Ints>()
                                  .Ret<roughsnn::Ints>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()  // states
                                  .Ret<roughsnn::Reals>());
