r"""The conditional intensity of a noisy neuron given its past spikes, by a particle filter.

The neurons of this library fire with an intensity $\lambda(v)$ of a potential that nobody recorded.
Given the spikes so far, the next comes with the intensity $\hat\lambda(t) = E[\lambda(v_t) \mid
\text{spikes before } t]$, and the time-rescaling theorem speaks of that one. The expectation is
taken over particles: each follows the model's own equation with noise of its own, is weighted by
the probability $e^{-\int \lambda}$ not to have fired between spikes and by that to fire within the
last step at a spike, passes through the model's transition there, and the weighted are drawn again.

A step of the simulation fires with the probability $1 - e^{-\lambda \Delta t}$, and the filter says
the same. Where the intensity is steep, particles reach $\lambda \Delta t \gg 1$ within a step:
those fire in it, and the rate of a step is the share of particles that do. The limit for small
steps, $\lambda e^{-\lambda \Delta t}$ at the end of the step, would count hardly any of them.

Reference: Brown, Barbieri, Ventura, Kass, Frank (2002), Neural Computation 14, 325, for the test;
Gordon, Salmond, Smith (1993), IEE Proceedings F 140, 107, for the filter.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

import roughsnn as rs

from .models import Parameters
from .splitting import Part


def rescale(
    neuron, current: Array, intervals: np.ndarray, dt0: float, *, particles: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Integrated conditional intensity of each interval, and log of the intensity at its end.

    Args:
        neuron: one neuron that fires by an intensity.
        current: its input current.
        intervals: recorded intervals that follow each other, in the model's unit of time.
        dt0: largest step.
        particles: number of particles.
        seed: of the noise.

    Returns:
        two arrays of the shape of `intervals`: if the model is right the first are independent
        exponential numbers of mean 1. The filter starts from the state after a spike, so that the
        first few intervals know little of what came before.
    """
    counts = np.maximum(np.ceil(intervals / dt0), 1).astype(int)
    steps = np.repeat(intervals / counts, counts)
    ends = np.zeros(steps.size, bool)
    ends[np.cumsum(counts) - 1] = True
    # Room in powers of two, so that recordings of all lengths share a few compiled programs.
    room = 1 << int(steps.size - 1).bit_length()
    steps = np.pad(steps, (0, room - steps.size))
    padded = np.pad(ends, (0, room - ends.size))
    passed, intensity = _filter(
        neuron, current, jnp.asarray(steps), jnp.asarray(padded), jr.key(seed), particles
    )
    passed, intensity = np.asarray(passed, float), np.asarray(intensity, float)
    total = np.cumsum(passed)[np.cumsum(counts) - 1]
    at_spikes = intensity[np.cumsum(counts) - 1]
    return np.diff(np.r_[0.0, total]), np.log(np.maximum(at_spikes, 1e-30))


def rescale_part(
    parameters: Parameters, condition: int, part: Part, dt0: float, *, particles: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rescaled held-out intervals of a model, and the log-likelihood of each (in seconds).

    Of a model whose intervals are independent, only the held-out ones go through the filter.

    Args:
        parameters: of the fitted neuron.
        condition: number of the condition.
        part: the data.
        dt0: step of the model, in units of the mean interval.
        particles: number of particles.
        seed: of the noise.
    """
    neuron, current = parameters.neuron(), parameters.currents()[condition]
    values, likelihood = [], []
    for gaps, held in part.trials:
        if gaps.size == 0 or not held.any():
            continue
        if parameters.forgets and parameters.log_slow_noise is None:
            gaps, held = gaps[held], held[held]
        z, log_intensity = rescale(
            neuron, current, gaps / part.unit, dt0, particles=particles, seed=seed
        )
        values.append(z[held])
        likelihood.append((log_intensity - z)[held])
    return np.concatenate(values), np.concatenate(likelihood) - np.log(part.unit)


@eqx.filter_jit
def _filter(
    neuron: rs.StochasticLIF | rs.AdaptiveStochasticLIF | rs.ResettingStochasticLIF,
    current: Array,
    steps: Float[Array, " n"],
    ends: Bool[Array, " n"],
    key: PRNGKeyArray,
    particles: int,
):
    none = jnp.zeros((), steps.dtype)
    shape = neuron.noise_shape

    def fired(y):
        # a mark of 1: nothing but the dead part must pass, the rest is in the weights
        return neuron.transition(none, y, jnp.zeros((), jnp.int32), jnp.ones(()), current)

    def moved(y, dt, noise):
        dy = neuron.drift(none, y, current)
        new = jax.tree.map(lambda a, b: a + dt * b, y, dy)
        if noise is not None:
            kick = neuron.diffusion(none, y, current).mv(noise * jnp.sqrt(dt))
            new = jax.tree.map(jnp.add, new, kick)
        above = jnp.maximum(new.s, 0.0) - jnp.maximum(y.s, 0.0)
        return new, jnp.sum(above)

    def speed(y):
        return jnp.sum(neuron.drift(none, y, current).s)

    def step(carry, x):
        y, log_weights = carry
        dt, end, number = x
        # The potential moves in Euler steps, so the intensity is that of the start of the step.
        speeds = jax.vmap(speed)(y)
        noise_key, draw_key = jr.split(jr.fold_in(key, number))
        noise = None
        if shape is not None:
            noise = jr.normal(noise_key, (particles, *shape))
        y, above = jax.vmap(lambda y, e: moved(y, dt, e))(y, noise)
        # Nothing fires before the dead part has passed.
        hazards = jnp.where(jax.vmap(lambda y: jnp.sum(y.s))(y) > 0, speeds * dt, 0.0) + 1e-12
        expected = -jax.nn.logsumexp(log_weights - hazards) / dt
        fired_weights = jnp.exp(log_weights) * -jnp.expm1(-hazards)
        log_weights = log_weights - above
        survived = jax.nn.logsumexp(log_weights)
        log_weights = log_weights - survived
        weights = jnp.where(end, fired_weights / jnp.sum(fired_weights), jnp.exp(log_weights))
        few = 1 / jnp.sum(jnp.square(weights)) < particles / 2

        def draw(y):
            edges = jnp.cumsum(weights)
            u = jnp.arange(particles, dtype=edges.dtype) + jr.uniform(draw_key, dtype=edges.dtype)
            chosen = jnp.searchsorted(edges / edges[-1], u / particles)
            chosen = jnp.minimum(chosen, particles - 1)
            return jax.tree.map(lambda a: a[chosen], y), jnp.full_like(
                log_weights, -jnp.log(particles)
            )

        y, log_weights = jax.lax.cond(few | end, draw, lambda y: (y, jnp.log(weights + 1e-300)), y)
        y = jax.tree.map(lambda a, b: jnp.where(end, a, b), jax.vmap(fired)(y), y)
        return (y, log_weights), (-survived, expected)

    # The neuron starts as right after a spike; all that is left to do is to know no threshold.
    start = jax.vmap(neuron.initial_state)(jr.split(key, particles))
    start = start._replace(s=jax.vmap(fired)(start).s)
    weights = jnp.full((particles,), -jnp.log(particles), steps.dtype)
    numbers = jnp.arange(steps.size, dtype=jnp.int32)
    _, outputs = jax.lax.scan(step, (start, weights), (steps, ends, numbers))
    return outputs
