// The adjoint of the same networks, from the last cell to the first, in all that the spikes depend
// on: the derivatives of `_escape_backward.py`. Threads share out the samples.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "intensities.h"
#include "threads.h"

namespace roughsnn {
namespace {

// The spikes of all samples, (B, S), derivatives in their offsets, and the states at the starts of
// all cells, (T, B, N).
struct Run {
  const std::int32_t *cells, *neurons, *counts;
  const Real *offsets, *from_offsets, *states_v, *states_i, *states_held;
  Size room;
};

// Where derivatives of each sample go; null where they are not asked for.
struct Results {
  Real *start_v, *start_i, *start_s, *middle, *end, *current;
  bool weights;
};

// Derivatives that are sums over all samples, of each neuron.
struct Totals {
  std::vector<Real> a, b, threshold, beta, scale, drop, alpha, refractory, weights, delays;
};

class Worker {
 public:
  Totals totals;

  Worker(const Problem& problem, const Keeping& keeping, const Run& run, const Results& results)
      : p(problem), keep_(keeping), run_(run), results_(results),
        group_of_(problem.groups.of_neurons()), of_neuron_(p.neurons) {
    for (auto* x : {&from_v_, &from_i_, &from_s_, &from_held_, &to_middle_, &to_end_, &by_middle_,
                    &by_end_, &by_i_, &totals.a, &totals.b, &totals.threshold, &totals.beta,
                    &totals.scale, &totals.drop, &totals.alpha, &totals.refractory,
                    &totals.delays}) {
      x->resize(p.neurons);
    }
    if (results_.weights && p.weights) totals.weights.resize(p.neurons * p.neurons);
    for (Size n = 0; n < p.neurons; ++n) {
      half_.push_back(response_by_rates(p.a[n], p.b[n], Real(0.5)));
      whole_.push_back(response_by_rates(p.a[n], p.b[n], 1));
    }
  }

  void run(Size sample) {
    sample_ = sample;
    first_ = sample * run_.room;
    for (auto* x : {&from_v_, &from_i_, &from_s_, &from_held_}) {
      std::fill(x->begin(), x->end(), Real(0));
    }
    const Size count = std::min(Size(run_.counts[sample]), run_.room);
    from_arrival_.assign(count, 0);
    when_.resize(count);
    spikes_.fill(p.cells, count, [&](Size k) { return Size(run_.cells[first_ + k]); });
    if (p.is_delayed && p.weights) {
      arrivals_.fill(p.cells, count, [&](Size k) {
        const Size at = first_ + k;
        const Arriving x = arriving(run_.offsets[at], p.delays[run_.neurons[at]], p.cells);
        when_[k] = x.when;
        return run_.cells[at] + x.later;
      });
    }
    for (Size cell = p.cells - 1; cell >= 0; --cell) step(cell);
    const Size at = sample * p.neurons;
    std::copy_n(from_v_.begin(), p.neurons, results_.start_v + at);
    std::copy_n(from_i_.begin(), p.neurons, results_.start_i + at);
    std::copy_n(from_s_.begin(), p.neurons, results_.start_s + at);
  }

 private:
  bool sends_at_once() const { return p.weights && !p.is_delayed; }

  void step(Size cell) {
    const Size at = (cell * p.samples + sample_) * p.neurons;
    feel(cell);
    for (const Size* k = spikes_.begin(cell); k != spikes_.end(cell); ++k) {
      of_neuron_[run_.neurons[first_ + *k]].push_back(*k);
    }
    for (Size g = p.groups.count - 1; g >= 0; --g) {
      const Size begin = p.groups.starts[g], end = p.groups.starts[g + 1];
      set_apart(begin, end, at);
      go_without_spikes(begin, end, at);
      for (const Apart& x : apart_) {
        from_v_[x.neuron] = x.from_v;
        from_i_[x.neuron] = x.from_i;
        from_s_[x.neuron] = x.from_s;
        go(x.neuron, at + x.neuron);
      }
    }
    for (const Size* k = spikes_.begin(cell); k != spikes_.end(cell); ++k) {
      of_neuron_[run_.neurons[first_ + *k]].clear();
    }
    if (p.is_delayed && p.weights) {
      for (const Size* k = arrivals_.begin(cell); k != arrivals_.end(cell); ++k) {
        const Size source = run_.neurons[first_ + *k];
        const Real by_when = arrive(source, when_[*k], 0, p.neurons);
        from_arrival_[*k] = by_when;
        totals.delays[source] += by_when;
      }
    }
    go_to_start(at);
  }

