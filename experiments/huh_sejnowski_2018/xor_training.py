"""How the delayed-memory XOR is trained: where the network starts, and its curriculum."""

import dataclasses
import math
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jax.scipy.stats import norm

import roughsnn as rs
from roughsnn.gated import GatedNetwork, GatedSolution, RaisedCosineGate, ThetaNeuron, solve_gated
from roughsnn.training.step import TrainState, TrainStep

from .xor_task import Difficulty, Task, Trials, answer_of, draw_trials


@dataclasses.dataclass(frozen=True)
class Settings(rs.RunSettings):
    """A spiking network keeps pulses in mind and answers with their exclusive or."""

    num_neurons: int = 40
    """Neurons."""
    longest_delay: float = 50.0
    """Longest delay between pulses and before the cue, ms; the shortest is 15."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds, trained one after another."""
    max_steps: int = 12_000
    """Gradient steps for each seed; training ends earlier if all is learned."""
    final_steps: int = 1500
    """The last steps, at full difficulty, in which the learning rate falls to 0."""
    batch_size: int = 32
    """Trials in each gradient step, drawn afresh."""
    learning_rate: float = 1e-3
    """Learning rate of Adam for input weights, bias and readout."""
    recurrent_rate: float = 1e-4
    """The same for the recurrent weights."""
    mastery: float = 0.93
    """Share of right answers, over 50 steps, at which the task gets harder."""
    collapse: float = 0.55
    """Share below which training goes back to where it last mastered its task."""
    activity_price: float = 0.5
    """Price of the squared distance of a neuron's mean trace from 0.6, its value at 30 Hz."""
    assemblies: int = 8
    """Assemblies of mutually exciting neurons to start with."""
    full: bool = False
    """The full size: 80 neurons, 16 assemblies, delays to 170 ms, up to 50000 steps."""
    checkpoint_every: int = 500
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
            return dataclasses.replace(
                self, num_neurons=80, assemblies=16, longest_delay=170.0, max_steps=50_000
            )
        return self

    @property
    def task(self) -> Task:
        """The task with its longest delay."""
        return Task(longest_delay=self.longest_delay)


CHUNK = 50
"""Steps between looks at the accuracy."""

PROGRESS_COLUMNS = ("step", "longest_delay", "single", "loss", "accuracy", "gradient_norm")
"""What the rows of `Progress` hold."""


class Trainee(eqx.Module):
    """What a training step needs: the network, and where it is in the curriculum."""

    network: GatedNetwork
    difficulty: Difficulty


@dataclasses.dataclass
class Progress:
    """How far the training of a seed has got, beside its state."""

    rows: list[list[float]]
    """Step, longest delay, share of single pulses, loss, accuracy, gradient norm; one a chunk."""
    final_since: int | None = None
    """Step at which the learning rate began to fall."""
    factor: float = 1.0
    """Factor of the learning rate; smaller after each collapse."""
    mastered: bool = False
    """Whether anything has been mastered yet."""
    cpu_seconds: float = 0.0
    finished: bool = False


