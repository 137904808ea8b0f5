// The cells of a window, one after the other, of networks that fire by an exponential intensity:
// the same spikes as those of `_escape_forward.py`, for XLA to call. Threads share out the samples.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "intensities.h"
#include "threads.h"

namespace roughsnn {
namespace {

struct Spike {
  std::int32_t cell, neuron;
  Real offset, speed;
};

struct Outputs {
  std::int32_t *cells, *neurons, *counts, *bursting, *finite;
  Real *offsets, *slowest;
  // potentials, currents and for how long the integrated intensity stands still, at the starts of
  // all cells, (T, B, N)
  Real *states_v, *states_i, *states_held;
  Size room;
};

// Threefry-2x32 with 20 rounds, as `_random.py` has it.
struct Words {
  std::uint32_t high, low;
};

Words threefry(Words key, std::uint32_t x0, std::uint32_t x1) {
  constexpr int kRotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  const std::uint32_t ks[3] = {key.high, key.low, key.high ^ key.low ^ 0x1BD11BDAu};
  x0 += ks[0];
  x1 += ks[1];
  for (std::uint32_t block = 0; block < 5; ++block) {
    for (int r : kRotations[block % 2]) {
      x0 += x1;
      x1 = ((x1 << r) | (x1 >> (32 - r))) ^ x0;
    }
    x0 += ks[(block + 1) % 3];
    x1 += ks[(block + 2) % 3] + block + 1;
  }
  return {x0, x1};
}

// The logarithm of a uniform number.
Real logarithm_of_mark(Words words, bool wide) {
  if (wide) {
    const double low = double(words.low >> 11) * 0x1p-21 + 0x1p-22;
    const double u = (double(words.high) + low) * 0x1p-32;
    return Real(std::log(std::min(u, 1 - std::numeric_limits<double>::epsilon() / 2)));
  }
  const float u = (float(words.high) + 0.5f) * 0x1p-32f;
  return Real(std::log(std::min(u, 1 - std::numeric_limits<float>::epsilon() / 2)));
}

class Worker {
 public:
  Worker(const Problem& problem, const Keeping& keeping, const Outputs& outputs, int most_spikes,
         Real last)
      : p(problem), keep_(keeping), out_(outputs), group_of_(problem.groups.of_neurons()),
        most_spikes_(most_spikes), last_(last) {
    for (auto* x : {&v_, &i_, &s_, &held_, &to_middle_, &to_end_, &to_i_, &rate_, &middle_, &end_,
                    &s_end_, &rate_end_}) {
      x->resize(p.neurons);
    }
    number_.resize(p.neurons);
    if (p.is_delayed) {
      Real longest = 0;
      for (Size n = 0; n < (p.delays.stride ? p.neurons : 1); ++n) {
        longest = std::max(longest, p.delays[n]);
      }
      ring_.resize(arriving(0, longest, p.cells).later + 2);
    }
  }

  void run(Size sample, const Real* v, const Real* i, const Real* s) {
    sample_ = sample;
    std::copy_n(v, p.neurons, v_.begin());
    std::copy_n(i, p.neurons, i_.begin());
    std::copy_n(s, p.neurons, s_.begin());
    std::fill(held_.begin(), held_.end(), Real(0));
    for (Size n = 0; n < p.neurons; ++n) rate_[n] = p.intensity(n)(v[n]);
    std::fill(number_.begin(), number_.end(), 0u);
    for (auto& rows : ring_) rows.clear();
    spikes_.clear();
    bursting_ = false;
    slowest_ = std::numeric_limits<Real>::infinity();
    for (Size cell = 0; cell < p.cells; ++cell) step(cell);
    write_down();
  }

