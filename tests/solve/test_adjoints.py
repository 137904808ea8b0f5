"""The engines behind `adjoint` give one and the same derivative."""

import functools

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

import roughsnn as rs
from tests.solve.models import HEUN, TSIT5

EXACT = {
    "reverse": rs.ReverseMode(),
    "stochastic": rs.StochasticAdjoint(),
    "forward": rs.ForwardMode(),
    "traces": rs.EligibilityTraces("full"),
}
K = 8


def _network(seed):
    """Recurrent, with weights of both signs and parameters of its own for every neuron."""
    keys = jr.split(jr.key(seed), 6)
    neurons = rs.StochasticLIF(
        K,
        sigma=None,
        mu1=jr.uniform(keys[0], (K,), minval=5.0, maxval=20.0),
        mu2=jr.uniform(keys[1], (K,), minval=3.0, maxval=8.0),
        v_reset=jr.uniform(keys[2], (K,), minval=0.8, maxval=1.6),
        alpha=jr.uniform(keys[3], (K,), minval=0.01, maxval=0.1),
    )
    weights = 0.2 * jr.normal(keys[4], (K, K))
    return rs.SpikingNetwork(neurons, weights), 0.9 + 0.5 * jr.uniform(keys[5], (K,))


@functools.cache
def _loss(name):
    """Of spike times, states at fixed times and the last state, along one direction."""

    @jax.jit
    def value(flat, unravel_like, key):
        network, current = ravel_pytree(unravel_like)[1](flat)
        solution = rs.eventsolve(
            network, 0.0, 0.8, 0.02, network.initial_state(key), key=key, max_events=64,
            args=current, solver=HEUN, adjoint=EXACT[name],
            saveat=dfx.SaveAt(ts=jnp.array([0.33, 0.61])), throw=False,
        )  # fmt: skip
        times = jnp.where(jnp.isfinite(solution.event_times), solution.event_times, 0)
        states = jnp.sum(solution.ys.v[:, 0]) + jnp.sum(solution.final_state.i**2)
        return jnp.sum(jnp.sin(3 * times)) + states, solution.num_events

    return value, jax.jit(jax.grad(value, has_aux=True))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_engines_and_central_differences_agree_without_noise(seed):
    like = _network(seed)
    flat = ravel_pytree(like)[0]
    key = jr.key(seed)
    value, gradient = _loss("reverse")
    reference, count = gradient(flat, like, key)
    assume(count < 64)
    scale = float(jnp.max(jnp.abs(reference)))
    for name in ("stochastic", "forward", "traces"):
        got = _loss(name)[1](flat, like, key)[0]
        # the same sums in another order
        np.testing.assert_allclose(got, reference, rtol=0, atol=1e-11 * scale, err_msg=name)
    direction = jr.normal(jr.fold_in(key, 1), flat.shape)
    h = 1e-6 / float(jnp.linalg.norm(direction))
    at = [value(flat + i * h * direction, like, key) for i in (-2, -1, 1, 2)]
    if any(n != count for _, n in at):
        return  # a spike enters or leaves the window between the two sides
    f = [float(v) for v, _ in at]
    difference = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h)
    # rounding is divided by h = 1e-6, so near the kinks of the scheme, where a spike meets a grid
    # point, the difference seldom falls
    size = scale * float(jnp.linalg.norm(direction))
    np.testing.assert_allclose(reference @ direction, difference, rtol=0, atol=1e-8 * size)


def _noisy(adjoint, *, stop_after=None, bridge="linear", stored=True, dtype=None, saveat=None):
    neurons = rs.StochasticLIF(3, sigma=0.4, mu1=8.0)
    network = rs.SpikingNetwork(neurons, jnp.array([[0.0, 0.7, -0.2], [0.1, 0, 0.5], [0.4, 0, 0]]))

    def loss(model_and_current, key):
        model, current = model_and_current
        driver = rs.BrownianGrid(0.0, 1.0, 0.02, (3,), jr.key(7), bridge=bridge, stored=stored)
        solution = rs.eventsolve(
            model, 0.0, 1.0, 0.02, model.initial_state(key), key=key, max_events=20, args=current,
            driver=driver, adjoint=adjoint, stop_after=stop_after, save_event_states=True,
            saveat=saveat,
        )  # fmt: skip
        known = solution.event_indices >= 0
        times = jnp.where(known, solution.event_times, 0)
        s_left = jnp.where(known[:, None], solution.event_ys_left.i, 0)
        value = jnp.sum(times**2) + jnp.sum(solution.final_state.v) + jnp.sum(s_left)
        if saveat is not None:
            value = value + jnp.nansum(solution.ys.v)
        return value, solution

    of = eqx.filter_jit(eqx.filter_value_and_grad(loss, has_aux=True))
    (value, solution), gradient = of((network, jnp.array([1.5, 1.3, 1.2])), jr.key(2))
    return float(value), solution, ravel_pytree(gradient)[0]


