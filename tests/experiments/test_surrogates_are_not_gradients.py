"""The experiment on what surrogate gradients are not."""

import dataclasses
import json

import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs
from experiments.benchmarks.gradual_surrogates import schedule
from experiments.benchmarks.surrogates_are_not_gradients import study
from experiments.gygax_zenke_2025.sigmoid_network import along_loop, gradients, output, signs
from experiments.gygax_zenke_2025.spike_matching import (
    KEEP_I,
    KEEP_U,
    STEP,
    beginning,
    distance,
    forward,
    kind_of,
    match,
    update,
)
from experiments.gygax_zenke_2025.surrogates_are_not_gradients import Settings, run

_FIGURES = {"loop.png", "signs.png", "rasters.png", "distances.png"}


def _slope(z, b):
    return b * np.exp(-b * z) / (1 + np.exp(-b * z)) ** 2


def test_the_chain_rule_of_the_sigmoid_network():
    """The surrogate gradient against the chain rule written out, and the gradient against central
    differences with a step of 1e-6, whose rounding allows 1e-9."""
    theta = np.random.default_rng(0).normal(size=(6, 5))
    w, v1, v2, u1, u2 = theta.T

    def rises(z):
        return 1 / (1 + np.exp(-4.0 * z))

    g, b = rises(w), 1.5
    h1, h2 = rises(v1 * g), rises(v2 * g)
    at_end = _slope(u1 * h1 + u2 * h2, b)
    d1, d2 = at_end * u1 * _slope(v1 * g, b), at_end * u2 * _slope(v2 * g, b)
    expected = [(d1 * v1 + d2 * v2) * _slope(w, b), d1 * g, d2 * g, at_end * h1, at_end * h2]
    np.testing.assert_allclose(gradients(theta, 4.0, b), np.stack(expected, 1), rtol=1e-12)
    for found, at in zip(np.asarray(gradients(theta, 4.0, 4.0)), theta, strict=True):
        moved = [
            float(output(jnp.asarray(at + s * e), 4.0, 4.0))
            for e in np.eye(5)
            for s in (1e-6, -1e-6)
        ]
        differences = (np.asarray(moved[::2]) - np.asarray(moved[1::2])) / 2e-6
        np.testing.assert_allclose(found, differences, atol=1e-9)


def test_around_the_loop():
    """Values that an implementation written apart gave with as many points, to their last digit;
    for a gradient the rule is exact up to rounding."""
    found = [along_loop(1500, 1e4, b).sum() for b in (1.0, 5.0, 20.0)]
    np.testing.assert_allclose(found, [-0.0425, 0.370, 1.907], atol=6e-4)
    assert abs(along_loop(1500, 5.0, 5.0).sum()) < 1e-12


def test_signs_over_the_plane():
    """The sign of the sum over both paths, v1 s'(v1 g) - v2 s'(v2 g), with g = s(1) = 1 up to
    2e-9; maps begin at (-2, -2) and their first axis is v1."""
    found = signs(21)
    v1, v2 = np.meshgrid(np.linspace(-2, 2, 21), np.linspace(-2, 2, 21), indexing="ij")

    def sign(b):
        return np.sign(v1 * _slope(v1, b) - v2 * _slope(v2, b)) * (v1 != v2)

    np.testing.assert_array_equal(found["sign"], sign(20.0))
    np.testing.assert_array_equal(found["wrong"]["2"], sign(2.0) != sign(20.0))
    assert found["share"]["20"] == 0 < found["share"]["4"] < found["share"]["2"]
    # the output has its lowest place where v1 s'(v1 g) = v2 s'(v2 g), on the left of zero
    assert found["lowest"]["100"] < 0 < found["lowest"]["30"]


def test_the_network_is_that_of_the_clock_engine():
    """Two layers at a threshold, spike by spike; there a spike acts on the potential one step
    later."""
    n, steps = 12, 60
    inputs, weights = (x.astype(np.float64) for x in beginning(steps, n, 3))
    weights = 3 * weights
    _, hidden, outputs = forward(kind_of("deterministic", 1), weights, inputs, jr.key(0))
    joined = np.zeros((2 * n, 2 * n))
    joined[:n, n:] = weights[1]
    given = [((a + 0.5) * STEP, who) for a, who in [np.nonzero(inputs)]]
    window = (steps + 2) * STEP
    model = rs.SpikingNetwork(
        rs.LIF(2 * n, mu1=(1 - KEEP_U) / STEP, mu2=(1 - KEEP_I) / STEP, v0=0.0), joined,
        input_weights=np.hstack([weights[0], np.zeros((n, n))]),
    )  # fmt: skip
    protocol = rs.Protocol(
        0.0, window, STEP, max_spikes=2 * n * steps,
        input_spikes=rs.SpikeTrains.from_lists(given, t0=0.0, t1=window, num_neurons=n),
    )  # fmt: skip
    trains = rs.ClockEngine(surrogate=rs.SuperSpike()).spike_trains(
        model, protocol, key=jr.key(0), num_samples=1
    )
    assert trains.presence is not None
    raster = np.asarray(trains.presence.values[0])
    assert hidden.sum() > 50
    assert outputs.sum() > 50
    np.testing.assert_array_equal(raster[1 : steps + 1, :n], hidden[:, 0])
    np.testing.assert_array_equal(raster[2 : steps + 2, n:], outputs[:, 0])


