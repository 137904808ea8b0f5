"""The harness of the benchmarks: what it lists, what it prints, when it fails."""

import ast
import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

import experiments.benchmarks
from experiments.benchmarks.__main__ import list_studies, main
from experiments.benchmarks._measure import compare, compile_and_time, paired_ratio
from experiments.benchmarks._study import Study, format_table, keeps

_STUDY = '''"""Twice a number.

More words.
"""

from experiments.benchmarks._study import Study


def study(number: float = 1.0) -> Study:
    """Twice a number.

    Args:
        number: the number to double.
    """
    return Study(figures={"twice": 2 * number}, bounds={"twice": "<= 3"}, table="a table")
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "some_studies"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "_private.py").write_text("raise RuntimeError")
    (folder / "twice_it.py").write_text(_STUDY)
    (folder / "broken.py").write_text('"""A study that cannot be imported."""\nraise RuntimeError')
    monkeypatch.syspath_prepend(tmp_path)
    yield "some_studies"
    for name in [name for name in sys.modules if name.startswith("some_studies")]:
        del sys.modules[name]


def test_listing_imports_no_study(package, capsys):
    assert main([], package) == 0
    assert capsys.readouterr().out.splitlines() == [
        "broken    A study that cannot be imported.",
        "twice-it  Twice a number.",
    ]
    assert main(["--names"], package) == 0
    assert capsys.readouterr().out.split() == ["broken", "twice-it"]


def test_a_study_ends_with_one_json_line(package, capsys):
    assert main(["twice-it"], package) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a table"
    assert json.loads(lines[-1]) == {
        "study": "twice-it",
        "figures": {"twice": 2.0},
        "bounds": {"twice": "<= 3"},
        "holds": True,
    }


def test_a_missed_bound_is_named_and_fails(package, capsys):
    assert main(["twice-it", "--number", "2"], package) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "missed: twice is 4, must be <= 3" in lines
    assert json.loads(lines[-1])["holds"] is False


def test_an_unknown_name_is_refused_with_the_nearest(package, capsys):
    assert main(["twice"], package) == 2
    assert "did you mean twice-it?" in capsys.readouterr().err


def test_every_study_of_the_project_has_its_line():
    studies = list_studies()
    assert all(studies.values())
    assert not any("_" in name for name in studies)


def test_the_command_runs_from_a_shell():
    listed = subprocess.run(
        [sys.executable, "-m", "experiments.benchmarks", "--names"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout.split() == list(list_studies())


@pytest.mark.parametrize(
    ("figure", "bound", "expected"),
    [
        (3.0, "<= 3", True),
        (3.0, "< 3", False),
        (6.1, ">= 6", True),
        (1e-8, "<1e-7", True),
        (-0.5, "between -0.7 and -0.3", True),
        (-0.2, "between -0.7 and -0.3", False),
        (math.nan, "<= 3", False),
        (math.nan, "between 0 and 1", False),
        (math.inf, "> 3", True),
    ],
)
def test_bounds(figure, bound, expected):
    assert keeps(figure, bound) is expected


@pytest.mark.parametrize("bound", ["3", "== 3", "<= three", "between 1", ""])
def test_a_bound_in_another_form_is_refused(bound):
    with pytest.raises(ValueError, match="not understood"):
        Study(figures={"x": 1.0}, bounds={"x": bound}, table="")


def test_a_bound_needs_its_figure():
    with pytest.raises(ValueError, match="not measured: y"):
        Study(figures={"x": 1.0}, bounds={"y": "<= 3"}, table="")


def test_a_figure_that_is_not_finite_becomes_null():
    study = Study(figures={"x": math.nan}, bounds={"x": "<= 3"}, table="")
    assert json.loads(study.to_json("it")) == {
        "study": "it",
        "figures": {"x": None},
        "bounds": {"x": "<= 3"},
        "holds": False,
    }


def test_measurements_are_of_the_functions_given():
    x = jnp.ones((400, 400))

    def heavy(x):
        for _ in range(20):
            x = jnp.sin(x @ x)
        return x

    measured = compare({"heavy": (heavy, (x,)), "light": (jnp.sin, (x,))}, repeats=3)
    assert len(measured["heavy"].wall) == 3
    assert paired_ratio(measured["heavy"], measured["light"], "cpu") > 1
    assert measured["heavy"].compile_seconds > 0
    # Two matrices in flight at least, one result in none.
    assert measured["heavy"].temp_bytes >= x.nbytes
    assert compile_and_time(jnp.sin, x, repeats=1).temp_bytes < x.nbytes


def test_a_table_is_aligned():
    assert format_table(["name", "s"], [["a", 1.23456], ["long name", 2]]) == (
        "| name      | s     |\n|-----------|-------|\n| a         | 1.235 |\n| long name | 2     |"
    )


def test_what_studies_take_from_the_package_is_there():
    """No study is run in full here, so that a name that has gone would be noticed by nobody."""
    missing = []
    for path in Path(experiments.benchmarks.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.ImportFrom) and node.level == 0 and node.module):
                continue
            if node.module.split(".")[0] == "roughsnn":
                module = importlib.import_module(node.module)
                names = [alias.name for alias in node.names]
                # a name of a module is one of the package once it is imported
                missing += [
                    f"{path.name}: {node.module}.{name}"
                    for name in names
                    if not hasattr(module, name)
                    and importlib.util.find_spec(f"{node.module}.{name}") is None
                ]
    assert missing == []
