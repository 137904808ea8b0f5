"""Training of a neuron on sequences of intervals, by least squares in the feature space of a loss.

A loss here is the squared norm of a residual: the difference of two mean signatures, or of two mean
embeddings under a signature kernel. With a term for a prior about the start it is minimised by a
trust-region least-squares method, on a large simulated sample whose noise is kept. The Jacobian is
exact for a neuron that forgets at its spikes, see `law`, and by central differences for others; a
round ends where nothing improves, and the ends of several, which
have noise of their own, are averaged. See the experiment's page for why not by stochastic steps
along pathwise gradients.
"""

import abc
import dataclasses
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

import roughsnn as rs
from roughsnn.signatures import event_signature
from roughsnn.training.progress import Progress

from .law import exact_jacobian, has_law
from .models import MODELS, Parameters
from .remembering import Memory
from .splitting import IntervalClock, Part, on_clock, sequences

STEP = 0.3
"""Step of the differences; parameters are logarithms, or numbers about 1. With noise that is kept
the loss is rough below it: the slopes of a smaller step are those of the sample."""

ROUNDS = 6
"""Rounds of the minimiser, each from the start, with noise of its own. The loss is flat about its
minimum and a round ends anywhere in there; the mean of n ends has an n-th of their variance."""

FRESH = 12
"""Samples with fresh noise that the start and the mean of the ends are compared by."""

LANDMARKS = 100
"""Recorded sequences whose kernels are the coordinates of a mean embedding."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes of a fit; times in units of the mean interval.

    Attributes:
        model: name of the model.
        length: intervals in a sequence.
        warm_up: intervals of a simulated trial that come before the sequence.
        window: longest a trial may take.
        dt0: step of the solver.
        batch: simulated trials for each condition.
        sequences: overlapping sequences in a trial.
        data: recorded sequences at most, evenly spread where there are more.
        prior: standard deviation of a parameter about its start before anything was recorded, see
            `fit`.
        longest: how far an interval is followed where its law is computed.
    """

    model: str
    length: int
    warm_up: int
    window: float
    dt0: float
    batch: int
    sequences: int = 1
    data: int = 1000
    prior: float = 1.0
    longest: float = 10.0

    @property
    def spikes(self) -> int:
        """Spikes of a simulated trial."""
        return self.warm_up + self.length + self.sequences


class Clock(eqx.Module):
    """The interval clock of a condition as arrays."""

    log_quantiles: Float[Array, "41"]
    shares: Float[Array, "41"]
    weight: float = eqx.field(static=True, default=0.3)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A fit: the parameters that are kept, and how they came about.

    Attributes:
        parameters: the mean of what the rounds ended at, or, where that is no better, the start.
        history: `round` and `loss` of each evaluation, and the least loss so far in its round,
            `best`. Rounds have different noise.
        loss_before: loss of the start, with fresh noise.
        loss_after: loss of the mean of the ends, with the same noise. All losses are with the term
            for the prior.
        unfinished: share of the simulated intervals that did not end in their trial.
        evaluations: how often the model was simulated, not counting the differences.
        by_chance: loss that the true law would have on average, because the recording is short, see
            `loss_by_chance`: what is below it cannot be told apart.
        ends: parameters that each round ended at, in the order of the leaves of `parameters`.
    """

    parameters: Parameters
    history: dict[str, np.ndarray]
    loss_before: float
    loss_after: float
    unfinished: float
    evaluations: int
    by_chance: float
    ends: Float[np.ndarray, "rounds parameters"]


class Features(eqx.Module):
    """Features of sequences, whose mean over a sample is compared, see `LOSSES`."""

    @abc.abstractmethod
    def __call__(self, trains: rs.SpikeTrains) -> Float[Array, "samples features"]:
        """Of each sequence of a sample."""


class Words(Features):
    """All words of the signature of up to five letters.

    Two units of time and two of counts make the levels of one size.
    """

    def __call__(self, trains):
        scale = 2.0 / trains.max_spikes
        return event_signature(trains, 5, time_scale=scale, neuron_scale=scale)


class Embedding(Features):
    r"""The kernels of a sequence with `LANDMARKS` recorded sequences $z$, by a signature kernel.

    The features are $C^{-1} k(z, x)$ with $C C^\top = k(z, z) + 10^{-3}$: the squared distance of
    their means is the squared MMD as far as the kernels of $z$ see it. Time runs over 7 units, as
    in the part of the default two-sample test that sees intervals.
    """

    kernel: rs.SignatureKernel
    marks: Float[Array, "marks length"]
    norms: Float[Array, " marks"]
    lower: Float[Array, "marks marks"]

    def __init__(self, data: rs.SpikeTrains):
        kernel = rs.SignatureKernel(7.0 / data.max_spikes, None, normalise=True, orders=(10, 7))
        kernel = kernel.fixed_for(data)
        kernel = eqx.tree_at(lambda k: k.neuron_scale, kernel, jnp.asarray(kernel.neuron_scale) * 2)
        spread = np.linspace(0, len(data) - 1, min(LANDMARKS, len(data))).round().astype(int)
        marks = data[jnp.asarray(spread)]
        self.kernel, self.marks, self.norms = kernel, marks.times, kernel.norms(marks)
        gram = kernel(marks)
        self.lower = jnp.linalg.cholesky(gram + 1e-3 * jnp.eye(len(marks), dtype=gram.dtype))

    def __call__(self, trains):
        norms = (self.norms, self.kernel.norms(trains))
        cross = self.kernel(_as_trains(self.marks), trains, norms=norms)
        return jax.scipy.linalg.solve_triangular(self.lower, cross, lower=True).T


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss: its name, and the features for a recorded sample."""

    name: str
    features: Callable[[rs.SpikeTrains], Features]


