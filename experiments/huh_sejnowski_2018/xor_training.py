"""How the delayed-memory XOR is trained: where the network starts, and how it goes on."""

import dataclasses
import math
import time
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float, Key, PRNGKeyArray

import roughsnn as rs
from roughsnn.gated import GatedNetwork
from roughsnn.training.progress import Progress as ProgressBar
from roughsnn.training.step import TrainState, TrainStep

from .xor_network import initial_network, respond
from .xor_task import Task, answer_of, draw_trials


@dataclasses.dataclass(frozen=True)
class Settings(rs.RunSettings):
    """A spiking network keeps pulses in mind and answers with their exclusive or."""

    num_neurons: int = 40
    """Neurons."""
    assemblies: int = 8
    """Assemblies of mutually exciting neurons to start with."""
    longest_delay: float = 50.0
    """Longest delay between pulses and before the cue, ms; the shortest is 15."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the networks that are trained."""
    side_by_side: bool = True
    """Whether the seeds are trained side by side in one compiled program, or one after another. The
    rounding differs, and spikes make much of it."""
    max_steps: int = 8000
    """Gradient steps for each seed, over which the learning rates fall to 0 as half a period of a
    cosine; training ends earlier once `mastery` is reached."""
    batch_size: int = 64
    """Trials in each gradient step, drawn afresh."""
    readout_rate: float = 2e-3
    """Learning rate of Adam for the readout."""
    learning_rate: float = 3e-4
    """The same for input weights and bias."""
    recurrent_rate: float = 1e-4
    """The same for the recurrent weights."""
    averaging: float = 0.99
    """What each step leaves of the averaged parameters; the rest is of its own."""
    validation: int = 1000
    """Trials on which the average is tried after each 50 steps, the same throughout."""
    mastery: float = 0.96
    """Share of right answers, of the average on those trials, that is enough."""
    setback: float = 0.15
    """Training goes back to the best average if the share falls by so much below its own, once that
    is above one half."""
    factor_after_setback: float = 0.7
    """By what the learning rates are then multiplied, down to a tenth of what they were; each 50
    steps without a setback raise them by 2 %."""
    activity_price: float = 0.1
    """Price of the squared distance of a neuron's mean trace from 0.6, its value at 30 Hz."""
    full: bool = False
    """The full size: 80 neurons, 16 assemblies, delays to 170 ms."""
    checkpoint_every: int = 200
    """Steps between two checkpoints; a run that is killed loses at most so many."""
    output: Path = Path("runs/delayed-memory-xor")
    """Folder under which the run gets a numbered folder of its own."""
    quick: bool = False
    """A small size: the first 500 steps of one seed."""

    def resized(self) -> "Settings":
        """The settings that are run: with `quick` or `full`, another size of them."""
        if self.quick:
            return dataclasses.replace(self, seeds=self.seeds[:1], max_steps=500)
        if self.full:
            return dataclasses.replace(self, num_neurons=80, assemblies=16, longest_delay=170.0)
        return self

    @property
    def task(self) -> Task:
        """The task with its longest delay."""
        return Task(longest_delay=self.longest_delay)


CHUNK = 50
"""Steps between looks at the accuracy."""

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


