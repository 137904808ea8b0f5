"""Files of spikes with one fault each, and what an error should say of it."""

import dataclasses
import gzip
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import roughsnn.io as formats

T0, T1, NEURONS, TRIALS = 0.0, 1.0, 3, 2


@dataclasses.dataclass(frozen=True)
class Case:
    """A file with a fault.

    Attributes:
        format: of the file.
        fault: in a word or two.
        path: the file; for neo a name only.
        places: what the error must name beside the file: line, trial, value.
        read: reads it.
    """

    format: str
    fault: str
    path: Path
    places: tuple[str, ...]
    read: Callable[[], Any]


def faulty_files(rng: np.random.Generator, variants: int) -> Iterator[Case]:
    """`variants` files of each kind of fault, in all formats; NWB has fewer, as it is slow."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(variants):
            yield from _csv_cases(rng, Path(folder) / f"{number}")
            yield from _npz_cases(rng, Path(folder) / f"{number}")
            yield from _neo_cases(rng, Path(folder) / f"{number}")
            if number < 2:
                yield from _nwb_cases(rng, Path(folder) / f"{number}")


def spike_table(rng: np.random.Generator) -> list[tuple[int, int, float]]:
    """Good rows `(trial, neuron, time)`, sorted; at least three for each trial."""
    rows = []
    for trial in range(TRIALS):
        count = int(rng.integers(4, 9))
        times = np.sort(rng.uniform(0.05, 0.95, count))
        rows += [(trial, int(rng.integers(NEURONS)), float(time)) for time in times]
    return rows


def _csv_cases(rng: np.random.Generator, folder: Path) -> Iterator[Case]:
    folder = folder / "csv"
    folder.mkdir(parents=True)
    good = spike_table(rng)
    at = int(rng.integers(len(good)))
    later = next(i for i in range(len(good) - 1, 0, -1) if good[i][0] == good[i - 1][0])
    trial, neuron, time = good[at]
    window = dict(t0=T0, t1=T1)

    def lines(header="trial,neuron,time", **changed):
        rows = [f"{i},{k},{t!r}" for i, k, t in good]
        for index, row in changed.items():
            rows[int(index[1:])] = row
        return "\n".join([header, *rows]) + "\n"

    def changed(row, index=at):
        return lines(**{f"_{index}": row})

    line = f"line {at + 2}"
    earlier = good[later - 1][2]
    files = {
        "NaN": (changed(f"{trial},{neuron},nan"), (line, "'nan'")),
        "a word for a time": (changed(f"{trial},{neuron},soon"), (line, "'soon'")),
        "no time": (changed(f"{trial},{neuron},"), (line, "''")),
        "negative": (changed(f"{trial},{neuron},-{time!r}"), (line, f"-{time!r}")),
        "after the window": (changed(f"{trial},{neuron},{time + 7!r}"), (line,)),
        "infinite": (changed(f"{trial},{neuron},inf"), (line, "inf")),
        "unsorted": (
            changed(f"{good[later][0]},{good[later - 1][1]},{earlier / 2!r}", later),
            (f"line {later + 2}", "earlier than"),
        ),
        "duplicate": (
            changed("{},{},{!r}".format(*good[later - 1]), later),
            (f"line {later + 2}", f"neuron {good[later - 1][1]}"),
        ),
        "too few columns": (changed(f"{trial},{time!r}"), (line, "2 columns")),
        "too many columns": (changed(f"{trial},{neuron},{time!r},1"), (line, "4 columns")),
        "decimal comma": (changed(f"{trial},{neuron},0,5"), (line, "4 columns")),
        # a blank last line is none
        "empty line": (changed("", at // 2), (f"line {at // 2 + 2}",)),
        "negative trial": (changed(f"-1,{neuron},{time!r}"), (line, "trial '-1'")),
        "half a neuron": (changed(f"{trial},0.5,{time!r}"), (line, "neuron '0.5'")),
        "header misses the time": (lines("trial,neuron,when"), ("line 1", "'time'")),
        "two columns of trials": (lines("trial,Trial,time"), ("line 1", "'Trial'")),
        "perhaps a neuron": (lines("trial,channel,time"), ("line 1", "'channel'")),
        "perhaps a trial": (lines("sweep,neuron,time"), ("line 1", "'sweep'")),
        "two columns of times": (lines("trial,spike_time,time"), ("line 1", "'spike_time'")),
        "numbers of samples": (lines("trial,neuron,sample"), ("'sample'",)),
        "units of time": ("time,unit\n0.25,ms\n0.5,ms\n", ("which neuron", "time_unit")),
        "column twice": (lines("neuron,neuron,time"), ("line 1", "'neuron'")),
        "no header": (lines().partition("\n")[2], ("line 1",)),
        "decimal commas, no header": ("0,512\n0,734\n", ("line 1", "decimal=','")),
        "decimal commas, semicolons": (
            f"time;neuron\n{time!r};0\n".replace(".", ","),
            ("line 2", "decimal=','"),
        ),
        "empty file": ("", ("line 1",)),
        "no spikes, no sizes": ("trial,neuron,time\n", ("no spikes",)),
        "two delimiters": (lines("trial;neuron,time"), ("line 1", "`delimiter=`")),
        "cut off, packed": (gzip.compress(lines().encode())[:-9], ("gzip",)),
        "damaged description": ('# roughsnn {"t0": 0\n' + lines(), ("line 1",)),
        "text in another encoding": (lines().encode("utf-16"), ()),
        "bytes": (rng.bytes(200) + b"\xff", ()),
    }
    for fault, (content, places) in files.items():
        path = folder / f"{fault.replace(' ', '-').replace(',', '')}.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        yield Case("CSV", fault, path, places, lambda path=path: formats.read_csv(path, **window))


def _good_arrays(rng: np.random.Generator) -> dict[str, Any]:
    good = spike_table(rng)
    room = 10
    times, neurons = np.full((TRIALS, room), np.inf), np.full((TRIALS, room), -1)
    for trial in range(TRIALS):
        own = [(neuron, time) for i, neuron, time in good if i == trial]
        neurons[trial, : len(own)], times[trial, : len(own)] = zip(*own, strict=True)
    return dict(
        times_since_start=times, neurons=neurons, t0=T0, t1=T1, overflowed=np.zeros(TRIALS, bool),
        num_neurons=NEURONS,
    )  # fmt: skip


def _npz_cases(rng: np.random.Generator, folder: Path) -> Iterator[Case]:
    folder = folder / "npz"
    folder.mkdir(parents=True)
    good = _good_arrays(rng)
    row = int(rng.integers(TRIALS))
    count = int(np.sum(good["neurons"][row] >= 0))
    at = int(rng.integers(1, count - 1))
    train, spike = f"train {row}", f"spike {at}"

    def put(name, value, at=at):
        array = good[name].copy()
        array[row, at] = value
        return {name: array}

    def as_file(arrays):
        content = io.BytesIO()
        np.savez(content, **arrays)
        return content.getvalue()

    twin = {**put("times_since_start", good["times_since_start"][row, at - 1])}
    twin |= put("neurons", good["neurons"][row, at - 1])
    whole = as_file(good)
    flipped = bytearray(whole)
    # somewhere in the times, which come first
    flipped[int(rng.integers(200, 300))] ^= 0xFF
    array = io.BytesIO()
    np.save(array, good["times_since_start"])
    files = {
        "NaN": (put("times_since_start", np.nan), (train, spike, "NaN")),
        "negative": (put("times_since_start", -0.5, 0), (train, "spike 0", "-0.5")),
        "after the window": (put("times_since_start", 7.0, count - 1), (train, "7.0")),
        "infinite": (put("times_since_start", np.inf), (train,)),
        "unsorted": (put("times_since_start", 0.01), (train, spike, "0.01")),
        "duplicate": (twin, (train, f"neuron {twin['neurons'][row, at]}")),
        "neuron too large": (put("neurons", NEURONS), (train, spike, f"neuron {NEURONS}")),
        "neuron below -1": (put("neurons", -2, count), (train, "neuron -2")),
        "hole in the padding": (put("neurons", -1), (train,)),
        "neuron beyond 32 bits": (put("neurons", 2**32), ("neurons",)),
        "shapes differ": ({"neurons": good["neurons"][:, :3]}, ("`neurons`", "(2, 3)")),
        "times are whole numbers": (
            {"times_since_start": np.zeros((TRIALS, 10), int)},
            ("`times_since_start`",),
        ),
        "times are words": ({"times_since_start": np.full((TRIALS, 10), "a")}, ()),
        "neurons are floats": ({"neurons": good["neurons"] * 1.0}, ("`neurons`",)),
        "no neurons": ({"num_neurons": 0}, ("`num_neurons`",)),
        "window ends before it begins": ({"t1": -1.0}, ("t1",)),
        "window is NaN": ({"t0": np.nan}, ("t0",)),
        "marks of another shape": ({"overflowed": np.zeros(5, bool)}, ("`overflowed`", "(5,)")),
        "pickled objects": ({"times_since_start": np.array([[None] * 10] * TRIALS)}, ()),
        "missing array": ({"t0": None}, ("'t0'",)),
        "cut off": (whole[: int(rng.integers(10, len(whole) - 10))], ()),
        "flipped byte": (bytes(flipped), ()),
        "one array, no archive": (array.getvalue(), ()),
        "empty file": (b"", ()),
        "text": (b"0.1, 0.2\n", ()),
    }
    for fault, (content, places) in files.items():
        path = folder / f"{fault.replace(' ', '-').replace(',', '')}.npz"
        if isinstance(content, dict):
            arrays = {name: v for name, v in (good | content).items() if v is not None}
            content = as_file(arrays)
        path.write_bytes(content)
        yield Case("NPZ", fault, path, places, lambda path=path: formats.read_npz(path))


def _neo_cases(rng: np.random.Generator, folder: Path) -> Iterator[Case]:
    import neo

    good = [[np.sort(rng.uniform(0.1, 0.9, 4)) for _ in range(NEURONS)] for _ in range(TRIALS)]
    i, k = int(rng.integers(TRIALS)), int(rng.integers(NEURONS))

    def block(times=None, stop=T1, missing=False, unit="s"):
        made = neo.Block()
        for trial in range(TRIALS):
            segment = neo.Segment()
            for neuron in range(NEURONS - (missing and trial == i)):
                here = (trial, neuron) == (i, k)
                values = times if here and times is not None else good[trial][neuron]
                segment.spiketrains.append(
                    neo.SpikeTrain(values, t_start=T0, t_stop=stop if here else T1, units=unit)
                )
            made.segments.append(segment)
        return made

    own = good[i][k]
    place = f"trials[{i}][{k}]"
    blocks = {
        "unsorted": (block(own[::-1]), (place,)),
        "NaN": (block(np.append(own[:-1], np.nan)), (place,)),
        "duplicate": (block(np.append(own, own[-1])), (f"segment {i}", f"train {k}")),
        "another window": (block(stop=2.0), (f"spike train {i * NEURONS + k}",)),
        "a train is missing": (block(missing=True), ()),
        "no segments": (neo.Block(), ()),
    }
    if k == 0:  # the first train sets the window that the others of its segment are held against
        blocks["another window"] = (
            blocks["another window"][0], (f"spike train {i * NEURONS + 1}",)
        )  # fmt: skip
    for fault, (made, places) in blocks.items():
        path = folder / f"{fault}.neo"
        yield Case("neo", fault, path, places, lambda made=made: formats.from_neo(made))
    made, path = block(), folder / "unit.neo"
    yield Case(
        "neo", "no unit of time", path, ("segment 0", "'mV'"),
        lambda: formats.from_neo(made, unit="mV"),
    )  # fmt: skip


def _nwb_cases(rng: np.random.Generator, folder: Path) -> Iterator[Case]:
    import datetime

    import h5py
    import pynwb

    folder = folder / "nwb"
    folder.mkdir(parents=True)
    good = [np.sort(rng.uniform(0.1, 0.9, 4)) for _ in range(NEURONS)]
    k = int(rng.integers(NEURONS))
    place = f"trials[0][{k}]"

    def write(path, times=None, interval=(T0, T1), units=True, trial=0.0, shifted=0.0):
        session = pynwb.NWBFile("faulty", "faulty", datetime.datetime.now(datetime.UTC))
        if units:
            for name in ("neuron", "trial", "overflowed", "max_spikes"):
                session.add_unit_column(name, name)
            for neuron, own in enumerate(good):
                session.add_unit(
                    spike_times=times if neuron == k and times is not None else own,
                    obs_intervals=[[interval[0], interval[1] + shifted * (neuron == k)]],
                    neuron=float(neuron),
                    trial=trial if neuron == k else 0.0, overflowed=False, max_spikes=20,
                )  # fmt: skip
        with h5py.File(path, "w") as file, pynwb.NWBHDF5IO(file=file, mode="w") as writer:
            writer.write(session)

    own = good[k]
    files = {
        "unsorted": (dict(times=own[::-1]), (place,)),
        "NaN": (dict(times=np.append(own[:-1], np.nan)), (place,)),
        "another interval": (dict(shifted=0.5), ("trial 0",)),
        "duplicate": (dict(times=np.append(own, own[-1])), (f"unit {k}",)),
        "negative": (dict(times=np.append(-0.25, own)), (place, "-0.25")),
        "half a trial": (dict(trial=0.5), (f"unit {k}", "0.5")),
        "negative trial": (dict(trial=-1.0), (f"unit {k}", "-1")),
        "no units": (dict(units=False), ()),
    }
    for fault, (changes, places) in files.items():
        path = folder / f"{fault.replace(' ', '-')}.nwb"
        write(path, **changes)
        yield Case("NWB", fault, path, places, lambda path=path: formats.read_nwb(path))
    write(folder / "good.nwb")
    whole = (folder / "good.nwb").read_bytes()
    (folder / "good.nwb").unlink()
    for fault, content in {
        "cut off": whole[: int(rng.integers(100, len(whole) // 2))],
        "empty file": b"",
        "text": b"trial,neuron,time\n",
    }.items():
        path = folder / f"{fault.replace(' ', '-')}.nwb"
        path.write_bytes(content)
        yield Case("NWB", fault, path, (), lambda path=path: formats.read_nwb(path))
