"""What a neuron model offers beyond being an event SDE."""

import abc
import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from ..event_sde import AbstractEventSDE
from ._input_conductances import InputConductances


class AbstractNeuron(AbstractEventSDE):
    """A population of neurons of one kind, without synapses between them.

    Component k of the event function belongs to neuron k. `args` is the input current: an array
    (a number, or one per neuron), or a function of time that returns one, such as
    [`roughsnn.CurrentOnGrid`][].
    """

    num_neurons: eqx.AbstractVar[int]

    @abc.abstractmethod
    def initial_state(self, key: PRNGKeyArray) -> PyTree:
        """A state at the start of a window; the key is for what is random in it."""

    @abc.abstractmethod
    def receive(self, y: PyTree, jump: Float[Array, " K"]) -> PyTree:
        """The state after a jump of the synaptic input of every neuron."""

    def fire(
        self, t: Float[Array, ""], y: PyTree, fires: Bool[Array, " K"], mark: Any, args: PyTree
    ) -> PyTree:
        """The state after all neurons in `fires` have fired at the same time, given the mark of
        each (or one for all). Simulation on a grid needs it."""
        raise NotImplementedError(
            f"{type(self).__name__} has no `fire`, the transition of several neurons at once."
        )

    def hold(self, dy: PyTree, held: Bool[Array, " K"]) -> PyTree:
        """The drift, given that the neurons in `held` are in their absolute refractory period and
        must not fire. An intensity stands still then; a neuron with a hard threshold keeps its
        potential."""
        raise NotImplementedError(
            f"{type(self).__name__} has no `hold`, what its drift is in an absolute refractory "
            "period."
        )

    def current_into(self, args: Any, t: Float[Array, ""], more: Float[Array, " K"]) -> Any:
        """The input `args` of the drift at time t, with a current `more` added to it."""
        current: Any = args(t) if callable(args) else args
        return more if current is None else current + more

    @property
    def takes_conductances(self) -> bool:
        """Whether [`roughsnn.InputConductances`][] can be its input."""
        return False

    @property
    def dead_intensity(self) -> Float[Array, " K"] | None:
        r"""For neurons that fire by an intensity: what of the integrated intensity must pass after
        a spike before the next can come, $\alpha$; `None` for any other neuron.

        A neuron that returns it promises that component k of its event function has no noise and
        rises with the intensity of neuron k, and that the transition sets it to
        $\log u - \alpha_k$, where the mark is the uniform number $u$. Estimators of the gradient
        of an expected loss stand on that."""
        return None

    def _fastest(self, *rates: Float[Array, "..."]) -> Float[Array, ""]:
        """The largest of these rates, of all neurons."""
        highest = [jnp.max(rate) for rate in rates]
        return functools.reduce(jnp.maximum, highest)

    def neuron_axes(self) -> PyTree[int]:
        """For every parameter, along which axis the K neurons lie; -1 for one that they share."""
        k = self.num_neurons
        return jax.tree.map(
            lambda x: 0 if eqx.is_array(x) and x.ndim and x.shape[0] == k else -1, self
        )

    def check_input(self, args: Any) -> None:
        """Refuses an input current of the wrong type or shape, or that is not finite."""
        if isinstance(args, InputConductances) and not self.takes_conductances:
            raise ValueError(
                f"`input_current` is InputConductances, and this {type(self).__name__} has no "
                "conductances: give it a current, or build a SpikingNetwork with "
                "synapses=roughsnn.ConductanceSynapses(...)."
            )
        value = args(jnp.zeros(())) if callable(args) else args
        if value is None:
            return
        if not eqx.is_array_like(value) or isinstance(value, complex | bool | np.bool):
            raise TypeError(
                "`input_current` must be a number, an array or a function of time that returns "
                f"one, got {type(value).__name__}."
            )
        if not isinstance(value, jax.core.Tracer) and not np.all(np.isfinite(np.asarray(value))):
            raise ValueError(f"`input_current` must be finite, got {value}.")
        shape = jnp.shape(value)
        if shape not in ((), (self.num_neurons,)):
            raise ValueError(
                f"`input_current` must be a number or have shape ({self.num_neurons},), one value "
                f"for each neuron, got shape {shape}."
            )