def training_step(settings: Settings) -> TrainStep:
    """The gradient step; its learning rates have a common factor `scale` in the state."""
    task = settings.task

    def simulate(network, key):
        task_key, start_key = jr.split(key)
        trials = draw_trials(task, task_key, settings.batch_size)
        # runaway activity is answered by a step back, not by an error
        solution = respond(task, network, trials, start_key, clip_trials=2.0, throw=False)
        return solution.readout[..., 0], solution.traces[..., 0, :], trials

    def loss(generated, data):
        readout, traces, trials = generated
        error = jnp.sum((readout - trials.target[:, None]) ** 2 * trials.weight, axis=1)
        activity = jnp.mean(traces, axis=(0, 1))
        return jnp.mean(error) + settings.activity_price * jnp.mean((activity - 0.6) ** 2)

    def accuracy(network, generated, holdout):
        readout, _, trials = generated
        return jnp.mean(answer_of(readout, trials) == trials.target)

    def groups(network):
        rest = jax.tree.map(lambda _: "rest", network)
        recurrent = ("recurrent",) * len(network.weights)
        return eqx.tree_at(lambda net: (net.weights, net.readout), rest, (recurrent, "readout"))

    def optimiser(scale):
        rates = {
            "readout": settings.readout_rate,
            "recurrent": settings.recurrent_rate,
            "rest": settings.learning_rate,
        }
        adams = {name: optax.adam(rate, b2=0.999) for name, rate in rates.items()}
        return optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.multi_transform(adams, groups),
            optax.scale(scale),
        )

    return TrainStep(
        simulate,
        loss,
        optax.inject_hyperparams(optimiser)(scale=1.0),
        metrics={"accuracy": accuracy},
    )


class Learner(eqx.Module):
    """A network in training, and the average over its last steps.

    Attributes:
        state: the network that is trained, with its optimiser.
        average: its parameters, averaged with weights that decay with the age of a step. Steps in
            random directions, which keep the network itself from settling, cancel in it.
    """

    state: TrainState
    average: GatedNetwork

    def from_average(self) -> "Learner":
        """The same, to go on with the averaged parameters."""
        return eqx.tree_at(lambda x: x.state.model, self, self.average)


@eqx.filter_jit
def take_steps(
    settings: Settings, step: TrainStep, learner: Learner, key: PRNGKeyArray
) -> tuple[Learner, Float[Array, " recorded"]]:
    """`CHUNK` steps, and the mean of what they record."""
    return _take_steps(settings, step, learner, key)


@eqx.filter_jit
def take_steps_together(
    settings: Settings, step: TrainStep, learners: Learner, keys: Key[Array, " seeds"]
) -> tuple[Learner, Float[Array, "seeds recorded"]]:
    """`take_steps` of several seeds, whose arrays are stacked along their first axis."""
    return eqx.filter_vmap(partial(_take_steps, settings, step))(learners, keys)


def _take_steps(settings, step, learner, key):
    arrays, static = eqx.partition(learner, eqx.is_array)

    def towards(average, new):
        return average + (1 - settings.averaging) * (new - average)

    def one(arrays, key):
        # a step with values that are not finite changes nothing, and the next draws other trials
        learner = eqx.combine(arrays, static)
        state, record = step(learner.state, None, key)
        average = jax.tree.map(towards, learner.average, state.model)
        return eqx.filter(Learner(state, average), eqx.is_array), record.values

    arrays, values = jax.lax.scan(one, arrays, jr.split(key, CHUNK))
    return eqx.combine(arrays, static), jnp.nanmean(values, axis=0)


@eqx.filter_jit
def validate(settings: Settings, network: GatedNetwork, key: PRNGKeyArray) -> Float[Array, ""]:
    """Share of right answers on the trials of a key."""
    task_key, start_key = jr.split(key)
    trials = draw_trials(settings.task, task_key, settings.validation)
    solution = respond(settings.task, network, trials, start_key, throw=False)
    return jnp.mean(answer_of(solution.readout[..., 0], trials) == trials.target)


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
        together = _stacked([learners[i] for i in [*range(len(going)), *stand_in]])
        together, values = take_steps_together(
            settings, step, together, jnp.stack([*keys, *(keys[i] for i in stand_in)])
        )
        learners = [_one_of(together, i) for i in range(len(going))]
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


def _stacked(learners: list[Learner]) -> Learner:
    return jax.tree.map(lambda *x: jnp.stack(x) if eqx.is_array(x[0]) else x[0], *learners)


def _one_of(learners: Learner, i: int) -> Learner:
    return jax.tree.map(lambda x: x[i] if eqx.is_array(x) else x, learners)


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
