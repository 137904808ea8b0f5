"""Brownian motion on a grid: its law, its values anywhere, and how pieces fit together."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import stats

import roughsnn as rs
from roughsnn.drivers import PathDriver, TimeGrid, as_grid_driver

KEY = jr.key(0)


def test_increments_are_independent_normals_of_the_width_of_their_cell():
    # the last cell is shorter
    grid = rs.BrownianGrid(-1.0, 1.05, 0.1, (20_000,), KEY)
    increments = np.asarray(grid.increments)
    assert increments.shape == (21, 20_000)
    widths = np.full(21, 0.1)
    widths[-1] = 0.05
    z = increments / np.sqrt(widths)[:, None]
    # 420,000 numbers: the p-value is below 1e-3 for one seed in a thousand, and the seed is fixed
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    # five standard errors of a variance and of a correlation
    assert np.all(np.abs(z.var(1) - 1) < 5 * np.sqrt(2 / 20_000))
    correlation = np.corrcoef(z) - np.eye(21)
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)


def test_longer_windows_begin_with_the_same_path():
    # the width of the last cell of a window is known to a rounding
    short = rs.BrownianGrid(0.0, 1.0, 0.1, (3,), KEY)
    long = rs.BrownianGrid(0.0, 2.5, 0.1, (3,), KEY)
    np.testing.assert_allclose(short.increments, long.increments[:10], rtol=1e-14)
    tree = {
        "a": jax.ShapeDtypeStruct((2,), jnp.float64),
        "b": jax.ShapeDtypeStruct((), jnp.float64),
    }
    short, long = (rs.BrownianGrid(0.0, t1, 0.1, tree, KEY).increments for t1 in (1.0, 2.5))
    np.testing.assert_allclose(short["a"], long["a"][:10], rtol=1e-14)
    np.testing.assert_allclose(short["b"], long["b"][:10], rtol=1e-14)
    assert not np.any(np.isin(short["a"], short["b"]))


def test_coarsening_keeps_the_motion():
    fine = rs.BrownianGrid(0.0, 1.2, 0.1, (2,), KEY)
    coarse = fine.coarsen(3)
    assert coarse.grid.num_cells == 4
    np.testing.assert_allclose(
        coarse.increments, np.asarray(fine.increments).reshape(4, 3, 2).sum(1), atol=1e-15
    )
    for t in np.linspace(0, 1.2, 5):
        np.testing.assert_allclose(coarse.evaluate(t), fine.evaluate(t), atol=1e-15)
    same = fine.coarsen(4).coarsen(3)
    np.testing.assert_allclose(same.increments[0], fine.evaluate(1.2), atol=1e-15)
    for factor in (5, 0, -1, True):
        with pytest.raises(ValueError, match="`factor` must be a"):
            fine.coarsen(factor)


def test_values_are_linear_between_grid_points():
    grid = rs.BrownianGrid(0.5, 1.75, 0.5, (2,), KEY)
    points = np.asarray(grid.grid.points(jnp.float64))
    np.testing.assert_array_equal(points, [0.0, 0.5, 1.0, 1.25])
    points = points + 0.5
    values = np.concatenate([np.zeros((1, 2)), np.cumsum(grid.increments, 0)])
    for t in [0.5, 0.61, 1.0, 1.37, 1.6, 1.75]:
        expected = [np.interp(t, points, values[:, k]) for k in range(2)]
        np.testing.assert_allclose(grid.evaluate(t), expected, atol=1e-15)
        np.testing.assert_allclose(
            grid.evaluate(0.8, t), expected - np.asarray(grid.evaluate(0.8)), atol=1e-15
        )
    # its derivative in time is the slope of the cell
    slope = jax.jacfwd(grid.evaluate)(jnp.asarray(1.6))
    np.testing.assert_allclose(slope, grid.increments[2] / 0.25, rtol=1e-12)
    with_levy = grid.evaluate(0.6, 1.2, use_levy=True)
    np.testing.assert_allclose(with_levy.W, grid.evaluate(0.6, 1.2))
    assert abs(with_levy.dt - 0.6) < 1e-15


@pytest.mark.parametrize("bridge", ["linear", "bridge"])
def test_pieces_of_a_cell_add_up_to_its_increment(bridge):
    grid = rs.BrownianGrid(0.0, 1.0, 0.25, (3,), KEY, bridge=bridge)
    for cell in range(4):
        number = jnp.asarray(cell)
        end, t, state, total = 0.25, 0.0, grid.start(number), 0.0
        for cut in (0.05, 0.1, 0.100001, 0.2):
            t, t_cut, t_end = (jnp.asarray(x) for x in (t, cut, end))
            piece = grid.piece(state, number, t, t_end)
            total = total + piece.evaluate(t, t_cut)
            state = grid.left(state, piece, t, t_cut, t_end)
            t = t_cut
        total = total + grid.piece(state, number, t, jnp.asarray(end)).evaluate(t, jnp.asarray(end))
        np.testing.assert_allclose(total, grid.increments[cell], atol=1e-14)


def test_bridges_have_the_law_of_brownian_motion():
    """Two cuts of one cell: the three parts are independent normals of the variance of their
    length, whatever the increment of the cell. 40,000 samples; bounds of five standard errors."""
    n = 40_000
    cuts = jnp.array([0.07, 0.3])

    def parts(key):
        grid = rs.BrownianGrid(0.0, 0.5, 0.5, (), key, bridge="bridge")
        cell, t, end = jnp.asarray(0), jnp.asarray(0.0), jnp.asarray(0.5)
        state, out = grid.start(cell), []
        for cut in (*cuts, end):
            piece = grid.piece(state, cell, t, end)
            out.append(piece.evaluate(t, cut))
            state = grid.left(state, piece, t, cut, end)
            t = cut
        return jnp.stack(out), grid.increments[0]

    x, total = jax.jit(jax.vmap(parts))(jr.split(KEY, n))
    np.testing.assert_allclose(x.sum(1), total, atol=1e-14)
    z = np.asarray(x) / np.sqrt([0.07, 0.23, 0.2])
    assert np.abs(z.mean(0)).max() < 5 / np.sqrt(n)
    assert np.abs(np.cov(z.T) - np.eye(3)).max() < 5 * np.sqrt(2 / n)
    # given both ends, W at the first cut is normal around the chord
    share, r = 0.07 / 0.5, 0.5
    residual = (np.asarray(x[:, 0]) - share * np.asarray(total)) / np.sqrt(share * (1 - share) * r)
    assert stats.kstest(residual, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(residual, np.asarray(total))[0, 1]) < 5 / np.sqrt(n)


def test_bridges_are_fixed_in_time_and_lines_are_not():
    for bridge, moves in (("linear", True), ("bridge", False)):
        grid = rs.BrownianGrid(0.0, 1.0, 0.5, (), KEY, bridge=bridge)
        cell, end = jnp.asarray(0), jnp.asarray(0.5)

        def f(t, grid=grid, cell=cell, end=end):
            piece = grid.piece(grid.start(cell), cell, jnp.asarray(0.0), end)
            return piece.evaluate(jnp.asarray(0.0), t)

        derivative = jax.grad(f)(jnp.asarray(0.2))
        np.testing.assert_allclose(derivative, 2 * grid.increments[0] if moves else 0, rtol=1e-12)


def test_a_piece_of_no_length_adds_nothing():
    for bridge in ("linear", "bridge"):
        grid = rs.BrownianGrid(0.0, 1.0, 0.5, (2,), KEY, bridge=bridge)
        cell, t, end = jnp.asarray(1), jnp.asarray(0.1), jnp.asarray(0.5)
        np.testing.assert_array_equal(
            grid.piece(grid.start(cell), cell, t, end).evaluate(t, t), np.zeros(2)
        )


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (dict(t1=0.0), "`t1` must be greater than `t0`"),
        (dict(t1=-1.0), "`t1` must be greater than `t0`"),
        (dict(t1=float("nan")), "`t1` must be finite"),
        (dict(dt0=0.0), "`dt0` must be positive"),
        (dict(dt0=-1.0), "`dt0` must be positive"),
        (dict(bridge="cubic"), "`bridge` must be"),
        (dict(shape=None), "needs `shape` and `key`, or `increments`"),
        (dict(key=None), "needs `shape` and `key`, or `increments`"),
        (dict(shape=3), "`shape` must be a tuple of integers"),
        (dict(shape=[3]), "`shape` must be a tuple of integers"),
        (dict(shape=(2, -1)), "`shape` must not have negative entries"),
        (dict(increments=jnp.zeros((9, 2))), "leading axis over the 10 cells"),
        (dict(increments=jnp.zeros(())), "leading axis over the 10 cells"),
        (dict(increments=jnp.zeros((10, 2), int)), "`increments` must be floating-point"),
        (dict(increments=jnp.zeros((10, 2)), key=None, bridge="bridge"), "`key` must be given"),
    ],
)
def test_misuse_is_refused(arguments, match):
    unchecked = getattr(rs.BrownianGrid.__init__, "__wrapped__", None)
    arguments = dict(t0=0.0, t1=1.0, dt0=0.1, shape=(2,), key=KEY) | arguments
    # misuse that run-time type checking refuses first, in its own words, is an error as well
    errors = (ValueError, TypeError)
    with pytest.raises(errors) as caught:
        rs.BrownianGrid(**arguments)
    if unchecked is None or "Type-check" not in str(caught.value):
        assert caught.match(match)


def test_bridges_cannot_be_evaluated_off_the_solver():
    grid = rs.BrownianGrid(0.0, 1.0, 0.1, (2,), KEY, bridge="bridge")
    with pytest.raises(ValueError, match="can only be used by the event solver"):
        grid.evaluate(0.3)


def test_a_driver_on_another_grid_is_treated_as_a_path():
    grid = TimeGrid(0.0, 1.0, 0.1)
    own = rs.BrownianGrid(0.0, 1.0, 0.1, (2,), KEY)
    assert as_grid_driver(own, grid) is own
    assert as_grid_driver(None, grid) is None
    other = rs.BrownianGrid(0.0, 1.0, 0.05, (2,), KEY)
    wrapped = as_grid_driver(other, grid)
    assert isinstance(wrapped, PathDriver)
    np.testing.assert_array_equal(wrapped.evaluate(0.2, 0.33), other.evaluate(0.2, 0.33))


def test_a_tree_is_fixed_in_time_and_another_path_is_not():
    grid = TimeGrid(0.0, 1.0, 0.1)
    tree = dfx.VirtualBrownianTree(0.0, 1.0, 1e-3, (), KEY)
    line = dfx.LinearInterpolation(jnp.array([0.0, 1.0]), jnp.array([0.0, 3.0]))
    for path, slope in ((tree, 0.0), (line, 3.0)):
        driver = as_grid_driver(path, grid)
        # times in a cell count from its start
        piece = driver.piece(driver.start(jnp.asarray(2)), jnp.asarray(2), jnp.asarray(0.0), 0.1)
        value, derivative = jax.value_and_grad(lambda t, p=piece: p.evaluate(jnp.asarray(0.0), t))(
            jnp.asarray(0.07)
        )
        np.testing.assert_allclose(value, path.evaluate(0.2, 0.27), rtol=1e-12)
        np.testing.assert_allclose(derivative, slope, rtol=1e-12)
