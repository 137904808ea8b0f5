"""Training of the neurons on sequences of intervals, all neurons side by side."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float

import roughsnn as rs

from .models import MODELS, Parameters
from .splitting import IntervalClock, Part, on_clock, sequences


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes of a fit; times in units of the mean interval.

    Attributes:
        model: name of the model.
        length: intervals in a sequence.
        warm_up: spikes of a simulated trial that come before the sequence.
        window: longest a trial may take.
        dt0: step of the solver.
        batch: simulated trials in each step, for each condition.
        data: recorded sequences.
    """

    model: str
    length: int
    warm_up: int
    window: float
    dt0: float
    batch: int
    data: int = 160

    @property
    def spikes(self) -> int:
        """Spikes of a simulated trial."""
        return self.warm_up + self.length + 1


class Clocks(eqx.Module):
    """The interval clocks of all conditions."""

    log_quantiles: Float[Array, "conditions 41"]
    shares: Float[Array, "conditions 41"]
    weight: float = eqx.field(static=True, default=0.3)


class Fitted(eqx.Module):
    """One neuron: its parameters, which are trained, and the data, which are not."""

    parameters: Parameters
    clocks: Clocks
    targets: Any


@dataclasses.dataclass(frozen=True)
class Trained:
    """A fit: the parameters that are kept, and how they came about.

    Attributes:
        parameters: those of the last step, or, where training led away, those of the start.
        result: of the training.
        loss_before: loss of the start, with fresh noise.
        loss_after: loss after the last step, with the same noise.
    """

    parameters: Parameters
    result: rs.FitResult
    loss_before: float
    loss_after: float


@dataclasses.dataclass(frozen=True)
class Loss:
    """How generated are compared with recorded sequences, see `losses`."""

    name: str
    make: Callable[[rs.SpikeTrains], Any]


def losses(length: int) -> dict[str, Loss]:
    """The losses, for sequences of a length.

    Both are MMDs of a signature kernel. Time runs over 7 units in the exact kernel, as in the part
    of the default two-sample test that sees intervals; the expected signature has depth 5, two
    units of time and two of counts, so that its levels are of one size.
    """

    def kernel(data):
        fixed = rs.SignatureKernel(7.0 / length, None, normalise=True, orders=(10, 7))
        fixed = fixed.fixed_for(data)
        scale = jnp.asarray(fixed.neuron_scale) * 2
        fixed = eqx.tree_at(
            lambda k: (k.time_scale, k.neuron_scale), fixed, (jnp.asarray(7.0 / length), scale)
        )
        return rs.SignatureMMDLoss(fixed)

    def signature(data):
        return rs.ExpectedSignatureLoss(
            depth=5, time_scale=2.0 / length, channel_scale=2.0 / length
        )

    return {
        "signature-kernel": Loss("signature-kernel MMD", kernel),
        "expected-signature": Loss("expected signatures", signature),
    }


def sequences_on_clock(intervals, clocks: Clocks, condition: int | None = None) -> rs.SpikeTrains:
    """Sequences of intervals, in units of the mean, as trains on the clock of a condition."""
    q, s = clocks.log_quantiles, clocks.shares
    if condition is not None:
        q, s = q[condition], s[condition]
    times = jnp.cumsum(on_clock(intervals, q, s, clocks.weight), axis=-1)
    return rs.SpikeTrains(
        times,
        jnp.zeros(times.shape, jnp.int32),
        0.0,
        float(times.shape[-1]),
        jnp.zeros(times.shape[:-1], bool),
        num_neurons=1,
    )


def generated_intervals(parameters: Parameters, key, plan: Plan) -> Float[Array, "conditions m n"]:
    """Sequences of intervals of the model in each condition, from the spike after the warm-up.

    A trial that ends before its last spike has the rest of its window as one interval, and then
    intervals as long as the window: rare where the window is long.
    """
    neuron = parameters.neuron()

    def of_condition(current, key):
        trains = rs.simulate(
            neuron, 0.0, plan.window, plan.dt0, key=key, num_samples=plan.batch,
            max_spikes=plan.spikes, stop_after=plan.spikes, input_current=current,
        )  # fmt: skip
        late = jnp.arange(plan.spikes, dtype=trains.times.dtype) + 1
        times = jnp.where(
            trains.mask, trains.times, jnp.broadcast_to(plan.window * late, trains.times.shape)
        )
        return jnp.diff(times, axis=-1)[:, -plan.length :]

    currents = parameters.currents()
    keys = jr.split(key, currents.shape[0])
    return jnp.stack([of_condition(c, k) for c, k in zip(currents, keys, strict=True)])


