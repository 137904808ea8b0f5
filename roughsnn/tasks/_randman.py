"""Smooth random manifolds."""

import numpy as np

from roughsnn._checks import IntLike, RealLike, number, whole_number
from roughsnn.training import LabelledData


def randman(
    samples: IntLike,
    *,
    classes: IntLike = 10,
    inputs: IntLike = 20,
    dimensions: IntLike = 1,
    smoothness: RealLike = 1.0,
    frequencies: IntLike = 1000,
    seed: IntLike = 0,
) -> LabelledData:
    r"""Randman: points on smooth random manifolds, one manifold a class.

    The D-dimensional manifold of a class has the coordinates

    $$
    f_i(x) = \prod_{j=1}^{D} \sum_{k=1}^{n_c} \frac{A_{ijk}}{k^{\alpha}}
             \sin\bigl(2 \pi (k\,x_j B_{ijk} + C_{ijk})\bigr), \qquad
    A, B, C \sim U(0, 1), \quad x \sim U[0, 1]^D .
    $$

    This is the definition that the paper prints. The generator that its authors released differs
    in the weights of the frequencies and leaves the lowest of them out; its manifolds are
    different ones, of the same kind. Each coordinate is then scaled, over the samples of a class,
    to fill 0 to 1, as the paper does, so that no input alone tells the classes apart by its range:
    draw samples to train and to test on in one call, and [`split`][roughsnn.tasks.split] them.

    Args:
        samples: of each class, at least two.
        classes: how many.
        inputs: the dimension of the space, coordinates i.
        dimensions: D, of a manifold. The task becomes harder with it.
        smoothness: $\alpha \ge 0$: the larger, the smoother.
        frequencies: $n_c$.
        seed: of manifolds and points.

    Returns:
        inputs of shape (classes * samples, inputs) from 0 to 1, and the numbers of their classes,
        class after class.

    Raises:
        ValueError: an argument outside its range.

    Reference: Zenke & Vogels (2021), Neural Comput. 33:899; there 1000 samples of each of ten
    classes, D = alpha = 1, 20 inputs, and spikes within 50 ms.
    """
    samples = whole_number("samples", samples, 2)
    classes, inputs = whole_number("classes", classes, 1), whole_number("inputs", inputs, 1)
    dimensions = whole_number("dimensions", dimensions, 1)
    frequencies = whole_number("frequencies", frequencies, 1)
    alpha = number("smoothness", smoothness, least=0)
    k = np.arange(1, frequencies + 1)
    found = np.ones((classes, samples, inputs))
    for c in range(classes):
        rng = np.random.default_rng([whole_number("seed", seed, 0), c])
        a, b, phase = rng.uniform(size=(3, inputs, dimensions, frequencies))
        x = rng.uniform(size=(samples, dimensions))
        for i in range(inputs):
            for j in range(dimensions):
                angle = np.outer(x[:, j], 2 * np.pi * k * b[i, j]) + 2 * np.pi * phase[i, j]
                found[c, :, i] *= np.sin(angle) @ (a[i, j] * k**-alpha)
    low, high = found.min(axis=1, keepdims=True), found.max(axis=1, keepdims=True)
    found = (found - low) / (high - low)
    labels = np.repeat(np.arange(classes, dtype=np.int32), samples)
    return LabelledData(found.reshape(classes * samples, inputs), labels)
