"""The tables of a run, beside what the source's code gives."""

from typing import Any

import numpy as np

from . import measuring

REFERENCE = {
    "metropolis naive A": {
        "mean": 0.158, "variance": 0.235, "covariance": 0.138, "covariance_error": 39.6,
        "early_mean": -0.15, "rate_hz": 8,
    },
    "metropolis natural A": {
        "mean": 0.974, "variance": 0.974, "covariance": 0.729, "covariance_error": 0.050,
        "early_mean": 1.05, "rate_hz": 178,
    },
    "metropolis naive A/sqrt p": {
        "mean": 0.769, "variance": 0.758, "covariance": 0.510, "covariance_error": 5.8,
        "early_mean": 1.00, "rate_hz": 358,
    },
    "metropolis natural A/sqrt p": {
        "mean": 0.992, "variance": 0.964, "covariance": 0.719, "covariance_error": 0.108,
        "early_mean": 0.97, "rate_hz": 625,
    },
    "balanced naive one a step": {"mean": 5.05, "variance": 6.1, "early_mean": 3.07},
    "balanced natural one a step": {"mean": 6.00, "variance": 4.2, "early_mean": 5.85},
}  # fmt: skip
"""What an independent implementation of the equations in the authors' code gave, one network each:
the paper has no tables of these figures."""

_COLUMNS = (
    ("mean", "mean"), ("variance", "variance"), ("covariance", "covariance of two"),
    ("covariance_error", "covariance error"), ("wasserstein", "Wasserstein"),
    ("early_mean", "mean, first 50 ms"), ("early_wasserstein", "Wasserstein, first 50 ms"),
    ("rate_hz", "rate, Hz"),
)  # fmt: skip


def report(settings, results: dict[str, Any]) -> str:
    """The tables in Markdown: measured, with the standard deviation of one network, and in brackets
    what the reference implementation gave."""
    lines = ["## Tables", "", "| network | " + " | ".join(title for _, title in _COLUMNS) + " |"]
    lines.append("|---" * (len(_COLUMNS) + 1) + "|")
    for name, row in results.items():
        if not isinstance(row, dict) or "early_mean" not in row:
            continue
        cells = []
        for column, _ in _COLUMNS:
            mean, sd = row[column]
            given = REFERENCE.get(name, {}).get(column)
            cells.append(f"{mean:.3g} ± {sd:.2g}" + ("" if given is None else f" ({given})"))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "## Time to a new mean, ms", ""]
    for network in measuring.SWEPT:
        for geometry in measuring.GEOMETRIES:
            for kind, values in sweep_axes(settings).items():
                times = sweep_times(settings, results, network, geometry, kind)
                if times is not None:
                    slope = sweep_slope(settings, results, network, geometry, kind)
                    shown = ", ".join(
                        f"{v}: {t:.3g}" if t > 0 else f"{v}: over 200"
                        for v, t in zip(values, times, strict=True)
                    )
                    lines.append(f"- {network}, {geometry}, {kind} = {shown}; slope {slope:.3f}")
    law, found = results["continuous"], results["posterior"]
    lines += [
        "",
        "## Continuous time",
        "",
        f"{law['trials']} trials, {law['spikes_per_tau']:.0f} spikes in a Langevin time constant. "
        f"Variance of the readout's error: {law['readout_error_variance']:.4f} of "
        f"{law['variance']:.3f}.",
        "Largest deviation from the target at the end, in standard errors: of means "
        f"{law['worst_mean']:.2f}, of variances and covariances {law['worst_covariance']:.2f}.",
        "",
        "| time since onset | mean | law | variance | law | worst mean | worst covariance |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in law["rows"]:
        exact = 6 * (1 - np.exp(-row["time"]))
        lines.append(
            f"| {row['time']} | {row['estimates_mean']:.3f} | {exact:.3f} | "
            f"{row['estimates_variance']:.3f} | {law['variance']:.3f} | "
            f"{row['estimates_worst_mean']:.2f} | {row['estimates_worst_covariance']:.2f} |"
        )
    lines += [
        "",
        f"Posterior of {len(found['mean'])} causes, {found['trials']} trials: largest deviation of "
        f"means {found['worst_mean']:.2f}, of variances and covariances "
        f"{found['worst_covariance']:.2f} standard errors.",
    ]
    return "\n".join(lines)


def sweep_axes(settings) -> dict[str, tuple]:
    """What is swept over."""
    return {"p": settings.sweep_dims, "rho": settings.sweep_correlations}


def sweep_times(settings, results, network: str, geometry: str, kind: str) -> list[float] | None:
    """Times to a new mean along a sweep, -1 for over 200 ms; `None` where there is no sweep."""
    values = sweep_axes(settings)[kind]
    names = [f"sweep {network} {geometry} {kind}={v}" for v in values]
    return [results[name] for name in names] if names[0] in results else None


def sweep_slope(settings, results, network: str, geometry: str, kind: str) -> float:
    """The slope of the logarithm of the time over log p, or over -log(1 - rho): 0 where the time
    does not grow. Points where it is over 200 ms count as 200 ms."""
    values = np.asarray(sweep_axes(settings)[kind], float)
    times = np.asarray(sweep_times(settings, results, network, geometry, kind))
    if len(values) < 2:
        return float("nan")
    x = np.log(values) if kind == "p" else -np.log1p(-values)
    return float(np.polyfit(x, np.log(np.where(times > 0, times, 200.0)), 1)[0])
