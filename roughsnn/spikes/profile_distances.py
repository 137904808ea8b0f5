"""Distances without a time scale, the means of profiles in time: ISI and SPIKE distance."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .distances import AbstractDistance, Neuron


class ISIDistance(AbstractDistance):
    r"""The ISI distance: how different the two instantaneous rates are, on average over time.

    $$
    d(x, y) = \frac{1}{t_1 - t_0} \int_{t_0}^{t_1}
    \frac{|\nu_x(t) - \nu_y(t)|}{\max(\nu_x(t), \nu_y(t))}\, dt ,
    $$

    with $\nu_x(t)$ the length of the interval between spikes of $x$ that $t$ lies in. Before the
    first spike it is the time from $t_0$ to that spike, or the first interval if that is longer;
    likewise after the last. A train without spikes is taken as one with spikes at $t_0$ and $t_1$.
    Between merged spikes the integrand is constant, so the integral is a sum, up to rounding.

    Spikes of a neuron at one time count once. Several neurons are as far apart as their mean.

    Reference: Kreuz, Haas, Morelli, Abarbanel, Politi (2007), J. Neurosci. Methods 165, 151; for
    the edges, Mulansky and Kreuz (2016), SoftwareX 5, 183.
    """

    def _between(self, x: Neuron, y: Neuron, end: Array) -> Float[Array, ""]:
        x, y = _with_spikes(x, end), _with_spikes(y, end)
        times, from_x, from_y = _merged(x, y, end)
        isi_x, isi_y = (
            _following(nodes) - _preceding(nodes)
            for nodes in (_Nodes(times, from_x, x, end), _Nodes(times, from_y, y, end))
        )
        lengths = _lengths(times, end)
        longer = jnp.where(lengths > 0, jnp.maximum(isi_x, isi_y), 1)
        return jnp.sum(lengths * jnp.abs(isi_x - isi_y) / longer) / end

    def _together(self, values: Float[Array, "*batch num_neurons"]) -> Float[Array, "*batch"]:
        return jnp.mean(values, axis=-1)


class SPIKEDistance(AbstractDistance):
    r"""The SPIKE distance: how far spikes are from the other train's, on average over time.

    $$
    d(x, y) = \frac{1}{t_1 - t_0} \int_{t_0}^{t_1}
    \frac{s_x(t)\,\nu_y(t) + s_y(t)\,\nu_x(t)}{\tfrac12\,(\nu_x(t) + \nu_y(t))^2}\, dt,
    \qquad
    s_x(t) = \frac{\Delta_P\,(t_F - t) + \Delta_F\,(t - t_P)}{t_F - t_P} ,
    $$

    with $t_P$ and $t_F$ the spikes of $x$ before and after $t$, $\nu_x = t_F - t_P$, and $\Delta_P$
    and $\Delta_F$ their distances to the nearest spike of $y$. Beyond its first and last spike a
    train goes on by its first and last interval, or to the end of the window if that is longer;
    $s_x$ is constant there. A train without spikes is taken as one with spikes at $t_0$ and $t_1$.
    Between merged spikes the integrand is linear, so the integral is a sum, up to rounding.

    Spikes of a neuron at one time count once. Several neurons are as far apart as their mean.
    These are the edges of PySpike, with one asymmetry of it: the single spike of a train, if it
    is at $t_0$, has a following spike at $t_1$ with a distance $\Delta_F$ of its own.

    Reference: Kreuz, Chicharro, Houghton, Andrzejak, Mormann (2013), J. Neurophysiology 109, 1457;
    for the edges, Mulansky and Kreuz (2016), SoftwareX 5, 183.
    """

    def _between(self, x: Neuron, y: Neuron, end: Array) -> Float[Array, ""]:
        x, y = _with_spikes(x, end), _with_spikes(y, end)
        times, from_x, from_y = _merged(x, y, end)
        nodes_x = _Nodes(times, from_x, x, end)
        nodes_y = _Nodes(times, from_y, y, end)
        lengths = _lengths(times, end)
        starts = jnp.concatenate([jnp.zeros_like(end)[None], times])
        used = lengths > 0
        isi_x, start_x, end_x = _spike_profile(nodes_x, nodes_y, starts, lengths)
        isi_y, start_y, end_y = _spike_profile(nodes_y, nodes_x, starts, lengths)
        both = jnp.where(used, isi_x + isi_y, 1)
        at_start = (start_x * isi_y + start_y * isi_x) / both**2
        at_end = (end_x * isi_y + end_y * isi_x) / both**2
        # Twice the mean of both ends, as the integrand has a factor of 1/2 below.
        return jnp.sum(lengths * (at_start + at_end)) / end

    def _together(self, values: Float[Array, "*batch num_neurons"]) -> Float[Array, "*batch"]:
        return jnp.mean(values, axis=-1)


class _Nodes:
    """One train among the merged times: which intervals its spikes begin, and its two edges."""

    def __init__(self, times: Array, own: Array, spikes: Array, end: Array):
        self.times, self.own, self.end = times, own, end
        size = times.shape[0]
        position = jnp.arange(size, dtype=jnp.int32)
        # For interval i, which ends at merged time i: its own spike before it, or -1, and its
        # own spike at or after its end, or `size`.
        before = jax.lax.cummax(jnp.where(own, position, -1))
        self.before = jnp.concatenate([jnp.full(1, -1, jnp.int32), before])
        after = jax.lax.cummin(jnp.where(own, position, size), reverse=True)
        self.after = jnp.concatenate([after, jnp.full(1, size, jnp.int32)])
        self.count = jnp.sum(jnp.isfinite(spikes), dtype=jnp.int32)
        several = self.count > 1
        first, last = spikes[0], spikes[self.count - 1]
        first_isi = jnp.where(several, spikes[1], first) - first
        last_isi = last - spikes[jnp.maximum(self.count - 2, 0)]
        self.left = jnp.minimum(0, first - first_isi)
        self.right = jnp.maximum(end, last + last_isi)
        self.alone_at_start = (self.count == 1) & (first == 0)


def _spike_profile(
    nodes: _Nodes, other: _Nodes, starts: Array, lengths: Array
) -> tuple[Array, Array, Array]:
    """Interval between spikes, and $s$ at both ends, for each interval of the merged times."""
    previous, following = _preceding(nodes), _following(nodes)
    # The distance of every merged time to the nearest spike of the other train; used at own ones.
    times = nodes.times
    nearest = jnp.minimum(times - _preceding(other)[1:], _following(other)[:-1] - times)
    at_end = jnp.minimum(nodes.end - _preceding(other)[-1], other.right - nodes.end)
    size = times.shape[0]
    has_before, has_after = nodes.before >= 0, nodes.after < size
    delta_before = nearest[jnp.maximum(nodes.before, 0)]
    delta_after = nearest[jnp.minimum(nodes.after, size - 1)]
    beyond = jnp.where(nodes.alone_at_start, at_end, delta_before)
    delta_after = jnp.where(has_after, delta_after, beyond)
    delta_before = jnp.where(has_before, delta_before, delta_after)
    isi = jnp.where(lengths > 0, following - previous, 1)
    slope = (delta_after - delta_before) / isi
    start = delta_before + slope * (starts - previous)
    return isi, start, start + slope * lengths


def _preceding(nodes: _Nodes) -> Float[Array, " intervals"]:
    """The spike before each interval; before the first spike, where the train would have one."""
    return jnp.where(nodes.before >= 0, nodes.times[jnp.maximum(nodes.before, 0)], nodes.left)


def _following(nodes: _Nodes) -> Float[Array, " intervals"]:
    """The spike after each interval; after the last spike, where the train would have one."""
    size = nodes.times.shape[0]
    return jnp.where(
        nodes.after < size, nodes.times[jnp.minimum(nodes.after, size - 1)], nodes.right
    )


def _with_spikes(x: Neuron, end: Array) -> Neuron:
    """Spikes at one time once; two at the ends of the window if there is none at all."""
    again = jnp.concatenate([jnp.zeros(1, bool), x[1:] == x[:-1]])
    x = jnp.sort(jnp.where(again, jnp.inf, x))
    x = jnp.concatenate([x, jnp.full(2, jnp.inf, x.dtype)])
    ends = jnp.concatenate([jnp.zeros_like(end)[None], end[None], x[2:]])
    return jnp.where(jnp.isfinite(x[0]), x, ends)


def _merged(x: Neuron, y: Neuron, end: Array) -> tuple[Array, Array, Array]:
    """Times of both trains in order, and which are whose; padding, at the end, is nobody's."""
    times = jnp.concatenate([x, y])
    spikes = jnp.isfinite(times)
    is_x = jnp.arange(times.shape[0], dtype=jnp.int32) < x.shape[0]
    times = jnp.where(spikes, times, end)
    times, from_x, from_y = jax.lax.sort((times, is_x & spikes, ~is_x & spikes), num_keys=1)
    return times, from_x, from_y


def _lengths(times: Array, end: Array) -> Float[Array, " intervals"]:
    """Lengths of the intervals from 0 through the merged times to `end`."""
    return jnp.diff(times, prepend=jnp.zeros_like(end)[None], append=end[None])
