"""What the settings of experiments that are computed part by part have in common."""

import dataclasses
from typing import ClassVar

import roughsnn as rs
from roughsnn.runs.settings import SEED


@dataclasses.dataclass(frozen=True)
class PartSettings(rs.RunSettings):
    """Settings of an experiment whose parts are computed, and kept, one after another.

    A subclass adds its own and gives `output`; in `presets` it says what `quick` changes.
    """

    seed: int = 0
    """Seed of all random numbers; of several networks or data sets that of the first, and the
    others have the next."""
    checkpoint_every: int = 1
    """Parts of the run between two checkpoints."""
    quick: bool = False
    """A small size, for a first look: fewer samples, networks, steps or conditions."""

    number_ranges: ClassVar = {"seed": SEED}
