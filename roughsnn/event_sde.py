"""The event SDE: drift, diffusion, event function, transition and marks.

The definition is that of Holberg & Salvi 2024, section 3: between events the state follows

    dy = mu(y) dt + sigma(y) o dX,

the next event is the first time at which a component of the event function E reaches zero from
below, and at an event of component k the state jumps, y -> T_k(y, u), with a fresh mark u.
"""

import abc
from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from ._random import uniform_from_key


class AbstractTimeFunction(eqx.Module):
    """A function of time that can also be counted from the start of a window, so that it is as
    sharp in a window that begins late as in one that begins at zero. Passed as `args` of
    [`roughsnn.eventsolve`][] (or `input_current`), it is evaluated in the window's own time."""

    @abc.abstractmethod
    def __call__(self, t: Float[Array, ""]) -> Array:
        """The value at the time t."""

    @abc.abstractmethod
    def since(self, t0: float) -> "AbstractTimeFunction":
        """The same function of the time since `t0`."""

    def within(self, begin: Float[Array, ""], end: Float[Array, ""]) -> "AbstractTimeFunction":
        """The function for one step of a solver, from `begin` to `end`: where it jumps at the end
        of the step, it has its limit from the left there. Only so does a scheme that looks at both
        ends of its steps keep its order. By default the function itself, which is right where it is
        continuous."""
        return self

    def held(self, t: float) -> Callable:
        """The function that has its value at `t` at all times."""
        value = self(jnp.asarray(t))
        return lambda _: value


class AbstractEventSDE(eqx.Module):
    """A stochastic differential equation with event discontinuities.

    Subclass it (a neuron model, a network) or build one from functions with
    [`roughsnn.EventSDE`][]. All methods are written for one sample; batches are made by
    `jax.vmap` or [`roughsnn.simulate`][].
    """

    @abc.abstractmethod
    def drift(self, t: Float[Array, ""], y: PyTree, args: PyTree) -> PyTree:
        """The drift mu(t, y), of the structure of `y`."""

    def diffusion(self, t: Float[Array, ""], y: PyTree, args: PyTree) -> PyTree:
        """The diffusion sigma(t, y), in one of two forms: an array whose trailing axes are those of
        the driver (a tree of such arrays where the driver is a tree like the state), or a
        `lineax.AbstractLinearOperator` that maps an increment of the driver to an increment of
        the state, such as [`roughsnn.StructuredDiffusion`][]. Only called when there is a
        driver."""
        raise ValueError(
            f"{type(self).__name__} has no diffusion, but a driver was given: pass `driver=None`, "
            "or define `diffusion` and `noise_shape`."
        )

    @property
    def noise_shape(self) -> PyTree | None:
        """Shape of the Brownian motion that drives the equation (a tuple, or a tree of
        `jax.ShapeDtypeStruct`); `None` for an equation without noise."""
        return None

    @abc.abstractmethod
    def event(self, t: Float[Array, ""], y: PyTree, args: PyTree) -> Float[Array, " K"]:
        """The K values of the event function E(t, y); component k fires when it reaches zero from
        below."""

    @abc.abstractmethod
    def transition(
        self, t: Float[Array, ""], y: PyTree, event_index: Int[Array, ""], mark: Any, args: PyTree
    ) -> PyTree:
        """The state T_k(y, u) right after an event of component k = `event_index`, given the
        state just before it and a mark u."""

    @property
    def num_recorded(self) -> int | None:
        """Components of the event function from this number on are silent: their events act on the
        state, but are neither recorded nor counted (the arrival of a delayed spike, the end of a
        refractory period). `None`: there are no silent components."""
        return None

    @property
    def silent_per_event(self) -> int:
        """How many silent events one recorded event can bring about, at most."""
        return 0

    @property
    def event_rises(self) -> bool:
        """Whether every component of the event function only ever rises between events, as an
        integrated intensity does. The solver then need not look for one that rises through zero
        and falls again within a step."""
        return False

    @property
    def resets(self) -> bool:
        """Whether the transition at an event takes the component that fires below zero. `False`
        for events that are upward crossings of zero (a spike of a Hodgkin--Huxley neuron): the
        component goes on above zero, and can fire again once it has fallen below."""
        return True

    @property
    def fastest_rate(self) -> Float[Array, ""] | None:
        """The largest rate at which the drift takes the state to its equilibrium, 1 over the
        shortest time constant, where that is known: a solve with steps longer than that constant
        ends with `RESULTS.step_too_long`. `None`: not known, nothing is checked."""
        return None

    @property
    def default_solver(self) -> dfx.AbstractSolver | None:
        """The solver of a solve that names none. `None`: `diffrax.Euler()`, or `diffrax.Heun()`
        where the diffusion depends on the state."""
        return None

    def overflowed(self, y: PyTree) -> Bool[Array, ""] | None:
        """Whether the state has lost something for which it had no room, which ends the solve with
        `RESULTS.too_many_arrivals`; `None` for a state that cannot."""
        return None

    def mark(self, key: PRNGKeyArray) -> Any:
        """A fresh mark u for one event. The key belongs to the pair (component, number of its
        events so far) of this sample, so that a change of the order in which two components fire
        does not exchange their randomness. Default: one uniform number in (0, 1)."""
        return uniform_from_key(key)


