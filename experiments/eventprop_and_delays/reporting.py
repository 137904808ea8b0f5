"""The table of a run, beside the published values."""

from typing import Any

import numpy as np

NETWORKS = ("weights", "weights and delays", "weights of few")
NEURONS = ("pseudospikes", "ordinary spikes")
KINDS = (*NEURONS, *NETWORKS)
PUBLISHED = {"weights": 97.4, "weights and delays": 98.2, "weights of few": 96.7}
"""Test accuracies in per cent: EventProp after 20 epochs, with 200 hidden neurons; DelGrad after
300, with 30."""
TARGETS = (2.5, 7.5)


def named_parts(settings: Any) -> list[tuple[str, str, int]]:
    """Name, kind and seed of everything that is trained. Without pseudospikes there is one neuron:
    a silent one has no gradient, whatever its inputs."""
    seeds = range(settings.seed, settings.seed + settings.seeds)
    return [
        (f"{kind} {seed}", kind, seed)
        for kind in KINDS
        for seed in (seeds[:1] if kind == "ordinary spikes" else seeds)
    ]


def of_kind(settings: Any, results: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """What was found for each seed."""
    return [results[name] for name, one, _ in named_parts(settings) if one == kind]


def accuracies(settings: Any, results: dict[str, Any], kind: str) -> list[float]:
    """Test accuracies after training, in per cent."""
    return [one["accuracies"][-1] for one in of_kind(settings, results, kind)]


def misses(settings: Any, results: dict[str, Any], kind: str) -> list[float]:
    """By how much the worse of both spikes of each neuron misses its target after training; the
    length of the way to a spike that does not exist is that to its pseudospike or to the end."""
    found = [one["ends"] for one in of_kind(settings, results, kind)]
    return [float(np.max(np.abs(np.subtract(ends, TARGETS)))) for ends in found]


def _words(values: list[float], digits: int) -> str:
    mean = f"{np.mean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {np.std(values, ddof=1) / len(values) ** 0.5:.{digits}f}"


def report(settings: Any, results: dict[str, Any]) -> str:
    """What was measured, in Markdown."""
    s, gradients, curve = settings, results["gradients"], results["curve"]
    rows = [
        (f"gradient beside EventProp as published, cell engine ({gradients['spikes']} spikes)",
         f"{gradients['cell engine']:.1e}", "0"),
        ("the same, stochastic adjoint of the event engine",
         f"{gradients['stochastic adjoint']:.1e}", "0"),
        ("spike times of both engines, apart", f"{gradients['times']:.1e}", "0"),
    ]  # fmt: skip
    named = {
        "weights": f"5-{s.hidden}-3, weights, {s.epochs} epochs",
        "weights and delays": f"4-{s.few_hidden}-3, weights and delays, {s.few_epochs} epochs",
        "weights of few": f"4-{s.few_hidden}-3, weights, {s.few_epochs} epochs",
    }
    for kind in NETWORKS:
        found = accuracies(s, results, kind)
        rows.append((f"Yin-Yang, {named[kind]}", f"{_words(found, 1)} %", f"{PUBLISHED[kind]} %"))
    rows += [
        ("spike time of one quadratic neuron, off the closed form",
         f"{curve['from_closed_form']:.1e}", "0"),
        ("jump of its spike time where the spike leaves the trial", f"{curve['gap']:.1e}", "0"),
        ("relative jump of the slope there", f"{curve['gap_of_slopes']:.1e}", "0"),
    ]  # fmt: skip
    for name, one in results["differences"].items():
        named_neuron = f"{name} neuron, {one['spikes']} spikes in the trial"
        rows.append(
            (f"gradient with pseudospikes beside differences, {named_neuron}",
             f"{one['apart']:.1e}", "0")
        )  # fmt: skip
    for kind in NEURONS:
        found, spikes = misses(s, results, kind), of_kind(s, results, kind)
        rows.append(
            (f"{kind}: largest distance from a target after training, each neuron",
             ", ".join(f"{miss:.2g}" for miss in found), "0" if kind == NEURONS[0] else "")
        )  # fmt: skip
        rows.append(
            (f"{kind}: spikes of each neuron, silent before",
             ", ".join(str(one["spikes"]) for one in spikes), "2" if kind == NEURONS[0] else "")
        )  # fmt: skip
    lines = [f"| {a} | {b} | {c} |" for a, b, c in rows]
    return "\n".join(["| figure | measured | reference |", "|---|---|---|", *lines]) + "\n"
