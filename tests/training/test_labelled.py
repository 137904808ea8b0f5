import re

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from roughsnn.spikes import SpikeTrains
from roughsnn.training import LabelledData
from roughsnn.training.labelled import of_batch, samples_shape

TRAINS = SpikeTrains.from_lists([[[0.1 * n], []] for n in range(1, 6)], t0=0.0, t1=1.0)


def data() -> LabelledData:
    return LabelledData(
        {"spikes": TRAINS, "points": np.arange(10.0).reshape(5, 2)}, np.array([0, 1, 2, 1, 0])
    )


@pytest.mark.parametrize(
    ("index", "kept"),
    [
        (slice(1, 4), [1, 2, 3]),
        ([4, 0], [4, 0]),
        (np.array([2, 2]), [2, 2]),
        (jnp.array([-1]), [4]),
        (np.array([True, False, False, True, False]), [0, 3]),
        ([], []),
    ],
)
def test_indexing_keeps_inputs_and_targets_together(index, kept):
    part = data()[index]
    assert len(part) == len(kept)
    np.testing.assert_array_equal(part.inputs["points"], np.arange(10.0).reshape(5, 2)[kept])
    np.testing.assert_array_equal(part.targets, np.array([0, 1, 2, 1, 0])[kept])
    np.testing.assert_array_equal(part.inputs["spikes"].times, np.asarray(TRAINS.times)[kept])


def test_entries_are_arrays_of_jax_and_traced_indices_are_taken():
    whole = data()
    assert isinstance(whole.targets, jax.Array)
    assert len(whole) == 5
    # spike trains count by their batch axis, not by their arrays
    assert samples_shape(whole, 1, "data") == (5,)
    part = jax.jit(lambda index: whole[index].targets)(jnp.array([3, 2]))
    assert part.tolist() == [1, 2]
    # a pytree like any other
    assert jax.tree.map(lambda x: x, whole).inputs["spikes"].num_neurons == 2


def test_what_is_printed():
    lines = repr(data()).split("\n")
    assert lines[0] == "labelled data: 5 samples"
    assert lines[1] == "inputs['points']: float64[5,2]"
    assert lines[2].startswith("inputs['spikes']: ")
    assert lines[3] == "targets: int64[5], 2 of 0, 2 of 1, 1 of 2"
    assert "float64[0]" in repr(LabelledData(np.zeros(0), np.zeros((0, 3))))
    jax.jit(lambda x: [repr(x), x.targets][1])(data())


@pytest.mark.parametrize(
    ("inputs", "targets", "kind", "said"),
    [
        (np.zeros((5, 2)), np.zeros(4), ValueError, "`targets` has shape (4,) and so 4 samples"),
        (TRAINS, np.zeros(4), ValueError, "4 samples, and `inputs` 5; their first axes must agree"),
        (np.zeros(4), TRAINS, ValueError, "`targets` has batch shape (5,) and so 5 samples"),
        (np.zeros(3), TRAINS[0], ValueError, "`targets` has batch shape (); its first axis must"),
        (jnp.asarray(1.0), np.zeros(1), ValueError, "`inputs` has shape (); its first axis must"),
        (np.zeros(2), [0, 1], TypeError, "`targets[0]` is 0; it must be an array or SpikeTrains"),
        ({"a": "x"}, np.zeros(2), TypeError, "`inputs['a']` is 'x'; it must be an array"),
        (np.zeros(1), np.array(["a"]), TypeError, "`targets` is array(['a'], dtype='<U1'); it"),
        (None, np.zeros(2), ValueError, "`inputs` holds no array; it must hold one entry per"),
        (np.zeros(2), {}, ValueError, "`targets` holds no array; it must hold one entry per"),
    ],
)
def test_entries_that_do_not_fit(inputs, targets, kind, said):
    with pytest.raises(kind, match=re.escape(said)):
        LabelledData(inputs, targets)


def test_bad_indices():
    for index in (3, np.array(3), (slice(2), 0), "a", np.zeros((2, 2), int)):
        with pytest.raises(TypeError, match="it must be a slice or an array with one axis"):
            data()[index]
    with pytest.raises(IndexError, match="5 is out of bounds"):
        data()[np.array([0, 5])]
    with pytest.raises(IndexError):
        data()[np.array([True, False])]


def test_several_seeds_have_two_axes():
    of_seeds = LabelledData(jr.normal(jr.key(0), (2, 5, 3)), jnp.zeros((2, 5)))
    assert samples_shape(of_seeds, 2, "data") == (2, 5)
    with pytest.raises(ValueError, match=re.escape("`data.targets` has shape (2,); it must begin")):
        samples_shape(LabelledData(jnp.zeros((2, 5)), jnp.zeros(2)), 2, "data")
    with pytest.raises(ValueError, match=re.escape("`data.inputs` has shape (2,); it must begin")):
        samples_shape(LabelledData(jnp.zeros(2), jnp.zeros((2, 5))), 2, "data")


def test_a_simulation_with_inputs_also_gives_its_trials():
    class Both:
        def __call__(self, model, inputs, key):
            return ("spikes", model, inputs["points"], key)

        def trials(self, model, inputs, key):
            return ("trials", model, inputs["points"], key)

    whole, key = data(), jr.key(0)
    draw, targets = of_batch(Both(), whole)
    assert targets is whole.targets
    for found, kind in ((draw("m", key), "spikes"), (draw.trials("m", key), "trials")):
        assert found[:2] == (kind, "m")
        assert found[2] is whole.inputs["points"]
        assert found[3] is key
    # a function of one's own returns trials, or it does not
    draw, _ = of_batch(lambda model, inputs, key: model, whole)
    assert draw.trials("m", key) == "m"
    # and without labels nothing changes
    assert of_batch(max, None) == (max, None)
