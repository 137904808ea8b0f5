"""roughsnn: stochastic spiking neural networks with exact pathwise gradients."""

from .drivers import BrownianGrid as BrownianGrid
from .event_sde import AbstractEventSDE as AbstractEventSDE
from .event_sde import EventSDE as EventSDE
from .event_sde import StructuredDiffusion as StructuredDiffusion
from .networks import SpikingNetwork as SpikingNetwork
from .networks import layered_connections as layered_connections
from .neurons import LIFState as LIFState
from .neurons import StochasticLIF as StochasticLIF
from .simulate import simulate as simulate
from .simulate import simulate_solution as simulate_solution
from .solve import RESULTS as RESULTS
from .solve import EventSolution as EventSolution
from .solve import EventSolveError as EventSolveError
from .solve import eventsolve as eventsolve
from .spikes import SpikeTrains as SpikeTrains
from .spikes import first_spike_times as first_spike_times
from .spikes import marcus_lift as marcus_lift

__version__ = "0.1.0"
