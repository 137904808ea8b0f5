"""Recover the input current of a stochastic neuron from its spike trains (section 4.2, figure 1).

One stochastic leaky integrate-and-fire neuron, driven by a constant current c = 1.5, is observed
in n trials of which each ends at the third spike. Starting from c = 0.5635, the current is fitted
by gradient descent through the simulator, with fresh noise in every step. With `hursts` the noise
of the potential is fractional Brownian motion, rougher or smoother than that of the paper.
"""

import dataclasses
from pathlib import Path
from typing import ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float

import roughsnn as rs
from roughsnn.drivers import AbstractNoise
from roughsnn.runs.settings import FINITE, SEED, above, at_least, between

from .published import INPUT_CURRENT, TRUE_CURRENT

Loss = Literal["signature", "spike-times", "unpaired-signature"]


@dataclasses.dataclass(frozen=True)
class Settings(rs.RunSettings):
    """Recover the input current of a stochastic neuron from its spike trains."""

    sigmas: tuple[float, ...] = (0.25, 0.5)
    """Noise of the membrane potential (dimensionless, per square root of the time unit)."""
    hursts: tuple[float, ...] = (0.5,)
    """Hurst parameters of the noise; 0.5 is Brownian motion, as published."""
    sample_sizes: tuple[int, ...] = (16, 32, 64, 128)
    """Numbers n of observed trials; each step simulates as many."""
    losses: tuple[Loss, ...] = ("signature", "spike-times")
    """`signature`: expected signatures of depth 3 of paired and cut trains, as published;
    `spike-times`: squared error of the mean first three spike times; `unpaired-signature`:
    expected signatures without pairing, a truncated kernel MMD."""
    seeds: int = 8
    """Data sets for each setting, fitted side by side."""
    steps: int = 1500
    """Gradient steps."""
    learning_rate: float = 1e-3
    """Learning rate of RMSProp (decay 0.7, momentum 0.3)."""
    first_current: float = 0.5635
    """Current at the first step."""
    window: float = 5.0
    """Length of the window, in the model's unit of time."""
    dt0: float = 1e-2
    """Step of the solver, in the model's unit of time."""
    seed: int = 2024
    """Seed of all random numbers."""
    output: Path = Path("runs/input-current")
    """Folder under which the run gets a numbered folder of its own."""
    quick: bool = False
    """A small size: both noises, n = 32 and 128, the signature loss, two data sets, larger
    steps; about a minute."""

    number_ranges: ClassVar = {
        "sigmas": above(0), "hursts": between(0, 1), "sample_sizes": at_least(1),
        "seeds": at_least(1),
        "steps": at_least(1), "learning_rate": above(0), "first_current": FINITE,
        "window": above(0), "dt0": above(0), "seed": SEED,
    }  # fmt: skip
    without_repeats = ("sigmas", "hursts", "sample_sizes", "losses")
    presets: ClassVar = {
        "quick": {
            "sample_sizes": (32, 128), "losses": ("signature",), "seeds": 2, "steps": 400,
            "learning_rate": 4e-3,
        },
    }  # fmt: skip

    def __post_init__(self):
        super().__post_init__()
        if self.dt0 > self.window:
            raise ValueError(
                f"`dt0` is {self.dt0} and `window` {self.window}; a step must be no longer than "
                "the window."
            )
        for hurst in self.hursts:
            noise_of(hurst)


def noise_of(hurst: float) -> AbstractNoise:
    """The law of the noise; that of the paper where it is Brownian motion."""
    return rs.BrownianNoise() if hurst == 0.5 else rs.FractionalNoise(hurst)


