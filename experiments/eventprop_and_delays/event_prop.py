r"""The adjoint of EventProp, as it is published, spike by spike in NumPy.

Neurons follow $\tau_m \dot V = -V + I$, $\tau_s \dot I = -I$, fire at $\vartheta$ and go on from
zero. With the prime for the derivative backwards in time, their adjoint variables follow

$$ \tau_m \lambda_V' = -\lambda_V , \qquad \tau_s \lambda_I' = -\lambda_I + \lambda_V , $$

from zero at the end of the trial, and at the k-th spike, of neuron n at the time $t_k$,

$$ \lambda_V^{n-} = \lambda_V^{n+} + \frac{\vartheta \lambda_V^{n+}
    + \sum_m w_{nm} (\lambda_V^m - \lambda_I^m) + \partial L / \partial t_k}{I^n - \vartheta} . $$

The gradient in the weight of a synapse from n to m is $-\tau_s \sum \lambda_I^m$ over the spikes
of n, of input spikes as of others.

Reference: Wunderlich & Pehle (2021), Sci. Rep. 11:12829.
"""

from typing import Any, NamedTuple

import numpy as np


class Layers(NamedTuple):
    r"""What a network of leaky neurons is made of.

    Attributes:
        weights: from each neuron (row) to each other, 0 where there is no synapse.
        input_weights: from each input to each neuron.
        membrane: time constant of the potential.
        synapse: time constant of the current.
        threshold: where a neuron fires, $\vartheta$.
    """

    weights: Any
    input_weights: Any
    membrane: float
    synapse: float
    threshold: float


def gradients(
    layers: Layers, inputs: tuple[Any, Any], spikes: tuple[Any, Any], by_time: Any
) -> tuple[Any, Any]:
    """The gradient of a loss of spike times in all weights, for one sample.

    Args:
        layers: the network.
        inputs: times and numbers of the input spikes.
        spikes: times and numbers of the neurons' spikes.
        by_time: the derivative of the loss in each of these times.

    Returns:
        the gradients in `weights` and in `input_weights`; that in a weight without a synapse is
        what the synapse would have.
    """
    (times_in, who_in), (times, who) = inputs, spikes
    when = np.concatenate([times_in, times])
    rows = np.concatenate([layers.input_weights[who_in], layers.weights[who]])
    size, tau_m, tau_s = layers.weights.shape[0], layers.membrane, layers.synapse
    of_weights, of_inputs = np.zeros_like(layers.weights), np.zeros_like(layers.input_weights)
    adjoint_v, adjoint_i = np.zeros(size), np.zeros(size)
    latest = np.max(when, initial=0.0)
    for event in np.argsort(-when, kind="stable"):
        back = latest - when[event]
        latest = when[event]
        slow, fast = np.exp(-back / tau_m), np.exp(-back / tau_s)
        adjoint_i = adjoint_i * fast + adjoint_v * (slow - fast) * tau_m / (tau_m - tau_s)
        adjoint_v = adjoint_v * slow
        number = event - len(times_in)
        if number < 0:
            of_inputs[who_in[event]] -= tau_s * adjoint_i
            continue
        n = who[number]
        of_weights[n] -= tau_s * adjoint_i
        before = when < latest
        current = rows[before, n] @ np.exp(-(latest - when[before]) / tau_s)
        sent = layers.weights[n] @ (adjoint_v - adjoint_i)
        jump = layers.threshold * adjoint_v[n] + sent + by_time[number]
        adjoint_v[n] += jump / (current - layers.threshold)
    return of_weights, of_inputs
