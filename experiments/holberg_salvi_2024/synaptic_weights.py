"""Recover the synaptic weights of a spiking network from its spike trains (section 4.3, figure 2).

All 22 neurons of a feed-forward network of 4, 16 and 2 stochastic neurons are observed in n trials.
Starting from random weights, the 96 weights are fitted by gradient descent through the simulator;
with `improved`, by a loss of fewer, whitened signature words and by maximum likelihood, from the
same trials.
"""

import dataclasses
import time
import warnings
from pathlib import Path
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import roughsnn as rs
from roughsnn.runs.settings import SEED, above, at_least

from .weights_identifiability import bounds_table, error_bounds, information
from .weights_likelihood import maximise
from .weights_network import WeightsTask, draw_task, trials, weight_error
from .weights_report import (
    Outcome,
    draw_errors,
    draw_figure,
    read_outcomes,
    table,
    write_metrics,
)
from .weights_words import WordsLoss, gauss_newton_step


@dataclasses.dataclass(frozen=True)
class Settings(rs.RunSettings):
    """Recover the synaptic weights of a spiking network from its spike trains."""

    sample_sizes: tuple[int, ...] = (256, 512, 1024)
    """Numbers n of observed trials."""
    seeds: tuple[int, ...] = (1,)
    """Each seed draws true and first weights, trials, and the noise of the training."""
    side_by_side: bool = True
    """Whether the published design fits the seeds side by side in one compiled program, or one
    after another."""
    batch_size: int = 128
    """Trials that are observed and simulated in each step."""
    steps: tuple[int, ...] = (1000, 500)
    """Gradient steps of each phase; the optimiser starts anew in each."""
    learning_rates: tuple[float, ...] = (3e-3, 1e-3)
    """Learning rate of RMSProp (decay 0.9, momentum 0.3) in each phase."""
    test_every: int = 10
    """Steps from one evaluation of the test loss to the next."""
    output: Path = Path("runs/synaptic-weights")
    """Folder under which the run gets a numbered folder of its own."""
    improved: bool = False
    """Fit by the designs that recover the weights better, instead of the published one, and say
    how well any method could do. The settings of steps, rates, batches and tests above are of the
    published one."""
    paths: int = 16
    """Improved: Gaussian paths for the likelihood of a trial."""
    adam_steps: int = 60
    """Improved, words: steps of Adam with learning rate 0.03 and batches of 128."""
    newton_steps: int = 14
    """Improved: Gauss-Newton steps after them, of n simulated trials each (256 at least), and steps
    of the maximisation of the likelihood."""
    information_trials: int = 2048
    """Improved: trials by which the information is estimated."""
    quick: bool = False
    """A small size: n = 256 and a tenth of the steps at larger learning rates, or few steps of the
    improved designs; minutes."""

    number_ranges: ClassVar = {
        "sample_sizes": at_least(1), "seeds": SEED, "batch_size": at_least(1),
        "steps": at_least(1), "learning_rates": above(0), "test_every": at_least(1),
        "paths": at_least(1), "adam_steps": at_least(0), "newton_steps": at_least(1),
        "information_trials": at_least(2),
    }  # fmt: skip
    without_repeats = ("sample_sizes", "seeds")
    presets: ClassVar = {
        "quick": {
            "sample_sizes": (256,), "steps": (100, 50), "learning_rates": (1e-2, 3e-3),
            "newton_steps": 8, "information_trials": 512,
        },
    }  # fmt: skip

    def __post_init__(self):
        super().__post_init__()
        if self.improved:
            published = ("batch_size", "steps", "learning_rates", "test_every")
            self.refuse_unused(published, "with `improved`")
        else:
            improved = ("paths", "adam_steps", "newton_steps", "information_trials")
            self.refuse_unused(improved, "without `improved`")
        if len(self.steps) != len(self.learning_rates):
            raise ValueError(
                f"`steps` has {len(self.steps)} phases and `learning_rates` "
                f"{len(self.learning_rates)}; give one learning rate for each phase."
            )
        if self.batch_size > min(self.sample_sizes) and not self.improved:
            raise ValueError(
                f"`batch_size` is {self.batch_size} and `sample_sizes` holds "
                f"{min(self.sample_sizes)}; a batch must be no larger than the trials observed."
            )


PUBLISHED_LOSS = rs.PairedTruncatedSignatureLoss(depth=3)
TEST_LOSS = rs.ExpectedSignatureLoss(depth=3)


