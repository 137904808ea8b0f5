r"""Losses of two independent generated samples and a recorded one, linear in each generated sample.

With the mean $\bar\phi$ of a feature over a sample,

$$ L = \langle \bar\phi_A - \bar\phi_o,\; \bar\phi_B - \bar\phi_o \rangle , $$

an unbiased estimate of the squared distance of the expected features, negative at times; the square
of one mean would be larger by the variance of that mean, and its gradient would make trials dull.
"""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

import roughsnn as rs

Judged = tuple[Float[Array, ""], tuple[Float[Array, " first"], Float[Array, " second"]]]


class HalvesLoss(rs.AbstractLoss):
    """A loss of this form."""

    @abc.abstractmethod
    def judged(
        self, first: rs.SpikeTrains, second: rs.SpikeTrains, observed: rs.SpikeTrains
    ) -> Judged:
        r"""The loss, and the reward of each train, with the loss as the mean of the derivative of
        its logarithmic probability times the reward: that of a train of A is
        $\langle \phi, \bar\phi_B - \bar\phi_o \rangle$, of B the same with A.

        Args:
            first: trains A, batch shape (first,).
            second: trains B, independent of A.
            observed: the recorded ones, of as many neurons and the same window.
        """

    def __call__(self, generated: rs.SpikeTrains, observed: rs.SpikeTrains) -> Float[Array, ""]:
        """The loss with both halves of one generated sample."""
        half = len(generated) // 2
        return self.judged(generated[:half], generated[half:], observed)[0]


class ExpectedSignatures(HalvesLoss):
    r"""Of signatures of the Marcus lift, time in units of the window, each word in units of its
    spread over the recorded trains, levels 1 to `depth`, a mean over words.

    Level 2 of a neuron with itself is the second moment of its count, of two neurons that of both
    counts and which comes first, with time how spikes lie in the window.

    Attributes:
        depth: of the signatures.
    """

    depth: int = eqx.field(static=True, default=2)

    def judged(self, first, second, observed):
        """See `HalvesLoss.judged`."""
        a, b, o = (self._features(x) for x in (first, second, observed))
        spread = jnp.var(o, axis=0)
        # a word that hardly ever differs from zero in the recording is not worth more than others
        weights = 1 / (spread + 0.1 * jnp.mean(spread)) / spread.size
        gap_a, gap_b = (x.mean(axis=0) - o.mean(axis=0) for x in (a, b))
        rewards = a @ (weights * gap_b), b @ (weights * gap_a)
        return jnp.sum(weights * gap_a * gap_b), rewards

    def _features(self, trains: rs.SpikeTrains) -> Float[Array, "samples words"]:
        return rs.event_signature(trains, self.depth, time_scale=1 / trains.durations[0])


class KernelDistance(HalvesLoss):
    """Of all levels at once, by the normalised signature kernel: a maximum mean discrepancy.

    Attributes:
        kernel: with both scales fixed.
    """

    kernel: rs.SignatureKernel

    def judged(self, first, second, observed):
        """See `HalvesLoss.judged`; the recorded trains' own term has no diagonal."""
        norms = [self.kernel.norms(x) for x in (first, second, observed)]
        ab = self.kernel(first, second, norms=(norms[0], norms[1]))
        ao = self.kernel(first, observed, norms=(norms[0], norms[2]))
        bo = self.kernel(second, observed, norms=(norms[1], norms[2]))
        oo = self.kernel(observed, observed, norms=(norms[2], norms[2]))
        n = len(observed)
        own = (jnp.sum(oo) - jnp.trace(oo)) / (n * (n - 1))
        value = jnp.mean(ab) - jnp.mean(ao) - jnp.mean(bo) + own
        rewards = ab.mean(axis=1) - ao.mean(axis=1), ab.mean(axis=0) - bo.mean(axis=1)
        return value, rewards
