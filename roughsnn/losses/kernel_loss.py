"""Losses that stand on Gram matrices of a signature kernel."""

import abc

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
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
    """

    kernel: eqx.AbstractVar[SignatureKernel]

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
        gram, norms = target.kernel.gram_and_norms(generated)
        cross = target.kernel(generated, target.trains, norms=(norms, target.norms))
        return self.mean_of_pairs(gram) - 2 * jnp.mean(cross) + target.own_term

    def changes(
        self,
        generated: SpikeTrains,
        observed: SpikeTrains | KernelTarget,
        alternatives: SpikeTrains,
    ) -> Float[Array, "samples n"]:
        """The change of the loss if train b alone is replaced by its alternative a.

        It costs the kernels of the alternatives with both samples. `mean_of_pairs` is linear.
        """
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