class EventSDE(AbstractEventSDE):
    """An event SDE from functions.

    Attributes:
        drift_fn: `(t, y, args) -> dy`.
        event_fn: `(t, y, args) -> Float[Array, "K"]`, all event values at once.
        transition_fn: `(t, y, event_index, mark, args) -> y`.
        diffusion_fn: `(t, y, args) ->` array, tree of arrays or lineax operator; `None` for none.
        noise: shape of the Brownian motion, needed with `diffusion_fn`.
        mark_fn: `key -> mark`; `None` draws one uniform number.
        crossings: whether events are upward crossings of zero without a reset: after one the
            component goes on above zero, and it can fire again once it has fallen below. Then
            `transition_fn` may be `None`, for a state that goes on as it is.

    Raises:
        TypeError: something that must be a function is none.
        ValueError: one of `diffusion_fn` and `noise` without the other.

    Parameters that are to be differentiated are carried by the functions (`equinox.Module`s with
    `__call__`, `jax.tree_util.Partial`) or passed in `args`.

    !!! example

        ```python
        import jax.numpy as jnp
        import roughsnn as rs

        bouncing_ball = rs.EventSDE(
            drift_fn=lambda t, y, args: jnp.array([y[1], -9.81]),
            event_fn=lambda t, y, args: -y[:1],
            transition_fn=lambda t, y, k, u, args: jnp.array([1e-9, -0.8 * y[1]]),
        )
        ```
    """

    drift_fn: Callable
    event_fn: Callable
    transition_fn: Callable | None = None
    diffusion_fn: Callable | None = None
    noise: PyTree | None = eqx.field(static=True, default=None)
    mark_fn: Callable | None = None
    crossings: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        for name in ("drift_fn", "event_fn", "transition_fn"):
            if name == "transition_fn" and self.crossings and self.transition_fn is None:
                continue
            if not callable(getattr(self, name)):
                raise TypeError(
                    f"`{name}` must be a function, got {type(getattr(self, name)).__name__}."
                )
        if (self.diffusion_fn is None) != (self.noise is None):
            raise ValueError(
                "`diffusion_fn` and `noise` go together: `noise` is the shape of the Brownian "
                f"motion that `diffusion_fn` multiplies. Got diffusion_fn={self.diffusion_fn}, "
                f"noise={self.noise}."
            )

    def drift(self, t, y, args):
        return self.drift_fn(t, y, args)

    def diffusion(self, t, y, args):
        if self.diffusion_fn is None:
            return super().diffusion(t, y, args)
        return self.diffusion_fn(t, y, args)

    @property
    def noise_shape(self):
        return self.noise

    @property
    def resets(self):
        return not self.crossings

    def event(self, t, y, args):
        return self.event_fn(t, y, args)

    def transition(self, t, y, event_index, mark, args):
        if self.transition_fn is None:
            return y
        return self.transition_fn(t, y, event_index, mark, args)

    def mark(self, key):
        return super().mark(key) if self.mark_fn is None else self.mark_fn(key)


class StructuredDiffusion(lx.AbstractLinearOperator):
    """A diffusion given by its product with an increment of the driver, so that no matrix is
    built.

    Args:
        coefficients (PyTree): tree of arrays, the numbers that the product uses.
        product (Callable): static function `(coefficients, dX) -> dy`.
        y (PyTree): a state, for the structure of the result.
        dx (PyTree): structure of the increment, a tree of `jax.ShapeDtypeStruct`.
    """

    coefficients: PyTree[Array]
    product: Callable = eqx.field(static=True)
    structures: tuple = eqx.field(static=True)

    def __init__(self, coefficients, product, y, dx):
        self.coefficients = coefficients
        self.product = product
        out = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), y)
        out_leaves, out_def = jax.tree.flatten(out)
        in_leaves, in_def = jax.tree.flatten(dx)
        self.structures = (tuple(in_leaves), in_def, tuple(out_leaves), out_def)

    def mv(self, vector):
        return self.product(self.coefficients, vector)

    def as_matrix(self):
        return lx.FunctionLinearOperator(self.mv, self.in_structure()).as_matrix()

    def transpose(self):
        return lx.FunctionLinearOperator(self.mv, self.in_structure()).transpose()

    def in_structure(self):
        leaves, treedef = self.structures[:2]
        return jax.tree.unflatten(treedef, leaves)

    def out_structure(self):
        leaves, treedef = self.structures[2:]
        return jax.tree.unflatten(treedef, leaves)


# lineax asks every operator about its structure
for _query in (
    lx.is_symmetric, lx.is_diagonal, lx.is_tridiagonal, lx.has_unit_diagonal,
    lx.is_lower_triangular, lx.is_upper_triangular, lx.is_positive_semidefinite,
    lx.is_negative_semidefinite,
):  # fmt: skip
    _query.register(StructuredDiffusion)(lambda operator: False)
lx.linearise.register(StructuredDiffusion)(lambda operator: operator)
lx.materialise.register(StructuredDiffusion)(
    lambda operator: lx.materialise(lx.FunctionLinearOperator(operator.mv, operator.in_structure()))
)
lx.conj.register(StructuredDiffusion)(lambda operator: operator)
