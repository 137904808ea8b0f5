"""Delays that are distances find mirror symmetry: neurons on an axis hear both halves at once.

Pixels above a threshold send a spike to neurons all around, delayed by the distance; neurons that
receive two at the same time fire. Their density shows axes of symmetry anywhere and in any
direction, is raised by noise where pixels alone are too faint, and tells buildings from vegetation.
"""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import roughsnn as rs
from roughsnn.runs import compute_parts
from roughsnn.runs.settings import above, at_least, between

from ..settings import PartSettings
from .figures import draw_axes, draw_noise, draw_scene, draw_tuning
from .images import edges, mirrored_dots, random_dots, scene, vegetation
from .measuring import (
    area_under_curve,
    axis_score,
    grid,
    line_means,
    ridges,
    symmetry_density,
)
from .reporting import report
from .tuning import tune


@dataclasses.dataclass(frozen=True)
class Settings(PartSettings):
    """Delays that are distances find mirror symmetry: neurons on an axis hear both halves."""

    neurons: int = 25
    """Detectors in each row and column, a pixel apart, in the middle of the image."""
    reach: int = 18
    """The largest distance that a connection spans, pixels; the image reaches so far beyond the
    detectors that each of them sees as much."""
    density: float = 0.03
    """Share of pixels that are dots."""
    tau: float = 0.05
    """Time constant of the detectors; a spike travels a pixel in 1."""
    threshold: float = 1.5
    """Their threshold, in units of what one spike adds."""
    seeds: int = 10
    """Random images for each figure, with axes at random places."""
    noises: tuple[float, ...] = (
        0.0,
        0.05,
        0.1,
        0.15,
        0.2,
        0.25,
        0.3,
        0.35,
        0.4,
        0.5,
        0.6,
        0.8,
        1.0,
    )
    """Standard deviations of the noise of pixels; their threshold is 1."""
    level: float = 0.8
    """Brightness of dots in noise: too faint to be seen without it."""
    repetitions: int = 4
    """Showings of an image in noise, whose spikes are added up."""
    noise_images: int = 40
    """Images for each strength of noise."""
    scenes: int = 50
    """Scenes of buildings, and as many of vegetation."""
    scene_size: int = 64
    """Width and height of a scene, pixels."""
    scene_reach: int = 8
    """The largest distance that a connection spans there, pixels."""
    edge_share: float = 0.125
    """Share of a scene's pixels that are edges."""
    delay_error: float = 0.05
    """Relative error of the delays that are tuned."""
    tuning_steps: int = 16
    """Steps of Gauss and Newton's method that tune them."""
    output: Path = Path("runs/mirror-symmetry")
    """Folder under which the run gets a numbered folder of its own."""

    number_ranges: ClassVar = {
        "neurons": at_least(3), "reach": at_least(2), "density": between(0.001, 0.5),
        "tau": above(0), "threshold": between(0.1, 100.0), "seeds": at_least(2),
        "noises": at_least(0), "level": above(0), "repetitions": at_least(1),
        "noise_images": at_least(2), "scenes": at_least(2), "scene_size": at_least(48),
        "scene_reach": at_least(2), "edge_share": between(0.01, 0.5),
        "delay_error": between(0.001, 0.2), "tuning_steps": at_least(1),
    }  # fmt: skip
    without_repeats: ClassVar = ("noises",)
    presets: ClassVar = {
        "quick": {
            "seeds": 4, "noises": (0.0, 0.15, 0.3, 0.6, 1.0), "noise_images": 8, "scenes": 10,
            "tuning_steps": 8,
        }
    }  # fmt: skip

    def __post_init__(self):
        super().__post_init__()
        if not 1 < self.threshold < 2:
            raise ValueError(
                f"`threshold` is {self.threshold}; it must be between 1 and 2, so that one spike "
                "is not enough and two at the same time are."
            )
        if self.scene_size % 16:
            raise ValueError(f"`scene_size` is {self.scene_size}; it must be a multiple of 16.")
        if self.density * self.image_size**2 < 4:
            raise ValueError(
                f"`density` is {self.density}: images of {self.image_size} x {self.image_size} "
                "pixels would have hardly any points. Give a larger one."
            )

    @property
    def image_size(self) -> int:
        """Width and height of an image of dots."""
        return self.neurons + 2 * self.reach


def density_of(settings: Settings, image: np.ndarray) -> np.ndarray:
    """The map of the detectors' spike counts, of shape (neurons, neurons)."""
    s = settings
    positions = grid(s.neurons, s.reach)
    counts = symmetry_density(image, positions, s.reach, s.tau, s.threshold)
    return counts.reshape(s.neurons, s.neurons)


def vertical(settings: Settings) -> dict[str, Any]:
    """Axes at random columns: score and rank of the column, and the same of a random image."""
    s, found = settings, []
    for i in range(s.seeds):
        rng = np.random.default_rng([s.seed, 1, i])
        column = int(rng.integers(s.neurons))
        offset = column - (s.neurons - 1) / 2
        image = mirrored_dots(rng, s.image_size, s.density, 0.0, offset)
        score, first = axis_score(density_of(s, image), column)
        # without symmetry, with as many dots
        control = random_dots(rng, s.image_size, image.mean())
        of_control, _ = axis_score(density_of(s, control), column)
        found.append((column, score, first, of_control))
    columns, scores, firsts, controls = zip(*found, strict=True)
    return {"columns": columns, "scores": scores, "first": firsts, "controls": controls}


ORIENTED_DENSITY = 0.01
"""Share of pixels that are dots in images with an axis in any direction: the window of coincidence
is wide there, and more dots would coincide by chance too often."""
ANGLES = tuple(float(a) for a in np.deg2rad(np.arange(0, 180, 7.5)))


