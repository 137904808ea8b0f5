"""Numbers from outside the code: quadrature, closed forms and laws, beside what the code gives.

Spike times, derivatives and tangents of a deterministic neuron with an 8th-order solver against
quadrature; intervals at constant intensity against their law; the potential between spikes
against Ornstein-Uhlenbeck moments; signatures and signature kernels of spike trains against
closed forms. All in float64.
"""

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import brentq

import roughsnn as rs

from ._study import Study, format_table

MU1, C, V_RESET, ALPHA = 15.0, 1.5, 1.4, 0.03
# levels <= 3, levels <= 8 and all levels of the kernel of A = {0.3}, B = {0.6}, D = {} on [0, 1]
KERNELS = {
    "AA": (4.3867055556, 4.4502454407, 4.4502455529),
    "AB": (4.2086555556, 4.2565510284, 4.2565510960),
    "BB": (4.3019555556, 4.3599371486, 4.3599372523),
    "DD": (2.2777777778, 2.2795853023, 2.2795853023),
    "AD": (2.2777777778, 2.2795853023, 2.2795853023),
}


class HalfMarks(rs.StochasticLIF):
    """Every mark is 1/2."""

    def mark(self, key):
        return jnp.asarray(0.5)


def study(intervals: int = 200_000, paths: int = 20_000) -> Study:
    """Run the comparison.

    Args:
        intervals: intervals at constant intensity.
        paths: paths of the potential between spikes.
    """
    with jax.enable_x64(True):
        rows = _deterministic() + _intervals(intervals) + _between_spikes(paths) + _signatures()
    figures = {name: float(error) for name, _, _, error, _ in rows}
    bounds = {name: bound for name, _, _, _, bound in rows}
    shown = [[name, f"{got:.12g}", f"{exact:.12g}", error] for name, got, exact, error, _ in rows]
    return Study(figures, bounds, format_table(["quantity", "code", "outside", "error"], shown))


def _deterministic():
    """Two spikes of a neuron without noise."""
    exact = _quadrature()
    neuron = HalfMarks(1, mu1=MU1, mu2=0.0, sigma=None, v_reset=V_RESET, alpha=ALPHA)
    y0 = rs.LIFState(jnp.zeros(1), jnp.zeros(1), jnp.log(jnp.full(1, 0.5)) - ALPHA)

    def solve(c):
        solution = rs.eventsolve(
            neuron, 0.0, 0.6, 1e-2, y0, key=jr.key(0), max_events=2, stop_after=2, args=c,
            solver=dfx.Dopri8(), save_event_states=True,
        )  # fmt: skip
        left, right = solution.event_ys_left, solution.event_ys_right
        assert left is not None
        assert right is not None
        return solution.event_times, left.v[0, 0], right.v[0, 0], right.s[0, 0]

    (tau, v_left, v, _), (tau_dot, _, v_dot, s_dot) = jax.jvp(
        solve, (jnp.asarray(C),), (jnp.asarray(1.0),)
    )
    # the states at a moving time move with it; the tangents are those at a frozen time
    found = {
        "tau_1": tau[0],
        "d tau_1 / dc": tau_dot[0],
        "v(tau_1-)": v_left,
        "tangent V+": v_dot - MU1 * (C - v) * tau_dot[0],
        "tangent S+": s_dot - jnp.exp(5 * (v - 1)) * tau_dot[0],
        "tau_2": tau[1],
        "d tau_2 / dc": tau_dot[1],
    }
    return [
        (name, float(value), exact[name], abs(float(value) - exact[name]), "<= 1e-8")
        for name, value in found.items()
    ]


def _quadrature():
    out, v0, tangent_v0, tangent_s0, start = {}, 0.0, 0.0, 0.0, 0.0
    for n in (1, 2):

        def v(t, v0=v0):
            return C + (v0 - C) * np.exp(-MU1 * t)

        def intensity(t, v=v):
            return np.exp(5 * (v(t) - 1))

        def rest(t, f=intensity):
            return quad(f, 0, t, epsabs=1e-13, epsrel=1e-13)[0] + np.log(0.5) - ALPHA

        h = float(brentq(rest, 1e-3, 1.0, xtol=1e-15))
        tangent_s = tangent_s0 + _integrated_tangent(intensity, tangent_v0, h)
        tau_dot = -tangent_s / intensity(h)
        out |= {f"tau_{n}": start + h, f"d tau_{n} / dc": tau_dot, f"v(tau_{n}-)": v(h)}
        tangent_v0 = 1 + (tangent_v0 - 1) * np.exp(-MU1 * h) - MU1 * V_RESET * tau_dot
        v0 = v(h) - V_RESET
        tangent_s0 = -np.exp(5 * (v0 - 1)) * tau_dot
        if n == 1:
            out |= {"tangent V+": tangent_v0, "tangent S+": tangent_s0}
        start += h
    return out


