r"""Walking once more along simulated trials, with their spikes where they were.

The walk follows the same steps with the same noise as the solver did. Only the thresholds
$e_n = -\log u_n$ are seen with other eyes: when a parameter moves, the spike at $\tau_n$ keeps a
part $\varphi(e_n)$ of its place, for which its threshold must change by $\varphi\,\delta_n$, with
$\delta_n = d(\Lambda - \alpha)$ at the fixed time $\tau_n$. That changes the probability density
of the thresholds by the factor $1 + dw$,

$$
dw = \sum_n \varphi(e_n)\, d\log \lambda(\tau_n) - \big(\varphi(e_n) - \varphi'(e_n)\big)\,\delta_n
     - \sum_k \varphi(e_k)\, d(\Lambda_k - \alpha_k)(t_1),
$$

where the second sum is over the neurons that are past their dead intensity at the end, with
$e_k = \Lambda_k - \alpha_k$. The rest of the change moves the spike,
$d\tau_n = -(1 - \varphi)\,\delta_n / \lambda$, and all that follows from it.
"""

import diffrax as dfx
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from roughsnn.drivers import AbstractGridDriver, TimeGrid, as_grid_driver
from roughsnn.neurons import AbstractNeuron
from roughsnn.simulate import randomness
from roughsnn.solve._arguments import differentiable_stages
from roughsnn.spikes import SpikeTrains
from roughsnn.trials import Trials


class Replay(eqx.Module):
    """Attributes:
    trains: the spike trains; the times have the part of their derivative that moves spikes.
    log_weights: of each trial; only the derivative has a meaning.
    excess: integrated intensity less alpha of each neuron at the end, differentiable.
    """

    trains: SpikeTrains
    log_weights: Float[Array, " samples"]
    excess: Float[Array, "samples K"]


def share_kept(excess: Array, ramp: float) -> tuple[Array, Array]:
    r"""$\varphi(e) = 1 - e^{-e/\epsilon}$ for $e > 0$, else 0, and its derivative."""
    excess = lax.stop_gradient(excess)
    decay = jnp.exp(-jnp.maximum(excess, 0) / ramp)
    return 1 - decay, jnp.where(excess >= 0, decay / ramp, 0)


def replay(trials: Trials, ramp: float) -> Replay:
    """Walk along the trials again; `ramp` is the epsilon of `share_kept`."""
    recipe, trains = trials.recipe, trials.trains
    model = recipe.model
    grid = TimeGrid(recipe.t0, recipe.t1, recipe.dt0)
    solver = differentiable_stages(dfx.Euler() if recipe.solver is None else recipe.solver)

    def one(index, times, neurons):
        start, driver, _ = randomness(
            model, recipe.t0, recipe.t1, recipe.dt0, recipe.key, index, recipe.solver, recipe.bridge
        )
        walk = _Walk(
            model, solver, as_grid_driver(driver, grid), grid, recipe.input_current, ramp,
            recipe.stop_after, lax.stop_gradient(times), neurons,
        )  # fmt: skip
        return walk.run(model.initial_state(start))

    index = jnp.arange(len(trains), dtype=jnp.int32)
    times, log_weights, excess = jax.vmap(one)(index, trains.times, trains.neurons)
    again = SpikeTrains(
        times, trains.neurons, trains.t0, trains.t1, trains.overflowed,
        num_neurons=trains.num_neurons,
    )  # fmt: skip
    return Replay(again, log_weights, excess)


class _Carry(eqx.Module):
    t: Float[Array, ""]
    y: PyTree
    # what to take off the event function to get the excess: log u of the threshold in `y`
    offset: Float[Array, " K"]
    cell: Int[Array, ""]
    number: Int[Array, ""]
    driver_state: PyTree
    log_weight: Float[Array, ""]


