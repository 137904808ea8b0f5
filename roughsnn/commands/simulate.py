"""Simulate spiking neurons and write their spikes, a table of rates and a raster.

Integrate-and-fire neurons with noise in the potential that fire at random, at a rate
exp(beta (v - v_th)) / tau_s; or, with `--from`, the models that a fit or a training run has left.
Time is in the unit of the model. Every trial has noise of its own.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import roughsnn as rs
from roughsnn.drivers import AbstractNoise
from roughsnn.io import SavedModel, read_model
from roughsnn.neurons import AbstractNeuron
from roughsnn.runs.settings import FINITE, SEED, above, at_least, between, check_ranges

_NEURONS = {
    "lif": rs.StochasticLIF,
    "adaptive": rs.AdaptiveStochasticLIF,
    "quadratic": rs.StochasticQuadratic,
    "exponential": rs.StochasticExponential,
}


_RANGES = {
    "neurons": at_least(1), "layers": at_least(1), "weight": FINITE, "input_current": FINITE,
    "mu1": at_least(0), "mu2": at_least(0), "sigma": at_least(0), "v_reset": FINITE,
    "hurst": between(0, 1), "jump_rate": at_least(0),
    "v_th": FINITE, "beta": at_least(0), "tau_s": above(0), "alpha": at_least(0),
    "window": above(0), "dt0": above(0), "trials": at_least(1), "max_spikes": at_least(1),
    "seed": SEED,
}  # fmt: skip
"""What its numbers may be."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Simulate spiking neurons."""

    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """A model file, or the folder of a run with such files, all of which are simulated; `window`,
    `dt0`, `max_spikes` and `input_current` are those of the file unless given."""
    neurons: int | None = None
    """Neurons without connections, one by default; `layers` connects them."""
    neuron: Literal["lif", "adaptive", "quadratic", "exponential"] = "lif"
    """What integrates: a leak alone, with an adaptation current, or a quadratic or exponential
    upstroke."""
    layers: tuple[int, ...] = ()
    """Sizes of the layers of a feed-forward network, instead of `neurons`."""
    weight: float | None = None
    """Jump of the synaptic current of a neuron when one of the layer before it fires; 1 by
    default."""
    input_current: float | None = None
    """Constant input current (that of the potential), 1.5 by default; with layers, the first one's
    alone."""
    mu1: float = 15.0
    """Rate at which the potential follows the current, 1/time."""
    mu2: float = 5.0
    """Rate at which the synaptic current decays, 1/time."""
    sigma: float = 0.25
    """Noise of the potential, per square root of time; 0 for none."""
    hurst: float = 0.5
    """Hurst parameter of the noise, between 0 and 1: 0.5 is Brownian motion; above it the noise is
    correlated in time, below it rougher."""
    jump_rate: float = 0.0
    """Jumps of the potential by `sigma`, at random times: so many per unit of time and neuron,
    besides the other noise."""
    v_reset: float = 1.4
    """How far a spike lowers the potential."""
    v_th: float = 1.0
    """Potential at which a neuron fires at the rate 1 / tau_s."""
    beta: float = 5.0
    """How steeply the rate of firing grows with the potential, 1/potential."""
    tau_s: float = 1.0
    """Mean time to a spike at the potential v_th, time."""
    alpha: float = 0.03
    """Intensity that must build up after a spike before the next; refractoriness."""
    window: float | None = None
    """Length of a trial, time; 5 by default."""
    dt0: float | None = None
    """Step of the solver, time; 0.01 by default."""
    trials: int = 16
    """Independent trials; they are shared out among all devices."""
    max_spikes: int | None = None
    """Room for spikes in a trial, all neurons together, 200 by default; more are an error."""
    seed: int = 0
    """Seed of all random numbers."""
    x64: bool = True
    """Whether to compute in double precision."""
    output: Path = Path("runs/simulate")
    """Folder under which the run gets a numbered folder of its own."""

    def __post_init__(self):
        check_ranges(self, _RANGES)
        self.noise()
        if self.layers and self.neurons is not None:
            raise ValueError(
                f"`layers` is {self.layers} and `neurons` {self.neurons}; `layers` says the "
                "neurons of a network and `neurons` those without connections: give one of them."
            )
        if len(self.layers) < 2 and self.weight is not None:
            raise ValueError(
                f"`weight` is {self.weight} and there is no connection that has it; give the "
                "sizes of two `layers` or more."
            )
        if self.from_ is None:
            _check_step(
                0.01 if self.dt0 is None else self.dt0, 5.0 if self.window is None else self.window
            )
        else:
            own = {field.name: field.default for field in dataclasses.fields(self)}
            given = [name for name in _OF_THE_MODEL if getattr(self, name) != own[name]]
            if given:
                raise ValueError(
                    f"`{given[0]}` makes a model, and `from` names one that is made. Leave one of "
                    "them out."
                )

    def noise(self) -> AbstractNoise | None:
        """The law of the noise, `None` for the default."""
        if self.hurst == 0.5 and not self.jump_rate:
            return None
        law = rs.BrownianNoise() if self.hurst == 0.5 else rs.FractionalNoise(self.hurst)
        return law + rs.PoissonNoise(self.jump_rate) if self.jump_rate else law

    def model(self) -> AbstractNeuron:
        """The neurons, connected if there are layers."""
        count = sum(self.layers) if self.layers else (self.neurons or 1)
        neurons = _NEURONS[self.neuron](
            count, mu1=self.mu1, mu2=self.mu2, sigma=self.sigma or None, v_reset=self.v_reset,
            intensity=rs.ExponentialIntensity(self.v_th, self.beta, self.tau_s), alpha=self.alpha,
        )  # fmt: skip
        if not self.layers:
            return neurons
        weights = jnp.full((count, count), 1.0 if self.weight is None else self.weight)
        return rs.SpikingNetwork(neurons, weights, rs.layered_connections(*self.layers))

    def saved(self) -> dict[str, SavedModel]:
        """What is simulated, by the names of the files without their ending, or `""`."""
        if self.from_ is None:
            model = self.model()
            driven = np.arange(model.num_neurons) < (self.layers or (model.num_neurons,))[0]
            current = 1.5 if self.input_current is None else self.input_current
            made = SavedModel(model, jnp.where(driven, current, 0.0), 5.0, 0.01, 200)
            return {"": self._with_given(made, "")}
        path = self.from_
        found = [path] if path.is_file() else sorted(path.rglob("*.model"))
        if not found:
            raise FileNotFoundError(
                f"{path} holds no model file (*.model). Give the folder of a run that has ended, "
                "or a file of `roughsnn.io.write_model`."
            )
        root = path.parent if path.is_file() else path
        saved = {}
        for file in found:
            name = "-".join(file.relative_to(root).with_suffix("").parts)
            content = read_model(file, cast=not self.x64)
            if not isinstance(content.model, AbstractNeuron):
                raise ValueError(
                    f"{file} holds a {type(content.model).__name__}, which `simulate` does not "
                    "simulate. Read it with `roughsnn.io.read_model`, and use what belongs to it, "
                    "such as `roughsnn.gated.solve`."
                )
            if self.input_current is not None:
                content = dataclasses.replace(content, input_current=self.input_current)
            saved["" if len(found) == 1 else name] = self._with_given(content, f"{file}: ")
        return saved

    def _with_given(self, saved: SavedModel, where: str) -> SavedModel:
        given = {name: getattr(self, name) for name in ("window", "dt0", "max_spikes")}
        saved = dataclasses.replace(saved, **{k: v for k, v in given.items() if v is not None})
        for name in given:
            if getattr(saved, name) is None:
                raise ValueError(f"{where}the file does not say `{name}`. Give it.")
        _check_step(saved.dt0, saved.window, where)
        return saved


