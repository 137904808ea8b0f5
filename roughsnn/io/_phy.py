"""Folders of sorted spikes as Kilosort and phy leave them."""

import ast
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .._checks import RealLike, number
from ._table import SpikeTable

_TIMES = "spike_times.npy"
_CLUSTERS = ("spike_clusters.npy", "spike_templates.npy")
# what people said of clusters comes before what Kilosort says
_GROUPS = (
    ("cluster_group.tsv", "group"),
    ("cluster_info.tsv", "group"),
    ("cluster_KSLabel.tsv", "KSLabel"),
)


def holds_sorted(path: Path | str) -> bool:
    """Whether a folder holds sorted spikes, as Kilosort and phy leave them."""
    return (Path(path) / _TIMES).is_file()


def read_phy(
    folder: Path | str,
    *,
    sampling_rate: RealLike | None = None,
    groups: Sequence[str] | None = None,
) -> SpikeTable:
    """Read the spikes of a folder of Kilosort or phy, clusters as neurons, times in seconds.

    Times are `spike_times.npy`, in samples; clusters are `spike_clusters.npy`, or, where nobody has
    changed them, `spike_templates.npy`; the sampling rate is that of `params.py`, which is read
    and not run.

    Args:
        folder: the folder.
        sampling_rate: samples per second, where the folder does not say it.
        groups: labels of the clusters that are read, such as `("good",)`, as `cluster_group.tsv`,
            `cluster_info.tsv` or `cluster_KSLabel.tsv` have them; by default all but noise.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is missing or damaged, arrays do not fit together, a time or a cluster is
            no whole number 0 or more, or no cluster has one of the labels.
    """
    folder = Path(folder)
    samples = _whole_numbers(folder / _TIMES, "number of a sample")
    named = [folder / name for name in _CLUSTERS if (folder / name).is_file()]
    if not named:
        raise ValueError(
            f"{folder} holds no {_CLUSTERS[0]}, which says of which cluster a spike is. Add it, or "
            "give a table of spikes."
        )
    clusters = _whole_numbers(named[0], "number of a cluster")
    if samples.size != clusters.size:
        raise ValueError(
            f"{folder}: {_TIMES} has {samples.size} spikes and {named[0].name} {clusters.size}. "
            "Export both again."
        )
    rate = _rate(folder, sampling_rate)
    kept, remarks = _chosen(folder, clusters, groups)
    rows = np.flatnonzero(kept)
    written = [str(sample) for sample in samples[kept].tolist()]
    return SpikeTable(
        path=folder / _TIMES,
        times=samples[kept] / rate,
        unit="s",
        trials=None,
        neurons=clusters[kept].astype(str),
        others={},
        rows=[f"row {row}" for row in rows.tolist()],
        written=written,
        about={},
        remarks=tuple(remarks),
    )


def _whole_numbers(path: Path, what: str) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"{path} is damaged or no NumPy array: {error}. Export it again."
        ) from error
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "iuf":
        raise ValueError(
            f"{path} has shape {np.shape(array)} and dtype {getattr(array, 'dtype', None)}; it "
            "must hold one number for each spike. Export it again."
        )
    wrong = ~np.isfinite(array) | (array < 0) | (array != np.floor(array))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"{path}, row {at}: {array[at]} is no {what}, a whole number 0 or more. Correct it; "
            "times in seconds belong into a table of spikes."
        )
    return array.astype(np.int64)


def _rate(folder: Path, given: RealLike | None) -> float:
    """Samples per second, of `params.py` or as given."""
    rate = None if given is None else number("sampling_rate", given, positive=True)
    path = folder / "params.py"
    if not path.is_file():
        if rate is None:
            raise ValueError(
                f"{folder} holds no params.py, so that nothing says how long a sample is. Pass "
                "`sampling_rate=`, samples per second."
            )
        return rate
    own = None
    try:
        for line in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(line, ast.Assign) and getattr(line.targets[0], "id", "") == "sample_rate":
                own = number("sample_rate", ast.literal_eval(line.value), positive=True)
    except (SyntaxError, ValueError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} does not say the sampling rate: {error}. Correct the line `sample_rate = ...`."
        ) from error
    found = rate if own is None else own
    if found is None:
        raise ValueError(
            f"{path} has no line `sample_rate = ...`. Add it, or pass `sampling_rate=`, samples "
            "per second."
        )
    if own is not None and rate is not None and own != rate:
        raise ValueError(
            f"{path} says that there are {own:g} samples per second, and `sampling_rate` {rate:g}. "
            "Leave it out, or correct the file."
        )
    return found


def _chosen(
    folder: Path, clusters: np.ndarray, groups: Sequence[str] | None
) -> tuple[np.ndarray, list[str]]:
    """Which spikes are of clusters that are read, and what is not read."""
    labels = _labels(folder)
    present = np.unique(clusters).tolist()
    if groups is None:
        wanted = {c for c in present if labels.get(c) != "noise"}
    elif not labels:
        raise ValueError(
            f"{folder} holds no labels of clusters ({', '.join(name for name, _ in _GROUPS)}), and "
            f"`groups` is {tuple(groups)}. Leave it out, or label the clusters."
        )
    else:
        wanted = {c for c in present if labels.get(c) in groups}
    if not wanted:
        have = sorted({labels[c] for c in present if c in labels})
        raise ValueError(
            f"{folder}: of its {len(present)} clusters none is read; they are labelled {have}. "
            "Name other `groups=`."
        )
    left = [c for c in present if c not in wanted]
    remarks = []
    if left:
        kinds = ", ".join(
            f"{sum(labels.get(c, 'without a label') == kind for c in left)} {kind}"
            for kind in sorted({labels.get(c, "without a label") for c in left})
        )
        remarks.append(f"{len(left)} clusters are not read: {kinds}")
    return np.isin(clusters, sorted(wanted)), remarks


def _labels(folder: Path) -> dict[int, str]:
    """The label of each cluster, of the first file that has labels."""
    for name, column in _GROUPS:
        path = folder / name
        if not path.is_file():
            continue
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        found = {}
        for line, row in enumerate(rows, start=2):
            cluster = row.get("cluster_id") or row.get("id") or ""
            if column not in row or not cluster.isdecimal():
                raise ValueError(
                    f"{path}, line {line}: there is no number under cluster_id, or no column "
                    f"{column}. Export it again, or remove the file."
                )
            if row[column]:
                found[int(cluster)] = row[column]
        if found:
            return found
    return {}
