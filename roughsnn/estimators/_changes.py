"""How a loss of a sample changes when one of its trains is replaced by another."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from roughsnn.losses import AbstractLoss
from roughsnn.spikes import SpikeTrains
from roughsnn.trials import Trials


class Against(eqx.Module):
    """A loss of two samples, with the observed one given: a function of the generated one.

    ```python
    loss = rs.Against(rs.ExpectedSignatureLoss(depth=3), observed)
    ```

    A function would do as well, but this keeps the loss's own way to say what a single train
    changes, which saves an estimator one evaluation of the whole loss for each train.

    Attributes:
        loss: function of generated and observed trains.
        observed: the observed trains, or the loss's own `target` of them.
    """

    loss: Callable[[Any, Any], Any]
    observed: Any

    def __call__(self, generated: Any) -> Any:
        return self.loss(generated, self.observed)


def loss_changes(
    loss: Callable[[Any], Any],
    trains: SpikeTrains,
    alternatives: SpikeTrains,
    chunk: int | None = None,
) -> Float[Array, "samples n"]:
    r"""$L(\dots, x'_{ba}, \dots) - L(\dots, x_b, \dots)$ for each train b of the sample and each
    of its alternatives a, all other trains as they are.

    A [`roughsnn.AbstractLoss`][] may know a short way, its method `changes`, which is given
    `observed=None` where the loss takes generated trains alone. Where it has none, or is a plain
    function, it is evaluated for each alternative.

    Args:
        loss: function of the sample.
        trains: the sample, batch shape `(samples,)`.
        alternatives: batch shape `(samples, n)`, with room for at least as many spikes.
        chunk: how many evaluations of the loss are done at a time.
    """
    function, observed = (loss.loss, loss.observed) if isinstance(loss, Against) else (loss, None)
    if isinstance(function, AbstractLoss):
        found = function.changes(trains, observed, alternatives)
        if found is not None:
            return found
    samples, n = alternatives.batch_shape
    index = jnp.arange(samples * n, dtype=jnp.int32)
    flat = changes_one_by_one(loss, trains, alternatives, index // n, index % n, chunk)
    return flat.reshape(samples, n)


def changes_one_by_one(
    loss: Callable[[Any], Any],
    trains: SpikeTrains,
    alternatives: SpikeTrains,
    sample: Int[Array, " m"],
    which: Int[Array, " m"],
    chunk: int | None = None,
) -> Float[Array, " m"]:
    """The change of the loss for some pairs (train, alternative), each by an evaluation."""
    trains = trains.pad_to(alternatives.max_spikes)

    def change(pair):
        b, a = pair
        times = trains.times.at[b].set(alternatives.times[b, a])
        neurons = trains.neurons.at[b].set(alternatives.neurons[b, a])
        return loss(trains.with_spikes(times, neurons, trains.overflowed))

    if sample.shape[0] == 0:
        return jnp.zeros(0, trains.times.dtype)
    return lax.map(change, (sample, which), batch_size=chunk) - loss(trains)


def with_spike_at_end(trials: Trials) -> SpikeTrains:
    """For each trial and each neuron k, the train in which k also fires at the end of the trial.

    A trial that `stop_after` has ended keeps its number of spikes: there the spike of k takes the
    place of the last one. Batch shape `(samples, K)`.
    """
    trains = trials.trains
    k = trains.num_neurons
    padded = trains.pad_to(trains.max_spikes + 1)
    last = jnp.max(jnp.where(trains.mask, trains.times, 0), axis=-1, initial=0)
    place = trains.counts - trials.stopped.astype(jnp.int32)
    time = jnp.where(trials.stopped, last, trains.durations)
    here = jnp.arange(padded.max_spikes, dtype=jnp.int32)[None, :] == place[:, None]
    times = jnp.where(here, time[:, None], padded.times)
    shape = (len(trains), k, padded.max_spikes)
    neuron = jnp.arange(k, dtype=jnp.int32)[None, :, None]
    neurons = jnp.where(here[:, None, :], neuron, padded.neurons[:, None, :])
    return trains.with_spikes(
        jnp.broadcast_to(times[:, None, :], shape),
        jnp.broadcast_to(neurons, shape),
        jnp.broadcast_to(trains.overflowed[:, None], shape[:2]),
    )


def shifted(trains: SpikeTrains, n: int) -> SpikeTrains:
    """For each train b, the trains b + 1, ..., b + n of the sample, counted round."""
    samples = len(trains)
    ahead = jnp.arange(1, n + 1, dtype=jnp.int32)
    index = (jnp.arange(samples, dtype=jnp.int32)[:, None] + ahead[None, :]) % max(samples, 1)
    return trains[index]


def frozen(trains: SpikeTrains) -> SpikeTrains:
    """The trains without derivatives."""
    return jax.tree.map(lambda x: lax.stop_gradient(x) if eqx.is_inexact_array(x) else x, trains)
