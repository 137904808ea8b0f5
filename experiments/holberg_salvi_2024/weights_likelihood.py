r"""The likelihood of the synaptic weights, all neurons observed, and its maximisation.

Given all spikes, the potential of a neuron is $v = m_w + g$: a mean that is linear in the weights
into it, and a Gaussian process $g$ that does not depend on them. So the likelihood is a product
over neurons, and that of neuron j in one trial, with its spikes $\tau_1, \dots, \tau_N$,

$$
L = E_g \Big[ \prod_n \lambda(v_{\tau_n}) \cdot D(\Lambda) \Big]
  \propto e^{\beta \sum_n m_w(\tau_n)} \, E_g \big[ D(\tilde\Lambda) \big],
$$

where $\Lambda$ are the intensities integrated between spikes, and $D$ the survival and dead-time
factors of the marks. As $\lambda$ is an exponential, its product over spikes tilts the Gaussian
law, which only moves $g$ by $\beta \sum_n \mathrm{Cov}(g, g_{\tau_n})$: this is the $\tilde{}$.
What is left is a mean over Gaussian paths, drawn about the mode of the integrand with the weights
of importance sampling, and by the same antithetic random numbers for all w.

Everything follows the grid of the Euler scheme with the spikes inserted, so that it is the
likelihood of the model as it is simulated. The hard edge of the dead time, $\Lambda > \alpha$, is
made smooth: the mark has the hazard $1 / (1 + e^{(\alpha - \Lambda) / \epsilon})$ and not a step,
with $\epsilon = \alpha / 5$, which is a law of its own.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

import roughsnn as rs

from .weights_network import CONNECTIONS, STEP, WINDOW

RECEIVERS = np.flatnonzero(CONNECTIONS.any(axis=0))
"""The neurons that synapses lead to."""
_EDGE = 0.2
_CHUNK = 64


class Scores(NamedTuple):
    """Log-likelihoods and their derivatives, for each trial and each neuron of `RECEIVERS`.

    Attributes:
        log_likelihood: up to a term that does not depend on the weights.
        score: derivative with respect to the weights from every neuron, which lie along the
            second axis; 0 where there is no synapse.
        curvature: sum over trials of the negative second derivative, without the part that comes
            from not knowing the noise; so it is positive definite, and too large.
    """

    log_likelihood: Float[np.ndarray, "trials receivers"]
    score: Float[np.ndarray, "trials K receivers"]
    curvature: Float[np.ndarray, "receivers K K"]


def scores(
    model: rs.SpikingNetwork, trains: rs.SpikeTrains, key: PRNGKeyArray, num_paths: int = 32
) -> Scores:
    """Log-likelihood of each trial with its derivative, with `num_paths` Gaussian paths each."""
    parts = []
    for first in range(0, len(trains), _CHUNK):
        chunk = trains[first : first + _CHUNK]
        part = _scores_of_chunk(
            model, chunk.times, chunk.neurons, chunk.overflowed, jr.fold_in(key, first), num_paths
        )
        parts.append(jax.device_get(part))
    values, by_weights, curvatures = zip(*parts, strict=True)
    return Scores(np.concatenate(values), np.concatenate(by_weights), np.sum(curvatures, axis=0))


class Maximum(NamedTuple):
    """A maximum of the likelihood.

    Attributes:
        weights: of shape (K, K).
        path: the best weights before the first iteration and after each.
    """

    weights: Float[np.ndarray, "K K"]
    path: list[np.ndarray]


def maximise(
    model: rs.SpikingNetwork,
    trains: rs.SpikeTrains,
    key: PRNGKeyArray,
    num_paths: int = 32,
    iterations: int = 12,
) -> Maximum:
    """Maximise the likelihood from weights 0: each neuron's weights move by the inverse curvature
    times the score, the sum of the moves being 1 at most. A step that lowers the likelihood of a
    neuron is taken back and made shorter."""
    weights = np.zeros((model.num_neurons,) * 2)
    best, value, step = weights.copy(), np.full(len(RECEIVERS), -np.inf), np.ones(len(RECEIVERS))
    direction, path = np.zeros_like(weights), [weights.copy()]
    for _ in range(iterations):
        moved = eqx.tree_at(
            lambda m: m.weights, model, jnp.asarray(weights, dtype=model.weights.dtype)
        )
        found = scores(moved, trains, key, num_paths)
        for i, j in enumerate(RECEIVERS):
            total = found.log_likelihood[:, i].sum(dtype=float)
            senders = CONNECTIONS[:, j]
            if total >= value[i]:
                value[i], best[:, j] = total, weights[:, j]
                step[i] = min(1.0, 2 * step[i])
                score = found.score[:, senders, i].sum(axis=0, dtype=float)
                curvature = found.curvature[i][np.ix_(senders, senders)].astype(float)
                curvature += 1e-6 * np.trace(curvature) * np.eye(len(curvature))
                move = np.linalg.solve(curvature, score)
                direction[senders, j] = move / max(1.0, np.abs(move).sum())
            else:
                step[i] /= 4
            weights[:, j] = best[:, j] + step[i] * direction[:, j]
        path.append(best.copy())
    return Maximum(best, path)


@eqx.filter_jit
def _scores_of_chunk(model, times, neurons, overflowed, key, num_paths):
    walk = _walk(model, times, neurons, overflowed)
    weights = model.effective_weights[:, RECEIVERS]
    mean = walk.mean + jnp.einsum("tbk,kj->tbj", walk.inputs, weights)
    paths = _noise(model.neurons, walk.lengths, key, num_paths)

    def total(mean):
        each = _log_likelihood(model.neurons, walk, mean, paths)
        return jnp.sum(each), each

    by_mean, each = jax.grad(total, has_aux=True)(mean)
    mask = jnp.asarray(CONNECTIONS[:, RECEIVERS], by_mean.dtype)
    beta = model.neurons.beta
    # what is expected of the integrated intensity of each piece, given the spikes
    expected = jnp.maximum(beta * walk.own - by_mean, 0)
    inputs = walk.inputs.reshape(-1, walk.inputs.shape[-1])
    weighted = expected.reshape(len(inputs), -1).T[:, :, None] * inputs[None]
    curvature = beta * jnp.einsum("jnk,nl->jkl", weighted, inputs)
    return each, jnp.einsum("tbj,tbk->bkj", by_mean, walk.inputs) * mask[None], curvature


class _Walk(NamedTuple):
    r"""Trials b along their grid with spikes inserted, pieces t of which some have length 0.

    Attributes:
        lengths: of the pieces.
        own: 1 where a receiver fires at the end of the piece. It does so by the intensity at its
            start, since the Euler scheme keeps that.
        inputs: response of a potential, at the start of the piece, to the spikes of each neuron
            with weight 1.
        mean: potential at the start of the piece without noise and synapses.
        variance: of the noise g at the start of the piece, and its covariance with that of the
            current.
    """

    lengths: Float[Array, "pieces b"]
    own: Float[Array, "pieces b receivers"]
    inputs: Float[Array, "pieces b K"]
    mean: Float[Array, "pieces b receivers"]
    variance: tuple[Float[Array, "pieces b"], Float[Array, "pieces b"]]


def _walk(model, times, neurons: Int[Array, "b spikes"], overflowed) -> _Walk:
    neuron, k, dtype = model.neurons, model.num_neurons, times.dtype
    mu1, mu2, sigma = neuron.mu1, neuron.mu2, neuron.sigma
    # a trial that ran out of room ends at its last spike
    last = jnp.max(jnp.where(neurons >= 0, times, 0), axis=1)
    end = jnp.where(overflowed, last, WINDOW)[:, None]
    grid = jnp.asarray(np.arange(1, round(WINDOW / STEP) + 1) * STEP, dtype)
    ends = jnp.concatenate([jnp.broadcast_to(grid, (len(times), len(grid))), times], axis=1)
    fires = jnp.concatenate([jnp.full((len(times), len(grid)), -1, jnp.int32), neurons], axis=1)
    order = jnp.argsort(ends, axis=1)
    ends = jnp.minimum(jnp.take_along_axis(ends, order, axis=1), end)
    fires = jnp.take_along_axis(fires, order, axis=1).T
    lengths = jnp.diff(ends, axis=1, prepend=0).T
    spikes = jax.nn.one_hot(fires, k, dtype=dtype)
    noise = sigma @ sigma.T

    def step(state, piece):
        x, xi, r, v, i, (vv, vi, ii) = state
        h, spike = piece
        out = (x, v[:, None] + r, vv, vi)
        a, b, c = 1 - mu1 * h, mu1 * h, 1 - mu2 * h
        covariance = (
            a * a * vv + 2 * a * b * vi + b * b * ii + noise[0, 0] * h,
            c * (a * vi + b * ii) + noise[0, 1] * h,
            c * c * ii + noise[1, 1] * h,
        )
        v, i = a * v + b * i, c * i
        a, b, c = a[:, None], b[:, None], c[:, None]
        x, xi = a * x + b * xi, c * xi + spike
        r = a * r - neuron.v_reset * spike[:, RECEIVERS]
        return (x, xi, r, v, i, covariance), out

    b, one = len(times), jnp.ones(len(times), dtype)
    silent, zeros = jnp.zeros((b, k), dtype), jnp.zeros((b, len(RECEIVERS)), dtype)
    start = (silent, silent, zeros, neuron.v0 * one, neuron.i0 * one, (0 * one,) * 3)
    _, (inputs, mean, vv, vi) = jax.lax.scan(step, start, (lengths, spikes))
    return _Walk(lengths, spikes[..., RECEIVERS], inputs, mean, (vv, vi))


def _covariance_times(neuron, walk: _Walk, values) -> Float[Array, "pieces b receivers"]:
    r"""$\sum_s \mathrm{Cov}(g_t, g_s)\, a_s$ for values $a$ at the pieces."""

    def past(y, piece):
        h, a, vv, vi = piece
        h, out = h[:, None], y[0]
        yv, yi = y[0] + vv[:, None] * a, y[1] + vi[:, None] * a
        return (yv + neuron.mu1 * (yi - yv) * h, yi - neuron.mu2 * yi * h), out

    def present_and_future(q, piece):
        h, a, vv, vi = piece
        h = h[:, None]
        qv = q[0] * (1 - neuron.mu1 * h) + a
        qi = q[1] * (1 - neuron.mu2 * h) + neuron.mu1 * h * q[0]
        return (qv, qi), vv[:, None] * qv + vi[:, None] * qi

    pieces = (walk.lengths, values, *walk.variance)
    zeros = (jnp.zeros_like(values[0]), jnp.zeros_like(values[0]))
    before = jax.lax.scan(past, zeros, pieces)[1]
    return before + jax.lax.scan(present_and_future, zeros, pieces, reverse=True)[1]


def _rate(neuron, level):
    excess = jnp.minimum(level - neuron.v_th, neuron.max_excess)
    return jnp.exp(neuron.beta * excess) / neuron.tau_s


def _centre(neuron, walk: _Walk, level) -> tuple[Array, Array]:
    r"""Where the paths are drawn about: $\mathrm{Cov}\,\nu$, and $\nu$, near the mode of
    $e^{-\int \lambda} p(g)$ at the given levels without noise."""
    nu = jnp.zeros_like(level)
    centre = jnp.zeros_like(level)
    for _ in range(4):
        wanted = -neuron.beta * _rate(neuron, level + centre) * walk.lengths[:, :, None]
        nu = 0.3 * nu + 0.7 * wanted
        centre = _covariance_times(neuron, walk, nu)
    return centre, nu


def _noise(neuron, lengths, key, num_paths) -> Float[Array, "pieces b paths"]:
    """Paths of the noise of a potential at the starts of the pieces, each with its negative."""
    half = (num_paths + 1) // 2
    s = neuron.sigma

    def step(state, piece):
        g, gi = state
        h, number = piece
        z = jr.normal(jr.fold_in(key, number), (2, h.shape[0], half), h.dtype)
        z = z * jnp.sqrt(h)[None, :, None]
        dv, di = s[0, 0] * z[0] + s[0, 1] * z[1], s[1, 0] * z[0] + s[1, 1] * z[1]
        h = h[:, None]
        return (g + neuron.mu1 * (gi - g) * h + dv, gi - neuron.mu2 * gi * h + di), g

    zero = jnp.zeros((lengths.shape[1], half), lengths.dtype)
    numbers = jnp.arange(lengths.shape[0], dtype=jnp.int32)
    paths = jax.lax.scan(step, (zero, zero), (lengths, numbers))[1]
    return jnp.concatenate([paths, -paths], axis=-1)


def _log_likelihood(neuron, walk: _Walk, mean, paths) -> Float[Array, "b receivers"]:
    edge = _EDGE * neuron.alpha
    level = mean + neuron.beta * _covariance_times(neuron, walk, walk.own)
    centre, nu = jax.lax.stop_gradient(_centre(neuron, walk, level))

    @partial(jax.checkpoint, prevent_cse=False)
    def step(state, piece):
        integral, log_weight = state
        length, own, level, nu, path = piece
        path = path[:, None, :]
        rate = _rate(neuron, level[:, :, None] + path)
        integral = integral + rate * length[:, None, None]
        past = (integral - neuron.alpha) / edge
        # logarithms of the hazard of the mark and of its survival
        change = jax.nn.log_sigmoid(past) - edge * jax.nn.softplus(past)
        fires = own[:, :, None] > 0
        log_weight = log_weight + jnp.where(fires, change, 0) - nu[:, :, None] * path
        return (jnp.where(fires, 0, integral), log_weight), None

    shape = (*mean.shape[1:], paths.shape[-1])
    start = (jnp.zeros(shape, mean.dtype), jnp.zeros(shape, mean.dtype))
    pieces = (walk.lengths, walk.own, level + centre, nu, paths)
    (integral, log_weight), _ = jax.lax.scan(step, start, pieces)
    log_weight = log_weight - edge * jax.nn.softplus((integral - neuron.alpha) / edge)
    tilted = jax.nn.logsumexp(log_weight, axis=-1) - np.log(paths.shape[-1])
    tilted = tilted - jnp.sum(nu * centre, axis=0) / 2
    return neuron.beta * jnp.sum(walk.own * mean, axis=0) + tilted
