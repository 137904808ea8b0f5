"""The loop over calls of a compiled program, with what acts between calls."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from roughsnn.runs import CheckpointError, Checkpoints
from roughsnn.runs.interrupts import uninterrupted

from .progress import Progress
from .result import FitStatus
from .step import TrainState

Ending = tuple[FitStatus, str]


class Chunk(NamedTuple):
    """Values of the steps of one call; rows from `taken` on are empty."""

    values: Any
    taken: Any
    bad: Any


class Reached(NamedTuple):
    """How far a run has come; replaced as a whole, so that an interrupt leaves it consistent.

    `failed` says whether it (each seed of it) takes no more steps: something was not finite, or
    the early stop has ended a seed among others.
    """

    state: TrainState
    failed: Array
    done: int = 0
    chunks: tuple[Chunk, ...] = ()
    ending: Ending = (FitStatus.COMPLETED, "")
    seconds: float = 0.0
    seconds_first_call: float = 0.0

    def history(self, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Each recorded quantity, steps along the last axis (seeds, if any, along the first)."""
        if not self.chunks:
            return {name: np.zeros((*self.failed.shape, 0)) for name in names}
        values = np.concatenate([chunk.values for chunk in self.chunks], axis=-2)
        if not self.failed.shape:
            values = values[: self.done]
        return {name: values[..., column] for column, name in enumerate(names)}

    @property
    def blamed(self) -> np.ndarray:
        """Whether each checked quantity (of each seed) was not finite in any step."""
        if not self.chunks:
            return np.zeros((*self.failed.shape, 1), dtype=bool)
        return np.any([chunk.bad for chunk in self.chunks], axis=0)


class Keeper:
    """Keeps a run in checkpoints and takes it up again."""

    def __init__(self, checkpoints: Checkpoints, identity: Mapping[str, str]):
        self.checkpoints = checkpoints
        self.identity = identity
        self._kept = 0

    def restore(self, start: Reached) -> Reached:
        """The run as the newest checkpoint has it, or `start`."""
        found = self.checkpoints.restore((start.state, start.failed), identity=self.identity)
        if found is None:
            return start
        self._kept = found.step
        state, failed = found.tree
        chunks = ()
        if found.step or found.notes["chunks"]:
            chunks = (Chunk(found.arrays["values"], found.step, found.arrays["bad"]),)
        status, detail = found.notes["ending"]
        return Reached(
            state, failed, found.step, chunks, (FitStatus[status], detail), found.notes["seconds"]
        )

    def keep(self, reached: Reached, *, now: bool) -> None:
        """Write a checkpoint if one is due, or `now`."""
        every = self.checkpoints.every
        if not now and reached.done // every == self._kept // every:
            return
        arrays = {}
        if reached.chunks:
            values = np.concatenate([chunk.values for chunk in reached.chunks], axis=-2)
            arrays = {"values": values, "bad": reached.blamed}
        status, detail = reached.ending
        self.checkpoints.save(
            reached.done,
            (reached.state, reached.failed),
            arrays=arrays,
            notes={
                "ending": [status.name, detail],
                "seconds": reached.seconds,
                "chunks": len(reached.chunks),
            },
            identity=self.identity,
        )
        self._kept = reached.done


def loop(
    run: Callable,
    reached: Reached,
    num_steps: int,
    log_every: int,
    progress: bool,
    stop_reason: Callable[[Reached], Ending | None],
    keeper: Keeper | None = None,
    waits: Callable[[Reached], np.ndarray] | None = None,
) -> Reached:
    """Call the compiled program until all steps are taken or something ends training; `waits` says
    which seeds take no more steps."""
    if keeper is None:
        return _loop(run, reached, num_steps, log_every, progress, stop_reason, None, waits)
    with keeper.checkpoints.open():
        reached = keeper.restore(reached)
        if reached.done > num_steps:
            raise CheckpointError(
                f"{keeper.checkpoints.folder} has a fit of {reached.done} steps and `num_steps` is "
                f"{num_steps}. Give at least {reached.done}, or another folder."
            )
        return _loop(run, reached, num_steps, log_every, progress, stop_reason, keeper, waits)


def _loop(run, reached, num_steps, log_every, progress, stop_reason, keeper, waits) -> Reached:
    # again, as an interrupt may have come before it
    reached = _without(reached, waits)
    status, _ = reached.ending
    over = reached.done >= num_steps or bool(jnp.all(reached.failed))
    if over or status in (FitStatus.EARLY_STOP, FitStatus.STOPPED_BY_CALLBACK):
        return reached
    reached = reached._replace(ending=(FitStatus.COMPLETED, ""))
    started = time.monotonic() - reached.seconds
    before = reached.done
    with Progress(num_steps, progress, done=before) as bar:
        try:
            while reached.done < num_steps:
                # Calls end at multiples of `log_every`, wherever an earlier run ended.
                steps = min(log_every - reached.done % log_every, num_steps - reached.done)
                try:
                    state, failed, chunk = run(
                        reached.state, reached.failed, jnp.asarray(steps, dtype=jnp.int32)
                    )
                    chunk, all_failed = jax.device_get((chunk, jnp.all(failed)))
                except Exception as error:
                    first, last = reached.done, reached.done + steps - 1
                    error.add_note(f"This happened in steps {first} to {last} of training.")
                    raise
                taken = int(np.max(chunk.taken))
                seconds = time.monotonic() - started
                # Seeds that failed have fewer rows than the others; all keep the same length.
                chunk = chunk._replace(values=chunk.values[..., :taken, :])
                reached = reached._replace(
                    state=state,
                    failed=failed,
                    done=reached.done + taken,
                    chunks=(*reached.chunks, chunk),
                    seconds=seconds,
                    seconds_first_call=reached.seconds_first_call or seconds,
                )
                if taken:
                    bar.update(taken, float(np.nanmean(chunk.values[..., -1, 0])))
                if all_failed:
                    break
                ending = stop_reason(reached)
                if ending is not None:
                    reached = reached._replace(ending=ending)
                    break
                reached = _without(reached, waits)
                if waits is not None and bool(jnp.all(reached.failed)):
                    break
                if keeper is not None and reached.done < num_steps:
                    keeper.keep(reached, now=False)
        except KeyboardInterrupt:
            detail = f"after {reached.done} of {num_steps} steps"
            if keeper is not None:
                detail += f", kept in {keeper.checkpoints.folder}; go on with `resume=True`"
            reached = reached._replace(ending=(FitStatus.INTERRUPTED, detail))
    reached = reached._replace(seconds=time.monotonic() - started)
    if keeper is not None:
        # a second Ctrl-C waits until what the first one asked for is written
        with uninterrupted(drop=True):
            keeper.keep(reached, now=True)
    return reached


def _without(reached: Reached, waits: Callable[[Reached], np.ndarray] | None) -> Reached:
    """The run, in which the seeds that wait take no more steps."""
    if waits is None:
        return reached
    return reached._replace(failed=reached.failed | jnp.asarray(waits(reached)))