  // What had come from outside and from other neurons in the cell.
  void feel(Size cell) {
    for (auto [to, by] : {std::pair{&to_middle_, &p.middle}, {&to_end_, &p.end}}) {
      const Real* from = by->values + cell * by->cell + sample_ * by->sample;
      for (Size n = 0; n < p.neurons; ++n) (*to)[n] = from[n * by->neuron];
    }
    if (p.is_delayed && p.weights) {
      for (const Size* k = arrivals_.begin(cell); k != arrivals_.end(cell); ++k) {
        add(run_.neurons[first_ + *k], when_[*k], 0, p.neurons);
      }
    } else if (p.weights) {
      for (const Size* k = spikes_.begin(cell); k != spikes_.end(cell); ++k) {
        const Size source = run_.neurons[first_ + *k], group = group_of_[source];
        for (Size c = p.groups.firsts[group]; c < p.groups.firsts[group + 1]; ++c) {
          const Size child = p.groups.children[c];
          add(source, run_.offsets[first_ + *k], p.groups.starts[child],
              p.groups.starts[child + 1]);
        }
      }
    }
  }

  void add(Size source, Real when, Size begin, Size end) {
    const Real* weights = p.weights + source * p.neurons;
    Felt felt(p.a[0], p.b[0], when);
    for (Size n = begin; n < end; ++n) {
      if (!p.share_rates()) felt = Felt(p.a[n], p.b[n], when);
      to_middle_[n] += weights[n] * felt.middle;
      to_end_[n] += weights[n] * felt.end;
    }
  }

  // Derivatives in a segment: in where it begins, and how much lower the potential is there.
  struct BySegment {
    Real begin, dropped;
  };

  // From a derivative in the integrated intensity at a share of a segment, and in the potential at
  // the end of the cell, where that is the last segment; those in the parabola are added up.
  BySegment back(Size n, const Segment& s, const Parabola& q, Real share, Real by_value,
                 Real by_end, Parabola& by) {
    const Real a = p.a[n], left = s.left(), u = share, u2 = u * u, u3 = u2 * u;
    Real by_rate[3] = {by_value * left * (u - Real(1.5) * u2 + 2 * u3 / 3),
                       by_value * left * (2 * u2 - 4 * u3 / 3),
                       by_value * left * (2 * u3 / 3 - u2 / 2)};
    BySegment out{-by_value * p.width * (s.sum(u) + (1 - u) * s.value(u)), 0};
    if (s.middle > s.rate[1]) {
      // a middle that was raised depends on the ends alone
      const Real more = s.rate[2] > s.rate[0] ? by_rate[1] / 4 : -by_rate[1] / 4;
      by_rate[2] += more;
      by_rate[0] -= more;
      by_rate[1] = 0;
    }
    const Intensity intensity = p.intensity(n);
    Real by_v[3];
    for (int k = 0; k < 3; ++k) {
      const Real by_log = by_rate[k] * s.rate[k];
      totals.scale[n] -= by_log / intensity.scale;
      const Real excess = std::min(s.v[k] - intensity.threshold, intensity.most);
      const bool is_bounded = intensity.beta * excess < kLargestExponent;
      if (is_bounded) totals.beta[n] += by_log * excess;
      by_v[k] = intensity.grows(s.v[k]) ? by_log * intensity.beta : Real(0);
      totals.threshold[n] -= by_v[k];
    }
    const Real reset_half = by_v[1] * s.half, reset_whole = (by_v[2] + by_end) * s.whole;
    const Real rest = 1 - s.begin, middle = (1 + s.begin) / 2;
    out.dropped = -(by_v[0] + reset_half + reset_whole);
    totals.a[n] += s.dropped * rest * (reset_half / 2 + reset_whole);
    out.begin += by_v[0] * q.slope(s.begin) + by_v[1] * q.slope(middle) / 2 -
                 s.dropped * a * (reset_half / 2 + reset_whole);
    auto add_at = [&](Real x, Real value) {
      by.start += (1 - x) * (1 - 2 * x) * value;
      by.middle += 4 * x * (1 - x) * value;
      by.end += x * (2 * x - 1) * value;
    };
    add_at(s.begin, by_v[0]);
    add_at(middle, by_v[1]);
    by.end += by_v[2];
    return out;
  }

