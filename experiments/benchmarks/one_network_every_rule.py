"""One network, one loss, one call of `fit` for each way to get a gradient.

Three stochastic neurons, connected all to all, receive four input spike trains. The weights of
these inputs are trained from zero so that the first two spikes of every neuron come when those of a
teacher network do. Each rule is an argument of the same call: the pathwise gradient by each
adjoint, with the boundary term, the score function, and weight perturbation, written here as a user
would write it. Every one has to bring the loss down, and the gradients that are the derivative of
one scheme have to agree.
"""

import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import roughsnn as rs

from ._study import Study, format_table

_WINDOW, _STEP, _SAMPLES = 1.0, 0.02, 64


class WeightPerturbation(rs.AbstractGradientEstimator):
    """The loss on both sides along random directions, with the same noise of the neurons."""

    scale: float = 0.05

    def __call__(self, model, simulate, loss, key, *, trainable=None):
        parameters, rest = eqx.partition(model, rs.trainable_leaves(model, trainable))
        leaves, structure = jax.tree.flatten(parameters)
        keys = jr.split(jr.fold_in(key, 1), len(leaves))
        draws = [jr.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
        direction = jax.tree.unflatten(structure, draws)

        def at(step):
            moved = jax.tree.map(lambda p, d: p + step * self.scale * d, parameters, direction)
            return simulate(eqx.combine(moved, rest), key)

        up, down = at(1.0), at(-1.0)
        slope = (loss(up) - loss(down)) / (2 * self.scale)
        gradient = jax.tree.map(lambda d: slope * d, direction)
        return rs.GradientEstimate((loss(up) + loss(down)) / 2, gradient, up, {"slope": slope})


# name -> estimator, adjoint
_RULES = {
    "pathwise, ReverseMode": (rs.Pathwise(), rs.ReverseMode()),
    "pathwise, StochasticAdjoint": (rs.Pathwise(), rs.StochasticAdjoint()),
    "pathwise, EligibilityTraces, full": (rs.Pathwise(), rs.EligibilityTraces("full")),
    "pathwise, EligibilityTraces, local": (rs.Pathwise(), rs.EligibilityTraces()),
    "pathwise with boundary term": (rs.PathwiseWithBoundary(), rs.ReverseMode()),
    "score function": (rs.ScoreFunction(), rs.NoGradient()),
    "weight perturbation": (WeightPerturbation(), rs.NoGradient()),
}
_SAME = ("pathwise, StochasticAdjoint", "pathwise, EligibilityTraces, full")


def study(steps: int = 150) -> Study:
    """Train by every rule.

    Args:
        steps: steps of each.
    """
    with jax.enable_x64(True):
        teacher, start, spikes = _networks()
        protocol = rs.Protocol(
            0.0, _WINDOW, _STEP, max_spikes=120, input_current=0.6, input_spikes=spikes
        )
        observed = rs.Simulation(protocol, 512)(teacher, jr.key(1))
        loss = rs.FirstSpikesLoss(2, missing="horizon")
        gradients, rows, figures, bounds = {}, [], {}, {}
        for name, (estimator, adjoint) in _RULES.items():
            simulation = rs.Simulation(protocol, _SAMPLES, rs.EventEngine(adjoint=adjoint))
            if isinstance(estimator, rs.Pathwise):
                gradients[name] = _gradient(start, simulation, loss, observed)
            begin = time.perf_counter()
            result = rs.fit(
                start, observed, simulate=simulation, loss=loss, optimiser=optax.adam(0.05),
                num_steps=steps, key=jr.key(2), estimator=estimator,
                trainable=lambda model: model.input_weights, progress=False,
            )  # fmt: skip
            history = result.history["loss"]
            first, last = history[:5].mean(), history[-20:].mean()
            rows.append([name, first, last, last / first, time.perf_counter() - begin])
        figures["rules"] = len(_RULES)
        figures["largest_share_of_the_loss_left"] = float(max(row[3] for row in rows))
        bounds["largest_share_of_the_loss_left"] = "<= 0.5"
        reference = gradients["pathwise, ReverseMode"]
        scale = np.max(np.abs(reference))
        gap = max(np.max(np.abs(gradients[name] - reference)) / scale for name in _SAME)
        figures["largest_gap_between_gradients"] = float(gap)
        bounds["largest_gap_between_gradients"] = "<= 1e-8"
    header = ["rule", "loss at first", "loss at last", "share", "seconds"]
    return Study(figures, bounds, format_table(header, rows))


def _networks():
    """The teacher, the network at its start, and the input spikes."""
    neurons = rs.StochasticLIF(3, mu1=10.0, sigma=0.2, v_reset=1.2, beta=5.0, tau_s=0.5, alpha=0.05)
    weights = 0.1 * (jnp.ones((3, 3)) - jnp.eye(3))
    inputs = jnp.array([[1.0, 0.0, -0.5], [0.0, 0.8, 0.3], [0.5, -0.5, 1.0], [-0.3, 0.5, 0.5]])
    teacher = rs.SpikingNetwork(neurons, weights, input_weights=inputs)
    start = rs.SpikingNetwork(neurons, weights, input_weights=jnp.zeros_like(inputs))
    times = np.sort(np.random.default_rng(0).uniform(0, 0.8, 12))
    trains = rs.SpikeTrains.from_lists(
        [(times, np.arange(12) % 4)], t0=0.0, t1=_WINDOW, num_neurons=4
    )
    return teacher, start, trains[0]


def _gradient(model, simulation, loss, observed) -> np.ndarray:
    """The pathwise gradient of one sample."""

    @eqx.filter_jit
    def of(model):
        estimate = rs.Pathwise()(model, simulation, rs.Against(loss, observed), jr.key(3))
        return estimate.gradient.input_weights

    return np.asarray(of(model))
