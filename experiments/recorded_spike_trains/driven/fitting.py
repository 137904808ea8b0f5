"""A driven neuron by maximum likelihood, the choice of its form, and how certain it is."""

import dataclasses

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np

from .neuron import Driven, Form, Pieces, log_likelihood

PRIOR = 10.0
"""Standard deviation of the weights of the filter, in e-folds of the intensity for a standard
deviation of the stimulus, before anything was recorded."""

POTENTIALS, LOGARITHMS = 30.0, 1.0
"""The same of what a spike does and of the offset, in e-folds, and of logarithms of rates."""


@dataclasses.dataclass(frozen=True)
class DrivenFit:
    """A fitted neuron.

    Attributes:
        model: the parameters.
        covariance: of the trained parameters, in their order, by the curvature of the loss.
        loss: negative log-likelihood with the term of the prior.
        evaluations: of the likelihood with its derivatives.
    """

    model: Driven
    covariance: np.ndarray
    loss: float
    evaluations: int

    @property
    def errors(self) -> Driven:
        """Standard errors, where the parameters are; zero for what is not trained."""
        trained, rest = eqx.partition(self.model, self.model.trained())
        flat, unravel = jax.flatten_util.ravel_pytree(trained)
        errors = unravel(jnp.asarray(np.sqrt(np.diag(self.covariance)), flat.dtype))
        return eqx.combine(errors, jax.tree.map(jnp.zeros_like, rest))

    @property
    def weights_covariance(self) -> np.ndarray:
        """Of the weights of the filter, which come first."""
        n = self.model.weights.size
        return self.covariance[:n, :n]


def _split(model: Driven):
    return eqx.partition(model, model.trained())


def _widths(model: Driven, prior: float) -> np.ndarray:
    """Standard deviations of the prior of all trained parameters."""
    widths = jax.tree.map(lambda x: np.full(x.shape, LOGARITHMS), model)
    for name in ("offset", "reset", "adaptation"):
        of = np.full(getattr(model, name).shape, POTENTIALS)
        widths = eqx.tree_at(lambda m, name=name: getattr(m, name), widths, of)
    widths = eqx.tree_at(lambda m: m.weights, widths, np.full(model.weights.shape, prior))
    trained = eqx.partition(widths, model.trained())[0]
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(trained)])


@eqx.filter_jit
def _loss(x, model: Driven, pieces: Pieces, counted, widths):
    trained, rest = _split(model)
    start, unravel = jax.flatten_util.ravel_pytree(trained)
    here = eqx.combine(unravel(x), rest)
    return -log_likelihood(here, pieces, counted) + jnp.sum(((x - start) / widths) ** 2) / 2


_value_and_grad = eqx.filter_jit(eqx.filter_value_and_grad(_loss))


def _curvature(slope, x: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """Second derivatives, by central differences of the exact first ones."""
    rows = [(slope(x + shift) - slope(x - shift)) / (2 * step) for shift in step * np.eye(x.size)]
    return (np.stack(rows) + np.stack(rows).T) / 2


def fit_driven(
    form: Form, pieces: Pieces, counted: np.ndarray, conditions: int, prior: float = PRIOR
) -> DrivenFit:
    """The most likely parameters, by BFGS.

    Args:
        form: of the neuron.
        pieces: of the recording.
        counted: which of them are trained on.
        conditions: how many there are.
        prior: standard deviation of a parameter about its start.
    """
    from scipy.optimize import minimize

    model = Driven.start(form, pieces.features.shape[1], conditions)
    marks, widths = jnp.asarray(counted), jnp.asarray(_widths(model, prior))
    flat, unravel = jax.flatten_util.ravel_pytree(_split(model)[0])

    def value_and_grad(x):
        value, slope = _value_and_grad(jnp.asarray(x), model, pieces, marks, widths)
        value, slope = float(value), np.asarray(slope, float)
        # far from the start an intensity may overflow: a wall that a line search steps back from
        return (value, slope) if np.isfinite(value) else (1e12, np.zeros_like(slope))

    found = minimize(
        value_and_grad, np.asarray(flat, float), jac=True, method="BFGS",
        options=dict(gtol=1e-3, maxiter=400),
    )  # fmt: skip
    curvature = _curvature(lambda x: value_and_grad(x)[1], found.x)
    spread, directions = np.linalg.eigh(curvature)
    spread = np.maximum(spread, 1 / float(jnp.max(widths)) ** 2)
    covariance = directions @ np.diag(1 / spread) @ directions.T
    fitted = eqx.combine(unravel(jnp.asarray(found.x)), _split(model)[1])
    return DrivenFit(fitted, covariance, float(found.fun), int(found.nfev))
