r"""A neuron that a stimulus drives, and the exact log-likelihood of its spikes.

Without noise of the potential the intensity is a function of stimulus and past spikes, and

$$ \log L = \sum_n \log \lambda(t_n) - \int \lambda(t)\,dt. $$

The current is constant in each cell of a grid, so that potential and adaptation have closed forms
between spikes; cells are cut at the spikes. The integral is taken by three nodes of Gauss in each
piece.
"""

import dataclasses
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

import roughsnn as rs

_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(3)[i] / 2 for i in (0, 1))
_NODES = _NODES + 0.5

Spike = Literal["subtracts", "resets"]
Shape = Literal["exponential", "softplus", "sigmoid"]


@dataclasses.dataclass(frozen=True)
class Form:
    """What a driven neuron is made of.

    Attributes:
        spike: whether a spike takes an amount off the potential or makes it start anew.
        adapts: whether a spike raises the threshold for a while.
        shape: of the intensity.
    """

    spike: Spike = "subtracts"
    adapts: bool = True
    shape: Shape = "exponential"


class Driven(eqx.Module):
    r"""Trained parameters, each without a bound; time in units of the mean interval, potentials in
    units over which an exponential intensity grows e-fold.

    $$ dv = \mu (c_t - v)\,dt, \qquad da = -\mu_a a\,dt, \qquad
       c_t = c_0 + g \sum_j w_j\,(\phi_j * s)(t), $$

    with the intensity $\lambda(v - a)$; at a spike $a \to a + b$, and $v \to v - r$ or
    $v \to r$.

    Attributes:
        weights: $w_j$ of the functions that make the filter, for all columns of the stimulus.
        offset: $c_0$ in each condition.
        log_gain: logarithm of $g$ in each condition but the first, where it is 1.
        log_leak: logarithm of $\mu$.
        reset: $r$.
        adaptation: $b$.
        log_adaptation_rate: logarithm of $\mu_a$.
        log_rate: logarithm of the scale of a softplus or sigmoid intensity; not used by others.
        form: what the neuron is made of.
    """

    weights: Float[Array, " functions"]
    offset: Float[Array, " conditions"]
    log_gain: Float[Array, " others"]
    log_leak: Float[Array, ""]
    reset: Float[Array, ""]
    adaptation: Float[Array, ""]
    log_adaptation_rate: Float[Array, ""]
    log_rate: Float[Array, ""]
    form: Form = eqx.field(static=True)

    @classmethod
    def start(cls, form: Form, functions: int, conditions: int) -> "Driven":
        """Where training starts: no filter yet, one spike in a mean interval, and a spike that
        makes the next less likely for a part of it."""
        rate = {"exponential": 0.0, "softplus": 0.0, "sigmoid": np.log(10.0)}[form.shape]
        offset = {"exponential": 0.5, "softplus": 0.8, "sigmoid": -1.8}[form.shape]
        resets = form.spike == "resets"
        return cls(
            jnp.zeros(functions), jnp.full(conditions, float(offset)), jnp.zeros(conditions - 1),
            jnp.asarray(np.log(5.0)), jnp.asarray(-3.0 if resets else 3.0),
            jnp.asarray(0.5 if form.adapts else 0.0), jnp.asarray(np.log(1.0)), jnp.asarray(rate),
            form,
        )  # fmt: skip

    def trained(self) -> "Driven":
        """Which leaves are trained."""
        marks = jax.tree.map(lambda _: True, self)
        if not self.form.adapts:
            marks = eqx.tree_at(lambda m: (m.adaptation, m.log_adaptation_rate), marks,
                                (False, False))  # fmt: skip
        if self.form.shape == "exponential":
            marks = eqx.tree_at(lambda m: m.log_rate, marks, False)
        return marks

    @property
    def gain(self) -> Float[Array, " conditions"]:
        """$g$ in each condition."""
        return jnp.exp(jnp.concatenate([jnp.zeros_like(self.log_gain, shape=1), self.log_gain]))

    def current(
        self, features: Float[Array, "cells functions"], conditions: Int[Array, " cells"]
    ) -> Float[Array, " cells"]:
        """The input current in each cell."""
        return self.offset[conditions] + self.gain[conditions] * (features @ self.weights)

    def log_intensity(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """Logarithm of the intensity at $v - a$."""
        if self.form.shape == "exponential":
            return jnp.minimum(u, 12.0)
        if self.form.shape == "softplus":
            # log log(1 + e^u), which is u far below 0
            safe = jnp.maximum(u, -25.0)
            return self.log_rate + jnp.where(u < -25.0, u, jnp.log(jax.nn.softplus(safe)))
        return self.log_rate - jax.nn.softplus(-u)

    def neuron(self, unit: float = 1.0):
        """The neuron of the library.

        Args:
            unit: the mean interval, in the unit of time that the neuron is to have.

        Raises:
            ValueError: a neuron that starts anew and adapts: the library has none.
        """
        scale = unit * jnp.exp(-self.log_rate)
        intensity = {
            "exponential": lambda: rs.ExponentialIntensity(0.0, 1.0, unit, max_excess=12.0),
            "softplus": lambda: rs.SoftplusIntensity(0.0, 1.0, scale, max_excess=1e6),
            "sigmoid": lambda: rs.SigmoidIntensity(0.0, 1.0, 1 / scale),
        }[self.form.shape]()
        # (an integrated intensity of 1e-6 is dead: the library wants some, the likelihood has none)
        shared = dict(
            mu1=jnp.exp(self.log_leak) / unit, mu2=1 / unit, sigma=None, alpha=1e-6,
            intensity=intensity,
        )  # fmt: skip
        if self.form.spike == "resets":
            if self.form.adapts:
                raise ValueError("A neuron that starts anew at a spike does not adapt here.")
            return rs.ResettingStochasticLIF(1, reset_to=self.reset, v0=self.offset[0], **shared)
        shared |= dict(v_reset=self.reset, v0=self.offset[0])
        if not self.form.adapts:
            return rs.StochasticLIF(1, **shared)
        return rs.AdaptiveStochasticLIF(
            1, adapts="threshold", mu_a=jnp.exp(self.log_adaptation_rate) / unit,
            b=self.adaptation, **shared,
        )  # fmt: skip


class Pieces(eqx.Module):
    """Recorded trials, one after the other, cut at the cells of a grid and at the spikes.

    Attributes:
        lengths: of each piece, in the model's unit of time.
        cells: in which cell of the grid each piece lies.
        spikes: whether there is a spike at its end.
        ends: whether a trial ends at its end.
        features: of the stimulus in each cell.
        conditions: of each cell.
    """

    lengths: Float[Array, " pieces"]
    cells: Int[Array, " pieces"]
    spikes: Bool[Array, " pieces"]
    ends: Bool[Array, " pieces"]
    features: Float[Array, "cells functions"]
    conditions: Int[Array, " cells"]


def affine(factors: Float[Array, " n"], terms: Float[Array, " n"], first) -> Float[Array, " n"]:
    """The state before each of the steps x -> factor x + term, from `first` on.

    Rows of about the square root of their number go side by side, and then one after the other.
    """
    n = factors.shape[0]
    width = int(np.ceil(np.sqrt(n)))
    room = width * int(np.ceil(n / width)) - n
    a = jnp.pad(factors, (0, room), constant_values=1).reshape(-1, width).T
    b = jnp.pad(terms, (0, room)).reshape(-1, width).T

    def along(state, step):
        (product, total), (a, b) = state, step
        return (product * a, total * a + b), (product, total)

    rows = (jnp.ones_like(a[0]), jnp.zeros_like(a[0]))
    whole, inside = jax.lax.scan(along, rows, (a, b))

    def across(x, row):
        return row[0] * x + row[1], x

    _, begins = jax.lax.scan(across, jnp.asarray(first, a.dtype), whole)
    return (inside[0] * begins[None] + inside[1]).T.reshape(-1)[:n]


def intensities(model: Driven, pieces: Pieces):
    """Integral of the intensity over each piece, and its logarithm at the end of each.

    A trial starts with the potential at the current of its first cell, and without adaptation.

    Args:
        model: the parameters.
        pieces: of the recording.

    Returns:
        the integrals and the logarithms, two arrays of shape (pieces,).
    """
    current = model.current(pieces.features, pieces.conditions)
    here = current[pieces.cells]
    following = jnp.concatenate([here[1:], here[-1:]])
    leak, rate = jnp.exp(model.log_leak), jnp.exp(model.log_adaptation_rate)
    decay = jnp.exp(-leak * pieces.lengths)
    fired = pieces.spikes
    resets = model.form.spike == "resets"
    factor, term = decay, -jnp.expm1(-leak * pieces.lengths) * here
    if resets:
        factor, term = jnp.where(fired, 0, factor), jnp.where(fired, model.reset, term)
    else:
        term = term - jnp.where(fired, model.reset, 0)
    factor = jnp.where(pieces.ends, 0, factor)
    term = jnp.where(pieces.ends, following, term)
    v = affine(factor, term, here[0])
    a = jnp.zeros_like(v)
    if model.form.adapts:
        slow = jnp.where(pieces.ends, 0, jnp.exp(-rate * pieces.lengths))
        added = jnp.where(fired & ~pieces.ends, model.adaptation, 0)
        a = affine(slow, added, jnp.zeros((), v.dtype))

    def at(share):
        past = share * pieces.lengths
        return here + (v - here) * jnp.exp(-leak * past) - a * jnp.exp(-rate * past)

    total = jnp.zeros_like(v)
    for node, weight in zip(_NODES.tolist(), _WEIGHTS.tolist(), strict=True):
        total = total + weight * jnp.exp(model.log_intensity(at(node)))
    return total * pieces.lengths, model.log_intensity(at(1.0))


def log_likelihood(model: Driven, pieces: Pieces, counted: Bool[Array, " pieces"]):
    """Log-likelihood of the spikes in the pieces that are counted, given all that came before; time
    in units of the mean interval."""
    passed, logs = intensities(model, pieces)
    return jnp.sum(jnp.where(counted, jnp.where(pieces.spikes, logs, 0) - passed, 0))


def block_likelihoods(model: Driven, pieces: Pieces, block: np.ndarray) -> np.ndarray:
    """Log-likelihood of each block, given all that came before it."""
    passed, logs = _intensities(model, pieces)
    values = np.where(np.asarray(pieces.spikes), np.asarray(logs), 0.0) - np.asarray(passed)
    return np.bincount(block, values)


_intensities = eqx.filter_jit(intensities)


def rescaled(model: Driven, pieces: Pieces, spikes: list[int]) -> list[np.ndarray]:
    """The integral of the intensity between the spikes of each trial, which has so many."""
    passed = np.cumsum(np.asarray(_intensities(model, pieces)[0]))
    at = passed[np.flatnonzero(np.asarray(pieces.spikes))]
    return [np.diff(part) for part in np.split(at, np.cumsum(spikes)[:-1])]
