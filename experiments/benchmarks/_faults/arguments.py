"""Faults of one kind: arguments."""

import jax
import jax.numpy as jnp
import numpy as np

import roughsnn as rs

from . import Fault, refusal

_NEURON = {"mu1": 20.0, "mu2": 10.0}


def _scalars_of_numpy() -> tuple[str, bool]:
    """`simulate` and its kin with numbers from NumPy, as pandas and HDF5 give them."""
    neuron, key = rs.LIF(1, **_NEURON), jax.random.key(0)
    counts = dict(num_samples=np.int64(2), max_spikes=np.int32(40), stop_after=np.array(30))
    expected = rs.simulate(
        neuron, 0.0, 1.0, 0.01, key=key, num_samples=2, max_spikes=40, input_current=1.5
    )
    window = np.float64(0.0), np.float32(1.0), np.array(0.01)
    trains = rs.simulate(neuron, *window, key=key, input_current=np.float64(1.5), **counts)
    solution = rs.simulate_solution(neuron, *window, key=key, input_current=np.int8(0), **counts)
    on_grid = rs.simulate_on_grid(
        neuron, *window, key=key, num_samples=np.int64(2), input_current=np.float32(1.5)
    )
    noisy = rs.StochasticLIF(1)
    trials = rs.simulate_trials(noisy, *window, key=key, **counts)
    own = rs.eventsolve(
        neuron, *window, neuron.initial_state(key), key=key, max_events=np.int64(40),
        args=jnp.asarray(1.5), max_steps=np.int64(500),
    )  # fmt: skip
    counted = rs.psth(trains, np.int64(10)), rs.first_spike_times(trains, np.int64(2))
    right = (
        bool(np.array_equal(trains.times, expected.times[:, :40]))
        and int(solution.num_events[0]) == 0
        and int(own.num_events) == int(expected.counts[0])
        and on_grid.batch_shape == (2,)
        and len(trials) == 2
        and counted[0].shape == (1, 10)
    )
    figures = (expected.counts, trains.counts, solution.num_events, own.num_events)
    return f"spikes: {', '.join(str(np.asarray(x).ravel()[0]) for x in figures)}", right


def _names_of_arguments() -> tuple[str, bool]:
    neuron, key = rs.LIF(1, **_NEURON), jax.random.key(0)

    def simulate(t1=1.0, **changes):
        counts = dict(num_samples=1, max_spikes=4) | changes
        return rs.simulate(neuron, 0.0, t1, 0.1, key=key, **counts)

    found = [
        refusal(lambda: simulate(max_spikes=-1), "`max_spikes`"),
        refusal(lambda: simulate(max_spikes=True), "`max_spikes`"),
        refusal(lambda: simulate(stop_after=9), "`stop_after`", "`max_spikes`"),
        refusal(lambda: simulate(t1="1"), "`t1`", "number"),
        refusal(lambda: simulate(t1=np.ones(2)), "`t1`", "number"),
        refusal(lambda: jax.jit(simulate)(1.0), "`t1`", "known"),
    ]
    return "; ".join(text for text, _ in found[:2]), all(right for _, right in found)


FAULTS: list[Fault] = [
    Fault(15, "numbers of NumPy at every door", _scalars_of_numpy),
    Fault(15, "errors name what the user gave", _names_of_arguments),
]
