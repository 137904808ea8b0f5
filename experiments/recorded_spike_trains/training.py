"""Training of a neuron on sequences of intervals, by gradients with the marks integrated out.

A loss here is the squared norm of a residual: the difference of two mean signatures, or of two mean
embeddings under a signature kernel, and a term for a prior about the start. Least squares with an
exact Jacobian come near its minimum, on noise that is kept; stochastic gradient steps with fresh
noise, `rs.fit`, go on from there, since the minimum of the kept noise is not that of the law.
"""

import dataclasses
import math

import jax.flatten_util
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Float

import roughsnn as rs
from roughsnn.training.progress import Progress

from .certainty import Certainty
from .features import LOSSES as LOSSES
from .features import Clock as Clock
from .features import Loss
from .features import sequences_on_clock as sequences_on_clock
from .models import Parameters
from .problem import Plan as Plan
from .problem import Problem
from .remembering import Memory
from .splitting import Part

COARSE = 4
"""The first round of least squares has this many times fewer noise paths than the second."""

FRESH = 4
"""Fresh samples, each as large as the second round's, by which start and ends are compared."""

SHOWN = 25
"""Gradient steps over which the loss is averaged in the learning curve."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A fit: the parameters that are kept, and how they came about.

    Attributes:
        parameters: the best of `ends`, with fresh noise.
        kept: which of the ends that is: 0, the start; 1, of least squares; 2, of gradient steps.
        history: `round`, 1 and 2 of least squares and 3 for gradient steps, and `loss` of each
            evaluation, and `shown`: the least so far in a round of least squares, the mean of the
            last `SHOWN` gradient steps.
        losses: of the ends, with the same fresh noise. All losses are with the term for the prior.
        unfinished: share of the intervals that last longer than they were followed.
        by_chance: loss that the true law would have on average, because the recording is short, see
            `loss_by_chance`: what is below it cannot be told apart.
        certainty: covariance of the parameters.
        ends: start and end of each phase, in the order of the leaves of `parameters`.
    """

    parameters: Parameters
    kept: int
    history: dict[str, np.ndarray]
    losses: tuple[float, ...]
    unfinished: float
    by_chance: float
    certainty: Certainty
    ends: Float[np.ndarray, "phases parameters"]

    @property
    def loss_before(self) -> float:
        """Of the start."""
        return self.losses[0]

    @property
    def loss_after(self) -> float:
        """Of what is kept."""
        return self.losses[self.kept]

    @property
    def values(self) -> Float[np.ndarray, " parameters"]:
        """The parameters that are kept, as numbers."""
        return self.ends[self.kept]


def fit(
    parts: list[Part],
    plan: Plan,
    loss: Loss,
    *,
    steps: int,
    gradient_steps: int,
    seed: int,
    memory: Memory | None = None,
    progress: bool = False,
) -> Trained:
    r"""Fit a neuron: minimise the loss of a `Problem`.

    Args:
        parts: the data of the neuron in each condition.
        plan: sizes.
        loss: what is minimised.
        steps: evaluations in a round of least squares at most.
        gradient_steps: stochastic gradient steps after it; 0 for none.
        seed: of the noise.
        memory: keeps what is computed, so that a fit that was cut off goes on.
        progress: whether to show progress bars.
    """
    memory = Memory() if memory is None else memory
    problem = Problem.of(parts, plan, loss)
    start, key = problem.start, jr.key(seed)
    found, history = _rounds(problem, 2, steps, key, memory, progress)
    ends = [start, found]
    if gradient_steps:
        both = memory.recall(
            "gradient", _gradient_steps(problem, gradient_steps, progress), found,
            jr.fold_in(key, 2),
        )  # fmt: skip
        ends.append(both[: start.size])
        history.append(both[start.size :])
    fresh = jr.split(jr.fold_in(key, 3), FRESH)

    def judged(x):
        return np.array(problem.fresh_loss(x, fresh))

    judged_ends = [memory.recall("fresh", judged, x) for x in ends]
    kept = int(np.argmin([row[0] for row in judged_ends]))

    def slopes_at(x):
        return problem.slopes(x, jr.fold_in(key, 4), plan.paths)[1]

    slopes = memory.recall("slopes", slopes_at, ends[kept])
    return Trained(
        problem.parameters(ends[kept]), kept, _learning_curve(history),
        tuple(float(row[0]) for row in judged_ends), float(judged_ends[kept][1]),
        problem.by_chance, Certainty.of(slopes, problem.targets, plan.prior, problem.weight),
        np.stack(ends),
    )  # fmt: skip


