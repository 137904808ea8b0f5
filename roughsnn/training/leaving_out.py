"""Samples that have no derivative are left out of the gradient of a batch."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from roughsnn.solve import CLIPPED, GRAZES, EventSolution
from roughsnn.spikes import SpikeTrains
from roughsnn.trials import Trials

MUCH = 0.03
"""The share of samples without a derivative up to which nothing is wrong."""


class LeavingOut(eqx.Module):
    """A function that draws samples, of which those without a derivative have the derivative 0.

    Spike trains, trials and solutions say themselves which samples these are (`grazing`). Nobody
    asks for their derivative then, and so nobody refuses it.

    Attributes:
        simulate: function of the model and a key.
    """

    simulate: Callable[[Any, PRNGKeyArray], Any]

    def __call__(self, model: PyTree, key: PRNGKeyArray) -> Any:
        return jax.tree.map(_left_out, self.simulate(model, key), is_leaf=_says_itself)

    def as_simulation(self) -> Any:
        """The [`roughsnn.Simulation`][] that draws the samples, or `None` where none does."""
        ask = getattr(self.simulate, "as_simulation", None)
        return None if ask is None else ask()

    def trials(self, model: PyTree, key: PRNGKeyArray) -> Any:
        """The same, with where each trial ended, if `simulate` says so."""
        draw = getattr(self.simulate, "trials", self.simulate)
        return jax.tree.map(_left_out, draw(model, key), is_leaf=_says_itself)


def shares_grazing(generated: Any) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The share of the samples whose derivative was left out, and of those where it was clipped."""
    flags = [_grazing(node) for node in _samples(generated)]
    return _share([x == GRAZES for x in flags]), _share([x == CLIPPED for x in flags])


def share_overflowed(generated: Any) -> Float[Array, ""]:
    """The share of the trains that outgrew their room."""
    nodes = [getattr(node, "trains", node) for node in _samples(generated)]
    return _share([node.overflowed for node in nodes if isinstance(node, SpikeTrains)])


def said_of_left_out(history: dict[str, np.ndarray]) -> str:
    """A sentence on the samples that were left out or clipped; empty where there were none."""
    sentences = []
    for name, what in (("left_out", "was left out"), ("clipped", "was clipped")):
        steps = int(np.sum(history[name] > 0))
        if steps:
            share = np.mean(history[name])
            sentences.append(
                f" The derivative of {share:.2g} of the samples {what} (`{name}` in the history), "
                f"in {steps} steps, where a spike only grazed its threshold."
            )
    return "".join(sentences)


def _samples(generated: Any) -> list[Any]:
    nodes = jax.tree.leaves(generated, is_leaf=_says_itself)
    return [node for node in nodes if _says_itself(node)]


def _share(flags: list[Array]) -> Float[Array, ""]:
    if not flags:
        return jnp.zeros(())
    return jnp.mean(jnp.concatenate([jnp.ravel(x) for x in flags]), dtype=jnp.result_type(float))


def _says_itself(node: Any) -> bool:
    return isinstance(node, SpikeTrains | Trials | EventSolution)


def _grazing(node: Any) -> Array:
    node = node.trains if isinstance(node, Trials) else node
    return node.grazing


def _left_out(node: Any) -> Any:
    """The samples, those without a derivative with the derivative 0."""
    if not _says_itself(node):
        return node
    if isinstance(node, SpikeTrains):
        return eqx.tree_at(lambda x: x.times, node, _without(node.times, _grazing(node) == GRAZES))
    out = _grazing(node) == GRAZES
    if isinstance(node, Trials):
        changed = (_left_out(node.trains), _without(node.residuals, out))
        return eqx.tree_at(lambda x: (x.trains, x.residuals), node, changed)
    arrays, rest = eqx.partition(node, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(lambda x: _without(x, out), arrays), rest)


@jax.custom_jvp
def _without(x: Array, out: Array) -> Array:
    """`x`, without a derivative in the rows that are left out."""
    return x


@_without.defjvp
def _(primals, tangents):
    (x, out), (moved, _) = primals, tangents
    rows = out.reshape(out.shape + (1,) * (x.ndim - out.ndim))
    return x, jnp.where(rows, 0, moved)
