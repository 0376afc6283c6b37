"""Where artifacts execute; one way to get there = one file."""

from mnedge.devices._device import Device, LoadedModel, ModelInfo, get

__all__ = ["Device", "LoadedModel", "ModelInfo", "get"]