  // Neurons that fire in the cell or are held at its start; for the others' sake nothing depends on
  // them for a while.
  void set_apart(Size begin, Size end, Size at) {
    apart_.clear();
    for (Size n = begin; n < end; ++n) {
      const bool is_held = p.has_refractory && run_.states_held[at + n] > 0;
      if (of_neuron_[n].empty() && !is_held) continue;
      apart_.push_back({n, from_v_[n], from_i_[n], from_s_[n]});
      from_v_[n] = from_i_[n] = from_s_[n] = 0;
    }
  }

  // The same as `go` for neurons whose cell is one segment without a spike.
  void go_without_spikes(Size begin, Size stop, Size at) {
    const Real *__restrict__ v = run_.states_v + at, *__restrict__ i = run_.states_i + at;
    const Real *__restrict__ to_middle = to_middle_.data(), *__restrict__ to_end = to_end_.data();
    const Real *__restrict__ threshold = keep_.threshold.data(), *__restrict__ s = from_s_.data();
    const Real *__restrict__ beta = keep_.beta.data(), *__restrict__ scale = keep_.scale.data();
    const Real *__restrict__ keep_middle = keep_.middle.data(), *__restrict__ keep = keep_.end.data();
    const Real* __restrict__ middle_by_i = keep_.middle_by_i.data();
    const Real *__restrict__ end_by_i = keep_.end_by_i.data(), *__restrict__ keep_i = keep_.i.data();
    Real *__restrict__ from_v = from_v_.data(), *__restrict__ from_i = from_i_.data();
    Real *__restrict__ by_middle = by_middle_.data(), *__restrict__ by_end = by_end_.data();
    Real *__restrict__ by_i = by_i_.data(), *__restrict__ total_beta = totals.beta.data();
    Real *__restrict__ total_threshold = totals.threshold.data();
    Real *__restrict__ total_scale = totals.scale.data();
    const Real most = p.most_excess, width = p.width;
#pragma omp simd
    for (Size n = begin; n < stop; ++n) {
      const Real middle = keep_middle[n] * v[n] + middle_by_i[n] * i[n] + to_middle[n];
      const Real end = keep[n] * v[n] + end_by_i[n] * i[n] + to_end[n];
      const Real th = threshold[n], steep = beta[n], unit = scale[n];
      const Real first = intensity_at(v[n], th, steep, unit, most);
      const Real between = intensity_at(middle, th, steep, unit, most);
      const Real last = intensity_at(end, th, steep, unit, most);
      const Real share = s[n] * width / 6, least = (last > first ? last - first : first - last) / 4;
      // a middle that is raised depends on the ends alone
      const Real raised = between < least ? (last > first ? share : -share) : Real(0);
      const Real by_first = (share - raised) * first, by_last = (share + raised) * last;
      const Real by_between = between < least ? Real(0) : 4 * share * between;
      const Real far = kLargestExponent;
      const Real rest_first = v[n] - th, rest_between = middle - th, rest_last = end - th;
      const Real grown_first = rest_first < most ? rest_first : most;
      const Real grown_between = rest_between < most ? rest_between : most;
      const Real grown_last = rest_last < most ? rest_last : most;
      const Real log_first = steep * grown_first < far ? by_first : Real(0);
      const Real log_between = steep * grown_between < far ? by_between : Real(0);
      const Real log_last = steep * grown_last < far ? by_last : Real(0);
      total_scale[n] -= (by_first + by_between + by_last) / unit;
      total_beta[n] += log_first * grown_first + log_between * grown_between + log_last * grown_last;
      const Real v_first = rest_first < most ? steep * log_first : Real(0);
      const Real v_between = rest_between < most ? steep * log_between : Real(0);
      const Real v_last = rest_last < most ? steep * log_last : Real(0);
      total_threshold[n] -= v_first + v_between + v_last;
      const Real own_end = v_last + from_v[n], own_i = from_i[n];
      by_middle[n] = v_between;
      by_end[n] = own_end;
      by_i[n] = own_i;
      from_v[n] = v_first + keep_middle[n] * v_between + keep[n] * own_end;
      from_i[n] = middle_by_i[n] * v_between + end_by_i[n] * own_end + keep_i[n] * own_i;
    }
    add_rates(begin, stop, at);
  }

