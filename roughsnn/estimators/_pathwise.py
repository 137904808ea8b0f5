"""Estimators that differentiate the simulated spike times."""

from typing import ClassVar

import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from roughsnn.trials import Trials

from .._checks import IntLike, count_field
from ._base import (
    AbstractGradientEstimator,
    GradientEstimate,
    differentiate,
    draw_trials,
    require_derivatives,
    scalar,
    spikes_of,
)
from ._changes import changes_one_by_one, frozen, loss_changes, with_spike_at_end


class Pathwise(AbstractGradientEstimator):
    r"""The mean of the derivatives of the trials: $\widehat{\nabla_\theta E\,L} = \nabla_\theta L$.

    Automatic differentiation through the solver, with all randomness (u, B) held fixed. Known as
    the reparameterisation gradient, and as infinitesimal perturbation analysis.

    **Unbiased** if, with the randomness fixed, the loss is almost surely a continuous function of
    the parameters: if it does not jump when a spike crosses the end of the window, and the model
    meets the conditions of the theorem on pathwise gradients. Otherwise what it leaves out is the
    boundary term of [`roughsnn.PathwiseWithBoundary`][]. The study
    `expected-gradients` prints the variances of the estimators; this one has the smallest.

    References:
        Holberg, Salvi (2024), theorem on pathwise gradients.
        Mohamed, Rosca, Figurnov, Mnih (2020), JMLR 21(132), section 5.
    """

    def __call__(self, model, simulate, loss, key, *, trainable=None):
        def objective(model):
            generated = simulate(model, key)
            require_derivatives(generated, "Pathwise")
            generated = spikes_of(generated)
            return scalar(loss(generated)), generated

        (value, generated), gradient = differentiate(objective, model, trainable)
        return GradientEstimate(value, gradient, generated, {})


