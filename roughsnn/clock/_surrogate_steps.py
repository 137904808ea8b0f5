"""One step of all neurons whose spikes have a surrogate derivative."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp

from ..networks import SparseConnections
from ..surrogates import AbstractSurrogate
from ._blocks import Blocks, cut, product
from ._steps import HALF, Steps

# a list of synapses is spread to a matrix if it fills one part in so many, and the matrix has at
# most so many entries: a product with it is then faster than to gather and scatter
_FILLED, _LARGEST = 50, 2**25


class Carry(NamedTuple):
    """What goes from step to step: the state, and the spikes of the last steps where there are
    delays."""

    y: Any
    history: Any


class Wires(NamedTuple):
    """The synapses of a network as a step needs them.

    Attributes:
        matrices: weights from row to column, for each part the blocks of a matrix; `None` for a
            list.
        values: weights of a list, for each part.
        ends: where the synapses of the list lead from and to.
        lags: delays in steps, of each neuron, or of each entry of the matrix or the list; `None`
            where there are none.
        by_neuron: whether the lags are those of neurons.
    """

    matrices: Any
    values: Any
    ends: Any
    lags: Any
    by_neuron: bool


class SurrogateSteps(Steps):
    """Steps that can be differentiated.

    Attributes:
        surrogate: the derivative of a spike.
        attached: whether the effect of a spike on its own neuron is differentiated, too.
        depth: for how many steps spikes are kept.
        blocks: where a matrix of weights has synapses.
    """

    surrogate: AbstractSurrogate = eqx.field(kw_only=True)
    attached: bool = eqx.field(static=True, kw_only=True)
    depth: int = eqx.field(static=True, kw_only=True)
    blocks: Blocks = eqx.field(static=True, kw_only=True, default=None)

    def begin(self, core, start_key) -> Carry:
        """Before the first step."""
        y = core.initial_state(start_key)
        history = None
        if self.depth:
            dtype = jnp.result_type(*jax.tree.leaves(y))
            history = jnp.zeros((self.depth, core.num_neurons), dtype)
        return Carry(y, history)

    def wires(self) -> Wires | None:
        """The synapses, made ready once for all steps."""
        network = self.network
        if network is None:
            return None
        weights, k = network.effective_weights, network.num_neurons
        lags, by_neuron = self._lags(), False
        if lags is not None:
            by_neuron = network.synaptic_delays is None or network.synaptic_delays.ndim == 0
            lags = lax.stop_gradient(lags)
        if not isinstance(network.connections, SparseConnections):
            return Wires(self._cut(weights, lags, by_neuron), None, None, lags, by_neuron)
        ends = network.connections.pre, network.connections.post
        filled = len(network.connections) * _FILLED >= k * k and k * k <= _LARGEST
        if filled and (lags is None or by_neuron):
            matrix = jnp.zeros((k, k), weights.dtype).at[ends].set(weights, unique_indices=True)
            return Wires(self._cut(matrix, lags, by_neuron), None, None, lags, by_neuron)
        return Wires(None, self.parts(weights), ends, lags, by_neuron)

    def _cut(self, weights, lags, by_neuron):
        whole = lags is not None and not by_neuron
        return tuple(cut(part, None if whole else self.blocks) for part in self.parts(weights))

    def _lags(self):
        network = self.network
        if network is None or not network._is_delayed:
            return None
        axonal, synaptic = network.axonal_delays, network.synaptic_delays
        total: Any = jnp.zeros(network.num_neurons, network.weights.dtype)
        if axonal is not None:
            total = jnp.broadcast_to(axonal, total.shape)
        if synaptic is not None and synaptic.ndim == 0:
            total = total + synaptic
        elif synaptic is not None:
            wires = network.connections
            own = total[wires.pre] if isinstance(wires, SparseConnections) else total[:, None]
            total = own + synaptic
        # Half a step, up to rounding, is rounded up.
        return jnp.floor(total / self.grid.dt0 + HALF).astype(jnp.int32)

    def longest_lag(self):
        """The longest delay in steps, as an array; `None` without delays."""
        lags = self._lags()
        if lags is None:
            return None
        network = self.network
        connections = None if network is None else network.connections
        if lags.ndim == 2 and connections is not None:
            lags = jnp.where(connections, lags, 0)
        return jnp.max(lags, initial=0)

    def step(self, core, keys, wires: Wires | None, carry: Carry, given):
        """The carry after a step, the spikes at its end, and where there are some if that is not
        where the spikes are one.

        `given` are the number of the step and what arrives from inputs, part by part.
        """
        cell, inputs = given
        _, noise_key, mark_key = keys
        y, history = carry
        dtype = jnp.result_type(*jax.tree.leaves(y))
        t_new = self.time(cell + 1, dtype)
        y = self.advance(core, y, noise_key, cell)
        margin, fires, may_fire = self.crossing(core, y, t_new)
        spikes = self.surrogate.spike(margin, fires)
        if may_fire is not None:
            fires, spikes = fires & may_fire, jnp.where(may_fire, spikes, 0)
        y = self.held(y, fires)
        marks = self.marks(core, mark_key, cell)
        y = self._fired(core, t_new, y, fires, spikes, marks)
        if wires is not None:
            if history is not None:
                history = history.at[cell % self.depth].set(spikes)
            arriving = self._arriving(wires, spikes, history, cell)
            if inputs is not None:
                arriving = [a + b for a, b in zip(arriving, inputs, strict=True)]
            y = self.receive(y, arriving)
        return Carry(y, history), (spikes, None if self.surrogate.is_step else fires)

    def _fired(self, core, t, y, fires, spikes, marks):
        """The state after the spikes."""
        if self.surrogate.is_step and not self.attached:
            return core.fire(t, y, fires, marks, self.args)
        share = spikes if self.attached else lax.stop_gradient(spikes)
        blend = _whole_blend if self.surrogate.is_step else _blend
        after = core.fire(t, y, jnp.ones_like(fires), marks, self.args)

        def blended(before, after):
            if after is before:
                return before
            if before.ndim == 0 or before.shape[0] != fires.shape[0]:
                raise NotImplementedError(
                    f"{type(core).__name__} has a state of shape {before.shape} that a spike "
                    f"changes, and not one for each of {fires.shape[0]} neurons: a ClockEngine "
                    'with surrogate derivatives takes it with `reset="detached"` only.'
                )
            return blend(share.reshape(share.shape + (1,) * (before.ndim - 1)), before, after)

        return jax.tree.map(blended, y, after)

    def _arriving(self, wires: Wires, spikes, history, cell):
        """What arrives at every neuron, part by part."""
        sent, lags = spikes, wires.lags
        if lags is not None:
            if wires.by_neuron:
                rows: Any = jnp.arange(spikes.shape[0], dtype=jnp.int32)
            elif wires.ends is not None:
                rows = wires.ends[0]
            else:
                rows = jnp.arange(spikes.shape[0], dtype=jnp.int32)[:, None]
            sent = history[(cell - lags) % self.depth, jnp.broadcast_to(rows, lags.shape)]
        if wires.matrices is not None:
            if sent.ndim == 2:
                return [jnp.sum(sent * part, axis=0) for (part,) in wires.matrices]
            return [product(sent, part, self.blocks) for part in wires.matrices]
        assert wires.ends is not None
        pre, post = wires.ends
        by_synapse = sent if lags is not None and not wires.by_neuron else sent[pre]
        zeros = jnp.zeros_like(spikes)
        return [zeros.at[post].add(by_synapse * part) for part in wires.values]


@jax.custom_jvp
def _whole_blend(share, before, after):
    """`after` where the share is one, `before` where it is zero, exactly."""
    return jnp.where(share > 0, after, before)


@_whole_blend.defjvp
def _(primals, tangents):
    share, before, after = primals
    of_share, of_before, of_after = tangents
    moved = jnp.where(share > 0, of_after, of_before) + of_share * (after - before)
    return _whole_blend(share, before, after), moved


def _blend(share, before, after):
    return before + share * (after - before)