def test_the_update_against_sums_over_kernels():
    """Both layers, with kernels as matrices: the same sums in float64, so that rounding of the
    filters' recursions is all that differs."""
    n, steps = 7, 30
    kind = kind_of("stochastic", 2)
    inputs, weights = (x.astype(np.float64) for x in beginning(steps, n, 0))
    target = (np.random.default_rng(1).random((steps, n)) < 0.2).astype(np.float64)
    key = jr.key(5)
    changes, _ = update(kind, weights, inputs, target, key)
    potentials, hidden, outputs = (np.asarray(x) for x in forward(kind, weights, inputs, key))
    age = np.arange(steps)[:, None] - np.arange(steps)
    kernel = np.where(age >= 0, 0.2 * (np.exp(-age / 10) - np.exp(-age / 5)), 0.0)
    # what a spike adds: currents of earlier steps, each kept in the potential
    rising = (KEEP_U * KEEP_U**age - KEEP_I * KEEP_I**age) / (KEEP_U - KEEP_I)
    psp = np.where(age >= 0, (1 - KEEP_U) * rising, 0.0)
    error = (target[:, None] - outputs) / 13e-3
    h = _slope(potentials - 1, 10.0)
    eligibility = np.einsum("ts,skh,si->tkhi", kernel, h, psp @ inputs)
    of_hidden = np.einsum("tkh,tkhi->ih", error @ weights[1].T, eligibility) / 2
    of_output = np.einsum("ts,skh,tko->ho", psp, hidden, error) / 2
    np.testing.assert_allclose(changes, [of_hidden, of_output], rtol=1e-9, atol=1e-9)


def test_the_distance_of_one_spike():
    """Half the sum of the squared kernel, a geometric series; all of it is in the window."""
    trains = jnp.zeros((400, 1)).at[3].set(1)
    a, b = np.exp(-1 / 10), np.exp(-1 / 5)
    expected = 0.5 * 0.2**2 * (1 / (1 - a * a) - 2 / (1 - a * b) + 1 / (1 - b * b))
    np.testing.assert_allclose(distance(trains, jnp.zeros((400, 1))), expected, rtol=1e-12)


def test_pictures_are_learned():
    for name in ("deterministic", "stochastic"):
        found = match(name, 30, 50, 150, 4, 0)
        assert np.mean(found["distances"][-5:]) < 0.5 * found["distances"][0]


def test_a_run_is_judged_and_gone_on_with(tmp_path, capsys):
    settings = Settings(
        points=200, fine_points=300, map_size=5, neurons=10, steps=20, epochs=3, trials=2, seeds=1,
        output=tmp_path, progress=False,
    )  # fmt: skip
    results, folder = run(settings)
    written = {file.name for file in folder.iterdir()}
    assert {"outcomes.json", "table.md", *_FIGURES} <= written
    judged = study(folder)
    assert judged.figures["loop_5"] == results["loop"]["surrogate"]["5"]
    # 200 points are too few
    assert "loop_20" in judged.missed
    assert judged.table == (folder / "table.md").read_text().strip()
    again, _ = run(dataclasses.replace(settings, resume=folder))
    assert json.dumps(again) == json.dumps(results)
    capsys.readouterr()


def test_a_width_that_shrinks():
    """From k = 1 to 20 in three epochs of four steps, beta = 2 k; constant afterwards."""
    beta = rs.SigmoidDerivative(schedule(1.0, 20.0, 3, 4))
    found = [float(jnp.asarray(beta.at(jnp.asarray(n)).beta)) for n in (0, 3, 4, 8, 20)]
    np.testing.assert_allclose(found, [2, 2, 2 * 20**0.5, 40, 40], rtol=1e-6)
    assert schedule(5.0, 5.0, 3, 4) == 10
