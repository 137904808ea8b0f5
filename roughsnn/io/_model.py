"""Models in files: what is needed to build them again, and to simulate them."""

import dataclasses
import hashlib
import importlib
import importlib.metadata
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._files import new_file

_MAGIC = b"roughsnn model 1 "
_ROOMS = ("roughsnn", "roughsnn.neurons", "roughsnn.networks", "roughsnn.gated", "roughsnn.drivers")


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """A model as it is in a file, with how it is meant to be simulated.

    Attributes:
        model: a neuron model, a network, or any tree of such and of arrays.
        input_current: what `simulate` takes under this name, if anything was kept.
        window: length of a trial, in the unit of the model.
        dt0: step of the solver.
        max_spikes: room for the spikes of a trial.
        time_unit: unit of time of the model: `s`, `ms`; `None` where it has none.
        notes: what else was kept, as JSON holds it.
        versions: of roughsnn and jax that wrote the file.
    """

    model: Any
    input_current: Any = None
    window: float | None = None
    dt0: float | None = None
    max_spikes: int | None = None
    time_unit: str | None = None
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)


def write_model(
    path: Path | str,
    model: Any,
    *,
    input_current: Any = None,
    window: float | None = None,
    dt0: float | None = None,
    max_spikes: int | None = None,
    time_unit: str | None = None,
    notes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a neuron model or a network, whole or not at all.

    What is kept are the classes by name, their settings and their arrays, bit for bit; nothing is
    pickled, and no code is kept. The file begins with a checksum.

    Args:
        path: of the file.
        model: a neuron model, a network, or any tree (dictionaries, lists, tuples, dataclasses)
            of such and of arrays, numbers and texts.
        input_current: what `simulate` is to be given under this name: numbers, arrays or a
            `CurrentOnGrid`.
        window: length of a trial.
        dt0: step of the solver.
        max_spikes: room for the spikes of a trial.
        time_unit: unit of time of the model.
        notes: what JSON holds.
        overwrite: replace a file that exists.

    Raises:
        FileExistsError: there is a file already and `overwrite` is not set.
        OSError: it cannot be written; nothing of it is left.
        TypeError: something in `model` or `input_current`, such as a function, is no data.
    """
    saved = SavedModel(
        model, input_current, window, dt0, max_spikes, time_unit, dict(notes or {}), {}
    )
    content = model_bytes(saved)
    with new_file(path, overwrite) as file:
        file.write(content)


def model_bytes(saved: SavedModel) -> bytes:
    """What `write_model` writes."""
    arrays: list[np.ndarray] = []
    about = {
        field.name: getattr(saved, field.name)
        for field in dataclasses.fields(saved)
        if field.name not in ("model", "input_current", "versions")
    }
    about = {
        "versions": {name: importlib.metadata.version(name) for name in ("roughsnn", "jax")},
        **about,
        "model": _encoded(saved.model, "model", arrays),
        "input_current": _encoded(saved.input_current, "input_current", arrays),
    }
    content = io.BytesIO()
    content.write(json.dumps(about).encode() + b"\n")
    for array in arrays:
        np.save(content, array, allow_pickle=False)
    digest = hashlib.sha256(content.getbuffer()).hexdigest().encode()
    return _MAGIC + digest + b"\n" + content.getvalue()


def read_model(path: Path | str, *, classes: Sequence[type] = (), cast: bool = False) -> SavedModel:
    """Read what `write_model` wrote.

    Args:
        path: of the file.
        classes: classes of your own that are in the model; those of roughsnn are known.
        cast: round double-precision arrays where JAX is set to single precision.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, of another version, of a class that is not known, or in double
            precision where JAX is set to single. The message names the file and what to do.
    """
    content = Path(path).read_bytes()
    first, _, rest = content.partition(b"\n")
    if not first.startswith(_MAGIC[:-2]):
        raise ValueError(f"{path} is no file of a model. Give one that `write_model` wrote.")
    if not first.startswith(_MAGIC):
        raise ValueError(
            f"{path} has another version of the format, {first[:40]!r}; this roughsnn reads "
            "version 1. Write it again with this roughsnn, or read it with the one that wrote it."
        )
    if hashlib.sha256(rest).hexdigest().encode() != first[len(_MAGIC) :]:
        raise ValueError(
            f"{path} is damaged: its content does not match its checksum. Write it again."
        )
    line, _, payload = rest.partition(b"\n")
    about = json.loads(line)
    decoder = _Decoder(Path(path), io.BytesIO(payload), classes, cast, about["versions"])
    about["model"] = decoder.decoded(about["model"])
    about["input_current"] = decoder.decoded(about["input_current"])
    return SavedModel(**about)


def _encoded(value: Any, name: str, arrays: list[np.ndarray]) -> Any:
    """`value` as JSON, with its arrays moved to `arrays`; `name` is for errors."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, float | int) and not isinstance(value, np.generic):
        # JSON has no infinity
        return value if np.isfinite(value) else {"float": repr(value)}
    if isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        inner = _encoded(jax.random.key_data(value), name, arrays)
        return {"key": str(jax.random.key_impl(value)), "data": inner}
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        arrays.append(np.asarray(value))
        if arrays[-1].dtype.kind == "O":
            raise TypeError(f"`{name}` is an array of objects; a file of a model holds numbers.")
        kind = "jax" if isinstance(value, jax.Array) else "numpy"
        weak = getattr(value, "weak_type", False) and not value.shape
        return {"array": kind, "dtype": str(value.dtype), "weak": weak}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: _encoded(getattr(value, field.name), f"{name}.{field.name}", arrays)
            for field in dataclasses.fields(value)
            # a default that the class holds for all of its instances stays there
            if field.name in getattr(value, "__dict__", {field.name: None})
        }
        return {"class": _name_of(type(value)), "fields": fields}
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a named tuple
        fields = {
            part: _encoded(getattr(value, part), f"{name}.{part}", arrays)
            for part in value._fields  # pyright: ignore[reportAttributeAccessIssue]
        }
        return {"class": _name_of(type(value)), "fields": fields}
    if isinstance(value, list | tuple):
        parts = [_encoded(part, f"{name}[{i}]", arrays) for i, part in enumerate(value)]
        return {"tuple": parts} if isinstance(value, tuple) else parts
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {
            "dict": {key: _encoded(part, f"{name}[{key!r}]", arrays) for key, part in value.items()}
        }
    raise TypeError(
        f"`{name}` is a {type(value).__name__}, which a file of a model does not hold: it holds "
        "dataclasses, lists, tuples, dictionaries, arrays, numbers and texts, and no code. Leave "
        "it out, or give numbers in its place, such as a `CurrentOnGrid` for a function of time."
    )


