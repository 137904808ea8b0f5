"""Models and references that several tests of the solver share."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import roughsnn as rs


class FixedMarkLIF(rs.StochasticLIF):
    """Every spike draws u = 0.5."""

    def mark(self, key):
        return jnp.asarray(0.5)


def lif(params, num_neurons=1):
    """A neuron from a dict that may hold any of its parameters."""
    names = ("mu1", "mu2", "sigma", "v_reset", "v_th", "beta", "tau_s", "alpha")
    return rs.StochasticLIF(num_neurons, **{n: params[n] for n in names if n in params})


LIF_PARAMETERS = {
    "c": jnp.asarray(1.5),
    "sigma": jnp.asarray(0.5),
    "mu1": jnp.asarray(15.0),
    "v_reset": jnp.asarray(1.4),
    "alpha": jnp.asarray(0.03),
    "beta": jnp.asarray(5.0),
    "tau_s": jnp.asarray(1.0),
    "v_th": jnp.asarray(1.0),
    "v0": jnp.asarray(0.1),
}


def ball_under_a_ceiling():
    """A ball thrown up with speed w0 under a ceiling at height 1: v' = w, w' = -1/2. It reaches
    w0^2, and touches the ceiling without crossing it at t = 2 for w0 = 1. A touch takes 1 off v.
    Beside it a ramp that fires at 1. In dyadic numbers Heun's scheme is exact on both."""
    return rs.EventSDE(
        lambda t, y, args: jnp.stack([y[1], jnp.full((), -0.5), jnp.ones(())]),
        lambda t, y, args: jnp.stack([y[0] - 1, y[2] - 1]),
        lambda t, y, k, u, args: y - jnp.where(k == 0, jnp.eye(3)[0], jnp.eye(3)[2]),
    )


def ramps(slopes, shifts, *, level=0.0):
    """Components that rise with constant slopes and fire at `level`; an event of component k adds
    `shifts[k]` to the state."""
    slopes, shifts = jnp.asarray(slopes, float), jnp.asarray(shifts, float)
    return rs.EventSDE(
        drift_fn=jax.tree_util.Partial(_constant, slopes),
        event_fn=jax.tree_util.Partial(_above, jnp.asarray(level)),
        transition_fn=jax.tree_util.Partial(_shifted, shifts),
    )


def _constant(slopes, t, y, args):
    return slopes


def _above(level, t, y, args):
    return y - level


def _shifted(shifts, t, y, k, mark, args):
    return y + shifts[k]


@eqx.filter_jit
def solve(sde, t0, t1, dt0, y0, max_events, key=None, **kwargs):
    key = jax.random.key(0) if key is None else key
    return rs.eventsolve(sde, t0, t1, dt0, y0, key=key, max_events=max_events, **kwargs)


def events(solution):
    """The events of one solution as numpy arrays without padding."""
    n = int(solution.num_events)
    return np.asarray(solution.event_times[:n]), np.asarray(solution.event_indices[:n])


def same_tree(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


DOPRI8 = dfx.Dopri8()
TSIT5 = dfx.Tsit5()
HEUN = dfx.Heun()
