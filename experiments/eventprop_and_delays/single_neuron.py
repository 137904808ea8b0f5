"""One neuron that is silent at first and has to fire at given times, after Klos & Memmesheimer."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

import roughsnn as rs

from .quadratic_neuron import DECAY, first_spikes, response

END, STEP = 10.0, 0.1
"""The trial and the step of the solver, in membrane time constants of 10 ms."""
BACKGROUND = 20
"""Inputs that are not trained, each with a spike at random and a standard normal weight."""
STARTS = (1.0, 9.0)
"""Times at which the two trained inputs fire at the start, with weight zero."""
TARGETS = (2.5, 7.5)
RATE, CLIP = 0.1, 0.02
"""Of gradient descent; each entry of the gradient is clipped."""
_MARGIN = 0.01
"""Trained input spikes stay so far inside the trial."""

SHORT, SHORT_STEP, SHORT_TARGET = 2.0, 0.02, 0.5
"""Trial, step and target of the neuron with one input."""
_EARLY = 1e-9
"""The time of its spike: at the start of the trial it would not be felt."""
CRITICAL = (np.pi / 2 / -np.expm1(-SHORT)) ** 2
"""The weight with which its spike comes at the very end of the trial."""
_BESIDE = 1e-6
_ROUNDED = 1e-5
"""Step of central differences."""
_OFF_GRID = 0.03
"""How far inputs are moved from the grid for these."""


def spike_time(weight: Any) -> Any:
    r"""When a quadratic neuron fires after one input spike at time 0, in closed form,
    $-\log(1 - \pi / (2 \sqrt w))$ for $w > \pi^2 / 4$; infinite where it stays silent."""
    inside = 1 - np.pi / (2 * np.sqrt(weight))
    return np.where(inside > 0, -np.log(np.where(inside > 0, inside, 1.0)), np.inf)


@eqx.filter_jit
def over_weights(weights: Float[Array, " n"], pseudospikes: Array):
    """First spike times and their slopes, a neuron with one input for each weight."""

    def time(weight):
        solution = response(weight[None], jnp.array([_EARLY]), SHORT, SHORT_STEP)
        return first_spikes(solution, 1, pseudospikes)[0, 0]

    return jax.vmap(jax.value_and_grad(time))(weights)


def _leaky(weights: Float[Array, " n"]):
    """The same of leaky neurons, with the end of the trial for the time of silent ones."""

    def times(weights):
        size = weights.shape[0]
        network = rs.SpikingNetwork(
            rs.LIF(size, mu1=1.0, mu2=DECAY, v_th=1.0, reset_to=0.0), jnp.zeros((size, size)),
            jnp.zeros((size, size), bool), input_weights=weights[None],
        )  # fmt: skip
        inputs = rs.SpikeTrains([_EARLY], [0], 0.0, SHORT, num_neurons=1)
        protocol = rs.Protocol(0.0, SHORT, SHORT_STEP, max_spikes=8 * size, input_spikes=inputs)
        trains = rs.CellEngine().spike_trains(network, protocol, key=jr.key(0), num_samples=1)
        first = rs.FirstSpikeCrossEntropy(1.0).times(trains)[0]
        return jnp.sum(first), first

    slopes, first = jax.grad(times, has_aux=True)(weights)
    return first, slopes


def curve(largest: float, points: int) -> dict[str, Any]:
    """The loss of a neuron with one input spike over its weight: of quadratic neurons with and
    without pseudospikes, and of leaky ones.

    Args:
        largest: the largest weight.
        points: weights from 0 on.

    Returns:
        losses and their slopes by kind; how far spike times are from the closed form; and, from one
        side of the critical weight to the other, how far the time is from what its slope says and
        by how much the slope changes, relatively.
    """
    with jax.enable_x64(True):
        weights = np.linspace(0, largest, points)
        beside = CRITICAL * (1 + np.array([-_BESIDE, _BESIDE]))
        asked = jnp.asarray(np.concatenate([weights, beside]))
        found = {
            "pseudospikes": over_weights(asked, jnp.array(True)),
            "ordinary spikes": over_weights(asked, jnp.array(False)),
            "leaky": _leaky(asked),
        }
        times, slopes = (np.asarray(x) for x in found["pseudospikes"])
        expected = spike_time(np.maximum(asked, 1e-9))
        fires = expected < SHORT
        return {
            "weights": weights.tolist(),
            "losses": {
                kind: (0.5 * (np.asarray(t)[:points] - SHORT_TARGET) ** 2).tolist()
                for kind, (t, _) in found.items()
            },
            "slopes": {
                kind: ((np.asarray(t) - SHORT_TARGET) * np.asarray(s))[:points].tolist()
                for kind, (t, s) in found.items()
            },
            "from_closed_form": float(np.max(np.abs(times - expected)[fires])),
            "gap": float(abs(times[points + 1] - times[points] - slopes[points] * np.ptp(beside))),
            "gap_of_slopes": float(abs(slopes[points + 1] / slopes[points] - 1)),
        }


class Trial(eqx.Module):
    """What one neuron did.

    Attributes:
        times: of its first two spikes, or what stands for them.
        spikes: how many it fired.
    """

    times: Float[Array, "2"]
    spikes: Int[Array, ""]


class Neuron(eqx.Module):
    """Inputs of one neuron.

    Attributes:
        weights: of the two inputs that are trained.
        times: when these fire.
        others: weights of the other inputs.
        when: when these fire.
        pseudospikes: whether they stand for spikes that are missing.
    """

    weights: Float[Array, "2"]
    times: Float[Array, "2"]
    others: Float[Array, " inputs"]
    when: Float[Array, " inputs"]
    pseudospikes: Bool[Array, ""]

    @classmethod
    def drawn(cls, key: Any) -> "Neuron":
        """With a background at random, and pseudospikes."""
        a, b = jr.split(key)
        others = jr.normal(a, (BACKGROUND,))
        when = jr.uniform(b, (BACKGROUND,), minval=_MARGIN, maxval=END - _MARGIN)
        return cls(jnp.zeros(2), jnp.asarray(STARTS), others, when, jnp.array(True))

    def trial(self) -> Trial:
        """One trial."""
        weights = jnp.concatenate([self.weights, self.others])
        solution = response(weights, jnp.concatenate([self.times, self.when]), END, STEP)
        times = first_spikes(solution, 2, self.pseudospikes)[0]
        return Trial(times, solution.num_events[0])


def _loss(trial: Trial, _: Any = None) -> Float[Array, ""]:
    """Half the squared distances of the first two spikes from their targets."""
    return jnp.sum((trial.times - jnp.asarray(TARGETS, trial.times.dtype)) ** 2) / 2


@eqx.filter_jit
def _value_and_slopes(neuron: Neuron):
    """The loss and the trial, and the gradient in what is trained."""

    def value(trained):
        trial = eqx.tree_at(_trained, neuron, trained).trial()
        return _loss(trial), trial

    return jax.value_and_grad(value, has_aux=True)(_trained(neuron))


def _trained(neuron: Neuron) -> Any:
    return neuron.weights, neuron.times


@functools.lru_cache(maxsize=16)
def silent_neuron(seed: int) -> Neuron:
    """A neuron that does not fire before training: the first of random ones."""
    for attempt in range(1000):
        neuron = Neuron.drawn(jr.fold_in(jr.key(seed), attempt))
        (_, trial), _ = _value_and_slopes(neuron)
        if trial.spikes == 0:
            return neuron
    raise RuntimeError("1000 random neurons all fire; choose another seed.")


def differences(seed: int) -> dict[str, Any]:
    """The gradient through pseudospikes beside central differences, in weights and times of both
    trained inputs: of a silent neuron, and of one with a first input of weight 6; how often
    they fire, and the largest difference over the largest entry. The inputs come between steps of
    the grid: on either side of one the scheme has another derivative, by its error."""
    with jax.enable_x64(True):
        silent = silent_neuron(seed)
        silent = eqx.tree_at(lambda n: n.times, silent, jnp.asarray(STARTS) + _OFF_GRID)
        driven = eqx.tree_at(lambda n: n.weights, silent, jnp.array([6.0, 0.0]))
        found = {}
        for name, neuron in (("silent", silent), ("driven", driven)):
            (_, trial), slopes = _value_and_slopes(neuron)
            exact, numeric = np.concatenate(slopes), []
            for move in _ROUNDED * np.eye(exact.size):
                ends = []
                for sign in (1, -1):
                    changed = np.concatenate(_trained(neuron)) + sign * move
                    moved = eqx.tree_at(
                        _trained, neuron, tuple(map(jnp.asarray, np.split(changed, 2)))
                    )
                    ends.append(float(_value_and_slopes(moved)[0][0]))
                numeric.append((ends[0] - ends[1]) / (2 * _ROUNDED))
            apart = np.max(np.abs(exact - numeric)) / np.max(np.abs(exact))
            found[name] = {"spikes": int(trial.spikes), "apart": float(apart)}
        return found


# One object for all neurons, so that their training is compiled once.
_OPTIMISER = optax.chain(optax.clip(CLIP), optax.sgd(RATE))


def _simulated(neuron: Neuron, key: Any) -> Trial:
    return neuron.trial()


def _inside(step: Any, neuron: Neuron, generated: Any, key: Any) -> Neuron:
    """With trained input spikes inside the trial."""
    return eqx.tree_at(lambda n: n.times, neuron, jnp.clip(neuron.times, _MARGIN, END - _MARGIN))


def _first(neuron: Any, trial: Trial, _: Any) -> Array:
    return trial.times[0]


def _second(neuron: Any, trial: Trial, _: Any) -> Array:
    return trial.times[1]


def train(seed: int, pseudospikes: bool, steps: int) -> dict[str, Any]:
    """Train weights and times of both inputs.

    Args:
        seed: of the other inputs.
        pseudospikes: whether there are any.
        steps: of gradient descent.

    Returns:
        the loss and both spike times over steps, the times at the end, how many spikes the neuron
        fires then, and the inputs that it has.
    """
    with jax.enable_x64(True):
        neuron = silent_neuron(seed)
        neuron = eqx.tree_at(lambda n: n.pseudospikes, neuron, jnp.array(pseudospikes))
        result = rs.fit(
            neuron, None, simulate=_simulated, loss=_loss, optimiser=_OPTIMISER, num_steps=steps,
            key=jr.key(seed), trainable=_trained, between_steps=_inside,
            metrics={"first": _first, "second": _second}, log_every=min(steps, 100),
            progress=False,
        )  # fmt: skip
        result.raise_unless_trained()
        (_, trial), _ = _value_and_slopes(result.model)
        return {
            "losses": np.asarray(result.history["loss"]).tolist(),
            "times": np.stack([result.history["first"], result.history["second"]]).tolist(),
            "ends": np.asarray(trial.times).tolist(),
            "spikes": int(trial.spikes),
            "weights": np.asarray(result.model.weights).tolist(),
            "inputs": np.asarray(result.model.times).tolist(),
        }
