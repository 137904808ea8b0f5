"""Spike times, derivatives and tangents of a deterministic neuron, against quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

import roughsnn as rs
from tests.oracles import DETERMINISTIC_LIF
from tests.solve.models import DOPRI8, TSIT5, FixedMarkLIF, solve

MU1, C, V_RESET, ALPHA, U = 15.0, 1.5, 1.4, 0.03, 0.5


@pytest.fixture(scope="module")
def reference():
    """The same numbers to about 1e-13: closed-form potential, adaptive quadrature of the
    intensity, and the recursion for the tangents with respect to c."""
    out, v0, tangent_v0, tangent_s0, start = {}, 0.0, 0.0, 0.0, 0.0
    for n in (1, 2, 3):

        def v(t, v0=v0):
            return C + (v0 - C) * np.exp(-MU1 * t)

        def tangent_v(t, tangent_v0=tangent_v0):
            return 1 + (tangent_v0 - 1) * np.exp(-MU1 * t)

        def intensity(t, v=v):
            return np.exp(5 * (v(t) - 1))

        def integral(f, t):
            return quad(f, 0, t, epsabs=1e-12, epsrel=1e-12)[0]

        h = brentq(lambda t, f=intensity: integral(f, t) + np.log(U) - ALPHA, 1e-3, 1.0, xtol=1e-15)
        tangent_s = tangent_s0 + integral(lambda t, f=intensity, g=tangent_v: 5 * f(t) * g(t), h)
        tau_dot = -tangent_s / intensity(h)
        out |= {f"tau_{n}": start + h, f"tau_{n}_dot": tau_dot, f"v_left_{n}": v(h)}
        v0 = v(h) - V_RESET
        tangent_v0 = tangent_v(h) - MU1 * V_RESET * tau_dot
        tangent_s0 = -np.exp(5 * (v0 - 1)) * tau_dot
        out |= {f"tangent_v_{n}": tangent_v0, f"tangent_s_{n}": tangent_s0}
        start += h
    return out


def test_quadrature_agrees_with_the_published_digits(reference):
    # as many digits as were published: ten, seven for the last
    for name, value in DETERMINISTIC_LIF.items():
        tolerance = 1e-7 if name == "tau_2_dot" else 1e-10
        assert abs(reference[name] - value) < tolerance, name


def _solution(c, solver):
    neuron = FixedMarkLIF(sigma=None)
    y0 = rs.LIFState(jnp.zeros(1), jnp.zeros(1), jnp.log(jnp.full(1, U)) - ALPHA)
    return solve(neuron, 0.0, 0.8, 0.01, y0, 5, args=c, solver=solver, save_event_states=True)


# the study `oracles` shows the first of the two as well
ORDERS = [
    pytest.param(DOPRI8, id="Dopri8", marks=pytest.mark.slow),
    pytest.param(TSIT5, id="Tsit5"),
]


@pytest.fixture(scope="module", params=ORDERS)
def solved(request):
    def f(c):
        out = _solution(c, request.param)
        return out.event_times, out.event_ys_left, out.event_ys_right, out.num_events

    value = f(jnp.asarray(C))
    return value, jax.jacfwd(f)(jnp.asarray(C)), jax.jacrev(lambda c: f(c)[0])(jnp.asarray(C))


# The fifth-order method at dt0 = 0.01 has an error of a few 1e-9 in the derivatives, the
# eighth-order method only rounding.
def test_spike_times_and_left_limits(solved, reference):
    times, left, right, num = solved[0]
    assert num == 3
    for n in (1, 2, 3):
        assert abs(times[n - 1] - reference[f"tau_{n}"]) < 1e-8
        assert abs(left.v[n - 1, 0] - reference[f"v_left_{n}"]) < 1e-8
        assert abs(left.s[n - 1, 0]) < 1e-12
        np.testing.assert_allclose(right.v[n - 1], left.v[n - 1] - V_RESET, atol=1e-15)
        np.testing.assert_allclose(right.s[n - 1, 0], np.log(U) - ALPHA, atol=1e-15)


def test_derivatives_and_tangents(solved, reference):
    (_, _, right, _), (times_dot, _, right_dot, _), times_dot_reverse = solved
    np.testing.assert_allclose(times_dot_reverse[:3], times_dot[:3], rtol=1e-12)
    for n in (1, 2, 3):
        tau_dot = times_dot[n - 1]
        assert abs(tau_dot - reference[f"tau_{n}_dot"]) < 1e-8
        # the derivative of the value at the moving time, less the drift there, is the tangent
        v = right.v[n - 1, 0]
        tangent_v = right_dot.v[n - 1, 0] - MU1 * (C - v) * tau_dot
        tangent_s = right_dot.s[n - 1, 0] - jnp.exp(5 * (v - 1)) * tau_dot
        assert abs(tangent_v - reference[f"tangent_v_{n}"]) < 1e-8 * (1 + abs(tangent_v))
        assert abs(tangent_s - reference[f"tangent_s_{n}"]) < 1e-8


def test_eighth_order_is_at_rounding(reference):
    times = _solution(jnp.asarray(C), DOPRI8).event_times
    for n in (1, 2, 3):
        assert abs(times[n - 1] - reference[f"tau_{n}"]) < 1e-12
