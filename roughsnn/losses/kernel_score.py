"""The kernel scoring rule of the exact signature kernel."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from roughsnn.signatures import SignatureKernel, mean_within
from roughsnn.spikes import SpikeTrains

from .kernel_loss import AbstractKernelLoss, check_partners
from .kernel_mmd import require_two


class SignatureScoreLoss(AbstractKernelLoss):
    r"""Kernel scoring rule of the law $P$ of the model against what was observed.

    $$
    s(P, y) = E_{x, x' \sim P}\,k(x, x') - 2\,E_{x \sim P}\,k(x, y), \qquad
    L = \frac{1}{m(m-1)} \sum_{i \ne j} k(x_i, x_j) - \frac{2}{mn} \sum_{ij} k(x_i, y_j) ,
    $$

    the mean score of the observed trains, estimated without bias from $m \ge 2$ generated ones; a
    single observation is enough, as it is when each input has been shown once. In the mean over
    $y \sim Q$ it is $\mathrm{MMD}^2(P, Q) - E\,k(y, y')$, so it has the gradient of the MMD and its
    minimum at $P = Q$: the rule is strictly proper where the kernel is characteristic. Its value
    has no meaning of its own, and is negative at the minimum; compare models by differences.

    The kernel's scales, where left open, are found from the observed trains. For several
    observations one at a time, give `SignatureKernel().fixed_for(data)`, so that all scores are of
    one kernel.

    Attributes:
        kernel: the signature kernel.
        partners: trains that each generated one meets in each sample; all when `None`, see
            `SignatureMMDLoss`.

    Raises:
        ValueError: `partners` that are not a whole number of 1 or more; fewer than two generated
            trains; samples that cannot be compared.

    References:
        Gneiting, Raftery (2007), JASA 102, 359, section 5.
        Issa, Horvath, Lemercier, Salvi (2023), NeurIPS 36.
    """

    kernel: SignatureKernel = SignatureKernel()
    partners: int | None = eqx.field(default=None, static=True)

    def __check_init__(self):
        check_partners(self.partners)

    def own_term(self, kernel: SignatureKernel, observed: SpikeTrains) -> Float[Array, ""]:
        """Zero: a score has no term of the observation alone."""
        return jnp.zeros((), observed.times.dtype)

    def mean_of_pairs(self, gram: Float[Array, "m m"]) -> Float[Array, ""]:
        """Mean of the Gram matrix without its diagonal."""
        return mean_within(gram)

    def check_generated(self, generated: SpikeTrains) -> None:
        """Fail if there is only one generated train."""
        require_two(generated)
