r"""Closed forms of a leaky integrate-and-fire neuron inside a cell.

Time in a cell is the offset $x \in [0, 1]$. For cells of length h, with
$a = h \mu_1$, $b = h \mu_2$ and a current c that is constant there,

$$ v' = a (i + c - v), \qquad i' = -b\,i, $$

and a unit of current at offset 0 brings the potential to

$$ \kappa(x) = a e^{-ax} \psi(x), \qquad \psi(x) = \frac{e^{(a-b)x} - 1}{a - b}, $$

with $\psi(x) = x$ where a = b.
"""

import jax.numpy as jnp

from .._exponentials import relative_growth


def lifted(parameter, ndim: int):
    """A number as it is, or numbers for each neuron with axes of length 1 in front."""
    if parameter.ndim == 0:
        return parameter
    return parameter.reshape((1,) * (ndim - parameter.ndim) + parameter.shape)


def growth(a, b, x):
    r"""$\psi(x)$."""
    return x * relative_growth((a - b) * x)


def response(a, b, x):
    r"""$\kappa(x)$, the potential at x after a unit of current at 0."""
    return a * jnp.exp(-a * x) * growth(a, b, x)


def summed_to(values, like):
    """Derivatives in what was broadcast from the shape of `like`."""
    axes = tuple(n for n in range(like.ndim) if like.shape[n] < values.shape[n])
    return jnp.sum(values, axis=axes, keepdims=True) if axes else values


def shaped_as(values, like, wanted=True):
    """Derivatives in what has the shape of `like`; none in what is not there, and zeros in what
    nobody asks for."""
    if like is None:
        return None
    return values.reshape(like.shape) if wanted else jnp.zeros_like(like)
