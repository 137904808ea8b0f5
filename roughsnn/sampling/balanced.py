"""A balanced spiking network whose estimate follows Langevin dynamics, as an event SDE."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import RealLike, finite_array, number
from ..event_sde import AbstractEventSDE, StructuredDiffusion
from ..solve import EventSolution
from ..spikes import SpikeTrains
from .metropolis import checked_readout
from .targets import AbstractTarget, GaussianTarget


class SamplerState(NamedTuple):
    """State of K neurons that sample.

    Attributes:
        v: membrane potentials.
        r: leaky traces of the spikes, each of which adds 1.
    """

    v: Float[Array, " K"]
    r: Float[Array, " K"]


class BalancedSampler(AbstractEventSDE):
    r"""A balanced network of K neurons that samples by Langevin dynamics (Masset et al. 2022).

    The readout of leaky traces, $\theta = \Gamma r$ with $dr = -r\,dt/\tau_m + do$, follows a
    hidden state x that obeys the Langevin equation with the preconditioner $D = BB^\top$,

    $$
    dx = D\,\nabla \log \pi(x)\,\frac{dt}{\tau_s} + B\sqrt{2/\tau_s}\,dW,
    $$

    whose stationary law is the target $\pi$ for every D. No neuron holds x: the potentials are its
    difference from the readout, $v = F^\top(x - \theta) - \lambda r$ with $F = M\Gamma$, and each
    neuron fires at its threshold, $\Omega_{kk}/2$ by default, where
    $\Omega = F^\top\Gamma + \lambda I$ is the fast lateral inhibition; so the error stays small.
    The natural geometry has $D = \Sigma$: all directions relax within $\tau_s$.

    `drift_at` says where the drift is evaluated:

    - `"readout"`, at $\theta$, as in the source. The potentials leak with $\tau_m$, and may have a
      constant background inhibition $\alpha$. The error of the readout feeds back into the
      drift, so that moments are off by as much as spikes are large.
    - `"state"`, at $x = \theta + (FF^\top)^{-1}Fv$, which graded coupling of the potentials makes
      known to every neuron (for a normal target in the natural geometry this is nothing but a leak
      of the potentials with $\tau_s$). Then x obeys the Langevin equation exactly, however large
      the spikes are, and only the bounded error of the readout is added.

    As an event SDE it goes through [`roughsnn.eventsolve`][], with `args` the shift of the target
    (a vector, or a function of time): $\pi$ is moved by it. There is no step in which neurons
    compete: a spike happens when the first potential reaches its threshold, and what it sets off in
    others happens at the same time, the neuron farthest above its threshold first. Spikes are
    driven by noise of the potentials themselves, so that spike times have no derivative; sample
    with `adjoint=roughsnn.NoGradient()`. [`roughsnn.sampling.run_by_clock`][] runs the same
    network by the clock.

    Attributes:
        target: $\pi$, of p dimensions.
        readout: $\Gamma$, of shape (p, K).
        noise_factor: $B$, of shape (p, p). `target.root` in the natural geometry; the default, the
            unit matrix, is the naive one.
        metric: $M$, of shape (p, p), in which errors of the readout are measured; by default the
            unit matrix. `target.precision` makes spikes as large in units of the target's spread in
            every direction, if `readout` is `target.root @ A`.
        cost: $\lambda \ge 0$, the price of a spike. With `"state"` it must be 0.
        background: $\alpha$, in units of the potential; with `"readout"` only.
        threshold_factor: thresholds in units of $\Omega_{kk}/2$, at least 1. Neurons with opposite
            columns and no cost need more than 1, or each would set off the other.
        tau_readout: $\tau_m$.
        tau_langevin: $\tau_s$.
        drift_at: `"state"` or `"readout"`.

    Raises:
        TypeError: a target of another kind.
        ValueError: an argument of the wrong shape or outside its range, or columns that do not
            reach every direction.
    """

    target: AbstractTarget
    readout: Float[Array, "p K"]
    noise_factor: Float[Array, "p p"]
    feed: Float[Array, "p K"]
    recurrent: Float[Array, "K K"]
    decoder: Float[Array, "p K"]
    thresholds: Float[Array, " K"]
    cost: float = eqx.field(static=True)
    background: float = eqx.field(static=True)
    tau_readout: float = eqx.field(static=True)
    tau_langevin: float = eqx.field(static=True)
    drift_at: str = eqx.field(static=True)

    def __init__(
        self,
        target: Any,
        readout: Any,
        *,
        noise_factor: Any = None,
        metric: Any = None,
        cost: RealLike = 0.0,
        background: RealLike = 0.0,
        threshold_factor: RealLike = 1.0,
        tau_readout: RealLike = 20.0,
        tau_langevin: RealLike = 0.2,
        drift_at: str = "state",
    ):
        if not isinstance(target, AbstractTarget):
            raise TypeError(
                f"`target` must be a GaussianTarget or a LogDensity, got {type(target).__name__}."
            )
        if drift_at not in ("state", "readout"):
            raise ValueError(f'`drift_at` must be "state" or "readout", got {drift_at!r}.')
        self.target, self.drift_at = target, drift_at
        self.readout = gamma = checked_readout(readout, target.dim)
        p, k = gamma.shape
        self.noise_factor = _square("noise_factor", noise_factor, p).astype(gamma.dtype)
        metric = _square("metric", metric, p).astype(gamma.dtype)
        self.cost = number("cost", cost, least=0)
        self.background = number("background", background)
        if drift_at == "state" and (self.cost != 0 or self.background != 0):
            raise ValueError(
                f"`cost` is {self.cost} and `background` {self.background}; both must be 0 with "
                '`drift_at="state"`, where the potentials are to tell the state. Leave them out, '
                'or take `drift_at="readout"`.'
            )
        self.tau_readout = number("tau_readout", tau_readout, positive=True)
        self.tau_langevin = number("tau_langevin", tau_langevin, positive=True)
        factor = number("threshold_factor", threshold_factor, least=1)
        self.feed = metric @ gamma
        gram = self.feed @ self.feed.T
        if not isinstance(gram, jax.core.Tracer):
            _refuse_unless_spanning(np.asarray(gram, np.float64), p, k)
        self.decoder = jnp.linalg.solve(gram, self.feed)
        self.recurrent = self.feed.T @ gamma + self.cost * jnp.eye(k, dtype=gamma.dtype)
        self.thresholds = jnp.diagonal(self.recurrent) * (factor / 2)

    @property
    def num_neurons(self) -> int:
        """The number of neurons K."""
        return self.readout.shape[1]

    # --- what is read out

    def estimate(self, y: SamplerState) -> Float[Array, " p"]:
        r"""The readout $\theta$ of a state."""
        return self.readout @ y.r

    def hidden_state(self, y: SamplerState) -> Float[Array, " p"]:
        r"""The state x that the readout follows, $\theta + (FF^\top)^{-1}F(v + \lambda r)$."""
        return self.estimate(y) + self.decoder @ (y.v + self.cost * y.r)

    def spike_trains(self, solution: EventSolution) -> SpikeTrains:
        """The spikes of a solution with `save_event_states=True`, or of a batch of them; several
        neurons may fire at one time."""
        if solution.event_ys_left is None or solution.event_ys_right is None:
            raise ValueError(
                "The spikes are read from the states at events: solve with "
                "`save_event_states=True`."
            )
        left, right = (np.asarray(y.r) for y in (solution.event_ys_left, solution.event_ys_right))
        jumps = np.rint(np.nan_to_num(right - left)).astype(np.int64)
        times = np.asarray(solution.event_times)
        *batch, events, k = jumps.shape
        jumps, times = jumps.reshape(-1, events * k), times.reshape(-1, events)
        # in the order of time, each as often as it fired
        which = [np.repeat(np.arange(events * k), row) for row in jumps]
        room = max([1, *(row.size for row in which)])
        spikes = np.full((len(which), room), np.inf, times.dtype)
        neurons = np.full((len(which), room), -1, np.int32)
        for i, row in enumerate(which):
            spikes[i, : row.size] = times[i, row // k]
            neurons[i, : row.size] = row % k
        return SpikeTrains(
            jnp.asarray(spikes.reshape(*batch, room)), jnp.asarray(neurons.reshape(*batch, room)),
            solution.t0, solution.t1, jnp.zeros(tuple(batch), bool), num_neurons=k,
        )  # fmt: skip

    # --- the event SDE

    def initial_state(self, x: Any = None) -> SamplerState:
        """Silent traces, and potentials that hold the hidden state `x` (0 by default) as far as
        thresholds allow; what is beyond is fired at once."""
        k, dtype = self.num_neurons, self.readout.dtype
        silent = SamplerState(jnp.zeros(k, dtype), jnp.zeros(k, dtype))
        if x is None:
            return silent
        return self.settle(silent._replace(v=self.feed.T @ jnp.asarray(x, dtype)))

    def langevin_drift(self, x: Float[Array, " p"], shift: Any) -> Float[Array, " p"]:
        r"""$D\,\nabla\log\pi(x - \text{shift}) / \tau_s$."""
        score = self.target.score(x - shift)
        return self.noise_factor @ (self.noise_factor.T @ score) / self.tau_langevin

    def drift(self, t, y: SamplerState, args) -> SamplerState:
        shift = args(t) if callable(args) else args
        shift = jnp.zeros(self.readout.shape[0], y.v.dtype) if shift is None else shift
        theta = self.estimate(y)
        dr = -y.r / self.tau_readout
        return SamplerState(self.potential_drift(y.v, theta, shift), dr)

    def potential_drift(self, v, theta, shift) -> Float[Array, " K"]:
        r"""The drift of the potentials, given the readout and the shift of the target."""
        if self.drift_at == "state":
            dx = self.langevin_drift(theta + self.decoder @ v, shift)
            return self.feed.T @ (dx + theta / self.tau_readout)
        dx = self.langevin_drift(theta, shift)
        leak = -(v + self.background) / self.tau_readout
        return leak + self.feed.T @ (dx + theta / self.tau_readout)

    @property
    def fastest_rate(self):
        rate = 1 / self.tau_readout
        if self.drift_at == "readout" or not isinstance(self.target, GaussianTarget):
            return jnp.asarray(rate, self.readout.dtype)
        # the state relaxes at the eigenvalues of D times the precision
        b = self.noise_factor
        fastest = jnp.max(jnp.linalg.eigvalsh(b.T @ self.target.precision.astype(b.dtype) @ b))
        return jnp.maximum(rate, fastest / self.tau_langevin)

    @property
    def noise_shape(self):
        return (self.readout.shape[0],)

    def diffusion(self, t, y: SamplerState, args):
        factor = self.feed.T @ self.noise_factor * (2 / self.tau_langevin) ** 0.5
        dx = jax.ShapeDtypeStruct(self.noise_shape, factor.dtype)
        return StructuredDiffusion(factor, _noise_of_potentials, y, dx)

    def event(self, t, y: SamplerState, args):
        return y.v - self.thresholds

    def transition(self, t, y: SamplerState, event_index, mark, args) -> SamplerState:
        return self.settle(self._fire(y, event_index))

    def _fire(self, y: SamplerState, who) -> SamplerState:
        one_hot = (jnp.arange(self.num_neurons, dtype=jnp.int32) == who).astype(y.v.dtype)
        return SamplerState(y.v - self.recurrent @ one_hot, y.r + one_hot)

    def settle(self, y: SamplerState) -> SamplerState:
        """The state after all spikes that are due, one after another: the neuron that is farthest
        above its threshold fires first, and inhibits the others before they do. Each spike brings
        the readout nearer to x, so that they come to an end."""
        most = 1000 * self.num_neurons

        def due(carry):
            y, n = carry
            return jnp.any(y.v >= self.thresholds) & (n < most)

        def next_spike(carry):
            y, n = carry
            above = lax.stop_gradient(y.v - self.thresholds)
            return self._fire(y, jnp.argmax(above).astype(jnp.int32)), n + 1

        return lax.while_loop(due, next_spike, (y, jnp.int32(0)))[0]


def _noise_of_potentials(factor, dx):
    return SamplerState(factor @ dx, jnp.zeros_like(factor[:, 0]))


def _square(name: str, value: Any, p: int) -> Float[Array, "p p"]:
    if value is None:
        return jnp.eye(p)
    array = finite_array(name, value)
    if array.shape != (p, p):
        raise ValueError(
            f"`{name}` must have shape ({p}, {p}), p being the dimension of the target, got "
            f"{array.shape}."
        )
    return array


def _refuse_unless_spanning(gram: np.ndarray, p: int, k: int) -> None:
    if not np.all(np.isfinite(gram)) or np.linalg.cond(gram) > 1e10:
        raise ValueError(
            f"the columns of `readout` (in the geometry of `metric`) do not reach every one of the "
            f"{p} directions of the target: take more than {k} neurons, or other directions."
        )
