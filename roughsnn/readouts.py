"""Readouts by membrane potential: leaky integrators that spike trains drive, and that do not
fire."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ._checks import finite_array, real_array
from ._exponentials import relative_growth, relative_logarithm
from .spikes import SpikeTrains
from .spikes.checks import refuse_if

__all__ = ["LeakyReadout"]


class _Pieces(NamedTuple):
    """What happens to the readouts of one trial: pieces of time, with a jump of the current before
    each of them but the first."""

    gaps: Float[Array, " pieces"]
    jumps: Float[Array, "pieces C"]


class LeakyReadout(eqx.Module):
    r"""Leaky integrators as outputs: C potentials that spikes of K neurons drive, without a
    threshold.

    $$
    du = \mu_1 (i - u)\,dt, \qquad di = -\mu_2\,i\,dt, \qquad
    i^c \to i^c + w_{kc} \ \text{at a spike of neuron } k, \qquad u_0 = b,\ i_0 = 0 .
    $$

    Potentials are a function of the spike trains alone, in closed form,

    $$
    u^c(t) = b^c e^{-\mu_1 t} + \sum_{\tau_n \le t} w_{k_n c}\, \mu_1
             \frac{e^{-\mu_2 (t - \tau_n)} - e^{-\mu_1 (t - \tau_n)}}{\mu_1 - \mu_2} ,
    $$

    so that they are those of every engine, exact between its spikes whatever the step, and so are
    their maximum, mean and end, in the precision of the trains. They are differentiated in the
    spike times; of trains that hold the presence of spikes, from a [`roughsnn.ClockEngine`][], in
    that, where an absent spike has a derivative, too.

    It is a tree: train it together with a network, as a pair.

    ```python
    def respond(model, inputs, key):
        network, readout = model
        protocol = rs.Protocol(0.0, 1.0, 0.02, max_spikes=40, input_spikes=inputs)
        return readout.maximum(rs.Simulation(protocol, num_samples=len(inputs))(network, key))

    loss = rs.ReadoutCrossEntropy(over=None)  # for `fit` with `simulate=respond`
    loss(respond((network, readout), inputs, key), labels)
    ```

    Attributes:
        weights: $w$, of shape (K, C).
        mu1: leak rate $\mu_1 \ge 0$ of the potentials, a number or an array of shape (C,).
        mu2: decay rate $\mu_2 \ge 0$ of their currents, likewise.
        bias: their initial values $b$, likewise.

    Raises:
        ValueError: an argument of the wrong shape, a negative rate, or a number that is not finite;
            at the call, trains of other neurons, or times outside their windows.

    References: Zenke & Vogels (2021), Neural Comput. 33:899, maximum over time; Wunderlich & Pehle
    (2021), Sci. Rep. 11:12829, the same with exact spikes.
    """

    weights: Float[Array, "K C"]
    mu1: Float[Array, "..."]
    mu2: Float[Array, "..."]
    bias: Float[Array, "..."]

    def __init__(
        self,
        weights: ArrayLike,
        *,
        mu1: ArrayLike = 5.0,
        mu2: ArrayLike = 20.0,
        bias: ArrayLike = 0.0,
    ):
        self.weights = finite_array("weights", weights)
        if self.weights.ndim != 2 or 0 in self.weights.shape:
            raise ValueError(
                "`weights` must have the shape (K, C), a row for each neuron and a column for each "
                f"readout, got {self.weights.shape}."
            )
        shapes = ((), (self.weights.shape[1],))
        for name, value, least in (("mu1", mu1, 0), ("mu2", mu2, 0), ("bias", bias, None)):
            array = finite_array(name, value, least=least).astype(self.weights.dtype)
            if array.shape not in shapes:
                raise ValueError(
                    f"`{name}` must be a number or have the shape {shapes[1]}, one for each "
                    f"readout, got {array.shape}."
                )
            setattr(self, name, array)

    def potentials(self, trains: SpikeTrains, times: ArrayLike) -> Float[Array, "*batch times C"]:
        """Potentials at given times since the start of the window, in increasing order.

        A spike exactly at one of them has no effect there yet, as currents jump and potentials do
        not. Of times of a recording take `trains.t0` off first.
        """
        times = real_array("times", times)
        if times.ndim != 1:
            raise ValueError(f"`times` must have one axis, got the shape {times.shape}.")
        if isinstance(trains, SpikeTrains):  # of anything else is complained below
            times = times.astype(trains.times.dtype)
            room = 1 + 4 * float(jnp.finfo(times.dtype).eps)
            shortest = jnp.min(trains.durations, initial=jnp.inf)
            times = refuse_if(
                times,
                ~((times >= 0) & (times <= shortest * room)),
                "`times` must lie in the window of every train, counted from its start: from 0 to "
                "`trains.duration`. Of times of a recording take `trains.t0` off first.",
            )
        return self._of_trials(_Potentials(times), trains)

    def maximum(self, trains: SpikeTrains) -> Float[Array, "*batch C"]:
        """The highest value of each potential in the window, at a spike, an end or between."""
        return self._of_trials(LeakyReadout._maximum, trains)

    def mean(self, trains: SpikeTrains) -> Float[Array, "*batch C"]:
        """The mean of each potential over the window."""
        return self._of_trials(LeakyReadout._mean, trains)

    def last(self, trains: SpikeTrains) -> Float[Array, "*batch C"]:
        """Each potential at the end of the window."""
        return self._of_trials(LeakyReadout._last, trains)

    # ---- of one trial

    def _maximum(self, pieces: _Pieces) -> Float[Array, " C"]:
        last, (u, i) = self._walked(pieces)
        tops = jax.vmap(self._top)(u, i, pieces.gaps)
        ends = jnp.concatenate([u, last[0][None]])
        return jnp.maximum(jnp.max(ends, axis=0), jnp.max(tops, axis=0))

    def _mean(self, pieces: _Pieces) -> Float[Array, " C"]:
        _, (u, i) = self._walked(pieces)
        areas = jax.vmap(self._area)(u, i, pieces.gaps)
        return jnp.sum(areas, axis=0) / jnp.sum(pieces.gaps)

    def _last(self, pieces: _Pieces) -> Float[Array, " C"]:
        return self._walked(pieces)[0][0]

    # ---- closed forms

    @property
    def _start(self) -> tuple[Array, Array]:
        size = self.weights.shape[1:]
        return jnp.broadcast_to(self.bias, size), jnp.zeros(size, self.weights.dtype)

    def _walked(self, pieces: _Pieces):
        """The state at the end of the trial, and those at the start of each piece."""
        return lax.scan(lambda state, piece: self._along(state, piece), self._start, pieces)

    def _along(self, state, piece: tuple[Array, Array]):
        """The state at the end of a piece, and at its start after the jump."""
        (u, i), (gap, jump) = state, piece
        i = i + jump
        return (self._after(u, i, gap), i * jnp.exp(-self.mu2 * gap)), (u, i)

    def _after(self, u: Array, i: Array, time: Array) -> Array:
        """The potential a time later, without spikes; sound where both rates are equal."""
        apart = (self.mu1 - self.mu2) * time
        pull = self.mu1 * time * jnp.exp(-self.mu2 * time) * relative_growth(-apart)
        return u * jnp.exp(-self.mu1 * time) + i * pull

    def _top(self, u: Array, i: Array, gap: Array) -> Array:
        """The potential inside a piece where it stands still, or at the start of the piece.

        There $i = u$; as the potential does not move with that time, it has no part in the
        derivative.
        """
        u_now, i_now, mu1, mu2 = lax.stop_gradient((u, i, self.mu1, self.mu2))
        # i e^{-mu2 t} = u(t), in x = (e^{(mu1 - mu2) t} - 1) / (mu1 - mu2)
        below = mu2 * i_now
        x = (i_now - u_now) / jnp.where(below == 0, 1, below)
        apart = (mu1 - mu2) * x
        inside = (below != 0) & (x > 0) & (apart > -1)
        apart, x = (jnp.where(inside, value, 0) for value in (apart, x))
        time = x * relative_logarithm(apart)
        # (a top at the end of the piece moves with it, and is that of its end)
        inside = inside & (time < lax.stop_gradient(gap))
        return jnp.where(inside, self._after(u, i, jnp.where(inside, time, 0)), u)

    def _area(self, u: Array, i: Array, gap: Array) -> Array:
        r"""The integral of the potential over a piece, from $u' = \mu_1 (i - u)$: that of the
        current less what the potential has risen by."""
        current = i * gap * relative_growth(-self.mu2 * gap)
        # (in a piece this short the difference cancels, and the trapezium is as good)
        slow = self.mu1 * gap < (12 * float(jnp.finfo(u.dtype).eps)) ** (1 / 3)
        risen = self._after(u, i, gap) - u
        exact = current - risen / jnp.where(self.mu1 == 0, 1, self.mu1)
        return jnp.where(slow, gap * (u + 0.5 * risen), exact)

    # ---- spikes

    @eqx.filter_jit
    def _of_trials(self, of_trial: Any, trains: SpikeTrains) -> Array:
        if not isinstance(trains, SpikeTrains):
            raise TypeError(f"`trains` must be SpikeTrains, got {type(trains).__name__}.")
        if trains.num_neurons != self.weights.shape[0]:
            raise ValueError(
                f"`trains` has {trains.num_neurons} neurons, and `weights` has rows for "
                f"{self.weights.shape[0]}."
            )
        dtype = trains.times.dtype
        own = jax.tree.map(lambda x: x.astype(dtype), self)
        weights = own.weights
        batch = trains.batch_shape
        flat = trains.reshape(-1)
        if flat.presence is not None:
            jumps = flat.presence.values @ weights
            pieces = jax.vmap(_pieces, (None, 0, 0))(flat.presence.times, jumps, flat.durations)
        else:
            jumps = jnp.where(flat.mask[..., None], weights[jnp.maximum(flat.neurons, 0)], 0)
            times = jnp.where(flat.mask, flat.times, flat.durations[:, None])
            pieces = jax.vmap(_pieces)(times, jumps, flat.durations)
        found = jax.vmap(lambda trial: of_trial(own, trial))(pieces)
        return found.reshape(*batch, *found.shape[1:])


class _Potentials(eqx.Module):
    """Potentials at given times, of one trial."""

    times: Float[Array, " times"]

    def __call__(self, readout: LeakyReadout, pieces: _Pieces) -> Float[Array, "times C"]:
        ends = jnp.cumsum(pieces.gaps)
        _, (u, i) = readout._walked(pieces)
        # the piece that each time lies in
        place = jnp.searchsorted(lax.stop_gradient(ends), self.times).astype(jnp.int32)
        place = jnp.minimum(place, ends.shape[0] - 1)
        since = self.times - (ends - pieces.gaps)[place]
        return jax.vmap(readout._after)(u[place], i[place], since)


def _pieces(times: Array, jumps: Array, end: Array) -> _Pieces:
    bounds = jnp.concatenate([jnp.zeros_like(end)[None], times, end[None]])
    nothing = jnp.zeros((1, jumps.shape[1]), jumps.dtype)
    return _Pieces(jnp.diff(bounds), jnp.concatenate([nothing, jumps]))
