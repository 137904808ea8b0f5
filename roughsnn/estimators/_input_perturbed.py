"""What the rules have in common that perturb what neurons receive."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..drivers import TimeGrid
from ..event_sde import AbstractTimeFunction
from ..networks import SpikingNetwork
from ..neurons import CurrentOnGrid
from ._base import GradientEstimate, differentiate
from ._changes import frozen
from ._perturbations import AbstractPerturbation
from ._perturbed import AbstractPerturbationRule, draw_each, perturbation_key, simulation_of
from ._synaptic_drive import weighted_drive
from .trainable import leaf_names, trainable_leaves

_WEIGHTS = (".weights", ".input_weights")


def estimate(
    rule: AbstractPerturbationRule, laws: tuple[AbstractPerturbation, ...], change: Callable,
    memory: Any, model: SpikingNetwork, simulate: Any, loss: Callable, key: Any, trainable: Any,
):  # fmt: skip
    """The estimate of a rule that adds independent perturbations to what every neuron receives.

    Args:
        rule: the rule.
        laws: of what is added, one for each quantity of `synaptic_drive`.
        change: function of the protocol of a trial and the values of the perturbations, each of
            shape (steps, K), that returns the perturbed protocol.
        memory: of the rule.
        model: the network.
        simulate: a way to draw trials.
        loss: function of the trains.
        key: random key.
        trainable: which leaves are trained.
    """
    name = type(rule).__name__
    check_trained(model, trainable, name)
    simulation = simulation_of(simulate, name)
    if simulation.protocol.stop_after is not None:
        raise ValueError(
            f"`stop_after` is {simulation.protocol.stop_after}; {name} perturbs trials from end to "
            "end of the window: leave it out."
        )
    grid, k = simulation.protocol.grid, model.num_neurons
    dtype = jnp.result_type(*jax.tree.leaves(jax.eval_shape(model.initial_state, key)))
    numbers = jnp.arange(simulation.num_samples, dtype=jnp.int32)

    def drawn(index):
        own = jr.fold_in(perturbation_key(key), index)
        return [
            law.draw(jr.fold_in(own, n), grid.num_cells, k, grid.dt0, dtype)
            for n, law in enumerate(laws)
        ]

    pairs = jax.vmap(drawn)(numbers)
    values, scores = [p[0] for p in pairs], [p[1] for p in pairs]
    perturbed = draw_each(simulation, model, key, change, values)
    by_clock = perturbed.presence is not None
    calm = None
    if rule.baseline == "unperturbed":
        nothing = [jnp.zeros_like(v) for v in values]
        calm = draw_each(simulation, model, key, change, nothing).without_presence()
    perturbed = frozen(perturbed.without_presence())
    signals, value, memory = rule.judged(loss, perturbed, calm, memory)
    weights = [lax.stop_gradient(signals[:, None, None] * s) for s in scores]
    inputs = simulation.protocol.inputs(model, simulation.num_samples)
    given = None if inputs is None else lax.stop_gradient((inputs.since, inputs.trains.neurons))

    def objective(model):
        return weighted_drive(model, perturbed, given, grid, by_clock, weights), None

    _, gradient = differentiate(objective, model, trainable)
    diagnostics = {"signal": jnp.sqrt(jnp.mean(jnp.square(signals)))}
    generated = perturbed if calm is None else calm
    return GradientEstimate(value, gradient, generated, diagnostics), memory


def check_trained(model: SpikingNetwork, trainable: Any, rule: str) -> None:
    """Fail where something else than weights is trained.

    Raises:
        ValueError: a parameter that acts on more than what synapses bring.
    """
    names = leaf_names(model, trainable_leaves(model, trainable))
    others = [name for name in names if name not in _WEIGHTS]
    if others:
        raise ValueError(
            f"`trainable` selects {', '.join(others)}, and {rule} estimates the gradient of the "
            "weights of synapses alone, which act by what they bring to a neuron: give "
            "trainable=lambda model: model.weights (or input_weights, or both). For other "
            "parameters use WeightPerturbation."
        )


def on_grid(grid: TimeGrid, values: Any) -> CurrentOnGrid:
    """A function of time that has these values in the steps of a grid."""
    with jax.ensure_compile_time_eval():
        times = grid.t0 + np.arange(grid.num_cells) * grid.dt0
        steps = CurrentOnGrid(times, np.zeros((grid.num_cells, 1)), "previous")
    return eqx.tree_at(lambda c: c.values, steps, values)


class SumOfInputs(AbstractTimeFunction):
    """Two functions of time, added."""

    first: Any
    second: AbstractTimeFunction

    def __call__(self, t):
        return _value(self.first, t) + self.second(t)

    def since(self, t0: float) -> "SumOfInputs":
        first = self.first
        first = first.since(t0) if isinstance(first, AbstractTimeFunction) else first
        return SumOfInputs(first, self.second.since(t0))

    def within(self, begin, end) -> "SumOfInputs":
        first = self.first
        first = first.within(begin, end) if isinstance(first, AbstractTimeFunction) else first
        return SumOfInputs(first, self.second.within(begin, end))


def _value(part: Any, t: Any) -> Any:
    return part(t) if callable(part) else part


def added(first: Any, second: AbstractTimeFunction) -> Any:
    """An input of a protocol, with a perturbation added."""
    if first is None:
        return second
    if callable(first) and not isinstance(first, AbstractTimeFunction):
        return lambda t: _value(first, t) + second(t)
    return SumOfInputs(first, second)