  void add_rates(Size begin, Size stop, Size at) {
    const Real *__restrict__ v = run_.states_v + at, *__restrict__ i = run_.states_i + at;
    const Real *__restrict__ middle = by_middle_.data(), *__restrict__ end = by_end_.data();
    const Real *__restrict__ by_i = by_i_.data(), *__restrict__ keep_middle = keep_.middle.data();
    const Real *__restrict__ keep = keep_.end.data(), *__restrict__ keep_i = keep_.i.data();
    Real *__restrict__ total_a = totals.a.data(), *__restrict__ total_b = totals.b.data();
#pragma omp simd
    for (Size n = begin; n < stop; ++n) {
      total_a[n] += i[n] * (middle[n] * half_[n].a + end[n] * whole_[n].a) -
                    v[n] * (middle[n] * keep_middle[n] / 2 + end[n] * keep[n]);
      total_b[n] += i[n] * (middle[n] * half_[n].b + end[n] * whole_[n].b - by_i[n] * keep_i[n]);
    }
  }

  // One neuron; what its potential, its current and its integrated intensity at the end of the cell
  // depend on.
  void go(Size n, Size at) {
    const auto& spikes = of_neuron_[n];
    const Real v = run_.states_v[at], i = run_.states_i[at], a = p.a[n];
    const Real from_v = from_v_[n], from_held = from_held_[n];
    Parabola by{0, 0, 0};
    const Parabola q{v, keep_.middle[n] * v + keep_.middle_by_i[n] * i + to_middle_[n],
                     keep_.end[n] * v + keep_.end_by_i[n] * i + to_end_[n]};
    const Intensity intensity = p.intensity(n);
    const Real held = p.has_refractory ? run_.states_held[at] : Real(0);
    const Real begin = std::min(std::max(held, Real(0)), Real(1));
    segments_.clear();
    segments_.emplace_back(intensity, q, begin, Real(0), Real(0), p.width, a);
    for (const Size k : spikes) {
      const Real x = run_.offsets[first_ + k], next = std::min(x + p.refractory[n], Real(1));
      const Segment& s = segments_.back();
      const Real dropped =
          s.dropped * std::exp(-a * (next - s.begin)) + p.drop[n] * std::exp(-a * (next - x));
      segments_.emplace_back(intensity, q, next, dropped, Real(0), p.width, a);
    }
    const Size count = spikes.size();
    Real by_value = from_s_[n];
    BySegment found =
        back(n, segments_[count], q, 1, by_value, count ? from_v : Real(0), by);
    for (Size m = count; m > 0; --m) {
      const Segment& after = segments_[m];
      const Segment& before = segments_[m - 1];
      const Size spike = spikes[m - 1];
      const Real x = run_.offsets[first_ + spike], next = after.begin;
      totals.alpha[n] -= by_value;
      const Real old = before.dropped * std::exp(-a * (next - before.begin));
      const Real fresh = std::exp(-a * (next - x)), own = p.drop[n] * fresh;
      totals.a[n] -= found.dropped * ((next - before.begin) * old + (next - x) * own);
      totals.drop[n] += found.dropped * fresh;
      Real by_free = 0;
      if (x + p.refractory[n] < 1) by_free = found.begin - found.dropped * a * (old + own);
      if (m == count) by_free += from_held;
      totals.refractory[n] += by_free;
      Real by_offset = by_free + found.dropped * a * own + run_.from_offsets[first_ + spike] +
                       from_arrival_[spike];
      if (sends_at_once()) by_offset += arrive_at_children(n, x);
      const Real open = 1 - before.begin, share = open > 0 ? (x - before.begin) / open : Real(1);
      const BySegment earlier{found.dropped * a * old,
                              found.dropped * std::exp(-a * (next - before.begin))};
      by_value = -by_offset / before.speed(share);
      found = back(n, before, q, share, by_value, 0, by);
      found.begin += earlier.begin;
      found.dropped += earlier.dropped;
    }
    from_s_[n] = by_value;
    if (p.has_refractory) {
      from_held_[n] = (count ? Real(0) : from_held) + (held > 0 && held < 1 ? found.begin : Real(0));
    }
    by_middle_[n] = by.middle;
    by_end_[n] = by.end + from_v;
    by_i_[n] = from_i_[n];
    from_v_[n] = by.start + keep_.middle[n] * by.middle + keep_.end[n] * by_end_[n];
    from_i_[n] = keep_.middle_by_i[n] * by.middle + keep_.end_by_i[n] * by_end_[n] +
                 keep_.i[n] * by_i_[n];
    add_rates(n, n + 1, at - n);
  }

