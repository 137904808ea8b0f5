"""Error of the signature kernel and its derivatives, beside closed forms and other codes.

First the values: closed forms of straight lines and of single spikes, inner products of truncated
signatures by signax, the smallest eigenvalues of Grams, and pySigLib where that is installed. Then
the derivatives: beside central differences, of second order too, and the two modes beside each
other. Last the error against tolerance, precision and dyadic refinement on Poisson spike trains
with 20 slots of which 70 % are used; the reference there is the event kernel at orders where
nothing is left to truncate.
"""

import functools
import importlib.util

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from scipy import special

from roughsnn.signatures import event_kernel_gram, signature, signature_kernel_gram
from roughsnn.spikes import SpikeTrains, marcus_lift

from ._study import Study, format_table
from .signature_kernel_speed import moved, poisson_trains

_EXACT = (10, 20)
# Orders at which the truncated kernel's own differences agree with the exact rule to 1e-9. Second
# derivatives are those of the rule, whatever the orders, and take long to compile with high ones.
_SMOOTH = (7, 9)
_SMOOTH_TWICE = (3, 4)


def study(trains: int = 24, sets: int = 100) -> Study:
    """Measure the errors.

    Args:
        trains: trains on each side of the Grams.
        sets: random sets of trains whose smallest eigenvalue is looked at.
    """
    jax.config.update("jax_enable_x64", True)
    checks = [
        *_closed_forms(),
        *_truncated_signatures(),
        _smallest_eigenvalue(sets),
        *_pysiglib(trains),
        *_derivatives(),
    ]
    figures = {name: float(value) for name, value, _ in checks}
    bounds = {name: bound for name, _, bound in checks if bound}
    shown = [[name.replace("_", " "), value, bound or "-"] for name, value, bound in checks]
    errors, limits, rows = _errors(trains)
    header = ["neurons", "jump", "method", "median error", "largest error", "estimate"]
    table = format_table(["check", "largest error", "must be"], shown)
    table += "\n\n" + format_table(header, rows)
    return Study(figures | errors, bounds | limits, table)


# ---- values


def _closed_forms():
    """Bessel functions of straight lines; published values of single spikes, to ten decimals."""
    errors = []
    for length in (0.03, 1.0, 3.0, 10.0):
        silent = SpikeTrains.from_lists([[[]]], t0=0.0, t1=length)
        gram = event_kernel_gram(silent, orders=(30, 2))
        errors.append(_relative(gram, special.i0(2 * length)))
    yield "straight_lines_I0", max(errors), "<= 1e-12"
    # Two neurons that spike once each, with jumps of inner product -z and no time.
    errors = []
    for z in (0.01, 1.0, 2.0):
        x, y = (
            SpikeTrains(jnp.zeros((1, 1)), jnp.full((1, 1), k), 0.0, 1.0, num_neurons=2)
            for k in (0, 1)
        )
        mixing = z * jnp.asarray([[1.0, -1.0], [-1.0, 1.0]])
        gram = event_kernel_gram(x, y, time_scale=0.0, neuron_scale=mixing, orders=(2, 24))
        errors.append(_relative(gram, special.j0(2 * z**0.5)))
    yield "straight_lines_J0", max(errors), "<= 1e-12"
    x = SpikeTrains.from_lists([[[0.3]], [[0.6]], [[]]], t0=0.0, t1=1.0)
    aa, ab, bb, silent = 4.4502455529, 4.2565510960, 4.3599372523, 2.279585302336
    exact = np.array([[aa, ab, silent], [ab, bb, silent], [silent, silent, silent]])
    # Half of the last decimal.
    yield "single_spikes", np.abs(event_kernel_gram(x, orders=_EXACT) - exact).max(), "<= 6e-11"


def _truncated_signatures():
    """Inner products of signatures up to level 12; what is above weighs less than 1e-14."""
    for neurons, spikes in ((1, 8), (2, 6)):
        x, y = (poisson_trains(4, neurons, spikes, seed) for seed in (0, 1))
        scales = {"time_scale": 0.5, "neuron_scale": 0.12}
        first, second = (signature(marcus_lift(t, scale=0.12, time_scale=0.5), 12) for t in (x, y))
        exact = 1 + first @ second.T
        for orders in ((6, 12), (12, 16)):
            gram = event_kernel_gram(x, y, orders=orders, **scales)
            name = f"signatures_to_depth_12_{neurons}_neurons_order_{orders[1]}"
            yield name, _relative(gram, exact), "<= 1e-12"
        gram = event_kernel_gram(_single(x), _single(y), tolerance=1e-7, **scales)
        yield f"signatures_to_depth_12_{neurons}_neurons_float32", _relative(gram, exact), "<= 1e-6"


def _smallest_eigenvalue(sets: int):
    """Smallest eigenvalue in units of the largest, over random sets of trains and jumps."""
    worst = np.inf
    for seed in range(sets):
        random = np.random.default_rng(seed)
        x = poisson_trains(20, (1, 2, 5)[seed % 3], 12, seed, used=random.uniform(0.1, 1.0))
        # The orders of the tolerance 1e-6 at unit jumps.
        gram = event_kernel_gram(
            x, neuron_scale=jnp.asarray(random.uniform(0.1, 1)), orders=(5, 11)
        )
        eigenvalues = np.linalg.eigvalsh(gram)
        worst = min(worst, eigenvalues[0] / eigenvalues[-1])
    return f"smallest_eigenvalue_of_{sets}_sets", worst, ">= -1e-10"


