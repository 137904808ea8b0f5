"""Networks that fire by an exponential intensity, by compiled code, where it can be had: all groups
of neurons at once, the samples shared out among threads. `_escape_forward.py` and
`_escape_backward.py` are the same by JAX, for every intensity."""

from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._native import Native
from ..neurons import ExponentialIntensity, StochasticLIF
from ._escape_felt import Drive
from ._escape_forward import Marks
from ._matrix_compiled import Wiring
from ._responses import shaped_as, summed_to

_SOURCES = Path(__file__).with_name("compiled")
_WHAT = "networks that fire by an intensity cell by cell"
_FORWARD, _BACKWARD = "roughsnn_intensity_forward", "roughsnn_intensity_backward"
_NATIVE = {
    _FORWARD: Native(_WHAT, _SOURCES / "intensity_forward.cc", (_FORWARD,)),
    _BACKWARD: Native(_WHAT, _SOURCES / "intensity_backward.cc", (_BACKWARD,)),
}


class IntensityGiven(NamedTuple):
    """What the spikes of a network depend on; its neurons are in the order of their groups, and
    parameters are numbers or one for each neuron.

    Attributes:
        a: leak rate of the potential, per cell.
        b: decay rate of the current, per cell.
        threshold: potential at which the intensity is one over its time scale.
        beta: steepness of the intensity.
        scale: time scale of the intensity.
        drop: what a spike takes off the potential.
        alpha: what is taken off the logarithm of a mark.
        refractory: for how long the integrated intensity stands still after a spike, in cells;
            `None` for no time at all.
        weights: between the neurons, from row to column; `None` without synapses.
        delays: of their spikes, in cells; `None` where they arrive at once.
        drive: what comes from outside.
        v: potentials at the start.
        i: currents.
        s: integrated intensities.
    """

    a: Float[Array, "..."]
    b: Float[Array, "..."]
    threshold: Float[Array, "..."]
    beta: Float[Array, "..."]
    scale: Float[Array, "..."]
    drop: Float[Array, "..."]
    alpha: Float[Array, "..."]
    refractory: Float[Array, "..."] | None
    weights: Float[Array, "N N"] | None
    delays: Float[Array, "..."] | None
    drive: Drive
    v: Float[Array, "B N"]
    i: Float[Array, "B N"]
    s: Float[Array, "B N"]


class CellWidth(eqx.Module):
    """Numbers that are known before anything is computed; static.

    Attributes:
        width: length of a cell.
        max_excess: up to which excess over the threshold the intensity grows.
    """

    width: float = eqx.field(static=True)
    max_excess: float = eqx.field(static=True)


class IntensityResponse(NamedTuple):
    """The spikes of each sample, in their order; see `MatrixResponse`. `slowest` is the least speed
    of an integrated intensity at a spike, per cell."""

    offsets: Float[Array, "B S"]
    cells: Int[Array, "B S"]
    neurons: Int[Array, "B S"]
    count: Int[Array, " B"]
    bursting: Bool[Array, " B"]
    finite: Bool[Array, " B"]
    slowest: Float[Array, " B"]


class _Kept(NamedTuple):
    """What the adjoint needs: cells, offsets and neurons of the spikes, how many there are, and the
    states at the starts of all cells."""

    spikes: tuple[Any, ...]
    states: tuple[Any, ...]


def exponential_intensity(neurons: StochasticLIF) -> tuple[Any, Any, Any, float] | None:
    """Threshold, steepness, time scale and largest excess; none for another intensity."""
    source = neurons if neurons.escape is None else neurons.escape
    if not (source is neurons or type(source) is ExponentialIntensity):
        return None
    return source.v_th, source.beta, source.tau_s, source.max_excess


def computes_intensities(neurons: StochasticLIF, dtype: Any) -> bool:
    """Whether networks of such neurons are computed by compiled code."""
    if exponential_intensity(neurons) is None:
        return False
    return all(native.target(name, dtype) is not None for name, native in _NATIVE.items())


def respond_by_compiled_intensity(
    given: IntensityGiven, marks: Marks, numbers: CellWidth, wiring: Wiring
) -> IntensityResponse:
    """The spikes of a network, differentiable in all that they depend on."""
    return _respond(given, marks, numbers, wiring)


@eqx.filter_custom_vjp
def _respond(given: IntensityGiven, marks, numbers, wiring):
    return _forward(given, marks, numbers, wiring)[0]


