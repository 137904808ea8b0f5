"""Images with and without symmetry, drawn at random: dots, buildings, vegetation."""

import numpy as np


def mirrored_dots(
    rng: np.random.Generator, size: int, density: float, angle: float = 0.0, offset: float = 0.0
) -> np.ndarray:
    """Random dots and their mirror images about an axis, as a boolean image.

    Args:
        rng: random numbers.
        size: width and height, pixels.
        density: share of pixels that are dots.
        angle: of the axis against the vertical, in radians; 0 or a multiple of a quarter turn keeps
            mirrored dots in the middle of pixels.
        offset: of the axis from the middle of the image, along its normal, pixels.
    """
    middle = (size - 1) / 2
    normal = np.array([np.cos(angle), np.sin(angle)])
    y, x = np.nonzero(rng.random((size, size)) < density)
    points = np.stack([x, y], -1) - middle
    side = points @ normal - offset
    points = points[side >= 0]
    side = points @ normal - offset
    mirrored = points - 2 * side[:, None] * normal
    image = np.zeros((size, size), bool)
    for x, y in np.rint(np.concatenate([points, mirrored]) + middle).astype(int):
        if 0 <= x < size and 0 <= y < size:
            image[y, x] = True
    return image


def random_dots(rng: np.random.Generator, size: int, density: float) -> np.ndarray:
    """Random dots without symmetry."""
    return rng.random((size, size)) < density


def vegetation(rng: np.random.Generator, size: int) -> np.ndarray:
    """A texture whose amplitudes fall as 1 over the spatial frequency, with mean 0 and SD 1."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = 1.0
    phases = np.fft.rfft2(rng.standard_normal((size, size)))
    phases[0, 0] = 0.0
    texture = np.fft.irfft2(phases / frequency, s=(size, size))
    return texture / texture.std()


def scene(rng: np.random.Generator, size: int, buildings: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Buildings among vegetation, as a grey image, and where the buildings are.

    Buildings are rectangles with a roof of one brightness or a ridge in the middle, in the
    orientation of the image or turned by any angle, with 5 % of pixel noise; none overlap.
    """
    image = 0.12 * vegetation(rng, size) + 0.4
    inside = np.zeros((size, size), bool)
    y, x = np.mgrid[:size, :size]
    placed, tries = 0, 0
    while placed < buildings and tries < 400:
        tries += 1
        half = rng.uniform(5, 10, 2)
        room = np.hypot(*half) + 2
        cx, cy = rng.uniform(room, size - 1 - room, 2)
        angle = rng.choice([0.0, rng.uniform(0, np.pi)])
        u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        w = -(x - cx) * np.sin(angle) + (y - cy) * np.cos(angle)
        own = (np.abs(u) <= half[0]) & (np.abs(w) <= half[1])
        around = (np.abs(u) <= half[0] + 3) & (np.abs(w) <= half[1] + 3)
        if (inside & around).any():
            continue
        roof = rng.choice([rng.uniform(0.75, 1.0), rng.uniform(-0.2, 0.05)])
        shade = np.where(u > 0, 0.0, rng.choice([0.0, 0.2]))
        image = np.where(own, roof - shade, image)
        inside |= own
        placed += 1
    return image + 0.02 * rng.standard_normal((size, size)), inside


def edges(image: np.ndarray, share: float, patch: int = 16) -> np.ndarray:
    """The pixels with the largest gradients: the same share of every square patch of the image, so
    that no region has more of them than another."""
    gy, gx = np.gradient(image)
    strength = np.hypot(gx, gy)
    found = np.zeros(image.shape, bool)
    for i in range(0, image.shape[0], patch):
        for j in range(0, image.shape[1], patch):
            part = strength[i : i + patch, j : j + patch]
            level = np.quantile(part, 1 - share)
            found[i : i + patch, j : j + patch] = part > level
    return found
