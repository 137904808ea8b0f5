"""Input spikes as a driver of a network, beside its noise."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np

from ..drivers import JumpDriver, ProductPath, TimeGrid, path_of_spikes
from ..event_sde import StructuredDiffusion
from ..spikes import SpikeTrains
from ..spikes.checks import is_traced
from ..spikes.windows import times_since


class Inputs(eqx.Module):
    """Input spike trains: one trial for all samples, or one for each.

    Attributes:
        trains: the spikes as they arrive, with the number of the row of `input_rows` that each
            brings as its neuron.
        since: the times at which they arrive, since the start of the window of the simulation.
    """

    trains: Any
    since: Any

    @classmethod
    def of(cls, model, trains, num_samples: int, t0: float, t1: float) -> "Inputs":
        """The input of a model on a window, refused where it does not fit the model, the samples or
        the window."""
        num_inputs = getattr(model, "num_inputs", 0)
        if not isinstance(trains, SpikeTrains):
            raise TypeError(
                f"`input_spikes` must be SpikeTrains, got {type(trains).__name__}: see "
                "SpikeTrains.from_lists."
            )
        if num_inputs == 0:
            raise ValueError(
                "`input_spikes` need a SpikingNetwork with `input_weights`, and this "
                f"{type(model).__name__} has none."
            )
        if trains.num_neurons != num_inputs:
            raise ValueError(
                f"`input_spikes` has {trains.num_neurons} trains, and `input_weights` has rows for "
                f"{num_inputs}."
            )
        batch = trains.times.shape[:-1]
        if batch not in ((), (num_samples,)):
            raise ValueError(
                "`input_spikes` must be one trial, or a batch with one for each of the "
                f"{num_samples} samples, got batch shape {batch}."
            )
        _refuse_other_times(trains, t0, t1)
        trains = _arriving(model, trains)
        return cls(trains, times_since(trains, float(t0)))

    def of_sample(self, index) -> "Inputs":
        """The input of one sample."""
        if self.since.ndim == 1:
            return self
        return Inputs(self.trains[index], self.since[index])

    def beside(self, driver, grid: TimeGrid):
        """The driver of one sample: noise, where there is some, and the input spikes."""
        units = jnp.eye(self.trains.num_neurons, dtype=self.since.dtype)
        path = path_of_spikes(self.since, self.trains.neurons, units)
        spikes = JumpDriver(path, grid, since_start=True)
        return spikes if driver is None else ProductPath(driver, spikes)


def _arriving(network, trains: SpikeTrains) -> SpikeTrains:
    """The spikes of inputs as they arrive at the neurons, after their delays, in order."""
    delays = getattr(network, "input_delays", None)
    if delays is None:
        return trains
    # (a delay that training takes below zero acts as zero; one of zero has the derivative of longer
    # ones, where a maximum would have half of it)
    delays = jnp.where(delays < 0, 0, delays).astype(trains.times.dtype)
    times, rows = trains.times, trains.neurons
    known = jnp.maximum(rows, 0)
    num_rows = trains.num_neurons
    if delays.ndim < 2:
        times = times + (delays if delays.ndim == 0 else delays[known])
    else:
        num_rows, count = delays.size, delays.shape[1]
        each = jnp.arange(count, dtype=rows.dtype).reshape((1,) * rows.ndim + (-1,))
        rows = jnp.where(rows[..., None] >= 0, known[..., None] * count + each, -1)
        times = times[..., None] + delays[known]
        rows, times = (x.reshape(*trains.batch_shape, -1) for x in (rows, times))
    order = jnp.argsort(lax.stop_gradient(times), axis=-1)
    times, rows = (jnp.take_along_axis(x, order, axis=-1) for x in (times, rows))
    return trains.with_spikes(times, rows, trains.overflowed, num_neurons=num_rows)


def _refuse_other_times(trains: SpikeTrains, t0: float, t1: float) -> None:
    """Fail where nothing of a train's window lies in that of the simulation: it would drive
    nothing."""
    if is_traced(trains.window_bits):
        return
    # (the ends are known, but inside `jit` what is taken of them would not be)
    with jax.ensure_compile_time_eval():
        starts, ends = np.ravel(trains.t0), np.ravel(trains.t1)
    elsewhere = (starts >= t1) | (ends <= t0)
    if np.any(elsewhere):
        at = int(np.argmax(elsewhere))
        raise ValueError(
            f"`input_spikes` have the window [{starts[at]:.15g}, {ends[at]:.15g}], of which "
            f"nothing lies in that of the simulation, [{t0:.15g}, {t1:.15g}]: simulate that "
            "window, or give the input times by the clock of the simulation."
        )


class _Parts(eqx.Module):
    """What the product with an increment needs."""

    network: Any
    noise: Any
    zeros: Any


def network_noise(network, t, y, args) -> StructuredDiffusion:
    """The diffusion of a network for increments of the noise, of the input spikes, or of a pair
    of both."""
    neurons = y.neurons if network._is_extended else y
    noise = None
    if network.neurons.noise_shape is not None:
        noise = network.neurons.diffusion(t, neurons, args)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), y)
    dx = jax.ShapeDtypeStruct((network.num_input_rows,), jnp.result_type(*jax.tree.leaves(y)))
    if noise is not None:
        dx = jax.ShapeDtypeStruct(network.neurons.noise_shape, dx.dtype)
    return StructuredDiffusion(_Parts(network, noise, zeros), _product, y, dx)


def _product(parts: _Parts, dx):
    network, y = parts.network, parts.zeros
    db, dn = dx if isinstance(dx, tuple) else (dx, None) if parts.noise is not None else (None, dx)
    if db is not None and parts.noise is not None:
        # only the product is asked for: the increment is at hand
        moved = dfx.ControlTerm(lambda *_: parts.noise, lambda *_: db).prod(parts.noise, db)
        y = y._replace(neurons=moved) if network._is_extended else moved
    if dn is not None:
        if network.input_weights is None:
            raise ValueError(
                "The driver has input spikes beside the noise, and the network has no "
                "`input_weights`."
            )
        weights = network.input_rows
        plus, minus = dn @ jnp.maximum(weights, 0), dn @ jnp.minimum(weights, 0)
        if network._is_extended:
            y = network._receive(y, plus + minus, plus, minus)
        else:
            y = network.neurons.receive(y, plus + minus)
    return y
