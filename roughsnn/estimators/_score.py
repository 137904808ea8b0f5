"""The estimator that differentiates probabilities instead of spike times."""

from functools import partial
from typing import ClassVar

import equinox as eqx
import jax.lax as lax
import jax.numpy as jnp

from .._checks import IntLike, RealLike, count_field, number
from ._base import (
    AbstractGradientEstimator,
    GradientEstimate,
    differentiate,
    draw_trials,
    scalar,
)
from ._changes import frozen, loss_changes, shifted, with_spike_at_end
from ._pathwise import exposure, zero_with_derivative
from ._replay import replay, share_kept


class ScoreFunction(AbstractGradientEstimator):
    r"""The likelihood ratio of the intensity model, with the noise between spikes held fixed.

    Given the driver B, the spikes of neuron k have the conditional intensity
    $\lambda_k 1\{\Lambda_k > \alpha_k\}$, so that the log-likelihood of the trains is

    $$
    \ell(\theta) = \sum_n \log \lambda_{k_n}(\tau_n)
        - \sum_k \int_{t_0}^{t_1} \lambda_k 1\{\Lambda_k > \alpha_k\}\,dt ,
    $$

    with the state re-run along the recorded spikes. For $\alpha = 0$ the score function estimator
    is $\nabla_\theta E\,L = E[(L - b)\,\nabla_\theta \ell]$ for every loss, however rough.

    For $\alpha > 0$ that is **biased**, since the times at which a neuron can fire depend on the
    parameters ($E\,\nabla_\theta \ell \neq 0$). Here a spike whose threshold $e = -\log u$ is small
    is moved with the end of the dead time, as in the pathwise gradient, and one whose threshold is
    large stays in its place and is weighed, with the share $\varphi(e) = 1 - e^{-e/\epsilon}$
    between them. The weight of a trial becomes

    $$
    \nabla w = \sum_n \varphi(e_n)\,\nabla \log \lambda(\tau_n)
        - \big(\varphi(e_n) - \varphi'(e_n)\big)\,\nabla(\Lambda - \alpha)(\tau_n)
        - \sum_{k:\,e_k > 0} \varphi(e_k)\,\nabla(\Lambda_k - \alpha_k)(t_1),
    \qquad e_k = (\Lambda_k - \alpha_k)(t_1),
    $$

    and the spikes move by $\nabla\tau_n = -(1 - \varphi(e_n))\,\nabla(\Lambda - \alpha) / \lambda$;
    the boundary term of [`roughsnn.PathwiseWithBoundary`][] counts with $1 - \varphi(e_k)$. As
    $\epsilon \to \infty$ this is that estimator, as $\epsilon \to 0$ the score function. (A
    generalised reparameterisation gradient.)

    **Unbiased** for every $\epsilon > 0$ and for all parameters, sigma included, wherever
    `PathwiseWithBoundary` is: for one neuron whatever `dt0`, in a network up to an error that
    vanishes with `dt0` and with $\epsilon$. (A spike that is moved cuts the steps of other neurons
    elsewhere, so that the motion of their spikes jumps where two spikes change order.) It is an
    independent check: it rests on the density of the spikes, not on the derivatives of their
    times. Its variance grows with the number of spikes of a trial and with the spread of the loss,
    as a trial is judged by its whole loss; the study `expected-gradients` prints it.

    Trials that outgrow their room (with `throw=False`) are left out, which biases the estimate.

    The baseline of a trial is the loss with that trial replaced by others of the sample, which does
    not depend on it; it removes what all losses have in common.

    `simulate` must be a [`roughsnn.Simulation`][], or return [`roughsnn.Trials`][]; as the spikes
    are not differentiated, the cheapest engine will do, `EventEngine(adjoint=NoGradient())`. It
    costs one more pass over the trials, and the losses of K + `controls` alternatives to each
    trial. Diagnostics: `signal`, the root mean square of the loss less its baseline.

    Attributes:
        ramp: $\epsilon > 0$. Smaller: closer to the score function, more variance from short
            dead times, about $(\nabla\alpha)^2 / 2\epsilon$ for each spike.
        controls: how many other trials the baseline is the mean of; 0 for none. One trial alone
            has no baseline.
        chunk: how many losses are evaluated at a time where each needs its own evaluation.

    References:
        Glynn (1990), Commun. ACM 33(10), 75 (likelihood ratio gradients).
        Ruiz, Titsias, Blei (2016), NeurIPS 29 (generalised reparameterisation).
    """

    recorded: ClassVar[tuple[str, ...]] = ("signal",)

    ramp: RealLike = eqx.field(
        default=0.05, static=True, converter=partial(number, "ramp", positive=True)
    )
    controls: IntLike = count_field("controls", 4, least=0)
    chunk: IntLike | None = count_field("chunk", None)

    def __call__(self, model, simulate, loss, key, *, trainable=None):
        def objective(model):
            trials = draw_trials(simulate, model, key, "ScoreFunction")
            _require_fixed_end(trials)
            trains = frozen(trials.trains)
            again = replay(trials, self.ramp)
            value = scalar(loss(again.trains))

            changes = loss_changes(loss, trains, frozen(with_spike_at_end(trials)), self.chunk)
            kept, _ = share_kept(again.excess, self.ramp)
            weights = exposure(trials) * (1 - kept) * changes
            moved = zero_with_derivative(weights, again.excess)

            controls = min(self.controls, len(trains) - 1)
            signal = jnp.broadcast_to(value, (len(trains),))
            if controls > 0:
                others = shifted(trains, controls)
                signal = -jnp.mean(loss_changes(loss, trains, others, self.chunk), axis=1)
            signal = jnp.where(trials.failed, 0, lax.stop_gradient(signal))
            weighed = zero_with_derivative(signal, again.log_weights)
            diagnostics = {"signal": jnp.sqrt(jnp.mean(jnp.square(signal)))}
            return value + moved + weighed, (trains, diagnostics)

        (value, (trains, diagnostics)), gradient = differentiate(objective, model, trainable)
        return GradientEstimate(value, gradient, trains, diagnostics)


def _require_fixed_end(trials) -> None:
    """Fail on `stop_after` with several neurons.

    Raises:
        ValueError: which of them comes last would need a term of its own.
    """
    stop_after, neurons = trials.protocol.stop_after, trials.trains.num_neurons
    if stop_after is not None and neurons > 1:
        raise ValueError(
            f"`stop_after` is {stop_after} with {neurons} neurons; ScoreFunction needs trials that "
            "end at `t1`, or a single neuron. Use PathwiseWithBoundary, which takes both."
        )
