"""Models from graphs of the Neuromorphic Intermediate Representation (NIR)."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..networks import SpikingNetwork
from ..neurons import LIF
from ._files import package
from ._nir_graph import Route, laid_open, positive_scale, routes_from, vector


class NIRModel(NamedTuple):
    """What was read from a NIR graph.

    Attributes:
        model: a [`roughsnn.LIF`][] population, or a [`roughsnn.SpikingNetwork`][] of such neurons.
        input_current: the constant current of each neuron, from leak potentials and biases, to
            pass on to `simulate`; shape (K,).
        current_weights: how the inputs that are currents, those that lead to LIF nodes, reach the
            neurons: the current of inputs `x` is `input_current + x @ current_weights`; shape
            (N, K), `None` without such inputs.
        populations: the numbers of the neurons of each node.
        outputs: the neurons that lead to the outputs of the graph, in their order.
    """

    model: LIF | SpikingNetwork
    input_current: Float[Array, " K"]
    current_weights: Float[Array, "N K"] | None
    populations: dict[str, range]
    outputs: tuple[int, ...]


def from_nir(graph: Any, *, time_scale: float | int = 1) -> NIRModel:
    r"""A model from a `nir.NIRGraph`.

    Populations are numbered one after another in the order of the graph. A `LIF` node is driven by
    currents, a `CubaLIF` node by spikes: those of an input, or of neurons, through any number of
    `Linear`, `Affine`, `Scale` and `Delay` nodes. A spike moves the current $i = R I$ of neuron j
    by $R_j w_{in,j} W_{jk} / \tau_{syn,j}$. Where a matrix has zeros there is no synapse. A bias
    $b$ of spikes' weights is a constant input, $R w_{in} b\,(1 - e^{-t/\tau_{syn}})$, which a
    constant current and an initial synaptic current express exactly. All potentials begin at 0.

    Args:
        graph: the graph; nested graphs with one input and one output are laid open.
        time_scale: the graph's unit of time in units of the model's, as in `to_nir`.

    Raises:
        ImportError: nir is not installed.
        TypeError: `graph` is no graph.
        ValueError: something that has no counterpart here, named with its node.
    """
    nir = package("nir")
    if not isinstance(graph, nir.NIRGraph):
        raise TypeError(f"`graph` must be a nir.NIRGraph, got {type(graph).__name__}.")
    scale = positive_scale(time_scale)
    nodes, edges = laid_open(graph)
    spiking = {n: node for n, node in nodes.items() if isinstance(node, nir.LIF | nir.CubaLIF)}
    if not spiking:
        raise ValueError("The NIR graph has no LIF or CubaLIF node; there are no neurons to read.")
    inputs = {n: node for n, node in nodes.items() if isinstance(node, nir.Input)}
    outputs = {n for n, node in nodes.items() if isinstance(node, nir.Output)}
    neurons = _Neurons.read(nir, spiking, scale)
    ends = {*spiking, *outputs, *inputs}

    def routes(start: str, size: int, first: Route | None = None) -> dict[str, Route]:
        found: dict[str, Route] = {}
        first = Route.identity(size) if first is None else first
        for end, route in routes_from(nodes, edges, ends, start, first):
            if end in spiking and len(route.weight) != len(neurons.populations[end]):
                raise ValueError(
                    f"NIR node {end!r} has {len(neurons.populations[end])} neurons, and "
                    f"{len(route.weight)} numbers from {start!r} lead to it."
                )
            found[end] = route if end not in found else found[end].beside(route, end)
        return found

    weights = np.zeros((neurons.number, neurons.number))
    delays = np.zeros_like(weights)
    read_out: list[int] = []
    for source, own in neurons.populations.items():
        for end, route in routes(source, len(own)).items():
            if end in outputs:
                read_out += _read_out(route, own, end)
                continue
            if end in inputs:
                raise ValueError(f"The spikes of {source!r} lead to the NIR input {end!r}.")
            to = neurons.populations[end]
            if not neurons.synaptic[to.start] and route.weight.any():
                raise ValueError(
                    f"NIR node {end!r} is a LIF that the spikes of {source!r} reach: each would "
                    "move its potential at once and could set off a spike at that very instant, "
                    "which has no derivative of its own. Use a CubaLIF with a short `tau_syn`."
                )
            block = np.ix_(own, to)
            weights[block] = (neurons.jump[to][:, None] * route.weight).T
            delays[block] = scale * route.delay.T
    of_spikes, of_currents = [], []
    for name, node in inputs.items():
        size = int(np.prod(np.atleast_1d(node.input_type["input"])))
        into = _inputs_of(name, routes(name, size), size, neurons)
        (of_currents if into[0] else of_spikes).append(into[1])
    current, start = neurons.leak.copy(), np.zeros(neurons.number)
    for name, node in nodes.items():
        if isinstance(node, nir.Affine) and np.any(node.bias):
            bias = vector(name, "bias", node.bias, node.weight.shape[0])[:, None]
            for end, route in routes(name, len(bias), Route(bias, np.zeros_like(bias))).items():
                if end in outputs:
                    continue
                to = np.asarray(neurons.populations[end])
                pushed = neurons.gain[to] * route.weight[:, 0]
                current[to] += pushed
                start[to] -= np.where(neurons.synaptic[to], pushed, 0)

    population = neurons.lif(start)
    input_weights = np.concatenate(of_spikes) if of_spikes else np.zeros((0, neurons.number))
    model: LIF | SpikingNetwork = population
    if np.any(neurons.synaptic):
        there = weights != 0
        model = SpikingNetwork(
            population,
            weights,
            None if there.all() else there,
            input_weights=input_weights if input_weights.any() else None,
            **_delays(delays, there),
        )
    return NIRModel(
        model,
        jnp.asarray(current),
        jnp.asarray(np.concatenate(of_currents)) if of_currents else None,
        neurons.populations,
        tuple(read_out),
    )


class _Neurons(NamedTuple):
    """All neurons of a graph in one row.

    `gain` is what one unit of input does to the current in the long run, `jump` what a spike does
    at once, `synaptic` whether there is a synaptic current.
    """

    populations: dict[str, range]
    mu1: np.ndarray
    mu2: np.ndarray
    v_th: np.ndarray
    reset_to: np.ndarray
    leak: np.ndarray
    gain: np.ndarray
    jump: np.ndarray
    synaptic: np.ndarray

    @property
    def number(self) -> int:
        return len(self.mu1)

    @classmethod
    def read(cls, nir: Any, spiking: dict[str, Any], scale: float) -> "_Neurons":
        populations: dict[str, range] = {}
        columns: dict[str, list[np.ndarray]] = {name: [] for name in cls._fields[1:]}
        first = 0
        for name, node in spiking.items():
            of_spikes = isinstance(node, nir.CubaLIF)
            threshold = vector(name, "v_threshold", node.v_threshold)
            size = threshold.size

            def field(field: str, name=name, node=node, size=size) -> np.ndarray:
                return vector(name, field, getattr(node, field), size)

            def tau(of: str, name=name, field=field) -> np.ndarray:
                values = field(of)
                if not np.all(values > 0):
                    raise ValueError(
                        f"`{of}` of the NIR node {name!r} must be positive, got {values}."
                    )
                return values

            membrane = tau("tau_mem" if of_spikes else "tau")
            synapse = tau("tau_syn") if of_spikes else membrane
            gain = field("r") * (field("w_in") if of_spikes else 1)
            here = dict(
                mu1=1 / membrane / scale,
                mu2=1 / synapse / scale,
                v_th=threshold,
                reset_to=field("v_reset"),
                leak=field("v_leak"),
                gain=gain,
                jump=field("r") * (field("w_in") / synapse if of_spikes else 0),
                synaptic=np.full(size, of_spikes),
            )
            for column, values in here.items():
                columns[column].append(values)
            populations[name] = range(first, first + size)
            first += size
        return cls(populations, *(np.concatenate(values) for values in columns.values()))

    def lif(self, start: np.ndarray) -> LIF:
        def plain(values: np.ndarray) -> Any:
            return jnp.asarray(values, jnp.result_type(float))

        return LIF(
            self.number,
            mu1=plain(self.mu1),
            mu2=plain(self.mu2),
            v_th=plain(self.v_th),
            reset_to=plain(self.reset_to),
            i0=plain(start),
        )


def _read_out(route: Route, own: range, end: str) -> list[int]:
    if not np.array_equal(route.weight, np.eye(len(own))) or route.delay.any():
        raise ValueError(
            f"Spikes reach the NIR output {end!r} through a matrix or a delay; here the spikes "
            "themselves come out. Cut the graph at the neurons, and apply the rest to the counts."
        )
    return list(own)


def _inputs_of(
    name: str, routes: dict[str, Route], size: int, neurons: _Neurons
) -> tuple[bool, np.ndarray]:
    """Whether an input is a current, and how it reaches the neurons."""
    matrix, kinds = np.zeros((size, neurons.number)), set()
    for end, route in routes.items():
        if end not in neurons.populations:
            raise ValueError(f"The NIR input {name!r} leads to {end!r} without a neuron between.")
        if route.delay.any():
            raise ValueError(
                f"The NIR input {name!r} is delayed on its way to {end!r}; here inputs act at "
                "once. Take the delay out and shift the input instead."
            )
        to = np.asarray(neurons.populations[end])
        is_current = not bool(neurons.synaptic[to[0]])
        kinds.add(is_current)
        factor = neurons.gain[to] if is_current else neurons.jump[to]
        matrix[:, to] = (factor[:, None] * route.weight).T
    if len(kinds) > 1:
        raise ValueError(
            f"The NIR input {name!r} leads to LIF nodes, as a current, and to CubaLIF nodes, as "
            "spikes. Give each kind an input of its own."
        )
    return kinds == {True}, matrix


def _delays(delays: np.ndarray, there: np.ndarray) -> dict[str, np.ndarray]:
    """Delays of neurons, where each has one, or of single synapses."""
    given = delays[there]
    if not given.any():
        return {}
    if not np.all(given > 0):
        k, j = np.argwhere(there & (delays <= 0))[0]
        raise ValueError(
            f"Some synapses of the NIR graph are delayed and others are not, such as the one from "
            f"neuron {k} to {j}. Here all have a delay or none; give the others a short one."
        )
    longest = given.max()
    low = np.where(there, delays, np.inf).min(axis=1)
    high = np.where(there, delays, -np.inf).max(axis=1)
    if np.all(low[np.isfinite(low)] == high[np.isfinite(high)]):
        return {"axonal_delays": np.where(np.isfinite(low), low, longest)}
    return {"synaptic_delays": np.where(there, delays, longest)}
