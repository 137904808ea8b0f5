"""First spikes by thinning, with numpy alone: a simulator that shares no code with the package.

A neuron fires with intensity lambda(v) once its integrated intensity has reached alpha, so that
P(tau > t) = min(1, exp(alpha - int_0^t lambda(v) dr)). Thinning (Lewis & Shedler 1979; Ogata 1981)
lets candidates come at a rate that bounds the intensity, and keeps each with the ratio of the two.
"""

import numpy as np


def constant_intensity(rate: float, alpha: float, samples: int, seed: int) -> np.ndarray:
    """First spikes at a constant intensity: candidates at twice the rate, kept with 1/2 after the
    dead time alpha / rate."""
    rng = np.random.default_rng(seed)
    t, found = np.zeros(samples), np.full(samples, np.nan)
    while np.isnan(found).any():
        t = t + rng.exponential(1 / (2 * rate), samples)
        kept = (rng.random(samples) < 0.5) & (t > alpha / rate) & np.isnan(found)
        found = np.where(kept, t, found)
    return found


def ornstein_uhlenbeck_intensity(
    mu1: float,
    current: float,
    sigma: float,
    beta: float,
    alpha: float,
    horizon: float,
    samples: int,
    seed: int,
    cells: int = 512,
) -> np.ndarray:
    """First spikes of a neuron dv = mu1 (c - v) dt + sigma dB, v_0 = 0, of intensity
    exp(beta (v - 1)); `horizon` where there is none before.

    The potential has its exact transitions over the cells of a fine grid and its exact
    bridges at the candidates. The bound of a cell is the intensity at the higher of its ends plus
    eight standard deviations of the bridge, which no sample exceeds. The integrated intensity,
    only needed up to alpha, is that of the trapezoid rule on the grid.
    """
    rng = np.random.default_rng(seed)
    h = horizon / cells

    def moments(gap):
        decay = np.exp(-mu1 * gap)
        return decay, sigma**2 * (1 - decay**2) / (2 * mu1)

    def intensity(v):
        return np.exp(beta * (v - 1))

    found = np.full(samples, horizon)
    alive, v, integral = np.arange(samples), np.zeros(samples), np.zeros(samples)
    for j in range(cells):
        decay, variance = moments(h)
        v_new = (
            current + (v - current) * decay + np.sqrt(variance) * rng.standard_normal(len(alive))
        )
        bound = intensity(np.maximum(v, v_new) + 8 * sigma * np.sqrt(h / 4))
        grown = integral + 0.5 * h * (intensity(v) + intensity(v_new))
        # where in the cell the integrated intensity reaches alpha
        start = h * np.clip((alpha - integral) / (grown - integral), 0, 1)
        fired = np.zeros(len(alive), bool)
        # the candidates of a cell, one after the other
        at, v_at, open_ = np.zeros(len(alive)), v.copy(), np.arange(len(alive))
        while len(open_):
            t = at[open_] + rng.exponential(1 / bound[open_])
            open_, t = open_[t < h], t[t < h]
            # the potential there, given those before it and at the end of the cell
            left, var_left = moments(t - at[open_])
            right, var_right = moments(h - t)
            total = var_left * right**2 + var_right
            mean = current + (v_at[open_] - current) * left
            gain = var_left * right / total
            mean = mean + gain * (v_new[open_] - current - (mean - current) * right)
            value = mean + np.sqrt(var_left * var_right / total) * rng.standard_normal(len(t))
            ratio = intensity(value) / bound[open_]
            assert np.all(ratio <= 1)
            kept = (rng.random(len(t)) < ratio) & (t > start[open_])
            found[alive[open_[kept]]] = j * h + t[kept]
            fired[open_[kept]] = True
            at[open_], v_at[open_] = t, value
            open_ = open_[~kept]
        alive, v, integral = alive[~fired], v_new[~fired], grown[~fired]
    return found
