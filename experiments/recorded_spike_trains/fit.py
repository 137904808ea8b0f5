"""Fit a stochastic neuron to recorded spike trains and judge it on held-out windows.

A file of spike times is cut into blocks, every third of which is held out. The neuron is trained
on the rest by a signature-kernel MMD and by expected signatures, and then compared with the
held-out blocks beside Poisson, renewal and GLM baselines.
"""

import dataclasses
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

import roughsnn as rs
from roughsnn.runs.settings import FINITE, SEED, above, at_least, between

from .baselines import cut, fit_baselines
from .choosing import Score, choose, how_chosen
from .driven import DrivenOutcome, run_driven
from .figures import draw
from .judging import HEADER, Sample, Verdict, judge, table
from .law import judged_by_law
from .mmd_glm import MMDGLM
from .numbers import numbers_of
from .reading import read_recording
from .remembering import Memory, identity_of
from .reporting import Outcome, as_json, doubts, first_line, report, what_was_read
from .source_settings import SourceSettings, StimulusSettings
from .splitting import Part, split
from .training import LOSSES, Plan, Trained, fit, fit_coarsely, simulate_windows

LossName = Literal["signature-kernel", "expected-signature"]


@dataclasses.dataclass(frozen=True)
class Settings(SourceSettings, StimulusSettings, rs.RunSettings):
    """Fit a stochastic neuron to recorded spike trains and judge it on held-out windows."""

    spikes: tuple[Path, ...] = ()
    """Tables of spike times (CSV, NPZ), files of spike trains of roughsnn, NWB, files that neo
    reads, or folders of Kilosort or phy; several are several conditions. Neurons are fitted side by
    side, each with parameters of its own."""
    condition_column: str | None = None
    """Column of the stimulus or condition; all conditions share the model of a neuron, each has an
    input current of its own."""
    start: float | None = None
    """When the recording (of each trial) began, in the unit of the file; by default 0."""
    stop: float | None = None
    """When it ended; by default a mean interval after the last spike."""
    model: Literal[
        "auto", "lif", "resetting-lif", "adaptive-lif", "slow-lif", "adaptive-slow-lif",
        "resetting-slow-lif",
    ] = "auto"  # fmt: skip
    """`lif`: leaky, with noise of the potential and stochastic firing; `resetting-`: a spike makes
    it forget its potential, where it otherwise takes off an amount; `adaptive-`: with an adaptation
    current; `slow-`: with a slowly varying random current; `auto`: `resetting-lif`, unless the
    likelihood of `lif`, cross-validated within the training part, is better by more than its
    standard error."""
    losses: tuple[LossName, ...] = ("signature-kernel", "expected-signature")
    """What the model is trained by; one fit for each."""
    steps: int = 15
    """Steps of least squares in a round at most; it ends where nothing improves."""
    gradient_steps: int = 60
    """Stochastic gradient steps that follow, with fresh noise; 0 for none."""
    prior: float = 1.0
    """How far a parameter may be from its start, which has the moments of the recorded intervals:
    standard deviation, in e-folds for most, before anything was recorded; `inf` for no prior."""
    paths: int = 16384
    """Noise paths of each condition in least squares."""
    batch: int = 256
    """Noise paths of each condition in a gradient step, twice: its two factors have their own."""
    sequence: int = 3
    """Intervals that follow each other in a sequence that is trained on, at most five."""
    dt0: float | None = None
    """Step of the solver in mean intervals; by default a 32nd of the 5 % quantile of the
    intervals, between 0.001 and 0.0025."""
    window: float = 10.0
    """Length of a held-out window in mean intervals."""
    hold_out: Literal[0, 1, 2] = 2
    """Which of three successive blocks is held out; all three together are a cross-validation."""
    max_spikes: int | None = None
    """Room for spikes of a simulated long trial; by default four times what the recorded rate
    needs."""
    likelihood_paths: int = 32768
    """Noise paths of the law by which recorded intervals are judged."""
    mmd_glm: bool = False
    """Whether a GLM that is trained by the MMD of its free-running samples is among what a fit is
    compared with."""
    generated_windows: int = 10240
    """Windows that each model and baseline generates, twenty or more."""
    seed: int = 0
    """Seed of all random numbers."""
    checkpoint_every: int = 5
    """Simulations between two checkpoints of a fit; a run that is killed loses at most so many."""
    output: Path = Path("runs/fit")
    """Folder under which the run gets a numbered folder of its own."""

    number_ranges: ClassVar = {
        **StimulusSettings.stimulus_ranges,
        "start": FINITE, "stop": FINITE, "before": FINITE, "after": FINITE,
        "sampling_rate": above(0), "steps": at_least(1), "gradient_steps": at_least(0),
        "prior": above(0, infinite=True), "paths": at_least(1), "batch": at_least(1),
        "sequence": between(1, 5), "dt0": above(0), "window": above(0),
        "max_spikes": at_least(1), "likelihood_paths": at_least(1),
        "generated_windows": at_least(20), "seed": SEED,
    }  # fmt: skip
    without_repeats = ("losses",)

    def __post_init__(self):
        super().__post_init__()
        if not self.spikes and self.resume is None:
            raise ValueError("`spikes` is empty; give a file of spike times: `--spikes FILE`.")
        if self.start is not None and self.stop is not None and not self.start < self.stop:
            raise ValueError(
                f"`start` is {self.start} and `stop` {self.stop}; a recording must end after it "
                "has begun."
            )


