// Neurons that fire by an exponential intensity: what their spikes depend on, and the integrated
// intensity of one neuron in one cell, as `_escape.py` says it.

#ifndef ROUGHSNN_INTENSITIES_H_
#define ROUGHSNN_INTENSITIES_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "groups.h"

namespace roughsnn {
namespace {

// e^80 is finite in single precision.
constexpr Real kLargestExponent = 80;

// e^x by a polynomial, in a form that compilers do in vectors; x is at least -80 or taken as that,
// and at most 80.
inline float fast_exp(float x) {
  x = x < -80.0f ? -80.0f : x;
  const float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  // (without a loop, which would keep the loops around it from being done in vectors)
  const float high = ((r * (1.0f / 5040) + 1.0f / 720) * r + 1.0f / 120) * r + 1.0f / 24;
  const float sum = (((high * r + 1.0f / 6) * r + 0.5f) * r + 1) * r + 1;
  return sum * __builtin_bit_cast(float, (std::int32_t(n) + 127) << 23);
}

inline double fast_exp(double x) {
  x = x < -80.0 ? -80.0 : x;
  const double shifted = x * 1.4426950408889634 + 6755399441055744.0, n = shifted - 6755399441055744.0;
  const double r = (x - n * 0.693145751953125) - n * 1.42860682030941723212e-6;
  const double last = ((r * (1.0 / 6227020800) + 1.0 / 479001600) * r + 1.0 / 39916800) * r + 1.0 / 3628800;
  const double high = (((last * r + 1.0 / 362880) * r + 1.0 / 40320) * r + 1.0 / 5040) * r + 1.0 / 720;
  const double low = ((high * r + 1.0 / 120) * r + 1.0 / 24) * r + 1.0 / 6;
  const double sum = ((low * r + 0.5) * r + 1) * r + 1;
  // (the last bits of the shifted number are those of n)
  const std::int64_t bits = __builtin_bit_cast(std::int64_t, shifted) << 52;
  return sum * __builtin_bit_cast(double, bits + (std::int64_t(1023) << 52));
}

inline Real intensity_at(Real v, Real threshold, Real beta, Real scale, Real most) {
  const Real excess = v - threshold, exponent = beta * (excess < most ? excess : most);
  return fast_exp(exponent < kLargestExponent ? exponent : kLargestExponent) / scale;
}

// lambda(v) = e^{min(beta min(v - threshold, most), 80)} / scale.
struct Intensity {
  Real threshold, beta, scale, most;

  Real operator()(Real v) const {
    return intensity_at(v, threshold, beta, scale, most);
  }

  // Its derivative in the potential, and in the logarithm of what is not capped.
  bool grows(Real v) const {
    return v - threshold < most && beta * (v - threshold) < kLargestExponent;
  }
};

struct Problem {
  Shared a, b, threshold, beta, scale, drop, alpha, refractory;
  // from row to column, (N, N), or null
  const Real* weights;
  Shared delays;
  bool is_delayed, has_refractory;
  // what is added to the potential by the middle and the end of each cell, and to the current
  ByCell middle, end, current;
  // two words of the key of each sample, and the number of each neuron in its model
  const std::uint32_t *high, *low;
  const std::int32_t* numbers;
  Groups groups;
  Size cells, samples, neurons;
  Real width, most_excess;
  // whether marks are drawn in double precision
  bool wide;

