"""The network of the delayed-memory XOR: where it starts, and how it responds."""

import math

import jax.numpy as jnp
import jax.random as jr
from jax.scipy.stats import norm
from jaxtyping import PRNGKeyArray

from roughsnn.gated import GatedNetwork, GatedSolution, RaisedCosineGate, ThetaNeuron, solve_gated

from .xor_task import Task, Trials


def initial_network(num_neurons: int, assemblies: int, key: PRNGKeyArray) -> GatedNetwork:
    """Assemblies that share their input, up to a little noise, and excite each other through slow
    synapses: silent by themselves, they go on firing once a pulse has started them. Nothing in
    them is made for the exclusive or."""
    n = num_neurons
    keys = jr.split(key, 6)
    size = n // assemblies
    member = jnp.arange(n) // size
    together = (member[:, None] == member[None, :]) & ~jnp.eye(n, dtype=bool)
    slow = together * 0.45 / (size - 1) + 0.1 / math.sqrt(n) * jr.normal(keys[0], (n, n))
    # Assemblies of every kind, in random combinations: independent draws for so few would leave
    # some seeds without any that prefers one sign.
    count = -(-n // size)
    kinds = norm.ppf(jnp.linspace(0.5, count - 0.5, count) / count)
    pulses = kinds[member]
    cue = 0.2 * jr.permutation(keys[1], kinds)[member]
    excitability = 0.03 * jr.permutation(keys[4], kinds)[member] - 0.1
    return GatedNetwork(
        ThetaNeuron(tau=25.0),
        RaisedCosineGate(0.8),
        taus=(20.0, 5.0),
        weights=(slow, jnp.zeros((n, n))),
        input_weights=jnp.stack([pulses, cue]) + 0.3 * jr.normal(keys[2], (2, n)),
        bias=excitability + 0.03 * jr.normal(keys[3], (n,)),
        readout=0.1 * jr.normal(keys[5], (n, 1)),
    )


def respond(
    task: Task, network: GatedNetwork, trials: Trials, key: PRNGKeyArray, **options
) -> GatedSolution:
    """The network's response. Potentials start anywhere in the lower half, in each trial anew:
    a network that is right in spite of it does not hang on the times of single spikes."""
    v0 = jr.uniform(key, (len(trials.target), network.num_neurons), maxval=0.45)
    return solve_gated(network, trials.inputs, task.dt0, v0=v0, **options)
