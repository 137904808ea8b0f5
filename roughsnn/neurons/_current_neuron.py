"""What all neurons with a potential and a synaptic current have in common."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._base import AbstractNeuron
from ._parameters import for_each, neuron_count


class AbstractCurrentNeuron(AbstractNeuron):
    """Neurons whose state has the fields `v`, a potential, and `i`, a synaptic current that decays
    at the rate `mu2`; an arriving spike moves the current. A model defines `fire`, the transition
    of several neurons at once."""

    mu2: Float[Array, "..."]
    sigma: Float[Array, "..."] | None
    v0: Float[Array, "..."]
    i0: Float[Array, "..."]
    num_neurons: int = eqx.field(static=True)

    def _begin(self, num_neurons, mu2, v0, i0) -> int:
        """Sets, in a constructor, what all of them have but for the noise; returns K."""
        k = neuron_count(num_neurons)
        self.num_neurons = k
        for_each(self, k, non_negative=dict(mu2=mu2), free=dict(v0=v0, i0=i0))
        return k

    def spread(self, value: Float[Array, "..."]) -> Float[Array, " K"]:
        """A parameter that may be a number, as one for each neuron."""
        return value * jnp.ones(self.num_neurons, jnp.result_type(float))

    def receive(self, y, jump):
        return y._replace(i=y.i + jump)

    def transition(self, t, y, event_index, mark, args):
        fires = jnp.arange(self.num_neurons, dtype=jnp.int32) == event_index
        return self.fire(t, y, fires, mark, args)
