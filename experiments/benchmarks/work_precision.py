"""Error of the third spike time against wall time, beside plain diffrax restarted at each event.

One stochastic LIF neuron (sigma = 0.5, c = 1.5) on frozen noise paths, float64. The paths are
piecewise linear on a fine grid, so that every method sees the same path whatever its step. Plain
diffrax is `diffeqsolve` with Euler's method and an `Event`, whose state at the event is that of
the linear interpolation of the step, restarted at each spike. Ours is `eventsolve` by Euler's
method, by SRA1 and by ShARK, which use the space-time Levy areas of the path, with steps that are
fractions of the window, and without derivatives (`NoGradient`); SRA1 is shown with the default
engine as well.

What is judged is the time of our best method at the error that plain diffrax has at dt0 = 1e-3:
that of the fastest of our runs with no larger an error, without interpolation between steps. All
run by turns on the same batch, without compilation. Plain diffrax looks its increments up in the
path, and the finer the path the longer that takes; so it is also run on the path coarsened to its
own step, which is not judged.
"""

from pathlib import Path

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

# 2^8 3^2 5 cells, so that many steps can be had; twelve to a step of plain diffrax at 1e-3
T1, FINE, SPIKES, SIGMA, C = 0.96, 11520, 3, 0.5, 1.5
PLAIN, COARSE_PLAIN = 1e-3, (1e-2, 3e-3)
# what plain diffrax looks increments up in, if it is to be as small as can be
COARSE_PATH = 960
CELLS = {
    "Euler": (30, 60, 120, 240, 480, 960),
    "SRA1": (30, 40, 45, 48, 60, 72, 120, 240),
    "ShARK": (30, 40, 45, 48, 60, 72, 120, 240),
    "SRA1, with derivatives": (30, 60, 120),
}
SAMPLING = {
    "Euler": (dfx.Euler(), rs.NoGradient()),
    "SRA1": (dfx.SRA1(), rs.NoGradient()),
    "ShARK": (dfx.ShARK(), rs.NoGradient()),
}
METHODS = SAMPLING | {"SRA1, with derivatives": (dfx.SRA1(), rs.ReverseMode())}


class HalfMarks(rs.StochasticLIF):
    """Every mark is 1/2, so that a path alone decides the spikes."""

    def mark(self, key):
        return jnp.asarray(0.5)


def study(
    paths: int = 64, repeats: int = 10, output: Path | None = Path("runs/work-precision")
) -> Study:
    """Run the comparison.

    Args:
        paths: frozen noise paths, one batch.
        repeats: rounds of timing.
        output: where the picture goes; none is drawn without it.
    """
    with jax.enable_x64(True):
        noise = jr.normal(jr.key(0), (paths, FINE, 1)) * jnp.sqrt(T1 / FINE)
        fine = eqx.filter_vmap(
            lambda w: rs.BrownianGrid(0.0, T1, T1 / FINE, increments=w, areas=jnp.zeros_like(w))
        )(noise)
        exact = np.asarray(jax.jit(lambda path: _ours(path, *METHODS["SRA1"]))(fine))
        candidates = {("plain diffrax", h): (_plain, (noise, h)) for h in (PLAIN, *COARSE_PLAIN)}
        coarse = noise.reshape(paths, COARSE_PATH, -1, 1).sum(2)
        candidates["plain diffrax, coarse path", PLAIN] = (_plain, (coarse, PLAIN))
        for name, method in METHODS.items():
            for cells in CELLS[name]:
                path = eqx.filter_vmap(lambda p, m=FINE // cells: p.coarsen(m))(fine)
                if name == "Euler":
                    path = eqx.tree_at(lambda p: p.areas, path, None)
                candidates[name, T1 / cells] = (_ours, (path, *method))
        measured = compare(candidates, repeats)
        errors = {
            name: float(np.median(np.abs(eqx.filter_jit(fn)(*args) - exact)[:, -1]))
            for name, (fn, args) in candidates.items()
        }
    plain = ("plain diffrax", PLAIN)
    rows, figures = [], {}
    for (method, dt0), m in measured.items():
        ratio = paired_ratio(measured[plain], m)
        rows.append(
            [f"{method}, dt0 = {dt0:.4g}", errors[method, dt0], 1e3 * m.wall_seconds, ratio]
        )
    coarse_plain = ("plain diffrax, coarse path", PLAIN)
    for name, other, ours in (
        ("", plain, SAMPLING),
        ("_coarse_path", coarse_plain, SAMPLING),
        ("_with_derivatives", plain, set(METHODS) - set(SAMPLING)),
    ):
        as_good = [k for k in errors if k[0] in ours and errors[k] <= errors[other]]
        ratios = [paired_ratio(measured[other], measured[k]) for k in as_good]
        figures[f"speed_up_at_plain_error{name}"] = max(ratios, default=0.0)
    figures["plain_error"], figures["plain_error_coarse_path"] = errors[plain], errors[coarse_plain]
    header = ["method", "median error of tau_3", "wall ms", "times faster than plain at 1e-3"]
    table = format_table(header, rows)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        file = output / "work-precision.png"
        draw(measured, errors).savefig(file, dpi=200)
        table += f"\n\npicture: {file}"
    return Study(figures, {"speed_up_at_plain_error": ">= 20"}, table)


def draw(measured, errors):
    """Error against wall time, a line for each method."""
    from roughsnn.plotting.style import colour, new_axes, tidy

    ax = new_axes(None, 2.8)
    for i, method in enumerate(dict.fromkeys(name for name, _ in measured)):
        at = sorted((m.wall_seconds, errors[k]) for k, m in measured.items() if k[0] == method)
        seconds, error = zip(*at, strict=True)
        ax.loglog(np.multiply(1e3, seconds), error, ".-", color=colour(i), lw=1, label=method)
    tidy(ax, "wall time of a batch, ms", r"median error of $\tau_3$")
    ax.legend(fontsize=7, frameon=False)
    return ax.figure


def _ours(path, solver, adjoint):
    neuron = HalfMarks(1, mu2=0.0, sigma=SIGMA)
    y0 = rs.LIFState(jnp.zeros(1), jnp.zeros(1), jnp.log(jnp.full(1, 0.5)) - neuron.alpha)

    def one(path):
        return rs.eventsolve(
            neuron, 0.0, T1, path.grid.dt0, y0, key=jr.key(0), max_events=SPIKES,
            stop_after=SPIKES, args=jnp.asarray(C), driver=path, solver=solver, adjoint=adjoint,
            throw=False,
        ).event_times  # fmt: skip

    return eqx.filter_vmap(one)(path)


def _plain(noise, dt0):
    """The same neuron as a user of diffrax would write it."""
    neuron = HalfMarks(1, mu2=0.0, sigma=SIGMA)
    grid = jnp.linspace(0.0, T1, noise.shape[1] + 1)

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
