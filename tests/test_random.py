"""The hash and the uniform numbers made of it."""

import jax
import jax.extend.random
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import stats

from roughsnn._random import event_key, key_words, threefry2x32, uniform_from_key


def test_hash_is_that_of_jax():
    words = jr.bits(jr.key(0), (4, 200), jnp.uint32)
    ours = jax.vmap(lambda w: jnp.stack(threefry2x32((w[0], w[1]), (w[2], w[3]))))(words.T)
    theirs = jax.vmap(lambda w: jax.extend.random.threefry_2x32(w[:2], w[2:]))(words.T)
    np.testing.assert_array_equal(ours, theirs)


def test_known_answers():
    # Salmon et al., Random123 test vectors for threefry2x32 with 20 rounds
    for key, counter, expected in (
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ):
        words = [tuple(jnp.uint32(w) for w in pair) for pair in (key, counter)]
        assert tuple(int(w) for w in threefry2x32(*words)) == expected


def test_event_keys_differ_by_component_and_number():
    keys = jax.vmap(
        lambda k: jax.vmap(lambda n: jr.key_data(event_key(jr.key(3), k, n)))(jnp.arange(30))
    )(jnp.arange(40))
    assert np.unique(np.asarray(keys).reshape(-1, 2), axis=0).shape == (1200, 2)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_keys_of_any_kind(impl):
    key = jr.key(7, impl=impl)
    assert len({int(w) for w in key_words(key)} | {0}) >= 2
    value = uniform_from_key(event_key(key, jnp.asarray(1), jnp.asarray(2)))
    assert 0 < value < 1
    raw = uniform_from_key(jr.PRNGKey(7))
    assert raw == uniform_from_key(jr.key(7))


def _from_words(high, low):
    return uniform_from_key(jr.wrap_key_data(jnp.array([high, low], jnp.uint32)))


def test_numbers_are_uniform():
    n = 200_000
    keys = jax.vmap(lambda i: event_key(jr.key(1), i % 7, i))(jnp.arange(n))
    u = np.asarray(jax.vmap(uniform_from_key)(keys))
    # a fixed seed, so a p-value below 1e-3 would be a defect with near certainty
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert stats.kstest(-np.log(u), "expon").pvalue > 1e-3
    # five standard errors of the serial correlation
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 5 / np.sqrt(n)
    # the tail of -log u at 9: 200000 e^-9 = 24.7 expected, five standard deviations
    assert abs((-np.log(u) > 9).sum() - n * np.exp(-9.0)) < 5 * np.sqrt(n * np.exp(-9.0))


def test_both_ends_are_open():
    top = 0xFFFFFFFF
    assert _from_words(0, 0) > 0
    assert _from_words(top, top) < 1
    # -log of the smallest number
    assert 37.4 < -np.log(float(_from_words(0, 0))) < 37.5
    # full relative precision near zero
    assert _from_words(0, 1 << 11) > _from_words(0, 0)
    with jax.enable_x64(False):
        assert _from_words(0, 0).dtype == jnp.float32
        assert _from_words(0, 0) > 0
        assert _from_words(top, top) < 1
        assert 22.8 < -np.log(float(_from_words(0, 0))) < 22.9
