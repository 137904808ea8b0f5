"""What an estimator of the gradient of an expected loss is."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from roughsnn._shown import shown
from roughsnn.solve import NoGradient
from roughsnn.spikes import SpikeTrains
from roughsnn.trials import Trials

from .trainable import trainable_leaves


class GradientEstimate(eqx.Module):
    r"""What an estimator returns.

    Attributes:
        value: the loss of the trials drawn, an estimate of $E\,L$.
        gradient: an estimate of $\nabla_\theta E\,L$: a tree like the model, `None` at leaves that
            are not trained.
        generated: the trials drawn: spike trains (or whatever `simulate` returned, if that is not
            [`roughsnn.Trials`][]).
        diagnostics: named numbers about the estimate; which ones is the estimator's to say.
    """

    value: Float[Array, ""]
    gradient: PyTree
    generated: Any
    diagnostics: dict[str, Array]

    def __repr__(self) -> str:
        lines = [f"estimate of a gradient: loss {shown(self.value)}"]
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.gradient):
            name = jax.tree_util.keystr(path) or "of the parameter"
            lines.append(f"gradient {name}: {shown(leaf)}")
        lines += [f"{name}: {shown(x)}" for name, x in self.diagnostics.items()]
        return "\n".join(lines)


class AbstractGradientEstimator(eqx.Module):
    r"""Turns a model, a way to simulate it and a loss into an estimate of $\nabla_\theta E\,L$.

    An estimator is given functions and no more, so that it is free to simulate once or several
    times, to differentiate the simulation or not. It is pure: the randomness is in `key`. One that
    remembers something from step to step is an [`roughsnn.AbstractRuleWithMemory`][].
    """

    recorded: ClassVar[tuple[str, ...]] = ()
    """Names of the diagnostics that `fit` records in its history."""

    def init(self, model: PyTree, trainable: Any = None) -> PyTree:
        """What is remembered before the first step; `None` for nothing."""
        return None

    def step(
        self,
        memory: PyTree,
        model: PyTree,
        simulate: Callable[[Any, PRNGKeyArray], Any],
        loss: Callable[[Any], Any],
        key: PRNGKeyArray,
        *,
        trainable: Any = None,
    ) -> tuple[GradientEstimate, PyTree]:
        """The estimate, and what is remembered after it."""
        return self(model, simulate, loss, key, trainable=trainable), memory

    @abc.abstractmethod
    def __call__(
        self,
        model: PyTree,
        simulate: Callable[[Any, PRNGKeyArray], Any],
        loss: Callable[[Any], Any],
        key: PRNGKeyArray,
        *,
        trainable: Any = None,
    ) -> GradientEstimate:
        """Draw trials, and estimate the gradient of the expected loss.

        Args:
            model: the parameters theta, any tree; usually a neuron model or a network.
            simulate: a [`roughsnn.Simulation`][]; or a function of the model and a key that draws
                trials: with [`roughsnn.simulate_trials`][], or with [`roughsnn.simulate`][] for
                estimators that need nothing but the spikes.
            loss: function of the trains drawn that returns a scalar. To compare them with
                observed trains use [`roughsnn.Against`][].
            key: random key.
            trainable: what of the model is differentiated, as in [`roughsnn.fit`][]: by default all
                floating-point arrays; or a function from the model to the node or tuple of nodes;
                or a pytree of bools like the model, which `fit` gives.
                [`roughsnn.trainable_leaves`][] makes such a pytree of each of them.

        Raises:
            TypeError: trials that the estimator cannot use.
            ValueError: a loss that is not a scalar.
        """


class AbstractRuleWithMemory(AbstractGradientEstimator):
    """An estimator that remembers something from step to step: a running baseline, feedback
    weights, traces.

    Its memory is a tree of arrays that keeps its shapes. It is a part of the state of training, so
    that a run which is resumed goes on the same; after a step that failed it is as before.
    """

    @abc.abstractmethod
    def init(self, model: PyTree, trainable: Any = None) -> PyTree:
        """The memory before the first step."""

    @abc.abstractmethod
    def step(
        self,
        memory: PyTree,
        model: PyTree,
        simulate: Callable[[Any, PRNGKeyArray], Any],
        loss: Callable[[Any], Any],
        key: PRNGKeyArray,
        *,
        trainable: Any = None,
    ) -> tuple[GradientEstimate, PyTree]:
        """The estimate, as that of an estimator without memory, and the memory after it.

        Args:
            memory: what is remembered.
            model: as in `__call__`, as are the others.
            simulate: a way to draw trials.
            loss: function of the trains drawn.
            key: random key.
            trainable: which leaves of the model are differentiated, as in `__call__`.
        """

    def __call__(self, model, simulate, loss, key, *, trainable=None):
        """The estimate of a first step."""
        memory = self.init(model, trainable)
        return self.step(memory, model, simulate, loss, key, trainable=trainable)[0]


def differentiate(
    objective: Callable[[Any], tuple[Array, Any]], model: PyTree, trainable: Any
) -> tuple[tuple[Array, Any], PyTree]:
    """Value, by-products and gradient of `objective`, by reverse mode, at the trainable leaves."""
    parameters, rest = eqx.partition(model, trainable_leaves(model, trainable))

    def of_parameters(parameters):
        return objective(eqx.combine(parameters, rest))

    return eqx.filter_value_and_grad(of_parameters, has_aux=True)(parameters)


def spikes_of(generated: Any) -> Any:
    """The spike trains of trials; anything else as it is."""
    return generated.trains if isinstance(generated, Trials) else generated


def draw_trials(simulate: Any, model: PyTree, key: PRNGKeyArray, estimator: str) -> Trials:
    """Trials with where each of them ended.

    Raises:
        TypeError: `simulate` gives spikes alone.
    """
    draw = getattr(simulate, "trials", simulate)
    generated = draw(model, key)
    if isinstance(generated, Trials):
        return generated
    kind = "SpikeTrains" if isinstance(generated, SpikeTrains) else type(generated).__name__
    raise TypeError(
        f"`simulate` returned {kind}; {estimator} must know where each trial ended and how it "
        "came about. Give a `roughsnn.Simulation` for it, or use `roughsnn.simulate_trials` in it, "
        "with the arguments of `simulate`."
    )


def require_derivatives(generated: Any, estimator: str) -> None:
    """Fail where the spikes have been computed without derivatives, which would be taken for 0.

    Raises:
        TypeError: the engine of the trials has `NoGradient` for its adjoint.
    """
    adjoint = getattr(getattr(generated, "engine", None), "adjoint", None)
    if isinstance(adjoint, NoGradient):
        raise TypeError(
            f"`simulate` has the adjoint NoGradient(), and {estimator} differentiates the spikes: "
            "leave `adjoint` out, or use roughsnn.ReverseMode() or another one."
        )


def scalar(value: Any) -> Array:
    """The value of a loss.

    Raises:
        ValueError: it is not a scalar.
    """
    value = jnp.asarray(value)
    if value.shape != ():
        raise ValueError(f"`loss` returned an array of shape {value.shape}; it must be a scalar.")
    return value
