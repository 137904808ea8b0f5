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


def of_scale(settings: Any, shape: str, beta: float) -> list[Condition]:
    """With attached resets, at all learning rates of that comparison."""
    return [Condition(shape, beta, rate, attached=True) for rate in settings.scale_rates]


def scale_seeds(settings: Any) -> range:
    """Seeds of the networks with attached resets, of each condition so many."""
    return range(settings.seed, settings.seed + settings.scale_seeds)


def name_of_network(condition: Condition, seed: int) -> str:
    """The name of the part of a run that trains one of several networks of a condition."""
    return f"{condition.name}, network {seed}"


def scaled(settings: Any) -> list[Condition]:
    """All with attached resets, in an order in which few programs are compiled."""
    found = [
        one
        for shape in SCALED
        for beta in settings.scale_betas
        for one in of_scale(settings, shape, beta)
    ]
    return sorted(found, key=lambda c: (c.shape, c.rate))


def sparse(settings: Any) -> list[Condition]:
    """Ever less activity, after one without a limit."""
    rate = max(settings.rates)
    limits = (None, *sorted(settings.limits, reverse=True))
    return [Condition("SuperSpike", _SPARSE, rate, high=limit) for limit in limits]


def conditions(settings: Any) -> list[Condition]:
    """All with detached resets, each once, in an order in which few programs are compiled."""
    found = [one for shape in SHAPES for one in of_shape(settings, shape)]
    found += constant(settings)
    found += sparse(settings)
    return sorted(dict.fromkeys(found), key=lambda c: (c.shape, c.rate))


def best(conditions: list[Condition], results: dict[str, Any]) -> Condition:
    """The condition whose network is best on the data for validation, the first of equals."""
    return max(conditions, key=lambda one: results[one.name]["valid"])