class _Walk(eqx.Module):
    model: AbstractNeuron
    solver: dfx.AbstractSolver
    driver: AbstractGridDriver | None
    grid: TimeGrid
    args: object
    ramp: float = eqx.field(static=True)
    stop_after: int | None = eqx.field(static=True)
    times: Float[Array, " max_spikes"]
    neurons: Int[Array, " max_spikes"]

    def run(self, y0: PyTree):
        y0 = jax.tree.map(jnp.asarray, y0)
        dtype = jnp.result_type(*jax.tree.leaves(y0))
        t0 = jnp.asarray(self.grid.t0, dtype)
        zero = jnp.zeros((), jnp.int32)
        first = _Carry(
            t=t0,
            y=y0,
            offset=lax.stop_gradient(self.model.event(t0, y0, self.args) + self._alpha()),
            cell=zero,
            number=zero,
            driver_state=None if self.driver is None else self.driver.start(zero),
            log_weight=jnp.zeros((), dtype),
        )
        length = self.grid.num_cells + self.times.shape[0]
        step = jax.checkpoint(lambda carry, _: self._step(carry), prevent_cse=False)
        last, (times, numbers) = lax.scan(step, first, None, length=length)
        excess = self.model.event(last.t, last.y, self.args) - last.offset
        kept, _ = share_kept(excess, self.ramp)
        weight = last.log_weight - jnp.sum(kept * excess)
        spikes = jnp.full_like(self.times, jnp.inf).at[numbers].set(times, mode="drop")
        return spikes, weight, excess

    def _alpha(self) -> Array:
        alpha = self.model.dead_intensity
        assert alpha is not None  # `simulate_trials` refuses such a model
        return alpha

    def _step(self, carry: _Carry):
        """To the next spike, or to the end of the cell."""
        grid, room = self.grid, self.times.shape[0]
        t, y = carry.t, carry.y
        running = carry.cell < grid.num_cells
        if self.stop_after is not None:
            running = running & (carry.number < self.stop_after)
        cell = jnp.minimum(carry.cell, grid.num_cells - 1)
        # an ended trial steps over a dummy interval
        end = jnp.where(running, grid.end(cell, t.dtype), lax.stop_gradient(t) + grid.dt0)
        tau, neuron = end, jnp.zeros((), jnp.int32)
        is_event: Bool[Array, ""] = jnp.zeros((), bool)
        if room:
            at = jnp.minimum(carry.number, room - 1)
            tau, neuron = self.times[at], self.neurons[at]
            is_event = running & (carry.number < room) & (tau <= end)
        t_next = jnp.where(is_event, tau, end).astype(t.dtype)
        piece = None
        if self.driver is not None:
            piece = self.driver.piece(carry.driver_state, cell, t, end)

        def reach(t_new):
            terms = dfx.ODETerm(self.model.drift)
            if piece is not None:
                terms = dfx.MultiTerm(terms, dfx.ControlTerm(self.model.diffusion, piece))
            state = self.solver.init(terms, t, t_new, y, self.args)
            out = self.solver.step(terms, t, t_new, y, self.args, state, made_jump=False)[0]
            return out, self.model.event(t_new, out, self.args)

        (y_next, level), (y_dot, hazards) = jax.jvp(reach, (t_next,), (jnp.ones_like(t_next),))
        fires = is_event & (jnp.arange(level.shape[0], dtype=jnp.int32) == neuron)
        excess = jnp.sum(jnp.where(fires, level - carry.offset, 0))
        hazard = jnp.where(is_event, jnp.sum(jnp.where(fires, hazards, 0)), 1)
        kept, slope = share_kept(excess, self.ramp)
        weight = kept * jnp.log(hazard) - (kept - slope) * excess

        # what of the spike is not kept in its place moves, and the state there with it
        shift = (1 - kept) * (lax.stop_gradient(excess) - excess) / lax.stop_gradient(hazard)
        shift = jnp.where(is_event, shift, 0)
        t_next = t_next + shift
        y_next = jax.tree.map(lambda x, x_dot: x + x_dot * shift, y_next, y_dot)
        jumped = self.model.transition(t_next, y_next, neuron, jnp.ones((), t.dtype), self.args)

        moved = carry.cell + (lax.stop_gradient(t_next) >= end).astype(jnp.int32)
        new_cell = jnp.where(running, moved, carry.cell)
        driver_state = carry.driver_state
        if self.driver is not None and jax.tree.leaves(driver_state):
            left = self.driver.left(driver_state, piece, t, t_next, end)
            fresh = self.driver.start(jnp.minimum(new_cell, grid.num_cells - 1))
            driver_state = _where(is_event, left, driver_state)
            driver_state = _where(new_cell > carry.cell, fresh, driver_state)
        new = _Carry(
            t=jnp.where(running, t_next, t),
            y=_where(is_event, jumped, _where(running, y_next, y)),
            offset=jnp.where(fires, 0, carry.offset),
            cell=new_cell,
            number=carry.number + is_event.astype(jnp.int32),
            driver_state=driver_state,
            log_weight=carry.log_weight + jnp.where(is_event, weight, 0),
        )
        return new, (t_next, jnp.where(is_event, carry.number, room))


def _where(pred, a, b):
    return jax.tree.map(lambda x, y: jnp.where(pred, x, y), a, b)