class PathwiseWithBoundary(AbstractGradientEstimator):
    r"""The pathwise gradient with the term of the spikes that cross the end of the window.

    With $x$ the spike trains of a sample of independent trials, $x + \delta^{b,k}_{t_1}$ the same
    with one more spike, of neuron k in trial b at $t_1$, and $s_{b,k}$ the residual of that neuron
    at $t_1$ (see [`roughsnn.Trials`][]),

    $$
    \nabla_\theta E\,L(x) = E\Big[ \nabla_\theta L(x) + \sum_{b,k} 1\{\Lambda_{b,k} > \alpha_k\}
        \,\big( L(x + \delta^{b,k}_{t_1}) - L(x) \big)\, \nabla_\theta s_{b,k} \Big].
    $$

    Given everything but the last mark of neuron k, $-\log u$ is exponential, and the neuron stays
    silent until $t_1$ if it exceeds $\Lambda_k - \alpha_k$. Given that it does, $\nabla_\theta s_k$
    is the rate at which the probability of a spike grows with the parameter. In time, it is the
    rate $\lambda_k$ of spikes at $t_1$ times the speed $-\nabla_\theta \tau$ at which a spike
    crosses it. Known as the boundary term, and as that of smoothed perturbation analysis.

    With `stop_after` a trial ends at its last spike, where another neuron may come first: the
    alternative is then the train in which neuron k takes the place of the last spike, and the term
    counts half, as the same change is seen from both sides.

    **Unbiased** for every loss that is a smooth function of the spike times in the window, jumps
    included at $t_1$ and nowhere else, of models that meet the conditions for pathwise gradients.
    With drivers that are linear inside a step it is the exact gradient of the expected loss *of the
    discretised model*, whatever `dt0`. The loss may be one of a whole sample, such as an MMD. Its
    variance exceeds that of [`roughsnn.Pathwise`][] by about that of the term.

    It costs the loss of K alternatives to each trial: K more losses where the loss is a mean over
    trials, has a mean over trials as its summary, or is one of Gram matrices (the losses of
    `roughsnn`; [`roughsnn.MeanLoss`][] for your own), else an evaluation for each trial and
    neuron, which `num_candidates` bounds. The simulation is not repeated.

    `simulate` must be a [`roughsnn.Simulation`][], or return [`roughsnn.Trials`][]. Diagnostics:
    `exposed`, the mean number of neurons of a trial that could have fired at its end, and
    `largest_change` of the loss by one such spike; where the latter is 0 no correction was needed.

    Attributes:
        num_candidates: how many pairs (trial, neuron) are drawn for the term, with equal chances
            among those that could have fired; the estimate stays unbiased, its variance grows.
            Default: all of them.
        chunk: how many losses are evaluated at a time where each needs its own evaluation.

    References:
        Gong, Ho (1987), IEEE Trans. Automat. Contr. 32, 858 (smoothed perturbation analysis).
        Mohamed, Rosca, Figurnov, Mnih (2020), JMLR 21(132), section 4.3 (interchange fails).
    """

    recorded: ClassVar[tuple[str, ...]] = ("exposed", "largest_change")

    num_candidates: IntLike | None = count_field("num_candidates", None)
    chunk: IntLike | None = count_field("chunk", None)

    def __call__(self, model, simulate, loss, key, *, trainable=None):
        def objective(model):
            trials = draw_trials(simulate, model, key, "PathwiseWithBoundary")
            require_derivatives(trials, "PathwiseWithBoundary")
            value = scalar(loss(trials.trains))
            jumps, diagnostics = self._boundary_term(trials, loss, key)
            return value + jumps, (trials.trains, diagnostics)

        (value, (trains, diagnostics)), gradient = differentiate(objective, model, trainable)
        return GradientEstimate(value, gradient, trains, diagnostics)

    def _boundary_term(self, trials: Trials, loss, key) -> tuple[Array, dict[str, Array]]:
        """A number that is 0 and has the derivative of the boundary term."""
        weights = exposure(trials)
        trains, alternatives = frozen(trials.trains), frozen(with_spike_at_end(trials))
        n = self.num_candidates
        residuals = trials.residuals
        if n is None or n >= weights.size:
            changes = loss_changes(loss, trains, alternatives, self.chunk)
            seen = jnp.where(weights > 0, jnp.abs(changes), 0)
        else:
            # the last of the keys that trials could be drawn with, as no sample is that large
            draw = jr.fold_in(key, 2**31 - 1)
            chosen = jr.categorical(draw, jnp.log(weights.reshape(-1)), shape=(n,))
            sample, which = jnp.divmod(chosen.astype(jnp.int32), weights.shape[1])
            changes = changes_one_by_one(loss, trains, alternatives, sample, which, self.chunk)
            residuals = residuals[sample, which]
            share = jnp.sum(weights) / n
            weights = jnp.broadcast_to(share, changes.shape)
            seen = jnp.where(share > 0, jnp.abs(changes), 0)
        diagnostics = {
            "exposed": jnp.mean(jnp.sum(trials.excess > 0, axis=-1), dtype=trains.times.dtype),
            "largest_change": jnp.max(seen, initial=0.0),
        }
        return zero_with_derivative(weights * changes, residuals), diagnostics


def exposure(trials: Trials) -> Float[Array, "samples K"]:
    """1 for a neuron that could have fired at the end of its trial; one half if `stop_after` ended
    the trial there; 0 for others."""
    weight = jnp.where(trials.stopped, 0.5, 1.0).astype(trials.excess.dtype)
    exposed = (trials.excess > 0) & ~trials.failed[:, None]
    return jnp.where(exposed, weight[:, None], 0)


def zero_with_derivative(weights: Array, values: Array) -> Array:
    """The sum of w (x - x), whose derivative is the sum of w dx."""
    weights = lax.stop_gradient(weights)
    values = jnp.where(weights != 0, values, 0)
    return jnp.sum(weights * (values - lax.stop_gradient(values)))
