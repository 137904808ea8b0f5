"""How the delayed-memory XOR is trained: seeds side by side, each with setbacks of its own."""

import dataclasses
import math
import time

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

import roughsnn as rs
from roughsnn.gated import GatedNetwork
from roughsnn.training.progress import Progress as ProgressBar
from roughsnn.training.step import TrainStep

from .xor_network import initial_network
from .xor_settings import Settings
from .xor_steps import (
    CHUNK,
    Learner,
    one_of,
    stacked,
    take_steps,
    take_steps_together,
    training_step,
    validate,
)

PROGRESS_COLUMNS = ("step", "loss", "accuracy", "validated", "gradient_norm", "rate_factor")
"""What the rows of `Progress` hold."""


@dataclasses.dataclass
class Progress:
    """How far the training of a seed has got, beside its networks."""

    rows: list[list[float]] = dataclasses.field(default_factory=list)
    """What `PROGRESS_COLUMNS` names; one row a chunk."""
    best: float = 0.0
    """Highest share of right answers of the average on the trials for validation."""
    factor: float = 1.0
    """Factor of the learning rates; smaller after each setback."""
    setbacks: int = 0
    cpu_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """Steps taken."""
        return int(self.rows[-1][0]) if self.rows else 0

    def finished(self, settings: Settings) -> bool:
        """Whether enough is learned, or all steps are taken."""
        return self.best >= settings.mastery or self.done >= settings.max_steps


@dataclasses.dataclass(frozen=True)
class Training:
    """The training of one seed.

    Attributes:
        seed: the seed.
        key: of the noise of the steps.
        validation_key: of the trials for validation.
        learner: what is trained.
        best: the learner whose average was best.
        progress: how far it has got.
    """

    seed: int
    key: PRNGKeyArray
    validation_key: PRNGKeyArray
    learner: Learner
    best: Learner
    progress: Progress

    @classmethod
    def begin(cls, settings: Settings, step: TrainStep, seed: int) -> "Training":
        """The training of a seed before its first step."""
        start_key, key, validation_key = jr.split(jr.key(seed), 3)
        network = initial_network(settings.num_neurons, settings.assemblies, start_key)
        learner = Learner(step.init(network), network)
        return cls(seed, key, validation_key, learner, learner, Progress())


def train(
    settings: Settings, seeds: tuple[int, ...], checkpoints: rs.Checkpoints
) -> list[tuple[GatedNetwork, Progress]]:
    """Train seeds side by side from the newest checkpoint, or from the start; keep checkpoints.

    The network that comes back is the average that was right most often on the trials it was
    validated with. They are the same throughout, and neither trained on nor judged by. Steps
    depend on the seed and their number alone: a run that was cut off goes on to the same networks.
    Each seed has its own learning rates, setbacks and end.
    """
    step = training_step(settings)
    trainings = [Training.begin(settings, step, seed) for seed in seeds]
    with checkpoints.open():
        found = checkpoints.restore([(t.learner, t.best) for t in trainings])
        if found is not None:
            trainings = [
                dataclasses.replace(t, learner=learner, best=best, progress=Progress(**notes))
                for t, (learner, best), notes in zip(
                    trainings, found.tree, found.notes["seeds"], strict=True
                )
            ]
        kept = _chunks(trainings)

        def keep():
            nonlocal kept
            if kept != _chunks(trainings):
                kept = _chunks(trainings)
                notes = {"seeds": [dataclasses.asdict(t.progress) for t in trainings]}
                checkpoints.save(
                    kept * CHUNK, [(t.learner, t.best) for t in trainings], notes=notes
                )

        done = max(t.progress.done for t in trainings)
        with ProgressBar(settings.max_steps, settings.progress, done) as bar:
            try:
                while not all(t.progress.finished(settings) for t in trainings):
                    # replaced as a whole, so that an interrupt leaves it consistent
                    trainings = _take_chunk(settings, step, trainings)
                    last = [t.progress for t in trainings]
                    bar.update(
                        CHUNK,
                        float(np.mean([p.rows[-1][1] for p in last])),
                        f", right {' '.join(f'{p.rows[-1][3]:.0%}' for p in last)}",
                    )
                    done, every = max(p.done for p in last), checkpoints.every
                    ended = all(p.finished(settings) for p in last)
                    if ended or done // every > (done - CHUNK) // every:
                        keep()
            except KeyboardInterrupt:
                keep()
                raise
    return [(t.best.average, t.progress) for t in trainings]


