"""`fit` with labelled data: a linear model, whose steps NumPy takes apart, and a tiny network."""

import re

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import roughsnn as rs
from roughsnn.diagnostics import gradient_norms
from roughsnn.estimators import AbstractGradientEstimator, Pathwise
from roughsnn.runs import Checkpoints
from roughsnn.training import (
    EarlyStop,
    FitStatus,
    LabelledData,
    fit,
    fit_many,
    minibatch_indices,
)

SAMPLES, RATE = 7, 0.1
KEY = jr.key(3)


def labelled(samples: int, seed: int = 0) -> LabelledData:
    rng = np.random.default_rng(seed)
    return LabelledData(rng.normal(size=(samples, 3)), rng.normal(size=samples))


DATA, HELD_OUT = labelled(SAMPLES), labelled(5, seed=1)
START = jnp.array([0.5, -1.0, 0.25])


def simulate(weights, inputs, key):
    return inputs @ weights


def loss(generated, targets):
    return jnp.mean((generated - targets) ** 2)


METRICS = {"error": lambda model, generated, targets: jnp.mean(jnp.abs(generated - targets))}
SETTINGS = {
    "simulate": simulate,
    "loss": loss,
    "optimiser": optax.sgd(RATE),
    "key": KEY,
    "progress": False,
}


def by_numpy(data, batch_size, num_steps):
    """Losses, errors and weights of each step, from the mini-batches alone."""
    x, y = np.asarray(data.inputs), np.asarray(data.targets)
    w, found = np.asarray(START), []
    _, batch_key = jr.split(KEY)
    for step in range(num_steps):
        index = slice(None)
        if batch_size is not None:
            index = np.asarray(minibatch_indices(len(y), batch_size, step, batch_key))
        off = x[index] @ w - y[index]
        found.append((np.mean(off**2), np.mean(np.abs(off)), w))
        w = w - RATE * 2 * x[index].T @ off / len(off)
    return [np.array(values) for values in zip(*found, strict=True)], w


@pytest.mark.parametrize("batch_size", [None, 3, 1])
def test_steps_are_those_of_numpy(batch_size):
    result = fit(
        START, DATA, **SETTINGS, num_steps=9, batch_size=batch_size, metrics=METRICS, log_every=4
    )
    (losses, errors, _), weights = by_numpy(DATA, batch_size, 9)
    np.testing.assert_allclose(result.history["loss"], losses, rtol=1e-12)
    np.testing.assert_allclose(result.history["error"], errors, rtol=1e-12)
    np.testing.assert_allclose(result.model, weights, rtol=1e-12)
    assert result.evaluations == {}


def test_every_sample_once_an_epoch():
    """Targets are powers of two, so that the sum over an epoch says which were used."""
    data = LabelledData(np.zeros((SAMPLES, 3)), 2.0 ** np.arange(SAMPLES))
    result = fit(
        START, data, **SETTINGS, num_steps=2 * SAMPLES, batch_size=1,
        metrics={"target": lambda model, generated, targets: jnp.sum(targets)},
    )  # fmt: skip
    used = result.history["target"].reshape(2, SAMPLES)
    np.testing.assert_array_equal(used.sum(axis=1), 2.0**SAMPLES - 1)
    assert np.any(used[0] != used[1])


def test_held_out_data_are_evaluated_between_steps():
    seen = []

    def callback(step, model, history):
        seen.append((step, len(history["loss"]), history["holdout_step"].tolist()))

    result = fit(
        START, DATA, **SETTINGS, num_steps=8, batch_size=3, metrics=METRICS, holdout=HELD_OUT,
        evaluate_every=3, log_every=4, callback=callback,
    )  # fmt: skip
    plain = fit(START, DATA, **SETTINGS, num_steps=8, batch_size=3, metrics=METRICS)
    np.testing.assert_array_equal(result.model, plain.model)
    for name in ("loss", "error", "gradient_norm"):
        np.testing.assert_array_equal(result.history[name], plain.history[name])
    (_, _, weights), _ = by_numpy(DATA, 3, 8)
    off = np.asarray(HELD_OUT.inputs) @ weights[[0, 3, 6]].T - np.asarray(HELD_OUT.targets)[:, None]
    assert result.evaluations.keys() == {"holdout_step", "holdout_loss", "holdout_error"}
    np.testing.assert_array_equal(result.evaluations["holdout_step"], [0, 3, 6])
    np.testing.assert_allclose(result.evaluations["holdout_loss"], np.mean(off**2, 0), rtol=1e-12)
    np.testing.assert_allclose(result.evaluations["holdout_error"], np.abs(off).mean(0), rtol=1e-12)
    assert "holdout_error" in result.summary()
    assert seen == [
        (3, 3, [0, 3]), (4, 4, [0, 3]), (6, 6, [0, 3, 6]), (8, 8, [0, 3, 6])
    ]  # fmt: skip


