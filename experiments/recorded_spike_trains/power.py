"""How long a sequence the two-sample test should compare, found on the training part alone.

For each length, training sequences without replacement, `intervals` intervals in all, are tested
against sequences of the Poisson process of the same rate, `repeats` times.

    python -m experiments.recorded_spike_trains.power recording.csv ...
"""

import sys
from pathlib import Path

import jax.random as jr
import numpy as np

from .judging import as_sequences, compare
from .reading import read_recording
from .splitting import Part, split


def power(part: Part, length: int, *, intervals: int, generated: int, repeats: int, seed: int = 0):
    """p-values of the test of a training part against Poisson.

    Args:
        part: the data.
        length: intervals in a sequence.
        intervals: of the training part in a test; fewer than are held out, so that the p-values
            are not all the smallest possible one.
        generated: sequences of the Poisson process.
        repeats: number of tests.
        seed: of the drawing.
    """
    random = np.random.default_rng(seed)
    whole = part.train[: part.train.size // length * length].reshape(-1, length)
    found = []
    for repeat in range(repeats):
        drawn = whole[random.permutation(len(whole))[: intervals // length]]
        poisson = random.exponential(part.train.mean(), (generated, length))
        test = compare(as_sequences(drawn, part), as_sequences(poisson, part), jr.key(repeat))
        found.append(float(test.p_value))
    return np.array(found)


def main(files: list[str]) -> None:
    """Print the power for each file and some lengths."""
    for file in files:
        part = split(read_recording([Path(file)]), 10.0)[0][0]
        for length in (1, 3, 5):
            p = power(part, length, intervals=90, generated=300, repeats=8)
            share = np.mean(p <= 0.05)
            print(
                f"{Path(file).stem}, sequences of {length}: Poisson rejected in {share:.0%} of "
                f"{p.size} tests of 90 intervals, median p {np.median(p):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