def run(settings: Settings) -> Outcome | DrivenOutcome:
    """Fit, judge, and write the report into a new folder.

    A run that is resumed goes on where its fits were cut off; judging, which follows, begins anew.
    """
    if settings.stimulus:
        settings.refuse_unused(settings.without_stimulus, "with `stimulus`")
    else:
        settings.refuse_unused(settings.needs_stimulus, "without `stimulus`")
    recording = read_recording(
        settings.spikes,
        format=settings.table_format(),
        condition_column=settings.condition_column,
        start=settings.start,
        stop=settings.stop,
        cutting=settings.cutting(),
        neurons=settings.neurons,
    )
    if settings.stimulus:
        return run_driven(settings, recording)
    parts = split(recording, settings.window, settings.hold_out)
    print(what_was_read(recording, parts), flush=True)
    remarks = list(recording.remarks)
    with rs.RunFolder.start(settings) as folder:
        model = settings.model
        scores: dict[str, Score] = {}
        if model == "auto":
            model, scores = choose_model(settings, parts, folder)
            remarks.append(how_chosen(model, scores))
            print(remarks[-1], flush=True)
        results: dict[str, list[Trained]] = {}
        plans: dict[str, Plan] = {}
        for name in settings.losses:
            loss = LOSSES[name]
            plan = plan_for(settings, parts, model)
            label = f"{model}, {loss.name}"
            plans[label], results[label] = plan, []
            for n, (neuron, of_neuron) in enumerate(zip(recording.names, parts, strict=True)):
                checkpoints = f"{name}-neuron-{n}"
                trained = _fitted(settings, folder, checkpoints, of_neuron, plan, name)
                results[label].append(trained)
                print(
                    f"neuron {neuron}, {label}: loss {trained.loss_before:.3g} at the start, "
                    f"{trained.loss_after:.3g} after training; the true law would have "
                    f"{trained.by_chance:.2g} on so short a recording",
                    flush=True,
                )
        verdicts: list[Verdict] = []
        for n, neuron in enumerate(recording.names):
            for c, condition in enumerate(recording.conditions):
                part = parts[n][c]
                print(f"judging neuron {neuron}, {condition}", flush=True)
                samples, more, generated = generate(settings, part, n, c, results, plans)
                for k, trains in generated.items():
                    _write_model(folder, k, trains, results[k][n], plans[k], part, n, c, condition)
                remarks += more
                verdicts += judge(part, neuron, condition, samples, settings.seed)
                histories = {k: r[n].history for k, r in results.items()}
                title = f"neuron {neuron}, {condition}"
                name = f"neuron-{n}-condition-{c}.png"
                folder.write_figure(name, draw(part, samples, histories, title), dpi=130)
        _close_figures()
        numbers = {
            k: [
                numbers_of(trained, plans[k], row[0].unit, recording.conditions, settings.seed)
                for trained, row in zip(rows, parts, strict=True)
            ]
            for k, rows in results.items()
        }
        losses = {
            k: [
                {"at the start": x.loss_before, "after training": x.loss_after,
                 "by chance": x.by_chance}
                for x in rows
            ]
            for k, rows in results.items()
        }  # fmt: skip
        outcome = Outcome(
            recording, parts, verdicts, numbers, list(dict.fromkeys(remarks)), folder.path, scores,
            losses,
        )  # fmt: skip
        folder.write_table("table.csv", HEADER, [dataclasses.astuple(v) for v in verdicts])
        folder.write_json("results.json", as_json(outcome))
        for k, rows in results.items():
            name = k.split(", ")[1].replace(" ", "-")
            folder.write_history(f"metrics-{name}.csv", *[r.history for r in rows], of="neuron")
        folder.write_text("report.md", report(outcome))
        print(table(verdicts))
        print(first_line(doubts(verdicts)))
        for remark in outcome.remarks:
            print(f"note: {remark}")
        print(f"Written to {folder.path}; open report.md")
    return outcome


