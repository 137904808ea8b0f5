"""What outlives a process: checkpoints and the folder of a run."""

from .checkpoints import Checkpoint, CheckpointError, Checkpoints
from .folder import RunFolder, RunInterrupted, RunSettings

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Checkpoints",
    "RunFolder",
    "RunInterrupted",
    "RunSettings",
]
