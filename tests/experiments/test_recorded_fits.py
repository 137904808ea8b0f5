"""The filter behind time rescaling, training, and the command from files to the report."""

import dataclasses
import json

import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import integrate, stats

import experiments.benchmarks.recorded_spike_trains as recorded_study
import roughsnn as rs
from experiments.benchmarks.recorded_spike_trains import judge_fits, study
from experiments.recorded_spike_trains import Settings, choosing, run
from experiments.recorded_spike_trains import fit as recorded_fit
from experiments.recorded_spike_trains.baselines import Renewal
from experiments.recorded_spike_trains.choosing import within_training
from experiments.recorded_spike_trains.judging import (
    Sample,
    Verdict,
    above_best_baseline,
    correlogram,
)
from experiments.recorded_spike_trains.models import MODELS
from experiments.recorded_spike_trains.reading import read_recording
from experiments.recorded_spike_trains.remembering import Memory, identity_of
from experiments.recorded_spike_trains.reporting import doubts, first_line
from experiments.recorded_spike_trains.rescaling import rescale, rescale_part
from experiments.recorded_spike_trains.splitting import Part, split
from experiments.recorded_spike_trains.target import loss_by_chance
from experiments.recorded_spike_trains.training import LOSSES, Plan, fit
from roughsnn import io

from ..neurons.independent import survival


def test_rescaling_with_a_constant_intensity():
    rate, alpha = 2.0, 0.3
    neuron = rs.StochasticLIF(1, sigma=0.5, alpha=alpha, beta=0.0, tau_s=1 / rate)
    intervals = np.array([0.5, 0.9, 0.2, 1.7, 0.16])
    z, log_rate = rescale(neuron, jnp.asarray(1.0), intervals, 0.05, particles=8, seed=0)
    # The dead part lasts alpha / rate = 0.15; 1e-12 is the intensity there, 1e-6 rounding.
    np.testing.assert_allclose(z, rate * intervals - alpha, atol=1e-6)
    np.testing.assert_allclose(log_rate, np.log(rate), atol=1e-6)


def test_rescaling_without_noise_against_quadrature():
    mu1, beta, v_th, tau_s, reset, alpha, current = 1.5, 3.0, 1.0, 0.5, 0.7, 0.1, 1.3
    neuron = rs.StochasticLIF(
        1, mu1=mu1, sigma=None, beta=beta, v_th=v_th, tau_s=tau_s, v_reset=reset, alpha=alpha,
        v0=-reset,
    )  # fmt: skip
    intervals = np.array([0.8, 1.1, 0.5])

    def rate(t, v0):
        return np.exp(beta * (current + (v0 - current) * np.exp(-mu1 * t) - v_th)) / tau_s

    v0, expected, log_rates = -reset, [], []
    for x in intervals:
        expected.append(integrate.quad(rate, 0, x, args=(v0,))[0] - alpha)
        log_rates.append(np.log(rate(x, v0)))
        v0 = current + (v0 - current) * np.exp(-mu1 * x) - reset

    def error(dt0):
        z, log_rate = rescale(neuron, jnp.asarray(current), intervals, dt0, particles=2, seed=0)
        return max(np.max(np.abs(z - expected)), np.max(np.abs(log_rate - log_rates)))

    # Euler steps: the error is of the order of beta * dv/dt * dt, 6 dt at most, and shrinks with it
    coarse, fine = error(0.004), error(0.001)
    assert coarse < 6 * 0.004
    assert fine < coarse / 3


def test_survival_of_a_noisy_neuron_against_simulation():
    neuron = rs.StochasticLIF(
        1, mu1=0.5, sigma=1.0, v_reset=1.0, beta=6.0, v_th=0.5, alpha=0.1, v0=0.0
    )
    trials, time = 4000, 0.9
    trains = rs.simulate(
        neuron, 0.0, time, 0.02, key=jr.key(0), num_samples=trials, max_spikes=1, stop_after=1,
        input_current=jnp.asarray(0.5),
    )  # fmt: skip
    survived = np.mean(np.asarray(trains.counts) == 0)
    z, _ = rescale(neuron, jnp.asarray(0.5), np.array([time]), 0.02, particles=1000, seed=1)
    assert 0.2 < survived < 0.8
    # five standard errors of both samples together
    slack = 5 * np.sqrt(survived * (1 - survived) * (1 / trials + 1 / 1000))
    assert abs(np.exp(-z[0]) - survived) < slack


