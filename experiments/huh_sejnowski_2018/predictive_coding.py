"""A network encodes a signal in its spikes, with interactions of a millisecond.

30 non-leaky neurons receive a smooth signal of two channels and are to read it out again. The
exact gradient of the gated synapses trains input, fast (1 ms) and slow (10 ms) recurrent weights,
bias and readout together. Slow currents undo the lag of the readout, fast ones spread the spikes
over the neurons: without them the error is several times as large.
"""

import dataclasses
from pathlib import Path
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import roughsnn as rs
from roughsnn.gated import NIF, GatedNetwork, GatedSolution, RaisedCosineGate, solve_gated
from roughsnn.runs.settings import SEED, above, at_least

from .currents import FAST, SLOW, currents, draw_balance


@dataclasses.dataclass(frozen=True)
class Settings(rs.RunSettings):
    """A network encodes a signal in its spikes, with interactions of a millisecond."""

    num_neurons: int = 30
    """Neurons."""
    steps: int = 1500
    """Gradient steps."""
    learning_rate: float = 1e-2
    """Highest learning rate of Adam for input, bias and readout."""
    fast_rate: float = 2e-3
    """The same for the fast recurrent weights."""
    slow_rate: float = 2e-3
    """The same for the slow recurrent weights."""
    batch_size: int = 16
    """Signals in each gradient step, drawn afresh."""
    window: float = 250.0
    """Length of a trial, ms."""
    burn_in: float = 30.0
    """Time at the start of a trial that is not scored, ms."""
    dt0: float = 0.25
    """Step of the solver, ms."""
    gate_width: float = 0.3
    """Width of the active zone; threshold minus reset is 1."""
    activity_price: float = 5e-3
    """Price of the mean squared synaptic trace."""
    seed: int = 0
    """Seed of all random numbers."""
    seeds: int = 1
    """Networks trained side by side, from this seed and the ones after it."""
    output: Path = Path("runs/predictive-coding")
    """Folder under which the run gets a numbered folder of its own."""
    quick: bool = False
    """A small size: 200 gradient steps."""

    number_ranges: ClassVar = {
        "num_neurons": at_least(1), "steps": at_least(1), "learning_rate": at_least(0),
        "fast_rate": at_least(0), "slow_rate": at_least(0), "batch_size": at_least(1),
        "window": above(0), "burn_in": at_least(0), "dt0": above(0), "gate_width": above(0),
        "activity_price": at_least(0), "seed": SEED, "seeds": at_least(1),
    }  # fmt: skip
    presets: ClassVar = {"quick": {"steps": 200}}

    def __post_init__(self):
        super().__post_init__()
        if not self.dt0 <= self.window - self.burn_in:
            raise ValueError(
                f"`window` is {self.window} ms, of which {self.burn_in} ms (`burn_in`) are not "
                f"scored; a step of {self.dt0} ms (`dt0`) or more must be left."
            )
        steps = self.window / self.dt0
        if abs(steps - round(steps)) > 1e-6 * steps:
            raise ValueError(
                f"`window` is {self.window} ms and `dt0` {self.dt0} ms; the window must be a whole "
                f"number of steps, such as {round(steps) * self.dt0:g} ms."
            )


RUNAWAY_HZ = 500.0
"""Rates above are no code of the signal; trained networks fire at 160 Hz."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run found; errors are mean squared errors relative to the signal's mean square.

    A population of synapses cancels 1 - var(external + recurrent) / var(external) of the external
    current, a negative share if it adds to it; the variance is that over time, the currents
    smoothed over 5 ms.
    """

    error_before: float
    error: float
    error_without_fast: float
    voltage_correlation: float
    cancelled_by_fast: float
    cancelled_by_slow: float
    rate_hz: float
    seconds: float

    @property
    def ablation_factor(self) -> float:
        """By how much removing the fast weights raises the error."""
        return self.error_without_fast / self.error


def initial_network(settings: Settings, key) -> GatedNetwork:
    """Random input and fast weights, no slow ones; every neuron fires at 10 Hz by itself."""
    n = settings.num_neurons
    keys = jr.split(key, 3)
    fast = 0.02 * jr.normal(keys[0], (n, n))
    return GatedNetwork(
        NIF(tau=20.0),
        RaisedCosineGate(settings.gate_width),
        taus=(10.0, 1.0),
        weights=(jnp.zeros((n, n)), fast),
        input_weights=0.7 * jr.normal(keys[1], (2, n)),
        bias=jnp.full(n, 0.2),
        readout=0.1 * jr.normal(keys[2], (n, 2)),
    )


