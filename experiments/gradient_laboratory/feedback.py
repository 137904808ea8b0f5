"""Rules that send errors back in another way than the chain rule does."""

from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import roughsnn as rs
from roughsnn.estimators import spikes_of


def _presence(generated: Any, rule: str) -> Any:
    presence = getattr(spikes_of(generated), "presence", None)
    if presence is None:
        raise TypeError(
            f"{rule} needs to know of absent spikes: give `simulate` the engine "
            "ClockEngine(surrogate=...)."
        )
    return presence


def _check_layers(model: Any, outputs: tuple[int, ...], rule: str) -> None:
    """Fail where there is no hidden neuron, or no network."""
    if not isinstance(model, rs.SpikingNetwork):
        raise TypeError(f"`model` is a {type(model).__name__}; {rule} needs a SpikingNetwork.")
    if len(outputs) == model.num_neurons:
        raise ValueError(
            f"every neuron of `model` is an output; {rule} sends errors from outputs to hidden "
            "neurons, and there are none."
        )


class ErrorFeedback(rs.AbstractGradientEstimator):
    r"""Errors of the outputs reach hidden neurons by weights of their own, or by those of the
    network (eligibility traces with random or symmetric feedback).

    With $e_c(t)$ the derivative of the loss by the presence of a spike of output c at time t, a
    hidden neuron k is taught by

    $$ \ell_k(t) = \sum_c B_{ck} \sum_{t' > t} e_c(t') , $$

    the errors that its spike at t can still change, and the direction of a weight into it is
    $\sum_t \ell_k(t)\, \mathrm d s_k(t)$ with the surrogate derivative of its spikes: a product of
    the feedback and of an eligibility trace of the synapse. A weight into an output has its own
    error in place of the feedback. No error passes through the spikes of an output, nor is it
    known how much of a spike an output feels.

    Attributes:
        feedback: $B$, shape (outputs, hidden); `None` for the weights of the network from hidden
            neurons to outputs.
        outputs: the neurons that the loss looks at.

    References:
        Bellec et al. (2020), Nat. Commun. 11:3625 (e-prop, with random and symmetric feedback).
        Neftci, Augustine, Paul, Detorakis (2017), Front. Neurosci. 11:324 (random feedback, event
        by event).
    """

    feedback: Float[Array, "outputs hidden"] | None
    outputs: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, model, simulate, loss, key, *, trainable=None):
        _check_layers(model, self.outputs, "ErrorFeedback")
        chosen = rs.trainable_leaves(model, trainable)
        parameters, rest = eqx.partition(model, chosen)

        def values_of(parameters):
            trains = simulate(eqx.combine(parameters, rest), key)
            return _presence(trains, "ErrorFeedback").values, spikes_of(trains)

        values, back, trains = jax.vjp(values_of, parameters, has_aux=True)
        trains = jax.tree.map(lambda x: lax.stop_gradient(x) if eqx.is_inexact_array(x) else x,
                              trains)  # fmt: skip

        def of_values(values):
            return loss(eqx.tree_at(lambda t: t.presence.values, trains, values))

        value, errors = jax.value_and_grad(of_values)(values)
        outputs = np.array(self.outputs, np.int32)
        hidden = np.setdiff1d(np.arange(model.num_neurons, dtype=np.int32), outputs)
        back_by = self.feedback
        if back_by is None:
            back_by = lax.stop_gradient(model.weights)[hidden][:, outputs].T
        own = errors[..., outputs]
        later = jnp.flip(jnp.cumsum(jnp.flip(own, -2), axis=-2), -2) - own
        taught = jnp.zeros_like(values).at[..., hidden].set(later @ back_by.astype(later.dtype))
        (into_outputs,) = back(jnp.zeros_like(values).at[..., outputs].set(own))
        (into_hidden,) = back(taught)

        def joined(first, second):
            # columns of matrices of weights belong to the neurons that they lead to
            return second.at[..., outputs].set(first[..., outputs])

        gradient = jax.tree.map(joined, into_outputs, into_hidden)
        return rs.GradientEstimate(value, gradient, trains, {})


class SpikeTimingRule(rs.AbstractGradientEstimator):
    r"""BP-STDP as a rule: numbers of spikes in windows, and errors of -1, 0 or 1.

    As [`roughsnn.BPSTDP`][], for networks of any neurons in layers: at the end of each window an
    output of the right class that has not fired in it has the error $\xi = 1$, one of another class
    that has fired $\xi = -1$; hidden neurons that have fired have $W \xi$. The direction is
    $-n\,\xi^\top$ with n the numbers of spikes of the senders in the window, a mean over samples.
    It does not ask the loss, which it needs for the classes alone.

    Attributes:
        outputs: the neuron of each class.
        windows: how many a trial has.

    Reference: Tavanaei & Maida (2019), Neurocomputing 330:39, arXiv 1711.04214.
    """

    outputs: tuple[int, ...] = eqx.field(static=True)
    windows: int = eqx.field(static=True, default=4)

    def __call__(self, model, simulate, loss, key, *, trainable=None):
        _check_layers(model, self.outputs, "SpikeTimingRule")
        labels = getattr(loss, "observed", None)
        if labels is None or not jnp.issubdtype(jnp.result_type(labels), jnp.integer):
            raise TypeError(
                "`loss` does not know the classes of the samples; SpikeTimingRule needs "
                "LabelledData with whole numbers as targets."
            )
        simulation = simulate.as_simulation()
        trains = spikes_of(simulate(model, key)).without_presence()
        value = loss(trains)
        dtype = model.weights.dtype
        counts = rs.binned_counts(trains, self.windows).astype(dtype)
        given = simulation.protocol.input_spikes
        sent = rs.binned_counts(given, self.windows).astype(dtype)
        outputs = np.array(self.outputs, np.int32)
        right = jax.nn.one_hot(labels, len(self.outputs), dtype=dtype)[:, :, None]
        fired = (counts > 0).astype(dtype)
        out = fired[:, outputs]
        error = right * (1 - out) - (1 - right) * out
        xi = jnp.zeros_like(counts).at[:, outputs].set(error)
        hidden = fired * jnp.einsum("kj,bjw->bkw", model.weights, xi)
        xi = hidden.at[:, outputs].set(error)
        samples = counts.shape[0]
        gradient = {
            "weights": -jnp.einsum("bkw,bjw->kj", counts, xi) / samples,
            "input_weights": -jnp.einsum("bkw,bjw->kj", sent, xi) / samples,
        }
        if model.connections is not None:
            gradient["weights"] = jnp.where(model.connections, gradient["weights"], 0)
        chosen = rs.trainable_leaves(model, trainable)
        empty = eqx.filter(model, jax.tree.map(lambda _: False, chosen))
        names = [n for n in gradient if getattr(chosen, n) is True]
        full = eqx.tree_at(
            lambda m: [getattr(m, n) for n in names], empty, [gradient[n] for n in names],
            is_leaf=lambda x: x is None,
        )  # fmt: skip
        return rs.GradientEstimate(value, full, trains, {})
