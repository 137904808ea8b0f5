"""Derivatives of spike times with noise: against central differences and against the theory.

One stochastic LIF neuron (sigma = 0.5, c = 1.5), float64. First, automatic differentiation against
central differences of the same frozen path, path by path and spike by spike, at several steps.
Second, the error against the derivatives of the exact event SDE, which an independent NumPy
recursion (Holberg & Salvi 2024, theorem on pathwise gradients) gives on one fine path.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs

from ._study import Study, format_table

MU1, C, V_RESET, ALPHA = 15.0, 1.5, 1.4, 0.03


class HalfMarks(rs.StochasticLIF):
    """Every mark is 1/2, so that the recursion needs no random numbers but the path."""

    def mark(self, key):
        return jnp.asarray(0.5)


def study(paths: int = 100, spikes: int = 3) -> Study:
    """Run the comparison.

    Args:
        paths: frozen noise paths.
        spikes: spikes of each path.
    """
    with jax.enable_x64(True):
        figures, tables = {}, []
        for sigma in (0.5, 0.0):
            rows = []
            for dt0 in (0.04, 0.01, 0.0025):
                errors, kinks = _against_differences(sigma, dt0, paths, spikes)
                rows.append([dt0, *np.max(errors, axis=0).tolist(), kinks])
                name = f"difference_error_sigma_{sigma}_dt0_{dt0}"
                figures[name] = float(np.max(errors))
            header = ["dt0", *(f"spike {i + 1}" for i in range(spikes)), "one-sided"]
            tables.append(
                f"largest |AD - central difference| of d tau / dc, sigma = {sigma}\n"
                + format_table(header, rows)
            )
        bounds = dict.fromkeys(figures, "<= 1e-7")
        dt0s, errors = _against_recursion(0.5, paths)
        rows = [[dt0, *e.tolist()] for dt0, e in zip(dt0s, errors, strict=True)]
        tables.append(
            "median |error| against the exact derivative, sigma = 0.5\n"
            + format_table(["dt0", "d tau_1/dc", "d tau_2/dc", "d tau_3/dc"], rows)
        )
        for i in (1, 2):
            name = f"refinement_factor_tau_{i + 1}"
            figures[name] = float(errors[0, i] / errors[-1, i])
            bounds[name] = ">= 6"
    return Study(figures, bounds, "\n\n".join(tables))


def _model(sigma):
    return HalfMarks(1, mu1=MU1, mu2=0.0, sigma=sigma, v_reset=V_RESET, alpha=ALPHA)


def _times(c, increments, sigma, t1, dt0, spikes):
    model = _model(sigma)

    def one(increments):
        driver = rs.BrownianGrid(0.0, t1, dt0, increments=increments)
        y0 = rs.LIFState(jnp.zeros(1), jnp.zeros(1), jnp.log(jnp.full(1, 0.5)) - ALPHA)
        return rs.eventsolve(
            model, 0.0, t1, dt0, y0, key=jr.key(0), max_events=spikes, args=c, driver=driver,
            stop_after=spikes, throw=False,
        ).event_times  # fmt: skip

    return jax.vmap(one)(increments)


def _against_differences(sigma, dt0, paths, spikes, t1=2.0, step=1e-6):
    n = round(t1 / dt0)
    increments = jr.normal(jr.key(1), (paths, n, 1)) * jnp.sqrt(dt0)

    @jax.jit
    def times(c):
        return _times(c, increments, sigma, t1, dt0, spikes)

    derivative = np.asarray(jax.jit(jax.jacfwd(times))(jnp.asarray(C)))
    at = {i: np.asarray(times(jnp.asarray(C + i * step))) for i in (-2, -1, 0, 1, 2)}
    central = (at[1] - at[-1]) / (2 * step)
    # The discretised path has a kink where an event passes a grid point. Where one lies between
    # the two sides, the difference is taken on the side of the path itself.
    right = (4 * at[1] - at[2] - 3 * at[0]) / (2 * step)
    left = -(4 * at[-1] - at[-2] - 3 * at[0]) / (2 * step)
    errors = np.abs(np.stack([central, right, left]) - derivative)
    kinked = np.abs(right - left) > 1e-4
    return np.where(kinked, errors.min(0), errors[0]), int(kinked.sum())


def _against_recursion(sigma, paths, t1=1.28, fine=2**16):
    rng = np.random.default_rng(0)
    increments = rng.normal(size=(paths, fine, 1)) * np.sqrt(t1 / fine)
    exact = _recursion(increments[..., 0], sigma, t1)
    dt0s, errors = [], []
    for cells in (128, 512, 2048, 8192):
        merged = jnp.asarray(increments.reshape(paths, cells, -1, 1).sum(2))

        def times(c, merged=merged, dt0=t1 / cells):
            return _times(c, merged, sigma, t1, dt0, 3)

        derivative = np.asarray(jax.jit(jax.jacfwd(times))(jnp.asarray(C)))
        dt0s.append(t1 / cells)
        errors.append(np.nanmedian(np.abs(derivative - exact), axis=0))
    return dt0s, np.array(errors)


def _recursion(increments, sigma, t1):
    """d tau_n / dc, n = 1, 2, 3, by the tangent recursion of the event SDE on a fine path."""
    paths, n = increments.shape
    dt = t1 / n

    def intensity(v):
        return np.exp(5 * (v - 1))

    v, s = np.zeros(paths), np.full(paths, np.log(0.5) - ALPHA)
    dv, ds = np.zeros(paths), np.zeros(paths)
    found, count = np.full((paths, 3), np.nan), np.zeros(paths, int)

    def advance(h, share):
        lam = intensity(v)
        new_v = v + MU1 * (C - v) * h + sigma * share
        return new_v, s + lam * h, dv + MU1 * (1 - dv) * h, ds + 5 * lam * dv * h

    for j in range(n):
        db = increments[:, j]
        hit = s + intensity(v) * dt >= 0
        h = np.where(hit, -s / intensity(v), dt)
        v, s, dv, ds = advance(h, db * h / dt)
        if hit.any():
            d_tau = np.where(hit, -ds / intensity(v), 0.0)
            for i in np.flatnonzero(hit & (count < 3)):
                found[i, count[i]] = d_tau[i]
            count += hit
            dv = dv - MU1 * V_RESET * d_tau
            v = np.where(hit, v - V_RESET, v)
            ds = np.where(hit, -intensity(v) * d_tau, ds)
            s = np.where(hit, np.log(0.5) - ALPHA, s)
            rest = dt - h
            v, s, dv, ds = advance(rest, db * rest / dt)
    return found
