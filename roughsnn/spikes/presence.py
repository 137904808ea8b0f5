"""Whether a spike is there, as a number with a derivative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .checks import refuse_if


class Presence(eqx.Module):
    r"""For each step of a grid and each neuron 1 if the neuron fires at its end, else 0, with a
    surrogate derivative.

    Spike trains hold their spikes as a list, in which a spike that is absent has no place. What a
    loss says about an absent spike, that it should be there, needs one: this raster. A number of
    spikes is a sum over it, a filtered train a sum of decays, and so their derivatives reach the
    potential of every neuron at every step. [`roughsnn.ClockEngine`][] with a surrogate gives it;
    trains of other engines have none, as their spikes are differentiated by their times.

    Attributes:
        values: the presence $s_{nk}$ of a spike of neuron k at the end of step n.
        times: the ends of the steps, since the start of the window; they have no derivative.
    """

    values: Float[Array, "*batch steps num_neurons"]
    times: Float[Array, " steps"]

    def of(self, change: Callable[[Array], Array]) -> Presence:
        """The same grid, with the values changed."""
        return Presence(change(self.values), self.times)

    def select(self, chosen: Int[np.ndarray, " chosen"]) -> Presence:
        """Of these neurons only, in this order."""
        first, number = int(chosen[0]), chosen.size
        if np.array_equal(chosen, np.arange(first, first + number)):
            # a slice, whose derivative is no scatter into a raster of zeros
            return self.of(lambda values: values[..., first : first + number])
        return self.of(lambda values: values[..., chosen])

    @property
    def vmap_axes(self) -> Presence:
        """Axes of a map over the first batch axis."""
        axes: Any = object.__new__(Presence)
        object.__setattr__(axes, "values", 0)
        object.__setattr__(axes, "times", None)
        return axes

    @property
    def counting_path(self) -> Float[Array, "*batch steps num_neurons"]:
        """How many spikes of each neuron there have been up to the end of each step."""
        return jnp.cumsum(self.values, axis=-2)


def checked_presence(presence: Any, batch: tuple[int, ...], num_neurons: int) -> Presence | None:
    """The presence, refused where it does not fit the trains."""
    if presence is None:
        return None
    if not isinstance(presence, Presence):
        raise TypeError(f"`presence` must be a Presence, got {type(presence).__name__}.")
    expected = (*batch, presence.times.shape[0], num_neurons)
    if presence.values.shape != expected:
        raise ValueError(
            f"`presence` has values of shape {presence.values.shape}; with these trains and its "
            f"{presence.times.shape[0]} steps they must have the shape {expected}."
        )
    return presence


def joined_presence(
    presences: Sequence[Presence | None], join: Callable, axis: int
) -> Presence | None:
    """The presence of joined trains, where all have it on one grid; else an error, or `None` where
    none has it."""
    known = [x for x in presences if x is not None]
    if not known:
        return None
    grid = known[0].times
    message = (
        "Of the trains to join some hold the presence of spikes on the grid of a ClockEngine, and "
        "others none, or on another grid. Take `trains.without_presence()` of them."
    )
    if len(known) < len(presences) or any(x.times.shape != grid.shape for x in known):
        raise ValueError(message)
    values = join([x.values for x in known], axis=axis)
    for other in known[1:]:
        if other.times is not grid:
            values = refuse_if(values, other.times != grid, message)
    return Presence(values, grid)


def first_time(
    presence: Presence, late: Float[Array, "*batch num_neurons"]
) -> Float[Array, "*batch num_neurons"]:
    r"""The time of the first spike of each neuron, `late` where there is none, as a function of
    the presence of spikes.

    $$ T_n = s_n t_n + (1 - s_n) T_{n+1}, \qquad T_{N+1} = t_{\text{late}}, $$

    of which $T_1$ is the first spike time: linear in the presence of every single spike, with the
    derivative by how much it would come earlier if that spike were there, and later if it were not.
    """

    def earlier(after, step):
        values, time = step
        return (1 - values) * after + values * time, None

    values = jnp.moveaxis(presence.values, -2, 0)
    found, _ = jax.lax.scan(
        earlier, jnp.broadcast_to(late, values.shape[1:]), (values, presence.times), reverse=True
    )
    return found
