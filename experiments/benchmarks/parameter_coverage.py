"""Whether the standard errors of a fitted neuron are right, over simulated recordings.

Recordings of a neuron whose parameters are known, away from where training starts, are fitted one
by one. A number whose standard error says that the recording tells it must be covered by its
nominal 90 % interval in 85 to 95 % of the recordings; the others are named.
"""

import dataclasses

import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs

from ..recorded_spike_trains.models import MODELS, Parameters, describe
from ..recorded_spike_trains.numbers import numbers_of
from ..recorded_spike_trains.splitting import Part
from ..recorded_spike_trains.training import LOSSES, Plan, fit
from ._study import Study, format_table

NORMAL = 1.645
"""Quantile of the normal law that leaves 5 % on either side."""

CONDITION = "recording"


def true_neuron() -> Parameters:
    """A neuron with a leak and a threshold less steep than the start has."""
    start = MODELS["resetting-lif"].start([np.array([0.5, 1.0, 1.5])], 1.0)
    return dataclasses.replace(
        start, log_leak=jnp.log(jnp.asarray(0.3)), drive=jnp.asarray([1.1]),
        log_noise=jnp.log(jnp.asarray(0.7)), log_beta=jnp.log(jnp.asarray(1.2)),
        reset=jnp.asarray(0.85), log_alpha=jnp.log(jnp.asarray(0.02)),
    )  # fmt: skip


def study(
    recordings: int = 100,
    intervals: int = 600,
    paths: int = 4096,
    dt0: float = 0.01,
    longest: float = 8.0,
    loss: str = "signature-kernel",
    seed: int = 0,
) -> Study:
    """Fit simulated recordings.

    Args:
        recordings: how many.
        intervals: in each of them.
        paths: noise paths of a fit.
        dt0: step, in mean intervals.
        longest: how far an interval is followed.
        loss: what the neuron is fitted by.
        seed: of all random numbers.
    """
    truth = true_neuron()
    law = rs.interval_law(
        truth.neuron(), longest, dt0, key=jr.key(seed), num_paths=65536,
        input_current=truth.currents()[0],
    )  # fmt: skip
    mean, square = np.asarray(law.mean(jnp.stack([law.edges, law.edges**2], axis=-1)), float)
    true = describe(truth, 1.0, [CONDITION])
    true[f"mean interval of the model, {CONDITION} (s)"] = mean
    true[f"its coefficient of variation, {CONDITION}"] = np.sqrt(square - mean**2) / mean
    plan = Plan("resetting-lif", 3, longest, dt0, paths, 64)
    random = np.random.default_rng(seed)
    found: dict[str, list] = {name: [] for name in true}
    for number in range(recordings):
        gaps = np.asarray(law.quantiles(random.uniform(size=intervals)), float)
        part = Part(gaps.mean(), 10.0, gaps, gaps[:0], [], [], gaps.sum(), intervals, 0.0, 0)
        trained = fit([part], plan, LOSSES[loss], steps=15, gradient_steps=0, seed=number)
        for name, x in numbers_of(trained, plan, part.unit, [CONDITION], number).items():
            found[name].append(x)
    figures, rows, covered = {}, [], []
    for name, estimates in found.items():
        off = np.array([x.value - true[name] for x in estimates])
        errors = np.array([x.error for x in estimates])
        share = float(np.mean(np.abs(off) < NORMAL * errors))
        told = float(np.mean([x.told for x in estimates]))
        if told > 0.5:
            covered.append(share)
            figures[f"{name}: coverage"] = share
        figures[f"{name}: share of recordings that tell it"] = told
        rows.append(
            [name, f"{true[name]:.4g}", f"{np.median([x.value for x in estimates]):.4g}",
             f"{off.std():.2g}", f"{np.median(errors):.2g}", f"{share:.2f}",
             "told" if told > 0.5 else "not told"]
        )  # fmt: skip
    figures["smallest coverage"] = min(covered, default=0.0)
    figures["largest coverage"] = max(covered, default=1.0)
    table = f"{recordings} recordings of {intervals} intervals\n" + format_table(
        ["number", "true", "median found", "spread", "median error", "covered by 90 %", ""], rows
    )
    bounds = {"smallest coverage": ">= 0.85", "largest coverage": "<= 0.95"}
    return Study(figures, bounds, table)
