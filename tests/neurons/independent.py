"""Spike times of one deterministic neuron by scipy's integrator, and the interval law of a noisy
one by a Fokker-Planck equation, written down without the library.

A model is three functions of numpy vectors: right side, event function and jump.
Central differences of the spike times are derivatives that owe nothing to
automatic differentiation.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import solve_banded

import roughsnn as rs


def half_marks(cls):
    """A model of which every mark is 1/2, so that nothing is random."""
    return type(f"HalfMarks{cls.__name__}", (cls,), {"mark": lambda self, key: jnp.asarray(0.5)})


def spike_times(right_side, event, jump, y0, t1, max_spikes):
    """The times at which `event` rises through zero; there y becomes `jump(y)`."""

    def crossing(t, y):
        return event(y)

    crossing.terminal, crossing.direction = True, 1
    t, y, times = 0.0, np.asarray(y0, float), []
    while len(times) < max_spikes:
        out = solve_ivp(
            lambda t, y: right_side(y), (t, t1), y, "DOP853", events=crossing,
            rtol=1e-12, atol=1e-12,
        )  # fmt: skip
        if out.status != 1:
            break
        t, y = out.t_events[0][0], jump(out.y_events[0][0])
        times.append(t)
    return np.array(times)


def check(build, independent, parameters, *, t1, dt0, solver, current, y0=None, spikes=4):
    """Spike times of `build(**parameters)` against `independent(**parameters)`, and their
    derivatives against central differences of the latter.

    `build` makes a model without noise; `independent` gives the spike times as a numpy array. The
    derivatives are those along one direction in which every parameter moves, and a second one.
    The solver's order and step are such that its error is below 1e-8; differences have a step of
    1e-4 relative to each parameter: a truncation error of about 1e-8, and 1e-8 from scipy's 1e-12.
    """
    names = list(parameters)
    values = jnp.asarray([parameters[name] for name in names])
    scale = np.maximum(np.abs(values), 1.0)

    @jax.jit
    def ours(values, directions):
        def times(values):
            model = build(**dict(zip(names, values, strict=True)))
            start = model.initial_state(jr.key(0))
            start = start if y0 is None else y0(model, start)
            return rs.eventsolve(
                model, 0.0, t1, dt0, start, key=jr.key(0), max_events=spikes, args=current,
                stop_after=spikes, solver=solver,
            ).event_times  # fmt: skip

        return jax.vmap(lambda direction: jax.jvp(times, (values,), (direction,)))(directions)

    rng = np.random.default_rng(0)
    directions = scale * rng.choice([-1.0, 1.0], (2, len(names))) * rng.uniform(0.5, 1, len(names))
    found, slopes = ours(values, jnp.asarray(directions))
    expected = independent(**parameters)[:spikes]
    assert expected.size == spikes, expected
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-7 * t1)
    for direction, slope in zip(directions, slopes, strict=True):
        step = 1e-4
        above, below = (
            independent(**dict(zip(names, np.asarray(values) + h * direction, strict=True)))
            for h in (step, -step)
        )
        central = (above[:spikes] - below[:spikes]) / (2 * step)
        np.testing.assert_allclose(slope, central, rtol=1e-5, atol=1e-6 * t1)


def survival(mu1, current, sigma, v_reset, intensity, times, low, high, points=1200, steps=1500):
    """P(no spike before t | spike at 0), no dead part: the Fokker-Planck equation with killing

    dp/dt = -d/dv (mu1 (c - v) p) + sigma^2/2 d^2p/dv^2 - lambda(v) p,

    by implicit finite volumes with upwind drift, from a point mass at the reset.
    """
    v = np.linspace(low, high, points)
    h, dt = v[1] - v[0], times[-1] / steps
    between = (v[1:] + v[:-1]) / 2
    drift = mu1 * (current - between)
    right = np.maximum(drift, 0) / h + sigma**2 / 2 / h**2
    left = np.maximum(-drift, 0) / h + sigma**2 / 2 / h**2
    bands = np.zeros((3, points))
    bands[0, 1:] = -dt * left
    bands[2, :-1] = -dt * right
    bands[1] = 1 + dt * (np.r_[right, 0] + np.r_[0, left] + intensity(v))
    p = np.zeros(points)
    p[np.argmin(np.abs(v - v_reset))] = 1.0
    alive = [1.0]
    for _ in range(steps):
        p = solve_banded((1, 1), bands, p)
        alive.append(p.sum())
    return np.interp(times, dt * np.arange(steps + 1), alive)
