"""Spike trains in the formats of the field: CSV, NPZ, neo and NWB, in and out.

Everything that is in a `SpikeTrains` with one batch axis comes back as it was, in double precision.
A file appears whole or not at all, and one that exists is replaced only when asked for.
"""

from ._csv import read_csv, write_csv
from ._neo import from_neo, to_neo
from ._npz import npz_bytes, read_npz, write_npz
from ._nwb import read_nwb, write_nwb

__all__ = [
    "from_neo",
    "npz_bytes",
    "read_csv",
    "read_npz",
    "read_nwb",
    "to_neo",
    "write_csv",
    "write_npz",
    "write_nwb",
]
