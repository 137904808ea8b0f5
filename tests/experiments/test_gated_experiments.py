"""The experiments with gated synapses, at sizes that take seconds."""

import dataclasses
import json
from types import SimpleNamespace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import roughsnn as rs
from experiments.huh_sejnowski_2018 import delayed_memory_xor as xor
from experiments.huh_sejnowski_2018 import predictive_coding as coding
from experiments.huh_sejnowski_2018 import xor_training
from experiments.huh_sejnowski_2018.xor_judging import share_in_order
from experiments.huh_sejnowski_2018.xor_network import initial_network
from experiments.huh_sejnowski_2018.xor_settings import Settings
from experiments.huh_sejnowski_2018.xor_steps import CHUNK, Learner, take_steps, training_step
from experiments.huh_sejnowski_2018.xor_task import Task, answer_of, draw_trials
from roughsnn.io import read_model
from roughsnn.training.step import TrainState


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
    """Two seeds side by side, interrupted between two checkpoints; and each as it is alone."""
    settings = Settings(
        num_neurons=8, assemblies=4, batch_size=2, max_steps=100, seeds=(0, 1), progress=False,
        longest_delay=15.0, output=tmp_path, checkpoint_every=1000, validation=100,
    )  # fmt: skip
    taken, chunks = xor_training.take_steps_together, []

    def cut_off(settings, step, learners, keys):
        chunks.append(keys)
        if len(chunks) == 2:
            raise KeyboardInterrupt
        return taken(settings, step, learners, keys)

    monkeypatch.setattr(xor_training, "take_steps_together", cut_off)
    with pytest.raises(KeyboardInterrupt):
        xor.run(settings)
    monkeypatch.setattr(xor_training, "take_steps_together", taken)
    folder = tmp_path / "001"
    assert not (folder / "outcomes.json").exists()
    assert [p.name for p in (folder / "checkpoints").rglob("*.ckpt")] == ["step-00000100.ckpt"]
    outcomes, same = xor.run(dataclasses.replace(settings, resume=folder))
    assert same == folder

    rows = np.loadtxt(folder / "metrics.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(rows[:, 0], [0, 0, 1, 1])
    at_once = xor_training.train(settings, (0, 1), rs.Checkpoints(tmp_path / "at-once"))
    for seed, (network, progress) in enumerate(at_once):
        np.testing.assert_array_equal(rows[rows[:, 0] == seed, 1:], progress.rows)
        kept = read_model(folder / f"seed-{seed}-network.model")
        assert eqx.tree_equal(kept.model, network)
        assert outcomes[seed]["steps"] == 100
        assert 0 <= outcomes[seed]["accuracy"] <= 1
    for name in ("examples", "balance", "learning-curve"):
        assert (folder / f"seed-1-{name}.png").stat().st_size > 5_000
    assert "right on fresh trials" in capsys.readouterr().out

    # what differs is the rounding of float64, which 100 steps at this size make little of
    ((_, progress),) = xor_training.train(settings, (1,), rs.Checkpoints(tmp_path / "alone"))
    np.testing.assert_allclose(rows[2:, 1:], progress.rows, rtol=1e-6, atol=1e-9)
    # more seeds later: those that began together are left as they are
    more = dataclasses.replace(settings, seeds=(0, 1, 2), resume=folder)
    assert xor._groups(more, folder) == [(0, 1), (2,)]
    apart = dataclasses.replace(settings, side_by_side=False)
    assert xor._groups(apart, tmp_path) == [(0,), (1,)]


def test_seeds_that_are_finished_leave_the_program(monkeypatch):
    """Of five seeds two are finished, then three, then four: the others stand in until half are."""
    settings = Settings(max_steps=200, mastery=0.9)
    rooms = []

    class Rates(NamedTuple):
        hyperparams: dict

    def training(seed, chunks):
        state = TrainState(jnp.asarray(seed), Rates({"scale": jnp.asarray(1.0)}), jnp.asarray(0))
        learner = Learner(state, jnp.asarray(seed))
        rows = [[50.0 * (i + 1), 0.1, 0.5, 0.5, 1.0, 1.0] for i in range(chunks)]
        progress = xor_training.Progress(rows, best=0.5)
        return xor_training.Training(
            seed, jax.random.key(seed), jnp.asarray(seed), learner, learner, progress
        )

    def together(settings, step, learners, keys):
        rooms.append(len(keys))
        assert learners.state.model.shape == (len(keys),)
        return learners, np.array([[0.1 * m, 0.5, 1.0] for m in learners.state.model])

    def alone(settings, step, learner, key):
        rooms.append(1)
        return learner, np.array([0.1 * learner.state.model, 0.5, 1.0])

    def validate(settings, average, key):
        assert average == key
        return 0.95 if average == 3 else 0.5

    step = SimpleNamespace(recorded=("loss", "accuracy", "gradient_norm"))
    for name, fake in (("take_steps_together", together), ("take_steps", alone)):
        monkeypatch.setattr(xor_training, name, fake)
    monkeypatch.setattr(xor_training, "validate", validate)
    # seeds 0 and 1 have taken all their steps; 3 is right often enough after one chunk
    trainings = [training(seed, chunks) for seed, chunks in enumerate((4, 4, 2, 0, 3))]
    finished = trainings[0]
    for expected in (("2", "3", "4"), ("2",)):
        before = {t.seed: t.progress.done for t in trainings}
        trainings = xor_training._take_chunk(settings, step, trainings)
        moved = [str(t.seed) for t in trainings if t.progress.done > before[t.seed]]
        assert moved == list(expected)
    assert rooms == [4, 1]
    assert trainings[0] is finished
    for t in trainings[2:]:
        assert t.progress.rows[-1][1] == pytest.approx(0.1 * t.seed)
    assert all(t.progress.finished(settings) for t in trainings)


def test_the_average_is_that_of_the_steps(standard_dtype_promotion):
    settings = Settings(
        num_neurons=8, assemblies=4, batch_size=2, longest_delay=15.0, averaging=0.9
    )
    network = initial_network(8, 4, jax.random.key(0))
    step = training_step(settings)
    learner = Learner(step.init(network), network)
    after, _ = take_steps(settings, step, learner, jax.random.key(1))

    taken, state, average = eqx.filter_jit(step), learner.state, np.asarray(network.weights[0])
    for key in jax.random.split(jax.random.key(1), CHUNK):
        state, _ = taken(state, None, key)
        average = 0.9 * average + 0.1 * np.asarray(state.model.weights[0])
    np.testing.assert_allclose(after.state.model.weights[0], state.model.weights[0], atol=1e-7)
    np.testing.assert_allclose(after.average.weights[0], average, atol=1e-7)


def test_the_training_of_the_xor_goes_back_to_its_best():
    settings = Settings(max_steps=1000, mastery=0.97, setback=0.15, factor_after_setback=0.7)
    progress = xor_training.Progress()

    def at(step, of_average=None):
        """Parameters of the network, and of its average: the step at which they were."""
        state = TrainState(jnp.asarray(step), (), jnp.asarray(0))
        return Learner(state, jnp.asarray(of_average or step))

    def after(step, right, validated, best):
        progress.rows.append([step, 0.1, right, validated, 1.0, 1.0])
        on, best = xor_training.go_on(settings, progress, at(step, step - 10), best)
        return int(on.state.model), best

    on, best = after(50, 0.5, 0.6, at(1))
    assert (on, int(best.average)) == (50, 40)
    on, best = after(100, 0.8, 0.9, best)
    assert (on, int(best.average), progress.setbacks) == (100, 90, 0)
    # a little worse
    on, best = after(150, 0.8, 0.8, best)
    assert (on, int(best.average), progress.setbacks) == (150, 90, 0)
    # much worse, of the network in training or of its average
    on, best = after(200, 0.7, 0.85, best)
    assert (on, int(best.average), progress.setbacks) == (90, 90, 1)
    on, best = after(250, 0.85, 0.7, best)
    assert (on, int(best.average), progress.setbacks) == (90, 90, 2)
    assert progress.factor == pytest.approx(0.49)
    assert not progress.finished(settings)
    # the best so far, of a network that is much worse
    on, best = after(300, 0.7, 0.95, best)
    assert (on, int(best.average), progress.setbacks) == (290, 290, 3)
    # enough is learned
    on, best = after(350, 0.9, 0.98, best)
    assert (on, int(best.average)) == (350, 340)
    assert progress.finished(settings)


def test_the_share_in_order_is_that_of_the_rank_test():
    low, high = np.round(np.random.default_rng(0).normal(size=(2, 50)), 1)
    high = high[:40] + 0.5
    statistic = scipy.stats.mannwhitneyu(high, low).statistic
    assert float(share_in_order(jnp.asarray(low), jnp.asarray(high))) == statistic / 2000


def test_predictive_coding_runs_and_learns(tmp_path, capsys, standard_dtype_promotion):
    settings = coding.Settings(
        num_neurons=10, steps=40, batch_size=4, window=60.0, dt0=0.5, output=tmp_path,
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
    settings = coding.Settings(dt0=1.0)
    signals = coding.draw_signals(settings, jax.random.key(0), 2000)
    assert signals.shape == (2000, 250, 2)
    # few cosines over few periods: the mean square of a signal spreads by about 0.7
    np.testing.assert_allclose(jnp.mean(signals**2), 1, atol=0.05)