LOSSES = {
    "signature-kernel": Loss("signature-kernel MMD", Embedding),
    "expected-signature": Loss("expected signatures", lambda data: Words()),
}
"""The losses by the name that the command knows."""


def sequences_on_clock(intervals, clock: Clock) -> rs.SpikeTrains:
    """Sequences of intervals, in units of the mean, as trains on the clock of a condition."""
    readings = on_clock(intervals, clock.log_quantiles, clock.shares, clock.weight)
    return _as_trains(jnp.cumsum(readings, axis=-1))


def _as_trains(times) -> rs.SpikeTrains:
    """Spike times on the clock, where n intervals end by n."""
    return rs.SpikeTrains(
        times,
        jnp.zeros(times.shape, jnp.int32),
        0.0,
        float(times.shape[-1]),
        jnp.zeros(times.shape[:-1], bool),
        num_neurons=1,
    )


def generated_intervals(parameters: Parameters, condition: int, key, plan: Plan):
    """Intervals of the model in a condition after the warm-up, shape (batch, n).

    A trial begins as right after a spike. One that ends before its last spike has the rest of its
    window as one interval, and then intervals as long as the window: rare where that is long.
    """
    trains = rs.simulate(
        parameters.neuron(), 0.0, plan.window, plan.dt0, key=key, num_samples=plan.batch,
        max_spikes=plan.spikes, stop_after=plan.spikes,
        adjoint=rs.NoGradient(), input_current=parameters.currents()[condition],
    )  # fmt: skip
    late = jnp.arange(plan.spikes, dtype=trains.times.dtype) + 1
    times = jnp.where(
        trains.mask, trains.times, jnp.broadcast_to(plan.window * late, trains.times.shape)
    )
    return jnp.diff(times, axis=-1)[:, plan.warm_up :]


class Target(eqx.Module):
    r"""What a condition is compared with.

    A distance of means counts every direction of the features in units of its spread over the
    recorded sequences, $(\Sigma + \epsilon)^{-1/2}$ with $\Sigma$ their covariance and $\epsilon$ a
    thousandth of its largest eigenvalue: directions that vary much are known little.

    `by_chance` is the mean squared distance of the recorded mean from that of the true law.
    """

    clock: Clock
    features: Features
    weights: Float[Array, "directions features"]
    values: Float[Array, " directions"]
    by_chance: Float[Array, ""]

    @classmethod
    def of(cls, part: Part, unit: float, plan: Plan, loss: Loss) -> "Target":
        """The target of the training part of a condition."""
        clock = IntervalClock(part.train, unit)
        arrays = Clock(clock.log_quantiles, clock.shares, clock.weight)
        count = min(plan.data, part.train.size - plan.length + 1)
        runs = jnp.asarray(sequences(part.train, plan.length, count) / unit)
        data = sequences_on_clock(runs, arrays)
        features = loss.features(data)
        found = np.asarray(eqx.filter_jit(features)(data), float)
        spread, directions = np.linalg.eigh(np.atleast_2d(np.cov(found.T)))
        seen = spread > 1e-4 * spread[-1]
        weights = directions[:, seen].T / np.sqrt(spread[seen] + 1e-3 * spread[-1])[:, None]
        dtype = jnp.result_type(float)
        values = jnp.asarray(weights @ found.mean(axis=0), dtype)
        last = part.train.size - plan.length
        chance = loss_by_chance(found @ weights.T, plan.length * (count - 1) / max(last, 1))
        return cls(
            arrays, features, jnp.asarray(weights, dtype), values, jnp.asarray(chance, dtype)
        )


