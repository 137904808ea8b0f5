"""Error of the signature kernel against its orders, dyadic refinement and precision.

Poisson spike trains with 20 slots of which 70 % are used. The reference is the event kernel at
orders where nothing is left to truncate; the tests hold that against independent solvers.
"""

import jax
import jax.numpy as jnp
import numpy as np

from roughsnn.signatures import event_kernel_gram, signature_kernel_gram
from roughsnn.spikes import SpikeTrains, marcus_lift

from ._study import Study, format_table
from .signature_kernel_speed import poisson_trains

_EXACT = (10, 20)


def study(trains: int = 24) -> Study:
    """Measure the errors.

    Args:
        trains: trains on each side of the Grams.
    """
    jax.config.update("jax_enable_x64", True)
    figures, bounds, rows = {}, {}, []
    for neurons, scale in ((1, 1.0), (2, 1.0), (2, 0.3), (22, 1.0)):
        x, y = poisson_trains(trains, neurons, 20, 0), poisson_trains(trains, neurons, 20, 1)
        exact = np.asarray(event_kernel_gram(x, y, neuron_scale=scale, orders=_EXACT))

        def row(method, gram, estimate=np.nan, exact=exact, neurons=neurons, scale=scale):
            error = np.abs(np.asarray(gram, np.float64) / exact - 1)
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
    header = ["neurons", "jump", "method", "median error", "largest error", "estimate"]
    return Study(figures, bounds, format_table(header, rows))


def _single(trains: SpikeTrains) -> SpikeTrains:
    return SpikeTrains(
        trains.times.astype(jnp.float32), trains.neurons, 0.0, 1.0, num_neurons=trains.num_neurons
    )
