"""Spike trains as neo objects, and through neo to elephant and to all that reads neo."""

from pathlib import Path
from typing import Any

import numpy as np

from ..spikes.trains import SpikeTrains
from ._files import one_batch_axis, package, refuse_duplicates, with_overflow


def to_neo(trains: SpikeTrains, *, unit: str = "s") -> Any:
    """A `neo.Block` with a segment for each trial, and in it a `neo.SpikeTrain` for each neuron.

    Args:
        trains: trains with one batch axis.
        unit: of the times, as quantities knows it: `"s"`, `"ms"`.

    Raises:
        ImportError: neo is not installed.
        ValueError: not exactly one batch axis.
    """
    neo = package("neo")
    one_batch_axis(trains)
    starts, ends = (np.broadcast_to(end, len(trains)) for end in (trains.t0, trains.t1))
    block = neo.Block(name="roughsnn", max_spikes=trains.max_spikes)
    overflowed = np.asarray(trains.overflowed)
    for trial, by_neuron in enumerate(trains.to_lists()):
        window = dict(t_start=float(starts[trial]), t_stop=float(ends[trial]), units=unit)
        segment = neo.Segment(index=trial, overflowed=bool(overflowed[trial]))
        for neuron, times in enumerate(by_neuron):
            segment.spiketrains.append(neo.SpikeTrain(times, neuron=neuron, **window))
        block.segments.append(segment)
    return block


def from_neo(block: Any, *, unit: str | None = None, keep_duplicates: bool = False) -> SpikeTrains:
    """Trains from a `neo.Block` or a list of segments, one trial a segment.

    Args:
        block: a `neo.Block`, a `neo.Segment` or a list of segments. Every segment holds one train
            for each neuron, in one order, all of one window; segments may have different ones.
        unit: the unit to have the times in; by default that of the first train.
        keep_duplicates: allow spikes of one neuron at one time.

    Raises:
        ValueError: no segment, segments with different numbers of trains, trains of one segment
            with different windows, a unit that is no time, two spikes of a neuron at one time;
            also what `SpikeTrains.from_lists` refuses.
    """
    segments = getattr(block, "segments", block)
    segments = [segments] if hasattr(segments, "spiketrains") else list(segments)
    if not segments or not len(segments[0].spiketrains):
        raise ValueError(
            "`block` holds no segment with spike trains; there is nothing to read. Pass a block or "
            "a list of segments that has them."
        )
    unit = str(segments[0].spiketrains[0].units.dimensionality) if unit is None else unit
    trials, windows = [], []
    for number, segment in enumerate(segments):
        try:
            own = [train.rescale(unit) for train in segment.spiketrains]
        except (LookupError, ValueError) as error:
            raise ValueError(
                f"segment {number} cannot be had in the unit {unit!r}: {error}. Pass a unit of "
                "time, such as `unit='ms'`."
            ) from error
        trials.append([np.asarray(train.magnitude, np.float64) for train in own])
        windows += [(float(train.t_start), float(train.t_stop)) for train in own]
    firsts = np.cumsum([0, *(len(trial) for trial in trials[:-1])])
    for number, trial in enumerate(trials):
        for index in range(firsts[number], firsts[number] + len(trial)):
            if windows[index] != windows[firsts[number]]:
                raise ValueError(
                    f"spike train {index} has the window {windows[index]} and the first one of its "
                    f"segment {windows[firsts[number]]}; bring all of a segment to one with neo's "
                    "`time_slice` and `time_shift`."
                )
        if not trial:
            raise ValueError(
                f"segment {number} has no spike trains; its window is not known. Remove it, or add "
                "an empty train for each neuron."
            )
    starts, ends = (np.array(x) for x in zip(*(windows[first] for first in firsts), strict=True))
    if np.all(starts == starts[0]) and np.all(ends == ends[0]):
        starts, ends = float(starts[0]), float(ends[0])
    annotations = getattr(block, "annotations", {})
    try:
        trains = SpikeTrains.from_lists(
            trials, t0=starts, t1=ends, max_spikes=annotations.get("max_spikes")
        )
    except ValueError as error:
        raise ValueError(
            f"`block`: {error} (`trials[i][k]` is spike train k of segment i.)"
        ) from error
    for i, trial in enumerate(trials):
        for k, times in enumerate(trial):
            refuse_duplicates(times, f"segment {i}, spike train {k}", keep=keep_duplicates)
    marks = [bool(segment.annotations.get("overflowed", False)) for segment in segments]
    return with_overflow(trains, marks)


def read_neo(path: Path | str, *, unit: str = "s", keep_duplicates: bool = False) -> SpikeTrains:
    """Trains from a file, or a folder, in any format that neo reads, see `from_neo`.

    The first block is read. Pickles are refused: to read one is to run what is in it.

    Args:
        path: of the file or folder; neo knows the format by its ending.
        unit: to have the times in.
        keep_duplicates: allow spikes of one neuron at one time.

    Raises:
        ImportError: neo is not installed, or a package that it needs for this format.
        OSError: the file cannot be read.
        ValueError: neo does not know the format, the file is damaged or holds no spike trains; also
            what `from_neo` refuses.
    """
    path = Path(path)
    neo = package("neo")
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder.")
    if path.suffix in (".pkl", ".pickle"):
        raise ValueError(
            f"{path} is a pickle, which is not read, because reading it runs what is in it. Write "
            "it in another format, such as NWB."
        )
    tried = []
    for kind in neo.io.list_candidate_ios(str(path)):
        if neo.Block not in kind.supported_objects and not hasattr(kind, "read_block"):
            continue
        try:
            block = kind(str(path)).read_block()
        except ImportError:
            raise
        except Exception as error:  # whatever the many readers raise
            tried.append(f"{kind.__name__}: {type(error).__name__}: {error}")
            continue
        try:
            return from_neo(block, unit=unit, keep_duplicates=keep_duplicates)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    if tried:
        raise ValueError(
            f"{path} is damaged, or not what its ending says ({'; '.join(tried[:3])}). Export it "
            "again, or give a table of spikes."
        )
    raise ValueError(
        f"{path}: neo knows no format with the ending {path.suffix!r}. Give NWB, or a table "
        "of spikes."
    )
