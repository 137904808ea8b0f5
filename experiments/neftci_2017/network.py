r"""A network that learns while it runs, from spikes of error neurons through fixed random weights.

By steps of 1 ms. Hidden and output neurons have a synaptic current g, which jumps by w at a spike
and decays in 4 ms, a soma $v = g + $ kicks of a background (its own time constant is a step), that
fires above 0.1 and rests for 4 ms afterwards, and a dendrite u, which error spikes move and which
decays in 5 ms and does not drive the soma. Two error neurons for each class integrate
the spikes of the label less those of the output, and the opposite, from zero up; they fire at 0.1
and take that off. Their spikes reach the dendrites of the output neurons one to one and those of
the hidden neurons by random weights that stay as they are. Then, at every spike of a presynaptic
neuron,

$$ w \to w + \eta\, u_{\text{post}} \quad\text{if}\quad |g_{\text{post}}| < 1.15 . $$
"""

from typing import Any, NamedTuple

import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

STEPS, QUIET = 250, 50
"""Steps of a sample, and those at its beginning in which nothing is learned."""
KEEP_G, KEEP_U = float(np.exp(-1 / 4)), float(np.exp(-1 / 5))
THRESHOLD, REST = 0.1, 4
KICK = 0.05
"""Of the background, Poisson with one kick in a step on average."""
UNIT = 0.09
"""Of spikes of label and output on the error neurons, and of these on the output's dendrites."""
BOX = 1.15
PEAK = 5.0
"""Rate of the brightest pixel, in one over ms, were it not for the rest of 4 ms."""
# of a Poisson number of mean one; the rest of its tail is 1e-5
_AT_MOST = np.cumsum([float(np.exp(-1)) / float(np.prod(np.arange(1, n + 1))) for n in range(8)])


class Weights(NamedTuple):
    """What is learned.

    Attributes:
        hidden: from pixels to hidden neurons.
        output: from hidden neurons to classes.
    """

    hidden: Float[Array, "pixels hidden"]
    output: Float[Array, "hidden classes"]


class State(NamedTuple):
    """Of the neurons of a network, hidden ones and outputs as pairs.

    Attributes:
        g: synaptic currents.
        u: of the dendrites.
        rest: steps until they can fire again.
        errors: of the error neurons, positive and negative ones.
        fired: hidden neurons that fired in the step before.
        phase: of the label's spikes.
    """

    g: tuple[Float[Array, " hidden"], Float[Array, " classes"]]
    u: tuple[Float[Array, " hidden"], Float[Array, " classes"]]
    rest: tuple[Int[Array, " hidden"], Int[Array, " classes"]]
    errors: tuple[Float[Array, " classes"], Float[Array, " classes"]]
    fired: Float[Array, " hidden"]
    phase: Float[Array, ""]


