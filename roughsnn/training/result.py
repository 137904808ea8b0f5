"""What a training run returns."""

import enum

import equinox as eqx
import numpy as np
from jaxtyping import PyTree


class FitStatus(enum.Enum):
    """How a training run ended; the value is a sentence."""

    COMPLETED = "All steps were taken."
    EARLY_STOP = "The early stop ended training."
    STOPPED_BY_CALLBACK = "The callback ended training."
    NON_FINITE = "A loss, a gradient or an updated parameter was not finite."
    INTERRUPTED = "Training was interrupted."
    FAILED = "An error ended training."


class TrainingError(RuntimeError):
    """Training ended at a value that is not finite, or by an error."""


class FitResult(eqx.Module):
    """A trained model and how it came about.

    Attributes:
        model: the model after the last step; never with a non-finite trained parameter.
        optimiser_state: optax's state, to go on from.
        history: one NumPy array of length `num_steps` each of `"loss"`, `"gradient_norm"`,
            `"overflowed"` (share of the generated trains that outgrew their room) and of every
            metric. Entry `s` belongs to the model *before* update `s`.
        num_steps: steps taken.
        status: how the run ended.
        message: how it ended, in words, with the step and what to do.
        seconds: wall time, compilation included.
        seconds_first_call: the part until the first step came back: mostly compilation.
        error: the error that ended training, if one did.
        evaluations: of labelled data held out, `"holdout_step"`: after how many steps the model was
            evaluated, and as many values of `"holdout_loss"` and of every metric by its name after
            `"holdout_"`; empty without such data.
    """

    model: PyTree
    optimiser_state: PyTree
    history: dict[str, np.ndarray]
    num_steps: int
    status: FitStatus
    message: str
    seconds: float
    seconds_first_call: float
    error: Exception | None = eqx.field(static=True, default=None)
    evaluations: dict[str, np.ndarray] = eqx.field(default_factory=dict)

    @property
    def interrupted(self) -> bool:
        """Whether the run was ended by Ctrl-C or SIGTERM."""
        return self.status is FitStatus.INTERRUPTED

    def raise_unless_trained(self) -> "FitResult":
        """The result itself, unless training was interrupted, ended at a value that is not finite
        or by an error: for scripts that are not to go on then.

        Raises:
            KeyboardInterrupt: training was interrupted.
            TrainingError: a loss, a gradient or an updated parameter was not finite, or an error
                ended training, which is its cause.
        """
        if self.interrupted:
            raise KeyboardInterrupt(self.message)
        if self.status in (FitStatus.NON_FINITE, FitStatus.FAILED):
            raise TrainingError(self.message) from self.error
        return self

    def summary(self) -> str:
        """A few lines for a person: how it ended, time, first and last value of each quantity."""
        lines = [
            self.message,
            f"{self.num_steps} steps in {self.seconds:.1f} s "
            f"({self.seconds_first_call:.1f} s until the first step came back)",
        ]
        recorded = self.history | self.evaluations
        width = max(len(name) for name in recorded)
        for name, values in recorded.items():
            if values.size and name != "holdout_step":
                lines.append(
                    f"{name:<{width}}  first {values[0]:.6g}  last {values[-1]:.6g}  "
                    f"smallest {np.nanmin(values):.6g}"
                )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.summary()
