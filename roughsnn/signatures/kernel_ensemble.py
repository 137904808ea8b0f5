"""Several kernels that make one test, and a kernel whose directions weigh alike."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..spikes.trains import SpikeTrains
from ..spikes.windows import common_duration
from .event_kernel import suggested_neuron_scale
from .interval_kernel import IntervalKernel
from .signature_kernel import SignatureKernel


class KernelEnsemble(eqx.Module):
    r"""Kernels that are tested together, each with its regularisation and its weight.

    The MMD weighs each direction of the feature space by the variance of the trains in it: what
    varies most, the number of spikes, drowns what varies little, such as whether short intervals
    occur. With a regularisation $\lambda$ a kernel is replaced by

    $$
    K_\lambda = \tilde K (\tilde K + N \lambda' I)^{-1}, \qquad
    \lambda' = \lambda \operatorname{tr}(\tilde K) / N,
    $$

    with $\tilde K$ the centred Gram matrix of all $N$ trains: directions with more than the share
    $\lambda$ of the variance then weigh alike, and the others fade out. As all trains enter alike,
    a permutation test stays exact.

    Attributes:
        kernels: the kernels; scales that they leave open are found from all trains.
        regularisation: $\lambda$ of each kernel; 0 leaves the kernel as it is.
        weights: of the kernels in the test, see `aggregated_statistics`.

    Raises:
        ValueError: no kernel; a regularisation or weights that do not fit, at construction.

    Reference: Hagrass, Sriperumbudur, Li (2024), Annals of Statistics 52, 1076.
    """

    kernels: tuple[SignatureKernel | IntervalKernel, ...]
    regularisation: tuple[float, ...] | None = eqx.field(default=None, static=True)
    weights: tuple[float, ...] | None = eqx.field(default=None, static=True)

    def __check_init__(self):
        number = len(self.kernels)
        if number == 0:
            raise ValueError("`kernel` is empty; give one kernel or more.")
        for name, low in (("regularisation", "0 or more"), ("weights", "positive")):
            values = getattr(self, name)
            if values is None:
                continue
            if len(values) != number or not all(
                value > 0 or (value == 0 and low == "0 or more") for value in values
            ):
                raise ValueError(
                    f"`{name}` is {values}; it must have a number, {low}, for each of the {number} "
                    "kernels."
                )

    @classmethod
    def for_trains(cls, trains: SpikeTrains) -> "KernelEnsemble":
        r"""Kernels that together see most differences: of counts, times and intervals.

        With $T$ the length of the window and $s$ the scale of `suggested_neuron_scale`:

        - *counts*: small time and jumps, $0.2 / T$ and $s / 4$, for which the signature kernel is
          nearly that of the numbers of spikes;
        - *times*: seven units of time with jumps of $1.7\,s$ (smaller, where a train has so many
          spikes that float32 would overflow), normalised, with regularisation 0.003;
        - *intervals* of each neuron, and from each neuron to each other one, by `IntervalKernel`,
          with regularisation 0.2.

        The weights, 1, 0.6, 0.5 and 0.5, leave the first kernel nearly all of the level: against a
        plain change of rate, of which the numbers of spikes tell all there is to know, no power is
        lost to a test of the counts alone. The price is paid against small changes of other kinds;
        who knows what to look for tests with that kernel alone, or with other weights.

        Args:
            trains: all trains together, of batch shape `(n,)`.
        """
        window = common_duration(trains, "The ensemble of kernels")
        scale = suggested_neuron_scale(trains)
        most = jnp.maximum(jnp.max(trains.counts, initial=0), 1).astype(scale.dtype)
        fine = jnp.minimum(1.7 * scale, 25 / most)
        # A test needs no more: what is cut off is cut off for both samples alike.
        counting = SignatureKernel(0.2 / window, 0.25 * scale, orders=(3, 4))
        timing = SignatureKernel(7 / window, fine, normalise=True, orders=(10, 7))
        kernels = (counting, timing, IntervalKernel(), IntervalKernel(between=True))
        number = 3 if trains.num_neurons == 1 else 4
        return cls(kernels[:number], (0.0, 0.003, 0.2, 0.2)[:number], (1.0, 0.6, 0.5, 0.5)[:number])

    def grams(self, trains: SpikeTrains) -> Float[Array, "kernels n n"]:
        """Gram matrices of all trains of both samples together, regularised."""
        regularisation = self.regularisation or (0.0,) * len(self.kernels)
        return jnp.stack(
            [
                flattened(kernel(trains), value) if value else kernel(trains)
                for kernel, value in zip(self.kernels, regularisation, strict=True)
            ]
        )


@jax.jit  # the regularisation is traced: one program for every value
def flattened(
    gram: Float[Array, "n n"], regularisation: float | Float[Array, ""]
) -> Float[Array, "n n"]:
    r"""The Gram matrix $K_\lambda$ of `KernelEnsemble`, whose eigenvalues lie between 0 and 1."""
    rows = jnp.mean(gram, axis=0)
    centred = gram - rows[:, None] - rows[None, :] + jnp.mean(rows)
    eigenvalues, vectors = jnp.linalg.eigh((centred + centred.T) / 2)
    # Directions along which the trains differ by no more than the rounding of the entries are none,
    # positive or negative: weighed like the others, that rounding would be all there is to see.
    floor = 16 * jnp.finfo(gram.dtype).eps * gram.shape[0] * jnp.max(jnp.abs(gram), initial=0)
    eigenvalues = jnp.where(eigenvalues > floor, eigenvalues, 0)
    shift = regularisation * jnp.sum(eigenvalues)
    # Equal trains leave nothing to weigh.
    weights = eigenvalues / (eigenvalues + jnp.where(shift > 0, shift, 1))
    return jnp.matmul(vectors * weights[None, :], vectors.T, precision="highest")