def _chunks(trainings: list[Training]) -> int:
    """Chunks that were taken, of all seeds together."""
    return sum(len(t.progress.rows) for t in trainings)


def _take_chunk(settings: Settings, step: TrainStep, trainings: list[Training]) -> list[Training]:
    """The trainings after a chunk of those that are not finished."""
    cpu_before, before = time.process_time(), time.perf_counter()
    going = [t for t in trainings if not t.progress.finished(settings)]
    learners, keys, scales = [], [], []
    for t in going:
        scale = t.progress.factor * _schedule(settings, t.progress.done)
        learners.append(
            eqx.tree_at(
                lambda x: x.state.optimiser_state.hyperparams["scale"],
                t.learner,
                jnp.asarray(scale),
            )
        )
        keys.append(jr.fold_in(t.key, t.progress.done))
        scales.append(scale)
    if len(going) == 1:
        learner, values = take_steps(settings, step, learners[0], keys[0])
        learners, values = [learner], [values]
    else:
        # The program is compiled anew once half of the seeds are finished, and a quarter; between
        # these, others stand in for those that are finished.
        room = min(len(trainings), 2 ** (len(going) - 1).bit_length())
        stand_in = [0] * (room - len(going))
        together = stacked([learners[i] for i in [*range(len(going)), *stand_in]])
        together, values = take_steps_together(
            settings, step, together, jnp.stack([*keys, *(keys[i] for i in stand_in)])
        )
        learners = [one_of(together, i) for i in range(len(going))]
    validated = [
        float(validate(settings, learner.average, t.validation_key))
        for t, learner in zip(going, learners, strict=True)
    ]
    cpu_seconds, seconds = time.process_time() - cpu_before, time.perf_counter() - before
    after = {}
    for i, t in enumerate(going):
        recorded = dict(zip(step.recorded, np.asarray(values[i]).tolist(), strict=True))
        row = [t.progress.done + CHUNK, recorded["loss"], recorded["accuracy"], validated[i]]
        progress = dataclasses.replace(
            t.progress,
            rows=[*t.progress.rows, [*row, recorded["gradient_norm"], scales[i]]],
            cpu_seconds=t.progress.cpu_seconds + cpu_seconds / len(going),
            seconds=t.progress.seconds + seconds,
        )
        learner, best = go_on(settings, progress, learners[i], t.best)
        after[t.seed] = dataclasses.replace(t, learner=learner, best=best, progress=progress)
    return [after.get(t.seed, t) for t in trainings]


def go_on(
    settings: Settings, progress: Progress, learner: Learner, best: Learner
) -> tuple[Learner, Learner]:
    """What to train on after a chunk, and the best so far: after a setback, training goes on from
    the average that was the best, with smaller steps."""
    right, validated = progress.rows[-1][2:4]
    if validated > progress.best:
        best, progress.best = learner, validated
    if progress.best > 0.5 and min(right, validated) < progress.best - settings.setback:
        learner = best.from_average()
        progress.factor = max(0.1, settings.factor_after_setback * progress.factor)
        progress.setbacks += 1
    else:
        progress.factor = min(1.0, 1.02 * progress.factor)
    return learner, best


def _schedule(settings: Settings, done: int) -> float:
    """Factor of the learning rates: small at first, as Adam's averages form, then falling to 0."""
    return 0.3 if done == 0 else (1 + math.cos(math.pi * done / settings.max_steps)) / 2
