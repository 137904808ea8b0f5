"""Settings that say what is read of a recording."""

import dataclasses
from pathlib import Path
from typing import ClassVar, Literal

from roughsnn.commands.table_settings import TableSettings
from roughsnn.io import TableFormat
from roughsnn.runs.settings import above, at_least

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
                names = list(self.around)
                if len(names) > 1:
                    raise ValueError(
                        f"`around` is {self.around}; it must be one column of the table, or times "
                        "in seconds."
                    ) from None
                around = names[0]
        return Cutting(
            self.cut_by, around, self.before, self.after, self.intervals, self.outside, self.groups
        )


@dataclasses.dataclass(frozen=True)
class StimulusSettings:
    """What the neurons were given, and how a neuron that is driven by it is fitted."""

    stimulus: tuple[Path, ...] = ()
    """Tables of a stimulus, a row for each time and a column for each value (CSV, NPZ), one for all
    conditions or one for each. Its times are those of the spikes; with a column of trials each
    trial has its own."""
    stimulus_columns: tuple[str, ...] = ()
    """Columns of values; by default all but times, trials and those to ignore."""
    stimulus_ignore: tuple[str, ...] = ()
    """Columns of the stimulus that are not read."""
    stimulus_rate: float | None = None
    """Rows per second of a stimulus without times."""
    stimulus_time_unit: Literal["ns", "us", "ms", "s", "min"] | None = None
    """Unit of its times, where the file does not say it; by default seconds."""
    intensity: Literal["auto", "exponential", "softplus", "sigmoid"] = "auto"
    """How the intensity of a driven neuron grows with its potential; `auto` compares them by
    cross-validation within the training part."""
    filter_length: float | None = None
    """Length of the filter of the stimulus in seconds; by default 1, 2 or 4 mean intervals, by
    cross-validation."""
    filter_functions: int = 14
    """Functions that the filter is made of, for each column."""
    bin: float | None = None
    """Cell in which the current is constant, in seconds; by default an eighth of the 5 % quantile
    of the intervals, or what is near it and fits the stimulus."""
    rate_kernel: float | None = None
    """Standard deviation of the kernel of rates in seconds; by default half a mean interval."""
    generated_trials: int = 100
    """Free-running samples of each driven trial."""

    stimulus_ranges: ClassVar = {
        "stimulus_rate": above(0), "filter_length": above(0), "filter_functions": at_least(2),
        "bin": above(0), "rate_kernel": above(0), "generated_trials": at_least(2),
    }  # fmt: skip

    needs_stimulus: ClassVar = (
        "stimulus_columns", "stimulus_ignore", "stimulus_rate", "stimulus_time_unit", "intensity",
        "filter_length", "filter_functions", "bin", "rate_kernel", "generated_trials",
    )  # fmt: skip

    without_stimulus: ClassVar = (
        "losses", "steps", "gradient_steps", "prior", "paths", "batch", "sequence", "dt0",
        "max_spikes", "likelihood_paths", "mmd_glm", "generated_windows", "checkpoint_every",
    )  # fmt: skip

    def stimulus_format(self) -> TableFormat:
        """How its files are written, for a reader."""
        return TableFormat(ignore=self.stimulus_ignore)
