"""The loop over calls of a compiled program, with what acts between calls."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from roughsnn._host_errors import as_themselves
from roughsnn.runs import CheckpointError, Checkpoints
from roughsnn.runs.interrupts import is_interrupt, sigterm_interrupts, uninterrupted

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
    the early stop has ended a seed among others. `evaluated` has the number of steps and the values
    of each evaluation on held-out data.
    """

    state: TrainState
    failed: Array
    done: int = 0
    chunks: tuple[Chunk, ...] = ()
    ending: Ending = (FitStatus.COMPLETED, "")
    error: Exception | None = None
    seconds: float = 0.0
    seconds_first_call: float = 0.0
    evaluated: tuple[tuple[int, np.ndarray], ...] = ()

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


@runtime_checkable
class Watch(Protocol):
    """What evaluates a run whenever so many steps have been taken, and before the first one."""

    every: int

    def __call__(self, reached: Reached) -> Reached: ...


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
        evaluated = ()
        if "evaluated" in found.arrays:
            steps = found.arrays["evaluated_at"].tolist()
            evaluated = tuple(zip(steps, found.arrays["evaluated"], strict=True))
        return Reached(
            state, failed, found.step, chunks, (FitStatus[status], detail),
            seconds=found.notes["seconds"], evaluated=evaluated,
        )  # fmt: skip

    def keep(self, reached: Reached, *, now: bool) -> None:
        """Write a checkpoint if one is due, or `now`."""
        every = self.checkpoints.every
        if not now and reached.done // every == self._kept // every:
            return
        arrays = {}
        if reached.chunks:
            values = np.concatenate([chunk.values for chunk in reached.chunks], axis=-2)
            arrays = {"values": values, "bad": reached.blamed}
        if reached.evaluated:
            steps, values = zip(*reached.evaluated, strict=True)
            arrays |= {"evaluated_at": np.array(steps), "evaluated": np.stack(values)}
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
    watch: Watch | None = None,
) -> Reached:
    """Call the compiled program until all steps are taken or something ends training; `waits` says
    which seeds take no more steps."""
    if keeper is None:
        return _loop(run, reached, num_steps, log_every, progress, stop_reason, None, waits, watch)
    with keeper.checkpoints.open():
        reached = keeper.restore(reached)
        if reached.done > num_steps:
            raise CheckpointError(
                f"{keeper.checkpoints.folder} has a fit of {reached.done} steps and `num_steps` is "
                f"{num_steps}. Give at least {reached.done}, or another folder."
            )
        return _loop(
            run, reached, num_steps, log_every, progress, stop_reason, keeper, waits, watch
        )


def _loop(
    run, reached, num_steps, log_every, progress, stop_reason, keeper, waits, watch
) -> Reached:
    # again, as an interrupt may have come before it
    reached = _without(reached, waits)
    status, _ = reached.ending
    over = reached.done >= num_steps or bool(jnp.all(reached.failed))
    if over or status in (FitStatus.EARLY_STOP, FitStatus.STOPPED_BY_CALLBACK):
        return reached
    reached = reached._replace(ending=(FitStatus.COMPLETED, ""))
    training = _Training(run, reached, num_steps, log_every, stop_reason, keeper, waits, watch)
    with sigterm_interrupts(), Progress(num_steps, progress, done=reached.done) as bar:
        try:
            training.go_on(bar)
        except KeyboardInterrupt:
            training.interrupted()
        except Exception as error:
            training.ended_by(error)
    return training.ended()


