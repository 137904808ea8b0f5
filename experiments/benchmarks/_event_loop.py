"""An event loop for leaky integrate-and-fire neurons with current synapses, in NumPy, written
apart from the package: between events by quadrature, crossings by bracketing."""

import heapq

import numpy as np
from scipy.optimize import brentq, minimize_scalar

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)


def spikes_of(
    mu1, mu2, threshold, reset, current, weights, inputs, *, v0, i0, duration, delays=None,
    refractory=None, noise=None,
):  # fmt: skip
    """Spikes as a sorted list of (time, neuron).

    Args:
        mu1: leak rates, (N,).
        mu2: decay rates of the currents, (N,).
        threshold: (N,).
        reset: potentials after a spike, (N,).
        current: a function of time that is constant between multiples of `current.step`; or (N,).
        weights: dictionary from a source to its row of weights, (N,). Sources are the neurons and
            `("in", n)`.
        inputs: list of (time, n).
        v0: potentials at the start, (N,).
        i0: currents at the start, (N,).
        duration: where to stop.
        delays: (N,) of the neurons' spikes, or (N, N) of their synapses; `None`: they arrive at
            once.
        refractory: (N,), for how long the potential stays at the reset.
        noise: (T, N), what is added to each current in each unit of time, evenly.
    """
    count = len(mu1)
    v, i = np.array(v0, float), np.array(i0, float)
    held = np.zeros(count)
    queue = [(time, 1, ("in", n)) for time, n in inputs if time > 0]
    if callable(current):
        cuts = np.arange(current.step, duration, current.step)
        queue += [(time, 0, None) for time in cuts]
    if noise is not None:
        queue += [(float(time), 0, None) for time in range(1, len(noise))]
    heapq.heapify(queue)
    now, found = 0.0, []

    def input_at(time):
        value = current(time) if callable(current) else current
        return np.broadcast_to(value, (count,))

    while now < duration:
        until = min(queue[0][0], duration) if queue else duration
        c = input_at(0.5 * (now + until))
        g = np.zeros(count) if noise is None else noise[int(0.5 * (now + until))]
        first, who = until, None
        for n in range(count):
            time = _crossing(
                mu1[n], mu2[n], threshold[n], c[n], g[n], v[n], i[n], now, first, held[n]
            )
            if time is not None and (time < first or who is None):
                first, who = time, n
        for n in range(count):
            v[n], i[n] = _moved(mu1[n], mu2[n], c[n], g[n], v[n], i[n], now, first, held[n])
        now = first
        if who is not None:
            found.append((now, who))
            v[who] = reset[who]
            if refractory is not None:
                held[who] = now + refractory[who]
            if who in weights:
                if delays is None:
                    i = i + weights[who]
                elif np.ndim(delays) == 1:
                    heapq.heappush(queue, (now + delays[who], 1, who))
                else:
                    for to in range(count):
                        heapq.heappush(queue, (now + delays[who, to], 1, ("synapse", who, to)))
            continue
        while queue and queue[0][0] <= now:
            _, _, source = heapq.heappop(queue)
            if isinstance(source, tuple) and source[0] == "synapse":
                sender, to = list(source)[1:]
                i[to] += weights[sender][to]
            elif source is not None:
                i = i + weights[source]
    return found


def _free(mu1, mu2, c, g, v, i, time):
    """By quadrature of v' = mu1 (i + c - v), which knows no special case of equal rates, with
    i' = g - mu2 i."""
    nodes = 0.5 * time * (_NODES + 1)
    felt = np.exp(-mu1 * (time - nodes)) * (c + _current(mu2, g, i, nodes))
    by_input = mu1 * 0.5 * time * (_WEIGHTS @ felt)
    return np.exp(-mu1 * time) * v + by_input, _current(mu2, g, i, time)


def _current(mu2, g, i, time):
    return g / mu2 + (i - g / mu2) * np.exp(-mu2 * time)


def _moved(mu1, mu2, c, g, v, i, begin, end, held):
    if held > begin:
        stop = min(held, end)
        i = _current(mu2, g, i, stop - begin)
        begin = stop
    return _free(mu1, mu2, c, g, v, i, end - begin)


def _crossing(mu1, mu2, threshold, c, g, v, i, begin, end, held):
    """The first time in (begin, end] at which the potential reaches the threshold from below."""
    if held > begin:
        if held >= end:
            return None
        i = _current(mu2, g, i, held - begin)
        begin = held

    def above(time):
        return _free(mu1, mu2, c, g, v, i, time - begin)[0] - threshold

    if above(begin) >= 0:
        return begin
    # the potential has one extremum at most between events
    top = minimize_scalar(
        lambda t: -above(t), bounds=(begin, end), method="bounded", options=dict(xatol=1e-12)
    )
    for right in (top.x, end):
        if above(right) >= 0:
            return float(brentq(above, begin, right, xtol=1e-14, rtol=1e-14))
    return None
