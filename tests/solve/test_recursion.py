"""Against the recursion for the tangents, on one fine Brownian path.

The derivatives of the spike times of the event SDE obey a recursion of their own (Holberg &
Salvi 2024; for this neuron: d tau = -S / lambda, V -> V - mu1 v_reset d tau,
S -> -lambda(v - v_reset) d tau, between spikes V' = mu1 (1 - V), S' = lambda'(v) V). Written here
in numpy with other quadrature, it is what automatic differentiation must converge to; a scheme
that treats the noise differently on the two sides of a spike diverges like dt0^-1/2.
"""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roughsnn as rs
from roughsnn._random import event_key
from tests.solve.models import lif

MU1, C, SIGMA, V_RESET, ALPHA, BETA = 15.0, 1.5, 0.5, 1.4, 0.03, 5.0
T1 = 1.28
NUM_SPIKES = 3


def _recursion(increments, log_marks, dt):
    """Spike times and their derivatives with respect to c, for many paths side by side.

    v: exact between grid points but for the noise; s and S: the trapezoidal rule.
    """
    n, paths = increments.shape
    decay = np.exp(-MU1 * dt)
    v, tangent_v, tangent_s = (np.zeros(paths) for _ in range(3))
    s = log_marks[:, 0] - ALPHA
    count = np.zeros(paths, int)
    taus, slopes = np.full((paths, NUM_SPIKES), np.nan), np.full((paths, NUM_SPIKES), np.nan)

    def intensity(v):
        return np.exp(BETA * (v - 1))

    rate = intensity(v)
    for j in range(n):
        noise = SIGMA * increments[j] * np.exp(-0.5 * MU1 * dt)
        v_new = C + (v - C) * decay + noise
        tangent_v_new = 1 + (tangent_v - 1) * decay
        rate_new = intensity(v_new)
        s_new = s + 0.5 * dt * (rate + rate_new)
        tangent_s_new = tangent_s + 0.5 * dt * BETA * (rate * tangent_v + rate_new * tangent_v_new)
        for p in np.nonzero((s_new >= 0) & (count < NUM_SPIKES))[0]:
            share = -s[p] / (s_new[p] - s[p])
            h = share * dt
            # the path is taken as linear inside one fine cell
            v_left = v[p] + share * (v_new[p] - v[p])
            tangent_left = 1 + (tangent_v[p] - 1) * np.exp(-MU1 * h)
            s_left = tangent_s[p] + share * (tangent_s_new[p] - tangent_s[p])
            slope = -s_left / intensity(v_left)
            taus[p, count[p]], slopes[p, count[p]] = j * dt + h, slope
            count[p] += 1
            v_right, rest = v_left - V_RESET, dt - h
            tangent_right = tangent_left - MU1 * V_RESET * slope
            rate_right = intensity(v_right)
            v_new[p] = C + (v_right - C) * np.exp(-MU1 * rest) + noise[p] * (1 - share)
            tangent_v_new[p] = 1 + (tangent_right - 1) * np.exp(-MU1 * rest)
            rate_new[p] = intensity(v_new[p])
            s_new[p] = log_marks[p, count[p]] - ALPHA + 0.5 * rest * (rate_right + rate_new[p])
            tangent_s_new[p] = -rate_right * slope + 0.5 * rest * BETA * (
                rate_right * tangent_right + rate_new[p] * tangent_v_new[p]
            )
        v, s, tangent_v, tangent_s, rate = v_new, s_new, tangent_v_new, tangent_s_new, rate_new
    return taus, slopes


def _log_marks(solver_key, start):
    """The marks that the solver draws, as they belong to component and number of the event."""
    from roughsnn._random import uniform_from_key

    marks_key = jax.random.fold_in(solver_key, 1)
    numbers = jnp.arange(NUM_SPIKES)
    u = jax.vmap(lambda n: uniform_from_key(event_key(marks_key, jnp.asarray(0), n)))(numbers)
    return jnp.concatenate([jnp.log(start)[None], jnp.log(u)])


def _study(kind, num_paths, fine_dt, factors):
    """Median errors of d tau_2 / dc and d tau_3 / dc for each coarsening of the fine path."""
    keys = jax.random.split(jax.random.key(11), num_paths)
    num_cells = round(T1 / fine_dt)

    def parts(key):
        noise, marks, start = jax.random.split(key, 3)
        tree = dfx.VirtualBrownianTree(0.0, T1, fine_dt / 8, (1,), noise)
        if kind == "tree":
            points = jnp.linspace(0.0, T1, num_cells + 1)
            increments = jnp.diff(jax.lax.map(tree.evaluate, points, batch_size=512), axis=0)
        else:
            increments = rs.BrownianGrid(0.0, T1, fine_dt, (1,), noise).increments
        u = jax.random.uniform(start, (), minval=0.05)
        return increments, tree, marks, u

    increments, trees, marks, u = jax.jit(jax.vmap(parts))(keys)
    log_marks = jax.vmap(_log_marks)(marks, u)
    taus, slopes = _recursion(
        np.moveaxis(np.asarray(increments[..., 0]), 1, 0), np.asarray(log_marks), T1 / num_cells
    )
    enough = np.isfinite(taus).all(1)
    assert enough.sum() >= 0.9 * num_paths
    params = dict(
        mu1=MU1, sigma=SIGMA, v_reset=V_RESET, alpha=ALPHA, beta=BETA, tau_s=1.0, v_th=1.0
    )
    neuron = lif(params)
    errors, time_errors = [], []
    for factor in factors:

        def derivative(increments, tree, noise_key, key, u, factor=factor):
            y0 = rs.LIFState(jnp.zeros(1), jnp.zeros(1), jnp.log(u)[None] - ALPHA)
            if kind == "tree":
                driver = tree
            else:
                bridge = "bridge" if kind == "bridge" else "linear"
                driver = rs.BrownianGrid(
                    0.0, T1, fine_dt, key=noise_key, increments=increments, bridge=bridge
                ).coarsen(factor)

            def times(c):
                out = rs.eventsolve(
                    neuron, 0.0, T1, fine_dt * factor, y0, key=key, max_events=4, args=c,
                    driver=driver, stop_after=NUM_SPIKES, throw=False,
                )  # fmt: skip
                return out.event_times[:NUM_SPIKES]

            return jax.jvp(times, (jnp.asarray(C),), (jnp.ones(()),))

        value, slope = jax.jit(jax.vmap(derivative))(increments, trees, keys, marks, u)
        time_errors.append(np.median(np.abs(value - taus)[enough], 0))
        errors.append(np.median(np.abs(slope - slopes)[enough], 0)[1:])
    return np.array(errors), np.array(time_errors)


def test_derivatives_converge_to_those_of_the_event_sde():
    """dt0 from 0.01 to 0.01/16: the error falls by about 4 (half an order for the noise, more
    where the drift dominates); a factor of 2.5 is asked for, and a scheme with a spurious noise
    slope grows by 4 instead."""
    errors, time_errors = _study("linear", 24, 0.01 / 64, (64, 4))
    assert np.all(errors[0] / errors[-1] > 2.5), errors
    assert np.all(time_errors[0] / time_errors[-1] > 2.5), time_errors


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["linear", "bridge", "tree"])
def test_derivatives_converge_by_a_factor_of_six_or_more(kind):
    """dt0 from 0.01 to 0.01/64, against a path four times finer still."""
    errors, _ = _study(kind, 32, 0.01 / 256, (256, 64, 16, 4))
    print(kind, errors.round(4).tolist())
    assert np.all(errors[0] / errors[-1] >= 6), errors
