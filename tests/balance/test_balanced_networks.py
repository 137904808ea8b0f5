"""Balanced networks: what they do is what loops written apart and closed forms say."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from roughsnn.balance import (
    BalancedNetwork,
    CurrentRule,
    SpikeVoltageRule,
    VoltageRule,
    distance_to,
    leaky_readout,
    matched_decoder,
    optimal_network,
    recovered_dynamics,
    refitted_decoder,
    solve_balanced,
)

N, J, STEPS, DT, LEAK = 6, 2, 400, 0.01, 2.0
DYNAMICS = np.array([[-1.0, -3.0], [3.0, -1.0]])


def network() -> BalancedNetwork:
    angles = 2 * np.pi * np.arange(N) / N
    encoder = 0.3 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return optimal_network(encoder, cost=0.02, dynamics=DYNAMICS, leak=LEAK)


def inputs_and_targets() -> tuple[np.ndarray, np.ndarray]:
    inputs = np.asarray(4 * jr.normal(jr.key(0), (STEPS, J)))
    x, targets = np.zeros(J), []
    for c in inputs:
        x = x + DT * (DYNAMICS @ x + c)
        targets.append(x)
    return inputs, np.array(targets)


def loop(net, inputs, targets, feedback, firing, rules, update_every, cost=0.0):
    """Written apart, with sums over single synapses; rules as names with their numbers."""
    encoder, threshold, decoder = (np.asarray(a) for a in (net.encoder, net.threshold, net.decoder))
    fast, slow = np.array(net.fast), np.array(net.slow)
    decay = math.exp(-LEAK * DT)
    v, r, error = np.zeros(N), np.zeros(N), np.zeros(J)
    potentials, spikes = [], []
    fast_step, slow_step, spike_step = (np.zeros((N, N)) for _ in range(3))
    drawn = np.zeros(N)
    for n in range(STEPS):
        seen, sent = encoder @ error, r
        if "voltage" in rules:
            fast_step += DT / rules["voltage"] * np.outer(v, r)
        if "current" in rules:
            slow_step += rules["current"] * DT * np.outer(seen, r)
        drive = encoder @ inputs[n] + feedback * seen
        start = v
        v = decay * (v + DT * slow @ r) + (1 - decay) / LEAK * drive
        r = decay * r
        above = np.flatnonzero(v > threshold)
        if firing == "one" and above.size:
            above = [int(np.argmax(v - threshold))]
        crest = v.copy()
        fired = np.zeros(N, bool)
        for k in above:
            if rules["spike"]:
                crossing = start + (crest - start) * min(
                    max((threshold[k] - start[k]) / (crest[k] - start[k]), 0), 1
                )
                spike_step[:, k] += rules["spike"] * (crossing + cost * sent)
                drawn[k] += (threshold[k] + cost * sent[k]) / (2 * threshold[k] - cost)
            v = v - fast[:, k]
            r[k] += 1
            fired[k] = True
        error = targets[n] - decoder @ r
        potentials.append(v)
        spikes.append(fired)
        if (n + 1) % update_every == 0:
            fast += np.where(np.eye(N), 0, fast_step)
            spike_step -= rules["spike"] * fast * drawn
            fast += np.where(np.eye(N), 0, spike_step)
            slow += slow_step
            fast_step, slow_step, spike_step = (np.zeros((N, N)) for _ in range(3))
            drawn = np.zeros(N)
    return np.array(potentials), np.array(spikes), r, fast, slow


@pytest.mark.parametrize(("firing", "cost"), [("one", 0.02), ("all", 0.0)])
def test_runs_and_rules_are_those_of_a_loop_written_apart(firing, cost):
    net = network()
    inputs, targets = inputs_and_targets()
    rules = (VoltageRule(50.0), SpikeVoltageRule(0.01, cost=cost), CurrentRule(jnp.asarray(0.5)))
    solution = solve_balanced(
        net, inputs, DT, targets=targets, feedback=3.0, rules=rules, update_every=4, firing=firing
    )
    named = {"voltage": 50.0, "spike": 0.01, "current": 0.5}
    v, spikes, r, fast, slow = loop(net, inputs, targets, 3.0, firing, named, 4, cost)
    np.testing.assert_array_equal(solution.spikes, spikes)
    assert spikes.sum() > 30
    assert (spikes.sum(axis=1).max() > 1) == (firing == "all")
    # the same sums in another order
    for found, expected in [
        (solution.v, v),
        (solution.state.rates, r),
        (solution.network.fast, fast),
        (solution.network.slow, slow),
    ]:
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert np.abs(fast - net.fast).max() > 1e-3
    assert np.abs(slow - net.slow).max() > 1e-3
    readout = leaky_readout(solution.spikes, net.decoder, DT, LEAK)
    np.testing.assert_allclose(readout, solution.readout, rtol=1e-9, atol=1e-12)


def test_potentials_of_the_optimal_network_are_the_projected_errors():
    """V = F (x - D r) - mu r at every step, for a signal that is its input filtered; so a spike
    lowers the loss, and the error stays within reach of one spike."""
    cost, net = 0.02, optimal_network(network().encoder, cost=0.02, leak=LEAK)
    inputs, _ = inputs_and_targets()
    inputs = inputs / 4 + 2.0
    solution = solve_balanced(net, inputs, DT)
    decay, x, signal = math.exp(-LEAK * DT), np.zeros(J), []
    for c in inputs:
        x = decay * x + (1 - decay) / LEAK * c
        signal.append(x)
    error = np.array(signal) - solution.readout
    expected = error @ net.encoder.T - cost * solution.rates
    np.testing.assert_allclose(solution.v, expected, atol=1e-12)
    assert np.abs(error).max() < 0.4  # a spike moves the readout by 0.3
    np.testing.assert_allclose(recovered_dynamics(network()), DYNAMICS, atol=1e-12)


def autapse(drive: float, tau: float, end: float) -> float:
    """The weight of a single neuron from spike to spike, by the integral of V r in closed form, in
    units in which the encoder is 1."""
    time = v = r = 0.0
    weight = 2.0
    while True:
        wait = math.log((drive - v) / (drive - 0.5))
        last, wait = time + wait > end, min(wait, end - time)
        kept = math.exp(-wait)
        weight += r * (drive * (1 - kept) + (v - drive) * (1 - kept**2) / 2) / tau
        if last:
            return weight
        time, r, v = time + wait, r * kept + 1, 0.5 - weight


def test_the_autapse_of_a_single_neuron_learns_the_reset():
    one = jnp.ones((1, 1))
    net = BalancedNetwork(one, 2 * one, threshold=jnp.full(1, 0.5))
    dt0, steps = 0.001, 20_000
    solution = solve_balanced(
        net, np.full((steps, 1), 2.0), dt0, rules=(VoltageRule(5.0, fixed_resets=False),)
    )
    expected = autapse(2.0, 5.0, steps * dt0)
    # a spike waits for the end of its step, so the threshold is higher by dV/dt dt0 / 2 on average
    assert abs(float(solution.network.fast[0, 0]) - expected) < 2 * dt0
    assert expected < 1.1


def test_noise_is_an_ornstein_uhlenbeck_process_and_runs_go_on():
    encoder = jnp.ones((400, 1))
    net = BalancedNetwork(encoder, 1e6 * jnp.eye(400), leak=LEAK, noise=3.0)
    run = jax.jit(
        lambda key, state: solve_balanced(net, jnp.zeros((200, 1)), DT, state=state, key=key)
    )
    first = run(jr.key(0), None)
    second = run(jr.key(1), first.state)
    # sigma^2 / 2 lambda with 400 neurons: 7 % is the standard error, four of them
    assert abs(float(jnp.var(second.v[-1])) / (9 / 2 / LEAK) - 1) < 0.28
    correlation = np.corrcoef(np.asarray(first.v[-1]), np.asarray(second.v[0]))[0, 1]
    assert correlation > 0.95


def test_single_precision_and_spike_trains():
    inputs, targets = inputs_and_targets()
    with jax.enable_x64(False):
        net = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), network())
        solution = solve_balanced(
            net, inputs[:100], DT, targets=targets[:100], rules=(CurrentRule(0.5),)
        )
        trains = solution.spike_trains(t0=1.0)
        assert solution.network.slow.dtype == trains.times.dtype == jnp.float32
    assert trains.counts_by_neuron.sum() == solution.spikes.sum() > 3
    np.testing.assert_array_equal(trains.counts_by_neuron, solution.spikes.sum(axis=0))


def test_a_refitted_decoder_and_distances():
    rates = np.asarray(jr.normal(jr.key(3), (50, N)))
    decoder = np.asarray(jr.normal(jr.key(4), (J, N)))
    np.testing.assert_allclose(refitted_decoder(rates, rates @ decoder.T), decoder, atol=1e-10)
    # whole numbers are numbers
    np.testing.assert_allclose(
        leaky_readout(np.eye(2, dtype=int), np.array([[1, 2]]), 1.0, 0.5)[:, 0],
        [1, np.exp(-0.5) + 2],
    )
    mean, largest = distance_to(jnp.array([[1.0, 2.0], [3.0, 2.0]]), 2 * jnp.ones((2, 2)))
    assert float(mean) == 2 / 16
    assert float(largest) == 1 / 4


def test_bad_arguments_are_refused():
    net = network()
    good = np.zeros((10, J))
    with pytest.raises(ValueError, match=r"`encoder` has shape \(4, 0\); it must be \(N, J\)"):
        optimal_network(np.zeros((4, 0)))
    with pytest.raises(ValueError, match="`threshold` must be positive"):
        optimal_network(np.zeros((4, 1)))
    with pytest.raises(ValueError, match=r"`dynamics` must have shape \(2, 2\)"):
        optimal_network(net.encoder, dynamics=np.eye(3))
    with pytest.raises(ValueError, match="`tau` must be positive"):
        VoltageRule(0.0)
    with pytest.raises(ValueError, match="`rate` must be less than 1"):
        SpikeVoltageRule(1.5)
    for arguments, message in [
        (dict(inputs=np.zeros((10, 3))), r"`inputs` has shape \(10, 3\)"),
        (dict(inputs=good, targets=np.zeros((9, J))), r"`targets` has shape \(9, 2\)"),
        (dict(inputs=good, update_every=3), "`update_every` is 3 and there are 10 steps"),
        (dict(inputs=good, feedback=1.0), "`targets` is missing"),
        (dict(inputs=good, rules=(CurrentRule(1.0),)), "`targets` is missing"),
        (dict(inputs=good, dt0=0.0), "`dt0` must be positive"),
        (dict(inputs=good, dt0=0.6), r"longer than the time constant 1 / leak = 0\.5"),
        (dict(inputs=good, targets=good, feedback=101.0), "overshot within one step"),
        (dict(inputs=good * np.nan), "`inputs` must be finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            solve_balanced(net, **({"dt0": DT} | arguments))
    with pytest.raises(ValueError, match="`decoder` must be finite"):
        leaky_readout(np.eye(2), np.array([[np.nan, 0.0]]), DT, LEAK)
    with pytest.raises(ValueError, match="`rates` must be finite"):
        refitted_decoder(good * np.nan, good)
    noisy = eqx.tree_at(lambda n: n.fast, optimal_network(net.encoder, noise=1.0), net.fast)
    with pytest.raises(ValueError, match="`key` is missing"):
        solve_balanced(noisy, good, DT)


def test_a_learning_rate_at_which_weights_diverge_is_said():
    inputs, _ = inputs_and_targets()
    with pytest.raises(ValueError, match=r"are not finite\. Take a smaller learning rate"):
        solve_balanced(network(), inputs * 1e3, DT, rules=(VoltageRule(1e-9),))


def test_what_a_matched_decoder_misses_is_in_the_potentials():
    """Whatever the fast connections, z - D r = F^+ V, with z what the network receives, filtered:
    a loop over the steps of z here, for connections that are off by a third."""
    net, (inputs, _) = network(), inputs_and_targets()
    off = 1 + 0.3 * np.random.default_rng(0).uniform(-1, 1, (N, N))
    net = eqx.tree_at(lambda n: n.fast, net, net.fast * off)
    decoder = np.asarray(matched_decoder(net))
    net = eqx.tree_at(
        lambda n: (n.decoder, n.slow),
        net,
        (jnp.asarray(decoder), net.encoder @ (DYNAMICS + LEAK * np.eye(J)) @ decoder),
    )
    solution = solve_balanced(net, inputs, DT)
    decay = math.exp(-LEAK * DT)
    z, readout, inverse = np.zeros(J), np.zeros(J), np.linalg.pinv(np.asarray(net.encoder))
    for n in range(STEPS):
        z = decay * (z + DT * (DYNAMICS + LEAK * np.eye(J)) @ readout)
        z = z + (1 - decay) / LEAK * inputs[n]
        readout = decoder @ np.asarray(solution.rates[n])
        # rounding of double precision, summed over the steps
        np.testing.assert_allclose(z - readout, inverse @ np.asarray(solution.v[n]), atol=1e-12)
    assert np.any(solution.spikes)
    np.testing.assert_allclose(
        matched_decoder(optimal_network(net.encoder)), net.encoder.T, atol=1e-14
    )
