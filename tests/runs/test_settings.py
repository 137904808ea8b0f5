"""Settings: what is given is what is run, or refused by name."""

import dataclasses
import importlib
import math
import re
from pathlib import Path
from typing import ClassVar

import pytest

import roughsnn as rs
from roughsnn import cli
from roughsnn.commands import plot, simulate
from roughsnn.runs.settings import above, at_least, between

EXPERIMENTS = {
    name: importlib.import_module(module).Settings
    for name, module in (cli.EXPERIMENTS | {"fit": cli.COMMANDS["fit"]}).items()
}


@dataclasses.dataclass(frozen=True)
class Settings(rs.RunSettings):
    steps: int = 10
    seeds: tuple[int, ...] = (1,)
    rate: float | None = None
    quick: bool = False
    full: bool = False

    number_ranges: ClassVar = {"steps": at_least(1), "seeds": at_least(0), "rate": above(0)}
    without_repeats: ClassVar = ("seeds",)
    presets: ClassVar = {"quick": {"steps": 3}, "full": {"seeds": (1, 2)}}


def test_a_size_changes_what_is_not_given():
    assert Settings(quick=True).steps == 3
    assert Settings(quick=True, steps=20).steps == 20
    # a value that is the default is given all the same
    assert Settings(quick=True, steps=10).steps == 10
    assert Settings(Path("x"), None, 50, True, 10, quick=True).steps == 10
    both = Settings(quick=True, full=True)
    assert (both.steps, both.seeds) == (3, (1, 2))
    assert dataclasses.replace(both, steps=7).steps == 7
    assert Settings(quick=True) == Settings(quick=True, steps=3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(steps=0), "`steps` is 0; it must be at least 1"),
        (dict(seeds=(1, -1)), "`seeds` holds -1; each must be at least 0"),
        (dict(seeds=(1, 2, 1)), "`seeds` holds 1 twice"),
        (dict(seeds=()), "`seeds` is empty"),
        (dict(rate=0.0), "`rate` is 0.0; it must be above 0"),
        (dict(rate=math.nan), "`rate` is nan"),
        (dict(rate=math.inf), "`rate` is inf"),
        (dict(checkpoint_every=0), "`checkpoint_every` is 0"),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        Settings(**settings)


def test_ranges():
    assert [between(0, 1).holds(x) for x in (-0.1, 0, 1, 1.1)] == [False, True, True, False]
    assert [above(0, infinite=True).holds(x) for x in (0, 1e-9, math.inf)] == [False, True, True]
    assert [str(x) for x in (between(0, 1), above(0, infinite=True), at_least(2))] == [
        "between 0 and 1", "above 0, or `inf`", "at least 2",
    ]  # fmt: skip


def _numbers(kind):
    """The fields of a dataclass of settings that hold numbers."""
    for field in dataclasses.fields(kind):
        if re.search(r"\b(int|float)\b", str(field.type).split("Literal")[0]):
            yield field


def _no_number(field):
    bad = math.nan if "float" in str(field.type) else -(10**9)
    several = isinstance(field.default, tuple)
    return (bad,) * max(len(field.default), 1) if several else bad


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_number_of_an_experiment_has_a_range(name):
    kind = EXPERIMENTS[name]
    required = {"spikes": (Path("x.csv"),)} if name == "fit" else {}
    for field in _numbers(kind):
        if field.name in {"hold_out"}:  # a choice
            continue
        bad = _no_number(field)
        with pytest.raises(ValueError, match=f"`{field.name}`"):
            kind(**required, **{field.name: bad})


@pytest.mark.parametrize("kind", [simulate.Settings, plot.Settings])
def test_every_number_of_the_other_commands_has_a_range(kind):
    required = {"path": Path("x.npz")} if kind is plot.Settings else {}
    for field in _numbers(kind):
        bad = _no_number(field)
        with pytest.raises(ValueError, match=f"`{field.name}`"):
            kind(**required, **{field.name: bad})


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_is_given_beside_a_size_is_what_is_run(name):
    kind = EXPERIMENTS[name]
    for flag, size in kind.presets.items():
        small = kind(**{flag: True})
        for field, value in size.items():
            assert getattr(small, field) == value
        given = {field.name: field.default for field in dataclasses.fields(kind)} | {flag: True}
        assert dataclasses.asdict(kind(**given)) == given


def test_the_command_line_runs_what_is_given(tmp_path, monkeypatch):
    module = importlib.import_module(cli.EXPERIMENTS["input-current"])
    ran = []
    monkeypatch.setattr(module, "run", ran.append)
    for more in ([], ["--steps", "20"], ["--steps", "1500", "--seeds", "8"]):
        assert cli.main(["run", "input-current", "--quick", *more]) == 0
    assert [(s.steps, s.seeds, s.losses) for s in ran] == [
        (400, 2, ("signature",)), (20, 2, ("signature",)), (1500, 8, ("signature",)),
    ]  # fmt: skip


def test_a_run_that_goes_on_keeps_its_size_and_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    module = importlib.import_module(cli.EXPERIMENTS["predictive-coding"])
    ran = []
    monkeypatch.setattr(module, "run", ran.append)
    folder = rs.RunFolder.new(tmp_path / "runs", module.Settings(quick=True, dt0=0.5)).path
    resume = ["run", "predictive-coding", "--resume", str(folder)]
    assert cli.main(resume) == 0
    assert cli.main([*resume, "--steps", "300", "--quick"]) == 0
    assert cli.main([*resume, "--output", str(tmp_path / "runs")]) == 0
    assert [(s.steps, s.dt0) for s in ran] == [(200, 0.5), (300, 0.5), (200, 0.5)]
    assert cli.main([*resume, "--no-quick"]) == 2
    assert "`quick` chooses the size of a run when it begins" in capsys.readouterr().err
    assert cli.main([*resume, "--output", str(tmp_path / "other")]) == 2
    assert "a run that goes on stays in" in capsys.readouterr().err
