r"""Descent of fractional order: the size of its steps, and orders at one rate and at their own.

After Yang et al. (2025), who report that accuracy rises with the order $\alpha$, compared at one
learning rate. For a gradient of constant size g the rule takes steps of the size
$(\mu g / \Gamma(2 - \alpha))^{1/\alpha}$, so that at a small rate higher orders take larger steps.
Here networks of non-leaky integrate-and-fire neurons, 64-100-10, learn handwritten digits
(scikit-learn's) at every pair of an order and a rate, by the straight-through derivative of their
firing rates, two networks each.

Judged is that the law holds to one per cent; that at the rate 0.01 accuracy rises from the order
0.5 to 0.8, 1, 1.2 and 1.5; and that with a rate of its own, out of the same for each, order one is
as good as any other up to two points, and reaches 96 %. The rate of an order is that with the least
loss on the training data.
"""

import itertools
import math
from typing import Any

import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import roughsnn as rs
from roughsnn.tasks import digits, split
from roughsnn.training import minibatch_indices

from ._study import Study, format_table

ORDERS = (0.5, 0.8, 1.0, 1.2, 1.5, 1.8)
RISING = (0.5, 0.8, 1.0, 1.2, 1.5)
RATES = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
COMMON = 1e-2
_SIZES = (64, 100, 10)
_STEPS, _BATCH, _TEST = 20, 50, 397


def law(order: float, rate: float, slope: float, steps: int = 120) -> tuple[float, float]:
    """The step after so many steps along a line of the given slope, and what it should be."""
    expected = (rate * slope / math.gamma(2 - order)) ** (1 / order)
    with jax.enable_x64(True):
        optimiser = rs.fractional_descent(rate, order, eps=1e-3 * expected)

        def step(carry, _):
            w, state = carry
            change, state = optimiser.update(jnp.asarray(slope), state, w)
            return (optax.apply_updates(w, change), state), jnp.abs(change)

        w = jnp.zeros(())
        taken = lax.scan(step, (w, optimiser.init(w)), length=steps)[1]
        return float(taken[-1]), expected


def layer(weights: Any, spikes: Any, rates: Any, hidden: bool = True) -> tuple[Any, Any]:
    r"""Spikes of non-leaky neurons and their rates: $U \leftarrow U + W s$, reset to zero at one.

    A rate is the number of spikes over that of steps; its derivative is that of the mean input,
    $\bar r W$, where the rate lies between 0 and 1, and else zero; that of an output everywhere, so
    that one which is silent learns to fire.

    Args:
        weights: of shape (inputs, neurons).
        spikes: of the inputs, (steps, samples, inputs).
        rates: of the inputs, (samples, inputs).
        hidden: whether this is no output.
    """

    def step(potential, arriving):
        potential = potential + arriving
        fires = potential >= 1
        return jnp.where(fires, 0, potential), fires.astype(potential.dtype)

    arriving = lax.stop_gradient(spikes @ weights)
    found = lax.scan(step, jnp.zeros_like(arriving[0]), arriving)[1]
    counted = jnp.mean(found, axis=0)
    active = (counted > 0) & (counted < 1) | (not hidden)
    slope = jnp.where(active, rates @ weights, 0)
    return found, counted + slope - lax.stop_gradient(slope)


def respond(model: Any, values: Any, key: Any) -> Any:
    """Rates of the output, for values that are the probabilities of input spikes."""
    drawn = jr.uniform(key, (_STEPS, *values.shape), values.dtype) < values
    spikes, rates = drawn.astype(values.dtype), jnp.mean(drawn.astype(values.dtype), axis=0)
    for n, weights in enumerate(model, start=1):
        spikes, rates = layer(weights, spikes, rates, hidden=n < len(model))
    return rates


def loss(rates: Any, labels: Any) -> Any:
    """Half the squared error of the rates."""
    wanted = jax.nn.one_hot(labels, rates.shape[1], dtype=rates.dtype)
    return 0.5 * jnp.mean(jnp.sum((rates - wanted) ** 2, axis=1))


