"""The grid of cells."""

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from roughsnn.drivers import TimeGrid


@pytest.mark.parametrize(
    ("t0", "t1", "dt0", "cells"),
    [(0, 1, 0.1, 10), (0, 1, 0.3, 4), (-1, 1, 5, 1), (0.1, 0.7, 0.2, 3), (0, 1e-9, 1e-10, 10)],
)
def test_number_of_cells(t0, t1, dt0, cells):
    assert TimeGrid(t0, t1, dt0).num_cells == cells


@given(st.integers(1, 400), st.floats(1e-4, 10.0), st.floats(-50.0, 50.0))
def test_a_whole_number_of_steps_leaves_no_sliver(n, dt0, t0):
    grid = TimeGrid(t0, t0 + n * dt0, dt0)
    # the window's length is known to a rounding of its ends
    if abs(t0) < 1e3 * dt0:
        assert grid.num_cells == n


@given(st.floats(-5.0, 5.0), st.floats(1e-3, 7.0), st.floats(1e-2, 3.0))
def test_points_ends_and_widths_agree(t0, length, dt0):
    grid = TimeGrid(t0, t0 + length, dt0)
    n = grid.num_cells
    points = np.asarray(grid.points(jnp.float64))
    assert points.shape == (n + 1,)
    np.testing.assert_allclose(points[0], t0, atol=1e-300)
    assert points[-1] == grid.t1
    assert np.all(np.diff(points) > 0)
    np.testing.assert_allclose(np.diff(points), grid.widths(jnp.float64), atol=1e-13)
    ends = [grid.end(jnp.asarray(j), jnp.float64) for j in (0, n - 1, n)]
    np.testing.assert_allclose(ends, [points[1], grid.t1, grid.t1], atol=1e-13)


def test_float32_ends_are_the_window():
    grid = TimeGrid(0.1, 0.7, 0.1)
    end = grid.end(jnp.asarray(5), jnp.float32)
    assert end.dtype == jnp.float32
    assert end == np.float32(0.7)
