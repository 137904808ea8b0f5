"""The balanced sampling network of the source's code as a loop in NumPy, written apart from the
package: the mean of the estimate in the first 50 ms after the mean of the target steps up.

What the code fixes is fixed here; what a reader may take otherwise is a `Protocol`, so that it is
seen how much hangs on each.
"""

import dataclasses
from typing import Any

import numpy as np

_TAU_M, _TAU_S = 20.0, 0.2
"""Time constants of the readout and of the Langevin dynamics, ms."""
_WINDOW = 50.0
"""How long is looked at from the onset on, ms."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What is run; the defaults are the source's code, as far as it says.

    Attributes:
        dim: dimensions p.
        neurons_per_dim: neurons for each.
        correlation: rho.
        common: the factor of rho in the common part of the covariance, 3 in the code.
        dt: the step, ms.
        chosen: who fires where several are above their thresholds, by its potential (as in the
            code) or by its excess over the threshold.
        recorded: whether the estimate of a step is taken after its spike or before.
        unit_directions: directions of the neurons of length 1, in place of normal entries.
        cost: lambda over the root of the number of neurons, 1 in the code.
        background: alpha over the same, 1 in the code.
        late: how long after the onset the window begins, ms.
        mean: the mean of the target from the onset on.
        onset: when the mean steps up from 0, ms; at 0 the network is silent until then.
    """

    dim: int = 20
    neurons_per_dim: int = 10
    correlation: float = 0.8
    common: float = 3.0
    dt: float = 0.1
    chosen: str = "potential"
    recorded: str = "after"
    unit_directions: bool = False
    cost: float = 1.0
    background: float = 1.0
    late: float = 0.0
    mean: float = 6.0
    onset: float = 500.0


def early_means(protocol: Protocol, geometry: str, networks: int, seed: int = 0) -> np.ndarray:
    """The mean of the estimate in the window, over dimensions, as a share of the target's mean;
    for each of several networks with directions and noise of their own.

    Args:
        protocol: what is run.
        geometry: "naive" or "natural".
        networks: how many.
        seed: of all random numbers.
    """
    q, rng = protocol, np.random.default_rng(seed)
    p, n = q.dim, q.dim * q.neurons_per_dim
    covariance = (1 - q.correlation) * np.eye(p) + q.common * q.correlation * np.ones((p, p))
    precision = np.linalg.inv(covariance)
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(values)) @ vectors.T if geometry == "natural" else np.eye(p)
    metric = root @ root.T
    directions = rng.normal(size=(networks, n, p))
    if q.unit_directions:
        directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    cost, background = q.cost * n**0.5, q.background * n**0.5
    thresholds = (cost + np.sum(directions**2, axis=2)) / 2
    pull = np.eye(p) / _TAU_M - metric @ precision / _TAU_S
    push = metric @ precision @ np.full(p, q.mean) / _TAU_S
    size = (2 * q.dt / _TAU_S) ** 0.5

    onset = round(q.onset / q.dt)
    first = onset + round(q.late / q.dt)
    last = first + round(_WINDOW / q.dt)
    v, estimate = np.zeros((networks, n)), np.zeros((networks, p))
    every, total = np.arange(networks), np.zeros(networks)
    for step in range(last):
        moved = q.dt * (estimate @ pull.T + (step >= onset) * push)
        moved = moved + size * rng.normal(size=(networks, p)) @ root.T
        v = v - q.dt / _TAU_M * (v + background) + (directions @ moved[:, :, None])[:, :, 0]
        j = np.argmax(v if q.chosen == "potential" else v - thresholds, axis=1)
        fires = v[every, j] > thresholds[every, j]
        sent = directions[every, j] * fires[:, None]
        v = v - (directions @ sent[:, :, None])[:, :, 0]
        v[every, j] -= cost * fires
        before = estimate
        estimate = (1 - q.dt / _TAU_M) * estimate + sent
        if step >= first:
            total += (before if q.recorded == "before" else estimate).mean(axis=1)
    return total / (last - first) / q.mean


VARIATIONS: dict[str, dict[str, Any]] = {
    "the source's code": {},
    "who fires: the largest excess": {"chosen": "excess"},
    "estimate before the spike": {"recorded": "before"},
    "silent until the onset": {"onset": 0.0},
    "window 1 s later": {"late": 1000.0},
    "steps of 0.05 ms": {"dt": 0.05},
    "no background": {"background": 0.0},
    "no cost": {"cost": 0.0},
    "mean of 3": {"mean": 3.0},
    "mean of 12": {"mean": 12.0},
    "covariance of unit variance": {"common": 1.0},
    "rho = 0.75": {"correlation": 0.75},
    "rho = 0.9": {"correlation": 0.9},
    "directions of unit length": {"unit_directions": True},
    "5 neurons a dimension": {"neurons_per_dim": 5},
    "20 neurons a dimension": {"neurons_per_dim": 20},
    "10 dimensions": {"dim": 10},
}
"""What is changed of a protocol: what the code or a reader may leave open first, then parameters
that the code gives."""
