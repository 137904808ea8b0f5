"""The gradient laboratory: its statistics, its rules of feedback, a run with given parts."""

import dataclasses
import json
from types import SimpleNamespace
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs
from experiments.benchmarks.gradient_laboratory import study
from experiments.gradient_laboratory import gradient_laboratory, measuring
from experiments.gradient_laboratory.bench import Bench, _refusal
from experiments.gradient_laboratory.feedback import ErrorFeedback, SpikeTimingRule
from experiments.gradient_laboratory.learning import learn
from experiments.gradient_laboratory.measuring import Blocks
from roughsnn.training.labelled import of_batch
from roughsnn.training.step import RECORDED, StepRecord, TrainState

OUTPUTS = (3, 4)
STEP, STEPS = 0.25, 16


def test_a_bias_is_found_and_none_is_not():
    """Its length, its component along the gradient, and the cosine, of normal numbers."""
    rng = np.random.default_rng(0)
    truth = np.zeros(30)
    truth[0] = 2.0
    data = rng.normal(size=(200, 30))
    exact = Blocks(truth + data, np.zeros(200))
    noise = 3 * rng.normal(size=(200, 30))
    found = measuring.compared(Blocks(truth + data + noise, np.zeros(200)), exact)
    assert found["deviation"] < 3
    assert abs(found["along"]) < 3 * found["along error"]
    np.testing.assert_allclose(found["along error"], 3 / 2 / 200**0.5, rtol=0.2)
    np.testing.assert_allclose(found["noise"], 32 * 30 * 9 / 4, rtol=0.2)
    bias = np.zeros(30)
    bias[1] = 2.0
    found = measuring.compared(Blocks(truth + data + noise + bias, np.zeros(200)), exact)
    assert found["deviation"] > 3
    # three standard errors of its square, 4 +- 0.9
    np.testing.assert_allclose(found["bias"] ** 2, 1.0, atol=0.65)
    np.testing.assert_allclose(found["cosine"], 0.5**0.5, atol=4 * found["cosine error"])
    assert found["cosine error"] < 0.1


def test_a_deviation_is_that_of_a_normal_number_where_there_is_no_bias():
    """In one dimension too, where the estimate is far from normal."""
    rng = np.random.default_rng(1)
    drawn = [measuring.deviation(rng.normal(size=(30, 1)), seed) for seed in range(60)]
    assert np.mean(np.array(drawn) > 1.645) < 0.2
    assert abs(np.mean(drawn)) < 0.5


class _Respond(eqx.Module):
    """Trials by the clock."""

    def simulation(self, inputs):
        protocol = rs.Protocol(0.0, STEP * STEPS, STEP, max_spikes=60, input_spikes=inputs)
        engine = rs.ClockEngine(surrogate=rs.SuperSpike(5.0))
        return rs.Simulation(protocol, len(inputs), engine)

    def __call__(self, model, inputs, key):
        return self.simulation(inputs)(model, key)


def _network():
    rng = np.random.default_rng(3)
    connections = np.zeros((5, 5), bool)
    connections[:3, 3:] = True
    inputs = np.zeros((2, 5))
    inputs[:, :3] = rng.uniform(2.0, 5.0, (2, 3))
    neurons = rs.LIF(5, mu1=0.5, mu2=1.0, v_th=1.0, reset_to=0.0)
    weights = rng.uniform(1.0, 3.0, (5, 5)) * connections
    return rs.SpikingNetwork(neurons, weights, connections, input_weights=inputs)


def _data():
    trains = rs.SpikeTrains.from_lists(
        [([0.25, 1.0, 1.5], [0, 1, 0]), ([0.5, 0.75], [1, 0])],
        t0=0.0, t1=STEP * STEPS, num_neurons=2,
    )  # fmt: skip
    return rs.LabelledData(trains, np.array([1, 0], np.int32))


def _estimate(rule):
    simulate, targets = of_batch(_Respond(), _data())
    loss = rs.Against(rs.SpikeCountCrossEntropy(outputs=OUTPUTS), targets)
    model = _network()
    return rule(
        model, simulate, loss, jr.key(0), trainable=lambda m: (m.weights, m.input_weights)
    ), simulate(model, jr.key(0))  # fmt: skip


