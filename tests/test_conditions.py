"""Which models are covered by the theorem on pathwise gradients: the cases known by derivation."""

import diffrax as dfx
import jax.numpy as jnp
import jax.random as jr
import pytest

import roughsnn as rs
from tests.solve.models import ball_under_a_ceiling

NAMES = (
    "no immediate refiring",
    "minimal gap",
    "noise tangent to the event surface",
    "transversality",
    "noise commutes with the transition",
)


def _check(sde, y0, args=None, **kwargs):
    return rs.check_conditions(
        sde, 0.0, 2.0, 0.02, y0, key=jr.key(0), num_paths=4, max_events=8, args=args, **kwargs
    )


def _violated(report):
    return {c.name for c in report.conditions if not c.holds}


def _threshold(noise, reset_to_value=False, noise_in=0, rest=2.0):
    """v' = 4 (i + rest - v), i' = -i, a hard threshold v = 1; noise on coordinate `noise_in`."""

    def transition(t, y, k, u, args):
        v = jnp.zeros(()) if reset_to_value else y[0] - 1.0
        return jnp.stack([v, y[1]])

    return rs.EventSDE(
        drift_fn=lambda t, y, args: jnp.stack([4 * (y[1] + rest - y[0]), -y[1]]),
        event_fn=lambda t, y, args: y[:1] - 1,
        transition_fn=transition,
        diffusion_fn=(lambda t, y, args: noise * jnp.eye(2)[:, noise_in : noise_in + 1])
        if noise
        else None,
        noise=(1,) if noise else None,
    )


def _intensity(diffusion, transition_v=lambda v: v - 1.0):
    """v' = 4 (2 - v), s' = exp(v - 1), fires when s reaches 0; noise on v."""
    return rs.EventSDE(
        drift_fn=lambda t, y, args: jnp.stack([4 * (2 - y[0]), jnp.exp(y[0] - 1)]),
        event_fn=lambda t, y, args: y[1:],
        transition_fn=lambda t, y, k, u, args: jnp.stack([transition_v(y[0]), jnp.log(u) - 0.05]),
        diffusion_fn=lambda t, y, args: jnp.stack([diffusion(y), jnp.zeros(())])[:, None],
        noise=(1,),
    )


def _noise_by_current(jump):
    """As `_intensity`, with a third coordinate i, the strength of the noise in v, that grows by
    `jump` at every spike."""
    return rs.EventSDE(
        drift_fn=lambda t, y, args: jnp.stack([4 * (2 - y[0]), jnp.exp(y[0] - 1), -y[2]]),
        event_fn=lambda t, y, args: y[1:2],
        transition_fn=lambda t, y, k, u, args: jnp.stack(
            [y[0] - 1.0, jnp.log(u) - 0.05, y[2] + jump]
        ),
        diffusion_fn=lambda t, y, args: jnp.stack([0.5 * y[2], 0 * y[2], 0 * y[2]])[:, None],
        noise=(1,),
    )


Y0 = jnp.array([0.0, -0.5])


@pytest.mark.parametrize("sigma", [None, 0.5, 0.3 * jnp.array([[1.0, 0.2], [0.1, 1.0]])])
def test_stochastic_lif_is_covered_with_any_constant_noise(sigma):
    neuron = rs.StochasticLIF(2, sigma=sigma)
    report = _check(neuron, neuron.initial_state, args=jnp.asarray(1.5))
    assert report.holds, str(report)
    assert tuple(c.name for c in report.conditions) == NAMES


def test_network_of_them_is_covered():
    network = rs.SpikingNetwork(rs.StochasticLIF(3, sigma=0.2 * jnp.eye(2)), 0.3 * jnp.ones((3, 3)))
    report = _check(network, network.initial_state, args=jnp.asarray(1.2))
    assert report.holds, str(report)


