"""Space-time Levy areas of the Brownian grid: their law, their composition, and their use."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs
from roughsnn.drivers._pieces import LevyBridgePiece, ParabolaPiece, merged_areas

DRAWS = 40_000


def test_increments_and_areas_have_their_law():
    draw = jax.vmap(
        lambda key: rs.BrownianGrid(0.0, 1.0, 0.25, (), key, levy_area=dfx.SpaceTimeLevyArea)
    )
    path = draw(jr.split(jr.key(0), DRAWS))
    w, h = np.asarray(path.increments), np.asarray(path.areas)
    # variances h and h / 12 to 4 standard errors (relative sqrt(2 / n)), no correlation
    tolerance = 4 * np.sqrt(2 / DRAWS)
    np.testing.assert_allclose(w.var(0), 0.25, rtol=tolerance)
    np.testing.assert_allclose(h.var(0), 0.25 / 12, rtol=tolerance)
    assert np.abs(np.corrcoef(w[:, 0], h[:, 0])[0, 1]) < 4 / np.sqrt(DRAWS)


def test_areas_of_merged_cells_are_those_of_the_whole_path():
    # W and H of a fine piecewise linear path (areas zero), by their definition
    rng = np.random.default_rng(0)
    w, widths = rng.normal(size=(8, 3)), rng.uniform(0.5, 1.5, size=8)
    total, area = merged_areas(jnp.asarray(w), jnp.zeros((8, 3)), jnp.asarray(widths))
    values = np.concatenate([np.zeros((1, 3)), np.cumsum(w, 0)])
    integral = ((values[1:] + values[:-1]) / 2 * widths[:, None]).sum(0)
    # exact up to rounding
    np.testing.assert_allclose(total, values[-1], atol=1e-12)
    np.testing.assert_allclose(area, integral / widths.sum() - values[-1] / 2, atol=1e-12)


def test_coarsening_twice_is_coarsening_once():
    path = rs.BrownianGrid(0.0, 1.0, 1 / 16, (2,), jr.key(1), levy_area=dfx.SpaceTimeLevyArea)
    once, twice = path.coarsen(8), path.coarsen(2).coarsen(4)
    np.testing.assert_allclose(once.increments, twice.increments, atol=1e-12)
    np.testing.assert_allclose(once.areas, twice.areas, atol=1e-12)


@pytest.mark.parametrize("cut", [0.1, 0.37, 0.8])
def test_both_parts_of_a_piece_make_up_the_whole(cut):
    # since the start of a cell, whose parabola begins there
    start, end = jnp.asarray(0.0), jnp.asarray(1.0)
    w, h = jnp.asarray([0.7]), jnp.asarray([-0.2])
    t = start + cut
    bridge = LevyBridgePiece(start, end, w, h, jr.normal(jr.key(2), (4, 1)))
    first = bridge.evaluate(start, t, use_levy=True)
    parabola = ParabolaPiece(end - start, w, h)
    halves = [
        (first.W, first.H, *bridge.rest(t)),
        (
            parabola.evaluate(start, t, use_levy=True).W,
            parabola.evaluate(start, t, use_levy=True).H,
            parabola.evaluate(t, end, use_levy=True).W,
            parabola.evaluate(t, end, use_levy=True).H,
        ),
    ]
    for w1, h1, w2, h2 in halves:
        pieces = jnp.stack([w1, w2]), jnp.stack([h1, h2]), jnp.asarray([cut, 1 - cut])
        total, area = merged_areas(*pieces)
        np.testing.assert_allclose(total, w, atol=1e-12)
        np.testing.assert_allclose(area, h, atol=1e-12)


def test_parts_of_a_bridge_have_the_law_of_a_brownian_motion():
    # W and H of a cell drawn, then cut at 0.3: the parts are independent with their own variances
    length, cut = 0.5, 0.15
    keys = jr.split(jr.key(3), (3, DRAWS))
    w = jnp.sqrt(length) * jax.vmap(jr.normal)(keys[0])
    h = jnp.sqrt(length / 12) * jax.vmap(jr.normal)(keys[1])

    def parts(w, h, key):
        piece = LevyBridgePiece(jnp.asarray(0.0), jnp.asarray(length), w, h, jr.normal(key, (4,)))
        first = piece.evaluate(jnp.asarray(0.0), jnp.asarray(cut), use_levy=True)
        return jnp.stack([first.W, first.H, *piece.rest(jnp.asarray(cut))])

    found = np.cov(np.asarray(jax.vmap(parts)(w, h, keys[2])).T)
    rest = length - cut
    expected = np.diag([cut, cut / 12, rest, rest / 12])
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    # covariances to 4.5 standard errors, at most sqrt(2 / n) in units of the variances
    np.testing.assert_array_less(np.abs(found - expected) / scale, 4.5 * np.sqrt(2 / DRAWS))


def test_solvers_of_order_three_halves_beat_euler_on_the_same_path():
    neuron = rs.StochasticLIF(1, sigma=0.5)
    y0 = rs.LIFState(jnp.zeros(1), jnp.zeros(1), jnp.log(jnp.full(1, 0.5)) - 0.03)

    def first_spikes(solver, factor, key):
        path = rs.BrownianGrid(0.0, 0.64, 0.01 / 16, (1,), key, levy_area=dfx.SpaceTimeLevyArea)
        path = path.coarsen(factor)
        if isinstance(solver, dfx.Euler):
            path = rs.BrownianGrid(0.0, 0.64, path.grid.dt0, increments=path.increments)
        return rs.eventsolve(
            neuron, 0.0, 0.64, path.grid.dt0, y0, key=jr.key(0), max_events=1, stop_after=1,
            args=jnp.asarray(1.5), driver=path, solver=solver, throw=False,
        ).event_times[0]  # fmt: skip

    keys = jr.split(jr.key(4), 32)

    def errors(solver, factor):
        exact = jax.jit(jax.vmap(lambda k: first_spikes(dfx.SRA1(), 1, k)))(keys)
        return np.median(np.abs(jax.vmap(lambda k: first_spikes(solver, factor, k))(keys) - exact))

    euler, coarse, fine = errors(dfx.Euler(), 16), errors(dfx.SRA1(), 16), errors(dfx.SRA1(), 4)
    # at a step of 0.01 Euler is off by about 4e-3 and SRA1 by about 1.5e-4; order 1.5 or more
    # means a factor of at least 8 for a step four times smaller, of which half is asked
    assert coarse < 0.15 * euler
    assert fine < coarse / 4


def test_solver_that_needs_more_than_there_is_is_refused():
    neuron = rs.StochasticLIF(1)
    with pytest.raises(ValueError, match="space-time-time Levy areas"):
        rs.simulate(
            neuron, 0.0, 1.0, 0.1, key=jr.key(0), num_samples=1, max_spikes=5,
            solver=dfx.QUICSORT(0.1),
        )  # fmt: skip


def test_unknown_levy_area_is_refused():
    with pytest.raises(ValueError, match="`levy_area` must be"):
        rs.BrownianGrid(0.0, 1.0, 0.1, (), jr.key(0), levy_area=dfx.SpaceTimeTimeLevyArea)
