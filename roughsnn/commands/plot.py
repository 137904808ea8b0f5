"""Draw the raster of a file of spikes, or the spikes and curves in the folder of a run."""

import csv
import dataclasses
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from roughsnn.commands.table_settings import TableSettings
from roughsnn.io import holds_trains, read_csv, read_npz, read_table
from roughsnn.io.whole_file import whole_file
from roughsnn.runs.settings import FINITE, above, at_least, check_ranges
from roughsnn.spikes import SpikeTrains


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(TableSettings):
    """Draw a file of spikes, or a run."""

    path: Annotated[Path, tyro.conf.Positional]
    """A file of spikes (.npz, or a table with a row for each), a table of curves (.csv), or the
    folder of a run, in which all of them are drawn."""
    start: float | None = None
    """Start of the window, for a table of spikes that does not say it; by default 0, or the first
    spike where it is before."""
    stop: float | None = None
    """End of the window, likewise; by default the last spike."""
    output: Path | None = None
    """Folder for the figures; by default `figures` beside the file, or in the folder."""
    overwrite: bool = False
    """Whether figures that are there already are drawn anew; otherwise they are left."""
    max_trials: int = 50
    """How many trials are drawn."""
    smooth: int = 1
    """Steps in the running mean of curves."""
    format: Literal["png", "pdf", "svg", "eps", "jpg"] = "png"
    """Format of the figures."""

    def __post_init__(self):
        check_ranges(
            self,
            {
                "max_trials": at_least(1), "smooth": at_least(1), "start": FINITE, "stop": FINITE,
                "sampling_rate": above(0),
            },
        )  # fmt: skip
        if self.path.is_file():
            self._refuse_unused(
                ("smooth",) if not _is_curves(self.path) else tuple(_OF_SPIKES), self.path
            )

    def _refuse_unused(self, names: tuple[str, ...], path: Path) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in names and value != field.default:
                raise ValueError(
                    f"`{field.name}` is {value}, which is not used for {path}; leave it out."
                )


def run(settings: Settings) -> list[Path]:
    """Draw what there is, and return the files that were written."""
    import matplotlib.pyplot as plt

    path = settings.path
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix in (".npz", ".csv"))
        root = path
    elif path.is_file():
        found, root = [path], path.parent
    else:
        raise FileNotFoundError(f"there is no file or folder {path}")
    output = settings.output or root / "figures"
    written = []
    for source in found:
        stem = "-".join(source.relative_to(root).with_suffix("").parts)
        if _is_curves(source):
            drawn = _curves(source, settings)
        elif source == path or _is_own(source):
            drawn = _raster(source, settings)
        else:
            print(f"{source} is not drawn: it holds neither curves nor spike trains of roughsnn")
            continue
        for name, figure in drawn.items():
            target = output / f"{stem}{name}.{settings.format}"
            if target.exists() and not settings.overwrite:
                print(f"{target} is there already; --overwrite draws it anew")
                continue
            output.mkdir(parents=True, exist_ok=True)
            with whole_file(target) as file:
                figure.savefig(file, format=settings.format, dpi=200)
            plt.close(figure)
            written.append(target)
            print(target)
    if not found:
        raise FileNotFoundError(f"{path} holds no file of spikes (.npz) and no table (.csv)")
    return written


_OF_SPIKES = (
    "max_trials", "start", "stop", *(field.name for field in dataclasses.fields(TableSettings))
)  # fmt: skip


def _is_curves(path: Path) -> bool:
    """Whether a file is a table of curves, which has a column `step`."""
    if path.suffix != ".csv":
        return False
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return "step" in next(csv.reader(file), [])


def _is_own(path: Path) -> bool:
    """Whether a file is of spike trains that roughsnn wrote."""
    if path.suffix != ".csv":
        return holds_trains(path)
    with path.open("rb") as file:
        return file.read(11) == b"# roughsnn "


def _raster(path: Path, settings: Settings) -> dict:
    from roughsnn.plotting import plot_raster

    unit = settings.time_unit
    if path.suffix == ".npz" and holds_trains(path):
        trains = read_npz(path, keep_duplicates=True)
    else:
        trains, unit = _table(path, settings)
    while len(trains.batch_shape) > 1:  # data sets of several seeds: the first one's
        trains = trains[0]
    ax = plot_raster(trains, max_trials=settings.max_trials, time_unit=unit)
    return {"": ax.figure}


def _table(path: Path, settings: Settings) -> tuple[SpikeTrains, str | None]:
    """The spike trains of a table and their unit, in double precision on the way."""
    format = settings.table_format()
    table = read_table(path, format)
    window = {}
    if not table.about and table.times.size:
        window = dict(t0=min(0.0, float(table.times.min())), t1=float(table.times.max()))
    window |= {
        name: value
        for name, value in (("t0", settings.start), ("t1", settings.stop))
        if value is not None
    }
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trains = read_csv(path, **window, keep_duplicates=True, **dataclasses.asdict(format))
    for warning in said:
        print(f"note: {warning.message}")
    return trains, table.unit


def _curves(path: Path, settings: Settings) -> dict:
    """A figure for each column after `step`, with a curve for each combination before it."""
    from roughsnn.plotting import plot_learning_curve

    with path.open(newline="") as file:
        header, *rows = [*csv.reader(file)] or [[]]
    if not rows:
        raise ValueError(f"{path} has no curves: a table of curves has rows. Draw it later.")
    at = header.index("step")
    curves = defaultdict(list)
    for row in rows:
        curves[tuple(row[:at])].append([float(x or "nan") for x in row[at + 1 :]])
    # what is the same everywhere, such as the one seed, says nothing
    varies = [len({key[i] for key in curves}) > 1 for i in range(at)]
    figures = {}
    for column, name in enumerate(header[at + 1 :]):
        ax = None
        for key, values in curves.items():
            values = np.array(values)[:, column]
            label = ", ".join(
                f"{header[i]} {part}" for i, part in enumerate(key) if varies[i]
            )  # fmt: skip
            ax = plot_learning_curve(
                {name: values}, ax, name=name, label=label or None, smooth=settings.smooth,
                log=bool(np.nanmin(values) > 0 and np.nanmax(values) > 20 * np.nanmin(values)),
            )  # fmt: skip
        if ax is not None:
            figures[f"-{name.replace('_', '-')}"] = ax.figure
    return figures
