"""The experiment on shapes, scales and sparsity of surrogate gradients."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs
from experiments.benchmarks.surrogate_gradients import study
from experiments.zenke_vogels_2021 import braille, braille_letters, surrogate_gradients
from experiments.zenke_vogels_2021.classifying import Answer, Loss, Respond
from experiments.zenke_vogels_2021.conditions import best, conditions, name_of_network, scaled
from experiments.zenke_vogels_2021.random_manifolds import (
    DURATION,
    HIDDEN,
    STEP,
    SigmoidSlope,
    classifier,
    manifolds,
)
from experiments.zenke_vogels_2021.reporting import flat_until, standard_error
from experiments.zenke_vogels_2021.surrogate_gradients import Settings, run


def test_the_hidden_layer_is_its_recursion():
    """Spike by spike, in NumPy and in single precision as the network runs."""
    with jax.enable_x64(False):
        data, _, _ = manifolds(10, 3)
        model = classifier(jr.key(3))
        answer = Respond(rs.SuperSpike(10.0), DURATION, STEP)(model, data.inputs[:4], jr.key(0))
        weights = np.asarray(model.network.input_weights)
        raster = np.zeros((4, 100, 20), np.float32)
        for trial, times in enumerate(data.inputs[:4].to_lists()):
            for k, own in enumerate(times):
                # a spike inside a step arrives at its end; one at the start of the window in none
                for time in own[own > 0]:
                    raster[trial, int(np.ceil(time)) - 1, k] += 1
    u, i, counts = (np.zeros((4, HIDDEN), np.float32) for _ in range(3))
    keep_u, keep_i = np.exp(-1 / 10), np.exp(-1 / 5)
    for n in range(100):
        u = keep_u * u + (1 - keep_u) * i
        i = keep_i * i
        fires = u >= 1
        counts += fires
        u = np.where(fires, 0, u)
        i = i + raster[:, n] @ weights
    assert counts.sum() > 100
    # (one spike where a potential meets the threshold up to rounding)
    assert np.abs(np.asarray(answer.counts) - counts).sum() <= 1


def test_penalties_and_the_slope_of_a_sigmoid():
    counts = jnp.array([[0.0, 2.0, 4.0], [0.0, 0.0, 0.5]])
    answer = Answer(jnp.zeros((2, 4)), counts)
    loss = Loss(low_weight=3.0, low=0.5, high_weight=2.0, high=1.0)
    low = 3.0 * (3 * 0.25) / 6
    np.testing.assert_allclose(
        loss(answer, jnp.array([0, 1])), np.log(4) + low + 2.0 * (2.0 - 1.0) / 2, rtol=1e-12
    )
    x = np.array([-0.3, 0.0, 0.7])
    s = 1 / (1 + np.exp(-5 * x))
    np.testing.assert_allclose(
        SigmoidSlope(5.0).derivative(jnp.asarray(x)), s * (1 - s), rtol=1e-12
    )


def test_sensors_drive_their_encoders():
    readings = np.random.default_rng(1).normal(size=(2, 4, 3))
    trains = braille.encoded(readings, 7)
    assert (trains.num_neurons, float(trains.t1)) == (96, 8.0)
    gain, bias = np.random.default_rng(7).normal(size=(2, 96))
    for trial, lists in enumerate(trains.to_lists()):
        for k, times in enumerate(lists):
            u, expected = 0.0, []
            for n in range(4):
                c = 3 * gain[k] * (readings[trial, n, k % 3] + bias[k])
                u = np.exp(-2 / 20) * u + (1 - np.exp(-2 / 20)) * c
                if u >= 1:
                    u = 0.0
                    expected.append(2 * n + 1.0)
            assert times.tolist() == expected
    assert trains.mask.sum() > 0


def _made_up(condition, samples, epochs, seed):
    """Results of a kind, without training."""
    fewer = 0.0 if condition.high is None else 60.0 - 10 * condition.high
    loses = condition.beta / 40 if condition.shape == "asymptotic" else 0.0
    # the lower rate is better on the data for validation, and the network of seed 2 a point worse
    valid = 100.0 - condition.rate
    loses += 3.0 if condition.attached and condition.rate > 0.02 else 0.0
    loses += 1.0 if seed == 2 else 0.0
    right = 98.0 - fewer - loses - (40.0 if condition.beta == 0 else 0.0)
    spikes = 250.0 if condition.high is None else 100 * condition.high
    return {"valid": valid - fewer, "accuracy": right, "spikes": spikes, "losses": [1.0] * epochs}


def test_a_run_is_judged_and_gone_on_with(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(surrogate_gradients, "train", _made_up)
    settings = Settings(limits=(6.0, 1.0, 0.1), output=tmp_path, progress=False)
    results, folder = run(settings)
    names = [one.name for one in conditions(settings)]
    scales = [name_of_network(one, seed) for one in scaled(settings) for seed in range(3)]
    assert list(results) == names + scales
    assert (len(set(names)), len(set(scales))) == (13, 48)
    written = {file.name for file in folder.iterdir()}
    assert {"outcomes.json", "table.md", "grid.png", "sparsity.png"} <= written
    judged = study(folder)
    assert judged.table == (folder / "table.md").read_text()
    figures = judged.figures
    assert (figures["worst_shape"], figures["constant_below_worst_shape"]) == (98.0, 40.0)
    np.testing.assert_allclose(figures["asymptotic_loses"], 999 / 40)
    assert (figures["SuperSpike_loses"], figures["SuperSpike_1_attached"]) == (0.0, 98 - 1 / 3)
    np.testing.assert_allclose(standard_error([3.0, 5.0, 7.0]), 2 / 3**0.5)
    again, _ = run(dataclasses.replace(settings, resume=folder))
    assert json.dumps(again) == json.dumps(results)
    capsys.readouterr()


def test_letters_are_trained_on(tmp_path, capsys):
    """One epoch of one network, on readings at random; and the folder that is missing."""
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "braille_taxels.npz", taxels=rng.integers(0, 256, (10, 6, 4)),
        length=np.full(10, 5), letter=np.arange(10),
    )  # fmt: skip
    settings = dict(epochs=1, seeds=1, output=tmp_path / "letters", progress=False)
    found, folder = braille_letters.run(braille_letters.Settings(folder=tmp_path, **settings))
    assert len(found["network 0"]["losses"]) == 1
    assert np.isfinite(found["network 0"]["losses"][0])
    assert (folder / "losses.png").exists()
    with pytest.raises(FileNotFoundError, match="--folder"):
        braille_letters.run(braille_letters.Settings(folder=tmp_path / "none"))
    capsys.readouterr()


def test_what_is_chosen_and_how_far_activity_may_fall():
    settings = Settings(betas=(1.0, 10.0), rates=(0.1,), limits=(2.0, 1.0, 0.5))
    found = conditions(settings)
    results = {one.name: {"valid": 50.0, "accuracy": 90.0, "spikes": 100.0} for one in found}
    wanted = found[2]
    results[wanted.name]["valid"] = 60.0
    assert best(found, results) == wanted
    for limit, spikes, accuracy in ((2.0, 60.0, 89.5), (1.0, 30.0, 91.0), (0.5, 10.0, 60.0)):
        name = next(one.name for one in found if one.high == limit)
        results[name] = {"valid": 50.0, "accuracy": accuracy, "spikes": spikes}
    assert flat_until(settings, results) == 30.0
