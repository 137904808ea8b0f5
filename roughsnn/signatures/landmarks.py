"""The MMD of large samples: the kernel through its values at some landmarks."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import IntLike, whole_number
from ..spikes.trains import SpikeTrains
from .mmd import mmd2_from_grams
from .signature_kernel import SignatureKernel


class LandmarkFeatures(eqx.Module):
    r"""Features of spike trains whose inner products are the signature kernel, seen from landmarks.

    With landmarks $z_1, \dots, z_r$ and $K_{zz} = U \Lambda U^\top$ their Gram matrix,

    $$
    \phi(x) = \Lambda^{-1/2} U^\top \bigl(k(z_1, x), \dots, k(z_r, x)\bigr), \qquad
    \langle \phi(x), \phi(y) \rangle = k_x \text{ and } k_y \text{ projected on the span of }
    k(z_i, \cdot).
    $$

    It is exact if one of the two trains is a landmark, and never more than the kernel on the
    diagonal. Sums over pairs of trains become sums over trains: a sample of $n$ costs $n r$ kernels
    and not $n^2$.

    Attributes:
        landmarks: the trains $z$.
        kernel: the kernel, with both scales fixed.
        whitening: $U \Lambda^{-1/2}$, without eigenvalues that are rounding or truncation error.

    Reference: Williams, Seeger (2000), NeurIPS 13: the Nyström method.
    """

    landmarks: SpikeTrains
    kernel: SignatureKernel
    whitening: Float[Array, "landmarks features"]

    @classmethod
    def from_trains(
        cls,
        trains: SpikeTrains,
        num_landmarks: IntLike,
        kernel: SignatureKernel | None = None,
        *,
        key: PRNGKeyArray,
        cut: ArrayLike | None = None,
    ) -> "LandmarkFeatures":
        r"""Landmarks drawn from a sample, all different.

        Args:
            trains: where they are drawn from, of batch shape `(n,)`: the data, of all laws that are
                to be compared, and not a model that is being trained.
            num_landmarks: how many, at most `n`. The error falls with the eigenvalues of the
                kernel that are left out; some hundred are enough for most laws.
            kernel: the kernel; a scale that it leaves open is found from `trains`.
            key: of the draw.
            cut: eigenvalues below `cut` times the largest are left out; by default the kernel's
                tolerance, but at least a hundred roundings.

        Raises:
            ValueError: fewer than one landmark, or more than there are trains; trains that have
                not exactly one batch axis.
        """
        if len(trains.batch_shape) != 1:
            raise ValueError(
                f"`trains` has batch shape {trains.batch_shape}; it must have one batch axis. Use "
                "`trains.reshape(n)`."
            )
        number = whole_number("num_landmarks", num_landmarks, 1)
        if number > len(trains):
            raise ValueError(
                f"`num_landmarks` is {number}; there are {len(trains)} trains to draw them from."
            )
        kernel = (SignatureKernel() if kernel is None else kernel).fixed_for(trains)
        chosen = jax.random.permutation(key, len(trains))[:number]
        landmarks = trains[chosen]
        values, vectors = jnp.linalg.eigh(kernel(landmarks))
        if cut is None:
            cut = max(kernel.tolerance, 100 * float(jnp.finfo(values.dtype).eps))
        # Left-out directions stay as columns of zeros, so that nothing depends on their number.
        kept = values > jnp.asarray(cut, values.dtype) * values[-1]
        factors = jnp.where(kept, 1 / jnp.sqrt(jnp.where(kept, values, 1)), 0)
        return cls(landmarks, kernel, vectors * factors[None])

    def __call__(self, trains: SpikeTrains) -> Float[Array, "trains features"]:
        """Features of each train of a sample of batch shape `(n,)`.

        Raises:
            ValueError: trains that `event_kernel_gram` refuses.
        """
        return self.kernel(self.landmarks, trains).T @ self.whitening


def landmark_mmd2(
    x: SpikeTrains,
    y: SpikeTrains,
    features: LandmarkFeatures,
    *,
    estimator: str = "unbiased",
    corrected_on: IntLike = 0,
) -> Float[Array, ""]:
    r"""Squared maximum mean discrepancy of two large samples, in time proportional to their size.

    It is that of the projected kernel $\hat k(x, y) = \langle \phi(x), \phi(y) \rangle$,

    $$
    \widehat{\mathrm{MMD}}^2 = \|E\,\phi(x) - E\,\phi(y)\|^2
        = \mathrm{MMD}^2 - \|(1 - P)(\mu_x - \mu_y)\|^2,
    $$

    the MMD of the full kernel but for the part of the witness function that no landmark sees, and
    so at most that. `corrected_on` adds an unbiased estimate of that part, the U-statistic of
    $k - \hat k$ on some trains of both samples, which makes the sum an unbiased estimate of the MMD
    of the full kernel; its variance is small as $k - \hat k$ is.

    Differentiable in the trains; memory grows with the number of trains times that of landmarks,
    and of derivatives only a part is held at a time.

    Args:
        x: first sample, of batch shape `(m,)`.
        y: second sample, of batch shape `(n,)`.
        features: the same in all comparisons, and no function of the parameters of a model.
        estimator: `"unbiased"`, over pairs of different trains, or `"biased"`, never negative.
        corrected_on: number of trains, the first of each sample, for the correction; 0 for none.

    Raises:
        ValueError: another estimator; fewer than two trains in a sample for an unbiased one; a
            correction on one train, on more trains than there are, or of the biased estimator.
    """
    m, n = len(x), len(y)
    number = whole_number("corrected_on", corrected_on, 0)
    if estimator not in ("unbiased", "biased"):
        raise ValueError(f"`estimator` is {estimator!r}; it must be 'unbiased' or 'biased'.")
    if estimator == "unbiased" and min(m, n) < 2:
        raise ValueError(f"The samples have {m} and {n} trains; the unbiased estimator needs two.")
    if number and (estimator == "biased" or not 2 <= number <= min(m, n)):
        raise ValueError(
            f"`corrected_on` is {number}; with the unbiased estimator and samples of {m} and {n} "
            f"trains it must be 0 or from 2 to {min(m, n)}."
        )
    of_x, of_y = features(x), features(y)
    # A shift of all features changes nothing but the rounding, which grows with their size.
    centre = jax.lax.stop_gradient(jnp.mean(of_y, axis=0))[None]
    value = jnp.sum(jnp.square(jnp.mean(of_x, axis=0) - jnp.mean(of_y, axis=0)))
    if estimator == "biased":
        return value
    value = value - _excess(of_x - centre) - _excess(of_y - centre)
    if not number:
        return value
    x, y, of_x, of_y = x[:number], y[:number], of_x[:number], of_y[:number]
    kernel = features.kernel
    return value + mmd2_from_grams(
        kernel(x) - of_x @ of_x.T, kernel(y) - of_y @ of_y.T, kernel(x, y) - of_x @ of_y.T
    )


def _excess(features: Float[Array, "trains features"]) -> Float[Array, ""]:
    """What pairs of a train with itself add to the mean over all pairs."""
    number = features.shape[0]
    mean = jnp.mean(features, axis=0)
    squares = jnp.mean(jnp.sum(jnp.square(features), axis=1))
    return (squares - jnp.sum(jnp.square(mean))) / (number - 1)
