"""Constant noise of a population: of the potential, of potential and current, of the current."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ..event_sde import StructuredDiffusion
from ._parameters import parameter


def noise_parameter(sigma, num_neurons: int):
    """`sigma` of a model whose noise enters potential and current; `None` for none."""
    k = num_neurons
    if sigma is None:
        return None
    return parameter("sigma", sigma, shapes=((), (k,), (2, 2), (k, 2, 2)))


def noise_shape(sigma, num_neurons: int) -> tuple[int, ...] | None:
    """The shape of the Brownian motion that goes with it."""
    if sigma is None:
        return None
    return (num_neurons,) if _of_one_kind(sigma, num_neurons) else (num_neurons, 2)


def diffusion(sigma, y, num_neurons: int) -> StructuredDiffusion:
    """Noise of the potential, or of potential and current."""
    product = (_in_potential if _of_one_kind(sigma, num_neurons) else _in_both)(type(y))
    dx = jax.ShapeDtypeStruct(noise_shape(sigma, num_neurons), y.v.dtype)
    return StructuredDiffusion(sigma, product, y, dx)


def current_diffusion(sigma, y, num_neurons: int) -> StructuredDiffusion:
    """Noise of the synaptic current alone."""
    dx = jax.ShapeDtypeStruct((num_neurons,), y.i.dtype)
    return StructuredDiffusion(sigma, _in_current(type(y)), y, dx)


def axes_of_noise(sigma, num_neurons: int) -> int:
    """Along which axis of `sigma` the neurons lie."""
    return 0 if sigma.ndim in (1, 3) and sigma.shape[0] == num_neurons else -1


def _of_one_kind(sigma, num_neurons: int) -> bool:
    return sigma.shape in ((), (num_neurons,))


# one function for each kind of state, and always the same one: it is part of a tree's structure
@functools.cache
def _in_potential(state: type) -> Callable:
    def product(sigma, db):
        return _filled(state, db, v=sigma * db)

    return product


@functools.cache
def _in_current(state: type) -> Callable:
    def product(sigma, db):
        return _filled(state, db, i=sigma * db)

    return product


@functools.cache
def _in_both(state: type) -> Callable:
    def product(sigma, db):
        dv = sigma[..., 0, 0] * db[:, 0] + sigma[..., 0, 1] * db[:, 1]
        di = sigma[..., 1, 0] * db[:, 0] + sigma[..., 1, 1] * db[:, 1]
        return _filled(state, dv, v=dv, i=di)

    return product


def _filled(state: type, like, **fields):
    zeros = jnp.zeros_like(like)
    return state(**{name: fields.get(name, zeros) for name in state._fields})