  Real arrive_at_children(Size n, Real when) {
    Real total = 0;
    const Size group = group_of_[n];
    for (Size c = p.groups.firsts[group]; c < p.groups.firsts[group + 1]; ++c) {
      const Size child = p.groups.children[c];
      total += arrive(n, when, p.groups.starts[child], p.groups.starts[child + 1]);
    }
    return total;
  }

  // The derivative in when the spike of a neuron arrives at others; that in its weights is added up.
  Real arrive(Size source, Real when, Size begin, Size end) {
    const Real* weights = p.weights + source * p.neurons;
    Real* by_row = totals.weights.empty() ? nullptr : totals.weights.data() + source * p.neurons;
    if (!p.share_rates()) {
      Real by_when = 0;
      for (Size n = begin; n < end; ++n) {
        const Felt felt(p.a[n], p.b[n], when);
        const Real middle = by_middle_[n], last = by_end_[n], i = by_i_[n];
        if (by_row) by_row[n] += felt.middle * middle + felt.end * last + felt.i * i;
        const Real w = weights[n];
        if (w != 0) by_when += add_felt(n, felt, w * middle, w * last, w * i);
      }
      return by_when;
    }
    const Felt felt(p.a[0], p.b[0], when);
    const Real *__restrict__ middle = by_middle_.data(), *__restrict__ last = by_end_.data();
    const Real* __restrict__ i = by_i_.data();
    if (by_row) {
      Real* __restrict__ to = by_row;
      for (Size n = begin; n < end; ++n) {
        to[n] += felt.middle * middle[n] + felt.end * last[n] + felt.i * i[n];
      }
    }
    Real all_middle = 0, all_end = 0, all_i = 0;
#pragma omp simd reduction(+ : all_middle, all_end, all_i)
    for (Size n = begin; n < end; ++n) {
      all_middle += weights[n] * middle[n];
      all_end += weights[n] * last[n];
      all_i += weights[n] * i[n];
    }
    return add_felt(0, felt, all_middle, all_end, all_i);
  }

  // The derivative in when a spike arrives, from those in what it adds.
  Real add_felt(Size n, const Felt& felt, Real middle, Real end, Real i) {
    const Real a = p.a[n], b = p.b[n];
    Real by_when = b * felt.i * i - a * (felt.i - felt.end) * end;
    const ByRates whole = response_by_rates(a, b, felt.to_end);
    Real by_a = end * whole.a, by_b = end * whole.b - i * felt.to_end * felt.i;
    if (felt.to_middle > 0) {
      by_when -= a * (std::exp(-b * felt.to_middle) - felt.middle) * middle;
      const ByRates half = response_by_rates(a, b, felt.to_middle);
      by_a += middle * half.a;
      by_b += middle * half.b;
    }
    totals.a[n] += by_a;
    totals.b[n] += by_b;
    return by_when;
  }

  void go_to_start(Size at) {
    if (!results_.middle) return;
    std::copy(by_middle_.begin(), by_middle_.end(), results_.middle + at);
    std::copy(by_end_.begin(), by_end_.end(), results_.end + at);
    std::copy(by_i_.begin(), by_i_.end(), results_.current + at);
  }

