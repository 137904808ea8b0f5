"""Losses that stand on Gram matrices of a signature kernel."""

import abc

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roughsnn.signatures import SignatureKernel
from roughsnn.spikes import SpikeTrains

from .base import AbstractLoss
from .comparable import require_comparable, require_sample


class KernelTarget(eqx.Module):
    """An observed sample with the kernel fixed for it and its own term of the loss.

    Made by `AbstractKernelLoss.target` and taken by the same loss in place of `observed`.
    """

    kernel: SignatureKernel
    own_term: Float[Array, ""]
    norms: Float[Array, " samples"]
    trains: SpikeTrains


class AbstractKernelLoss(AbstractLoss):
    r"""A loss $\hat E\,k(x, x') - 2\,\hat E\,k(x, y) + c(y)$ of generated $x$ and observed $y$.

    A subclass says what the term $c$ of the observed sample alone is, and how means are estimated.
    With `partners`, means are those over some pairs of trains in place of all, an incomplete U
    statistic: of m generated trains each meets so many of the others, and so many observed ones (or
    more, so that each observed train is met), in a fixed pattern in which all trains count alike.
    """

    kernel: eqx.AbstractVar[SignatureKernel]
    partners: eqx.AbstractVar[int | None]

    @abc.abstractmethod
    def own_term(self, kernel: SignatureKernel, observed: SpikeTrains) -> Float[Array, ""]:
        """The term of the loss that depends on the observed sample alone."""

    @abc.abstractmethod
    def mean_of_pairs(self, gram: Float[Array, "m m"]) -> Float[Array, ""]:
        r"""Estimate of $E\,k(x, x')$, linear in the Gram matrix of a sample."""

    def target(self, observed: SpikeTrains) -> KernelTarget:
        """The terms of `observed` alone, to pass in its place when it does not change.

        The scales that the kernel leaves open are found from `observed` here, and kept.

        Raises:
            ValueError: `observed` is too small or has not exactly one batch axis.
        """
        require_sample(observed, "observed")
        kernel = self.kernel.fixed_for(observed)
        return KernelTarget(
            kernel,
            self.own_term(kernel, observed),
            kernel.norms(observed)
            if kernel.normalise
            else jnp.ones(len(observed), observed.times.dtype),
            observed,
        )

    def __call__(
        self, generated: SpikeTrains, observed: SpikeTrains | KernelTarget
    ) -> Float[Array, ""]:
        """The loss; samples may have different sizes and different room for spikes.

        Raises:
            ValueError: a sample that is too small or has not exactly one batch axis; samples with
                different neurons, dtypes or lengths; trains that the kernel refuses.
        """
        generated, target = self._compared(generated, observed)
        if self.partners is not None:
            return self._over_partners(generated, target, self.partners)
        gram, norms = target.kernel.gram_and_norms(generated)
        cross = target.kernel(generated, target.trains, norms=(norms, target.norms))
        return self.mean_of_pairs(gram) - 2 * jnp.mean(cross) + target.own_term

    def changes(
        self,
        generated: SpikeTrains,
        observed: SpikeTrains | KernelTarget,
        alternatives: SpikeTrains,
    ) -> Float[Array, "samples n"] | None:
        """The change of the loss if train b alone is replaced by its alternative a.

        It costs the kernels of the alternatives with both samples. `mean_of_pairs` is linear. With
        `partners` there is no shorter way.
        """
        if self.partners is not None:
            return None
        generated, target = self._compared(generated, observed)
        kernel = target.kernel
        gram, norms = kernel.gram_and_norms(generated)
        cross = jnp.mean(kernel(generated, target.trains, norms=(norms, target.norms)), axis=1)
        weights = jax.grad(self.mean_of_pairs)(gram)
        weights = weights + weights.T
        own = jnp.diagonal(weights) / 2
        weights = weights - 2 * jnp.diag(own)

        def change(a):
            new = alternatives[:, a]
            new_norms = kernel.norms(new)
            squared = jnp.ones_like(new_norms) if kernel.normalise else jnp.square(new_norms)
            pairs = kernel(new, generated, norms=(new_norms, norms)) - gram
            with_observed = kernel(new, target.trains, norms=(new_norms, target.norms))
            within = jnp.sum(weights * pairs, axis=1) + own * (squared - jnp.diagonal(gram))
            return within - 2 * (jnp.mean(with_observed, axis=1) - cross) / len(generated)

        return lax.map(change, jnp.arange(alternatives.batch_shape[1], dtype=jnp.int32)).T

    def _over_partners(
        self, generated: SpikeTrains, target: KernelTarget, partners: int
    ) -> Float[Array, ""]:
        """The loss from some pairs of trains."""
        kernel, observed = target.kernel, target.trains
        norms = kernel.norms(generated) if kernel.normalise else None
        within = mean_within_partners(kernel, generated, partners, norms)
        pairs = _pairs_across(len(generated), len(observed), partners)
        across = _mean(kernel, (generated, norms), (observed, target.norms), pairs)
        return within - 2 * across + target.own_term

    def _compared(
        self, generated: SpikeTrains, observed: SpikeTrains | KernelTarget
    ) -> tuple[SpikeTrains, KernelTarget]:
        """Both samples, checked, the observed one as a target."""
        require_sample(generated, "generated")
        known = isinstance(observed, KernelTarget)
        trains = observed.trains if known else observed
        if not known:
            require_sample(trains, "observed")
        generated = require_comparable(generated, trains, trains.times.dtype)
        self.check_generated(generated)
        target = observed if known else self.target(observed)
        return generated, target

    @abc.abstractmethod
    def check_generated(self, generated: SpikeTrains) -> None:
        """Fail if the generated sample is too small.

        Raises:
            ValueError: it is.
        """


