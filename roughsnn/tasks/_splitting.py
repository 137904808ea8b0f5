"""Data to train on and data to test on."""

from typing import Any

import numpy as np

from roughsnn._checks import IntLike, whole_number
from roughsnn.training import LabelledData


def split(data: Any, test: IntLike, *, seed: IntLike = 0) -> tuple[LabelledData, LabelledData]:
    """Shuffle labelled data and keep some of it for testing.

    Args:
        data: labelled data.
        test: the number of samples to test on, fewer than there are.
        seed: of the order. The same seed and number of samples give the same parts.

    Returns:
        the data to train on, and those to test on.

    Raises:
        TypeError: `data` is not labelled data.
        ValueError: no sample would be left in one of the parts.
    """
    if not isinstance(data, LabelledData):
        raise TypeError(f"`data` must be roughsnn.LabelledData, got {type(data).__name__}.")
    test = whole_number("test", test, 1, len(data) - 1)
    order = np.random.default_rng(whole_number("seed", seed, 0)).permutation(len(data))
    return data[order[test:]], data[order[:test]]
