"""Tensor normalisation of truncated signatures, which makes them bounded and keeps them apart."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from .._checks import IntLike, real_array
from ..spikes.checks import refuse_if
from ._levels import split_levels


class TensorNormalisation(eqx.Module):
    r"""Dilate each signature so that its norm stays bounded: $S_m \mapsto \lambda(S)^m S_m$.

    With level 0, which is 1, the squared norm of a signature is $x = 1 + \sum_m \|S_m\|^2$. The
    factor $\lambda(S) \in (0, 1]$ is the one with which it becomes $\psi(x)$,

    $$
    1 + \sum_m \lambda^{2m} \|S_m\|^2 = \psi(x), \qquad
    \psi(x) = \begin{cases} x & x \le M \\
        M + \frac{M^{1+a}}{a} (M^{-a} - x^{-a}) & x > M \end{cases}
    $$

    which is below $M (1 + 1/a)$. Signatures of norm up to $\sqrt M$ stay as they are; larger ones
    are scaled like the signature of the path scaled by $\lambda$. The map is continuous and
    one-to-one, so expected normalised signatures determine laws on all of path space, with no
    condition on moments, and no train outweighs the rest: a sample with a few bursts keeps a
    useful mean. A plain division by the norm does not commute with dilation and loses level 0.

    Once differentiable everywhere (the kink of the second derivative of $\psi$ at $M$ excepted, of
    every order), in both modes; finite for signatures that are zero.

    Attributes:
        bound: $M > 1$; 4 lets trains of length up to about 1 pass unchanged.
        exponent: $a > 0$; the larger, the sooner $\psi$ is flat.

    Raises:
        ValueError: a bound or an exponent outside its range, at construction; at the call,
            signatures that have no such depth, or are not finite when squared.

    Reference: Chevyrev, Oberhauser (2022), JMLR 23(176), section 3.2 and appendix A.
    """

    bound: float = eqx.field(static=True, default=4.0)
    exponent: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        if not self.bound > 1:
            raise ValueError(f"`bound` is {self.bound}; it must be greater than 1.")
        if not self.exponent > 0:
            raise ValueError(f"`exponent` is {self.exponent}; it must be positive.")

    def __call__(
        self, signatures: Shaped[ArrayLike, "*batch coordinates"], depth: IntLike
    ) -> Float[Array, "*batch coordinates"]:
        """The normalised signatures.

        Args:
            signatures: levels `1 ... depth`, flattened one after the other.
            depth: the highest level.
        """
        signatures = real_array("signatures", signatures)
        levels = split_levels(signatures, depth)
        factor = self.factor(signatures, depth)[..., None]
        return jnp.concatenate(
            [level * factor**m for m, level in enumerate(levels, start=1)], axis=-1
        )

    def factor(
        self, signatures: Shaped[ArrayLike, "*batch coordinates"], depth: IntLike
    ) -> Float[Array, "*batch"]:
        r"""The dilation $\lambda(S)$ of each signature."""
        signatures = real_array("signatures", signatures)
        levels = split_levels(signatures, depth)
        squares = jnp.stack([jnp.sum(level**2, axis=-1) for level in levels], axis=-1)
        squares = refuse_if(
            squares,
            ~jnp.isfinite(squares),
            f"`signatures` has entries whose squares are too large for {signatures.dtype}, or that "
            "are not finite. Lower the scales of the channels.",
        )
        return _dilation(squares, self.squared_norm(1 + jnp.sum(squares, axis=-1)))

    def squared_norm(self, x: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        r"""$\psi$, the squared norm after normalisation of one that has $x$ before."""
        m, a = self.bound, self.exponent
        above = x > m
        large = jnp.where(above, x, m)
        return jnp.where(above, m * (1 + 1 / a) - m ** (1 + a) / a * large**-a, x)


@jax.custom_jvp
def _dilation(
    squares: Float[Array, "*batch depth"], norm: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    r"""The $\lambda \in [0, 1]$ with $1 + \sum_m \lambda^{2m} q_m = $ `norm`.

    Bisection, which is safe for any coefficients, as the sum rises with $\lambda$. With $n$ levels
    and the norm $1 + c$, no single level may pass $c$, so $\lambda$ is at most the smallest
    $u = (c / q_m)^{1 / 2m}$; and at $u / \sqrt n$ each level holds at most $c / n$. The bracket is
    thus narrow in proportion, and the factor precise to rounding however small it is.
    """
    levels = jnp.arange(1, squares.shape[-1] + 1).astype(squares.dtype)
    above_one = (norm - 1)[..., None]
    positive = (squares > 0) & (above_one > 0)
    # In logarithms: neither the ratio nor its root then leaves the range of the dtype.
    logarithms = jnp.log(jnp.where(positive, above_one, 1))
    logarithms = logarithms - jnp.log(jnp.where(positive, squares, 1))
    shape = (1,) * (squares.ndim - 1) + (-1,)
    largest = jnp.where(positive, jnp.exp(logarithms / (2 * levels.reshape(shape))), 1)
    # Room for the rounding of these bounds.
    top = jnp.minimum(1.0, 1.001 * jnp.min(largest, axis=-1, initial=1.0))
    bottom = 0.99 * top / squares.shape[-1] ** 0.5

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        below = _squared_norm(middle, squares) < norm
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    steps = jnp.finfo(squares.dtype).nmant + 3
    _, high = jax.lax.fori_loop(0, steps, halve, (bottom, top))
    # Exactly 1 where nothing is to be shrunk, signatures of zeros among them.
    one = jnp.ones_like(norm)
    return jnp.where(_squared_norm(one, squares) <= norm, one, high)


@_dilation.defjvp
def _dilation_jvp(primals, tangents):
    """The implicit function theorem; a signature of zeros has the constant factor 1."""
    squares, norm = primals
    d_squares, d_norm = tangents
    factor = _dilation(squares, norm)
    level = jnp.arange(1, squares.shape[-1] + 1, dtype=jnp.int32)
    powers = _powers(factor, squares)
    weights = (2 * level).astype(squares.dtype).reshape((1,) * (squares.ndim - 1) + (-1,))
    slope = jnp.sum(weights * powers * squares, axis=-1) / factor
    change = d_norm - jnp.sum(powers * d_squares, axis=-1)
    positive = slope > 0
    return factor, jnp.where(positive, change, 0) / jnp.where(positive, slope, 1)


def _squared_norm(factor: Array, squares: Array) -> Array:
    return 1 + jnp.sum(_powers(factor, squares) * squares, axis=-1)


def _powers(factor: Array, squares: Array) -> Array:
    return jnp.stack([factor ** (2 * m) for m in range(1, squares.shape[-1] + 1)], axis=-1)
