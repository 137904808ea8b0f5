"""All steps of one trial whose spikes have surrogate derivatives."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._random import key_words
from ..drivers import TimeGrid
from ..networks import Inputs
from ..spikes.checks import is_traced
from ..spikes.steps import step_numbers
from ._blocks import product, product_over_steps
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
    wires = steps.wires()
    matrices = None
    if wires is not None and wires.matrices is not None and (wires.lags is None or wires.by_neuron):
        matrices, wires = wires.matrices, wires._replace(matrices=None)
    return _run(steps, matrices, wires, keys, arriving, every)


def _plain_run(steps, matrices, wires, keys, arriving, every):
    core = steps.core
    if matrices is not None:
        wires = wires._replace(matrices=matrices)
    cells = jnp.arange(steps.grid.num_cells, dtype=jnp.int32)

    def one(carry, given):
        return steps.step(core, keys, wires, carry, given)

    # trials that are all the same are mapped over like others: what is not mapped over trials would
    # have no derivative as a product for all of them
    none = 0 * key_words(keys[0])[0]
    begin = steps.begin(core, keys[0])
    begin = begin._replace(y=jax.tree.map(lambda x: x + none.astype(x.dtype), begin.y))
    carry, (spikes, fires) = _scanned(one, begin, (cells, arriving), every)
    finite = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(carry.y)]
    fires = spikes > 0 if fires is None else fires
    return spikes, fires, jnp.all(jnp.stack(finite))


@eqx.filter_custom_jvp
def _run(steps, matrices, wires, keys, arriving, every):
    """The run, with the matrices of weights beside the other synapses."""
    return _plain_run(steps, matrices, wires, keys, arriving, every)


@_run.def_jvp
def _(primals, tangents):
    """A weight acts by what arrives. Its derivative is that of an input which arrives beside, so
    that one product of all spikes with all of these takes the place of one in every step."""
    steps, matrices, wires, keys, arriving, every = primals
    moved_steps, moved_matrices, moved_wires, _, moved_arriving, _ = tangents
    parts = [] if matrices is None else jax.tree.leaves(moved_matrices)
    if matrices is not None and parts and arriving is None:
        shape = steps.grid.num_cells, steps.core.num_neurons
        dtype = jnp.result_type(*jax.tree.leaves(jax.eval_shape(steps.core.initial_state, keys[0])))
        arriving = (jnp.zeros(shape, dtype),) * len(matrices)
        moved_arriving = (None,) * len(matrices)
    leaves, tree = jax.tree.flatten((steps, wires, arriving))
    moved = tree.flatten_up_to((moved_steps, moved_wires, moved_arriving))
    # what arrives from inputs is at the end of the list
    first = len(leaves) - (len(arriving) if parts else 0)
    chosen = [n for n, x in enumerate(moved) if x is not None or n >= first]

    def run(values):
        changed = list(leaves)
        for n, value in zip(chosen, values, strict=True):
            changed[n] = value
        steps, wires, arriving = jax.tree.unflatten(tree, changed)
        spikes, *rest = _plain_run(steps, matrices, wires, keys, arriving, every)
        return spikes, rest

    spikes, linear, rest = jax.linearize(run, [leaves[n] for n in chosen], has_aux=True)
    if parts:
        sent = _sent_by_step(spikes, wires)
        for n, part in enumerate(moved_matrices, start=first):
            still = all(piece is None for piece in part)
            beside = (
                jnp.zeros_like(leaves[n]) if still else product_over_steps(sent, part, steps.blocks)
            )
            moved[n] = beside if moved[n] is None else moved[n] + beside
    return (spikes, *rest), (linear([moved[n] for n in chosen]), None, None)


def _sent_by_step(spikes, wires):
    """What leaves every neuron for the synapses in each step: its spikes of some steps before."""
    if wires.lags is None:
        return spikes
    step = jnp.arange(spikes.shape[0], dtype=jnp.int32)[:, None] - wires.lags[None]
    neuron = jnp.broadcast_to(jnp.arange(spikes.shape[1], dtype=jnp.int32)[None], step.shape)
    return jnp.where(step >= 0, spikes[jnp.maximum(step, 0), neuron], 0)


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


def arriving_inputs(
    steps: SurrogateSteps, numbers: Any, rows: Any, y: Any, all_trials: bool = False
) -> Any:
    """What input spikes of one trial bring at the end of each step, part by part.

    Args:
        steps: the steps.
        numbers: in which step each input spike acts.
        rows: which input it comes from.
        y: a state, for its precision.
        all_trials: whether these are the input spikes of all trials, so that nothing is mapped.
    """
    dtype = jnp.result_type(*jax.tree.leaves(y))
    weights = None if steps.network is None else steps.network.input_rows
    assert weights is not None, "input spikes are refused where there are no inputs"
    counts = _raster(steps.grid.num_cells, weights.shape[0], dtype)(numbers, rows)
    # (see above)
    multiply = product if all_trials else product_over_steps
    return tuple(multiply(counts, (part,), None) for part in steps.parts(weights))


def _raster(steps: int, inputs: int, dtype: Any) -> Callable:
    """From the steps and the inputs of spikes to how many there are of each, shape (steps, inputs).

    Over a batch of trials it lies in memory as the scan over steps reads it, step by step.
    """

    @jax.custom_batching.custom_vmap
    def counted(numbers, rows):
        zeros = jnp.zeros((steps, inputs), dtype)
        return zeros.at[numbers, jnp.maximum(rows, 0)].add(1, mode="drop")

    @counted.def_vmap
    def _(trials, batched, numbers, rows):
        numbers, rows = (
            x if own else jnp.broadcast_to(x, (trials, *x.shape))
            for x, own in zip((numbers, rows), batched, strict=True)
        )
        trial = jnp.arange(trials, dtype=jnp.int32)[:, None]
        zeros = jnp.zeros((steps, trials, inputs), dtype)
        counts = zeros.at[numbers, trial, jnp.maximum(rows, 0)].add(1, mode="drop")
        return jnp.swapaxes(counts, 0, 1), True

    return counted
