r"""The gradient of a loss of free-running trials by their likelihood, on random subsets of neurons.

Given the shared currents a neuron fires by an intensity that its own and the others' past spikes
decide, and nothing else is random. With $\ell_k$ the log-likelihood of neuron k, the derivative of
the expected reward of windows is the mean of reward times $\nabla \ell_k$ of the windows (a score
function; Glynn 1990, Commun. ACM 33(10), 75). No spike time is differentiated, so that it needs
neither a loss that is continuous where spikes change order or leave the window, nor an intensity
that is not small where a spike comes, and nothing is differentiated through the engine.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int

import roughsnn as rs

from .coupled import CELLS, LEAD, Coupled, FreeRuns

_NODES = tuple(((np.polynomial.legendre.leggauss(2)[0] + 1) / 2).tolist())
_MOST = 10.0
"""The highest potential, as in the engine."""


# ---- the log-likelihood on the cells of the engine


def decayed(
    factor: Float[Array, " n"], terms: Float[Array, "cells M n"], first: Float[Array, " n"]
) -> Float[Array, "cells M n"]:
    """The state before each of the steps x -> factor x + term, from `first` on.

    Stretches of cells go side by side, and then one after the other.
    """
    cells, samples, n = terms.shape
    width = int(np.ceil(np.sqrt(cells)))
    rows = int(np.ceil(cells / width))
    padded = jnp.pad(terms, ((0, rows * width - cells), (0, 0), (0, 0)))
    padded = jnp.moveaxis(padded.reshape(rows, width, samples, n), 1, 0)

    def along(total, term):
        return factor[None, None] * total + term, total

    whole, inside = jax.lax.scan(along, jnp.zeros_like(padded[0]), padded)
    powers = factor[None] ** jnp.arange(width, dtype=factor.dtype)[:, None]

    def across(x, total):
        return factor[None] ** width * x + total, x

    _, begins = jax.lax.scan(across, jnp.broadcast_to(first[None], whole.shape[1:]), whole)
    states = inside + powers[:, None, None, :] * begins[None]
    return jnp.moveaxis(states, 0, 1).reshape(rows * width, samples, n)[:cells]


def synaptic_traces(
    trains: rs.SpikeTrains, cells: int, cell: float, decay: float
) -> Float[Array, "cells M K"]:
    """What a coupling of one from each neuron adds to the synaptic current, a cell later, as its
    mean over each cell."""
    place, offset, sample = _placed(trains, cell)
    left = cell - offset
    shape = (cells, *trains.batch_shape, trains.num_neurons)
    at = place + 1, sample, jnp.where(trains.mask, trains.neurons, shape[2])
    kept = jnp.zeros(shape, left.dtype).at[at].add(jnp.exp(-decay * left), mode="drop")
    felt = -jnp.expm1(-decay * left) / (decay * cell)
    own = jnp.zeros(shape, left.dtype).at[at].add(felt, mode="drop")
    factor = jnp.full(shape[2], np.exp(-decay * cell), left.dtype)
    before = decayed(factor, kept, jnp.zeros_like(factor))
    return before * (-np.expm1(-decay * cell) / (decay * cell)) + own


def weighted_log_likelihood(
    model: Coupled,
    path: Float[Array, "bins currents"],
    trains: rs.SpikeTrains,
    chosen: Int[Array, " n"],
    weights: Float[Array, "cells M n"],
) -> Float[Array, ""]:
    r"""Sum over cells, trials and the chosen neurons of weight times log-likelihood.

    $$ \sum_k \Big( \sum_{n} \rho_k(t_n)\,\log \lambda_k(t_n)
       - \int \rho_k \lambda_k\,dt \Big) . $$

    The shared currents, and the synaptic ones by their mean, are constant in each cell; the
    integral is taken by two nodes of Gauss. A third spike of a neuron in a cell is taken for a
    second.

    Args:
        model: the parameters.
        path: of the shared currents.
        trains: all spikes, batch shape (M,), from time 0 on.
        chosen: numbers of the neurons.
        weights: $\rho$.
    """
    v, drive, place, offset, sample = potentials(model, path, trains, chosen)
    leak, unit, reset = model.leak[chosen], model.units[chosen], model.reset[chosen]
    cell = model.cell

    def intensity(u, unit):
        return jnp.exp(jnp.minimum(u, _MOST)) / unit

    passed = jnp.zeros_like(v)
    for node in _NODES:
        u = drive + (v - drive) * jnp.exp(-leak * (node * cell))[None, None]
        passed = passed + intensity(u, unit[None, None]) * (cell / 2)
    total = -jnp.sum(weights * passed)

    # a spike: log lambda, and what the integral of the rest of its cell lacks after it
    local = _local(trains, chosen, model.num_neurons)
    n = jnp.maximum(local, 0)
    at = (jnp.minimum(place, len(v) - 1), sample, n)
    counted = jnp.where((local >= 0) & (place < len(v)), weights[at], 0)
    here, began, mu = drive[at], v[at], leak[n]
    left = cell - offset
    first = jnp.full(v.shape, cell, v.dtype).at[at].min(jnp.where(counted != 0, offset, cell))[at]
    # of a neuron that has fired in this cell before
    again = jnp.where(offset > first, reset[n] * jnp.exp(-mu * (offset - first)), 0)
    u = here + (began - here) * jnp.exp(-mu * offset) - again
    told = jnp.minimum(u, _MOST) - jnp.log(unit[n])
    for node in _NODES:
        later = here + (u - here) * jnp.exp(-mu * node * left)
        after = later - reset[n] * jnp.exp(-mu * node * left)
        told = told - (intensity(after, unit[n]) - intensity(later, unit[n])) * left / 2
    return total + jnp.sum(counted * told)


def potentials(model: Coupled, path, trains: rs.SpikeTrains, chosen):
    """Potential at the start and current of each cell, and where the spikes lie."""
    place, offset, sample = _placed(trains, model.cell)
    cells = len(path) * CELLS
    leak, reset = model.leak[chosen], model.reset[chosen]
    drive = path @ model.loads[:, chosen] + model.offset[chosen][None]
    drive = jnp.repeat(drive, CELLS, axis=0)[:, None, :]
    if model.connections is not None:
        traces = synaptic_traces(trains, cells, model.cell, model.decay)
        drive = drive + traces @ model.weights[:, chosen]
    shape = (cells, *trains.batch_shape, chosen.shape[0])
    drive = jnp.broadcast_to(drive, shape)
    local = _local(trains, chosen, model.num_neurons)
    n = jnp.maximum(local, 0)
    taken = -reset[n] * jnp.exp(-leak[n] * (model.cell - offset))
    where = jnp.where(local >= 0, place, cells), sample, n
    kicks = jnp.zeros(shape, drive.dtype).at[where].add(taken, mode="drop")
    terms = -jnp.expm1(-leak * model.cell)[None, None] * drive + kicks
    v = decayed(jnp.exp(-leak * model.cell), terms, model.offset[chosen])
    return v, drive, place, offset, sample


def _placed(trains: rs.SpikeTrains, cell: float):
    """Cell of each spike, how long after its start it comes, and the trial; padding lies past the
    end."""
    times = jnp.where(trains.mask, trains.times, 0)
    place = jnp.floor(times / cell).astype(jnp.int32)
    offset = jnp.clip(times - place.astype(times.dtype) * cell, 0, cell)
    place = jnp.where(trains.mask, place, jnp.iinfo(jnp.int32).max // 2)
    sample = jnp.broadcast_to(jnp.arange(len(trains), dtype=jnp.int32)[:, None], place.shape)
    return place, offset, sample


def _local(trains: rs.SpikeTrains, chosen: Int[Array, " n"], num: int) -> Int[Array, "M S"]:
    """Which of the chosen neurons fires each spike; -1 for others and padding."""
    numbers = jnp.full(num, -1, jnp.int32)
    numbers = numbers.at[chosen].set(jnp.arange(chosen.shape[0], dtype=jnp.int32))
    return jnp.where(trains.mask, numbers[jnp.maximum(trains.neurons, 0)], -1)


# ---- windows and subsets of neurons


def windows_of(
    trains: rs.SpikeTrains, starts: np.ndarray, length: float, room: int
) -> rs.SpikeTrains:
    """Windows of each trial, times from their start on; batch shape (M, windows)."""
    first = jax.vmap(lambda times: jnp.searchsorted(times, jnp.asarray(starts)))(trains.times)
    beyond = first[:, :, None] + jnp.arange(room + 1, dtype=first.dtype)[None, None]
    index = jnp.minimum(beyond, trains.max_spikes - 1)
    rows = jnp.arange(len(trains), dtype=jnp.int32)[:, None, None]
    times = trains.times[rows, index] - jnp.asarray(starts)[None, :, None]
    # the last spike of a trial is not repeated
    inside = (beyond < trains.max_spikes) & (times < length) & (trains.neurons[rows, index] >= 0)
    neurons = jnp.where(inside, trains.neurons[rows, index], -1)
    times = jnp.where(inside, times, jnp.inf)
    crowded = inside[..., -1] | trains.overflowed[:, None]
    return rs.SpikeTrains(
        times[..., :-1], neurons[..., :-1], 0.0, length, crowded, num_neurons=trains.num_neurons
    )


def subset_of(trains: rs.SpikeTrains, subset: Int[Array, " n"], room: int) -> rs.SpikeTrains:
    """The spikes of these neurons alone, as neurons 0, 1, ...; batch shape (windows,)."""
    local = _local(trains, subset, trains.num_neurons)
    own = local >= 0
    rank = jnp.cumsum(own, axis=1, dtype=jnp.int32) - 1
    place = jnp.where(own, rank, room)
    rows = jnp.broadcast_to(jnp.arange(len(trains), dtype=jnp.int32)[:, None], place.shape)
    times = jnp.full((len(trains), room), jnp.inf, trains.times.dtype)
    times = times.at[rows, place].set(trains.times, mode="drop")
    neurons = jnp.full((len(trains), room), -1, jnp.int32)
    neurons = neurons.at[rows, place].set(local, mode="drop")
    crowded = (jnp.sum(own, axis=1, dtype=jnp.int32) > room) | trains.overflowed
    size = subset.shape[0]
    return trains.with_spikes(times, neurons, crowded, num_neurons=size)


# ---- the estimator


class SubsetScore(rs.AbstractGradientEstimator):
    r"""The derivative of a loss of random subsets of neurons, in what belongs to these neurons.

    In each step `subsets` disjoint subsets of `size` recorded neurons are drawn. Each is judged by
    a loss of two independent samples of free-running windows and of recorded ones that is linear in
    each of the samples, $L = \langle \bar\phi_A - \bar\phi_o, \bar\phi_B - \bar\phi_o \rangle$: the
    reward of a window of A is $\langle \phi, \bar\phi_B - \bar\phi_o \rangle$, so that nothing is
    its own judge. The gradient is that of the sum of reward times log-likelihood of the subset's
    neurons in the window and in `margin` cells before it.

    **Unbiased** for every feature $\phi$ of the spikes in a window, up to what a spike earlier than
    the margin does to the window, and to the order of a cell where synaptic currents are taken by
    their means. It is the derivative in the parameters of the subset's own neurons, the couplings
    that lead to them among them: what a subset's loss is changed by through neurons outside of it
    is left out. Hidden neurons belong to every subset.

    **Variance**: all moments are finite, and it does not depend on how steep intensities are. It
    grows with the spikes of *one* neuron in a window, a few, and not with their number in the
    population. Trials that share their currents are each other's baselines: what currents do to
    the reward is no noise.

    The cost of loss and gradient is that of the subsets, whatever the size of the population, but
    for that of its simulation.

    Attributes:
        size: neurons of a subset.
        subsets: how many are drawn in a step.
        window: length of a window, in cells.
        parts: of a trial, each with currents of its own; the first half of them is the sample A.
        margin: cells before it in which a spike matters to it, at most `LEAD` bins.
        room: spikes of a window and a neuron, on average over a subset.
    """

    size: int = eqx.field(static=True)
    subsets: int = eqx.field(static=True)
    window: int = eqx.field(static=True)
    parts: int = eqx.field(static=True)
    margin: int = eqx.field(static=True)
    room: int = eqx.field(static=True)

    def __call__(self, model, simulate, loss, key, *, trainable=None):
        runs = jax.lax.stop_gradient(simulate(model, key))
        recorded = model.num_neurons - model.hidden
        # the last of the keys that trials could be drawn with
        order = jr.permutation(jr.fold_in(key, 2**31 - 1), recorded)
        subsets = order[: self.subsets * self.size].reshape(self.subsets, self.size)
        values, rewards = self._rewards(runs, model, loss, subsets.astype(jnp.int32))
        hidden = jnp.arange(recorded, model.num_neurons, dtype=jnp.int32)
        chosen = jnp.concatenate([subsets.reshape(-1).astype(jnp.int32), hidden])
        by_neuron = jnp.repeat(rewards, self.size, axis=0)
        of_hidden = jnp.broadcast_to(rewards.sum(0), (model.hidden, *rewards.shape[1:]))
        weights = self._weights(jnp.concatenate([by_neuron, of_hidden]), len(runs.path))

        parameters, rest = eqx.partition(model, rs.trainable_leaves(model, trainable))

        def weighed(parameters):
            model = eqx.combine(parameters, rest)
            return weighted_log_likelihood(model, runs.path, runs.trains, chosen, weights)

        gradient = eqx.filter_grad(weighed)(parameters)
        return rs.GradientEstimate(jnp.mean(values), gradient, runs.trains, {})

    def _layout(self, cells: int) -> tuple[int, np.ndarray]:
        """Cells of a part of a trial, and where its windows begin."""
        part = cells // self.parts
        windows = (part - LEAD * CELLS) // self.window
        return part, LEAD * CELLS + self.window * np.arange(windows)

    def _rewards(self, runs: FreeRuns, model: Coupled, loss: Any, subsets):
        """Loss of each subset, and of each its part of the reward of each window, of shape
        (subsets, halves, trials, windows of a half), less the mean of the other trials."""
        part, begins = self._layout(len(runs.path) * CELLS)
        trials, length = len(runs.trains), self.window * model.cell
        starts = model.cell * np.concatenate([n * part + begins for n in range(self.parts)])
        room = self.room * model.num_neurons
        cut = windows_of(runs.trains, starts, length, room)
        half = len(starts) // 2
        halves = [cut[:, :half].reshape(-1), cut[:, half:].reshape(-1)]
        observed = loss.observed

        def of_subset(subset):
            room = self.room * self.size
            a, b, o = (subset_of(x, subset, room) for x in (*halves, observed))
            value, rewards = loss.loss.judged(a, b, o)
            return value, jnp.stack(rewards).reshape(2, trials, half)

        values, rewards = jax.lax.map(of_subset, subsets)
        if trials > 1:
            rewards = (rewards - rewards.mean(2, keepdims=True)) * (trials / (trials - 1))
        return values, rewards / (trials * half * self.subsets)

    def _weights(self, rewards: Float[Array, "n 2 M windows"], bins: int):
        """The reward of the log-likelihood in each cell, shape (cells, M, n)."""
        cells = bins * CELLS
        part, begins = self._layout(cells)
        n, _, trials, _ = rewards.shape
        # (n, M, parts, windows), and a window more that is worth nothing
        by_part = jnp.moveaxis(rewards, 2, 1).reshape(n, trials, self.parts, len(begins))
        padded = jnp.pad(by_part, ((0, 0), (0, 0), (0, 0), (0, 1)))
        at = np.arange(part)
        own = np.full(part, len(begins))
        coming = own.copy()
        for number, begin in enumerate(begins):
            own[begin : begin + self.window] = number
            coming[(at >= begin - self.margin) & (at < begin)] = number
        both = (padded[..., own] + padded[..., coming]).reshape(n, trials, self.parts * part)
        weights = jnp.moveaxis(both, (2, 1, 0), (0, 1, 2))
        return jnp.pad(weights, ((0, cells - self.parts * part), (0, 0), (0, 0)))
