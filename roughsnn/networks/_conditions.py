"""What can be said of the theorem's conditions before anything is simulated."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.flatten_util import ravel_pytree

from ..neurons import AbstractNeuron
from ..solve import ConditionsError, increment_structure, tolerance

_OVERRIDE = 'To build the network all the same, pass `conditions="ignore"`.'


def check_network(network) -> None:
    """Raises where synapses, noise or refractory periods break a condition for exact pathwise
    gradients. It looks at one state, the initial one, and at the spike of one neuron, since all
    are alike."""
    neurons = network.neurons
    if network.refractory is not None and type(neurons).hold is AbstractNeuron.hold:
        raise TypeError(
            f"`refractory` needs a neuron model with `hold`, and {type(neurons).__name__} has none."
        )
    leaves = jax.tree.leaves(eqx.filter(network, eqx.is_array))
    if any(isinstance(x, jax.core.Tracer) for x in leaves):
        return
    y = neurons.initial_state(jr.key(0))
    if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(y)):
        return
    t, k = jnp.zeros((), jnp.result_type(*jax.tree.leaves(y))), neurons.num_neurons

    def event(y):
        return neurons.event(t, y, None)

    pushed = neurons.receive(y, jnp.ones(k, t.dtype))
    if np.any(np.asarray(event(pushed) != event(y))):
        raise ConditionsError(
            "An arriving spike moves the event function of the neuron that it reaches, so that it "
            "can set off a spike at the same instant, whose time has no derivative of its own. Let "
            f"synapses act on a current or a conductance. {_OVERRIDE}"
        )
    if neurons.noise_shape is None:
        return
    structure, unravel = ravel_pytree(increment_structure(neurons, t.dtype))
    dx = unravel(jnp.asarray(np.random.default_rng(0).normal(size=structure.size), t.dtype))

    def noise(y):
        vf = neurons.diffusion(t, y, None)
        return dfx.ControlTerm(lambda *_: vf, lambda a, b: dx).prod(vf, dx)

    def jump(y):
        mark = neurons.mark(jr.key(1))
        return neurons.transition(t, y, jnp.zeros((), jnp.int32), mark, None)

    here = noise(y)
    size = float(jnp.linalg.norm(ravel_pytree(here)[0]))
    small = tolerance(t.dtype) * max(size, 1e-300)
    tilt = jax.jvp(event, (y,), (here,))[1]
    if float(jnp.max(jnp.abs(tilt))) > small:
        raise ConditionsError(
            "Noise moves the event function of the neurons (condition: noise tangent to the event "
            "surface): spike times are not continuous in the parameters. Let noise act on other "
            f"coordinates, or fire by an intensity. {_OVERRIDE}"
        )
    moved, pushed = jax.jvp(jump, (y,), (here,))
    gap = ravel_pytree(pushed)[0] - ravel_pytree(noise(moved))[0]
    if float(jnp.linalg.norm(gap)) > small:
        raise ConditionsError(
            "The transition at a spike changes what noise has done (condition: noise commutes with "
            "the transition), as a reset to a fixed value does. Reset by subtracting, and let the "
            f"noise depend on nothing that a spike changes. {_OVERRIDE}"
        )
