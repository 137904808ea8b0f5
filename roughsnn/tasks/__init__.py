"""Tasks: labelled data to train classifiers on, generated, shipped by a package, or read from files
that a user brings.

Points and pictures come as values, one row a sample, which
[`latency_spikes`][roughsnn.tasks.latency_spikes] makes spikes of; recordings come as they were
recorded. All are [`roughsnn.LabelledData`][], and the same arguments give the same data.
"""

from ._braille import read_braille
from ._digits import digits
from ._heidelberg import read_heidelberg
from ._latency import latency_spikes
from ._randman import randman
from ._splitting import split
from ._xor import latency_xor
from ._yin_yang import yin_yang

__all__ = [
    "digits",
    "latency_spikes",
    "latency_xor",
    "randman",
    "read_braille",
    "read_heidelberg",
    "split",
    "yin_yang",
]
