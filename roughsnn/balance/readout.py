"""What is read out of spikes by a leaky sum, and the decoder that reads best."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from .._checks import finite_array, number


def leaky_readout(
    spikes: ArrayLike,
    decoder: ArrayLike,
    dt0: float,
    leak: float,
) -> Float[Array, "steps J"]:
    r"""The readout $\hat x$ with $d\hat x / dt = -\lambda \hat x + D o$, at the end of each step.

    Args:
        spikes: 1 where a neuron fired in a step, else 0, shape (steps, N); a spike counts in full
            at the end of its step.
        decoder: the weights D, shape (J, N).
        dt0: length of a step.
        leak: the rate $\lambda > 0$.

    Raises:
        ValueError: shapes that do not fit together, a number out of range, or a NaN.
    """
    decoder = finite_array("decoder", decoder)
    spikes = finite_array("spikes", spikes).astype(decoder.dtype)
    if spikes.ndim != 2 or decoder.ndim != 2 or spikes.shape[1] != decoder.shape[1]:
        raise ValueError(
            f"`spikes` has shape {spikes.shape} and `decoder` {decoder.shape}; they must be "
            "(steps, N) and (J, N)."
        )
    decay = math.exp(-number("leak", leak, positive=True) * number("dt0", dt0, positive=True))

    def step(x, arrived):
        x = decay * x + arrived
        return x, x

    start = jnp.zeros(decoder.shape[0], decoder.dtype)
    return jax.lax.scan(step, start, spikes @ decoder.T)[1]


def refitted_decoder(
    rates: ArrayLike,
    signal: ArrayLike,
    *,
    ridge: float = 0.0,
) -> np.ndarray:
    r"""The decoder that reads a signal out of filtered spike trains with the least squared error,
    of shape (J, N): the D of smallest $\sum_t |x_t - D r_t|^2 + \rho\, |D|^2$. On the host.

    Args:
        rates: filtered spike trains r, shape (steps, N).
        signal: the signal x, shape (steps, J).
        ridge: the price $\rho \ge 0$ of large weights.

    Raises:
        ValueError: shapes that do not fit together, a negative price, or a NaN.
    """
    rates, signal = np.asarray(rates, float), np.asarray(signal, float)
    if rates.ndim != 2 or signal.ndim != 2 or len(rates) != len(signal) or rates.size == 0:
        raise ValueError(
            f"`rates` has shape {rates.shape} and `signal` {signal.shape}; they must be (steps, N) "
            "and (steps, J)."
        )
    for name, array in (("rates", rates), ("signal", signal)):
        if not np.all(np.isfinite(array)):
            raise ValueError(f"`{name}` must be finite, and it holds a NaN or an infinite number.")
    ridge = number("ridge", ridge, least=0)
    if ridge > 0:
        n = rates.shape[1]
        rates = np.concatenate([rates, math.sqrt(ridge) * np.eye(n)])
        signal = np.concatenate([signal, np.zeros((n, signal.shape[1]))])
    return np.linalg.lstsq(rates, signal, rcond=None)[0].T
