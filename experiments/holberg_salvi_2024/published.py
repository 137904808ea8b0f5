"""What the authors' runs of the input-current experiment reached, one seed each.

Read from the results published with their code: the current after the last step, and the hold-out
error of the mean spike times averaged over the last 200 of 1500 steps.
"""

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
