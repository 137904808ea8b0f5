"""The rule that perturbs parameters."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from .._checks import RealLike, number
from ._base import GradientEstimate, scalar, spikes_of
from ._perturbed import AbstractPerturbationRule, draw_each, perturbation_key
from .trainable import trainable_leaves


class WeightPerturbation(AbstractPerturbationRule):
    r"""Every trained parameter moved at random in each trial, and the loss correlated with that.

    $$ \widehat{\nabla_\theta E\,L} = \big( L(\theta + \sigma z) - b \big)\,\frac{z}{\sigma},
    \qquad z \sim N(0, 1). $$

    **Unbiased** for the gradient of the expected loss averaged over $\theta + \sigma z$, whatever
    the model, the engine and the loss; of the loss itself it has a bias of second order in
    $\sigma$. Nothing is differentiated. The variance of a trial grows with the number of
    parameters; for one neuron whose input has many, that is their number times that of
    [`roughsnn.NodePerturbation`][] at best, and less where trials are long.

    With a [`roughsnn.Simulation`][] each trial has a direction of its own, and the loss may be one
    of a whole sample. A function that draws trials is called with one direction for all of them;
    it has no `"others"`. Diagnostics: `signal`, the root mean square of what the loss owes to the
    perturbation of a trial.

    Attributes:
        scale: $\sigma > 0$, in the unit of the parameters.

    Raises:
        ValueError: `scale` is not positive; `"others"` without others.

    References:
        Jabri, Flower (1992), IEEE Trans. Neural Netw. 3, 154 (weight perturbation).
        Züge, Klos, Memmesheimer (2023), PRX 13:021006 (weight and node perturbation in tasks that
        are extended in time).
    """

    scale: RealLike = eqx.field(
        default=0.05, static=True, converter=partial(number, "scale", positive=True)
    )

    def step(self, memory, model, simulate, loss, key, *, trainable=None):
        parameters, rest = eqx.partition(model, trainable_leaves(model, trainable))
        ask = getattr(simulate, "as_simulation", None)
        simulation = None if ask is None else ask()
        draw = perturbation_key(key)
        if simulation is None:
            return self._of_function(memory, parameters, rest, simulate, loss, key, draw)
        samples = simulation.num_samples
        directions = _normals(draw, parameters, (samples,))
        moved = jax.tree.map(lambda p, z: p[None] + self.scale * z, parameters, directions)
        whole = jax.tree.map(
            lambda x: jnp.broadcast_to(x, (samples, *x.shape)) if eqx.is_array(x) else x, rest
        )
        perturbed = draw_each(simulation, eqx.combine(moved, whole), key, own_models=True)
        perturbed = perturbed.without_presence()
        calm = None
        if self.baseline == "unperturbed":
            calm = draw_each(simulation, model, key).without_presence()
        signals, value, memory = self.judged(loss, perturbed, calm, memory)

        def correlated(z):
            return jnp.tensordot(signals.astype(z.dtype), z, axes=1) / self.scale

        gradient = jax.tree.map(correlated, directions)
        diagnostics = {"signal": jnp.sqrt(jnp.mean(jnp.square(signals)))}
        generated = perturbed if calm is None else calm
        return GradientEstimate(value, gradient, generated, diagnostics), memory

    def _of_function(self, memory, parameters, rest, simulate, loss, key, draw):
        """The estimate with one direction for the whole sample."""
        if self.baseline == "others":
            raise ValueError(
                'baseline="others" needs a roughsnn.Simulation, in which each trial has a '
                "direction of its own; `simulate` is a function. Take another baseline."
            )
        direction = _normals(draw, parameters, ())
        moved = jax.tree.map(lambda p, z: p + self.scale * z, parameters, direction)
        generated = spikes_of(simulate(eqx.combine(moved, rest), key))
        signal = value = scalar(loss(generated))
        if self.baseline == "unperturbed":
            generated = spikes_of(simulate(eqx.combine(parameters, rest), key))
            value = scalar(loss(generated))
            signal = signal - value
        elif self.baseline == "running":
            signal, value, memory = self._above_running_mean(value, value, 1.0, memory)
        gradient = jax.tree.map(lambda z: signal.astype(z.dtype) * z / self.scale, direction)
        return GradientEstimate(value, gradient, generated, {"signal": jnp.abs(signal)}), memory


def _normals(key: Any, like: Any, batch: tuple[int, ...]) -> Any:
    """Normal numbers of the shapes of a tree, with further first axes."""
    leaves, structure = jax.tree.flatten(like)
    keys = jr.split(key, max(len(leaves), 1))
    drawn = [
        jr.normal(k, (*batch, *x.shape), x.dtype)
        for k, x in zip(keys[: len(leaves)], leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, drawn)
