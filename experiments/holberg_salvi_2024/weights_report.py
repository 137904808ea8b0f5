"""What a run of the synaptic-weights experiment writes: metrics, table and figure."""

import csv
import dataclasses
import io
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import roughsnn as rs

from .published import SYNAPTIC_WEIGHTS
from .weights_network import MAX_SPIKES, STEP, WINDOW, input_current, network


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One fit.

    Attributes:
        design: how the weights were fitted.
        sample_size: number n of observed trials.
        seed: the seed of weights and trials.
        steps: after how many steps the next two were evaluated.
        error: mean absolute error of the weights.
        test_loss: the test loss.
        weights: the fitted weights, of shape (22, 22).
        seconds: wall time, compilation included.
    """

    design: str
    sample_size: int
    seed: int
    steps: np.ndarray
    error: np.ndarray
    test_loss: np.ndarray
    weights: np.ndarray
    seconds: float


def write_metrics(outcomes: Sequence[Outcome], folder: rs.RunFolder) -> None:
    """The fitted weights and the times as `weights.npz`, the networks as `models/*.model`, the
    curves as `metrics.csv`."""
    for o in outcomes:
        name = f"models/{o.design}-{o.sample_size}-seed-{o.seed}.model"
        folder.write_model(
            name, network(jnp.asarray(o.weights)),
            input_current=input_current(), window=WINDOW, dt0=STEP, max_spikes=10 * MAX_SPIKES,
        )  # fmt: skip
    weights = io.BytesIO()
    np.savez_compressed(
        weights,
        **{f"{o.design}/{o.sample_size}/{o.seed}": o.weights for o in outcomes},
        **{f"seconds/{o.design}/{o.sample_size}/{o.seed}": o.seconds for o in outcomes},
    )
    # the table comes last: what is in it has its weights
    folder.write_bytes("weights.npz", weights.getvalue())
    rows = (
        [o.design, o.sample_size, o.seed, int(step), float(error), float(loss)]
        for o in outcomes
        for step, error, loss in zip(o.steps, o.error, o.test_loss, strict=True)
    )
    header = ["design", "sample_size", "seed", "step", "weight_error", "test_loss"]
    folder.write_table("metrics.csv", header, rows)


def read_outcomes(folder: Path) -> list[Outcome]:
    """The outcomes that `write_metrics` wrote into a folder."""
    curves = defaultdict(list)
    with (folder / "metrics.csv").open() as file:
        for row in csv.DictReader(file):
            curves[row["design"], int(row["sample_size"]), int(row["seed"])].append(
                [float(row[name]) for name in ("step", "weight_error", "test_loss")]
            )
    kept = np.load(folder / "weights.npz")
    outcomes = []
    for (design, n, seed), rows in curves.items():
        steps, error, loss = np.array(rows).T
        name = f"{design}/{n}/{seed}"
        seconds = float(kept[f"seconds/{name}"])
        outcomes.append(
            Outcome(design, n, seed, steps.astype(int), error, loss, kept[name], seconds)
        )
    return outcomes


def by_setting(outcomes: Sequence[Outcome]) -> dict[tuple[str, int], list[Outcome]]:
    """The seeds of each design and sample size."""
    groups = defaultdict(list)
    for o in outcomes:
        groups[o.design, o.sample_size].append(o)
    return dict(groups)


def final_test_loss(outcome: Outcome) -> float:
    """The test loss averaged over the last ten evaluations, since each has noise of its own."""
    return float(outcome.test_loss[-10:].mean())


def table(outcomes: Sequence[Outcome]) -> str:
    """Mean and spread over seeds beside the published values, as Markdown."""
    lines = [
        "| design | n | seeds | test loss, first | test loss, final | published | weight error, "
        "first | weight error, final | published | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]

    def mean_sd(values):
        values = np.asarray(values)
        spread = f" ({values.std(ddof=1):.3g})" if len(values) > 1 else ""
        return f"{values.mean():.3g}{spread}"

    for (design, n), group in by_setting(outcomes).items():
        published = SYNAPTIC_WEIGHTS.get(n) if design == "published" else None
        theirs = ("-", "-") if published is None else (published.test_loss, published.weight_error)
        cells = [
            design, n, len(group), mean_sd([o.test_loss[0] for o in group]),
            mean_sd([final_test_loss(o) for o in group]), theirs[0],
            mean_sd([o.error[0] for o in group]), mean_sd([o.error[-1] for o in group]), theirs[1],
            f"{np.mean([o.seconds for o in group]):.0f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def draw_figure(outcomes: Sequence[Outcome]):
    """The two panels of figure 2: test loss and weight error over steps. Lines are means over
    seeds, bands reach from the lowest to the highest seed, dots are the published values."""
    import matplotlib.pyplot as plt

    from roughsnn.plotting import plot_learning_curve
    from roughsnn.plotting.style import colour

    figure, (left, right) = plt.subplots(1, 2, figsize=(6.8, 2.6), layout="constrained")
    panels = (
        (left, "test loss", "test_loss"),
        (right, "mean absolute error of the weights", "error"),
    )
    for i, ((design, n), group) in enumerate(by_setting(outcomes).items()):
        label = f"$n={n}$" if design == "published" else f"{design}, $n={n}$"
        shared = min(len(o.steps) for o in group)
        published = SYNAPTIC_WEIGHTS.get(n) if design == "published" else None
        for ax, name, attribute in panels:
            values = np.array([getattr(o, attribute)[:shared] for o in group])
            plot_learning_curve(
                {name: values}, ax, name=name, steps=group[0].steps[:shared], label=label,
                color=colour(i), log=ax is left,
            )  # fmt: skip
            if published is not None:
                theirs = published.test_losses if ax is left else published.weight_errors
                ax.plot(published.steps, theirs, "o", markersize=2.5, color=colour(i))
    right.set_ylim(bottom=0)
    right.get_legend().remove()
    return figure


def draw_errors(outcomes: Sequence[Outcome], bounds: dict[str, dict[str, float]]):
    """The error of the weights against the sample size for each design: means over seeds, bands
    from the lowest to the highest seed, dashed what the information in the data allows."""
    import matplotlib.pyplot as plt

    from roughsnn.plotting.style import colour, tidy

    figure, ax = plt.subplots(figsize=(5.6, 2.8), layout="constrained")
    for i, design in enumerate(dict.fromkeys(o.design for o in outcomes)):
        groups = {n: group for (d, n), group in by_setting(outcomes).items() if d == design}
        sizes = sorted(groups)
        errors = [[o.error[-1] for o in groups[n]] for n in sizes]
        ax.plot(
            sizes, [np.mean(e) for e in errors], "o-", color=colour(i), label=design,
            linewidth=1, markersize=3,
        )  # fmt: skip
        ax.fill_between(
            sizes, [min(e) for e in errors], [max(e) for e in errors], color=colour(i),
            alpha=0.12, linewidth=0,
        )  # fmt: skip
        if all(design in bounds.get(str(n), {}) for n in sizes):
            known = [bounds[str(n)][design] for n in sizes]
            ax.plot(sizes, known, "--", color=colour(i), linewidth=1, label=f"{design}, bound")
    sizes = sorted({o.sample_size for o in outcomes})
    theirs = [(n, SYNAPTIC_WEIGHTS[n].weight_error) for n in sizes if n in SYNAPTIC_WEIGHTS]
    if theirs:
        x, y = zip(*theirs, strict=True)
        ax.plot(x, y, "x", color="0.4", markersize=4, label="published values")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ax.minorticks_off()
    ticks = (0.02, 0.05, 0.1, 0.2, 0.3)
    ax.set_yticks(ticks, [str(tick) for tick in ticks])
    tidy(ax, "observed trials $n$", "mean absolute error of the weights")
    figure.legend(fontsize=7, frameon=False, loc="outside right center")
    return figure
