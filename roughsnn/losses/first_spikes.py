"""Error of the mean first spike times."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from roughsnn.spikes import SpikeTrains, first_spike_times

from .summary import AbstractSummaryLoss


class FirstSpikesLoss(AbstractSummaryLoss):
    r"""Squared or absolute error of the mean times of the first `n` spikes of each neuron.

    With $\tau^{k}_j$ the $j$-th spike time of neuron $k$, from the start of the window, and the
    mean taken over a sample,

    $$
    L = \frac{1}{Kn} \sum_{k=1}^{K} \sum_{j=1}^{n}
        \rho\bigl(\overline{\tau^{k}_j}(\text{generated})
                - \overline{\tau^{k}_j}(\text{observed})\bigr),
    \qquad \rho(x) = x^2 \text{ or } |x| ,
    $$

    in the unit of time, squared for `error="squared"`. A train in which neuron $k$ spikes only
    $m < n$ times is not left out: its missing times are counted by one of two rules.

    - `missing="extrapolate"` (default): the neuron goes on after the end $T$ of the window at the
      mean interval that the train has shown,
      $$
      \tau_j = T + (j - m)\,\Delta, \qquad
      \Delta = \tau_m / m \ \ (m \ge 1), \qquad \Delta = T \ \ (m = 0),
      $$
      the mean of $\tau_j$ if the neuron were a Poisson process with mean interval $\Delta$. The
      gradient flows through $\tau_m$, so a model that spikes too rarely is told so by every train
      with at least one spike.
    - `missing="horizon"`: $\tau_j = T$, as the paper counts them. A missing spike then has
      gradient zero.

    Neither is free of charge. A spike that enters the window does so at $T$, and the horizon
    rule is the only one from spike times alone that does not jump there; the pathwise gradient
    is the gradient of the expected loss only under that rule. Under extrapolation it is a biased
    but usable direction. Both vanish when both samples have the same mean times; neither has a
    gradient if no generated train has a spike.

    Attributes:
        n: number of spikes of each neuron to compare.
        error: `"squared"` or `"absolute"`.
        missing: `"extrapolate"` or `"horizon"`.

    Raises:
        ValueError: a setting outside its range, at construction; samples that cannot be compared,
            at the call.

    Reference: Holberg and Salvi (2024), section 4.2, where the mean absolute error with missing
    spikes at the horizon is the hold-out metric.
    """

    summary_is_mean: ClassVar[bool] = True

    n: int = eqx.field(static=True)
    error: str = eqx.field(default="squared", static=True)
    missing: str = eqx.field(default="extrapolate", static=True)

    def __check_init__(self):
        if self.n < 1:
            raise ValueError(f"`n` is {self.n}; it must be 1 or more.")
        if self.error not in ("squared", "absolute"):
            raise ValueError(f"`error` is {self.error!r}; it must be 'squared' or 'absolute'.")
        if self.missing not in ("extrapolate", "horizon"):
            raise ValueError(
                f"`missing` is {self.missing!r}; it must be 'extrapolate' or 'horizon'."
            )

    def summary(self, trains: SpikeTrains) -> Float[Array, "num_neurons n"]:
        """Mean over the sample of the first `n` spike times of each neuron."""
        return jnp.mean(self._completed(trains), axis=0)

    def discrepancy(
        self, generated: Float[Array, "num_neurons n"], observed: Float[Array, "num_neurons n"]
    ) -> Float[Array, ""]:
        """Mean squared or absolute difference of two arrays of mean times."""
        difference = generated - observed
        if self.error == "absolute":
            return jnp.mean(jnp.abs(difference))
        return jnp.mean(jnp.square(difference))

    def _completed(self, trains: SpikeTrains) -> Float[Array, "samples num_neurons n"]:
        """First spike times, with finite values by the rule for those that do not occur."""
        times = first_spike_times(trains, self.n)
        occurs = jnp.isfinite(times)
        end = jnp.broadcast_to(trains.durations[:, None, None], times.shape)
        if self.missing == "horizon":
            return jnp.where(occurs, times, end)
        dtype = times.dtype
        num_spikes = jnp.sum(occurs, axis=-1, keepdims=True).astype(dtype)
        # The last spike found; `inf` is replaced before any arithmetic.
        last = jnp.max(jnp.where(occurs, times, 0), axis=-1, keepdims=True)
        silent = num_spikes == 0
        interval = last / jnp.where(silent, 1.0, num_spikes)
        interval = jnp.where(silent, end[..., :1], interval)
        order = jnp.arange(1, self.n + 1, dtype=dtype).reshape(1, 1, self.n)
        return jnp.where(occurs, times, end + (order - num_spikes) * interval)
