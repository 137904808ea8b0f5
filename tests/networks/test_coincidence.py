"""Detectors of coincidence against a loop over arrivals, and against a spiking network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roughsnn as rs

RNG = np.random.default_rng(0)
POSITIONS = RNG.uniform(0, 5, (7, 2))
POINTS = RNG.uniform(0, 5, (12, 2))
TIMES = np.where(np.arange(12) < 10, RNG.uniform(0, 0.5, 12), np.inf)


def loop(positions, points, times, reach, tau, threshold):
    """Spikes of each neuron, arrival by arrival."""
    found = []
    for q in positions:
        distance = np.linalg.norm(points - q, axis=1)
        arrivals = sorted((t + d for t, d in zip(times, distance, strict=True)
                           if d <= reach and np.isfinite(t)))  # fmt: skip
        v, last, spikes = 0.0, 0.0, []
        for now in arrivals:
            v, last = v * np.exp((last - now) / tau) + 1, now
            if v > threshold:
                spikes.append(now)
                v = 0.0
        found.append(spikes)
    return found


def test_spikes_are_those_of_a_loop_over_arrivals():
    """Equal to rounding; some neurons fire and some arrivals do not."""
    detectors = rs.CoincidenceDetectors(POSITIONS, reach=3.0, tau=0.4)
    spikes = np.asarray(detectors.spike_times(POINTS, TIMES))
    expected = loop(POSITIONS, POINTS, TIMES, 3.0, 0.4, 1.5)
    assert 3 < sum(map(len, expected)) < 40
    for k, times in enumerate(expected):
        own = spikes[:, k]
        np.testing.assert_allclose(np.sort(own[np.isfinite(own)]), times, rtol=1e-12)
    np.testing.assert_array_equal(
        detectors.spike_counts(POINTS, TIMES), [len(times) for times in expected]
    )
    trains = detectors.spike_trains(POINTS, TIMES, t1=4.0, max_spikes=50)
    assert not trains.overflowed
    assert int(jnp.sum(jnp.isfinite(trains.times))) == sum(t <= 4 for x in expected for t in x)


def test_a_mirrored_pair_fires_the_axis_and_the_derivative_is_that_of_the_distance():
    detectors = rs.CoincidenceDetectors([[0.0, 3.0], [1.0, 3.0]], tau=0.05)

    def first(speed):
        moved = rs.CoincidenceDetectors(detectors.positions, speed=speed, tau=0.05)
        return moved.spike_times(jnp.asarray([[-4.0, 0.0], [4.0, 0.0]]))

    spikes = first(jnp.asarray(1.0))
    np.testing.assert_allclose(spikes[1, 0], 5.0)
    assert int(jnp.sum(jnp.isfinite(spikes))) == 1
    slope = jax.jacfwd(lambda speed: first(speed)[1, 0])(jnp.asarray(1.0))
    np.testing.assert_allclose(slope, -5.0)


def test_in_single_precision():
    """The same counts: no two arrivals of these points lie within 1e-5 of the window's edge."""
    with jax.enable_x64(False):
        detectors = rs.CoincidenceDetectors(POSITIONS.astype(np.float32), reach=3.0, tau=0.4)
        counts = detectors.spike_counts(POINTS.astype(np.float32), TIMES.astype(np.float32))
    expected = loop(POSITIONS, POINTS, TIMES, 3.0, 0.4, 1.5)
    np.testing.assert_array_equal(counts, [len(times) for times in expected])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rs.CoincidenceDetectors(np.zeros((0, 2))), "a row for each of one or more points"),
        (lambda: rs.CoincidenceDetectors(POSITIONS, tau=0.0), "`tau` must be positive"),
        (lambda: rs.CoincidenceDetectors(POSITIONS, speed=-1.0), "`speed` must be positive"),
        (lambda: rs.CoincidenceDetectors([[np.nan, 0.0]]), "`positions` must be finite"),
        (lambda: rs.CoincidenceDetectors(POSITIONS).spike_times(POINTS * np.nan), "`points` must"),
        (lambda: rs.CoincidenceDetectors(POSITIONS).spike_times(POINTS, np.nan), "holds a NaN"),
        (lambda: rs.CoincidenceDetectors(POSITIONS).spike_trains(POINTS, t1=1.0, max_spikes=-1),
         "`max_spikes` must be an integer"),
        (lambda: rs.CoincidenceDetectors(POSITIONS).spike_times(np.zeros((3, 3))), "one space"),
        (lambda: rs.CoincidenceDetectors(POSITIONS).spike_times(POINTS, np.zeros(3)), "`times`"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("start", [0.0, 3600.0, 1.7e9])
def test_windows_that_begin_late(start):
    """Times of a recording keep their differences in single precision, or are refused; spikes
    before the window are not in it."""
    points, since = np.array([[0.0, 0.0], [1.0, 0.0]] * 3), np.repeat([-0.7, 0.0, 0.125], 2)
    with jax.enable_x64(False):
        detectors = rs.CoincidenceDetectors([[0.5, 0.0]], tau=0.01)
        trains = detectors.spike_trains(
            points, start + since, t0=np.float64(start), t1=start + 2, max_spikes=np.int64(5)
        )
        np.testing.assert_allclose(trains.to_lists(relative=True)[0], [0.5, 0.625], rtol=1e-6)
        assert trains.t1 == start + 2
        if start > 1e6:
            with pytest.raises(ValueError, match="does not resolve `tau`"):
                detectors.spike_times(points, start + since)


def test_a_point_exactly_at_reach_is_within_it():
    with jax.enable_x64(False):
        places = np.arange(10)[:, None] * 0.1
        delays = rs.CoincidenceDetectors(places, reach=0.1).delays(jnp.asarray(places, jnp.float32))
    np.testing.assert_array_equal(np.isfinite(delays).sum(0), [2, *[3] * 8, 2])
