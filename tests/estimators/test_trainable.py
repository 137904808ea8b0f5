import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from roughsnn.estimators import trainable_leaves


class Inner(eqx.Module):
    a: jax.Array
    n: jax.Array
    label: str = "x"


class Model(eqx.Module):
    inner: Inner
    b: jax.Array
    c: float = 1.0

    def __call__(self):
        return self.b


@pytest.fixture
def model():
    return Model(Inner(jnp.ones(2), jnp.arange(2)), jnp.asarray(3.0))


def marked(model, trainable):
    return jax.tree.leaves(trainable_leaves(model, trainable))


def test_what_is_marked(model):
    # The order of the leaves is a, n, label, b, c.
    assert marked(model, None) == [True, False, False, True, False]
    assert marked(model, lambda m: m.b) == [False, False, False, True, False]
    assert marked(model, lambda m: (m.inner, m.b)) == [True, False, False, True, False]
    assert marked(model, lambda m: m.inner) == [True, False, False, False, False]
    bools = eqx.tree_at(lambda m: m.b, jax.tree.map(lambda _: False, model), replace=True)
    assert marked(model, bools) == [False, False, False, True, False]


def test_errors(model):
    with pytest.raises(ValueError, match="`model` has no floating-point array to train"):
        trainable_leaves(Inner(jnp.arange(2), jnp.arange(2)))
    with pytest.raises(ValueError, match="`trainable` selects no floating-point array"):
        trainable_leaves(model, lambda m: m.inner.n)
    nothing = jax.tree.map(lambda _: False, model)
    with pytest.raises(ValueError, match="`trainable` marks no leaf"):
        trainable_leaves(model, nothing)
    wrong = eqx.tree_at(lambda m: m.inner.n, nothing, replace=True)
    with pytest.raises(ValueError, match=r"marks \.inner\.n, which is not a floating-point array"):
        trainable_leaves(model, wrong)
    with pytest.raises(TypeError, match=r"`trainable` has 1 at \.b; every leaf must be a bool"):
        trainable_leaves(model, eqx.tree_at(lambda m: m.b, nothing, replace=1))
    with pytest.raises(TypeError, match=r"returned a bool .* `jax.tree.map\(function, model\)`"):
        trainable_leaves(model, eqx.is_inexact_array)
    with pytest.raises(TypeError, match="`trainable` is a str"):
        trainable_leaves(model, "b")
