"""A population with shared slow currents, beside independent renewal neurons and a coupled GLM.

Trained on the first two thirds in time: each neuron by its exact likelihood given the slow
currents; or, with `--method signatures`, coupled neurons on the cell engine from there on by losses
of signatures of random subsets of neurons and windows. Judged are free-running samples on the last
third by the scorecard of the field: KL of the counts of the population, errors of the correlations
of pairs, of means and standard deviations of intervals, each below that of independent renewal
neurons and of the coupled GLM, and within three times the floor, which is what the training part
itself scores. The recording is not part of the repository.
"""

import dataclasses
import time
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from ..recorded_spike_trains.population.baselines import CoupledGLM, renewal_samples
from ..recorded_spike_trains.population.coupled import generate_coupled
from ..recorded_spike_trains.population.judging import (
    costs,
    costs_of_steps,
    fit_recorded,
    read_population,
    run_away,
    score,
    train_recorded,
)
from ..recorded_spike_trains.population.network import generate
from ..recorded_spike_trains.population.training import BySignatures, Training
from ..recorded_spike_trains.scorecard import scorecard
from ._study import Study, format_table


def study(
    spikes: Path,
    stop: float | None = None,
    bin: float = 0.1,
    samples: int = 20,
    seeds: tuple[int, ...] = (0, 1, 2),
    method: Literal["likelihood", "signatures"] = "likelihood",
    steps: int = Training.steps,
    loss: Literal["expected-signature", "signature-kernel"] = Training.loss,
    couplings: int = Training.couplings,
    hidden: int = Training.hidden,
    figure: Path | None = None,
) -> Study:
    """Fit, generate, judge.

    Args:
        spikes: file of a simultaneous recording.
        stop: when it ended, in the unit of the file.
        bin: in which spikes are counted, in seconds.
        samples: free-running samples of a draw, each as long as the held-out part.
        seeds: of the draws, whose figures are averaged.
        method: which model the bounds are asked of; with signatures that of likelihood, and where
            training started, are judged beside it.
        steps: of gradient descent, by signatures.
        loss: of expected signatures, or of the signature kernel.
        couplings: how many connections lead to each neuron.
        hidden: neurons beside those that were recorded.
        figure: where a picture is written to.
    """
    training = None
    if method == "signatures":
        training = Training(steps=steps, loss=loss, couplings=couplings, hidden=hidden)
    with jax.enable_x64(True):
        return _study(spikes, stop, bin, samples, seeds, training, figure)


def _study(path, stop, bin, samples, seeds, training, picture) -> Study:
    recorded = read_population(path, stop)
    seconds = recorded.seconds - recorded.cut
    began, wall = time.process_time(), time.monotonic()
    fitted = fit_recorded(recorded)
    fit_cpu, fit_wall = time.process_time() - began, time.monotonic() - wall
    print(
        f"{len(recorded.spikes)} neurons fitted in {fit_cpu:.1f} s of the processor; modes forget "
        f"after {np.round(fitted.latents.time_constants, 1)} s, periods "
        f"{np.round(fitted.latents.periods, 1)} s",
        flush=True,
    )
    judged, drawn, trained = "shared currents", {}, None
    if training is not None:
        began, wall = time.process_time(), time.monotonic()
        trained = train_recorded(recorded, training)
        fit_cpu, fit_wall = time.process_time() - began, time.monotonic() - wall
        print(_said_of(trained, fit_cpu), flush=True)
        judged, currents = "by signatures", trained.population.latents
        for name, model in ((judged, trained.trained), ("their start", trained.start)):
            drawn[name] = [
                generate_coupled(model, currents, seconds, samples, seed) for seed in seeds
            ]
    glm = CoupledGLM(recorded.train, recorded.cut)
    drawn |= {
        "shared currents": [generate(fitted, seconds, samples, seed) for seed in seeds],
        "renewal": [
            renewal_samples(recorded.train, recorded.cut, seconds, samples, seed) for seed in seeds
        ],
        "coupled GLM": [glm.samples(seconds, samples, seed) for seed in seeds],
    }
    bins = sorted({bin, bin / 2, 2.5 * bin, 10 * bin})
    rows, cards = [], {}
    for width in bins:
        of_width = {"floor": scorecard(recorded.held_out, recorded.training, width)}
        of_width |= {name: score(recorded, draws, width) for name, draws in drawn.items()}
        rows += [[width, name, *dataclasses.astuple(c)] for name, c in of_width.items()]
        if width == bin:
            cards = {name: dataclasses.asdict(card) for name, card in of_width.items()}
    figures: dict[str, float] = {}
    bounds: dict[str, str] = {}
    for metric in cards["floor"]:
        own = cards[judged][metric]
        figures[metric] = own
        for other, bound in (("renewal", "< 1"), ("coupled GLM", "< 1"), ("floor", "<= 3")):
            name = f"{metric}_over_{other.replace(' ', '_').lower()}"
            figures[name], bounds[name] = own / cards[other][metric], bound
    for name, draws in drawn.items():
        key = f"run_away_{name.replace(' ', '_').lower()}"
        figures[key] = float(np.mean([run_away(d, recorded) for d in draws]))
    bounds[f"run_away_{judged.replace(' ', '_')}"] = "<= 0"
    figures["fit_minutes"], bounds["fit_minutes"] = fit_wall / 60, "<= 30"
    figures["fit_cpu_seconds"] = fit_cpu
    count = len(recorded.spikes)
    sizes = tuple(max(count // k, 2) for k in (8, 4, 2, 1))
    cost = costs(recorded, sizes, seeds[0])
    figures["power_of_number_of_neurons"] = _power(cost)
    table = format_table(
        ["bin (s)", "model", "KL of counts", "RMSE of correlations", "RMSE of mean interval (s)",
         "RMSE of SD of intervals (s)"], rows,
    )  # fmt: skip
    table += "\n\n" + format_table(["neurons", "processor seconds of a fit"], cost)
    if training is not None and trained is not None:
        cost = costs_of_steps(recorded, trained.population, sizes[1:], training)
        figures["power_of_number_of_neurons_of_a_step"] = _power(cost)
        table += "\n\n" + format_table(["neurons", "processor seconds of a step"], cost)
    if picture is not None:
        from ..recorded_spike_trains.population.figures import draw_population

        draw_population(recorded, {k: d[0] for k, d in drawn.items()}, bin).savefig(
            picture, dpi=130
        )
    return Study(figures, bounds, table)


def _power(cost: list[tuple[int, float]]) -> float:
    """With which power of the number of neurons the cost grows."""
    sizes, times = np.log(np.array(cost, float)).T
    return float(np.polyfit(sizes, times, 1)[0])


def _said_of(found: BySignatures, seconds: float) -> str:
    """What training by signatures did, in a line."""
    strengths = np.asarray(found.trained.couplings)
    said = (
        f"by signatures in {seconds:.1f} s of the processor, likelihood included: "
        f"{np.sum(strengths != 0)} of {strengths.size} couplings are not zero"
    )
    if found.result is None:
        return said
    loss = found.result.history["loss"]
    tenth = max(len(loss) // 10, 1)
    return (
        f"{said}; loss {np.mean(loss[:tenth]):.4f} at first, {np.mean(loss[-tenth:]):.4f} at last"
    )
