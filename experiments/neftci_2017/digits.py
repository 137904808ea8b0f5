"""Digits learned by random feedback, and by the output layer alone."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from roughsnn import tasks

from .network import Weights, angle, at_rest, beginning, respond, train

CLASSES, TRAIN = 10, 1400
RATE, DECAY = 6e-4, 0.7
"""Of learning, and its factor from epoch to epoch."""


def digits() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Images of 8 x 8 pixels from 0 to 1 with their classes: to learn from, and to test on."""
    data = tasks.digits()
    order = np.random.default_rng(0).permutation(len(data.targets))
    images = np.asarray(data.inputs)[order].astype(np.float32)
    labels = np.asarray(data.targets)[order].astype(np.int32)
    return (images[:TRAIN], labels[:TRAIN]), (images[TRAIN:], labels[TRAIN:])


@jax.jit
def _chunk(weights: Weights, state: Any, feedback: Any, rate: Any, images, labels, keys):
    """Some samples for several networks side by side, with their angles afterwards."""
    weights, state, errors = jax.vmap(train, in_axes=(0, 0, 0, None, 0, 0, 0))(
        weights, state, feedback, rate, images, labels, keys
    )
    return weights, state, jnp.mean(errors, axis=1)


@jax.jit
def _correct(weights: Weights, images, labels, key):
    def one(weights):
        counts = respond(weights, images, key)
        # (of outputs with as many spikes, none counts)
        best = jnp.max(counts, axis=1, keepdims=True)
        alone = jnp.sum(counts == best, axis=1) == 1
        return jnp.mean(alone & (jnp.argmax(counts, axis=1) == labels), dtype=jnp.float32)

    return jax.vmap(one)(weights)


def learn(
    seeds: tuple[int, ...], hidden: int, epochs: int, samples: int, learns_hidden: bool,
    measured: int = 7,
) -> list[dict[str, Any]]:  # fmt: skip
    """Networks that learn side by side, each from its own order of the samples.

    Args:
        seeds: of the networks.
        hidden: neurons.
        epochs: passes through the digits.
        samples: how many digits to learn from.
        learns_hidden: whether error spikes reach the hidden neurons; else their weights stay.
        measured: how often in an epoch the angle and the error spikes are measured.
    """
    (images, labels), (test_images, test_labels) = digits()
    images, labels = images[:samples], labels[:samples]
    begun = [beginning(images.shape[1], hidden, CLASSES, jr.key(seed)) for seed in seeds]
    weights, feedback = jax.tree.map(lambda *x: jnp.stack(x), *begun)
    sent = feedback if learns_hidden else jnp.zeros_like(feedback)
    state = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (len(seeds), *x.shape)), at_rest(hidden, CLASSES)
    )
    angles = jax.jit(jax.vmap(angle))
    found: dict[str, list] = {"accuracy": [], "angle": [angles(weights, feedback)], "errors": []}
    found["accuracy"].append(_correct(weights, test_images, test_labels, jr.key(99)))
    size = samples // measured
    one_hot = np.eye(CLASSES, dtype=np.float32)
    for epoch in range(epochs):
        orders = [np.random.default_rng((seed, epoch)).permutation(samples) for seed in seeds]
        for part in range(measured):
            own = np.stack([order[part * size : (part + 1) * size] for order in orders])
            keys = jnp.stack(
                [jr.fold_in(jr.key(seed), 1 + epoch * measured + part) for seed in seeds]
            )
            weights, state, errors = _chunk(
                weights, state, sent, RATE * DECAY**epoch, images[own], one_hot[labels[own]], keys
            )
            found["errors"].append(errors)
            found["angle"].append(angles(weights, feedback))
        found["accuracy"].append(_correct(weights, test_images, test_labels, jr.key(99)))
    return [
        {name: [float(x[n]) for x in values] for name, values in found.items()}
        for n in range(len(seeds))
    ]
