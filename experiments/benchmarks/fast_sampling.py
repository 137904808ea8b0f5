"""Sampling by spikes: two networks in two geometries, their speed, and the law in continuous time.

Figures of the source are those of an independent implementation of the equations in its code, one
network for each row; they are compared in standard deviations of one network here.
"""

import dataclasses
from pathlib import Path

import numpy as np

from ..masset_2022.fast_sampling import Settings, run
from ..masset_2022.measuring import BALANCED_MEAN, GEOMETRIES, SWEPT
from ..masset_2022.reporting import REFERENCE, report, sweep_slope, sweep_times
from ._outcomes import outcomes
from ._sampling_loop import VARIATIONS, Protocol, early_means
from ._study import Study, format_table

_LOOPS = 100
"""Networks of the loop written apart at the source's protocol; a fifth of them at others."""


def study(folder: Path | None = None, quick: bool = False, progress: bool = False) -> Study:
    """Measure, or judge only.

    Args:
        folder: judge the run that is in this folder instead of a new one.
        quick: a small size, on which the bounds need not hold.
        progress: whether to show progress.
    """
    settings, results = outcomes(run, Settings, folder, quick=quick, progress=progress)
    figures, bounds = {}, {}
    for network, columns in (
        ("metropolis", ("mean", "variance", "covariance")),
        ("balanced", ("mean", "early_mean")),
    ):
        away = [
            abs(results[name][column][0] - value) / results[name][column][1]
            for name, row in REFERENCE.items()
            for column, value in row.items()
            if name.startswith(network) and column in columns
        ]
        figures[f"{network}_moments_away_from_reference_sds"] = max(away)
        bounds[f"{network}_moments_away_from_reference_sds"] = "<= 3"
    for scale, suffix in (("A", ""), ("A/sqrt p", "_scaled")):
        natural, naive = (results[f"metropolis {g} {scale}"] for g in ("natural", "naive"))
        figures[f"metropolis_natural_mean{suffix}"] = natural["mean"][0]
        figures[f"metropolis_natural_variance{suffix}"] = natural["variance"][0]
        figures[f"metropolis_natural_covariance_error{suffix}"] = natural["covariance_error"][0]
        figures[f"metropolis_naive_over_natural_error{suffix}"] = (
            naive["covariance_error"][0] / natural["covariance_error"][0]
        )
        bounds[f"metropolis_natural_mean{suffix}"] = "between 0.93 and 1.03"
        bounds[f"metropolis_natural_variance{suffix}"] = "between 0.93 and 1.03"
        bounds[f"metropolis_natural_covariance_error{suffix}"] = "<= 0.2"
        bounds[f"metropolis_naive_over_natural_error{suffix}"] = ">= 20"
    early = {
        geometry: np.asarray(results[f"balanced {geometry} one a step"]["early_means"])
        / BALANCED_MEAN
        for geometry in GEOMETRIES
    }
    errors = {geometry: x.std(ddof=1) / x.size**0.5 for geometry, x in early.items()}
    for geometry, x in early.items():
        figures[f"balanced_{geometry}_early_mean_of_target"] = x.mean()
        figures[f"balanced_{geometry}_early_mean_standard_error"] = errors[geometry]
        figures[f"balanced_{geometry}_share_of_networks_below_060"] = np.mean(x < 0.6)
    bounds["balanced_natural_early_mean_of_target"] = "between 0.95 and 1.05"
    # (one network of the reference had 51 %; the mean of many does not keep this bound)
    bounds["balanced_naive_early_mean_of_target"] = "<= 0.6"
    figures["balanced_natural_over_naive_early_mean_ses"] = (
        early["natural"].mean() - early["naive"].mean()
    ) / float(np.hypot(errors["natural"], errors["naive"]))
    bounds["balanced_natural_over_naive_early_mean_ses"] = ">= 5"
    protocol = Protocol(
        settings.balanced_dim, settings.neurons_per_dim, settings.balanced_correlation,
        dt=settings.balanced_dt0, onset=settings.onset, mean=BALANCED_MEAN,
    )  # fmt: skip
    loops, found = _loops(protocol, min(_LOOPS, 2 * settings.repeats))
    figures |= found
    for geometry, x in early.items():
        apart = found[f"loop_{geometry}_early_mean_of_target"] - x.mean()
        error = float(
            np.hypot(found[f"loop_{geometry}_early_mean_standard_error"], errors[geometry])
        )
        figures[f"loop_{geometry}_early_mean_away_ses"] = abs(apart) / error
        bounds[f"loop_{geometry}_early_mean_away_ses"] = "<= 3"
    for network in SWEPT:
        for geometry in GEOMETRIES:
            for kind in ("p", "rho"):
                times = sweep_times(settings, results, network, geometry, kind)
                if times is None:
                    continue
                name = f"{network} {geometry}".replace(" ", "_")
                slope = sweep_slope(settings, results, network, geometry, kind)
                figures[f"{name}_slope_over_{kind}"] = slope
                if (network, geometry) == ("balanced all due", "natural"):
                    bounds[f"{name}_slope_over_{kind}"] = "<= 0.1"
    law, posterior = results["continuous"], results["posterior"]
    figures |= {
        "continuous_worst_mean_ses": law["worst_mean"],
        "continuous_worst_covariance_ses": law["worst_covariance"],
        "since_onset_worst_ses": max(
            row[f"estimates_worst_{kind}"] for row in law["rows"] for kind in ("mean", "covariance")
        ),
        "posterior_worst_mean_ses": posterior["worst_mean"],
        "posterior_worst_covariance_ses": posterior["worst_covariance"],
    }
    bounds |= {
        "continuous_worst_mean_ses": "<= 3",
        "continuous_worst_covariance_ses": "<= 3",
        # the largest of 140 deviations of a normal law is above 4 once in 110 cases
        "since_onset_worst_ses": "<= 4",
        "posterior_worst_mean_ses": "<= 3",
        "posterior_worst_covariance_ses": "<= 3",
    }
    figures = {name: float(np.asarray(value)) for name, value in figures.items()}
    return Study(figures, bounds, f"{report(settings, results)}\n\n{loops}")


def _loops(protocol: Protocol, networks: int) -> tuple[str, dict[str, float]]:
    """The first 50 ms by a loop in NumPy that was written apart, at the source's protocol and at
    other readings of it: a table, and figures of the first row."""
    rows, figures = [], {}
    for row, (name, changes) in enumerate(VARIATIONS.items()):
        read = dataclasses.replace(protocol, **changes)
        cells = []
        for geometry in GEOMETRIES:
            x = early_means(read, geometry, networks if row == 0 else max(networks // 5, 2))
            error = x.std(ddof=1) / x.size**0.5
            cells += [f"{x.mean():.3f} +- {error:.3f}", f"{x.std(ddof=1):.3f}"]
            if row == 0:
                figures[f"loop_{geometry}_early_mean_of_target"] = x.mean()
                figures[f"loop_{geometry}_early_mean_standard_error"] = error
        rows.append([name, *cells])
    header = ["mean of the first 50 ms over the target", *(f"{g}{k}" for g in GEOMETRIES
              for k in (", mean", ", SD of one"))]  # fmt: skip
    title = f"## A loop written apart, {networks} networks (other rows a fifth)"
    return f"{title}\n\n{format_table(header, rows)}", figures
