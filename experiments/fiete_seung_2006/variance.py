r"""How much the gradient from one trial scatters, against the number of neurons: the pathwise
gradient and perturbations, on the same networks and the same loss.

K neurons that fire by an intensity, each with weights of its own from the same ten inputs; time in
units of the window. The loss is of the population, $(\frac1K \sum_k f_k - c)^2$, with $f_k$ the sum
over the spikes of neuron k of $(1 - t)^2$, which vanishes at the end of the window, so that the
pathwise gradient has no bias. Neurons fire independently: what a perturbation of one of them is
correlated with is a loss that all perturbations move.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs

WINDOW, STEP, INPUTS, SPIKES = 1.0, 0.01, 10, 12
WANTED = 0.5

LAWS = {
    "white": rs.WhitePerturbation(0.3),
    "correlated": rs.CorrelatedPerturbation(0.1, 0.2),
    "correlated, smooth": rs.CorrelatedPerturbation(0.1, 0.2, exact=False),
    "empiric": rs.PoissonPerturbation(50.0, 0.1),
}
WEIGHT_SCALE = 0.03
KINDS = {"conductances": rs.ConductancePerturbation, "currents": rs.NodePerturbation}
"""Networks by what their synapses bring, and the rule that perturbs it."""


def rules(kind: str) -> dict[str, Any]:
    """The rules by name; the first differentiates spike times, the others nothing."""
    found: dict[str, Any] = {"pathwise": rs.Pathwise()}
    for name, law in LAWS.items():
        found[f"{kind}, {name}"] = KINDS[kind](law)
    found["weights"] = rs.WeightPerturbation(WEIGHT_SCALE)
    return found


def engine_of(kind: str, rule: str, model: Any, given: rs.Protocol) -> Any:
    """The clock engine; for derivatives of spike times one that has them."""
    if rule != "pathwise":
        return rs.ClockEngine(surrogate=rs.SuperSpike())
    if kind == "conductances":
        return rs.EventEngine()
    return rs.CellEngine().prepared(model, given, num_samples=200, slack=2.0)


def network(kind: str, size: int) -> rs.SpikingNetwork:
    """Neurons without synapses between them."""
    neurons = rs.StochasticLIF(
        size, mu1=10.0, mu2=5.0, sigma=0.2, v_reset=1.2, beta=5.0, tau_s=0.5, alpha=0.05
    )
    rng = np.random.default_rng(size)
    weights = rng.uniform(0, 0.5, (INPUTS, size))
    synapses = None
    if kind == "conductances":
        synapses = rs.ConductanceSynapses(e_reversal=2.0)
    none = np.zeros((size, size), bool)
    return rs.SpikingNetwork(
        neurons, np.zeros((size, size)), none, synapses=synapses, input_weights=weights
    )


def protocol(size: int) -> rs.Protocol:
    """The same input spikes in all trials, four of each input."""
    times = np.sort(np.random.default_rng(7).uniform(0.02, 0.9, 4 * INPUTS))
    trains = rs.SpikeTrains.from_lists(
        [(times, np.arange(times.size) % INPUTS)], t0=0.0, t1=WINDOW, num_neurons=INPUTS
    )
    return rs.Protocol(
        0.0, WINDOW, STEP, max_spikes=SPIKES * size + 10, input_current=0.5, input_spikes=trains[0]
    )


def _of_trials(trains: rs.SpikeTrains) -> Any:
    felt = jnp.where(trains.mask, jnp.square(WINDOW - trains.times), 0)
    return jnp.square(jnp.sum(felt, axis=1) / trains.num_neurons - WANTED)


LOSS = rs.MeanLoss(_of_trials)


def scatter(kind: str, rule: str, size: int, trials: int) -> dict[str, Any]:
    """The mean over trials of the gradient by a rule, and its variance in a trial.

    Args:
        kind: of the network.
        rule: by name.
        size: neurons.
        trials: how many.
    """
    estimator, model, given = rules(kind)[rule], network(kind, size), protocol(size)
    marks = eqx.tree_at(lambda m: m.input_weights, jax.tree.map(lambda _: False, model), True)
    engine = engine_of(kind, rule, model, given)
    simulation = rs.Simulation(given, 1, engine, throw=False)

    @jax.jit
    def of_trials(keys):
        def one(key):
            found = estimator(model, simulation, LOSS, key, trainable=marks)
            return found.gradient.input_weights

        return jax.lax.map(one, keys, batch_size=100)

    found = np.asarray(of_trials(jr.split(jr.key(size), trials)), float).reshape(trials, -1)
    return {
        "mean": found.mean(0).tolist(),
        "variance": float(found.var(0, ddof=1).sum()),
    }


def compared(results: dict[str, dict[str, Any]], trials: int) -> dict[str, dict[str, float]]:
    """By rule: the variance of a trial over the squared length of the gradient, which is that of
    the pathwise mean, and how far its mean is from that one in units of what chance explains (a
    mean square, 1 where both are unbiased)."""
    truth = results["pathwise"]
    reference = np.asarray(truth["mean"])
    # the square of a mean is too large by its variance
    length = float(reference @ reference) - truth["variance"] / trials
    found = {}
    for name, one in results.items():
        gap = np.asarray(one["mean"]) - reference
        chance = (one["variance"] + truth["variance"]) / trials
        excess = float("nan") if name == "pathwise" else float(gap @ gap / chance)
        found[name] = {"variance": one["variance"] / length, "excess": excess}
    return found
