"""Detectors of coincidence: distances become delays, and what arrives together makes a spike."""

from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._checks import IntLike, RealLike, finite_array, number, real_array, whole_number
from ..spikes import SpikeTrains


class CoincidenceDetectors(eqx.Module):
    r"""Neurons at places in space, reached by spikes from points around them after a delay that
    is the distance.

    A spike of a point at $p$ reaches the neuron at $q$ after $|p - q|$ / `speed`, if it is within
    `reach`, and raises the potential by 1. The potential decays with the time constant `tau`; where
    it is above `threshold` right after an arrival, the neuron fires and starts from 0 again. With a
    threshold between 1 and 2, two spikes make it fire if they arrive within
    $-\tau\log(\text{threshold} - 1)$ of each other, that is, from points that are nearly equally
    far away. So neurons on an axis of mirror symmetry fire, whatever its direction: all pairs of
    mirrored points are equally far from them (George et al. 2021).

    Neurons that do not act on each other fire at arrivals only. Their spikes are therefore exact,
    and cost a sort of the arrivals and one pass over them, for all neurons side by side. A spike
    time is that of the arrival that set it off, with its derivative in positions and speed; the
    derivative in `threshold` and `tau` is 0. Where what is to be tuned is coincidence itself, take
    a [`roughsnn.SpikingNetwork`][] with `synaptic_delays`, whose neurons integrate currents.

    Attributes:
        positions: places of the K neurons, in d dimensions.
        speed: distance over delay.
        reach: the largest distance that a connection spans; may be infinite.
        tau: time constant of the potential.
        threshold: in units of what one spike adds.

    Raises:
        ValueError: an argument of the wrong shape or outside its range.
    """

    positions: Float[Array, "K d"]
    speed: Float[Array, ""]
    reach: float = eqx.field(static=True)
    tau: float = eqx.field(static=True)
    threshold: float = eqx.field(static=True)

    def __init__(
        self,
        positions: Any,
        *,
        speed: Any = 1.0,
        reach: RealLike = float("inf"),
        tau: RealLike = 0.1,
        threshold: RealLike = 1.5,
    ):
        self.positions = _points("positions", positions)
        self.speed = jnp.asarray(finite_array("speed", speed), self.positions.dtype)
        if self.speed.shape != ():
            raise ValueError(f"`speed` must be one number, got shape {self.speed.shape}.")
        if not isinstance(self.speed, jax.core.Tracer) and not self.speed > 0:
            raise ValueError(f"`speed` must be positive, got {self.speed}.")
        infinite = float("inf")
        self.reach = infinite if reach == infinite else number("reach", reach, positive=True)
        self.tau = number("tau", tau, positive=True)
        self.threshold = number("threshold", threshold, positive=True)

    @property
    def num_neurons(self) -> int:
        """The number of neurons K."""
        return self.positions.shape[0]

    def delays(self, points: Float[Array, "n d"]) -> Float[Array, "n K"]:
        """The delay from each point to each neuron; `inf` where there is no connection."""
        square = jnp.sum((points[:, None] - self.positions[None]) ** 2, axis=-1)
        # the distance of a point to itself has no derivative
        distance = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
        # a point exactly at `reach` is within it, however differences of coordinates are rounded
        size = jnp.max(jnp.abs(points)) + jnp.max(jnp.abs(self.positions))
        slack = lax.stop_gradient(4 * float(jnp.finfo(size.dtype).eps) * size)
        return jnp.where(distance <= self.reach + slack, distance / self.speed, jnp.inf)

    def spike_times(self, points: Any, times: Any = 0.0) -> Float[Array, "n K"]:
        """When each neuron fires: for each of its arrivals, in order, the time if that made it
        fire, else `inf`.

        Args:
            points: where spikes come from, of shape (n, d); one row for each spike.
            times: when they start, a number or of shape (n,). `inf` for no spike: rows that only
                make up the number. By a clock that begins near them, so that their precision tells
                them apart; `spike_trains` takes times of a recording.

        Raises:
            ValueError: points of another dimension than the neurons, other times than points, or
                times so late that their precision does not resolve `tau`.
        """
        points = _points("points", points).astype(self.positions.dtype)
        if points.shape[1] != self.positions.shape[1]:
            raise ValueError(
                f"`points` have {points.shape[1]} dimensions and the neurons' positions "
                f"{self.positions.shape[1]}; both must lie in one space."
            )
        times = real_array("times", times).astype(points.dtype)
        _refuse_unless_resolved(times, self.tau)
        if times.shape not in ((), (points.shape[0],)):
            raise ValueError(
                f"`times` must be a number or have shape ({points.shape[0]},), got {times.shape}."
            )
        start = jnp.broadcast_to(times, (points.shape[0],))
        arrivals = jnp.sort(start[:, None] + self.delays(points), axis=0)

        def arrive(carry, now):
            v, last = carry
            comes = jnp.isfinite(now)
            here = jnp.where(comes, now, last)
            v = v * jnp.exp((last - here) / self.tau) + comes.astype(v.dtype)
            fires = v > self.threshold
            return (jnp.where(fires, 0, v), here), jnp.where(fires, now, jnp.inf)

        # a neuron's clock starts at its first arrival
        first = jnp.where(jnp.isfinite(arrivals[0]), arrivals[0], 0)
        carry = (jnp.zeros(self.num_neurons, points.dtype), lax.stop_gradient(first))
        return lax.scan(arrive, carry, arrivals)[1]

    def spike_counts(self, points: Any, times: Any = 0.0) -> Int[Array, " K"]:
        """How often each neuron fires; for points of an image, its *symmetry density*."""
        fired = jnp.isfinite(self.spike_times(points, times))
        return jnp.sum(fired, axis=0, dtype=jnp.int32)

    def spike_trains(
        self,
        points: Any,
        times: Any = 0.0,
        *,
        t0: RealLike = 0.0,
        t1: RealLike,
        max_spikes: IntLike,
    ) -> SpikeTrains:
        """The spikes from `t0` to `t1`, as trains of one trial.

        Args:
            points: as in `spike_times`.
            times: as in `spike_times`, but times of the recording, from which `t0` is taken off
                in double precision where they are known.
            t0: start of the window.
            t1: its end.
            max_spikes: room for spikes; `overflowed` says whether there were more.
        """
        t0, t1 = number("t0", t0), number("t1", t1)
        max_spikes, length = whole_number("max_spikes", max_spikes, 0), t1 - t0
        if isinstance(times, jax.core.Tracer):
            since = times - t0
        else:
            real_array("times", times)  # refuses what are no numbers
            since = jnp.asarray(np.asarray(times, np.float64) - t0, jnp.result_type(float))
        spikes = self.spike_times(points, since)
        inside = (spikes >= 0) & (spikes <= length)
        spikes = jnp.where(inside, spikes, jnp.inf).reshape(-1)
        order = jnp.argsort(spikes, stable=True)[:max_spikes]
        ordered = spikes[order]
        k = self.num_neurons
        neurons = jnp.where(jnp.isfinite(ordered), (order % k).astype(jnp.int32), -1)
        overflowed = jnp.sum(jnp.isfinite(spikes)) > max_spikes
        trains = SpikeTrains(ordered, neurons, t0, t1, overflowed, num_neurons=k)
        return trains.pad_to(max_spikes)


def _refuse_unless_resolved(times: Array, tau: float) -> None:
    """Fail where times are NaN, or rounded to more than a hundredth of the time constant."""
    if isinstance(times, jax.core.Tracer):
        return
    known = np.asarray(times)
    if np.any(np.isnan(known) | (known == -np.inf)):
        raise ValueError("`times` holds a NaN or -inf; it must be times, or inf for no spike.")
    latest = np.max(np.abs(known[np.isfinite(known)]), initial=0)
    if latest * np.finfo(known.dtype).eps > 0.01 * tau:
        raise ValueError(
            f"`times` has {latest:g}, and {known.dtype} does not resolve `tau` = {tau:g} so far "
            "from 0: count times from the start of the window (`spike_trains` does), or use double "
            "precision (jax_enable_x64)."
        )


def _points(name: str, value: Any) -> Float[Array, "n d"]:
    points = finite_array(name, value)
    if points.ndim != 2 or 0 in points.shape:
        raise ValueError(
            f"`{name}` must have shape (n, d), a row for each of one or more points, got "
            f"{points.shape}."
        )
    return points