def loss_by_chance(values: np.ndarray, overlap: float) -> float:
    r"""Expected squared distance of the mean of recorded sequences from the mean of their law.

    It is

    $$ \frac1{n^2} \sum_{|i - j| < o} (v_i - \bar v) \cdot (v_j - \bar v), $$

    for intervals that are independent, so that sequences are as soon as they do not overlap.

    Args:
        values: of the sequences, in the order in which they were recorded, shape (n, directions).
        overlap: $o$, how many sequences after each other share intervals.
    """
    centred = values - values.mean(axis=0)
    total = np.sum(centred**2)
    for lag in range(1, min(math.ceil(overlap), len(centred))):
        total += 2 * np.sum(centred[lag:] * centred[:-lag])
    return float(max(total, 0.0)) / len(centred) ** 2


@eqx.filter_jit
def residual(x, template: Parameters, targets: list[Target], key, plan: Plan):
    """Features of the model less those of the recording, and the share of unfinished intervals.

    `x` are the parameters, in the order of the leaves of `template`.
    """
    parameters = jax.flatten_util.ravel_pytree(template)[1](x)
    values, unfinished = [], []
    for c, target in enumerate(targets):
        intervals = generated_intervals(parameters, c, jr.fold_in(key, c), plan)
        runs = jnp.stack(
            [intervals[:, i : i + plan.length] for i in range(plan.sequences)], axis=1
        ).reshape(-1, plan.length)
        found = target.features(sequences_on_clock(runs, target.clock))
        values.append(target.weights @ jnp.mean(found, axis=0) - target.values)
        unfinished.append(jnp.mean((intervals >= plan.window).astype(x.dtype)))
    return jnp.concatenate(values) / np.sqrt(len(targets)), jnp.mean(jnp.stack(unfinished))


@eqx.filter_jit
def jacobian(x, template: Parameters, targets: list[Target], key, plan: Plan):
    """Derivatives of the residual by central differences, with the same noise on both sides.

    One simulation after another: a sample is large enough to fill a processor.
    """
    shifts = STEP * jnp.eye(x.size, dtype=x.dtype)
    ends = jnp.concatenate([x[None, :] + shifts, x[None, :] - shifts])
    values = jax.lax.map(lambda at: residual(at, template, targets, key, plan)[0], ends)
    return (values[: x.size] - values[x.size :]).T / (2 * STEP)