def _write_model(
    folder: rs.RunFolder,
    name: str,
    trains: rs.SpikeTrains,
    trained: Trained,
    plan: Plan,
    part: Part,
    neuron: int,
    condition: int,
    of_condition: str,
) -> None:
    """The model of a neuron in a condition and what it generates, in seconds, under `models/` and
    `generated/`."""
    unit = part.unit
    file = f"{name.split(', ')[1].replace(' ', '-')}-neuron-{neuron}-condition-{condition}"
    spikes = int(np.max(np.asarray(trains.counts)))
    seconds = [[times * unit for times in row] for row in trains.to_lists()]
    start, stop = float(trains.t0) * unit, float(trains.t1) * unit
    in_seconds = rs.SpikeTrains.from_lists(
        [[np.clip(times, start, stop) for times in row] for row in seconds], t0=start, t1=stop
    )
    folder.write_spikes(f"generated/{file}.npz", in_seconds)
    folder.write_model(
        f"models/{file}.model", trained.parameters.neuron(unit), dt0=plan.dt0 * unit,
        input_current=trained.parameters.currents()[condition], window=stop - start,
        max_spikes=2 * spikes + 100, time_unit="s",
        notes={"model": plan.model, "condition": of_condition, "mean interval": unit},
    )  # fmt: skip


def choose_model(
    settings: Settings, parts: list[list[Part]], folder: rs.RunFolder
) -> tuple[str, dict[str, Score]]:
    """The model to fit to all neurons, and the scores it was chosen by, see `choose`."""
    name = settings.losses[0]

    def judged(model, rows, neuron, cut):
        # sizes of the whole training part, so that all cuts share a compiled program
        plan = plan_for(settings, [parts[neuron]], model)
        label = f"choosing-{model}-{cut}-neuron-{neuron}"
        memory = Memory(
            folder.checkpoints(label, settings.checkpoint_every), identity_of(rows, plan)
        )
        with memory.open():
            # one round: the candidates differ by more than the others would gain
            found = fit_coarsely(
                rows, plan, LOSSES[name], steps=settings.steps, seed=settings.seed,
                memory=memory, progress=settings.progress,
            )  # fmt: skip
        return [
            judged_by_law(
                found, c, part, plan, paths=settings.likelihood_paths,
                seed=settings.seed,
            )[1]
            for c, part in enumerate(rows)
        ]  # fmt: skip

    return choose(parts, judged, report=lambda line: print(line, flush=True))


def _fitted(
    settings: Settings,
    folder: rs.RunFolder,
    label: str,
    parts: list[Part],
    plan: Plan,
    name: str,
) -> Trained:
    """A fit that goes on where it was cut off; `label` is the name of its checkpoints."""
    checkpoints = folder.checkpoints(label, settings.checkpoint_every)
    memory = Memory(checkpoints, identity_of(parts, plan))
    with memory.open():
        return fit(
            parts, plan, LOSSES[name], steps=settings.steps,
            gradient_steps=settings.gradient_steps, seed=settings.seed, memory=memory,
            progress=settings.progress,
        )  # fmt: skip


