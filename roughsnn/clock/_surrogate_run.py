"""All steps of one trial whose spikes have surrogate derivatives."""

# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false

from collections.abc import Callable
from typing import Any

import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..drivers import TimeGrid
from ..networks import Inputs
from ..spikes.checks import is_traced
from ..spikes.steps import step_numbers
from ._surrogate_steps import SurrogateSteps


def run_trial(
    steps: SurrogateSteps, keys: tuple, arriving: Any, every: int | None
) -> tuple[Float[Array, "steps K"], Bool[Array, "steps K"], Bool[Array, ""]]:
    """The spikes at the end of each step with their derivatives, where there are some, and whether
    the state stayed finite.

    Args:
        steps: the steps of this trial.
        keys: of its first state, its noise, its marks.
        arriving: what arrives from inputs at the end of each step, part by part, or `None`.
        every: keep the state only before every so many steps, and go through those in between
            again in the backward pass; `None` for before each.
    """
    core, wires = steps.core, steps.wires()
    cells = jnp.arange(steps.grid.num_cells, dtype=jnp.int32)

    def one(carry, given):
        return steps.step(core, keys, wires, carry, given)

    carry, (spikes, fires) = _scanned(one, steps.begin(core, keys[0]), (cells, arriving), every)
    finite = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(carry.y)]
    fires = spikes > 0 if fires is None else fires
    return spikes, fires, jnp.all(jnp.stack(finite))


def _scanned(one: Callable, carry: Any, given: Any, every: int | None) -> tuple[Any, Any]:
    """`lax.scan`, whose backward pass keeps the carry before every so many steps only."""
    length = given[0].shape[0]
    if every is None or every >= length:
        return lax.scan(one, carry, given)
    many = length // every * every

    def chunk(carry, given):
        return lax.scan(one, carry, given)

    chunks = jax.tree.map(lambda x: x[:many].reshape(-1, every, *x.shape[1:]), given)
    carry, out = lax.scan(jax.checkpoint(chunk), carry, chunks)
    out = jax.tree.map(lambda x: x.reshape(many, *x.shape[2:]), out)
    if many == length:
        return carry, out
    carry, rest = chunk(carry, jax.tree.map(lambda x: x[many:], given))
    return carry, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), out, rest)


def input_steps(inputs: Inputs, grid: TimeGrid) -> Int[Array, "*batch spikes"]:
    """The step at whose end each input spike acts; one that acts in none has a number that there is
    not.

    Raises:
        ValueError: the times do not say in which step a spike falls, where they are known.
    """
    if not is_traced((inputs.trains, inputs.since)):
        numbers = step_numbers(inputs.trains, grid)
        return jnp.asarray(np.where(numbers < 0, np.iinfo(np.int32).max, numbers), jnp.int32)
    since = lax.stop_gradient(inputs.since)
    eps = float(jnp.finfo(since.dtype).eps)
    inside = (inputs.trains.neurons >= 0) & (since > 0)
    inside = inside & (since <= grid.duration * (1 + 4 * eps))
    since = jnp.where(inside, since, 0)
    slack = jnp.maximum(4 * eps * since / grid.dt0, 1e-9)
    numbers = jnp.ceil(since / grid.dt0 - slack).astype(jnp.int32) - 1
    never = jnp.iinfo(jnp.int32).max
    return jnp.where(inside & (numbers >= 0), jnp.minimum(numbers, grid.num_cells - 1), never)


def arriving_inputs(steps: SurrogateSteps, numbers: Any, rows: Any, y: Any) -> Any:
    """What input spikes of one trial bring at the end of each step, part by part.

    Args:
        steps: the steps.
        numbers: in which step each input spike acts.
        rows: which input it comes from.
        y: a state, for its precision.
    """
    dtype = jnp.result_type(*jax.tree.leaves(y))
    weights = steps.network.input_weights
    counts = jnp.zeros((steps.grid.num_cells, weights.shape[0]), dtype)
    counts = counts.at[numbers, jnp.maximum(rows, 0)].add(1, mode="drop")
    return tuple(counts @ part.astype(dtype) for part in steps.parts(weights))
