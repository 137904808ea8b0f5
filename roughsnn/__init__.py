"""roughsnn: stochastic spiking neural networks with exact pathwise gradients."""

from .conditions import ConditionsError as ConditionsError
from .conditions import ConditionsReport as ConditionsReport
from .conditions import check_conditions as check_conditions
from .drivers import BrownianGrid as BrownianGrid
from .estimators import AbstractGradientEstimator as AbstractGradientEstimator
from .estimators import Against as Against
from .estimators import GradientEstimate as GradientEstimate
from .estimators import Pathwise as Pathwise
from .estimators import PathwiseWithBoundary as PathwiseWithBoundary
from .estimators import ScoreFunction as ScoreFunction
from .event_sde import AbstractEventSDE as AbstractEventSDE
from .event_sde import EventSDE as EventSDE
from .event_sde import StructuredDiffusion as StructuredDiffusion
from .losses import ExpectedSignatureLoss as ExpectedSignatureLoss
from .losses import FirstSpikesLoss as FirstSpikesLoss
from .losses import MeanLoss as MeanLoss
from .losses import PairedTruncatedSignatureLoss as PairedTruncatedSignatureLoss
from .losses import SignatureMMDLoss as SignatureMMDLoss
from .losses import SignatureScoreLoss as SignatureScoreLoss
from .networks import SpikingNetwork as SpikingNetwork
from .networks import layered_connections as layered_connections
from .neurons import LIFState as LIFState
from .neurons import StochasticLIF as StochasticLIF
from .signatures import SignatureKernel as SignatureKernel
from .signatures import expected_signature as expected_signature
from .signatures import signature as signature
from .signatures import two_sample_test as two_sample_test
from .simulate import simulate as simulate
from .simulate import simulate_solution as simulate_solution
from .solve import RESULTS as RESULTS
from .solve import EventSolution as EventSolution
from .solve import EventSolveError as EventSolveError
from .solve import eventsolve as eventsolve
from .spikes import SpikeTrains as SpikeTrains
from .spikes import first_spike_times as first_spike_times
from .spikes import marcus_lift as marcus_lift
from .training import EarlyStop as EarlyStop
from .training import FitResult as FitResult
from .training import fit as fit
from .training import fit_many as fit_many
from .trials import Trials as Trials
from .trials import simulate_trials as simulate_trials

__version__ = "0.1.0"
