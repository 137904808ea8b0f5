"""The experiment on EventProp, delays and pseudospikes."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs
from experiments.benchmarks.eventprop_and_delays import study
from experiments.eventprop_and_delays import single_neuron, yin_yang
from experiments.eventprop_and_delays.classifier import data_of, loss_of, network, protocol
from experiments.eventprop_and_delays.eventprop_and_delays import Settings, run
from experiments.eventprop_and_delays.quadratic_neuron import (
    PhaseState,
    QuadraticPhase,
    pseudospikes,
)
from experiments.eventprop_and_delays.single_neuron import spike_time


def test_the_gradient_of_the_cell_engine_is_that_of_eventprop():
    """In every weight of both layers, to rounding of some hundred spikes."""
    hidden, data = 8, data_of(42, 4)
    model, loss = network(hidden, jr.key(3)), loss_of(hidden)
    gradient, trains, by_time = yin_yang.by_engine(
        rs.CellEngine(), model, protocol(data.inputs, hidden, 0.0), data.targets, loss
    )
    expected = yin_yang.published_gradient(model, data.inputs, trains, by_time)
    assert trains.mask.sum() > 40
    assert min(np.abs(x).max() for x in expected) > 1e-3
    assert yin_yang.farthest(gradient, expected) < 1e-10


def test_the_phase_follows_the_potential():
    """V' = V (V - 1) + I, by the chain rule of V = 1/2 - cot(pi theta)."""
    phase, current = np.array([0.1, 0.35, 0.8]), np.array([0.3, -2.0, 5.0])
    potential = 0.5 - 1 / np.tan(np.pi * phase)
    speed = QuadraticPhase(3).drift(
        jnp.zeros(()), PhaseState(jnp.asarray(phase), jnp.asarray(current)), None
    )
    by_phase = np.pi / np.sin(np.pi * phase) ** 2
    np.testing.assert_allclose(
        speed.v * by_phase, potential * (potential - 1) + current, rtol=1e-12
    )
    np.testing.assert_allclose(speed.i, -2 * current, rtol=1e-15)


def _after_one_input(weight):
    """Phase and current of a quadratic neuron at time 2 after an input at 0, in closed form:
    V = s u'(s) / u(s) with u = cos(sqrt(w) (1 - s)) and s = exp(-t)."""
    s, root = jnp.exp(-2.0), jnp.sqrt(weight)
    potential = s * root * jnp.tan(root * (1 - s))
    return jnp.arctan2(1.0, 0.5 - potential) / jnp.pi, weight * s**2


def test_a_spike_that_leaves_the_trial_becomes_a_pseudospike():
    """At the weight whose spike comes at the end of the trial, with the same slope; and the second
    spike of the regime beyond is a period later, whichever is the first."""

    def first(weight):
        return pseudospikes(*_after_one_input(weight), 2.0, jnp.asarray(1.0))

    weight = jnp.asarray(single_neuron.CRITICAL * (1 - 1e-9))
    time, slope = jax.value_and_grad(first)(weight)
    np.testing.assert_allclose(time, 2.0, atol=1e-7)
    # of -log(1 - pi / (2 sqrt(w))), at w
    root = np.sqrt(weight)
    expected = -np.pi / (4 * root**3) / (1 - np.pi / (2 * root))
    np.testing.assert_allclose(slope, expected, rtol=1e-6)
    current = jnp.asarray(0.2)
    before, after = (
        pseudospikes(jnp.asarray(x), current, 2.0, jnp.asarray(k))
        for x, k in ((1.0, 2.0), (0.0, 1.0))
    )
    np.testing.assert_allclose(before, after, rtol=1e-12)
    period = np.pi / np.sqrt(np.log1p(np.exp(2.0)) / 10)
    np.testing.assert_allclose(after - 2.0, period, rtol=1e-12)


def test_spikes_and_pseudospikes_of_one_input():
    """One spike inside the trial and one beyond it, with slopes, beside closed forms; without
    pseudospikes the one beyond has the end of the trial for its time and no slope."""
    weights = jnp.array([2.0, 9.0])
    times, slopes = single_neuron.over_weights(weights, jnp.array(True))
    beyond, slope = jax.value_and_grad(
        lambda w: pseudospikes(*_after_one_input(w), 2.0, jnp.asarray(1.0))
    )(weights[0])
    np.testing.assert_allclose(times, [beyond, spike_time(9.0)], rtol=1e-7)
    within = -np.pi / (4 * 27) / (1 - np.pi / 6)
    np.testing.assert_allclose(slopes, [slope, within], rtol=1e-6)
    times, slopes = single_neuron.over_weights(weights, jnp.array(False))
    assert (float(times[0]), float(slopes[0])) == (2.0, 0.0)
    np.testing.assert_allclose(times[1], spike_time(9.0), rtol=1e-7)


def _network(seed, *others):
    return {"accuracies": [33.0, 97.0 + seed - (others[1] is False)]}


def _neuron(seed, with_pseudospikes, steps):
    if with_pseudospikes:
        return {"times": [[9.0, 2.51], [12.0, 7.5]], "ends": [2.51, 7.5], "spikes": 2}
    return {"times": [[10.0, 10.0], [10.0, 10.0]], "ends": [10.0, 10.0], "spikes": 0}


def test_a_run_is_judged_and_gone_on_with(tmp_path, capsys, monkeypatch):
    apart = {"cell engine": 1e-12, "stochastic adjoint": 2e-9, "times": 1e-9, "spikes": 70}
    monkeypatch.setattr(yin_yang, "agreement", lambda *_: apart)
    monkeypatch.setattr(yin_yang, "train_weights", _network)
    monkeypatch.setattr(yin_yang, "train_delays", _network)
    monkeypatch.setattr(single_neuron, "train", _neuron)
    kinds = ("leaky", "ordinary spikes", "pseudospikes")
    curves = {kind: [1.0, 0.1, 0.2] for kind in kinds}
    curve = {"weights": [0, 1, 2], "losses": curves, "slopes": curves} | dict.fromkeys(
        ("from_closed_form", "gap", "gap_of_slopes"), 1e-7
    )
    monkeypatch.setattr(single_neuron, "curve", lambda *_: curve)
    monkeypatch.setattr(
        single_neuron, "differences", lambda _: {"silent": {"spikes": 0, "apart": 1e-9}}
    )
    results, folder = run(Settings(output=tmp_path, progress=False))
    assert len(results) == 3 + 4 * 3 + 1
    written = {file.name for file in folder.iterdir()}
    assert {"outcomes.json", "table.md", "accuracies.png", "curve.png", "neuron.png"} <= written
    judged = study(folder)
    assert judged.holds, judged.missed
    assert judged.figures["delays_gain"] == 1
    assert judged.table == (folder / "table.md").read_text()
    np.testing.assert_allclose(judged.figures["farthest_with_pseudospikes"], 0.01)
    again, _ = run(dataclasses.replace(Settings(output=tmp_path, progress=False), resume=folder))
    assert json.dumps(again) == json.dumps(results)
    capsys.readouterr()
