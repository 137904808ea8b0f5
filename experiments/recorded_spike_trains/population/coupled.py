r"""Neurons that shared slow currents drive, coupled with each other, by the cell engine.

$$
\begin{aligned}
dv_k &= \mu_k \Big(i_k + o_k + \sum_l w_{lk}\, x_l(t) - v_k\Big)\,dt, \qquad
di_k = -\mu_s\, i_k\,dt, \\
\lambda_k &= e^{v_k} / T_k,
\end{aligned}
$$

with the shared currents $x$ and the mean interval $T_k$. A spike of neuron j takes $r_j$ off its
potential, and a cell later adds the coupling $g_{jk}$ to the synaptic current $i_k$ of every neuron
k that it is connected to. Hidden neurons are like the others, but nobody recorded them.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import roughsnn as rs

from .latents import Latents
from .network import Population

CELLS = 8
"""Cells of the engine in a bin of the shared currents."""

LEAD = 10
"""Bins in which the start of a trial is forgotten: the time that is slow here."""

SYNAPSE = 0.1
"""Time in which a synaptic current decays, in units of the time that is slow here."""


class Coupled(eqx.Module):
    r"""Parameters of all neurons; hidden ones come last.

    Attributes:
        offset: $o_k$, in e-folds of the intensity, as all potentials.
        loads: $w_{lk}$, of the shared currents.
        log_leak: logarithm of the leak in units of the mean interval, $\mu_k T_k$.
        reset: $r_k$.
        couplings: $g$ of each connection.
        units: mean interval $T_k$ in seconds, not trained.
        connections: who may be coupled with whom; none without couplings.
        hidden: how many neurons are hidden.
        decay: rate $\mu_s$ of synaptic currents, 1/s.
        cell: of the engine, and the delay of a spike on its way, in seconds.
    """

    offset: Float[Array, " K"]
    loads: Float[Array, "currents K"]
    log_leak: Float[Array, " K"]
    reset: Float[Array, " K"]
    couplings: Float[Array, " E"]
    units: Float[Array, " K"]
    connections: rs.SparseConnections | None
    hidden: int = eqx.field(static=True)
    decay: float = eqx.field(static=True)
    cell: float = eqx.field(static=True)

    @classmethod
    def start(
        cls,
        population: Population,
        slow_unit: float,
        pairs: np.ndarray | None = None,
        hidden: int = 0,
        seed: int = 0,
    ) -> "Coupled":
        """From fitted neurons that take an amount off their potential at a spike: couplings are
        zero, but those of hidden neurons, which would have no derivative by themselves.

        Args:
            population: the fitted neurons.
            slow_unit: the time that is slow here, in seconds.
            pairs: from and to of each connection between recorded neurons, shape (n, 2).
            hidden: how many neurons there are beside the recorded ones. They have the medians of
                the others' parameters, loads of a third of theirs and a tenth of the recorded
                neurons to act on.
            seed: of what is drawn for them.
        """
        random = np.random.default_rng(seed)
        own = population.neurons
        num = len(own)
        of = {name: np.array([float(getattr(n, name)) for n in own]) for name in
              ("log_leak", "reset")}  # fmt: skip
        of["offset"] = np.array([float(n.offset[0]) for n in own])
        of["units"] = population.units
        of = {name: np.r_[x, np.full(hidden, np.median(x))] for name, x in of.items()}
        loads = np.stack([np.asarray(n.weights) for n in own], 1)
        spread = loads.std(1, keepdims=True) / 3
        loads = np.c_[loads, spread * random.normal(size=(len(loads), hidden))]
        coupled = np.zeros((0, 2), int) if pairs is None else pairs
        strengths = np.zeros(len(coupled))
        for extra in range(num, num + hidden):
            to = np.sort(random.permutation(num)[: max(num // 10, 1)])
            coupled = np.r_[coupled, np.c_[np.full(to.size, extra), to]]
            strengths = np.r_[strengths, random.normal(size=to.size)]
        connections = None
        if len(coupled):
            connections = rs.SparseConnections(coupled[:, 0], coupled[:, 1], num + hidden)
        return cls(
            *(jnp.asarray(x) for x in (of["offset"], loads, of["log_leak"], of["reset"])),
            jnp.asarray(strengths), jnp.asarray(of["units"]), connections, hidden,
            1 / (SYNAPSE * slow_unit), population.latents.bin / CELLS,
        )  # fmt: skip

    @property
    def num_neurons(self) -> int:
        """Recorded and hidden ones."""
        return self.offset.shape[0]

    def trained(self):
        """What is trained of it."""
        return self.offset, self.loads, self.log_leak, self.reset, self.couplings

    @property
    def leak(self) -> Float[Array, " K"]:
        r"""$\mu_k$, in 1/s."""
        return jnp.exp(self.log_leak) / self.units

    @property
    def weights(self) -> Float[Array, "K K"]:
        """All couplings, from row to column."""
        weights = jnp.zeros((self.num_neurons, self.num_neurons), self.couplings.dtype)
        if self.connections is None:
            return weights
        return weights.at[self.connections.pre, self.connections.post].set(self.couplings)

    def model(self) -> rs.StochasticLIF | rs.SpikingNetwork:
        """The same as a model of the library, in seconds."""
        # (an integrated intensity of 1e-6 is dead: the library wants some, the score has none)
        neurons = rs.StochasticLIF(
            self.num_neurons, mu1=self.leak, mu2=self.decay, sigma=None, v_reset=self.reset,
            v_th=0.0, beta=1.0, tau_s=self.units, alpha=1e-6, v0=self.offset,
        )  # fmt: skip
        if self.connections is None:
            return neurons
        return rs.SpikingNetwork(neurons, self.couplings, self.connections, axonal_delays=self.cell)

    def currents(self, path: Float[Array, "bins currents"]) -> Float[Array, "bins K"]:
        """The input current of each neuron in each bin of a path of the shared currents."""
        return path @ self.loads + self.offset[None]


class FreeRuns(eqx.Module):
    """Free-running trials that share their currents.

    Attributes:
        trains: of all neurons, one for each trial.
        path: of the shared currents, in bins.
    """

    trains: rs.SpikeTrains
    path: Float[Array, "bins currents"]


class FreeRun(eqx.Module):
    """Draws free-running trials; a function of a `Coupled` and a key, which `roughsnn.fit` calls.

    Attributes:
        step, kick, root: of the shared currents, see `Latents.step`.
        engine: that knows the connections.
        bin: of the shared currents, in seconds.
        bins: length of a part.
        parts: which follow each other, each with currents of its own from the stationary law.
        trials: how many, all with the same currents.
        room: for spikes, of a trial.
    """

    step: Float[Array, "currents currents"]
    kick: Float[Array, "currents currents"]
    root: Float[Array, "currents currents"]
    engine: rs.CellEngine
    bin: float = eqx.field(static=True)
    bins: int = eqx.field(static=True)
    parts: int = eqx.field(static=True)
    trials: int = eqx.field(static=True)
    room: int = eqx.field(static=True)

    @classmethod
    def of(
        cls, model: Coupled, latents: Latents, seconds: float, parts: int, trials: int
    ) -> "FreeRun":
        """Parts that last at least so many seconds, with room for four times the mean rates."""
        bins = math.ceil(seconds / latents.bin)
        rate = float(jnp.sum(1 / model.units))
        room = int(4 * rate * bins * latents.bin * parts) + 100
        matrices = (jnp.asarray(x) for x in latents.step())
        run = cls(*matrices, rs.CellEngine(), latents.bin, bins, parts, trials, room)
        short = run._protocol(model, jnp.zeros((1, len(latents.drift))))
        prepared = rs.CellEngine().prepared(model.model(), short, num_samples=1)
        return eqx.tree_at(lambda r: r.engine, run, prepared)

    def path(self, key: PRNGKeyArray) -> Float[Array, "bins currents"]:
        """The shared currents of all parts."""

        def part(key):
            noise = jr.normal(key, (self.bins, len(self.step)), self.step.dtype)

            def walk(x, z):
                return self.step @ x + self.kick @ z, x

            return jax.lax.scan(walk, self.root @ noise[0], noise)[1]

        return jnp.concatenate([part(k) for k in jr.split(key, self.parts)])

    def _protocol(self, model: Coupled, path) -> rs.Protocol:
        bins = len(path)
        times = self.bin * np.arange(bins)
        current = rs.CurrentOnGrid(times, model.currents(path), "previous")
        return rs.Protocol(
            0.0, bins * self.bin, model.cell, max_spikes=self.room, input_current=current
        )

    def __call__(self, model: Coupled, key: PRNGKeyArray) -> FreeRuns:
        """The trials; one that outgrows its room is flagged in `trains.overflowed`."""
        of_path, of_spikes = jr.split(key)
        path = self.path(of_path)
        trains = self.engine.spike_trains(
            model.model(), self._protocol(model, path), key=of_spikes, num_samples=self.trials,
            throw=False,
        )  # fmt: skip
        return FreeRuns(trains, path)


def generate_coupled(
    model: Coupled, latents: Latents, seconds: float, samples: int, seed: int
) -> list[list[np.ndarray]]:
    """Free-running samples, each with currents of its own: spike times of each recorded neuron, in
    seconds, from 0 on."""
    lead = LEAD * latents.bin
    run = FreeRun.of(model, latents, seconds + lead, 1, 1)
    draw = eqx.filter_jit(run)
    recorded = model.num_neurons - model.hidden
    found = []
    for number in range(samples):
        trains = draw(model, jr.fold_in(jr.key(seed), number)).trains
        times = [np.asarray(x, float) - lead for x in trains.to_lists()[0][:recorded]]
        found.append([x[(x >= 0) & (x < seconds)] for x in times])
    return found
