"""A stimulus: read, brought to the cells of a grid, passed through the functions of a filter."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Stimulus:
    """What was shown in a trial: values that hold from their times on.

    Attributes:
        times: in seconds, increasing.
        values: shape (times, columns).
        step: the median of their distances; so long the last value holds.
    """

    times: np.ndarray
    values: np.ndarray

    @property
    def step(self) -> float:
        return float(np.median(np.diff(self.times)))

    def means(self, edges: np.ndarray) -> np.ndarray:
        """The mean of each column in each cell between `edges`; before the first time it is the
        first value, after the last the last."""
        t = np.r_[self.times, self.times[-1] + self.step]
        widths = np.diff(t)
        total = np.vstack(
            [np.zeros(self.values.shape[1]), np.cumsum(self.values * widths[:, None], 0)]
        )
        inside = np.clip(edges, t[0], t[-1])
        passed = np.stack([np.interp(inside, t, column) for column in total.T], 1)
        passed += np.minimum(edges - t[0], 0)[:, None] * self.values[0]
        passed += np.maximum(edges - t[-1], 0)[:, None] * self.values[-1]
        return np.diff(passed, axis=0) / np.diff(edges)[:, None]


def raised_cosines(count: int, lags: np.ndarray, offset: float) -> np.ndarray:
    """Bumps on a logarithmic scale of the lag, shape (lags, count): narrow at 0 and ever wider, so
    close that they add up to 2.

    Args:
        count: how many.
        lags: from 0 on.
        offset: lag below which the scale is linear.

    Reference: Pillow et al. (2008), Nature 454, 995.
    """
    scaled = np.log(lags + offset)
    last = np.log(lags[-1] + offset)
    centres = np.linspace(np.log(offset), last, count + 1)[:-1]
    width = centres[1] - centres[0]
    phase = np.clip((scaled[:, None] - centres) * np.pi / (2 * width), -np.pi, np.pi)
    return (1 + np.cos(phase)) / 2


@dataclasses.dataclass(frozen=True)
class Filter:
    """The functions that a linear filter is made of.

    Attributes:
        step: of the grid, in seconds.
        functions: shape (lags, count), each of sum 1.
        mean: of each column of the stimulus, which is taken off.
        scale: its standard deviation, by which it is divided.
        names: of the columns.
    """

    step: float
    functions: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def of(cls, step: float, length: float, count: int, stimuli: list[Stimulus], names) -> "Filter":
        """A filter of a length, for these stimuli."""
        lags = np.arange(int(np.ceil(length / step)) + 1) * step
        functions = raised_cosines(count, lags, 2 * step)
        values = np.concatenate([s.values for s in stimuli])
        return cls(
            step, functions / functions.sum(0), values.mean(0),
            np.maximum(values.std(0), 1e-300), tuple(names),
        )  # fmt: skip

    @property
    def lags(self) -> np.ndarray:
        """In seconds."""
        return np.arange(len(self.functions)) * self.step

    def features(self, stimulus: Stimulus, start: float, cells: int) -> np.ndarray:
        """The stimulus through each function, in each cell from `start` on: shape
        (cells, columns times functions)."""
        past = len(self.functions) - 1
        edges = start + self.step * np.arange(-past, cells + 1)
        values = (stimulus.means(edges) - self.mean) / self.scale
        found = [
            np.convolve(column, function)[past : past + cells]
            for column in values.T
            for function in self.functions.T
        ]
        return np.stack(found, 1)

    def of_weights(self, weights: np.ndarray) -> np.ndarray:
        """The filter that weights make, shape (lags, columns), in units of potential for a standard
        deviation of the stimulus that lasts a second."""
        shape = (len(self.names), self.functions.shape[1])
        return self.functions @ np.reshape(weights, shape).T / self.step

    def errors_of(self, covariance: np.ndarray) -> np.ndarray:
        """Standard errors of the filter by the covariance of its weights, shape (lags, columns)."""
        count = self.functions.shape[1]
        own = [slice(k * count, (k + 1) * count) for k in range(len(self.names))]
        squares = [
            np.einsum("lf,fg,lg->l", self.functions, covariance[at, at], self.functions)
            for at in own
        ]
        return np.sqrt(np.maximum(np.stack(squares, 1), 0)) / self.step