def rate(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Spikes in a step for a brightness from 0 to 1: one over 4 ms and a waiting time."""
    return x / (4 * x + 1 / PEAK)


LABEL_RATE = float(0.98 / (4 * 0.98 + 1 / PEAK))


def beginning(
    pixels: int, hidden: int, classes: int, key: PRNGKeyArray
) -> tuple[Weights, Float[Array, "classes hidden"]]:
    """Weights, and those of the feedback to hidden neurons, whose mean over them is zero."""
    first, second, third = jr.split(key, 3)

    def uniform(key, rows, columns):
        edge = (7 / (rows + columns)) ** 0.5
        return jr.uniform(key, (rows, columns), minval=-edge, maxval=edge)

    feedback = uniform(third, classes, hidden)
    feedback -= jnp.mean(feedback, axis=1, keepdims=True)
    return Weights(uniform(first, pixels, hidden), uniform(second, hidden, classes)), feedback


def at_rest(hidden: int, classes: int) -> State:
    """The state before the first sample."""

    def pair(dtype):
        return jnp.zeros(hidden, dtype), jnp.zeros(classes, dtype)

    dtype = jnp.result_type(float)
    errors = jnp.zeros(classes, dtype), jnp.zeros(classes, dtype)
    rest = jnp.zeros(hidden, jnp.int32), jnp.zeros(classes, jnp.int32)
    return State(pair(dtype), pair(dtype), rest, errors, jnp.zeros(hidden, dtype),
                 jnp.zeros((), dtype))  # fmt: skip


def kicks(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Background on the somas."""
    drawn = jr.uniform(key, shape)
    above = jnp.stack([drawn > float(level) for level in _AT_MOST])
    return KICK * jnp.sum(above, axis=0, dtype=drawn.dtype)


class Drawn(NamedTuple):
    """What is random in a sample: spikes of the pixels and the background, step by step."""

    pixels: Float[Array, "steps pixels"]
    hidden: Float[Array, "steps hidden"]
    output: Float[Array, "steps classes"]


def draw(key: PRNGKeyArray, image: Float[Array, " pixels"], hidden: int, classes: int) -> Drawn:
    """The random numbers of a sample."""
    first, second, third = jr.split(key, 3)
    spikes = jr.uniform(first, (STEPS, image.shape[0])) < rate(image)[None]
    return Drawn(
        spikes.astype(image.dtype), kicks(second, (STEPS, hidden)), kicks(third, (STEPS, classes))
    )


def _fires(g, kick, rest):
    fires = (g + kick > THRESHOLD) & (rest <= 0)
    return fires, jnp.where(fires, REST - 1, rest - 1)


def step(
    weights: Weights, state: State, feedback: Float[Array, "classes hidden"], rate: Any,
    label: Float[Array, " classes"], given: tuple[Bool[Array, ""], Any],
) -> tuple[Weights, State, tuple[Float[Array, " classes"], Float[Array, ""]]]:  # fmt: skip
    """One step: weights, state, spikes of the output and number of error spikes.

    Args:
        weights: before the step.
        state: before the step.
        feedback: from error neurons to hidden dendrites.
        rate: of learning.
        label: one for the class of the sample; all zeros where there is no label, and the error
            neurons do nothing.
        given: whether weights change, and the row of `Drawn`.
    """
    learns, (pixels, kick_hidden, kick_output) = given
    g_hidden = KEEP_G * state.g[0] + pixels @ weights.hidden
    g_output = KEEP_G * state.g[1] + state.fired @ weights.output
    fires_hidden, rest_hidden = _fires(g_hidden, kick_hidden, state.rest[0])
    fires_output, rest_output = _fires(g_output, kick_output, state.rest[1])
    spikes = fires_output.astype(g_output.dtype)
    taught = jnp.sum(label)
    phase = state.phase + LABEL_RATE
    due = (phase >= 1).astype(phase.dtype)
    excess = UNIT * (label * due - spikes) * taught
    plus = jnp.maximum(state.errors[0] + excess, 0)
    minus = jnp.maximum(state.errors[1] - excess, 0)
    fired_plus, fired_minus = ((e > THRESHOLD).astype(plus.dtype) for e in (plus, minus))
    sent = fired_plus - fired_minus
    u_hidden = KEEP_U * state.u[0] + sent @ feedback
    u_output = KEEP_U * state.u[1] + UNIT * sent
    eta = rate * learns.astype(g_hidden.dtype)
    change_hidden = jnp.where(jnp.abs(g_hidden) < BOX, eta * u_hidden, 0)
    change_output = jnp.where(jnp.abs(g_output) < BOX, eta * u_output, 0)
    weights = Weights(
        weights.hidden + pixels[:, None] * change_hidden[None],
        weights.output + state.fired[:, None] * change_output[None],
    )
    state = State(
        (g_hidden, g_output), (u_hidden, u_output), (rest_hidden, rest_output),
        (plus - THRESHOLD * fired_plus, minus - THRESHOLD * fired_minus),
        fires_hidden.astype(g_hidden.dtype), phase - due,
    )  # fmt: skip
    return weights, state, (spikes, jnp.sum(fired_plus) + jnp.sum(fired_minus))


def sample(
    weights: Weights, state: State, feedback: Any, rate: Any, image: Any, label: Any,
    key: PRNGKeyArray,
) -> tuple[Weights, State, Float[Array, " classes"], Float[Array, ""]]:  # fmt: skip
    """A sample: weights and state after it, the number of spikes of each output and of the error
    neurons after the quiet beginning."""
    hidden, classes = feedback.shape[1], feedback.shape[0]
    drawn = draw(key, image, hidden, classes)
    learns = jnp.arange(STEPS) >= QUIET

    def one(carry, given):
        weights, state, counts, errors = carry
        weights, state, (spikes, sent) = step(weights, state, feedback, rate, label, given)
        counted = given[0].astype(counts.dtype)
        return (weights, state, counts + counted * spikes, errors + counted * sent), None

    zero = jnp.zeros((), image.dtype)
    start = (weights, state, jnp.zeros(classes, image.dtype), zero)
    (weights, state, counts, errors), _ = lax.scan(one, start, (learns, tuple(drawn)))
    return weights, state, counts, errors


def train(
    weights: Weights, state: State, feedback: Any, rate: Any, images: Any, labels: Any,
    key: PRNGKeyArray,
) -> tuple[Weights, State, Float[Array, " samples"]]:  # fmt: skip
    """Sample after sample, learning all the way; and the number of error spikes of each."""

    def one(carry, given):
        weights, state, _, errors = sample(*carry, feedback, rate, *given)
        return (weights, state), errors

    keys = jr.split(key, images.shape[0])
    (weights, state), errors = lax.scan(one, (weights, state), (images, labels, keys))
    return weights, state, errors


def respond(weights: Weights, images: Any, key: PRNGKeyArray) -> Float[Array, "samples classes"]:
    """Numbers of spikes of the outputs, all samples side by side, without labels."""
    hidden, classes = weights.output.shape
    silent = jnp.zeros((classes, hidden), images.dtype)
    label = jnp.zeros(classes, images.dtype)

    def one(image, key):
        state = at_rest(hidden, classes)
        return sample(weights, state, silent, 0.0, image, label, key)[2]

    return jax.vmap(one)(images, jr.split(key, images.shape[0]))


def angle(weights: Weights, feedback: Any) -> Float[Array, ""]:
    """Between the feedback to hidden neurons and the forward weights that it stands for, in
    degrees."""
    forward = weights.output.T
    product = jnp.sum(forward * feedback)
    norms = jnp.sqrt(jnp.sum(forward**2) * jnp.sum(feedback**2))
    return jnp.degrees(jnp.arccos(jnp.clip(product / norms, -1, 1)))
