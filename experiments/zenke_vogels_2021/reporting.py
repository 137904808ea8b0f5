"""The table of a run, beside the published values."""

from typing import Any

import numpy as np

from .conditions import (
    SCALED,
    SHAPES,
    best,
    constant,
    name_of_network,
    of_scale,
    of_shape,
    scale_seeds,
    sparse,
)

PUBLISHED_MANIFOLDS = "96.3"
"""By the authors' example of the same task, with 128 hidden neurons."""
FLAT = 1.0
"""Points that sparse networks may lose on the flat part."""


def accuracies(settings: Any, results: dict[str, Any]) -> dict[str, float]:
    """Test accuracies in per cent: of each shape at what is best for it on the data for validation,
    of the constant, and of each scale and steepness with attached resets the mean."""

    def tested(conditions):
        return results[best(conditions, results).name]["accuracy"]

    found = {shape: tested(of_shape(settings, shape)) for shape in SHAPES}
    found["constant"] = tested(constant(settings))
    for shape in SCALED:
        for beta in settings.scale_betas:
            networks = of_scales(settings, results, shape, beta)
            found[f"{shape} {beta:g}, attached"] = float(np.mean(networks))
    return found


def of_scales(settings: Any, results: dict[str, Any], shape: str, beta: float) -> list[float]:
    """Test accuracies in per cent of the networks of one scale and steepness with attached resets,
    each at the rate that is best for it on the data for validation."""
    found = []
    for seed in scale_seeds(settings):
        tried = [results[name_of_network(o, seed)] for o in of_scale(settings, shape, beta)]
        found.append(max(tried, key=lambda one: one["valid"])["accuracy"])
    return found


def standard_error(values: list[float]) -> float:
    """Of the mean; NaN for one value."""
    return float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")


def sparsity(settings: Any, results: dict[str, Any]) -> list[tuple[float, float]]:
    """Hidden spikes of a sample and test accuracy in per cent, from many spikes to few."""
    found = [results[one.name] for one in sparse(settings)]
    return sorted(((one["spikes"], one["accuracy"]) for one in found), reverse=True)


def flat_until(settings: Any, results: dict[str, Any]) -> float:
    """The fewest hidden spikes of a sample with which, and with all more, accuracy is within a
    point of that without a limit."""
    points = sparsity(settings, results)
    free = results[sparse(settings)[0].name]["accuracy"]
    reached = points[0][0]
    for spikes, accuracy in points:
        if accuracy < free - FLAT:
            break
        reached = spikes
    return reached


def report(settings: Any, results: dict[str, Any]) -> str:
    """What was measured, in Markdown."""
    found, rows = accuracies(settings, results), []
    for shape in SHAPES:
        chosen = best(of_shape(settings, shape), results)
        rows.append(
            (
                f"{shape}, best of all steepnesses and rates (beta {chosen.beta:g}, "
                f"rate {chosen.rate:g})",
                f"{found[shape]:.1f} %",
                f"{PUBLISHED_MANIFOLDS} %" if shape == SHAPES[0] else "",
            )
        )
    rows.append(("constant surrogate, best rate", f"{found['constant']:.1f} %", "lower"))
    for shape, said in zip(SCALED, ("stays", "falls"), strict=True):
        for beta in settings.scale_betas:
            networks = of_scales(settings, results, shape, beta)
            error = f" ± {standard_error(networks):.1f}" if len(networks) > 1 else ""
            value = f"{np.mean(networks):.1f}{error} %"
            rows.append((f"{shape}, beta {beta:g}, attached reset", value, said))
    for one in sparse(settings):
        name = "no limit" if one.high is None else f"at most {one.high:g} spikes of a neuron"
        got = results[one.name]
        rows.append((f"{name}: {got['spikes']:.0f} hidden spikes", f"{got['accuracy']:.1f} %", ""))
    lines = [f"| {a} | {b} | {c} |" for a, b, c in rows]
    return "\n".join(["| figure | measured | reference |", "|---|---|---|", *lines]) + "\n"
