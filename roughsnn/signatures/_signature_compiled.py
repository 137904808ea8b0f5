"""Truncated signatures of spike trains by the compiled path, with their derivative rules.

The tangent is a primitive of its own: JAX computes it, and its own derivatives, and the compiled
path computes its transpose, which is all that reverse mode needs.
"""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float, Int

from .._native import Native
from ._signature_terms import Inputs, Wanted, words_by_jax
from .truncated import num_coordinates

_SIGNATURE, _GRADIENT = "roughsnn_event_signature", "roughsnn_event_signature_gradient"
NATIVE = Native(
    "truncated signatures of spike trains",
    Path(__file__).with_name("compiled") / "event_signature.cc",
    (_SIGNATURE, _GRADIENT),
)
# Higher levels are left to JAX.
LARGEST_DEPTH = 3
_NUM_INPUTS = len(Inputs._fields)


def can_compute(dtype: Any, depth: int) -> bool:
    """Whether the compiled path is to be taken; it is made ready where it can be."""
    return depth <= LARGEST_DEPTH and NATIVE.target(_SIGNATURE, dtype) is not None


@partial(jax.jit, static_argnums=2)
def words_by_compiled(
    inputs: Inputs, neurons: Int[Array, "trains spikes"], wanted: Wanted
) -> Float[Array, "*trains all"]:
    """Signature of each train, or their sum, as `words_by_jax` has them."""
    return _words(inputs, neurons, wanted)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _words(inputs: Inputs, neurons: Array, wanted: Wanted) -> Array:
    return _call(_SIGNATURE, inputs, neurons, (), wanted, _words_like(inputs, wanted))


@_words.defjvp
def _words_jvp(wanted: Wanted, primals: Any, tangents: Any):
    (inputs, neurons), (moves, _) = primals, tangents
    tangent = _tangent_p.bind(neurons, *inputs, *moves, wanted=wanted)
    return _words(inputs, neurons, wanted), tangent


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _gradient(inputs: Inputs, neurons: Array, slopes: Array, wanted: Wanted) -> Inputs:
    """Derivatives of the inner product of the words with `slopes`."""
    number, num_spikes = inputs.times.shape
    num_neurons, dtype = inputs.scale.shape[0], inputs.times.dtype
    shapes = ((number, num_spikes), (number,), (number,), (number, num_neurons))
    like = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]
    times, ends, time_scale, scale = _call(_GRADIENT, inputs, neurons, (slopes,), wanted, like)
    return Inputs(times, ends, jnp.sum(time_scale), jnp.sum(scale, axis=0))


@_gradient.defjvp
def _gradient_jvp(wanted: Wanted, primals: Any, tangents: Any):
    (inputs, neurons, slopes), (moves, _, slope_moves) = primals, tangents

    def by_jax(inputs, slopes):
        return jax.vjp(lambda inputs: words_by_jax(inputs, neurons, wanted), inputs)[1](slopes)[0]

    _, tangent = jax.jvp(by_jax, (inputs, slopes), (moves, slope_moves))
    return _gradient(inputs, neurons, slopes, wanted), tangent


def _call(name: str, inputs: Inputs, neurons: Array, more: tuple, wanted: Wanted, like: Any) -> Any:
    target = NATIVE.required(name, inputs.times.dtype)
    times, ends, time_scale, scale = inputs
    return jax.ffi.ffi_call(target, like, vmap_method="sequential")(
        times, neurons.astype(jnp.int32), ends, time_scale, scale, *more,
        depth=np.int64(wanted.depth), total=np.int64(wanted.total),
    )  # fmt: skip


def _words_like(inputs: Inputs, wanted: Wanted) -> jax.ShapeDtypeStruct:
    coordinates = num_coordinates(inputs.scale.shape[0] + 1, wanted.depth)
    shape = (coordinates,) if wanted.total else (inputs.times.shape[0], coordinates)
    return jax.ShapeDtypeStruct(shape, inputs.times.dtype)


# ---- the tangent: linear in how the inputs move


def _tangent_by_jax(neurons, *args, wanted: Wanted):
    inputs, moves = Inputs(*args[:_NUM_INPUTS]), Inputs(*args[_NUM_INPUTS:])
    return jax.jvp(lambda inputs: words_by_jax(inputs, neurons, wanted), (inputs,), (moves,))[1]


# XLA has no such operation: the primitive is there for its own rule of transposition.
_tangent_p = Primitive("tangent_of_event_signature")
_tangent_p.def_impl(lambda *args, wanted: jax.jit(partial(_tangent_by_jax, wanted=wanted))(*args))
mlir.register_lowering(_tangent_p, mlir.lower_fun(_tangent_by_jax, multiple_results=False))


@_tangent_p.def_abstract_eval
def _(neurons, *args, wanted):
    like = _words_like(Inputs(*args[:_NUM_INPUTS]), wanted)
    return jax.core.ShapedArray(like.shape, like.dtype)


def _tangent_transpose(slopes, neurons, *args, wanted: Wanted):
    inputs, moves = args[:_NUM_INPUTS], args[_NUM_INPUTS:]
    found = _gradient(Inputs(*inputs), neurons, ad.instantiate_zeros(slopes), wanted)
    pairs = zip(found, moves, strict=True)
    asked = [x if ad.is_undefined_primal(move) else None for x, move in pairs]
    return [None] * (1 + _NUM_INPUTS) + asked


ad.primitive_transposes[_tangent_p] = _tangent_transpose


def _tangent_jvp(primals, tangents, *, wanted: Wanted):
    neurons, *args = primals
    moves = [ad.instantiate_zeros(tangent) for tangent in tangents[1:]]
    run = partial(_tangent_by_jax, neurons, wanted=wanted)
    return _tangent_p.bind(*primals, wanted=wanted), jax.jvp(run, tuple(args), tuple(moves))[1]


ad.primitive_jvps[_tangent_p] = _tangent_jvp


def _tangent_batch(args, dims, *, wanted: Wanted):
    return jax.vmap(partial(_tangent_by_jax, wanted=wanted), in_axes=dims)(*args), 0


batching.primitive_batchers[_tangent_p] = _tangent_batch
