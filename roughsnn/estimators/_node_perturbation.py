"""The rule that perturbs the current into each neuron."""

from ..networks import SpikingNetwork
from ._input_perturbed import added, estimate, on_grid
from ._perturbations import AbstractPerturbation, WhitePerturbation
from ._perturbed import AbstractPerturbationRule, with_input


class NodePerturbation(AbstractPerturbationRule):
    r"""A random current into each neuron, and the loss correlated with it, times what synapses
    bring (eligibility).

    A weight acts only by the synaptic current $i_j(t) = \sum_k w_{kj} s_k(t)$, $s_k$ being the
    filtered spikes of neuron k. With a random current $\xi_j$ in each step added to it, of score
    $c_j$ (for a white one $\xi_j / \sigma^2$),

    $$ \widehat{\nabla_{w_{kj}} E\,L} = (L - b) \sum_n c_j(t_n)\, \bar s_k(t_n), $$

    with the spikes of the perturbed trial and $\bar s$ the mean over step n.

    **Unbiased**, up to an error of first order in the step, for the gradient of the loss averaged
    over the perturbation, of every loss and every network whose synapses bring currents: recurrent
    ones, delays and refractory periods, deterministic or not, `LIF` or any other neurons, by any
    engine that takes a current which depends on time (the clock engine with a surrogate, whose
    derivative is not used). Of the loss without the perturbation it has a bias of second order in
    its size. The variance of a trial grows with the number of neurons and of steps, and not with
    the number of synapses of a neuron.

    `simulate` must be a [`roughsnn.Simulation`][]; weights and input weights are what can be
    trained. Diagnostics: `signal`, the root mean square of what the loss owes to the perturbation
    of a trial.

    Attributes:
        perturbation: the law of the current, such as [`roughsnn.WhitePerturbation`][],
            [`roughsnn.CorrelatedPerturbation`][] or [`roughsnn.PoissonPerturbation`][].

    Raises:
        TypeError: no network, or no simulation.
        ValueError: a network of conductances; another parameter than weights; `stop_after`.

    References:
        Werfel, Xie, Seung (2005), Neural Comput. 17, 2699 (node perturbation).
        Fiete, Seung (2006), Phys. Rev. Lett. 97:048104 (perturbation with eligibility).
    """

    perturbation: AbstractPerturbation = WhitePerturbation(0.1)

    def step(self, memory, model, simulate, loss, key, *, trainable=None):
        if not isinstance(model, SpikingNetwork):
            raise TypeError(
                f"`model` is a {type(model).__name__}; NodePerturbation estimates the gradient of "
                "the weights of a SpikingNetwork. For the parameters of neurons use "
                "WeightPerturbation."
            )
        if model.synapses is not None:
            raise ValueError(
                "`model` has ConductanceSynapses, whose current depends on the potential: use "
                "ConductancePerturbation, which perturbs the conductances."
            )

        def change(protocol, values):
            current = added(protocol.input_current, on_grid(protocol.grid, values[0]))
            return with_input(protocol, current, protocol.input_spikes)

        laws = (self.perturbation,)
        return estimate(self, laws, change, memory, model, simulate, loss, key, trainable)
