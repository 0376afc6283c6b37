"""Details of a build's page beside report.json, and measurements that a build keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mnedge.results.accuracy import AccuracyRow, MixUp
from mnedge.results.compilation import Block
from mnedge.results.latency import LatencyRow, Machine
from mnedge.results.outputs import OutputRow
from mnedge.results.parity import ParityRow
from mnedge.results.report import Int8Row, LayerBits, Report

if TYPE_CHECKING:
    from mnedge.untyped import JsonObject


@dataclass(frozen=True)
class GalleryPicture:
    """A picture of the gallery: its source, a few words, and the picture as a data URI."""

    source: str
    words: str
    image: str


@dataclass(frozen=True)
class Gallery:
    """The pictures that an artifact met worst."""

    artifact: str
    rows: tuple[GalleryPicture, ...]


@dataclass(frozen=True)
class Step:
    """A step of quantization.

    Attributes:
        name: Name of the step.
        seconds: Duration of the step.
        agreement: Agreement with float after it, 0..1; None for outputs that give no answers.
        snr_db: Signal-to-noise ratio against float after it; None without noise.
    """

    name: str
    seconds: float
    agreement: float | None = None
    snr_db: float | None = None


@dataclass(frozen=True)
class QuantizationAccount:
    """Account of a quantization: its steps and settings.

    Attributes:
        steps: The steps, in their order.
        settings: Chosen settings, by name.
        targets: Targets that share the graph.
        layers: Bits of every layer, where some have 16.
    """

    steps: tuple[Step, ...]
    settings: Mapping[str, object]
    targets: tuple[str, ...] = ()
    layers: tuple[LayerBits, ...] = ()


@dataclass(frozen=True)
class MemoryPlan:
    """The memory plan of an artifact in C: the size of the arena, and what lives in it when."""

    arena_bytes: int
    tensors: tuple[Block, ...]
    target: str = ""


@dataclass(frozen=True)
class Measured:
    """The measurements of a build's artifacts, as the cache keeps them.

    Attributes:
        accuracy: Rows of report.json.
        latency: The same.
        parity: The same.
        int8: The same.
        confusion: Mix-ups of each artifact, by its name.
        counted: Unit of the fractions in `confusion`: "pictures", "pixels" or "boxes".
        latency_samples: Milliseconds of each run, by artifact.
        warnings: Sentences about the measurements.
        gallery: The pictures that were met worst; None where the task shows none.
        outputs: Rows of report.json.
    """

    accuracy: tuple[AccuracyRow, ...]
    latency: tuple[LatencyRow, ...]
    parity: tuple[ParityRow, ...]
    int8: tuple[Int8Row, ...]
    confusion: Mapping[str, tuple[MixUp, ...]]
    counted: str
    latency_samples: Mapping[str, tuple[float, ...]]
    warnings: tuple[str, ...]
    gallery: Gallery | None
    outputs: tuple[OutputRow, ...] = ()

    @staticmethod
    def of_stored(values: JsonObject) -> JsonObject:
        """Brings the rows into the shape of the fields."""
        return Report.of_stored(values)


@dataclass(frozen=True)
class Details:
    """Details that report.html shows beside report.json.

    Attributes:
        confusion: Mix-ups of each artifact, by its name.
        counted: Unit of the fractions in `confusion`: "pictures", "pixels" or "boxes".
        latency_samples: Milliseconds of each run, by artifact.
        warnings: Sentences that a reader should know.
        gallery: The pictures that were met worst.
        steps: Steps of the first quantization.
        recipe: The recipe's values by key.
        tools: Versions by package.
        machine: Machine of the measurements.
        dataset: Description of the data set, in a sentence.
        plan: The memory plan of the first artifact in C.
    """

    confusion: Mapping[str, tuple[MixUp, ...]] = field(default_factory=dict)
    counted: str = "pictures"
    latency_samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    gallery: Gallery | None = None
    steps: tuple[Step, ...] = ()
    recipe: Mapping[str, object] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    machine: Machine | None = None
    dataset: str = ""
    plan: MemoryPlan | None = None
