"""Networks whose synapses are matrices, by compiled code, where it can be had: all groups of
neurons at once, without rooms, the samples shared out among threads. `_forward.py` and
`_backward.py` are the same by JAX."""

from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._native import Native
from ._cell import Rates, State
from ._responses import shaped_as

_SOURCES = Path(__file__).with_name("compiled")
_WHAT = "networks of neurons cell by cell"
_FORWARD, _BACKWARD = "roughsnn_matrix_forward", "roughsnn_matrix_backward"
_NATIVE = {
    _FORWARD: Native(_WHAT, _SOURCES / "matrix_forward.cc", (_FORWARD,)),
    _BACKWARD: Native(_WHAT, _SOURCES / "matrix_backward.cc", (_BACKWARD,)),
}


class MatrixGiven(NamedTuple):
    """What the spikes of a network depend on; its neurons are in the order of their groups.

    Attributes:
        rates: the parameters of the neurons.
        start: potentials and currents at the start.
        current: the input current, of shape (T, B, N), where an axis of length 1 is shared.
        weights: between the neurons, from row to column; `None` without synapses.
        input_weights: of the inputs.
        offsets: when inputs arrive in their cells.
        delays: of the spikes of the neurons, in cells, a number or one for each; `None` where they
            arrive at once.
        refractory: for how long the potential stays at the reset after a spike, in cells, a number
            or one for each neuron.
        noise: see `Given`.
    """

    rates: Rates
    start: State
    current: Float[Array, "..."]
    weights: Float[Array, "N N"] | None
    input_weights: Float[Array, "inputs N"]
    offsets: Float[Array, "B S"]
    delays: Float[Array, "..."] | None
    refractory: Float[Array, "..."]
    noise: Float[Array, "T B N"] | None


class Wiring(eqx.Module):
    """Groups of neurons and the cells of a window; static.

    Attributes:
        sizes: how many neurons each group has.
        children: for each group, the groups that its spikes reach at once.
        num_cells: how many cells there are.
        last: up to which offset the last cell belongs to the window.
        most_spikes: how often a neuron may fire in a cell.
        max_spikes: for how many spikes of a sample there is room.
    """

    sizes: tuple[int, ...] = eqx.field(static=True)
    children: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    num_cells: int = eqx.field(static=True)
    last: float = eqx.field(static=True)
    most_spikes: int = eqx.field(static=True)
    max_spikes: int = eqx.field(static=True)

    @property
    def groups(self) -> tuple[np.ndarray, ...]:
        """Where each group begins, where its children do, and the children."""

        def starts(sizes):
            return np.cumsum([0, *sizes]).astype(np.int32)

        firsts = starts([len(x) for x in self.children])
        return starts(self.sizes), firsts, np.array(sum(self.children, ()), np.int32)


class InputSpikes(NamedTuple):
    """Input spikes: in which cell each arrives, where those outside of the window are left out, and
    from which input it is."""

    cells: Int[Array, "B S"]
    sources: Int[Array, "B S"]


class MatrixResponse(NamedTuple):
    """The spikes of each sample, in their order; places behind them are free.

    Attributes:
        offsets: in their cells.
        speeds: the slope of the potential just before each spike, per cell.
        cells: in which cell.
        neurons: whose.
        count: how many there are, also of those without room.
        bursting: samples in which a neuron fired more often in a cell than it may.
        finite: whether the potentials and currents of each sample are finite at the end.
        slowest: of each sample, the least speed of a spike over a (|v_th| + |v_th - v_to|).
    """

    offsets: Float[Array, "B S"]
    speeds: Float[Array, "B S"]
    cells: Int[Array, "B S"]
    neurons: Int[Array, "B S"]
    count: Int[Array, " B"]
    bursting: Bool[Array, " B"]
    finite: Bool[Array, " B"]
    slowest: Float[Array, " B"]


class _Kept(NamedTuple):
    """What the adjoint needs: the spikes as they were written down, how many there are, and
    potentials and currents at the starts of all cells."""

    spikes: tuple[Any, ...]
    count: Int[Array, " B"]
    states: tuple[Any, Any]


def computes_matrices(dtype: Any) -> bool:
    """Whether networks whose synapses are matrices are computed by compiled code."""
    return all(native.target(name, dtype) is not None for name, native in _NATIVE.items())


def respond_by_matrices(given: MatrixGiven, inputs: InputSpikes, wiring: Wiring) -> MatrixResponse:
    """The spikes of a network, differentiable in all that they depend on."""
    return _respond(given, inputs, wiring)


@eqx.filter_custom_vjp
def _respond(given: MatrixGiven, inputs, wiring):
    return _forward(given, inputs, wiring, keeps_states=False)[0]


