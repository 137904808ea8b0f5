"""Stochastic leaky integrate-and-fire neurons cell by cell, in NumPy, written apart from the
package: neuron after neuron, potentials by quadrature between arrivals, spikes by bracketing.

Time is in cells. It computes what `roughsnn.CellEngine` says it computes: potentials of the
equation at the start, the middle and the end of each cell, the parabola through them, and the
integrated intensity as the integral of the parabola through three intensities.
"""

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


def spikes_by_intensity(
    a, b, current, dv, di, weights, inputs, *, v0, i0, s0, drop, intensity: Callable,
    level: Callable, delays=None, refractory=None,
):  # fmt: skip
    """Spikes as a sorted list of (time, neuron).

    Args:
        a: leak rates, (N,).
        b: decay rates of the currents, (N,).
        current: input currents, (N,).
        dv: what noise adds to each potential in each cell, evenly, (T, N).
        di: to each current.
        weights: dictionary from a source to its row of weights, (N,). Sources are the neurons and
            `("in", n)`.
        inputs: list of (time, n).
        v0: potentials at the start, (N,).
        i0: currents at the start.
        s0: integrated intensities at the start.
        drop: what a spike takes off the potential, (N,).
        intensity: of a neuron at a potential, per cell: `(neuron, v) -> rate`.
        level: where the integrated intensity begins after a spike: `(neuron, number) -> level`.
        delays: (N,); `None`: spikes arrive at once, at neurons of higher number only.
        refractory: (N,), for how long the integrated intensity stands still after a spike.
    """
    count, num_cells = len(a), len(dv)
    v, i, s = (np.array(x, float) for x in (v0, i0, s0))
    free_at, number = np.zeros(count), np.zeros(count, int)
    arriving = [(time, ("in", n)) for time, n in inputs]
    found = []
    for cell in range(num_cells):
        for n in range(count):
            here = sorted(
                (time - cell, weights[source][n])
                for time, source in arriving
                if cell < time <= cell + 1 and source in weights
            )

            def reached(x, here=here, n=n, cell=cell):
                return _moved(a[n], b[n], current[n], dv[cell, n], di[cell, n], v[n], i[n], here, x)

            (middle, _), (end, i_end) = reached(0.5), reached(1.0)
            outer = np.polyfit([0, 0.5, 1], [v[n], middle, end], 2)
            resets = []

            def potential(x, outer=outer, resets=resets, n=n):
                past = sum(drop[n] * np.exp(-a[n] * (x - when)) for when in resets)
                return np.polyval(outer, x) - past

            while True:
                begin = min(max(free_at[n] - cell, resets[-1] if resets else 0.0, 0.0), 1.0)
                rates = [intensity(n, potential(x)) for x in (begin, 0.5 * (1 + begin), 1.0)]
                rates[1] = max(rates[1], abs(rates[2] - rates[0]) / 4)
                risen = np.polyint(np.polyfit([0, 0.5, 1], rates, 2))

                def value(share, first=s[n], left=1 - begin, risen=risen):
                    return first + left * np.polyval(risen, share)

                if value(1.0) < 0:
                    s[n] = value(1.0)
                    break
                share = brentq(value, 0, 1, xtol=1e-15, rtol=1e-14)
                when = begin + share * (1 - begin)
                found.append((cell + when, n))
                resets.append(when)
                s[n] = level(n, number[n])
                number[n] += 1
                if refractory is not None:
                    free_at[n] = cell + when + refractory[n]
                if n in weights:
                    delay = 0.0 if delays is None else delays[n]
                    arriving.append((cell + when + delay, n))
            past = sum(drop[n] * np.exp(-a[n] * (1 - when)) for when in resets)
            v[n], i[n] = end - past, i_end
    return sorted(found)


def _moved(a, b, current, dv, di, v, i, arrivals, until):
    """Potential and current after a part of a cell, from arrival to arrival."""
    now = 0.0
    for time, weight in [*((x, w) for x, w in arrivals if x <= until), (until, 0.0)]:
        length = time - now
        nodes = 0.5 * length * (_NODES + 1)
        grown = np.where(b == 0, nodes, -np.expm1(-b * nodes) / (b if b else 1.0))
        at_nodes = i * np.exp(-b * nodes) + di * grown
        felt = np.exp(-a * (length - nodes)) * (a * (at_nodes + current) + dv)
        v = np.exp(-a * length) * v + 0.5 * length * (_WEIGHTS @ felt)
        grown = length if b == 0 else -np.expm1(-b * length) / b
        i = i * np.exp(-b * length) + di * grown + weight
        now = time
    return v, i
