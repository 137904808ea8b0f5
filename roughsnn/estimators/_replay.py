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

A walk in place ($\varphi = 1$, no spike moves) also says each $d\log\lambda(\tau_n)$, and $\delta$
at each end of a dead time, where $\Lambda = \alpha$. It can be damped: the derivative of potentials
is then taken back to 0 at a rate $\kappa$, $d(dv) = \dots - \kappa\,dv\,dt$, and the probability
density of the noise changes by the factor $1 + dW$, $dW = \int \kappa\,dv\,dB / \sigma$, instead
(Girsanov).
"""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from ..drivers import AbstractGridDriver, Jumps, TimeGrid, as_grid_driver, jumps_of
from ..event_sde import AbstractTimeFunction
from ..networks import NetworkState, SpikingNetwork
from ..neurons import AbstractNeuron
from ..protocol import checked_current, current_of_sample, randomness
from ..solve import chosen_solver, clock_of, differentiable_stages, marcus_flow
from ..spikes import SpikeTrains
from ..trials import Trials


class Replay(eqx.Module):
    """Attributes:
    trains: the spike trains; the times have the part of their derivative that moves spikes.
    log_weights: of each trial; only the derivative has a meaning.
    excess: integrated intensity less alpha of each neuron at the end, differentiable.
    log_hazards: log lambda at each spike, without what its own threshold has to do with it.
    dead_ends: integrated intensity less alpha of each neuron, at the end of its dead time where
        that is in the step; only the derivative has a meaning.
    has_dead_end: whether it is.
    spikes_before: how many spikes of the trial come before each step.
    noise_weights: the W of each trial, for damping; 0 but for its derivative.
    """

    trains: SpikeTrains
    log_weights: Float[Array, " samples"]
    excess: Float[Array, "samples K"]
    log_hazards: Float[Array, "samples max_spikes"]
    dead_ends: Float[Array, "samples steps K"]
    has_dead_end: Bool[Array, "samples steps K"]
    spikes_before: Int[Array, "samples steps"]
    noise_weights: Float[Array, " samples"]


def share_kept(excess: Array, ramp: float) -> tuple[Array, Array]:
    r"""$\varphi(e) = 1 - e^{-e/\epsilon}$ for $e > 0$, else 0, and its derivative. An epsilon of 0
    keeps all."""
    if ramp == 0:
        return jnp.ones_like(excess), jnp.zeros_like(excess)
    excess = lax.stop_gradient(excess)
    decay = jnp.exp(-jnp.maximum(excess, 0) / ramp)
    return 1 - decay, jnp.where(excess >= 0, decay / ramp, 0)


def replay(trials: Trials, ramp: float, damping: float = 0.0) -> Replay:
    """Walk along the trials again; `ramp` is the epsilon of `share_kept`, `damping` kappa."""
    trains, protocol, model = trials.trains, trials.protocol, trials.model
    grid, given = protocol.grid, trials.engine.solver
    currents = checked_current(model, protocol.input_current, len(trains))
    inputs = protocol.inputs(model, len(trains))

    def one(index, times, neurons):
        start, driver, _ = randomness(model, grid, protocol.noise, trials.key, index, given)
        driver = driver if inputs is None else inputs.of_sample(index).beside(driver, grid)
        y0 = model.initial_state(start)
        origin, args = clock_of(model, grid, y0, current_of_sample(currents, index))
        chosen = chosen_solver(model, given, y0, args, driver, trials.engine.interpretation)
        solver = differentiable_stages(chosen)
        driver = as_grid_driver(driver, grid)
        dtype = jnp.result_type(*jax.tree.leaves(y0))
        walk = _Walk(
            model, solver, driver, jumps_of(driver, dtype), grid, origin, args, ramp, damping,
            protocol.stop_after, lax.stop_gradient(times), neurons,
        )  # fmt: skip
        return walk.run(y0)

    index = jnp.arange(len(trains), dtype=jnp.int32)
    times, *walked = jax.vmap(one)(index, trains.times, trains.neurons)
    again = trains.with_spikes(times, trains.neurons, trains.overflowed)
    return Replay(again, *walked)


class _Carry(eqx.Module):
    # since the start of the cell
    x: Float[Array, ""]
    y: PyTree
    # what to take off the event function to get the excess: log u of the threshold in `y`
    offset: Float[Array, " K"]
    cell: Int[Array, ""]
    number: Int[Array, ""]
    # of the next jump of the driver
    jump: Int[Array, ""] | None
    driver_state: PyTree
    log_weight: Float[Array, ""]
    # kappa dv of the cell, 0 but for its derivative; and the weight of the noise so far
    damped: Float[Array, " K"] | None
    noise_weight: Float[Array, ""]


class _Walk(eqx.Module):
    model: AbstractNeuron
    solver: dfx.AbstractSolver
    driver: AbstractGridDriver | None
    jumps: Jumps | None
    grid: TimeGrid
    origin: float | None = eqx.field(static=True)
    args: object
    ramp: float = eqx.field(static=True)
    damping: float = eqx.field(static=True)
    stop_after: int | None = eqx.field(static=True)
    times: Float[Array, " max_spikes"]
    neurons: Int[Array, " max_spikes"]

    def run(self, y0: PyTree):
        y0 = jax.tree.map(jnp.asarray, y0)
        dtype = jnp.result_type(*jax.tree.leaves(y0))
        start = self._time(jnp.zeros((), jnp.int32), jnp.zeros((), dtype))
        zero = jnp.zeros((), jnp.int32)
        first = _Carry(
            x=jnp.zeros((), dtype),
            y=y0,
            offset=lax.stop_gradient(self.model.event(start, y0, self.args) + self._alpha()),
            cell=zero,
            number=zero,
            jump=None if self.jumps is None else self.jumps.num_at_start(),
            driver_state=None if self.driver is None else self.driver.start(zero),
            log_weight=jnp.zeros((), dtype),
            damped=self._damped(y0),
            noise_weight=jnp.zeros((), dtype),
        )
        length = self.grid.num_cells + self.times.shape[0]
        length += 0 if self.jumps is None else len(self.jumps)
        step = jax.checkpoint(lambda carry, _: self._step(carry), prevent_cse=False)
        last, steps = lax.scan(step, first, None, length=length)
        excess = self.model.event(self._time(last.cell, last.x), last.y, self.args) - last.offset
        kept, _ = share_kept(excess, self.ramp)
        weight = last.log_weight - jnp.sum(kept * excess)
        spikes = jnp.full_like(self.times, jnp.inf).at[steps.number].set(steps.time, mode="drop")
        hazards = jnp.zeros_like(self.times).at[steps.number].set(steps.log_hazard, mode="drop")
        return (
            spikes, weight, excess, hazards, steps.dead_end, steps.has_dead_end,
            steps.spikes_before, last.noise_weight,
        )  # fmt: skip

    def _damped(self, y) -> Array | None:
        if self.damping == 0:
            return None
        v = potential(y)
        return self.damping * (v - lax.stop_gradient(v))

    def _time(self, cell, x) -> Float[Array, ""]:
        """The time that the model is given, of a place in a cell."""
        return jnp.asarray(self.origin or 0.0, x.dtype) + self.grid.begin(cell, x.dtype) + x

    def _alpha(self) -> Array:
        alpha = self.model.dead_intensity
        assert alpha is not None  # `simulate_trials` refuses such a model
        return alpha

    def _step(self, carry: _Carry):
        """To the next spike or jump of the driver, or to the end of the cell."""
        grid, room = self.grid, self.times.shape[0]
        x, y = carry.x, carry.y
        running = carry.cell < grid.num_cells
        if self.stop_after is not None:
            running = running & (carry.number < self.stop_after)
        cell = jnp.minimum(carry.cell, grid.num_cells - 1)
        # an ended trial steps over a dummy interval
        end = jnp.where(running, grid.width(cell, x.dtype), lax.stop_gradient(x) + grid.dt0)
        cell_end, size, is_jump = end, None, jnp.zeros((), bool)
        if self.jumps is not None:
            its_cell, jump_at, size = self.jumps.at(carry.jump)
            is_jump = running & (its_cell == carry.cell) & (jump_at <= end)
            end = jnp.where(is_jump, jnp.maximum(jump_at, x), end).astype(x.dtype)
        args = self.args
        if isinstance(args, AbstractTimeFunction):
            args = args.within(*(self._time(cell, at) for at in (jnp.zeros_like(x), cell_end)))
        tau, neuron = end, jnp.zeros((), jnp.int32)
        is_event: Bool[Array, ""] = jnp.zeros((), bool)
        if room:
            at = jnp.minimum(carry.number, room - 1)
            its_cell, tau = grid.place(self.times[at].astype(x.dtype))
            neuron = self.neurons[at]
            # (a spike at the end of a cell may have been put at the start of the next)
            is_here = (its_cell < carry.cell) | ((its_cell == carry.cell) & (tau <= end))
            tau = jnp.where(its_cell < carry.cell, x, jnp.maximum(tau, x))
            is_event = running & (carry.number < room) & is_here
        is_jump = is_jump & ~is_event
        x_next = jnp.where(is_event, tau, end).astype(x.dtype)
        piece = None
        if self.driver is not None:
            piece = self.driver.piece(carry.driver_state, cell, x, cell_end)

        def drift(x, y, args):
            dy = self.model.drift(self._time(cell, x), y, args)
            if carry.damped is None:
                return dy
            return with_potential(dy, potential(dy) - carry.damped)

        def diffusion(x, y, args):
            return self.model.diffusion(self._time(cell, x), y, args)

        def reach(x_new):
            terms = dfx.ODETerm(drift)
            if piece is not None:
                terms = dfx.MultiTerm(terms, dfx.ControlTerm(diffusion, piece))
            state = self.solver.init(terms, x, x_new, y, args)
            out = self.solver.step(terms, x, x_new, y, args, state, made_jump=False)[0]
            return out, self.model.event(self._time(cell, x_new), out, args)

        (y_next, level), (y_dot, hazards) = jax.jvp(reach, (x_next,), (jnp.ones_like(x_next),))
        noise_weight = carry.noise_weight
        if carry.damped is not None:
            noise = lax.stop_gradient(self._noise(cell, x, x_next, y, piece))
            added = jnp.sum(carry.damped * noise)
            noise_weight = noise_weight + jnp.where(running, added, 0)
        before = self.model.event(self._time(cell, x), y, self.args) - carry.offset
        after = level - carry.offset
        alive = running & (before < 0) & (after >= 0)
        share = lax.stop_gradient(-before / jnp.where(alive, after - before, 1))
        dead_end = jnp.where(alive, before + share * (after - before), 0)

        fires = is_event & (jnp.arange(level.shape[0], dtype=jnp.int32) == neuron)
        excess = jnp.sum(jnp.where(fires, level - carry.offset, 0))
        hazard = jnp.where(is_event, jnp.sum(jnp.where(fires, hazards, 0)), 1)
        kept, slope = share_kept(excess, self.ramp)
        log_hazard = jnp.log(hazard)
        weight = kept * log_hazard - (kept - slope) * excess

        # what of the spike is not kept in its place moves, and the state there with it
        shift = (1 - kept) * (lax.stop_gradient(excess) - excess) / lax.stop_gradient(hazard)
        shift = jnp.where(is_event, shift, 0)
        x_next = x_next + shift
        y_next = jax.tree.map(lambda x, x_dot: x + x_dot * shift, y_next, y_dot)
        time = self._time(cell, x_next)
        jumped = self.model.transition(time, y_next, neuron, jnp.ones((), x.dtype), self.args)

        y_moved = y_next
        if self.jumps is not None:
            whole, substeps = jnp.ones((), x.dtype), self.jumps.substeps
            y_moved = marcus_flow(self.model, time, y_next, size, whole, self.args, substeps)
            y_moved = _where(is_jump, y_moved, y_next)

        at_end = running & (lax.stop_gradient(x_next) >= cell_end)
        new_cell = carry.cell + at_end.astype(jnp.int32)
        driver_state = carry.driver_state
        if self.driver is not None and jax.tree.leaves(driver_state):
            left = self.driver.left(driver_state, piece, x, x_next, cell_end)
            fresh = self.driver.start(jnp.minimum(new_cell, grid.num_cells - 1))
            driver_state = _where(is_event | is_jump, left, driver_state)
            driver_state = _where(new_cell > carry.cell, fresh, driver_state)
        new = _Carry(
            x=jnp.where(at_end, x_next - cell_end, jnp.where(running, x_next, x)),
            y=_where(is_event, jumped, _where(running, y_moved, y)),
            offset=jnp.where(fires, 0, carry.offset),
            cell=new_cell,
            number=carry.number + is_event.astype(jnp.int32),
            jump=None if carry.jump is None else carry.jump + is_jump.astype(jnp.int32),
            driver_state=driver_state,
            log_weight=carry.log_weight + jnp.where(is_event, weight, 0),
            damped=carry.damped,
            noise_weight=noise_weight,
        )
        if carry.damped is not None:
            damped = jnp.where(new_cell > carry.cell, self._damped(new.y), carry.damped)
            new = eqx.tree_at(lambda c: c.damped, new, damped)
        return new, _Step(
            time=grid.begin(cell, x.dtype) + x_next,
            number=jnp.where(is_event, carry.number, room),
            log_hazard=log_hazard,
            dead_end=dead_end,
            has_dead_end=alive,
            spikes_before=carry.number,
        )

    def _noise(self, cell, x, x_next, y, piece) -> Float[Array, " K"]:
        """What the noise moves the potentials by in a step, over its variance in a unit of time."""
        control = dfx.ControlTerm(
            lambda x, y, args: self.model.diffusion(self._time(cell, x), y, args), piece
        )
        moved = potential(control.vf_prod(x, y, self.args, control.contr(x, x_next)))
        neurons = self.model.neurons if isinstance(self.model, SpikingNetwork) else self.model
        return moved / jnp.square(neurons.sigma)


class _Step(eqx.Module):
    time: Float[Array, ""]
    # of the spike in this step; the room for spikes where there is none
    number: Int[Array, ""]
    log_hazard: Float[Array, ""]
    dead_end: Float[Array, " K"]
    has_dead_end: Bool[Array, " K"]
    spikes_before: Int[Array, ""]


def potential(y: Any) -> Float[Array, " K"]:
    """The potentials in the state of neurons, or of a network of them."""
    return y.neurons.v if isinstance(y, NetworkState) else y.v


def with_potential(y: Any, v: Float[Array, " K"]) -> Any:
    """The state with other potentials."""
    if isinstance(y, NetworkState):
        return y._replace(neurons=y.neurons._replace(v=v))
    return y._replace(v=v)


def _where(pred, a, b):
    return jax.tree.map(lambda x, y: jnp.where(pred, x, y), a, b)
