"""What the arrival of a spike does: a jump of the synaptic current, or of a conductance."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..neurons import parameter


class Conductances(NamedTuple):
    """Synaptic conductances of K neurons.

    Attributes:
        excitatory: of the synapses with positive weights.
        inhibitory: of those with negative weights.
    """

    excitatory: Float[Array, " K"]
    inhibitory: Float[Array, " K"]


class ConductanceSynapses(eqx.Module):
    r"""Synapses whose current depends on the potential.

    For each neuron

    $$
    dg_e = -\mu_e g_e\,dt, \qquad dg_i = -\mu_i g_i\,dt, \qquad
    \text{input current } g_e (E_e - v) + g_i (E_i - v),
    $$

    and at a spike of neuron k, $g_e^j \to g_e^j + w_{kj}$ where $w_{kj} > 0$ and
    $g_i^j \to g_i^j - w_{kj}$ where $w_{kj} < 0$. The jumps leave the potential alone, so that
    they commute with its noise, and all conditions of the neurons hold as before.

    Parameters are trainable leaves, numbers or arrays of shape (K,).

    Attributes:
        mu_e: decay rate $\mu_e \ge 0$ of the excitatory conductance.
        mu_i: decay rate $\mu_i \ge 0$ of the inhibitory conductance.
        e_reversal: excitatory reversal potential $E_e$.
        i_reversal: inhibitory reversal potential $E_i$.

    Raises:
        ValueError: a parameter outside its range, named with its value.
    """

    mu_e: Float[Array, "..."]
    mu_i: Float[Array, "..."]
    e_reversal: Float[Array, "..."]
    i_reversal: Float[Array, "..."]

    def __init__(self, mu_e=5.0, mu_i=5.0, e_reversal=4.0, i_reversal=-1.0):
        self.mu_e = parameter("mu_e", mu_e, non_negative=True)
        self.mu_i = parameter("mu_i", mu_i, non_negative=True)
        self.e_reversal = parameter("e_reversal", e_reversal)
        self.i_reversal = parameter("i_reversal", i_reversal)

    @property
    def fastest_rate(self) -> Float[Array, ""]:
        """The larger of the two decay rates."""
        return jnp.maximum(jnp.max(self.mu_e), jnp.max(self.mu_i))

    def start(self, num_neurons: int, dtype) -> Conductances:
        """No conductance."""
        return Conductances(*jnp.zeros((2, num_neurons), dtype))

    def drift(self, g: Conductances) -> Conductances:
        return Conductances(-self.mu_e * g.excitatory, -self.mu_i * g.inhibitory)

    def current(self, g: Conductances, v: Float[Array, " K"]) -> Float[Array, " K"]:
        """The current into neurons with the potentials `v`."""
        return g.excitatory * (self.e_reversal - v) + g.inhibitory * (self.i_reversal - v)

    def receive(self, g: Conductances, plus, minus) -> Conductances:
        """The conductances after jumps by the sums of positive and of negative weights."""
        return Conductances(g.excitatory + plus, g.inhibitory - minus)
