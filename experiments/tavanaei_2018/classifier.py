"""A classifier of integrate-and-fire neurons that BP-STDP trains, sample by sample."""

from typing import Any, NamedTuple

import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from roughsnn.plasticity import BPSTDP, IntegrateAndFireLayers

CLASSES = 10
STEPS = 50
"""Steps of a sample, in training."""


class Setting(NamedTuple):
    """Sizes and constants of a classifier.

    Attributes:
        hidden: hidden neurons.
        thresholds: of the hidden layer and the output.
        spread: standard deviation of the weights at the start.
        rate: learning rate.
        window: steps.
        steps_of_test: how long a sample of the test is shown; longer than in training, so that
            fewer outputs share the largest count.
    """

    hidden: int = 100
    thresholds: tuple[float, float] = (1.0, 2.0)
    spread: float = 0.1
    rate: float = 5e-4
    window: int = 4
    steps_of_test: int = 4 * STEPS


def network(setting: Setting, inputs: int, key: Any) -> IntegrateAndFireLayers:
    """The classifier at its start."""
    keys, sizes = jr.split(key), (inputs, setting.hidden, CLASSES)
    weights = [
        setting.spread * jr.normal(k, (a, b), jnp.float32)
        for k, a, b in zip(keys, sizes, sizes[1:], strict=False)
    ]
    return IntegrateAndFireLayers(weights, setting.thresholds)


def _spikes(values: Any, key: Any, steps: int = STEPS) -> Any:
    """Spikes of every input at random, with its value as the probability in each step."""
    return (jr.uniform(key, (steps, values.shape[-1]), jnp.float32) < values).astype(jnp.float32)


def train(
    setting: Setting,
    training: tuple[Any, Any],
    testing: tuple[Any, Any],
    epochs: int,
    seed: int,
    frozen: bool = False,
) -> list[float]:
    """Train a classifier, and test it with weights averaged over each epoch: those after the last
    sample depend much on which samples came last.

    Args:
        setting: sizes and constants.
        training: values from 0 to 1, of shape (samples, inputs), and their classes.
        testing: likewise.
        epochs: passes through the samples to train on, in a new order each.
        seed: of weights, orders and spikes.
        frozen: whether the hidden layer keeps its weights, for comparison.

    Returns:
        the accuracy of the test in per cent, before training and after each epoch.
    """
    with jax.enable_x64(False):
        values, labels = jnp.asarray(training[0], jnp.float32), jnp.asarray(training[1], jnp.int32)
        others, wanted = jnp.asarray(testing[0], jnp.float32), np.asarray(testing[1])
        rule = BPSTDP(setting.rate, setting.window, (not frozen, True))
        start, order, noise, test = jr.split(jr.key(seed), 4)

        def sample(carry, given):
            layers, mean, number = carry
            n, key = given
            layers = rule.present(layers, _spikes(values[n], key), labels[n])
            number = number + 1
            pairs = zip(mean, layers.weights, strict=True)
            weights = tuple(m + (w - m) / number for m, w in pairs)
            return (layers, weights, number), None

        @jax.jit
        def epoch(layers, number):
            shuffled = jr.permutation(jr.fold_in(order, number), values.shape[0])
            keys = jr.split(jr.fold_in(noise, number), values.shape[0])
            begin = layers, layers.weights, jnp.float32(0)
            (layers, mean, _), _ = lax.scan(sample, begin, (shuffled, keys))
            return layers, IntegrateAndFireLayers(mean, setting.thresholds)

        @jax.jit
        def decided(layers):
            keys = jr.split(test, others.shape[0])
            counts = jax.vmap(lambda x, key: layers.counts(_spikes(x, key, setting.steps_of_test)))(
                others, keys
            )
            return jnp.argmax(counts, axis=1)

        layers = averaged = network(setting, values.shape[1], start)
        found = []
        for number in range(epochs + 1):
            if number:
                layers, averaged = epoch(layers, number)
            found.append(100 * float(np.mean(np.asarray(decided(averaged)) == wanted)))
    return found
