r"""Running simulated trials again with the threshold of one spike changed, and all else the same.

The threshold of a spike is $-\log u$ with a mark u of its own. As it is exponentially distributed,
a spike that is suppressed where it came is one whose threshold is larger by another exponential
number: its mark is multiplied by a fresh uniform one. A spike at the end of the dead time has the
mark 1.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from .._random import event_key, key_of_marks, key_words
from ..event_sde import AbstractEventSDE
from ..networks import NetworkState
from ..neurons import AbstractNeuron
from ..protocol import checked_current, current_of_sample, randomness
from ..solve import RESULTS, NoGradient, eventsolve, freeze
from ..spikes import SpikeTrains
from ..trials import Trials

# room for what a change brings about, beside what the trial had room for
_MORE_ROOM = 8


class ThresholdChange(eqx.Module):
    """Which threshold is changed, and how.

    Attributes:
        neuron: the neuron that fires.
        number: how many spikes it has fired before.
        factor: what the mark is multiplied by.
        at_once: whether the mark is 1 instead, for a spike at the end of the dead time.
    """

    neuron: Int[Array, "*batch"]
    number: Int[Array, "*batch"]
    factor: Float[Array, "*batch"]
    at_once: Bool[Array, "*batch"]

    def of(self, mark):
        return jnp.where(self.at_once, 1, mark * self.factor).astype(mark.dtype)


def run_again(trials: Trials, changes: ThresholdChange) -> SpikeTrains:
    """The trains of the trials, each run again with every of its changes, without derivatives.

    Args:
        trials: by the event engine.
        changes: of shape (samples, n).

    Returns:
        of batch shape (samples, n).

    Raises:
        TypeError: the state of the model has no field `s`, the integrated intensity.
    """
    protocol, given = trials.protocol, trials.engine.solver
    model, current, noise = freeze((trials.model, protocol.input_current, protocol.noise))
    samples, n = changes.neuron.shape
    grid, currents = protocol.grid, checked_current(model, current, samples)
    inputs = freeze(protocol.inputs(model, samples))
    room = protocol.max_spikes + _MORE_ROOM

    def one(index, change):
        start, driver, marks = randomness(model, grid, noise, trials.key, index, given)
        driver = driver if inputs is None else inputs.of_sample(index).beside(driver, grid)
        y0 = _with_first_level(model, model.initial_state(start), change)
        number = jnp.maximum(change.number - 1, 0)
        words = key_words(event_key(key_of_marks(marks), change.neuron, number))
        solution = eventsolve(
            _Changed(model, change, words), grid.t0, grid.t1, grid.dt0, y0, key=marks,
            driver=driver, max_events=room, args=current_of_sample(currents, index),
            stop_after=protocol.stop_after, solver=given, adjoint=NoGradient(),
            interpretation=trials.engine.interpretation, throw=False,
        )  # fmt: skip
        failed = solution.result != RESULTS.successful
        return solution.event_times, solution.event_indices, failed

    which = jnp.arange(samples * n, dtype=jnp.int32) // n
    flat = jax.tree.map(lambda x: x.reshape(-1), changes)
    found = jax.vmap(one)(which, flat)
    times, neurons, failed = jax.tree.map(lambda x: x.reshape(samples, n, *x.shape[1:]), found)
    num = trials.trains.num_neurons
    return SpikeTrains(times, neurons, protocol.t0, protocol.t1, failed, num_neurons=num)


def _with_first_level(model: AbstractNeuron, y0: Any, change: ThresholdChange) -> Any:
    """The state at the start, with the change of the threshold of a neuron's first spike."""
    neurons = y0.neurons if isinstance(y0, NetworkState) else y0
    if not hasattr(neurons, "s"):
        raise TypeError(
            f"The state of {type(model).__name__} has no field `s`, the integrated intensity, in "
            "which the first threshold of a trial is kept: SpikeRemoval needs it."
        )
    alpha = model.dead_intensity
    assert alpha is not None  # `simulate_trials` refuses such a model
    own = jnp.arange(alpha.shape[0], dtype=jnp.int32) == change.neuron
    level = change.of(jnp.exp(neurons.s + alpha))
    s = jnp.where(own & (change.number == 0), jnp.log(level) - alpha, neurons.s)
    neurons = neurons._replace(s=s.astype(neurons.s.dtype))
    return y0._replace(neurons=neurons) if isinstance(y0, NetworkState) else neurons


class _Changed(AbstractEventSDE):
    """The model with one mark changed, that whose key has these words."""

    model: AbstractNeuron
    change: ThresholdChange
    words: tuple[UInt32[Array, ""], UInt32[Array, ""]]

    def mark(self, key):
        mark = self.model.mark(key)
        high, low = key_words(key)
        this = (high == self.words[0]) & (low == self.words[1]) & (self.change.number > 0)
        return jnp.where(this, self.change.of(mark), mark)

    def drift(self, t, y, args):
        return self.model.drift(t, y, args)

    def diffusion(self, t, y, args):
        return self.model.diffusion(t, y, args)

    def event(self, t, y, args):
        return self.model.event(t, y, args)

    def transition(self, t, y, event_index, mark, args):
        return self.model.transition(t, y, event_index, mark, args)

    def overflowed(self, y):
        return self.model.overflowed(y)

    @property
    def noise_shape(self):
        return self.model.noise_shape

    @property
    def event_rises(self):
        return self.model.event_rises

    @property
    def fastest_rate(self):
        return self.model.fastest_rate

    @property
    def default_solver(self):
        return self.model.default_solver
