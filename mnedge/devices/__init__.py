"""Devices that run artifacts; one way to reach a device = one file."""

from mnedge.devices._device import (
    CutTimingError,
    Device,
    DeviceTiming,
    LoadedModel,
    ModelInfo,
    Sample,
    TakesSeveral,
    get,
)
from mnedge.devices._several import side_by_side

__all__ = [
    "CutTimingError",
    "Device",
    "DeviceTiming",
    "LoadedModel",
    "ModelInfo",
    "Sample",
    "TakesSeveral",
    "get",
    "side_by_side",
]
