"""Faults of the solver: late windows, and the search for events."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np

import roughsnn as rs

from . import Fault, refusal

KEY = jax.random.key(0)


def _late_windows() -> tuple[str, bool]:
    neuron = rs.StochasticLIF(mu1=50.0, sigma=1.0, tau_s=0.05)
    counts, times = [], []
    for t0 in (0.0, 3600.0, 36_000.0, 1.7e9):
        solution = rs.simulate_solution(
            neuron, t0, t0 + 1, 1e-4, key=KEY, num_samples=16, max_spikes=200, input_current=1.5
        )
        times.append(np.asarray(solution.event_times))
        counts.append(float(np.mean(solution.num_events)))
    same = all(np.array_equal(times[0], t) for t in times[1:])
    return f"spikes a trial {counts}, the same times: {same}", same


def _late_currents() -> tuple[str, bool]:
    """A current on a grid counts from the start of the window, another function is refused."""
    neuron, on_grid = rs.LIF(mu1=20.0), []
    for t0 in (0.0, 36_000.0, 1.7e9):
        current = rs.CurrentOnGrid(t0 + 0.01 * np.arange(100), 1 + np.arange(100) % 3, "previous")
        on_grid.append(
            rs.simulate_solution(
                neuron, t0, t0 + 1, 1e-3, key=KEY, num_samples=1, max_spikes=200,
                input_current=current, solver=dfx.Heun(),
            ).event_times
        )  # fmt: skip
    # the grid itself is known to a rounding of 1.7e9 in double precision
    same = all(np.allclose(on_grid[0], t, rtol=0, atol=2e-6, equal_nan=True) for t in on_grid)
    found, right = refusal(
        lambda: rs.simulate(
            neuron, 1.7e9, 1.7e9 + 1, 1e-3, key=KEY, num_samples=1, max_spikes=200,
            input_current=lambda t: 1 + jnp.sin(t),
        ),
        "depends on time", "double precision",
    )  # fmt: skip
    return f"currents on a grid alike: {same}; a function of time {found}", same and right


def _inputs_on_the_grid() -> tuple[str, bool]:
    """Input spikes at multiples of the step act at once."""
    network = rs.SpikingNetwork(
        rs.LIF(1, mu1=1.0, mu2=1.0, v_th=1e6), jnp.zeros((1, 1)), input_weights=[[1.0]]
    )
    steps = np.arange(1, 1000)
    late = 0
    for number in steps[::111]:
        inputs = rs.SpikeTrains.from_lists([[[number * 1e-4]]], t0=0.0, t1=0.1)[0]
        ys = rs.simulate_solution(
            network, 0.0, 0.1, 1e-4, key=KEY, num_samples=1, max_spikes=1, input_spikes=inputs,
            saveat=dfx.SaveAt(ts=np.array([(number + 0.5) * 1e-4])),
        ).ys  # fmt: skip
        assert ys is not None
        late += not np.isclose(float(ys.i[0, 0, 0]), 1.0, atol=2e-4)
    return f"{late} of {len(steps[::111])} act late", late == 0


def _hump_after_an_input_spike() -> tuple[str, bool]:
    alone = rs.simulate(
        rs.LIF(1, mu1=1.0, mu2=2.0, i0=4.0001), 0.0, 4.0, 0.1, key=KEY, num_samples=1,
        max_spikes=4, solver=dfx.Tsit5(),
    )  # fmt: skip
    network = rs.SpikingNetwork(
        rs.LIF(1, mu1=1.0, mu2=2.0), jnp.zeros((1, 1)), input_weights=[[4.0001]]
    )
    inputs = rs.SpikeTrains.from_lists([[[0.013]]], t0=0.0, t1=4.0)[0]
    driven = rs.simulate(
        network, 0.0, 4.0, 0.1, key=KEY, num_samples=1, max_spikes=4, solver=dfx.Tsit5(),
        input_spikes=inputs,
    )  # fmt: skip
    a, b = float(alone.times[0, 0]), float(driven.times[0, 0])
    # the hump is 2.5e-5 high: single precision knows its zero to a part in a thousand
    right = abs(a - 0.68816) < 1e-3 and abs(b - 0.70116) < 1e-3
    return f"at {a:.5f} and {b:.5f}", right and int(driven.counts[0]) == 1


def _falling_zero() -> tuple[str, bool]:
    a, wrong, missed = 0.55, 0, 0
    sde = rs.EventSDE(
        drift_fn=lambda t, y, b: -(2 * t - a - b)[None],
        event_fn=lambda t, y, b: y,
        transition_fn=lambda t, y, k, u, b: y - 10,
    )

    def first(b):
        return rs.eventsolve(
            sde, 0.0, 1.0, 0.1, -a * b[None], key=KEY, max_events=1, args=b, solver=dfx.Heun(),
        ).event_times[0]  # fmt: skip

    bs = 0.6 + np.concatenate([np.linspace(-3e-6, 3e-6, 62), [-1e-7, 3e-7]])
    found = np.asarray(jax.vmap(first)(jnp.asarray(bs, jnp.float32)))
    wrong = int(np.sum(np.isfinite(found) & (np.abs(found - a) > 1e-4)))
    missed = int(np.sum(~np.isfinite(found)))
    return f"{wrong} of {len(bs)} at a wrong zero, {missed} missed", wrong == missed == 0


def _crossings() -> tuple[str, bool]:
    """Upward crossings of a FitzHugh-Nagumo neuron, without a reset."""

    def drift(t, y, args):
        v, w = y
        return jnp.stack([v - v**3 / 3 - w + 0.5, 0.08 * (v + 0.7 - 0.8 * w)])

    sde = rs.EventSDE(drift, lambda t, y, args: y[:1] - 1.0, crossings=True)
    solution = rs.eventsolve(
        sde, 0.0, 200.0, 0.1, jnp.array([-1.0, -0.5]), key=KEY, max_events=20, solver=dfx.Tsit5()
    )
    times = np.asarray(solution.event_times)[: int(solution.num_events)]
    # a limit cycle: one period after the first, known from a fine Runge-Kutta in NumPy
    exact = _fitzhugh_nagumo_crossings()
    right = len(times) == len(exact) and np.allclose(times, exact, atol=2e-3)
    return f"{len(times)} crossings, {len(exact)} by a loop apart", right


def _fitzhugh_nagumo_crossings(h: float = 0.005) -> list[float]:
    def f(y):
        v, w = y
        return np.array([v - v**3 / 3 - w + 0.5, 0.08 * (v + 0.7 - 0.8 * w)])

    y, out = np.array([-1.0, -0.5]), []
    for n in range(round(200 / h)):
        k1 = f(y)
        k2 = f(y + 0.5 * h * k1)
        k3 = f(y + 0.5 * h * k2)
        k4 = f(y + h * k3)
        new = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        if y[0] < 1 <= new[0]:
            out.append(h * (n + (1 - y[0]) / (new[0] - y[0])))
        y = new
    return out


def _long_steps() -> tuple[str, bool]:
    texts, right = [], True
    for dt0 in (0.1, 0.3, 0.5):
        found, refused = refusal(
            lambda dt0=dt0: rs.simulate(
                rs.StochasticLIF(), 0.0, 1.0, dt0, key=KEY, num_samples=2, max_spikes=50
            ),
            "step", "dt0",
        )  # fmt: skip
        right &= refused
        texts.append(found[:40])
    found, refused = refusal(
        lambda: rs.simulate(rs.LIF(), 0.0, 1.0, 2.0, key=KEY, num_samples=1, max_spikes=5),
        "`dt0`", "window",
    )  # fmt: skip
    return f"{texts[0]}; a step longer than the window {found[:60]}", right and refused


FAULTS = [
    Fault(2, "windows that begin late", _late_windows),
    Fault(2, "currents in windows that begin late", _late_currents),
    Fault(4, "input spikes at multiples of the step", _inputs_on_the_grid),
    Fault(5, "a hump within a step, after an input spike", _hump_after_an_input_spike),
    Fault(5, "a spike at the falling zero", _falling_zero),
    Fault(8, "events without a reset", _crossings),
    Fault(9, "steps longer than a time constant, or than the window", _long_steps),
]
