"""Models come back from their files bit for bit, or a file is refused."""

import os

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roughsnn as rs
from roughsnn import io

from ..runs.disks import no_space


def models():
    some = jnp.asarray([0.5, 1.0, 2.0])
    wiring = rs.layered_connections(2, 1)
    delayed = rs.SpikingNetwork(
        rs.LIF(3, mu1=some), jnp.ones((3, 3)), wiring, axonal_delays=0.01, refractory=0.1
    )
    driven = rs.SpikingNetwork(
        rs.StochasticLIF(3, sigma=None), jnp.ones((3, 3)), wiring, input_weights=jnp.ones((2, 3))
    )
    return [
        rs.StochasticLIF(3, beta=some),
        rs.AdaptiveStochasticLIF(2),
        rs.ResettingStochasticLIF(1),
        rs.StochasticQuadratic(1),
        rs.Izhikevich(2),
        delayed,
        driven,
        {"one": [rs.LIF(1), (np.float64(0.1), np.arange(3))], "key": jax.random.key(0)},
    ]


class Own(eqx.Module):
    weight: jax.Array
    name: str = eqx.field(static=True)


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert type(x) is type(y)
        if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        assert np.asarray(x).dtype == np.asarray(y).dtype
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("number", range(8))
def test_a_model_comes_back(number, tmp_path):
    model = models()[number]
    path = tmp_path / "a.model"
    io.write_model(path, model, dt0=0.01, time_unit="s", notes={"loss": [1, None]})
    saved = io.read_model(path)
    assert_same(saved.model, model)
    assert (saved.dt0, saved.window, saved.time_unit) == (0.01, None, "s")
    assert saved.notes == {"loss": [1, None]}
    assert set(saved.versions) == {"roughsnn", "jax"}
    with pytest.raises(FileExistsError):
        io.write_model(path, model)


def test_what_is_read_fires_as_what_was_written(tmp_path):
    neuron = rs.StochasticLIF(2, mu1=jnp.asarray([10.0, 20.0]))
    current = rs.CurrentOnGrid(
        jnp.linspace(0.0, 1.0, 3), jnp.asarray([[1.0, 2.0], [3.0, 1.0], [2.0, 2.0]])
    )
    io.write_model(tmp_path / "a.model", neuron, input_current=current)
    saved = io.read_model(tmp_path / "a.model")

    def simulate(model, input_current):
        return rs.simulate(
            model, 0.0, 1.0, 0.05, key=jax.random.key(0), num_samples=2, max_spikes=20,
            input_current=input_current,
        )  # fmt: skip

    assert_same(simulate(saved.model, saved.input_current), simulate(neuron, current))


def test_classes_of_ones_own_are_given(tmp_path):
    own = Own(jnp.ones(2), "name")
    io.write_model(tmp_path / "a.model", own)
    assert_same(io.read_model(tmp_path / "a.model", classes=(Own,)).model, own)
    with pytest.raises(ValueError, match=r"a\.model holds a .*Own, .*`classes=`"):
        io.read_model(tmp_path / "a.model")


def test_what_is_no_data_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"`model\['f'\]\[1\]` is a function"):
        io.write_model(tmp_path / "a.model", {"f": [1, lambda t: t]})
    with pytest.raises(TypeError, match=r"`input_current` is a function.*CurrentOnGrid"):
        io.write_model(tmp_path / "a.model", rs.LIF(1), input_current=lambda t: t)
    assert not list(tmp_path.iterdir())


def test_double_precision_is_not_rounded_unasked(tmp_path):
    io.write_model(tmp_path / "a.model", rs.LIF(1, mu1=0.1))
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match="holds float64 arrays, and JAX is set to float32"):
            io.read_model(tmp_path / "a.model")
        assert io.read_model(tmp_path / "a.model", cast=True).model.mu1 == np.float32(0.1)


def test_faulty_files_are_named(tmp_path, monkeypatch):
    path = tmp_path / "a.model"
    io.write_model(path, rs.LIF(1))
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    for content, message in (
        (whole[:-7], "is damaged"),
        (bytes(flipped), "is damaged"),
        (b"", "is no file of a model"),
        (b"PK\x03\x04", "is no file of a model"),
        (whole.replace(b"model 1", b"model 2"), "has another version"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"a\.model {message}"):
            io.read_model(path)
    path.write_bytes(whole)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match=r"a\.model"):
            io.write_model(path, rs.LIF(2), overwrite=True)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]
