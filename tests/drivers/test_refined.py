"""A path on a fine grid, as a solver with longer cells meets it."""

from typing import NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs
from roughsnn.drivers import RefinedBrownianGrid


def _fine(t1=0.955, dt0=0.01, shape=(2,), levy=True, seed=0):
    area = dfx.SpaceTimeLevyArea if levy else dfx.BrownianIncrement
    return rs.BrownianGrid(0.0, t1, dt0, shape, jr.key(seed), levy_area=area)


def _piece(driver, cell, dtype=jnp.float64):
    """One cell of the path, as a path of absolute times, and where it begins and ends."""
    cell = jnp.asarray(cell, jnp.int32)
    begin, width = driver.grid.begin(cell, dtype), driver.grid.width(cell, dtype)
    piece = driver.piece(None, cell, jnp.zeros_like(width), width)
    return _Moved(piece, begin), begin, begin + width


class _Moved(NamedTuple):
    piece: dfx.AbstractPath
    begin: jax.Array

    def evaluate(self, t0, t1, **kwargs):
        return self.piece.evaluate(t0 - self.begin, t1 - self.begin, **kwargs)


@pytest.mark.parametrize("levy", [True, False])
def test_whole_cells_are_those_of_the_coarsened_path(levy):
    fine = _fine(levy=levy)  # its last cell is a shorter one
    driver = RefinedBrownianGrid(fine, 8)
    # areas of a path without its own are those of the piecewise linear one
    areas = fine.areas if levy else jnp.zeros_like(fine.increments)
    coarse = eqx.tree_at(lambda p: p.areas, fine, areas, is_leaf=lambda x: x is None).coarsen(8)
    assert driver.grid == coarse.grid
    for cell in range(12):
        piece, start, end = _piece(driver, cell)
        found = piece.evaluate(start, end, use_levy=True)
        # rounding
        np.testing.assert_allclose(found.W, coarse.increments[cell], atol=1e-14)
        np.testing.assert_allclose(found.H, coarse.areas[cell], atol=1e-14)
        np.testing.assert_array_equal(found.W, piece.evaluate(start, end))


def _by_quadrature(fine, s, t):
    """Increment and area of a path, by the trapezoid rule between s and t."""
    times = np.linspace(float(s), float(t), 20001)
    values = np.asarray(jax.vmap(fine.evaluate)(jnp.asarray(times)))
    w = values[-1] - values[0]
    mean = np.trapezoid(values - values[0], times, axis=0) / (times[-1] - times[0])
    return w, mean - 0.5 * w


@pytest.mark.parametrize("levy", [True, False])
def test_any_part_of_a_cell_has_the_increment_and_area_of_the_path(levy):
    fine = _fine(levy=levy)
    driver = RefinedBrownianGrid(fine, 8)
    for cell, a, b in [(0, 0.0, 0.5), (5, 0.17, 0.18), (5, 0.16, 0.93), (11, 0.3, 1.0)]:
        piece, start, end = _piece(driver, cell)
        s, t = start + a * (end - start), start + b * (end - start)
        found = piece.evaluate(s, t, use_levy=True)
        w, h = _by_quadrature(fine, s, t)
        np.testing.assert_allclose(found.W, w, atol=1e-13)
        # the trapezoid rule over the parabolas of 20000 points: kinks between its points
        np.testing.assert_allclose(found.H, h, atol=1e-8)


def test_the_mean_of_the_path_is_differentiated_and_the_path_is_not():
    fine = _fine()
    piece, start, _ = _piece(RefinedBrownianGrid(fine, 8), 3)
    s, t, step = start + 0.0133, start + 0.0512, 1e-6

    def mean(s, t):
        found = piece.evaluate(s, t, use_levy=True)
        return 0.5 * found.W + found.H

    one, zero = jnp.ones(()), jnp.zeros(())
    # its derivative by the end contains no derivative of the path, ...
    _, by_end = jax.jvp(mean, (s, t), (zero, one))
    difference = (mean(s, t + step) - mean(s, t - step)) / (2 * step)
    np.testing.assert_allclose(by_end, difference, rtol=1e-6)
    # ... and that by the start one of them, which is left out
    _, by_start = jax.jvp(mean, (s, t), (one, zero))
    difference = (mean(s + step, t) - mean(s - step, t)) / (2 * step)
    slope = (fine.evaluate(s + step) - fine.evaluate(s - step)) / (2 * step)
    np.testing.assert_allclose(by_start, difference + slope, rtol=1e-5)
    _, w_dot = jax.jvp(lambda t: piece.evaluate(s, t, use_levy=True).W, (t,), (one,))
    np.testing.assert_array_equal(w_dot, 0.0)
    # a part of length zero is nothing, with a derivative that is finite
    nothing, dot = jax.jvp(lambda t: piece.evaluate(s, t, use_levy=True).H, (s,), (one,))
    np.testing.assert_array_equal(nothing, 0.0)
    np.testing.assert_array_equal(dot, 0.0)


