"""`diagnose`: is a model silent, does it explode, does it learn, and what to do about it."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from .estimators import AbstractGradientEstimator, Against, Pathwise
from .estimators.trainable import leaf_names, trainable_leaves
from .spikes import SpikeTrains
from .training import FitResult
from .training.labelled import of_batch
from .training.leaving_out import MUCH, LeavingOut


class Diagnosis(eqx.Module):
    """What `diagnose` found.

    Attributes:
        rates: spikes per unit of time of each neuron, mean over trials; empty without trains.
        silent: numbers of the neurons that never fire.
        saturated: numbers of the neurons whose rate is above `saturated_rate`.
        room_used: the largest number of spikes of a trial, as a share of the room.
        overflowed: share of the trials that outgrew their room.
        gradient_norms: norm of the gradient of each parameter, by its name.
        advice: what to do, a sentence for each thing that is wrong; empty where nothing is.
    """

    rates: np.ndarray
    silent: tuple[int, ...]
    saturated: tuple[int, ...]
    room_used: float
    overflowed: float
    gradient_norms: dict[str, float]
    advice: tuple[str, ...]

    def __repr__(self) -> str:
        lines = []
        if self.rates.size:
            lines.append(
                f"rates: median {np.median(self.rates):.3g}, largest {self.rates.max():.3g} per "
                f"unit of time; {len(self.silent)} of {self.rates.size} neurons silent, "
                f"{len(self.saturated)} saturated"
            )
            lines.append(f"room for spikes: {self.room_used:.0%} used, {self.overflowed:.0%} of "
                         "the trials overflowed")  # fmt: skip
        lines += [f"gradient of {name}: {norm:.3g}" for name, norm in self.gradient_norms.items()]
        lines += [f"advice: {sentence}" for sentence in self.advice] or ["nothing looks wrong"]
        return "\n".join(lines)


def diagnose(
    what: SpikeTrains | FitResult,
    *,
    gradient_norms: dict[str, float] | None = None,
    saturated_rate: float | None = None,
) -> Diagnosis:
    """Say what is wrong with generated trains, or with a training run, and what to do.

    Args:
        what: trains of a model, or the result of `fit`.
        gradient_norms: of `gradient_norms`, to be judged as well.
        saturated_rate: spikes per unit of time above which a neuron counts as saturated; by default
            none does.

    Raises:
        TypeError: `what` is neither.
    """
    advice: list[str] = []
    rates, silent, saturated, used, overflowed = np.zeros(0), (), (), 0.0, 0.0
    if isinstance(what, SpikeTrains):
        rates, used, overflowed = _rates(what), _room_used(what), _overflowed(what)
        silent = tuple(np.flatnonzero(rates == 0).tolist())
        limit = np.inf if saturated_rate is None else saturated_rate
        saturated = tuple(np.flatnonzero(rates > limit).tolist())
        advice += _advice_on_trains(rates, silent, saturated, used, overflowed)
    elif isinstance(what, FitResult):
        overflowed = float(np.mean(what.history["overflowed"][-10:])) if what.num_steps else 0.0
        advice += _advice_on_training(what, overflowed)
    else:
        raise TypeError(
            f"`what` is a {type(what).__name__}; it must be SpikeTrains or the result of `fit`."
        )
    norms = dict(gradient_norms or {})
    advice += _advice_on_gradients(norms)
    return Diagnosis(rates, silent, saturated, used, overflowed, norms, tuple(advice))


def gradient_norms(
    model: PyTree,
    data: Any,
    *,
    simulate: Callable[..., Any],
    loss: Callable[[Any, Any], Any],
    key: PRNGKeyArray,
    trainable: Any = None,
    estimator: AbstractGradientEstimator | None = None,
) -> dict[str, float]:
    """Norm of the gradient of each trained parameter, by its name in the model.

    The arguments are those of `fit`; one gradient is estimated, and as in `fit` a sample without a
    derivative is left out. A callback of `fit` may call it.
    """
    chosen = trainable_leaves(model, trainable)
    simulate, observed = of_batch(simulate, data)
    estimate = (Pathwise() if estimator is None else estimator)(
        model, LeavingOut(simulate), Against(loss, observed), key, trainable=chosen
    )
    names = leaf_names(model, chosen)
    arrays = jax.tree.leaves(eqx.filter(estimate.gradient, chosen))
    return {n: float(jnp.linalg.norm(jnp.ravel(x))) for n, x in zip(names, arrays, strict=True)}


def diagnostic_metrics() -> dict[str, Callable[[Any, SpikeTrains, Any], Any]]:
    """Metrics for `fit`: mean rate of a neuron, share of silent neurons, share of the room used."""

    def rate(model, generated, holdout):
        counts = generated.counts_by_neuron.astype(generated.times.dtype)
        return jnp.mean(counts) / jnp.mean(generated.durations)

    def silent(model, generated, holdout):
        counts = jnp.sum(generated.counts_by_neuron, axis=0)
        return jnp.mean((counts == 0).astype(generated.times.dtype))

    def room(model, generated, holdout):
        counts = jnp.max(generated.counts, initial=0).astype(generated.times.dtype)
        return counts / max(generated.max_spikes, 1)

    return {"rate": rate, "silent_share": silent, "room_used": room}


def _rates(trains: SpikeTrains) -> np.ndarray:
    counts = np.asarray(trains.counts_by_neuron, float).reshape(-1, trains.num_neurons)
    return counts.mean(axis=0) / float(np.mean(np.asarray(trains.durations, float)))


def _room_used(trains: SpikeTrains) -> float:
    return float(np.max(np.asarray(trains.counts), initial=0)) / max(trains.max_spikes, 1)


def _overflowed(trains: SpikeTrains) -> float:
    return float(np.mean(np.asarray(trains.overflowed, float)))


def _advice_on_trains(rates, silent, saturated, used, overflowed) -> list[str]:
    advice = []
    if len(silent) == rates.size:
        advice.append(
            "Every neuron is silent, so no spike time has a gradient: raise the input current, "
            "lower the threshold, or make the window longer."
        )
    elif silent:
        advice.append(
            f"{len(silent)} of {rates.size} neurons are silent and learn nothing: raise their "
            "input weights or their current."
        )
    if overflowed > 0:
        advice.append(
            f"{overflowed:.0%} of the trials outgrew the room for spikes: raise `max_spikes`; if "
            "the rates are far above what is wanted, the network explodes: make excitatory weights "
            "smaller or the reset larger."
        )
    elif used > 0.9:
        advice.append(f"{used:.0%} of the room for spikes is used: raise `max_spikes`.")
    if saturated:
        advice.append(
            f"{len(saturated)} neurons are above the rate that counts as saturated: lower their "
            "input, or give them a larger reset or dead intensity."
        )
    return advice


def _advice_on_training(result: FitResult, overflowed: float) -> list[str]:
    advice = []
    loss, norm = result.history["loss"], result.history["gradient_norm"]
    if not np.all(np.isfinite(loss)) or result.status.name in ("NON_FINITE", "FAILED"):
        advice.append(result.message)
    advice += _advice_on_grazing(result.history)
    if overflowed > 0:
        advice.append(f"{overflowed:.0%} of the generated trains overflow: raise `max_spikes`.")
    if norm.size and np.all(norm == 0):
        advice.append(
            "The gradient is zero in every step: the model is silent, or what is trained does not "
            "reach the loss."
        )
    elif loss.size >= 20:
        part = max(loss.size // 5, 5)
        first, last = loss[:part], loss[-part:]
        error = np.sqrt((first.var(ddof=1) + last.var(ddof=1)) / part)
        if last.mean() > first.mean() + 3 * error:
            advice.append(
                "The loss rises: lower the learning rate, clip the gradients, or check that few "
                "spikes cross the end of the window (`rs.PathwiseWithBoundary`)."
            )
        elif last.mean() > first.mean() - error:
            advice.append(
                "The loss does not fall beyond its noise: simulate more trials in a step, take "
                "more or larger steps, or start elsewhere."
            )
    return advice


def _advice_on_grazing(history: dict[str, np.ndarray]) -> list[str]:
    """On samples without a derivative, of a run as a whole or of its last steps."""
    advice = []
    for name, what in (("left_out", "left out of the gradient"), ("clipped", "clipped")):
        values = history[name]
        share = max(np.mean(values), np.mean(values[-50:])) if values.size else 0.0
        if share > MUCH:
            advice.append(
                f"The derivatives of {share:.0%} of the samples were {what}, as a spike only "
                "grazed its threshold: the gradient is one of the other samples. Take a smaller "
                "`dt0` or a solver of order two or more, stronger weights or input, or a "
                "stochastic neuron, which never grazes."
            )
    return advice


def _advice_on_gradients(norms: dict[str, float]) -> list[str]:
    zero = [name for name, norm in norms.items() if norm == 0]
    bad = [name for name, norm in norms.items() if not np.isfinite(norm)]
    advice = []
    if bad:
        advice.append(f"The gradient of {', '.join(bad)} is not finite.")
    if zero:
        advice.append(f"The gradient of {', '.join(zero)} is zero: it does not reach the loss.")
    return advice
