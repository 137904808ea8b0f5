"""Values as the times of spikes."""

import numpy as np
from jax.typing import ArrayLike

from roughsnn._checks import RealLike, number
from roughsnn.spikes import SpikeTrains


def latency_spikes(
    values: ArrayLike, *, first: RealLike = 0.0, last: RealLike, t1: RealLike
) -> SpikeTrains:
    r"""One spike of each input, the later the larger its value.

    $$ \tau_k = t_{\text{first}} + x_k\,(t_{\text{last}} - t_{\text{first}}), \qquad
       x_k \in [0, 1] . $$

    ```python
    from roughsnn.tasks import latency_spikes, yin_yang

    data = yin_yang(5000, seed=42)
    trains = latency_spikes(data.inputs, last=6.0, t1=8.0)
    rs.LabelledData(trains, data.targets)
    ```

    Args:
        values: $x$, shape (samples, inputs), from 0 to 1; an input whose value is NaN does not
            fire. For spikes that are the earlier the larger a value is, give `1 - values`.
        first: the time of the value 0, in the unit of time of the model.
        last: the time of the value 1; later than `first`.
        t1: the end of the window, which begins at 0.

    Returns:
        trains with batch shape `(samples,)`, as many neurons as there are inputs.

    Raises:
        ValueError: values of another shape or outside 0 to 1; times that do not follow each other.
    """
    first, last, t1 = number("first", first, least=0), number("last", last), number("t1", t1)
    if not first < last <= t1:
        raise ValueError(
            f"`first`, `last` and `t1` are {first:g}, {last:g} and {t1:g}; spikes need "
            "`first < last <= t1`."
        )
    x = np.asarray(values, np.float64)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(
            f"`values` has shape {x.shape}; it must be (samples, inputs). Flatten the axes of a "
            "picture with `values.reshape(len(values), -1)`."
        )
    # (single precision may have rounded a one up)
    wrong = (x < -1e-6) | (x > 1 + 1e-6)
    if wrong.any():
        raise ValueError(
            f"`values` holds {x[wrong][0]:g}; they must lie between 0 and 1. Scale them, or leave "
            "an input without a spike by NaN."
        )
    times = first + np.clip(x, 0, 1) * (last - first)
    times = np.where(np.isnan(times), np.inf, times)
    order = np.argsort(times, axis=1, kind="stable")
    times = np.take_along_axis(times, order, axis=1)
    neurons = np.where(np.isinf(times), -1, order).astype(np.int32)
    room = max(1, int((neurons >= 0).sum(axis=1).max()))
    return SpikeTrains(times[:, :room], neurons[:, :room], 0.0, t1, num_neurons=x.shape[1])