def draw_signals(settings: Settings, key, num: int):
    """Signals (num, steps, 2): sums of five cosines of 2 to 10 Hz, of unit variance."""
    num_steps = round(settings.window / settings.dt0)
    times = settings.dt0 * jnp.arange(num_steps, dtype=jnp.result_type(float)).reshape(
        1, 1, num_steps, 1
    )
    keys = jr.split(key, 3)
    shape = (num, 5, 1, 2)
    frequency = jr.uniform(keys[0], shape, minval=2.0, maxval=10.0) / 1000
    # the mean square of a cosine is a half
    amplitude = jr.normal(keys[1], shape) * (2 / 5) ** 0.5
    phase = jr.uniform(keys[2], shape, maxval=2 * jnp.pi)
    waves = amplitude * jnp.cos(2 * jnp.pi * frequency * times + phase)
    return jnp.sum(waves, axis=1)


def encode(settings: Settings, network: GatedNetwork, signals) -> GatedSolution:
    """The network's response to signals; potentials start spread over the lower half."""
    v0 = jnp.linspace(0.0, 0.5, network.num_neurons)
    return solve_gated(network, signals, settings.dt0, v0=v0, throw=False)


def relative_error(settings: Settings, readout, signals):
    """Mean squared error over the mean square of the signal, after the burn-in."""
    scored = round(settings.burn_in / settings.dt0)
    readout, signals = readout[:, scored:], signals[:, scored:]
    return jnp.mean((readout - signals) ** 2) / jnp.mean(signals**2)


