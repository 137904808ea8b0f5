"""What leads from node to node of a NIR graph: nested graphs laid open, matrices multiplied out."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ._files import package


class Route(NamedTuple):
    """The linear map from the N outputs of one node to the M inputs of another.

    Attributes:
        weight: shape (M, N).
        delay: after how long each output arrives at each input, shape (M, N).
    """

    weight: np.ndarray
    delay: np.ndarray

    @classmethod
    def identity(cls, size: int) -> "Route":
        return cls(np.eye(size), np.zeros((size, size)))

    def times(self, matrix: np.ndarray, name: str) -> "Route":
        """This, and then a product with a matrix.

        Raises:
            ValueError: shapes that do not fit, or two delays between the same pair.
        """
        if matrix.ndim != 2 or matrix.shape[1] != self.weight.shape[0]:
            raise ValueError(
                f"NIR node {name!r} has a weight of shape {matrix.shape}, and {len(self.weight)} "
                "numbers lead to it; its weight must have one column for each."
            )
        weight = matrix @ self.weight
        delay = np.zeros_like(weight)
        if self.delay.any():
            for row, factors in enumerate(matrix):
                reached = (factors != 0)[:, None] & (self.weight != 0)
                low = np.where(reached, self.delay, np.inf).min(axis=0)
                high = np.where(reached, self.delay, -np.inf).max(axis=0)
                _refuse_two_delays(low, high, name)
                delay[row] = np.where(np.isfinite(low), low, 0)
        return Route(weight, delay)

    def beside(self, other: "Route", name: str) -> "Route":
        """The sum of two routes between the same nodes."""
        both = (self.weight != 0) & (other.weight != 0)
        low = np.where(both, np.minimum(self.delay, other.delay), np.inf)
        high = np.where(both, np.maximum(self.delay, other.delay), -np.inf)
        _refuse_two_delays(low, high, name)
        delay = np.where(self.weight != 0, self.delay, other.delay)
        return Route(self.weight + other.weight, delay)


def _refuse_two_delays(low, high, name):
    if np.any(high - low > 1e-9 * np.abs(high)):
        raise ValueError(
            f"NIR node {name!r} is reached from one neuron by two ways with different delays; a "
            "synapse here has one. Put a neuron between, or drop one of the ways."
        )


def vector(name: str, field: str, value: Any, size: int | None = None) -> np.ndarray:
    """A parameter of a node as a vector.

    Raises:
        ValueError: it has more axes than one, is not finite, or has another size.
    """
    array = np.asarray(value, np.float64)
    array = array.reshape(1) if array.ndim == 0 else array
    if array.ndim != 1 or (size is not None and array.size != size):
        wanted = "one axis" if size is None else f"shape ({size},)"
        raise ValueError(
            f"`{field}` of the NIR node {name!r} has shape {array.shape}; it must have {wanted}. "
            "Neurons are numbered in one row here: flatten the graph before."
        )
    if not np.all(np.isfinite(array)):
        raise ValueError(f"`{field}` of the NIR node {name!r} must be finite, got {array}.")
    return array


def positive_scale(time_scale: Any) -> float:
    """The unit of time of a graph, checked."""
    if not 0 < float(time_scale) < float("inf"):
        raise ValueError(f"`time_scale` must be positive and finite, got {time_scale}.")
    return float(time_scale)


def laid_open(graph: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Nodes and edges of a graph with those of nested graphs in their place, as `outer.inner`.

    Raises:
        ValueError: an edge to a node that there is not, or a nested graph whose inputs or outputs
            are not one.
    """
    nir = package("nir")
    nodes, edges, doors = {}, [], {}
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRGraph):
            nodes[name] = node
            doors[name] = (name, name)
            continue
        inner, inner_edges = laid_open(node)
        ends = [
            [n for n in node.nodes if isinstance(node.nodes[n], kind)]
            for kind in (nir.Input, nir.Output)
        ]
        if [len(end) for end in ends] != [1, 1]:
            raise ValueError(
                f"The nested NIR graph {name!r} has {len(ends[0])} inputs and {len(ends[1])} "
                "outputs; one of each can be laid open. Flatten it before."
            )
        nodes |= {f"{name}.{n}": _door(nir, m) for n, m in inner.items()}
        edges += [(f"{name}.{a}", f"{name}.{b}") for a, b in inner_edges]
        doors[name] = (f"{name}.{ends[0][0]}", f"{name}.{ends[1][0]}")
    for a, b in graph.edges:
        for end in (a, b):
            if end not in doors:
                raise ValueError(f"An edge of the NIR graph names {end!r}, which is no node of it.")
        edges.append((doors[a][1], doors[b][0]))
    return nodes, edges


def _door(nir: Any, node: Any) -> Any:
    """The inputs and outputs of a nested graph let pass what comes."""
    if isinstance(node, nir.Input):
        return nir.Scale(np.ones(np.atleast_1d(node.input_type["input"])))
    if isinstance(node, nir.Output):
        return nir.Scale(np.ones(np.atleast_1d(node.output_type["output"])))
    return node


def routes_from(
    nodes: dict[str, Any], edges: list[tuple[str, str]], ends: set[str], start: str, first: Route
) -> Iterator[tuple[str, Route]]:
    """Every way from a node, through matrices and delays, to a node among `ends`.

    Raises:
        ValueError: a node that is none of these, or a loop without a neuron in it.
    """
    ways = [(b, first, (start,)) for a, b in edges if a == start]
    while ways:
        name, route, passed = ways.pop()
        if name in ends:
            yield name, route
            continue
        if name in passed:
            raise ValueError(f"The NIR graph has a loop without a neuron, through {name!r}.")
        route = _passed(name, nodes[name], route)
        ways += [(b, route, (*passed, name)) for a, b in edges if a == name]


def _passed(name: str, node: Any, route: Route) -> Route:
    nir = package("nir")
    size = len(route.weight)
    if isinstance(node, nir.Linear | nir.Affine):
        return route.times(np.asarray(node.weight, np.float64), name)
    if isinstance(node, nir.Scale):
        scale = vector(name, "scale", node.scale, size)
        return Route(scale[:, None] * route.weight, route.delay)
    if isinstance(node, nir.Delay):
        delay = vector(name, "delay", node.delay, size)
        return Route(route.weight, route.delay + delay[:, None])
    raise ValueError(
        f"NIR node {name!r} is a {type(node).__name__}, which has no counterpart here. Read are "
        "LIF and CubaLIF neurons, Linear, Affine, Scale and Delay between them, Input, Output and "
        "nested graphs; replace or cut out the node."
    )