def test_errors_are_fed_back_as_by_a_loop():
    """Eligibility traces of every synapse, times errors that are still to come, step by step."""
    feedback = np.random.default_rng(4).normal(size=(2, 3))
    found, trains = _estimate(ErrorFeedback(jnp.asarray(feedback), OUTPUTS))
    spikes = np.asarray(trains.presence.values)
    assert spikes[..., :3].sum() > 4
    assert spikes[..., 3:].sum() > 4
    model, data = _network(), _data()
    w, v_in = np.asarray(model.weights), np.asarray(model.input_weights)
    weights, inputs = np.zeros_like(w), np.zeros_like(v_in)
    for b in range(2):
        counts = spikes[b][:, 3:].sum(0)
        share = np.exp(counts) / np.exp(counts).sum()
        error = (share - np.eye(2)[int(data.targets[b])]) / 2
        given = np.zeros((STEPS, 2))
        for t, n in zip(data.inputs.times[b], data.inputs.neurons[b], strict=True):
            if np.isfinite(t):
                given[round(float(t) / STEP) - 1, int(n)] += 1
        v, i = np.zeros(5), np.zeros(5)
        # derivatives of potential and current of each neuron by the weights into it
        dv, di = {}, {}
        for kind, rows in (("w", 5), ("in", 2)):
            dv[kind], di[kind] = np.zeros((rows, 5)), np.zeros((rows, 5))
        for t in range(STEPS):
            v = v + STEP * 0.5 * (i - v)
            i = i - STEP * i
            for kind in dv:
                dv[kind] = dv[kind] + STEP * 0.5 * (di[kind] - dv[kind])
                di[kind] = di[kind] * (1 - STEP)
            height = 1 / (1 + 5 * np.abs(v - 1)) ** 2
            fired = (v >= 1).astype(float)
            np.testing.assert_array_equal(fired, spikes[b, t])
            later = STEPS - 1 - t
            taught = np.concatenate([(error * later) @ feedback, error])
            weights += dv["w"] * (taught * height)
            inputs += dv["in"] * (taught * height)
            v = np.where(fired > 0, 0.0, v)
            for kind in dv:
                dv[kind] = dv[kind] * (1 - fired)
            i = i + fired @ w + given[t] @ v_in
            di["w"] = di["w"] + fired[:, None]
            di["in"] = di["in"] + given[t][:, None]
    weights *= np.asarray(model.connections)
    np.testing.assert_allclose(found.gradient.weights, weights, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.gradient.input_weights, inputs, rtol=1e-9, atol=1e-12)
    assert np.abs(inputs[:, :3]).min() > 0


def test_spike_timing_is_counted_by_hand():
    found, trains = _estimate(SpikeTimingRule(OUTPUTS, 2))
    model, data = _network(), _data()
    half = STEP * STEPS / 2
    weights, inputs = np.zeros((5, 5)), np.zeros((2, 5))
    for b in range(2):
        for first in (0.0, half):
            own, given = np.zeros(5), np.zeros(2)
            for counts, source in ((own, trains[b]), (given, data.inputs[b])):
                last = first + half if first == 0 else np.inf
                for t, n in zip(source.times, source.neurons, strict=True):
                    if first <= float(t) < last and np.isfinite(t):
                        counts[int(n)] += 1
            xi = np.zeros(5)
            for c, neuron in enumerate(OUTPUTS):
                wanted = c == int(data.targets[b])
                xi[neuron] = float(wanted and own[neuron] == 0) - float(
                    not wanted and own[neuron] > 0
                )
            hidden = np.asarray(model.weights) @ xi * (own > 0)
            xi[:3] = hidden[:3]
            weights -= np.outer(own, xi) / 2
            inputs -= np.outer(given, xi) / 2
    weights *= np.asarray(model.connections)
    assert np.abs(weights).sum() > 0
    np.testing.assert_allclose(found.gradient.weights, weights, rtol=1e-12)
    np.testing.assert_allclose(found.gradient.input_weights, inputs, rtol=1e-12)


def test_rules_say_what_they_cannot_do():
    with pytest.raises(ValueError, match="every neuron of `model` is an output"):
        _estimate(ErrorFeedback(None, (0, 1, 2, 3, 4)))
    with pytest.raises(TypeError, match="SpikeTimingRule needs LabelledData"):
        SpikeTimingRule(OUTPUTS)(_network(), None, lambda trains: 0.0, jr.key(0))
    with pytest.raises(ValueError, match="`tasks` holds 'xor'; tasks are threshold, noise"):
        gradient_laboratory.Settings(tasks=("xor",))


def test_a_refusal_of_compiled_code_is_found_in_its_error():
    text = "INTERNAL: callback\n  File x\nroughsnn.ConditionsError: A loss is differentiated.\n"
    assert _refusal(text) == "A loss is differentiated."
    assert _refusal("INTERNAL: out of memory") is None


