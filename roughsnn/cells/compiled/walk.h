// All spikes of one neuron in one cell, by closed forms: what `_walk.py` says, for one lane.

#ifndef ROUGHSNN_WALK_H_
#define ROUGHSNN_WALK_H_

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "real.h"

namespace roughsnn {
namespace {

constexpr Real kNoSpike = 2;

// (e^y - 1) / y and log(1 + z) / z, accurate near zero.
inline Real relative_growth(Real y) {
  if (std::abs(y) < Real(1e-4)) {
    return 1 + y * (Real(1) / 2 + y * (Real(1) / 6 + y / 24));
  }
  return std::expm1(y) / y;
}

inline Real relative_logarithm(Real z) {
  if (std::abs(z) < Real(1e-4)) {
    return 1 - z * (Real(1) / 2 - z * (Real(1) / 3 - z / 4));
  }
  return std::log1p(z) / z;
}

inline Real growth(Real a, Real b, Real x) { return x * relative_growth((a - b) * x); }

// The potential at x after a unit of current at 0.
inline Real response(Real a, Real b, Real x) { return a * std::exp(-a * x) * growth(a, b, x); }

// The derivative of `relative_growth`, by its series where quotients lose digits.
inline Real slope_of_relative_growth(Real y) {
  if (std::abs(y) < Real(0.05)) {
    Real total = 0, term = Real(1) / 2;
    for (int n = 0; n < 9; ++n) {
      total += term;
      term *= y * (n + 2) / ((n + 1) * Real(n + 3));
    }
    return total;
  }
  const Real value = relative_growth(y);
  return value + (1 - value) / y;
}

// Derivatives of `response` in a and b.
struct ByRates {
  Real a, b;
};

inline ByRates response_by_rates(Real a, Real b, Real x) {
  const Real decay = std::exp(-a * x), slope = x * x * slope_of_relative_growth((a - b) * x);
  return {decay * ((1 - a * x) * growth(a, b, x) + a * slope), -a * decay * slope};
}

struct Arrival {
  Real offset, weight;
};

struct Lane {
  Real v, i, c, a, b, threshold, reset, refractory, held;
  // a bound of i + c in the cell
  Real highest;
};

// What has happened to a neuron in a cell; see `Spikes` and `Released`.
struct Walked {
  std::vector<Real> offsets, speeds, release_offsets, release_speeds, drops;
  Real shift, left;
  bool more, happened;

  explicit Walked(int places)
      : offsets(places), speeds(places), release_offsets(places + 1), release_speeds(places + 1),
        drops(places + 1) {}

  void clear() {
    std::fill(offsets.begin(), offsets.end(), kNoSpike);
    std::fill(speeds.begin(), speeds.end(), Real(1));
    std::fill(release_offsets.begin(), release_offsets.end(), kNoSpike);
    std::fill(release_speeds.begin(), release_speeds.end(), Real(0));
    std::fill(drops.begin(), drops.end(), Real(0));
    shift = 0;
    left = -1;
    more = happened = false;
  }
};

class Walk {
 public:
  // The spikes of a neuron at which these arrivals come, in the order of their offsets.
  void run(const Lane& lane, const std::vector<Arrival>& arrivals, int places, Walked& out) {
    lane_ = &lane;
    cut(arrivals);
    out.clear();
    if (lane.held > 0 && lane.held < 1) {
      const Release free = released(lane.held, arrivals);
      out.release_offsets[0] = lane.held;
      out.release_speeds[0] = free.speed;
      out.drops[0] = free.drop;
      out.shift = free.shift;
      out.happened = true;
      search(arrivals, places, lane.held, free.segment, out);
    } else {
      search(arrivals, places, 0, 0, out);
    }
  }

 private:
  // Between two arrivals: where it begins and ends, the amounts A and C of the closed form, and at
  // both ends psi and e^{-ax}.
  struct Segment {
    Real begin, end, amount, level, reach_begin, reach_end, decay_begin, decay_end;
  };

  struct Release {
    Real shift, speed, drop;
    int segment;
  };

  void cut(const std::vector<Arrival>& arrivals) {
    const Lane& n = *lane_;
    segments_.resize(arrivals.size() + 1);
    Real amount = n.i, level = n.v - n.c, begin = 0, reach = 0, decay = 1;
    for (std::size_t k = 0; k <= arrivals.size(); ++k) {
      const Real end = k < arrivals.size() ? arrivals[k].offset : Real(1);
      const Real next_reach = growth(n.a, n.b, end), next_decay = std::exp(-n.a * end);
      segments_[k] = {begin, end, amount, level, reach, next_reach, decay, next_decay};
      if (k < arrivals.size()) {
        const Real grown = arrivals[k].weight * std::exp(n.b * end);
        amount += grown;
        level -= n.a * grown * next_reach;
      }
      begin = end;
      reach = next_reach;
      decay = next_decay;
    }
  }

  Real height(Real x, Real level, Real amount) const {
    const Lane& n = *lane_;
    return n.c + std::exp(-n.a * x) * (level + n.a * growth(n.a, n.b, x) * amount) - n.threshold;
  }

  Real slope(Real x, Real level, Real amount) const {
    const Lane& n = *lane_;
    return n.a * std::exp(-n.a * x) * (amount - level - n.b * growth(n.a, n.b, x) * amount);
  }