def oriented(settings: Settings) -> dict[str, Any]:
    """Axes in random directions and places: how far the line with the largest mean density is from
    the true one; and the map of one of them."""
    s = settings
    offsets = np.arange(-s.neurons // 3, s.neurons // 3 + 0.5, 0.5)
    errors, shown = [], {}
    for i in range(s.seeds):
        rng = np.random.default_rng([s.seed, 2, i])
        angle = ANGLES[int(rng.integers(len(ANGLES)))]
        offset = float(rng.uniform(-s.neurons / 4, s.neurons / 4))
        image = mirrored_dots(rng, s.image_size, ORIENTED_DENSITY, angle, offset)
        density = _with_wider_coincidence(s, image)
        lines = line_means(ridges(density), np.asarray(ANGLES), offsets)
        best = np.unravel_index(np.nanargmax(lines), lines.shape)
        turned = abs((ANGLES[int(best[0])] - angle + np.pi / 2) % np.pi - np.pi / 2)
        # half a turn gives the same axis, with the offset of the other sign
        away = abs(offsets[int(best[1])] - offset)
        errors.append([float(np.rad2deg(turned)), float(away)])
        if i == 0:
            shown = {"density": density.tolist(), "angle": angle, "offset": offset,
                     "points": np.argwhere(image).tolist()}  # fmt: skip
    return {"errors": errors, "shown": shown}


def _with_wider_coincidence(settings: Settings, image: np.ndarray) -> np.ndarray:
    """Mirrored points lie in the middle of pixels only for axes along rows and columns: elsewhere
    distances are off by up to a pixel, and the window of coincidence has to be as wide."""
    s = settings
    counts = symmetry_density(image, grid(s.neurons, s.reach), s.reach, 0.7, s.threshold)
    return counts.reshape(s.neurons, s.neurons)


def in_noise(settings: Settings, noise: float) -> dict[str, float]:
    """The score of the axis of faint dots in pixel noise, over images."""
    s, scores = settings, []
    for i in range(s.noise_images):
        rng = np.random.default_rng([s.seed, 3, i])
        column = s.neurons // 2
        image = mirrored_dots(rng, s.image_size, s.density)
        total = np.zeros((s.neurons, s.neurons), int)
        for _ in range(s.repetitions):
            seen = s.level * image + noise * rng.standard_normal(image.shape) > 1
            if seen.any():
                total = total + density_of(s, seen)
        scores.append(axis_score(total, column)[0])
    return {"score": float(np.mean(scores)), "error": float(np.std(scores) / len(scores) ** 0.5)}


def buildings_and_vegetation(settings: Settings) -> dict[str, Any]:
    """Mean densities of scenes with buildings and of vegetation alone, of as many edge pixels."""
    s = settings
    positions = grid(s.scene_size // 2, step=2)
    means: dict[str, list[float]] = {"buildings": [], "vegetation": []}
    counts: dict[str, list[float]] = {"buildings": [], "vegetation": []}
    for i in range(s.scenes):
        rng = np.random.default_rng([s.seed, 4, i])
        built, _ = scene(rng, s.scene_size, 4)
        grown = 0.12 * vegetation(rng, s.scene_size)
        grown = grown + 0.02 * rng.standard_normal(grown.shape)
        for name, image in (("buildings", built), ("vegetation", grown)):
            points = edges(image, s.edge_share)
            density = symmetry_density(points, positions, s.scene_reach, s.tau, s.threshold)
            means[name].append(float(density.mean()))
            counts[name].append(float(points.sum()))
    auc = {
        name: area_under_curve(np.asarray(x["buildings"]), np.asarray(x["vegetation"]))
        for name, x in (("auc", means), ("auc_of_counts", counts))
    }
    return {**means, **auc}


def photograph(settings: Settings) -> dict[str, Any]:
    """One large scene of buildings among vegetation: its edges and its symmetry density."""
    s = settings
    rng = np.random.default_rng([s.seed, 5])
    image, inside = scene(rng, 128, 7)
    points = edges(image, s.edge_share)
    positions = grid(64, step=2)
    density = symmetry_density(points, positions, s.scene_reach, s.tau, s.threshold)
    density = density.reshape(64, 64)
    built = inside[::2, ::2]
    return {
        "image": np.round(image, 3).tolist(),
        "edges": np.argwhere(points).tolist(),
        "density": density.tolist(),
        "inside": np.argwhere(inside).tolist(),
        "mean_buildings": float(density[built].mean()),
        "mean_vegetation": float(density[~built].mean()),
    }


def run(settings: Settings) -> tuple[dict, Path]:
    """Measure axes, noise, scenes and the tuning of delays, and write them into a new folder."""
    parts: dict[str, Any] = {
        "vertical": partial(vertical, settings),
        "oriented": partial(oriented, settings),
        "scenes": partial(buildings_and_vegetation, settings),
        "photograph": partial(photograph, settings),
        "tuning": partial(tune, settings.delay_error, settings.tuning_steps, settings.seed),
    }
    for noise in settings.noises:
        parts[f"noise {noise}"] = partial(in_noise, settings, noise)
    with rs.RunFolder.start(settings) as folder:
        results = compute_parts(
            parts,
            folder.checkpoints("parts", settings.checkpoint_every),
            settings=settings,
            progress=settings.progress,
        )
        folder.write_json("outcomes.json", results)
        table = report(settings, results)
        folder.write_text("table.md", table)
        for name, draw in _FIGURES.items():
            folder.write_figure(f"{name}.png", draw(settings, results))
        print(table)
    print(f"Written to {folder.path}")
    return results, folder.path


_FIGURES = {"axes": draw_axes, "noise": draw_noise, "scene": draw_scene, "tuning": draw_tuning}