def initial_trainee(settings: Settings, key) -> Trainee:
    """Assemblies that share their input, up to a little noise, and excite each other through slow
    synapses: most are silent by themselves, and go on firing once a pulse has started them."""
    n, groups = settings.num_neurons, settings.assemblies
    keys = jr.split(key, 6)
    size = n // groups
    member = jnp.arange(n) // size
    together = (member[:, None] == member[None, :]) & ~jnp.eye(n, dtype=bool)
    slow = together * 0.6 / (size - 1) + 0.1 / math.sqrt(n) * jr.normal(keys[0], (n, n))
    # Assemblies of every kind, in random combinations: independent draws for so few would leave
    # some seeds without any that prefers one sign.
    count = -(-n // size)
    kinds = norm.ppf(jnp.linspace(0.5, count - 0.5, count) / count)
    pulses = kinds[member]
    cue = 0.5 * jr.permutation(keys[1], kinds)[member]
    excitability = 0.1 * jr.permutation(keys[4], kinds)[member] - 0.1
    network = GatedNetwork(
        ThetaNeuron(tau=25.0),
        RaisedCosineGate(0.8),
        taus=(20.0, 5.0),
        weights=(slow, jnp.zeros((n, n))),
        input_weights=jnp.stack([pulses, cue]) + 0.3 * jr.normal(keys[2], (2, n)),
        bias=excitability + 0.03 * jr.normal(keys[3], (n,)),
        readout=0.1 * jr.normal(keys[5], (n, 1)),
    )
    return Trainee(network, Difficulty(jnp.asarray(0.0), jnp.asarray(1 / 3)))


def respond(task: Task, network: GatedNetwork, trials: Trials, key, **options) -> GatedSolution:
    """The network's response. Potentials start anywhere in the lower half, in each trial anew:
    a network that is right in spite of it does not hang on the times of single spikes."""
    v0 = jr.uniform(key, (len(trials.target), network.num_neurons), maxval=0.45)
    return solve_gated(network, trials.inputs, task.dt, v0=v0, **options)


def training_step(settings: Settings) -> TrainStep:
    """The gradient step; its learning rates have a common factor `scale` in the state."""
    task = settings.task

    def simulate(trainee, key):
        task_key, start_key = jr.split(key)
        trials = draw_trials(task, trainee.difficulty, task_key, settings.batch_size)
        # a collapse to runaway activity is answered by the curriculum, not by an error
        solution = respond(task, trainee.network, trials, start_key, clip_trials=4.0, throw=False)
        return solution.readout[..., 0], solution.traces[..., 0, :], trials

    def loss(generated, data):
        readout, traces, trials = generated
        error = jnp.sum((readout - trials.target[:, None]) ** 2 * trials.weight, axis=1)
        activity = jnp.mean(traces, axis=(0, 1))
        return jnp.mean(error) + settings.activity_price * jnp.mean((activity - 0.6) ** 2)

    def accuracy(trainee, generated, holdout):
        readout, _, trials = generated
        return jnp.mean(answer_of(readout, trials) == trials.target)

    def groups(trainee):
        rest = jax.tree.map(lambda _: "rest", trainee)
        return eqx.tree_at(lambda t: t.network.weights, rest, ("recurrent", "recurrent"))

    def optimiser(scale):
        rates = {"recurrent": settings.recurrent_rate, "rest": settings.learning_rate}
        adams = {name: optax.adam(rate, b2=0.99) for name, rate in rates.items()}
        return optax.chain(
            optax.clip_by_global_norm(2.0),
            optax.multi_transform(adams, groups),
            optax.scale(scale),
        )

    return TrainStep(
        simulate,
        loss,
        optax.inject_hyperparams(optimiser)(scale=1.0),
        trainable=lambda trainee: trainee.network,
        metrics={"accuracy": accuracy},
    )


@eqx.filter_jit
def take_steps(step: TrainStep, state: TrainState, key) -> tuple[TrainState, jax.Array]:
    """`CHUNK` steps, and the mean of what they record."""
    arrays, static = eqx.partition(state, eqx.is_array)

    def one(arrays, key):
        # a step with values that are not finite changes nothing, and the next draws other trials
        state, record = step(eqx.combine(arrays, static), None, key)
        return eqx.filter(state, eqx.is_array), record.values

    arrays, values = jax.lax.scan(one, arrays, jr.split(key, CHUNK))
    return eqx.combine(arrays, static), jnp.nanmean(values, axis=0)


def harder(task: Task, difficulty: Difficulty) -> Difficulty | None:
    """The next difficulty: delays longer by a 25th of the longest; `None` after the last."""
    longest = float(difficulty.longest)
    if longest >= task.longest_delay:
        return None
    longest = min(longest + task.longest_delay / 25, task.longest_delay)
    return Difficulty(jnp.asarray(longest), difficulty.single)


def train(settings: Settings, seed: int, checkpoints: rs.Checkpoints) -> tuple[Trainee, Progress]:
    """Train one seed from its newest checkpoint, or from the start, and keep checkpoints."""
    with checkpoints.open():
        return _train(settings, seed, checkpoints)


def _train(settings: Settings, seed: int, checkpoints: rs.Checkpoints) -> tuple[Trainee, Progress]:
    start_key, key = jr.split(jr.key(seed))
    step = training_step(settings)
    state = step.init(initial_trainee(settings, start_key))
    mastered, progress = state, Progress([])
    found = checkpoints.restore((state, mastered))
    if found is not None:
        (state, mastered), progress = found.tree, Progress(**found.notes)
    cpu_before = progress.cpu_seconds - time.process_time()
    done = int(progress.rows[-1][0]) if progress.rows else 0
    while not progress.finished and done < settings.max_steps:
        if progress.final_since is None and settings.max_steps - done <= settings.final_steps:
            progress.final_since = done
        scale = jnp.asarray(_learning_rate(settings, progress, state, done))
        state = eqx.tree_at(lambda s: s.optimiser_state.hyperparams["scale"], state, scale)
        state, values = take_steps(step, state, jr.fold_in(key, done))
        done += CHUNK
        recorded = dict(zip(step.recorded, np.asarray(values).tolist(), strict=True))
        difficulty, right = state.model.difficulty, recorded["accuracy"]
        at = [float(difficulty.longest), float(difficulty.single)]
        progress.rows.append([done, *at, recorded["loss"], right, recorded["gradient_norm"]])
        if right > settings.mastery:
            mastered, progress.mastered = state, True
            progress.factor = min(1.0, 1.05 * progress.factor)
            following = harder(settings.task, difficulty)
            if following is not None:
                state = eqx.tree_at(lambda s: s.model.difficulty, state, following)
            elif progress.final_since is None:
                progress.final_since = done
        elif progress.mastered and right < settings.collapse:
            state = mastered
            progress.factor = max(0.2, 0.7 * progress.factor)
        if progress.final_since is not None:
            progress.finished = done - progress.final_since >= settings.final_steps
        progress.cpu_seconds = cpu_before + time.process_time()
        ends = progress.finished or done >= settings.max_steps
        if ends or done % (10 * CHUNK) == 0:
            print(
                f"seed {seed}, step {done}: delays to {at[0]:.0f} ms, {at[1]:.0%} single pulses, "
                f"{right:.1%} right, loss {recorded['loss']:.3f}",
                flush=True,
            )
        if ends or done // checkpoints.every > (done - CHUNK) // checkpoints.every:
            checkpoints.save(done, (state, mastered), notes=dataclasses.asdict(progress))
    return state.model, progress


def _learning_rate(settings: Settings, progress: Progress, state: TrainState, done: int) -> float:
    """Factor of the learning rates: smaller for long delays, and to almost 0 at the end."""
    share = float(state.model.difficulty.longest) / settings.longest_delay
    scale = progress.factor * (1 - 0.7 * share)
    if progress.final_since is not None:
        part = min((done - progress.final_since) / settings.final_steps, 1.0)
        scale *= 0.02 + 0.98 * (1 + math.cos(math.pi * part)) / 2
    return scale
