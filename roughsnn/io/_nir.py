"""Files of the Neuromorphic Intermediate Representation (NIR)."""

import io
from pathlib import Path
from typing import Any

from ..neurons import AbstractNeuron
from ._files import new_file, package
from ._nir_in import NIRModel, from_nir
from ._nir_out import to_nir


def write_nir(
    path: Path | str,
    model: AbstractNeuron,
    *,
    input_current: Any = None,
    time_scale: float | int = 1,
    overwrite: bool = False,
) -> None:
    """Write a model as a NIR file, see `to_nir`.

    Raises:
        FileExistsError: there is a file already and `overwrite` is not set.
        OSError: it cannot be written; nothing of it is left.
        ImportError: as `to_nir`.
        TypeError: as `to_nir`.
        ValueError: as `to_nir`.
    """
    nir = package("nir")
    content = io.BytesIO()
    nir.write(content, to_nir(model, input_current=input_current, time_scale=time_scale))
    with new_file(path, overwrite) as file:
        file.write(content.getvalue())


def read_nir(path: Path | str, *, time_scale: float | int = 1) -> NIRModel:
    """Read a model from a NIR file, see `from_nir`.

    Raises:
        ImportError: nir is not installed.
        OSError: the file cannot be read, or is no HDF5 file.
        ValueError: it holds no NIR graph, or one that has no counterpart here.
    """
    nir = package("nir")
    try:
        graph = nir.read(str(path), type_check=False)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no NIR graph that can be read ({error!r}).") from error
    return from_nir(graph, time_scale=time_scale)