 private:
  void step(Size cell) {
    const Size at = (cell * p.samples + sample_) * p.neurons;
    std::copy(v_.begin(), v_.end(), out_.states_v + at);
    std::copy(i_.begin(), i_.end(), out_.states_i + at);
    if (out_.states_held) std::copy(held_.begin(), held_.end(), out_.states_held + at);
    for (auto [to, by] : {std::pair{&to_middle_, &p.middle}, {&to_end_, &p.end},
                          {&to_i_, &p.current}}) {
      const Real* from = by->values + cell * by->cell + sample_ * by->sample;
      for (Size n = 0; n < p.neurons; ++n) (*to)[n] = from[n * by->neuron];
    }
    if (!ring_.empty()) {
      auto& rows = ring_[cell % ring_.size()];
      for (const Row& row : rows) add(row, 0, p.neurons);
      rows.clear();
    }
    in_cell_.clear();
    for (Size g = 0; g < p.groups.count; ++g) {
      const Size begin = p.groups.starts[g], end = p.groups.starts[g + 1];
      go_without_spikes(begin, end);
      for (Size n = begin; n < end; ++n) {
        const bool is_held = p.has_refractory && held_[n] > 0;
        if (s_end_[n] >= 0 || is_held) {
          go(cell, n);
          rate_[n] = p.intensity(n)(v_[n]);
          continue;
        }
        if (p.has_refractory) held_[n] -= 1;
        v_[n] = end_[n];
        i_[n] = keep_.i[n] * i_[n] + to_i_[n];
        s_[n] = s_end_[n];
        rate_[n] = rate_end_[n];
      }
    }
    std::sort(in_cell_.begin(), in_cell_.end(), [](const Spike& x, const Spike& y) {
      return x.offset != y.offset ? x.offset < y.offset : x.neuron < y.neuron;
    });
    for (const Spike& x : in_cell_) {
      if (cell == p.cells - 1 && x.offset > last_) break;
      spikes_.push_back(x);
    }
  }

  // What a row of weights adds in the cell to some neurons.
  void add(const Row& row, Size begin, Size end) {
    const Real* __restrict__ weights = row.weights;
    Real *__restrict__ to_middle = to_middle_.data(), *__restrict__ to_end = to_end_.data();
    Real* __restrict__ to_i = to_i_.data();
    if (p.share_rates()) {
      const Felt felt(p.a[0], p.b[0], row.when);
#pragma omp simd
      for (Size n = begin; n < end; ++n) {
        to_middle[n] += weights[n] * felt.middle;
        to_end[n] += weights[n] * felt.end;
        to_i[n] += weights[n] * felt.i;
      }
      return;
    }
    for (Size n = begin; n < end; ++n) {
      if (weights[n] == 0) continue;
      const Felt felt(p.a[n], p.b[n], row.when);
      to_middle[n] += weights[n] * felt.middle;
      to_end[n] += weights[n] * felt.end;
      to_i[n] += weights[n] * felt.i;
    }
  }

  // Potentials in the middle and at the end of the cell without its spikes, and the integrated
  // intensities, of neurons that are not held.
  void go_without_spikes(Size begin, Size stop) {
    const Real *__restrict__ v = v_.data(), *__restrict__ i = i_.data(), *__restrict__ s = s_.data();
    const Real *__restrict__ to_middle = to_middle_.data(), *__restrict__ to_end = to_end_.data();
    const Real *__restrict__ rate = rate_.data(), *__restrict__ beta = keep_.beta.data();
    const Real *__restrict__ threshold = keep_.threshold.data();
    const Real *__restrict__ scale = keep_.scale.data(), *__restrict__ by_v = keep_.middle.data();
    const Real *__restrict__ by_i = keep_.middle_by_i.data();
    const Real *__restrict__ end_by_v = keep_.end.data(), *__restrict__ end_by_i = keep_.end_by_i.data();
    Real *__restrict__ middle = middle_.data(), *__restrict__ end = end_.data();
    Real *__restrict__ s_end = s_end_.data(), *__restrict__ rate_end = rate_end_.data();
    const Real most = p.most_excess, width = p.width;
#pragma omp simd
    for (Size n = begin; n < stop; ++n) {
      const Real own_middle = by_v[n] * v[n] + by_i[n] * i[n] + to_middle[n];
      const Real own_end = end_by_v[n] * v[n] + end_by_i[n] * i[n] + to_end[n];
      const Real first = rate[n];
      const Real last = intensity_at(own_end, threshold[n], beta[n], scale[n], most);
      const Real between = intensity_at(own_middle, threshold[n], beta[n], scale[n], most);
      const Real least = (last > first ? last - first : first - last) / 4;
      const Real raised = between > least ? between : least;
      middle[n] = own_middle;
      end[n] = own_end;
      rate_end[n] = last;
      s_end[n] = s[n] + width * (first + 4 * raised + last) / 6;
    }
  }

