"""What is measured of each rule on each task; compiled steps are kept while a run lasts."""

import contextlib
import dataclasses
import functools
import statistics
import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from . import tasks
from .learning import learn
from .measuring import Blocks, compared, estimates
from .rules import Rule, rules_of
from .steps import Compiled, compiled
from .tasks import Task

TASKS = ("threshold", "noise", "matching")
TRUTH = {"threshold": "exact, cell engine", "noise": "exact, cell engine",
         "matching": "exact with boundary term"}  # fmt: skip
"""The rule whose mean over many samples is the true gradient."""
HALF_STEP = 0.02
"""Of central differences, along directions of length one."""
TRUTH_SEED, RULE_SEED, LEARN_SEED = 1, 2, 3


@dataclasses.dataclass(frozen=True)
class Bench:
    """Sizes of what is measured.

    Attributes:
        hidden: neurons of Yin-Yang's networks.
        pool: points of Yin-Yang.
        seed: of networks and data.
        blocks: mini-batches that a gradient is estimated from.
        repeats: how often the noise of each is drawn for the true gradient.
        rates: of Adam that are tried.
        search: steps for each.
        steps: steps of training with the best.
        points: how often a model is judged.
        rounds: of timing.
    """

    hidden: int
    pool: int
    seed: int
    blocks: int
    repeats: int
    rates: tuple[float, ...]
    search: int
    steps: int
    points: int
    rounds: int

    def task(self, name: str) -> Task:
        """A task by name."""
        return _task(self, name)

    def rule(self, task: str, name: str) -> Rule:
        """A rule by name."""
        return rules_of(self.task(task))[name]

    def step(self, task: str, name: str) -> Compiled:
        """The compiled step of a rule."""
        return _step(self, task, name)

    def truth(self, name: str) -> Blocks:
        """True gradients of the mini-batches."""
        return _truth(self, name)

    def check_truth(self, name: str) -> dict[str, Any]:
        """The true gradient beside central differences with the same random numbers, along itself
        and along a random direction, as differences in standard errors."""
        task, one, truth = self.task(name), self.step(name, TRUTH[name]), self.truth(name)
        goal = truth.mean
        rng = np.random.default_rng(self.seed)
        others = rng.normal(size=(1, goal.size))
        found = []
        for direction in (goal, *others):
            direction = direction / np.linalg.norm(direction)
            slopes = self._slopes(task, one, direction, TRUTH_SEED, self._repeats(task))
            gap = slopes - truth.gradients @ direction
            error = gap.std(ddof=1) / len(gap) ** 0.5
            found.append(float(gap.mean() / error) if error > 0 else 0.0)
        return {
            "z": found, "length": float(np.linalg.norm(goal)),
            "samples": int(self.blocks * self._repeats(task) * tasks.BATCH),
        }  # fmt: skip

    def of_rule(self, name: str, rule_name: str) -> dict[str, Any]:
        """What is measured of a rule's gradients; the reason where it refuses the task."""
        task, rule = self.task(name), self.rule(name, rule_name)
        try:
            one = self.step(name, rule_name)
        except (TypeError, ValueError) as error:
            return {"refused": str(error)}
        found = estimates(task, one, self.blocks, RULE_SEED)
        truth = self.truth(name)
        result: dict[str, Any] = {"unbiased": rule.unbiased, **compared(found, truth)}
        if rule.unbiased == "for its averaged loss":
            result |= self._averaged(task, rule, found, truth.mean)
        return result | {"scratch": one.scratch, "compile": one.seconds}

    def learned(self, name: str, rule_name: str) -> dict[str, Any]:
        """What a rule learns; the reason where it refuses the task."""
        try:
            one = self.step(name, rule_name)
        except (TypeError, ValueError) as error:
            return {"refused": str(error)}
        return learn(
            self.task(name), one, self.rates, self.search, self.steps, self.points, LEARN_SEED
        )

    def _averaged(self, task: Task, rule: Rule, found: Blocks, goal: np.ndarray):
        """The component of the estimates along the gradient beside differences of the loss that
        is averaged over the perturbation."""
        estimator: Any = rule.estimator
        plain = dataclasses.replace(estimator, baseline="none")
        one = compiled(task, dataclasses.replace(rule, estimator=plain))
        length = np.linalg.norm(goal)
        slopes = self._slopes(task, one, goal / length, RULE_SEED, 1)
        gap = (found.gradients @ goal / length - slopes) / length
        error = gap.std(ddof=1) / len(gap) ** 0.5
        return {"own along": float(gap.mean()), "own along error": float(error)}

    def _repeats(self, task: Task) -> int:
        return 1 if task.deterministic else self.repeats

    def _slopes(self, task: Task, one: Compiled, direction: np.ndarray, seed: int, repeats: int):
        """Central differences of the losses of mini-batches along a direction."""
        above, below = (
            estimates(task, one, self.blocks, seed, repeats, _moved(task, sign * direction)).losses
            for sign in (HALF_STEP, -HALF_STEP)
        )
        return (above - below) / (2 * HALF_STEP)

    def times(self, name: str, names: list[str]) -> dict[str, Any]:
        """CPU milliseconds of a step of each rule, measured by turns: the median of the rounds."""
        task, steps = self.task(name), {}
        for rule in names:
            # those that refuse the task take no time
            with contextlib.suppress(TypeError, ValueError):
                steps[rule] = self.step(name, rule)
        taken: dict[str, list[float]] = {rule: [] for rule in steps}
        for turn in range(self.rounds + 1):
            for rule, one in steps.items():
                begin = time.process_time()
                jax.block_until_ready(one.call(one.start, task.data(0), jr.key(turn)))
                if turn:
                    taken[rule].append(time.process_time() - begin)
        return {rule: 1e3 * statistics.median(values) for rule, values in taken.items()}


