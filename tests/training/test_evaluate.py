import re

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from roughsnn.spikes import SpikeTrains
from roughsnn.training import LabelledData, evaluate, predict
from roughsnn.training.evaluate import batch_sizes

RNG = np.random.default_rng(0)
DATA = LabelledData(RNG.normal(size=(7, 2)), RNG.integers(0, 2, 7))
MODEL = jnp.array([1.0, -0.5])
KEY = jr.key(0)


def simulate(model, inputs, key):
    return inputs @ model


def wrong(model, generated, targets):
    return jnp.mean((generated > 0).astype(int) != targets, dtype=float)


def mean(model, generated, targets):
    return jnp.mean(generated)


@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 4, 7, 100])
def test_means_over_samples_whatever_the_batches(batch_size):
    found = evaluate(
        MODEL, DATA, simulate=simulate, metrics={"wrong": wrong, "a mean": mean}, key=KEY,
        batch_size=batch_size,
    )  # fmt: skip
    values = np.asarray(DATA.inputs) @ np.asarray(MODEL)
    assert found.keys() == {"wrong", "a mean"}
    assert all(type(value) is float for value in found.values())
    np.testing.assert_allclose(found["a mean"], values.mean(), rtol=1e-12)
    np.testing.assert_allclose(
        found["wrong"], np.mean((values > 0) != np.asarray(DATA.targets)), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("samples", "most", "sizes"),
    [
        (7, None, [7]), (7, 7, [7]), (7, 9, [7]), (7, 3, [3, 3, 1]), (7, 4, [4, 3]),
        (1000, 128, [125] * 8), (1, 1, [1]), (5, 1, [1] * 5), (11, 4, [4, 4, 3]),
    ],
)  # fmt: skip
def test_batches_are_of_two_sizes_at_most(samples, most, sizes):
    found = batch_sizes(samples, most)
    assert [size for _, size in found] == sizes
    assert [start for start, _ in found] == [sum(sizes[:i]) for i in range(len(sizes))]


def test_one_program_for_each_size_of_batch():
    traced = []

    def counted(model, inputs, key):
        traced.append(inputs.shape)
        return inputs @ model

    settings = {"simulate": counted, "key": KEY, "batch_size": 2}
    for _ in range(2):
        evaluate(MODEL, DATA, **settings, metrics={"mean": mean})
    assert traced == [(2, 2), (1, 2)]


def test_batches_have_noise_of_their_own():
    def noise(model, inputs, key):
        return jr.normal(key, (len(inputs),))

    drawn = predict(MODEL, DATA.inputs, simulate=noise, key=KEY, batch_size=3)
    assert len(np.unique(drawn)) == 7
    again = predict(MODEL, DATA.inputs, simulate=noise, key=KEY, batch_size=3)
    np.testing.assert_array_equal(drawn, again)


@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_decisions_are_in_the_order_of_the_inputs(batch_size):
    found = predict(
        MODEL, DATA.inputs, simulate=simulate, decision=lambda x: (x > 0, {"value": x}), key=KEY,
        batch_size=batch_size,
    )  # fmt: skip
    values = np.asarray(DATA.inputs) @ np.asarray(MODEL)
    np.testing.assert_allclose(found[1]["value"], values, rtol=1e-12)
    np.testing.assert_array_equal(found[0], values > 0)


def test_trains_are_joined():
    trains = SpikeTrains.from_lists([[[0.1 * n]] for n in range(1, 6)], t0=0.0, t1=1.0)

    def delayed(model, inputs, key):
        return inputs.with_spikes(inputs.times + 0.1, inputs.neurons)

    found = predict(MODEL, trains, simulate=delayed, key=KEY, batch_size=2)
    assert isinstance(found, SpikeTrains)
    np.testing.assert_allclose(found.times[:, 0], 0.1 * np.arange(2, 7), rtol=1e-12)


def test_single_precision():
    data = LabelledData(DATA.inputs.astype(jnp.float32), DATA.targets)
    found = evaluate(
        MODEL.astype(jnp.float32), data, simulate=simulate, metrics={"mean": mean}, key=KEY
    )
    expected = np.mean(np.asarray(DATA.inputs) @ np.asarray(MODEL))
    np.testing.assert_allclose(found["mean"], expected, rtol=1e-5)


def test_arguments_that_do_not_fit():
    settings = {"simulate": simulate, "metrics": {"mean": mean}, "key": KEY}

    def refused(kind, said, data=DATA, **others):
        with pytest.raises(kind, match=re.escape(said)):
            evaluate(MODEL, data, **settings | others)

    refused(ValueError, "`data` holds no sample; it must hold one or more", data=DATA[:0])
    refused(ValueError, "`batch_size` must be an integer of at least 1, got 0", batch_size=0)
    refused(
        ValueError, "`metrics['values']` returned an array of shape (7,); it must be a scalar",
        metrics={"values": lambda model, generated, targets: generated},
    )  # fmt: skip
    with pytest.raises(ValueError, match=re.escape("`decision` returned an array of shape ()")):
        predict(MODEL, DATA.inputs, simulate=simulate, decision=jnp.sum, key=KEY)
    with pytest.raises(ValueError, match="`inputs` holds no sample"):
        predict(MODEL, DATA.inputs[:0], simulate=simulate, key=KEY)
    with pytest.raises(TypeError, match=re.escape("`inputs[0]` is 1; it must be an array")):
        predict(MODEL, [1, 2], simulate=simulate, key=KEY)


def test_errors_in_a_simulation_are_raised_as_they_are():
    def broken(model, inputs, key):
        raise ZeroDivisionError("by the user")

    with pytest.raises(ZeroDivisionError, match="by the user"):
        evaluate(MODEL, DATA, simulate=broken, metrics={"mean": mean}, key=KEY)
    assert not jax.config.jax_debug_nans
