"""Surrogate gradients of random networks by the clock engine, against two witnesses.

A surrogate gradient is not the derivative of the loss, so differences of the loss cannot check it.

1. With smooth spikes (`rs.Relaxed`) the network has a true gradient, by the same code but for the
   spike itself: central differences along random directions of all parameters, for networks with
   delays, refractory periods, conductances, escape noise, noise of the membrane and adaptation,
   dense and sparse. How much the loss bends differs from network to network, so that the best of
   three steps of the difference counts, 1e-5 to 1e-7.
2. With whole spikes: the gradient in weights, leak, threshold and reset of networks of LIF neurons
   against a loop over their equations written apart, for each surrogate and both kinds of reset.

float64; the gradient of a loss in which every step counts otherwise.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs

from ._study import Study, format_table

SIZE, INPUTS, WINDOW, STEP, SAMPLES = 8, 3, 2.0, 0.05, 3
DECAY, CURRENT = 8.0, 0.6
# steps of the differences
DIFFERENCES = (1e-5, 1e-6, 1e-7)
SURROGATES = (
    rs.SuperSpike, rs.AsymptoticSuperSpike, rs.FastSigmoid, rs.SigmoidDerivative, rs.EsserTriangle,
    rs.Arctangent,
)  # fmt: skip


def study(networks: int = 2, directions: int = 3, seed: int = 0) -> Study:
    """Compare.

    Args:
        networks: how many random networks of each kind.
        directions: how many random directions for each.
        seed: of networks and directions.
    """
    with jax.enable_x64(True):
        worst, compared = _smooth(networks, directions, seed)
        apart, spikes = _apart(seed)
    rows = [[f"smooth spikes: {kind}", error] for kind, error in worst.items()]
    rows += [[f"whole spikes: {kind}", error] for kind, error in apart.items()]
    figures = {
        "smooth_largest_error": max(worst.values()),
        "smooth_directions": compared,
        "apart_largest_error": max(apart.values()),
        "apart_spikes": spikes,
    }
    bounds = {"smooth_largest_error": "<= 1e-7", "apart_largest_error": "<= 1e-11"}
    return Study(figures, bounds, format_table(["network", "largest error"], rows))


def _trials(rng):
    steps = [np.sort(rng.choice(round(WINDOW / STEP), 12, replace=False)) for _ in range(SAMPLES)]
    given = [((n + 0.5) * STEP, rng.integers(0, INPUTS, n.size)) for n in steps]
    return rs.SpikeTrains.from_lists(given, t0=0.0, t1=WINDOW, num_neurons=INPUTS)


def _loss(values):
    """Of the raster: each step has a weight of its own."""
    steps = jnp.sin(jnp.arange(values.shape[1], dtype=values.dtype))[None, :, None]
    counts = jnp.sum(values, axis=1)
    return jnp.mean(jnp.sum(values * steps, axis=1) ** 2) + jnp.mean(counts)


@eqx.filter_jit
def _value_and_gradient(model, engine, protocol):
    def value(model):
        trains = engine.spike_trains(model, protocol, key=jr.key(3), num_samples=SAMPLES)
        return _loss(trains.presence.values)

    return eqx.filter_value_and_grad(value)(model)


@eqx.filter_jit
def _value(model, engine, protocol):
    trains = engine.spike_trains(model, protocol, key=jr.key(3), num_samples=SAMPLES)
    return _loss(trains.presence.values)


def _protocol(rng):
    return rs.Protocol(
        0.0, WINDOW, STEP, max_spikes=SIZE * 40, input_spikes=_trials(rng), input_current=CURRENT
    )


def _models(rng):
    """One random network of each kind."""
    weights = rng.normal(0.2, 0.5, (SIZE, SIZE))
    escape = rs.SigmoidIntensity()
    inputs = rng.normal(1.5, 1.0, (INPUTS, SIZE))
    # the same synapses in all networks, so that they are one program
    mask = np.random.default_rng(0).random((SIZE, SIZE)) < 0.5
    delays = rng.uniform(0.6, 4.4, (SIZE, SIZE)).round() * STEP
    v0 = rng.uniform(0.0, 0.4, SIZE)
    lif = rs.LIF(SIZE, mu1=5.0, mu2=DECAY, v0=v0)

    def network(neurons, weights, connections=None, **given):
        return rs.SpikingNetwork(neurons, weights, connections, input_weights=inputs, **given)

    return {
        "LIF, axonal delays, refractory": network(
            lif, weights, axonal_delays=delays[0], refractory=0.12
        ),
        "LIF, conductances, synaptic delays": network(
            lif, weights, mask, synapses=rs.ConductanceSynapses(), synaptic_delays=delays
        ),
        "escape noise, membrane noise, adaptation, sparse": network(
            rs.AdaptiveStochasticLIF(
                SIZE, mu1=5.0, mu2=DECAY, sigma=0.3, v0=v0, intensity=escape
            ),
            weights[mask], rs.SparseConnections.from_mask(mask), synaptic_delays=delays[mask],
        ),
        "quadratic, escape noise": network(
            rs.StochasticQuadratic(
                SIZE, mu1=5.0, mu2=DECAY, sigma=None, v0=v0, intensity=escape
            ),
            weights,
        ),
    }  # fmt: skip


def _smooth(networks: int, directions: int, seed: int):
    engine = rs.ClockEngine(
        surrogate=rs.Relaxed(rs.SigmoidDerivative(4.0)), reset="attached", max_delay=5 * STEP
    )
    rng, worst, compared = np.random.default_rng(seed), {}, 0
    for _ in range(networks):
        protocol = _protocol(rng)
        for kind, model in _models(rng).items():
            _, gradient = _value_and_gradient(model, engine, protocol)
            arrays, rest = eqx.partition(model, eqx.is_inexact_array)
            leaves, tree = jax.tree.flatten(arrays)
            slopes = jax.tree.leaves(gradient)
            norm = np.sqrt(sum(float(jnp.sum(g**2)) for g in slopes))
            for _ in range(directions):
                moves = [rng.normal(size=x.shape) for x in leaves]

                def at(size, leaves=leaves, moves=moves, tree=tree, rest=rest, protocol=protocol):
                    moved = [x + size * d for x, d in zip(leaves, moves, strict=True)]
                    model = eqx.combine(jax.tree.unflatten(tree, moved), rest)
                    return float(_value(model, engine, protocol))

                differences = [(at(step) - at(-step)) / (2 * step) for step in DIFFERENCES]
                product = sum(float(jnp.sum(g * d)) for g, d in zip(slopes, moves, strict=True))
                error = min(abs(difference - product) for difference in differences) / norm
                worst[kind] = max(worst.get(kind, 0.0), error)
                compared += 1
    return worst, compared


def _written_apart(parameters, surrogate, raster, attached, v0):
    """The loss of a network of LIF neurons without delays, by a loop."""
    weights, inputs, leak, threshold, lowest = parameters

    @jax.custom_jvp
    def spike(x):
        return (x >= 0).astype(x.dtype)

    @spike.defjvp
    def _(primals, tangents):
        return spike(primals[0]), surrogate.derivative(primals[0]) * tangents[0]

    def step(state, arriving):
        v, i = state
        v, i = v + STEP * leak * (i + CURRENT - v), i - STEP * DECAY * i
        s = spike(v - threshold)
        share = s if attached else jax.lax.stop_gradient(s)
        v = (1 - share) * v + share * lowest
        return (v, i + s @ weights + arriving @ inputs), s

    start = jnp.broadcast_to(v0, (SAMPLES, SIZE)), jnp.zeros((SAMPLES, SIZE))
    values = jnp.moveaxis(jax.lax.scan(step, start, raster)[1], 0, 1)
    return _loss(values), jnp.sum(values)


def _apart(seed: int):
    rng, worst, spikes = np.random.default_rng(seed + 1), {}, 0
    protocol = _protocol(rng)
    model = eqx.tree_at(
        lambda m: (m.axonal_delays, m.refractory, m.listed), next(iter(_models(rng).values())),
        (None, None, None), is_leaf=lambda x: x is None,
    )  # fmt: skip
    raster, given = np.zeros((round(WINDOW / STEP), SAMPLES, INPUTS)), protocol.input_spikes
    assert given is not None
    for sample in range(SAMPLES):
        for time, n in zip(given.times[sample], given.neurons[sample], strict=True):
            raster[int(time / STEP), sample, int(n)] += 1
    raster, neurons = jnp.asarray(raster), model.neurons
    parameters = [
        model.weights, model.input_weights, neurons.mu1, neurons.v_th, neurons.reset_to,
    ]  # fmt: skip
    for kind in SURROGATES:
        surrogate = kind(3.0)
        for reset in ("attached", "detached"):
            engine = rs.ClockEngine(surrogate=surrogate, reset=reset)
            _, found = _value_and_gradient(model, engine, protocol)

            def loss(parameters, surrogate=surrogate, reset=reset):
                attached = reset == "attached"
                return _written_apart(parameters, surrogate, raster, attached, neurons.v0)

            (_, count), expected = jax.jit(jax.value_and_grad(loss, has_aux=True))(parameters)
            own = [
                found.weights, found.input_weights, found.neurons.mu1, found.neurons.v_th,
                found.neurons.reset_to,
            ]  # fmt: skip
            errors = [
                float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b)))
                for a, b in zip(own, expected, strict=True)
            ]
            worst[f"{kind.__name__}, {reset}"] = max(errors)
            spikes += int(count)
    return worst, spikes
