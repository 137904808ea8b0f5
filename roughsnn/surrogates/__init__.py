"""Surrogate derivatives of a spike: what stands for the derivative of a step function."""

from ._base import AbstractSurrogate as AbstractSurrogate
from ._base import Relaxed as Relaxed
from ._shapes import Arctangent as Arctangent
from ._shapes import AsymptoticSuperSpike as AsymptoticSuperSpike
from ._shapes import EsserTriangle as EsserTriangle
from ._shapes import FastSigmoid as FastSigmoid
from ._shapes import SigmoidDerivative as SigmoidDerivative
from ._shapes import SuperSpike as SuperSpike

__all__ = [
    "AbstractSurrogate",
    "Arctangent",
    "AsymptoticSuperSpike",
    "EsserTriangle",
    "FastSigmoid",
    "Relaxed",
    "SigmoidDerivative",
    "SuperSpike",
]