def test_rates_of_a_steep_intensity_against_a_fokker_planck_equation():
    """Particles reach lambda dt of 10 and more within a step here. Three intervals of a neuron that
    forgets its potential are three times the first one."""
    neuron = rs.ResettingStochasticLIF(
        1, mu1=0.5, sigma=1.0, reset_to=-0.7, alpha=1e-4,
        intensity=rs.ExponentialIntensity(0.0, 12.0, 1.0),
    )  # fmt: skip
    at, half = np.array([0.3, 0.7, 1.5]), 0.02
    grid = np.sort(np.r_[at, at - half, at + half])
    alive = survival(
        0.5, 1.0, 1.0, -0.7, lambda v: np.exp(np.minimum(12 * v, 20.0)), grid, -4.0, 1.5
    )
    z, log_rate = rescale(neuron, jnp.asarray(1.0), at, 0.01, particles=2000, seed=0)
    before, there, after = alive[0::3], alive[1::3], alive[2::3]
    # Euler's step puts the threshold about 0.6 sigma sqrt(dt) = 0.06 higher, a tenth of its
    # distance; particles add a few per cent. The rate at the end of a step is 0.24 to 0.48 low.
    np.testing.assert_allclose(z, -np.log(there), rtol=0.1)
    np.testing.assert_allclose(log_rate, np.log((before - after) / (2 * half) / there), atol=0.2)


def test_independent_intervals_are_filtered_alone():
    """Of a neuron that forgets its potential: the held-out intervals among all, and alone."""
    gaps = np.random.default_rng(0).gamma(2.0, 0.5, 24)
    held = np.arange(24) % 3 == 1
    part = Part(1.0, 10.0, gaps[~held], gaps[held], [(gaps, held)], [], 1.0, 1, 1.0, 1)
    parameters = MODELS["resetting-lif"].start([gaps], 1.0)
    alone, likelihood = rescale_part(parameters, 0, part, 0.01, particles=4000, seed=0)
    z, log_rate = rescale(
        parameters.neuron(), parameters.currents()[0], gaps, 0.01, particles=4000, seed=1
    )
    # With 4000 particles one interval varies by 2 % of its integral and its log rate by 0.05.
    np.testing.assert_allclose(alone, z[held], rtol=0.1, atol=0.02)
    np.testing.assert_allclose(likelihood, (log_rate - z)[held], atol=0.4)


def test_a_part_is_cut_within_training():
    random = np.random.default_rng(0)
    gaps = [random.exponential(1.0, n) for n in (200, 150)]
    held = [np.arange(200) % 90 >= 60, np.arange(150) % 90 < 30]
    both, marks = np.concatenate(gaps), np.concatenate(held)
    part = Part(
        1.0, 10.0, both[~marks], both[marks], list(zip(gaps, held, strict=True)), [], 1.0, 1, 1.0, 1
    )
    every = []
    for fold in range(3):
        inner = within_training(part, fold)
        assert inner is not None
        judged = np.concatenate([m for _, m in inner.trials])
        assert not np.any(judged & marks)
        np.testing.assert_array_equal(np.sort(both[judged]), np.sort(inner.held))
        np.testing.assert_array_equal(np.sort(np.r_[inner.train, inner.held]), np.sort(part.train))
        assert 0.2 < inner.held.size / part.train.size < 0.4
        every.append(inner.held)
    # each training interval is judged once
    np.testing.assert_array_equal(np.sort(np.concatenate(every)), np.sort(part.train))
    few = dataclasses.replace(part, train=part.train[:20])
    assert within_training(few, 0) is None