def _pysiglib(trains: int):
    """The event kernel beside power series on a path, by pySigLib, where that is installed."""
    if importlib.util.find_spec("pysiglib") is None:
        return
    import pysiglib  # pyright: ignore[reportMissingImports]

    for neurons, scale in ((1, 1.0), (2, 1.0), (2, 0.3), (22, 1.0)):
        x, y = poisson_trains(trains, neurons, 20, 0), poisson_trains(trains, neurons, 20, 1)
        lifts = (np.array(marcus_lift(t, scale=scale)) for t in (x, y))
        exact = pysiglib.sig_kernel_gram(*lifts, method="polynomial", order=24)
        for order in (12, 20):
            gram = event_kernel_gram(x, y, neuron_scale=scale, orders=(10, order))
            # Twelve orders leave 1e-9 of unit jumps of one neuron, twenty nothing.
            bound = "<= 1e-12" if order == 20 or scale < 1 else ""
            yield (
                f"pysiglib_{neurons}_neurons_jump_{scale:g}_order_{order}",
                _relative(gram, exact),
                bound,
            )


# ---- derivatives


def _derivatives():
    """Of a weighted sum of a Gram, in the times, the window and the scales."""
    x, y = poisson_trains(3, 2, 6, 0), poisson_trains(2, 2, 5, 1)
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2)))
    real = jnp.isfinite(x.times)

    def value(point, orders):
        trains = moved(x, jnp.where(real, point["times"], jnp.inf))
        trains = SpikeTrains(trains.times, x.neurons, 0.0, point["end"], num_neurons=2)
        other = SpikeTrains(y.times, y.neurons, 0.0, point["end"], num_neurons=2)
        gram = event_kernel_gram(
            trains,
            other,
            time_scale=point["time_scale"],
            neuron_scale=point["neuron_scale"],
            orders=orders,
            max_simultaneous=1,
        )
        return jnp.sum(weights * gram)

    point = {
        "times": jnp.where(real, x.times, 0.5),
        "end": jnp.asarray(1.1),
        "time_scale": jnp.asarray(0.7),
        "neuron_scale": jnp.asarray([0.3, 0.5]),
    }
    flat, unravel = jax.flatten_util.ravel_pytree(point)

    def f(flat, orders=_SMOOTH):
        return value(unravel(flat), orders)

    gradient = jax.jit(jax.grad(f))
    exact = np.asarray(gradient(flat))
    by_differences = _differences(jax.jit(f), flat)
    yield (
        "gradient_beside_central_differences",
        np.abs(exact - by_differences).max() / np.abs(exact).max(),
        "<= 1e-7",
    )
    direction = jnp.asarray(np.random.default_rng(1).normal(size=flat.size))
    slope = jax.jit(lambda d: jax.jvp(f, (flat,), (d,))[1])(direction)
    yield "forward_beside_reverse_mode", _relative(slope, exact @ direction), "<= 1e-12"
    gradient = jax.grad(functools.partial(f, orders=_SMOOTH_TWICE))
    forward = np.asarray(jax.jit(jax.jacfwd(gradient))(flat))
    reverse = np.asarray(jax.jit(jax.jacrev(gradient))(flat))
    size = np.abs(forward).max()
    yield "second_derivatives_in_both_modes", np.abs(forward - reverse).max() / size, "<= 1e-7"
    by_differences = _differences(jax.jit(gradient), flat)
    yield (
        "second_derivatives_beside_central_differences",
        np.abs(forward - by_differences).max() / size,
        "<= 1e-7",
    )


def _differences(f, flat, step=1e-5):
    """Central differences of `f` in each coordinate, along the last axis."""
    columns = []
    for i in range(flat.size):
        shift = np.zeros(flat.size)
        shift[i] = step
        columns.append((np.asarray(f(flat + shift)) - np.asarray(f(flat - shift))) / (2 * step))
    return np.stack(columns, axis=-1)


# ---- error against tolerance, precision and refinement


def _errors(trains: int):
    figures, bounds, rows = {}, {}, []
    for neurons, scale in ((1, 1.0), (2, 1.0), (2, 0.3), (22, 1.0)):
        x, y = poisson_trains(trains, neurons, 20, 0), poisson_trains(trains, neurons, 20, 1)
        exact = np.asarray(event_kernel_gram(x, y, neuron_scale=scale, orders=_EXACT))

        def row(method, gram, estimate=np.nan, exact=exact, neurons=neurons, scale=scale):
            error = np.abs(np.asarray(gram, np.float64) / exact - 1)
            estimate = "-" if np.isnan(estimate) else estimate
            rows.append([neurons, scale, method, np.median(error), error.max(), estimate])
            return float(error.max())

        for tolerance in (1e-3, 1e-6, 1e-9, 1e-12):
            gram, estimate = event_kernel_gram(
                x, y, neuron_scale=scale, tolerance=tolerance, return_error=True
            )
            name = f"event_{neurons}_neurons_scale_{scale:g}_tolerance_{tolerance:g}"
            figures[name] = row(f"event, {tolerance:g}", gram, float(jnp.max(estimate)))
            bounds[name] = f"<= {tolerance:g}"
        name = f"event_{neurons}_neurons_scale_{scale:g}_float32"
        gram = event_kernel_gram(
            _single(x), _single(y), neuron_scale=np.float32(scale), tolerance=1e-7
        )
        figures[name] = row("event, float32", gram)
        bounds[name] = "<= 1e-06"
        lifts = [marcus_lift(t, scale=scale) for t in (x, y)]
        for order in range(4):
            gram = signature_kernel_gram(*lifts, dyadic_order=order)
            row(f"finite differences, {order}", gram)
    return figures, bounds, rows


def _relative(found, exact) -> float:
    return float(np.max(np.abs(np.asarray(found, np.float64) / np.asarray(exact) - 1)))


def _single(trains: SpikeTrains) -> SpikeTrains:
    return SpikeTrains(
        trains.times.astype(jnp.float32), trains.neurons, 0.0, 1.0, num_neurons=trains.num_neurons
    )
