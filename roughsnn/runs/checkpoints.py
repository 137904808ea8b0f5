"""Checkpoints: the state of a computation in files, whole or absent, and checked when read."""

import contextlib
import dataclasses
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
from jaxtyping import PyTree

from roughsnn.io.whole_file import remove_unfinished, whole_file

from .._checks import whole_number

_MAGIC = b"roughsnn checkpoint 1 "
_NAME = re.compile(r"step-(\d+)\.ckpt")


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, read or used; the text names the file and says what to do."""


class Checkpoint(NamedTuple):
    """What was kept.

    Attributes:
        step: number of steps taken.
        tree: the pytree.
        arrays: further NumPy arrays by name, whose shapes are not known beforehand.
        notes: what JSON holds: numbers, texts, lists, dictionaries.
    """

    step: int
    tree: PyTree
    arrays: dict[str, np.ndarray]
    notes: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """Where and how often [`roughsnn.fit`][] keeps its state, so that it can go on from there.

    ```python
    checkpoint = rs.Checkpoints("runs/threshold", every=100, resume=True)
    result = rs.fit(
        model, data, simulate=simulate, loss=loss, optimiser=optax.adam(1e-2), num_steps=1000,
        key=key, checkpoint=checkpoint,
    )
    ```

    This script can be killed at any moment and run again: it goes on from the last checkpoint,
    and ends with the same numbers, bit for bit on one machine, as if it had never been killed.
    What is kept are the model, the state of the optimiser, the number of the step, from which
    noise and mini-batches follow, and the history.

    A checkpoint is one file, written under another name, brought to the disk, and only then given
    its name. It begins with a checksum of all that follows: a line of JSON that says what is in
    it, and the arrays as `equinox.tree_serialise_leaves` writes them. Nothing is pickled.

    For a training loop of your own there are `save` and `restore`.

    Attributes:
        folder: where the files are; made if missing. Every fit needs a folder of its own.
        every: steps between two checkpoints. `fit` rounds up to a multiple of its `log_every`.
            What a `kill -9` loses are the steps since the last one.
        keep: how many of the newest are kept; with two, there is one left if one is damaged.
        resume: whether to go on from the newest checkpoint, if there is one. Otherwise a folder
            that holds checkpoints is refused, and nothing in it is touched.

    Raises:
        ValueError: `every` or `keep` is not positive.
    """

    folder: Path | str
    every: int = 50
    keep: int = 2
    resume: bool = False

    def __post_init__(self):
        object.__setattr__(self, "folder", Path(self.folder))
        for name in ("every", "keep"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), 1))

    def paths(self) -> list[Path]:
        """The checkpoints in the folder, oldest first."""
        folder = Path(self.folder)
        found = folder.iterdir() if folder.is_dir() else ()
        numbered = [(_NAME.fullmatch(path.name), path) for path in found]
        return [path for _, path in sorted((int(m[1]), path) for m, path in numbered if m)]

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Make the folder, and keep other processes from writing to it.

        Raises:
            CheckpointError: the folder cannot be made or written to, holds checkpoints though
                `resume` is false, or is in use by another process.
        """
        folder = Path(self.folder)
        if jax.process_index() != 0:  # on many hosts the first one writes
            yield
            return
        try:
            earlier = self.paths()
            if earlier and not self.resume:
                raise CheckpointError(
                    f"{folder} holds checkpoints of an earlier fit, the newest {earlier[-1].name}."
                    " Go on from there with `resume=True`, or give another folder."
                )
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / ".lock").open("a")
        except OSError as error:
            raise CheckpointError(
                f"checkpoints cannot be written to {folder}: {error.strerror}. Give a folder that "
                "you may write to."
            ) from error
        with lock:
            _lock(lock, folder)
            remove_unfinished(folder)
            yield

    def save(
        self,
        step: int,
        tree: PyTree,
        *,
        arrays: Mapping[str, np.ndarray] | None = None,
        notes: Mapping[str, Any] | None = None,
        identity: Mapping[str, str] | None = None,
    ) -> None:
        """Keep a state, and remove checkpoints beyond the newest `keep`.

        Args:
            step: number of steps taken; names the file.
            tree: a pytree; its arrays are kept.
            arrays: further NumPy arrays.
            notes: what JSON holds.
            identity: words that must be the same when the checkpoint is used, such as the
                digests of key and data.

        Raises:
            CheckpointError: the file cannot be written. Earlier checkpoints are as they were.
        """
        if jax.process_index() != 0:
            return
        arrays = {name: np.asarray(value) for name, value in (arrays or {}).items()}
        kept = eqx.filter(tree, eqx.is_array)
        header = {
            "step": step,
            "leaves": _describe(kept),
            "arrays": {name: [list(x.shape), x.dtype.str] for name, x in arrays.items()},
            "notes": dict(notes or {}),
            "identity": dict(identity or {}),
        }
        content = io.BytesIO()
        content.write(json.dumps(header).encode() + b"\n")
        eqx.tree_serialise_leaves(content, (kept, arrays), filter_spec=_write_leaf)
        digest = hashlib.sha256(content.getbuffer()).hexdigest().encode()
        path = Path(self.folder) / f"step-{step:08d}.ckpt"
        try:
            with whole_file(path) as file:
                file.write(_MAGIC + digest + b"\n")
                file.write(content.getbuffer())
        except OSError as error:
            before = [p for p in self.paths() if p != path]
            raise CheckpointError(
                f"the checkpoint {path} cannot be written: {error.strerror}. "
                + (f"{before[-1]} is untouched: make room or " if before else "Make room or ")
                + "mend what is wrong, and go on with `resume=True`."
            ) from error
        for old in self.paths()[: -self.keep]:
            with contextlib.suppress(OSError):
                old.unlink()

    def restore(
        self, like: PyTree, *, identity: Mapping[str, str] | None = None
    ) -> Checkpoint | None:
        """Read the newest checkpoint; `None` if there is none.

        Args:
            like: a pytree of the same structure, shapes and dtypes; what is no array is taken
                from it.
            identity: as in `save`.

        Raises:
            CheckpointError: the file is damaged, no checkpoint, or one of something else.
        """
        paths = self.paths()
        if not paths:
            return None
        path = paths[-1]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
        older = ", ".join(p.name for p in reversed(paths[:-1]))
        advice = (
            f"Move {path.name} away to go on from the one before it ({older})."
            if older
            else "Start anew in another folder."
        )
        first, _, rest = content.partition(b"\n")
        if not first.startswith(_MAGIC[:-2]):
            raise CheckpointError(f"{path} is no checkpoint of roughsnn. {advice}")
        if not first.startswith(_MAGIC):
            version = first.split()[2].decode(errors="replace") if len(first.split()) > 2 else "?"
            raise CheckpointError(
                f"{path} has version {version} of the format; this roughsnn reads version 1."
            )
        if hashlib.sha256(rest).hexdigest().encode() != first[len(_MAGIC) :]:
            raise CheckpointError(
                f"{path} is damaged: its content does not match its checksum. {advice}"
            )
        line, _, payload = rest.partition(b"\n")
        header = json.loads(line)
        kept, other = eqx.partition(like, eqx.is_array)
        _check_identity(path, header["identity"], dict(identity or {}))
        _check_leaves(path, header["leaves"], _describe(kept))
        empty = {
            name: np.empty(shape, np.dtype(dtype))
            for name, (shape, dtype) in header["arrays"].items()
        }
        kept, arrays = eqx.tree_deserialise_leaves(
            io.BytesIO(payload), (kept, empty), filter_spec=_read_leaf
        )
        return Checkpoint(header["step"], eqx.combine(kept, other), arrays, header["notes"])


