"""The gradient steps of the delayed-memory XOR: of one seed, and of several side by side."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float, Key, PRNGKeyArray

from roughsnn.gated import GatedNetwork
from roughsnn.training.step import TrainState, TrainStep

from .xor_network import respond
from .xor_settings import CHUNK, Settings
from .xor_task import answer_of, draw_trials


def training_step(settings: Settings) -> TrainStep:
    """The gradient step; its learning rates have a common factor `scale` in the state."""
    task = settings.task

    def simulate(network, key):
        task_key, start_key = jr.split(key)
        trials = draw_trials(task, task_key, settings.batch_size)
        # runaway activity is answered by a step back, not by an error
        solution = respond(task, network, trials, start_key, clip_trials=2.0, throw=False)
        return solution.readout[..., 0], solution.traces[..., 0, :], trials

    def loss(generated, data):
        readout, traces, trials = generated
        error = jnp.sum((readout - trials.target[:, None]) ** 2 * trials.weight, axis=1)
        activity = jnp.mean(traces, axis=(0, 1))
        return jnp.mean(error) + settings.activity_price * jnp.mean((activity - 0.6) ** 2)

    def accuracy(network, generated, holdout):
        readout, _, trials = generated
        return jnp.mean(answer_of(readout, trials) == trials.target)

    def groups(network):
        rest = jax.tree.map(lambda _: "rest", network)
        recurrent = ("recurrent",) * len(network.weights)
        return eqx.tree_at(lambda net: (net.weights, net.readout), rest, (recurrent, "readout"))

    def optimiser(scale):
        rates = {
            "readout": settings.readout_rate,
            "recurrent": settings.recurrent_rate,
            "rest": settings.learning_rate,
        }
        adams = {name: optax.adam(rate, b2=0.999) for name, rate in rates.items()}
        return optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.multi_transform(adams, groups),
            optax.scale(scale),
        )

    return TrainStep(
        simulate,
        loss,
        optax.inject_hyperparams(optimiser)(scale=1.0),
        metrics={"accuracy": accuracy},
    )


class Learner(eqx.Module):
    """A network in training, and the average over its last steps.

    Attributes:
        state: the network that is trained, with its optimiser.
        average: its parameters, averaged with weights that decay with the age of a step. Steps in
            random directions, which keep the network itself from settling, cancel in it.
    """

    state: TrainState
    average: GatedNetwork

    def from_average(self) -> "Learner":
        """The same, to go on with the averaged parameters."""
        return eqx.tree_at(lambda x: x.state.model, self, self.average)


@eqx.filter_jit
def take_steps(
    settings: Settings, step: TrainStep, learner: Learner, key: PRNGKeyArray
) -> tuple[Learner, Float[Array, " recorded"]]:
    """`CHUNK` steps, and the mean of what they record."""
    return _take_steps(settings, step, learner, key)


@eqx.filter_jit
def take_steps_together(
    settings: Settings, step: TrainStep, learners: Learner, keys: Key[Array, " seeds"]
) -> tuple[Learner, Float[Array, "seeds recorded"]]:
    """`take_steps` of several seeds, whose arrays are stacked along their first axis."""
    return eqx.filter_vmap(partial(_take_steps, settings, step))(learners, keys)


def _take_steps(settings, step, learner, key):
    arrays, static = eqx.partition(learner, eqx.is_array)

    def towards(average, new):
        return average + (1 - settings.averaging) * (new - average)

    def one(arrays, key):
        # a step with values that are not finite changes nothing, and the next draws other trials
        learner = eqx.combine(arrays, static)
        state, record = step(learner.state, None, key)
        average = jax.tree.map(towards, learner.average, state.model)
        return eqx.filter(Learner(state, average), eqx.is_array), record.values

    arrays, values = jax.lax.scan(one, arrays, jr.split(key, CHUNK))
    return eqx.combine(arrays, static), jnp.nanmean(values, axis=0)


@eqx.filter_jit
def validate(settings: Settings, network: GatedNetwork, key: PRNGKeyArray) -> Float[Array, ""]:
    """Share of right answers on the trials of a key."""
    task_key, start_key = jr.split(key)
    trials = draw_trials(settings.task, task_key, settings.validation)
    solution = respond(settings.task, network, trials, start_key, throw=False)
    return jnp.mean(answer_of(solution.readout[..., 0], trials) == trials.target)


def stacked(learners: list[Learner]) -> Learner:
    """Learners with their arrays stacked along a first axis, for `take_steps_together`."""
    return jax.tree.map(lambda *x: jnp.stack(x) if eqx.is_array(x[0]) else x[0], *learners)


def one_of(learners: Learner, i: int) -> Learner:
    """One of learners that are stacked."""
    return jax.tree.map(lambda x: x[i] if eqx.is_array(x) else x, learners)