def test_an_evaluation_once_an_epoch_unless_said_otherwise():
    settings = {**SETTINGS, "num_steps": 7, "holdout": HELD_OUT}
    often = fit(START, DATA, **settings, batch_size=3, log_every=1)
    assert often.evaluations["holdout_step"].tolist() == [0, 3, 6]
    rarely = fit(START, DATA, **settings, batch_size=3, log_every=5)
    assert rarely.evaluations["holdout_step"].tolist() == [0, 5]


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    settings = {
        **SETTINGS, "batch_size": 3, "metrics": METRICS, "holdout": HELD_OUT, "evaluate_every": 3,
        "log_every": 2,
    }  # fmt: skip
    whole = fit(START, DATA, **settings, num_steps=11)
    kept = Checkpoints(tmp_path, resume=True)
    for steps in (5, 6, 11):
        resumed = fit(START, DATA, **settings, num_steps=steps, checkpoint=kept)
    np.testing.assert_array_equal(resumed.model, whole.model)
    for found, expected in (
        (resumed.history, whole.history),
        (resumed.evaluations, whole.evaluations),
    ):
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values)


def test_an_error_in_the_first_evaluation_is_raised():
    def broken(model, generated, targets):
        raise ZeroDivisionError("by the user")

    with pytest.raises(ZeroDivisionError, match="by the user") as caught:
        fit(START, DATA, **SETTINGS, num_steps=4, holdout=HELD_OUT, metrics={"a": broken})
    assert "This happened in step 0 of training." in caught.value.__notes__


def test_early_stop_by_held_out_loss():
    result = fit(
        START, DATA, **SETTINGS, num_steps=500, holdout=DATA, evaluate_every=5, log_every=10,
        early_stop=EarlyStop(patience=3, min_change=1e-4, monitor="holdout_loss"),
    )  # fmt: skip
    assert result.status is FitStatus.EARLY_STOP
    assert result.num_steps < 500
    assert "the holdout_loss has not fallen for 3 evaluations" in result.message
    with pytest.raises(ValueError, match="`early_stop` watches 'holdout_loss'; it must be one of"):
        fit(
            START, DATA, **SETTINGS, num_steps=5,
            early_stop=EarlyStop(patience=3, monitor="holdout_loss"),
        )  # fmt: skip


def test_several_seeds_are_as_each_alone():
    keys = jr.split(jr.key(5), 2)
    parts = [(labelled(SAMPLES, seed), labelled(5, seed + 10)) for seed in (2, 3)]
    both, held = (jax.tree.map(lambda *x: jnp.stack(x), *p) for p in zip(*parts, strict=True))
    settings = {
        **SETTINGS, "num_steps": 6, "batch_size": 3, "metrics": METRICS, "evaluate_every": 3,
    }  # fmt: skip
    settings.pop("key")
    together = fit_many(jnp.stack([START, -START]), both, **settings, keys=keys, holdout=held)
    for seed, result in enumerate(together):
        data, holdout = parts[seed]
        start = START if seed == 0 else -START
        alone = fit(start, data, **settings, key=keys[seed], holdout=holdout)
        np.testing.assert_allclose(result.model, alone.model, rtol=1e-12)
        for name, values in {**alone.history, **alone.evaluations}.items():
            found = {**result.history, **result.evaluations}[name]
            np.testing.assert_allclose(found, values, rtol=1e-10)


