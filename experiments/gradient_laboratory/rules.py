"""The rules of the laboratory, with the engine that each of them takes."""

import dataclasses
from typing import Literal

import diffrax as dfx
import jax.random as jr

import roughsnn as rs

from .feedback import ErrorFeedback, SpikeTimingRule
from .tasks import Task

Unbiased = Literal["for this loss", "for its averaged loss", "no"]

SURROGATE = rs.SuperSpike(5.0)
WEIGHT_SCALE, CURRENT_SCALE = 0.05, 1.0
"""Of perturbations: of weights, and of the current in each step."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule with its engine.

    Attributes:
        estimator: turns a simulation and a loss into a direction.
        engine: how trials are computed.
        step: of the grid.
        unbiased: what theory says its mean is: the gradient of the loss; that of the loss averaged
            over the perturbation; or another direction.
    """

    estimator: rs.AbstractGradientEstimator
    engine: rs.AbstractEngine
    step: float
    unbiased: Unbiased = "no"


def rules_of(task: Task) -> dict[str, Rule]:
    """All rules by name, those that refuse the task among them."""
    cell, fine, step = task.steps
    clock = rs.ClockEngine(surrogate=SURROGATE)
    event = rs.EventEngine(dfx.Bosh3(), rs.StochasticAdjoint())
    plain = rs.EventEngine(event.solver, rs.NoGradient())
    hidden = task.model.num_neurons - len(task.outputs)
    random = jr.normal(jr.key(11), (len(task.outputs), hidden)) * 0.3 + 1.0
    white = rs.WhitePerturbation(CURRENT_SCALE)
    loss: Unbiased = "for this loss"
    averaged: Unbiased = "for its averaged loss"
    smooth: Unbiased = "no" if task.jumps else loss
    return {
        "exact, cell engine": Rule(rs.Pathwise(), rs.CellEngine("leave-out"), cell, smooth),
        "exact, event engine": Rule(rs.Pathwise(), event, fine, smooth),
        "surrogate": Rule(rs.Pathwise(), clock, step),
        "random feedback": Rule(ErrorFeedback(random, task.outputs), clock, step),
        "symmetric feedback": Rule(ErrorFeedback(None, task.outputs), clock, step),
        "weight perturbation": Rule(rs.WeightPerturbation(WEIGHT_SCALE), clock, step, averaged),
        "node perturbation": Rule(rs.NodePerturbation(white), clock, step, averaged),
        "conductance perturbation": Rule(rs.ConductancePerturbation(white), clock, step, averaged),
        "BP-STDP": Rule(SpikeTimingRule(task.outputs), clock, step),
        "exact with boundary term": Rule(rs.PathwiseWithBoundary(), event, fine, loss),
        "score function": Rule(rs.ScoreFunction(), plain, fine, loss),
        "spike removal": Rule(rs.SpikeRemoval(removals=2), plain, fine, loss),
        "conditional": Rule(rs.Conditional(), event, fine, loss),
    }
