"""Which engine computes exact spikes fastest."""

from typing import Any

import jax.numpy as jnp
import jax.random as jr

from .._checks import IntLike, whole_number
from ..cells import layout_of, neurons_of
from ..event_sde import AbstractTimeFunction
from ..networks import SpikingNetwork
from ..neurons import AbstractNeuron, StochasticLIF
from ..protocol import Protocol
from ..solve import step_is_too_long
from ..spikes.checks import is_traced
from ._base import AbstractEngine
from ._cell import CellEngine, check_computes
from ._event import EventEngine

# with fewer neurons there is little that could be done side by side
_FEWEST_NEURONS = 16


def fastest_engine(
    model: AbstractNeuron, protocol: Protocol, *, num_samples: IntLike = 1
) -> AbstractEngine:
    """The engine that computes exact spikes of a model fastest.

    It is a [`roughsnn.CellEngine`][] for networks of at least 16 [`roughsnn.LIF`][] neurons that it
    computes under this protocol, known outside of JAX transformations; and the default
    [`roughsnn.EventEngine`][] for everything else: other neurons, neurons that fire by an intensity
    (whose steps both engines take in their own way), conductances, delays shorter than a step,
    circles without delays, steps that are too long for a cell, an input current that is any
    function of time, noise that is no straight line between the points of the grid. Without noise
    the cell engine's spikes are those of the equation, and the event engine's differ from them by
    the error of its solver; with noise both follow the same path.

    [`roughsnn.simulate`][] takes it unless it is told otherwise.

    Args:
        model: a neuron model or a network.
        protocol: what is done to it.
        num_samples: how many trials.

    Raises:
        TypeError: a model, an input current or input spikes of the wrong kind, for any engine.
        ValueError: likewise, an argument outside its range.
    """
    num_samples = whole_number("num_samples", num_samples, 0)
    if not isinstance(model, AbstractNeuron) or is_traced((model, protocol.input_current)):
        return EventEngine()
    return CellEngine() if _by_cells(model, protocol, num_samples) else EventEngine()


def _by_cells(model: Any, protocol: Protocol, num_samples: int) -> bool:
    """Whether cells are faster, and the engine computes the model."""
    if model.num_neurons < _FEWEST_NEURONS:
        return False
    try:
        check_computes(model, protocol, num_samples)
        layout_of(model)
    except (TypeError, ValueError):
        # what no engine computes is refused by the other one
        return False
    current = protocol.input_current
    if callable(current) and not isinstance(current, AbstractTimeFunction):
        return False
    neurons = neurons_of(model)
    if isinstance(neurons, StochasticLIF) or bool(step_is_too_long(model, protocol.dt0)):
        return False
    if bool(jnp.any(neurons.initial_state(jr.key(0)).v >= neurons.v_th)):
        return False
    if neurons.noise_shape is not None and bool(jnp.any(neurons.mu2 == 0)):
        return False
    return not isinstance(model, SpikingNetwork) or _shortest_delay(model) >= protocol.dt0


def _shortest_delay(network: SpikingNetwork) -> float:
    """Of all synapses; infinite without delays."""
    delays = [x for x in (network.axonal_delays, network.synaptic_delays) if x is not None]
    if not delays or not all(x.size for x in delays):
        return float("inf")
    return float(sum(jnp.min(x) for x in delays))