class Twice(AbstractGradientEstimator):
    """An estimator that draws twice, as it likes."""

    def __call__(self, model, simulate, loss, key, *, trainable=None):
        assert loss(simulate(model, key)).shape == ()
        return Pathwise()(model, simulate, loss, key, trainable=trainable)


def test_estimators_see_a_function_of_model_and_key():
    result = fit(START, DATA, **SETTINGS, num_steps=3, batch_size=3, estimator=Twice())
    np.testing.assert_allclose(result.model, by_numpy(DATA, 3, 3)[1], rtol=1e-12)


def test_gradient_norms_of_labelled_data():
    norms = gradient_norms(START, DATA, simulate=simulate, loss=loss, key=KEY)
    x, y = np.asarray(DATA.inputs), np.asarray(DATA.targets)
    gradient = 2 * x.T @ (x @ np.asarray(START) - y) / SAMPLES
    np.testing.assert_allclose(list(norms.values()), [np.linalg.norm(gradient)], rtol=1e-12)


def test_single_precision_stays_so():
    data = LabelledData(DATA.inputs.astype(jnp.float32), DATA.targets.astype(jnp.float32))
    result = fit(
        START.astype(jnp.float32), data, **SETTINGS, num_steps=5, batch_size=3, holdout=data,
        evaluate_every=5,
    )  # fmt: skip
    assert result.model.dtype == jnp.float32
    np.testing.assert_allclose(result.model, by_numpy(DATA, 3, 5)[1], rtol=1e-4)


def test_arguments_that_do_not_fit():
    def refused(kind, said, data=DATA, **others):
        with pytest.raises(kind, match=re.escape(said)):
            fit(START, data, **{**SETTINGS, "num_steps": 1} | others)

    refused(ValueError, "`batch_size` is 8; it must be between 1 and the number", batch_size=8)
    refused(TypeError, "`holdout` is a tuple; it must be `roughsnn.LabelledData(", holdout=(1, 2))
    refused(ValueError, "`holdout` holds no sample", holdout=HELD_OUT[:0])
    refused(ValueError, "`evaluate_every` is 2, and there is nothing to", evaluate_every=2)
    refused(ValueError, "`evaluate_every` must be an integer of at least 1", evaluate_every=0)
    refused(ValueError, "`data` has batch shape (0,); it must be (samples,)", data=DATA[:0])
    refused(
        ValueError, "`metrics['a']` returned an array of shape (5,)", holdout=HELD_OUT,
        metrics={"a": lambda model, generated, targets: generated},
    )  # fmt: skip


def test_a_network_learns_which_input_fires_first():
    """Two inputs, two outputs, exact spike times."""
    neurons = rs.LIF(2, mu1=0.5, mu2=1.0)
    start = rs.SpikingNetwork(
        neurons, np.zeros((2, 2)), np.zeros((2, 2), bool),
        input_weights=np.array([[3.0, 3.2], [3.2, 3.0]]),
    )  # fmt: skip
    times = jnp.array([[0.1, 0.6], [0.1, 0.7], [0.1, 0.5], [0.1, 0.8]])
    labels = np.array([0, 1, 0, 1])
    first = jnp.stack([labels, 1 - labels], axis=1).astype(jnp.int32)
    data = LabelledData(rs.SpikeTrains(times, first, 0.0, 4.0, num_neurons=2), labels)
    loss = rs.FirstSpikeCrossEntropy(0.1)

    def respond(network, inputs, key):
        return rs.simulate(
            network, 0.0, 4.0, 0.2, key=key, num_samples=len(inputs), max_spikes=8,
            input_spikes=inputs, solver=dfx.Heun(),
        )  # fmt: skip

    result = fit(
        start, data, simulate=respond, loss=loss, optimiser=optax.adam(0.1), num_steps=20,
        key=KEY, batch_size=2, trainable=lambda m: m.input_weights,
        metrics={"accuracy": lambda m, g, y: loss.accuracy(g, y)}, progress=False,
    )  # fmt: skip
    # an epoch at the start, and one at the end
    assert result.history["accuracy"][:2].tolist() == [0, 0]
    assert result.history["accuracy"][-2:].tolist() == [1, 1]
