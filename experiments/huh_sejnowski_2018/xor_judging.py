"""How a network of the delayed-memory XOR is judged, and what it can do without its parts."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int

from roughsnn.gated import GatedNetwork

from .xor_network import initial_network, respond
from .xor_settings import Settings
from .xor_task import ANSWERS, Task, draw_trials, nearest_answer


def judge(
    settings: Settings, network: GatedNetwork, seed: int, num: int = 2000
) -> dict[str, float]:
    """Shares of right answers on fresh trials, a third of them with one pulse.

    Three answers are equally frequent, so who always gives the same is right in a third of the
    trials; who knows the second pulse alone can tell one pulse from two, and is right in two
    thirds at most. Only the exclusive or itself, whether the signs of two pulses differ, needs the
    first pulse: its chance is a half, of pairs of trials with equal and with unequal signs that
    the readout puts in the right order.

    Args:
        settings: task and size.
        network: the network to be judged.
        seed: the seed that it was trained with; the trials are others.
        num: number of trials.

    Returns:
        by name:

        - `accuracy`, and by the kind of trial `equal`, `single`, `unequal`;
        - `without_recurrence`, the accuracy with the recurrent weights put to 0, and with the
          prefix `without_recurrence_` the kinds of trial; `_order`, the share of pairs in
          the right order; `_refitted`, the accuracy once the readout is fitted anew to what is
          left;
        - `readout_alone`, the accuracy of the network before training with its readout alone
          fitted;
        - `refitted`, the same of the trained network;
        - `rate_hz`, spikes per second and neuron.

        Fits are by least squares, with a small ridge, to as many trials of their own.
    """
    task = settings.task

    def respond_to(network, first_seed):
        return _response(task, network, jnp.asarray(seed + first_seed), num)

    def refitted(network):
        means, target, _ = respond_to(network, 3_000_000)
        ridge = 1e-3 * num * jnp.eye(network.num_neurons, dtype=means.dtype)
        readout = jnp.linalg.solve(means.T @ means + ridge, means.T @ target)
        means, target, _ = respond_to(network, 1_000_000)
        return float(jnp.mean(nearest_answer(means @ readout) == target))

    def shares(network):
        means, target, spikes = respond_to(network, 1_000_000)
        readout = means @ network.readout[:, 0]
        right = nearest_answer(readout) == target
        found = {"accuracy": jnp.mean(right)}
        for answer, name in zip(ANSWERS, ("equal", "single", "unequal"), strict=True):
            found[name] = jnp.mean(right, where=target == answer)
        found["order"] = share_in_order(readout[target == -1], readout[target == 1])
        found["rate_hz"] = spikes / (task.num_steps * task.dt0) * 1000
        return {name: float(value) for name, value in found.items()}

    silent = tuple(jnp.zeros_like(w) for w in network.weights)
    cut = eqx.tree_at(lambda net: net.weights, network, silent)
    start_key = jr.split(jr.key(seed), 3)[0]
    start = initial_network(settings.num_neurons, settings.assemblies, start_key)

    outcome, left = shares(network), shares(cut)
    outcome["without_recurrence"] = left["accuracy"]
    for name in ("equal", "single", "unequal", "order"):
        outcome[f"without_recurrence_{name}"] = left[name]
    outcome["without_recurrence_refitted"] = refitted(cut)
    outcome["readout_alone"] = refitted(start)
    outcome["refitted"] = refitted(network)
    return outcome


@eqx.filter_jit
def _response(task: Task, network: GatedNetwork, seed: Int[Array, ""], num: int):
    """Mean traces, answers asked for, and spikes of a neuron, of fresh trials."""
    trials = draw_trials(task, jr.key(seed), num)
    solution = respond(task, network, trials, jr.key(seed + 1_000_000), throw=False)
    # the mean readout is that of the mean traces
    traces = solution.traces[..., network.read_from, :]
    means = jnp.einsum("bt,btn->bn", trials.weight, traces)
    return means, trials.target, jnp.mean(solution.num_spikes)


def share_in_order(low: Float[Array, " a"], high: Float[Array, " b"]) -> Float[Array, ""]:
    """Share of the pairs of one of each in which `high` is larger; ties count a half."""
    difference = high[:, None] - low[None, :]
    return jnp.mean((1 + jnp.sign(difference)) / 2)
