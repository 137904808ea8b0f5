"""`Simulation`: a protocol, the engine that computes it, and how many trials are drawn."""

from typing import Any

import equinox as eqx
from jaxtyping import PRNGKeyArray

from .._checks import IntLike, whole_number
from ..neurons import AbstractNeuron
from ..protocol import Protocol
from ..spikes import SpikeTrains
from ..trials import Trials
from ._base import AbstractEngine
from ._event import EventEngine


class Simulation(eqx.Module):
    """A way to simulate a model: a function of the model and a key that draws spike trains.

    It is what [`roughsnn.fit`][] calls `simulate`. A function of your own serves as well where
    nothing but spikes is needed; this one also says how the trials came about, so that an estimator
    can have more of them or walk along them again.

    ```python
    protocol = rs.Protocol(0.0, 1.0, 0.01, max_spikes=30, input_current=1.5)
    simulation = rs.Simulation(protocol, num_samples=64)
    trains = simulation(model, key)
    ```

    Args:
        protocol: what is done to the model in a trial.
        num_samples: how many trials are drawn.
        engine: how they are computed, by default [`roughsnn.EventEngine`][].
        throw: whether a trial that outgrows its room or fails is an error; else it is flagged in
            `trains.overflowed`.

    Raises:
        TypeError: an argument of the wrong kind.
        ValueError: `num_samples` is negative.
    """

    protocol: Protocol
    engine: AbstractEngine
    num_samples: int = eqx.field(static=True)
    throw: bool = eqx.field(static=True)

    def __init__(
        self,
        protocol: Protocol,
        num_samples: IntLike,
        engine: AbstractEngine | None = None,
        *,
        throw: bool = True,
    ):
        engine = EventEngine() if engine is None else engine
        if not isinstance(protocol, Protocol):
            raise TypeError(
                f"`protocol` must be a roughsnn.Protocol, got {type(protocol).__name__}."
            )
        if not isinstance(engine, AbstractEngine):
            raise TypeError(
                "`engine` must be an engine such as roughsnn.EventEngine(), got "
                f"{type(engine).__name__}."
            )
        self.protocol, self.engine, self.throw = protocol, engine, bool(throw)
        self.num_samples = whole_number("num_samples", num_samples, 0)

    def __call__(self, model: AbstractNeuron, key: PRNGKeyArray) -> SpikeTrains:
        """Spike trains of the model, with batch shape `(num_samples,)`."""
        return self.engine.spike_trains(
            model, self.protocol, key=key, num_samples=self.num_samples, throw=self.throw
        )

    def at_step(self, step: Any) -> "Simulation":
        """The simulation of a training step, by its number, where the engine changes with it, as a
        [`roughsnn.ClockEngine`][] does whose surrogate has a schedule."""
        return Simulation(
            self.protocol, self.num_samples, self.engine.at_step(step), throw=self.throw
        )

    def as_simulation(self) -> "Simulation":
        """The simulation itself: what a rule asks for that changes what is done in a trial."""
        return self

    def trials(self, model: AbstractNeuron, key: PRNGKeyArray) -> Trials:
        """The same trials, with where each of them ended."""
        return self.engine.trials(
            model, self.protocol, key=key, num_samples=self.num_samples, throw=self.throw
        )