def _check_step(dt0: Any, window: Any, where: str = "") -> None:
    if not dt0 <= window:
        raise ValueError(
            f"{where}`dt0` is {dt0} and `window` {window}; a step must be no longer than the "
            "window."
        )


_OF_THE_MODEL = (
    "neurons", "neuron", "layers", "weight", "mu1", "mu2", "sigma", "v_reset", "v_th", "beta",
    "tau_s", "alpha",
)  # fmt: skip


def run(settings: Settings) -> tuple[dict[str, rs.SpikeTrains], Path]:
    """Simulate, and write settings, models, spikes, rates and rasters into a new folder.

    Returns:
        the spike trains by the name of the model, `""` where there is one, and the folder.
    """
    from roughsnn.plotting import plot_raster

    found: dict[str, rs.SpikeTrains] = {}
    with jax.enable_x64(settings.x64):
        models = settings.saved()
        with rs.RunFolder.new(settings.output, settings) as folder:
            for name, saved in models.items():
                trains = _simulate(saved, settings)
                ending = f"-{name}" if name else ""
                if settings.from_ is None:
                    fields = {
                        k: v for k, v in vars(saved).items() if k not in ("model", "versions")
                    }
                    folder.write_model("network.model", saved.model, **fields)
                folder.write_spikes(f"spikes{ending}.npz", trains)
                counts = np.asarray(trains.counts_by_neuron)
                assert saved.window is not None, "what is simulated has a window"
                rows = [
                    [trial, neuron, int(count), float(count) / saved.window]
                    for trial, neurons in enumerate(counts)
                    for neuron, count in enumerate(neurons)
                ]
                header = ["trial", "neuron", "spikes", "rate"]
                folder.write_table(f"rates{ending}.csv", header, rows)
                raster = plot_raster(trains, time_unit=saved.time_unit)
                folder.write_figure(f"raster{ending}.png", raster.figure)
                rate, unit = counts.mean() / saved.window, saved.time_unit or "unit of time"
                print(
                    f"{name + ': ' if name else ''}{counts.sum()} spikes of {trains.num_neurons} "
                    f"neurons in {settings.trials} trials, {rate:.4g} per neuron and {unit}"
                )
                found[name] = trains
    print(f"Written to {folder.path}")
    return found, folder.path


def _simulate(saved: SavedModel, settings: Settings) -> rs.SpikeTrains:
    options: dict[str, Any] = {"noise": settings.noise()}
    if saved.input_current is not None:
        options["input_current"] = saved.input_current
    return rs.simulate(
        saved.model, 0.0, saved.window, saved.dt0, key=jax.random.key(settings.seed),
        num_samples=settings.trials, max_spikes=saved.max_spikes, **options,
    )  # fmt: skip
