"""The examples in docstrings run, with what a reader has at hand: the package, the names of the
module, and the models and data that an example speaks of, which are given here."""

import dataclasses
import functools
import importlib
import re
import textwrap
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import roughsnn as rs

ROOT = Path(rs.__file__).parent
_BLOCK = re.compile(r"^(?P<indent> *)```python\n(?P<code>.*?)^ *```$", re.DOTALL | re.MULTILINE)


def spikes(intervals, *, window=1.0):
    times = jnp.cumsum(intervals, axis=1)
    inside = times < window
    times, neurons = jnp.where(inside, times, jnp.inf), jnp.where(inside, 0, -1)
    return rs.SpikeTrains(times, neurons, 0.0, window, num_neurons=1)


def renewal(model, key):
    """Regular trains of neurons with random intervals: a model that compiles in no time."""
    return spikes(model * jr.exponential(jr.key(0), (6, 4)))


def answer(model, points, key):
    """Two neurons, of which the one with the smaller coordinate fires first."""
    order = jnp.argsort(points, axis=1).astype(jnp.int32)
    times = model * jnp.take_along_axis(points, order, axis=1)
    return rs.SpikeTrains(times, order, 0.0, 10.0, num_neurons=2)


@dataclasses.dataclass(frozen=True)
class Settings(rs.RunSettings):
    """Of a run in the folder of the test."""


@functools.cache
def given() -> dict[str, dict[str, object]]:
    """By file, what its examples speak of."""
    from roughsnn.plotting import plot_weights

    data = spikes(jnp.full((6, 4), 0.3))
    training = dict(
        model=jnp.asarray(0.2),
        data=data,
        simulate=renewal,
        loss=rs.MeanLoss(lambda trains: jnp.sum(jnp.where(trains.mask, trains.times, 0), axis=-1)),
        settings=Settings(),
    )
    network = rs.SpikingNetwork(rs.LIF(2), jnp.zeros((2, 2)), input_weights=jnp.ones((1, 2)))
    inputs = spikes(jnp.full((2, 3), 0.2))
    points = jnp.asarray([[1.0, 2.0], [2.0, 1.0], [1.0, 3.0]])
    samples = [spikes(jr.exponential(jr.key(seed), (8, 4))) for seed in (1, 2)]
    return {
        "engines/_simulation.py": dict(model=rs.LIF(2)),
        "estimators/_changes.py": dict(observed=data),
        "estimators/_interval_law.py": dict(
            neuron=rs.ResettingStochasticLIF(1), features=jnp.ones((201, 2))
        ),
        "event_sde.py": {},
        "losses/conditional_mmd.py": dict(conditions=jnp.ones(6), recorded=data),
        "losses/mean_loss.py": {},
        "plotting/gif.py": dict(
            weights_over_time=[np.eye(2), np.full((2, 2), 0.5)],
            true=np.eye(2),
            plot_weights=plot_weights,
        ),
        "readouts.py": dict(
            network=network,
            readout=rs.LeakyReadout(jnp.eye(2), mu1=1.0, mu2=2.0),
            inputs=inputs,
            labels=jnp.asarray([0, 1]),
        ),
        "runs/checkpoints.py": training,
        "runs/folder.py": training,
        "runs/parts.py": dict(settings=Settings(), measure=lambda seed: {"seed": seed}),
        "sampling/readouts.py": {},
        "signatures/scale_selection.py": dict(
            x=samples[0], y=samples[1], two_sample_test=rs.two_sample_test
        ),
        "spikes/cutting.py": dict(
            recording=[np.array([0.95, 2.1]), np.array([1.2])], events=np.array([1.0, 2.0])
        ),
        "spikes/trains.py": dict(trains=data, f=lambda train: train.counts),
        "tasks/_latency.py": {},
        "training/evaluate.py": dict(
            result=SimpleNamespace(model=jnp.asarray(1.0)),
            simulate=answer,
            test=rs.LabelledData(points, jnp.asarray([0, 1, 0])),
            loss=rs.FirstSpikeCrossEntropy(0.1),
        ),
        "training/labelled.py": dict(points=np.zeros((120, 4)), labels=np.zeros(120, int)),
        "training/step.py": training,
        "trials.py": dict(model=rs.LIF(2)),
    }


def examples() -> dict[str, list[str]]:
    """By file, the blocks of Python in its docstrings."""
    found = {}
    for file in sorted(ROOT.rglob("*.py")):
        blocks = _BLOCK.finditer(file.read_text(encoding="utf-8"))
        code = [textwrap.dedent(block["code"]) for block in blocks]
        if code:
            found[file.relative_to(ROOT).as_posix()] = code
    return found


def test_every_example_has_what_it_speaks_of():
    assert set(examples()) == set(given()), "say in `given` what the examples of a file speak of"


@pytest.mark.parametrize("file", examples())
def test_the_examples_of_a_file_run(file, tmp_path, monkeypatch, standard_dtype_promotion):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module("roughsnn." + file.removesuffix(".py").replace("/", "."))
    handy = dict(
        rs=rs, jax=jax, jnp=jnp, np=np, eqx=eqx, optax=optax, diffrax=diffrax, partial=partial,
        key=jr.key(0), other_key=jr.key(1),
    )  # fmt: skip
    for code in examples()[file]:
        names = {**vars(module), **handy, **given()[file]}
        with jax.numpy_rank_promotion("allow"):  # as for a user
            exec(compile(code, str(ROOT / file), "exec"), names)
