"""The experiments with gated synapses, at sizes that take seconds."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.huh_sejnowski_2018 import delayed_memory_xor as xor
from experiments.huh_sejnowski_2018 import predictive_coding as coding
from experiments.huh_sejnowski_2018 import xor_training
from experiments.huh_sejnowski_2018.xor_task import Task, answer_of, draw_trials


def test_trials_are_those_of_the_task():
    task = Task(longest_delay=50.0)
    trials = draw_trials(task, jax.random.key(0), 4000)
    pulses, cue = np.asarray(trials.inputs[..., 0]), np.asarray(trials.inputs[..., 1])
    answers, counts = np.unique(np.asarray(trials.target), return_counts=True)
    np.testing.assert_array_equal(answers, [-1, 0, 1])
    # four standard errors
    np.testing.assert_allclose(counts / 4000, 1 / 3, atol=0.03)
    np.testing.assert_allclose(trials.weight.sum(1), 1, rtol=1e-12)
    for i in range(50):
        on = np.flatnonzero(pulses[i])
        groups = np.split(on, np.flatnonzero(np.diff(on) > 1) + 1)
        signs = [np.sign(pulses[i, group].sum()) for group in groups]
        cue_on = np.flatnonzero(cue[i])[0]
        if trials.target[i] == 0:
            assert len(groups) == 1
        else:
            assert trials.target[i] == -signs[0] * signs[1]
            # delays of 15 to 50 ms, seen on a grid of 1 ms
            assert 14 <= groups[1][0] - groups[0][-1] <= 52
            assert 14 <= cue_on - groups[1][-1] <= 52
        asked = np.flatnonzero(np.asarray(trials.weight[i]))
        assert 18 <= asked[0] - cue_on <= 20
        assert len(asked) == 40


def test_answers_are_the_nearest():
    trials = draw_trials(Task(), jax.random.key(1), 200)
    # what is read out at other times does not count
    near = jnp.where(trials.weight > 0, 0.6 * trials.target[:, None], 5.0)
    np.testing.assert_array_equal(answer_of(near, trials), trials.target)
    far = jnp.where(trials.weight > 0, 0.4 * trials.target[:, None], 5.0)
    np.testing.assert_array_equal(answer_of(far, trials), 0)


def test_the_training_of_the_xor_goes_on_as_if_it_had_not_been_cut_off(
    tmp_path, capsys, standard_dtype_promotion, monkeypatch
):
    settings = xor.Settings(
        num_neurons=8, assemblies=4, batch_size=2, max_steps=150, final_steps=50, seeds=(0,),
        longest_delay=15.0, output=tmp_path, checkpoint_every=50,
    )  # fmt: skip
    taken = xor_training.take_steps

    def cut_off(step, state, key):
        if int(state.step) == 100:
            raise KeyboardInterrupt
        return taken(step, state, key)

    monkeypatch.setattr(xor_training, "take_steps", cut_off)
    with pytest.raises(KeyboardInterrupt):
        xor.run(settings)
    monkeypatch.setattr(xor_training, "take_steps", taken)
    folder = tmp_path / "001"
    assert not (folder / "outcomes.json").exists()
    outcomes, same = xor.run(dataclasses.replace(settings, resume=folder))
    assert same == folder

    at_once, other = xor.run(settings)
    assert other != folder
    for name, value in at_once[0].items():
        if "minutes" not in name:
            assert outcomes[0][name] == value, name
    assert at_once[0]["steps"] == 150
    assert 0 <= at_once[0]["accuracy"] <= 1
    metrics = "seed-0-metrics.csv"
    assert (folder / metrics).read_bytes() == (other / metrics).read_bytes()
    assert (folder / "seed-0-examples.png").stat().st_size > 10_000
    assert "right on fresh trials" in capsys.readouterr().out


def test_predictive_coding_runs_and_learns(tmp_path, capsys, standard_dtype_promotion):
    settings = coding.Settings(
        num_neurons=10, steps=40, batch_size=4, window=60.0, dt=0.5, output=tmp_path,
        progress=False, seeds=2,
    )  # fmt: skip
    outcomes, folder = coding.run(settings)
    outcome = outcomes[0]
    assert outcome.error < 0.9 * outcome.error_before
    assert outcome.rate_hz > 0
    for name in ("response", "balance", "learning-curve"):
        assert (folder / f"seed-0-{name}.png").stat().st_size > 5_000
    assert json.loads((folder / "outcomes.json").read_text())[0]["error"] == outcome.error
    assert "without fast weights" in capsys.readouterr().out


def test_signals_have_unit_variance():
    settings = coding.Settings(dt=1.0)
    signals = coding.draw_signals(settings, jax.random.key(0), 2000)
    assert signals.shape == (2000, 250, 2)
    # few cosines over few periods: the mean square of a signal spreads by about 0.7
    np.testing.assert_allclose(jnp.mean(signals**2), 1, atol=0.05)
