r"""One neuron with twenty inputs whose filtered spikes are to follow a time course.

Times are in milliseconds, potentials in millivolts, conductances in units of the leak. The output
is $o(t) = \sum_n e^{-(t - \tau_n) / 50}$, its target $2 + 1.5 \sin(2 \pi t / T)$, the reward
$R = -\overline{(o - \mathrm{target})^2}$ and the loss $-R$.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import roughsnn as rs

STEP, WINDOW, ROOM = 0.5, 400.0, 200
EXCITATORY, INHIBITORY, RATE = 10, 10, 0.03
FILTER = 50.0
SCALE = 0.6
"""Of the perturbation in each step."""
BATCH = 8
"""Trials of an update."""


def potentials(neurons: int) -> rs.LIF:
    """Leaky neurons, of 20 ms, from -60 to -50 mV with the leak at -65 mV."""
    return rs.LIF(neurons, mu1=1 / 20, mu2=1 / 10, v_th=-50.0, reset_to=-60.0, v0=-65.0)


def synapses() -> rs.ConductanceSynapses:
    """Conductances of 10 ms with reversal potentials of 0 and -75 mV."""
    return rs.ConductanceSynapses(mu_e=1 / 10, mu_i=1 / 10, e_reversal=0.0, i_reversal=-75.0)


LEAK = -65.0
"""The current of the leak, as that of the neurons decays to zero."""


def network(seed: int) -> rs.SpikingNetwork:
    """The neuron and its inputs, excitatory ones first."""
    size = np.abs(np.random.default_rng(seed).normal(size=EXCITATORY + INHIBITORY))
    weights = np.where(np.arange(size.size) < EXCITATORY, 0.25 * size, -0.075 * size)
    return rs.SpikingNetwork(
        potentials(1), np.zeros((1, 1)), synapses=synapses(), refractory=2.0,
        input_weights=weights[:, None],
    )  # fmt: skip


def poisson_trains(
    rates: np.ndarray, window: float, step: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Times and numbers of the spikes of independent Poisson processes, each spike in the middle of
    a step and at most one in it."""
    raster = rng.random((int(window / step), rates.size)) < rates * step
    cell, who = np.nonzero(raster)
    return (cell + 0.5) * step, who


def start_of_learning(seed: int) -> rs.SpikingNetwork:
    """The network with one factor for its excitatory weights, found by bisection: without a
    perturbation the neuron then fires as often as the target asks of it.

    The target's mean over the filter's time constant is a rate, which makes 16 spikes in the
    window. As they are drawn, weights make it fire anything from 15 to 55 times.
    """
    drawn, given = network(seed), protocol(seed)

    def scaled(factor):
        base = weights_of(drawn)
        return eqx.tree_at(weights_of, drawn, jnp.where(base > 0, factor, 1) * base)

    @jax.jit
    def spikes(factor):
        trains = ENGINE.spike_trains(
            scaled(factor), given, key=jr.key(0), num_samples=1, throw=False
        )
        return trains.without_presence().counts[0]

    wanted = float(np.mean(target())) * WINDOW / FILTER
    low, high = 0.0, 4.0
    for _ in range(20):
        middle = (low + high) / 2
        if int(spikes(middle)) < wanted:
            low = middle
        else:
            high = middle
    return scaled(high)


def inputs(seed: int) -> rs.SpikeTrains:
    """The input spikes, the same in all trials."""
    rng = np.random.default_rng(1000 + seed)
    rates = np.full(EXCITATORY + INHIBITORY, RATE)
    trains = rs.SpikeTrains.from_lists(
        [poisson_trains(rates, WINDOW, STEP, rng)], t0=0.0, t1=WINDOW, num_neurons=rates.size
    )
    return trains[0]


def protocol(seed: int) -> rs.Protocol:
    """What is done in a trial."""
    return rs.Protocol(
        0.0, WINDOW, STEP, max_spikes=ROOM, input_current=LEAK, input_spikes=inputs(seed)
    )


ENGINE = rs.ClockEngine(surrogate=rs.SuperSpike())
STEPS = int(WINDOW / STEP)


def target() -> np.ndarray:
    """The wanted time course at the ends of the steps."""
    t = STEP * np.arange(1, STEPS + 1)
    return 2 + 1.5 * np.sin(2 * np.pi * t / WINDOW)


def output(trains: rs.SpikeTrains) -> Any:
    """The filtered spikes at the ends of the steps, of shape (trials, steps)."""
    cell = jnp.round(jnp.where(trains.mask, trains.times, 0) / STEP).astype(jnp.int32) - 1
    row = jnp.arange(len(trains), dtype=jnp.int32)[:, None]
    dtype = trains.times.dtype
    raster = jnp.zeros((len(trains), STEPS), dtype).at[row, cell].add(trains.mask.astype(dtype))
    age = np.arange(STEPS)[None, :] - np.arange(STEPS)[:, None]
    kernel = np.where(age >= 0, np.exp(-np.maximum(age, 0) * STEP / FILTER), 0.0)
    return raster @ jnp.asarray(kernel, dtype)


def _of_trials(trains: rs.SpikeTrains) -> Any:
    wanted = jnp.asarray(target(), trains.times.dtype)
    return jnp.mean(jnp.square(output(trains) - wanted[None]), axis=1)


LOSS = rs.MeanLoss(_of_trials)


def weights_of(model: rs.SpikingNetwork) -> Any:
    """What is trained."""
    return model.input_weights


