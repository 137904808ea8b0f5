"""Perturbed conductances: the gradient beside differences, a time course, XOR, the variance.

After Fiete & Seung (2006), at the settings of `roughsnn run conductance-perturbation`. The gradient
of one neuron is that of the loss averaged over the perturbation, by central differences with the
same random numbers; judged are the excitatory weights. Rewards and accuracies are means over
networks.
"""

from pathlib import Path

import numpy as np

from ..fiete_seung_2006.conductance_perturbation import Settings, run
from ..fiete_seung_2006.reporting import (
    report,
    rewards_at_ends,
    scatter_of,
    seeds_of_xor,
)
from ._outcomes import outcomes
from ._study import Study


def study(folder: Path | None = None, quick: bool = False, progress: bool = False) -> Study:
    """Measure, or judge only.

    Args:
        folder: judge the run that is in this folder instead of a new one.
        quick: a small size, on which the bounds need not hold.
        progress: whether to show progress.
    """
    settings, results = outcomes(run, Settings, folder, quick=quick, progress=progress)
    figures, bounds = {}, {}
    for name in ("white", "empiric"):
        one = results[f"gradient {name}"]
        for part in ("excitatory", "all"):
            figures[f"{name}_cosine_{part}"] = one[f"cosine {part}"]
            figures[f"{name}_ratio_{part}"] = one[f"ratio {part}"]
    bounds |= {"white_cosine_excitatory": ">= 0.99",
               "white_ratio_excitatory": "between 0.95 and 1.05"}  # fmt: skip
    first, last = rewards_at_ends(settings, results)
    figures |= {"reward_at_first": np.mean(first), "reward_at_last": np.mean(last)}
    figures |= {"least_reward_at_last": np.min(last), "largest_reward_at_last": np.max(last)}
    figures["reward_at_last_standard_error"] = _standard_error(last)
    bounds["reward_at_last"] = ">= -0.8"
    tests = [results[f"XOR {seed}"]["accuracy after"] for seed in seeds_of_xor(settings)]
    figures["xor_accuracy"] = 100 * np.mean(tests)
    figures["xor_accuracy_standard_error"] = 100 * _standard_error(tests)
    bounds["xor_accuracy"] = ">= 95"
    calm = [results[f"XOR {seed}"]["accuracy after unperturbed"] for seed in seeds_of_xor(settings)]
    figures["xor_accuracy_unperturbed"] = 100 * np.mean(calm)
    for kind in ("conductances", "currents"):
        for size, rules in scatter_of(settings, results, kind).items():
            for rule, one in rules.items():
                name = rule.removeprefix(f"{kind}, ").replace(", ", "_")
                figures[f"variance_{kind}_{size}_{name}"] = one["variance"]
    return Study({k: float(v) for k, v in figures.items()}, bounds, report(settings, results))


def _standard_error(values: list[float]) -> float:
    """Of a mean over networks; not a number for one network."""
    return float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else np.nan
