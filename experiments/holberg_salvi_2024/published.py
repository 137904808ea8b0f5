"""What the authors' runs of their two experiments reached, one seed each.

Input current: read from the results published with their code, the current after the last step,
and the hold-out error of the mean spike times averaged over the last 200 of 1500 steps. Synaptic
weights: read off the curves of their figure 2.
"""

from typing import NamedTuple

TRUE_CURRENT = 1.5
# (loss, sigma, sample size) -> (final current, hold-out error)
INPUT_CURRENT = {
    ("signature", 0.25, 16): (1.5292, 0.0282),
    ("signature", 0.25, 32): (1.5074, 0.0417),
    ("signature", 0.25, 64): (1.4945, 0.0173),
    ("signature", 0.25, 128): (1.5032, 0.0117),
    ("signature", 0.5, 16): (1.5251, 0.0264),
    ("signature", 0.5, 32): (1.5118, 0.0495),
    ("signature", 0.5, 64): (1.4974, 0.0155),
    ("signature", 0.5, 128): (1.5029, 0.0120),
    ("spike-times", 0.25, 16): (1.524, 0.0268),
    ("spike-times", 0.25, 32): (1.508, 0.0454),
    ("spike-times", 0.25, 64): (1.491, 0.0160),
    ("spike-times", 0.25, 128): (1.501, 0.0121),
    ("spike-times", 0.5, 16): (1.518, 0.0263),
    ("spike-times", 0.5, 32): (1.517, 0.0564),
    ("spike-times", 0.5, 64): (1.491, 0.0144),
    ("spike-times", 0.5, 128): (1.502, 0.0121),
}


class WeightsCurve(NamedTuple):
    """The curves of one sample size in figure 2."""

    test_losses: tuple[float, ...]
    weight_errors: tuple[float, ...]
    steps: tuple[int, ...] = (0, 250, 500, 750, 1000, 1490)

    @property
    def test_loss(self) -> float:
        """The test loss at the end."""
        return self.test_losses[-1]

    @property
    def weight_error(self) -> float:
        """The mean absolute error of the weights at the end."""
        return self.weight_errors[-1]


# sample size -> curves, one seed each, read off the figure
SYNAPTIC_WEIGHTS = {
    256: WeightsCurve(
        (54.9, 35.9, 22.2, 15.2, 13.1, 13.4), (0.382, 0.318, 0.304, 0.293, 0.288, 0.286)
    ),
    512: WeightsCurve(
        (54.4, 30.2, 15.1, 14.2, 5.75, 5.81), (0.383, 0.315, 0.293, 0.290, 0.284, 0.283)
    ),
    1024: WeightsCurve(
        (55.5, 32.2, 20.3, 9.55, 5.87, 5.84), (0.383, 0.331, 0.314, 0.295, 0.292, 0.293)
    ),
}
