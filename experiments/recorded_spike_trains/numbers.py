"""What was found about a neuron, as numbers with units and standard errors."""

import jax.random as jr
import numpy as np

from .certainty import Estimate, estimates
from .law import moments_and_jacobian
from .models import describe
from .problem import Plan
from .training import Trained


def numbers_of(
    trained: Trained, plan: Plan, unit: float, conditions: list[str], seed: int
) -> dict[str, Estimate]:
    """Parameters of a fit, then mean and variation of its intervals in each condition.

    Args:
        trained: the fit.
        plan: its sizes.
        unit: the model's unit of time in seconds.
        conditions: their names.
        seed: of the noise.
    """
    import jax.flatten_util
    import jax.numpy as jnp

    certainty, x = trained.certainty, trained.values
    flat, unravel = jax.flatten_util.ravel_pytree(trained.parameters)

    def described(x):
        return describe(unravel(jnp.asarray(x, flat.dtype)), unit, conditions)

    found = estimates(described, x, certainty)
    key = jr.fold_in(jr.key(seed), 5)
    values, slopes = moments_and_jacobian(flat, trained.parameters, key, plan, plan.paths)
    values, slopes = np.asarray(values, float), np.asarray(slopes, float)
    for c, condition in enumerate(conditions):
        for k, (name, scale) in enumerate(
            (("mean interval of the model, {} (s)", unit), ("its coefficient of variation, {}", 1))
        ):
            gradient = slopes[c, k] * scale
            found[name.format(condition)] = Estimate(
                values[c, k] * scale, certainty.error(gradient), certainty.told(gradient)
            )
    return found