def _integrated_tangent(intensity, tangent_v0: float, h: float) -> float:
    """Integral of the intensity's derivative along the tangent of the potential."""

    def integrand(t):
        return 5 * intensity(t) * (1 + (tangent_v0 - 1) * np.exp(-MU1 * t))

    return quad(integrand, 0, h, epsabs=1e-13, epsrel=1e-13)[0]


def _intervals(number):
    """With beta = 0 the intervals are tau_s (alpha + Exp(1)), whatever the potential does."""
    tau_s, per_train = 0.5, 20
    neuron = rs.StochasticLIF(1, beta=0.0, tau_s=tau_s, alpha=0.2, sigma=0.3)
    trains = rs.simulate(
        neuron, 0.0, 40.0, 0.05, key=jr.key(1), num_samples=number // per_train,
        max_spikes=per_train, stop_after=per_train, input_current=1.0,
    )  # fmt: skip
    gaps = np.diff(np.asarray(trains.times), axis=1).ravel()
    n, mean, sd = gaps.size, 1.2 * tau_s, tau_s
    p_value = stats.kstest(gaps, stats.expon(loc=0.2 * tau_s, scale=tau_s).cdf).pvalue
    return [
        ("mean interval, error / SE", gaps.mean(), mean,
         abs(gaps.mean() - mean) / (sd / n**0.5), "<= 4"),
        # the variance of the sample variance of an exponential law is 8 sd^4 / n
        ("interval variance, error / SE", gaps.var(), sd**2,
         abs(gaps.var() - sd**2) / (8**0.5 * sd**2 / n**0.5), "<= 4"),
        ("intervals, Kolmogorov-Smirnov p", p_value, 0.5, p_value, ">= 0.001"),
    ]  # fmt: skip


def _between_spikes(number):
    """Euler's potential between spikes is an autoregression of known mean and variance."""
    mu1, sigma, dt, t1 = 3.0, 0.5, 0.01, 1.0
    neuron = rs.StochasticLIF(1, mu1=mu1, sigma=sigma, v_th=20.0)
    solution = rs.simulate_solution(
        neuron, 0.0, t1, dt, key=jr.key(2), num_samples=number, max_spikes=1, input_current=1.0
    )
    v = np.asarray(solution.final_state.v).ravel()
    decay, steps = 1 - mu1 * dt, round(t1 / dt)
    mean = 1 - decay**steps
    variance = sigma**2 * dt * (1 - decay ** (2 * steps)) / (1 - decay**2)
    return [
        ("mean of v, error / SE", v.mean(), mean,
         abs(v.mean() - mean) / (variance / number) ** 0.5, "<= 4"),
        ("variance of v, error / SE", v.var(), variance,
         abs(v.var() - variance) / (variance * (2 / number) ** 0.5), "<= 4"),
        ("stationary variance of v, relative", variance, sigma**2 / (2 * mu1),
         abs(variance / (sigma**2 / (2 * mu1)) - 1), "<= 0.02"),
    ]  # fmt: skip


def _signatures():
    trains = {
        name: rs.SpikeTrains.from_lists([[np.array(times)]], t0=0.0, t1=1.0, max_spikes=1)
        for name, times in (("A", [0.3]), ("B", [0.6]), ("D", []))
    }
    depth = 14
    signatures = {
        name: np.asarray(rs.signature(rs.marcus_lift(x), depth)).ravel()
        for name, x in trains.items()
    }
    closed = [1, 1, 0.5, 0.3, 0.7, 0.5, 1 / 6, 0.045, 0.21, 0.15, 0.245, 0, 0.35, 1 / 6]
    error = np.abs(signatures["A"][: len(closed)] - closed).max()
    rows = [("signature of A, levels 1-3", signatures["A"][7], 0.045, error, "<= 1e-12")]
    for pair, exact in KERNELS.items():
        product = signatures[pair[0]] * signatures[pair[1]]
        for level, value in zip((3, 8, depth), exact, strict=True):
            got = 1 + product[: 2 ** (level + 1) - 2].sum()
            name = f"kernel {pair}, levels <= {level}"
            # the outside values have ten decimals
            rows.append((name, got, value, abs(got - value), "<= 1e-9"))
    return rows
