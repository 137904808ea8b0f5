"""EventProp on Yin-Yang, trained delays, and a silent neuron that learns to fire by pseudospikes.

At the settings of `roughsnn run eventprop-and-delays`. Judged is that the gradients of the cell
engine and of the stochastic adjoint of the event engine, without noise, are those of EventProp as
it is published, written apart; that training by them reaches 95 % on Yin-Yang, and with delays
more than without; that the spike time of a quadratic neuron is that of the closed form and goes on
through the end of the trial without a jump of its value or its slope; that the gradient with
pseudospikes is that of central differences; and that every silent neuron learns to fire twice, at
its targets, with pseudospikes, and none without. The study `yin-yang` judges longer training.
"""

from pathlib import Path

import numpy as np

from ..eventprop_and_delays.eventprop_and_delays import Settings, run
from ..eventprop_and_delays.reporting import (
    NETWORKS,
    accuracies,
    misses,
    of_kind,
    report,
)
from ._outcomes import outcomes
from ._study import Study


def study(folder: Path | None = None, quick: bool = False, progress: bool = False) -> Study:
    """Compare and train, or judge only.

    Args:
        folder: judge the run that is in this folder instead of a new one.
        quick: a small size, on which the bounds need not hold.
        progress: whether to show progress.
    """
    settings, results = outcomes(run, Settings, folder, quick=quick, progress=progress)
    gradients, curve = results["gradients"], results["curve"]
    figures = {
        "cell_engine_from_eventprop": gradients["cell engine"],
        "event_engine_from_eventprop": gradients["stochastic adjoint"],
    }
    bounds = {"cell_engine_from_eventprop": "<= 1e-8", "event_engine_from_eventprop": "<= 1e-8"}
    for kind in NETWORKS:
        name = "accuracy_" + kind.replace(" ", "_")
        found = accuracies(settings, results, kind)
        figures[name] = float(np.mean(found))
        figures[f"lowest_{name}"] = min(found)
    figures["delays_gain"] = figures["accuracy_weights_and_delays"]
    figures["delays_gain"] -= figures["accuracy_weights_of_few"]
    bounds |= {"accuracy_weights": ">= 95", "delays_gain": "> 0"}
    figures |= {
        "spike_time_from_closed_form": curve["from_closed_form"],
        "jump_of_time_at_the_end": curve["gap"],
        "jump_of_slope_at_the_end": curve["gap_of_slopes"],
        "pseudospikes_from_differences": max(x["apart"] for x in results["differences"].values()),
        "farthest_with_pseudospikes": max(misses(settings, results, "pseudospikes")),
        "nearest_without": min(misses(settings, results, "ordinary spikes")),
        "fewest_spikes_with_pseudospikes": min(
            one["spikes"] for one in of_kind(settings, results, "pseudospikes")
        ),
        "most_spikes_without": max(
            one["spikes"] for one in of_kind(settings, results, "ordinary spikes")
        ),
    }
    bounds |= {
        "spike_time_from_closed_form": "<= 1e-6", "jump_of_time_at_the_end": "<= 1e-6",
        "jump_of_slope_at_the_end": "<= 1e-3", "pseudospikes_from_differences": "<= 1e-6",
        "farthest_with_pseudospikes": "<= 0.05", "fewest_spikes_with_pseudospikes": ">= 2",
        "most_spikes_without": "<= 0",
    }  # fmt: skip
    return Study({k: float(v) for k, v in figures.items()}, bounds, report(settings, results))
