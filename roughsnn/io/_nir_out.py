"""Models out to graphs of the Neuromorphic Intermediate Representation (NIR)."""

import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..networks import SpikingNetwork
from ..neurons import LIF, AbstractIntensityNeuron, AbstractNeuron
from ._files import package
from ._nir_graph import positive_scale


def to_nir(model: AbstractNeuron, *, input_current: Any = None, time_scale: float | int = 1) -> Any:
    r"""A model as a `nir.NIRGraph`, for simulators and chips that read NIR.

    A [`roughsnn.LIF`][] population becomes a `LIF` node whose input is a current. A network of them
    becomes a `CubaLIF` node whose spikes come back through a `Linear` one, with a `Delay` before it
    where spikes are delayed, and whose input are spikes. With $c$ the input current,

    $$
    \tau_{mem} = 1/\mu_1, \quad \tau_{syn} = w_{in} = 1/\mu_2, \quad R = 1, \quad
    v_{leak} = c, \quad W_{jk} = w_{kj},
    $$

    so that a spike moves the current by $w_{in} W_{jk} / \tau_{syn} = w_{kj}$, as NIR's
    equations have it, where spikes are impulses of size 1.

    Args:
        model: a `LIF` population without noise or a `SpikingNetwork` of one, with current synapses.
        input_current: the constant current: a number, or shape (K,).
        time_scale: the graph's unit of time in units of the model's: 1e-3 for a model in seconds
            and a graph in milliseconds. NIR stores numbers without units; its documentation names
            milliseconds, many graphs are in seconds.

    Raises:
        ImportError: nir is not installed.
        TypeError: a neuron that NIR has not.
        ValueError: something else that NIR has not: noise, refractory periods, conductances, an
            initial state other than zero, a current that changes in time.

    Reference: Pedersen et al. (2024), *Neuromorphic intermediate representation*, Nature
    Communications 15, 8122.
    """
    nir = package("nir")
    network = model if isinstance(model, SpikingNetwork) else None
    neurons = _expressible(model)
    k = neurons.num_neurons
    scale = positive_scale(time_scale)

    def each(value: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(value, np.float64), (k,)).copy()

    membrane = dict(
        r=np.ones(k),
        v_leak=each(_constant(model, input_current)),
        v_threshold=each(neurons.v_th),
        v_reset=each(neurons.reset_to),
    )
    tau = _time_constant("mu1", each(neurons.mu1), scale)
    end = nir.Output({"output": np.array([k])})
    if network is None:
        nodes = {
            "input": nir.Input({"input": np.array([k])}),
            "neurons": nir.LIF(tau=tau, **membrane),
            "output": end,
        }
        return nir.NIRGraph(nodes, [("input", "neurons"), ("neurons", "output")])
    tau_syn = _time_constant("mu2", each(neurons.mu2), scale)
    # A graph must begin at an input; one that reaches nothing stands for a network without.
    if network.input_delays is not None:
        raise ValueError(
            "`model` has `input_delays`, which are not written to NIR files: give the inputs the "
            "times at which they arrive, and the network no input delays."
        )
    inputs = np.zeros((1, k)) if network.input_weights is None else network.input_weights
    into = np.asarray(inputs, np.float64).T.copy()
    nodes = {
        "input": nir.Input({"input": np.array([into.shape[1]])}),
        "input_weights": nir.Linear(into),
        "neurons": nir.CubaLIF(tau_syn=tau_syn, tau_mem=tau, w_in=tau_syn, **membrane),
        **_recurrence(nir, network, scale),
        "output": end,
    }
    loop = ["neurons", *[n for n in ("synapses", "delays", "weights") if n in nodes], "neurons"]
    edges = [("input", "input_weights"), ("input_weights", "neurons"), ("neurons", "output")]
    if "weights" in nodes:
        edges += list(itertools.pairwise(loop))
    return nir.NIRGraph(nodes, edges)


def _expressible(model: AbstractNeuron) -> LIF:
    """The neurons of a model, which NIR can express."""
    neurons = model.neurons if isinstance(model, SpikingNetwork) else model
    kind = type(neurons).__name__
    if isinstance(neurons, AbstractIntensityNeuron):
        raise TypeError(
            f"NIR cannot express {kind}: its neurons fire by chance, with an intensity, and those "
            "of NIR at a threshold. Export a network of `LIF` neurons, and keep this one with "
            "`equinox.tree_serialise_leaves`."
        )
    if not isinstance(neurons, LIF):
        raise TypeError(f"NIR cannot express {kind}; it must be a `LIF`, or a network of them.")
    unlike = {
        "noise of the current (`sigma`)": neurons.sigma is not None,
        "an initial state (`v0`, `i0`)": np.any(neurons.v0) or np.any(neurons.i0),
    }
    if isinstance(model, SpikingNetwork):
        unlike |= {
            "conductances (`synapses`)": model.synapses is not None,
            "refractory periods (`refractory`)": model.refractory is not None,
        }
    for feature, is_there in unlike.items():
        if is_there:
            name = feature.split("`")[1]
            raise ValueError(
                f"NIR cannot express {feature}. Build the model without, if it is to be "
                f"exported: leave out `{name}` or set it to zero."
            )
    return neurons


def _constant(model: AbstractNeuron, input_current: Any) -> Any:
    if callable(input_current):
        raise ValueError(
            "NIR cannot express an `input_current` that changes in time; it must be a number or "
            f"have shape ({model.num_neurons},)."
        )
    model.check_input(input_current)
    return 0 if input_current is None else input_current


def _time_constant(name: str, rates: np.ndarray, scale: float) -> np.ndarray:
    if not np.all(rates > 0):
        raise ValueError(
            f"NIR cannot express `{name}` = 0, a time constant without bounds; it must be positive."
        )
    return 1 / rates / scale


def _recurrence(nir: Any, network: SpikingNetwork, scale: float) -> dict[str, Any]:
    """The nodes between the neurons and themselves."""
    k = network.num_neurons
    if network.synaptic_delays is not None:
        listed: Any = network.listed
        number = jnp.arange(len(listed), dtype=jnp.int32)
        weights = np.asarray(network.weights_of(number), np.float64)
        delays = np.asarray(network.delays_of(number, listed.pre), np.float64)
        pre, post = np.asarray(listed.pre), np.asarray(listed.post)
        if not weights.any():
            return {}
        # Each synapse is a line of its own, so that it has a delay of its own.
        before, after = np.zeros((len(pre), k)), np.zeros((k, len(pre)))
        before[np.arange(len(pre)), pre] = 1
        after[post, np.arange(len(pre))] = weights
        return {
            "synapses": nir.Linear(before),
            "delays": nir.Delay(np.maximum(delays, 0) / scale),
            "weights": nir.Linear(after),
        }
    weights = np.asarray(network.effective_weights, np.float64)
    if weights.ndim == 1:
        connections: Any = network.connections
        dense = np.zeros((k, k))
        dense[np.asarray(connections.pre), np.asarray(connections.post)] = weights
        weights = dense
    if not weights.any():
        return {}
    nodes = {"weights": nir.Linear(weights.T.copy())}
    if network.axonal_delays is not None:
        delays = np.maximum(np.asarray(network.axonal_delays, np.float64), 0) / scale
        nodes["delays"] = nir.Delay(np.broadcast_to(delays, (k,)).copy())
    return nodes
