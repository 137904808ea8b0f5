"""With noise, automatic differentiation is the derivative of the discretised path.

Everything here holds on a frozen driver that is piecewise linear on the grid. A path is a smooth
function of the parameters as long as no event crosses a grid point, so a path of which an event
lies within twice the reach of the difference quotient of a grid point is left out.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import roughsnn as rs
from tests.solve.models import HEUN, LIF_PARAMETERS, TSIT5, lif

STEP = 1e-6
# Differences of fourth order: what they leave out is far below the rounding of an event time
# (1e-15 over a step of 1e-6: some 1e-9). 1e-7 of each derivative's scale leaves room.
TOLERANCE = 1e-7

MAX_EVENTS = 12
T1 = 1.0


def _values_and_differences(f, x):
    """f(x) and its Jacobian by central differences of fourth order, all points in one batch."""
    n = x.size
    offsets = jnp.concatenate([step * jnp.eye(n) for step in (1.0, -1.0, 2.0, -2.0)])
    points = x[None] + STEP * jnp.concatenate([jnp.zeros((1, n)), offsets])
    values = jax.vmap(f)(points)

    def difference(a):
        # an event's time is inf where there is none, on all sides
        a = jnp.where(jnp.isinf(a), 0, a)[1:].reshape((4, n) + a.shape[1:])
        slope = (8 * (a[0] - a[1]) - (a[2] - a[3])) / (12 * STEP)
        return jnp.moveaxis(slope, 0, -1)

    return jax.tree.map(lambda a: a[0], values), jax.tree.map(difference, values)


def _clear_of_grid(times, jacobian, dt0):
    """Whether no event meets a grid point while a parameter moves by the two steps."""
    known = np.isfinite(times)
    phase = np.where(known, times, 0) / dt0
    distance = np.abs(phase - np.round(phase)) * dt0
    reach = 4 * STEP * np.abs(jacobian).max(-1) + 1e-12
    return np.all((distance > reach) | ~known, axis=-1)


def _compare(f, x, keys, dt0, *, least, modes=("forward", "reverse")):
    """AD against differences: for every path, event, parameter and state."""
    jacobians = {"forward": jax.jacfwd, "reverse": jax.jacrev}

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(None, 0))
    def everything(x, key):
        g = functools.partial(f, key=key)
        return *_values_and_differences(g, x), [jacobians[mode](g)(x) for mode in modes]

    value, difference, found = everything(x, keys)
    clear = _clear_of_grid(value[0], found[0][0], dt0)
    assert clear.sum() >= least, "too few paths are clear of the grid"
    assert np.isfinite(value[0]).sum(-1)[clear].min() >= 2, "every path must have later spikes"
    for jacobian in found:
        for ours, theirs in zip(jacobian, difference, strict=True):
            ours, theirs = np.asarray(ours)[clear], np.asarray(theirs)[clear]
            assert np.all(np.isfinite(ours))
            assert np.max(np.abs(ours - theirs) / (1 + np.abs(theirs))) < TOLERANCE
    return value, found[0]


def _single_neuron(x, key, *, unravel, dt0, solver):
    p = unravel(x)
    noisy = "sigma" in p
    neuron = lif(p if noisy else p | {"sigma": None})
    start, noise, marks = jax.random.split(key, 3)
    y0 = neuron.initial_state(start)
    y0 = rs.LIFState(p["v0"] * jnp.ones(1), y0.i, y0.s)
    driver = rs.BrownianGrid(0.0, T1, dt0, (1,), noise) if noisy else None
    out = rs.eventsolve(
        neuron, 0.0, T1, dt0, y0, key=marks, max_events=MAX_EVENTS, args=p["c"],
        driver=driver, solver=solver, throw=False,
    )  # fmt: skip
    return out.event_times, out.final_state.v


@pytest.mark.parametrize(
    ("dt0", "modes"),
    [(0.05, ("forward", "reverse")), (0.0025, ("reverse",))],
)
def test_noisy_neuron_with_respect_to_every_parameter(dt0, modes):
    x, unravel = ravel_pytree(LIF_PARAMETERS)
    f = functools.partial(_single_neuron, unravel=unravel, dt0=dt0, solver=None)
    _, (jacobian, _) = _compare(
        f, x, jax.random.split(jax.random.key(1), 16), dt0, least=12, modes=modes
    )
    # no derivative is zero by accident: each parameter moves the second spike of some path
    assert np.all(np.abs(jacobian[:, 1]).max(0) > 1e-3)


def test_neuron_without_noise():
    parameters = {k: v for k, v in LIF_PARAMETERS.items() if k != "sigma"}
    x, unravel = ravel_pytree(parameters)
    f = functools.partial(_single_neuron, unravel=unravel, dt0=0.05, solver=TSIT5)
    _compare(f, x, jax.random.split(jax.random.key(2), 8), 0.05, least=6, modes=("reverse",))


def test_zero_noise_has_a_derivative_with_respect_to_sigma():
    x, unravel = ravel_pytree(LIF_PARAMETERS | {"sigma": jnp.asarray(0.0)})
    f = functools.partial(_single_neuron, unravel=unravel, dt0=0.05, solver=None)
    _compare(f, x, jax.random.split(jax.random.key(3), 8), 0.05, least=6, modes=("reverse",))


def test_two_stage_method_whose_events_need_newtons_method():
    x, unravel = ravel_pytree(LIF_PARAMETERS)
    f = functools.partial(_single_neuron, unravel=unravel, dt0=0.05, solver=HEUN)
    _compare(f, x, jax.random.split(jax.random.key(4), 8), 0.05, least=6, modes=("reverse",))


# --- a recurrent network whose neurons fire in the same cell

K = 4
_rng = np.random.default_rng(0)
NETWORK_PARAMETERS = {
    "weights": jnp.asarray(_rng.uniform(-0.4, 0.8, (K, K))),
    "mu1": jnp.asarray(_rng.uniform(5.0, 7.0, K)),
    "mu2": jnp.asarray(4.0),
    "beta": jnp.asarray(3.0),
    "alpha": jnp.asarray(0.1),
    "sigma": jnp.asarray([[0.4, 0.1], [-0.2, 0.3]]),
    "v_reset": jnp.asarray(1.2),
    "v_th": jnp.asarray(_rng.uniform(0.9, 1.1, K)),
    "c": jnp.asarray(_rng.uniform(1.0, 1.6, K)),
    "v0": jnp.asarray(_rng.uniform(0.0, 0.9, K)),
}
NETWORK_DT = 0.05


def _network(x, key, *, unravel):
    p = unravel(x)
    network = rs.SpikingNetwork(lif(p, K), p["weights"])
    start, noise, marks = jax.random.split(key, 3)
    y0 = network.initial_state(start)
    out = rs.eventsolve(
        network, 0.0, T1, NETWORK_DT, y0._replace(v=p["v0"]), key=marks, max_events=40,
        args=p["c"], driver=rs.BrownianGrid(0.0, T1, NETWORK_DT, (K, 2), noise), throw=False,
    )  # fmt: skip
    return out.event_times, out.final_state.v, out.final_state.i


def test_network_whose_neurons_fire_in_the_same_cell():
    x, unravel = ravel_pytree(NETWORK_PARAMETERS)
    f = functools.partial(_network, unravel=unravel)
    (times, _, _), (jacobian, _, _) = _compare(
        f, x, jax.random.split(jax.random.key(5), 8), NETWORK_DT, least=5
    )
    cells = np.where(np.isfinite(times), times // NETWORK_DT, -1)
    assert max(np.bincount(c[c >= 0].astype(int)).max() for c in cells) >= 2
    # by the later spikes, every parameter matters
    assert np.all(np.abs(jacobian[:, 4:12]).max((0, 1)) > 1e-5)


# --- other ways in


def _quadratic(c, mode):
    """A nonlinear event function, with the parameter passed in one of three ways."""

    def drift(c, t, y, args):
        return jnp.ones(2) * (c if args is None else args) * (1 + 0.3 * y**2)

    def shifted(t, y, k, mark, args):
        return y - 1.0

    if mode == "closure":
        # one that no transformation sees as an argument
        fn, args = (lambda t, y, args: drift(c, t, y, None)), None
    elif mode == "partial":
        fn, args = jax.tree_util.Partial(drift, c), None
    else:
        fn, args = jax.tree_util.Partial(drift, None), c
    sde = rs.EventSDE(fn, lambda t, y, args: jnp.sin(y[:1]), shifted)
    return rs.eventsolve(
        sde, 0.0, 1.0, 0.1, jnp.array([-0.5, -0.4]), key=jax.random.key(0), max_events=5,
        args=args, solver=HEUN, throw=False,
    ).event_times[:2]  # fmt: skip


def test_parameters_reach_the_functions_in_any_way():
    c, h = jnp.asarray(3.0), 1e-6
    value = jax.jit(functools.partial(_quadratic, mode="args"))
    difference = (value(c + h) - value(c - h)) / (2 * h)
    for mode in ("partial", "args", "closure"):
        for jacobian in (jax.jacfwd, jax.jacrev):
            found = jacobian(functools.partial(_quadratic, mode=mode))(c)
            np.testing.assert_allclose(found, difference, atol=1e-8, err_msg=mode)


def test_states_at_given_times_have_the_derivative_of_the_path():
    """States between, before and after events, at times that are held fixed; `steps` too."""
    import diffrax as dfx

    parameters = {"c": LIF_PARAMETERS["c"], "sigma": LIF_PARAMETERS["sigma"]}
    x, unravel = ravel_pytree(parameters)
    ts = jnp.linspace(0.0, T1, 23)

    @eqx.filter_jit
    def f(x):
        p = unravel(x)
        neuron = lif(p)
        out = rs.eventsolve(
            neuron, 0.0, T1, 0.05, neuron.initial_state(jax.random.key(8)),
            key=jax.random.key(6), max_events=MAX_EVENTS, args=p["c"], throw=False,
            driver=rs.BrownianGrid(0.0, T1, 0.05, (1,), jax.random.key(7)),
            saveat=dfx.SaveAt(ts=ts, t1=True),
        )  # fmt: skip
        return jnp.concatenate([out.ys.v, out.ys.s], axis=-1)

    jacobian = jax.jacrev(f)(x)
    difference = _values_and_differences(f, x)[1]
    np.testing.assert_allclose(jacobian, difference, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(jacobian, jax.jacfwd(f)(x), rtol=1e-10, atol=1e-10)
    assert np.abs(difference).max() > 0.1


@pytest.mark.parametrize(("solver", "tolerance"), [(HEUN, 1e-3), (None, 0.05)])
def test_tied_events_of_independent_neurons_keep_their_own_derivatives(solver, tolerance):
    """Two identical deterministic neurons fire together; each spike time depends on its own
    current only, with the derivative of a single neuron, up to the error of the method: the first
    spike cuts the other neuron's step in two, which moves its spike at the order of the step."""
    neuron = rs.StochasticLIF(2, sigma=None)
    y0 = rs.LIFState(jnp.zeros(2), jnp.zeros(2), jnp.full(2, -0.7))

    @jax.jit
    def solution(c):
        return rs.eventsolve(
            neuron, 0.0, 0.4, 0.01, y0, key=jax.random.key(0), max_events=2, args=c,
            stop_after=2, solver=solver, throw=False,
        )  # fmt: skip

    def f(c):
        out = solution(c)
        return out.event_times, (out.event_times, out.event_indices)

    # neurons far from a tie have the derivative of a single one
    slope = jax.grad(lambda c: f(jnp.stack([c, jnp.zeros(())]))[0][0])(jnp.asarray(1.5))
    for jacobian in (jax.jacfwd, jax.jacrev):
        derivative, (times, indices) = jacobian(f, has_aux=True)(jnp.full(2, 1.5))
        np.testing.assert_allclose(times[0], times[1], rtol=1e-12)
        # which one comes first is a matter of rounding, of one compiled program or the other
        assert set(indices.tolist()) == {0, 1}
        expected = slope * np.eye(2)[indices]
        np.testing.assert_allclose(derivative, expected, atol=tolerance)