@pytest.mark.parametrize(
    ("lead", "spread", "model"),
    [(0.5, 0.0, "lif"), (0.5, 20.0, "resetting-lif"), (-0.5, 0.0, "resetting-lif")],
)
def test_the_simplest_model_within_a_standard_error_of_the_best_is_chosen(lead, spread, model):
    """With a lead of `lif` in each interval that is certain, or drowned in its spread."""
    gaps = np.random.default_rng(0).exponential(1.0, 300)
    held = np.arange(300) % 90 >= 60
    part = Part(1.0, 10.0, gaps[~held], gaps[held], [(gaps, held)], [], 1.0, 1, 1.0, 1)
    fitted = []

    def judged(model, cut, neuron, fold):
        assert neuron == 0
        fitted.append((model, fold))
        assert np.all(np.isin(cut[0].train, part.train))
        assert cut[0].train.size < part.train.size
        marks = cut[0].trials[0][1]
        assert not np.any(marks & held)
        turns = np.where(np.arange(marks.sum()) % 2 == 0, spread, -spread)
        return [-2.0 + (lead + turns if model == "lif" else np.zeros(marks.sum()))]

    lines = []
    chosen, scores = choosing.choose([[part]], judged, report=lines.append)
    assert chosen == model
    best = "lif" if lead > 0 else "resetting-lif"
    assert next(iter(scores)) == best
    assert scores[best].behind == 0
    np.testing.assert_allclose(scores["lif"].log_likelihood, lead - 2, atol=0.2 * spread / 10)
    other = next(x for x in scores if x != best)
    # the standard error of alternating values is their size over the root of their number
    np.testing.assert_allclose(scores[other].error, spread / np.sqrt(208), rtol=0.05, atol=1e-12)
    assert model in choosing.how_chosen(chosen, scores)
    assert sorted(fitted) == [(m, f) for m in ("lif", "resetting-lif") for f in range(3)]
    assert len(lines) == 6
    few = dataclasses.replace(part, train=part.train[:20])
    assert choosing.choose([[few]], judged) == ("resetting-lif", {})


def test_distance_above_the_best_baseline():
    random = np.random.default_rng(0)
    held = random.exponential(1.0, 300)
    samples = [
        Sample("Poisson", [], random.exponential(1.0, 20_000)),
        Sample("slow", [], random.exponential(2.0, 20_000)),
        Sample("lif, a loss", [], random.exponential(1.3, 20_000)),
    ]
    ((name, (above, error)),) = above_best_baseline(held, samples, random).items()
    assert name == "lif, a loss"
    distances = [stats.ks_2samp(held, s.intervals).statistic for s in samples]
    assert above == pytest.approx(distances[2] - distances[0])
    # the difference of two distances of 300 intervals varies by a part of 1 / sqrt(300) = 0.058
    assert 0.01 < error < 0.058


def _recording(folder, seed, cvs, neurons, trials, intervals):
    """Gamma renewal trains, a CSV file with columns for all that can be told apart."""
    random = np.random.default_rng(seed)
    lines = ["spike_time_s,trial,neuron,light"]
    for light, cv in cvs.items():
        for neuron in range(neurons):
            for trial in range(trials):
                gaps = random.gamma(1 / cv**2, 0.05 * cv**2 * (1 + 0.2 * neuron), intervals)
                lines += [f"{t:.6f},{trial},{neuron},{light}" for t in np.cumsum(gaps)]
    (folder / "recorded.csv").write_text("\n".join(lines) + "\n")
    return folder / "recorded.csv"