@functools.cache
def _task(bench: Bench, name: str) -> Task:
    if name == "matching":
        return tasks.matching(bench.seed)
    make = {"threshold": tasks.yin_yang_exact, "noise": tasks.yin_yang_noisy}[name]
    return make(bench.hidden, bench.pool, bench.seed)


@functools.cache
def _step(bench: Bench, task: str, rule: str) -> Compiled:
    found, one = bench.task(task), compiled(bench.task(task), bench.rule(task, rule))
    try:
        jax.block_until_ready(one.call(one.start, found.data(0), jr.key(0)))
    except RuntimeError as error:
        reason = _refusal(str(error))
        if reason is None:
            raise
        raise ValueError(reason) from error
    return one


def _refusal(text: str) -> str | None:
    """What a refusal at run time says, of the text of an error that compiled code has wrapped;
    `None` where it is another error."""
    mark = "ConditionsError: "
    lines = [line for line in text.splitlines() if mark in line]
    return lines[-1].split(mark, 1)[1] if lines else None


@functools.cache
def _truth(bench: Bench, name: str) -> Blocks:
    task, one = bench.task(name), bench.step(name, TRUTH[name])
    return estimates(task, one, bench.blocks, TRUTH_SEED, bench._repeats(task))


def _moved(task: Task, change: np.ndarray) -> Any:
    """The model at its start with its parameters moved, in the order of `flat`."""
    model = task.model
    weights, inputs = np.array(model.weights), np.array(model.input_weights)
    there = np.ones(weights.shape, bool)
    if model.connections is not None:
        there = np.asarray(model.connections)
    number = int(there.sum())
    weights[there] += change[:number]
    inputs += change[number:].reshape(inputs.shape)
    return eqx.tree_at(
        lambda m: (m.weights, m.input_weights), model,
        (jnp.asarray(weights, model.weights.dtype),
         jnp.asarray(inputs, model.input_weights.dtype)),
    )  # fmt: skip
