"""Exact spikes of leaky integrate-and-fire neurons on a grid of cells, of all neurons side by side.

`__all__` is empty: users meet it as [`roughsnn.CellEngine`][].
"""

from ._arrivals import Listed as Listed
from ._arrivals import listed_inputs as listed_inputs
from ._arrivals import merged as merged
from ._cell import Rates as Rates
from ._cell import Rooms as Rooms
from ._cell import State as State
from ._escape import Firing as Firing
from ._escape_drive import drive_of as drive_of
from ._escape_felt import Propagators as Propagators
from ._escape_forward import EscapeGiven as EscapeGiven
from ._escape_forward import EscapeResponse as EscapeResponse
from ._escape_forward import Lags as Lags
from ._escape_forward import Marks as Marks
from ._escape_run import respond_by_intensity as respond_by_intensity
from ._fan_compiled import is_compiled as is_compiled
from ._fan_given import FanGiven as FanGiven
from ._fan_given import FanNeed as FanNeed
from ._fan_given import FanRooms as FanRooms
from ._fan_given import FanWiring as FanWiring
from ._fan_given import in_one_round as in_one_round
from ._fan_run import collected_records as collected_records
from ._fan_run import respond_by_fans as respond_by_fans
from ._fans import fans_of as fans_of
from ._forward import Given as Given
from ._forward import Response as Response
from ._intensity_compiled import CellWidth as CellWidth
from ._intensity_compiled import IntensityGiven as IntensityGiven
from ._intensity_compiled import computes_intensities as computes_intensities
from ._intensity_compiled import exponential_intensity as exponential_intensity
from ._intensity_compiled import respond_by_compiled_intensity as respond_by_compiled_intensity
from ._layout import Layout as Layout
from ._layout import dense_weights as dense_weights
from ._layout import is_known as is_known
from ._layout import layout_of as layout_of
from ._layout import neurons_of as neurons_of
from ._layout import strays as strays
from ._matrix_compiled import InputSpikes as InputSpikes
from ._matrix_compiled import MatrixGiven as MatrixGiven
from ._matrix_compiled import Wiring as Wiring
from ._matrix_compiled import computes_matrices as computes_matrices
from ._matrix_compiled import respond_by_matrices as respond_by_matrices
from ._responses import lifted as lifted
from ._run import respond as respond
from ._trains import collected as collected
from ._trains import side_by_side as side_by_side

__all__ = []