@_respond.def_fwd
def _(perturbed, given, inputs, wiring):
    # everything but the rates is linear in the state
    return _forward(given, inputs, wiring, bool(perturbed.rates.a or perturbed.rates.b))


@_respond.def_bwd
def _(kept: _Kept, cotangents, perturbed, given, inputs, wiring):
    return _backward(kept, cotangents.offsets, perturbed, given, inputs, wiring)


def _forward(given: MatrixGiven, inputs: InputSpikes, wiring: Wiring, keeps_states: bool):
    given = lax.stop_gradient(given)
    dtype = given.start.v.dtype
    num_samples, num_neurons = given.start.v.shape
    of_spikes = num_samples, wiring.max_spikes
    states = (wiring.num_cells, num_samples, num_neurons) if keeps_states else (0,)
    shapes = [
        *(jax.ShapeDtypeStruct(of_spikes, x) for x in (np.int32, dtype, np.int32, dtype)),
        *(jax.ShapeDtypeStruct(of_spikes, x) for x in (np.int32, dtype, dtype, dtype)),
        *(jax.ShapeDtypeStruct((num_samples,), x) for x in (np.int32, np.int32, np.int32, dtype)),
        *(jax.ShapeDtypeStruct(states, dtype),) * 2,
    ]
    call = jax.ffi.ffi_call(
        _NATIVE[_FORWARD].required(_FORWARD, dtype), shapes, vmap_method="sequential"
    )
    out = call(
        *_parameters(given), *given.start, given.current, _or_nothing(given.noise, dtype),
        inputs.cells, given.offsets, inputs.sources, *wiring.groups, num_cells=wiring.num_cells,
        most_spikes=wiring.most_spikes, last=np.float64(wiring.last),
    )  # fmt: skip
    cells, offsets, neurons, speeds = out[:4]
    count, bursting, finite, slowest = out[8:12]
    response = MatrixResponse(
        offsets, speeds, cells, neurons, count, bursting > 0, finite > 0, slowest
    )
    return response, _Kept(tuple(out[:8]), count, tuple(out[12:]))


def _backward(
    kept: _Kept, from_offsets, perturbed: MatrixGiven, given: MatrixGiven, inputs: InputSpikes,
    wiring: Wiring,
) -> MatrixGiven:  # fmt: skip
    dtype = given.start.v.dtype
    num_samples, _num_neurons = given.start.v.shape
    if from_offsets is None:
        from_offsets = jnp.zeros((num_samples, wiring.max_spikes), dtype)
    parameters = _parameters(given)
    asked = 5 * [True] + [perturbed.weights, perturbed.input_weights, True]
    rest = (
        (given.start.v, True), (given.start.i, True), (given.current, perturbed.current),
        (given.offsets, perturbed.offsets),
        (_or_nothing(given.noise, dtype), perturbed.noise),
    )  # fmt: skip
    shapes = [
        jax.ShapeDtypeStruct(x.shape if wanted else (0,), dtype)
        for x, wanted in (*zip(parameters, asked, strict=True), *rest)
    ]
    call = jax.ffi.ffi_call(
        _NATIVE[_BACKWARD].required(_BACKWARD, dtype), shapes, vmap_method="sequential"
    )
    out = call(
        *parameters, given.current, _or_nothing(given.noise, dtype), inputs.cells, given.offsets,
        inputs.sources, *wiring.groups, *kept.spikes, kept.count, *kept.states, from_offsets,
        num_cells=wiring.num_cells,
    )  # fmt: skip
    a, b, threshold, reset, refractory, weights, input_weights, delays, v, i = out[:10]
    current, offsets, noise = out[10:]

    rates = given.rates
    return MatrixGiven(
        Rates(
            *(shaped_as(x, y) for x, y in zip((a, b, threshold, reset), rates, strict=True))
        ),
        State(v, i),
        shaped_as(current, given.current, perturbed.current),
        shaped_as(weights, given.weights, perturbed.weights),
        shaped_as(input_weights, given.input_weights, perturbed.input_weights),
        shaped_as(offsets, given.offsets, perturbed.offsets), shaped_as(delays, given.delays),
        shaped_as(refractory, given.refractory), shaped_as(noise, given.noise, perturbed.noise),
    )  # fmt: skip


def _parameters(given: MatrixGiven) -> tuple[Any, ...]:
    dtype = given.start.v.dtype
    own = (x.reshape(-1) for x in (*given.rates, given.refractory))
    delays = _or_nothing(given.delays, dtype).reshape(-1)
    return *own, _or_nothing(given.weights, dtype), given.input_weights, delays


def _or_nothing(values, dtype):
    return jnp.zeros(0, dtype) if values is None else values
