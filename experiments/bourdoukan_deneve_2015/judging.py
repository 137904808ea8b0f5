"""What networks have learned: tests without feedback, and free response."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

import roughsnn as rs
from roughsnn.balance import BalancedNetwork, solve_balanced

from ..bourdoukan_2012.epochs import one_of
from .learning import with_matched_decoders
from .settings import Settings
from .systems import System, draw_inputs

TESTS = 16
"""Signals of an epoch's length on which each network is tested without feedback."""
KICKS = 64
"""Directions of free responses."""
KICK, FREE = 0.1, 0.8
"""Length of the kick that starts a free response, and of what is seen of it, s."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a network does in the end, beside the ideal network; errors are squared errors over the
    squared signal, feedback is off.

    Where errors come from is seen with the slow connections of the theory, W = F (A + lambda I) D,
    in place of those that were taught: `ideal_slow_error` is that of the ideal network's slow
    connections and decoder; `transposed_error` that of slow connections for the decoder that
    belongs to the fast ones, read out with the ideal network's; `matched_error` that of the same,
    read out with the decoder that belongs to the fast ones.

    `modes` holds, for each eigenvalue of A with an imaginary part of 0 or more, the eigenvalue and
    that of the free response, each as real and imaginary part, per second.
    """

    system: str
    learned_fast: bool
    seed: int
    matrix_error: float
    error: float
    ideal_error: float
    error_before: float
    ideal_slow_error: float
    transposed_error: float
    matched_error: float
    feedback_share: float
    fast_distance: float
    rate_hz: float
    cv: float
    modes: tuple[tuple[float, float, float, float], ...]

    @property
    def error_ratio(self) -> float:
        """The error over that of the ideal network."""
        return self.error / self.ideal_error

    @property
    def decay_error(self) -> float:
        """The largest error of a decay: relative, or, where there is none, the share of the signal
        that is lost or won in a second."""
        return max(
            abs(found - true) / abs(true) if true else abs(1 - np.exp(found))
            for true, _, found, _ in self.modes
        )

    @property
    def frequency_error(self) -> float:
        """The largest relative error of a frequency; 0 where nothing is to oscillate."""
        return max((abs(f - t) / t for _, t, _, f in self.modes if t > 0), default=0.0)


def judge(
    settings: Settings,
    system: System,
    learned_fast: bool,
    networks: BalancedNetwork,
    ideal: BalancedNetwork,
    rows: np.ndarray,
) -> list[Outcome]:
    """The outcome of every seed."""
    untaught = eqx.tree_at(lambda net: net.slow, ideal, jnp.zeros_like(ideal.slow))
    errors, _ = _test(settings, system, networks)
    ideal_errors, _ = _test(settings, system, ideal)
    before, _ = _test(settings, system, untaught)
    parts = [_test(settings, system, n)[0] for n in _by_theory(system, networks, ideal)]
    outcomes = []
    for i, seed in enumerate(settings.seeds):
        network = one_of(networks, i)
        responses = free_responses(settings, system, network)
        spikes = response(settings, system, network, jr.key(seed + 3_000_000))[2]
        outcomes.append(
            Outcome(
                system.name, learned_fast, seed,
                matrix_error=float(rows[-1, i, 4]),
                error=float(errors[i]), ideal_error=float(ideal_errors[i]),
                error_before=float(before[i]),
                ideal_slow_error=float(parts[0][i]), transposed_error=float(parts[1][i]),
                matched_error=float(parts[2][i]),
                feedback_share=float(rows[-1, i, 1]),
                fast_distance=float(rows[-1, i, 6]),
                rate_hz=float(np.mean(rs.spike_rates(spikes))),
                cv=float(np.nanmean(rs.cv(spikes))),
                modes=modes_of(system, responses, settings.dt0),
            )
        )  # fmt: skip
    return outcomes


def _by_theory(
    system: System, networks: BalancedNetwork, ideal: BalancedNetwork
) -> tuple[BalancedNetwork, BalancedNetwork, BalancedNetwork]:
    """The fast connections of the networks with slow connections and decoder of the ideal network,
    with slow connections for their own decoder but the ideal network's, and with both of their
    own."""
    matched = with_matched_decoders(networks)

    def with_slow(networks, decoders):
        whole = system.matrix + networks.leak * np.eye(system.dimension)
        slow = networks.encoder @ jnp.asarray(whole, networks.slow.dtype) @ decoders
        return eqx.tree_at(lambda net: net.slow, networks, slow)

    transposed = eqx.tree_at(lambda net: net.decoder, networks, ideal.decoder)
    return (
        with_slow(transposed, transposed.decoder),
        with_slow(transposed, matched.decoder),
        with_slow(matched, matched.decoder),
    )