  bool share_rates() const { return a.stride == 0 && b.stride == 0; }
  Intensity intensity(Size n) const { return {threshold[n], beta[n], scale[n], most_excess}; }
};

using Words32 = ffi::Buffer<ffi::DataType::U32>;

inline Problem problem_of(const Reals& a, const Reals& b, const Reals& threshold, const Reals& beta,
                          const Reals& scale, const Reals& drop, const Reals& alpha,
                          const Reals& refractory, const Reals& weights, const Reals& delays,
                          const Reals& middle, const Reals& end, const Reals& current,
                          const Words32& high, const Words32& low, const Ints& numbers,
                          const Ints& starts, const Ints& firsts, const Ints& children, Size cells,
                          Size samples, Size neurons, double width, double most_excess, Size wide,
                          bool has_refractory) {
  return {Shared(a), Shared(b), Shared(threshold), Shared(beta), Shared(scale), Shared(drop),
          Shared(alpha), Shared(refractory), weights.element_count() ? weights.typed_data() : nullptr,
          Shared(delays), delays.element_count() > 0, has_refractory, ByCell(middle), ByCell(end),
          ByCell(current), high.typed_data(), low.typed_data(), numbers.typed_data(),
          Groups(starts, firsts, children), cells, samples, neurons, Real(width),
          Real(most_excess), wide != 0};
}

// Of each neuron what a cell makes of potential and current by its middle and its end, and what its
// intensity is made of.
struct Keeping {
  std::vector<Real> middle, end, middle_by_i, end_by_i, i, threshold, beta, scale;

  explicit Keeping(const Problem& p) {
    for (auto* x : {&middle, &end, &middle_by_i, &end_by_i, &i, &threshold, &beta, &scale}) {
      x->resize(p.neurons);
    }
    for (Size n = 0; n < p.neurons; ++n) {
      const Real a = p.a[n], b = p.b[n];
      middle[n] = std::exp(-a / 2);
      end[n] = std::exp(-a);
      middle_by_i[n] = response(a, b, Real(0.5));
      end_by_i[n] = response(a, b, 1);
      i[n] = std::exp(-b);
      threshold[n] = p.threshold[n];
      beta[n] = p.beta[n];
      scale[n] = p.scale[n];
    }
  }
};

// What a spike that arrives at an offset adds to potential and current, for a unit of weight.
struct Felt {
  Real to_middle, to_end, middle, end, i;

  Felt(Real a, Real b, Real when)
      : to_middle(std::max(Real(0.5) - when, Real(0))), to_end(1 - when),
        middle(to_middle > 0 ? response(a, b, to_middle) : Real(0)), end(response(a, b, to_end)),
        i(std::exp(-b * to_end)) {}
};

// The parabola through the potential, without the resets of the cell, at start, middle and end.
struct Parabola {
  Real start, middle, end;

  Real at(Real x) const {
    return (1 - x) * (1 - 2 * x) * start + 4 * x * (1 - x) * middle + x * (2 * x - 1) * end;
  }
  Real slope(Real x) const {
    return (4 * x - 3) * start + (4 - 8 * x) * middle + (4 * x - 1) * end;
  }
};

// The integrated intensity from an offset to the end of the cell, where earlier resets have left
// the potential lower by `dropped`; it has the value `first` there.
struct Segment {
  Real begin, dropped, first, width;
  // what is left of the drop in the middle of what is left, and at the end
  Real half, whole;
  // potentials and intensities at the start, in the middle and at the end of what is left
  Real v[3], rate[3], middle;

  Segment(const Intensity& intensity, const Parabola& q, Real begin, Real dropped, Real first,
          Real width, Real a)
      : begin(begin), dropped(dropped), first(first), width(width),
        half(std::exp(-a * (1 - begin) / 2)), whole(half * half) {
    v[0] = q.at(begin) - dropped;
    v[1] = q.at((1 + begin) / 2) - dropped * half;
    v[2] = q.end - dropped * whole;
    for (int k = 0; k < 3; ++k) rate[k] = intensity(v[k]);
    middle = std::max(rate[1], std::abs(rate[2] - rate[0]) / 4);
  }

  Real left() const { return width * (1 - begin); }
  Real linear() const { return 4 * middle - 3 * rate[0] - rate[2]; }
  Real square() const { return 2 * (rate[0] + rate[2]) - 4 * middle; }
  // its mean value over a share of what is left, times the share, and its value there
  Real sum(Real share) const {
    return share * (rate[0] + share * (linear() / 2 + share * (square() / 3)));
  }
  Real value(Real share) const { return rate[0] + share * (linear() + share * square()); }
  Real at(Real share) const { return first + left() * sum(share); }
  Real speed(Real share) const { return width * value(share); }
};

}  // namespace
}  // namespace roughsnn

#endif  // ROUGHSNN_INTENSITIES_H_
