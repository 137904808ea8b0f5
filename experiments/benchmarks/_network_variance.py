"""How much gradients scatter in a network of three neurons with a steep threshold.

The loss is the square of a trace of one neuron's spikes at the end of a window of three mean
intervals: no sum over spikes, and all earlier spikes matter for it.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs

from ._study import format_table

NETWORK = {"weight": 0.5, "current": 1.5, "log_sigma": np.log(0.9), "log_beta": np.log(20.0),
           "reset": 1.0}  # fmt: skip
_RING = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [-0.5, 0.0, 0.0]])
_STEP = {"weight": 0.02, "current": 0.02, "log_sigma": 0.05, "log_beta": 0.05, "reset": 0.02}
NETWORK_ESTIMATORS = {
    "with boundary": rs.PathwiseWithBoundary(),
    "spike removal": rs.SpikeRemoval(removals=4, damping=10.0),
    "spike removal, not damped": rs.SpikeRemoval(removals=4),
    "score function": rs.ScoreFunction(),
}


def simulate_network(parameters, key, samples: int, adjoint=None) -> rs.Trials:
    """Three neurons in a ring, the first two excite; window of three mean intervals."""
    p = parameters
    neurons = rs.StochasticLIF(
        3, mu1=1.0, mu2=2.0, sigma=jnp.exp(p["log_sigma"]), v_reset=p["reset"], v0=-1.0, v_th=0.0,
        beta=jnp.exp(p["log_beta"]), alpha=0.01,
    )  # fmt: skip
    return rs.simulate_trials(
        rs.SpikingNetwork(neurons, p["weight"] * 2 * _RING), 0.0, 3.0, 0.02, key=key,
        num_samples=samples, max_spikes=48, input_current=p["current"] - 0.5, adjoint=adjoint,
        throw=False,
    )  # fmt: skip


def late_trace(trains: rs.SpikeTrains):
    """Square of what a synapse with a time constant of 0.5 would feel of the third neuron at the
    end."""
    since = jnp.where(trains.mask, trains.durations[..., None] - trains.times, jnp.inf)
    weight = jnp.where(trains.neurons == 2, jnp.exp(-since / 0.5), 0)
    return jnp.square(jnp.sum(weight, axis=-1))


def network_part(trials: int, differences: int, seed: int, block: int = 64):
    """Figures and a table of the network."""
    loss, names = rs.MeanLoss(late_trace), list(NETWORK)
    point = {n: jnp.asarray(x, jnp.result_type(float)) for n, x in NETWORK.items()}

    @eqx.filter_jit
    def difference(key):
        def mean(point):
            return loss(simulate_network(point, key, 1024, rs.NoGradient()).trains)

        def one(n):
            ends = [mean({**point, n: point[n] + x}) for x in (_STEP[n], -_STEP[n])]
            return (ends[0] - ends[1]) / (2 * _STEP[n])

        return jnp.stack([one(n) for n in names])

    keys = jr.split(jr.fold_in(jr.key(seed), 100), max(2, differences // 1024))
    of_blocks = np.stack([np.asarray(difference(key), float) for key in keys])
    truth = of_blocks.mean(0)
    truth_error = of_blocks.std(0, ddof=1) / np.sqrt(len(of_blocks))

    found = {}
    for name, estimator in NETWORK_ESTIMATORS.items():

        @jax.jit
        def gradient(key, estimator=estimator):
            def simulate(point, key):
                return simulate_network(point, key, block)

            got = estimator(point, simulate, loss, key).gradient
            return jnp.stack([got[n] for n in names])

        keys = jr.split(jr.fold_in(jr.key(seed), 101), max(2, trials // block))
        found[name] = np.stack([np.asarray(gradient(key), float) for key in keys])

    figures, rows, ratios, largest = {}, [], [], 0.0
    variance = {n: block * x.var(axis=0, ddof=1) for n, x in found.items()}
    for i, parameter in enumerate(names):
        row = [parameter, f"{truth[i]:.4f} ± {truth_error[i]:.4f}"]
        for name, x in found.items():
            error = x[:, i].std(ddof=1) / np.sqrt(len(x))
            z = float((x[:, i].mean() - truth[i]) / np.hypot(error, truth_error[i]))
            spread = float(np.sqrt(variance[name][i]) / abs(truth[i]))
            row.append(f"{z:+.1f}; {spread:.3g}")
            figures[f"network, {parameter}: {name}, spread"] = spread
            figures[f"network, {parameter}: {name}, z"] = z
            if name == "spike removal":
                largest = max(largest, abs(z))
        ratios.append(float(variance["with boundary"][i] / variance["spike removal"][i]))
        rows.append([*row, ratios[-1]])
    figures["network, spike removal: largest z"] = largest
    figures["network: smallest ratio of variances"] = min(ratios)
    header = ["network", "differences", *found, "variance with boundary / of spike removal"]
    table = (
        f"{trials} trials of each estimator, {differences} of the differences; distance from the "
        "differences in standard errors; standard deviation of one trial in derivatives\n"
        + format_table(header, rows)
    )
    return figures, table
