"""Cross-entropy of classes, each of which has an output neuron."""

import abc
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from roughsnn._checks import IntLike, RealLike, number, whole_number
from roughsnn._shown import is_known
from roughsnn.spikes import SpikeTrains, first_spike_times
from roughsnn.spikes.presence import first_time

from .base import AbstractLoss
from .comparable import require_sample

Outputs = Sequence[IntLike] | np.ndarray | jax.Array | None
"""Which neurons stand for the classes; `None` for all."""


def _neurons(outputs: Any) -> tuple[int, ...] | None:
    if outputs is None:
        return None
    if not hasattr(outputs, "__iter__"):
        raise ValueError(
            f"`outputs` is {outputs!r}; it must be the numbers of the neurons that stand for the "
            "classes, such as `range(30, 33)`, or None for all."
        )
    chosen = tuple(whole_number("outputs", x, 0) for x in outputs)
    if len(chosen) < 2 or len(set(chosen)) < len(chosen):
        raise ValueError(
            f"`outputs` is {chosen}; it must name two or more neurons, each once: one per class."
        )
    return chosen


def _outputs_field() -> Any:
    return eqx.field(default=None, static=True, converter=_neurons)


def _optional_time(name: str) -> Callable[[Any], float | None]:
    return lambda value: None if value is None else number(name, value, positive=True)


class AbstractClassificationLoss(AbstractLoss):
    r"""Softmax cross-entropy of scores of the classes.

    $$
    L = \frac1m \sum_{b=1}^m \Bigl( \log \sum_c e^{z_{bc}} - z_{b\,y_b} \Bigr),
    $$

    with the label $y_b \in \{0, \dots, C-1\}$ of sample b and its scores $z_{bc}$, which a subclass
    reads off what the model generated. It is a loss for [`roughsnn.fit`][] with
    [`roughsnn.LabelledData`][] whose targets are the labels; `decide` and `accuracy` are for
    [`roughsnn.predict`][] and [`roughsnn.evaluate`][].
    """

    @abc.abstractmethod
    def logits(self, generated: Any) -> Float[Array, "samples classes"]:
        """The scores: the larger, the likelier the class."""

    def undecided(self, generated: Any) -> Bool[Array, " samples"]:
        """Samples that speak for no class; by default none."""
        return jnp.zeros(self.logits(generated).shape[0], dtype=bool)

    def of_samples(self, generated: Any, labels: ArrayLike) -> Float[Array, " samples"]:
        """The loss of each sample; NaN where its label is no class.

        Raises:
            ValueError: not one whole number per sample, or one that is no class.
        """
        logits = self.logits(generated)
        labels = _checked_labels(labels, *logits.shape)
        found = jnp.take_along_axis(
            jax.nn.log_softmax(logits, axis=1), labels[:, None], axis=1, mode="clip"
        )
        valid = (labels >= 0) & (labels < logits.shape[1])
        return jnp.where(valid, -found[:, 0], jnp.nan)

    def __call__(self, generated: Any, labels: ArrayLike) -> Float[Array, ""]:
        """The mean over the samples.

        Raises:
            ValueError: as in `of_samples`.
        """
        return jnp.mean(self.of_samples(generated, labels))

    def decide(self, generated: Any) -> Int[Array, " samples"]:
        """The class with the largest score, the first of several; -1 where nothing speaks for
        any, or a score is NaN."""
        logits = self.logits(generated)
        best = jnp.argmax(logits, axis=1).astype(jnp.int32)
        unknown = self.undecided(generated) | jnp.any(jnp.isnan(logits), axis=1)
        return jnp.where(unknown, -1, best)

    def accuracy(self, generated: Any, labels: ArrayLike) -> Float[Array, ""]:
        """The share of the samples that are decided as they are labelled; NaN where a label is no
        class.

        Raises:
            ValueError: as in `of_samples`.
        """
        shape = self.logits(generated).shape
        labels = _checked_labels(labels, *shape)
        right = self.decide(generated) == labels.astype(jnp.int32)
        share = jnp.mean(right, dtype=jnp.result_type(float))
        return jnp.where(jnp.all((labels >= 0) & (labels < shape[1])), share, jnp.nan)

    def changes(
        self, generated: SpikeTrains, observed: Any, alternatives: SpikeTrains
    ) -> Float[Array, "samples n"] | None:
        """The change of the loss if train b alone is replaced by its alternative a."""
        if not isinstance(generated, SpikeTrains):
            return None
        samples, n = alternatives.batch_shape
        labels = jnp.repeat(jnp.asarray(observed), n, total_repeat_length=samples * n)
        new = self.of_samples(alternatives.reshape(-1), labels).reshape(samples, n)
        return (new - self.of_samples(generated, observed)[:, None]) / samples


