"""What is printed says the numbers, and printing never fails, inside `jit` either."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roughsnn as rs
from roughsnn._shown import shown
from roughsnn.signatures import permutation_test
from roughsnn.solve._solution import _named


def in_all_ways(tree):
    """The object as it is, traced, abstract, without arrays: what a debugger may print."""
    texts = [repr(tree), repr(jax.eval_shape(lambda: tree)), repr(eqx.filter(tree, False))]
    seen = []
    jax.jit(lambda x: [seen.append(repr(x)), x][1])(eqx.filter(tree, eqx.is_array))
    return [*texts, *seen]


def test_numbers():
    assert shown(jnp.asarray(0.123456)) == "0.1235"
    assert shown(np.int64(3)) == "3"
    assert shown(np.array([True, False])) == "[True, False]"
    assert shown(np.arange(11.0)) == "11 from 0 to 10, mean 5"
    assert shown(np.zeros(9, bool)) == "0 of 9"
    assert shown(None) == "NoneType"
    assert shown(jax.ShapeDtypeStruct((2, 3), "float32")) == "float32[2,3]"


def test_a_two_sample_test_says_its_p_value():
    x = jnp.arange(12.0)
    gram = jnp.exp(-((x[:, None] - x[None]) ** 2) / 20)
    result = permutation_test(gram, 6, key=jax.random.key(0), num_permutations=99)
    text, *others = in_all_ways(result)
    assert f"p-value {float(result.p_value):.4g}, rejected: yes" in text
    assert f"statistic {float(result.statistic):.4g}" in text
    assert all("two-sample test" in other for other in others)


def test_the_result_of_a_solve_says_its_name_and_text():
    ended = jax.vmap(
        lambda ok: rs.RESULTS.where(ok, rs.RESULTS.successful, rs.RESULTS.max_events_reached)
    )(jnp.array([True, False, True]))
    result = _named(ended)
    text, *others = in_all_ways(result)
    assert "RESULTS.successful (2 of 3 samples)" in text
    assert "RESULTS.max_events_reached (1 of 3 samples): More events happened" in text
    assert all(other.startswith("RESULTS") for other in others)
    one = jax.tree.map(lambda x: x[0], result)
    assert repr(one) == "RESULTS.successful"
    assert bool(one == rs.RESULTS.successful)


@pytest.mark.parametrize("value", [jnp.asarray(1.5), jnp.arange(9.0)])
def test_an_estimate_of_a_gradient_says_its_numbers(value):
    estimate = rs.GradientEstimate(value.sum(), {"w": value}, None, {"spread": value[..., None]})
    text, *others = in_all_ways(estimate)
    assert f"loss {float(value.sum()):.4g}" in text
    assert "gradient ['w']: " in text
    assert "spread: " in text
    assert all("estimate of a gradient" in other for other in others)


def test_trains_say_window_neurons_and_counts():
    trains = rs.SpikeTrains.from_lists([[[0.1, 0.2], []], [[0.3], [0.4, 0.5]]], t0=0.0, t1=1.0)
    text, *others = in_all_ways(trains)
    assert text == (
        "SpikeTrains: 2 trials of 2 neurons, window [0, 1], 5 spikes (2 to 3 a trial), room for 3 "
        "each"
    )
    assert all(other.startswith("SpikeTrains") for other in others)
    cut = rs.SpikeTrains(trains.times, trains.neurons, 0.0, 1.0, trains.counts > 2, num_neurons=2)
    assert repr(cut).endswith("; 1 overflowed, so that later spikes are not in it")
    assert "one trial" in repr(trains[0])
    assert "0 trials" in repr(trains[:0])
    seen = []
    jax.vmap(lambda x: [seen.append(repr(x)), x.times][1], in_axes=(trains.vmap_axes,))(trains)
    assert "one trial of 2 neurons" in seen[0]
