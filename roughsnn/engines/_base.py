"""What an engine is."""

import abc
from typing import Any

import equinox as eqx
from jaxtyping import PRNGKeyArray

from ..neurons import AbstractNeuron
from ..protocol import Protocol
from ..spikes import SpikeTrains
from ..trials import Trials


class AbstractEngine(eqx.Module):
    """How a protocol is computed: it turns a model and a protocol into trials.

    An engine of your own writes `spike_trains`; and `trials` if estimators that need more than the
    spikes are to use it.
    """

    @abc.abstractmethod
    def spike_trains(
        self,
        model: AbstractNeuron,
        protocol: Protocol,
        *,
        key: PRNGKeyArray,
        num_samples: int,
        throw: bool = True,
    ) -> SpikeTrains:
        """The spike trains of independent trials.

        Args:
            model: a neuron model or a network.
            protocol: what is done to it.
            key: random key. Sample i depends on the key and on i alone.
            num_samples: how many trials.
            throw: whether to raise an error when a trial outgrows its room or fails. With
                `throw=False` such trials are flagged in `trains.overflowed`.
        """

    def at_step(self, step: Any) -> "AbstractEngine":
        """The engine of a training step, by its number; by default the same in all of them."""
        return self

    def trials(
        self,
        model: AbstractNeuron,
        protocol: Protocol,
        *,
        key: PRNGKeyArray,
        num_samples: int,
        throw: bool = True,
    ) -> Trials:
        """The same trials, with where each of them ended: what an estimator needs that corrects
        the pathwise gradient."""
        raise TypeError(
            f"`engine` is a {type(self).__name__}, which does not say where a trial ended between "
            "two spikes, as the estimator asks for: use roughsnn.EventEngine()."
        )
