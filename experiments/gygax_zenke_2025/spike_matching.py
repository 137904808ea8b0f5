r"""Output spike trains that become a picture: learning with surrogate derivatives in two layers.

Inputs, hidden and output neurons, all to all, one frozen input. Each neuron is

$$ I \leftarrow e^{-\Delta/\tau_s} I + \sum_j W_j s_j, \qquad
   U \leftarrow e^{-\Delta/\tau_m} U\,(1 - s) + (1 - e^{-\Delta/\tau_m})\,I , $$

with s its own spike of the step before. It fires where $U \ge 1$, or with probability
$\sigma(\beta (U - 1))$, independently in every step.
"""

from typing import Any, NamedTuple

import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

import roughsnn as rs

STEP, MEMBRANE, SYNAPSE = 1e-3, 10e-3, 5e-3
"""The step and the time constants, seconds."""
KEEP_U, KEEP_I = float(np.exp(-STEP / MEMBRANE)), float(np.exp(-STEP / SYNAPSE))
INPUT_RATE = 50.0
SCALE = 13e-3
"""The width Delta u of the output's escape noise in the learning rule."""


class Kind(NamedTuple):
    """How neurons fire, and how they learn."""

    hidden: float | None
    """Steepness of the probability to fire of hidden neurons; `None` for a threshold."""
    output: float | None
    surrogate: rs.AbstractSurrogate
    """The derivative of a hidden neuron's spike."""
    output_rate: float
    """Learning rates of the weights."""
    hidden_rate: float
    trials: int

    @property
    def stochastic(self) -> bool:
        return self.hidden is not None


def kind_of(name: str, trials: int, learns: bool = True) -> Kind:
    """`"deterministic"` or `"stochastic"`, with the published constants.

    Args:
        name: which.
        trials: over how many the update of the stochastic network is averaged.
        learns: whether hidden weights learn.
    """
    hidden_rate = 1e-5 if learns else 0.0
    if name == "stochastic":
        return Kind(10.0, 100.0, rs.SigmoidDerivative(10.0), 1e-5, hidden_rate, trials)
    return Kind(None, None, rs.SuperSpike(10.0), 1e-4, hidden_rate, 1)


def picture(steps: int, neurons: int) -> np.ndarray:
    """A face as a raster, of shape (steps, neurons): its dark pixels are spikes."""
    x = (np.arange(steps)[:, None] + 0.5) / steps - 0.5
    y = (np.arange(neurons) + 0.5) / neurons - 0.5
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    outline = np.abs(radius - 0.43) < 0.02
    mouth = (np.abs(radius - 0.25) < 0.02) & (np.abs(angle + np.pi / 2) < 1.1)
    eyes = np.hypot(np.abs(x) - 0.15, y - 0.13) < 0.05
    return (outline | mouth | eyes).astype(np.float32)