# Each case is four programs; what does not touch each other stands in one of them.
CASES = [
    dict(stop_after=4),
    dict(
        bridge="bridge",
        saveat=dfx.SaveAt(t0=True, ts=jnp.array([0.7, 0.013, 0.5, 1.0, 0.0]), t1=True),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=",".join)
def test_engines_agree_with_noise(case):
    value, solution, reference = _noisy(rs.ReverseMode(), **case)
    assert int(solution.num_events) > 3
    scale = float(jnp.max(jnp.abs(reference)))
    adjoints = [rs.StochasticAdjoint(), rs.StochasticAdjoint(chunk=7), rs.ForwardMode()]
    for adjoint in adjoints:
        got_value, got, gradient = _noisy(adjoint, **case)
        np.testing.assert_allclose(got_value, value, rtol=1e-13)
        np.testing.assert_allclose(gradient, reference, rtol=0, atol=1e-11 * scale)
        if got.ys is not None:
            np.testing.assert_allclose(got.ts, solution.ts, rtol=1e-15)
            np.testing.assert_allclose(got.ys.v, solution.ys.v, rtol=1e-12)
        assert int(got.stats["num_steps"]) == int(solution.stats["num_steps"])


def test_a_driver_that_is_not_stored_is_the_same_path():
    value, _, reference = _noisy(rs.ReverseMode())
    other_value, _, gradient = _noisy(rs.StochasticAdjoint(), stored=False)
    np.testing.assert_allclose(other_value, value, rtol=1e-13)
    np.testing.assert_allclose(gradient, reference, rtol=1e-9)


def test_the_adjoint_goes_through_jumps_of_the_driver():
    def loss(x, adjoint):
        times, sizes = x
        sde = rs.EventSDE(
            drift_fn=lambda t, y, args: jnp.stack([1.0 + y[1] ** 2, -0.5 * y[1]]),
            event_fn=lambda t, y, args: y[:1] - 1,
            transition_fn=lambda t, y, k, u, args: jnp.stack([y[0] - 1, y[1] + 0.1]),
            diffusion_fn=lambda t, y, args: jnp.stack([0.3 * y[1], jnp.cos(y[1])])[:, None],
            noise=(1,),
        )
        solution = rs.eventsolve(
            sde, 0.0, 2.0, 0.1, jnp.array([0.0, 0.4]), key=jr.key(0), max_events=8,
            driver=rs.JumpPath(times, sizes[:, None]), solver=dfx.Heun(), adjoint=adjoint,
            conditions="ignore",
        )  # fmt: skip
        return jnp.sum(solution.final_state**2) + solution.event_times[0]

    x = (jnp.array([0.33, 0.77, 1.41]), jnp.array([0.5, 0.9, -0.6]))
    a, b, c = (
        ravel_pytree(jax.jit(jax.grad(functools.partial(loss, adjoint=adjoint)))(x))[0]
        for adjoint in (rs.ReverseMode(), rs.StochasticAdjoint(), rs.ForwardMode())
    )
    np.testing.assert_allclose(b, a, rtol=1e-11)
    np.testing.assert_allclose(c, a, rtol=1e-11)


@pytest.mark.parametrize("batch", [0, 3])
def test_batches(batch):
    neuron = rs.StochasticLIF(2, sigma=0.3)

    def loss(neuron, keys, adjoint):
        def one(key):
            times = rs.eventsolve(
                neuron, 0.0, 0.6, 0.05, neuron.initial_state(key), key=key, max_events=9,
                args=jnp.array([1.5, 1.3]), adjoint=adjoint, throw=batch > 0,
            ).event_times  # fmt: skip
            return jnp.sum(jnp.where(jnp.isfinite(times), times, 0))

        return jnp.sum(jax.vmap(one)(keys))

    keys = jr.split(jr.key(3), max(batch, 1))[:batch]
    grads = [
        ravel_pytree(eqx.filter_jit(eqx.filter_grad(loss))(neuron, keys, adjoint))[0]
        for adjoint in (rs.ReverseMode(), rs.StochasticAdjoint(), rs.ForwardMode())
    ]
    for gradient in grads[1:]:
        np.testing.assert_allclose(gradient, grads[0], rtol=1e-10, atol=1e-12)


def test_local_traces_are_exact_where_no_neuron_stands_behind_another():
    # a step of one neuron is cut at the spikes of the others, and the traces hold the place of
    # that cut fixed: an effect of the discretisation, which order 5 in fine steps makes vanish
    sizes = (3, 4, 2)
    mask = rs.layered_connections(*sizes)
    weights = 0.3 * jr.normal(jr.key(1), (9, 9)) + 0.4
    current = jnp.concatenate([jnp.full(3, 1.6), jnp.full(6, 0.7)])
    network = rs.SpikingNetwork(
        rs.StochasticLIF(9, sigma=None, mu1=jnp.linspace(8.0, 15.0, 9)), weights, mask
    )

    def loss(x, counted, adjoint):
        network, current = x
        solution = rs.eventsolve(
            network, 0.0, 1.0, 0.0025, network.initial_state(jr.key(4)), key=jr.key(5),
            max_events=200, args=current, adjoint=adjoint, solver=TSIT5,
        )  # fmt: skip
        chosen = (solution.event_indices >= 0) & counted[solution.event_indices]
        return jnp.sum(jnp.where(chosen, jnp.sin(3 * solution.event_times), 0)), jnp.sum(chosen)

    of = eqx.filter_jit(eqx.filter_grad(loss, has_aux=True))
    last_layer = np.arange(9) >= 7
    (exact, exact_current), spikes = of((network, current), last_layer, rs.ReverseMode())
    (local, local_current), _ = of((network, current), last_layer, rs.EligibilityTraces())
    assert int(spikes) >= 4
    np.testing.assert_allclose(local.weights[3:7, 7:], exact.weights[3:7, 7:], rtol=1e-6)
    assert np.abs(exact.weights[3:7, 7:]).max() > 0
    # parameters of the output neurons themselves
    np.testing.assert_allclose(local.neurons.mu1[7:], exact.neurons.mu1[7:], rtol=1e-6)
    np.testing.assert_allclose(local_current[7:], exact_current[7:], rtol=1e-6)
    # what is left out, as documented: the hidden layer
    np.testing.assert_array_equal(local.weights[:3, 3:7], 0)
    assert np.abs(exact.weights[:3, 3:7]).max() > 0

    # neurons that do not touch each other have exact traces altogether; those of a parameter that
    # they share, such as beta, are added up over the neurons
    apart = eqx.tree_at(lambda n: n.weights, network, jnp.zeros((9, 9)))
    x = apart, jnp.linspace(1.3, 1.7, 9)
    exact, spikes = of(x, np.full(9, True), rs.ReverseMode())
    local, _ = of(x, np.full(9, True), rs.EligibilityTraces())
    assert int(spikes) >= 18
    assert exact[0].neurons.beta.shape == ()
    assert exact[0].neurons.beta != 0
    exact, local = ravel_pytree(exact)[0], ravel_pytree(local)[0]
    np.testing.assert_allclose(local, exact, rtol=1e-6, atol=1e-8 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: rs.EligibilityTraces("global"), ValueError, "recursion"),
        (lambda: rs.StochasticAdjoint(chunk=0), ValueError, "chunk"),
        (lambda: _noisy("reverse"), TypeError, "adjoint"),
        (
            lambda: _noisy(rs.StochasticAdjoint(), saveat=dfx.SaveAt(steps=True)),
            ValueError,
            "saveat.steps",
        ),
    ],
)
def test_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_traces_need_neurons():
    sde = rs.EventSDE(
        drift_fn=lambda t, y, args: jnp.ones_like(y),
        event_fn=lambda t, y, args: y - 1,
        transition_fn=lambda t, y, k, u, args: y - 1,
    )
    with pytest.raises(TypeError, match="neuron_axes"):
        rs.eventsolve(
            sde, 0.0, 1.0, 0.1, jnp.zeros(1), key=jr.key(0), max_events=3,
            adjoint=rs.EligibilityTraces(),
        )  # fmt: skip
