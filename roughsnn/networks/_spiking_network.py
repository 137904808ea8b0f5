"""Networks of neurons: synapses, delays, refractory periods, inputs."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._checks import IntLike, whole_number
from ..neurons import AbstractNeuron, InputConductances, check_conductances, parameter
from ._arguments import checked_connections, checked_signs
from ._arrivals import NEVER, empty, over, passing, sent, taken_out, waiting
from ._conditions import check_network
from ._connections import SparseConnections
from ._inputs import network_noise
from ._state import NetworkState
from ._synapses import Conductances, ConductanceSynapses
from ._wiring import AbstractWiring


class SpikingNetwork(AbstractWiring):
    r"""Neurons coupled by synapses: when neuron k fires, $i^j \to i^j + w_{kj}$ for all j.

    The neurons may be of any model, with parameters of their own. Synapses are dense (a matrix of
    weights, with a mask) or sparse (a list), where a spike costs its own synapses only; both give
    the same spikes. Everything else is optional:

    - *Conductances*: `synapses=ConductanceSynapses(...)`.
    - *Dale's law*: with `signs`, `weights` are magnitudes; the weight is $\pm |w|$.
    - *Delays*, trainable: a spike of neuron k at $\tau$ reaches j at
      $\tau + d_k + d_{kj}$, an event of its own with the derivative
      $d\tau + dd_k + dd_{kj}$, so that gradients through delays are exact. Spikes on their way
      lie in a buffer of `max_pending` places; one more ends the solve with
      `RESULTS.too_many_arrivals`. A delay that training takes below zero acts as zero.
    - *Absolute refractory periods*: for a time $t_k$ after its spike neuron k cannot fire. An
      intensity stands still in this time while the potential goes on, so that noise still commutes
      with the transition; a neuron with a hard threshold keeps its potential.
    - *Input spikes*: with `input_weights`, a spike of input n moves $i^j$ by $w^{in}_{nj}$; give
      them to `simulate(input_spikes=...)`. With `input_delays` it does so after a delay, of any
      length and trainable, since what comes from outside is known beforehand.

    What of the theorem's conditions can be seen without a simulation is checked when the network
    is built: positive delays and refractory periods, synapses that do not move the event function,
    noise that is tangent to the event surface and commutes with the transition. A network whose
    parameters are not known yet (inside a JAX transformation) is taken as it is.

    Every spike, and every arrival, cuts the steps of all neurons, and the derivative of a scheme of
    low order feels where. Without noise take a solver of order two or more, the default of neurons
    with a hard threshold: with many events the gradient of Euler's scheme can be far from that of
    the equation while its spike times are close.

    The state is that of the neurons, or a [`roughsnn.NetworkState`][] where there are conductances,
    delays or refractory periods.

    Attributes:
        neurons: the population, any neuron model of the library.
        weights: $w$, of shape (K, K), from row to column; with sparse connections of shape (E,).
            A trainable leaf.
        connections: a boolean mask of shape (K, K), where there is a synapse (default everywhere;
            weights outside it have no effect and no gradient), or
            [`roughsnn.SparseConnections`][].
        signs: +1 or -1 for each neuron, excitatory or inhibitory; then `weights` must not be
            negative.
        synapses: [`roughsnn.ConductanceSynapses`][]; default: currents.
        axonal_delays: $d_k > 0$, a number or shape (K,).
        synaptic_delays: $d_{kj} > 0$, a number or of the shape of `weights`. Each synapse's spike
            is then an event, while an axonal delay costs one for each spike.
        refractory: $t_k > 0$, a number or shape (K,).
        input_weights: shape (N, K).
        input_delays: not negative: a number, one for each input, of shape (N,), or one for each
            synapse of an input, of shape (N, K).
        max_pending: room for delayed spikes on their way, of all neurons together.

    Raises:
        ConditionsError: the network breaks a condition of the theorem on pathwise gradients, with
            `conditions="check"`; `"ignore"` builds it all the same.
        TypeError: `neurons` or `synapses` of the wrong kind.
        ValueError: an argument of the wrong shape or outside its range, named with its value.
    """

    neurons: AbstractNeuron
    weights: Float[Array, "..."]
    connections: Bool[Array, "K K"] | SparseConnections | None
    signs: Int[Array, " K"] | None
    synapses: ConductanceSynapses | None
    axonal_delays: Float[Array, "..."] | None
    synaptic_delays: Float[Array, "..."] | None
    refractory: Float[Array, "..."] | None
    input_weights: Float[Array, "N K"] | None
    input_delays: Float[Array, "..."] | None
    # the synapses as a list, where single ones are asked for
    listed: SparseConnections | None
    max_pending: int = eqx.field(static=True)

    def __init__(
        self,
        neurons: AbstractNeuron,
        weights,
        connections=None,
        *,
        signs=None,
        synapses=None,
        axonal_delays=None,
        synaptic_delays=None,
        refractory=None,
        input_weights=None,
        input_delays=None,
        max_pending: IntLike | None = None,
        conditions: str = "check",
    ):
        if not isinstance(neurons, AbstractNeuron):
            raise TypeError(f"`neurons` must be a neuron model, got {type(neurons).__name__}.")
        if synapses is not None and not isinstance(synapses, ConductanceSynapses):
            raise TypeError(
                "`synapses` must be a ConductanceSynapses, or None for current synapses, got "
                f"{type(synapses).__name__}."
            )
        if conditions not in ("check", "ignore"):
            raise ValueError(f'`conditions` must be "check" or "ignore", got {conditions!r}.')
        k = neurons.num_neurons
        each = ((), (k,))
        self.neurons, self.synapses = neurons, synapses
        self.connections = checked_connections(connections, k)
        is_list = isinstance(self.connections, SparseConnections)
        shape = (len(self.connections),) if is_list else (k, k)
        self.signs = checked_signs(signs, k)
        self.weights = parameter(
            "weights", weights, shapes=(shape,), non_negative=signs is not None
        )

        def times(name, value, shapes):
            return None if value is None else parameter(name, value, positive=True, shapes=shapes)

        self.axonal_delays = times("axonal_delays", axonal_delays, each)
        self.synaptic_delays = times("synaptic_delays", synaptic_delays, ((), shape))
        self.refractory = times("refractory", refractory, each)
        self.input_weights = None
        if input_weights is not None:
            array = jnp.asarray(input_weights)
            shapes = ((*array.shape[:1], k),)
            self.input_weights = parameter("input_weights", input_weights, shapes=shapes)
        self.input_delays = self._checked_input_delays(input_delays)
        self.listed = self.connections if is_list else None
        if not is_list and self._is_delayed:
            mask = np.ones((k, k), bool) if self.connections is None else self.connections
            self.listed = SparseConnections.from_mask(mask)
        self.max_pending = self._room(max_pending)
        if conditions == "check":
            check_network(self)

    def _checked_input_delays(self, delays):
        if delays is None:
            return None
        if self.input_weights is None:
            raise ValueError(
                "`input_delays` are those of `input_weights`, and the network has none."
            )
        n, k = self.input_weights.shape
        return parameter("input_delays", delays, non_negative=True, shapes=((), (n,), (n, k)))

    def _room(self, max_pending):
        if not self._is_delayed:
            return 0
        if max_pending is None:
            if self.synaptic_delays is None:
                return max(16, 2 * self.num_neurons)
            return max(64, 8 * self._listed_synapses.most_per_neuron)
        return whole_number("max_pending", max_pending, 1)

    # --- what kind of network it is

    @property
    def num_neurons(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.neurons.num_neurons

    @property
    def num_inputs(self) -> int:
        """How many input trains the network takes."""
        return 0 if self.input_weights is None else self.input_weights.shape[0]

    @property
    def delays_inputs_by_synapse(self) -> bool:
        """Whether each synapse of an input has a delay of its own."""
        return self.input_delays is not None and self.input_delays.ndim == 2

    @property
    def num_input_rows(self) -> int:
        """How many rows `input_rows` has."""
        return self.num_inputs * (self.num_neurons if self.delays_inputs_by_synapse else 1)

    @property
    def input_rows(self) -> Float[Array, "R K"] | None:
        """What an arrival from outside brings to each neuron: a row for each input, or, where
        each synapse of an input has a delay of its own, number n K + k for that from input n to
        neuron k."""
        weights = self.input_weights
        if weights is None or not self.delays_inputs_by_synapse:
            return weights
        own = jnp.eye(self.num_neurons, dtype=weights.dtype)
        return (weights[:, :, None] * own[None]).reshape(-1, self.num_neurons)

    @property
    def _is_extended(self) -> bool:
        return self._is_delayed or self.refractory is not None or self.synapses is not None

    @property
    def num_recorded(self):
        return self.num_neurons if self._is_delayed or self.refractory is not None else None

    @property
    def event_rises(self):
        # so do the arrivals and the ends of refractory periods
        return self.neurons.event_rises

    @property
    def default_solver(self):
        return self.neurons.default_solver

    @property
    def fastest_rate(self):
        rate = self.neurons.fastest_rate
        if rate is None or self.synapses is None:
            return rate
        return jnp.maximum(rate, self.synapses.fastest_rate)

    @property
    def silent_per_event(self) -> int:
        arrivals = 0
        if self._is_delayed:
            arrivals = 1 if self.synaptic_delays is None else self._listed_synapses.most_per_neuron
        return arrivals + (self.refractory is not None)

    @property
    def takes_conductances(self) -> bool:
        return self.synapses is not None

    def check_input(self, args):
        super().check_input(args)
        if isinstance(args, InputConductances):
            for name, value in zip(
                ("excitatory", "inhibitory"), args.at(jnp.zeros(())), strict=True
            ):
                check_conductances(name, value, self.num_neurons)

    @property
    def dead_intensity(self):
        # estimators go from spike to spike and know of no silent events: `simulate_trials` says so
        return None if self.num_recorded is not None else self.neurons.dead_intensity

    def neuron_axes(self):
        axes = jax.tree.map(lambda _: -1, self)
        # weights[k, j] belongs to the neuron j that it leads to
        to = 1 if self.weights.ndim == 2 else -1
        axes = eqx.tree_at(lambda m: (m.neurons, m.weights), axes, (self.neurons.neuron_axes(), to))
        if self.input_weights is not None:
            axes = eqx.tree_at(lambda m: m.input_weights, axes, 1)
        if self.delays_inputs_by_synapse:
            axes = eqx.tree_at(lambda m: m.input_delays, axes, 1)
        return axes

    # --- the event SDE

    def initial_state(self, key):
        y = self.neurons.initial_state(key)
        if not self._is_extended:
            return y
        k, dtype = self.num_neurons, jnp.result_type(*jax.tree.leaves(y))
        return NetworkState(
            y,
            None if self.synapses is None else self.synapses.start(k, dtype),
            empty(self.max_pending, dtype) if self._is_delayed else None,
            None if self.refractory is None else jnp.full(k, NEVER, dtype),
        )

    def drift(self, t, y, args):
        if not self._is_extended:
            return self.neurons.drift(t, y, args)
        conductances = None
        if self.synapses is not None:
            given = y.conductances
            if isinstance(args, InputConductances):
                given = Conductances(*(g + more for g, more in zip(given, args.at(t), strict=True)))
            current = self.synapses.current(given, y.neurons.v)
            args = self.neurons.current_into(args, t, current)
            conductances = self.synapses.drift(y.conductances)
        neurons = self.neurons.drift(t, y.neurons, args)
        if self.refractory is not None:
            neurons = self.neurons.hold(neurons, waiting(y.held_for))
        arrivals = held_for = None
        if y.arrivals is not None:
            arrivals = jax.tree.map(jnp.zeros_like, y.arrivals)
            arrivals = arrivals._replace(left=passing(y.arrivals.left))
        if y.held_for is not None:
            held_for = passing(y.held_for)
        return NetworkState(neurons, conductances, arrivals, held_for)

    @property
    def noise_shape(self):
        return self.neurons.noise_shape

    def diffusion(self, t, y, args):
        if not self._is_extended and self.input_weights is None:
            return self.neurons.diffusion(t, y, args)
        return network_noise(self, t, y, args)

    def event(self, t, y, args):
        if not self._is_extended:
            return self.neurons.event(t, y, args)
        values = [self.neurons.event(t, y.neurons, args)]
        if y.arrivals is not None:
            values.append(over(y.arrivals.left))
        if y.held_for is not None:
            values.append(over(y.held_for))
        return jnp.concatenate(values)

    def overflowed(self, y):
        return y.arrivals.lost > 0 if self._is_delayed else None

    def mark(self, key):
        return self.neurons.mark(key)

    def transition(self, t, y, event_index, mark, args):
        k = self.num_neurons
        if not self._is_extended:
            y = self.neurons.transition(t, y, event_index, mark, args)
            return self.neurons.receive(y, self._jump(event_index, jnp.asarray(True)))
        is_spike = event_index < k
        who = jnp.minimum(event_index, k - 1)
        fired = self.neurons.transition(t, y.neurons, who, mark, args)
        y = y._replace(
            neurons=jax.tree.map(lambda a, b: jnp.where(is_spike, a, b), fired, y.neurons)
        )
        if not self._is_delayed:
            y = self._deliver(y, who, is_spike)
        else:
            place = event_index - k
            arrives = (place >= 0) & (place < self.max_pending)
            what = y.arrivals.what[jnp.clip(place, 0, self.max_pending - 1)].astype(jnp.int32)
            y = self._deliver(y, what, arrives)
            delays, what, count = self._sendings(who)
            arrivals = taken_out(y.arrivals, place)
            arrivals = sent(arrivals, delays, what, jnp.where(is_spike, count, 0))
            y = y._replace(arrivals=arrivals)
        if self.refractory is not None:
            assert y.held_for is not None
            own = jnp.arange(k, dtype=jnp.int32)
            held = jnp.where(own == event_index, self.refractory, y.held_for)
            held = jnp.where(own == event_index - k - self.max_pending, NEVER, held)
            y = y._replace(held_for=held.astype(y.held_for.dtype))
        return y

    def receive(self, y, jump):
        if not self._is_extended:
            return self.neurons.receive(y, jump)
        return self._receive(y, jump, jnp.maximum(jump, 0), jnp.minimum(jump, 0))

    def hold(self, dy, held):
        if not self._is_extended:
            return self.neurons.hold(dy, held)
        return dy._replace(neurons=self.neurons.hold(dy.neurons, held))

    def fire(self, t, y, fires, mark, args):
        if not self._is_extended:
            return self.neurons.fire(t, y, fires, mark, args)
        return y._replace(neurons=self.neurons.fire(t, y.neurons, fires, mark, args))

    # --- synapses

    def _receive(self, y: NetworkState, total, plus, minus) -> NetworkState:
        if self.synapses is None:
            return y._replace(neurons=self.neurons.receive(y.neurons, total))
        return y._replace(conductances=self.synapses.receive(y.conductances, plus, minus))

    def _deliver(self, y: NetworkState, what, happens) -> NetworkState:
        """The state after what a spike brings: all that a neuron sends, or one synapse's."""
        if self.synapses is None:
            return self._receive(y, self._jump(what, happens), None, None)
        plus = self._jump(what, happens, lambda w: jnp.maximum(w, 0))
        minus = self._jump(what, happens, lambda w: jnp.minimum(w, 0))
        return self._receive(y, None, plus, minus)