def _test(
    settings: Settings, system: System, networks: BalancedNetwork
) -> tuple[Float[Array, " seeds"], Float[Array, " seeds"]]:
    """Error over the signal, and rate, of each network on the same fresh inputs."""
    keys = jr.split(jr.key(2_000_000), TESTS)

    return _run_tests(settings, system, networks, keys)


@eqx.filter_jit
def _run_tests(settings: Settings, system: System, networks: Any, keys: Any) -> Any:
    def test(network):
        def one(key):
            inputs, targets = draw_inputs(system, key, settings.steps, settings.dt0)
            solution = solve_balanced(network, inputs, settings.dt0, throw=False)
            squares = jnp.sum((targets - solution.readout) ** 2), jnp.sum(targets**2)
            return *squares, jnp.mean(solution.spikes, dtype=targets.dtype) / settings.dt0

        wrong, all_of_it, rate = jax.vmap(one)(keys)
        return jnp.sum(wrong) / jnp.sum(all_of_it), jnp.mean(rate)

    return eqx.filter_vmap(test)(networks)


def response(settings: Settings, system: System, network: BalancedNetwork, key):
    """The signal, the readout without feedback, the spikes and the solution of a fresh input."""
    inputs, targets = draw_inputs(system, key, settings.steps, settings.dt0)
    solution = eqx.filter_jit(solve_balanced)(network, inputs, settings.dt0)
    return targets, solution.readout, solution.spike_trains(), solution


def free_responses(
    settings: Settings, system: System, network: BalancedNetwork
) -> Float[np.ndarray, "kicks steps J"]:
    """The readout after kicks in directions all around, with no input any more."""
    j = system.dimension
    if j == 2:
        angles = 2 * np.pi * np.arange(KICKS) / KICKS
        directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    else:
        directions = np.random.default_rng(3).normal(size=(KICKS, j))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    kick, free = round(KICK / settings.dt0), round(FREE / settings.dt0)

    kicks = jnp.asarray(system.size / KICK * directions, network.fast.dtype)
    return np.asarray(_run_kicks(network, kicks, kick, free, settings.dt0), float)


@eqx.filter_jit
def _run_kicks(network: BalancedNetwork, kicks: Any, kick: int, free: int, dt0: float) -> Any:
    def one(direction):
        on = jnp.broadcast_to(direction[None], (kick, direction.size))
        inputs = jnp.concatenate([on, jnp.zeros((free, direction.size), direction.dtype)])
        return solve_balanced(network, inputs, dt0, throw=False).readout[kick:]

    return jax.vmap(one)(kicks)


def modes_of(
    system: System, responses: Float[np.ndarray, "kicks steps J"], dt0: float
) -> tuple[tuple[float, float, float, float], ...]:
    """Decay and frequency of each mode in free responses.

    Left eigenvectors of A pick out a mode; what is left of it after a time, averaged over kicks, is
    the exponential of the eigenvalue times the time. Lines through logarithm and phase of that
    average, while a tenth or more is left, have the real and the imaginary part as slopes.
    """
    values, left = np.linalg.eig(system.matrix.T)
    modes = []
    for value, vector in zip(values, left.T, strict=True):
        if value.imag < 0:
            continue
        z = responses @ vector
        start = z[:, :1]
        remains = np.sum(z * np.conj(start), axis=0) / np.sum(np.abs(start) ** 2)
        gone = np.flatnonzero(np.abs(remains) < 0.1)
        steps = int(gone[0]) if gone.size else len(remains)
        if steps < 2:
            modes.append((float(value.real), float(value.imag), float("nan"), float("nan")))
            continue
        times = dt0 * np.arange(steps)
        decay = np.polyfit(times, np.log(np.abs(remains[:steps])), 1)[0]
        frequency = np.polyfit(times, np.unwrap(np.angle(remains[:steps])), 1)[0]
        modes.append((float(value.real), float(value.imag), float(decay), float(frequency)))
    return tuple(modes)
