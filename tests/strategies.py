"""Random spike trains for property tests, all of one shape so that nothing compiles twice."""

import functools
from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from roughsnn.spikes import SpikeTrains

NUM_TRIALS = 3
NUM_NEURONS = 3
MAX_SPIKES = 6

# Multiples of 1/8 make ties, also at both ends of the window. All times are dyadic, so that
# shifting them by a whole number neither makes nor breaks a tie by rounding.
_times = st.one_of(
    st.integers(0, 8).map(lambda i: i / 8), st.integers(0, 2**20).map(lambda i: i / 2**20)
)
_trial = st.lists(st.tuples(_times, st.integers(0, NUM_NEURONS - 1)), max_size=MAX_SPIKES)


def given_trains(*others: st.SearchStrategy) -> Callable:
    """As `hypothesis.given`; the test's first argument `trains` is a batch of spike trains.

    Three trials of three neurons on [0, 1], with up to six spikes each. They are built outside
    the strategy, as run-time type checking draws random numbers, which a strategy must not.
    """

    def decorate(test: Callable) -> Callable:
        @functools.wraps(test)
        def with_trains(trains, **arguments):
            trials = []
            for trial in trains:
                spikes = sorted(trial)
                times = np.array([time for time, _ in spikes], dtype=float)
                trials.append((times, np.array([neuron for _, neuron in spikes], dtype=int)))
            batch = SpikeTrains.from_lists(
                trials, t0=0.0, t1=1.0, num_neurons=NUM_NEURONS, max_spikes=MAX_SPIKES
            )
            test(batch, **arguments)

        raw = st.lists(_trial, min_size=NUM_TRIALS, max_size=NUM_TRIALS)
        return given(raw, *others)(with_trains)

    return decorate
