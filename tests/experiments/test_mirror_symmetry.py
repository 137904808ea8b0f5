"""Images, scores and the tuning of delays of the experiment on mirror symmetry."""

import jax
import numpy as np
import pytest

from experiments.george_2021.images import edges, mirrored_dots, scene, vegetation
from experiments.george_2021.measuring import (
    area_under_curve,
    axis_score,
    line_means,
    ridges,
    symmetry_density,
)
from experiments.george_2021.mirror_symmetry import Settings
from experiments.george_2021.tuning import derivative_error


def test_dots_are_mirrored_about_their_axis():
    rng = np.random.default_rng(0)
    image = mirrored_dots(rng, 21, 0.1, offset=2.0)
    np.testing.assert_array_equal(image[:, 13:21], image[:, 4:12][:, ::-1])
    turned = mirrored_dots(rng, 21, 0.1, angle=np.pi / 2, offset=-3.0)
    np.testing.assert_array_equal(turned[:7], turned[8:15][::-1])


def test_an_axis_is_found_and_an_image_without_points_is_refused():
    rng = np.random.default_rng(1)
    settings = Settings(neurons=9, reach=8, density=0.08)
    image = mirrored_dots(rng, settings.image_size, 0.08)
    positions = np.stack(np.meshgrid(np.arange(8, 17), np.arange(8, 17)), -1).reshape(-1, 2)
    density = symmetry_density(image, positions.astype(np.float32), 8.0, 0.05, 1.5).reshape(9, 9)
    score, first = axis_score(density, 4)
    assert first
    assert score > 2
    with pytest.raises(ValueError, match="the image has no points"):
        symmetry_density(np.zeros((5, 5), bool), positions, 8.0, 0.05, 1.5)


def test_a_ridge_is_found_along_its_line():
    """A line at 30 degrees, three to the right of the middle, on a slope, in a map of 25 x 25."""
    y, x = np.mgrid[:25, :25] - 12
    distance = x * np.cos(np.pi / 6) + y * np.sin(np.pi / 6) - 3
    angles, offsets = np.deg2rad(np.arange(0, 180, 15)), np.arange(-6, 7)
    means = line_means(ridges(np.exp(-(distance**2)) + 0.3 * y), angles, offsets)
    assert np.unravel_index(np.nanargmax(means), means.shape) == (2, 9)


def test_scenes():
    rng = np.random.default_rng(2)
    texture = vegetation(rng, 32)
    np.testing.assert_allclose([texture.mean(), texture.std()], [0, 1], atol=1e-12)
    image, inside = scene(rng, 64)
    assert 0.05 < inside.mean() < 0.7
    counts = edges(image, 0.125).reshape(4, 16, 4, 16).sum((1, 3))
    assert counts.min() == counts.max() == 32


def test_area_under_the_curve():
    assert area_under_curve(np.asarray([1.0, 2.0]), np.asarray([0.0, 1.0])) == 0.875


def test_the_derivative_of_the_detector_by_delays_is_exact():
    """Central differences with a step of 1e-6 in double precision: 1e-6 of the largest entry is ten
    times what their rounding allows."""
    assert jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]
    assert derivative_error() < 1e-6
