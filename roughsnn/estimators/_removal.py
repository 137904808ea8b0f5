"""The estimator that takes single spikes out of trials."""

import dataclasses
from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Int

from .._checks import IntLike, RealLike, count_field, number
from ..drivers import BrownianNoise
from ..networks import SpikingNetwork
from ..trials import Trials
from ._base import AbstractGradientEstimator, GradientEstimate, differentiate, draw_trials, scalar
from ._changes import frozen, loss_changes, shifted
from ._forks import ThresholdChange, run_again
from ._pathwise import zero_with_derivative
from ._replay import Replay, replay


class SpikeRemoval(AbstractGradientEstimator):
    r"""What a spike does to the loss, times the change of its intensity.

    Given the noise, neuron k fires with the intensity $\lambda_k 1\{\Lambda_k > \alpha_k\}$. With
    $L^{-n}$ the loss where spike n is suppressed at $\tau_n$, and all of the trial after it run on
    with the same noise and the same marks, and $L^{+m}$ that with one more spike at $t_m$, where
    the m-th dead time ends ($\Lambda_k = \alpha_k$),

    $$
    \nabla_\theta E\,L = E\Big[ \sum_n \nabla \log \lambda(\tau_n)\,\big(L - L^{-n}\big)
       + \sum_m \nabla (\Lambda - \alpha)(t_m)\,\big(L^{+m} - L\big) \Big],
    $$

    with derivatives along the spikes as they are. A suppressed spike usually comes a moment later
    in the same excursion of the potential, so that $L - L^{-n}$ is small for most: the baseline
    that makes a score function sharp. Of each trial `removals` spikes and `insertions` dead times
    are drawn, and each is run again as a trial of its own.

    With `damping`, a rate $\kappa$, the derivatives of potentials are taken back to zero at that
    rate, and what is taken is paid for by the derivative of the probability of the noise
    (Girsanov): in $\nabla\log\lambda$ and $\nabla\Lambda$ the tangent follows
    $d(\nabla v) = \dots - \kappa \nabla v\,dt$, and $(L - b)\,\nabla W$ is added,
    $\nabla W = \int \kappa \nabla v\,dB / \sigma$, with a baseline b from other trials.

    **Unbiased** for every loss of the trains, smooth or not, of a sample or of a mean, at the end
    of the window as inside it, and for all parameters of neurons that fire by an intensity
    ([`roughsnn.StochasticLIF`][], [`roughsnn.AdaptiveStochasticLIF`][],
    [`roughsnn.ResettingStochasticLIF`][], ...) and of networks of them, slow currents included,
    whether or not spike times have derivatives, with every `damping`. It is the gradient of the
    expected loss of the discretised model, whatever `dt0`, with a solver of Euler; with one of
    higher order up to an error of the order of the solver's own. Trials that outgrow their room
    (with `throw=False`) are left out, which biases the estimate, as do runs without a spike that
    outgrow it by 8.

    **Variance**: nothing is divided by an intensity. $\nabla\log\lambda$ is of the order of
    $\beta \nabla v$, so all moments are finite if those of the loss are; to draw one of N spikes
    costs a factor of about N. It is large where one spike changes all that comes after it, as in a
    network with hardly a leak; damping at three to ten times the rate of spikes then helps for
    currents and weights, at the price of $\kappa \int E|\nabla v|^2 / \sigma^2\,dt / 2$ times the
    variance of the loss. The study `gradient-variance` prints it.

    It costs a pass over the trials with derivatives, `removals + insertions`
    simulations without, and the losses of as many alternatives to each trial. The trials themselves
    need no derivatives, `EventEngine(adjoint=NoGradient())` will do.

    `simulate` must be a [`roughsnn.Simulation`][], or return [`roughsnn.Trials`][]. Diagnostics:
    `felt`, the share of removed spikes whose removal changes the loss; `failed`, the share of the
    runs that outgrew their room.

    Attributes:
        removals: how many spikes of each trial are removed, one at a time.
        insertions: how many dead times of each trial are ended by a spike.
        damping: $\kappa \ge 0$, in one over the unit of time. It needs Brownian noise of the
            potential alone, a `sigma` of shape () or (K,), and no input spikes.
        controls: how many other trials the baseline of the damping is the mean of.
        chunk: how many losses are evaluated at a time where each needs its own evaluation.

    Raises:
        TypeError: a model that does not fire by an intensity, or spikes without trials.
        ValueError: damping where the noise does not allow it.

    References:
        Gong, Ho (1987), IEEE Trans. Automat. Contr. 32, 858 (smoothed perturbation analysis).
        Arya, Schauer, Schäfer, Rackauckas (2022), NeurIPS 35 (derivatives of discrete randomness
        by pairs of runs).
        Glynn (1990), Commun. ACM 33(10), 75 (likelihood ratio gradients).
    """

    recorded: ClassVar[tuple[str, ...]] = ("felt", "failed")

    removals: IntLike = count_field("removals", 1)
    insertions: IntLike = count_field("insertions", 1)
    damping: RealLike = eqx.field(
        default=0.0, static=True, converter=partial(number, "damping", least=0)
    )
    controls: IntLike = count_field("controls", 4)
    chunk: IntLike | None = count_field("chunk", None)

    def __call__(self, model, simulate, loss, key, *, trainable=None):
        def objective(model):
            trials = draw_trials(simulate, model, key, "SpikeRemoval")
            trains = frozen(trials.trains)
            trials = dataclasses.replace(trials, trains=trains)
            if self.damping:
                _require_noise_of_potential(trials)
            walk = replay(trials, 0.0, self.damping)
            # the last of the keys that trials could be drawn with, as no sample is that large
            removed, counts, inserted, ends = self._drawn(trials, walk, jr.fold_in(key, 2**31 - 1))
            spikes, (sample, place) = removed
            alternatives = run_again(trials, _joined(spikes, inserted[0]))
            counted = ~trials.failed[:, None] & ~alternatives.overflowed
            changes = loss_changes(loss, trains, alternatives, self.chunk)
            changes = jnp.where(counted, lax.stop_gradient(changes), 0)
            removing, inserting = jnp.split(changes, [self.removals], axis=1)

            log_hazards = walk.log_hazards[sample, place]
            slope = zero_with_derivative(-counts * removing, log_hazards)
            at_ends = walk.dead_ends.reshape(len(trains), -1)[inserted[1]]
            slope += zero_with_derivative(ends * inserting, at_ends)
            if self.damping:
                slope += self._of_noise(loss, trials, walk)
            diagnostics = {
                "felt": jnp.mean((removing != 0) & (counts > 0), dtype=trains.times.dtype),
                "failed": jnp.mean(alternatives.overflowed, dtype=trains.times.dtype),
            }
            return scalar(loss(trains)) + slope, (trains, diagnostics)

        (value, (trains, diagnostics)), gradient = differentiate(objective, model, trainable)
        return GradientEstimate(value, gradient, trains, diagnostics)

    def _drawn(self, trials: Trials, walk: Replay, key):
        """Spikes to remove and dead times to end, evenly drawn from those of each trial, and for
        how many each stands."""
        trains, samples = trials.trains, len(trials)
        dtype = trains.times.dtype
        keys = jr.split(key, 3)
        room = jnp.arange(trains.max_spikes, dtype=jnp.int32)[None, :]
        spikes, counts = _evenly(keys[0], room < trains.counts[:, None], self.removals, dtype)
        flat = walk.has_dead_end.reshape(samples, -1)
        dead_times, ends = _evenly(keys[1], flat, self.insertions, dtype)
        row = jnp.arange(samples, dtype=jnp.int32)[:, None]
        num = trains.num_neurons

        def before(neuron, spikes):
            """How many of the first `spikes` of the trial are of the neuron."""
            own = trains.neurons[:, None, :] == neuron[:, :, None]
            return jnp.sum(own & (room[:, None, :] < spikes[:, :, None]), axis=-1, dtype=jnp.int32)

        neuron = jnp.maximum(trains.neurons[row, spikes], 0)
        factor = jr.uniform(keys[2], spikes.shape, dtype, minval=jnp.finfo(dtype).tiny)
        remove = ThresholdChange(
            neuron, before(neuron, spikes), factor, jnp.zeros(spikes.shape, bool)
        )
        neuron = dead_times % num
        preceding = before(neuron, walk.spikes_before[row, dead_times // num])
        insert = ThresholdChange(
            neuron, preceding, jnp.ones(neuron.shape, dtype), jnp.ones(neuron.shape, bool)
        )
        return (remove, (row, spikes)), counts, (insert, (row, dead_times)), ends

    def _of_noise(self, loss, trials: Trials, walk: Replay) -> Array:
        """0, with the derivative of the probability of the noise."""
        trains = trials.trains
        controls = min(self.controls, len(trains) - 1)
        if controls > 0:
            others = shifted(trains, controls)
            signal = -jnp.mean(loss_changes(loss, trains, others, self.chunk), axis=1)
        else:
            signal = jnp.broadcast_to(scalar(loss(trains)), (len(trains),))
        signal = jnp.where(trials.failed, 0, signal)
        return zero_with_derivative(signal, walk.noise_weights)


def _evenly(key, there: Bool[Array, "samples n"], draws: int, dtype):
    """`draws` of the places of each row at which something is there, in even steps from a random
    first, and how many places each of them stands for."""
    summed = jnp.cumsum(there, axis=1, dtype=jnp.int32)
    count = summed[:, -1:] if there.shape[1] else jnp.zeros((there.shape[0], 1), jnp.int32)
    steps = jnp.arange(draws, dtype=dtype)[None, :] + jr.uniform(key, (there.shape[0], 1), dtype)
    ranks = jnp.floor(steps / draws * count.astype(dtype)).astype(jnp.int32)
    ranks = jnp.minimum(ranks, count - 1)
    places: Int[Array, "samples draws"] = jnp.sum(
        summed[:, None, :] <= ranks[:, :, None], axis=-1, dtype=jnp.int32
    )
    places = jnp.where(count > 0, places, 0)
    return places, jnp.broadcast_to(count.astype(dtype) / draws, places.shape)


def _joined(one: ThresholdChange, other: ThresholdChange) -> ThresholdChange:
    fields = [f.name for f in dataclasses.fields(ThresholdChange)]
    both = (jnp.concatenate([getattr(one, n), getattr(other, n)], axis=1) for n in fields)
    return ThresholdChange(*both)


def _require_noise_of_potential(trials: Trials) -> None:
    """Fail where damping would need more than Brownian noise of the potential.

    Raises:
        ValueError: another noise, none, or input spikes.
    """
    model: Any = trials.model
    neurons = model.neurons if isinstance(model, SpikingNetwork) else model
    sigma, protocol = getattr(neurons, "sigma", None), trials.protocol
    found = None
    if sigma is None:
        found = "a model without noise"
    elif sigma.ndim >= 2:
        found = f"a `sigma` of shape {sigma.shape}"
    elif not isinstance(protocol.noise, BrownianNoise | None):
        found = f"the noise {type(protocol.noise).__name__}"
    elif protocol.input_spikes is not None:
        found = "input spikes"
    if found is not None:
        raise ValueError(
            f"`damping` was given with {found}. It needs Brownian noise of the potential alone, a "
            "`sigma` that is a number or has shape (K,), and no input spikes; leave it out, and "
            "the estimate is unbiased all the same."
        )
