"""How near samples are to a normal distribution: moments, distances, and how soon."""

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Array, Float


def covariance_of(samples: Float[Array, "*batch samples p"]) -> Float[Array, "*batch p p"]:
    """The sample covariance, with divisor n - 1."""
    n = samples.shape[-2]
    if n < 2:
        raise ValueError(f"`samples` holds {n} sample; a covariance needs two or more.")
    centred = samples - jnp.mean(samples, axis=-2, keepdims=True)
    return jnp.swapaxes(centred, -1, -2) @ centred / (n - 1)


def covariance_error(
    samples: Float[Array, "*batch samples p"], covariance: Float[Array, "p p"]
) -> Float[Array, "*batch"]:
    """The squared Frobenius norm of the sample covariance minus the true one."""
    difference = covariance_of(samples) - jnp.broadcast_to(
        covariance, (*samples.shape[:-2], *covariance.shape)
    )
    return jnp.sum(difference**2, axis=(-1, -2))


def marginal_wasserstein(
    samples: Float[Array, "*batch samples p"],
    mean: Float[Array, " p"],
    covariance: Float[Array, "p p"],
) -> Float[Array, "*batch"]:
    r"""The 2-Wasserstein distance between the marginals of samples and of a normal distribution,
    $\big(\frac1p \sum_i W_2^2\big)^{1/2}$.

    In one dimension the distance is that of the quantile functions; that of the samples steps
    between its values, and the normal one is taken in the middle of each step. So the distance of n
    independent normal samples is not zero but falls like $(\log\log n / n)^{1/2}$.
    """
    n = samples.shape[-2]
    levels = (jnp.arange(n, dtype=samples.dtype) + 0.5) / n
    sd = jnp.sqrt(jnp.diagonal(covariance))
    quantiles = mean[None, :] + ndtri(levels)[:, None] * sd[None, :]
    ordered = jnp.sort(samples, axis=-2)
    quantiles = jnp.broadcast_to(quantiles, ordered.shape)
    return jnp.sqrt(jnp.mean((ordered - quantiles) ** 2, axis=(-1, -2)))


def convergence_time(
    ts: Float[Array, " times"],
    values: Float[Array, " times"],
    target: float | Float[Array, ""],
    share: float = 0.632,
) -> Float[Array, ""]:
    """When a curve that starts at 0 first reaches a share of its target: by default, 1 - 1/e, the
    time constant of an exponential approach. `inf` if it does not.

    Between two times the curve is taken to be linear, and to begin with 0 at time 0.

    Args:
        ts: times since the onset.
        values: the curve there.
        target: where it should end, not 0.
        share: the share, between 0 and 1.
    """
    relative = jnp.concatenate([jnp.zeros(1, values.dtype), values / target])
    ts = jnp.concatenate([jnp.zeros(1, ts.dtype), ts])
    reached = relative >= share
    i = jnp.maximum(jnp.argmax(reached), 1)
    left, right = relative[i - 1], relative[i]
    weight = (share - left) / jnp.where(right > left, right - left, 1)
    time = ts[i - 1] + weight * (ts[i] - ts[i - 1])
    return jnp.where(jnp.any(jax.lax.stop_gradient(reached)), time, jnp.inf)