def fit_coarsely(
    parts: list[Part],
    plan: Plan,
    loss: Loss,
    *,
    steps: int,
    seed: int,
    memory: Memory | None = None,
    progress: bool = False,
) -> Parameters:
    """The first round of least squares alone, with the arguments of `fit`."""
    memory = Memory() if memory is None else memory
    problem = Problem.of(parts, plan, loss)
    return problem.parameters(_rounds(problem, 1, steps, jr.key(seed), memory, progress)[0])


def _rounds(
    problem: Problem, count: int, steps: int, key, memory: Memory, progress: bool
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Where rounds of least squares end, the second of more paths, and the losses of each."""
    found, history = problem.start, []
    fine = problem.plan.paths
    with Progress(count * steps, progress) as bar:
        for number, paths in enumerate((max(fine // COARSE, 1), fine)[:count]):
            noise = jr.fold_in(key, number)
            found, losses = _least_squares(problem, found, noise, paths, steps, memory, bar)
            history.append(losses)
    return found, history


def _least_squares(
    problem: Problem, begin: np.ndarray, key, paths: int, steps: int, memory: Memory, bar: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """The minimum with this noise, by a trust region, and the loss of each evaluation."""
    from scipy.optimize import least_squares

    size = begin.size
    losses: list[float] = []

    def computed(x, key):
        values, slopes = problem.slopes(x, key, paths)
        return np.column_stack([values, slopes])

    def both(x):
        """The minimiser asks for the Jacobian where it has had the residual."""
        return memory.recall(f"law-{paths}", computed, x, key)

    def residual(x):
        values = np.append(both(x)[:, 0], problem.weight * (x - problem.start))
        losses.append(float(values @ values))
        bar.update(1, min(losses))
        return values

    def jacobian(x):
        return np.concatenate([both(x)[:, 1:], problem.weight * np.eye(size)])

    limits = (problem.start - 3.0, problem.start + 3.0)
    found = least_squares(
        residual, np.clip(begin, limits[0] + 1e-9, limits[1] - 1e-9), jacobian, max_nfev=steps,
        xtol=1e-3, ftol=1e-3, bounds=limits,
    )  # fmt: skip
    return found.x, np.array(losses)


def _gradient_steps(problem: Problem, steps: int, progress: bool):
    """What `rs.fit` comes to from a point: the parameters, and then the loss of each step."""
    rate = optax.cosine_decay_schedule(problem.plan.rate, steps)

    def run(x, key):
        result = rs.fit(
            problem.parameters(x), None, simulate=problem.residuals,
            loss=lambda residuals, _: residuals.loss(), optimiser=optax.adam(rate),
            num_steps=steps, key=key, log_every=SHOWN, progress=progress,
        )  # fmt: skip
        flat = jax.flatten_util.ravel_pytree(result.model)[0]
        return np.append(np.asarray(flat, float), np.asarray(result.history["loss"], float))

    return run


def _learning_curve(history: list[np.ndarray]) -> dict[str, np.ndarray]:
    shown = [np.minimum.accumulate(losses) for losses in history[:2]]
    for losses in history[2:]:
        sums = np.cumsum(np.append(0.0, losses))
        first = np.maximum(np.arange(losses.size) + 1 - SHOWN, 0)
        last = np.arange(losses.size) + 1
        shown.append((sums[last] - sums[first]) / (last - first))
    return {
        "round": np.repeat(np.arange(len(history)) + 1, [len(losses) for losses in history]),
        "loss": np.concatenate(history),
        "shown": np.concatenate(shown),
    }


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
