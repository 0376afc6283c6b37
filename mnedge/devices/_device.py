"""Interface of every device: it loads an artifact and runs it over pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from mnedge import registry
from mnedge.errors import InputError, ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mnedge.runtimes import TensorSpec
    from mnedge.untyped import AnyArray


@dataclass(frozen=True)
class ModelInfo:
    """A model as the device's runtime loaded it.

    Attributes:
        version: Runtime, version and delegate, e.g. "ai-edge-litert 2.3.0 (XNNPACK)".
        partitions: Delegate partitions; None where the notion does not exist.
        input: The first input.
        outputs: All outputs in file order.
        emulated: Whether the device's instructions are translated: its outputs count, its times do not.
        others: The further inputs in file order; only this machine takes models that have some.
    """

    version: str
    partitions: int | None
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    emulated: bool = False
    others: tuple[TensorSpec, ...] = ()

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """All inputs in file order."""
        return (self.input, *self.others)


@dataclass(frozen=True)
class Sample:
    """A timed inference.

    Attributes:
        ms: Its time, in milliseconds.
        at_s: Time of its end, in seconds from the start of the timed inferences.
        temperature_c: Temperature of the SoC right after it, in degrees Celsius; None where it is not told.
        clock_mhz: Clock of the fastest core right after it; None where it is not told.
    """

    ms: float
    at_s: float
    temperature_c: float | None = None
    clock_mhz: float | None = None


@dataclass(frozen=True)
class DeviceTiming:
    """Latency of a model on a device, sample by sample.

    Attributes:
        info: The model as the device's runtime loaded it.
        samples: In the order of time, warm-up left out.
        throttled: Power and temperature flags of the board afterwards; None where it reports none.
        notes: Facts that belong beside the figure: SoC, governor, battery, delegate, pinning.
    """

    info: ModelInfo
    samples: tuple[Sample, ...]
    throttled: tuple[str, ...] | None = None
    notes: Mapping[str, object] = field(default_factory=dict)

    @property
    def unstable(self) -> tuple[str, ...]:
        """Reasons not to rely on the figure; empty if there are none."""
        reasons = [words for words in self.throttled or () if "occurred" not in words]
        clocks = [sample.clock_mhz for sample in self.samples if sample.clock_mhz is not None]
        if clocks and min(clocks) < 0.98 * max(clocks):
            reasons.append(f"clock between {min(clocks):.0f} and {max(clocks):.0f} MHz")
        return tuple(reasons)


class CutTimingError(ToolError):
    """A timing that its device did not bring to its end.

    Attributes:
        samples: Samples until then; they show sustained speed, but are no figure of their own.
    """

    def __init__(self, message: str, samples: Sequence[Sample]) -> None:
        super().__init__(message)
        self.samples = tuple(samples)


class LoadedModel(Protocol):
    """A model that is loaded on a device."""

    info: ModelInfo

    def run(self, images: Iterable[AnyArray], count: int) -> Iterator[list[AnyArray]]:
        """Runs images one by one and gives all raw outputs of each, in order.

        Args:
            images: Tensors of the input's shape and dtype each; see `runtimes._runtime.encoded` for pictures.
            count: Number of images.
        """
        ...


@runtime_checkable
class TakesSeveral(Protocol):
    """A loaded model on a device that takes models of several inputs."""

    def run_several(self, samples: Iterable[tuple[AnyArray, ...]], count: int) -> Iterator[list[AnyArray]]:
        """Runs samples one by one and gives all raw outputs of each, in order.

        Args:
            samples: A tensor an input, in file order, of its shape and dtype.
            count: Number of images.
        """
        ...


class Device(Protocol):
    """A place where artifacts execute."""

    @property
    def name(self) -> str:
        """Name in reports: the URI."""
        ...

    @property
    def identity(self) -> str:
        """The device itself: the same for two names that lead to one device, where it tells."""
        ...

    def load(self, path: Path, runtime: str) -> AbstractContextManager[LoadedModel]:
        """Loads an artifact in a runtime; leaving the context unloads it and cleans up.

        Raises:
            ToolError: The device or its runtime cannot be had.
            InputError: The runtime refuses the file.
        """
        ...

    def interrupt(self) -> None:
        """Makes what another thread runs on the device end soon, with a ToolError there."""
        ...


def get(uri: str) -> Device:
    """Opens a device by URI: `local`, or `scheme://…` where the scheme is the name of a file here.

    Raises:
        InputError: No such scheme, or the URI is not of its form.
        ToolError: The device cannot be reached.
    """
    scheme, separator, _ = uri.partition("://")
    if not separator and uri != "local":
        raise InputError(
            f"{uri!r} is no device URI; a board is ssh://[user@]host[:port], a phone adb://[serial], a browser "
            "browser://chromium, this machine local"
        )
    connect: Callable[[str], Device] = registry.load("mnedge.devices", scheme, "connect")
    return connect(uri)
