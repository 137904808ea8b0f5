"""One training step of a task by a rule, compiled once: its gradient, its time, what it learns."""

import dataclasses
import functools
import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from roughsnn.training import TrainState, TrainStep

from .rules import Rule
from .tasks import Task


def _kept() -> optax.GradientTransformation:
    """Passes gradients on and remembers the last."""

    def update(gradients, state, parameters=None):
        del state, parameters
        return gradients, gradients

    return optax.GradientTransformation(lambda p: jax.tree.map(jnp.zeros_like, p), update)


@functools.cache
def _optimiser() -> optax.GradientTransformation:
    """Adam whose rate is a part of its state, so that one program serves every rate."""
    return optax.chain(_kept(), optax.inject_hyperparams(optax.adam)(learning_rate=1e-3))


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A training step, compiled.

    Attributes:
        call: state, data and key to the state after the step and what it reports.
        start: the state at the start.
        seconds: that compiling took.
        scratch: bytes that XLA plans for a step.
    """

    call: Any
    start: TrainState
    seconds: float
    scratch: float


def compiled(task: Task, rule: Rule) -> Compiled:
    """The step of a rule.

    Raises:
        TypeError, ValueError: the rule refuses the task.
    """
    step = TrainStep(
        simulate=task.simulate(rule.engine, rule.step), loss=task.loss, optimiser=_optimiser(),
        trainable=task.trainable, estimator=rule.estimator,
    )  # fmt: skip
    start = step.init(task.model)
    begin = time.process_time()
    program = eqx.filter_jit(step).lower(start, task.data(0), jr.key(0)).compile()
    analysis = program.compiled.memory_analysis()
    scratch = float("nan") if analysis is None else float(analysis.temp_size_in_bytes)
    return Compiled(program, start, time.process_time() - begin, scratch)


def flat(task: Task, tree: Any) -> np.ndarray:
    """What is trained as one vector: the weights that there are, and the input weights."""
    connections = task.model.connections
    weights = np.asarray(tree.weights, np.float64)
    there = np.ones(weights.shape, bool) if connections is None else np.asarray(connections)
    return np.concatenate([weights[there], np.asarray(tree.input_weights, np.float64).ravel()])


def gradient_of(task: Task, one: Compiled, state: TrainState, number: int, key: Any):
    """The loss and the gradient of a mini-batch, and the state after a step."""
    after, record = one.call(state, task.data(number), key)
    if bool(record.failed):
        raise FloatingPointError(f"a gradient of {task.name} is not finite")
    return float(record.values[0]), flat(task, after.optimiser_state[0]), after


def at(state: TrainState, model: Any) -> TrainState:
    """The same with another model."""
    return eqx.tree_at(lambda s: s.model, state, model)


def with_rate(state: TrainState, rate: float) -> TrainState:
    """The same with another rate of Adam."""
    return eqx.tree_at(
        lambda s: s.optimiser_state[1].hyperparams["learning_rate"], state, replace_fn=lambda x:
        jnp.asarray(rate, x.dtype),
    )  # fmt: skip
