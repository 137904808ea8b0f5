"""How the delayed-memory XOR is trained: where the network starts, and how it goes on."""

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

from .xor_task import Task, Trials, answer_of, draw_trials


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
    """Seeds, trained one after another."""
    max_steps: int = 5000
    """Gradient steps for each seed; training ends earlier if all is learned."""
    final_steps: int = 500
    """The last steps, in which the learning rates fall to 0."""
    batch_size: int = 64
    """Trials in each gradient step, drawn afresh."""
    readout_rate: float = 2e-3
    """Learning rate of Adam for the readout."""
    learning_rate: float = 2e-4
    """The same for input weights and bias."""
    recurrent_rate: float = 5e-5
    """The same for the recurrent weights."""
    mastery: float = 0.97
    """Share of right answers, over 50 steps, at which the last steps begin."""
    setback: float = 0.15
    """Training goes back to where it was best if the share falls by so much."""
    activity_price: float = 0.3
    """Price of the squared distance of a neuron's mean trace from 0.6, its value at 30 Hz."""
    full: bool = False
    """The full size: 80 neurons, 16 assemblies, delays to 170 ms, up to 20000 steps."""
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
            return dataclasses.replace(
                self, num_neurons=80, assemblies=16, longest_delay=170.0, max_steps=20_000
            )
        return self

    @property
    def task(self) -> Task:
        """The task with its longest delay."""
        return Task(longest_delay=self.longest_delay)


CHUNK = 50
"""Steps between looks at the accuracy."""

PROGRESS_COLUMNS = ("step", "loss", "accuracy", "gradient_norm", "rate_factor")
"""What the rows of `Progress` hold."""


@dataclasses.dataclass
class Progress:
    """How far the training of a seed has got, beside its networks."""

    rows: list[list[float]] = dataclasses.field(default_factory=list)
    """What `PROGRESS_COLUMNS` names; one row a chunk."""
    best: float = 0.0
    """Highest accuracy of a chunk."""
    factor: float = 1.0
    """Factor of the learning rates; smaller after each setback."""
    setbacks: int = 0
    final_since: int | None = None
    """Step at which the last steps began."""
    cpu_seconds: float = 0.0
    seconds: float = 0.0
    finished: bool = False

    @property
    def done(self) -> int:
        """Steps taken."""
        return int(self.rows[-1][0]) if self.rows else 0


def initial_network(settings: Settings, key) -> GatedNetwork:
    """Assemblies that share their input, up to a little noise, and excite each other through slow
    synapses: silent by themselves, they go on firing once a pulse has started them. Nothing in
    them is made for the exclusive or."""
    n, groups = settings.num_neurons, settings.assemblies
    keys = jr.split(key, 6)
    size = n // groups
    member = jnp.arange(n) // size
    together = (member[:, None] == member[None, :]) & ~jnp.eye(n, dtype=bool)
    slow = together * 0.45 / (size - 1) + 0.1 / math.sqrt(n) * jr.normal(keys[0], (n, n))
    # Assemblies of every kind, in random combinations: independent draws for so few would leave
    # some seeds without any that prefers one sign.
    count = -(-n // size)
    kinds = norm.ppf(jnp.linspace(0.5, count - 0.5, count) / count)
    pulses = kinds[member]
    cue = 0.2 * jr.permutation(keys[1], kinds)[member]
    excitability = 0.03 * jr.permutation(keys[4], kinds)[member] - 0.1
    return GatedNetwork(
        ThetaNeuron(tau=25.0),
        RaisedCosineGate(0.8),
        taus=(20.0, 5.0),
        weights=(slow, jnp.zeros((n, n))),
        input_weights=jnp.stack([pulses, cue]) + 0.3 * jr.normal(keys[2], (2, n)),
        bias=excitability + 0.03 * jr.normal(keys[3], (n,)),
        readout=0.1 * jr.normal(keys[5], (n, 1)),
    )


def respond(task: Task, network: GatedNetwork, trials: Trials, key, **options) -> GatedSolution:
    """The network's response. Potentials start anywhere in the lower half, in each trial anew:
    a network that is right in spite of it does not hang on the times of single spikes."""
    v0 = jr.uniform(key, (len(trials.target), network.num_neurons), maxval=0.45)
    return solve_gated(network, trials.inputs, task.dt, v0=v0, **options)


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


def train(
    settings: Settings, seed: int, checkpoints: rs.Checkpoints
) -> tuple[GatedNetwork, Progress]:
    """Train one seed from its newest checkpoint, or from the start, and keep checkpoints.

    The network that comes back is that after the last steps, or the best so far where those
    were worse. Steps depend on the seed and their number alone: a run that was cut off goes on to
    the same network.
    """
    with checkpoints.open():
        return _train(settings, seed, checkpoints)


def _train(
    settings: Settings, seed: int, checkpoints: rs.Checkpoints
) -> tuple[GatedNetwork, Progress]:
    start_key, key = jr.split(jr.key(seed))
    step = training_step(settings)
    state = step.init(initial_network(settings, start_key))
    best, progress = state, Progress()
    found = checkpoints.restore((state, best))
    if found is not None:
        (state, best), progress = found.tree, Progress(**found.notes)
    cpu_before = progress.cpu_seconds - time.process_time()
    before = progress.seconds - time.perf_counter()
    while not progress.finished and progress.done < settings.max_steps:
        done = progress.done
        if progress.final_since is None and settings.max_steps - done <= settings.final_steps:
            progress.final_since = done
        scale = progress.factor * _schedule(settings, progress)
        state = eqx.tree_at(
            lambda s: s.optimiser_state.hyperparams["scale"], state, jnp.asarray(scale)
        )
        state, values = take_steps(step, state, jr.fold_in(key, done))
        recorded = dict(zip(step.recorded, np.asarray(values).tolist(), strict=True))
        right = recorded["accuracy"]
        done += CHUNK
        progress.rows.append([done, recorded["loss"], right, recorded["gradient_norm"], scale])
        if right > progress.best:
            best, progress.best = state, right
            progress.factor = min(1.0, 1.05 * progress.factor)
        elif progress.best > 0.5 and right < progress.best - settings.setback:
            # a high accuracy of one chunk may have been luck: it counts a little less each time
            state, progress.best = best, progress.best - 0.01
            progress.factor = max(0.15, 0.7 * progress.factor)
            progress.setbacks += 1
        if progress.final_since is None and right >= settings.mastery:
            progress.final_since = done
        elif progress.final_since is not None:
            progress.finished = done - progress.final_since >= settings.final_steps
        progress.cpu_seconds = cpu_before + time.process_time()
        progress.seconds = before + time.perf_counter()
        at_end = progress.finished or done >= settings.max_steps
        if at_end and right < progress.best - 0.02:
            state = best
        if len(progress.rows) % 4 == 0 or at_end:
            print(
                f"seed {seed}, step {done}: {right:.1%} right, loss {recorded['loss']:.3f}, "
                f"{progress.setbacks} setbacks, {progress.cpu_seconds / 60:.1f} CPU minutes",
                flush=True,
            )
        if at_end or done // checkpoints.every > (done - CHUNK) // checkpoints.every:
            checkpoints.save(done, (state, best), notes=dataclasses.asdict(progress))
    return state.model, progress


def _schedule(settings: Settings, progress: Progress) -> float:
    """Factor of the learning rates: small at first, as Adam's averages form, and at the end."""
    if progress.final_since is None:
        return 1.0 if progress.rows else 0.3
    part = (progress.done - progress.final_since) / settings.final_steps
    return (1 + math.cos(math.pi * min(part, 1.0))) / 2
