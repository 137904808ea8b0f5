"""Which networks a run trains, and which of them it compares."""

from typing import Any

from .random_manifolds import Condition

SHAPES = ("SuperSpike", "sigmoid", "Esser")
SCALED = ("SuperSpike", "asymptotic")
"""Of a height that stays one, and of one that grows with the steepness."""
_SPARSE = 10.0
"""The steepness of the surrogate of sparse networks."""


def of_shape(settings: Any, shape: str) -> list[Condition]:
    """All steepnesses and learning rates, with detached resets."""
    return [Condition(shape, beta, rate) for beta in settings.betas for rate in settings.rates]


def constant(settings: Any) -> list[Condition]:
    """A surrogate derivative that is one everywhere."""
    return [Condition("SuperSpike", 0.0, rate) for rate in settings.rates]


def of_scale(settings: Any, shape: str, beta: float) -> Condition:
    """With attached resets, at the highest learning rate."""
    return Condition(shape, beta, max(settings.rates), attached=True)


def sparse(settings: Any) -> list[Condition]:
    """Ever less activity, after one without a limit."""
    rate = max(settings.rates)
    limits = (None, *sorted(settings.limits, reverse=True))
    return [Condition("SuperSpike", _SPARSE, rate, high=limit) for limit in limits]


def conditions(settings: Any) -> list[Condition]:
    """All of a run, each once, in an order in which few programs are compiled."""
    found = [one for shape in SHAPES for one in of_shape(settings, shape)]
    found += constant(settings)
    found += [of_scale(settings, shape, beta) for shape in SCALED for beta in settings.betas]
    found += sparse(settings)
    return sorted(dict.fromkeys(found), key=lambda c: (c.shape, c.attached, c.rate))


def best(conditions: list[Condition], results: dict[str, Any]) -> Condition:
    """The condition whose network is best on the data for validation, the first of equals."""
    return max(conditions, key=lambda one: results[one.name]["valid"])
