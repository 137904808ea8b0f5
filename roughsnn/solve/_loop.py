"""The loop over micro-steps."""

from collections.abc import Callable

import diffrax as dfx
import equinox.internal as eqxi
import jax
import jax.lax as lax
import jax.numpy as jnp

from ..drivers import TimeGrid
from ._account import KEPT
from ._problem import Carry, Path, Problem
from ._step import micro_step

# steps between two looks at whether every sample has ended: about an eighth of those that may be
# left, since a chunk is run to its end, but not so few that the looks cost more than they save
_LEAST_CHUNK, _MOST_CHUNK = 16, 64
# more steps than this are always taken in chunks, so that a progress meter moves
_LONG = 1024


def solve_directly(problem: Problem, keep_states, keep_path, max_steps, meter):
    """All steps in one scan, which JAX differentiates in both modes: where a sample begins, where
    it ends, and the records of its steps."""

    def step(carry, _):
        new, record = micro_step(problem, carry)
        return new, _chosen(carry, record, keep_states, keep_path)

    step = jax.checkpoint(
        step, policy=jax.checkpoint_policies.save_only_these_names(*KEPT), prevent_cse=False
    )
    first, grid = problem.start(), problem.grid
    # without a stopping time every sample takes a step in every cell: where that is not long, it
    # is done in one go, which is faster than in chunks
    sure = min(grid.num_cells, max_steps)
    sure = sure if problem.stop_after is None and sure <= _LONG else 0
    return first, *_scan_while_running(step, first, sure, max_steps, grid, meter)


def _chosen(carry: Carry, record, keep_states: bool, keep_path: bool):
    """What is kept of the record of one step."""
    out = {name: record[name] for name in ("outcome", "time", "residual")}
    if keep_states:
        out |= dict(y_left=record["y_left"], y_right=record["y_right"])
    if keep_path:
        out["path"] = Path.of(carry)
    return out


def _scan_while_running(
    step: Callable,
    first: Carry,
    sure: int,
    length: int,
    grid: TimeGrid,
    meter: dfx.AbstractProgressMeter,
):
    """`lax.scan`: first `sure` steps, then the others in chunks, each skipped once every sample of
    the batch has ended. It is at most one step per chunk longer than asked for."""
    first, head = lax.scan(step, first, None, length=sure)
    if sure == length:
        return first, head
    left = length - sure
    num_chunks = -(-left // min(max(left // 8, _LEAST_CHUNK), _MOST_CHUNK))
    chunk = -(-left // num_chunks)

    def run(carry):
        return lax.scan(step, carry, None, length=chunk)

    shapes = jax.eval_shape(run, first)[1]

    def skip(carry):
        return carry, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def chunk_step(state, _):
        carry, bar = state
        running = carry.cell < grid.num_cells
        carry, records = lax.cond(eqxi.unvmap_any(running), run, skip, carry)
        ended = carry.cell >= grid.num_cells
        share = lax.stop_gradient(carry.since) / grid.duration
        return (carry, meter.step(bar, jnp.where(ended, 1, share))), records

    (carry, bar), records = lax.scan(chunk_step, (first, meter.init()), None, length=num_chunks)
    meter.close(bar)
    records = jax.tree.map(
        lambda a, b: jnp.concatenate([a, b.reshape((-1,) + b.shape[2:])]), head, records
    )
    return carry, records
