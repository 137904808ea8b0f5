"""What an event solve returns."""

import os
from typing import Any

import diffrax as dfx
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from .._shown import is_known


class RESULTS(dfx.RESULTS):  # pyright: ignore[reportGeneralTypeIssues]
    """How an event solve ended; every member says what happened and what to do."""

    successful = ""
    max_events_reached = (
        "More events happened than `max_events` (`max_spikes`) has room for, so the solve stopped "
        "early. Increase it, or pass `throw=False` to get the truncated solution with a flag, or "
        "`stop_after` if the simulation is meant to end at a given event."
    )
    micro_steps_reached = (
        "The solve used up `max_steps` (pieces of grid cells cut by events) before reaching `t1`. "
        "Increase `max_steps` or leave it out."
    )
    nonfinite_state = (
        "The state became infinite or NaN. `stats['failure_time']` and "
        "`stats['failure_component']` say when and in which component of the event function. "
        "Check the parameters, or decrease `dt0`."
    )
    event_at_start = (
        "A component of the event function is not negative at `t0`. An event fires when it reaches "
        "zero from below, so every component must start below zero: change `y0` or the sign of "
        "the event function."
    )
    immediate_event = (
        "A component of the event function is not negative right after its own transition, so "
        "that the same event would fire again at the same time, without end. The transition must "
        "lead away from the event surface (for an intensity model: `alpha` > 0)."
    )
    step_too_long = (
        "The step `dt0` is longer than the shortest time constant of the model, so that an "
        "explicit solver is unstable or far from the solution. Decrease `dt0` below 1 / (the "
        "fastest rate of the model), or slow the model down."
    )
    too_many_arrivals = (
        "More delayed spikes were on their way at once than the network has room for, so the solve "
        "stopped early. Increase `max_pending` of the SpikingNetwork."
    )


_Member: Any = type(RESULTS.successful)


class _Result(_Member):
    """A member of `RESULTS` that prints its name and its text; of a batch, how many ended so."""

    _value: Any
    _enumeration: Any = eqx.field(static=True)

    def __repr__(self) -> str:
        if not is_known(self._value):
            return "RESULTS (not known inside `jit`)"
        values = np.asarray(self._value)
        lines = []
        for name, member in RESULTS._name_to_item.items():
            count = int(np.sum(values == member._value))
            if count:
                of = f" ({count} of {values.size} samples)" if values.ndim else ""
                text = RESULTS[member]
                lines.append(f"RESULTS.{name}{of}" + (f": {text}" if text else ""))
        return "\n".join(lines) or "RESULTS (of no samples)"


def _named(result: Any) -> Any:
    """The result as one that prints its name; what stands in for one stays as it is."""
    return _Result(result._value, RESULTS) if isinstance(result, RESULTS) else result


