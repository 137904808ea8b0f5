"""Error of the third spike time against wall time, beside plain diffrax restarted at each event.

One stochastic LIF neuron (sigma = 0.5, c = 1.5) on frozen noise paths, float64. The paths are
piecewise linear on a fine grid, so that every method sees the same path whatever its step. Plain
diffrax is `diffeqsolve` with Euler's method and an `Event`, whose state at the event is that of
the linear interpolation of the step, restarted at each spike. Ours is `eventsolve` by Euler's
method and by SRA1, which uses the space-time Levy areas of the path.
"""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optimistix as optx

import roughsnn as rs

from ._measure import compare, paired_ratio
from ._study import Study, format_table

T1, FINE, SPIKES, SIGMA, C = 1.28, 2**14, 3, 0.5, 1.5


class HalfMarks(rs.StochasticLIF):
    """Every mark is 1/2, so that a path alone decides the spikes."""

    def mark(self, key):
        return jnp.asarray(0.5)


def study(paths: int = 64, repeats: int = 10) -> Study:
    """Run the comparison.

    Args:
        paths: frozen noise paths.
        repeats: rounds of timing.
    """
    with jax.enable_x64(True):
        noise = jr.normal(jr.key(0), (paths, FINE, 1)) * jnp.sqrt(T1 / FINE)
        fine = eqx.filter_vmap(
            lambda w: rs.BrownianGrid(0.0, T1, T1 / FINE, increments=w, areas=jnp.zeros_like(w))
        )(noise)
        exact = np.asarray(jax.jit(lambda path: _ours(path, dfx.SRA1()))(fine))
        candidates = {"plain diffrax, dt0 = 1e-3": (_plain, (noise, 1e-3))}
        candidates["plain diffrax, dt0 = 1e-2"] = (_plain, (noise, 1e-2))
        for solver in (dfx.Euler(), dfx.SRA1()):
            for cells in (32, 64, 128, 256, 1024):
                path = eqx.filter_vmap(lambda p, m=FINE // cells: p.coarsen(m))(fine)
                name = f"{type(solver).__name__}, dt0 = {T1 / cells:.4g}"
                candidates[name] = (_ours, (path, solver))
        measured = compare(candidates, repeats)
        errors = {
            name: float(np.median(np.abs(eqx.filter_jit(fn)(*args) - exact)[:, -1]))
            for name, (fn, args) in candidates.items()
        }
    plain = "plain diffrax, dt0 = 1e-3"
    rows, figures, bounds = [], {}, {}
    for name, m in measured.items():
        ratio = paired_ratio(measured[plain], m)
        rows.append([name, errors[name], 1e3 * m.wall_seconds, ratio])
    as_good = [row for row in rows if not row[0].startswith("plain") and row[1] <= errors[plain]]
    figures["speed_up_at_plain_error"] = max((row[3] for row in as_good), default=0.0)
    bounds["speed_up_at_plain_error"] = ">= 20"
    figures["plain_error"] = errors[plain]
    header = ["method", "median error of tau_3", "wall ms", "times faster than plain at 1e-3"]
    return Study(figures, bounds, format_table(header, rows))


def _ours(path, solver):
    neuron = HalfMarks(1, mu2=0.0, sigma=SIGMA)
    y0 = rs.LIFState(jnp.zeros(1), jnp.zeros(1), jnp.log(jnp.full(1, 0.5)) - neuron.alpha)

    def one(path):
        if isinstance(solver, dfx.Euler):
            path = eqx.tree_at(lambda p: p.areas, path, None)
        return rs.eventsolve(
            neuron, 0.0, T1, path.grid.dt0, y0, key=jr.key(0), max_events=SPIKES,
            stop_after=SPIKES, args=jnp.asarray(C), driver=path, solver=solver, throw=False,
        ).event_times  # fmt: skip

    return eqx.filter_vmap(one)(path)


def _plain(noise, dt0):
    """The same neuron as a user of diffrax would write it."""
    neuron = HalfMarks(1, mu2=0.0, sigma=SIGMA)
    grid = jnp.linspace(0.0, T1, FINE + 1)

    def drift(t, y, args):
        v = y[0]
        return jnp.stack([15.0 * (C - v), jnp.exp(5 * (v - 1))])

    def diffusion(t, y, args):
        return jnp.array([[SIGMA], [0.0]])

    def cond_fn(t, y, args, **kwargs):
        return y[1]

    event = dfx.Event(cond_fn, optx.Newton(1e-10, 1e-10), direction=True)

    def one(noise):
        values = jnp.concatenate([jnp.zeros((1, 1)), jnp.cumsum(noise, 0)])
        path = dfx.LinearInterpolation(grid, values)
        terms = dfx.MultiTerm(dfx.ODETerm(drift), dfx.ControlTerm(diffusion, path))

        def spike(state, _):
            t, y = state
            solution = dfx.diffeqsolve(
                terms, dfx.Euler(), t, T1, dt0, y, event=event, saveat=dfx.SaveAt(t1=True),
                max_steps=round(T1 / dt0) + 2, throw=False,
            )  # fmt: skip
            assert solution.ts is not None
            assert solution.ys is not None
            t, y = solution.ts[-1], solution.ys[-1]
            jumped = jnp.stack([y[0] - neuron.v_reset, jnp.log(0.5) - neuron.alpha])
            return (t, jumped), t

        start = (jnp.asarray(0.0), jnp.stack([jnp.zeros(()), jnp.log(0.5) - neuron.alpha]))
        return jax.lax.scan(spike, start, None, length=SPIKES)[1]

    return jax.vmap(one)(noise)
