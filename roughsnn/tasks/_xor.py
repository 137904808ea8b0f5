"""Exclusive or of two spike times."""

import numpy as np

from roughsnn.training import LabelledData


def latency_xor() -> LabelledData:
    """Exclusive or of two bits: the four patterns $(a, b, 0, 1)$ with the class a xor b.

    As latencies ([`latency_spikes`][roughsnn.tasks.latency_spikes]) a bit is an early or a late
    spike, and the last two inputs, always early and always late, tell the time. Published with
    spikes from 0.15 to 2 synaptic time constants:
    `latency_spikes(data.inputs, first=0.15, last=2.0, t1=4.0)`.

    Returns:
        inputs of shape (4, 4), 0 or 1, and targets 0 or 1.

    Reference: Göltz et al. (2021), Fast and energy-efficient neuromorphic deep learning with
    first-spike times, Nat. Mach. Intell. 3:823, for the code; Göltz et al. (2025), Nat. Commun.
    16, for the task.
    """
    bits = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)
    inputs = np.concatenate([bits, np.tile([0.0, 1.0], (4, 1))], axis=1)
    return LabelledData(inputs, (bits[:, 0] != bits[:, 1]).astype(np.int32))
