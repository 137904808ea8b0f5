"""Conductances that are put into neurons from outside, as a dynamic clamp does."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..event_sde import AbstractTimeFunction


class InputConductances(AbstractTimeFunction):
    r"""Conductances added to those of a network's synapses, as a dynamic clamp adds them to a cell.
    Pass them as `input_current`.

    With $G_e$ and $G_i$ the input, the current into a neuron is
    $(g_e + G_e)(E_e - v) + (g_i + G_i)(E_i - v) + c$. They may be negative for a while, as what is
    added to conductances may be. It needs a [`roughsnn.SpikingNetwork`][] with
    [`roughsnn.ConductanceSynapses`][], whose reversal potentials they have.

    Attributes:
        excitatory: $G_e$, in one over the unit of the neurons' potential per current: a number, an
            array of shape (K,), or a function of time such as [`roughsnn.CurrentOnGrid`][].
        inhibitory: $G_i$, likewise.
        current: the input current c beside them, likewise.

    Raises:
        TypeError: a function of time that is none of those of the library.
    """

    excitatory: Any = None
    inhibitory: Any = None
    current: Any = None

    def __check_init__(self):
        for name in ("excitatory", "inhibitory", "current"):
            value = getattr(self, name)
            if callable(value) and not isinstance(value, AbstractTimeFunction):
                raise TypeError(
                    f"`{name}` must be a number, an array of shape (K,) or a function of time such "
                    f"as roughsnn.CurrentOnGrid, got {type(value).__name__}."
                )

    def __call__(self, t):
        """The current at time t."""
        return _at(self.current, t)

    def at(self, t):
        """Both conductances at time t."""
        return _at(self.excitatory, t), _at(self.inhibitory, t)

    def since(self, t0: float) -> "InputConductances":
        """The same input, as a function of the time since `t0`."""
        parts = (self.excitatory, self.inhibitory, self.current)
        return InputConductances(
            *(p.since(t0) if isinstance(p, AbstractTimeFunction) else p for p in parts)
        )

    def within(self, begin: Float[Array, ""], end: Float[Array, ""]) -> "InputConductances":
        """The same input for one step of a solver."""
        parts = (self.excitatory, self.inhibitory, self.current)
        return InputConductances(
            *(p.within(begin, end) if isinstance(p, AbstractTimeFunction) else p for p in parts)
        )

    def held(self, t: float) -> Any:
        """The input that has its value at `t` at all times."""
        time = jnp.asarray(t)
        return InputConductances(*self.at(time), self(time))


def _at(part: Any, t: Any) -> Any:
    if part is None:
        return jnp.zeros((), t.dtype)
    return part(t) if callable(part) else jnp.asarray(part, t.dtype)


def check_conductances(name: str, value: Any, num_neurons: int) -> None:
    """Refuses a conductance that is no number for all neurons or for each, or is not finite."""
    if np.shape(value) not in ((), (num_neurons,)):
        raise ValueError(
            f"`input_current` has {name} conductances of shape {np.shape(value)}; they must be a "
            f"number or have shape ({num_neurons},), one value for each neuron."
        )