def fit(
    parts: list[Part],
    plan: Plan,
    loss: Loss,
    *,
    steps: int,
    seed: int,
    rounds: int = ROUNDS,
    memory: Memory | None = None,
    progress: bool = False,
) -> Trained:
    r"""Fit a neuron.

    What is minimised is the mean squared residual over the conditions and a term for the prior,

    $$ \frac1C \sum_c |r_c(x)|^2 + \frac{|x - x_0|^2}{\tau^2 n}, \qquad n = \sum_c n_c, $$

    with $x_0$ the start, which has the moments of the recorded intervals, $\tau$ `plan.prior`, and
    $n_c$ the recorded sequences that do not overlap. Residuals are in units of the spread of a
    sequence, so $n_c |r_c|^2$ is of the size of $-2$ log-likelihood, and the minimum is the most
    likely point after the recording; the more is recorded the less the prior counts. Without it,
    directions that a short recording says nothing about are fitted to its noise.

    Args:
        parts: the data of the neuron in each condition.
        plan: sizes.
        loss: what is minimised.
        steps: evaluations of the residual in a round at most.
        seed: of the noise.
        rounds: how often the minimiser runs, each time from the start with new noise.
        memory: keeps what is computed, so that a fit that was cut off goes on.
        progress: whether to show a progress bar.
    """
    from scipy.optimize import least_squares

    memory = Memory() if memory is None else memory

    unit = parts[0].unit
    template = MODELS[plan.model].start([part.train for part in parts], unit)
    targets = [Target.of(part, unit, plan, loss) for part in parts]
    flat, unravel = jax.flatten_util.ravel_pytree(template)
    key = jr.key(seed)
    keys = jr.split(jr.fold_in(key, 1), FRESH)
    history: list[list[float]] = []

    def simulated(x, key):
        values, unfinished = residual(jnp.asarray(x, flat.dtype), template, targets, key, plan)
        return np.append(np.asarray(values, float), float(unfinished))

    def found(x, key):
        both = memory.recall("residual", simulated, x, key)
        return both[:-1], float(both[-1])

    start = np.asarray(flat, float)
    known = sum(part.train.size for part in parts) / plan.length
    weight = 1 / (plan.prior * np.sqrt(known))

    def with_prior(values, x):
        return np.append(values, weight * (x - start))

    by_law = has_law(template)

    def of_law(x, key):
        at = jnp.asarray(x, flat.dtype)
        values, slopes = exact_jacobian(at, template, targets, key, plan, sequences_on_clock)
        return np.append(np.asarray(values, float), np.ravel(np.asarray(slopes, float)))

    def both(x, key):
        """Residual and Jacobian; the minimiser asks for the second where it has had the first."""
        flat_both = memory.recall("law", of_law, x, key)
        count = flat_both.size // (1 + start.size)
        return flat_both[:count], flat_both[count:].reshape(count, start.size)

    def evaluate(x, key):
        values = with_prior(both(x, key)[0] if by_law else found(x, key)[0], x)
        history[-1].append(float(values @ values))
        bar.update(1, min(history[-1]))
        return values

    def differences(x, key):
        at = jnp.asarray(x, flat.dtype)
        return np.asarray(jacobian(at, template, targets, key, plan), float)

    def slopes(x, key):
        found = both(x, key)[1] if by_law else memory.recall("slopes", differences, x, key)
        return np.concatenate([found, weight * np.eye(start.size)])

    def fresh(x):
        # the mean of the residuals, as of one sample of the size of all
        values, unfinished = zip(*[found(x, k) for k in keys], strict=True)
        mean = with_prior(np.mean(values, axis=0), x)
        return float(mean @ mean), float(np.mean(unfinished))

    # The unit of potential is free, and with it one direction, which the prior settles.
    loss_before, unfinished_before = fresh(start)
    ends = np.empty((rounds, start.size))
    with Progress(rounds * steps, progress) as bar:
        for number in range(rounds):
            history.append([])
            noise = key if number == 0 else jr.fold_in(key, 1 + number)
            ends[number] = least_squares(
                evaluate, start, slopes, args=(noise,), max_nfev=steps, xtol=1e-3, ftol=1e-3,
                bounds=(start - 3.0, start + 3.0),
            ).x  # fmt: skip
    kept = ends.mean(axis=0)
    loss_after, unfinished = fresh(kept)
    if not loss_after < loss_before:
        kept, unfinished = start, unfinished_before
    return Trained(
        unravel(jnp.asarray(kept, flat.dtype)),
        {
            "round": np.repeat(np.arange(rounds) + 1, [len(losses) for losses in history]),
            "loss": np.concatenate(history),
            "best": np.concatenate([np.minimum.accumulate(losses) for losses in history]),
        },
        loss_before,
        loss_after,
        unfinished,
        sum(len(losses) for losses in history),
        float(np.mean([float(target.by_chance) for target in targets])),
        ends,
    )


def simulate_windows(
    parameters: Parameters,
    condition: int,
    plan: Plan,
    *,
    window: float,
    count: int,
    room: int | None,
    seed: int,
) -> tuple[rs.SpikeTrains, np.ndarray]:
    """Stationary windows and intervals of a fitted model, in units of the mean interval.

    Long trials are simulated; after a start-up, each is cut into windows.

    Args:
        parameters: of the fitted neuron.
        condition: number of the condition.
        plan: of the fit.
        window: length of a window.
        count: windows at least.
        room: spikes that a trial may have at most; by default four times as many as at rate 1.
        seed: of the noise.

    Returns:
        the long trials, without the start-up, which overflow where the room was too small, and
        their intervals.
    """
    start_up = 20.0
    trials = min(128, count)
    per_trial = -(-count // trials)
    # In tens, so that neurons and conditions share a compiled program.
    t1 = 10.0 * math.ceil((start_up + per_trial * window) / 10.0)
    trains = rs.simulate(
        parameters.neuron(), 0.0, t1, plan.dt0, key=jr.key(seed), num_samples=trials,
        max_spikes=room or int(4 * t1 + 100), throw=False,
        adjoint=rs.NoGradient(), input_current=parameters.currents()[condition],
    )  # fmt: skip
    times = np.asarray(trains.times)
    intervals = []
    for row in times:
        row = row[np.isfinite(row)]
        row = row[row > start_up]
        intervals.append(np.diff(row))
    return trains.window(start_up, t1), np.concatenate(intervals)
