"""The rule that perturbs the conductances of each neuron."""

from ..networks import SpikingNetwork
from ..neurons import InputConductances
from ._input_perturbed import added, estimate, on_grid
from ._perturbations import AbstractPerturbation, WhitePerturbation
from ._perturbed import AbstractPerturbationRule, with_input


class ConductancePerturbation(AbstractPerturbationRule):
    r"""Random conductances of each neuron, and the loss correlated with them, times what synapses
    bring (eligibility): a global reward and quantities local to a synapse give its gradient.

    A weight acts only by the conductance $g_j(t) = \sum_k w_{kj} s_k(t)$ of its kind. With a random
    conductance $\xi_j$ in each step added to it, of score $c_j$ (for a white one
    $\xi_j / \sigma^2$), and a baseline b,

    $$ \widehat{\nabla_{w_{kj}} E\,L} = (L - b) \sum_n c_j(t_n)\, \bar s_k(t_n), $$

    with the spikes of the perturbed trial and $\bar s$ the mean over step n. Excitatory and
    inhibitory conductances have perturbations of their own, each for the weights of its sign. The
    law [`roughsnn.PoissonPerturbation`][] is that of "empiric" synapses driven by random spikes.

    **Unbiased**, up to an error of first order in the step, for the gradient of the loss averaged
    over the perturbation, of every loss and every network with
    [`roughsnn.ConductanceSynapses`][], recurrent ones included, by the event engine or the clock
    engine with a surrogate (whose derivative is not used). Of the loss without the perturbation it
    has a bias of second order in its size. The variance of a trial grows with the number of neurons
    and of steps.

    `simulate` must be a [`roughsnn.Simulation`][]; weights and input weights are what can be
    trained. Diagnostics: `signal`, the root mean square of what the loss owes to the perturbation
    of a trial.

    Attributes:
        perturbation: the law of the excitatory conductance that is added.
        inhibitory: that of the inhibitory one; by default the same law.

    Raises:
        TypeError: no network, or no simulation.
        ValueError: a network without conductances; another parameter than weights; `stop_after`.

    References:
        Fiete, Seung (2006), Phys. Rev. Lett. 97:048104.
    """

    perturbation: AbstractPerturbation = WhitePerturbation(0.1)
    inhibitory: AbstractPerturbation | None = None

    def step(self, memory, model, simulate, loss, key, *, trainable=None):
        if not isinstance(model, SpikingNetwork):
            raise TypeError(
                f"`model` is a {type(model).__name__}; ConductancePerturbation estimates the "
                "gradient of the weights of a SpikingNetwork. For the parameters of neurons use "
                "WeightPerturbation."
            )
        if model.synapses is None:
            raise ValueError(
                "`model` has synapses that bring currents: use NodePerturbation, or build it with "
                "synapses=roughsnn.ConductanceSynapses(...)."
            )

        def change(protocol, values):
            given = protocol.input_current
            excitatory, inhibitory = (on_grid(protocol.grid, v) for v in values)
            if isinstance(given, InputConductances):
                excitatory = added(given.excitatory, excitatory)
                inhibitory = added(given.inhibitory, inhibitory)
                given = given.current
            conductances = InputConductances(excitatory, inhibitory, given)
            return with_input(protocol, conductances, protocol.input_spikes)

        second = self.perturbation if self.inhibitory is None else self.inhibitory
        laws = (self.perturbation, second)
        return estimate(self, laws, change, memory, model, simulate, loss, key, trainable)