def test_training_brings_the_model_closer(tmp_path):
    """Two trials in each of two conditions, with intervals that the start is not made for."""
    path = _recording(tmp_path, 0, {"on": 0.4, "off": 0.6}, 1, 2, 100)
    parts = split(read_recording([path], condition_column="light"), 10.0)[0]
    plan = Plan("lif", 2, 6.0, 0.05, 400, 20)
    arguments = dict(loss=LOSSES["expected-signature"], steps=3, gradient_steps=4, seed=0)
    trained = fit(parts, plan, **arguments)
    rounds = trained.history["round"]
    assert set(rounds) == {1, 2, 3}
    assert np.sum(rounds == 3) == 4
    assert np.all(np.bincount(rounds)[1:3] <= 3)
    # with the noise that training sees
    assert trained.history["shown"][rounds == 1][-1] < 0.8 * trained.history["loss"][0]
    assert trained.unfinished < 0.01
    # what is kept is the best with noise that training did not see
    assert trained.kept == np.argmin(trained.losses)
    assert trained.loss_after <= trained.loss_before
    flat = jax.flatten_util.ravel_pytree(trained.parameters)[0]
    np.testing.assert_allclose(flat, trained.ends[trained.kept], rtol=1e-6, atol=1e-7)
    assert trained.parameters.drive.shape == (2,)
    spread = np.sqrt(np.diag(trained.certainty.covariance))
    assert np.all((spread > 0) & (spread < 1.5))

    # a prior of a thousandth leaves no room for a better loss
    narrow = dataclasses.replace(plan, prior=1e-3)
    held = fit(parts, narrow, **(arguments | dict(gradient_steps=0)))
    assert held.ends.shape[0] == 2
    np.testing.assert_allclose(held.ends[0], held.ends[1], atol=5e-3)

    # cut off after three values: the others are computed, and the numbers are the same
    kept, identity = (
        rs.Checkpoints(tmp_path / "fit", every=1, resume=True),
        identity_of(parts, plan),
    )
    cut_off = Watched(kept, identity, limit=3)
    with pytest.raises(KeyboardInterrupt), cut_off.open():
        fit(parts, plan, **arguments, memory=cut_off)
    with Watched(kept, identity).open() as memory:
        again = fit(parts, plan, **arguments, memory=memory)
    assert memory.computed == len(memory.values) - 3
    for ours, theirs in zip(
        jax.tree.leaves(vars(again)), jax.tree.leaves(vars(trained)), strict=True
    ):
        if not dataclasses.is_dataclass(ours):
            assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()
    other = identity_of(parts[:1], plan)
    with pytest.raises(rs.CheckpointError, match="another recording"), Memory(kept, other).open():
        pass


def test_the_loss_by_chance_of_overlapping_sequences():
    """Sums of three successive independent numbers, in two directions: the mean of n of them has
    the variance 9 sigma^2 / n in each."""
    random = np.random.default_rng(0)
    sizes, n = np.array([1.0, 2.0]), 400
    sums = random.normal(size=(500, n + 2, 2)) * sizes
    sums = sums[:, :-2] + sums[:, 1:-1] + sums[:, 2:]
    expected = 9 * np.sum(sizes**2) / n
    distances = np.sum(np.mean(sums, axis=1) ** 2, axis=-1)
    found = [loss_by_chance(rows, 3.0) for rows in sums]
    # Means over 500 recordings; a distance is spread as widely as its mean, what is found a fifth.
    np.testing.assert_allclose(np.mean(distances), expected, rtol=5 / np.sqrt(500))
    np.testing.assert_allclose(np.mean(found), expected, rtol=0.05)
    # Every third sum shares nothing with the next.
    apart = [loss_by_chance(rows[::3], 1.0) for rows in sums]
    np.testing.assert_allclose(np.mean(apart), expected, rtol=0.05)
    assert loss_by_chance(sums[0, :1], 3.0) == 0.0


class Watched(Memory):
    """Counts what is computed, and is interrupted at a limit."""

    def __init__(self, checkpoints, identity, limit=None):
        super().__init__(checkpoints, identity)
        self.computed, self.limit = 0, limit

    def recall(self, name, compute, *inputs):
        def count(*inputs):
            if self.computed == self.limit:
                raise KeyboardInterrupt
            self.computed += 1
            return compute(*inputs)

        return super().recall(name, count, *inputs)


