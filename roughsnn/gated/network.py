"""Networks of neurons with gated synapses."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..neurons import parameter
from .gates import AbstractGate
from .neurons import AbstractGatedNeuron


class GatedNetwork(eqx.Module):
    r"""N neurons with P populations of gated synapses, M input and K readout channels.

    With the synaptic traces $r^p$, one for each population and neuron, and the input x,

    $$
    \tau_v \frac{dv_j}{dt} = f(v_j, I_j), \qquad
    \frac{dr^p_k}{dt} = -\frac{r^p_k}{\tau_p} + g(v_k) \frac{dv_k}{dt}, \qquad
    I_j = b_j + \sum_m x_m u_{mj} + \tau_v \sum_{p, k} \frac{r^p_k}{\tau_p} w^p_{kj}, \qquad
    o_l = \sum_k r_k o_{kl}.
    $$

    At the threshold 1 the potential is put to 0. As the gate has unit area, each spike raises a
    trace by 1, over the time that the potential takes to cross the active zone; the trace divided
    by its time constant, $s = r / \tau_p$, is the synaptic current per unit of weight. A full
    spike through a weight w moves a non-leaky neuron by w. (Huh & Sejnowski 2018.)

    Attributes:
        neuron: how the potential moves: `NIF`, `ThetaNeuron`, `LIF` or your own.
        gate: the gate of the synapses.
        taus: time constants $\tau_p > 0$ of the populations, for example slow and fast.
        weights: recurrent weights w, for each population a matrix of shape (N, N), from row to
            column.
        input_weights: input weights u of shape (M, N).
        bias: constant current b of shape (N,).
        readout: readout weights o of shape (N, K), of the traces of population `read_from`.
        read_from: the population that is read out.

    Raises:
        TypeError: a neuron or a gate of the wrong kind.
        ValueError: shapes that do not fit together, or a value outside its range, named.
    """

    neuron: AbstractGatedNeuron
    gate: AbstractGate
    taus: tuple[float, ...] = eqx.field(static=True)
    weights: tuple[Float[Array, "N N"], ...]
    input_weights: Float[Array, "M N"]
    bias: Float[Array, " N"]
    readout: Float[Array, "N K"]
    read_from: int = eqx.field(static=True)

    def __init__(
        self, neuron, gate, taus, *, weights, input_weights, bias, readout, read_from: int = 0
    ):
        if not isinstance(neuron, AbstractGatedNeuron):
            raise TypeError(f"`neuron` must be a gated neuron, got {type(neuron).__name__}.")
        if not isinstance(gate, AbstractGate):
            raise TypeError(f"`gate` must be a gate, got {type(gate).__name__}.")
        lower, upper = gate.zone
        if not (neuron.reset < lower and upper <= neuron.threshold):
            raise ValueError(
                f"`gate` has the active zone [{lower:g}, {upper:g}]; it must lie above the reset "
                f"{neuron.reset:g} and end at the threshold {neuron.threshold:g} or below, so that "
                "a spike crosses all of it."
            )
        self.taus = tuple(float(tau) for tau in taus)
        if not self.taus or not all(tau > 0 for tau in self.taus):
            raise ValueError(f"`taus` is {taus}; it must be positive numbers, one a population.")
        populations = len(self.taus)
        if len(weights) != populations:
            raise ValueError(
                f"`weights` has {len(weights)} matrices; it must have {populations}, one for each "
                "of `taus`."
            )
        self.bias = parameter("bias", bias)
        if self.bias.ndim != 1 or self.bias.size == 0:
            raise ValueError(f"`bias` must have shape (N,), got shape {self.bias.shape}.")
        n = self.bias.shape[0]
        self.weights = tuple(
            parameter(f"weights[{i}]", matrix, shapes=((n, n),)) for i, matrix in enumerate(weights)
        )
        self.input_weights = parameter("input_weights", input_weights)
        if self.input_weights.ndim != 2 or self.input_weights.shape[1] != n:
            raise ValueError(
                f"`input_weights` must have shape (M, {n}), got shape {self.input_weights.shape}."
            )
        self.readout = parameter("readout", readout)
        if self.readout.ndim != 2 or self.readout.shape[0] != n:
            raise ValueError(f"`readout` must have shape ({n}, K), got shape {self.readout.shape}.")
        if read_from not in range(populations):
            raise ValueError(
                f"`read_from` is {read_from}; it must be the number of a population, 0 to "
                f"{populations - 1}."
            )
        self.neuron, self.gate, self.read_from = neuron, gate, read_from

    @property
    def num_neurons(self) -> int:
        """N."""
        return self.bias.shape[0]

    @property
    def num_populations(self) -> int:
        """P."""
        return len(self.taus)

    @property
    def couplings(self) -> list[Float[Array, "N N"]]:
        r"""For each population the matrix from its traces to the current, $\tau_v w^p / \tau_p$."""
        return [w * (self.neuron.tau / tau) for w, tau in zip(self.weights, self.taus, strict=True)]

    def external_current(self, inputs: Float[Array, "*batch M"]) -> Float[Array, "*batch N"]:
        """The bias and what the input channels add to it."""
        return jnp.broadcast_to(self.bias, (*inputs.shape[:-1], self.num_neurons)) + (
            inputs @ self.input_weights
        )

    def recurrent_current(self, traces: Float[Array, "*batch P N"]) -> Float[Array, "*batch P N"]:
        """The current that each population adds, given the traces of a solution."""
        return jnp.einsum("...pk,pkj->...pj", traces, jnp.stack(self.couplings))