@_respond.def_fwd
def _(perturbed, given, marks, numbers, wiring):
    return _forward(given, marks, numbers, wiring)


@_respond.def_bwd
def _(kept: _Kept, cotangents, perturbed, given, marks, numbers, wiring):
    return _backward(kept, cotangents.offsets, perturbed, given, marks, numbers, wiring)


def _forward(given: IntensityGiven, marks: Marks, numbers: CellWidth, wiring: Wiring):
    given = lax.stop_gradient(given)
    dtype = given.v.dtype
    num_samples, num_neurons = given.v.shape

    def ints(*shape: int):
        return jax.ShapeDtypeStruct(shape, np.int32)

    def reals(*shape: int):
        return jax.ShapeDtypeStruct(shape, dtype)

    of_spikes = num_samples, wiring.max_spikes
    states = wiring.num_cells, num_samples, num_neurons
    held = (0,) if given.refractory is None else states
    call = jax.ffi.ffi_call(
        _NATIVE[_FORWARD].required(_FORWARD, dtype),
        (
            ints(*of_spikes), reals(*of_spikes), ints(*of_spikes), ints(num_samples),
            ints(num_samples), ints(num_samples), reals(num_samples), reals(*states),
            reals(*states), reals(*held),
        ),
        vmap_method="sequential",
    )  # fmt: skip
    cells, offsets, neurons, count, bursting, finite, slowest, *kept = call(
        *_parameters(given), *given.drive, given.v, given.i, given.s, *_words(marks),
        *wiring.groups, num_cells=wiring.num_cells, most_spikes=wiring.most_spikes,
        wide=int(jnp.result_type(float) == jnp.float64), last=np.float64(wiring.last),
        **_numbers(numbers),
    )  # fmt: skip
    response = IntensityResponse(offsets, cells, neurons, count, bursting > 0, finite > 0, slowest)
    return response, _Kept((cells, offsets, neurons, count), tuple(kept))


def _backward(
    kept: _Kept, from_offsets, perturbed: IntensityGiven, given: IntensityGiven, marks: Marks,
    numbers: CellWidth, wiring: Wiring,
) -> IntensityGiven:  # fmt: skip
    dtype = given.v.dtype
    states = wiring.num_cells, *given.v.shape
    if from_offsets is None:
        from_offsets = jnp.zeros_like(kept.spikes[1])
    parameters = _parameters(given)
    asks_drive = any(jax.tree.leaves(perturbed.drive))

    def reals(shape, wanted=True):
        return jax.ShapeDtypeStruct(shape if wanted else (0,), dtype)

    call = jax.ffi.ffi_call(
        _NATIVE[_BACKWARD].required(_BACKWARD, dtype),
        (
            *(reals(x.shape) for x in parameters[:8]),
            reals(parameters[8].shape, perturbed.weights), reals(parameters[9].shape),
            *(3 * [reals(states, asks_drive)]), *(3 * [reals(given.v.shape)]),
        ),
        vmap_method="sequential",
    )  # fmt: skip
    *own, weights, delays, middle, end, current, v, i, s = call(
        *parameters, *given.drive, *_words(marks), *wiring.groups, *kept.spikes, *kept.states,
        from_offsets, num_cells=wiring.num_cells, **_numbers(numbers),
    )  # fmt: skip

    if asks_drive:
        drive = Drive(*map(summed_to, (middle, end, current), given.drive))
    else:
        drive = jax.tree.map(jnp.zeros_like, given.drive)
    return IntensityGiven(
        *(shaped_as(x, y) for x, y in zip(own, given[:8], strict=True)),
        shaped_as(weights, given.weights, perturbed.weights), shaped_as(delays, given.delays),
        drive, v, i, s,
    )  # fmt: skip


def _parameters(given: IntensityGiven) -> tuple[Any, ...]:
    dtype = given.v.dtype
    refractory = jnp.zeros(1, dtype) if given.refractory is None else given.refractory
    own = (jnp.reshape(x, -1) for x in (*given[:7], refractory))
    weights, delays = (
        jnp.zeros(0, dtype) if x is None else x for x in (given.weights, given.delays)
    )
    return *own, weights, jnp.reshape(delays, -1)


def _words(marks: Marks) -> tuple[Any, ...]:
    return marks.high, marks.low, marks.neurons


def _numbers(numbers: CellWidth) -> dict[str, Any]:
    return dict(width=np.float64(numbers.width), most_excess=np.float64(numbers.max_excess))
