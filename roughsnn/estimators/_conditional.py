"""The estimator that integrates the marks out, given the noise."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int

from .._checks import IntLike, RealLike, count_field, number, optional_whole_number
from ..drivers import BrownianNoise, TimeGrid
from ..protocol import Protocol, checked_current, has_row_per_sample
from ..spikes import SpikeTrains
from ..spikes.checks import refuse_if
from ._base import AbstractGradientEstimator, GradientEstimate, differentiate, draw_trials, scalar
from ._changes import frozen, loss_changes
from ._interval_law import check_renewal, survival, walk_from

# the share of an interval's sum that is left to the tail
_TAIL = 0.02


class Conditional(AbstractGradientEstimator):
    r"""The derivative of the expected loss given the noise, with each mark integrated out.

    For a neuron that forgets at its spikes, [`roughsnn.ResettingStochasticLIF`][] with noise of the
    potential and constant input, a trial is a sequence of independent intervals. The one that is
    looked at ends in cell k of a grid with the probability $S_k - S_{k+1}$,
    $S = e^{-(\Lambda - \alpha)_+}$, given its noise path. With $L_k$ the loss where it ends in
    cell k and all other intervals are as they were, its share of the gradient is

    $$ \sum_k (S_k - S_{k+1})' L_k = - \sum_k (L_k - L_{k-1})\,
       S_k\, 1\{\Lambda_k > \alpha\}\, \nabla(\Lambda_k - \alpha) , $$

    and the gradient is the sum over the intervals of all trials. It is what the loss changes by
    where a spike comes a cell later, weighed by how the parameters move the chance of that. No
    spike time is differentiated, and nothing is divided by an intensity.

    The probability of a cell is the mean over two noise paths: that by which the trial was drawn,
    and the one with opposite noise. As the interval does not depend on the others, any path of its
    law will do, and two say more than one.

    The sum over k is estimated from a few cells, without bias: the cells are divided into `points`
    strata of equal shares of $S_k \Lambda_k 1\{\Lambda_k > \alpha\}$, which is what the derivatives
    are made of. In each of them the mean of $S \nabla \Lambda$ multiplies the difference of the
    losses at its ends, and what differs from the mean is seen at one cell, drawn evenly or by what
    the derivatives are made of.

    **Unbiased** for every loss of the trains, smooth or not, of a sample or of a mean, at the end
    of the window as inside it, and for all parameters, sigma and alpha included, also where the
    pathwise gradient has no variance or does not exist. It is the gradient of the expected loss of
    the trains that it generates itself: each interval by Euler's method on a grid of its own that
    begins at the spike, with steps of the protocol's `dt0`, and the spike uniform in its cell. That
    differs from the trains of the event solver by an error of the order of `dt0`.

    **Variance**: all moments are finite. The standard deviation grows with the square root of
    beta, where that of the pathwise gradient grows without bound; the study `gradient-variance`
    prints both. Where the intensity is flat the pathwise gradient can be as good.

    It costs a pass over two noise paths for every interval, each followed for the length of the
    window or for `longest`, and the losses of `3 points + 3` alternatives to each interval, at
    little cost where the loss is a mean over trials or of mean summaries ([`roughsnn.MeanLoss`][]).
    Where only features of single intervals are wanted, [`roughsnn.interval_law`][] has their means
    and Jacobian from one pass.

    `simulate` is a [`roughsnn.Simulation`][], or returns [`roughsnn.Trials`][]; its protocol is
    used, and its engine is not. Diagnostics: `unfinished`, the mean probability of an interval to
    outlast what was followed of it: where `longest` cuts it short, a bias in proportion.

    Attributes:
        points: strata of the cells of each interval; `None` for all cells, each by itself.
        longest: how far an interval is followed; default: the length of the window. A trial whose
            interval lasts longer has no more spikes.
        chunk: how many losses are evaluated at a time where each needs its own evaluation.

    Raises:
        TypeError: another model than a resetting neuron.
        ValueError: several neurons, noise of the current, an input that changes, or a law of the
            noise other than Brownian motion; the message names what to use instead. No trial, a
            step longer than the time constant, or more spikes than there is room for (unless the
            simulation has `throw=False`).

    References:
        Gong, Ho (1987), IEEE Trans. Automat. Contr. 32, 858 (smoothed perturbation analysis).
    """

    recorded: ClassVar[tuple[str, ...]] = ("unfinished",)

    points: IntLike | None = eqx.field(
        default=8, static=True, converter=partial(optional_whole_number, "points", least=1)
    )
    longest: RealLike | None = eqx.field(
        default=None,
        static=True,
        converter=lambda x: None if x is None else number("longest", x, positive=True),
    )
    chunk: IntLike | None = count_field("chunk", None)

    def __call__(self, model, simulate, loss, key, *, trainable=None):
        def objective(model):
            neuron, protocol, samples = _setting(simulate, model, key)
            sequences = _Sequences.of(neuron, protocol, samples, self.longest)
            drawn, excess = sequences.draw(neuron, protocol, key)
            trains = sequences.trains(drawn)
            if getattr(simulate, "throw", False):
                trains = refuse_if(
                    trains,
                    trains.overflowed,
                    f"More spikes happened than `max_spikes` = {trains.max_spikes} has room for. "
                    "Increase it, or give the Simulation `throw=False`, with which trains are cut "
                    "off and flagged.",
                )
            value = scalar(loss(trains))

            def change(cells):
                """Of the loss, where an interval ends in these cells instead."""
                others = sequences.trains_of(sequences.replaced(drawn, cells))
                changes = loss_changes(loss, trains, others, self.chunk)
                shape = (samples, sequences.intervals, cells.shape[0])
                return jnp.moveaxis(changes.reshape(shape), -1, 0)

            moved = jnp.mean(_moved_chance(excess), axis=1)
            if self.points is None or 3 * self.points >= sequences.grid.num_cells:
                every = jnp.arange(moved.shape[0], dtype=jnp.int32)[:, None, None]
                changes = change(jnp.broadcast_to(every, moved.shape))
                slope = jnp.sum(moved[1:] * jnp.diff(lax.stop_gradient(changes), axis=0))
            else:
                alpha = jnp.reshape(neuron.alpha, ())
                slope = _by_strata(moved, excess, alpha, change, self.points, jr.fold_in(key, 3))
            unfinished = jnp.mean(survival(lax.stop_gradient(excess[-1])))
            return value - slope, (trains, {"unfinished": unfinished})

        (value, (trains, diagnostics)), gradient = differentiate(objective, model, trainable)
        return GradientEstimate(value, gradient, trains, diagnostics)


def _moved_chance(excess: Array) -> Array:
    r"""0, with the derivative $-\nabla S = S\,1\{\Lambda > \alpha\}\,\nabla(\Lambda - \alpha)$."""
    weight = lax.stop_gradient(jnp.where(excess > 0, survival(excess), 0))
    alive = jnp.where(weight > 0, excess, 0)
    return weight * (alive - lax.stop_gradient(alive))


def _by_strata(moved, excess, alpha, change: Callable[[Array], Array], points: int, key):
    r"""An unbiased estimate of $\sum_{k \ge 1} a_k (L_k - L_{k-1})$ from a few of the cells.

    Cells are divided into strata. In each, the sum with the mean of $a$ telescopes, and what $a$
    differs from its mean counts at one cell. That is drawn evenly or by the density, so that
    neither the mean nor $a$, which the density bounds, is divided by a small chance. Of the tail
    one cell is drawn by the density.

    Args:
        moved: $a$ of each interval at the edges.
        excess: $\Lambda - \alpha$ of the paths of each interval at the edges.
        alpha: dead integrated intensity.
        change: of the loss, where the intervals end in these cells instead.
        points: how many strata.
        key: random key.
    """
    moved, excess = moved[1:], lax.stop_gradient(excess[1:])
    passed = excess + lax.stop_gradient(alpha)
    density = jnp.mean(jnp.where(excess > 0, survival(excess) * passed, 0), axis=1)
    num, shape = density.shape[0], density.shape[1:]
    summed = jnp.cumsum(density, axis=0)
    total = summed[-1:]

    def first_beyond(ranks):
        find = partial(jnp.searchsorted, side="right")
        for _ in shape:
            find = jax.vmap(find, in_axes=-1, out_axes=-1)
        return jnp.minimum(find(summed, ranks) + 1, num).astype(jnp.int32)

    def drawn_inside(uniform):
        """One cell of each stratum, evenly or by the density with a chance of a half each, and one
        over its probability."""
        below = jnp.where(edges > 0, jnp.take_along_axis(summed, jnp.maximum(edges - 1, 0), 0), 0)
        share, size = jnp.diff(below, axis=0), jnp.maximum(width, 1).astype(uniform.dtype)
        both, halves = share > 0, 2 * uniform
        evenly = jnp.where(both, halves, uniform) * size
        evenly = edges[:-1] + 1 + jnp.floor(evenly).astype(jnp.int32)
        by_density = first_beyond(below[:-1] + (halves - 1) * share)
        found = jnp.where(both & (halves >= 1), by_density, evenly)
        found = jnp.minimum(jnp.clip(found, edges[:-1] + 1, edges[1:]), num)
        found = jnp.maximum(found, 1)
        there = jnp.take_along_axis(density, found - 1, axis=0) / jnp.where(both, share, 1)
        chance = jnp.where(both, (1 / size + there) / 2, 1 / size)
        return found, jnp.where(width > 0, 1 / chance, 0)

    levels = np.linspace(0, 1 - _TAIL, points + 1)[1:, None, None].astype(excess.dtype)
    start = jnp.sum(summed <= 0, axis=0, keepdims=True, dtype=jnp.int32)
    edges = jnp.concatenate([jnp.minimum(start, num), first_beyond(levels * total)])
    width = jnp.diff(edges, axis=0)
    uniform = jr.uniform(key, (points + 1, *shape), excess.dtype)
    inside, weight_inside = drawn_inside(uniform[:-1])

    before = jnp.take_along_axis(summed, jnp.maximum(edges[-1:] - 1, 0), axis=0)
    beyond = total - before
    last = jnp.maximum(
        first_beyond(before + uniform[-1:] * beyond), jnp.minimum(edges[-1:] + 1, num)
    )
    beyond = jnp.where(edges[-1:] < num, beyond, 0)

    cells = jnp.concatenate([edges, inside, inside - 1, last, last - 1])
    changes = lax.stop_gradient(change(cells))
    at_edges, at, before_at, at_last, before_last = jnp.split(
        changes, np.cumsum([points + 1, points, points, 1])
    )
    from_start = jnp.concatenate([jnp.zeros_like(moved[:1]), jnp.cumsum(moved, axis=0)])
    mean = jnp.diff(jnp.take_along_axis(from_start, edges, axis=0), axis=0)
    mean = mean / jnp.maximum(width, 1).astype(mean.dtype)
    differs = jnp.take_along_axis(moved, inside - 1, axis=0) - mean
    of_strata = mean * jnp.diff(at_edges, axis=0)
    of_strata = of_strata + weight_inside * differs * (at - before_at)
    chance = jnp.take_along_axis(density, last - 1, axis=0)
    weight = jnp.where(chance > 0, beyond / jnp.where(chance > 0, chance, 1), 0)
    of_tail = weight * jnp.take_along_axis(moved, last - 1, axis=0) * (at_last - before_last)
    return jnp.sum(of_strata) + jnp.sum(of_tail)


class _Drawn(eqx.Module):
    """Where each interval of each trial ends: its cell, the number of cells for none, and its place
    in the cell."""

    cells: Int[Array, "samples intervals"]
    places: Float[Array, "samples intervals"]


class _Sequences(eqx.Module):
    """Trials as sequences of intervals, each on a grid that begins with it."""

    grid: TimeGrid
    samples: int = eqx.field(static=True)
    intervals: int = eqx.field(static=True)
    room: int = eqx.field(static=True)
    t0: float = eqx.field(static=True)
    t1: float = eqx.field(static=True)

    @classmethod
    def of(cls, neuron, protocol: Protocol, samples: int, longest) -> "_Sequences":
        check_renewal(neuron, protocol.input_current, "Conditional")
        if protocol.input_spikes is not None:
            raise ValueError(
                "Conditional was given a protocol with `input_spikes`: intervals in a changing "
                "input are not independent. Use roughsnn.SpikeRemoval()."
            )
        if not isinstance(protocol.noise, BrownianNoise | None):
            raise ValueError(
                f"Conditional was given the noise {type(protocol.noise).__name__}, which is not "
                "independent from interval to interval. Leave `noise` out, for Brownian motion, or "
                "use roughsnn.SpikeRemoval()."
            )
        length = protocol.grid.duration
        length = length if longest is None else min(float(longest), length)
        # one interval more shows which trials outgrow their room
        stop = protocol.stop_after
        intervals = protocol.max_spikes + 1 if stop is None else stop
        grid = TimeGrid(0.0, length, protocol.dt0)
        return cls(grid, samples, intervals, protocol.max_spikes, protocol.t0, protocol.t1)

    def draw(self, neuron, protocol: Protocol, key) -> tuple[_Drawn, Array]:
        r"""Intervals of all trials; and $\Lambda - \alpha$ of each at the edges of its cells, along
        the path by which it is drawn and along that with opposite noise, shape (edges, 2, samples,
        intervals)."""
        shape = (self.samples, self.intervals)
        current = checked_current(neuron, protocol.input_current, self.samples)
        current = jnp.zeros(()) if current is None else current
        if not has_row_per_sample(current):
            current = current.reshape((1, 1))
        first = (jnp.arange(self.intervals, dtype=jnp.int32) == 0)[None, :]
        v0, reset_to = (jnp.reshape(x, ()) for x in (neuron.v0, neuron.reset_to))
        start = jnp.broadcast_to(jnp.where(first, v0, reset_to), shape)
        current = jnp.broadcast_to(current, shape)
        noise, marks, places = (jr.fold_in(key, i) for i in range(3))
        start, current = (jnp.tile(x.reshape(-1), 2) for x in (start, current))
        excess = walk_from(neuron, start, current, self.grid, noise, lambda x: x)
        excess = excess.reshape(-1, 2, *shape)
        dtype = excess.dtype
        level = jr.exponential(marks, shape, dtype)
        cells = jnp.sum(lax.stop_gradient(excess[1:, 0]) < level[None], axis=0, dtype=jnp.int32)
        return _Drawn(cells, jr.uniform(places, shape, dtype)), excess

    def lengths(self, cells, places) -> Array:
        """Of intervals that end in the given cells; infinite for one that does not."""
        return jnp.where(
            cells < self.grid.num_cells, (cells.astype(places.dtype) + places) * self.grid.dt0,
            jnp.inf,
        )  # fmt: skip

    def replaced(self, drawn: _Drawn, cells) -> Float[Array, "samples n intervals"]:
        """The intervals of each trial with one of them ended in another cell."""
        points = cells.shape[0]
        others = self.lengths(drawn.cells, drawn.places)
        other = jnp.moveaxis(self.lengths(cells, drawn.places[None]), 0, -1)
        own = jnp.eye(self.intervals, dtype=bool)[None, :, None, :]
        every = jnp.where(own, other[..., None], others[:, None, None, :])
        return every.reshape(self.samples, self.intervals * points, self.intervals)

    def trains(self, drawn: _Drawn) -> SpikeTrains:
        return self.trains_of(self.lengths(drawn.cells, drawn.places))

    def trains_of(self, lengths: Float[Array, "*batch intervals"]) -> SpikeTrains:
        # times of spike trains count from the start of the window
        times = jnp.cumsum(lengths, axis=-1)
        times = jnp.where(times <= self.t1 - self.t0, times, jnp.inf)
        over = jnp.any(jnp.isfinite(times[..., self.room :]), axis=-1)
        times = times[..., : self.room]
        neurons = jnp.where(jnp.isfinite(times), 0, -1).astype(jnp.int32)
        trains = SpikeTrains(times, neurons, self.t0, self.t1, over, num_neurons=1)
        return frozen(trains.pad_to(self.room))


def _setting(simulate: Any, model: Any, key) -> tuple[Any, Protocol, int]:
    """The neuron, what is done to it, and the number of trials."""
    protocol, samples = (getattr(simulate, name, None) for name in ("protocol", "num_samples"))
    if not isinstance(protocol, Protocol) or samples is None:
        trials = draw_trials(simulate, model, key, "Conditional")
        model, protocol, samples = trials.model, trials.protocol, len(trials)
    if samples == 0:
        raise ValueError("`num_samples` of the simulation is 0; an estimate needs a trial or more.")
    return model, protocol, samples