class EventSolution(eqx.Module):
    r"""The solution of an event SDE for one sample (under `jax.vmap`: with batch axes in front).

    All times in arrays count from the start of the window, $t - t_0$, so that they are as sharp in
    a window that begins late as in one that begins at zero.

    Attributes:
        t0: start of the window, a python number.
        t1: end of the window, likewise.
        event_times: times of the events since `t0`, sorted, padded with `inf`.
        event_indices: which component fired, padded with -1.
        num_events: how many events there were.
        ts: the times asked for, since `t0`; `None` if nothing was asked for.
        ys: the states there. At an event time the state is the one right after the event (the
            solution is continuous from the right); times after the end of a solve that stopped
            early hold `nan`.
        event_ys_left: states just before each event, if `save_event_states=True`; padded with
            `nan`.
        event_ys_right: states just after each event, likewise.
        final_time: where the solve ended, since `t0`: the length of the window, or the time of the
            last event if it stopped there.
        final_state: the state there.
        result: a [`roughsnn.RESULTS`][].
        grazing: 1 for a sample with an event that only grazes zero and so has no derivative, 2 for
            one of which a derivative was clipped, else 0; see `conditions` of
            [`roughsnn.eventsolve`][]. It is judged where the solution is differentiated, and is 0
            elsewhere.
        stats: `num_steps` (pieces of cells that were stepped over), `num_cells`, `max_steps`,
            `location_residual` (the largest |E| left at an event), `location_tolerance` (the
            time in its step to which an event is located, $4 \varepsilon\,\mathrm{dt0}$ with the
            machine precision $\varepsilon$), `failure_time` and `failure_component` (when, since
            `t0`, and in which component of the event function a solve
            failed; `inf` and -1 where it did not).
    """

    t0: float = eqx.field(static=True)
    t1: float = eqx.field(static=True)
    event_times: Float[Array, "*batch max_events"]
    event_indices: Int[Array, "*batch max_events"]
    num_events: Int[Array, "*batch"]
    ts: Float[Array, "*batch times"] | None
    ys: PyTree | None
    event_ys_left: PyTree | None
    event_ys_right: PyTree | None
    final_time: Float[Array, "*batch"]
    final_state: PyTree
    result: Any = eqx.field(converter=_named)
    grazing: Int[Array, "*batch"]
    stats: dict[str, Any]

    @property
    def stopped(self) -> Bool[Array, "*batch"]:
        """Whether the solve ended before `t1`."""
        return self.final_time < jnp.asarray(self.t1 - self.t0, self.final_time.dtype)


class EventSolveError(RuntimeError):
    """An event solve did not succeed."""


_FAILURES = (
    RESULTS.event_at_start,
    RESULTS.step_too_long,
    RESULTS.nonfinite_state,
    RESULTS.immediate_event,
    RESULTS.too_many_arrivals,
    RESULTS.max_events_reached,
    RESULTS.micro_steps_reached,
)


def raise_unless_successful(solution: EventSolution) -> EventSolution:
    """The solution, or an error with the text of the result that applies and where it happened: at
    once where values are known, at run time inside a JAX transformation."""
    failed = solution.result != RESULTS.successful
    if not isinstance(failed, jax.core.Tracer) and not np.any(failed):
        return solution
    kinds = jnp.stack([solution.result == member for member in _FAILURES], -1)
    # what the host is told has no derivative
    told = [
        lax.stop_gradient(x)
        for x in (kinds, solution.stats["failure_time"], solution.stats["failure_component"])
    ]
    if not any(isinstance(x, jax.core.Tracer) for x in told):
        _raise_if_failed(*told)
    named = lax.cond(
        eqxi.unvmap_any(failed) & (_on_error() == "raise"),
        lambda told: jax.pure_callback(
            _raise_if_failed,
            jax.ShapeDtypeStruct(failed.shape, bool),
            *told,
            vmap_method="broadcast_all",
        ),
        lambda told: told[0][..., 0],
        told,
    )
    # whoever uses the solution has to ask the host first; where the host's error does not end the
    # program, this one does
    return solution.result.error_if(solution, failed | named)


def _on_error() -> str:
    """What equinox does about an error at run time."""
    return os.environ.get("EQX_ON_ERROR", "raise")


def _raise_if_failed(kinds, times, components) -> np.ndarray:
    """Raises what `kinds` says of each sample, with one entry for each of `_FAILURES` along its
    last axis: the first of them that applies."""
    kinds, times, components = (np.asarray(x) for x in (kinds, times, components))
    for i, member in enumerate(_FAILURES):
        of_this_kind = kinds[..., i]
        if not of_this_kind.any():
            continue
        first = tuple(int(i) for i in np.argwhere(of_this_kind)[0])
        where = ""
        if components[first] >= 0:
            where = (
                f" It failed at t = {float(times[first]):.6g}, in component (neuron) "
                f"{components[first]}."
            )
        if of_this_kind.ndim:
            where += (
                f" This happened in {of_this_kind.sum()} of {of_this_kind.size} samples, "
                f"first in sample {first[0] if len(first) == 1 else first}."
            )
        raise EventSolveError(RESULTS[member] + where)
    return np.asarray(kinds.any(-1))
