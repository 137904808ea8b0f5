"""Spikes of a group of neurons as a differentiable function of all that they depend on."""

import equinox as eqx
from jaxtyping import Array, Int

from ._backward import backward
from ._cell import Rooms
from ._forward import Given, Response, forward


def respond(given: Given, sources: Int[Array, "T K B"], rooms: Rooms) -> Response:
    """The spikes of a group of neurons, differentiable in all that they depend on."""
    return _respond(given, sources, rooms)


@eqx.filter_custom_vjp
def _respond(given: Given, sources, rooms):
    return forward(given, sources, rooms)[0]


@_respond.def_fwd
def _(perturbed, given, sources, rooms):
    out, kept = forward(given, sources, rooms)
    if not (perturbed.rates.a or perturbed.rates.b):
        # everything else is linear in the state
        kept = kept._replace(states=None)
    return out, kept


@_respond.def_bwd
def _(kept, cotangents, perturbed, given, sources, rooms):
    return backward(kept, cotangents.offsets, perturbed, given, rooms)
