r"""The network of steep sigmoids: its gradient, and the surrogate one, along a loop and on maps.

With $s_b(z) = 1 / (1 + e^{-b z})$ and five weights $\theta = (w, v_1, v_2, u_1, u_2)$,

$$ g = s_b(w x), \quad h_i = s_b(v_i g), \quad y = s_b(u_1 h_1 + u_2 h_2), \qquad x = 1. $$

The surrogate gradient is the chain rule with $s_{b'}'$ in place of $s_b'$, $b' < b$; with $b' = b$
it is the gradient. float64 throughout.
"""

from functools import partial
from typing import Any

import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import roughsnn as rs

RADIUS = 1.8
"""Of the loop, a circle about the origin."""
DIRECTIONS = np.array(
    [
        [0.1168134, -0.21802215, -0.8262966, 0.5019748, 0.06384699],
        [-0.30310827, -0.8068901, 0.36749288, 0.3028789, 0.1739747],
    ]
)
"""The two orthonormal directions that span its plane."""
STEEP = 1e4
"""Steepness b of the network on the loop: steps, for all one sees."""
CHUNK = 2**16


def unit(z: Float[Array, ""], steepness: Any, surrogate: rs.AbstractSurrogate) -> Float[Array, ""]:
    """A sigmoid of the given steepness with the surrogate derivative."""
    here = lax.stop_gradient(z)
    return jax.nn.sigmoid(steepness * here) + surrogate.derivative(here) * (z - here)


def output(
    weights: Float[Array, " 5"], steepness: Any, surrogate_steepness: Any
) -> Float[Array, ""]:
    """The output y of the network for x = 1."""
    w, v1, v2, u1, u2 = weights
    act = partial(unit, steepness=steepness, surrogate=rs.SigmoidDerivative(surrogate_steepness))
    g = act(w)
    return act(u1 * act(v1 * g) + u2 * act(v2 * g))


@jax.jit
def gradients(
    weights: Float[Array, "n 5"], steepness: Any, surrogate_steepness: Any
) -> Float[Array, "n 5"]:
    """Surrogate gradients of the output at n settings of the weights; gradients, where both
    steepnesses are the same."""
    return jax.vmap(lambda one: jax.grad(output)(one, steepness, surrogate_steepness))(weights)


def along_loop(points: int, steepness: float, surrogate_steepness: float) -> np.ndarray:
    """What each of `points` equal pieces of the loop adds to the integral of the surrogate gradient
    along it, by the midpoint rule.

    The sum of a gradient's is zero. Where it is smooth the rule, applied to a period, errs by less
    than any power of the number of points.
    """
    parts = []
    with jax.enable_x64(True):
        for begin in range(0, points, CHUNK):
            numbers = np.arange(begin, min(points, begin + CHUNK))
            phi = (numbers + 0.5)[:, None] * (2 * np.pi / points)
            place = RADIUS * (np.sin(phi) * DIRECTIONS[0] + np.cos(phi) * DIRECTIONS[1])
            ahead = RADIUS * (np.cos(phi) * DIRECTIONS[0] - np.sin(phi) * DIRECTIONS[1])
            slopes = gradients(jnp.asarray(place), steepness, surrogate_steepness)
            parts.append(np.sum(np.asarray(slopes) * ahead, axis=1))
    return np.concatenate(parts) * (2 * np.pi / points)


def loop(points: int, fine_points: int, steepnesses: tuple[float, ...]) -> dict[str, Any]:
    """Integrals along the closed loop: of surrogate gradients of the steep network, by `points`, by
    1,500 and by many points; of the gradient of the smooth networks, and of that of the steep one
    by many points, which its peaks need."""
    found: dict[str, Any] = {"surrogate": {}, "coarse": {}, "fine": {}, "range": {}, "true": {}}
    found["running"] = {}
    for b in steepnesses:
        name = f"{b:g}"
        pieces = along_loop(points, STEEP, b)
        running = np.cumsum(pieces)
        found["surrogate"][name] = float(pieces.sum())
        found["range"][name] = float(np.ptp(np.append(running, 0.0)))
        found["running"][name] = running[:: max(1, points // 500)].tolist()
        found["coarse"][name] = float(along_loop(1500, STEEP, b).sum())
        found["fine"][name] = float(along_loop(fine_points, STEEP, b).sum())
        found["true"][name] = float(along_loop(points, b, b).sum())
    # its output is a step, and so is the integral of its gradient
    steep = along_loop(fine_points, STEEP, STEEP)
    found["true"][f"{STEEP:g}"] = float(steep.sum())
    found["running"]["true"] = np.cumsum(steep)[:: max(1, fine_points // 500)].tolist()
    return found


PLANE_STEEPNESS, PLANE_SURROGATES, PLANE_EDGE = 20.0, (2.0, 4.0, 20.0), 2.0
LINE_STEEPNESS, LINE_SURROGATES, LINE_EDGE = 100.0, (15.0, 30.0, 100.0), 0.2
WEIGHTS = np.array([1.0, 0.05, 0.1, 1.0, -1.0])
"""w, v1, v2, u1, u2, where they are not varied."""


def signs(size: int) -> dict[str, Any]:
    """Where the surrogate derivative with respect to w has another sign than the derivative.

    Over (v1, v2), of which both paths from w to the output depend, as maps of `size` x `size`
    points; and over w, with the surrogate derivative integrated from the left end, whose lowest
    place is not that of the output.
    """
    edge = np.linspace(-PLANE_EDGE, PLANE_EDGE, size)
    plane = np.tile(WEIGHTS, (size * size, 1))
    plane[:, 1], plane[:, 2] = (axis.ravel() for axis in np.meshgrid(edge, edge, indexing="ij"))
    fine = np.linspace(-LINE_EDGE, LINE_EDGE, 40 * size + 1)
    line = np.tile(WEIGHTS, (fine.size, 1))
    line[:, 0] = fine
    with jax.enable_x64(True):
        in_plane = {
            b: np.asarray(gradients(jnp.asarray(plane), PLANE_STEEPNESS, b))[:, 0]
            for b in PLANE_SURROGATES
        }
        on_line = {
            b: np.asarray(gradients(jnp.asarray(line), LINE_STEEPNESS, b))[:, 0]
            for b in LINE_SURROGATES
        }
    # (with equal weights both paths cancel, and what is left is rounding)
    differ = plane[:, 1] != plane[:, 2]
    truth = np.sign(in_plane[PLANE_STEEPNESS]) * differ
    wrong = {b: np.sign(values) * differ != truth for b, values in in_plane.items()}
    true_line = np.sign(on_line[LINE_STEEPNESS])
    found: dict[str, Any] = {
        "sign": truth.reshape(size, size).astype(int).tolist(),
        "wrong": {f"{b:g}": w.reshape(size, size).astype(int).tolist() for b, w in wrong.items()},
        "share": {f"{b:g}": float(w.mean()) for b, w in wrong.items()},
        "line_share": {}, "lowest": {}, "integrated": {}, "line": fine[::40].tolist(),
    }  # fmt: skip
    for b, values in on_line.items():
        between = 0.5 * (values[1:] + values[:-1]) * np.diff(fine)
        integral = np.concatenate([[0.0], np.cumsum(between)])
        found["line_share"][f"{b:g}"] = float((np.sign(values) != true_line).mean())
        found["lowest"][f"{b:g}"] = float(fine[int(integral.argmin())])
        found["integrated"][f"{b:g}"] = integral[::40].tolist()
    return found
