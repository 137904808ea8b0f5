"""The experiments on perturbed conductances and on random feedback."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from experiments.benchmarks.conductance_perturbation import study as study_of_perturbation
from experiments.benchmarks.random_feedback import study as study_of_feedback
from experiments.fiete_seung_2006 import conductance_perturbation, one_neuron, variance, xor
from experiments.neftci_2017 import network, random_feedback
from roughsnn.spikes import SpikeTrains
from roughsnn.training.labelled import of_batch
from roughsnn.training.leaving_out import LeavingOut


def test_the_filtered_spikes_and_the_loss_of_counts():
    """Sums of exponentials, and what one trial changes by evaluating all of them."""
    times, neurons = np.array([[2.0, 100.5], [7.5, np.inf]]), np.array([[0, 0], [0, -1]], np.int32)
    trains = SpikeTrains(times, neurons, 0.0, one_neuron.WINDOW, num_neurons=1)
    at = one_neuron.STEP * np.arange(1, one_neuron.STEPS + 1)
    age = at[None] - np.array([2.0, 100.5])[:, None]
    expected = np.where(age >= 0, np.exp(-np.maximum(age, 0) / 50), 0).sum(0)
    np.testing.assert_allclose(one_neuron.output(trains)[0], expected, rtol=1e-12)
    error = np.mean((expected - one_neuron.target()) ** 2)
    np.testing.assert_allclose(one_neuron.LOSS.of_trials(trains)[0], error, rtol=1e-12)

    loss, targets = xor.CountLoss(), jnp.asarray([3, 0])
    other = trains[::-1].reshape(2, 1)
    changes = loss.changes(trains, targets, other)
    replaced = [SpikeTrains.concatenate([trains[1:], trains[1:]]),
                SpikeTrains.concatenate([trains[:1], trains[:1]])]  # fmt: skip
    expected = [float(loss(x, targets) - loss(trains, targets)) for x in replaced]
    np.testing.assert_allclose(changes[:, 0], expected, rtol=1e-12)


def test_learning_begins_with_as_many_spikes_as_the_target_asks_for():
    """16 of them, by one factor for the excitatory weights, with which 55 were drawn."""
    drawn, start = one_neuron.network(3), one_neuron.start_of_learning(3)
    trains = one_neuron.ENGINE.spike_trains(
        start, one_neuron.protocol(3), key=jr.key(5), num_samples=1, throw=False
    )
    assert int(trains.without_presence().counts[0]) == 16
    factors = np.asarray(start.input_weights / drawn.input_weights)[:, 0]
    np.testing.assert_allclose(factors[:10], factors[0], rtol=1e-6)
    assert 0.3 < factors[0] < 0.5
    np.testing.assert_array_equal(factors[10:], 1)


def test_a_rule_finds_the_simulation_of_a_batch():
    """Through what training wraps around it; a function has none."""
    data = xor.data(8, 0)
    simulate, targets = of_batch(xor.Trials.of(3), data[:4])
    found = LeavingOut(simulate).as_simulation()
    assert found.num_samples == 4
    np.testing.assert_array_equal(found.protocol.input_spikes.times, data.inputs.times[:4])
    # two bits that differ want many spikes
    counts = np.asarray(data.inputs.counts_by_neuron).reshape(8, 2, -1).sum(2) > 60
    np.testing.assert_array_equal(
        targets, np.where(counts[:4, 0] != counts[:4, 1], xor.MANY, xor.FEW)
    )
    assert LeavingOut(lambda model, key: model).as_simulation() is None


def test_variances_are_compared_with_the_length_of_the_gradient():
    results = {"pathwise": {"mean": [3.0, 4.0], "variance": 100.0},
               "weights": {"mean": [3.0, 6.0], "variance": 300.0}}  # fmt: skip
    found = variance.compared(results, 100)
    np.testing.assert_allclose(found["weights"]["variance"], 300 / (25 - 1))
    np.testing.assert_allclose(found["weights"]["excess"], 4 / (400 / 100))


def _loop(weights, feedback, pixels, kicks, label, quiet, rate):
    """A sample, neuron by neuron and synapse by synapse."""
    hidden, classes = weights[1].shape
    w1, w2 = weights[0].copy(), weights[1].copy()
    g1, g2, u1, u2 = np.zeros(hidden), np.zeros(classes), np.zeros(hidden), np.zeros(classes)
    rest1, rest2 = np.zeros(hidden), np.zeros(classes)
    plus, minus, fired, phase = np.zeros(classes), np.zeros(classes), np.zeros(hidden), 0.0
    counts, errors = np.zeros(classes), 0
    for t in range(len(pixels)):
        new1, new2 = g1 * np.exp(-1 / 4), g2 * np.exp(-1 / 4)
        for i in np.flatnonzero(pixels[t]):
            new1 += w1[i]
        for i in np.flatnonzero(fired):
            new2 += w2[i]
        g1, g2 = new1, new2
        spikes1 = (g1 + kicks[0][t] > 0.1) & (rest1 <= 0)
        spikes2 = (g2 + kicks[1][t] > 0.1) & (rest2 <= 0)
        rest1, rest2 = np.where(spikes1, 3, rest1 - 1), np.where(spikes2, 3, rest2 - 1)
        phase += 0.98 / (4 * 0.98 + 0.2)
        target = label * (phase >= 1)
        phase -= phase >= 1
        plus = np.maximum(plus + 0.09 * target - 0.09 * spikes2, 0)
        minus = np.maximum(minus - 0.09 * target + 0.09 * spikes2, 0)
        up, down = plus > 0.1, minus > 0.1
        plus, minus = plus - 0.1 * up, minus - 0.1 * down
        u1, u2 = u1 * np.exp(-1 / 5), u2 * np.exp(-1 / 5)
        for c in range(classes):
            u1 += (int(up[c]) - int(down[c])) * feedback[c]
            u2[c] += 0.09 * (int(up[c]) - int(down[c]))
        if t >= quiet:
            for i in np.flatnonzero(pixels[t]):
                w1[i] += rate * u1 * (np.abs(g1) < 1.15)
            for i in np.flatnonzero(fired):
                w2[i] += rate * u2 * (np.abs(g2) < 1.15)
            counts += spikes2
            errors += up.sum() + down.sum()
        fired = spikes1.astype(float)
    return (w1, w2), counts, errors


def test_a_sample_of_random_feedback_is_that_of_a_loop():
    """With the random numbers of the sample, in float64."""
    hidden, classes, pixels = 5, 3, 6
    weights, feedback = network.beginning(pixels, hidden, classes, jr.key(0))
    np.testing.assert_allclose(feedback.mean(1), 0, atol=1e-12)
    image, label = jnp.linspace(0, 1, pixels), jnp.asarray([0.0, 1.0, 0.0])
    state, key = network.at_rest(hidden, classes), jr.key(4)
    found, _, counts, errors = jax.jit(network.sample)(
        weights, state, feedback, 6e-3, image, label, key
    )
    drawn = network.draw(key, image, hidden, classes)
    kicks = [np.asarray(drawn.hidden), np.asarray(drawn.output)]
    expected, spikes, sent = _loop(
        [np.asarray(w) for w in weights], np.asarray(feedback), np.asarray(drawn.pixels), kicks,
        np.asarray(label), network.QUIET, 6e-3,
    )  # fmt: skip
    assert sent > 10
    assert spikes.sum() > 10
    np.testing.assert_array_equal(counts, spikes)
    assert float(errors) == sent
    for one, other in zip(found, expected, strict=True):
        assert np.max(np.abs(other)) > 0.1
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    # four standard errors of means over 250 steps: rates, and kicks of mean 0.05, variance 0.05^2
    rates = np.asarray(network.rate(image))
    np.testing.assert_allclose(rates[[0, -1]], [0, 1 / 4.2], rtol=1e-9)
    share = np.asarray(drawn.pixels).mean(0)
    assert np.all(np.abs(share - rates) <= 4 * np.sqrt(rates * (1 - rates) / 250))
    assert abs(kicks[0].mean() - 0.05) < 4 * 0.05 / (250 * hidden) ** 0.5


def test_the_angle_between_feedback_and_forward_weights():
    feedback = jnp.asarray([[1.0, 0.0], [0.0, 1.0]])
    along = network.Weights(jnp.zeros((1, 2)), feedback.T)
    across = network.Weights(jnp.zeros((1, 2)), jnp.asarray([[0.0, 1.0], [1.0, 0.0]]))
    np.testing.assert_allclose(network.angle(along, feedback), 0, atol=1e-6)
    np.testing.assert_allclose(network.angle(across, feedback), 90, rtol=1e-9)


def test_runs_are_judged_and_gone_on_with(tmp_path, capsys):
    with jax.enable_x64(False):
        settings = random_feedback.Settings(
            hidden=10, epochs=1, samples=14, seeds=1, output=tmp_path / "a", progress=False
        )
        results, folder = random_feedback.run(settings)
        assert {f.name for f in folder.iterdir()} >= {"outcomes.json", "table.md", "learning.png"}
        judged = study_of_feedback(folder)
        assert judged.figures["accuracy"] == 100 * results["random feedback"][0]["accuracy"][-1]
        # 14 digits teach nothing
        assert "accuracy_within_five_epochs" in judged.missed
        again, _ = random_feedback.run(dataclasses.replace(settings, resume=folder))
        assert json.dumps(again) == json.dumps(results)
    capsys.readouterr()


def test_a_run_of_perturbations_is_judged(tmp_path, capsys, monkeypatch):
    """With parts that are given, as each of them takes a while."""
    laws = {"cosine all": 0.9, "ratio all": 1.2, "cosine excitatory": 0.995, "spikes": 20.0,
            "ratio excitatory": 1.01, "estimate": [1.0] * 20, "error": [0.1] * 20,
            "differences": [1.1] * 20}  # fmt: skip
    course = {"rewards": [-1.5] * 100, "before": [0.0] * 200, "after": [1.0] * 200,
              "reward before": -1.6, "reward after": -0.9}  # fmt: skip
    monkeypatch.setattr(one_neuron, "compare", lambda *_: laws)
    monkeypatch.setattr(one_neuron, "learn", lambda *_: course)
    tested = {"losses": [3.0] * 100, "accuracy before": 0.5, "accuracy after": 0.97,
              "accuracy after unperturbed": 0.8}  # fmt: skip
    monkeypatch.setattr(xor, "learn", lambda *_: tested)
    monkeypatch.setattr(variance, "scatter", lambda *_: {"mean": [3.0, 4.0], "variance": 10.0})
    settings = conductance_perturbation.Settings(
        seeds=1, sizes=(1, 4), output=tmp_path, progress=False
    )
    _, folder = conductance_perturbation.run(settings)
    assert {"gradients.png", "learning.png", "variance.png"} <= {f.name for f in folder.iterdir()}
    judged = study_of_perturbation(folder)
    assert judged.missed == ["reward_at_last"]
    np.testing.assert_allclose(
        judged.figures["variance_conductances_4_weights"], 10 / (25 - 10 / 400)
    )
    capsys.readouterr()
