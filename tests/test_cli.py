"""The command `roughsnn`: what it explains, what it returns, what it leaves behind."""

import dataclasses
import importlib
import json
import re
import signal
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import roughsnn as rs
from roughsnn import cli
from roughsnn.commands import simulate
from roughsnn.io import read_npz

from .runs import tiny_experiment


@pytest.fixture
def tiny(monkeypatch, tmp_path, standard_dtype_promotion):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(cli.EXPERIMENTS, "tiny", tiny_experiment.__name__)
    # A shell without job control has its background processes ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield tmp_path / "runs" / "tiny"
    signal.signal(signal.SIGINT, before)


def status(folder):
    return json.loads((folder / "status.json").read_text())["status"]


# --- what it explains


def test_usage_and_list(capsys):
    assert cli.main([]) == 0
    usage = capsys.readouterr().out
    for command in ("list", "run", "fit", "simulate", "plot"):
        assert f"roughsnn {command}" in usage
    assert cli.main(["--version"]) == 0
    assert re.fullmatch(r"roughsnn \d+\.\d+\.\d+\n", capsys.readouterr().out)
    assert cli.main(["list"]) == 0
    assert cli.main(["run", "--help"]) == 0
    listed = capsys.readouterr().out
    for name in cli.EXPERIMENTS:
        assert listed.count(f"\n{name} ") + listed.startswith(name) == 2


_WITH_SETTINGS = [["run", name] for name in cli.EXPERIMENTS] + [[name] for name in cli.COMMANDS]