  const Problem& p;
  const Keeping& keep_;
  const Run& run_;
  const Results& results_;
  const std::vector<Size> group_of_;
  Size sample_ = 0, first_ = 0;
  // derivatives in the state at the end of the cell, and in what is felt in it
  std::vector<Real> from_v_, from_i_, from_s_, from_held_, to_middle_, to_end_, by_middle_, by_end_,
      by_i_;
  std::vector<ByRates> half_, whole_;
  std::vector<Real> from_arrival_, when_;
  ByCells spikes_, arrivals_;
  // the spikes of each neuron in the cell
  std::vector<std::vector<Size>> of_neuron_;
  std::vector<Segment> segments_;
  struct Apart {
    Size neuron;
    Real from_v, from_i, from_s;
  };
  std::vector<Apart> apart_;
};

ffi::Error compute(ffi::ThreadPool pool, Reals a, Reals b, Reals threshold, Reals beta, Reals scale,
                   Reals drop, Reals alpha, Reals refractory, Reals weights, Reals delays,
                   Reals middle, Reals end, Reals current, Words32 high, Words32 low, Ints numbers,
                   Ints starts, Ints firsts, Ints children, Ints cells, Reals offsets, Ints neurons,
                   Ints counts, Reals states_v, Reals states_i, Reals states_held,
                   Reals from_offsets, Size num_cells, double width, double most_excess,
                   RealResults by_a, RealResults by_b, RealResults by_threshold,
                   RealResults by_beta, RealResults by_scale, RealResults by_drop,
                   RealResults by_alpha, RealResults by_refractory, RealResults by_weights,
                   RealResults by_delays, RealResults by_middle, RealResults by_end,
                   RealResults by_current, RealResults start_v, RealResults start_i,
                   RealResults start_s) try {
  const Problem problem = problem_of(
      a, b, threshold, beta, scale, drop, alpha, refractory, weights, delays, middle, end, current,
      high, low, numbers, starts, firsts, children, num_cells, start_v->dimensions()[0],
      start_v->dimensions()[1], width, most_excess, 0, states_held.element_count() > 0);
  const Keeping keeping(problem);
  const Run run{cells.typed_data(), neurons.typed_data(), counts.typed_data(),
                offsets.typed_data(), from_offsets.typed_data(), states_v.typed_data(),
                states_i.typed_data(),
                problem.has_refractory ? states_held.typed_data() : nullptr,
                Size(cells.dimensions()[1])};
  const Results results{start_v->typed_data(), start_i->typed_data(), start_s->typed_data(),
                        asked_for(by_middle), asked_for(by_end), asked_for(by_current),
                        by_weights->element_count() > 0};
  for (auto* x : {&by_a, &by_b, &by_threshold, &by_beta, &by_scale, &by_drop, &by_alpha,
                  &by_refractory, &by_weights, &by_delays}) {
    fill(*x, 0);
  }
  // Always the same samples together, whichever thread takes them: sums come out the same each time.
  const Size parts = std::min<Size>(problem.samples, kParts);
  std::vector<std::shared_ptr<Worker>> workers(parts);
  share_out(pool, parts, [&] {
    return [&](Size part) {
      workers[part] = std::make_shared<Worker>(problem, keeping, run, results);
      const Size end = (part + 1) * problem.samples / parts;
      for (Size sample = part * problem.samples / parts; sample < end; ++sample) workers[part]->run(sample);
    };
  });
  for (const auto& worker : workers) {
    const Totals& t = worker->totals;
    add_up(by_a, t.a);
    add_up(by_b, t.b);
    add_up(by_threshold, t.threshold);
    add_up(by_beta, t.beta);
    add_up(by_scale, t.scale);
    add_up(by_drop, t.drop);
    add_up(by_alpha, t.alpha);
    add_up(by_refractory, t.refractory);
    add_up(by_weights, t.weights);
    add_up(by_delays, t.delays);
  }
  return ffi::Error::Success();
} catch (const std::exception& failure) {
  return ffi::Error::Internal(std::string("the adjoint of a network failed: ") + failure.what());
}

}  // namespace
}  // namespace roughsnn

XLA_FFI_DEFINE_HANDLER_SYMBOL(roughsnn_intensity_backward, roughsnn::compute,
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
                                  .Arg<roughsnn::Words32>()  // keys of marks
                                  .Arg<roughsnn::Words32>()
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Ints>()  // groups
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Ints>()  // spikes
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Ints>()
                                  .Arg<roughsnn::Reals>()  // states
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()
                                  .Arg<roughsnn::Reals>()  // derivatives in the offsets
                                  .Attr<std::int64_t>("num_cells")
                                  .Attr<double>("width")
                                  .Attr<double>("most_excess")
                                  .Ret<roughsnn::Reals>()  // a, b
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()  // threshold, beta, scale of time
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()  // drop, alpha, refractory
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()  // weights, delays
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()  // what comes from outside
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()  // states at the start
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>());
