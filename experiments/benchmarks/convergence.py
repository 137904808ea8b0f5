"""Strong error of spike times and of their derivatives against the step, for each solver.

One stochastic LIF neuron (sigma = 0.5, c = 1.5), float64, three spikes; each sample is one frozen
Brownian path, drawn on a fine grid with its space-time Levy areas. Every solver steps over the
same paths in cells of several lengths and meets the path itself inside a cell, where events are
(`RefinedBrownianGrid`). The reference is SRA1 on the fine grid, sixteen times finer than the
finest step; how far ShARK is from it there is printed too. Derivatives are by the input current c,
by sigma and by v_reset.

Errors are absolute values, with the median over paths; slopes are least squares of log error
against log dt0, the least over the spikes that are judged. The means are printed beside. For
additive noise the theory says: order 1 for Euler, Heun, midpoint and SEA, 1.5 for SRA1 and ShARK.
A derivative contains the potential at the event, which is as rough as the noise: times of order p
can have derivatives of order p / 2 at most, and these also need the path inside the cell. On the
parabola of each cell, which is all that a coarse `BrownianGrid` knows, derivatives by SRA1 fall
more slowly: the last line.
"""

from pathlib import Path

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs
from roughsnn.drivers import RefinedBrownianGrid

from ._study import Study, format_table

T1, SPIKES = 1.25, 3
# input current, noise, reset
PARAMETERS = {"c": 1.5, "sigma": 0.5, "v_reset": 1.4}
# least slopes asked for: of times, of derivatives
SOLVERS = {
    "Euler": (dfx.Euler(), 0.9, 0.45),
    "Heun": (dfx.Heun(), 0.9, 0.45),
    "Midpoint": (dfx.Midpoint(), 0.9, 0.45),
    "SEA": (dfx.SEA(), 0.9, 0.45),
    "SRA1": (dfx.SRA1(), 1.4, 0.9),
    "ShARK": (dfx.ShARK(), 1.4, 0.9),
}
# median errors of the third spike time that a scheme of order 1.5 with partial steps, written by
# hand for this neuron, and Euler's method had at dt0 = 5 / 2048
BY_HAND = {"SRA1": 1.6e-4, "Euler": 3.5e-3}
PARABOLA = "SRA1, parabola"


class HalfMarks(rs.StochasticLIF):
    """Every mark is 1/2, so that a path alone decides the spikes."""

    def mark(self, key):
        return jnp.asarray(0.5)


def study(
    paths: int = 256,
    coarsest: int = 32,
    finest: int = 1024,
    seed: int = 0,
    output: Path | None = Path("runs/convergence"),
) -> Study:
    """Measure errors and fit slopes.

    Args:
        paths: frozen Brownian paths.
        coarsest: cells of the coarsest grid of the window [0, 1.25]; it is halved from there on.
        finest: cells of the finest; the reference has 16 times as many.
        seed: of the paths.
        output: where the picture goes; none is drawn without it.
    """
    levels = [coarsest]
    while levels[-1] < finest:
        levels.append(2 * levels[-1])
    with jax.enable_x64(True):
        fine = _paths(paths, 16 * finest, seed)
        exact = _solve(fine, dfx.SRA1(), 1)
        other = _solve(fine, dfx.ShARK(), 1)
        outcomes = {
            name: _errors(fine, solver, levels, exact, True)
            for name, (solver, _, _) in SOLVERS.items()
        }
        outcomes[PARABOLA] = _errors(fine, dfx.SRA1(), levels, exact, False)
    unsure = [np.median(np.abs(a - b), axis=0) for a, b in zip(other, exact, strict=True)]
    dt0s = T1 / np.array(levels)
    figures, bounds = {}, {}
    figures["reference_unsure_tau_3"] = float(unsure[0][-1])
    figures["reference_unsure_dtau_3_dc"] = float(unsure[1][-1, 0])
    for name, (_, of_times, of_derivatives) in SOLVERS.items():
        median = outcomes[name][0]
        for what, least in (("times", of_times), ("derivatives", of_derivatives)):
            figures[f"{name}_{what}_slope"] = float(np.min(_slopes(dt0s, median[what])))
            bounds[f"{name}_{what}_slope"] = f">= {least}"
        ratios = median["derivatives"][:-1] / median["derivatives"][1:]
        figures[f"{name}_derivatives_least_fall"] = float(np.nanmin(ratios))
        bounds[f"{name}_derivatives_least_fall"] = "> 1"
    tables = [_slope_table(dt0s, outcomes), _error_table(dt0s, outcomes)]
    at = 5 / 2048
    if np.isclose(dt0s, at).any():
        j = int(np.argmin(np.abs(dt0s - at)))
        for name, theirs in BY_HAND.items():
            figure = f"{name}_tau_3_error_at_dt0_{at:.4g}"
            figures[figure] = float(outcomes[name][0]["times"][j, -1])
            if name == "SRA1":
                bounds[figure] = f"<= {theirs}"
            tables.append(
                f"{name} at dt0 = {at:.4g}: median error of tau_3 {figures[figure]:.3g}, "
                f"by hand {theirs:.3g}"
            )
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        file = output / "convergence.png"
        draw(dt0s, outcomes).savefig(file, dpi=200)
        tables.append(f"picture: {file}")
    return Study(figures, bounds, "\n\n".join(tables))