  // One neuron, to the end of the cell.
  void go(Size cell, Size n) {
    const Real v = v_[n], i = i_[n];
    const Parabola q{v, middle_[n], end_[n]};
    v_[n] = q.end;
    i_[n] = keep_.i[n] * i + to_i_[n];
    const Real begin = p.has_refractory ? std::min(std::max(held_[n], Real(0)), Real(1)) : Real(0);
    if (p.has_refractory) held_[n] -= 1;
    const Real a = p.a[n];
    const Intensity intensity = p.intensity(n);
    Segment segment(intensity, q, begin, 0, s_[n], p.width, a);
    for (int count = 0;; ++count) {
      const Real end = segment.at(1);
      s_[n] = end;
      if (count) v_[n] = q.end - segment.dropped * segment.whole;
      if (!(end >= 0)) return;
      if (count == most_spikes_) {
        bursting_ = true;
        return;
      }
      const Real share = share_at_zero(segment, end);
      const Real x = segment.begin + share * (1 - segment.begin);
      const Spike spike{std::int32_t(cell), std::int32_t(n), x, segment.speed(share)};
      slowest_ = std::min(slowest_, spike.speed);
      in_cell_.push_back(spike);
      send(cell, n, x);
      const Real free = x + p.refractory[n], next = std::min(free, Real(1));
      if (p.has_refractory) held_[n] = free - 1;
      const Real dropped = segment.dropped * std::exp(-a * (next - segment.begin)) +
                           p.drop[n] * std::exp(-a * (next - x));
      const Words words = threefry({p.high[sample_], p.low[sample_]},
                                   std::uint32_t(p.numbers[n]), number_[n]++);
      const Real first = logarithm_of_mark(words, p.wide) - p.alpha[n];
      segment = Segment(intensity, q, next, dropped, first, p.width, a);
    }
  }

  // The share of what is left of the cell at which the integrated intensity is zero: Newton's
  // steps, kept in a bracket, from the zero of the parabola through both ends.
  static Real share_at_zero(const Segment& segment, Real at_end) {
    const Real tolerance = 4 * std::numeric_limits<Real>::epsilon();
    const Real scale = Real(0.25) * tolerance * std::abs(segment.first), left = segment.left();
    const Real linear = left * segment.rate[0], curve = at_end - segment.first - linear;
    const Real discriminant =
        std::sqrt(std::max(linear * linear - 4 * curve * segment.first, Real(0)));
    const Real slant = linear + discriminant;
    Real x = std::clamp(-2 * segment.first / (slant > 0 ? slant : Real(1)), Real(0), Real(1));
    Real low = 0, high = 1;
    const int least = sizeof(Real) == 4 ? 2 : 3;
    for (int count = 1; count <= 60; ++count) {
      const Real value = segment.at(x), speed = left * segment.value(x);
      (value < 0 ? low : high) = x;
      Real moved = x - value / (speed > 0 ? speed : Real(1));
      if (!(speed > 0 && moved >= low && moved <= high)) moved = Real(0.5) * (low + high);
      const bool is_zero = std::abs(value) <= scale;
      const bool done = is_zero || std::abs(moved - x) <= tolerance || high - low <= tolerance;
      if (!is_zero) x = moved;
      if (done && count >= least) break;
    }
    return x;
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
    }
  }

  void write_down() {
    const Size count = spikes_.size(), first = sample_ * out_.room;
    out_.counts[sample_] = std::int32_t(count);
    out_.bursting[sample_] = bursting_;
    out_.slowest[sample_] = slowest_;
    bool finite = true;
    for (Size n = 0; n < p.neurons; ++n) {
      finite = finite && std::isfinite(v_[n]) && std::isfinite(i_[n]);
    }
    out_.finite[sample_] = finite;
    for (Size k = 0; k < out_.room; ++k) {
      const Spike x = k < count ? spikes_[k] : Spike{std::int32_t(p.cells), -1, 0, 1};
      out_.cells[first + k] = x.cell;
      out_.neurons[first + k] = x.neuron;
      out_.offsets[first + k] = x.offset;
    }
  }