def beginning(steps: int, neurons: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The frozen input raster and the random weights of both layers, with which potentials
    without spikes would have a standard deviation of one."""
    rng = np.random.default_rng([seed, 1])
    inputs = rng.random((steps, neurons)) < STEP * INPUT_RATE
    variance = neurons * INPUT_RATE * SYNAPSE**2 / (2 * (SYNAPSE + MEMBRANE))
    weights = rng.normal(0.0, variance**-0.5, (2, neurons, neurons))
    return inputs.astype(np.float32), weights.astype(np.float32)


def responses(spikes: Float[Array, "steps *n"]) -> Float[Array, "steps *n"]:
    """The potential that spikes with weight one cause, without resets."""

    def step(state, arriving):
        u, i = state
        i = KEEP_I * i + arriving
        u = KEEP_U * u + (1 - KEEP_U) * i
        return (u, i), u

    zero = jnp.zeros(spikes.shape[1:], spikes.dtype)
    return lax.scan(step, (zero, zero), spikes)[1]


def filtered(values: Float[Array, "steps *n"]) -> Float[Array, "steps *n"]:
    r"""Values after the kernel $0.2\,(e^{-t/\tau_m} - e^{-t/\tau_s})$, t = 0 at their step."""

    def step(state, value):
        slow, fast = state
        slow, fast = KEEP_U * slow + value, KEEP_I * fast + value
        return (slow, fast), 0.2 * (slow - fast)

    zero = jnp.zeros(values.shape[1:], values.dtype)
    return lax.scan(step, (zero, zero), values)[1]


def layer(
    arriving: Float[Array, "steps *n"], steepness: float | None, key: Any
) -> tuple[Float[Array, "steps *n"], Float[Array, "steps *n"]]:
    """Potentials before a reset, and spikes, of neurons that weighted spikes arrive at."""
    dtype = arriving.dtype
    # (a threshold draws nothing: where U is not below 1, a chance of one)
    chance = jnp.zeros(arriving.shape, dtype)
    if steepness is not None:
        chance = jr.uniform(key, arriving.shape, dtype)

    def step(state, given):
        u, i, s = state
        value, drawn = given
        i = KEEP_I * i + value
        u = KEEP_U * u * (1 - s) + (1 - KEEP_U) * i
        fires = u >= 1 if steepness is None else drawn < jax.nn.sigmoid(steepness * (u - 1))
        s = fires.astype(dtype)
        return (u, i, s), (u, s)

    zero = jnp.zeros(arriving.shape[1:], dtype)
    return lax.scan(step, (zero, zero, zero), (arriving, chance))[1]


def forward(kind: Kind, weights: Any, inputs: Any, key: Any):
    """Hidden potentials and spikes, and output spikes, of shape (steps, trials, neurons)."""
    first, second = jr.split(key)
    arriving = jnp.repeat((inputs @ weights[0])[:, None], kind.trials, axis=1)
    potentials, hidden = layer(arriving, kind.hidden, first)
    _, outputs = layer(hidden @ weights[1], kind.output, second)
    return potentials, hidden, outputs


def update(
    kind: Kind, weights: Any, inputs: Any, target: Any, key: Any
) -> tuple[Float[Array, "2 pre post"], tuple[Any, Any]]:
    r"""By how much the weights change, before learning rates, averaged over trials; and the hidden
    and output spikes.

    $$ \delta = (\hat s - s) / \Delta u, \quad
       \Delta W^{\mathrm{out}} = \sum_t \delta\, \mathrm{PSP}^{\mathrm{hid}}, \quad
       \Delta W^{\mathrm{in}} = \sum_t (W^{\mathrm{out}} \delta)\,
          \epsilon * (h(U - 1)\, \mathrm{PSP}^{\mathrm{in}}) , $$

    the last with the kernel turned over to the error, so that no trace is kept for each synapse.
    """
    potentials, hidden, outputs = forward(kind, weights, inputs, key)
    error = (target[:, None] - outputs) / SCALE
    of_output = jnp.einsum("tki,tkj->ij", responses(hidden), error)
    back = filtered((error @ weights[1].T)[::-1])[::-1]
    at_hidden = kind.surrogate.derivative(potentials - 1) * back
    of_hidden = responses(inputs).T @ jnp.sum(at_hidden, axis=1)
    return jnp.stack([of_hidden, of_output]) / kind.trials, (hidden, outputs)


def distance(trains: Float[Array, "*n"], target: Float[Array, "*n"]) -> Float[Array, ""]:
    """The van Rossum distance: half the squared difference of the filtered trains summed over
    steps (the first axis), the mean over the others."""
    difference = filtered(trains) - filtered(target)
    return 0.5 * jnp.mean(jnp.sum(difference**2, axis=0))


def match(
    name: str, neurons: int, steps: int, epochs: int, trials: int, seed: int, learns: bool = True
) -> dict[str, Any]:
    """Learn the picture.

    Args:
        name: `"deterministic"` or `"stochastic"`.
        neurons: in each layer.
        steps: of the input and the picture.
        epochs: presentations, each with one update.
        trials: of the stochastic network in a presentation.
        seed: of the input, the weights and the noise.
        learns: whether hidden weights learn.

    Returns:
        For each epoch the distance and the number of steps with another spike count than the
        picture's, a trial's mean; rates in Hz at the end; output spikes of a trial, first and last.
    """
    kind = kind_of(name, trials, learns)
    with jax.enable_x64(False):
        inputs, weights = map(jnp.asarray, beginning(steps, neurons, seed))
        target = jnp.asarray(picture(steps, neurons))
        rates = jnp.asarray([kind.hidden_rate, kind.output_rate], jnp.float32)[:, None, None]

        def epoch(weights, key):
            change, (hidden, outputs) = update(kind, weights, inputs, target, key)
            goal = jnp.broadcast_to(target[:, None], outputs.shape)
            wrong = jnp.sum(jnp.abs(outputs - goal)) / kind.trials
            firing = jnp.stack([jnp.mean(hidden), jnp.mean(outputs)]) / STEP
            return weights + rates * change, (distance(outputs, goal), wrong, firing)

        keys = jr.split(jr.key(seed), epochs + 1)
        learned, (distances, wrong, firing) = jax.jit(
            lambda weights, keys: lax.scan(epoch, weights, keys)
        )(weights, keys[1:])
        shown = jax.jit(lambda weights: forward(kind, weights, inputs, keys[0])[2][:, 0])
        rasters = {
            when: np.argwhere(np.asarray(shown(w))).tolist()
            for when, w in (("before", weights), ("after", learned))
        }
    return {
        "distances": np.asarray(distances).round(6).tolist(),
        "wrong": np.asarray(wrong).round(2).tolist(),
        "rates": np.asarray(firing)[-1].tolist(),
        **rasters,
    }
