"""How near samples are to a normal distribution: moments, distances, and how soon."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jaxtyping import Array, Float

from .._checks import RealLike, finite_array, number, real_array


def covariance_of(samples: Any) -> Float[Array, "*batch p p"]:
    """The sample covariance, with divisor n - 1.

    Args:
        samples: of shape (..., n, p), n at least 2; a NaN in it is one in the result.

    Raises:
        ValueError: samples of another shape.
    """
    samples = _samples(samples, 2)
    n = samples.shape[-2]
    centred = samples - jnp.mean(samples, axis=-2, keepdims=True)
    return jnp.swapaxes(centred, -1, -2) @ centred / (n - 1)


def covariance_error(samples: Any, covariance: Any) -> Float[Array, "*batch"]:
    """The squared Frobenius norm of the sample covariance minus the true one.

    Args:
        samples: of shape (..., n, p), n at least 2.
        covariance: the true one, of shape (p, p).

    Raises:
        ValueError: arguments of other shapes.
    """
    samples = _samples(samples, 2)
    covariance = _covariance(covariance, samples)
    difference = covariance_of(samples) - jnp.broadcast_to(
        covariance, (*samples.shape[:-2], *covariance.shape)
    )
    return jnp.sum(difference**2, axis=(-1, -2))


def marginal_wasserstein(
    samples: Any,
    mean: Any,
    covariance: Any,
) -> Float[Array, "*batch"]:
    r"""The 2-Wasserstein distance between the marginals of samples and of a normal distribution,
    $\big(\frac1p \sum_i W_2^2\big)^{1/2}$.

    In one dimension the distance is that of the quantile functions; that of the samples steps
    between its values, and the normal one is taken in the middle of each step. So the distance of n
    independent normal samples is not zero but falls like $(\log\log n / n)^{1/2}$.

    Args:
        samples: of shape (..., n, p).
        mean: of the normal distribution, a number or of shape (p,).
        covariance: of the normal distribution, of shape (p, p).

    Raises:
        ValueError: arguments of other shapes, or no sample.
    """
    samples = _samples(samples, 1)
    covariance, p = _covariance(covariance, samples), samples.shape[-1]
    mean = finite_array("mean", mean).astype(samples.dtype)
    if mean.shape not in ((), (p,)):
        raise ValueError(f"`mean` must be a number or have shape ({p},), got {mean.shape}.")
    mean = jnp.broadcast_to(mean, (p,))
    n = samples.shape[-2]
    levels = (jnp.arange(n, dtype=samples.dtype) + 0.5) / n
    sd = jnp.sqrt(jnp.diagonal(covariance))
    quantiles = mean[None, :] + ndtri(levels)[:, None] * sd[None, :]
    ordered = jnp.sort(samples, axis=-2)
    quantiles = jnp.broadcast_to(quantiles, ordered.shape)
    return jnp.sqrt(jnp.mean((ordered - quantiles) ** 2, axis=(-1, -2)))


def convergence_time(
    ts: Any,
    values: Any,
    target: RealLike,
    share: RealLike = 0.632,
) -> Float[Array, ""]:
    """When a curve that starts at 0 first reaches a share of its target: by default, 1 - 1/e, the
    time constant of an exponential approach. `inf` if it does not.

    Between two times the curve is taken to be linear, and to begin with 0 at time 0.

    Args:
        ts: times since the onset, which increase, of shape (n,).
        values: the curve there; a NaN in it makes the result NaN.
        target: where it should end, not 0.
        share: the share, above 0 and at most 1.

    Raises:
        ValueError: an argument of another shape or outside its range.
    """
    ts, values = finite_array("ts", ts, least=0), real_array("values", values)
    if ts.ndim != 1 or ts.shape != values.shape or ts.size == 0:
        raise ValueError(
            f"`ts` has shape {ts.shape} and `values` {values.shape}; they must have one axis and "
            "as many entries, one or more."
        )
    if not isinstance(ts, jax.core.Tracer) and not np.all(np.asarray(ts)[1:] > np.asarray(ts)[:-1]):
        raise ValueError("`ts` must increase, and it does not.")
    if not isinstance(target, jax.core.Tracer) and number("target", target) == 0:
        raise ValueError("`target` is 0, of which there is no share; give where the curve ends.")
    share = number("share", share, positive=True)
    if share > 1:
        raise ValueError(f"`share` must be at most 1, got {share}.")
    target = jnp.asarray(target, values.dtype)
    relative = jnp.concatenate([jnp.zeros(1, values.dtype), values / target])
    ts = jnp.concatenate([jnp.zeros(1, ts.dtype), ts])
    reached = relative >= share
    i = jnp.maximum(jnp.argmax(reached), 1)
    left, right = relative[i - 1], relative[i]
    weight = (share - left) / jnp.where(right > left, right - left, 1)
    time = ts[i - 1] + weight * (ts[i] - ts[i - 1])
    time = jnp.where(jnp.any(jax.lax.stop_gradient(reached)), time, jnp.inf)
    return jnp.where(jnp.any(jnp.isnan(values)), jnp.nan, time)


def _samples(samples: Any, least: int) -> Float[Array, "*batch samples p"]:
    array = real_array("samples", samples)
    if array.ndim < 2 or array.shape[-2] < least or array.shape[-1] < 1:
        raise ValueError(
            f"`samples` has shape {array.shape}; it must be (..., n, p), with a row for each of "
            f"{least} or more samples and a column for each dimension."
        )
    return array


def _covariance(covariance: Any, samples: Array) -> Float[Array, "p p"]:
    array, p = finite_array("covariance", covariance).astype(samples.dtype), samples.shape[-1]
    if array.shape != (p, p):
        raise ValueError(
            f"`covariance` must have shape ({p}, {p}), as the samples have {p} dimensions, got "
            f"{array.shape}."
        )
    return array
