"""Gradual surrogates: wide surrogate derivatives that become narrow, in a deep network, on digits.

Handwritten digits (scikit-learn's, 8 x 8 pixels, 1437 to train on and 360 to test) as constant
currents into the first of several layers of LIF neurons, 80 each, all to all from layer to layer;
the classes are read from the mean number of spikes in the last one. The surrogate is the
derivative of (1 + tanh k x) / 2, of area one for every k: a narrow one sends back more error to
the few neurons near their threshold, and none to the others. k is fixed, rises geometrically from
epoch to epoch, or falls. All else is the same, and nothing is tuned for one of them: Adam at 2e-3,
the norm of the gradient cut off at one, resets detached.

Judged is that the narrow surrogate alone is worst, and that the schedule which ends with it is not:
each by three points at least. Whether a schedule is better than the best fixed width is reported.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float

import roughsnn as rs
from roughsnn.tasks import digits

from ._study import Study, format_table

_CLASSES, _TRAIN = 10, 1437
_BATCH, _RATE = 50, 2e-3
_HIDDEN, _STEPS = 80, 8
_WIDE, _MIDDLE, _NARROW = 1.0, 2.0, 20.0
# name -> k in the first and in the last epoch
_CONDITIONS = {
    "wide": (_WIDE, _WIDE),
    "middle": (_MIDDLE, _MIDDLE),
    "narrow": (_NARROW, _NARROW),
    "gradual": (_WIDE, _NARROW),
    "reversed": (_NARROW, _WIDE),
}


class _Network(eqx.Module):
    """Layers of LIF neurons between currents and classes."""

    layers: rs.SpikingNetwork
    inputs: Float[Array, "pixels hidden"]
    bias: Float[Array, " neurons"]
    readout: Float[Array, "hidden classes"]

    def __init__(self, pixels: int, layers: int, key: Any):
        size = _HIDDEN * layers
        between, first, last = jr.split(key, 3)
        connected = np.zeros((size, size), bool)
        for begin in range(0, size - _HIDDEN, _HIDDEN):
            connected[begin : begin + _HIDDEN, begin + _HIDDEN : begin + 2 * _HIDDEN] = True
        # a decay of one half in a step, and currents that last one
        neurons = rs.LIF(size, mu1=0.5, mu2=1.0, v_th=1.0, reset_to=0.0, v0=0.0)
        weights = np.asarray(jr.normal(between, (size, size))) * connected * 2 / _HIDDEN**0.5
        self.layers = rs.SpikingNetwork(neurons, weights, connected)
        self.inputs = jr.normal(first, (pixels, _HIDDEN)) * 2 / pixels**0.5
        self.bias = jnp.zeros(size)
        self.readout = jr.normal(last, (_HIDDEN, _CLASSES)) * 3 / _HIDDEN**0.5


class _Respond(eqx.Module):
    """Scores of the classes, with the surrogate of the training step."""

    surrogate: rs.AbstractSurrogate

    def at_step(self, step: Any) -> "_Respond":
        return _Respond(self.surrogate.at(step))

    def __call__(self, model: _Network, inputs: Any, key: Any) -> Any:
        size, samples = model.bias.shape[0], inputs.shape[0]
        delay = size // _HIDDEN - 1
        into_first = inputs @ model.inputs
        others = jnp.zeros((samples, size - _HIDDEN), into_first.dtype)
        currents = jnp.concatenate([into_first, others], axis=1) + model.bias[None]
        # the list of spikes is not looked at, so that it needs no room
        protocol = rs.Protocol(
            0.0, float(_STEPS + delay), 1.0, max_spikes=1, input_current=currents
        )
        trains = rs.ClockEngine(surrogate=self.surrogate).spike_trains(
            model.layers, protocol, key=key, num_samples=samples, throw=False
        )
        assert trains.presence is not None
        # a layer fires a step after the one before
        return jnp.mean(trains.presence.values[:, delay:, -_HIDDEN:], axis=1) @ model.readout


def _loss(scores: Any, targets: Any) -> Any:
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(scores, targets))


def _digits() -> tuple[rs.LabelledData, rs.LabelledData]:
    data = digits()
    order = np.random.default_rng(0).permutation(len(data))
    return data[order[:_TRAIN]], data[order[_TRAIN:]]


def schedule(first: float, last: float, epochs: int, steps: int) -> Any:
    """The steepness beta = 2 k over training steps, constant in each epoch.

    Args:
        first: k in the first epoch.
        last: k in the last one.
        epochs: how many.
        steps: of an epoch.
    """
    if first == last:
        return 2 * first

    def beta(step: Any) -> Any:
        share = jnp.minimum(step // steps, epochs - 1) / max(1, epochs - 1)
        return 2 * first * (last / first) ** share

    return beta


def study(layers: int = 4, epochs: int = 20, seeds: int = 3) -> Study:
    """Train.

    Args:
        layers: hidden layers.
        epochs: passes through the training data.
        seeds: networks for each condition.
    """
    train, test = _digits()
    steps = -(-_TRAIN // _BATCH)
    rows, accuracies = [], {}
    for name, (first, last) in _CONDITIONS.items():
        respond = _Respond(rs.SigmoidDerivative(schedule(first, last, epochs, steps)))
        tested, trained = [], []
        for seed in range(seeds):
            result = rs.fit(
                _Network(train.inputs.shape[1], layers, jr.key(seed)), train, simulate=respond,
                loss=_loss, num_steps=epochs * steps, key=jr.key(100 + seed), batch_size=_BATCH,
                optimiser=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(_RATE)),
                trainable=lambda m: (m.layers.weights, m.inputs, m.bias, m.readout),
                log_every=steps, progress=False,
            )  # fmt: skip
            for data, found in ((test, tested), (train, trained)):
                # (spikes are the same whatever the surrogate)
                scores = _answers(result.model, data.inputs)
                found.append(100 * float(np.mean(np.argmax(scores, 1) == data.targets)))
        accuracies[name] = np.asarray(tested)
        rows.append([name, f"{first:g} to {last:g}", *_mean_and_error(tested),
                     *_mean_and_error(trained)])  # fmt: skip
    figures = {}
    for name, values in accuracies.items():
        figures[f"{name}_accuracy"], figures[f"{name}_error"] = _mean_and_error(values)
    fixed = max(figures[f"{name}_accuracy"] for name in ("wide", "middle"))
    figures["narrow_below_best_fixed"] = fixed - figures["narrow_accuracy"]
    figures["gradual_above_narrow"] = figures["gradual_accuracy"] - figures["narrow_accuracy"]
    figures["gradual_below_best_fixed"] = fixed - figures["gradual_accuracy"]
    bounds = {"narrow_below_best_fixed": ">= 3", "gradual_above_narrow": ">= 3"}
    header = ["surrogate", "k", "test %", "standard error", "train %", "standard error"]
    return Study(figures, bounds, format_table(header, rows))


@eqx.filter_jit
def _answers(model: _Network, inputs: Any) -> Any:
    return _Respond(rs.SigmoidDerivative(2.0))(model, inputs, jr.key(0))


def _mean_and_error(values: Any) -> tuple[float, float]:
    spread = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return float(np.mean(values)), float(spread)
