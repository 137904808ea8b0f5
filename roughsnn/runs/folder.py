"""The folder of a run: settings, versions, tables, figures, spikes and checkpoints."""

import contextlib
import csv
import dataclasses
import datetime
import importlib.metadata
import io
import json
import platform
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax

from roughsnn.io import SavedModel, model_bytes, npz_bytes
from roughsnn.io.whole_file import remove_unfinished, whole_file
from roughsnn.spikes import SpikeTrains

from .checkpoints import Checkpoints
from .interrupts import uninterrupted

T = TypeVar("T")


class RunInterrupted(KeyboardInterrupt):
    """A run was interrupted; `folder` is where it can go on."""

    def __init__(self, folder: Path):
        super().__init__(f"interrupted; what was reached is in {folder}")
        self.folder = folder


_STATE = ("settings.json", "status.json")
"""The files that say what a run is and how it stands."""


class _Before(NamedTuple):
    """A run before a session goes on with it: the content of `_STATE`, and when other files were
    written."""

    state: dict[str, bytes]
    files: dict[str, int]


class RunFolder:
    """A folder of its own for a run, that no later run writes to.

    ```python
    with rs.RunFolder.start(settings) as run:
        result = rs.fit(
            model, data, simulate=simulate, loss=loss, optimiser=optax.adam(1e-2), num_steps=100,
            key=key, checkpoint=run.checkpoints("fit", every=50),
        )
        run.write_history("metrics.csv", result.history)
    ```

    It holds `settings.json` (settings, versions, devices), `status.json` (running, finished,
    interrupted or failed; a run that was killed stays at running), and what the run writes.
    Every file is whole or absent.

    Attributes:
        path: the folder.
        resumed: whether an earlier run goes on in it.
    """

    def __init__(self, path: Path, resumed: bool):
        self.path = Path(path)
        self.resumed = resumed
        self._started = time.monotonic()
        self._before: _Before | None = None

    # ---- begin and end

    @classmethod
    def start(cls, settings: Any) -> "RunFolder":
        """The folder `settings.resume`, or a new one under `settings.output`."""
        resume = getattr(settings, "resume", None)
        return cls.new(settings.output, settings) if resume is None else cls.go_on(resume, settings)

    @classmethod
    def new(cls, parent: Path | str, settings: Any) -> "RunFolder":
        """The next numbered folder under `parent`, with the settings and versions of the run.

        Args:
            parent: made if missing.
            settings: a dataclass.

        Raises:
            OSError: the folder cannot be made or written to.
        """
        path = Path(parent)
        number = 0
        if jax.process_index() == 0:
            path.mkdir(parents=True, exist_ok=True)
            number = max((int(p.name) for p in path.iterdir() if p.name.isdigit()), default=0) + 1
            # Another run may be faster: whoever makes the folder owns it.
            while True:
                try:
                    (path / f"{number:03d}").mkdir()
                    break
                except FileExistsError:
                    number += 1
        run = cls(path / f"{_of_first_process(number):03d}", resumed=False)
        try:
            run.write_json("settings.json", _description(settings))
        except (OSError, KeyboardInterrupt):
            with contextlib.suppress(OSError):
                run.path.rmdir()
            raise
        return run

    @classmethod
    def go_on(cls, path: Path | str, settings: Any) -> "RunFolder":
        """The folder of an earlier run, to go on with it.

        Raises:
            FileNotFoundError: it is not the folder of a run.
        """
        path = Path(path)
        earlier = _read_description(path)
        run = cls(path, resumed=True)
        if jax.process_index() == 0:
            remove_unfinished(path)
            run._before = _Before(
                {name: (path / name).read_bytes() for name in _STATE if (path / name).exists()},
                run._files(),
            )
        new = _description(settings)
        keep = {"resume", "progress"}
        changed = {
            name: value
            for name, value in new["settings"].items()
            if name not in keep and earlier["settings"].get(name) != value
        }
        session = {"started": new["started"], "versions": new["versions"], "changed": changed}
        earlier["settings"] |= changed
        earlier["resumed"] = [*earlier.get("resumed", []), session]
        run.write_json("settings.json", earlier)
        return run

    def __enter__(self) -> "RunFolder":
        try:
            with uninterrupted():
                self._write_status("running")
        except KeyboardInterrupt as error:
            self.__exit__(KeyboardInterrupt, error, None)
        return self

    def __exit__(self, kind, error, traceback) -> None:
        with uninterrupted():
            if error is None:
                self._write_status("finished")
            elif isinstance(error, KeyboardInterrupt):
                self._write_status("interrupted")
            else:
                with contextlib.suppress(OSError):  # the disk may be what failed
                    if not self._as_before():
                        self._write_status("failed", f"{kind.__name__}: {error}")
        if isinstance(error, KeyboardInterrupt):
            raise RunInterrupted(self.path) from error

    def _as_before(self) -> bool:
        """Whether nothing was written in a run that was to go on; its settings and its state are
        then made what they were: what is refused does not change it."""
        if self._before is None or self._before.files != self._files():
            return False
        for name, content in self._before.state.items():
            self.write_bytes(name, content)
        return _STATE[1] in self._before.state

    def _files(self) -> dict[str, int]:
        """When each file was written, but for those that say how a run stands."""
        return {
            str(path): path.stat().st_mtime_ns
            for path in sorted(self.path.rglob("*"))
            if path.is_file() and path.name not in (*_STATE, ".lock")
        }

    # ---- what is written

    def checkpoints(self, name: str, every: int = 50) -> Checkpoints:
        """Checkpoints of one fit of this run, in a folder of their own; a fit that has some goes
        on from there."""
        return Checkpoints(self.path / "checkpoints" / name, every=every, resume=True)

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file; on many hosts, the first one does."""
        if jax.process_index() == 0:
            path = self.path / name
            path.parent.mkdir(exist_ok=True)
            with whole_file(path) as file:
                file.write(content)

    def write_text(self, name: str, text: str) -> None:
        """Write a text, with a newline at its end."""
        self.write_bytes(name, (text.rstrip("\n") + "\n").encode())

    def write_json(self, name: str, content: Any) -> None:
        """Write what JSON holds; paths and the like become texts."""
        self.write_text(name, json.dumps(content, default=str, indent=2))

    def write_table(self, name: str, header: Sequence[str], rows: Iterable[Sequence]) -> None:
        """Write a CSV table. Floats are written so that they read back as the same number.

        In a table of curves the column `step` stands between what says which curve a row belongs
        to and what was measured; `roughsnn plot` draws such tables.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
        self.write_text(name, text.getvalue())

    def write_history(self, name: str, *histories: Any, of: str = "seed") -> None:
        """Write the histories of fits, one for each seed or whatever `of` says: columns `seed`,
        `step` and the rest."""
        names = list(histories[0])
        rows = (
            [seed, step, *(float(history[n][step]) for n in names)]
            for seed, history in enumerate(histories)
            for step in range(len(history[names[0]]))
        )
        self.write_table(name, [of, "step", *names], rows)

    def write_spikes(self, name: str, trains: SpikeTrains) -> None:
        """Write spike trains as NPZ, for `roughsnn.io.read_npz`."""
        self.write_bytes(name, npz_bytes(trains))

    def write_model(self, name: str, model: Any, **options: Any) -> None:
        """Write a model for `roughsnn.io.read_model` and `roughsnn simulate --from`; the options
        are those of `roughsnn.io.write_model`."""
        self.write_bytes(name, model_bytes(SavedModel(model, **options)))

    def write_figure(self, name: str, figure: Any, dpi: int = 200) -> None:
        """Write a figure of matplotlib, and close it; the ending of the name is its format."""
        import matplotlib.pyplot as plt

        content = io.BytesIO()
        figure.savefig(content, format=Path(name).suffix[1:], dpi=dpi)
        plt.close(figure)
        self.write_bytes(name, content.getvalue())

    def _write_status(self, status: str, message: str = "") -> None:
        seconds = round(time.monotonic() - self._started, 1)
        content = {"status": status, "seconds": seconds, "finished": _now()}
        if status == "running":
            content = {"status": status, "started": _now()}
        self.write_json("status.json", content | ({"message": message} if message else {}))


