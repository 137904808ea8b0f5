"""The engine that goes by the clock."""

import diffrax as dfx

from ..drivers import BrownianNoise
from ..simulate_on_grid import simulate_on_grid
from ._base import AbstractEngine


class ClockEngine(AbstractEngine):
    """Spikes at the ends of steps, see [`roughsnn.simulate_on_grid`][]: for large networks, without
    derivatives, on the host.

    Attributes:
        solver: a diffrax solver, by default `diffrax.Euler()`.
    """

    solver: dfx.AbstractSolver | None = None

    def spike_trains(self, model, protocol, *, key, num_samples, throw=True):
        if protocol.stop_after is not None:
            raise ValueError(
                f"`stop_after` is {protocol.stop_after}; a simulation on the grid ends at `t1`. "
                "Leave it out, or use roughsnn.EventEngine()."
            )
        if protocol.noise is not None and protocol.noise != BrownianNoise():
            raise ValueError(
                f"`noise` is {protocol.noise!r}; a simulation on the grid draws Brownian motion "
                "with straight lines inside a step. Leave it out, or use roughsnn.EventEngine()."
            )
        return simulate_on_grid(
            model, protocol.t0, protocol.t1, protocol.dt0, key=key, num_samples=num_samples,
            input_current=protocol.input_current, input_spikes=protocol.input_spikes,
            solver=self.solver,
        )  # fmt: skip
