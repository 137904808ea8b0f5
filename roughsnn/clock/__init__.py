"""Networks by the clock: spikes at the ends of steps, on the host or with surrogate derivatives.

`__all__` is empty: users meet it as [`roughsnn.simulate_on_grid`][] and
[`roughsnn.ClockEngine`][].
"""

from ._blocks import Blocks as Blocks
from ._blocks import blocks_of as blocks_of
from ._blocks import covered as covered
from ._steps import HALF as HALF
from ._steps import Steps as Steps
from ._steps import chosen_solver as chosen_solver
from ._steps import on_own_clock as on_own_clock
from ._surrogate_run import arriving_inputs as arriving_inputs
from ._surrogate_run import input_steps as input_steps
from ._surrogate_run import run_trial as run_trial
from ._surrogate_steps import SurrogateSteps as SurrogateSteps
from ._trains import listed_spikes as listed_spikes
from ._trains import never_by_time as never_by_time

__all__ = []