class FirstSpikeCrossEntropy(AbstractClassificationLoss):
    r"""The class is that of the output neuron that fires first.

    With $t_{bc}$ the first spike time of the output neuron of class c in sample b, from the start
    of the window, and $t_{bc} = t_{\text{silent}}$ where it does not fire, the scores are

    $$
    z_{bc} = -t_{bc} / \vartheta ,
    $$

    with a temperature $\vartheta$: differences of times well above it are as good as decided. The
    loss may also ask for early spikes,
    $L + \alpha \frac1m \sum_b \bigl( e^{t_{b\,y_b} / t_\alpha} - 1 \bigr)$.

    A silent output neuron has no gradient of its own; the others do, relative to it. If none
    fires, the sample moves nothing and counts as wrong (see [silent
    neurons](../how-to/train.md#silent-neurons)). By surrogate derivatives of the presence of
    spikes, of a [`roughsnn.ClockEngine`][], silent neurons have one: by how much earlier the first
    spike would be if there were one.

    Attributes:
        temperature: $\vartheta$, in the unit of time.
        outputs: numbers of the output neurons in the order of the classes; default: all neurons.
        silent_at: $t_{\text{silent}}$, from the start of the window; default: its end. A neuron
            that fires later than that is further behind than a silent one.
        early_weight: $\alpha$.
        early_time: $t_\alpha$, needed with `early_weight`.

    Raises:
        ValueError: a setting out of range, at construction; outputs that the trains do not have,
            at the call.

    Reference: Wunderlich & Pehle (2021), Sci. Rep. 11:12829, for Yin-Yang (Kriener, Göltz &
    Petrovici 2022), with $\vartheta = 0.1$, $t_\alpha = 1.28$ synaptic time constants and
    $\alpha = 0.003$; first spikes as classes: Mostafa (2018), IEEE TNNLS 29:3227.
    """

    temperature: RealLike = eqx.field(
        static=True, converter=partial(number, "temperature", positive=True)
    )
    outputs: Outputs = _outputs_field()
    silent_at: RealLike | None = eqx.field(
        default=None, static=True, converter=_optional_time("silent_at")
    )
    early_weight: RealLike = eqx.field(
        default=0.0, static=True, converter=partial(number, "early_weight", least=0)
    )
    early_time: RealLike | None = eqx.field(
        default=None, static=True, converter=_optional_time("early_time")
    )

    def __check_init__(self):
        if self.early_weight and self.early_time is None:
            raise ValueError(
                f"`early_time` is None and `early_weight` {self.early_weight}; give the time "
                "within which the spike of the right class is to come."
            )

    def times(self, trains: SpikeTrains) -> Float[Array, "samples classes"]:
        """First spike times of the output neurons, `silent_at` for those that do not fire."""
        times = _first(trains, self.outputs)
        late = trains.durations[:, None] if self.silent_at is None else self.silent_at
        if trains.presence is not None:
            late = jnp.broadcast_to(jnp.asarray(late, times.dtype), times.shape)
            return first_time(_selected(trains, self.outputs).presence, late)
        return jnp.where(jnp.isfinite(times), times, jnp.asarray(late, times.dtype))

    def logits(self, generated: SpikeTrains) -> Float[Array, "samples classes"]:
        """Minus the first spike times over the temperature."""
        return -self.times(generated) / self.temperature

    def undecided(self, generated: SpikeTrains) -> Bool[Array, " samples"]:
        """Samples in which no output neuron fires."""
        return ~jnp.any(jnp.isfinite(_first(generated, self.outputs)), axis=1)

    def of_samples(self, generated: SpikeTrains, labels: ArrayLike) -> Float[Array, " samples"]:
        loss = super().of_samples(generated, labels)
        if not self.early_weight or self.early_time is None:
            return loss
        index = jnp.asarray(labels)[:, None]
        time = jnp.take_along_axis(self.times(generated), index, axis=1, mode="clip")[:, 0]
        return loss + self.early_weight * jnp.expm1(time / self.early_time)


class SpikeCountCrossEntropy(AbstractClassificationLoss):
    r"""The class is that of the output neuron that fires most.

    With $n_{bc}$ the number of spikes of the output neuron of class c in sample b, the scores are
    $z_{bc} = n_{bc} / \vartheta$. A sample in which no output neuron fires is undecided.

    Counts have no pathwise derivative. The loss needs an estimator that knows how they change,
    [`roughsnn.ScoreFunction`][] or [`roughsnn.PathwiseWithBoundary`][], with stochastic neurons; or
    surrogate derivatives of the presence of spikes, by a [`roughsnn.ClockEngine`][].

    Attributes:
        outputs: numbers of the output neurons in the order of the classes; default: all neurons.
        temperature: $\vartheta$, in spikes.

    Raises:
        ValueError: a setting out of range, at construction; outputs that the trains do not have,
            at the call.

    Reference: Eshraghian et al. (2023), Proc. IEEE 111:1016, cross-entropy of spike counts.
    """

    outputs: Outputs = _outputs_field()
    temperature: RealLike = eqx.field(
        default=1.0, static=True, converter=partial(number, "temperature", positive=True)
    )

    def logits(self, generated: SpikeTrains) -> Float[Array, "samples classes"]:
        """Numbers of spikes over the temperature."""
        return _selected(generated, self.outputs).presence_by_neuron / self.temperature

    def undecided(self, generated: SpikeTrains) -> Bool[Array, " samples"]:
        """Samples in which no output neuron fires."""
        return jnp.all(self._counts(generated) == 0, axis=1)

    def _counts(self, trains: SpikeTrains) -> Int[Array, "samples classes"]:
        return _selected(trains, self.outputs).counts_by_neuron


