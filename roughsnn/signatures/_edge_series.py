r"""Short power series on the edges of one rectangle of the Goursat problem.

On a rectangle where the two paths are straight, with $z = \langle \Delta x, \Delta y\rangle$ and
both sides rescaled to $[0, 1]$, the signature kernel solves $\partial_u \partial_v k = z\,k$. Its
values on an edge are carried as the corner value and factorial-scaled coefficients,

$$
k(u, 0) = f + \sum_{m \ge 1} \alpha_m \frac{u^m}{m!}, \qquad
k(0, v) = f + \sum_{m \ge 1} \beta_m \frac{v^m}{m!},
$$

and an edge here is the tuple $(\alpha_1, \dots, \alpha_N)$ of arrays, one entry per pair of paths.
The coefficient $\alpha_m$ counts, with weights, the increasing chains of points that have $m$
points in this piece of $x$. Dropping all orders above $N$ therefore drops exactly the chains with
more than $N$ points in a piece: for $z \ge 0$ every term is positive, nothing cancels, and the
truncated kernel is never above the exact one.

The coefficients are separate arrays, not rows of one: XLA then compiles each of them to one pass
over the pairs, which is several times faster on a CPU than a stacked array.
"""

import functools
import math
import operator
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# The coefficients of order 1, 2, ... of an edge.
Edge: TypeAlias = tuple[Float[Array, " pairs"], ...]


def cross_rectangle(
    z: Float[Array, " pairs"], corner: Float[Array, " pairs"], alpha: Edge, beta: Edge
) -> tuple[Edge, Edge]:
    r"""Carry the edges of a rectangle across it: from the lower and left to the upper and right.

    $$
    \alpha'_m = \sum_{n < m} \frac{z^n}{n!} \alpha_{m-n}
        + \frac{z^m}{m!} f + z^m \sum_{1 \le p \le N - m} \frac{\beta_p}{(p+m)!}
    $$

    and the same for $\beta'$ with the roles exchanged. Exact but for orders above $N$.

    Args:
        z: inner product of the two pieces.
        corner: value $f$ at the lower left corner.
        alpha: lower edge.
        beta: left edge, of the same order.

    Returns:
        upper edge and right edge.
    """
    ratios = [z * (1.0 / n) for n in range(1, len(alpha) + 1)]
    return _carried(ratios, corner, alpha, beta), _carried(ratios, corner, beta, alpha)


def _carried(ratios: list, corner: Array, along: Edge, across: Edge) -> Edge:
    order = len(along)
    carried = []
    for m in range(1, order + 1):
        total = corner
        for p in range(1, order - m + 1):
            total = total + across[p - 1] * (math.factorial(m) / math.factorial(p + m))
        # Horner's rule in z, from z^m / m! down to the constant term alpha_m.
        for n in range(m, 0, -1):
            total = total * ratios[n - 1] + along[m - n]
        carried.append(total)
    return tuple(carried)


def increment(edge: Edge) -> Float[Array, " pairs"]:
    r"""Difference of the two ends of an edge, $\sum_m \alpha_m / m!$; the smallest terms first."""
    total = edge[-1] * (1.0 / math.factorial(len(edge)))
    for m in range(len(edge) - 1, 0, -1):
        total = total + edge[m - 1] * (1.0 / math.factorial(m))
    return total


def tail(edge: Edge) -> Float[Array, " pairs"]:
    r"""Estimate of what the orders above $N$ would add to the end of an edge.

    The terms $w_m = |\alpha_m| / m!$ fall faster than a geometric series; the estimate is the
    geometric series with the last ratio: $w_N r / (1 - r)$, $r = \min(w_N / w_{N-1}, 1/2)$.
    """
    order = len(edge)
    last = jnp.abs(edge[-1]) * (1.0 / math.factorial(order))
    before = jnp.abs(edge[-2]) * (1.0 / math.factorial(order - 1))
    ratio = jnp.where(before > 0, last / jnp.where(before > 0, before, 1.0), 0.0)
    ratio = jnp.minimum(ratio, 0.5)
    return last * ratio / (1 - ratio)


def pairing(
    start: Float[Array, " pairs"], edge: Edge, end: Float[Array, " pairs"], reverse: Edge
) -> Float[Array, " pairs"]:
    r"""Integral over an edge of a function given from its start times one given from its end.

    $$
    \int_0^1 \Big(f + \sum_p \alpha_p \frac{v^p}{p!}\Big)
             \Big(g + \sum_q \gamma_q \frac{(1-v)^q}{q!}\Big) dv
    = \sum_{p, q \ge 0} \frac{\alpha_p \gamma_q}{(p + q + 1)!},
    \qquad \alpha_0 = f,\ \gamma_0 = g,
    $$

    with the terms of $p + q < N$, which is what the truncated edges stand for.
    """
    first, second = (start, *edge[:-1]), (end, *reverse[:-1])
    order = len(edge)
    products = []
    for p in range(order):
        inner = second[0] * (1.0 / math.factorial(p + 1))
        for q in range(1, order - p):
            inner = inner + second[q] * (1.0 / math.factorial(p + q + 1))
        products.append(first[p] * inner)
    return functools.reduce(operator.add, products)