def test_single_precision_and_trees():
    shape = {
        "a": jax.ShapeDtypeStruct((), jnp.float32),
        "b": jax.ShapeDtypeStruct((3,), jnp.float32),
    }
    fine = rs.BrownianGrid(0.0, 1.0, 1 / 64, shape, jr.key(0), levy_area=dfx.SpaceTimeLevyArea)
    driver, coarse = RefinedBrownianGrid(fine, 16), fine.coarsen(16)
    piece, start, end = _piece(driver, 2, jnp.float32)
    found = jax.jit(lambda s, t: piece.evaluate(s, t, use_levy=True))(start, end)
    for leaf in ("a", "b"):
        assert found.W[leaf].dtype == found.H[leaf].dtype == jnp.float32
        # sums of 16 numbers of size 0.1 in single precision
        np.testing.assert_allclose(found.W[leaf], coarse.increments[leaf][2], atol=1e-6)
        np.testing.assert_allclose(found.H[leaf], coarse.areas[leaf][2], atol=1e-6)


def test_derivatives_of_spike_times_converge_in_proportion_to_the_step():
    class HalfMarks(rs.StochasticLIF):
        def mark(self, key):
            return jnp.asarray(0.5)

    def second_spike(c, path, factor, refined):
        neuron = HalfMarks(1, mu2=0.0, sigma=0.5)
        y0 = rs.LIFState(jnp.zeros(1), jnp.zeros(1), jnp.log(jnp.full(1, 0.5)) - neuron.alpha)
        driver = RefinedBrownianGrid(path, factor) if refined else path.coarsen(factor)
        return rs.eventsolve(
            neuron, 0.0, 1.28, driver.grid.dt0, y0, key=jr.key(0), max_events=2, stop_after=2,
            args=c, driver=driver, solver=dfx.SRA1(), throw=False,
        ).event_times[1]  # fmt: skip

    def make(key):
        return rs.BrownianGrid(0.0, 1.28, 1.28 / 4096, (1,), key, levy_area=dfx.SpaceTimeLevyArea)

    paths = eqx.filter_vmap(make)(jr.split(jr.key(1), 48))

    @eqx.filter_jit
    def derivative(paths, factor, refined):
        c, one = jnp.asarray(1.5), jnp.asarray(1.0)

        def one_path(path):
            return jax.jvp(lambda c: second_spike(c, path, factor, refined), (c,), (one,))[1]

        return eqx.filter_vmap(one_path)(paths)

    exact = derivative(paths, 1, True)
    error = {
        (factor, refined): float(np.median(np.abs(derivative(paths, factor, refined) - exact)))
        for factor, refined in [(64, True), (8, True), (8, False)]
    }
    # order 1 is a factor of 8 for a step 8 times smaller, order 1/2 one of 2.8; between them there
    # is room for the noise of 48 paths
    assert error[64, True] > 5 * error[8, True]
    # the parabola of a cell knows less of the path at the event
    assert error[8, False] > 1.5 * error[8, True]


def test_what_is_no_fixed_path_is_refused():
    # (the checker of types refuses what is none at all, with its own words)
    with pytest.raises(Exception, match="fine"):
        RefinedBrownianGrid(3, 2)  # pyright: ignore
    bridges = rs.BrownianGrid(0.0, 1.0, 0.1, (), jr.key(0), bridge="bridge")
    with pytest.raises(ValueError, match="`fine` must be one fixed path"):
        RefinedBrownianGrid(bridges, 2)
    with pytest.raises(ValueError, match="`fine` must keep its increments"):
        RefinedBrownianGrid(rs.BrownianGrid(0.0, 1.0, 0.1, (), jr.key(0), stored=False), 2)
    for factor in (0, 7, True):
        with pytest.raises(ValueError, match="`factor` must be a"):
            RefinedBrownianGrid(_fine(), factor)  # pyright: ignore