def digest_of(tree: PyTree) -> str:
    """A digest of the arrays of a pytree, their values, shapes and dtypes."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_array)):
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype}".encode())
        values = jr.key_data(leaf) if _is_key(leaf) else leaf
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _lock(lock: Any, folder: Path) -> None:
    """Lock an open file; the lock ends with the process, however it ends."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CheckpointError(
            f"{folder} is in use by another process. Wait until it ends, or give another folder."
        ) from None
    except OSError:  # a file system without locks
        return


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _write_leaf(file: io.BytesIO, leaf: Any) -> None:
    np.save(file, np.asarray(jr.key_data(leaf) if _is_key(leaf) else leaf), allow_pickle=False)


def _read_leaf(file: io.BytesIO, like: Any) -> Any:
    values = np.load(file, allow_pickle=False)
    if _is_key(like):
        return jr.wrap_key_data(values, impl=jr.key_impl(like))
    if isinstance(like, jax.Array):
        # bfloat16 and the like are no types of NumPy's own and come back as raw bytes
        return jax.numpy.asarray(values.view(like.dtype) if values.dtype.kind == "V" else values)
    return values


def _describe(tree: PyTree) -> list[list]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [[jax.tree_util.keystr(p), list(x.shape), str(x.dtype)] for p, x in leaves]


def _check_identity(path: Path, theirs: dict[str, str], ours: dict[str, str]) -> None:
    different = sorted(n for n in theirs | ours if theirs.get(n) != ours.get(n))
    if different:
        raise CheckpointError(
            f"{path} belongs to another computation, with another {' and '.join(different)}. To go "
            "on from it give what it was begun with; or start anew in another folder."
        )


def _check_leaves(path: Path, theirs: list, ours: list) -> None:
    if theirs == ours:
        return
    there, here = ({name: rest for name, *rest in leaves} for leaves in (theirs, ours))

    def words(leaf):
        return "is missing" if leaf is None else f"has shape {tuple(leaf[0])} and dtype {leaf[1]}"

    name = next((n for n in there | here if there.get(n) != here.get(n)), None)
    what = (
        "its arrays are in another order"
        if name is None
        else f"the array {name} {words(there.get(name))} there and {words(here.get(name))} here"
    )
    raise CheckpointError(
        f"{path} belongs to another model or optimiser: {what}. To go on from it give the model "
        "and the optimiser it was begun with; or start anew in another folder."
    )
