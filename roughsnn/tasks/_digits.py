"""Handwritten digits."""

import numpy as np

from roughsnn.training import LabelledData

from ._packages import package


def digits() -> LabelledData:
    """Handwritten digits of 8 x 8 pixels, which scikit-learn ships: 1797 pictures of ten classes.

    They are small enough for a run of seconds, and are not MNIST: accuracies on MNIST do not
    compare with theirs. They come in an order in which writers follow each other;
    [`split`][roughsnn.tasks.split] shuffles them.

    Returns:
        inputs of shape (1797, 64), the ink of each pixel from 0 to 1 (in steps of 1/16), rows of a
        picture after each other; targets 0 to 9.

    Raises:
        ImportError: scikit-learn is not installed, which comes with the extra `tasks`.

    Reference: Alpaydin & Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine
    Learning Repository (the part of it that was kept for testing).
    """
    datasets = package("sklearn.datasets", "Handwritten digits", "scikit-learn")
    pixels, labels = datasets.load_digits(return_X_y=True)
    return LabelledData(pixels / 16, labels.astype(np.int32))
