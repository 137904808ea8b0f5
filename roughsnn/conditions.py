"""Which assumption of the theorem on pathwise gradients a model breaks, and where."""

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from ._checks import IntLike, RealLike, whole_number, window
from .event_sde import AbstractEventSDE
from .solve import RESULTS, eventsolve, figures_of_event, report
from .solve import ConditionsError as ConditionsError
from .solve import ConditionsReport as ConditionsReport


def check_conditions(
    sde: AbstractEventSDE,
    t0: RealLike,
    t1: RealLike,
    dt0: RealLike,
    y0: PyTree | Callable[[PRNGKeyArray], PyTree],
    *,
    key: PRNGKeyArray,
    num_paths: IntLike = 16,
    max_events: IntLike = 64,
    args: Any = None,
    solver: dfx.AbstractSolver | None = None,
) -> ConditionsReport:
    r"""Evaluate the assumptions for exact pathwise gradients at the events of simulated paths.

    With $y^-$ the state before an event of component $k$, $y^+ = T_k(y^-, u)$ the one after it:

    - *no immediate refiring*: $E_k(y^+) < 0$;
    - *minimal gap*: the time to the next event of the same component, to first order
      $-E_k(T_k(y^-, u)) / \dot E_k$, is bounded away from zero over fresh marks $u$ (judged: its
      smallest value against its median, at least 1 %);
    - *noise tangent to the event surface*: $\nabla E_k(y)\,\sigma_i(y) = 0$ near $y^-$ (relative
      to the lengths of both);
    - *transversality*: $\dot E_k = \partial_t E_k + \nabla E_k(y^-) \mu(y^-) > 0$ (judged against
      its median, and where $\dot E_k$ falls, $\ddot E_k < 0$, against
      $\sqrt{2 |\ddot E_k| |E_k(y^+)|}$, with which $E_k$ would come to rest as far above zero as
      the transition takes it below: an event function that only grazes zero has none);
    - *noise commutes with the transition*: $DT_k(y^-)\,\sigma_i(y^-) = \sigma_i(T_k(y^-))$
      (relative to the length of $\sigma_i$).

    It is a test along paths, not a proof. Where an assumption fails, event times need not even be
    continuous in the parameters, and the derivative of the discretised path does not converge.

    Args:
        sde: the event SDE.
        t0: start of the window.
        t1: end of the window.
        dt0: step.
        y0: the state at `t0`, or a function from a key to one (`model.initial_state`).
        key: random key.
        num_paths: how many paths to simulate.
        max_events: how many events of each path to look at.
        args: passed to the functions of the SDE.
        solver: a diffrax solver.

    Returns:
        the report.

    Raises:
        ValueError: no event happened on any path, so that there is nothing to judge.

    Reference: Holberg & Salvi (2024), the assumptions of the theorems on existence and on
    pathwise gradients.
    """
    t0, t1, dt0 = window(t0, t1, dt0)
    num_paths = whole_number("num_paths", num_paths, 1)
    max_events = whole_number("max_events", max_events, 1)
    start = y0 if callable(y0) else lambda _: y0

    def one(index):
        path_key = jr.fold_in(key, index)
        return eventsolve(
            sde, t0, t1, dt0, start(jr.fold_in(path_key, 0)), key=jr.fold_in(path_key, 1),
            max_events=max_events, args=args, solver=solver, stop_after=max_events,
            save_event_states=True, throw=False,
        )  # fmt: skip

    solution = eqx.filter_vmap(one)(jnp.arange(num_paths))
    seen = np.asarray(solution.event_indices) >= 0
    if not seen.any():
        raise ValueError(
            f"No event happened on {num_paths} paths, so there is nothing to check: lengthen the "
            f"window [{t0}, {t1}] or drive the model harder."
        )

    def flatten(x):
        return jax.tree.map(lambda a: a.reshape((-1,) + a.shape[2:])[seen.ravel()], x)

    times, components = flatten((solution.event_times, solution.event_indices))
    left, right = flatten((solution.event_ys_left, solution.event_ys_right))
    keys = jr.split(jr.fold_in(key, num_paths), times.shape[0])
    measure = eqx.filter_jit(eqx.filter_vmap(figures_of_event, in_axes=(None, None, 0, 0, 0, 0, 0)))
    found = measure(sde, args, times + t0, components, left, right, keys)
    found = {name: np.asarray(values) for name, values in found.items()}
    refires = bool(np.any(np.asarray(solution.result == RESULTS.immediate_event)))
    return report(found, t0 + np.asarray(times, float), np.asarray(components), refires)