def rectangle_integral(
    z: Float[Array, " pairs"],
    corner: Float[Array, " pairs"],
    alpha: Edge,
    beta: Edge,
    far_corner: Float[Array, " pairs"],
    far_alpha: Edge,
    far_beta: Edge,
) -> Float[Array, " pairs"]:
    r"""Integral of the kernel of the past times the kernel of the future over a rectangle.

    With $f$ the kernel up to a point of the rectangle, given by its lower and left edges, and $g$
    the kernel of what follows, given by the upper and right edges as seen from the far corner,
    this is $D = \int_0^1\!\int_0^1 f g\,du\,dv = \partial k / \partial z$. Counting the chains by
    the number $n$ of their points in the rectangle,

    $$
    D = \sum_{n \ge 1} n z^{n-1} \sum \frac{c_\text{before}\, c_\text{after}}
        {(p_u + n + q_u)!\,(p_v + n + q_v)!},
    $$

    where a chain comes in through the corner ($p_u = p_v = 0$), the left edge or the lower edge,
    and leaves likewise.
    """
    order = len(alpha)

    def shifted(first: Array, edge: Edge, n: int) -> Array:
        # sum_p c_p / (p + n)!, p + n <= N
        total = first * (1.0 / math.factorial(n))
        for p in range(1, order - n + 1):
            total = total + edge[p - 1] * (1.0 / math.factorial(p + n))
        return total

    def convolved(edge: Edge, reverse: Edge, s: int) -> Array:
        products = (edge[p - 1] * reverse[s - p - 1] for p in range(1, s))
        return functools.reduce(operator.add, products)

    # Chains that come in and leave in the same piece share one factorial, (p + n + q)!.
    same = {
        s: convolved(alpha, far_alpha, s) + convolved(beta, far_beta, s) for s in range(2, order)
    }
    total = jnp.zeros_like(z)
    for n in range(order, 0, -1):
        weight = 1.0 / math.factorial(n)
        from_alpha, from_beta = shifted(corner, alpha, n), shifted(corner, beta, n)
        to_alpha, to_beta = shifted(far_corner, far_alpha, n), shifted(far_corner, far_beta, n)
        only_alpha, only_beta = from_alpha - corner * weight, from_beta - corner * weight
        # Each of (corner, alpha, beta) with each of (corner, far_alpha, far_beta); a chain in
        # through alpha and out through far_alpha is in `same`.
        part = corner * weight * (to_alpha + to_beta - far_corner * weight)
        part = part + only_alpha * to_beta + only_beta * to_alpha
        for s, product in same.items():
            if s + n <= order:
                part = part + product * (weight / math.factorial(s + n))
        total = total * z + n * part
    return total


def order_for_square(z: float, tolerance: float) -> int:
    r"""Smallest order whose relative truncation error on a single rectangle is below `tolerance`.

    The error is $\sum_{m > N} z^m / m!^2$ of $I_0(2 \sqrt z)$. A rectangle cut in parts, by
    spikes, has a smaller one: fewer chains have more than $N$ points in a part.
    """
    terms = [1.0]
    for m in range(1, 2 * _LARGEST_ORDER):
        terms.append(terms[-1] * z / m**2)
    for order in range(2, _LARGEST_ORDER):
        if sum(terms[order + 1 :]) <= tolerance * sum(terms):
            return order
    return _LARGEST_ORDER


def order_for_jumps(scale: float, tolerance: float, jumps: int) -> int:
    r"""Order of the jump edges for jumps of size `scale`, from a fit to Poisson spike trains.

    The number of points that a chain has in one jump is close to a Poisson number with mean
    $0.95\,s$, whatever the number of spikes; the order is the first whose tail, times three times
    the number of jumps that the fullest two trains have together, is below `tolerance`. (The
    largest error of Poisson trains of one neuron is 2.8 tails for each jump, of two neurons 1.9.)
    """
    mean = 0.95 * scale
    term = 3.0 * max(jumps, 1) * mean * mean / 2
    for order in range(2, _LARGEST_ORDER):
        term = term * mean / (order + 1)
        if term <= tolerance:
            return order
    return _LARGEST_ORDER


# Factorials beyond this overflow float32, and no tolerance needs them.
_LARGEST_ORDER = 30


def materialised(values):
    """Compute these values once: XLA would otherwise inline them into each of their uses."""
    return jax.lax.optimization_barrier(values)
