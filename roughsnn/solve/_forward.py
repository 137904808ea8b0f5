"""Engines that carry derivatives forward with the path."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from ._adjoints import AbstractEventAdjoint, Settings, direct_solution
from ._guard import guard_derivatives
from ._problem import freeze


class ForwardMode(AbstractEventAdjoint):
    """Forward sensitivities: the derivative with respect to every perturbed parameter is carried
    along with the path.

    `jax.grad` and [`roughsnn.fit`][] work as with any engine; what they need of the past is one
    number for each parameter and output, whatever the number of steps. The time is that of a
    solve for each parameter, so that it is for few of them. It is exact: the same derivative as
    that of [`roughsnn.ReverseMode`][], to rounding.
    """

    def solve(self, inputs, settings):
        solution, seen = _forward(inputs, settings=settings)
        return guard_derivatives(inputs, settings, solution, seen)


@eqx.filter_custom_jvp
def _forward(inputs, *, settings: Settings):
    return _same_axes(direct_solution(inputs, settings))


@_forward.def_jvp
def _(primals, tangents, *, settings: Settings):
    (inputs,), (inputs_dot,) = primals, tangents
    moved, rest = _perturbed(inputs, inputs_dot)

    def solve(moved):
        return _split(direct_solution(eqx.combine(moved, rest), settings))

    flat, unravel = ravel_pytree(moved)
    seeds = jax.vmap(unravel)(jnp.eye(flat.size, dtype=flat.dtype))
    out, sensitivities = _along(solve, moved, seeds)
    direction = ravel_pytree(inputs_dot)[0]
    arrays_dot = jax.tree.map(
        lambda s: jnp.tensordot(direction.astype(s.dtype), s, axes=1), sensitivities
    )
    return out, _without_padding(out, arrays_dot)


class EligibilityTraces(AbstractEventAdjoint):
    r"""Online learning: each synapse keeps a trace of what it did to its own neuron.

    With `recursion="local"` the trace of a parameter of neuron b (a weight into b, its leak, its
    reset, ...) is the derivative $(V, I, S)$ of the state of b, carried forward between the spikes
    of b, at which

    $$d\tau = -S / \lambda(v), \qquad V \to V - \mu_1 v_{\mathrm{reset}}\, d\tau, \qquad
    S \to -\lambda(v - v_{\mathrm{reset}})\, d\tau$$

    (for the stochastic LIF neuron; in general by the theorem on pathwise gradients). What a
    shifted spike does to *other* neurons is left out. The derivative of a spike time with respect
    to the parameters of its own neuron is exact where its spikes do not come back to it through
    the network: for every neuron of a feed-forward network. The derivative with respect to
    parameters of other neurons is taken as zero, so the gradient of a loss of the output spikes is
    exact for the last layer, and the hidden layers learn only from what a loss says of their own
    spikes. There is one trace for each synapse, whatever the number of spikes and steps.

    Exact here means for the equation. The solver cuts a step of every neuron at a spike of any of
    them, and where it is cut changes the end of the step by its discretisation error, also in
    neurons that no synapse joins. The other engines are the derivative of the scheme and carry this
    effect from neuron to neuron; local traces hold the cuts of other neurons' spikes fixed and are
    without it. The difference vanishes with `dt0` (with noise like its square root) and can be as
    large as the derivative itself where several spikes fall into one step: refine `dt0` if the
    engines disagree.

    With `recursion="full"` the derivatives spread from neuron to neuron at spikes and cuts
    (real-time recurrent learning): the same derivative as that of [`roughsnn.ReverseMode`][], to
    rounding, for small networks.

    Only event times have derivatives in the local form; all other outputs have none. (Holberg &
    Salvi 2024, on online learning; the traces are those of the theorem, restricted to one neuron.)

    Attributes:
        recursion: `"local"` or `"full"`.
    """

    recursion: str = eqx.field(static=True, default="local")

    def __check_init__(self):
        if self.recursion not in ("local", "full"):
            raise ValueError(f'`recursion` must be "local" or "full", got {self.recursion!r}.')

    def check(self, sde, subs, save_event_states):
        if self.recursion == "local" and sde.num_recorded is not None:
            raise ValueError(
                '`adjoint` EligibilityTraces(recursion="local") has no traces of delays or '
                f'refractory periods, which {type(sde).__name__} has: use recursion="full" or '
                "another engine."
            )
        if self.recursion == "local" and not hasattr(sde, "neuron_axes"):
            raise TypeError(
                "`adjoint` EligibilityTraces needs a neuron model or a network, whose parameters "
                f"belong to neurons (`neuron_axes`), got {type(sde).__name__}: use "
                'EligibilityTraces(recursion="full") or another engine.'
            )

    def solve(self, inputs, settings):
        solve = _forward if self.recursion == "full" else _local
        solution, seen = solve(inputs, settings=settings)
        return guard_derivatives(inputs, settings, solution, seen)


@eqx.filter_custom_jvp
def _local(inputs, *, settings: Settings):
    return _same_axes(direct_solution(inputs, settings))


@_local.def_jvp
def _(primals, tangents, *, settings: Settings):
    (inputs,), (inputs_dot,) = primals, tangents
    moved, rest = _perturbed(inputs, inputs_dot)
    axes = _axes(inputs)
    leaves, treedef = jax.tree.flatten(moved)
    directions = jax.tree.leaves(inputs_dot)
    dots = jax.tree.structure(inputs).flatten_up_to(inputs_dot)
    places = [a for a, dot in zip(jax.tree.leaves(axes), dots, strict=True) if dot is not None]
    seeds, sizes = _seeds(leaves, places)

    def solve(moved):
        return _split(direct_solution(eqx.combine(moved, rest), settings, local=True))

    out, sensitivities = _along(solve, moved, jax.tree.unflatten(treedef, seeds))
    solution = sensitivities[0]
    traces, neurons = solution.event_times, jnp.maximum(out[0].event_indices, 0)
    total, begin = jnp.zeros_like(out[0].event_times), 0
    for dot, axis, size in zip(directions, places, sizes, strict=True):
        trace = traces[begin : begin + size]
        if axis < 0:
            here = dot.reshape(size, 1)
        else:
            here = jnp.moveaxis(dot, axis, -1).reshape(size, dot.shape[axis])[:, neurons]
        total = total + jnp.sum(trace * here.astype(trace.dtype), axis=0)
        begin += size
    nothing = jax.tree.map(lambda s: jnp.zeros(s.shape[1:], s.dtype), sensitivities)
    return out, _without_padding(out, eqx.tree_at(lambda s: s[0].event_times, nothing, total))


def _axes(inputs) -> PyTree[int]:
    """Along which axis of every array of the inputs the neurons lie; -1 for none."""
    sde, y0, args, driver = inputs

    def first(x):
        return 0 if jnp.ndim(x) and x.shape[0] == sde.num_neurons else -1

    shared = jax.tree.map(lambda _: -1, driver)
    if hasattr(args, "neuron_axes"):
        args_axes = args.neuron_axes(sde.num_neurons)
    else:
        args_axes = jax.tree.map(first, args)
    return sde.neuron_axes(), jax.tree.map(lambda _: 0, y0), args_axes, shared


def _seeds(leaves, places):
    """Directions in which the neurons are perturbed side by side, one for each entry of a
    parameter that is not an axis of neurons; they lie along a new first axis."""
    sizes = [
        leaf.size if axis < 0 else leaf.size // leaf.shape[axis]
        for leaf, axis in zip(leaves, places, strict=True)
    ]
    total, begin, seeds = sum(sizes), 0, []
    for leaf, axis, size in zip(leaves, places, sizes, strict=True):
        units = jnp.eye(size, dtype=leaf.dtype)
        if axis < 0:
            block = units.reshape((size, *leaf.shape))
        else:
            rest = leaf.shape[:axis] + leaf.shape[axis + 1 :]
            block = jnp.expand_dims(units.reshape((size, *rest)), axis + 1)
            block = jnp.broadcast_to(block, (size, *leaf.shape))
        seed = jnp.zeros((total, *leaf.shape), leaf.dtype)
        seeds.append(seed.at[begin : begin + size].set(block))
        begin += size
    return seeds, sizes


def _perturbed(inputs, inputs_dot):
    """The inputs that are differentiated, and the rest."""
    outer = jax.tree.structure(inputs)
    is_moved = jax.tree.unflatten(outer, [d is not None for d in outer.flatten_up_to(inputs_dot)])
    return eqx.partition(inputs, is_moved)


def _without_padding(out, arrays_dot):
    """Padding has no derivative, whatever a loss makes of it."""
    arrays = eqx.filter(out, eqx.is_inexact_array)
    return jax.tree.map(lambda x, d: jnp.where(jnp.isfinite(x), d, 0), arrays, arrays_dot)


def _split(result):
    """The arrays of a result that have derivatives, and the result itself."""
    solution, seen = result
    result = (solution, freeze(seen))
    return eqx.filter(result, eqx.is_inexact_array), result


def _along(solve, moved, seeds):
    """The result, and its derivatives along every seed, in one pass over the path."""

    def both(seed):
        _, derivative, result = jax.jvp(solve, (moved,), (seed,), has_aux=True)
        return result, derivative

    result, derivatives = jax.vmap(both, out_axes=(None, 0))(seeds)
    return _same_axes(result), derivatives


def _same_axes(result):
    """The result, every array of it with the axes of the batch if any has them: JAX wants the rule
    of a derivative to return what the function itself does, axes and all."""
    arrays, rest = eqx.partition(result, eqx.is_array)
    firsts = [jnp.ravel(x)[:1] for x in jax.tree.leaves(arrays)]
    token = sum(jnp.sum(x != x, dtype=jnp.int32) for x in firsts)
    return eqx.combine(jax.tree.map(lambda x: jnp.where(token < 0, x, x), arrays), rest)
