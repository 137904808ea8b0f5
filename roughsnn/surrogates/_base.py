"""What a surrogate derivative is."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from .._checks import real_array

Width = ArrayLike | Callable[[Any], Any]
"""A number, one for each neuron, or a schedule: a function of the number of the training step."""


def _width(value: Any) -> Any:
    """The steepness as an array, or the schedule of it."""
    if callable(value) and not eqx.is_array(value):
        return value
    array = real_array("beta", value)
    # (a weak type would be another one after a step of training)
    array = lax.convert_element_type(array, array.dtype)
    known = not isinstance(array, jax.core.Tracer)
    if known and not np.all((np.asarray(array) >= 0) & np.isfinite(np.asarray(array))):
        raise ValueError(f"`beta` must be finite and not negative, got {value}.")
    return array


class AbstractSurrogate(eqx.Module):
    r"""A step function of the distance $x$ of a potential from its threshold, with a derivative
    that is not its own.

    Called, it gives $s = 1$ where $x \ge 0$, else 0, and

    $$ \mathrm d s = h(x)\,\mathrm d x , $$

    with the surrogate derivative $h$, which is what a subclass writes, as `derivative`. It works
    once, in forward or in reverse mode; second derivatives are for `Relaxed`.

    Attributes:
        beta: steepness $\beta \ge 0$, one over the width, in the inverse unit of the event function
            (for [`roughsnn.LIF`][], of the potential). A number, an array with one for each
            neuron, or a schedule for *gradual* surrogates, a function of the number of the training
            step such as those of optax; `at` gives the surrogate of a step.

    Raises:
        ValueError: `beta` is negative or not finite; at the derivative, it is a schedule still.
    """

    beta: Width = eqx.field(converter=_width)

    @abc.abstractmethod
    def derivative(self, x: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """The surrogate derivative $h(x)$."""

    def primitive(self, x: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """A smooth function whose derivative $h$ is, for `Relaxed`; a surrogate need not have it.

        Raises:
            NotImplementedError: it has none.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no `primitive`, a smooth function of which `derivative` is "
            "the derivative: define it, or take a surrogate that has one."
        )

    @property
    def is_step(self) -> bool:
        """Whether spikes are whole, as those of a step function are."""
        return True

    def __call__(self, x: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """1 where x is not negative, else 0, with the surrogate derivative."""
        return self.spike(x, x >= 0)

    def spike(self, x: Float[Array, "*n"], fires: Array) -> Float[Array, "*n"]:
        """1 where `fires`, else 0, with the surrogate derivative at x."""
        return _spike(self, x, fires)

    def at(self, step: Any) -> "AbstractSurrogate":
        """The surrogate of a training step: `beta` as it is then, where it is a schedule."""
        if not callable(self.beta) or eqx.is_array(self.beta):
            return self
        with jax.numpy_dtype_promotion("standard"):  # schedules multiply numbers of steps
            beta = jnp.asarray(self.beta(step), jnp.result_type(float))
        return eqx.tree_at(lambda s: s.beta, self, beta)

    def scaled(self, x: Float[Array, "*n"]) -> tuple[Float[Array, "..."], Float[Array, "*n"]]:
        r"""$\beta$ and $\beta x$, in the precision of $x$."""
        if callable(self.beta) and not eqx.is_array(self.beta):
            raise ValueError(
                f"`beta` of {type(self).__name__} is a schedule, and the number of the training "
                "step is not known here: take `surrogate.at(step)`."
            )
        beta = jnp.asarray(self.beta).astype(x.dtype)
        return beta, beta * x


@eqx.filter_custom_jvp
def _spike(surrogate, x, fires):
    return fires.astype(x.dtype)


@_spike.def_jvp
def _(primals, tangents):
    surrogate, x, fires = primals
    moved = tangents[1]
    spikes = _spike(surrogate, x, fires)
    if moved is None:
        return spikes, jnp.zeros_like(spikes)
    return spikes, surrogate.derivative(x) * moved


class Relaxed(AbstractSurrogate):
    r"""Spikes that are not whole: the smooth function whose derivative a surrogate is.

    A neuron sends the share $p(x)$ of a spike in every step, resets by that share, and nothing
    jumps, so that the gradient of this network is a true one and can be checked by differences. It
    shows what a surrogate would be the derivative of, if it were one. The share lies between 0 and
    1 for surrogates of area one, and with a steepness that grows the network becomes the spiking
    one gradually. The list of spikes holds those at which x is not negative.

    Attributes:
        surrogate: one with a `primitive`.

    Reference: Gygax & Zenke (2025), Neural Comput. 37:886, for the smooth network beside that
    of surrogate derivatives.
    """

    surrogate: AbstractSurrogate

    def __init__(self, surrogate: AbstractSurrogate):
        if not isinstance(surrogate, AbstractSurrogate):
            raise TypeError(
                f"`surrogate` must be a surrogate such as roughsnn.SuperSpike(), got "
                f"{type(surrogate).__name__}."
            )
        self.surrogate = surrogate
        self.beta = surrogate.beta

    @property
    def is_step(self) -> bool:
        return False

    def derivative(self, x):
        return self.surrogate.derivative(x)

    def primitive(self, x):
        return self.surrogate.primitive(x)

    def spike(self, x, fires):
        return self.surrogate.primitive(x)

    def at(self, step):
        return Relaxed(self.surrogate.at(step))