def _name_of(kind: type) -> str:
    """The public name of a class of roughsnn, which files may rely on, or else its full name."""
    if kind.__module__.startswith("roughsnn."):
        for room in _ROOMS:
            if getattr(importlib.import_module(room), kind.__name__, None) is kind:
                return f"{room}.{kind.__name__}"
    return f"{kind.__module__}.{kind.__qualname__}"


class _Decoder:
    """Builds a tree again, taking arrays in the order in which they were written."""

    def __init__(self, path, payload, classes, cast, versions):
        self.path, self.payload, self.cast, self.versions = path, payload, cast, versions
        self.classes = {_name_of(kind): kind for kind in classes}

    def decoded(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.decoded(part) for part in value]
        if not isinstance(value, dict):
            return value
        if "float" in value:
            return float(value["float"])
        if "key" in value:
            return jax.random.wrap_key_data(self.decoded(value["data"]), impl=value["key"])
        if "array" in value:
            return self._array(value["array"], value["dtype"], value["weak"])
        if "tuple" in value:
            return tuple(self.decoded(part) for part in value["tuple"])
        if "dict" in value:
            return {key: self.decoded(part) for key, part in value["dict"].items()}
        return self._instance(value["class"], value["fields"])

    def _array(self, kind: str, dtype: str, weak: bool) -> Any:
        values = np.load(self.payload, allow_pickle=False)
        if kind == "numpy":
            return values if values.ndim else values[()]
        # bfloat16 and the like are no types of NumPy's own and come back as raw bytes
        values = values.view(jnp.dtype(dtype)) if values.dtype.kind == "V" else values
        held = jax.dtypes.canonicalize_dtype(values.dtype)
        if held != values.dtype and not self.cast:
            raise ValueError(
                f"{self.path} holds {values.dtype} arrays, and JAX is set to {held}. Set "
                '`jax.config.update("jax_enable_x64", True)` first, or pass `cast=True` to round '
                "them."
            )
        # numbers of Python's make arrays that take on the type of others
        return jnp.asarray(values.item()) if weak else jnp.asarray(values, held)

    def _instance(self, name: str, encoded: dict[str, Any]) -> Any:
        kind = self.classes.get(name) or self._class(name)
        fields = {field: self.decoded(value) for field, value in encoded.items()}
        if issubclass(kind, tuple):
            return kind(**fields)
        known = {field.name for field in dataclasses.fields(kind)}
        without = {field for field in known - set(fields) if not hasattr(kind, field)}
        if without or not known >= set(fields):
            different = sorted(without | (set(fields) - known))
            raise ValueError(
                f"{self.path} and this roughsnn differ in the fields {different} of {name}; the "
                f"file was written by {self.versions}. Read it with that version of roughsnn."
            )
        instance = object.__new__(kind)
        for field, value in fields.items():
            object.__setattr__(instance, field, value)
        return instance

    def _class(self, name: str) -> type:
        module, _, last = name.rpartition(".")
        found = None
        # nothing but roughsnn is imported: a file must not choose what code runs
        if module.split(".")[0] == "roughsnn":
            try:
                found = getattr(importlib.import_module(module), last, None)
            except ImportError:
                found = None
        if not (isinstance(found, type) and (dataclasses.is_dataclass(found) or _named(found))):
            raise ValueError(
                f"{self.path} holds a {name}, which is not known here; it was written by "
                f"{self.versions}. Pass the class in `classes=`, or read the file with that "
                "version of roughsnn."
            )
        return found


def _named(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")
