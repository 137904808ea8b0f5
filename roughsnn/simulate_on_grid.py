"""`simulate_on_grid`: clock-driven simulation of large networks."""

import dataclasses
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from ._checks import IntLike, RealLike, whole_number, window
from .clock import HALF, Steps, chosen_solver, on_own_clock
from .drivers import TimeGrid
from .networks import Inputs, taken
from .neurons import AbstractNeuron
from .protocol import checked_current, has_row_per_sample
from .solve import RESULTS, EventSolveError, step_is_too_long
from .spikes import SpikeTrains
from .spikes.steps import step_numbers

# the spikes of so many (sample, step, neuron) are kept on the device at once
_ROOM = 2**28


def simulate_on_grid(
    model: AbstractNeuron,
    t0: RealLike,
    t1: RealLike,
    dt0: RealLike,
    *,
    key: PRNGKeyArray,
    num_samples: IntLike = 1,
    input_current: Any = None,
    input_spikes: SpikeTrains | None = None,
    solver: dfx.AbstractSolver | None = None,
) -> SpikeTrains:
    r"""Simulate a network as clock-driven simulators do: spikes happen at the ends of steps.

    In each step $[t_j, t_{j+1}]$ the state of all neurons goes one step of the solver; every neuron
    whose event function is then not negative, up to rounding of the potential, fires at $t_{j+1}$,
    once; and what arrives at $t_{j+1}$ is delivered. Delays and refractory periods are rounded to
    whole steps, and input spikes act at the end of the step that they fall into; one at $t_j$, up
    to rounding, acts at $t_j$. Time is the number of the step, so a window that begins late, or is
    long, is as one that begins at zero.

    The cost of a step does not grow with the number of spikes but for the synapses of the neurons
    that fire, which makes it the way to simulate large networks: the same model as with
    [`roughsnn.simulate`][], to the order of the step. There, events are exact and have derivatives;
    here spike times are multiples of `dt0`, which have none, and a neuron fires at most once in a
    step. It runs on the host: not inside a JAX transformation.

    Args:
        model: a neuron model of the library, or a network of such neurons; best with sparse
            connections.
        t0: start of the window.
        t1: end of the window.
        dt0: step.
        key: random key, for the first states, the noise and the marks. Sample i depends on the key
            and on i alone.
        num_samples: how many trials.
        input_current: as in `simulate`.
        input_spikes: as in `simulate`.
        solver: a diffrax solver, by default `diffrax.Euler()` (`Heun()` where the diffusion depends
            on the state): spikes at the ends of steps are of first order whatever the solver.

    Returns:
        [`roughsnn.SpikeTrains`][] with batch shape `(num_samples,)` and room for exactly the
        spikes of the sample that has the most.

    Raises:
        EventSolveError: the state of a sample becomes infinite or NaN, or the step is longer than
            the shortest time constant of the model.
        NotImplementedError: a neuron model without `fire`.
        TypeError: a model or an input of the wrong kind.
        ValueError: an argument outside its range.
    """
    if not isinstance(model, AbstractNeuron):
        raise TypeError(
            f"`model` must be a neuron model or a SpikingNetwork, got {type(model).__name__}."
        )
    num_samples = whole_number("num_samples", num_samples, 1)
    grid = TimeGrid(*window(t0, t1, dt0))
    current = checked_current(model, input_current, num_samples)
    rows = has_row_per_sample(current)
    args = current[0] if rows else current
    solver = chosen_solver(model, solver, args)
    if step_is_too_long(model, grid.dt0):
        raise EventSolveError(RESULTS[RESULTS.step_too_long])
    inputs = None
    if input_spikes is not None:
        inputs = Inputs.of(model, input_spikes, num_samples, grid.t0, grid.t1)
    steps = on_own_clock(_Steps(model, solver, grid, args))
    index = jnp.arange(num_samples, dtype=jnp.int32)
    numbers = None if inputs is None else step_numbers(inputs.trains, grid)
    carry, tables = _begin(steps, key, index, numbers, inputs, current if rows else None)
    chunks = -(-grid.num_cells * model.num_neurons * num_samples // _ROOM)
    length = -(-grid.num_cells // chunks)
    found = []
    for first in range(0, grid.num_cells, length):
        count = min(length, grid.num_cells - first)
        carry, spikes = _run(steps, tables, carry, jnp.asarray(first, jnp.int32), count)
        samples, cells, neurons = np.nonzero(np.asarray(spikes))
        found.append((samples, cells + first, neurons))
    finite = np.asarray(_finite(carry.y))
    if not finite.all():
        raise EventSolveError(
            f"{RESULTS[RESULTS.nonfinite_state]} This happened in {np.sum(~finite)} of "
            f"{num_samples} samples, first in sample {int(np.argmin(finite))}."
        )
    samples, cells, neurons = (np.concatenate(x) for x in zip(*found, strict=True))
    order = np.argsort(samples, kind="stable")
    return _trains(samples[order], cells[order], neurons[order], num_samples, model, grid)


def _trains(samples, cells, neurons, num_samples, model, grid) -> SpikeTrains:
    counts = np.bincount(samples, minlength=num_samples)
    room = max(int(counts.max(initial=0)), 1)
    place = np.arange(samples.size) - (np.cumsum(counts) - counts)[samples]
    dtype = jnp.result_type(float)
    times = np.full((num_samples, room), np.inf)
    who = np.full((num_samples, room), -1, np.int32)
    # In double precision, in which a multiple of the step is one.
    times[samples, place] = np.minimum((cells + 1) * grid.dt0, grid.duration)
    who[samples, place] = neurons
    return SpikeTrains(
        jnp.asarray(times, dtype), jnp.asarray(who), grid.t0, grid.t1,
        num_neurons=model.num_neurons,
    )  # fmt: skip


class _Carry(eqx.Module):
    y: Any
    # what arrives, by step modulo the longest delay: one for each kind of jump
    rings: tuple
    # the next input spike
    pointer: Any


class _Tables(eqx.Module):
    """What stays the same: for each sample its key, its input spikes and the input current that
    is its own; the delays in steps."""

    noise_keys: Any
    mark_keys: Any
    input_steps: Any
    input_rows: Any
    currents: Any
    lags: Any


class _Steps(Steps):
    """One step of all neurons of one sample; what is sent is put into rings, spike by spike."""

    def lags(self):
        """The delays in steps: of each synapse where there is a list of them, else of all."""
        network = self.network
        if network is None or not network._is_delayed:
            return jnp.zeros((), jnp.int32)
        assert network.listed is not None, "a network with delays has a list of its synapses"
        edges = jnp.arange(len(network.listed), dtype=jnp.int32)
        delays = network.delays_of(edges, network.listed.pre)
        # Half a step, up to rounding, is rounded up.
        return jnp.floor(delays / self.grid.dt0 + HALF).astype(jnp.int32)

    def step(self, tables: _Tables, carry: _Carry, cell):
        core, y = self.core, carry.y
        t_new = self.time(cell + 1, jnp.result_type(*jax.tree.leaves(y)))
        y = self.advance(core, y, tables.noise_keys, cell)
        _, fires, may_fire = self.crossing(core, y, t_new)
        fires = fires if may_fire is None else fires & may_fire
        y = self.held(y, fires)
        y = core.fire(t_new, y, fires, self.marks(core, tables.mark_keys, cell), self.args)
        rings, pointer = carry.rings, carry.pointer
        if self.network is not None:
            rings = self._send(rings, fires, cell, tables.lags)
            now = cell % rings[0].shape[0]
            arriving = [ring[now] for ring in rings]
            rings = tuple(ring.at[now].set(0) for ring in rings)
            if tables.input_steps is not None:
                arriving, pointer = self._take_inputs(tables, arriving, pointer, cell)
            y = self.receive(y, arriving)
        return _Carry(y, rings, pointer), fires

    def _send(self, rings, fires, cell, lags):
        """Puts what the spikes of this step bring into the rings, one neuron after the other."""
        network, depth = self.network, rings[0].shape[0]
        assert network is not None, "only a network sends anything"
        if network.listed is None:
            sent = fires.astype(network.weights.dtype)
            return tuple(
                ring.at[cell % depth].add(sent @ part)
                for ring, part in zip(rings, self.parts(network.effective_weights), strict=True)
            )
        listed = network.listed

        def one(state):
            fires, rings = state
            k = jnp.argmax(fires).astype(jnp.int32)
            edges, targets = listed.of(k)
            lag = lags if lags.ndim == 0 else taken(lags, edges, 0)
            slot = jnp.broadcast_to((cell + lag) % depth, targets.shape)
            parts = self.parts(network.weights_of(edges))
            rings = tuple(
                ring.at[slot, targets].add(part.astype(ring.dtype), mode="drop")
                for ring, part in zip(rings, parts, strict=True)
            )
            return fires.at[k].set(False), rings

        return lax.while_loop(lambda s: jnp.any(s[0]), one, (fires, rings))[1]

    def _take_inputs(self, tables, arriving, pointer, cell):
        steps, rows = tables.input_steps, tables.input_rows
        weights = None if self.network is None else self.network.input_rows
        assert weights is not None, "input spikes are refused where there are no inputs"
        last = steps.shape[0] - 1

        def due(state):
            pointer, _ = state
            return (pointer <= last) & (steps[jnp.minimum(pointer, last)] <= cell)

        def take(state):
            pointer, arriving = state
            parts = self.parts(weights[rows[pointer]])
            return pointer + 1, [a + p for a, p in zip(arriving, parts, strict=True)]

        pointer, arriving = lax.while_loop(due, take, (pointer, arriving))
        return arriving, pointer


def _begin(steps: _Steps, key, index, numbers, inputs, currents):
    """The states at the start, and the tables of all samples."""
    core = steps.core
    keys = jax.vmap(lambda i: jnp.stack([jr.fold_in(jr.fold_in(key, i), n) for n in range(3)]))(
        index
    )
    y = jax.vmap(core.initial_state)(keys[:, 0])
    dtype, n = jnp.result_type(*jax.tree.leaves(y)), index.shape[0]
    lags, rings = steps.lags(), ()
    if steps.network is not None:
        depth = int(jnp.max(lags, initial=0)) + 1
        ring = jnp.zeros((n, depth, core.num_neurons), dtype)
        rings = (ring,) * steps.num_parts
    input_steps = rows = pointer = None
    if inputs is not None:
        trains = inputs.trains
        shape = (n, trains.times.shape[-1])
        input_steps = jnp.broadcast_to(jnp.asarray(numbers), shape)
        rows = jnp.broadcast_to(jnp.maximum(trains.neurons, 0), shape)
        if not shape[1]:
            input_steps = rows = None
        else:
            pointer = jnp.sum(input_steps < 0, axis=1, dtype=jnp.int32)
    return _Carry(y, rings, pointer), _Tables(
        keys[:, 1], keys[:, 2], input_steps, rows, currents, lags
    )


@eqx.filter_jit
def _run(steps: _Steps, tables: _Tables, carry: _Carry, first, count: int):
    cells = first + jnp.arange(count, dtype=jnp.int32)

    def one(tables, carry):
        own = steps
        if tables.currents is not None:
            own = dataclasses.replace(steps, args=tables.currents)
        return lax.scan(lambda c, cell: own.step(tables, c, cell), carry, cells)

    axes = _Tables(0, 0, 0, 0, 0, None)
    if jax.tree.leaves(carry)[0].shape[0] == 1:
        # a loop of one sample is faster than a batch of one
        def take(x):
            return x[0]

        squeezed = eqx.tree_at(lambda t: t.lags, jax.tree.map(take, _without_lags(tables)),
                               tables.lags, is_leaf=lambda x: x is None)  # fmt: skip
        out = one(squeezed, jax.tree.map(take, carry))
        return jax.tree.map(lambda x: x[None], out)
    return jax.vmap(one, in_axes=(axes, 0))(tables, carry)


def _without_lags(tables: _Tables) -> _Tables:
    return eqx.tree_at(lambda t: t.lags, tables, None)


@jax.jit
def _finite(y):
    leaves = [jnp.all(jnp.isfinite(x), axis=tuple(range(1, x.ndim))) for x in jax.tree.leaves(y)]
    return jnp.all(jnp.stack(leaves), axis=0)