class _Training:
    """A run between two calls of the compiled program. Whatever ends it, `reached` is the state
    after its last good step."""

    def __init__(self, run, reached, num_steps, log_every, stop_reason, keeper, waits, watch):
        self.run, self.num_steps, self.watch = run, num_steps, watch
        self.stop_reason, self.keeper, self.waits = stop_reason, keeper, waits
        # Rounds end at multiples of these, wherever an earlier run ended.
        self.ends = (log_every,) if watch is None else (log_every, watch.every)
        self.reached: Reached = reached
        self.began_at = reached.done
        self._started = time.monotonic() - reached.seconds

    def go_on(self, bar: Progress) -> None:
        """Call the compiled program until all steps are taken or something ends training."""
        self._evaluate()
        while self.reached.done < self.num_steps:
            done = self.reached.done
            next_end = min(done + every - done % every for every in self.ends)
            goes_on = self._round(min(next_end, self.num_steps))
            if self.reached.done > done:
                losses = [
                    chunk.values[..., -1, 0] for chunk in self.reached.chunks if np.any(chunk.taken)
                ]
                bar.update(self.reached.done - done, float(np.nanmean(losses[-1])))
            if not goes_on:
                return
            self._evaluate()
            ending = self.stop_reason(self.reached)
            if ending is not None:
                self.reached = self.reached._replace(ending=ending)
                return
            self.reached = _without(self.reached, self.waits)
            if self.waits is not None and bool(jnp.all(self.reached.failed)):
                return
            if self.keeper is not None and self.reached.done < self.num_steps:
                self.keeper.keep(self.reached, now=False)

    def _evaluate(self) -> None:
        if self.watch is None:
            return
        try:
            self.reached = self.watch(self.reached)
        except Exception as error:
            if is_interrupt(error):
                raise KeyboardInterrupt from error
            raise

    def _round(self, target: int) -> bool:
        """Steps up to number `target`, and whether training goes on after them.

        The first step of a run is a call of its own: an error in it has cost nothing. After an
        error in several steps they are taken one by one, so that all that are good are kept.
        """
        one_by_one = False
        while self.reached.done < target:
            first = self.reached.done == self.began_at
            steps = 1 if first or one_by_one else target - self.reached.done
            try:
                goes_on = self._call(steps)
            except Exception as error:
                if is_interrupt(error):
                    raise KeyboardInterrupt from error
                # (several hosts must all do the same)
                if steps == 1 or jax.process_count() > 1:
                    raise
                one_by_one = True
                continue
            if not goes_on:
                return False
        return True

    def _call(self, steps: int) -> bool:
        """One call of the compiled program, and whether any seed takes further steps."""
        reached = self.reached
        with as_themselves():
            state, failed, chunk = self.run(
                reached.state, reached.failed, jnp.asarray(steps, dtype=jnp.int32)
            )
            chunk, all_failed = jax.device_get((chunk, jnp.all(failed)))
        taken = int(np.max(chunk.taken))
        seconds = time.monotonic() - self._started
        # Seeds that failed have fewer rows than the others; all keep the same length.
        chunk = chunk._replace(values=chunk.values[..., :taken, :])
        self.reached = reached._replace(
            state=state,
            failed=failed,
            done=reached.done + taken,
            chunks=(*reached.chunks, chunk),
            seconds=seconds,
            seconds_first_call=reached.seconds_first_call or seconds,
        )
        return not all_failed

    def interrupted(self) -> None:
        """Ctrl-C or SIGTERM."""
        detail = f"after {self.reached.done} of {self.num_steps} steps"
        if self.keeper is not None:
            detail += f", kept in {self.keeper.checkpoints.folder}; go on with `resume=True`"
        self.reached = self.reached._replace(ending=(FitStatus.INTERRUPTED, detail))

    def ended_by(self, error: Exception) -> None:
        """An error, which is raised where no step was taken."""
        if self.reached.done == self.began_at:
            error.add_note(f"This happened in step {self.reached.done} of training.")
            raise error
        detail = f"after {self.reached.done} of {self.num_steps} steps, {text_of(error)}"
        self.reached = self.reached._replace(ending=(FitStatus.FAILED, detail), error=error)

    def ended(self) -> Reached:
        """The end of the run, kept."""
        self.reached = self.reached._replace(seconds=time.monotonic() - self._started)
        if self.keeper is None:
            return self.reached
        # a second Ctrl-C waits until what the first one asked for is written
        with uninterrupted(drop=True):
            try:
                self.keeper.keep(self.reached, now=True)
            except CheckpointError as error:
                if self.reached.error is None:
                    self.ended_by(error)
        return self.reached


def text_of(error: BaseException) -> str:
    """What an error says, its kind first; of one that was raised while compiled code ran, what was
    said there, without the ways that it took."""
    text, kind = str(error).strip(), type(error).__name__
    said = list(_RAISED_INSIDE.finditer(text))
    if said:
        kind, text = said[-1]["kind"], text[said[-1].end("kind") + 1 :].strip()
    return f"{kind}: {text.split(_EQUINOX)[0].strip()}"


# the last line of a traceback, and what equinox puts after the text of its errors
_RAISED_INSIDE = re.compile(r"^(?:\w+\.)*(?P<kind>\w+(?:Error|Exception|Interrupt)):", re.MULTILINE)
_EQUINOX = "\n--------------------\nAn error occurred during the runtime of your JAX program"


def _without(reached: Reached, waits: Callable[[Reached], np.ndarray] | None) -> Reached:
    """The run, in which the seeds that wait take no more steps."""
    if waits is None:
        return reached
    return reached._replace(failed=reached.failed | jnp.asarray(waits(reached)))
