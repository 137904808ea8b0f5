"""Settings that say what is read of a recording."""

import dataclasses
from typing import Literal

from roughsnn.commands.table_settings import TableSettings

from .sources import Cutting


@dataclasses.dataclass(frozen=True)
class SourceSettings(TableSettings):
    """What is read of a file of recorded spikes beside how a table is written."""

    neurons: tuple[str, ...] = ()
    """Neurons that are fitted, by the names that the files have; by default all."""
    cut_by: str | None = None
    """Table of an NWB file by which trials are cut: `trials`, or another table of intervals."""
    around: tuple[str, ...] = ()
    """Column of that table, or times in seconds, around which trials are cut instead."""
    before: float | None = None
    """Seconds before it at which a trial starts."""
    after: float | None = None
    """Seconds after it at which a trial ends."""
    intervals: Literal["same", "common"] = "same"
    """Whether the units of an NWB file must have the same observation intervals, or what they have
    in common is read."""
    outside: Literal["refuse", "leave out"] = "refuse"
    """Whether spikes outside the observation intervals, and trials that were not observed as a
    whole, are refused or left out."""
    groups: tuple[str, ...] = ()
    """Labels of the clusters of a folder of Kilosort or phy that are read, such as `good`; by
    default all but noise."""

    def cutting(self) -> Cutting:
        """The same, for a reader.

        Raises:
            ValueError: `around` is neither a column nor times.
        """
        around = None
        if self.around:
            try:
                around = tuple(float(x) for x in self.around)
            except ValueError:
                if len(self.around) > 1:
                    raise ValueError(
                        f"`around` is {self.around}; it must be one column of the table, or times "
                        "in seconds."
                    ) from None
                around = self.around[0]
        return Cutting(
            self.cut_by, around, self.before, self.after, self.intervals, self.outside, self.groups
        )
