"""How large a jump should be: chosen from the trains, or for the power of a test."""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from ..spikes.checks import is_traced, refuse_if
from ..spikes.trains import SpikeTrains
from ..spikes.windows import common_duration
from ._edge_series import order_for_jumps, order_for_square
from .event_kernel import most_spikes, scaled_length, suggested_neuron_scale
from .mmd import mmd2_from_grams, mmd2_standard_error
from .signature_kernel import SignatureKernel


def count_distances(trains: SpikeTrains) -> Float[Array, "n n"]:
    r"""Root mean square distance of the counting paths of every two trains, over the window.

    $$
    d(x, y)^2 = \frac1T \int_0^T \sum_k
        \bigl(N^k_x(t) - N^k_y(t)\bigr)^2 \, dt ,
    $$

    the distance that the linear static kernel induces on paths. The integrals are sums over
    pairs of spikes of one neuron, $\int N_x N_y = \sum_{ij} (T - \max(\tau_i, \sigma_j))$.

    Args:
        trains: of batch shape `(n,)`.

    Raises:
        ValueError: not exactly one batch axis.
    """
    if len(trains.batch_shape) != 1:
        raise ValueError(
            f"`trains` has batch shape {trains.batch_shape}; it must have one batch axis."
        )
    # Padding lies at the end of the window, where the rest of the integral is empty.
    end = common_duration(trains, "A distance of counting paths")
    times = jnp.where(trains.mask, trains.times, end)

    def products(train):
        own_times, own_neurons = train
        rest = end - jnp.maximum(own_times[None, :, None], times[:, None, :])
        same = own_neurons[None, :, None] == trains.neurons[:, None, :]
        return jnp.sum(jnp.where(same, rest, 0), axis=(1, 2))

    gram = jax.lax.map(products, (times, trains.neurons)) / end
    squares = jnp.diagonal(gram)
    # Rounding may leave a little less than nothing.
    return jnp.sqrt(jnp.maximum(squares[:, None] + squares[None, :] - 2 * gram, 0))


def median_neuron_scale(trains: SpikeTrains) -> Float[Array, ""]:
    r"""Median heuristic: the jump size with which the median distance of two trains is 1.

    The distance is that of the counting paths, `count_distances`. For Poisson trains with $c$
    spikes on average it is $\sqrt c$, so the heuristic agrees with `suggested_neuron_scale`; for
    trains more regular than that, or locked to a stimulus, jumps come out larger, as there is
    less noise for them to carry. Time needs no such choice: its channel is the same for all.

    Args:
        trains: two or more, of batch shape `(n,)`: all trains that are to be compared.

    Raises:
        ValueError: fewer than two trains, or a median distance of 0 (more than half of the pairs
            are identical).
    """
    if len(trains) < 2:
        raise ValueError(f"`trains` has {len(trains)} trains; a distance needs two or more.")
    first, second = np.triu_indices(len(trains), 1)
    median = jnp.median(count_distances(trains)[first, second])
    median = refuse_if(
        median,
        median == 0,
        "More than half of all pairs of trains are identical, so their median distance is 0. "
        "Use `suggested_neuron_scale`, or a scale of your own.",
    )
    return 1 / median


class ScaleSelection(eqx.Module):
    """What `neuron_scale_by_power` found.

    Attributes:
        kernel: the kernel with the best scale.
        neuron_scales: the scales that were tried.
        criteria: estimated MMD^2 divided by its standard error, for each.
        x_rest: trains of the first sample that were not used, for the test.
        y_rest: trains of the second sample that were not used, for the test.
    """

    kernel: SignatureKernel
    neuron_scales: Float[Array, " scales"]
    criteria: Float[Array, " scales"]
    x_rest: SpikeTrains
    y_rest: SpikeTrains