def read_settings(path: Path | str, kind: type[T]) -> T:
    """The settings of an earlier run, as they are in its folder.

    Args:
        path: the folder.
        kind: the dataclass.

    Raises:
        FileNotFoundError: it is not the folder of a run.
        ImportError: cattrs is not installed, which comes with the extra `experiments`.
        ValueError: the settings are not those of `kind`.
    """
    try:
        import cattrs
    except ImportError as error:
        raise ImportError(
            "reading settings needs the extra `experiments`: pip install roughsnn[experiments]"
        ) from error
    content = _read_description(Path(path))["settings"]
    converter = cattrs.Converter(forbid_extra_keys=True)
    try:
        return converter.structure(content, kind)
    except Exception as error:
        details = "; ".join(cattrs.transform_error(error))
        raise ValueError(
            f"{Path(path) / 'settings.json'} does not hold settings of this experiment: {details}"
        ) from error


def versions() -> dict[str, str]:
    """Versions of Python and of the packages whose numbers a result depends on."""
    names = ("roughsnn", "jax", "jaxlib", "diffrax", "equinox", "optax", "signax", "numpy")
    found = {"python": platform.python_version()}
    for name in names:
        found[name] = importlib.metadata.version(name)
    return found


def _description(settings: Any) -> dict[str, Any]:
    devices = jax.devices()
    content = {
        "settings": dataclasses.asdict(settings),
        "started": _now(),
        "versions": versions(),
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "x64": bool(jax.config.jax_enable_x64),  # pyright: ignore[reportAttributeAccessIssue]
    }
    # As it will be read: tuples become lists, paths become texts.
    return json.loads(json.dumps(content, default=str))


def _read_description(path: Path) -> dict[str, Any]:
    try:
        return json.loads((path / "settings.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"{path} is not the folder of a run: there is no settings.json in it. Give the "
            "numbered folder that the run wrote."
        ) from None
    except ValueError:
        raise ValueError(
            f"{path / 'settings.json'} is damaged: it is not JSON. Correct it, or start anew."
        ) from None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _of_first_process(number: int) -> int:
    if jax.process_count() == 1:
        return number
    from jax.experimental import multihost_utils

    return int(multihost_utils.broadcast_one_to_all(number))
