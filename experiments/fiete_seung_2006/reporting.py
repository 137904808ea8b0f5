"""The table of a run."""

from typing import Any

import numpy as np

from .variance import compared, rules

LAST = 50
"""Updates at the end over which rewards are averaged."""
REFERENCE = {"start": -1.74, "end": -0.76, "cosine": 1.0, "ratio": 1.02}
"""Of an implementation written apart, with another network and other inputs."""


def seeds_of(settings) -> range:
    """The seeds of a run."""
    return range(settings.seed, settings.seed + settings.seeds)


def seeds_of_xor(settings) -> range:
    """The seeds of the networks of XOR."""
    return range(settings.seed, settings.seed + settings.xor_networks)


def rewards_at_ends(settings, results: dict[str, Any]) -> tuple[list[float], list[float]]:
    """For each network, the mean reward of the trials of the first and of the last updates."""
    found = [results[f"time course {seed}"]["rewards"] for seed in seeds_of(settings)]
    return [float(np.mean(x[:10])) for x in found], [float(np.mean(x[-LAST:])) for x in found]


def scatter_of(settings, results: dict[str, Any], kind: str) -> dict[int, dict[str, Any]]:
    """By number of neurons, the variance of each rule over the squared gradient."""
    found = {}
    for size in settings.sizes:
        one = {rule: results[f"variance {kind}, {size}, {rule}"] for rule in rules(kind)}
        found[size] = compared(one, settings.variance_trials)
    return found


def _each(values: list[float], digits: int = 2) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)


def report(settings, results: dict[str, Any]) -> str:
    """What was measured, in Markdown."""
    rows = []
    for name in ("white", "empiric"):
        one = results[f"gradient {name}"]
        of = f"gradient by {name} perturbations"
        first = name == "white"
        rows += [
            (f"{of}: cosine to differences, excitatory weights", f"{one['cosine excitatory']:.4f}",
             "1.000" if first else ""),
            (f"{of}: ratio of norms", f"{one['ratio excitatory']:.3f}", "1.02" if first else ""),
            (f"{of}: cosine, all weights", f"{one['cosine all']:.4f}", ""),
            (f"{of}: ratio of norms, all weights", f"{one['ratio all']:.3f}", ""),
        ]  # fmt: skip
    rows.append(("spikes of a trial", f"{results['gradient white']['spikes']:.1f}", "28.8"))
    first, last = rewards_at_ends(settings, results)
    courses = [results[f"time course {seed}"] for seed in seeds_of(settings)]
    tests = [results[f"XOR {seed}"] for seed in seeds_of_xor(settings)]
    rows += [
        ("time course: reward of the first updates", _each(first), f"{REFERENCE['start']}"),
        ("time course: reward of the last updates", _each(last), f"{REFERENCE['end']}"),
        ("time course: reward without perturbation, before",
         _each([x["reward before"] for x in courses]), ""),
        ("time course: reward without perturbation, after",
         _each([x["reward after"] for x in courses]), ""),
        ("XOR: accuracy before, %", _each([100 * x["accuracy before"] for x in tests], 1), ""),
        ("XOR: accuracy after, %", _each([100 * x["accuracy after"] for x in tests], 1), ""),
        ("XOR: accuracy after, without perturbation, %",
         _each([100 * x["accuracy after unperturbed"] for x in tests], 1), ""),
    ]  # fmt: skip
    lines = ["| figure | measured | reference |", "|---|---|---|"]
    lines += [f"| {name} | {value} | {other} |" for name, value, other in rows]
    for kind in ("conductances", "currents"):
        scatter = scatter_of(settings, results, kind)
        lines += ["", f"Variance of a trial over the squared gradient, synapses bring {kind}:", ""]
        lines.append("| rule | " + " | ".join(f"{size} neurons" for size in scatter) + " |")
        lines.append("|---" * (1 + len(scatter)) + "|")
        for rule in rules(kind):
            values = " | ".join(f"{one[rule]['variance']:.3g}" for one in scatter.values())
            lines.append(f"| {rule} | {values} |")
    return "\n".join(lines)
