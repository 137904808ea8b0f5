"""Neurons that a stimulus drives: likelihood, reading, fit."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import experiments.recorded_spike_trains.driven.run as driven_run
from experiments.benchmarks.driven_neuron import judge_runs
from experiments.recorded_spike_trains import Settings, run
from experiments.recorded_spike_trains.driven.data import DrivenData
from experiments.recorded_spike_trains.driven.fitting import fit_driven
from experiments.recorded_spike_trains.driven.generating import simulate
from experiments.recorded_spike_trains.driven.judging import DrivenVerdict
from experiments.recorded_spike_trains.driven.neuron import (
    Driven,
    Form,
    Pieces,
    block_likelihoods,
    log_likelihood,
    rescaled,
)
from experiments.recorded_spike_trains.driven.reading import read_stimuli
from experiments.recorded_spike_trains.driven.stimulus import Stimulus, raised_cosines
from experiments.recorded_spike_trains.reading import Recording, RecordingError, Trial
from roughsnn import io

STEP, CELLS = 0.05, 80
FORMS = [Form("resets", False, "sigmoid"), Form("subtracts", True, "softplus")]


def model_of(form):
    """Some parameters that no symmetry makes special."""
    return Driven(
        jnp.array([0.7, -0.4]), jnp.array([0.3, -0.2]), jnp.array([0.2]), jnp.asarray(0.9),
        jnp.asarray(-1.5 if form.spike == "resets" else 1.2), jnp.asarray(0.6), jnp.asarray(-0.3),
        jnp.asarray(1.1), form,
    )  # fmt: skip


def data_of(spikes, ends):
    """Trials one after the other, with random features, in the second condition but the first."""
    random = np.random.default_rng(3)
    trials = []
    for number, (times, cells) in enumerate(zip(spikes, ends, strict=True)):
        trials.append(Trial(min(number, 1), 0.0, cells * STEP, [np.asarray(times)]))
    stimuli = [Stimulus(STEP * np.arange(n), random.normal(size=(n, 1))) for n in ends]
    return DrivenData.of(
        Recording(["0"], ["a", "b"], trials, []), 0, stimuli, ["x"], hold_out=2, step=STEP,
        length=4 * STEP, functions=2, mean=1.0,
    )  # fmt: skip


def by_small_steps(model, data, trial, parts=400):
    """Log-likelihood of one trial by Euler steps."""
    current = np.asarray(
        model.current(
            jnp.asarray(trial.features), jnp.full(len(trial.features), trial.condition, jnp.int32)
        )
    )
    leak, rate = np.exp(float(model.log_leak)), np.exp(float(model.log_adaptation_rate))
    dt = data.step / parts
    v, a, total, spikes = current[0], 0.0, 0.0, list(trial.spikes)
    for step in range(len(current) * parts):
        total -= np.exp(_log(model, v - a)) * dt / data.unit
        v += leak * (current[step // parts] - v) * dt / data.unit
        a -= rate * a * dt / data.unit
        if spikes and spikes[0] <= (step + 1) * dt + 1e-12:
            total += _log(model, v - a)
            v = float(model.reset) if model.form.spike == "resets" else v - float(model.reset)
            a += float(model.adaptation) if model.form.adapts else 0.0
            spikes.pop(0)
    return total


def _log(model, u):
    rate = float(model.log_rate)
    if model.form.shape == "softplus":
        return rate + np.log(np.logaddexp(0.0, u))
    return rate - np.logaddexp(0.0, -u)


@pytest.mark.parametrize("form", FORMS, ids=["resets", "subtracts"])
def test_the_likelihood_of_trials_of_different_lengths_against_small_steps(form):
    data = data_of([[0.33, 0.71, 1.205], [0.52, 0.9, 1.4, 2.1]], [30, 50])
    model = model_of(form)
    pieces, block, _ = data.pieces()
    expected = [by_small_steps(model, data, trial) for trial in data.trials]
    everything = jnp.ones(pieces.lengths.shape, bool)
    # Euler steps of a 400th of a cell are off by 1e-3 or so
    assert float(log_likelihood(model, pieces, everything)) == pytest.approx(
        sum(expected), abs=5e-3
    )
    first = data.trials[0].held.size
    blocks = block_likelihoods(model, pieces, block)
    assert blocks[:first].sum() == pytest.approx(expected[0], abs=3e-3)
    passed = rescaled(model, pieces, [3, 4])
    assert [x.size for x in passed] == [2, 3]
    assert all(np.all(x > 0) for x in passed)


def test_the_mean_stimulus_of_cells_at_any_rate():
    uneven = Stimulus(np.array([0.0, 1.0, 1.5, 3.0]), np.array([[1.0], [3.0], [-2.0], [5.0]]))
    # the median step is 1: the last value holds until 4
    means = uneven.means(np.array([-1.0, 0.0, 1.25, 2.0, 4.5]))[:, 0]
    np.testing.assert_allclose(means, [1, (1 + 0.75) / 1.25, (0.75 - 1) / 0.75, (-2 + 7.5) / 2.5])


def test_raised_cosines_cover_the_lags_evenly():
    values = raised_cosines(6, np.linspace(0, 1, 200), 0.05)
    # four of them overlap everywhere between the second centre and the last but one
    inside = slice(*np.argmax(values[:, [1, 4]], axis=0) + [1, 0])
    np.testing.assert_allclose(values[inside].sum(1), 2.0, atol=1e-12)


def _recording(names=("a", "b")):
    times = np.linspace(0.05, 1.95, 40)
    trials = [Trial(0, 0.0, 2.0, [times], name) for name in names]
    return Recording(["0"], ["rec"], trials, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,x\n0,1\n1,2\n", r"knows the stimulus from 0 to 2 s.*lasts from 0 to 2\.5"),
        ("trial,time,x\na,0,1\na,1,2\n", "has no rows of trial 'b'"),
        ("trial,time,x\na,0,1\na,1,2\na,2,1\nb,0,1\n", "has one row for trial 'b'"),
        ("time,x\n0,1\n1,?\n", "line 3: the value"),
    ],
)
def test_a_stimulus_that_does_not_fit_is_refused(tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    recording = _recording()
    if "knows" in message:
        recording.trials[1] = Trial(0, 0.0, 2.5, recording.trials[1].spikes, "b")
    with pytest.raises(RecordingError, match=message):
        read_stimuli([tmp_path / "s.csv"], recording, format=io.TableFormat(), cut=False)
    with pytest.raises(RecordingError, match="names 3 files and there are 1 conditions"):
        read_stimuli([tmp_path / "s.csv"] * 3, recording, format=io.TableFormat())


def test_each_trial_has_its_own_stimulus_and_is_cut_to_it(tmp_path):
    rows = [f"a,{0.1 * i:.1f},{i}" for i in range(25)] + [
        f"b,{0.1 * i:.1f},{-i}" for i in range(15)
    ]
    (tmp_path / "s.csv").write_text("\n".join(["trial,time_s,x", *rows]))
    recording, stimuli, names, remarks = read_stimuli(
        [tmp_path / "s.csv"], _recording(), format=io.TableFormat()
    )
    assert names == ["x"]
    assert [trial.stop for trial in recording.trials] == [2.0, pytest.approx(1.5)]
    assert stimuli[1].values[3, 0] == -3
    assert remarks == ["1 trials are cut to where the stimulus is known."]
    assert recording.trials[1].spikes[0].max() <= 1.5


def test_a_fit_finds_the_neuron_that_made_the_spikes():
    """A neuron of the library, simulated, fitted by the likelihood: simulator and likelihood agree,
    and the errors are of the right size."""
    form = Form("resets", False, "exponential")
    random = np.random.default_rng(0)
    cells = 6000
    empty = Recording(["0"], ["a"], [Trial(0, 0.0, cells * STEP, [np.linspace(1, 299, 300)])], [])
    stimulus = Stimulus(STEP * np.arange(cells), random.normal(size=(cells, 1)))
    sizes = dict(hold_out=2, step=STEP, length=8 * STEP, functions=2, mean=1.0)
    data = DrivenData.of(empty, 0, [stimulus], ["x"], **sizes)
    true = Driven(
        jnp.array([1.5, -0.8]), jnp.array([1.5]), jnp.zeros(0), jnp.asarray(0.4), jnp.asarray(-2.0),
        jnp.asarray(0.0), jnp.asarray(0.0), jnp.asarray(0.0), form,
    )  # fmt: skip
    (times,) = simulate(true, data, data.trials[0], 1, seed=1)
    recorded = Recording(["0"], ["a"], [Trial(0, 0.0, cells * STEP, [times])], [])
    again = DrivenData.of(recorded, 0, [stimulus], ["x"], **sizes)
    pieces = again.pieces()[0]
    # in the unit of the neuron that made them
    scaled = Pieces(
        pieces.lengths * again.unit / data.unit, pieces.cells, pieces.spikes, pieces.ends,
        pieces.features, pieces.conditions,
    )  # fmt: skip
    fit = fit_driven(form, scaled, np.ones(scaled.lengths.size, bool), 1)
    found = np.r_[np.asarray(fit.model.weights), [fit.model.offset[0], fit.model.log_leak,
                  fit.model.reset]]  # fmt: skip
    errors = np.r_[np.asarray(fit.errors.weights), [fit.errors.offset[0], fit.errors.log_leak,
                   fit.errors.reset]]  # fmt: skip
    expected = np.array([1.5, -0.8, 1.5, 0.4, -2.0])
    # five standard errors; the two functions overlap, so that their weights are told apart badly
    assert np.all(np.abs(found - expected) < 5 * errors)
    assert np.all(errors < [1.2, 1.2, 0.4, 0.4, 0.8])


def test_a_run_from_files_to_a_report(tmp_path, monkeypatch):
    """Two trials with their own stimulus of two columns and different lengths; without the GLM."""
    monkeypatch.setattr(driven_run, "fit_glm", _no_glm)
    random = np.random.default_rng(0)
    rows, spikes = [], []
    for name, cells in (("a", 4000), ("b", 2000)):
        values = random.normal(size=(cells, 2))
        smooth = np.convolve(values[:, 0], np.ones(8) / 4)[:cells]
        fired = np.flatnonzero(random.uniform(size=cells) < 0.05 * np.exp(smooth)) / 1000
        times = fired[np.diff(fired, prepend=-1) > 0.004] + 0.0005
        spikes += [f"{name},{time:.4f}" for time in times]
        rows += [f"{name},{k / 1000},{x:.4f},{y:.4f}" for k, (x, y) in enumerate(values)]
    (tmp_path / "spikes.csv").write_text("\n".join(["trial,time_s", *spikes]))
    (tmp_path / "sound.csv").write_text("\n".join(["trial,time_s,sound,light", *rows]))
    settings = Settings(
        spikes=(tmp_path / "spikes.csv",), stimulus=(tmp_path / "sound.csv",), output=tmp_path,
        model="resetting-lif", intensity="exponential", filter_length=0.02, filter_functions=4,
        bin=0.001, generated_trials=3, progress=False,
    )  # fmt: skip
    outcome = run(settings)
    assert outcome.recording.trials[1].stop == pytest.approx(2.0)
    assert any("needs nemos" in remark for remark in outcome.remarks)
    (verdict,) = outcome.verdicts
    assert verdict.log_likelihood > 0.1  # nats above Poisson: the sound matters
    assert np.isnan(verdict.above_glm)
    fit = outcome.fits[0]
    weights, covariance = np.asarray(fit.model.weights), fit.weights_covariance
    told = [
        weights[own] @ np.linalg.solve(covariance[own, own], weights[own])
        for own in (slice(0, 4), slice(4, 8))
    ]
    # chi-squared with four degrees of freedom where there is no filter, as for the light
    assert told[0] > 50
    assert told[1] < 20
    report = (outcome.folder / "report.md").read_text()
    assert report.startswith(("The fit passes", "**Do not trust"))
    saved = io.read_model(outcome.folder / "models" / "driven-neuron-0.model")
    assert saved.window == pytest.approx(4.0)
    with pytest.raises(ValueError, match=r"`prior` is 2\.0, which is not used with `stimulus`"):
        run(dataclasses.replace(settings, prior=2.0))
    with pytest.raises(ValueError, match=r"`bin` is 0\.1, which is not used without `stimulus`"):
        run(Settings(spikes=(tmp_path / "spikes.csv",), bin=0.1))


def _no_glm(*_):
    raise ImportError("nemos is not installed")


def test_the_study_judges_by_the_glm():
    def verdict(model, above=0.1, p=0.5, correlation=0.6):
        return DrivenVerdict("0", model, 1.0, above, 0.05, 0.1, p, p, correlation, 0.6, 90.0, 0.0)

    glm = verdict("GLM with stimulus and history", 0.0, correlation=0.5)
    assert judge_runs([[verdict("driven neuron"), glm]]).holds
    behind = judge_runs([[verdict("driven neuron", -0.1, 0.01, 0.4), glm]])
    assert len(behind.missed) == 4
