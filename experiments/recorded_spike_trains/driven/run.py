"""Fit neurons to recordings with their stimulus, and judge them beside a GLM."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import roughsnn as rs

from ..reading import FEWEST_SPIKES, Recording, RecordingError
from .choosing import (
    FORMS,
    LENGTHS,
    SHAPES,
    STRENGTHS,
    CrossValidated,
    describe_scores,
    glm_scores,
    neuron_scores,
    simplest,
)
from .data import DrivenData
from .figures import draw_driven, filter_with_errors
from .fitting import PRIOR, DrivenFit, fit_driven
from .generating import neuron_of, simulate, step_of
from .glm import StimulusGLM
from .judging import DrivenVerdict, Judged, judge_driven
from .neuron import block_likelihoods, rescaled
from .reading import read_stimuli
from .reporting import describe_driven, driven_report


@dataclasses.dataclass(frozen=True)
class DrivenOutcome:
    """What a run found.

    Attributes:
        recording: the data.
        fits: the neuron that was fitted to each.
        verdicts: on neuron and GLM, for each neuron.
        remarks: what the user should know.
        folder: where everything is.
    """

    recording: Recording
    fits: list[DrivenFit]
    verdicts: list[DrivenVerdict]
    remarks: list[str]
    folder: Path


def run_driven(settings: Any, recording: Recording) -> DrivenOutcome:
    """Fit, judge, and write the report into a new folder; in double precision."""
    with jax.enable_x64(True):
        return _run(settings, recording)


def _run(settings: Any, recording: Recording) -> DrivenOutcome:
    recording, stimuli, names, more = read_stimuli(
        settings.stimulus, recording, format=settings.stimulus_format(),
        columns=settings.stimulus_columns, rate=settings.stimulus_rate,
        time_unit=settings.stimulus_time_unit, cut=settings.stop is None,
    )  # fmt: skip
    remarks = [*recording.remarks, *more]
    fits, verdicts, sections, parameters = [], [], [], {}
    with rs.RunFolder.start(settings) as folder:
        for n, neuron in enumerate(recording.names):
            data, fit, glm, told = fit_neuron(settings, recording, n, stimuli, names)
            print(f"neuron {neuron}: free-running samples and tests", flush=True)
            width = settings.rate_kernel or data.unit / 2
            models = [
                of_neuron(data, fit, settings.generated_trials, settings.seed),
                *([] if glm is None else [of_glm(data, glm, settings)]),
            ]
            if glm is None:
                remarks.append(
                    "The GLM is left out: it needs nemos (`pip install roughsnn[recorded]`)."
                )
            verdicts += judge_driven(
                data, neuron, models, width=width, window=settings.window, seed=settings.seed
            )
            figure = draw_driven(data, fit, models, width, f"neuron {neuron}")
            folder.write_figure(f"neuron-{n}.png", figure, dpi=130)
            numbers = describe_driven(fit, data)
            parameters[neuron] = numbers
            sections.append((neuron, told, numbers))
            _write_neuron(folder, data, fit, models[0], n)
            fits.append(fit)
        remarks = list(dict.fromkeys(remarks))
        header = tuple(field.name.replace("_", " ") for field in dataclasses.fields(DrivenVerdict))
        folder.write_table("table.csv", header, [dataclasses.astuple(v) for v in verdicts])
        folder.write_json("results.json", {
            "driven": [dataclasses.asdict(v) for v in verdicts], "parameters": parameters,
            "remarks": remarks,
        })  # fmt: skip
        report = driven_report(recording, sections, verdicts, remarks)
        folder.write_text("report.md", report)
        print(report.split("## Pictures")[0])
        print(f"Written to {folder.path}; open report.md")
    return DrivenOutcome(recording, fits, verdicts, remarks, folder.path)


def fit_neuron(
    settings: Any, recording: Recording, neuron: int, stimuli, names
) -> tuple[DrivenData, DrivenFit, StimulusGLM | None, list[str]]:
    """The neuron and the GLM of a recorded neuron, each chosen by cross-validation within the
    training part, and how, in words."""

    def data(length):
        spikes = np.concatenate([np.diff(t.spikes[neuron]) for t in recording.trials])
        if spikes.size < FEWEST_SPIKES:
            raise RecordingError(
                f"Neuron {recording.names[neuron]} has {spikes.size} intervals while its stimulus "
                f"is known; a fit needs {FEWEST_SPIKES}. Record longer, or leave the neuron out."
            )
        return DrivenData.of(
            recording, neuron, stimuli, names, hold_out=settings.hold_out, step=settings.bin,
            length=length, functions=settings.filter_functions, mean=float(spikes.mean()),
        )  # fmt: skip

    mean = float(np.mean(np.concatenate([np.diff(t.spikes[neuron]) for t in recording.trials])))
    lengths = (
        [k * mean for k in LENGTHS] if settings.filter_length is None else [settings.filter_length]
    )
    candidates = {f"{1000 * length:.3g} ms": data(length) for length in lengths}
    forms = _forms(settings)
    told: list[str] = []

    def say(line: str) -> None:
        told.append(line)
        print(f"neuron {recording.names[neuron]}: {line}", flush=True)

    first, shape = list(forms.items())[-1]

    def choose(scores: list[CrossValidated]) -> str:
        chosen = simplest(scores)
        say(describe_scores(scores, chosen))
        return chosen.name

    chosen = next(iter(candidates))
    if len(candidates) > 1:
        chosen = choose([neuron_scores(d, shape, k, PRIOR) for k, d in candidates.items()])
    own = candidates[chosen]
    name = first
    if len(forms) > 1:
        name = choose([neuron_scores(own, form, k, PRIOR) for k, form in forms.items()])
    pieces, _, held = own.pieces()
    fit = fit_driven(forms[name], pieces, ~held, len(own.conditions), PRIOR)
    try:
        glm = fit_glm(list(candidates.values()), say)
    except ImportError:
        glm = None
    return own, fit, glm, told


def fit_glm(candidates: list[DrivenData], say: Callable[[str], None]) -> StimulusGLM:
    """The GLM with the length of the filter and the penalty that cross-validate best."""
    first, *others = STRENGTHS
    tried = [(glm_scores(data, first), data, first) for data in candidates]
    data = max(tried, key=lambda one: one[0].per_spike)[1]
    tried += [(glm_scores(data, strength), data, strength) for strength in others]
    score, data, strength = max(tried, key=lambda one: one[0].per_spike)
    say(
        f"the GLM has a filter of {1000 * data.filter.lags[-1]:.3g} ms and a penalty of "
        f"{strength:g}, the best of {len(tried)} by cross-validation ({score.per_spike:.3f} nats)"
    )
    return StimulusGLM(data, ~data.bins()[1], strength)


def _forms(settings: Any) -> dict[str, Any]:
    """The forms that are compared, the simplest first."""
    kinds = list(FORMS) if settings.model == "auto" else [settings.model]
    unknown = [kind for kind in kinds if kind not in FORMS]
    if unknown:
        raise ValueError(
            f"`model` is {unknown[0]!r}, which is not fitted with a stimulus; it must be auto, "
            f"{', '.join(FORMS)}."
        )
    shapes = SHAPES if settings.intensity == "auto" else (settings.intensity,)
    return {
        f"{kind}, {shape}": dataclasses.replace(FORMS[kind], shape=shape)
        for shape in shapes
        for kind in kinds
    }


def of_neuron(data: DrivenData, fit: DrivenFit, trials: int, seed: int) -> Judged:
    """What the neuron says of the recording."""
    pieces, block, _ = data.pieces()
    blocks = block_likelihoods(fit.model, pieces, block)
    spikes = np.bincount(block, np.asarray(pieces.spikes, float))
    samples = [
        simulate(fit.model, data, trial, trials, seed + number)
        for number, trial in enumerate(data.trials)
    ]
    return Judged(
        "driven neuron", blocks - spikes * np.log(data.unit),
        rescaled(fit.model, pieces, [t.spikes.size for t in data.trials]), samples,
    )  # fmt: skip


def of_glm(data: DrivenData, glm: StimulusGLM, settings: Any) -> Judged:
    """What the GLM says of it."""
    random = np.random.default_rng(settings.seed)
    own = glm.data
    values = np.concatenate([glm.log_likelihoods(t) for t in own.trials])
    return Judged(
        glm.name, np.bincount(own.bins()[0], values),
        [glm.rescaled(t, random) for t in own.trials],
        [glm.simulate(t, settings.generated_trials, random) for t in own.trials],
    )  # fmt: skip


def _write_neuron(folder, data: DrivenData, fit: DrivenFit, judged: Judged, n: int) -> None:
    """The neuron with the current of its first trial as a model file, and what it generates."""
    trial = data.trials[0]
    neuron, current = neuron_of(fit.model, data, trial)
    longest = max(x.size for x in judged.samples[0])
    folder.write_model(
        f"models/driven-neuron-{n}.model", neuron, dt0=step_of(fit.model, data),
        input_current=current, window=data.step * len(trial.features),
        max_spikes=2 * longest + 100, time_unit="s", notes={"start": trial.start},
    )  # fmt: skip
    trains = rs.SpikeTrains.from_lists(
        [[np.clip(x, trial.start, trial.stop)] for x in judged.samples[0]],
        t0=trial.start, t1=trial.stop,
    )  # fmt: skip
    folder.write_spikes(f"generated/driven-neuron-{n}.npz", trains)
    values, errors = filter_with_errors(fit, data)
    both = [x for pair in zip(values.T, errors.T, strict=True) for x in pair]
    rows = np.column_stack([data.filter.lags, *both])
    names = [f"{kind}_{name}" for name in data.filter.names for kind in ("filter", "error")]
    folder.write_table(f"filter-neuron-{n}.csv", ("lag_s", *names), rows.tolist())
