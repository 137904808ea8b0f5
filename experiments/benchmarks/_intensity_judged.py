"""Random networks of neurons that fire by an intensity, by the cell engine, beside a loop that is
written apart and central differences."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ._intensity_cases import COUNT, ROOM, WIDTH, looped, random_case


class Judged(NamedTuple):
    """What was found of one network.

    Attributes:
        spikes: how many there were.
        time: the largest difference of a spike time, in cells; infinite for other spikes.
        slope: the largest difference of a derivative, along a random direction of all parameters,
            from a central difference of step 1e-6 or 1e-7, whichever is nearer, relative to the
            larger of it and one.
        unmatched: how many spikes are gained or lost within the step.
    """

    spikes: int
    time: float
    slope: float
    unmatched: int


@eqx.filter_jit
def _spikes(engine, model, protocol, key):
    trains = engine.spike_trains(model, protocol, key=key, num_samples=1, throw=False)
    return trains.times[0], trains.neurons[0], trains.overflowed[0]


@eqx.filter_jit
def _slopes(engine, parts, rest, key):
    """The derivative of each spike time."""

    def times(parts):
        trains = engine.spike_trains(*eqx.combine(parts, rest), key=key, num_samples=1, throw=False)
        return jnp.where(trains.mask[0], trains.times[0], 0)

    _, pull = jax.vjp(times, parts)
    return jax.vmap(lambda one: pull(one)[0])(jnp.eye(ROOM))


def judge_by_intensity(rng: np.random.Generator, kind: str) -> Judged | None:
    """Compare one network; `None` if it fires more often than there is room for."""
    case = random_case(rng, kind)
    engine = case.engine()
    times, neurons, overflowed = map(np.asarray, _spikes(engine, *case))
    if bool(overflowed):
        return None
    there = np.isfinite(times)
    expected, who = looped(case)
    same = there.sum() == expected.size and bool((neurons[there] == who).all())
    time = float(np.max(np.abs(times[there] - expected), initial=0)) / WIDTH if same else np.inf

    parts, rest = eqx.partition((case.model, case.protocol), eqx.is_inexact_array)
    slopes = _slopes(engine, parts, rest, case.key)
    leaves, treedef = jax.tree.flatten(parts)
    direction = [np.where(np.isfinite(x), rng.normal(size=x.shape), 0) for x in leaves]
    exact = np.zeros(ROOM)
    for slope, d in zip(jax.tree.leaves(slopes), direction, strict=True):
        rows = np.where(d == 0, 0, np.asarray(slope) * d)
        exact += rows.reshape(ROOM, -1).sum(axis=1)

    def moved(step):
        ends = [
            x if (d == 0).all() else x + step * d for x, d in zip(leaves, direction, strict=True)
        ]
        when, own, _ = _spikes(
            engine, *eqx.combine(jax.tree.unflatten(treedef, ends), rest), case.key
        )
        return _by_neuron(np.asarray(when), np.asarray(own))

    first, gaps = _by_neuron(times, neurons), []
    for step in (1e-6, 1e-7):
        ahead, behind = moved(step), moved(-step)
        gap = np.full(ROOM, np.nan)
        for n in range(COUNT):
            if len(first[n]) == len(ahead[n]) == len(behind[n]):
                places = first[n]
                by_step = (ahead[n] - behind[n]) / (2 * step)
                at = np.flatnonzero(there & (neurons == n))
                assert len(places) == len(at)
                gap[at] = np.abs(by_step - exact[at]) / np.maximum(np.abs(exact[at]), 1)
        gaps.append(gap)
    gap = np.fmin.reduce(gaps)[there]
    matched = ~np.isnan(gap)
    return Judged(
        int(there.sum()), time, float(np.max(gap[matched], initial=0)), int((~matched).sum())
    )


def _by_neuron(times, neurons) -> list[np.ndarray]:
    return [np.sort(times[np.isfinite(times) & (neurons == n)]) for n in range(COUNT)]