def fit_published(
    settings: Settings, tasks: dict[int, WeightsTask], folder: rs.RunFolder
) -> list[Outcome]:
    """Fit the weights by the published loss and optimiser; several seeds side by side in one
    compiled program, each with its own data, holdout and noise."""
    started = time.monotonic()
    seeds, each = list(tasks), list(tasks.values())
    n = len(each[0].data)
    name = "-".join([f"published-{n}-seed{'s' if len(seeds) > 1 else ''}", *map(str, seeds)])
    testers = [Tester(task, settings.batch_size) for task in each]
    losses = []
    for seed, task, tester in zip(seeds, each, testers, strict=True):
        losses.append(
            _read_losses(folder, f"published-{n}-seed-{seed}") | {0: tester(task.start, 0)}
        )
    models, done = [task.start for task in each], 0
    errors: list[list[np.ndarray]] = [[] for _ in seeds]
    seconds = time.monotonic() - started
    for phase, (steps, rate) in enumerate(
        zip(settings.steps, settings.learning_rates, strict=True)
    ):

        def test(step, model, history, done=done):
            for i, seed in enumerate(seeds):
                of_seed = model if len(seeds) == 1 else _one_of(model, i)
                losses[i][done + step] = testers[i](of_seed, done + step)
                rows = sorted(losses[i].items())
                file = f"test-loss/published-{n}-seed-{seed}.csv"
                folder.write_table(file, ["step", "test_loss"], rows)

        options = dict(
            simulate=lambda model, key: trials(model, key, settings.batch_size),
            loss=PUBLISHED_LOSS,
            optimiser=optax.rmsprop(rate, momentum=0.3),
            num_steps=steps,
            trainable=lambda model: model.weights,
            batch_size=settings.batch_size,
            metrics={"error": lambda model, generated, truth: weight_error(model, truth)},
            callback=test,
            checkpoint=folder.checkpoints(f"{name}-phase-{phase}", settings.checkpoint_every),
            log_every=settings.test_every,
            progress=settings.progress,
        )
        keys = [jr.fold_in(task.key, phase) for task in each]
        with warnings.catch_warnings():
            # a trial ends at its hundredth spike, as published: no accident
            warnings.filterwarnings("ignore", message="In .* of the steps.* more spikes than")
            if len(seeds) == 1:
                (task,), (model,), (key,) = each, models, keys
                results = [rs.fit(model, task.data, key=key, holdout=task.truth, **options)]
            else:
                data = rs.SpikeTrains.stack([task.data for task in each])
                truth = _stacked([task.truth for task in each])
                results = rs.fit_many(
                    _stacked(models), data, keys=jnp.stack(keys), holdout=truth, **options
                )
        for i, result in enumerate(results):
            models[i] = result.raise_unless_trained().model
            errors[i].append(result.history["error"])
        done += results[0].num_steps
        seconds += results[0].seconds
    return [
        _outcome(seed, task, model, error, of_seed, seconds)
        for seed, task, model, error, of_seed in zip(
            seeds, each, models, errors, losses, strict=True
        )
    ]


def _outcome(seed, task: WeightsTask, model, errors, losses, seconds) -> Outcome:
    # the recorded error is that before each step; the last update is added
    error = np.concatenate([*errors, np.array([weight_error(model, task.truth)])])
    steps, test_losses = map(np.array, zip(*sorted(losses.items()), strict=True))
    return Outcome(
        "published", len(task.data), seed, steps, error[steps], test_losses,
        np.asarray(model.effective_weights), seconds,
    )  # fmt: skip


def _stacked(models: list[rs.SpikingNetwork]) -> rs.SpikingNetwork:
    return jax.tree.map(lambda *x: jnp.stack(x) if eqx.is_array(x[0]) else x[0], *models)


def _one_of(models: rs.SpikingNetwork, i: int) -> rs.SpikingNetwork:
    return jax.tree.map(lambda x: x[i] if eqx.is_array(x) else x, models)


def _read_losses(folder: rs.RunFolder, name: str) -> dict[int, float]:
    """The test losses that an interrupted fit has measured, by step."""
    path = folder.path / "test-loss" / f"{name}.csv"
    if not path.exists():
        return {}
    rows = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    return {int(step): float(loss) for step, loss in rows}


def fit_words(
    settings: Settings, tasks: dict[int, WeightsTask], folder: rs.RunFolder
) -> list[Outcome]:
    """Fit the weights of each seed by `_fit_words`, one seed after another."""
    return [_fit_words(settings, task, seed, folder) for seed, task in tasks.items()]


def _fit_words(settings: Settings, task: WeightsTask, seed: int, folder: rs.RunFolder) -> Outcome:
    """Fit the weights by the loss of whitened words: Adam, then Gauss-Newton steps with fresh noise
    of which the later ones are averaged, as step m moves by 3 / (m + 1) of its way."""
    started = time.monotonic()
    curve = _Curve(task)
    curve.add(0, task.start.effective_weights)
    loss = WordsLoss()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="In .* of the steps.* more spikes than")
        result = rs.fit(
            task.start,
            task.data,
            simulate=lambda model, key: trials(model, key, 128),
            loss=loss,
            optimiser=optax.adam(0.03),
            num_steps=settings.adam_steps,
            key=task.key,
            trainable=lambda model: model.weights,
            checkpoint=folder.checkpoints(
                f"words-{len(task.data)}-seed-{seed}", settings.checkpoint_every
            ),
            progress=settings.progress,
        ).raise_unless_trained()
    model, target = result.model, loss.target(task.data)
    # as many trials as are observed, so that their noise falls with that of the data
    simulated = max(256, len(task.data))
    curve.add(settings.adam_steps, model.effective_weights)
    for number in range(settings.newton_steps):
        key = jr.fold_in(jr.fold_in(task.key, 1), number)
        move = gauss_newton_step(model, target, key, simulated) * min(1.0, 3 / (number + 1))
        model = eqx.tree_at(lambda m: m.weights, model, model.weights + move)
        curve.add(settings.adam_steps + number + 1, model.effective_weights)
    return curve.outcome("words", seed, time.monotonic() - started)


