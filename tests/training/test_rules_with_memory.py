"""Rules that remember: their memory is a part of the state of training and of checkpoints."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import roughsnn as rs

pytestmark = pytest.mark.usefixtures("standard_dtype_promotion")


class Baseline(rs.AbstractRuleWithMemory):
    """One-sided perturbation of the parameters, less a running mean of the loss."""

    recorded = ("baseline",)
    scale: float = 0.1
    keep: float = 0.8

    def init(self, model, trainable=None):
        return {"mean": jnp.zeros(()), "steps": jnp.zeros((), jnp.int32)}

    def step(self, memory, model, simulate, loss, key, *, trainable=None):
        parameters, rest = eqx.partition(model, rs.trainable_leaves(model, trainable))
        leaves, structure = jax.tree.flatten(parameters)
        keys = jr.split(jr.fold_in(key, 1), len(leaves))
        draws = [jr.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
        moved = [x + self.scale * d for x, d in zip(leaves, draws, strict=True)]
        value = loss(simulate(eqx.combine(jax.tree.unflatten(structure, moved), rest), key))
        signal = jnp.where(memory["steps"] > 0, value - memory["mean"], 0)
        gradient = jax.tree.unflatten(structure, [signal / self.scale * d for d in draws])
        mean = jnp.where(
            memory["steps"] > 0, self.keep * memory["mean"] + (1 - self.keep) * value, value
        )
        memory = {"mean": mean, "steps": memory["steps"] + 1}
        return rs.GradientEstimate(value, gradient, None, {"baseline": mean}), memory


MODEL = {"a": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}


def fit(num_steps, **settings):
    return rs.fit(
        MODEL, None, simulate=lambda model, key: model,
        loss=lambda model, _: jnp.sum(model["a"] ** 2) + (model["b"] - 2) ** 2,
        optimiser=optax.sgd(2e-3), num_steps=num_steps, key=jr.key(0), progress=False,
        **{"estimator": Baseline(), **settings},
    )  # fmt: skip


def test_it_learns_and_its_diagnostics_are_in_the_history():
    result = fit(2000)
    assert result.history["loss"][-100:].mean() < 0.1 * result.history["loss"][0]
    losses, found = result.history["loss"], []
    mean = losses[0]
    for n, value in enumerate(losses):
        mean = value if n == 0 else 0.8 * mean + 0.2 * value
        found.append(mean)
    np.testing.assert_allclose(result.history["baseline"], found, rtol=1e-12)


def test_a_resumed_run_goes_on_with_its_memory(tmp_path):
    whole = fit(30)
    fit(17, checkpoint=rs.Checkpoints(tmp_path, every=5))
    resumed = fit(30, checkpoint=rs.Checkpoints(tmp_path, every=5, resume=True))
    for a, b in zip(jax.tree.leaves(whole.model), jax.tree.leaves(resumed.model), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(whole.history["baseline"], resumed.history["baseline"])


def test_several_seeds_each_have_their_own():
    keys = jr.split(jr.key(0), 2)
    models = jax.tree.map(lambda x: jnp.stack([x, x]), MODEL)
    results = rs.fit_many(
        models, None, simulate=lambda model, key: model,
        loss=lambda model, _: jnp.sum(model["a"] ** 2) + (model["b"] - 2) ** 2,
        optimiser=optax.sgd(2e-3), num_steps=10, keys=keys, progress=False, estimator=Baseline(),
    )  # fmt: skip
    assert results[0].history["baseline"][-1] != results[1].history["baseline"][-1]


def test_alone_it_is_a_first_step():
    estimate = Baseline()(MODEL, lambda m, k: m, lambda m: jnp.sum(m["a"]), jr.key(0))
    assert float(estimate.diagnostics["baseline"]) == float(estimate.value)


def test_a_memory_that_changes_its_shape_is_refused():
    class Growing(Baseline):
        def step(self, memory, *args, **kwargs):
            estimate, memory = super().step(memory, *args, **kwargs)
            return estimate, memory | {"mean": jnp.zeros(3)}

    with pytest.raises(TypeError, match="`estimator` Growing must keep a memory"):
        fit(2, estimator=Growing())
    with pytest.raises(ValueError, match="`metrics` has"):
        fit(2, metrics={"baseline": lambda model, generated, holdout: jnp.zeros(())})