def prepare(parts: list[Part], plan: Plan, loss: Loss) -> tuple[Fitted, Any]:
    """One neuron where its training starts, and its loss."""
    unit = parts[0].unit
    clocks = [IntervalClock(part.train, unit) for part in parts]
    joined = Clocks(
        jnp.stack([c.log_quantiles for c in clocks]), jnp.stack([c.shares for c in clocks])
    )
    targets = []
    function = None
    for condition, part in enumerate(parts):
        runs = jnp.asarray(sequences(part.train, plan.length, plan.data) / unit)
        data = sequences_on_clock(runs, joined, condition)
        if function is None:
            # One kernel for all conditions: on their clocks they are alike.
            function = loss.make(data)
        targets.append(function.target(data))
    start = MODELS[plan.model].start([part.train for part in parts], unit)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *targets)
    return Fitted(start, joined, stacked), function


def fit(
    parts: list[list[Part]],
    plan: Plan,
    loss: Loss,
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    progress: bool,
) -> list[Trained]:
    """Fit every neuron, `parts[neuron][condition]`, side by side in one compiled program."""
    prepared = [prepare(of_neuron, plan, loss) for of_neuron in parts]
    function = prepared[0][1]
    models = jax.tree.map(lambda *x: jnp.stack(x), *[p[0] for p in prepared])
    num_conditions = len(parts[0])

    def simulate(model: Fitted, key):
        return model, generated_intervals(model.parameters, key, plan)

    def distance(generated, _):
        model, intervals = generated
        values = []
        for c in range(num_conditions):
            target = jax.tree.map(lambda x, c=c: x[c], model.targets)
            values.append(function(sequences_on_clock(intervals[c], model.clocks, c), target))
        return sum(values[1:], values[0]) / num_conditions

    def mean_interval(model, generated, _):
        return jnp.mean(generated[1])

    def unfinished(model, generated, _):
        return jnp.mean((generated[1] >= plan.window).astype(generated[1].dtype))

    schedule = optax.cosine_decay_schedule(learning_rate, steps, alpha=0.02)
    results = rs.fit_many(
        models,
        None,
        simulate=simulate,
        loss=distance,
        optimiser=optax.chain(optax.clip_by_global_norm(0.3), optax.adam(schedule)),
        num_steps=steps,
        keys=jr.split(jr.key(seed), len(parts)),
        trainable=lambda model: model.parameters,
        metrics={"mean_interval": mean_interval, "unfinished": unfinished},
        log_every=min(25, steps),
        progress=progress,
    )
    starts = [start for start, _ in prepared]
    return [
        _better(start, r, simulate, distance, seed)
        for start, r in zip(starts, results, strict=True)
    ]


def _better(start: Fitted, result: rs.FitResult, simulate, distance, seed: int) -> Trained:
    """The start or the trained model, whichever is closer to the training data with fresh noise."""

    @jax.jit
    def value(model):
        keys = jr.split(jr.fold_in(jr.key(seed), 1), 6)
        return jnp.mean(jax.lax.map(lambda key: distance(simulate(model, key), None), keys))

    before, after = float(value(start)), float(value(result.model))
    chosen = result.model if after < before else start
    return Trained(chosen.parameters, result, before, after)


def simulate_windows(
    parameters: Parameters,
    condition: int,
    plan: Plan,
    *,
    window: float,
    count: int,
    room: int,
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
        room: spikes that a trial may have at most.
        seed: of the noise.

    Returns:
        the long trials, without the start-up, which overflow where the room was too small, and
        their intervals.
    """
    start_up = 10.0
    trials = 32
    per_trial = -(-count // trials)
    t1 = start_up + per_trial * window
    trains = rs.simulate(
        parameters.neuron(), 0.0, t1, plan.dt0, key=jr.key(seed), num_samples=trials,
        max_spikes=room, input_current=parameters.currents()[condition], throw=False,
    )  # fmt: skip
    times = np.asarray(trains.times)
    intervals = []
    for row in times:
        row = row[np.isfinite(row)]
        row = row[row > start_up]
        intervals.append(np.diff(row))
    return trains.window(start_up, t1), np.concatenate(intervals)
