"""What outlives a process: checkpoints and the folder of a run."""

from .checkpoints import Checkpoint, CheckpointError, Checkpoints
from .folder import RunFolder, RunInterrupted
from .parts import compute_parts
from .settings import RunSettings

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Checkpoints",
    "RunFolder",
    "RunInterrupted",
    "RunSettings",
    "compute_parts",
]
