"""Layers of integrate-and-fire neurons that learn by BP-STDP."""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from roughsnn._checks import IntLike, RealLike, number, real_array, whole_number


class IntegrateAndFireLayers(eqx.Module):
    r"""Layers of non-leaky integrate-and-fire neurons in discrete time, each fully connected to the
    next.

    $$ U^l \leftarrow U^l + W^{l\top} s^{l-1}, \qquad
       s^l = 1\{U^l \ge \theta^l\}, \qquad U^l \to 0 \text{ where } s^l = 1 , $$

    all layers in the same step, one after another, from $U = 0$.

    Attributes:
        weights: $W^l$ of each layer, shapes (inputs, neurons), the inputs of one as many as the
            neurons of the one before.
        thresholds: $\theta^l > 0$ of each layer.

    Raises:
        ValueError: weights that do not fit each other, or another number of thresholds.
    """

    weights: tuple[Float[Array, "_ _"], ...]
    thresholds: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, weights: Sequence[Any], thresholds: Sequence[Any]):
        self.weights = tuple(real_array("weights", w) for w in weights)
        self.thresholds = tuple(number("thresholds", x, positive=True) for x in thresholds)
        shapes = [w.shape for w in self.weights]
        fit = all(len(shape) == 2 for shape in shapes) and all(
            a[1] == b[0] for a, b in itertools.pairwise(shapes)
        )
        if not shapes or not fit:
            raise ValueError(
                f"`weights` have the shapes {shapes}; each layer needs a matrix (inputs, neurons), "
                "with as many inputs as the layer before has neurons."
            )
        if len(self.thresholds) != len(shapes):
            raise ValueError(
                f"`thresholds` has {len(self.thresholds)} entries for {len(shapes)} layers; it "
                "must have one for each."
            )

    def rest(self) -> tuple[Float[Array, " _"], ...]:
        """Potentials at the start."""
        return tuple(jnp.zeros(w.shape[1], w.dtype) for w in self.weights)

    def step(self, potentials: tuple, inputs: Float[Array, " inputs"]) -> tuple[tuple, tuple]:
        """Potentials after a step, and the spikes in it: those of the inputs, and of each layer."""
        spikes, after = [inputs], []
        for w, u, threshold in zip(self.weights, potentials, self.thresholds, strict=True):
            u = u + spikes[-1] @ w
            fires = u >= threshold
            after.append(jnp.where(fires, 0, u))
            spikes.append(fires.astype(u.dtype))
        return tuple(after), tuple(spikes)

    def counts(self, inputs: Float[Array, "steps inputs"]) -> Float[Array, " outputs"]:
        """The number of spikes of each output neuron."""
        self._check(inputs)
        return jnp.sum(self._run(self.rest(), inputs)[1][-1], axis=0)

    def _run(self, potentials: tuple, inputs: Float[Array, "steps inputs"]) -> tuple[tuple, tuple]:
        return lax.scan(lambda u, s: self.step(u, s), potentials, inputs)

    def _check(self, inputs: Any) -> None:
        if jnp.ndim(inputs) != 2 or jnp.shape(inputs)[1] != self.weights[0].shape[0]:
            raise ValueError(
                f"`inputs` has shape {jnp.shape(inputs)}; it must be (steps, "
                f"{self.weights[0].shape[0]}), the spikes of every input in every step."
            )


class BPSTDP(eqx.Module):
    r"""BP-STDP: back-propagation of errors by the spikes in short windows.

    At the end of every window of $\epsilon$ steps each output neuron has an error: $\xi = 1$ where
    it is that of the class and did not spike in the window, $\xi = -1$ where it is another and did,
    else 0. With $n^l$ the numbers of spikes of layer l in the window,

    $$
    \Delta W^l = \mu\, n^{l-1} (\xi^l)^\top, \qquad
    \xi^{l} = 1\{n^l > 0\} \odot W^{l+1} \xi^{l+1} ,
    $$

    with the weights before this update: a weight changes by spikes before it and an error after
    it, which looks like potentiation and depression by timing.

    Attributes:
        rate: $\mu$.
        window: $\epsilon$, steps.
        learns: which layers learn, from the first; default: all. For controls.

    Raises:
        ValueError: a setting outside its range.

    Reference: Tavanaei & Maida (2019), BP-STDP: Approximating backpropagation using spike timing
    dependent plasticity, Neurocomputing 330:39, arXiv 1711.04214.
    """

    rate: RealLike = eqx.field(
        default=5e-4, static=True, converter=partial(number, "rate", positive=True)
    )
    window: IntLike = eqx.field(
        default=4, static=True, converter=lambda x: whole_number("window", x, 1)
    )
    learns: tuple[bool, ...] | None = eqx.field(default=None, static=True)

    def present(
        self,
        network: IntegrateAndFireLayers,
        inputs: Float[Array, "steps inputs"],
        label: Int[Array, ""] | int,
    ) -> IntegrateAndFireLayers:
        """The network after one sample: weights change at the end of each whole window.

        Args:
            network: before.
            inputs: the spikes of every input in every step, 0 or 1.
            label: the number of the output neuron of the class.

        Raises:
            ValueError: inputs of another shape, or shorter than a window; `learns` for another
                number of layers.
        """
        network._check(inputs)
        windows = inputs.shape[0] // self.window
        learns = (True,) * len(network.weights) if self.learns is None else self.learns
        if not windows:
            raise ValueError(
                f"`inputs` has {inputs.shape[0]} steps, fewer than a window of {self.window}."
            )
        if len(learns) != len(network.weights):
            raise ValueError(
                f"`learns` has {len(learns)} entries for {len(network.weights)} layers."
            )
        target = jnp.arange(network.weights[-1].shape[1], dtype=jnp.int32) == label

        def one(carry, given):
            weights, potentials = carry
            layers = eqx.tree_at(lambda n: n.weights, network, weights)
            potentials, spikes = layers._run(potentials, given)
            counts = [jnp.sum(x, axis=0) for x in spikes]
            error = self.errors(counts[-1], target)
            changed = list(weights)
            for n in reversed(range(len(weights))):
                if learns[n]:
                    changed[n] = weights[n] + self.rate * jnp.outer(counts[n], error)
                if n:
                    error = jnp.where(counts[n] > 0, weights[n] @ error, 0)
            return (tuple(changed), potentials), None

        cut = inputs[: windows * self.window].reshape(windows, self.window, -1)
        (weights, _), _ = lax.scan(one, (network.weights, network.rest()), cut)
        return eqx.tree_at(lambda n: n.weights, network, weights)

    def errors(self, counts: Float[Array, " outputs"], target: Any) -> Float[Array, " outputs"]:
        """The errors of output neurons at the end of a window, from their spikes in it."""
        missing, wrong = target & (counts == 0), ~target & (counts > 0)
        return missing.astype(counts.dtype) - wrong.astype(counts.dtype)
