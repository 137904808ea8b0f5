"""Jumps of the driver by the Marcus rule against closed forms: flow, two at once, events in a jump.

dy = -y dt + y o dX takes y to y exp(X - t), jumps of X included: the field depends on the state, so
that a jump is the flow of an equation in fictitious time. Two drivers whose fields do not commute
and that jump at once take y along the matrix exponential of the sum, and one after the other along
a product of two. A jump that lifts y over a level is interrupted there by the event, and the rest
of it acts on what the transition left; one that is high enough does so again and again.
"""

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy.linalg import expm

import roughsnn as rs

from ._study import Study, format_table

# what a transition leaves of the state
KEPT = 0.05
A, B = np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [1.0, 0.3]])
START = np.array([1.0, -0.5])


def study() -> Study:
    """Run the comparison."""
    rows, figures = [], {}

    def compare(name, figure, ours, exact):
        error = float(np.max(np.abs(np.asarray(ours) / np.asarray(exact) - 1)))
        rows.append([name, error])
        figures[figure] = max(figures.get(figure, 0.0), error)

    with jax.enable_x64(True):
        three = run([0.33, 0.7, 1.0], [1.0, -0.4, 0.7]).final_state
        compare("a field that depends on the state, three jumps", "flow_error", three, np.exp(0.3))
        at_once = matrix_end([0.5, 0.5], [[0.8, 0.0], [0.0, -1.1]])
        apart = matrix_end([0.4, 0.5], [[0.8, 0.0], [0.0, -1.1]])
        compare(
            "two jumps at once, fields that do not commute", "two_at_once_error",
            at_once, expm(0.8 * A - 1.1 * B) @ START,
        )  # fmt: skip
        compare(
            "the same jumps, one after the other", "one_by_one_error",
            apart, expm(-1.1 * B) @ expm(0.8 * A) @ START,
        )  # fmt: skip
        one = run([0.5], [4.0], level=10.0)
        (one_left,) = jax.tree.leaves(one.event_ys_left)
        compare("a jump that triggers an event: its time", "event_error", one.event_times[0], 0.5)
        compare("state before it", "event_error", one_left[0], 10.0)
        compare("state at the end", "event_error", one.final_state, KEPT * np.exp(4 - 1))
        many = run([0.5], [9.0], level=10.0)
        compare(
            "three events in one jump: state at the end", "event_error",
            many.final_state, KEPT**3 * np.exp(9 - 1),
        )  # fmt: skip
        figures["events_in_one_jump"] = float(many.num_events)
        figures["difference_of_orders"] = float(np.max(np.abs(np.asarray(at_once - apart))))
    bounds = {name: "<= 1e-8" for name in figures if name.endswith("error")}
    bounds |= {"events_in_one_jump": "between 3 and 3", "difference_of_orders": ">= 0.01"}
    return Study(figures, bounds, format_table(["case", "largest relative error"], rows))


def decay_times_jumps(level: float = 1e6) -> rs.EventSDE:
    """dy = -y dt + y o dX, which X takes to y exp(X - t); it fires at `level` and loses 95 %."""
    return rs.EventSDE(
        drift_fn=lambda t, y, args: -y,
        event_fn=lambda t, y, args: y - level,
        transition_fn=lambda t, y, k, u, args: KEPT * y,
        diffusion_fn=lambda t, y, args: y[:, None],
        noise=(1,),
    )


def run(times, sizes, *, level: float = 1e6) -> rs.EventSolution:
    """Its solution on [0, 1] from 1, by a method of order 8 in steps of 0.1."""
    driver = rs.JumpPath(jnp.asarray(times, float), jnp.asarray(sizes, float)[:, None])
    return rs.eventsolve(
        decay_times_jumps(level), 0.0, 1.0, 0.1, jnp.ones(1), key=jr.key(0), max_events=5,
        driver=driver, solver=dfx.Dopri8(), save_event_states=True,
    )  # fmt: skip


def matrix_end(times, sizes):
    """The end of dz = A z o dX_1 + B z o dX_2, where X_1 and X_2 do nothing but jump."""
    a, b = jnp.asarray(A), jnp.asarray(B)
    sde = rs.EventSDE(
        drift_fn=lambda t, y, args: jnp.zeros_like(y),
        event_fn=lambda t, y, args: y[:1] - 1e6,
        transition_fn=lambda t, y, k, u, args: y,
        diffusion_fn=lambda t, y, args: jnp.stack([a @ y, b @ y], axis=1),
        noise=(2,),
    )
    driver = rs.JumpPath(jnp.asarray(times), jnp.asarray(sizes))
    return rs.eventsolve(
        sde, 0.0, 1.0, 0.25, jnp.asarray(START), key=jr.key(0), max_events=1, driver=driver
    ).final_state
