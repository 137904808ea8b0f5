"""Gradient descent of fractional order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gamma

from roughsnn._checks import number
from roughsnn.spikes.checks import is_traced

if TYPE_CHECKING:
    import optax


class FractionalState(NamedTuple):
    """The state of `fractional_descent`.

    Attributes:
        before: the parameters before the last step.
    """

    before: Any


def fractional_descent(
    learning_rate: Any, order: Any, *, eps: Any = 1e-3
) -> optax.GradientTransformation:
    r"""Gradient descent with a Caputo derivative of order $\alpha$ in place of the gradient, an
    optimiser for [`roughsnn.fit`][].

    Each parameter $w$ takes the steps

    $$
    w_{k+1} = w_k - \frac{\mu}{\Gamma(2 - \alpha)}\,
        \frac{\partial L}{\partial w}(w_k)\,\bigl(|w_k - w_{k-1}| + \epsilon\bigr)^{1 - \alpha},
    $$

    the first term of the power series of the derivative about the weight before. With
    $\alpha = 1$ this is gradient descent.

    A gradient of constant size $g$ leads to steps of the size

    $$ d^* = \Bigl( \frac{\mu\,g}{\Gamma(2 - \alpha)} \Bigr)^{1/\alpha} , $$

    which $\log d$ approaches by the factor $1 - \alpha$ a step: for every order between 0 and 2,
    and by steps that are large and small in turn where $\alpha > 1$. So this is descent along
    $g^{1/\alpha}$, and where $\mu g$ is small its steps are the larger the larger $\alpha$ is.
    Orders compared at one learning rate differ in the size of their steps first of all.

    The parameters have to be given to `update`, as `fit` does. The printed rule has the gradient at
    $w_{k-1}$ and $|w_k - w_{k-1} + \epsilon|$; here the gradient is the present one, and
    $\epsilon$ is added to the absolute value, so that no step is infinite.

    Args:
        learning_rate: $\mu$, a number or a schedule of optax.
        order: $\alpha$, between 0 and 2, ends excluded.
        eps: $\epsilon > 0$, in the unit of the parameters; also the distance of the first step.

    Raises:
        ValueError: an order or an $\epsilon$ outside its range; at the update, no parameters.

    Reference: Yang, Voyles, Zhang & Nawrocki (2025), Fractional-order spike-timing-dependent
    gradient descent for multi-layer spiking neural networks, Neurocomputing 611:128662,
    arXiv 2410.15293.
    """
    import optax

    if not is_traced(order):
        order = number("order", order, positive=True, below=2.0)
    eps = number("eps", eps, positive=True)

    def scaled(gradient, now, before):
        dtype = gradient.dtype
        power = jnp.asarray(1 - order, dtype)
        size = (jnp.abs(now - before) + np.asarray(eps, dtype)) ** power
        return gradient * size / gamma(1 + power)

    def init(parameters):
        return FractionalState(jax.tree.map(jnp.asarray, parameters))

    def update(gradients, state, parameters=None):
        if parameters is None:
            raise ValueError(
                "`parameters` are missing; descent of fractional order depends on how far the last "
                "step went: call `update(gradients, state, parameters)`."
            )
        updates = jax.tree.map(scaled, gradients, parameters, state.before)
        return updates, FractionalState(parameters)

    descent = optax.GradientTransformation(init, update)
    return optax.chain(descent, optax.scale_by_learning_rate(learning_rate))
