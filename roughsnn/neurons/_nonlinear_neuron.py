"""What stochastic neurons with a nonlinear drift of the potential have in common."""

import abc

from jaxtyping import Array, Float, PRNGKeyArray

from ._intensities import AbstractIntensity, intensity_for
from ._intensity_neuron import AbstractSubtractiveNeuron, LIFState
from ._parameters import for_each


class AbstractNonlinearNeuron(AbstractSubtractiveNeuron):
    r"""Neurons with $dv = \mu_1 (f(v) + i + c_t)\,dt + \dots$ that fire by an intensity.

    Where $f$ grows faster than the potential, the potential would reach infinity in a finite time,
    and a bounded intensity need not have fired by then. Beyond `v_peak` a model therefore goes on
    along the tangent of $f$: the drift is continuously differentiable with a bounded slope, as the
    theorem asks of it, and nothing becomes infinite.
    """

    intensity: AbstractIntensity
    v_peak: Float[Array, "..."]

    def _begin_nonlinear(self, num_neurons, *, intensity, v_peak, **others) -> int:
        """Sets, in a constructor, what all of them have but for the parameters of f; returns K."""
        k = self._begin_intensity(num_neurons, **others)
        self.intensity = intensity_for(intensity, k)
        for_each(self, k, free=dict(v_peak=v_peak))
        return k

    @property
    def fastest_rate(self):
        # f bends: what the potential's own rate is depends on where it is
        return self._fastest(self.mu2)

    @abc.abstractmethod
    def membrane(self, v: Float[Array, " K"]) -> Float[Array, " K"]:
        """The function f of the potential, with its tangents where it would grow too fast."""

    def initial_state(self, key: PRNGKeyArray) -> LIFState:
        """v0, i0, and s = log u - alpha with u uniform on (0, 1)."""
        return LIFState(self.spread(self.v0), self.spread(self.i0), self.first_levels(key))

    def drift(self, t, y: LIFState, args) -> LIFState:
        total = self.current_into(args, t, y.i)
        dv = self.mu1 * (self.membrane(y.v) + total)
        return LIFState(dv, -self.mu2 * y.i, self.intensity(y.v))