def neuron_scale_by_power(
    x: SpikeTrains,
    y: SpikeTrains,
    kernel: SignatureKernel | None = None,
    *,
    key: PRNGKeyArray,
    neuron_scales: Sequence[float] | ArrayLike | None = None,
    fraction: float = 0.5,
    regularisation: float = 1e-4,
) -> ScaleSelection:
    r"""Choose the jump size with the largest estimated power of the two-sample test.

    For large samples the power grows with $\mathrm{MMD}^2 / \sigma$, the unbiased estimate over
    its standard error under different laws. The scale with the largest ratio on a random part of
    both samples is chosen; **test on the rest**, which is returned, as a test on the trains that
    chose the scale rejects equal laws too often.

    ```python
    chosen = neuron_scale_by_power(x, y, key=key)
    result = two_sample_test(chosen.x_rest, chosen.y_rest, chosen.kernel, key=other_key)
    ```

    Args:
        x: first sample, of batch shape `(m,)`.
        y: second sample, of batch shape `(n,)`.
        kernel: whose other settings are kept; by default the normalised `SignatureKernel`.
        key: of the split.
        neuron_scales: scales to try; by default the suggested one times 1/4, 1/2, 1, 2 and 4, of
            these no larger than the raw counts (1) or the suggested one.
        fraction: of each sample, to choose on.
        regularisation: added to the standard error, in units of the mean kernel, so that no ratio
            of two roundings wins.

    Raises:
        ValueError: a fraction outside (0, 1); fewer than two trains of a sample on either side of
            the split; no scale, or one that is not positive.

    Reference: Sutherland, Tung, Strathmann, De, Ramdas, Smola, Gretton (2017), ICLR.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"`fraction` is {fraction}; it must be between 0 and 1.")
    kernel = SignatureKernel(normalise=True) if kernel is None else kernel
    key_x, key_y = jr.split(key)
    x_chosen, x_rest = _split(x, fraction, key_x, "x")
    y_chosen, y_rest = _split(y, fraction, key_y, "y")
    pooled = SpikeTrains.concatenate([x_chosen, y_chosen])
    if neuron_scales is None:
        suggested = float(suggested_neuron_scale(pooled))
        scales = suggested * np.array([0.25, 0.5, 1.0, 2.0, 4.0])
        scales = scales[scales <= max(1.0, suggested)]
    else:
        scales = np.atleast_1d(np.asarray(neuron_scales, dtype=float))
    if scales.size == 0 or not np.all(scales > 0):
        raise ValueError(
            f"`neuron_scales` is {scales.tolist()}; give positive numbers, one or more."
        )
    kernel = _with_scale(kernel, scales[0]).fixed_for(pooled)
    trial = kernel
    if kernel.orders is None and not is_traced(kernel):
        # One compiled program for all scales: the orders that the largest needs.
        length = scaled_length(common_duration(pooled, "The choice of a scale"), kernel.time_scale)
        orders = (
            order_for_square(length**2, kernel.tolerance),
            order_for_jumps(float(scales.max()), kernel.tolerance, 2 * most_spikes(pooled)),
        )
        trial = dataclasses.replace(kernel, orders=orders)
    criteria = []
    for scale in scales:
        gram = _with_scale(trial, scale)(pooled)
        m = len(x_chosen)
        blocks = gram[:m, :m], gram[m:, m:], gram[:m, m:]
        error = mmd2_standard_error(*blocks) + regularisation * jnp.mean(gram)
        criteria.append(mmd2_from_grams(*blocks) / error)
    criteria = jnp.stack(criteria)
    best = scales[int(jnp.argmax(criteria))]
    return ScaleSelection(
        _with_scale(kernel, best).fixed_for(pooled),
        jnp.asarray(scales, criteria.dtype),
        criteria,
        x_rest,
        y_rest,
    )


def _split(
    trains: SpikeTrains, fraction: float, key: PRNGKeyArray, name: str
) -> tuple[SpikeTrains, SpikeTrains]:
    size = len(trains)
    chosen = round(fraction * size)
    if min(chosen, size - chosen) < 2:
        raise ValueError(
            f"`{name}` has {size} trains, of which {chosen} would choose the scale and "
            f"{size - chosen} be left; both need two or more."
        )
    order = jr.permutation(key, size)
    return trains[order[:chosen]], trains[order[chosen:]]


def _with_scale(kernel: SignatureKernel, scale: np.floating) -> SignatureKernel:
    # (the paths have another size then)
    return dataclasses.replace(kernel, neuron_scale=float(scale), path_size=None)
