"""The squared MMD of the exact signature kernel."""

import equinox as eqx
from jaxtyping import Array, Float

from roughsnn.signatures import SignatureKernel, mean_within
from roughsnn.spikes import SpikeTrains

from .kernel_loss import AbstractKernelLoss, check_partners, mean_within_partners


class SignatureMMDLoss(AbstractKernelLoss):
    r"""Squared maximum mean discrepancy of two samples under the signature kernel.

    $$
    L = \frac{1}{m(m-1)} \sum_{i \ne j} k(x_i, x_j) - \frac{2}{mn} \sum_{ij} k(x_i, y_j)
        + \frac{1}{n(n-1)} \sum_{i \ne j} k(y_i, y_j)
    $$

    for generated $x$ and observed $y$: all levels of the signatures, not the first few as in
    `ExpectedSignatureLoss`. The unbiased loss is negative about every second time at equal laws,
    and its gradient is an unbiased estimate of that of the MMD of the model. The biased one keeps
    the diagonals, is never negative, and its gradient also makes generated trains short, as
    $k(x, x)$ is then small: with many neurons the diagonal outweighs the rest.

    The kernel's scales, where left open, are found from the observed sample, never from the model,
    so that the kernel does not change with the parameters. `fit` with `batch_size` cuts the data
    anew in each step; give `SignatureKernel().fixed_for(data)` there. With a large sample a loss
    costs one Gram; the terms of the observed sample alone are computed once by `target`.

    A Gram costs $m(m-1)/2 + mn$ kernels, though most of the variance of a gradient comes from the
    m trains and not from which of them meet. With `partners=8` each generated train meets 8 others
    and 8 observed ones (more where there are more than 8m of those): an incomplete U statistic,
    as unbiased, in time proportional to the sample. The study `gradient-step-speed` prints what
    that costs and how much more it scatters.

    Attributes:
        kernel: the signature kernel.
        estimator: `"unbiased"` or `"biased"`.
        partners: trains that each generated one meets in each sample; all when `None`.

    Raises:
        ValueError: another estimator, or `partners` that are not a whole number of 1 or more or
            come with the biased estimator, at construction; samples that cannot be compared, or of
            fewer than two trains for the unbiased estimator, at the call.

    References:
        Salvi, Cass, Foster, Lyons, Yang (2021), SIAM J. Math. Data Sci. 3, 873.
        Blom (1976), Biometrika 63, 573: incomplete U statistics.
    """

    kernel: SignatureKernel = SignatureKernel()
    estimator: str = eqx.field(default="unbiased", static=True)
    partners: int | None = eqx.field(default=None, static=True)

    def __check_init__(self):
        if self.estimator not in ("unbiased", "biased"):
            raise ValueError(
                f"`estimator` is {self.estimator!r}; it must be 'unbiased' or 'biased'."
            )
        check_partners(self.partners)
        if self.partners is not None and self.estimator == "biased":
            raise ValueError(
                f"`partners` is {self.partners} with the biased estimator, which is the mean of "
                "all pairs. Use `estimator='unbiased'`, or leave `partners` out."
            )

    def own_term(self, kernel: SignatureKernel, observed: SpikeTrains) -> Float[Array, ""]:
        """Mean kernel of two observed trains."""
        if self.estimator == "unbiased" and len(observed) < 2:
            raise ValueError(
                "`observed` has 1 train; the unbiased MMD needs two or more. Use "
                "`SignatureScoreLoss`, which takes a single observation."
            )
        if self.partners is not None:
            return mean_within_partners(kernel, observed, self.partners)
        return self.mean_of_pairs(kernel(observed))

    def mean_of_pairs(self, gram: Float[Array, "m m"]) -> Float[Array, ""]:
        """Mean of the Gram matrix, without its diagonal if unbiased."""
        return mean_within(gram, self.estimator)

    def check_generated(self, generated: SpikeTrains) -> None:
        """Fail if the unbiased estimator has only one generated train."""
        if self.estimator == "unbiased":
            require_two(generated)


def require_two(generated: SpikeTrains) -> None:
    """Fail unless two independent trains were generated.

    Raises:
        ValueError: fewer.
    """
    if len(generated) < 2:
        raise ValueError(
            f"`generated` has {len(generated)} train; an unbiased estimate of the kernel of two "
            "independent trains needs two or more. Simulate more at a time."
        )
