"""The progress bar of a training run."""

import contextlib
import sys
import time


class Progress:
    """Shows the step, the loss, the rate and the time left; a context manager.

    Drawn by tqdm on a terminal or in a notebook where it is installed, else written as plain text
    to the standard error: one line that is rewritten on a terminal; in a log file, which keeps
    everything, at most twenty lines, five seconds apart, and the last one.
    """

    def __init__(self, num_steps: int, enabled: bool, done: int = 0):
        self.num_steps = num_steps
        self.done = done
        self._bar = None
        self._enabled = enabled
        self._started = self._measured_from = time.monotonic()
        self._done_before = None
        self._last_line, self._last_written = 0, self._started

    def __enter__(self) -> "Progress":
        if self._enabled and (sys.stderr.isatty() or "ipykernel" in sys.modules):
            try:
                from tqdm import tqdm
            except ImportError:
                pass
            else:
                self._bar = tqdm(
                    total=self.num_steps, initial=self.done, unit="step", dynamic_ncols=True
                )
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            if self._bar is not None:
                self._bar.close()
            elif self._enabled and sys.stderr.isatty():
                print(file=sys.stderr)

    def update(self, steps: int, loss: float, note: str = "") -> None:
        """Report `steps` more steps, the last with this loss; `note` is shown after it."""
        self.done += steps
        if self._done_before is None:
            # The first steps include compilation and say nothing about the rate.
            self._done_before, self._measured_from = self.done, time.monotonic()
        if self._enabled:
            # a full disk or a reader that has gone must not end training
            with contextlib.suppress(OSError):
                self._show(steps, loss, note)

    def _show(self, steps: int, loss: float, note: str) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.4g}{note}", refresh=False)
            self._bar.update(steps)
            return
        terminal = sys.stderr.isatty()
        twentieth = self.done * 20 // max(self.num_steps, 1)
        now = time.monotonic()
        due = twentieth > self._last_line and now - self._last_written > 5.0
        if terminal or due or self.done >= self.num_steps:
            self._last_line, self._last_written = twentieth, now
            print(
                self.line(loss) + note,
                file=sys.stderr,
                end="\r" if terminal else "\n",
                flush=True,
            )

    def line(self, loss: float) -> str:
        """The state of the run as one line of text."""
        text = f"step {self.done}/{self.num_steps}  loss {loss:.4g}"
        steps, seconds = (
            self.done - (self._done_before or 0),
            time.monotonic() - self._measured_from,
        )
        if steps > 0 and seconds > 0:
            left = (self.num_steps - self.done) * seconds / steps
            text += f"  {steps / seconds:.3g} steps/s  {_clock(left)} left"
        return text


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