def _paths(paths, cells, seed):
    def one(key):
        return rs.BrownianGrid(
            0.0, T1, T1 / cells, (1,), key, levy_area=dfx.SpaceTimeLevyArea
        )  # fmt: skip

    return eqx.filter_vmap(one)(jr.split(jr.key(seed), paths))


@eqx.filter_jit
def _times_and_derivatives(fine, solver, factor, refined):
    def times(parameters, path):
        neuron = HalfMarks(1, mu2=0.0, sigma=parameters["sigma"], v_reset=parameters["v_reset"])
        y0 = rs.LIFState(jnp.zeros(1), jnp.zeros(1), jnp.log(jnp.full(1, 0.5)) - neuron.alpha)
        driver = RefinedBrownianGrid(path, factor) if refined else path.coarsen(factor)
        return rs.eventsolve(
            neuron, 0.0, T1, driver.grid.dt0, y0, key=jr.key(0), max_events=SPIKES,
            stop_after=SPIKES, args=parameters["c"], driver=driver, solver=solver, throw=False,
        ).event_times  # fmt: skip

    def both(path):
        at = {k: jnp.asarray(x) for k, x in PARAMETERS.items()}
        derivatives = jax.jacfwd(times)(at, path)
        return times(at, path), jnp.stack([derivatives[k] for k in PARAMETERS], -1)

    return eqx.filter_vmap(both)(fine)


def _solve(fine, solver, factor, refined=True):
    """Spike times (path, spike) and their derivatives (path, spike, parameter)."""
    return [np.asarray(x) for x in _times_and_derivatives(fine, solver, factor, refined)]


def _errors(fine, solver, levels, exact, refined):
    """Median and mean over paths of the errors, by level, spike and parameter."""
    kept = {"times": [], "derivatives": []}
    for cells in levels:
        found = _solve(fine, solver, fine.grid.num_cells // cells, refined)
        for what, a, b in zip(kept, found, exact, strict=True):
            # a path without three spikes in the window says nothing
            known = np.isfinite(found[0]) & np.isfinite(exact[0])
            known = known if a.ndim == 2 else known[..., None]
            kept[what].append(np.where(known, np.abs(a - b), np.nan))
    out = []
    for average in (np.nanmedian, np.nanmean):
        errors = {what: np.stack([average(e, axis=0) for e in kept[what]]) for what in kept}
        # the first spike comes before any reset
        errors["derivatives"][:, 0, list(PARAMETERS).index("v_reset")] = np.nan
        out.append(errors)
    return out


def _slopes(dt0s, errors):
    flat = errors.reshape(len(dt0s), -1)
    flat = flat[:, np.isfinite(flat).all(0)]
    return np.polyfit(np.log(dt0s), np.log(flat), 1)[0]


def _slope_table(dt0s, outcomes):
    rows = []
    for name, averages in outcomes.items():
        row = [name]
        for what in ("times", "derivatives"):
            for errors in averages:
                slopes = _slopes(dt0s, errors[what])
                row.append(f"{slopes.min():.2f} to {slopes.max():.2f}")
        rows.append(row)
    header = ["slopes over spikes (and parameters)", "times, median", "times, mean"]
    header += ["derivatives, median", "derivatives, mean"]
    return format_table(header, rows)


def _error_table(dt0s, outcomes):
    rows = []
    for name, (median, _) in outcomes.items():
        rows.append([name, "tau_3", *median["times"][:, -1].tolist()])
        for k, parameter in enumerate(PARAMETERS):
            errors = median["derivatives"][:, -1, k].tolist()
            rows.append([name, f"d tau_3 / d {parameter}", *errors])
    return format_table(["median error of", "dt0 =", *(f"{h:.4g}" for h in dt0s)], rows)


def draw(dt0s, outcomes):
    """Median errors of the third spike time and of its derivative by c against the step."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter

    from roughsnn.plotting import plot_convergence

    figure, axes = plt.subplots(1, 2, figsize=(6.8, 3.0), layout="constrained")
    panels = [
        (axes[0], lambda median: median["times"][:, -1], (1, 1.5), r"median error of $\tau_3$"),
        (
            axes[1], lambda median: median["derivatives"][:, -1, 0], (0.5, 1),
            r"median error of $d\tau_3/dc$",
        ),
    ]  # fmt: skip
    for ax, errors_of, orders, what in panels:
        for i, (name, (median, _)) in enumerate(outcomes.items()):
            plot_convergence(
                dt0s, errors_of(median), ax, label=name, name=what, fitted=False,
                linestyle="--" if name == PARABOLA else "-",
                orders=orders if i == 0 else (),
            )  # fmt: skip
        ax.set_xlabel("dt0", fontsize=8)
        ax.xaxis.set_minor_formatter(NullFormatter())
    axes[0].legend(fontsize=6, frameon=False)
    axes[1].get_legend().remove()
    return figure