class Driven(eqx.Module):
    """A neuron with its input current, the parameter that is fitted."""

    current: Float[Array, ""]
    neuron: rs.StochasticLIF


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One setting: the current and the hold-out error at each step, seeds along the first axis."""

    loss: str
    sigma: float
    sample_size: int
    current: np.ndarray
    holdout_error: np.ndarray
    training_loss: np.ndarray
    hurst: float = 0.5

    @property
    def final_current(self) -> np.ndarray:
        """The current after the last step, for each seed."""
        return self.current[:, -1]

    @property
    def final_error(self) -> np.ndarray:
        """The hold-out error averaged over the last 200 steps, for each seed."""
        return self.holdout_error[:, -200:].mean(-1)


LOSSES = {
    "signature": rs.PairedTruncatedSignatureLoss(depth=3),
    "unpaired-signature": rs.ExpectedSignatureLoss(depth=3),
    "spike-times": rs.FirstSpikesLoss(3, missing="horizon"),
}


def fit_setting(
    settings: Settings, loss: Loss, sigma: float, hurst: float, sample_size: int, run: rs.RunFolder
) -> Outcome:
    """Fit the current on `settings.seeds` data sets side by side."""
    rough = "" if hurst == 0.5 else f"-hurst-{hurst}"
    name = f"{loss}-sigma-{sigma}{rough}-n-{sample_size}"
    neuron = rs.StochasticLIF(
        1, mu1=15.0, mu2=0.0, sigma=sigma, v_reset=1.4, v_th=1.0, beta=5.0, tau_s=1.0, alpha=0.03
    )

    def simulate(model, key):
        return rs.simulate(
            model.neuron, 0.0, settings.window, settings.dt0, key=key, num_samples=sample_size,
            max_spikes=3, stop_after=3, input_current=model.current, noise=noise_of(hurst),
        )  # fmt: skip

    def current(model, generated, holdout):
        return model.current

    error = rs.FirstSpikesLoss(3, error="absolute", missing="horizon")

    def holdout_error(model, generated, holdout):
        return error(generated, holdout)

    # the data of a seed depend on the noise and the sample size, not on the loss
    key = jr.fold_in(jr.key(settings.seed), sample_size * 1000 + round(1000 * sigma))
    keys = jr.split(key, (3, settings.seeds))
    truth = Driven(jnp.asarray(TRUE_CURRENT), neuron)

    def draw(keys):
        return rs.SpikeTrains.stack([simulate(truth, key) for key in keys])

    observed = draw(keys[0])
    run.write_spikes(f"spikes/{name}.npz", observed)
    start = Driven(jnp.asarray(settings.first_current), neuron)
    results = rs.fit_many(
        eqx.filter_vmap(lambda _: start, axis_size=settings.seeds)(None),
        observed,
        simulate=simulate,
        loss=LOSSES[loss],
        optimiser=optax.rmsprop(settings.learning_rate, decay=0.7, momentum=0.3),
        num_steps=settings.steps,
        keys=keys[2],
        trainable=lambda model: model.current,
        metrics={"current": current, "holdout_error": holdout_error},
        holdout=draw(keys[1]),
        checkpoint=run.checkpoints(name, settings.checkpoint_every),
        log_every=min(50, settings.checkpoint_every),
        progress=settings.progress,
    )
    for number, result in enumerate(results):
        fitted = result.raise_unless_trained().model
        run.write_model(
            f"models/{name}-seed-{number}.model", fitted.neuron, input_current=fitted.current,
            window=settings.window, dt0=settings.dt0, max_spikes=200,
        )  # fmt: skip

    def history(name):
        return np.stack([result.history[name] for result in results])

    # the recorded current is that before each step; the last update is added
    final = np.array([[float(result.model.current)] for result in results])
    return Outcome(
        loss, sigma, sample_size, np.hstack([history("current"), final]),
        history("holdout_error"), history("loss"), hurst,
    )  # fmt: skip


def run(settings: Settings) -> tuple[list[Outcome], Path]:
    """Run all settings and write settings, metrics, table and figures into a new folder."""
    combinations = [
        (loss, sigma, hurst, n)
        for loss in settings.losses
        for sigma in settings.sigmas
        for hurst in settings.hursts
        for n in settings.sample_sizes
    ]
    outcomes = []
    with rs.RunFolder.start(settings) as folder:
        for i, (loss, sigma, hurst, n) in enumerate(combinations):
            what = f"loss {loss}, sigma = {sigma}, H = {hurst}, n = {n}"
            print(f"[{i + 1}/{len(combinations)}] {what}", flush=True)
            outcomes.append(fit_setting(settings, loss, sigma, hurst, n, folder))
            write_metrics(outcomes, folder)
        text = table(outcomes)
        folder.write_text("table.md", text)
        for loss in settings.losses:
            figure = draw_figure([o for o in outcomes if o.loss == loss])
            folder.write_figure(f"{loss}.png", figure)
    print(text)
    print(f"Written to {folder.path}")
    return outcomes, folder.path


def write_metrics(outcomes: list[Outcome], folder: rs.RunFolder) -> None:
    """One row for each setting, seed and step."""
    rows = (
        [o.loss, o.sigma, o.hurst, o.sample_size, seed, step]
        + [f"{float(v[seed, step]):.7g}" for v in (o.current, o.holdout_error, o.training_loss)]
        for o in outcomes
        for seed in range(o.holdout_error.shape[0])
        for step in range(o.holdout_error.shape[1])
    )
    header = ["loss", "sigma", "hurst", "sample_size", "seed", "step"]
    folder.write_table("metrics.csv", [*header, "current", "holdout_error", "training_loss"], rows)


def table(outcomes: list[Outcome]) -> str:
    """Mean and spread over seeds beside the published values, as Markdown."""
    lines = [
        "| loss | sigma | H | n | final c, mean (sd) | published c | hold-out error, mean (sd) "
        "| published error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for o in outcomes:
        c, e = o.final_current, o.final_error
        ddof = min(1, len(c) - 1)
        published = INPUT_CURRENT.get((o.loss, o.sigma, o.sample_size))
        if o.hurst != 0.5:
            published = None
        theirs = ("-", "-") if published is None else (f"{x:.4f}" for x in published)
        their_c, their_error = theirs
        lines.append(
            f"| {o.loss} | {o.sigma} | {o.hurst} | {o.sample_size} "
            f"| {c.mean():.4f} ({c.std(ddof=ddof):.4f}) "
            f"| {their_c} | {e.mean():.4f} ({e.std(ddof=ddof):.4f}) | {their_error} |"
        )
    return "\n".join(lines)


def draw_figure(outcomes: list[Outcome]):
    """The two panels of figure 1: hold-out error (running means over 21 steps) and current. Lines
    are means over seeds, bands reach from the lowest to the highest seed."""
    import matplotlib.pyplot as plt

    from roughsnn.plotting import plot_learning_curve, plot_parameter
    from roughsnn.plotting.style import colour, legend

    figure, (left, right) = plt.subplots(1, 2, figsize=(6.8, 2.6), layout="constrained")
    # colours say the Hurst parameter where there are several, else the sample size
    by_hurst = len({o.hurst for o in outcomes}) > 1
    shade = (lambda o: o.hurst) if by_hurst else (lambda o: o.sample_size)
    shades = sorted({shade(o) for o in outcomes})
    line = (lambda o: (o.sigma, o.sample_size)) if by_hurst else (lambda o: (o.sigma,))
    lines = sorted({line(o) for o in outcomes})
    styles = ("-", "--", ":", "-.")
    for o in outcomes:
        drawn = dict(
            color=colour(shades.index(shade(o))),
            linestyle=styles[lines.index(line(o)) % len(styles)],
        )
        name = "hold-out error of mean spike times"
        smooth = 21 if o.holdout_error.shape[1] > 100 else 1
        plot_learning_curve(
            {name: o.holdout_error}, left, name=name, smooth=smooth, band=False, **drawn
        )
        plot_parameter(o.current, right, name="input current $c$", **drawn)
    right.axhline(TRUE_CURRENT, color="0.4", linestyle=(0, (1, 1)), linewidth=1)
    for i, value in enumerate(shades):
        right.plot([], [], color=colour(i), label=f"${'H' if by_hurst else 'n'}={value}$")
    for i, (sigma, *size) in enumerate(lines):
        label = rf"$\sigma={sigma}$" + "".join(f", $n={n}$" for n in size)
        right.plot([], [], color="0.3", linestyle=styles[i % 4], label=label)
    legend(right)
    return figure
