"""Numbers at the doors: what is taken, what is refused, and under which name."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roughsnn._checks import number, optional_whole_number, real_array, whole_number

NUMBERS = [2, 2.0, np.float64(2), np.float32(2), np.int8(2), np.array(2), np.array(2.0)]
NUMBERS += [jnp.asarray(2), jnp.asarray(2.0), jnp.bfloat16(2), np.float16(2), Fraction(2)]
NO_NUMBERS = [True, np.True_, jnp.asarray(True), "2", b"2", None, 2j, np.complex64(2), [2], (2,)]
NO_NUMBERS += [np.array([2.0]), jnp.ones(1), np.array("2"), np.array(object())]


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
def test_numbers_become_plain(value):
    got = number("x", value)
    assert type(got) is float
    assert got == 2


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
def test_what_is_no_number_is_refused_by_name(value):
    with pytest.raises(ValueError, match="`x` must be a number"):
        number("x", value)
    with pytest.raises(ValueError, match="`x` must be an integer of at least 0"):
        whole_number("x", value, 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(-(10**6), 10**6), st.sampled_from([int, np.int32, np.int64, np.array]))
def test_integers(value, kind):
    assert number("x", kind(value)) == value
    if value < 3:
        with pytest.raises(ValueError, match="`x` must be an integer of at least 3"):
            whole_number("x", kind(value), 3)
    else:
        got = whole_number("x", kind(value), 3)
        assert type(got) is int
        assert got == value


def test_ranges_and_what_is_not_finite():
    for value in (float("nan"), np.inf, 10**400):
        with pytest.raises(ValueError, match="`x` must be finite"):
            number("x", value)
    with pytest.raises(ValueError, match="`x` must be positive"):
        number("x", np.float32(0), positive=True)
    with pytest.raises(ValueError, match="`x` must be at least 0"):
        number("x", -1, least=0)
    with pytest.raises(ValueError, match="`x` must be less than 1"):
        number("x", 1, below=1)
    with pytest.raises(ValueError, match="`x` must be an integer from 1 to 3"):
        whole_number("x", 2.0, 1, 3)
    assert optional_whole_number("x", None, 1) is None


def test_a_number_that_is_not_known_is_refused_by_name():
    with pytest.raises(ValueError, match="`x` must be a number that is known before"):
        jax.jit(lambda t: number("x", t))(1.0)


def test_real_arrays():
    default = jnp.result_type(float)
    for given_ in ([1, 2], [True, False], np.array([2**40]), np.float16(0.5), jnp.arange(3)):
        array = real_array("x", given_)
        assert array.dtype == default
        np.testing.assert_array_equal(array, np.asarray(given_, float))
    assert real_array("x", np.ones(2, np.float32)).dtype == np.float32
    out = jax.jit(lambda t: real_array("x", [t, 1]))(2)
    np.testing.assert_array_equal(out, [2, 1])
    for given_ in ([1j], "a", None, np.array([object()]), [[1], [1, 2]]):
        with pytest.raises(TypeError, match="`x` must be"):
            real_array("x", given_)
