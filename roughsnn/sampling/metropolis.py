"""Sampling by probabilistic spikes: each spike is an accepted proposal of Metropolis and
Hastings."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._checks import IntLike, RealLike, finite_array, number, whole_number
from .readouts import PiecewiseConstant
from .targets import GaussianTarget


class SampledPath(NamedTuple):
    """What a population of neurons estimated, every so many steps.

    Attributes:
        ts: ends of the steps that were kept, since the start.
        estimates: the estimate there.
        num_spikes: how often each neuron fired since the one before.
    """

    ts: Float[Array, " times"]
    estimates: Float[Array, "*batch times p"]
    num_spikes: Int[Array, "*batch times K"]


class MetropolisNetwork(eqx.Module):
    r"""A network that samples from a normal distribution by probabilistic spikes (Masset et al.
    2022).

    The estimate is read out of leaky traces, $\theta = \Gamma r$ and
    $r_{t+1} = (1 - \eta) r_t + o_t$ with $\eta = dt_0/\tau$. In each step one neuron, chosen
    uniformly, proposes to fire, and so to move the estimate by its column of $\Gamma$. It does with
    the probability of Metropolis,

    $$
    \min(1, e^{v_j - \Omega_{jj}/2}), \qquad \Omega = \Gamma^\top \Sigma^{-1} \Gamma, \qquad
    v = \Gamma^\top \Sigma^{-1} (\mu - \theta),
    $$

    where its potential is the gradient of the log density along its column. All potentials are kept
    by local rules: the leak, lateral inhibition $\Omega o$, and the input
    $\Gamma^\top\Sigma^{-1}(\mu_t - (1 - \eta)\mu_{t-1})$.

    With $\eta = 0$ (`tau=inf`) and mirrored columns this is Metropolis' algorithm, and the target
    restricted to the lattice that the columns span is its stationary law. The leak disturbs it the
    less, the more proposals there are in a time constant; one is made in a step, so `dt0` is a
    parameter of the model.

    Attributes:
        target: $N(m, \Sigma)$; $m$ is added to the mean $\mu$ given to `run`.
        readout: $\Gamma$, of shape (p, K). `target.root @ A` in the natural geometry.
        tau: time constant of the traces; may be infinite.
        dt0: length of a step, less than `tau`.

    Raises:
        TypeError: a target of another kind.
        ValueError: a readout of the wrong shape, or a number outside its range.
    """

    target: GaussianTarget
    readout: Float[Array, "p K"]
    tau: float = eqx.field(static=True)
    dt0: float = eqx.field(static=True)

    def __init__(
        self, target: GaussianTarget, readout: Any, *, tau: RealLike = 20.0, dt0: RealLike = 0.01
    ):
        if not isinstance(target, GaussianTarget):
            raise TypeError(f"`target` must be a GaussianTarget, got {type(target).__name__}.")
        self.target = target
        self.readout = checked_readout(readout, target.dim).astype(target.covariance.dtype)
        self.dt0 = number("dt0", dt0, positive=True)
        self.tau = float("inf") if tau == float("inf") else number("tau", tau, positive=True)
        if self.dt0 >= self.tau:
            raise ValueError(f"`dt0` is {self.dt0}; it must be less than `tau`, {self.tau}.")

    def run(
        self,
        key: PRNGKeyArray,
        num_steps: IntLike,
        *,
        every: IntLike = 1,
        mean: PiecewiseConstant | None = None,
    ) -> SampledPath:
        r"""Run the network from silent traces; `jax.vmap` over keys makes batches.

        Args:
            key: random key.
            num_steps: steps, one proposal each.
            every: keep the estimate once in so many steps.
            mean: the mean $\mu$ of the target over time, from the start on, beside that of `target`
                itself.

        Raises:
            ValueError: `num_steps` is no multiple of `every`, or a mean of another dimension.
        """
        every = whole_number("every", every, 1)
        num_steps = whole_number("num_steps", num_steps, 1)
        if num_steps % every:
            raise ValueError(
                f"`num_steps` is {num_steps}; it must be a multiple of `every`, {every}."
            )
        target, gamma = self.target, self.readout
        dtype, (p, k) = gamma.dtype, gamma.shape
        if mean is None:
            mean = PiecewiseConstant([], jnp.zeros((1, p), dtype))
        if mean.values.shape[1] != p:
            raise ValueError(
                f"`mean` must have {p} columns, as the target has, got {mean.values.shape}."
            )
        feed = target.precision @ gamma
        omega = feed.T @ gamma
        half = jnp.diagonal(omega) / 2
        inputs = (mean.values.astype(dtype) + target.mean[None]) @ feed
        steps = mean.first_steps(self.dt0)
        eta = jnp.asarray(self.dt0 / self.tau, dtype)
        keep = 1 - eta
        columns = gamma.T

        def step(carry, x):
            v, theta, before, i = carry
            j, log_u = x
            now = inputs[jnp.sum(steps <= i, dtype=jnp.int32)]
            v = v + now - keep * before
            fires = log_u < v[j] - half[j]
            o = fires.astype(dtype)
            v = keep * (v - omega[j] * o)
            theta = keep * theta + columns[j] * o
            return (v, theta, now, i + 1), jnp.where(fires, j, k)

        def chunk(carry, key):
            key_j, key_u = jr.split(key)
            proposals = jr.randint(key_j, (every,), 0, k, jnp.int32)
            log_u = jnp.log(jr.uniform(key_u, (every,), dtype, jnp.finfo(dtype).tiny))
            carry, fired = jax.lax.scan(step, carry, (proposals, log_u), unroll=min(every, 4))
            counts = jnp.zeros(k, jnp.int32).at[fired].add(1, mode="drop")
            return carry, (carry[1], counts)

        start = (jnp.zeros(k, dtype), jnp.zeros(p, dtype), jnp.zeros(k, dtype), jnp.int32(0))
        _, (estimates, counts) = jax.lax.scan(chunk, start, jr.split(key, num_steps // every))
        ts = self.dt0 * every * jnp.arange(1, num_steps // every + 1, dtype=dtype)
        return SampledPath(ts, estimates, counts)


def checked_readout(readout: Any, dim: int) -> Float[Array, "p K"]:
    """Readout weights of the right shape, that span all dimensions.

    Raises:
        ValueError: they do not.
    """
    gamma = finite_array("readout", readout)
    if gamma.ndim != 2 or gamma.shape[0] != dim or gamma.shape[1] < 1:
        raise ValueError(
            f"`readout` must have shape (p, K) with p = {dim}, the dimension of the target, got "
            f"{gamma.shape}."
        )
    return gamma
