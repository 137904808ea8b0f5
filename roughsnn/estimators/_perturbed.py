"""What the rules that perturb have in common: trials one by one, and what a loss says of each."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, get_args

import equinox as eqx
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._checks import IntLike, RealLike, number, whole_number
from ..protocol import Protocol, current_of_sample
from ..spikes import Presence, SpikeTrains
from ._base import AbstractRuleWithMemory, scalar
from ._changes import Against, loss_changes, shifted

Baseline = Literal["unperturbed", "others", "running", "none"]


def _share(value: RealLike) -> float:
    value = number("forgetting", value, positive=True)
    if value > 1:
        raise ValueError(f"`forgetting` must be at most 1, got {value}.")
    return value


class AbstractPerturbationRule(AbstractRuleWithMemory):
    """A rule that correlates the loss of trials with what was done to them at random.

    Attributes:
        baseline: what the loss of a perturbed trial is compared with: `"unperturbed"`, that of the
            trial with the same noise and no perturbation (twice the simulations); `"others"`, the
            mean of it with other trials of the sample in its place; `"running"`, a running mean of
            the losses of earlier steps, what a rule can know that has one trial at a time;
            `"none"`.
        controls: how many other trials.
        forgetting: the share of the newest loss in the running mean.
    """

    recorded: ClassVar[tuple[str, ...]] = ("signal",)

    baseline: Baseline = eqx.field(static=True, default="unperturbed", kw_only=True)
    controls: IntLike = eqx.field(
        static=True, default=4, kw_only=True, converter=lambda x: whole_number("controls", x, 1)
    )
    forgetting: RealLike = eqx.field(static=True, default=0.1, kw_only=True, converter=_share)

    def __check_init__(self):
        if self.baseline not in get_args(Baseline):
            names = ", ".join(f'"{name}"' for name in get_args(Baseline))
            raise ValueError(f"`baseline` must be one of {names}, got {self.baseline!r}.")

    def init(self, model: PyTree, trainable: Any = None) -> PyTree:
        """The running mean of the losses, and how many steps it is of."""
        if self.baseline != "running":
            return None
        return {"mean": jnp.zeros(()), "steps": jnp.zeros((), jnp.int32)}

    def judged(
        self, loss: Callable, perturbed: SpikeTrains, calm: SpikeTrains | None, memory: PyTree
    ) -> tuple[Float[Array, " samples"], Float[Array, ""], PyTree]:
        """What the loss of the sample owes to the perturbation of each trial, up to what does not
        depend on it; the loss; and the memory after the step.

        Args:
            loss: function of the sample.
            perturbed: the perturbed trials.
            calm: the same without the perturbation, where that is the baseline.
            memory: before the step.
        """
        samples = len(perturbed)
        if calm is not None:
            changes = loss_changes(loss, calm, perturbed.reshape(samples, 1))[:, 0]
            return changes, scalar(loss(calm)), memory
        value = scalar(loss(perturbed))
        if self.baseline == "others":
            if samples < 2:
                raise ValueError(
                    'A sample of one trial has no others: take baseline="unperturbed" or "running".'
                )
            others = shifted(perturbed, min(self.controls, samples - 1))
            return -jnp.mean(loss_changes(loss, perturbed, others), axis=1), value, memory
        losses = _losses_of_trials(loss, perturbed)
        if losses is None:
            # one loss for all: that of the sample, which every perturbation had its part in
            losses, share = jnp.broadcast_to(value, (samples,)), 1.0
        else:
            share = 1 / samples
        if self.baseline == "none":
            return losses * share, value, memory
        return self._above_running_mean(losses * share, value, share, memory)

    def _above_running_mean(self, losses, value, share, memory):
        mean, steps = memory["mean"], memory["steps"]
        # the first step only sets the mean
        signals = jnp.where(steps > 0, losses - (share * mean).astype(losses.dtype), 0)
        now = lax.stop_gradient(value).astype(mean.dtype)
        mean = jnp.where(steps > 0, mean + self.forgetting * (now - mean), now)
        return signals, value, {"mean": mean, "steps": steps + 1}


def _losses_of_trials(loss: Callable, trains: SpikeTrains) -> Float[Array, " samples"] | None:
    """The loss of each trial, where that of the sample is their mean and says so."""
    function = loss.loss if isinstance(loss, Against) else loss
    of_trials = getattr(function, "of_trials", None)
    if of_trials is None:
        return None
    return jnp.asarray(of_trials(trains)).astype(trains.times.dtype)


def simulation_of(simulate: Any, rule: str) -> Any:
    """The simulation, whose protocol can be changed.

    Raises:
        TypeError: `simulate` is a function that does not say what it does in a trial.
    """
    ask = getattr(simulate, "as_simulation", None)
    found = None if ask is None else ask()
    if found is None:
        raise TypeError(
            f"`simulate` is no roughsnn.Simulation, and {rule} changes what is done in a trial: "
            "give a roughsnn.Simulation; for labelled data an object with the method "
            "`simulation(inputs)` that returns one."
        )
    return found


def perturbation_key(key: PRNGKeyArray) -> PRNGKeyArray:
    """A key beside those of the trials: no sample is that large."""
    return jr.fold_in(key, 2**31 - 1)


def draw_each(
    simulation: Any, models: PyTree, key: PRNGKeyArray, change: Callable | None = None,
    given: PyTree = None, *, own_models: bool = False,
) -> SpikeTrains:  # fmt: skip
    """The trials of a simulation, each with a change of its own, with the same noise whatever the
    change.

    Args:
        simulation: the simulation.
        models: the model; with `own_models` one for each trial, along first axes.
        key: random key.
        change: function of a protocol and an entry of `given` that returns the protocol of a trial.
        given: a tree of arrays with an entry for each trial.
        own_models: whether each trial has a model of its own.
    """
    protocol, engine = simulation.protocol, simulation.engine
    samples = simulation.num_samples

    def one(index, model, given):
        own = _protocol_of_sample(protocol, index)
        own = own if change is None else change(own, given)
        trains = engine.spike_trains(
            model, own, key=jr.fold_in(key, index), num_samples=1, throw=simulation.throw
        )
        values = None if trains.presence is None else trains.presence.values[0]
        return trains.times[0], trains.neurons[0], trains.overflowed[0], values

    index = jnp.arange(samples, dtype=jnp.int32)
    axes = (0, eqx.if_array(0) if own_models else None, 0)
    times, neurons, overflowed, values = eqx.filter_vmap(one, in_axes=axes)(index, models, given)
    num = models.num_neurons
    presence = None
    if values is not None:
        dtype = times.dtype
        grid = protocol.grid
        ends = grid.begin(jnp.arange(1, grid.num_cells + 1, dtype=jnp.int32), dtype)
        presence = Presence(values, ends)
    return SpikeTrains(
        times, neurons, protocol.t0, protocol.t1, overflowed, num_neurons=num, presence=presence
    )


def _protocol_of_sample(protocol: Protocol, index) -> Protocol:
    """The protocol of one sample."""
    current = current_of_sample(protocol.input_current, index)
    spikes = protocol.input_spikes
    if spikes is not None and spikes.batch_shape:
        spikes = spikes[index]
    return with_input(protocol, current, spikes)


def with_input(protocol: Protocol, current: Any, spikes: Any) -> Protocol:
    """The protocol with another input."""
    return eqx.tree_at(
        lambda p: (p.input_current, p.input_spikes), protocol, (current, spikes),
        is_leaf=lambda x: x is None,
    )  # fmt: skip
