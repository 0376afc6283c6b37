"""Where artifacts execute; one way to get there = one file."""

from mnedge.devices._device import Device, DeviceTiming, LoadedModel, ModelInfo, Sample, get

__all__ = ["Device", "DeviceTiming", "LoadedModel", "ModelInfo", "Sample", "get"]
