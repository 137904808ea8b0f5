"""What a fit to recorded spike trains found, as JSON and as a report."""

import dataclasses
from pathlib import Path

import numpy as np

from .certainty import Estimate
from .choosing import Score
from .judging import REJECTED, TRAINING_PART, Verdict, is_model, table
from .reading import Recording
from .splitting import Part

AWAY = 2.0
"""A model has run away where it fires so many times as often as the part it was fitted to."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run found.

    Attributes:
        recording: the data.
        parts: the data as cut, `parts[neuron][condition]`.
        verdicts: recording, baselines and models for each neuron and condition.
        numbers: what was found about each neuron, with standard errors, by the name of the model.
        remarks: what the user should know.
        folder: where everything is.
        scores: of the models that were chosen from, see `choose`; empty where one was given.
        losses: of each neuron, by the name of the model: at the start, after training, and that
            which the true law would have by chance, of large fresh samples.
    """

    recording: Recording
    parts: list[list[Part]]
    verdicts: list[Verdict]
    numbers: dict[str, list[dict[str, Estimate]]]
    remarks: list[str]
    folder: Path
    scores: dict[str, Score] = dataclasses.field(default_factory=dict)
    losses: dict[str, list[dict[str, float]]] = dataclasses.field(default_factory=dict)


def what_was_read(recording: Recording, parts: list[list[Part]]) -> str:
    """How much there is of each neuron and condition."""
    lines = []
    for n, neuron in enumerate(recording.names):
        for c, condition in enumerate(recording.conditions):
            part = parts[n][c]
            lines.append(
                f"neuron {neuron}, {condition}: {part.train_spikes} spikes to train on, "
                f"{part.held_spikes} held out ({len(part.windows)} windows of "
                f"{part.window:.3g} s), {recording.rate(n, c):.3g} Hz; "
                f"the model's unit of time is {part.unit:.4g} s"
            )
    return "\n".join(lines)


def as_json(outcome: Outcome) -> dict:
    """Everything that was measured, as JSON holds it."""
    numbers = {
        name: {
            neuron: {key: dataclasses.asdict(x) for key, x in found.items()}
            for neuron, found in zip(outcome.recording.names, rows, strict=True)
        }
        for name, rows in outcome.numbers.items()
    }
    rows = [
        {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}
        for row in map(dataclasses.asdict, outcome.verdicts)
    ]
    return {
        "verdicts": rows,
        "parameters": numbers,
        "remarks": outcome.remarks,
        "scores": {name: dataclasses.asdict(x) for name, x in outcome.scores.items()},
        "losses": outcome.losses,
    }


def doubts(verdicts: list[Verdict]) -> list[str]:
    """Why the fits cannot be trusted, if so: the held-out part speaks against them."""
    told = []
    for v in verdicts:
        if not is_model(v.generator):
            continue
        who = f"neuron {v.neuron}, {v.condition}, {v.generator}"
        if v.rescaling_p <= REJECTED:
            told.append(f"{who}: the time-rescaling test rejects it (p {v.rescaling_p:.2g})")
        if v.kernel_p <= REJECTED:
            told.append(f"{who}: the kernel test rejects it (p {v.kernel_p:.2g})")
        trained_on = next(
            other.rate
            for other in verdicts
            if (other.neuron, other.condition) == (v.neuron, v.condition)
            and other.generator == TRAINING_PART
        )
        if not v.rate < AWAY * trained_on:
            told.append(
                f"{who}: it runs away, at {v.rate:.3g} Hz where the training part has "
                f"{trained_on:.3g} Hz"
            )
        if v.above_best > v.above_best_error:
            told.append(
                f"{who}: a baseline's intervals are closer, by {v.above_best:.2g} (standard error "
                f"{v.above_best_error:.2g})"
            )
    return told


def first_line(told: list[str]) -> str:
    """Whether a fit can be trusted: what its report begins with."""
    if told:
        return f"**Do not trust this fit without a look:** {'; '.join(told)}."
    return "The fit passes its tests on the held-out part."


def report(outcome: Outcome) -> str:
    """The report as Markdown, with its pictures beside it."""
    lines = [
        first_line(doubts(outcome.verdicts)), "",
        "# Fitted to recorded spike trains", "",
        what_was_read(outcome.recording, outcome.parts).replace("\n", "\n\n"), "",
        "## Held-out part", "",
        "Every third block is held out. *KS of intervals* is the Kolmogorov-Smirnov distance of "
        "generated from held-out intervals; the *time-rescaling* test passes at p > 0.05; "
        "*log-likelihood* is that of a held-out interval, in nats above the Poisson process; the "
        "*kernel test* compares held-out with generated sequences of five intervals and rejects "
        "at p <= 0.05. *Above best* is the distance of intervals less that of the best baseline, "
        "with its standard error over resampled held-out intervals. *Recorded, training part* is "
        "what the recording itself scores: how far its two parts differ. *KL of counts* is the "
        "Kullback-Leibler divergence of the counts in windows; errors of intervals are generated "
        "less held out.", "",
        table(outcome.verdicts), "",
    ]  # fmt: skip
    for remark in outcome.remarks:
        lines.append(f"- {remark}")
    lines += [
        "", "## Parameters", "",
        "With standard errors over recordings of this length. What the recording alone does not "
        "tell depends on where training started, and much of its error is the width of the prior.",
        "",
    ]  # fmt: skip
    for name, neurons in outcome.numbers.items():
        for neuron, numbers in zip(outcome.recording.names, neurons, strict=True):
            lines += [f"**{name}, neuron {neuron}**", "", "| | |", "|---|---|"]
            lines += [f"| {key} | {estimate} |" for key, estimate in numbers.items()] + [""]
    lines += ["## Pictures", ""]
    for n, neuron in enumerate(outcome.recording.names):
        for c, condition in enumerate(outcome.recording.conditions):
            name = f"neuron-{n}-condition-{c}.png"
            lines += [f"![neuron {neuron}, {condition}]({name})", ""]
    return "\n".join(lines)
