"""The table of a run, beside the published values."""

from typing import Any

import numpy as np

KINDS = ("deterministic", "stochastic")
LAST = 50
"""Epochs at the end over which distances are averaged."""
REFERENCE_LOOP = {"1": -0.0425, "5": 0.369, "20": 1.824}
"""Of the published network with 20,000 points, by an implementation written apart."""
PUBLISHED_DISTANCES = {"deterministic": 0.10, "stochastic": 0.15}
PUBLISHED_DIFFERENCES = {"deterministic": 20.0, "stochastic": 23.5}
"""Read off the curves of the authors' code; of another picture."""


def at_ends(settings, results: dict[str, Any], kind: str, control: bool = False) -> dict[str, Any]:
    """Of the networks of a kind: the van Rossum distance at the first epoch and over the last ones,
    and the Euclidean distance of the rasters over these; a value for each network."""
    seeds = range(settings.seed, settings.seed + settings.seeds)
    found = [results[f"{kind} {seed}{', control' if control else ''}"] for seed in seeds]
    return {
        "first": [one["distances"][0] for one in found],
        "last": [float(np.mean(one["distances"][-LAST:])) for one in found],
        "differences": [float(np.sqrt(np.mean(one["wrong"][-LAST:]))) for one in found],
    }


def _words(values: list[float], digits: int) -> str:
    """The mean, and the standard error where there are several."""
    mean = f"{np.mean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {np.std(values, ddof=1) / len(values) ** 0.5:.{digits}f}"


def report(settings, results: dict[str, Any]) -> str:
    """What was measured, in Markdown."""
    loops, signs = results["loop"], results["signs"]
    rows = []
    for b, reference in REFERENCE_LOOP.items():
        rows.append((f"loop integral, b' = {b}", f"{loops['surrogate'][b]:.4f}", f"{reference:g}"))
    for b in REFERENCE_LOOP:
        rows.append((f"the same with many points, b' = {b}", f"{loops['fine'][b]:.4f}", ""))
    for b, value in loops["true"].items():
        rows.append((f"loop integral of the gradient, b = {float(b):g}", f"{value:.1e}", "0"))
    for b, share in signs["share"].items():
        rows.append(
            (f"share of the plane with the wrong sign, b = 20, b' = {b}", f"{share:.3f}", "")
        )
    for b, share in signs["line_share"].items():
        rows.append(
            (f"share of the line with the wrong sign, b = 100, b' = {b}", f"{share:.3f}", "")
        )
    for b, lowest in signs["lowest"].items():
        rows.append((f"lowest place of the integral, b' = {b}", f"w = {lowest:.4f}", ""))
    for kind in KINDS:
        ends, control = (at_ends(settings, results, kind, c) for c in (False, True))
        rows += [
            (f"{kind}: van Rossum distance before", _words(ends["first"], 2), "above 1"),
            (f"{kind}: after", _words(ends["last"], 4), f"{PUBLISHED_DISTANCES[kind]:.2f}"),
            (f"{kind}: after, hidden weights fixed", _words(control["last"], 4), ""),
            (f"{kind}: Euclidean distance of the rasters after", _words(ends["differences"], 1),
             f"{PUBLISHED_DIFFERENCES[kind]:g}"),
        ]  # fmt: skip
    lines = ["| figure | measured | reference |", "|---|---|---|"]
    lines += [f"| {name} | {value} | {other} |" for name, value, other in rows]
    return "\n".join(lines)
