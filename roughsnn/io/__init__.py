"""Spike trains in the formats of the field, CSV, NPZ, neo and NWB, networks as NIR, both ways, and
models in files of their own.

Everything that is in a `SpikeTrains` with one batch axis comes back as it was, in double precision.
A file appears whole or not at all, and one that exists is replaced only when asked for.
"""

from ._csv import read_csv, write_csv
from ._model import SavedModel, model_bytes, read_model, write_model
from ._neo import from_neo, read_neo, to_neo
from ._nir import read_nir, write_nir
from ._nir_in import NIRModel, from_nir
from ._nir_out import to_nir
from ._npz import holds_trains, npz_bytes, read_npz, write_npz
from ._nwb import write_nwb
from ._nwb_in import read_nwb
from ._nwb_units import read_nwb_units
from ._phy import holds_sorted, read_phy
from ._series import Series, read_series
from ._table import SpikeTable, TableFormat, convert_times, read_table
from ._table_columns import UNITS
from ._table_labels import number_labels

__all__ = [
    "UNITS",
    "NIRModel",
    "SavedModel",
    "Series",
    "SpikeTable",
    "TableFormat",
    "convert_times",
    "from_neo",
    "from_nir",
    "holds_sorted",
    "holds_trains",
    "model_bytes",
    "npz_bytes",
    "number_labels",
    "read_csv",
    "read_model",
    "read_neo",
    "read_nir",
    "read_npz",
    "read_nwb",
    "read_nwb_units",
    "read_phy",
    "read_series",
    "read_table",
    "to_neo",
    "to_nir",
    "write_csv",
    "write_model",
    "write_nir",
    "write_npz",
    "write_nwb",
]