  const Problem& p;
  const Keeping& keep_;
  const Outputs out_;
  const std::vector<Size> group_of_;
  const int most_spikes_;
  const Real last_;
  Size sample_ = 0;
  bool bursting_ = false;
  Real slowest_ = 0;
  std::vector<Real> v_, i_, s_, held_, to_middle_, to_end_, to_i_;
  // intensities at the start of the cell, and its middle and end without spikes
  std::vector<Real> rate_, middle_, end_, s_end_, rate_end_;
  // how many spikes each neuron has had
  std::vector<std::uint32_t> number_;
  std::vector<std::vector<Row>> ring_;
  std::vector<Spike> in_cell_, spikes_;
};

ffi::Error compute(ffi::ThreadPool pool, Reals a, Reals b, Reals threshold, Reals beta, Reals scale,
                   Reals drop, Reals alpha, Reals refractory, Reals weights, Reals delays,
                   Reals middle, Reals end, Reals current, Reals v, Reals i, Reals s, Words32 high,
                   Words32 low, Ints numbers, Ints starts, Ints firsts, Ints children,
                   Size num_cells, Size most_spikes, double width, double most_excess, Size wide,
                   double last, IntResults cells, RealResults offsets, IntResults neurons,
                   IntResults counts, IntResults bursting, IntResults finite, RealResults slowest,
                   RealResults states_v, RealResults states_i, RealResults states_held) try {
  const Problem problem = problem_of(
      a, b, threshold, beta, scale, drop, alpha, refractory, weights, delays, middle, end, current,
      high, low, numbers, starts, firsts, children, num_cells, v.dimensions()[0], v.dimensions()[1],
      width, most_excess, wide, states_held->element_count() > 0);
  const Keeping keeping(problem);
  const Outputs outputs{cells->typed_data(), neurons->typed_data(), counts->typed_data(),
                        bursting->typed_data(), finite->typed_data(), offsets->typed_data(),
                        slowest->typed_data(), states_v->typed_data(), states_i->typed_data(),
                        asked_for(states_held), Size(cells->dimensions()[1])};
  const Size size = problem.neurons;
  share_out(pool, problem.samples, [&] {
    const auto worker =
        std::make_shared<Worker>(problem, keeping, outputs, int(most_spikes), Real(last));
    return [&, worker](Size sample) {
      const Size at = sample * size;
      worker->run(sample, v.typed_data() + at, i.typed_data() + at, s.typed_data() + at);
    };
  });
  return ffi::Error::Success();
} catch (const std::exception& failure) {
  return ffi::Error::Internal(std::string("the cells of a network failed: ") + failure.what());
}

}  // namespace
}  // namespace roughsnn

XLA_FFI_DEFINE_HANDLER_SYMBOL(roughsnn_intensity_forward, roughsnn::compute,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<roughsnn::Reals>()  // a, b
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()  // threshold, beta, scale of time
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()  // drop, alpha, refractory
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()  // weights, delays
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()  // what comes from outside
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()  // states at the start
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Words32>()  // keys of marks
                                  .Arg<roughsnn::Words32>()
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Ints>()  // groups
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Ints>()
                                  .Attr<std::int64_t>("num_cells")
                                  .Attr<std::int64_t>("most_spikes")
                                  .Attr<double>("width")
                                  .Attr<double>("most_excess")
                                  .Attr<std::int64_t>("wide")
                                  .Attr<double>("last")
                                  .Ret<roughsnn::Ints>()  // spikes
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Ints>()
                                  .Ret<roughsnn::Ints>()  // counts, bursting, finite, slowest
                                  .Ret<roughsnn::Ints>()
                                  .Ret<roughsnn::Ints>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()  // states
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>());