@pytest.mark.slow
def test_a_fit_with_trials_neurons_and_conditions(tmp_path, monkeypatch):
    # The other baselines compile for long.
    monkeypatch.setattr(
        recorded_fit, "fit_baselines", lambda part, _: ([Renewal.poisson(part)], [])
    )
    path = _recording(tmp_path, 1, {"on": 0.5, "off": 0.8}, 2, 2, 80)
    settings = Settings(
        spikes=(path,), trial_column="trial", neuron_column="neuron", condition_column="light",
        losses=("expected-signature",), steps=2, gradient_steps=2, paths=200, batch=20, sequence=2,
        dt0=0.05, likelihood_paths=400, generated_windows=40, output=tmp_path / "runs",
        model="resetting-lif",
    )  # fmt: skip
    outcome = run(settings)
    assert outcome.recording.neurons == ["0", "1"]
    assert outcome.recording.conditions == ["on", "off"]
    found = json.loads((outcome.folder / "results.json").read_text())
    rows = {(v["neuron"], v["condition"], v["generator"]) for v in found["verdicts"]}
    assert len(rows) == len(found["verdicts"]) == 4 * 4
    for verdict in found["verdicts"]:
        if verdict["generator"].startswith("recorded") is False:
            assert 0 <= verdict["interval_distance"] <= 1
            assert 0 < verdict["kernel_p"] <= 1
            assert np.isfinite(verdict["log_likelihood"])
    for n in (0, 1):
        for c in (0, 1):
            assert (outcome.folder / f"neuron-{n}-condition-{c}.png").stat().st_size > 10_000
            name = f"expected-signatures-neuron-{n}-condition-{c}"
            saved = io.read_model(outcome.folder / f"models/{name}.model")
            assert isinstance(saved.model, rs.ResettingStochasticLIF)
            generated = io.read_npz(outcome.folder / f"generated/{name}.npz")
            assert saved.notes["condition"] == outcome.recording.conditions[c]
            # both are in seconds: the same neuron, simulated again, fires as often
            again = rs.simulate(
                saved.model, 0.0, saved.window, saved.dt0, key=jr.key(5), num_samples=8,
                max_spikes=saved.max_spikes, input_current=saved.input_current,
            )  # fmt: skip
            rates = [np.asarray(rs.spike_rates(x)).mean() for x in (again, generated)]
            np.testing.assert_allclose(*rates, rtol=0.2)
    written = (outcome.folder / "report.md").read_text()
    assert "time constant of the leak" in written
    assert written.startswith(("The fit passes", "**Do not trust"))
    # resumed with a checkpoint less, the run writes the same
    before = {
        p.name: p.read_bytes() for p in outcome.folder.glob("*.[cjm]*") if p.stem != "settings"
    }
    max((outcome.folder / "checkpoints/expected-signature-neuron-1").glob("*.ckpt")).unlink()
    assert run(dataclasses.replace(settings, resume=outcome.folder)).folder == outcome.folder
    del before["status.json"]
    assert {name: (outcome.folder / name).read_bytes() for name in before} == before


def test_correlogram_of_regular_and_poisson_trains():
    random = np.random.default_rng(0)
    # Windows of 50 bins with a spike in the middle of every fifth: 5 at lags that 5 divides.
    regular = rs.SpikeTrains.from_lists([[np.arange(2.5, 50, 5)]] * 3, t0=0.0, t1=50.0)
    observed = correlogram(regular)
    np.testing.assert_allclose(observed[4::5], 5.0, rtol=1e-6)
    np.testing.assert_allclose(np.delete(observed, np.s_[4::5]), 0.0, atol=1e-6)
    windows = [[np.sort(random.uniform(0, 50, random.poisson(50)))] for _ in range(200)]
    poisson = correlogram(rs.SpikeTrains.from_lists(windows, t0=0.0, t1=50.0))
    # about 200 * 40 pairs in each lag: five standard errors are 0.06
    np.testing.assert_allclose(poisson, 1.0, atol=0.08)


def test_the_embedding_gives_the_kernel():
    """Inner products of features of landmarks are their kernels, up to the ridge of 1e-3."""
    times = np.cumsum(np.random.default_rng(0).uniform(0, 1, (8, 3)), axis=1)
    trains = rs.SpikeTrains.from_lists([[row] for row in times], t0=0.0, t1=3.0)
    embedding = LOSSES["signature-kernel"].features(trains)
    found = np.asarray(embedding(trains))
    gram = np.asarray(embedding.kernel(trains))
    # K - K (K + r)^-1 K has eigenvalues r k / (k + r) < r
    assert np.linalg.norm(found @ found.T - gram, 2) < 1e-3


