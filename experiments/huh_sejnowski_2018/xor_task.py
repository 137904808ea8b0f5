"""The task of the delayed-memory XOR: pulses, cue and the answer that is asked for."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

ANSWERS = (-1.0, 0.0, 1.0)
"""Equal signs, a single pulse, unequal signs."""


@dataclasses.dataclass(frozen=True)
class Task:
    """Times of the task, in ms."""

    longest_delay: float = 50.0
    shortest_delay: float = 15.0
    pulse: float = 40.0
    """Length of pulses and of the cue, which rise and fall as a squared sine of height 1.5."""
    onset: tuple[float, float] = (10.0, 30.0)
    """When the first pulse begins."""
    answer: tuple[float, float] = (20.0, 60.0)
    """When the answer is looked at, after the beginning of the cue."""
    single: float = 1 / 3
    """Share of the trials that have one pulse."""
    dt0: float = 1.0

    @property
    def num_steps(self) -> int:
        """Steps of the longest trial."""
        length = self.onset[1] + 2 * self.pulse + 2 * self.longest_delay + self.answer[1]
        return round(length / self.dt0)


class Trials(NamedTuple):
    """A batch of trials.

    Attributes:
        inputs: pulses and cue, (batch, steps, 2).
        target: the answer asked for, -1, 0 or 1.
        weight: over each trial 1 in sum, and not 0 where the answer is looked at.
    """

    inputs: Float[Array, "batch steps 2"]
    target: Float[Array, " batch"]
    weight: Float[Array, "batch steps"]


def draw_trials(task: Task, key: PRNGKeyArray, num: int) -> Trials:
    """Trials with random signs, delays and onsets."""
    keys = jr.split(key, 4)
    first = jr.uniform(keys[0], (num,), minval=task.onset[0], maxval=task.onset[1])
    delays = jr.uniform(keys[1], (2, num), minval=task.shortest_delay, maxval=task.longest_delay)
    signs = jr.rademacher(keys[2], (2, num)).astype(first.dtype)
    single = jr.bernoulli(keys[3], task.single, (num,))
    second = first + task.pulse + delays[0]
    cue = second + task.pulse + delays[1]
    t = task.dt0 * jnp.arange(task.num_steps, dtype=first.dtype)

    def bump(start):
        phase = (t[None] - start[:, None]) / task.pulse
        inside = (phase > 0) & (phase < 1)
        return jnp.where(inside, 1.5 * jnp.sin(jnp.pi * phase) ** 2, 0)

    # with one pulse, it is the second that is missing
    there = jnp.where(single, 0, signs[1])
    pulses = signs[0][:, None] * bump(first) + there[:, None] * bump(second)
    since_cue = t[None] - cue[:, None]
    asked = (since_cue >= task.answer[0]) & (since_cue < task.answer[1])
    asked = asked.astype(first.dtype)
    weight = asked / jnp.sum(asked, axis=1, keepdims=True)
    inputs = jnp.stack([pulses, bump(cue)], axis=-1)
    return Trials(inputs, -signs[0] * there, weight)


def nearest_answer(mean: Float[Array, " batch"]) -> Float[Array, " batch"]:
    """The answer nearest to a mean readout."""
    answers = jnp.asarray(ANSWERS, mean.dtype)
    return answers[jnp.argmin(jnp.abs(mean[:, None] - answers[None]), axis=1)]


def answer_of(readout: Float[Array, "batch steps"], trials: Trials) -> Float[Array, " batch"]:
    """The answer given: that nearest to the mean readout while the answer is looked at."""
    return nearest_answer(jnp.sum(readout * trials.weight, axis=1))
