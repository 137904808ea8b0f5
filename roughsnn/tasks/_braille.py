"""Braille letters under a fingertip."""

from pathlib import Path
from typing import Any

import numpy as np

from roughsnn.training import LabelledData

_FILE = "braille_taxels.npz"
_FIELDS = {"taxels": 3, "length": 1, "letter": 1}


def read_braille(folder: Any, *, standardised: bool = True) -> LabelledData:
    r"""Braille letters as a robot's fingertip feels them, sliding over each: pressure on sensors
    over time.

    The recordings are not part of the package. The folder must hold a file `braille_taxels.npz`
    with the arrays `taxels`, the readings (recordings, steps, sensors) from 0 to 255; `length`, how
    many steps of each recording are valid; and `letter`, its class. All recordings are cut to the
    shortest of them, and the readings, which fall under pressure, become $1 - x / 255$.

    Args:
        folder: where the file lies.
        standardised: whether each sensor is brought to mean zero and standard deviation one, over
            all recordings and steps.

    Returns:
        inputs of shape (recordings, steps, sensors), and the numbers of the letters.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an array that is missing, or of a shape that does not fit the others.

    References: Müller-Cleve et al. (2022), Braille letter reading, Front. Neurosci. 16:951164,
    arXiv 2205.15864, for the recordings: 27 letters (a blank is one), 50 times each, published
    under CC BY 4.0. An adaptation with 4 sensors and 77 steps comes with tutorial 5 of SpyTorch.
    """
    file = Path(folder) / _FILE
    if not file.is_file():
        raise FileNotFoundError(
            f"`folder` is {str(folder)!r}, which holds no {_FILE}; give the folder with the "
            "Braille recordings."
        )
    with np.load(file) as archive:
        missing = sorted(set(_FIELDS) - set(archive.files))
        if missing:
            raise ValueError(f"{file} has no array {missing[0]!r}; it holds {archive.files}.")
        taxels, length, letter = (archive[name] for name in _FIELDS)
    for array, (name, axes) in zip((taxels, length, letter), _FIELDS.items(), strict=True):
        if array.ndim != axes or len(array) != len(taxels) or not len(array):
            raise ValueError(
                f"{file}: {name!r} has shape {array.shape}; it must have {axes} axes, the first of "
                f"them over the {len(taxels)} recordings of 'taxels'."
            )
    steps = int(length.min())
    if not 1 <= steps <= int(length.max()) <= taxels.shape[1]:
        raise ValueError(
            f"{file}: 'length' goes from {steps} to {int(length.max())}; recordings have 1 to "
            f"{taxels.shape[1]} steps."
        )
    readings = 1 - taxels[:, :steps].astype(np.float64) / 255
    if standardised:
        spread = readings.std(axis=(0, 1))
        readings = (readings - readings.mean(axis=(0, 1))) / np.where(spread > 0, spread, 1)
    return LabelledData(readings, letter.astype(np.int32))
