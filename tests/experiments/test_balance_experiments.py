"""The experiments with balanced networks, at sizes that take seconds."""

import dataclasses
import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

import roughsnn as rs
from experiments.benchmarks.balance_2012 import study_of as study_of_2012
from experiments.benchmarks.balance_2015 import study_of as study_of_2015
from experiments.bourdoukan_2012 import judging, spike_code
from experiments.bourdoukan_deneve_2015 import linear_systems
from experiments.bourdoukan_deneve_2015.judging import modes_of
from experiments.bourdoukan_deneve_2015.systems import (
    NAMES,
    draw_inputs,
    propagators,
    system_named,
)


@pytest.mark.parametrize("name", NAMES)
def test_signals_are_those_of_the_system(name):
    import jax

    system = system_named(name)
    dt = 1e-3
    inputs, targets = draw_inputs(system, jax.random.key(0), 200, dt)
    x = np.zeros(system.dimension)
    for c in np.asarray(inputs, float):  # Euler with a hundredth of the step
        for _ in range(100):
            x = x + dt / 100 * (system.matrix @ x + c)
    # Euler's error over 0.2 s at 20 per second
    np.testing.assert_allclose(targets[-1], x, atol=1e-3 * np.abs(targets).max())
    assert np.linalg.eigvals(system.matrix).real.max() <= 1e-12


def test_modes_are_read_off_free_responses():
    system, dt = system_named("random"), 1e-3
    advance = np.asarray(propagators(system, dt)[0], float)
    x, responses = np.random.default_rng(0).normal(size=(5, 4)), []
    for _ in range(400):
        responses.append(x)
        x = x @ advance.T
    modes = modes_of(system, np.moveaxis(np.array(responses), 0, 1), dt)
    assert len(modes) == 2
    for true_decay, true_frequency, decay, frequency in modes:
        # the matrix exponential is exact, the fit to a line too, to single precision of either
        np.testing.assert_allclose([decay, frequency], [true_decay, true_frequency], rtol=1e-3)


def test_the_code_is_learned_and_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(judging, "WINDOW", 400.0)
    monkeypatch.setattr(judging, "REMOVED_FOR", 40.0)
    settings = spike_code.Settings(
        neurons=6, homogeneous_neurons=4, seeds=(0,), durations=(200.0, 200.0), taus=(60.0, 60.0),
        pauses=(0.05, 0.05), noises=(0.03, 0.03), dt0=0.05, size=3.0,
        progress=False,
        autapse_dt0=0.02, checkpoint_every=1, output=tmp_path,
    )  # fmt: skip
    (autapse, outcomes), folder = spike_code.run(settings)
    assert 0.69 < autapse["autapse_25"] < 0.86
    assert 0.01 < autapse["autapse_400"] < 0.07
    assert [o.population for o in outcomes] == ["homogeneous", "heterogeneous"]
    for outcome in outcomes:
        assert outcome.mean_distance < outcome.mean_distance_before
        assert outcome.after.loss < outcome.before.loss
        assert outcome.removed[0][1] > 0
    assert spike_code.read_outcomes(folder) == (autapse, outcomes)
    study = study_of_2012(autapse, outcomes)
    assert set(study.bounds) <= set(study.figures)
    assert not study.holds  # so short a time is not enough
    pictures = {p.name for p in folder.glob("*.png")}
    assert {"autapse.png", "heterogeneous-activity.png", "homogeneous-removal.png"} <= pictures
    # a run that goes on from its first checkpoint ends with the same numbers; its programs are
    # those of the first run, and its pictures need not be drawn again
    for name in ("autapse", "learning", "activity", "removal"):
        monkeypatch.setattr(spike_code, f"draw_{name}", lambda *args: plt.figure())
    for path in folder.glob("checkpoints/*/step-00000002.ckpt"):
        path.unlink()
    (_, again), same = spike_code.run(dataclasses.replace(settings, resume=folder))
    assert same == folder
    assert again == outcomes
    capsys.readouterr()


def test_a_system_is_learned(tmp_path, capsys):
    settings = linear_systems.Settings(
        systems=("oscillator",), seeds=(0,), epochs=(3, 2), feedback=(200.0, 50.0),
        fast_epochs=(3,), fast_rates=(0.02,), slow_rates=(0.8, 0.3),
        epoch=1.0, dt0=5e-4, neurons_per_signal=6, progress=False,
        output=tmp_path,
    )  # fmt: skip
    outcomes, folder = linear_systems.run(settings)
    assert [o.learned_fast for o in outcomes] == [False, True]
    assert outcomes[0].error < outcomes[0].error_before
    assert outcomes[0].ideal_error < 0.05
    assert outcomes[1].fast_distance < 0.5
    assert linear_systems.read_outcomes(folder) == outcomes
    study = study_of_2015(outcomes)
    assert study.bounds["oscillator_matrix_error"] == "<= 0.03"
    assert json.loads(study.to_json("balance-2015"))["study"] == "balance-2015"
    assert (folder / "oscillator-fast-learned-free-response.png").exists()
    capsys.readouterr()


def test_bad_settings_are_refused_and_divergence_stops_a_run(tmp_path):
    with pytest.raises(ValueError, match="`signals` is 0; it must be at least 1"):
        spike_code.Settings(signals=0)
    with pytest.raises(ValueError, match=r"`durations` holds 300; it must hold multiples of 200"):
        spike_code.Settings(durations=(300.0,) * 4)
    with pytest.raises(ValueError, match=r"`taus` is .* a value for each phase of learning"):
        spike_code.Settings(taus=(60.0,))
    with pytest.raises(ValueError, match="`systems` holds 'pendulum'; it may hold oscillator"):
        linear_systems.Settings(systems=("pendulum",))
    with pytest.raises(ValueError, match="must have a value for each phase"):
        linear_systems.Settings(epochs=(3,))
    with pytest.raises(ValueError, match=r"`signals` is 9 and `neurons` 6; so few neurons"):
        spike_code.Settings(signals=9, neurons=6)
    with pytest.raises(ValueError, match=r"`feedback` holds 2000, .* at most 1 / dt0 = 1000"):
        linear_systems.Settings(dt0=1e-3, feedback=(2000.0,), epochs=(3,), slow_rates=(0.1,))
    with pytest.raises(ValueError, match=r"a step must be at most 0\.1 / leak = 0\.005 s"):
        linear_systems.Settings(dt0=0.01)
    with pytest.raises(ValueError, match=r"`fast_epochs` is \(0, 0, 0\); .* `learn_fast` False"):
        linear_systems.Settings(fast_epochs=(0, 0, 0))
    small = dict(
        neurons=6, homogeneous_neurons=4, seeds=(0,), durations=(200.0, 200.0), taus=(0.05, 0.05),
        pauses=(0.05, 0.05), noises=(0.045, 0.03), dt0=0.05, size=3.0,
        progress=False,
        autapse_dt0=0.02, output=tmp_path,
    )  # fmt: skip
    with pytest.raises(rs.TrainingError, match=r"(weights diverge|saturates).*Take larger `taus`"):
        spike_code.run(spike_code.Settings(**small))
