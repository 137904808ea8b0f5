"""Gradients of jump processes."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from experiments.gradient_laboratory import jumps, reaction_gradients
from experiments.gradient_laboratory.jumps import SYSTEMS

WEAK = "association, weak"


def _loop(system, theta, exponential, gumbel):
    """A path of Gillespie's algorithm, reaction by reaction."""
    x, t, value = np.array(system.start), 0.0, 0.0
    for wait, noise in zip(exponential, gumbel, strict=True):
        rates = np.array([np.exp(theta[0]) * (10 - x[0]) ** 2, np.exp(theta[1]) * x[0]])
        after = t + wait / rates.sum()
        value += x[0] * (min(after, system.window) - t) / system.window
        if after >= system.window:
            return value
        t = after
        x = x + np.array(system.changes)[np.argmax(np.log(np.maximum(rates, 1e-30)) + noise)]
    raise AssertionError("the room does not suffice")


def test_a_path_is_that_of_a_loop():
    """With the same random numbers; a soft choice changes nothing in it."""
    system = SYSTEMS[WEAK]
    theta, key = jnp.asarray(system.parameters), jr.key(3)
    waiting, choosing = jr.split(key)
    exponential = jr.exponential(waiting, (system.room,), theta.dtype)
    gumbel = jr.gumbel(choosing, (system.room, 2), theta.dtype)
    expected = _loop(system, np.asarray(theta), np.asarray(exponential), np.asarray(gumbel))
    walked, soft = jax.jit(
        lambda p, k: (jumps.gillespie(system, p, k), jumps.gillespie(system, p, k, 0.5))
    )(theta, key)
    assert not walked.crowded
    assert np.sum(walked.inside) > 5
    np.testing.assert_allclose(walked.value, expected, rtol=1e-12)
    np.testing.assert_allclose(soft.value, expected, rtol=1e-12)
    np.testing.assert_allclose(np.sum(walked.spans), system.window, rtol=1e-12)


def test_estimators_agree_with_the_master_equation():
    """Within four standard errors: means, and gradients of those without bias."""
    truth = jumps.true_gradient(WEAK, 0, 0, 0)
    for estimator in ("event SDE, pathwise", "score function", "alternative path"):
        found = jumps.estimate(WEAK, estimator, 400, 1, 5)
        assert found["crowded"] == 0
        # a mean over time of ten pairs varies by less than two
        np.testing.assert_allclose(found["value"], truth["value"], atol=4 * 2 / 400**0.5)
        gap = np.abs(np.subtract(found["gradient"], truth["gradient"]))
        assert np.all(gap < 4 * np.array(found["error"]))


def test_a_run_of_reactions_is_written_and_gone_on_with(tmp_path, capsys, monkeypatch):
    found = {"value": 1.0, "gradient": [1.0, -2.0], "error": [0.1, 0.2], "variance": [4.0, 6.0],
             "crowded": 0.0}  # fmt: skip
    monkeypatch.setattr(reaction_gradients, "estimate", lambda *_: found)
    truth = {"value": 1.0, "gradient": [1.1, -2.0], "error": [0.0, 0.0]}
    monkeypatch.setattr(reaction_gradients, "true_gradient", lambda *_: truth)
    settings = reaction_gradients.Settings(systems=(WEAK,), output=tmp_path, progress=False)
    results, folder = reaction_gradients.run(settings)
    assert {"outcomes.json", "table.md", "variance.png"} <= {f.name for f in folder.iterdir()}
    np.testing.assert_allclose(
        reaction_gradients.standard_errors_off(results, WEAK, "score function"), 1.0
    )
    again, _ = reaction_gradients.run(dataclasses.replace(settings, resume=folder))
    assert json.dumps(again) == json.dumps(results)
    with pytest.raises(ValueError, match="`systems` holds 'toggle'"):
        reaction_gradients.Settings(systems=("toggle",))
    capsys.readouterr()