class ReadoutCrossEntropy(AbstractClassificationLoss):
    r"""The class is that of the readout with the highest potential.

    With $v_{bc}(t_j)$ the potential of the readout of class c in sample b at the saved times, the
    scores are

    $$
    z_{bc} = \frac{1}{\vartheta} \max_j v_{bc}(t_j) \quad\text{or}\quad
    z_{bc} = \frac{1}{\vartheta\, n} \sum_{j=1}^{n} v_{bc}(t_j) .
    $$

    A readout that integrates and does not fire has a gradient whatever the hidden neurons do, as
    long as some of them fire. [`roughsnn.LeakyReadout`][] is one for the spikes of every engine.

    Attributes:
        over: `"max"` or `"mean"` over time; `None` where what was generated has no axis of times,
            as one number is made of each readout already.
        outputs: numbers of the readouts in the order of the classes; default: all.
        temperature: $\vartheta$, in the unit of the potential.
        readout: function from what the model generated to the potentials, shape
            `(samples, times, neurons)`, with `over=None` `(samples, neurons)`; default: they are
            what it generated. With `rs.simulate_solution` for example
            `lambda solution: solution.ys.v`.

    Raises:
        ValueError: a setting out of range, at construction; an array of another shape or without
            the outputs, at the call.

    Reference: maximum over time, Wunderlich & Pehle (2021), Sci. Rep. 11:12829, for MNIST, and
    Zenke & Vogels (2021), Neural Comput. 33:899.
    """

    over: str | None = eqx.field(default="max", static=True)
    outputs: Outputs = _outputs_field()
    temperature: RealLike = eqx.field(
        default=1.0, static=True, converter=partial(number, "temperature", positive=True)
    )
    readout: Callable[[Any], Array] | None = eqx.field(default=None, static=True)

    def __check_init__(self):
        if self.over not in ("max", "mean", None):
            raise ValueError(
                f"`over` is {self.over!r}; it must be 'max' or 'mean', or None for reduced scores."
            )

    def logits(self, generated: Any) -> Float[Array, "samples classes"]:
        """Maximum or mean over time of the potentials, over the temperature."""
        values = generated if self.readout is None else self.readout(generated)
        shape = getattr(values, "shape", None)
        axes = "(samples, neurons)" if self.over is None else "(samples, times, neurons)"
        if shape is None or len(shape) != axes.count(",") + 1 or 0 in shape:
            found = f"shape {shape}" if shape is not None else f"a {type(values).__name__}"
            raise ValueError(
                f"the potentials are {found}; they must be an array of shape {axes}. Give "
                "`readout`, a function from what `simulate` returns to them."
            )
        if self.outputs is not None:
            _check_outputs(self.outputs, shape[-1])
            values = values[..., np.array(self.outputs)]
        if self.over is None:
            return values / self.temperature
        reduced = jnp.max(values, axis=1) if self.over == "max" else jnp.mean(values, axis=1)
        return reduced / self.temperature


def _selected(trains: SpikeTrains, outputs: Any) -> SpikeTrains:
    """The trains of the output neurons, in the order of the classes."""
    if not isinstance(trains, SpikeTrains):
        raise TypeError(
            f"`generated` is a {type(trains).__name__}; it must be SpikeTrains, as `simulate` "
            "returns them."
        )
    require_sample(trains, "generated")
    if outputs is None:
        return trains
    _check_outputs(outputs, trains.num_neurons)
    return trains.select(outputs)


def _first(trains: SpikeTrains, outputs: Any) -> Float[Array, "samples classes"]:
    return first_spike_times(_selected(trains, outputs), 1)[..., 0]


def _check_outputs(outputs: tuple[int, ...], available: int) -> None:
    if max(outputs) >= available:
        raise ValueError(
            f"`outputs` is {outputs} and there are {available} neurons; they are counted from 0 to "
            f"{available - 1}."
        )


def _checked_labels(labels: Any, samples: int, classes: int) -> Int[Array, " samples"]:
    """Labels, one whole number per sample.

    Raises:
        ValueError: anything else; a label that is no class (where the values are known).
    """
    labels = jnp.asarray(labels)
    if labels.shape != (samples,) or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"`labels` has shape {labels.shape} and dtype {labels.dtype}; it must hold one whole "
            f"number from 0 to {classes - 1} for each of {samples} samples. For one-hot labels use "
            "`jnp.argmax(labels, axis=1)`."
        )
    if is_known(labels):
        values = np.asarray(labels)
        wrong = values[(values < 0) | (values >= classes)]
        if wrong.size:
            raise ValueError(
                f"`labels` has the value {wrong[0]}; with {classes} output neurons labels go from "
                f"0 to {classes - 1}. Number the classes from 0, and name an output for each in "
                "`outputs`."
            )
    return labels