@pytest.mark.parametrize(
    ("sde", "violated"),
    [
        # the rows of the table of models: covered ...
        (_intensity(lambda y: jnp.full((), 0.5)), set()),
        (_threshold(0.0), set()),
        (_threshold(0.0, reset_to_value=True), set()),
        (_threshold(0.3, noise_in=1), set()),
        # ... and not
        (_intensity(lambda y: jnp.full((), 0.5), lambda v: 0 * v), {NAMES[4]}),
        (_intensity(lambda y: 0.5 * y[0]), {NAMES[4]}),
        (_threshold(0.3), {NAMES[2]}),
        # noise alone lifts the potential over the threshold, against the drift
        (_threshold(0.9, rest=0.9), {NAMES[2], NAMES[3]}),
        (_threshold(0.3, reset_to_value=True), {NAMES[2], NAMES[4]}),
    ],
    ids=[
        "intensity, additive noise", "threshold, no noise", "threshold, no noise, reset to value",
        "threshold, noise in the current", "intensity, reset to value", "multiplicative noise",
        "threshold, noise in the potential", "the same, against the drift",
        "the same, reset to value",
    ],
)  # fmt: skip
def test_table_of_models(sde, violated):
    report = _check(sde, Y0)
    assert _violated(report) == violated, str(report)


def test_noise_whose_strength_a_spike_does_not_touch_is_covered():
    y0 = jnp.array([0.0, -0.5, 1.0])
    assert _violated(_check(_noise_by_current(0.0), y0)) == set()
    # one that jumps at a spike, as the synaptic current of a network does, is not
    assert _violated(_check(_noise_by_current(0.4), y0)) == {NAMES[4]}


@pytest.mark.parametrize(
    ("w0", "x0", "grazes"),
    [
        (1.0, -0.75, True),
        # a touch is found beside the regular events of the ramp, and where it is all there is
        (1 + 1e-13, -10.0, True),
        (1.125, -0.75, False),
        (1.125, -10.0, False),
        # below the ceiling only the ramp fires
        (0.875, -0.75, False),
    ],
)
def test_a_threshold_that_is_only_touched_is_not_covered(w0, x0, grazes):
    report = rs.check_conditions(
        ball_under_a_ceiling(), 0.0, 3.0, 0.25, jnp.array([0.0, w0, x0]), key=jr.key(0),
        num_paths=1, max_events=4, solver=dfx.Heun(),
    )  # fmt: skip
    assert _violated(report) == ({NAMES[3]} if grazes else set()), str(report)
    if grazes:
        found = report.conditions[3]
        # the touch is at t = 2 w0; the rise of height there is an error of sqrt(1e-13)
        assert abs(found.time - 2) < 1e-6
        assert found.component == 0
        assert "grazes zero" in str(report)


def test_no_minimal_gap_without_alpha():
    class NoAlpha(rs.StochasticLIF):
        def transition(self, t, y, event_index, mark, args):
            new = super().transition(t, y, event_index, mark, args)
            return new._replace(s=jnp.where(new.s < y.s, new.s + self.alpha, new.s))

    neuron = NoAlpha(1, sigma=0.2)
    report = _check(neuron, neuron.initial_state, args=jnp.asarray(1.5))
    assert NAMES[1] in _violated(report), str(report)


def test_immediate_refiring_is_found():
    sde = rs.EventSDE(
        drift_fn=lambda t, y, args: jnp.ones_like(y),
        event_fn=lambda t, y, args: y,
        transition_fn=lambda t, y, k, u, args: jnp.zeros_like(y),
    )
    report = _check(sde, jnp.array([-0.5]))
    assert NAMES[0] in _violated(report)


def test_report_names_the_place_and_raises():
    report = _check(_threshold(0.3), Y0)
    with pytest.raises(rs.ConditionsError, match=r"VIOLATED.*noise tangent"):
        report.raise_if_violated()
    assert "component 0 at t = " in str(report)
    assert "intensity" in str(report)


def test_silent_model_is_refused():
    neuron = rs.StochasticLIF(1, v_th=50.0)
    with pytest.raises(ValueError, match="No event happened on 4 paths"):
        _check(neuron, neuron.initial_state)
