"""The MMD of large samples by landmarks: its error, and its cost against that of small samples.

Two laws of Poisson trains of 10 neurons that differ in rate. The error is that of one estimate from
landmarks beside the full MMD of the same trains, a part of the large samples, in units of the
standard error that the full MMD of the large samples has; for several draws of the landmarks, plain
and corrected on some trains. The cost is that of the value and the gradient in the times of one
sample, by turns with the full MMD of few trains.
"""

import functools
import math
import statistics

import jax
import jax.numpy as jnp
import numpy as np

from roughsnn.signatures import (
    LandmarkFeatures,
    SignatureKernel,
    landmark_mmd2,
    mmd2,
    mmd2_from_grams,
    mmd2_standard_error,
)
from roughsnn.spikes import SpikeTrains

from ._measure import compare, paired_ratio
from ._study import Study, format_table
from .signature_kernel_speed import moved

_NEURONS, _SLOTS = 10, 24


def study(
    trains: int = 10_000,
    few: int = 500,
    compared: int = 1500,
    landmarks: tuple[int, ...] = (32, 64, 128, 256),
    corrected_on: int = 250,
    draws: int = 3,
    repeats: int = 3,
) -> Study:
    """Run the comparison, in double precision.

    Args:
        trains: trains of each large sample.
        few: trains of each small one, whose full MMD is the unit of time.
        compared: trains of each sample whose MMD is computed in full as well.
        landmarks: numbers of landmarks; the last is judged.
        corrected_on: trains of each sample for the correction.
        draws: draws of the landmarks.
        repeats: rounds of timing.
    """
    jax.config.update("jax_enable_x64", True)
    x, y = poisson_trains(trains, 10.0, 0), poisson_trains(trains, 10.5, 1)
    kernel = SignatureKernel(normalise=True).fixed_for(y)
    seen = x[:compared], y[:compared]
    grams = kernel(seen[0]), kernel(seen[1]), kernel(*seen)
    full = float(mmd2_from_grams(*grams))
    error_of_full = float(mmd2_standard_error(*grams))
    # The squared standard error of laws that differ falls with the number of trains.
    unit_of_error = error_of_full * math.sqrt(compared / trains)
    figures = {
        "full_mmd2": full,
        "standard_error_of_full_mmd2": error_of_full,
        "standard_error_of_large_samples": unit_of_error,
    }
    rows = [["full", "-", full, error_of_full, "-"]]
    for number in landmarks:
        for corrected in (0, corrected_on):
            values = []
            for draw in range(draws):
                features = LandmarkFeatures.from_trains(y, number, kernel, key=jax.random.key(draw))
                value = landmark_mmd2(*seen, features, corrected_on=corrected)
                values.append(float(value) - full)
            worst = max(map(abs, values)) / unit_of_error
            name = f"{number}_landmarks{'_corrected' if corrected else ''}"
            figures[f"largest_error_{name}"] = worst
            rows.append(
                [
                    number,
                    corrected,
                    full + statistics.mean(values),
                    statistics.pstdev(values),
                    worst,
                ]
            )
    last = landmarks[-1]
    features = LandmarkFeatures.from_trains(y, last, kernel, key=jax.random.key(0))
    measured = compare(
        {
            "few, full": _gradient(functools.partial(mmd2, kernel=kernel), x[:few], y[:few]),
            "many, landmarks": _gradient(
                functools.partial(landmark_mmd2, features=features, corrected_on=corrected_on), x, y
            ),
        },
        repeats,
    )
    many, unit = measured["many, landmarks"], measured["few, full"]
    figures |= {
        "many_over_few": paired_ratio(many, unit),
        "many_over_few_cpu": paired_ratio(many, unit, "cpu"),
        "scratch_mb": many.temp_bytes / 1e6,
    }
    bounds = {
        "many_over_few": "<= 20",
        f"largest_error_{last}_landmarks": "<= 1",
        f"largest_error_{last}_landmarks_corrected": "<= 1",
        "scratch_mb": "<= 1000",
    }
    header = [
        "landmarks",
        "corrected on",
        "MMD^2, mean",
        "spread",
        "largest error / standard error",
    ]
    table = format_table(header, rows) + "\n\n"
    table += format_table(
        ["value and gradient", "trains", "wall ms", "CPU ms", "scratch MB", "compile s"],
        [
            [name, n, 1e3 * m.wall_seconds, 1e3 * m.cpu_seconds, m.temp_bytes / 1e6,
             m.compile_seconds]
            for (name, m), n in zip(measured.items(), (few, trains), strict=True)
        ],
    )  # fmt: skip
    return Study(figures, bounds, table)


def poisson_trains(number: int, rate: float, seed: int) -> SpikeTrains:
    """Poisson trains on [0, 1] of so many spikes on average, all neurons together."""
    random = np.random.default_rng(seed)
    counts = np.minimum(random.poisson(rate, number), _SLOTS)
    used = np.arange(_SLOTS)[None] < counts[:, None]
    times = np.sort(np.where(used, random.random((number, _SLOTS)), math.inf), axis=1)
    neurons = np.where(used, random.integers(0, _NEURONS, (number, _SLOTS)), -1)
    return SpikeTrains(jnp.asarray(times), neurons, 0.0, 1.0, num_neurons=_NEURONS)


def _gradient(distance, x: SpikeTrains, y: SpikeTrains):
    def value(times):
        return distance(moved(x, times), y)

    return jax.value_and_grad(value), (x.times,)