def mean_within_partners(
    kernel: SignatureKernel,
    trains: SpikeTrains,
    partners: int,
    norms: Float[Array, " m"] | None = None,
) -> Float[Array, ""]:
    r"""Estimate of $E\,k(x, x')$ from pairs of a sample, each train with so many others."""
    if kernel.normalise and norms is None:
        norms = kernel.norms(trains)
    sample = (trains, norms)
    return _mean(kernel, sample, sample, _pairs_within(len(trains), partners))


def _mean(
    kernel: SignatureKernel,
    x: tuple[SpikeTrains, Array | None],
    y: tuple[SpikeTrains, Array | None],
    pairs: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> Float[Array, ""]:
    """Weighted mean of the kernel over pairs of the trains of two samples, with their norms."""
    rows, columns, weights = pairs
    (trains_x, norms_x), (trains_y, norms_y) = x, y
    known = None
    if norms_x is not None and norms_y is not None:
        known = norms_x[rows], norms_y[columns]
    values = kernel.pairs(trains_x[rows], trains_y[columns], norms=known)
    return jnp.sum(values * jnp.asarray(weights, values.dtype))


def check_partners(partners: int | None) -> None:
    """Fail unless this can be a number of partners.

    Raises:
        ValueError: it is not a whole number of 1 or more.
    """
    if partners is None:
        return
    if partners < 1:
        raise ValueError(
            f"`partners` is {partners!r}; it must be a whole number of 1 or more, or `None` for "
            "all pairs."
        )


def _pairs_within(size: int, partners: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of different trains of a sample, and their weights, of sum 1.

    Each train meets those at the next places, round in a circle. As the kernel is symmetric, half
    the circle is all there is.
    """
    shifts = np.arange(1, min(partners, size // 2) + 1)
    rows = np.repeat(np.arange(size), len(shifts))
    columns = (rows + np.tile(shifts, size)) % size
    # the train opposite is met from both sides
    weights = np.where(np.tile(2 * shifts == size, size), 0.5, 1.0)
    return rows, columns, weights / weights.sum()


def _pairs_across(
    size: int, size_observed: int, partners: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of a generated train with an observed one, and their weights, of sum 1.

    Each observed train has the same weight in all, so that the mean over generated trains is that
    of the full sum, whatever the observed ones are.
    """
    each = min(max(partners, -(-size_observed // size)), size_observed)
    pairs = np.arange(size * each)
    rows, columns = pairs // each, pairs % size_observed
    met = np.bincount(columns, minlength=size_observed)
    return rows, columns, 1 / (size_observed * met[columns])
