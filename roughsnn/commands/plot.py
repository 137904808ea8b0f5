"""Draw the raster of a file of spikes, or the spikes and curves in the folder of a run."""

import csv
import dataclasses
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from roughsnn.io import read_npz
from roughsnn.io.whole_file import whole_file
from roughsnn.runs.settings import at_least, check_ranges


@dataclasses.dataclass(frozen=True)
class Settings:
    """Draw a file of spikes, or a run."""

    path: Annotated[Path, tyro.conf.Positional]
    """A file of spikes (.npz), a table of curves (.csv), or the folder of a run, in which all of
    them are drawn."""
    output: Path | None = None
    """Folder for the figures; by default `figures` beside the file, or in the folder."""
    overwrite: bool = False
    """Whether figures that are there already are drawn anew; otherwise they are left."""
    time_unit: str | None = None
    """Unit of time, for the label of the axis."""
    max_trials: int = 50
    """How many trials are drawn."""
    smooth: int = 1
    """Steps in the running mean of curves."""
    format: Literal["png", "pdf", "svg", "eps", "jpg"] = "png"
    """Format of the figures."""

    def __post_init__(self):
        check_ranges(self, {"max_trials": at_least(1), "smooth": at_least(1)})
        of_others = {".csv": ("max_trials", "time_unit"), ".npz": ("smooth",)}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in of_others.get(self.path.suffix, ()) and value != field.default:
                raise ValueError(
                    f"`{field.name}` is {value}, which is not used for a {self.path.suffix} file; "
                    "leave it out."
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
        drawn = _raster(source, settings) if source.suffix == ".npz" else _curves(source, settings)
        if not drawn and source == path:
            raise ValueError(
                f"{path} has no curves: a table of curves has a column `step`, and rows. Of spike "
                "times in CSV, `roughsnn.io.read_csv` and `write_npz` make a file that is drawn."
            )
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


def _raster(path: Path, settings: Settings) -> dict:
    from roughsnn.plotting import plot_raster

    trains = read_npz(path, keep_duplicates=True)
    while len(trains.batch_shape) > 1:  # data sets of several seeds: the first one's
        trains = trains[0]
    ax = plot_raster(trains, max_trials=settings.max_trials, time_unit=settings.time_unit)
    return {"": ax.figure}


def _curves(path: Path, settings: Settings) -> dict:
    """A figure for each column after `step`, with a curve for each combination before it."""
    from roughsnn.plotting import plot_learning_curve

    with path.open(newline="") as file:
        header, *rows = [*csv.reader(file)] or [[]]
    if "step" not in header or not rows:
        return {}
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
