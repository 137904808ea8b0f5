"""The grid of cells."""

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from roughsnn.drivers import TimeGrid


@pytest.mark.parametrize(
    ("t0", "t1", "dt0", "cells"),
    [(0, 1, 0.1, 10), (0, 1, 0.3, 4), (-1, 1, 2, 1), (0.1, 0.7, 0.2, 3), (0, 1e-9, 1e-10, 10)],
)
def test_number_of_cells(t0, t1, dt0, cells):
    assert TimeGrid(t0, t1, dt0).num_cells == cells


@given(st.integers(1, 400), st.floats(1e-4, 10.0), st.floats(-50.0, 50.0))
def test_a_whole_number_of_steps_leaves_no_sliver(n, dt0, t0):
    grid = TimeGrid(t0, t0 + n * dt0, dt0)
    # the window's length is known to a rounding of its ends
    if abs(t0) < 1e3 * dt0:
        assert grid.num_cells == n


@given(st.floats(-5.0, 5.0), st.floats(1e-3, 7.0), st.floats(1e-2, 1.0))
def test_points_begins_and_widths_agree(t0, length, part):
    grid = TimeGrid(t0, t0 + length, length * part)
    n = grid.num_cells
    points = np.asarray(grid.points(jnp.float64))
    assert points.shape == (n + 1,)
    assert points[0] == 0
    assert points[-1] == grid.duration
    assert np.all(np.diff(points) > 0)
    np.testing.assert_allclose(np.diff(points), grid.widths(jnp.float64), atol=1e-13)
    cells = jnp.asarray([0, n - 1, n])
    np.testing.assert_allclose(grid.begin(cells, jnp.float64), points[[0, n - 1, n]], atol=1e-13)
    np.testing.assert_allclose(grid.width(cells[:2], jnp.float64), np.diff(points)[[0, n - 1]])


def test_a_late_window_in_single_precision():
    early, late = TimeGrid(0.0, 1.0, 1e-4), TimeGrid(1.7e9, 1.7e9 + 1.0, 1e-4)
    assert early.num_cells == late.num_cells == 10_000
    assert late.width_of_last == late.dt0
    cell = jnp.asarray(9_999)
    assert late.begin(cell, jnp.float32) == early.begin(cell, jnp.float32) == np.float32(0.9999)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@given(st.integers(1, 5000), st.floats(1e-6, 1e6), st.floats(0.01, 0.99))
def test_times_at_multiples_of_the_step_lie_at_the_start_of_a_cell(dtype, number, dt0, share):
    grid = TimeGrid(0.0, 5000 * dt0, dt0)
    on_grid, inside = jnp.asarray([number * dt0, (number - 1 + share) * dt0], dtype)
    cell, offset = grid.place(on_grid)
    # the last cell holds the end of the window
    assert cell == min(number, 4999)
    # eight roundings of the time itself
    rounding = 8 * np.finfo(dtype).eps * number * dt0
    assert offset <= rounding or number == 5000
    cell, offset = grid.place(inside)
    assert cell == number - 1
    np.testing.assert_allclose(offset, share * dt0, rtol=0, atol=rounding)
