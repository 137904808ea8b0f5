import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roughsnn.gated import BoxGate, CumulativeGate, RaisedCosineGate
from roughsnn.gated._turns import cos_turns, sin_turns


def _smoothstep(v):
    x = (v - 0.6) / 0.4
    return x * x * (3 - 2 * x)


GATES = {
    "raised cosine": RaisedCosineGate(0.3),
    "wide": RaisedCosineGate(0.95),
    "below the threshold": RaisedCosineGate(0.2, top=0.8),
    "box": BoxGate(0.3),
    "box with sharp edges": BoxGate(0.5, edge=0.01),
    "box without a plateau": BoxGate(0.5, edge=0.5),
    "own": CumulativeGate(_smoothstep, 0.6),
}


@pytest.fixture(params=GATES.values(), ids=GATES)
def gate(request):
    return request.param


def test_the_area_is_one(gate):
    lower, upper = gate.zone
    nodes, weights = np.polynomial.legendre.leggauss(60)
    # in 64 panels, so that edges lie in panels of their own size
    ends = np.linspace(lower, upper, 65)
    v = (ends[:-1, None] + ends[1:, None]) / 2 + np.diff(ends)[:, None] / 2 * nodes
    area = np.sum(np.asarray(gate.density(jnp.asarray(v))) * weights * np.diff(ends)[:, None] / 2)
    # the panels that hold the end of an edge meet a kink of the second derivative
    assert abs(area - 1) < 1e-6
    ends = gate.cumulative(jnp.asarray([-3.0, 0.0, lower, upper, 1.0, 4.0]))
    np.testing.assert_allclose(ends, [0, 0, 0, 1, 1, 1], atol=1e-15)


def test_the_gate_is_the_derivative_of_its_integral(gate):
    v = jnp.linspace(0.0, 1.2, 501) + 1e-4
    slope = jax.vmap(jax.grad(lambda v: gate.cumulative(v)))(v)
    np.testing.assert_allclose(gate.density(v), slope, atol=1e-10)
    step = 1e-6
    difference = (gate.cumulative(v + step) - gate.cumulative(v - step)) / (2 * step)
    # second derivatives are at most 1e3 for the sharpest edge, third 1e6
    np.testing.assert_allclose(gate.density(v), difference, atol=1e-5)
    assert jnp.all(gate.density(v) >= 0)


def test_single_precision_stays(gate):
    v = jnp.linspace(0.0, 1.2, 101, dtype=jnp.float32)
    assert gate.cumulative(v).dtype == gate.density(v).dtype == jnp.float32
    np.testing.assert_allclose(
        gate.cumulative(v), gate.cumulative(v.astype(jnp.float64)), atol=2e-6
    )


def test_sine_and_cosine_of_turns():
    for dtype, tolerance in ((jnp.float64, 1e-14), (jnp.float32, 1e-6)):
        x = jnp.linspace(-2.0, 3.0, 1001, dtype=dtype)
        exact = np.asarray(x, dtype=np.float64) * 2 * np.pi
        np.testing.assert_allclose(sin_turns(x), np.sin(exact), atol=tolerance)
        np.testing.assert_allclose(cos_turns(x), np.cos(exact), atol=tolerance)
        assert sin_turns(x).dtype == dtype


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RaisedCosineGate(0.0), "`width` is 0.0"),
        (lambda: BoxGate(-0.1), "`width` is -0.1"),
        (lambda: BoxGate(0.3, edge=0.7), "`edge` is 0.7"),
        (lambda: CumulativeGate(lambda v: v, 1.0, 0.5), "must end after"),
        (lambda: CumulativeGate(lambda v: 2 * (v - 0.5), 0.6), "must be 0 and 1"),
        (lambda: CumulativeGate(lambda v: jnp.sin(3.5 * jnp.pi * v), 0.0), "must be 0 and 1"),
        (lambda: CumulativeGate(lambda v: jnp.sin(2.5 * jnp.pi * v), 0.0), "falls inside"),
    ],
)
def test_bad_gates_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