def train(training: Any, testing: Any, order: Any, rate: Any, key: Any, epochs: int) -> Any:
    """The mean loss over the last epoch and the accuracy of the test, of one network; orders and
    rates may be those of many, by `jax.vmap`."""
    optimiser = rs.fractional_descent(rate, order)
    start, noise, shuffle, test = jr.split(key, 4)
    model = tuple(
        0.15 * jr.normal(k, shape)
        for k, shape in zip(jr.split(start), itertools.pairwise(_SIZES), strict=True)
    )

    def step(carry, n):
        model, state = carry
        batch = minibatch_indices(len(training), _BATCH, n, shuffle)
        value, slope = jax.value_and_grad(
            lambda model: loss(
                respond(model, training.inputs[batch], jr.fold_in(noise, n)),
                training.targets[batch],
            )
        )(model)
        change, state = optimiser.update(slope, state, model)
        return (optax.apply_updates(model, change), state), value

    steps = -(-len(training) // _BATCH)
    numbers = jnp.arange(epochs * steps, dtype=jnp.int32)
    (model, _), losses = lax.scan(step, (model, optimiser.init(model)), numbers)
    decided = jnp.argmax(respond(model, testing.inputs, test), axis=1)
    return jnp.mean(losses[-steps:]), 100 * jnp.mean((decided == testing.targets) * 1.0)


def study(epochs: int = 10, seeds: int = 2) -> Study:
    """Compare orders.

    Args:
        epochs: passes through the training data.
        seeds: networks of each order and rate.
    """
    figures: dict[str, float] = {}
    steps = []
    for order in (0.5, 1.2, 1.5, 1.9):
        found, expected = law(order, 0.01, 0.02)
        figures[f"law_{order:g}"] = abs(found / expected - 1)
        steps.append([order, found, expected])
    losses, accuracies = _grid(epochs, seeds)
    common, rows = RATES.index(COMMON), []
    tuned = {}
    for order, cost, right in zip(ORDERS, losses, accuracies, strict=True):
        mean = np.where(np.isfinite(cost), cost, np.inf).mean(axis=1)
        best = int(np.argmin(mean))
        tuned[order] = float(right[best].mean())
        figures[f"at_one_rate_{order:g}"] = float(right[common].mean())
        figures[f"tuned_{order:g}"] = tuned[order]
        error = float(right[best].std(ddof=1) / seeds**0.5) if seeds > 1 else math.nan
        rows.append([order, figures[f"at_one_rate_{order:g}"], tuned[order], error, RATES[best]])
    rising = [figures[f"at_one_rate_{order:g}"] for order in RISING]
    figures["least_rise_at_one_rate"] = float(min(np.diff(rising)))
    figures["best_order_above_order_one"] = max(tuned.values()) - tuned[1.0]
    bounds = {f"law_{order:g}": "<= 0.01" for order in (0.5, 1.2, 1.5, 1.9)} | {
        "least_rise_at_one_rate": "> 0", "best_order_above_order_one": "<= 2", "tuned_1": ">= 96",
    }  # fmt: skip
    table = format_table(["order", "size of a step", "law"], steps)
    table += "\n\n" + format_table(
        ["order", f"test % at rate {COMMON:g}", "at its own rate", "standard error", "that rate"],
        rows,
    )
    return Study(figures, bounds, table)


def _grid(epochs: int, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Losses and accuracies by order, rate and seed."""
    with jax.enable_x64(False):
        training, testing = split(digits(), _TEST, seed=0)

        @jax.jit
        def trained(orders, rates, keys):
            def one(order, rate, key):
                return train(training, testing, order, rate, key, epochs)

            by_seed = jax.vmap(one, (None, None, 0))
            by_rate = jax.vmap(by_seed, (None, 0, None))
            return lax.map(lambda order: by_rate(order, rates, keys), orders)

        found = trained(jnp.asarray(ORDERS), jnp.asarray(RATES), jr.split(jr.key(0), seeds))
        return np.asarray(found[0]), np.asarray(found[1])