def marks(model: rs.SpikingNetwork) -> Any:
    """The same as a tree of bools."""
    return eqx.tree_at(weights_of, jax.tree.map(lambda _: False, model), True)


def estimates(seed: int, law: rs.estimators.AbstractPerturbation, trials: int, blocks: int) -> Any:
    """Estimates of the gradient, one for each block of trials, shape (blocks, inputs); and the
    number of spikes of a trial."""
    model, rule = network(seed), rs.ConductancePerturbation(law)
    simulation = rs.Simulation(protocol(seed), trials, ENGINE)

    @eqx.filter_jit
    def one(key):
        found = rule(model, simulation, LOSS, key, trainable=marks(model))
        return found.gradient.input_weights[:, 0], jnp.mean(
            found.generated.counts, dtype=found.value.dtype
        )

    keys = jr.split(jr.key(seed), blocks)
    pairs = [one(key) for key in keys]
    return np.stack([np.asarray(g) for g, _ in pairs]), float(np.mean([n for _, n in pairs]))


def differences(seed: int, law: Any, trials: int, blocks: int, step: float = 0.05) -> np.ndarray:
    """Central differences of the loss averaged over the same perturbations, in each weight, with
    steps that leave it its sign."""
    model, calm = network(seed), protocol(seed)
    empty = rs.CurrentOnGrid(STEP * np.arange(STEPS), np.zeros((STEPS, 1)), "previous")

    def losses(weights, key):
        moved = eqx.tree_at(weights_of, model, weights)

        def one(key):
            put_in = [law.draw(k, STEPS, 1, STEP, weights.dtype)[0] for k in jr.split(key)]
            given = [eqx.tree_at(lambda c: c.values, empty, x) for x in put_in]
            current = rs.InputConductances(*given, current=LEAK)
            own = eqx.tree_at(lambda p: p.input_current, calm, current)
            trains = ENGINE.spike_trains(moved, own, key=key, num_samples=1, throw=False)
            return _of_trials(trains.without_presence())[0]

        return jnp.mean(jax.vmap(one)(jr.split(key, trials)))

    @jax.jit
    def slopes(key):
        base = weights_of(model)
        steps = jnp.minimum(step, 0.9 * jnp.abs(base[:, 0]))
        units = steps[:, None, None] * jnp.eye(EXCITATORY + INHIBITORY)[:, :, None]

        def slope(e):
            return losses(base + e, key) - losses(base - e, key)

        return jax.lax.map(slope, units) / (2 * steps)

    keys = jr.split(jr.key(5000 + seed), blocks)
    return np.mean([np.asarray(slopes(key)) for key in keys], axis=0)


def compare(seed: int, law: Any, trials: int, blocks: int, checked: int) -> dict[str, Any]:
    """Estimates of the rule beside differences.

    Args:
        seed: of the network.
        law: of the perturbation.
        trials: of a block.
        blocks: how many.
        checked: blocks of the differences.
    """
    found, spikes = estimates(seed, law, trials, blocks)
    true = differences(seed, law, trials, checked)
    mean = found.mean(0)
    error = found.std(0, ddof=1) / blocks**0.5 if blocks > 1 else np.full_like(mean, np.nan)
    parts = {"all": slice(None), "excitatory": slice(0, EXCITATORY)}
    result: dict[str, Any] = {
        "estimate": mean.tolist(), "error": error.tolist(), "differences": true.tolist(),
        "spikes": spikes, "variance": float(found.var(0, ddof=1).sum() * trials),
    }  # fmt: skip
    for name, part in parts.items():
        a, b = mean[part], true[part]
        result[f"cosine {name}"] = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        result[f"ratio {name}"] = float(np.linalg.norm(a) / np.linalg.norm(b))
    return result


def learn(seed: int, updates: int, rate: float, baseline: str) -> dict[str, Any]:
    """Learn the time course: the reward over updates, and the output before and after.

    Args:
        seed: of the network.
        updates: how many.
        rate: of the descent.
        baseline: of the rule.
    """
    start = start_of_learning(seed)
    signs = np.where(np.arange(EXCITATORY + INHIBITORY) < EXCITATORY, 1.0, -1.0)[:, None]

    def keep_signs(step, model, generated, key):
        sign = jnp.asarray(signs, model.input_weights.dtype)
        return eqx.tree_at(weights_of, model, sign * jnp.maximum(sign * model.input_weights, 0))

    rule = rs.ConductancePerturbation(rs.WhitePerturbation(SCALE), baseline=baseline)
    result = rs.fit(
        start, None, simulate=rs.Simulation(protocol(seed), BATCH, ENGINE, throw=False), loss=LOSS,
        optimiser=optax.sgd(rate), num_steps=updates, key=jr.key(seed), estimator=rule,
        trainable=weights_of, between_steps=keep_signs, log_every=updates, progress=False,
    )  # fmt: skip
    losses = np.asarray(result.history["loss"], float)
    courses, rewards = [], []
    for model in (start, result.model):
        trains = ENGINE.spike_trains(model, protocol(seed), key=jr.key(0), num_samples=1)
        courses.append(np.asarray(output(trains.without_presence())[0])[::4].tolist())
        rewards.append(-float(LOSS(trains.without_presence())))
    return {
        "rewards": (-losses).tolist(), "before": courses[0], "after": courses[1],
        "reward before": rewards[0], "reward after": rewards[1],
        "weights": np.asarray(result.model.input_weights)[:, 0].tolist(),
    }  # fmt: skip
