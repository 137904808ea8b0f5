r"""Estimators of gradients of jump processes: reactions that fire by a propensity.

After Burger, Kofler, Heinrich & Gerland (2026), arXiv 2604.02121, who compare three of them on
Gillespie's algorithm: the straight-through Gumbel-softmax, the score function, and alternative
paths. Here they stand beside the pathwise gradient of the same process as an event SDE, in which
every reaction has a clock of its own,

$$ \mathrm d s_k = a_k(x)\,\mathrm d t , \qquad x \to x + \nu_k,\ s_k \to \log u
   \quad\text{where } s_k = 0 . $$

Where two reactions change places, what comes after both is the same, so that time integrals
$Y = \frac1T \int w(t)\, x_c(t)\,\mathrm d t$ are continuous along a path, and their pathwise
gradient has no bias. In Gillespie's algorithm the one clock is drawn first and then which reaction
it was, a choice that has no derivative.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs

COLD, WARM = 0.1, 1.0
"""Temperatures of the Gumbel-softmax."""


@dataclasses.dataclass(frozen=True)
class System:
    r"""Reactions with what is observed of them.

    Attributes:
        start: numbers of molecules.
        changes: by each reaction, shape (reactions, species).
        propensities: a function of the parameters and the numbers of molecules.
        parameters: logarithms.
        species: that is observed.
        window: T.
        waves: the weight is $\cos(2 \pi t n / T)$ with this n; 0 for the plain mean over time.
        room: for reactions of a trial.
    """

    start: tuple[float, ...]
    changes: tuple[tuple[float, ...], ...]
    propensities: Callable[[Any, Any], Any]
    parameters: tuple[float, ...]
    species: int
    window: float
    waves: int
    room: int

    def until(self, t: Any) -> Any:
        """The integral of the weight over T, up to t."""
        if self.waves == 0:
            return t / self.window
        turn = 2 * np.pi * self.waves
        return jnp.sin(turn * t / self.window) / turn


def _association(theta: Any, x: Any) -> Any:
    bound = x[0]
    # (rates and the free molecules of both kinds, ten of each in all)
    on, off = jnp.exp(theta[0]), jnp.exp(theta[1])
    free = jnp.maximum(10.0 - bound, 0)
    return jnp.stack([on * free**2, off * jnp.maximum(bound, 0)])


def _repressilator(theta: Any, x: Any) -> Any:
    rate, half, decay = jnp.exp(theta)
    x = jnp.maximum(x, 0)
    made = rate / (1 + (jnp.roll(x, 1) / half) ** 3)
    return jnp.concatenate([made, decay * x])


SYSTEMS = {
    "association, weak": System((0.0,), ((1.0,), (-1.0,)), _association,
                                (float(np.log(0.1)), 0.0), 0, 4.0, 0, 160),
    "association, strong": System((0.0,), ((1.0,), (-1.0,)), _association,
                                  (float(np.log(10.0)), 0.0), 0, 4.0, 0, 240),
    "repressilator": System(
        (8.0, 2.0, 0.0), tuple(map(tuple, np.concatenate([np.eye(3), -np.eye(3)]).tolist())),
        _repressilator, (float(np.log(12.0)), float(np.log(3.0)), 0.0), 0, 6.0, 1, 300,
    ),
}  # fmt: skip
"""Sizes and rates are ours. *Weak* and *strong* are affinities: most of ten pairs are free, and
hardly any."""


class State(NamedTuple):
    """Of the event SDE: molecules, clocks, and the integral so far with where it has got to."""

    x: Any
    s: Any
    area: Any
    since: Any


def event_sde(system: System) -> rs.EventSDE:
    """The process as an event SDE."""
    changes = jnp.asarray(system.changes)

    def drift(t, y, theta):
        zero = jnp.zeros_like(y.area)
        return State(jnp.zeros_like(y.x), system.propensities(theta, y.x), zero, zero + 1)

    def transition(t, y, k, mark, theta):
        here = jnp.arange(changes.shape[0], dtype=jnp.int32) == k
        s = jnp.where(here, jnp.log(mark), y.s)
        # what was observed until now; `since` is the time, which moves with the event
        held = y.x[system.species] * system.until(y.since)
        x = y.x + changes.astype(y.x.dtype)[k]
        return State(x, s, y.area + held - x[system.species] * system.until(y.since), y.since)

    return rs.EventSDE(drift_fn=drift, event_fn=lambda t, y, theta: y.s, transition_fn=transition)


def by_clocks(system: System, theta: Any, key: Any) -> tuple[Any, Any]:
    """The observable along a path of the event SDE, and whether it outgrew its room."""
    first, rest = jr.split(key)
    dtype = theta.dtype
    levels = jnp.log(jr.uniform(first, (len(system.changes),), dtype, minval=1e-7))
    zero = jnp.zeros((), dtype)
    start = State(jnp.asarray(system.start, dtype), levels, zero, zero)
    solution = rs.eventsolve(
        event_sde(system), 0.0, system.window, system.window / 8, start, key=rest, args=theta,
        max_events=system.room, throw=False,
    )  # fmt: skip
    end = solution.final_state
    value = end.area + end.x[system.species] * system.until(jnp.asarray(system.window, dtype))
    return value, solution.num_events >= system.room


class Walked(NamedTuple):
    """Of a path of Gillespie's algorithm.

    Attributes:
        value: the observable.
        states: before each reaction.
        spans: for how long each of them lasts, in the window.
        reactions: which fired.
        inside: which of them fired inside the window.
        crowded: whether the room did not suffice.
    """

    value: Any
    states: Any
    spans: Any
    reactions: Any
    inside: Any
    crowded: Any


def gillespie(
    system: System, theta: Any, key: Any, temperature: float | None = None,
    forced: tuple[Any, Any] | None = None,
) -> Walked:  # fmt: skip
    """A path, by the time of the next reaction and then which it is.

    Args:
        system: the reactions.
        theta: parameters.
        key: random key.
        temperature: of the soft choice that the hard one has the derivative of; none without it.
        forced: the number of a reaction of the path and which it is to be.
    """
    changes = jnp.asarray(system.changes, theta.dtype)
    many = changes.shape[0]
    waiting, choosing = jr.split(key)
    exponential = jr.exponential(waiting, (system.room,), theta.dtype)
    gumbel = jr.gumbel(choosing, (system.room, many), theta.dtype)

    def step(carry, given):
        x, t, value = carry
        number, wait, noise = given
        rates = system.propensities(theta, x)
        total = jnp.sum(rates)
        after = t + wait / jnp.maximum(total, 1e-30)
        inside = after < system.window
        until = jnp.minimum(after, system.window)
        value = value + x[system.species] * (system.until(until) - system.until(t))
        logits = jnp.log(jnp.maximum(rates, 1e-30)) + noise
        which = jnp.argmax(logits).astype(jnp.int32)
        if forced is not None:
            which = jnp.where(number == forced[0], forced[1], which)
        hard = jax.nn.one_hot(which, many, dtype=theta.dtype)
        chosen = hard
        if temperature is not None:
            soft = jax.nn.softmax(logits / temperature)
            chosen = lax.stop_gradient(hard - soft) + soft
        moved = jnp.where(inside, x + chosen @ changes, x)
        return (moved, until, value), (x, until - t, which, inside)

    zero = jnp.zeros((), theta.dtype)
    start = (jnp.asarray(system.start, theta.dtype), zero, zero)
    numbers = jnp.arange(system.room, dtype=jnp.int32)
    (_, t, value), passed = lax.scan(step, start, (numbers, exponential, gumbel))
    return Walked(value, *passed, t < system.window)


def _of_clocks(system: System, theta: Any, key: Any, mean: Any):
    return jax.value_and_grad(lambda p: by_clocks(system, p, key), has_aux=True)(theta)


def _soft(temperature: float, system: System, theta: Any, key: Any, mean: Any):
    def value(p):
        walked = gillespie(system, p, key, temperature)
        return walked.value, walked.crowded

    return jax.value_and_grad(value, has_aux=True)(theta)


def _score(system: System, theta: Any, key: Any, mean: Any):
    walked = gillespie(system, theta, key)

    def log_probability(p):
        rates = jax.vmap(lambda x: system.propensities(p, x))(walked.states)
        chosen = jnp.take_along_axis(rates, walked.reactions[:, None], axis=1)[:, 0]
        logs = jnp.where(walked.inside, jnp.log(jnp.maximum(chosen, 1e-30)), 0)
        return jnp.sum(logs) - jnp.sum(jnp.sum(rates, axis=1) * walked.spans)

    gradient = (walked.value - mean) * jax.grad(log_probability)(theta)
    return (walked.value, walked.crowded), gradient


def _alternative(system: System, theta: Any, key: Any, mean: Any):
    """One reaction of the path made another one, with the same random numbers after it."""
    own, drawing = jr.split(key)
    walked = gillespie(system, theta, own)
    many = len(system.changes)
    first, second = jr.split(drawing)
    inside = jnp.sum(walked.inside, dtype=jnp.int32)
    number = jr.randint(first, (), 0, jnp.maximum(inside, 1), jnp.int32)
    which = jr.randint(second, (), 0, many, jnp.int32)
    other = gillespie(system, theta, own, forced=(number, which))
    weight = many * inside.astype(theta.dtype)
    change = lax.stop_gradient((other.value - walked.value) * weight)

    def value(p):
        times = gillespie(system, p, own).value
        rates = system.propensities(p, lax.stop_gradient(walked.states[number]))
        share = rates[which] / jnp.maximum(jnp.sum(rates), 1e-30)
        return times + change * share, walked.crowded | other.crowded

    return jax.value_and_grad(value, has_aux=True)(theta)


ESTIMATORS: dict[str, Callable] = {
    "event SDE, pathwise": _of_clocks,
    "score function": _score,
    "alternative path": _alternative,
    f"Gumbel-softmax, {WARM:g}": functools.partial(_soft, WARM),
    f"Gumbel-softmax, {COLD:g}": functools.partial(_soft, COLD),
}


def estimate(name: str, estimator: str, trials: int, blocks: int, seed: int) -> dict[str, Any]:
    """Mean and variance of an estimator.

    Args:
        name: of the system.
        estimator: by name.
        trials: of a block.
        blocks: how many.
        seed: of the random numbers.

    Returns:
        value, mean of the gradient with its standard error, variance of a trial, and the share of
        trials that outgrew their room.
    """
    system, of_trial = SYSTEMS[name], ESTIMATORS[estimator]
    theta = jnp.asarray(system.parameters)

    @jax.jit
    def block(key, mean):
        keys = jr.split(key, trials)
        return jax.vmap(lambda k: of_trial(system, theta, k, mean))(keys)

    mean, values, gradients, crowded = jnp.zeros(()), [], [], []
    for number in range(blocks + 1):
        (value, full), gradient = block(jr.fold_in(jr.key(seed), number), mean)
        if number:
            # the first block only finds the baseline
            values.append(value)
            gradients.append(gradient)
            crowded.append(full)
        else:
            mean = jnp.mean(value)
    found = np.concatenate(gradients).astype(np.float64)
    return {
        "value": float(np.mean(values)), "gradient": found.mean(0).tolist(),
        "error": (found.std(0, ddof=1) / len(found) ** 0.5).tolist(),
        "variance": found.var(0, ddof=1).tolist(), "crowded": float(np.mean(crowded)),
    }  # fmt: skip


def true_gradient(name: str, trials: int, blocks: int, seed: int) -> dict[str, Any]:
    """The gradient by the master equation, where it has few states; else by central differences of
    the event SDE with the same random numbers."""
    system = SYSTEMS[name]
    theta = np.asarray(system.parameters)
    h = 1e-4 if len(system.start) == 1 else 0.02
    steps = h * np.eye(theta.size)
    if len(system.start) == 1:
        slopes = [(_exact(system, theta + d) - _exact(system, theta - d)) / (2 * h) for d in steps]
        return {"gradient": [float(x) for x in slopes], "error": [0.0] * theta.size,
                "value": _exact(system, theta)}  # fmt: skip

    @jax.jit
    def values(theta, key):
        return jax.vmap(lambda k: by_clocks(system, theta, k)[0])(jr.split(key, trials))

    dtype = jnp.zeros(()).dtype
    found = np.concatenate([
        np.stack([
            np.asarray(values(jnp.asarray(theta + d, dtype), key), np.float64)
            - np.asarray(values(jnp.asarray(theta - d, dtype), key), np.float64)
            for d in steps
        ], axis=1) / (2 * h)
        for key in jr.split(jr.key(seed), blocks)
    ])  # fmt: skip
    error = found.std(0, ddof=1) / len(found) ** 0.5
    return {"gradient": found.mean(0).tolist(), "error": error.tolist(), "value": None}


def _exact(system: System, theta: np.ndarray) -> float:
    """The mean over time of the bound pairs, from the master equation of their number."""
    from scipy.linalg import expm

    n = np.arange(11.0)
    up, down = np.exp(theta[0]) * (10 - n) ** 2, np.exp(theta[1]) * n
    rates = np.diag(up[:-1], 1) + np.diag(down[1:], -1)
    rates -= np.diag(rates.sum(1))
    # the integral of the exponential stands in a corner of that of a larger matrix
    large = np.zeros((22, 22))
    large[:11, :11], large[:11, 11:] = rates, np.eye(11)
    integral = expm(large * system.window)[:11, 11:]
    return float((integral @ n)[0] / system.window)
