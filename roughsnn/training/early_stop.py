"""When to stop before the last step."""

from functools import partial

import equinox as eqx
import numpy as np

from roughsnn._checks import IntLike, RealLike, count_field, number


def _target(value):
    return None if value is None else number("target", value)


class EarlyStop(eqx.Module):
    """Stop when a recorded quantity is small enough, or no longer falls.

    Losses are noisy, as every step draws fresh noise, so what is watched is the running mean of
    `monitor` over the last `window` steps. It is looked at every `log_every` steps of `fit`.
    What is recorded of held-out data counts by evaluations in place of steps.

    Attributes:
        target: stop once the running mean is at most this.
        patience: stop once the running mean of the last so many steps has stayed within
            `min_change` of its smallest value before them, or above.
        min_change: how much smaller counts as smaller.
        window: steps in the running mean.
        monitor: what to watch: `"loss"`, `"gradient_norm"` or the name of a metric; of labelled
            data held out, `"holdout_loss"` or `"holdout_"` and the name of a metric.

    Raises:
        ValueError: neither `target` nor `patience` is given, or a setting is out of range.
    """

    target: RealLike | None = eqx.field(default=None, converter=_target)
    patience: IntLike | None = count_field("patience", None)
    min_change: RealLike = eqx.field(default=0.0, converter=partial(number, "min_change", least=0))
    window: IntLike = count_field("window", 1)
    monitor: str = "loss"

    def __check_init__(self):
        if self.target is None and self.patience is None:
            raise ValueError("`target` and `patience` are both missing; give one of them or both.")

    def reason(self, history: dict[str, np.ndarray]) -> str | None:
        """Why to stop, in words, or `None` to go on."""
        values = history[self.monitor]
        if values.size < self.window:
            return None
        means = np.convolve(values, np.full(self.window, 1 / self.window), mode="valid")
        unit = "steps"
        if "holdout_step" in history and self.monitor.startswith("holdout_"):
            unit = "evaluations"
        name = self.monitor if self.window == 1 else f"mean {self.monitor} of {self.window} {unit}"
        if self.target is not None and means[-1] <= self.target:
            return f"the {name} reached {means[-1]:.6g}, at or below the target {self.target:.6g}"
        if self.patience is not None and means.size > self.patience:
            best = means[: -self.patience].min()
            if means[-self.patience :].min() >= best - self.min_change:
                return f"the {name} has not fallen for {self.patience} {unit} (best {best:.6g})"
        return None