def _measured(rule):
    if rule == "conditional":
        return {"refused": "Conditional does not take a network."}
    own = {"own along": 0.01, "own along error": 0.01} if "perturbation" in rule else {}
    unbiased = "for its averaged loss" if own else "for this loss" if "exact" in rule else "no"
    return own | {
        "unbiased": unbiased, "cosine": 0.9, "cosine error": 0.01, "one step": 0.5, "bias": 0.1,
        "deviation": 1.0, "along": 0.02, "along error": 0.01, "variance": 10.0, "noise": 5.0,
        "length": 1.0, "loss": 1.0, "scratch": 1e6, "compile": 1.0,
    }  # fmt: skip


LEARNED = {
    "rates": [0.1, 0.2, 0.3], "losses": [1.0, 0.9, 0.8], "overflowed": [0.0, 0.0, 0.5],
    "best": 0.2, "overflowed later": 0.0, "steps": [0, 5, 10], "judged": [30.0, 50.0, 70.0],
}  # fmt: skip


class Hyper(NamedTuple):
    """The state of an optimiser with a rate."""

    hyperparams: Any


class _Descending:
    """A step whose loss falls the faster the higher the rate, and whose trials outgrow their room
    at the highest."""

    start = TrainState(jnp.zeros(()), ((), Hyper({"learning_rate": jnp.zeros(())})), jnp.int32(0))

    @staticmethod
    def call(state, data, key):
        rate = float(state.optimiser_state[1].hyperparams["learning_rate"])
        if rate > 5:
            raise RuntimeError("INTERNAL: roughsnn._host_errors._RefusedOnHost: too many")
        model = state.model - rate
        values = {"loss": model, "overflowed": float(rate > 1)}
        record = StepRecord(jnp.array([values.get(n, 0.0) for n in RECORDED]), jnp.zeros(1, bool))
        return eqx.tree_at(lambda s: s.model, state, model), record


def test_a_rate_with_which_trials_outgrow_their_room_is_not_taken():
    task = SimpleNamespace(data=lambda number: None, judge=float)
    found = learn(task, _Descending, (0.1, 1.0, 2.0, 10.0), 4, 6, 3, 0)
    assert found["best"] == 1.0
    assert found["overflowed"] == [0.0, 0.0, 1.0, 0.0]
    np.testing.assert_allclose(found["losses"], [-0.25, -2.5, -5.0, np.nan])
    assert found["steps"] == [0, 2, 4, 6]
    assert found["judged"] == [0.0, -2.0, -4.0, -6.0]


def test_a_run_is_judged_and_gone_on_with(tmp_path, capsys, monkeypatch):
    """With parts that are given, as each of them takes a while."""
    rules = ("exact, cell engine", "surrogate", "weight perturbation", "conditional")
    monkeypatch.setattr(Bench, "check_truth", lambda *_: {"z": [1.0, -2.0, 0.5], "length": 1.0,
                                                          "samples": 100})  # fmt: skip
    monkeypatch.setattr(Bench, "of_rule", lambda self, task, rule: _measured(rule))
    monkeypatch.setattr(Bench, "learned", lambda *_: LEARNED)
    times = {"exact, cell engine": 20.0, "surrogate": 5.0, "weight perturbation": 10.0}
    monkeypatch.setattr(Bench, "times", lambda *_: times)
    settings = gradient_laboratory.Settings(
        tasks=("threshold", "noise"), rules=rules, steps=10, search=5, rates=(0.1, 0.2, 0.3),
        output=tmp_path, progress=False,
    )  # fmt: skip
    results, folder = gradient_laboratory.run(settings)
    assert {"outcomes.json", "table.md", "laboratory.png"} <= {f.name for f in folder.iterdir()}
    table = (folder / "table.md").read_text()
    assert "- conditional: Conditional does not take a network." in table
    assert "| 1 | 0.9 | (0.8) | 0.2 | 30 | 70 |" in table
    judged = study(folder)
    assert judged.missed == [
        "largest_gap_without_noise",
        "threshold_exact_over_surrogate_time",
        "noise_exact_over_surrogate_time",
    ]
    assert judged.figures["largest_standard_errors_off"] == 2.0
    assert judged.figures["largest_gap_without_noise"] == 0.1
    # the surrogate takes 50 ms for its ten steps, in which the exact one takes two and a half
    assert judged.figures["threshold_surrogate_at_equal_time"] == 70.0
    assert judged.figures["threshold_exact_cell_engine_at_equal_time"] == 40.0
    again, _ = gradient_laboratory.run(dataclasses.replace(settings, resume=folder))
    assert json.dumps(again) == json.dumps(results)
    capsys.readouterr()
