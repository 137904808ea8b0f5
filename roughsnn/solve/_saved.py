"""States at the times asked for, chunk by chunk of a solve that does not keep its steps."""

import jax
import jax.core
import jax.lax as lax
import jax.numpy as jnp
import numpy as np

from ._adjoints import Settings
from ._output import states_at
from ._problem import Path


def times_asked(settings: Settings, dtype):
    subs = settings.subs
    return None if subs is None or subs.ts is None else jnp.sort(jnp.asarray(subs.ts, dtype))


def most_times_in(chunk: int, settings: Settings) -> int:
    """How many of the times asked for a chunk can hold: it goes over at most `chunk` cells."""
    if settings.subs is None or settings.subs.ts is None:
        return 0
    ts = settings.subs.ts
    if isinstance(ts, jax.core.Tracer):
        return ts.shape[0]
    ts = np.sort(np.asarray(ts, float))
    ends = np.searchsorted(ts, ts + chunk * settings.grid.dt0 * (1 + 1e-6), side="right")
    return int(np.max(ends - np.arange(len(ts)), initial=0))


def slots(ts, begin, end, width: int):
    """Places of the times in [begin, end): `width` of them, and which are inside."""
    first = jnp.searchsorted(ts, begin, side="left").astype(jnp.int32)
    place = first + jnp.arange(width, dtype=jnp.int32)
    here = ts[jnp.minimum(place, ts.shape[0] - 1)]
    within = (place < ts.shape[0]) & (here < end)
    return lax.stop_gradient(within), jnp.where(within, place, ts.shape[0])


def states_of(problem, ts, place, path: Path):
    here = ts[jnp.minimum(place, ts.shape[0] - 1)]
    ran = path.cell < problem.grid.num_cells
    return states_at(problem, here, jnp.where(ran, path.since, jnp.inf), path)


def put(buffer, values, within, place):
    del within
    return buffer.at[place].set(values, mode="drop")


def take(buffer, within, place):
    values = buffer[jnp.minimum(place, buffer.shape[0] - 1)]
    return jnp.where(within.reshape((-1,) + (1,) * (values.ndim - 1)), values, 0)


def saved_output(settings, problem, first, last, ts, ys):
    """The output asked for, in the order of `saveat`."""
    subs = settings.subs
    if subs is None:
        return None, None
    all_ts, all_ys = [], []

    def add(since, y):
        since = jnp.atleast_1d(since)
        all_ts.append(since)
        times = problem.time(jnp.zeros_like(since), since)
        all_ys.append(jax.vmap(lambda t, y: subs.fn(t, y, problem.args))(times, y))

    def one(y):
        return jax.tree.map(lambda x: x[None], y)

    if subs.t0:
        add(first.since, one(first.y))
    if ts is not None:
        # in the order that the times were given in
        order = jnp.argsort(jnp.argsort(jnp.asarray(subs.ts), stable=True), stable=True)

        def at(t, y):
            y = jax.tree.map(lambda a, b: jnp.where(t >= last.since, b, a), y, last.y)
            return jax.tree.map(lambda x: jnp.where(t > last.since, jnp.nan, x), y)

        y = jax.vmap(at)(ts, ys)
        add(ts[order], jax.tree.map(lambda x: x[order], y))
    if subs.t1:
        add(last.since, one(last.y))
    return jnp.concatenate(all_ts), jax.tree.map(lambda *x: jnp.concatenate(x), *all_ys)
