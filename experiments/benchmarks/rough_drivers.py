"""Rough noise, by name: exact derivatives, and the input current recovered from spikes.

A stochastic LIF neuron is driven by fractional Brownian motion with Hurst parameter 0.3, 0.5 and
0.7, from `simulate`. First, float64: automatic differentiation of every spike time by the input
current and the size of the noise, against central differences along the same paths. Then the
input-current experiment with that noise: the current is recovered from the first three spikes of 64
trials, for eight data sets, and its mean is judged in standard errors.
"""

import tempfile
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs

from ..holberg_salvi_2024.input_current import Settings, run, table
from ..holberg_salvi_2024.published import TRUE_CURRENT
from ._study import Study, format_table

_HURSTS = (0.3, 0.5, 0.7)


def study(
    paths: int = 200, seeds: int = 8, steps: int = 1000, output: Path | None = None,
    progress: bool = False,
) -> Study:  # fmt: skip
    """Run both parts.

    Args:
        paths: paths whose spikes are differentiated, for each Hurst parameter.
        seeds: data sets from which the current is recovered.
        steps: gradient steps of each.
        output: where the run of the experiment is kept; by default it is not.
        progress: whether to show progress bars.
    """
    figures, bounds, rows = {}, {}, []
    with jax.enable_x64(True):
        for hurst in _HURSTS:
            error, spikes, one_sided = _against_differences(hurst, paths)
            rows.append([hurst, spikes, one_sided, error])
            figures[f"difference_error_hurst_{hurst}"] = error
            bounds[f"difference_error_hurst_{hurst}"] = "<= 1e-7"
    header = ["H", "spikes", "on one side", "largest |AD - difference|"]
    tables = [format_table(header, rows)]
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            sigmas=(0.5,), hursts=_HURSTS, sample_sizes=(64,), losses=("signature",), seeds=seeds,
            steps=steps, learning_rate=2e-3, progress=progress,
            output=Path(folder) if output is None else output,
        )  # fmt: skip
        outcomes = run(settings)[0]
    for o in outcomes:
        c = o.final_current
        bias = (c.mean() - TRUE_CURRENT) / (c.std(ddof=1) / np.sqrt(len(c)))
        figures[f"bias_in_standard_errors_hurst_{o.hurst}"] = float(abs(bias))
        bounds[f"bias_in_standard_errors_hurst_{o.hurst}"] = "<= 2.5"
    return Study(figures, bounds, "\n\n".join([*tables, table(outcomes)]))


def _against_differences(hurst: float, paths: int, step: float = 1e-6) -> tuple[float, int, int]:
    """The largest error of the derivative of any spike time along a direction in which current and
    noise move; the number of spikes, and of those compared on one side: the discretised path has
    a kink where an event passes a grid point."""
    model = rs.StochasticLIF(1, mu1=15.0, mu2=0.0, sigma=0.5, v_reset=1.4, alpha=0.03)

    @eqx.filter_jit
    def times(shift):
        moved = eqx.tree_at(lambda m: m.sigma, model, model.sigma + 0.3 * shift)
        trains = rs.simulate(
            moved, 0.0, 2.0, 0.01, key=jr.key(1), num_samples=paths, max_spikes=24,
            input_current=1.5 + shift, noise=rs.FractionalNoise(hurst),
        )  # fmt: skip
        return trains.times

    zero = jnp.zeros(())
    derivative = np.asarray(eqx.filter_jit(jax.jvp)(times, (zero,), (jnp.ones(()),))[1])
    at = {i: np.asarray(times(jnp.asarray(i * step))) for i in range(-3, 4)}
    # spikes that enter or leave at the end of the window have no difference
    there = np.all([np.isfinite(x) for x in at.values()], axis=0)
    at = {i: np.where(there, x, 0.0) for i, x in at.items()}
    # of fourth order: with rough noise third derivatives are of size 10^6
    central = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * step)
    right, left = (
        sign * (18 * at[sign] - 9 * at[2 * sign] + 2 * at[3 * sign] - 11 * at[0]) / (6 * step)
        for sign in (1, -1)
    )
    errors = np.abs(np.stack([central, right, left]) - np.where(there, derivative, 0.0))
    kinked = np.abs(right - left) > 1e-7
    error = np.where(kinked, errors.min(0), errors[0])
    return float(error[there].max()), int(there.sum()), int((kinked & there).sum())