  Release released(Real x, const std::vector<Arrival>& arrivals) const {
    const Lane& n = *lane_;
    int k = 0;
    while (k < int(arrivals.size()) && arrivals[k].offset <= x) ++k;
    const Segment& s = segments_[k];
    const Real grown = s.level + n.a * growth(n.a, n.b, x) * s.amount;
    const Real shift = (n.reset - n.c) * std::exp(n.a * x) - grown;
    const Real speed = n.a * (s.amount * std::exp(-n.b * x) + n.c - n.reset);
    return {shift, speed, -shift * std::exp(-n.a * x), k};
  }

  // The first segment from number k on that ends above the threshold, or whose top may be above it.
  std::size_t candidate(std::size_t k, Real shift) const {
    const Lane& n = *lane_;
    for (; k < segments_.size(); ++k) {
      const Segment& s = segments_[k];
      if (!(s.end > s.begin)) continue;
      const Real level = s.level + shift;
      const Real at_end = n.c + s.decay_end * (level + n.a * s.reach_end * s.amount) - n.threshold;
      if (at_end >= 0) break;
      const Real turn_begin = s.amount - level - n.b * s.reach_begin * s.amount;
      const Real turn_end = s.amount - level - n.b * s.reach_end * s.amount;
      const Real fall = -n.a * s.decay_begin * turn_end * (s.end - s.begin);
      if (turn_begin > 0 && turn_end < 0 && at_end + fall >= 0) break;
    }
    return k;
  }

  void search(const std::vector<Arrival>& arrivals, int places, Real cursor, std::size_t segment,
              Walked& out) const {
    const Lane& n = *lane_;
    const bool may_again =
        n.reset + (1 - std::exp(-n.a)) * (n.highest - n.reset) >= n.threshold;
    for (int count = 0;;) {
      const std::size_t k = candidate(segment, out.shift);
      if (k == segments_.size()) return;
      const Segment& s = segments_[k];
      const Real level = s.level + out.shift, own_end = height(s.end, level, s.amount);
      const Real left = std::max(s.begin, cursor);
      Real right = std::max(s.end, left);
      if (s.amount > 0) {
        const Real top = offset_of_growth((s.amount - level) / (n.b * s.amount));
        if (top > left && top < s.end) right = top;
      }
      const Real at_left = height(left, level, s.amount), at_right = height(right, level, s.amount);
      if (!(at_right >= 0 || own_end >= 0 || at_left >= 0)) {
        segment = k + 1;
        continue;
      }
      // a potential that stands at the threshold already, by rounding, fires where it stands
      const Real x = at_left >= 0 ? left : root(left, right, at_left, at_right, level, s.amount);
      out.happened = true;
      if (count >= places) {
        out.more = true;
        return;
      }
      out.offsets[count] = x;
      out.speeds[count] = slope(x, level, s.amount);
      ++count;
      const Real free_at = x + n.refractory;
      if (!(free_at < 1)) {
        out.shift += (n.reset - n.threshold) * std::exp(n.a * x);
        out.left = free_at - 1;
        return;
      }
      const Release free = released(free_at, arrivals);
      out.release_offsets[count] = free_at;
      out.release_speeds[count] = free.speed;
      out.drops[count] = free.drop;
      // (without a period the potential falls by so much: what rounding has made of the time of the
      // spike is made good in the potential)
      out.shift = n.refractory > 0 ? free.shift
                                   : out.shift + (n.reset - n.threshold) * std::exp(n.a * x);
      if (!may_again) return;
      cursor = free_at;
      segment = free.segment;
    }
  }

  Real offset_of_growth(Real value) const {
    value = std::max(value, Real(0));
    const Real least = Real(-1) + Real(1e-7);
    return value * relative_logarithm(std::max((lane_->a - lane_->b) * value, least));
  }

  // Where a potential that rises from `left` to `right` is at the threshold: Newton's steps, kept
  // in a bracket, from the zero of the parabola through both ends.
  Real root(Real left, Real right, Real at_left, Real at_right, Real level, Real amount) const {
    const Lane& n = *lane_;
    const Real tolerance = 4 * std::numeric_limits<Real>::epsilon();
    const Real scale =
        Real(0.5) * tolerance * (std::abs(n.threshold) + std::abs(n.reset - n.threshold));
    const Real width = right - left, linear = slope(left, level, amount) * width;
    const Real curve = at_right - at_left - linear;
    const Real discriminant =
        std::sqrt(std::max(linear * linear - 4 * curve * at_left, Real(0)));
    const Real slant = linear + discriminant;
    const Real share = -2 * at_left / (slant > 0 ? slant : Real(1));
    Real x = left + width * std::clamp(share, Real(0), Real(1)), low = left, high = right;
    const int least = sizeof(Real) == 4 ? 2 : 3;
    for (int count = 1; count <= 60; ++count) {
      const Real value = height(x, level, amount), speed = slope(x, level, amount);
      (value < 0 ? low : high) = x;
      Real moved = x - value / (speed > 0 ? speed : Real(1));
      if (!(speed > 0 && moved >= low && moved <= high)) moved = Real(0.5) * (low + high);
      // in single precision the steps may never be small, the value is
      const bool is_zero = std::abs(value) <= scale;
      const bool done =
          is_zero || std::abs(moved - x) <= tolerance || high - low <= tolerance;
      if (!is_zero) x = moved;
      if (done && count >= least) break;
    }
    return x;
  }

  const Lane* lane_ = nullptr;
  std::vector<Segment> segments_;
};

}  // namespace
}  // namespace roughsnn

#endif  // ROUGHSNN_WALK_H_