def train(settings: Settings, checkpoint: rs.Checkpoints | None = None) -> list[rs.FitResult]:
    """Train a network for each seed on fresh signals in every step."""
    pairs = [jr.split(jr.key(settings.seed + i)) for i in range(settings.seeds)]
    networks = [initial_network(settings, start) for start, _ in pairs]

    def simulate(network, key):
        signals = draw_signals(settings, key, settings.batch_size)
        solution = encode(settings, network, signals)
        return solution.readout, solution.traces, signals

    def error(generated):
        readout, _, signals = generated
        return relative_error(settings, readout, signals)

    def loss(generated, data):
        return error(generated) + settings.activity_price * jnp.mean(
            generated[1][..., SLOW, :] ** 2
        )

    def adam(rate, warmup):
        return optax.adam(
            optax.warmup_cosine_decay_schedule(0.0, rate, warmup, settings.steps, 1e-3 * rate)
        )

    def groups(network):
        rest = jax.tree.map(lambda _: "rest", network)
        return eqx.tree_at(lambda net: net.weights, rest, ("slow", "fast"))

    # At first the readout is too small, and recurrent weights would answer by runaway excitation.
    adams = {
        "fast": adam(settings.fast_rate, settings.steps // 4),
        "slow": adam(settings.slow_rate, settings.steps // 4),
        "rest": adam(settings.learning_rate, settings.steps // 40),
    }
    optimiser = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.multi_transform(adams, groups),
    )
    options = dict(
        simulate=simulate,
        loss=loss,
        optimiser=optimiser,
        num_steps=settings.steps,
        metrics={"relative_error": lambda network, generated, holdout: error(generated)},
        checkpoint=checkpoint,
        progress=settings.progress,
    )
    if settings.seeds == 1:
        return [rs.fit(networks[0], None, key=pairs[0][1], **options)]
    together = jax.tree.map(lambda *x: jnp.stack(x) if eqx.is_array(x[0]) else x[0], *networks)
    return rs.fit_many(together, None, keys=jnp.stack([key for _, key in pairs]), **options)


def without_fast(network: GatedNetwork) -> GatedNetwork:
    """The network with its fast weights removed."""
    return eqx.tree_at(lambda net: net.weights[FAST], network, replace_fn=jnp.zeros_like)


def judge(settings: Settings, result: rs.FitResult, seconds: float) -> Outcome:
    """Error, ablation and balance on 64 fresh signals; `settings.seed` is that of the result."""
    signals = draw_signals(settings, jr.key(settings.seed + 1_000_000), 64)
    before = initial_network(settings, jr.split(jr.key(settings.seed))[0])

    @eqx.filter_jit
    def response(network):
        solution = encode(settings, network, signals)
        return solution, relative_error(settings, solution.readout, signals)

    solution, error = response(result.model)
    external, recurrent = currents(result.model, signals, solution)
    scored = round(settings.burn_in / settings.dt0)

    def cancelled(population):
        total = external + recurrent[population]
        left, all_of_it = (np.var(x[:, scored:], axis=1).mean() for x in (total, external))
        return float(1 - left / all_of_it)

    return Outcome(
        float(response(before)[1]),
        float(error),
        float(response(without_fast(result.model))[1]),
        voltage_correlation(np.asarray(solution.v[:, scored:])),
        cancelled(FAST),
        cancelled(SLOW),
        float(solution.num_spikes.mean() / settings.window * 1000),
        seconds,
    )


def voltage_correlation(v: np.ndarray) -> float:
    """Mean absolute correlation of the potentials of two neurons, over trials and pairs."""
    n = v.shape[-1]
    pairs = ~np.eye(n, dtype=bool)
    return float(np.mean([np.abs(np.corrcoef(trial.T))[pairs].mean() for trial in v]))


def run(settings: Settings) -> tuple[list[Outcome], Path]:
    """Train, judge, and write settings, networks, figures and numbers into a new folder."""
    outcomes = []
    with rs.RunFolder.start(settings) as folder:
        results = train(settings, folder.checkpoints("fit", settings.checkpoint_every))
        folder.write_history("metrics.csv", *(result.history for result in results))
        for i, result in enumerate(results):
            of_seed = dataclasses.replace(settings, seed=settings.seed + i)
            outcome = judge(of_seed, result.raise_unless_trained(), result.seconds)
            outcomes.append(outcome)
            name = "" if settings.seeds == 1 else f"seed-{of_seed.seed}-"
            folder.write_model(f"{name}network.model", result.model, time_unit="ms")
            figures, spikes = draw_figures(of_seed, result)
            folder.write_spikes(f"{name}response.npz", spikes)
            for figure_name, figure in figures.items():
                folder.write_figure(f"{name}{figure_name}.png", figure)
            print(report(outcome))
        folder.write_json("outcomes.json", [dataclasses.asdict(outcome) for outcome in outcomes])
    print(f"Written to {folder.path}")
    return outcomes, folder.path


def report(outcome: Outcome) -> str:
    """The outcome in a few lines; first of all, that a network fires without bound."""
    runaway = [
        f"RUNAWAY FIRING: {outcome.rate_hz:.0f} spikes per second and neuron excite each other, "
        "and the readout is of no use. Train for more steps, or with a smaller `--fast-rate` and "
        "`--slow-rate`."
    ]
    return "\n".join(
        [
            *(runaway if outcome.rate_hz > RUNAWAY_HZ else []),
            f"relative error {outcome.error_before:.3f} -> {outcome.error:.4f} on fresh signals",
            f"without fast weights {outcome.error_without_fast:.3f}, "
            f"{outcome.ablation_factor:.1f} times as large",
            f"mean |correlation| of two potentials {outcome.voltage_correlation:.3f}",
            "share of the external current's variance that is cancelled by the fast current "
            f"{outcome.cancelled_by_fast:.3f}, by the slow {outcome.cancelled_by_slow:.3f}",
            f"{outcome.rate_hz:.0f} spikes per second and neuron",
            f"trained in {outcome.seconds:.0f} s",
        ]
    )


def draw_figures(settings: Settings, result: rs.FitResult) -> tuple[dict, rs.SpikeTrains]:
    """Target and readout with the raster, balance of currents, and the learning curve; and the
    spikes in them."""
    import matplotlib.pyplot as plt

    from roughsnn.plotting import plot_learning_curve, plot_raster, plot_readout

    network = result.model
    signals = draw_signals(settings, jr.key(settings.seed + 2_000_000), 1)
    solution = jax.jit(encode, static_argnums=0)(settings, network, signals)
    ts = np.asarray(solution.ts)

    response, (top, bottom) = plt.subplots(
        2, 1, figsize=(3.4, 3.6), height_ratios=(1, 1.2), layout="constrained", sharex=True
    )
    plot_readout(ts, solution.readout[0], signals[0], top)
    top.set_xlabel("")
    top.legend(fontsize=6, frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1))
    # room for all of them, also where firing runs away
    spikes = solution.spike_trains(max(int(solution.num_spikes.sum(-1).max()), 1))
    plot_raster(spikes[0], bottom, time_unit="ms")

    balance = draw_balance(ts, *currents(network, signals, solution))
    curve = plot_learning_curve(result.history, name="relative_error", smooth=20).figure
    return {"response": response, "balance": balance, "learning-curve": curve}, spikes
