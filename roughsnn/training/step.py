"""One training step as a pure function, to be compiled, looped and mapped over seeds."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from roughsnn.estimators import AbstractGradientEstimator, Against, Pathwise, spikes_of
from roughsnn.estimators.trainable import leaf_names, trainable_leaves

from .labelled import LabelledData, of_batch
from .leaving_out import LeavingOut, share_overflowed, shares_grazing
from .minibatches import minibatch_indices

RECORDED = ("loss", "gradient_norm", "overflowed", "left_out", "clipped")
"""What is recorded in every step, beside the metrics."""


@runtime_checkable
class Optimiser(Protocol):
    """An optax optimiser, an `optax.GradientTransformation`; optax itself is imported where it is
    first needed."""

    @property
    def init(self) -> Callable: ...

    @property
    def update(self) -> Callable: ...


def as_optimiser(optimiser: Any) -> Optimiser:
    """The optimiser as a `GradientTransformation`, which `optax.MultiSteps` only wraps one in."""
    import optax

    if isinstance(optimiser, optax.MultiSteps):
        optimiser = optimiser.gradient_transformation()
    if not isinstance(optimiser, optax.GradientTransformation):
        raise TypeError(
            f"`optimiser` is a {type(optimiser).__name__}; it must be an optax optimiser such as "
            "`optax.adam(1e-2)`."
        )
    return optimiser


class TrainState(eqx.Module):
    """All that changes from step to step.

    Attributes:
        model: the model.
        optimiser_state: optax's state for the trained leaves.
        step: number of steps taken.
        memory: what the estimator remembers from step to step; `None` for nothing.
    """

    model: PyTree
    optimiser_state: PyTree
    step: Int[Array, ""]
    memory: PyTree = None


class StepRecord(eqx.Module):
    """What one step reports.

    Attributes:
        values: the quantities named by `TrainStep.recorded`, in that order.
        bad: whether the loss, each gradient, and each updated parameter was not finite, in that
            order; `TrainStep.blame` puts it into words.
    """

    values: Float[Array, " recorded"]
    bad: Bool[Array, " checked"]

    @property
    def failed(self) -> Bool[Array, ""]:
        """Whether anything was not finite, so that the step was not taken."""
        return jnp.any(self.bad)


class TrainStep(eqx.Module):
    """A gradient step: simulate with fresh noise, compare with the data, update the model.

    It is a pure function of its arguments. `fit` compiles and loops it; for a training loop of
    your own, `equinox.filter_jit` it, or `equinox.filter_vmap` it over models, data and keys:

    ```python
    step = TrainStep(simulate=simulate, loss=loss, optimiser=optax.adam(1e-2))
    state = step.init(model)
    state, record = eqx.filter_jit(step)(state, data, key)
    ```

    The attributes are the arguments of `fit`.

    Raises:
        ValueError: a metric named like a quantity that is recorded anyway.
    """

    simulate: Callable[..., Any]
    loss: Callable[[Any, Any], Any]
    optimiser: Optimiser = eqx.field(converter=as_optimiser)
    trainable: Any = None
    batch_size: int | None = None
    metrics: dict[str, Callable[[Any, Any, Any], Any]] = eqx.field(default_factory=dict)
    estimator: AbstractGradientEstimator = Pathwise()
    between_steps: Callable[[Any, Any, Any, PRNGKeyArray], Any] | None = None
    conditions: str = eqx.field(static=True, default="leave-out")

    def __check_init__(self):
        if self.conditions not in ("leave-out", "refuse"):
            raise ValueError(
                f'`conditions` must be "leave-out" or "refuse", got {self.conditions!r}. To clip '
                'derivatives give `conditions="clip"` to the simulation itself.'
            )
        clash = sorted(set(self.metrics) & {*RECORDED, *self.estimator.recorded})
        if clash:
            raise ValueError(f"`metrics` has {clash}; these names are recorded anyway: rename it.")

    @property
    def recorded(self) -> tuple[str, ...]:
        """Names of the values in a record."""
        # Sorted, as a dictionary that passes through `jit` is.
        return (*RECORDED, *self.estimator.recorded, *sorted(self.metrics))

    def checked(self, model: PyTree) -> tuple[str, ...]:
        """What must be finite in a step, in words and in the order of `StepRecord.bad`."""
        names = leaf_names(model, trainable_leaves(model, self.trainable))
        return (
            "the loss",
            *(f"the gradient of {name}" for name in names),
            *(f"the updated value of {name}" for name in names),
        )

    def init(self, model: PyTree) -> TrainState:
        """The state before the first step.

        Raises:
            ValueError: nothing to train, or a trained parameter that is not finite.
        """
        chosen = trainable_leaves(model, self.trainable)
        parameters = eqx.filter(model, chosen)
        for name, leaf in zip(leaf_names(model, chosen), jax.tree.leaves(parameters), strict=True):
            known = not isinstance(leaf, jax.core.Tracer)
            if known and not bool(jnp.all(jnp.isfinite(leaf))):
                raise ValueError(
                    f"`model` has a value at {name} that is not finite; start from finite values."
                )
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
            optimiser_state = self.optimiser.init(parameters)
        memory = self.estimator.init(model, chosen)
        state = TrainState(model, optimiser_state, jnp.zeros((), dtype=jnp.int32), memory)
        # Weak types would turn strong in the first step and compile a second program.
        return jax.tree.map(
            lambda x: jax.lax.convert_element_type(x, x.dtype) if _is_number(x) else x, state
        )

    def __call__(
        self, state: TrainState, data: Any, key: PRNGKeyArray, holdout: Any = None
    ) -> tuple[TrainState, StepRecord]:
        """Take one step. The noise depends on `key` and `state.step` alone.

        If the loss, a gradient or an updated parameter is not finite the state comes back
        unchanged and `record.failed` is true.
        """
        noise_key, batch_key = jr.split(key)
        if self.batch_size is not None:
            index = minibatch_indices(len(data), self.batch_size, state.step, batch_key)
            data = data[index]
        chosen = trainable_leaves(state.model, self.trainable)
        parameters, rest = eqx.partition(state.model, chosen)
        noise_key = jr.fold_in(noise_key, state.step)
        at_step = getattr(self.simulate, "at_step", None)
        simulate = self.simulate if at_step is None else at_step(state.step)
        drawn, observed = of_batch(simulate, data)
        simulate, loss_of = drawn, Against(self.loss, observed)
        if self.conditions == "leave-out":
            simulate = LeavingOut(simulate)
        estimate, memory = self.estimator.step(
            state.memory, state.model, simulate, loss_of, noise_key, trainable=chosen
        )
        _check_memory(state.memory, memory, self.estimator)
        loss, gradients, generated = estimate.value, estimate.gradient, estimate.generated

        def value(parameters, **_):
            """The loss of other parameters, with the same noise."""
            model = eqx.combine(parameters, rest)
            return loss_of(spikes_of(drawn(model, noise_key)))

        with jax.numpy_dtype_promotion("standard"):
            import optax

            # a search along a line and a plateau need to know the loss
            updates, optimiser_state = optax.with_extra_args_support(self.optimiser).update(
                gradients, state.optimiser_state, parameters,
                value=loss, grad=gradients, value_fn=value,
            )  # fmt: skip
            updated = optax.apply_updates(parameters, updates)
            squares = [jnp.sum(jnp.square(jnp.abs(g))) for g in jax.tree.leaves(gradients)]
            gradient_norm = jnp.sqrt(sum(squares))
        model = eqx.combine(updated, rest)
        if self.between_steps is not None:
            model = self._changed(model, generated, state.step + 1, batch_key)
            updated = eqx.filter(model, chosen)

        values = [loss, gradient_norm, share_overflowed(generated), *shares_grazing(generated)]
        values += [estimate.diagnostics[name] for name in self.estimator.recorded]
        compared = observed if isinstance(data, LabelledData) else holdout
        for name in sorted(self.metrics):
            value = self.metrics[name](state.model, generated, compared)
            values.append(_scalar(value, f"metrics[{name!r}]"))
        record = StepRecord(
            jnp.stack([jnp.asarray(x).astype(jnp.result_type(float)) for x in values]),
            jnp.stack([_non_finite(x) for x in jax.tree.leaves((loss, gradients, updated))]),
        )
        new = TrainState(model, optimiser_state, state.step + 1, memory)
        state = jax.tree.map(
            lambda a, b: (
                jnp.where(record.failed, a, jnp.asarray(b).astype(a.dtype))
                if eqx.is_array(a)
                else a
            ),
            state,
            new,
        )
        return state, record

    def _changed(self, model: PyTree, generated: Any, step: Array, key: PRNGKeyArray) -> PyTree:
        """The model after `between_steps`, refused where it is no model of the same kind."""
        assert self.between_steps is not None
        # the mini-batches take none of the numbers below this one
        changed = self.between_steps(step, model, generated, jr.fold_in(key, -1 - step))
        before, after = (_described(tree) for tree in (model, changed))
        if before != after:
            raise TypeError(
                "`between_steps` must return a model of the same structure, shapes and dtypes, as "
                f"`equinox.tree_at` does; it got {_difference(before, after)}"
            )
        return changed

    def blame(self, model: PyTree, bad: Any) -> str:
        """Which quantities of a failed record were not finite, in words."""
        failed = [name for name, is_bad in zip(self.checked(model), bad, strict=True) if is_bad]
        gradients = [name for name in failed if name.startswith("the gradient")]
        # A bad gradient makes its update bad too; only the cause is worth naming.
        failed = [name for name in failed if not gradients or not name.startswith("the updated")]
        return ", ".join(failed)


def _check_memory(before: PyTree, after: PyTree, estimator: AbstractGradientEstimator) -> None:
    """Refuses a memory of another structure than that before the step."""
    old, new = _described(before), _described(after)
    shapes = [{k: v.split("[")[-1] for k, v in d.items()} for d in (old, new)]
    if shapes[0] != shapes[1]:
        raise TypeError(
            f"`estimator` {type(estimator).__name__} must keep a memory of one structure and one "
            f"set of shapes; before the step it had {old}, after it {new}."
        )


def _described(tree: PyTree) -> dict[str, str]:
    """Shape and dtype of each array of a tree, and its structure."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_array))
    described = {jax.tree_util.keystr(p): f"{x.dtype}{list(x.shape)}" for p, x in leaves}
    return described | {"structure": str(jax.tree.structure(tree))}


def _difference(before: dict[str, str], after: dict[str, str]) -> str:
    """The first entry in which two descriptions differ, in words."""
    name = next(n for n in before | after if before.get(n) != after.get(n))
    if name == "structure":
        return "a model of one structure and returned one of another."
    return f"{before.get(name, 'nothing')} at {name} and returned {after.get(name, 'nothing')}."


def _is_number(x: Any) -> bool:
    return eqx.is_array(x) and not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _scalar(value: Any, name: str) -> Array:
    value = jnp.asarray(value)
    if value.shape != ():
        raise ValueError(f"`{name}` returned an array of shape {value.shape}; it must be a scalar.")
    return value


def _non_finite(x: Any) -> Bool[Array, ""]:
    return ~jnp.all(jnp.isfinite(x))
