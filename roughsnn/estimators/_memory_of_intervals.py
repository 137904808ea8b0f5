"""What a neuron remembers at its spikes, and its equation between them, many paths at once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._shown import is_known
from ..neurons import AdaptiveStochasticLIF, ResettingStochasticLIF, StochasticLIF
from ..spikes.checks import refuse_if
from ._interval_law import LONGEST_STEP, SURE

KINDS = (StochasticLIF, AdaptiveStochasticLIF, ResettingStochasticLIF)


class State(NamedTuple):
    """State of many paths; `None` for what the neuron does not have.

    Attributes:
        v: potential.
        i: current.
        a: adaptation.
        passed: integrated intensity since the last spike.
    """

    v: Float[Array, "*paths"]
    i: Float[Array, "*paths"] | None
    a: Float[Array, "*paths"] | None
    passed: Float[Array, "*paths"]


class Walk(NamedTuple):
    """The equation of a neuron.

    Attributes:
        begin: a state for all paths from the numbers that are remembered, a shape and a dtype.
        step: of Euler's method, from a state and normal numbers of shape (noises, *paths).
        after: the state that a spike leaves.
        typical: the numbers that are remembered as the neuron begins, by their names.
        alpha: dead integrated intensity.
        noises: kinds of noise.
    """

    begin: Callable[..., State]
    step: Callable[[State, Any], State]
    after: Callable[[State], State]
    typical: Callable[[tuple[str, ...]], dict[str, Array]]
    alpha: Float[Array, ""]
    noises: int


def remembered(neuron: Any) -> tuple[str, ...]:
    """The numbers that a spike leaves and from which the next interval starts."""
    names = () if isinstance(neuron, ResettingStochasticLIF) else ("v",)
    if _noisy_current(neuron):
        names += ("i",)
    return (*names, "a") if isinstance(neuron, AdaptiveStochasticLIF) else names


def walker(neuron: Any, current: Float[Array, ""], dt: float) -> Walk:
    """The equation of a neuron with a constant input current, by steps of `dt`."""
    of = {k: jnp.reshape(x, ()) for k, x in vars(neuron).items() if eqx.is_array(x) and x.size == 1}
    resets = isinstance(neuron, ResettingStochasticLIF)
    adapts = isinstance(neuron, AdaptiveStochasticLIF)
    noisy = _noisy_current(neuron)
    # noise of the same strength in every step
    sigma = None if neuron.sigma is None else neuron.sigma * np.sqrt(dt)
    matrix = None if not noisy else jnp.reshape(sigma, (2, 2))
    mu1 = refuse_if(
        of["mu1"],
        of["mu1"] * dt > LONGEST_STEP,
        f"`dt0` = {dt:g} is longer than the time constant 1 / mu1 of the potential, so that "
        "Euler's method leaps over its equilibrium: take shorter steps.",
    )

    def begin(numbers, shape, dtype):
        def of_name(name, default):
            return jnp.broadcast_to(numbers.get(name, default), shape).astype(dtype)

        v = of_name("v", of["reset_to"] if resets else of["v0"])
        i = of_name("i", of["i0"]) if noisy else None
        a = of_name("a", of["a0"]) if adapts else None
        return State(v, i, a, jnp.zeros(shape, dtype))

    def step(y, noise):
        total = current - y.v if y.i is None else current + y.i - y.v
        above = y.v
        if adapts and neuron.adapts == "current":
            total = total - y.a
        elif adapts:
            above = y.v - y.a
        passed = (
            y.passed
            + jnp.minimum(neuron.intensity(above.ravel()).reshape(above.shape), SURE / dt) * dt
        )
        v, i, a = y.v + mu1 * total * dt, y.i, y.a
        if noisy:
            assert i is not None, "noise of the current needs a current"
            assert matrix is not None, "and a matrix"
            i = (1 - of["mu2"] * dt) * i
            v = v + matrix[0, 0] * noise[0] + matrix[0, 1] * noise[1]
            i = i + matrix[1, 0] * noise[0] + matrix[1, 1] * noise[1]
        elif sigma is not None:
            v = v + jnp.reshape(sigma, ()) * noise[0]
        if adapts:
            a = a + of["mu_a"] * (of["coupling"] * y.v - a) * dt
        return State(v, i, a, passed)

    def after(y):
        v = jnp.broadcast_to(of["reset_to"], y.v.shape) if resets else y.v - of["v_reset"]
        a = y.a + of["b"] if adapts else None
        return State(v.astype(y.v.dtype), y.i, a, jnp.zeros_like(y.passed))

    def typical(names):
        return {name: of[f"{name}0"] for name in names}

    noises = 0 if sigma is None else 2 if noisy else 1
    return Walk(begin, step, after, typical, of["alpha"], noises)


def check_remembers(neuron: Any, input_current: Any) -> None:
    """Fail unless intervals and states after spikes are a Markov renewal process.

    Raises:
        TypeError: another model.
        ValueError: several neurons, or an input that changes in time.
    """
    if not isinstance(neuron, KINDS):
        raise TypeError(
            f"interval_chain was given a {type(neuron).__name__}, and takes a "
            f"{', '.join(x.__name__ for x in KINDS)}. For other neurons and for networks use an "
            "estimator of the gradient such as roughsnn.SpikeRemoval()."
        )
    if neuron.num_neurons != 1:
        raise ValueError(
            f"interval_chain was given {neuron.num_neurons} neurons, and takes one: these do not "
            "influence each other, so each can be trained alone."
        )
    noisy, i0 = _noisy_current(neuron), neuron.i0
    if not noisy and is_known(i0) and np.any(np.asarray(i0) != 0):
        raise ValueError(
            f"interval_chain was given a neuron with `i0` = {i0} and no noise of the current: what "
            "decays in time makes the intervals differ. It must be 0; give a constant current as "
            "`input_current`."
        )
    if not (input_current is None or (not callable(input_current) and np.size(input_current) == 1)):
        raise ValueError(
            f"interval_chain was given an `input_current` of kind {type(input_current).__name__} "
            "that is not one constant number: in a changing input, intervals and states after "
            "spikes are no Markov renewal process. Use roughsnn.SpikeRemoval()."
        )


def _noisy_current(neuron: Any) -> bool:
    return neuron.sigma is not None and neuron.sigma.ndim >= 2
