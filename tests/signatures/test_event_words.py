import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roughsnn.signatures.event_signature import event_signature
from roughsnn.signatures.event_words import all_words, event_words, random_words
from roughsnn.spikes.trains import SpikeTrains

from .test_event_kernel import random_trains
from .test_event_signature import SCALES, at, tied_trains

TRAINS = SpikeTrains.concatenate([random_trains(2, 3, 6, 5), tied_trains()])
SETTINGS = dict(time_scale=0.7, neuron_scale=SCALES)


def test_words_and_gradients_are_those_of_the_signature():
    words = all_words(4, 3)
    some = np.random.default_rng(0).permutation(len(words))[:20]
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(5, 20)))

    def ours(times):
        found = event_words(at(TRAINS, times), [words[i] for i in some], **SETTINGS)
        return jnp.sum(weights * found), found

    def theirs(times):
        found = event_signature(at(TRAINS, times), 3, **SETTINGS)[:, some]
        return jnp.sum(weights * found), found

    found, expected = (
        jax.jit(jax.value_and_grad(f, has_aux=True))(TRAINS.times) for f in (ours, theirs)
    )
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        # Two ways through the same sums.
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


def test_words_that_begin_with_time_follow_from_the_others():
    words = all_words(3, 3)
    needed = all_words(3, 3, leading_time=False)
    assert len(words) == 3 + 9 + 27
    assert len(needed) == 2 + 6 + 18
    assert set(needed) == {word for word in words if word[0] != 0}
    # Trains of one window: columns of the others and a constant span all columns.
    trains = random_trains(60, 2, 8, 3)
    value = np.asarray(event_words(trains, words))
    others = value[:, [words.index(word) for word in needed]]
    basis = np.concatenate([others, np.ones((60, 1))], axis=1)
    rest = value - basis @ np.linalg.lstsq(basis, value)[0]
    # Least squares lose the digits that the condition number of the columns takes.
    np.testing.assert_allclose(rest, 0, atol=1e-8 * np.abs(value).max())


def test_random_words():
    words = random_words(5, 4, 30, key=jax.random.key(1))
    assert words == random_words(5, 4, 30, key=jax.random.key(1))
    assert words != random_words(5, 4, 30, key=jax.random.key(2))
    assert [sum(len(word) == n for word in words) for n in (1, 2, 3, 4)] == [4, 20, 30, 30]
    assert len(set(words)) == len(words)
    assert all(word[0] != 0 and max(word) < 5 for word in words)


@pytest.mark.parametrize(
    ("words", "message"),
    [((), "words of one letter"), (((1,), ()), "words of one letter"), (((1, 4),), r"\(1, 4\)")],
)
def test_words_that_are_none_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        event_words(TRAINS, words)
