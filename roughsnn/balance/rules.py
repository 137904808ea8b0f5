"""Local plasticity: each synapse changes by what is there at its own two ends."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._checks import number
from .network import BalancedNetwork


class LocalSignals(eqx.Module):
    """What is to be seen at the synapses over some steps.

    Attributes:
        v: potentials at the start of each step, after the spikes of the one before.
        crest: potentials in each step right before a spike in it acts.
        rates: filtered spike trains at the start of each step.
        spikes: 1 where a neuron fired in a step, else 0.
        error_current: what feedback of the error x - D r brings, F (x - D r), per unit of its gain;
            at the start of each step.
        dt0: length of a step.
    """

    v: Float[Array, "steps N"]
    crest: Float[Array, "steps N"]
    rates: Float[Array, "steps N"]
    spikes: Float[Array, "steps N"]
    error_current: Float[Array, "steps N"]
    dt0: float = eqx.field(static=True)


class AbstractLocalRule(eqx.Module):
    """How connections change; a subclass has `change`."""

    @abc.abstractmethod
    def change(self, network: BalancedNetwork, signals: LocalSignals) -> BalancedNetwork:
        """The network after some steps, in which its weights were what they are.

        Args:
            network: the network.
            signals: what happened.
        """


class VoltageRule(AbstractLocalRule):
    r"""Fast connections learn from the potential of the receiver and the filtered spikes of the
    sender: $\tau\, d\Omega_{ij} / dt = V_i r_j$.

    A potential that is positive on average while j is active lacks inhibition from j. Descent on
    $|V|^2$, in which what $\Omega$ changes in $r$ is left out; at rest it is the optimum
    $F F^\top + \mu I$. (Bourdoukan, Barrett, Machens & Deneve 2012.) It diverges where tau is not
    above the mean of $|r|^2$, about.

    Attributes:
        tau: time constant $\tau > 0$.
        fixed_resets: whether the diagonal, which is the reset, stays as it is. In a network it is
            known to be twice the threshold; a single neuron learns its reset so.
    """

    tau: float = eqx.field(static=True)
    fixed_resets: bool = eqx.field(static=True)

    def __init__(self, tau: float, fixed_resets: bool = True):
        self.tau = number("tau", tau, positive=True)
        self.fixed_resets = fixed_resets

    def change(self, network: BalancedNetwork, signals: LocalSignals) -> BalancedNetwork:
        """The network with changed fast connections.

        Args:
            network: the network.
            signals: what happened.
        """
        step = signals.dt0 / self.tau * (signals.v.T @ signals.rates)
        if self.fixed_resets:
            step = step * (1 - jnp.eye(network.num_neurons, dtype=step.dtype))
        return eqx.tree_at(lambda net: net.fast, network, network.fast + step)


class SpikeVoltageRule(AbstractLocalRule):
    r"""Fast connections learn at the spikes of the sender: where k fires, $\Omega_{ik}$ changes by
    $\epsilon\,(V_i - \beta\, \Omega_{ik})$, with the potential at the time within the step when k
    reached its threshold.

    That time is where the line from the potential of k at the start of the step to that before the
    spike meets the threshold. The potentials of the end of the step would all be too large, and
    with them the weights.

    With $\beta = 1/2$ it is at rest where the spikes of k find the potential of i, on average, half
    as far above 0 as they leave it below: in balance, which is tightest at
    $\Omega = F F^\top$. (After Bourdoukan & Deneve 2015.)

    Where spikes have a cost $\mu$, the potentials of neurons that fire much are below 0 in the
    optimum, by $\mu r$, and this rule makes up for the cost by weights that are too small: with
    filtered spike trains of size r by a share of about $2 \mu r / |F_k|^2$. With `cost` the change
    is $\epsilon\,(V_i + \mu r_i - s_k \Omega_{ik})$ with

    $$
    s_k = 2 \beta\, \frac{T_k + \mu r_k}{\Omega_{kk} - \mu} .
    $$

    In the optimum $V + \mu r = F e$ with the error $e = x - D r$, and k fires where $F_k e = T_k +
    \mu r_k$. So for $\beta = 1/2$ the rule is at rest at $\Omega = F F^\top + \mu I$ if the
    error at the spikes of k is, on average, along $F_k$.

    Attributes:
        rate: learning rate $\epsilon$ of a spike, between 0 and 1; a number, or an array of no
            dimensions that may be traced, so that it can be lowered without compiling again.
        decay: $\beta > 0$; a little above one half makes weights smaller and keeps them bounded.
        fixed_resets: whether the diagonal, which is the reset, stays as it is.
        cost: $\mu \ge 0$, the cost of filtered spike trains that the network was made with. Resets
            must stay fixed unless it is 0.
    """

    rate: float | Float[Array, ""]
    decay: float = eqx.field(static=True)
    fixed_resets: bool = eqx.field(static=True)
    cost: float = eqx.field(static=True)

    def __init__(
        self,
        rate: float | Float[Array, ""],
        decay: float = 0.5,
        fixed_resets: bool = True,
        cost: float = 0.0,
    ):
        self.rate = rate if _may_be_traced(rate) else number("rate", rate, least=0, below=1)
        self.decay = number("decay", decay, positive=True)
        self.fixed_resets = fixed_resets
        self.cost = number("cost", cost, least=0)
        if self.cost > 0 and not fixed_resets:
            raise ValueError(
                f"`cost` is {self.cost:g} and `fixed_resets` False; a rule that knows the cost "
                "takes the resets as they should be. Leave `fixed_resets` True, or `cost` 0."
            )

    def change(self, network: BalancedNetwork, signals: LocalSignals) -> BalancedNetwork:
        """The network with changed fast connections.

        Args:
            network: the network.
            signals: what happened.
        """
        number_of_spikes = jnp.sum(signals.spikes, axis=0)
        rise = signals.crest - signals.v
        share = (network.threshold[None] - signals.v) / jnp.where(rise > 0, rise, 1)
        share = jnp.where(rise > 0, jnp.clip(share, 0, 1), 1)
        step = signals.v.T @ signals.spikes + rise.T @ (signals.spikes * share)
        if self.cost == 0:
            drawn = self.decay * number_of_spikes
        else:
            step = step + self.cost * (signals.rates.T @ signals.spikes)
            # the sum of s_k over the spikes of k
            of_rates = jnp.sum(signals.spikes * signals.rates, axis=0)
            at_spikes = network.threshold * number_of_spikes + self.cost * of_rates
            drawn = 2 * self.decay * at_spikes / (jnp.diagonal(network.fast) - self.cost)
        step = step - network.fast * drawn[None]
        step = jnp.asarray(self.rate, step.dtype) * step
        if self.fixed_resets:
            step = step * (1 - jnp.eye(network.num_neurons, dtype=step.dtype))
        return eqx.tree_at(lambda net: net.fast, network, network.fast + step)


class CurrentRule(AbstractLocalRule):
    r"""Slow connections learn from a current of the receiver and the filtered spikes of the sender:
    $dW_{ij} / dt = \eta\, [F (x - \hat x)]_i\, r_j$.

    What the feedback of the error brings to a neuron tells it what its slow connections should have
    brought: they take over from it until the error has nothing in common with the activity. It
    needs the error, thus `targets`. (Bourdoukan & Deneve 2015.)

    Attributes:
        rate: learning rate $\eta \ge 0$, per unit of time; a number, or an array of no dimensions
            that may be traced.
    """

    rate: float | Float[Array, ""]

    def __init__(self, rate: float | Float[Array, ""]):
        self.rate = rate if _may_be_traced(rate) else number("rate", rate, least=0)

    def change(self, network: BalancedNetwork, signals: LocalSignals) -> BalancedNetwork:
        """The network with changed slow connections.

        Args:
            network: the network.
            signals: what happened.
        """
        step = signals.dt0 * (signals.error_current.T @ signals.rates)
        step = jnp.asarray(self.rate, step.dtype) * step
        return eqx.tree_at(lambda net: net.slow, network, network.slow + step)


def _may_be_traced(rate: float | Float[Array, ""]) -> bool:
    return isinstance(rate, jax.Array) and rate.ndim == 0
