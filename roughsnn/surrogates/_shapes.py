"""Surrogate derivatives from the literature.

They differ in shape and in how height and area go with the steepness, which matters as much: the
larger the scale, the more the error grows on its way back through many steps. `at zero` and `area`
are given for each.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from ._base import AbstractSurrogate, Width, _width


class SuperSpike(AbstractSurrogate):
    r"""$h(x) = \dfrac{1}{(1 + \beta |x|)^2}$: one at zero, of area $2 / \beta$.

    The derivative of $x / (1 + \beta |x|)$, scaled so that its height does not change with
    $\beta$.

    Attributes:
        beta: $\beta$, by default 10.

    References: Zenke & Ganguli (2018), Neural Comput. 30:1514; in this form with $\beta = 10$,
    Zenke & Vogels (2021), Neural Comput. 33:899.
    """

    beta: Width = eqx.field(default=10.0, converter=_width)

    def derivative(self, x):
        _, scaled = self.scaled(x)
        return 1 / jnp.square(1 + jnp.abs(scaled))

    def primitive(self, x):
        _, scaled = self.scaled(x)
        # (a height of 1/2 at the threshold, so that it lies between 0 and 1 near it)
        return 0.5 + x / (1 + jnp.abs(scaled))


class AsymptoticSuperSpike(AbstractSurrogate):
    r"""$h(x) = \dfrac{\beta}{(1 + \beta |x|)^2}$: $\beta$ at zero, of area 2.

    As $\beta$ grows it tends to twice a delta function, and its height without bound: with a reset
    that is differentiated, or recurrent weights, gradients explode.

    Attributes:
        beta: $\beta$, by default 10.

    Reference: Zenke & Vogels (2021), Neural Comput. 33:899, the study of the scale.
    """

    beta: Width = eqx.field(default=10.0, converter=_width)

    def derivative(self, x):
        beta, scaled = self.scaled(x)
        return beta / jnp.square(1 + jnp.abs(scaled))

    def primitive(self, x):
        _, scaled = self.scaled(x)
        return 0.5 + scaled / (1 + jnp.abs(scaled))


class FastSigmoid(AbstractSurrogate):
    r"""$h(x) = \dfrac{\beta}{2\,(1 + \beta |x|)^2}$: $\beta / 2$ at zero, of area one.

    The derivative of the fast sigmoid $\tfrac12 \bigl(1 + \tfrac{\beta x}{1 + \beta |x|}\bigr)$,
    which rises from 0 to 1. Packages call `SuperSpike` by this name too; the shape is the same,
    the scale is not.

    Attributes:
        beta: $\beta$, by default 10.

    Reference: the function, Zenke & Ganguli (2018), Neural Comput. 30:1514.
    """

    beta: Width = eqx.field(default=10.0, converter=_width)

    def derivative(self, x):
        beta, scaled = self.scaled(x)
        return 0.5 * beta / jnp.square(1 + jnp.abs(scaled))

    def primitive(self, x):
        _, scaled = self.scaled(x)
        return 0.5 * (1 + scaled / (1 + jnp.abs(scaled)))


class SigmoidDerivative(AbstractSurrogate):
    r"""$h(x) = \beta\,\sigma(\beta x)\,(1 - \sigma(\beta x))$, $\sigma(z) = 1 / (1 + e^{-z})$:
    $\beta / 4$ at zero, of area one.

    The derivative of $\sigma(\beta x)$: what a neuron that fires with this probability in each step
    does on average. With $\beta = 2 k$ it is the derivative of $\tfrac12 (1 + \tanh k x)$, which
    gradual schedules of $k$ are written for. Zenke & Vogels print it without the factor $\beta$.

    Attributes:
        beta: $\beta$, by default 10.

    Reference: Zenke & Vogels (2021), Neural Comput. 33:899; Gygax & Zenke (2025), Neural
    Comput. 37:886, for its meaning with escape noise.
    """

    beta: Width = eqx.field(default=10.0, converter=_width)

    def derivative(self, x):
        beta, scaled = self.scaled(x)
        rises = jax.nn.sigmoid(scaled)
        # (1 - rises would be zero in the tail)
        return beta * rises * jax.nn.sigmoid(-scaled)

    def primitive(self, x):
        return jax.nn.sigmoid(self.scaled(x)[1])


class EsserTriangle(AbstractSurrogate):
    r"""$h(x) = \max(0, 1 - \beta |x|)$: one at zero, of area $1 / \beta$.

    Potentials further than $1 / \beta$ from the threshold have no derivative.

    Attributes:
        beta: $\beta$, by default 1.

    References: Esser et al. (2016), PNAS 113:11441; in this form, Zenke & Vogels (2021), Neural
    Comput. 33:899.
    """

    beta: Width = eqx.field(default=1.0, converter=_width)

    def derivative(self, x):
        return jnp.maximum(0, 1 - jnp.abs(self.scaled(x)[1]))

    def primitive(self, x):
        beta, scaled = self.scaled(x)
        # (a triangle without end is a line)
        far = jnp.abs(scaled) > 1
        edge = jnp.sign(x) / jnp.where(beta > 0, 2 * beta, 1)
        return 0.5 + jnp.where(far, edge, x * (1 - 0.5 * jnp.minimum(jnp.abs(scaled), 1)))


class Arctangent(AbstractSurrogate):
    r"""$h(x) = \dfrac{\beta}{2\,(1 + (\pi \beta x / 2)^2)}$: $\beta / 2$ at zero, of area one.

    The derivative of $\tfrac1\pi \arctan(\tfrac\pi2 \beta x) + \tfrac12$.

    Attributes:
        beta: $\beta$, by default 2.

    Reference: Fang et al. (2021), ICCV, "Incorporating learnable membrane time constant".
    """

    beta: Width = eqx.field(default=2.0, converter=_width)

    def derivative(self, x):
        beta, scaled = self.scaled(x)
        return 0.5 * beta / (1 + jnp.square(0.5 * jnp.pi * scaled))

    def primitive(self, x):
        _, scaled = self.scaled(x)
        return 0.5 + jnp.arctan(0.5 * jnp.pi * scaled) / jnp.pi
