"""Spikes of neurons that fire by an intensity as a differentiable function of all that they depend
on."""

import equinox as eqx

from ._escape_backward import backward_by_intensity
from ._escape_forward import EscapeGiven, EscapeResponse, Marks, forward_by_intensity


def respond_by_intensity(given: EscapeGiven, marks: Marks, places: int) -> EscapeResponse:
    """The spikes of a group of neurons, differentiable in all that they depend on; `places` is for
    how many spikes of a neuron there is room in a cell."""
    return _respond(given, marks, places)


@eqx.filter_custom_vjp
def _respond(given, marks, places):
    return forward_by_intensity(given, marks, places)[0]


@_respond.def_fwd
def _(perturbed, given, marks, places):
    return forward_by_intensity(given, marks, places)


@_respond.def_bwd
def _(kept, cotangents, perturbed, given, marks, places):
    return backward_by_intensity(kept, cotangents.offsets, given)
