"""Fitness of a board for measurements, and repairs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge.devices._web_modules import ENGINES
from mnedge.errors import InputError, ToolError
from mnedge.results.device import RuntimeTrial

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from typing import Protocol

    from mnedge.devices._device import LoadedModel
    from mnedge.results.device import BoardFacts, BrowserFacts, PhoneFacts

    class _Loads(Protocol):
        def load(self, path: Path, runtime: str) -> AbstractContextManager[LoadedModel]: ...


# Packages of which one brings a runtime.
_PACKAGES = {
    "litert": ("ai-edge-litert", "tflite-runtime", "@litertjs/core"),
    "onnxruntime": ("onnxruntime", "onnxruntime-web"),
}
_HOT_C = 75.0
_LITTLE_MEMORY_BYTES = 200 << 20
_LITTLE_DISK_BYTES = 64 << 20
_LOW_BATTERY_PERCENT = 20


def try_runtimes(
    device: _Loads, packages: Mapping[str, str | None], probes: Mapping[str, Path]
) -> dict[str, RuntimeTrial]:
    """Loads a small model in each runtime that is installed.

    Args:
        device: The board, phone or browser.
        packages: Version of each package there; None where it is missing.
        probes: A model for each runtime's name.

    Returns:
        What each runtime does, by its name.
    """
    installed = {runtime: any(packages.get(name) for name in names) for runtime, names in _PACKAGES.items()}
    tried: dict[str, RuntimeTrial] = {}
    for runtime, path in probes.items():
        if not installed[runtime]:
            tried[runtime] = RuntimeTrial(works=False, says="not installed")
            continue
        try:
            with device.load(path, runtime) as model:
                info = model.info
                tried[runtime] = RuntimeTrial(works=True, says=info.version, partitions=info.partitions)
        except (InputError, ToolError) as exc:
            tried[runtime] = RuntimeTrial(works=False, says=str(exc))
    return tried


def phone_advice(facts: PhoneFacts, tried: Mapping[str, RuntimeTrial], missing: str | None) -> list[str]:
    """Lists repairs of a phone before figures are taken, the most urgent first; empty if none is needed.

    Args:
        facts: The phone's facts about itself.
        tried: Result of `try_runtimes`; empty if benchmark_model measures.
        missing: Reason why nothing measures there; None if something does.
    """
    found = [missing] if missing else []
    if tried and not any(runtime.works for runtime in tried.values()):
        found.append(
            "Python is there, but no runtime works in it: "
            + "; ".join(f"{name}: {runtime.says}" for name, runtime in tried.items())
        )
    if facts.thermal_status not in (None, "none"):
        found.append(f"the phone is hot (thermal status {facts.thermal_status}): let it cool; latency is unreliable")
    level = facts.battery_percent
    if level is not None and level < _LOW_BATTERY_PERCENT and not facts.charging:
        found.append(f"the battery is at {level} %, and phones slow down to save it: plug it in")
    return found


def browser_advice(facts: BrowserFacts, tried: Mapping[str, RuntimeTrial]) -> list[str]:
    """Lists repairs of a browser before figures are taken, the most urgent first; empty if none is needed."""
    found = []
    for name, runtime in tried.items():
        if runtime.says == "not installed":
            found.append(f"{ENGINES[name].title} is missing: {ENGINES[name].advice(Path(facts.modules))}")
        elif not runtime.works:
            found.append(f"{ENGINES[name].title} is installed but does not work: {runtime.says}")
    if not facts.relaxed_simd:
        found.append("the browser has no relaxed SIMD: LiteRT.js is slower and has 1 thread there; take a newer one")
    return found


def advice(facts: BoardFacts, tried: Mapping[str, RuntimeTrial], uri: str) -> list[str]:
    """Lists repairs before figures are taken, the most urgent first; empty if none is needed."""
    found = []
    if not any(runtime.works for runtime in tried.values()):
        found.append(f"no runtime works: {shlex.join(['mnedge', 'device', 'setup', uri])}")
    for name, runtime in tried.items():
        if not runtime.works and runtime.says != "not installed":
            found.append(f"{name} is installed but does not work: {runtime.says}")
        elif runtime.partitions == 0:
            found.append(f"{name} computes without XNNPACK there ({runtime.says}); figures say so")
    for words in facts.throttled or ():
        fix = "use the official power supply and a short cable" if "voltage" in words else "add a heat sink or a fan"
        found.append(f"the board reports {words}: {fix}; latency is unreliable")
    governor = facts.governor
    if governor not in (None, "performance"):
        found.append(
            f"the governor is {governor}, so clocks follow load; for steady figures: echo performance | sudo tee "
            "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        )
    temperature_c = facts.temperature_c
    if temperature_c is not None and temperature_c > _HOT_C:
        found.append(f"{temperature_c:.0f} °C before any work: let it cool, or add a heat sink")
    available = facts.memory_available_bytes
    if available is not None and available < _LITTLE_MEMORY_BYTES:
        found.append(f"only {available >> 20} MiB of memory are free: stop other programs")
    if facts.disk_free_bytes < _LITTLE_DISK_BYTES:
        found.append(f"only {facts.disk_free_bytes >> 20} MiB of disk are free: make room, or name ?tmp=DIR")
    return found
