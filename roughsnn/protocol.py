"""`Protocol`: what is done to a model in a trial."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax.random as jr
from jaxtyping import PRNGKeyArray

from ._checks import IntLike, RealLike, optional_whole_number, real_array, whole_number, window
from ._shown import shown
from .drivers import AbstractNoise, BrownianNoise, TimeGrid, check_noise
from .networks import Inputs
from .neurons import AbstractNeuron
from .solve import levy_area_for
from .spikes import SpikeTrains

__all__ = ["Protocol"]


class Protocol(eqx.Module):
    """What is done to a model in a trial: the window, what drives the model there, and when a trial
    ends. How that is computed is the engine's to say, such as [`roughsnn.EventEngine`][].

    It is a tree: its input currents and input spikes can be differentiated and mapped over.

    Args:
        t0: start of the window; a known number, as are `t1` and `dt0`, which are not traced.
        t1: end of the window.
        dt0: step of the solver.
        max_spikes: room for spikes, of all neurons together, in each trial. It costs memory, not
            time; one spike more is an error.
        stop_after: end each trial at its n-th spike (of all neurons together).
        input_current: a number, an array of shape (K,), one of shape (samples, K) with a row for
            each sample, or a function of time that returns a number or an array of shape (K,), for
            instance [`roughsnn.CurrentOnGrid`][]; it drives the potential. Default: none.
        input_spikes: [`roughsnn.SpikeTrains`][] that drive a network with `input_weights`: one
            trial for all samples, or a batch with one for each. Each of its spikes cuts a step;
            one at t0 has no effect, as the trial begins after it.
        noise: the law of the noise, such as [`roughsnn.FractionalNoise`][] or a sum of laws; by
            default [`roughsnn.BrownianNoise`][].

    Raises:
        TypeError: an argument of the wrong kind.
        ValueError: an argument outside its range.
    """

    t0: float = eqx.field(static=True)
    t1: float = eqx.field(static=True)
    dt0: float = eqx.field(static=True)
    max_spikes: int = eqx.field(static=True)
    stop_after: int | None = eqx.field(static=True)
    input_current: Any
    input_spikes: SpikeTrains | None
    noise: AbstractNoise | None

    def __init__(
        self,
        t0: RealLike,
        t1: RealLike,
        dt0: RealLike,
        *,
        max_spikes: IntLike,
        stop_after: IntLike | None = None,
        input_current: Any = None,
        input_spikes: SpikeTrains | None = None,
        noise: AbstractNoise | None = None,
    ):
        self.t0, self.t1, self.dt0 = window(t0, t1, dt0)
        TimeGrid(self.t0, self.t1, self.dt0)  # refuses what is no window
        self.max_spikes = whole_number("max_spikes", max_spikes, 0)
        self.stop_after = optional_whole_number("stop_after", stop_after, 1)
        if self.stop_after is not None and self.stop_after > self.max_spikes:
            raise ValueError(
                f"`stop_after` must be at most `max_spikes`, got stop_after={stop_after} and "
                f"max_spikes={max_spikes}."
            )
        if input_spikes is not None and not isinstance(input_spikes, SpikeTrains):
            raise TypeError(
                f"`input_spikes` must be SpikeTrains, got {type(input_spikes).__name__}: see "
                "SpikeTrains.from_lists."
            )
        if noise is not None and not isinstance(noise, AbstractNoise):
            raise TypeError(
                "`noise` must be the law of a path, such as roughsnn.BrownianNoise() or "
                f"roughsnn.FractionalNoise(0.7), got {type(noise).__name__}."
            )
        self.input_current, self.input_spikes, self.noise = input_current, input_spikes, noise

    @property
    def grid(self) -> TimeGrid:
        """The cells of the solver."""
        return TimeGrid(self.t0, self.t1, self.dt0)

    def inputs(self, model: AbstractNeuron, num_samples: int) -> Inputs | None:
        """The input spikes, refused where they do not fit the model or the number of samples."""
        if self.input_spikes is None:
            return None
        return Inputs.of(model, self.input_spikes, num_samples, self.t0, self.t1)

    def __repr__(self) -> str:
        lines = [f"protocol: window [{self.t0:g}, {self.t1:g}], steps of {self.dt0:g}, room for "
                 f"{self.max_spikes} spikes"]  # fmt: skip
        if self.stop_after is not None:
            lines.append(f"ends at spike number {self.stop_after}")
        for name in ("input_current", "input_spikes", "noise"):
            value = getattr(self, name)
            if value is not None:
                described = shown(value) if eqx.is_array(value) else repr(value)
                lines.append(f"{name.replace('_', ' ')}: {described}")
        return "\n".join(lines)


def checked_current(model: AbstractNeuron, input_current: Any, num_samples: int) -> Any:
    """The input current, refused where it does not fit the model or the number of samples."""
    if input_current is None or callable(input_current):
        model.check_input(input_current)
        return input_current
    if has_row_per_sample(input_current):
        current = real_array("input_current", input_current)
        if current.shape[0] != num_samples:
            raise ValueError(
                f"`input_current` has shape {current.shape}, a row for each of {current.shape[0]} "
                f"samples, and there are {num_samples}."
            )
        if num_samples:
            model.check_input(current[0])
        return current
    model.check_input(input_current)
    return real_array("input_current", input_current)


def has_row_per_sample(input_current: Any) -> bool:
    """Whether each sample has an input current of its own."""
    return getattr(input_current, "ndim", 0) == 2 and not callable(input_current)


def current_of_sample(input_current: Any, index) -> Any:
    """The input current of one sample."""
    return input_current[index] if has_row_per_sample(input_current) else input_current


def trial_keys(key: PRNGKeyArray, index) -> tuple[PRNGKeyArray, PRNGKeyArray, PRNGKeyArray]:
    """The keys of trial number `index`: of its first state, its noise, its marks."""
    start, noise, marks = (jr.fold_in(jr.fold_in(key, index), i) for i in range(3))
    return start, noise, marks


def randomness(
    model: AbstractNeuron,
    grid: TimeGrid,
    noise: AbstractNoise | None,
    key: PRNGKeyArray,
    index,
    solver: dfx.AbstractSolver | None,
    stored: bool = True,
):
    """What trial number `index` draws: the key of its first state, its driver, the key of its
    marks."""
    check_noise(noise, model)
    start, path, marks = trial_keys(key, index)
    if model.noise_shape is None:
        return start, None, marks
    # a solver that is chosen for its kind of noise needs increments, as Euler's does
    levy_area = levy_area_for(solver or model.default_solver or dfx.Euler())
    law = BrownianNoise() if noise is None else noise
    driver = law.path(grid, model.noise_shape, path, levy_area=levy_area, stored=stored)
    return start, driver, marks