def plan_for(settings: Settings, parts: list[list[Part]], model: str) -> Plan:
    """The sizes of a fit: what is not set is chosen from the data."""
    # The slowest and the fastest condition, in units of the mean interval of the neuron.
    slowest = max(p.train.mean() / p.unit for row in parts for p in row)
    spread = max(p.train.std() / p.train.mean() for row in parts for p in row)
    shortest = min(np.quantile(p.train, 0.05) / p.unit for row in parts for p in row)
    # In a step the potential must move less than the width of the threshold, which is where the
    # first spikes are decided.
    dt0 = settings.dt0 or float(np.clip(shortest / 32, 0.001, 0.0025))
    longest = float(slowest * (1 + 8 * min(spread, 2.0)))
    return Plan(
        model, settings.sequence, longest, dt0, settings.paths, settings.batch,
        prior=settings.prior,
    )  # fmt: skip


def generate(
    settings: Settings, part: Part, neuron: int, condition: int, results: Any, plans: Any
) -> tuple[list[Sample], list[str], dict[str, rs.SpikeTrains]]:
    """Samples of all baselines and models, Poisson first, remarks, and the spike trains of the
    models, in units of the mean interval."""
    random = np.random.default_rng([settings.seed, neuron, condition])
    baselines, remarks = fit_baselines(
        part, lambda part: [MMDGLM(part, random)] if settings.mmd_glm else []
    )
    samples, generated = [], {}
    for baseline in baselines:
        windows, intervals = baseline.windows(random, part.window, settings.generated_windows)
        rescaled, likelihood = baseline.rescaled(part, random)
        samples.append(Sample(baseline.name, windows, intervals, rescaled, likelihood))
    for name, rows in results.items():
        parameters, plan = rows[neuron].parameters, plans[name]
        trains, intervals = simulate_windows(
            parameters, condition, plan, window=part.window / part.unit,
            count=settings.generated_windows, room=settings.max_spikes, seed=settings.seed + 1,
        )  # fmt: skip
        generated[name] = trains
        overflowed = int(np.sum(np.asarray(trains.overflowed)))
        if overflowed:
            remarks.append(
                f"{name}: {overflowed} of {len(trains)} simulated trials had no room for more than "
                f"{trains.max_spikes} spikes and are cut short; raise `--max-spikes`, or look at "
                "the learning curve: the model may fire without bound."
            )
        start = float(trains.t0)
        per_trial = int(float(trains.t1 - trains.t0) * part.unit / part.window + 1e-6)
        windows = []
        for row in trains.to_lists():
            windows += cut((row[0] - start) * part.unit, part.window, per_trial)
        rescaled, likelihood = judged_by_law(
            parameters, condition, part, plan, paths=settings.likelihood_paths, seed=settings.seed
        )
        samples.append(
            Sample(name, windows, intervals * part.unit, rescaled, float(likelihood.mean()))
        )
        diagnosis = rs.diagnose(trains)
        print(f"neuron {neuron}, condition {condition}, {name}: {diagnosis}", flush=True)
        remarks += [f"{name}: {advice}" for advice in diagnosis.advice]
        trained = rows[neuron]
        if not trained.loss_after < trained.loss_before:
            remarks.append(
                f"{name}, neuron {neuron}: training did not bring the loss below that of the "
                f"start ({trained.loss_before:.3g} before, {trained.loss_after:.3g} after), so the "
                "start, which is fitted to the moments of the intervals, is kept. On a recording "
                f"of this length the true law would have {trained.by_chance:.2g} by chance."
            )
        if trained.unfinished > 0.05:
            remarks.append(
                f"{name}: {trained.unfinished:.0%} of the simulated intervals did not end in their "
                "trial: the model is too slow, or its intervals are much longer than their mean. "
                "Try another `--model`."
            )
    return samples, remarks, generated


def _close_figures() -> None:
    import matplotlib.pyplot as plt

    plt.close("all")