def test_the_study_says_what_is_missing_and_judges_a_run(tmp_path):
    with pytest.raises(ValueError, match="not part of the repository"):
        study()
    with pytest.raises(ValueError, match="does not exist"):
        study(spikes=(tmp_path / "none.csv",))
    with pytest.raises(ValueError, match="no results"):
        study(folder=(tmp_path,))

    def verdict(generator, distance=0.1, rescaling=0.5, kernel=0.5):
        return Verdict(
            "0", "on", generator, 1.0, 1.0, 1.0, distance, 0.1, 0.1, rescaling, 0.0, kernel
        )

    recorded = Verdict("0", "on", "recorded, held out", 1.0, 1.0, 1.0)
    rows = [
        recorded, verdict("Poisson", 0.2, 0.01, 0.01), verdict("GLM with history"),
        verdict("lif, signature-kernel MMD", 0.09),
    ]  # fmt: skip
    assert judge_fits(rows).holds
    worse = [*rows[:-1], verdict("lif, signature-kernel MMD", 0.11, 0.01, 0.01)]
    assert set(judge_fits(worse).missed) == {
        "on_interval_distance_above_best_baseline", "on_kernel_test_p", "on_time_rescaling_p",
    }  # fmt: skip


def test_the_first_line_says_what_speaks_against_a_fit():
    training = Verdict("0", "on", "recorded, training part", 10.0, 1.0, np.nan)
    good = Verdict(
        "0", "on", "lif, a loss", 11.0, 1.0, 1.0, rescaling_p=0.3, kernel_p=0.2, above_best=0.01,
        above_best_error=0.02,
    )  # fmt: skip
    poisson = dataclasses.replace(good, generator="Poisson", kernel_p=0.001, rate=100.0)
    assert doubts([training, poisson, good]) == []
    assert first_line([]) == "The fit passes its tests on the held-out part."
    for change, words in (
        (dict(rescaling_p=0.04), "time-rescaling test rejects"),
        (dict(kernel_p=0.01), "kernel test rejects"),
        (dict(rate=25.0), "runs away"),
        (dict(above_best=0.03), "baseline's intervals are closer"),
    ):
        told = doubts([training, poisson, dataclasses.replace(good, **change)])
        assert len(told) == 1
        assert words in told[0]
        assert first_line(told).startswith("**Do not trust this fit without a look:** neuron 0")


def test_a_study_of_many_fits_goes_on_where_it_was_cut_off(tmp_path, monkeypatch):
    """With fits that write what a fit writes; the third is cut off, and made once more."""
    begun = []

    def run(settings):
        with rs.RunFolder.start(settings) as folder:
            begun.append((settings.hold_out, settings.seed, folder.resumed))
            if len(begun) == 3:
                raise KeyboardInterrupt
            rows = [
                Verdict("0", "a", name, 10.0, 1.0, 1.0, 0.1, kernel_p=p, above_best=above,
                        above_best_error=0.01)
                for name, p, above in (
                    ("recorded, training part", 0.5, np.nan), ("Poisson", 0.001, np.nan),
                    ("lif, signature-kernel MMD", 0.5, 0.002 * settings.seed),
                )
            ]  # fmt: skip
            losses = {"at the start": 0.2, "after training": 0.1, "by chance": 0.3}
            verdicts = [
                {k: None if v != v else v for k, v in dataclasses.asdict(row).items()}
                for row in rows
            ]
            folder.write_json("results.json", {
                "verdicts": verdicts, "losses": {"lif, signature-kernel MMD": [losses]},
            })  # fmt: skip
        return dataclasses.make_dataclass("Outcome", ["folder"])(folder.path)

    monkeypatch.setattr(recorded_study, "run", run)
    (tmp_path / "a.csv").touch()
    arguments = dict(
        spikes=(tmp_path / "a.csv",), splits=(0, 1), seeds=(0, 1), output=tmp_path / "fits"
    )
    with pytest.raises(KeyboardInterrupt):
        study(**arguments)
    found = study(**arguments)
    assert begun == [(0, 0, False), (0, 1, False), (1, 0, False), (1, 0, True), (1, 1, False)]
    assert found.holds
    name = "a: median of distance above best baseline less standard error"
    np.testing.assert_allclose(found.figures[name], 0.001 - 0.01)
    assert study(**arguments).figures == found.figures
    assert len(begun) == 5