def fit_likelihood(
    settings: Settings, tasks: dict[int, WeightsTask], folder: rs.RunFolder
) -> list[Outcome]:
    """Fit the weights of each seed by maximum likelihood, one seed after another."""
    return [_fit_likelihood(settings, task, seed) for seed, task in tasks.items()]


def _fit_likelihood(settings: Settings, task: WeightsTask, seed: int) -> Outcome:
    started = time.monotonic()
    curve = _Curve(task)
    found = maximise(
        task.start, task.data, jr.fold_in(task.key, 2), settings.paths, settings.newton_steps
    )
    for step, weights in enumerate(found.path):
        curve.add(step, weights)
    return curve.outcome("likelihood", seed, time.monotonic() - started)


class _Curve:
    """The errors of the weights on the way of a fit."""

    def __init__(self, task: WeightsTask):
        self._task, self._tester = task, Tester(task, 128)
        self._rows, self._weights = [], np.zeros(())

    def add(self, step: int, weights) -> None:
        model = eqx.tree_at(
            lambda m: m.weights, self._task.truth, np.asarray(weights, self._task.data.times.dtype)
        )
        error = float(weight_error(model, self._task.truth))
        self._rows.append((step, error, self._tester(model, step)))
        self._weights = np.asarray(weights)

    def outcome(self, design: str, seed: int, seconds: float) -> Outcome:
        steps, errors, losses = map(np.array, zip(*self._rows, strict=True))
        n = len(self._task.data)
        return Outcome(design, n, seed, steps, errors, losses, self._weights, seconds)


class Tester:
    """The test loss of a model: expected signatures of fresh trials against the held-out ones."""

    def __init__(self, task: WeightsTask, num_samples: int):
        target = TEST_LOSS.target(task.holdout)
        key = jr.fold_in(task.key, 1000)

        @eqx.filter_jit
        def evaluate(model, step):
            return TEST_LOSS(trials(model, jr.fold_in(key, step), num_samples), target)

        self._evaluate = evaluate

    def __call__(self, model: rs.SpikingNetwork, step: int) -> float:
        """The loss of a model after a number of steps, which picks the noise."""
        return float(self._evaluate(model, np.int32(step)))


def run(settings: Settings) -> tuple[list[Outcome], Path]:
    """Run all settings and write settings, metrics, weights, table and figure into a new folder.

    A run that is resumed keeps the fits that were done, and goes on with the gradient steps of the
    one it was cut off in; Gauss-Newton steps and those of the likelihood, some minutes at most,
    begin anew.
    """
    with rs.RunFolder.start(settings) as folder:
        outcomes = _run(settings, folder)
    print(f"Written to {folder.path}")
    return outcomes, folder.path


def _run(settings: Settings, folder: rs.RunFolder) -> list[Outcome]:
    outcomes = read_outcomes(folder.path) if (folder.path / "metrics.csv").exists() else []
    found = {(o.design, o.sample_size, o.seed) for o in outcomes}
    fits = {"words": fit_words, "likelihood": fit_likelihood}
    if not settings.improved:
        fits = {"published": fit_published}
    together = settings.side_by_side and not settings.improved
    for seeds in [settings.seeds] if together else [(seed,) for seed in settings.seeds]:
        for n in settings.sample_sizes:
            missing = {d: [s for s in seeds if (d, n, s) not in found] for d in fits}
            if not any(missing.values()):
                continue
            tasks = {seed: draw_task(seed, n) for seed in seeds}
            print(f"seed {', '.join(map(str, seeds))}, n = {n}", flush=True)
            for design, fit in fits.items():
                if missing[design]:
                    outcomes += fit(settings, {s: tasks[s] for s in missing[design]}, folder)
                    write_metrics(outcomes, folder)
    text = table(outcomes)
    if settings.improved:
        task = draw_task(settings.seeds[0], 2)
        known = information(task, settings.information_trials, settings.paths)
        bounds = error_bounds(known, settings.sample_sizes)
        folder.write_json("bounds.json", bounds)
        text += "\n\n" + bounds_table(bounds)
        folder.write_figure("figure.png", draw_errors(outcomes, bounds))
    else:
        folder.write_figure("figure.png", draw_figure(outcomes))
    folder.write_text("table.md", text)
    print(text)
    return outcomes
