"""Settings that say how a table of spikes is written, for the commands that read one."""

import dataclasses
from typing import Literal

from roughsnn.io import TableFormat


@dataclasses.dataclass(frozen=True)
class TableSettings:
    """How tables of spikes are written; see `roughsnn.io.TableFormat`."""

    time_unit: Literal["ns", "us", "ms", "s", "min"] | None = None
    """Unit of the times in the files; by default what the file or the name of the column says, or
    else seconds."""
    time_column: str | None = None
    """Column of the spike times, by its name, or by its position from 0 where there is no header;
    by default one that is called so, or the only one."""
    neuron_column: tuple[str, ...] = ()
    """Column that says of which neuron a spike is, or several that say so together; by default one
    called neuron, unit, cell or cluster, with `_id` or without."""
    trial_column: tuple[str, ...] = ()
    """Column that says of which trial a spike is; by default one called trial."""
    ignore_columns: tuple[str, ...] = ()
    """Columns that are not read, on purpose."""
    delimiter: str | None = None
    """Character between the columns, a blank for any number of blanks; by default what is in the
    first line: tab, semicolon, comma, bar or blanks."""
    decimal: Literal[".", ","] = "."
    """Decimal sign."""
    header: bool | None = None
    """Whether the first row are names of columns; by default, unless all of it are numbers."""
    compression: Literal["none", "gzip", "bz2", "xz", "zip"] | None = None
    """How the file is compressed; by default what its first bytes say."""
    sampling_rate: float | None = None
    """Samples per second, where the times are numbers of samples."""

    def table_format(self) -> TableFormat:
        """The same, for a reader."""
        return TableFormat(
            time_column=self.time_column,
            neuron_column=self.neuron_column or None,
            trial_column=self.trial_column or None,
            ignore=self.ignore_columns,
            delimiter="\t" if self.delimiter == "\\t" else self.delimiter,
            decimal=self.decimal,
            header=self.header,
            compression=self.compression,
            time_unit=self.time_unit,
            sampling_rate=self.sampling_rate,
        )
