"""`fit`: train a model on spike trains or labelled data; `fit_many`: several seeds at once."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key, PRNGKeyArray, PyTree, UInt32

from roughsnn._checks import IntLike, optional_whole_number, whole_number
from roughsnn.devices import same_on_each_host
from roughsnn.estimators import AbstractGradientEstimator
from roughsnn.losses import AbstractLoss
from roughsnn.runs import Checkpoints
from roughsnn.spikes import SpikeTrains

from .arguments import (
    check_data,
    check_early_stop,
    check_seed_axis,
    keeper_of,
    make_step,
    seed_axes,
)
from .early_stop import EarlyStop
from .holdout import evaluated_until, holdout_of
from .labelled import LabelledData
from .leaving_out import MUCH, said_of_left_out
from .loop import Chunk, Reached, loop
from .result import FitResult, FitStatus
from .step import Optimiser, TrainState, TrainStep

ADVICE = (
    "The model is the one before that step. Lower the learning rate or clip the gradients "
    "(`optax.clip_by_global_norm`), and check the model's parameters."
)


def fit(
    model: PyTree,
    data: SpikeTrains | LabelledData | None,
    *,
    simulate: Callable[..., Any],
    loss: Callable[[Any, Any], Any],
    optimiser: Optimiser,
    num_steps: IntLike,
    key: PRNGKeyArray,
    estimator: AbstractGradientEstimator | None = None,
    trainable: Any = None,
    batch_size: IntLike | None = None,
    metrics: Mapping[str, Callable[[Any, Any, Any], Any]] | None = None,
    holdout: Any = None,
    evaluate_every: IntLike | None = None,
    callback: Callable[[int, Any, dict[str, np.ndarray]], Any] | None = None,
    between_steps: Callable[[Any, Any, Any, PRNGKeyArray], Any] | None = None,
    conditions: Literal["leave-out", "refuse"] = "leave-out",
    early_stop: EarlyStop | None = None,
    checkpoint: Checkpoints | None = None,
    log_every: IntLike = 10,
    progress: bool = True,
) -> FitResult:
    r"""Minimise $\mathbb E\,L(\text{simulate}(\theta), \text{data})$ by stochastic gradient steps.

    Every step draws fresh noise from `key` and the number of the step, so the same key gives
    the same run whatever `log_every` is. `log_every` steps at a time run inside one compiled
    program, which is compiled once.

    Args:
        model: what is trained, usually an equinox module.
        data: observed trains, batch shape `(samples,)`; or [`roughsnn.LabelledData`][], inputs and
            their targets; `None` for a loss that needs none, because `simulate` draws a task
            together with its targets.
        simulate: function of the model and a key that draws a sample of trains (or of
            [`roughsnn.Trials`][], whose trains the loss and the metrics then see). With labelled
            data `(model, inputs, key)`, with the inputs of the mini-batch of the step.
        loss: function of the generated and the observed trains that returns a scalar, with
            labelled data of what was generated and the targets of the same mini-batch. Where it is
            a [`roughsnn.AbstractLoss`][] and observed trains are not cut into batches, its
            `target` of them is computed once, before the first step.
        optimiser: an optax optimiser.
        num_steps: steps to take.
        key: random key.
        estimator: how the gradient is estimated, by default [`roughsnn.Pathwise`][]; a loss that
            jumps when a spike crosses the end of the window needs
            [`roughsnn.PathwiseWithBoundary`][].
        trainable: what is trained: by default all floating-point arrays of the model; or a
            function from the model to the node or tuple of nodes that are trained; or a pytree
            of bools like the model.
        batch_size: samples of the data per step, see `minibatch_indices`; by default all.
        metrics: named functions `(model, generated, holdout) -> scalar` that are recorded each
            step, of the model before the update and the trains it generated. With labelled data
            `(model, generated, targets)`, with the targets of the same mini-batch.
        holdout: anything the metrics compare with, usually trains kept out of training. With
            labelled data it is labelled data too: the loss and the metrics are evaluated on all of
            it, outside of the gradient steps, and are kept in `result.evaluations`.
        evaluate_every: steps between two evaluations of labelled `holdout`, the first of them
            before training; by default as many as make an epoch, and `log_every` at least.
        callback: `(step, model, history)`, called every `log_every` steps, after an evaluation and
            at the end of training, with NumPy arrays, those of the evaluations among them; training
            stops if it returns True.
        between_steps: `(step, model, generated, key) -> model`, called inside the compiled program
            after each update, with the number of steps taken and the trains of the last one. What
            it returns, a model of the same structure, is the model of the next step: to wake silent
            neurons, or to change what is not trained as training goes on, such as the sharpness of
            a threshold. It must be a pure function; a run that is resumed goes on the same.
        conditions: what happens to a sample whose spikes have no derivative as one of them only
            grazes its threshold (see [`roughsnn.eventsolve`][]): `"leave-out"` gives it the
            derivative 0 and records the share of such samples (`left_out`); `"refuse"` ends
            training. The sample stays in the loss, and a mean over samples is still divided by
            all of them. `simulate` has to return its spike trains, trials or solution; where it
            returns something else made of them, give `conditions="leave-out"` to the simulation in
            it.
        early_stop: when to stop before `num_steps`, looked at every `log_every` steps.
        checkpoint: where the state is kept, so that a run that was cut off goes on from there, see
            [`roughsnn.Checkpoints`][].
        log_every: steps per call of the compiled program (the first step is a call of its own).
            Progress, callback, early stop and Ctrl-C act between calls.
        progress: whether to show a progress bar.

    Returns:
        the trained model with its history, in every ending: it is the model after the last good
        step, and `result.status` and `result.message` say what happened and what to do. A loss,
        gradient or parameter that is not finite ends training with `FitStatus.NON_FINITE`; Ctrl-C
        and SIGTERM with `INTERRUPTED`; an error after the first step, in the simulation, in the
        callback or while a checkpoint is written, with `FAILED` and `result.error`. The first and
        the last also warn. Scripts that are not to go on then use `result.raise_unless_trained()`.

    Raises:
        CheckpointError: a checkpoint that is damaged or belongs to another fit, or a folder that
            cannot be written to.
        EventSolveError: the first step fails, as may any error in it.
        TypeError: an argument of the wrong kind.
        ValueError: an argument outside its range; a loss or a metric that is not a scalar.
    """
    num_steps = whole_number("num_steps", num_steps, 0)
    log_every = whole_number("log_every", log_every, 1)
    batch_size = optional_whole_number("batch_size", batch_size, 1)
    evaluate_every = optional_whole_number("evaluate_every", evaluate_every, 1)
    step = make_step(
        simulate, loss, optimiser, estimator, trainable, batch_size, metrics, between_steps,
        conditions,
    )  # fmt: skip
    samples = check_data(data, batch_size, batch_shape="(samples,)", rank=1)
    if samples is not None and batch_size is not None and not 1 <= batch_size <= samples:
        raise ValueError(
            f"`batch_size` is {batch_size}; it must be between 1 and the number of samples in "
            f"`data`, {samples}."
        )
    watch = holdout_of(step, data, holdout, evaluate_every, log_every, key, samples)
    check_early_stop(early_stop, step, () if watch is None else watch.names)
    keeper = keeper_of(checkpoint, step, key, data, holdout)
    holdout = holdout if watch is None else None
    if batch_size is None and isinstance(data, SpikeTrains) and isinstance(loss, AbstractLoss):
        data = loss.target(data)

    def run(state, failed, steps):
        return _run(step, state, failed, data, key, holdout, steps, log_every)

    def evaluations(reached: "Reached") -> dict[str, np.ndarray]:
        return {} if watch is None else watch.history(reached)

    def stop_reason(reached: "Reached") -> tuple[FitStatus, str] | None:
        history = reached.history(step.recorded) | evaluations(reached)
        reason = None if early_stop is None else early_stop.reason(history)
        if callback is not None and callback(reached.done, reached.state.model, history) is True:
            return FitStatus.STOPPED_BY_CALLBACK, f"the callback returned True at {reached.done}"
        return None if reason is None else (FitStatus.EARLY_STOP, reason)

    start = Reached(step.init(model), jnp.zeros((), dtype=bool))
    reached = loop(run, start, num_steps, log_every, progress, stop_reason, keeper, watch=watch)
    return _result(step, reached, reached.history(step.recorded), evaluations(reached), None)


def fit_many(
    models: PyTree,
    data: SpikeTrains | LabelledData | None,
    *,
    simulate: Callable[..., Any],
    loss: Callable[[Any, Any], Any],
    optimiser: Optimiser,
    num_steps: IntLike,
    keys: Key[Array, " seeds"] | UInt32[Array, "seeds _"],
    estimator: AbstractGradientEstimator | None = None,
    trainable: Any = None,
    batch_size: IntLike | None = None,
    metrics: Mapping[str, Callable[[Any, Any, Any], Any]] | None = None,
    holdout: Any = None,
    evaluate_every: IntLike | None = None,
    callback: Callable[[int, Any, dict[str, np.ndarray]], Any] | None = None,
    between_steps: Callable[[Any, Any, Any, PRNGKeyArray], Any] | None = None,
    conditions: Literal["leave-out", "refuse"] = "leave-out",
    early_stop: EarlyStop | None = None,
    checkpoint: Checkpoints | None = None,
    log_every: IntLike = 10,
    progress: bool = True,
) -> list[FitResult]:
    """Run `fit` for several seeds side by side in one compiled program.

    Args:
        models: one pytree whose arrays have a leading axis of length `len(keys)`, for example
            `equinox.filter_vmap(lambda key: model)(keys)` to start all seeds from one model.
        data: observed trains of each seed, batch shape `(len(keys), samples)`, or labelled data
            whose entries have these two axes first; `None` as in `fit`.
        simulate: as in `fit`, for one seed, as are the loss, optimiser and metrics.
        loss: as in `fit`.
        optimiser: as in `fit`.
        num_steps: as in `fit`.
        keys: one random key per seed.
        estimator: as in `fit`.
        trainable: as in `fit`.
        batch_size: as in `fit`.
        metrics: as in `fit`.
        holdout: as in `fit`, its arrays with a leading axis of length `len(keys)`; the window of
            spike trains stays shared.
        evaluate_every: as in `fit`.
        callback: as in `fit`; models and histories have a leading axis over seeds, and all stop if
            it returns True.
        between_steps: as in `fit`, for one seed.
        conditions: as in `fit`.
        early_stop: as in `fit`; each seed stops by itself, and waits for the others.
        checkpoint: as in `fit`; all seeds are in one checkpoint.
        log_every: as in `fit`.
        progress: whether to show a progress bar, with the mean loss over seeds.

    Returns:
        one result per seed, the same up to rounding as `fit` with that seed's model, data, key
        and holdout. A seed that meets a non-finite value stops alone.

    Raises:
        CheckpointError: as in `fit`.
        EventSolveError: as in `fit`.
        TypeError: an argument of the wrong kind.
        ValueError: an argument outside its range, or leading axes that differ.
    """
    num_steps = whole_number("num_steps", num_steps, 0)
    log_every = whole_number("log_every", log_every, 1)
    batch_size = optional_whole_number("batch_size", batch_size, 1)
    evaluate_every = optional_whole_number("evaluate_every", evaluate_every, 1)
    step = make_step(
        simulate, loss, optimiser, estimator, trainable, batch_size, metrics, between_steps,
        conditions,
    )  # fmt: skip
    samples = check_data(data, batch_size, batch_shape="(len(keys), samples)", rank=2)
    num_seeds = keys.shape[0]
    if num_seeds == 0:
        raise ValueError(f"`keys` has shape {keys.shape}; it must hold one key per seed.")
    for name, tree in (("models", models), ("data", data), ("holdout", holdout)):
        check_seed_axis(name, tree, num_seeds)
    if samples is not None and batch_size is not None and not 1 <= batch_size <= samples:
        raise ValueError(
            f"`batch_size` is {batch_size}; it must be between 1 and the number of samples of a "
            f"seed, {samples}."
        )
    watch = holdout_of(step, data, holdout, evaluate_every, log_every, keys, samples, seeds=True)
    check_early_stop(early_stop, step, () if watch is None else watch.names)
    keeper = keeper_of(checkpoint, step, keys, data, holdout)
    holdout = holdout if watch is None else None
    if batch_size is None and isinstance(data, SpikeTrains) and isinstance(loss, AbstractLoss):
        data = eqx.filter_vmap(loss.target, in_axes=(seed_axes(data),))(data)

    def run(state, failed, steps):
        return _run_many(step, state, failed, data, keys, holdout, steps, log_every)

    def evaluations(reached: "Reached") -> dict[str, np.ndarray]:
        return {} if watch is None else watch.history(reached)

    def stop_reason(reached: "Reached") -> tuple[FitStatus, str] | None:
        if callback is None:
            return None
        history = reached.history(step.recorded) | evaluations(reached)
        if callback(reached.done, reached.state.model, history) is True:
            return FitStatus.STOPPED_BY_CALLBACK, f"the callback returned True at {reached.done}"
        return None

    def stop_of(reached: "Reached", seed: int) -> str | None:
        """Why the early stop ends the training of a seed."""
        if early_stop is None:
            return None
        done = int(reached.state.step[seed])
        history = {name: x[seed, :done] for name, x in reached.history(step.recorded).items()}
        return early_stop.reason(history | evaluated_until(done, evaluations(reached), seed))

    def waits(reached: "Reached") -> np.ndarray:
        return np.array([stop_of(reached, seed) is not None for seed in range(num_seeds)])

    start = Reached(eqx.filter_vmap(step.init)(models), jnp.zeros(num_seeds, dtype=bool))
    reached = loop(run, start, num_steps, log_every, progress, stop_reason, keeper, waits, watch)
    history, results = reached.history(step.recorded), []
    for seed in range(num_seeds):
        reason = stop_of(reached, seed)
        ending = reached.ending if reason is None else (FitStatus.EARLY_STOP, reason)
        reached = reached._replace(ending=ending)
        results.append(_result(step, reached, history, evaluations(reached), seed))
    return results


@eqx.filter_jit
def _run(
    step: TrainStep,
    state: TrainState,
    failed: Bool[Array, ""],
    data: Any,
    key: PRNGKeyArray,
    holdout: Any,
    steps: Int[Array, ""],
    room: int,
) -> tuple[TrainState, Bool[Array, ""], Chunk]:
    """At most `steps <= room` training steps; fewer if one fails."""
    arrays, static = eqx.partition(state, eqx.is_array)

    def goes_on(carry):
        _, taken, failed, _, _ = carry
        return (taken < steps) & ~failed

    def one_step(carry):
        arrays, taken, _, values, _ = carry
        state, record = step(eqx.combine(arrays, static), data, key, holdout)
        arrays = eqx.filter(state, eqx.is_array)
        values = values.at[taken].set(record.values)
        taken = taken + jnp.where(record.failed, 0, 1).astype(taken.dtype)
        return arrays, taken, record.failed, values, record.bad

    empty = jnp.full((room, len(step.recorded)), jnp.nan)
    no_blame = jnp.zeros(len(step.checked(state.model)), dtype=bool)
    start = (arrays, jnp.zeros_like(steps), failed, empty, no_blame)
    arrays, taken, failed, values, bad = jax.lax.while_loop(goes_on, one_step, start)
    arrays, failed, chunk = same_on_each_host((arrays, failed, Chunk(values, taken, bad)))
    return eqx.combine(arrays, static), failed, chunk


@eqx.filter_jit
def _run_many(step, state, failed, data, keys, holdout, steps, room):
    """`_run` for every seed; a seed that failed waits."""

    def one_seed(state, failed, data, key, holdout):
        return _run(step, state, failed, data, key, holdout, steps, room)

    axes = (eqx.if_array(0), 0, seed_axes(data), 0, seed_axes(holdout))
    return eqx.filter_vmap(one_seed, in_axes=axes)(state, failed, data, keys, holdout)


def _result(
    step: TrainStep,
    reached: Reached,
    history: dict[str, np.ndarray],
    evaluations: dict[str, np.ndarray],
    seed: int | None,
) -> FitResult:
    """The result of a run, or of one seed of it."""
    state, done = reached.state, reached.done
    bad = reached.blamed
    name = "" if seed is None else f" of seed {seed}"
    if seed is not None:
        state = jax.tree.map(lambda x: x[seed] if eqx.is_array(x) else x, state)
        done = int(state.step)
        history = {key: values[seed, :done] for key, values in history.items()}
        evaluations = evaluated_until(done, evaluations, seed)
        bad = bad[seed]
    if np.any(bad):
        status = FitStatus.NON_FINITE
        message = (
            f"Training{name} stopped in step {done}: {step.blame(state.model, bad)} was not "
            f"finite. {ADVICE}"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    else:
        status, detail = reached.ending
        message = status.value if not detail else f"{status.value[:-1]}: {detail.rstrip('.')}."
    if status is FitStatus.FAILED:
        message += " The model is the one after these steps; mend the cause and go on from it."
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    left_out = said_of_left_out(history)
    message += left_out
    if np.max([np.mean(history[n]) for n in ("left_out", "clipped") if done], initial=0) > MUCH:
        warnings.warn(
            f"{left_out.strip()} `roughsnn.diagnose` says what to do.", RuntimeWarning, stacklevel=3
        )
    overflowed = np.asarray(history["overflowed"])
    if np.max(overflowed, initial=0.0) > 0:
        short = (
            f" In {np.mean(overflowed > 0):.0%} of the steps{name} some of the generated trains, "
            f"up to {np.max(overflowed):.0%}, had more spikes than there was room for, and the "
            "loss saw only the first of them. Raise `max_spikes`, or prepare the engine on trials "
            "like those of the trained model."
        )
        message += short
        warnings.warn(short.strip(), RuntimeWarning, stacklevel=3)
    return FitResult(
        state.model,
        state.optimiser_state,
        history,
        done,
        status,
        message,
        reached.seconds,
        reached.seconds_first_call,
        reached.error if status is FitStatus.FAILED else None,
        evaluations,
    )
