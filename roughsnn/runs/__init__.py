"""What outlives a process: files that are whole or absent, checkpoints, the folder of a run."""

from .checkpoints import Checkpoint, CheckpointError, Checkpoints
from .folder import RunFolder, RunInterrupted, RunSettings
from .whole_file import whole_file

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Checkpoints",
    "RunFolder",
    "RunInterrupted",
    "RunSettings",
    "whole_file",
]
