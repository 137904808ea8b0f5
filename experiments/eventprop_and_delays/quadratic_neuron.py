r"""Quadratic integrate-and-fire neurons whose spikes come and go at the end of a trial alone.

Between input spikes, in units of the membrane time constant,

$$ \dot V = V (V - 1) + I , \qquad \dot I = -2 I , $$

a neuron fires where $V$ reaches infinity, and goes on from minus infinity. Its phase $\theta$,
with $V = \tfrac12 - \cot \pi\theta$, runs through both:

$$ \pi\,\dot\theta = \cos^2 \pi\theta + (I - \tfrac14) \sin^2 \pi\theta , $$

from 0 to 1, where it fires with the speed $1/\pi$ whatever its input. As it never grazes its
threshold, its spike times are smooth in all parameters, and a spike is lost in one way only: it
leaves the trial at its end.
"""

from typing import Any, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

import roughsnn as rs
from roughsnn.neurons import AbstractNeuron

DECAY = 2.0
"""Rate of the synaptic current: its time constant is half that of the membrane."""
SHARPNESS = 10.0
"""Of the softened current after the trial, $\\alpha$."""
_REST = 0.35241638234956674
"""The phase of V = 0: $\\arctan(2) / \\pi$."""


class PhaseState(NamedTuple):
    """State of K quadratic neurons.

    Attributes:
        v: phase.
        i: synaptic current.
    """

    v: Float[Array, " K"]
    i: Float[Array, " K"]


class QuadraticPhase(AbstractNeuron):
    """Quadratic integrate-and-fire neurons by their phase; they start at rest, V = 0.

    Attributes:
        num_neurons: K.
    """

    num_neurons: int = eqx.field(static=True, default=1)

    @property
    def default_solver(self):
        """Of fifth order, as is the smooth path."""
        return dfx.Tsit5()

    def initial_state(self, key: PRNGKeyArray) -> PhaseState:
        """At rest, without current."""
        return PhaseState(jnp.full(self.num_neurons, _REST), jnp.zeros(self.num_neurons))

    def receive(self, y: PhaseState, jump) -> PhaseState:
        return y._replace(i=y.i + jump)

    def drift(self, t, y: PhaseState, args) -> PhaseState:
        total = self.current_into(args, t, y.i)
        square = jnp.sin(jnp.pi * y.v) ** 2
        return PhaseState((1 - square + (total - 0.25) * square) / jnp.pi, -DECAY * y.i)

    def event(self, t, y: PhaseState, args):
        return y.v - 1

    def transition(self, t, y: PhaseState, event_index, mark, args) -> PhaseState:
        fires = jnp.arange(self.num_neurons, dtype=jnp.int32) == event_index
        return y._replace(v=jnp.where(fires, 0, y.v))


def pseudospikes(
    phase: Float[Array, "..."], current: Float[Array, "..."], end: float, number: Array
) -> Float[Array, "..."]:
    r"""When a neuron fires after the end T of a trial, in a regime in which it must.

    Beyond T it goes on with a constant current $\tfrac14 + \rho^2$, where
    $\rho^2 = \log(1 + e^{\alpha I_T}) / \alpha$ is positive whatever $I_T$ is. It fires again and
    again then, with the period $\pi/\rho$; with the time $\varphi$ that it would have spent
    there since its last spike,

    $$ \varphi = \bigl(\arctan((V_T - \tfrac12)/\rho) + \tfrac\pi2\bigr) / \rho , \qquad
       t_k = T + k\,\pi/\rho - \varphi . $$

    A spike that leaves the trial becomes the first of these at the same time and with the same
    derivative, as V is infinite there.

    Args:
        phase: $\theta_T$.
        current: $I_T$.
        end: T.
        number: k, from 1.

    Reference: Klos & Memmesheimer (2025), arXiv 2309.14523.
    """
    root = jnp.sqrt(jax.nn.softplus(SHARPNESS * current) / SHARPNESS)
    # arctan(-cot(pi theta) / root), as the angle of a point: right through the spike
    angle = jnp.arctan2(-jnp.cos(jnp.pi * phase), root * jnp.sin(jnp.pi * phase))
    return end + (number * jnp.pi - angle - jnp.pi / 2) / root


def first_spikes(
    solution: Any, number: int, with_pseudospikes: Any = True
) -> Float[Array, "samples number"]:
    """The first spikes of one neuron, followed by pseudospikes where it fires less often.

    Args:
        solution: of one neuron, from `simulate_solution`.
        number: of times to return.
        with_pseudospikes: where false, the end of the trial stands in their place, which has no
            derivative.
    """
    end = solution.t1 - solution.t0
    fired = solution.num_events[:, None].astype(solution.event_times.dtype)
    order = jnp.arange(number, dtype=fired.dtype)[None]
    state = solution.final_state
    later = pseudospikes(state.v, state.i, end, order - fired + 1)
    later = jnp.where(with_pseudospikes, later, jnp.full_like(later, end))
    return jnp.where(order < fired, solution.event_times[:, :number], later)


def response(
    weights: Float[Array, " inputs"], times: Float[Array, " inputs"], end: float, step: float,
    neurons: Any = None,
) -> Any:  # fmt: skip
    """The solution of one neuron whose inputs each send a spike, differentiable in both.

    Args:
        weights: by how much the spike of each input moves the current.
        times: when, within the trial.
        end: of the trial.
        step: of the solver.
        neurons: one neuron of another kind in place of a `QuadraticPhase`.
    """
    size = times.shape[0]
    neurons = QuadraticPhase() if neurons is None else neurons
    network = rs.SpikingNetwork(neurons, jnp.zeros((1, 1)), input_weights=weights[:, None])
    order = jnp.argsort(times).astype(jnp.int32)
    spikes = rs.SpikeTrains(times[order], order, 0.0, end, num_neurons=size)
    return rs.simulate_solution(
        network, 0.0, end, step, key=jax.random.key(0), num_samples=1, max_spikes=_ROOM,
        input_spikes=spikes,
    )  # fmt: skip


_ROOM = 40
"""For spikes of the neuron in a trial."""
