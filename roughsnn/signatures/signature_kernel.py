"""The signature kernel as one object, which losses, tests and selections of scale take."""

import dataclasses
import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ..spikes.checks import is_traced
from ..spikes.trains import SpikeTrains
from ..spikes.windows import common_duration
from .event_kernel import (
    event_kernel,
    event_kernel_gram,
    largest_jump,
    scaled_length,
    suggested_neuron_scale,
)


class SignatureKernel(eqx.Module):
    r"""The exact signature kernel of spike trains with its scales, a function that makes Grams.

    $$
    k(x, y) = \langle S(X), S(Y) \rangle
    \qquad\text{or, normalised,}\qquad
    \frac{k(x, y)}{\sqrt{k(x, x)\,k(y, y)}} ,
    $$

    with $X$ the Marcus lift of $x$: time times `time_scale`, and a jump of size `neuron_scale` at
    each spike. See `event_kernel_gram` for how it is computed.

    Normalised values lie in $(0, 1]$, so no train outweighs the others whatever its number of
    spikes. Nothing is lost: level 0 of every signature is 1, so $S / \|S\|$ determines $S$, and on
    a compact set of trains the kernel stays characteristic, being $f(x)\,k(x, y)\,f(y)$ with $f$
    continuous and positive. It is not the tensor normalisation of Chevyrev and Oberhauser, which
    dilates each level $m$ by $\lambda(S)^m$, but bounds the kernel as that does.

    A scale that is left out is found from trains, see `fixed_for`. Two Grams may be compared only
    if they are of one kernel: fix it first, on all trains together or on the data.

    Attributes:
        time_scale: factor of time; one divided by the length of the trains' window when `None`.
        neuron_scale: size of a jump, for all neurons or one per neuron, or a positive semi-definite
            matrix with which neurons share; `suggested_neuron_scale` of the trains when `None`.
        normalise: divide by the norms of the two signatures.
        tolerance: relative truncation error of the kernel.
        orders: of the two power series, instead of `tolerance`.
        max_simultaneous: most spikes at one time in one train; needed inside `jit` if it is not 1.
        path_size: length of the trains' window times `time_scale`, and size of the largest jump,
            from which the orders are chosen where `jit` hides them; `fixed_for` notes both. Set it
            to `None` where a scale is replaced.

    Raises:
        ValueError: `tolerance` or `max_simultaneous` outside its range, at construction; what
            `event_kernel_gram` refuses, at the call.

    References:
        Salvi, Cass, Foster, Lyons, Yang (2021), SIAM J. Math. Data Sci. 3, 873.
        Chevyrev, Oberhauser (2022), JMLR 23(176).
    """

    time_scale: ArrayLike | None = None
    neuron_scale: ArrayLike | None = None
    normalise: bool = eqx.field(default=False, static=True)
    tolerance: float = eqx.field(default=1e-6, static=True)
    orders: tuple[int, int] | None = eqx.field(default=None, static=True)
    max_simultaneous: int | None = eqx.field(default=None, static=True)
    path_size: tuple[float, float] | None = eqx.field(default=None, static=True)

    def __check_init__(self):
        if not self.tolerance > 0:
            raise ValueError(f"`tolerance` is {self.tolerance}; it must be positive.")
        if self.max_simultaneous is not None and self.max_simultaneous < 1:
            raise ValueError(
                f"`max_simultaneous` is {self.max_simultaneous}; it must be 1 or more."
            )

    @property
    def is_fixed(self) -> bool:
        """Whether both scales are numbers, so that the kernel is the same for all trains."""
        return self.time_scale is not None and self.neuron_scale is not None

    def fixed_for(self, *samples: SpikeTrains) -> "SignatureKernel":
        """This kernel with each scale that was left out found from all trains of `samples`.

        Outside of `jit` it also notes how large the paths are, so that it is as exact inside.

        Raises:
            ValueError: no sample given.
        """
        if not samples:
            raise ValueError("Give one sample of trains or more, to find the scales from.")
        kernel = self
        if kernel.time_scale is None:
            length = common_duration(samples[0], "A kernel that finds its own `time_scale`")
            kernel = _with(kernel, "time_scale", 1 / length)
        if kernel.neuron_scale is None:
            pooled = samples[0] if len(samples) == 1 else SpikeTrains.concatenate(samples)
            kernel = _with(kernel, "neuron_scale", suggested_neuron_scale(pooled))
        scales = (kernel.time_scale, kernel.neuron_scale)
        durations = [sample.duration for sample in samples]
        if kernel.path_size is None and not is_traced((scales, durations)):
            longest = max(np.max(np.asarray(d), initial=0) for d in durations)
            size = scaled_length(longest, kernel.time_scale), largest_jump(kernel.neuron_scale)
            # Rounded, as each other size is another compiled program.
            kernel = dataclasses.replace(kernel, path_size=tuple(map(_rounded_up, size)))
        return kernel

    def __call__(
        self,
        x: SpikeTrains,
        y: SpikeTrains | None = None,
        *,
        norms: tuple[Float[Array, " m"], Float[Array, " n"]] | None = None,
    ) -> Float[Array, "m n"]:
        """Gram matrix of the trains of `x` with those of `y`, or of `x` with itself.

        Args:
            x: trains of batch shape `(m,)`.
            y: trains of batch shape `(n,)` of the same neurons and window; `x` when left out.
            norms: `norms` of `x` and of `y`, where they are known already.

        Raises:
            ValueError: trains that `event_kernel_gram` refuses.
        """
        if y is None:
            return self.gram_and_norms(x)[0]
        kernel = self.fixed_for(x, y)
        gram = event_kernel_gram(x, y, **kernel._settings())
        if not self.normalise:
            return gram
        norms_x, norms_y = (kernel.norms(x), kernel.norms(y)) if norms is None else norms
        return gram / (norms_x[:, None] * norms_y[None, :])

    def gram_and_norms(self, x: SpikeTrains) -> tuple[Float[Array, "m m"], Float[Array, " m"]]:
        """Gram matrix of `x` with itself, and the norms of its signatures, found on the way."""
        gram = event_kernel_gram(x, **self.fixed_for(x)._settings())
        norms = jnp.sqrt(jnp.diagonal(gram))
        return (gram / (norms[:, None] * norms[None, :]) if self.normalise else gram), norms

    def norms(self, x: SpikeTrains) -> Float[Array, " m"]:
        r"""Norm of the signature of each train, $\sqrt{k(x, x)}$ before normalisation."""
        return jnp.sqrt(event_kernel(x, x, **self.fixed_for(x)._settings()))

    def pairs(
        self,
        x: SpikeTrains,
        y: SpikeTrains,
        *,
        norms: tuple[Float[Array, " n"], Float[Array, " n"]] | None = None,
    ) -> Float[Array, " n"]:
        """Kernel of each train of `x` with the train of `y` at the same place.

        Args:
            x: trains of batch shape `(n,)`.
            y: as many trains of the same neurons and window.
            norms: `norms` of `x` and of `y`, where they are known already.

        Raises:
            ValueError: trains that `event_kernel` refuses.
        """
        kernel = self.fixed_for(x, y)
        value = event_kernel(x, y, **kernel._settings())
        if not self.normalise:
            return value
        norms_x, norms_y = (kernel.norms(x), kernel.norms(y)) if norms is None else norms
        return value / (norms_x * norms_y)

    def _settings(self) -> dict:
        return {
            "time_scale": self.time_scale,
            "neuron_scale": self.neuron_scale,
            "tolerance": self.tolerance,
            "orders": self.orders,
            "max_simultaneous": self.max_simultaneous,
            "path_size": self.path_size,
        }


def _with(kernel: SignatureKernel, name: str, value: Array) -> SignatureKernel:
    return eqx.tree_at(lambda k: getattr(k, name), kernel, value, is_leaf=lambda leaf: leaf is None)


def _rounded_up(size: float) -> float:
    """The next power of the fourth root of two."""
    return 2 ** (math.ceil(4 * math.log2(size) - 1e-6) / 4) if size > 0 else 0.0