@pytest.mark.parametrize("command", _WITH_SETTINGS, ids=" ".join)
def test_help_explains_every_setting_with_its_default(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    assert cli.main([*command, "--help"]) == 0
    text = capsys.readouterr().out
    module = cli.EXPERIMENTS[command[1]] if command[0] == "run" else cli.COMMANDS[command[0]]
    fields = dataclasses.fields(importlib.import_module(module).Settings)
    plain = re.sub(r"[│╭╮╰╯─]", " ", text)
    blocks = re.split(r"\n +(?=--|[A-Z]+ {2,})", plain)
    for field in fields:
        required = field.default is dataclasses.MISSING
        name = field.name.upper() if required else "--" + field.name.rstrip("_").replace("_", "-")
        found = [block for block in blocks if re.match(rf"{name}[ ,]", block)]
        assert len(found) == 1, (name, blocks)
        words = " ".join(found[0].split())
        assert ("(required)" if required else "(default: ") in words, words
        assert len(re.findall(r"[a-z]{2,}", words.partition("(default")[0])) >= 3, words


# --- what it returns


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["jump"], "unknown command 'jump'"),
        (["run"], "`run` takes the name of an experiment: input-current"),
        (["run", "input-curent"], "did you mean input-current?"),
        (["run", "input-current", "--stepps", "3"], "--stepps"),
        (["run", "input-current", "--steps", "many"], "many"),
        (["run", "input-current", "--resume", "nowhere"], "nowhere is not the folder of a run"),
        (
            ["run", "input-current", "--quick", "--steps", "-3"],
            "`steps` is -3; it must be at least",
        ),
        (["run", "input-current", "--sigmas", "0.5", "0.5"], "`sigmas` holds 0.5 twice"),
        (["run", "predictive-coding", "--dt0", "0.3"], "a whole number of steps"),
        (["run", "delayed-memory-xor", "--max-steps", "70"], "it must be a multiple of 50"),
        (
            ["run", "synaptic-weights", "--improved", "--steps", "3", "2"],
            "`steps` is (3, 2)",
        ),
        (["run", "synaptic-weights", "--paths", "4"], "not used without `improved`"),
        (["run", "fast-sampling", "--sweep-dims", "0"], "`sweep_dims` holds 0; each must be at"),
        (["run", "fast-sampling", "--balanced-dt0", "0.5"], "Euler's scheme diverges"),
        (["run", "mirror-symmetry", "--density", "0"], "`density` is 0.0; it must be between"),
        (["run", "mirror-symmetry", "--threshold", "2.5"], "it must be between 1 and 2"),
        (["run", "random-feedback", "--samples", "3"], "`samples` is 3; it must be between"),
        (["run", "conductance-perturbation", "--rate", "0"], "`rate` is 0.0; it must be"),
        (["run", "surrogates-are-not-gradients", "--points", "9"], "`points` is 9; it must be at"),
        (["simulate", "--sigma", "-1"], "`sigma` is -1.0; it must be at least 0"),
        (
            ["simulate", "--layers", "2", "3", "--neurons", "4"],
            "and `neurons` 4",
        ),
        (["simulate", "--weight", "2"], "`weight` is 2.0 and there is no connection"),
        (["simulate", "--dt0", "6"], "`dt0` is 6.0 and `window` 5.0"),
        (["run", "synaptic-weights", "--seeds"], "`seeds` is empty"),
        (["simulate", "--trials"], "--trials"),
        (["simulate", "--trials", "-3"], "`trials` is -3; it must be at least 1"),
        (["fit"], "`spikes` is empty"),
    ],
)
def test_what_is_not_understood_is_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main(arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_plot_reads_tables_of_spikes_as_every_reader_does(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "curves.csv").write_text("seed,step,loss\n0,0,1.0\n0,1,0.5\n")
    assert cli.main(["plot", "curves.csv", "--max-trials", "3"]) == 2
    assert "`max_trials` is 3, which is not used for curves.csv" in capsys.readouterr().err
    (tmp_path / "spikes.csv").write_text("time;cluster_id\n0,25;7\n0,5;9\n")
    assert cli.main(["plot", "spikes.csv"]) == 1
    assert "pass `decimal=','`" in capsys.readouterr().err
    assert cli.main(["plot", "spikes.csv", "--decimal", ",", "--stop", "2"]) == 0
    assert "neurons 0 to 1 are those written 7, 9" in capsys.readouterr().out
    assert (tmp_path / "figures/spikes.png").stat().st_size > 3000


def test_processes_that_cannot_be_joined_are_2(capsys):
    assert cli.main(["--distributed", "list"]) == 2
    said = capsys.readouterr().err
    assert "cannot be joined" in said
    assert "JAX_COORDINATOR_ADDRESS" in said


def test_a_run_writes_its_folder_and_a_second_another(tiny, capsys):
    assert cli.main(["run", "tiny", "--no-progress"]) == 0
    files = {str(p.relative_to(tiny)) for p in tiny.rglob("*") if p.is_file()}
    assert files == {
        "001/settings.json", "001/status.json", "001/metrics.csv", "001/observed.npz",
        "001/checkpoints/fit/step-00000020.ckpt", "001/checkpoints/fit/.lock",
    }  # fmt: skip
    described = json.loads((tiny / "001/settings.json").read_text())
    assert described["settings"]["steps"] == 20
    assert {"python", "jax", "roughsnn", "numpy"} <= set(described["versions"])
    assert described["x64"] is True
    assert status(tiny / "001") == "finished"
    before = (tiny / "001/metrics.csv").read_bytes()
    assert before.splitlines()[0] == b"seed,step,loss,gradient_norm,overflowed,left_out,clipped"
    assert cli.main(["run", "tiny", "--start", "3", "--no-progress"]) == 0
    assert (tiny / "001/metrics.csv").read_bytes() == before
    assert (tiny / "002/metrics.csv").read_bytes() != before

    assert cli.main(["plot", str(tiny / "001")]) == 0
    figures = sorted(p.name for p in (tiny / "001/figures").iterdir())
    assert figures == [
        "metrics-clipped.png", "metrics-gradient-norm.png", "metrics-left-out.png",
        "metrics-loss.png", "metrics-overflowed.png", "observed.png",
    ]  # fmt: skip
    times = [p.stat().st_mtime_ns for p in (tiny / "001/figures").iterdir()]
    assert cli.main(["plot", str(tiny / "001")]) == 0
    assert [p.stat().st_mtime_ns for p in (tiny / "001/figures").iterdir()] == times
    assert "is there already" in capsys.readouterr().out


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_how_to_go_on_and_ends_the_same(tiny, capsys, sent, code):
    assert cli.main(["run", "tiny", "--no-progress"]) == 0
    arguments = ["--interrupt-at", "10", "--with-signal", str(int(sent)), "--start", "2.0"]
    assert cli.main(["run", "tiny", "--no-progress", *arguments]) == code
    assert status(tiny / "002") == "interrupted"
    assert not (tiny / "002/metrics.csv").exists()
    said = capsys.readouterr().err
    resume = re.search(r"Go on with: roughsnn (.*)", said)[1].split()
    assert resume == ["run", "tiny", "--resume", "runs/tiny/002"]
    assert cli.main([*resume, "--interrupt-at", "None"]) == 0
    assert (tiny / "002/metrics.csv").read_bytes() == (tiny / "001/metrics.csv").read_bytes()
    described = json.loads((tiny / "002/settings.json").read_text())
    assert described["resumed"][0]["changed"] == {"interrupt_at": None}
    assert status(tiny / "002") == "finished"


def test_a_run_that_fails_is_1(tiny, capsys):
    assert cli.main(["run", "tiny", "--no-progress"]) == 0
    # what an earlier run cannot go on with does not become its setting
    before = (tiny / "001/settings.json").read_bytes()
    assert cli.main(["run", "tiny", "--resume", str(tiny / "001"), "--steps", "5"]) == 1
    assert "a fit of 20 steps and `num_steps` is 5" in capsys.readouterr().err
    assert (tiny / "001/settings.json").read_bytes() == before
    newest = next((tiny / "001/checkpoints/fit").glob("*.ckpt"))
    newest.write_bytes(b"not mine")
    assert cli.main(["run", "tiny", "--resume", str(tiny / "001")]) == 1
    assert "is no checkpoint of roughsnn" in capsys.readouterr().err
    assert newest.read_bytes() == b"not mine"
    # what is refused before anything ran does not change how the run stands
    assert status(tiny / "001") == "finished"
    (tiny / "002").write_text("a file in the way")
    assert cli.main(["run", "tiny", "--output", str(tiny / "002" / "below")]) == 1
    assert (tiny / "002").read_text() == "a file in the way"
    assert "tiny/002: File exists" in (said := capsys.readouterr().err) or "Not a directory" in said
    assert "give another folder" in said


def test_damaged_settings_are_refused(tiny, capsys):
    assert cli.main(["run", "tiny", "--steps", "0", "--no-progress"]) == 0
    path = tiny / "001/settings.json"
    described = json.loads(path.read_text())
    path.write_text(json.dumps(described | {"settings": {"steps": "many"}}))
    assert cli.main(["run", "tiny", "--resume", str(tiny / "001")]) == 2
    path.write_text(json.dumps(described | {"settings": {"sigma": 1.0}}))
    assert cli.main(["run", "tiny", "--resume", str(tiny / "001")]) == 2
    path.write_text("{")
    assert cli.main(["run", "tiny", "--resume", str(tiny / "001")]) == 2
    said = capsys.readouterr().err
    assert "does not hold settings" in said
    assert "is not JSON" in said


# --- simulate and plot


def test_simulate_then_plot(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [
        "--layers",
        "2",
        "1",
        "--trials",
        "3",
        "--window",
        "1",
        "--dt0",
        "0.05",
        "--seed",
        "4",
    ]
    assert cli.main(["simulate", *arguments]) == 0
    folder = tmp_path / "runs/simulate/001"
    trains = read_npz(folder / "spikes.npz")
    assert trains.batch_shape == (3,)
    assert trains.num_neurons == 3
    # the same from a script
    again, _ = simulate.run(
        simulate.Settings(layers=(2, 1), trials=3, window=1.0, dt0=0.05, seed=4)
    )
    np.testing.assert_array_equal(again[""].times, trains.times)
    assert trains.times.dtype == np.float64
    # from the folder it comes again as it was
    assert cli.main(["simulate", "--from", str(folder), "--trials", "3", "--seed", "4"]) == 0
    same = read_npz(tmp_path / "runs/simulate/003/spikes.npz")
    np.testing.assert_array_equal(same.times, trains.times)
    assert cli.main(["simulate", "--from", str(folder), "--mu1", "3"]) == 2
    assert "`mu1` makes a model, and `from` names one" in capsys.readouterr().err
    assert cli.main(["simulate", "--from", str(tmp_path / "none")]) == 1
    assert "holds no model file" in capsys.readouterr().err
    lines = (folder / "rates.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 * 3
    assert sum(int(line.split(",")[2]) for line in lines[1:]) == int(trains.counts.sum())
    capsys.readouterr()
    target = tmp_path / "pictures"
    assert cli.main(["plot", str(folder / "spikes.npz"), "--output", str(target)]) == 0
    assert (target / "spikes.png").stat().st_size > 3000
    assert cli.main(["simulate", *arguments, "--max-spikes", "1"]) == 1
    assert "max_spikes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("lif", rs.StochasticLIF),
        ("adaptive", rs.AdaptiveStochasticLIF),
        ("quadratic", rs.StochasticQuadratic),
        ("exponential", rs.StochasticExponential),
    ],
)
def test_the_neurons_that_simulate_offers(name, model):
    network = simulate.Settings(neuron=name, layers=(2, 1), beta=4.0, sigma=0.0).model()
    assert isinstance(network, rs.SpikingNetwork)
    neurons = network.neurons
    assert isinstance(neurons, model)
    assert neurons.sigma is None
    np.testing.assert_allclose(neurons.intensity(jnp.array([0.5, 1.0, 1.5])), np.exp([-2, 0, 2]))


def test_plot_refuses_what_is_no_spikes(tmp_path, capsys):
    assert cli.main(["plot", str(tmp_path)]) == 1
    assert cli.main(["plot", str(tmp_path / "nothing.npz")]) == 1
    (tmp_path / "other.npz").write_bytes(b"PK\x03\x04 cut off")
    assert cli.main(["plot", str(tmp_path / "other.npz")]) == 1
    np.savez(tmp_path / "values.npz", x=np.zeros((2, 2)))
    assert cli.main(["plot", str(tmp_path / "values.npz")]) == 1
    said = capsys.readouterr().err
    for rows, message in (("", "the file is empty"), ("step,loss\n", "has no curves")):
        (tmp_path / "table.csv").write_text(rows)
        assert cli.main(["plot", str(tmp_path / "table.csv")]) == 1
        assert message in capsys.readouterr().err
    for message in ("holds no file of spikes", "there is no file", "damaged", "of the shapes"):
        assert message in said
    assert not (tmp_path / "figures").exists()


def test_the_command_runs_from_a_shell():
    done = subprocess.run([sys.executable, "-m", "roughsnn.cli", "list"], capture_output=True)
    assert done.returncode == 0
    assert b"input-current" in done.stdout
