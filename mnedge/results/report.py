"""report.json: what a build made and what was measured on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from mnedge.artifact import Artifact, Format, Io, Precision
from mnedge.choices import DEFAULT_TASK
from mnedge.errors import InputError
from mnedge.files import sha256, size_bytes
from mnedge.foreign import is_folder
from mnedge.results import shown, stored
from mnedge.results.accuracy import AccuracyRow
from mnedge.results.latency import LatencyRow
from mnedge.results.outputs import OutputRow
from mnedge.results.parity import ParityRow
from mnedge.results.stored import ABSENT

if TYPE_CHECKING:
    from mnedge.untyped import JsonObject

SCHEMA = 1
_HELP = "give the folder of a build, or its report.json"


@dataclass(frozen=True)
class VariantRow:
    """The network and its cost.

    Attributes:
        family: v1, v2, v3-small, v3-large, or -minimalistic of the last two; None for a model of another architecture.
        alpha: Width multiplier; None likewise.
        resolution: Side of the input, or its height, pixels; 0 for a model that takes no picture.
        classes: Number of outputs.
        head: "classifier", or the head of another task.
        output_stride: Output stride of the backbone.
        parameters: Trained numbers.
        macs: Multiply-adds of one picture.
    """

    family: str | None
    alpha: float | None
    resolution: int
    classes: int
    head: str = "classifier"
    output_stride: int | None = None
    parameters: int | None = None
    macs: int | None = None


@dataclass(frozen=True)
class ArtifactRow:
    """A file (or folder of C sources) of a build.

    Attributes:
        path: Its name in the build's folder.
        format: tflite, onnx or c.
        precision: Precision of its arithmetic: fp32 or int8.
        io: dtype of its input and output.
        target: Name of the target that it was made for.
        bytes: Size.
        sha256: Checksum.
    """

    path: str
    format: Format
    precision: Precision
    io: Io
    target: str
    bytes: int
    sha256: str

    @staticmethod
    def of(made: Artifact) -> ArtifactRow:
        """The row of an artifact that is in its place."""
        size, digest = size_bytes(made.path), sha256(made.path)
        return ArtifactRow(made.path.name, made.format, made.precision, made.io, made.target, size, digest)


@dataclass(frozen=True)
class Int8Row:
    """Ops of an int8 artifact by their arithmetic.

    Attributes:
        artifact: File name.
        ops: Number of ops.
        float_ops: Number of float ops; None where this machine cannot count them.
        float_op_names: Kind and output of each.
        delegate_partitions: Partitions that the delegate makes; None where the notion does not exist.
    """

    artifact: str
    ops: int
    float_ops: int | None
    float_op_names: tuple[str, ...] = ()
    delegate_partitions: int | None = None


@dataclass(frozen=True)
class LayerBits:
    """Bits of a layer's activations, what they are worth and what they cost.

    Attributes:
        layer: The tensor that it makes.
        op: Its kind.
        bits: 8 or 16.
        error_fraction: Share in the noise that rounding activations to int8 brings to the scores; None where it was not
            measured, or the tensor has the steps of another.
        cost_fraction: Latency that 16 bits in this layer alone add, its conversions included, over the int8 model's;
            None where it was not measured, or LiteRT has no 16-bit kernel.
        weights_bits: Bits of its weights, 4 or 8; None where every layer has 8.
        weights_noise: Power of the noise that rounding its weights to 4 bits brings to the scores, over that of the
            int8 model; None where it was not measured.
        weights_bytes_saved: Bytes that its weights take less in 4 bits; None where they have 8.
    """

    layer: str
    op: str
    bits: int
    error_fraction: float | None = None
    cost_fraction: float | None = None
    weights_bits: int | None = None
    weights_noise: float | None = None
    weights_bytes_saved: int | None = None


@dataclass(frozen=True)
class MemoryRow:
    """Memory of an artifact on a microcontroller or NPU; None where unknown.

    Attributes:
        artifact: File name.
        target: Target.
        arena_bytes: Working memory that the caller gives, bytes.
        flash_bytes: Code and constants, bytes.
        stack_bytes: Deepest stack, bytes.
        ram_bytes: Arena, input and output, as an interpreter's arena holds them, bytes; None where `arena_bytes` does.
    """

    artifact: str
    target: str
    arena_bytes: int | None
    flash_bytes: int | None
    stack_bytes: int | None
    ram_bytes: int | None = field(default=None, metadata=ABSENT)

    @property
    def arena_with_ends_bytes(self) -> int | None:
        """Arena with input and output, bytes: what firmware calls the arena, and what limits are held against."""
        return self.arena_bytes if self.ram_bytes is None else self.ram_bytes


@dataclass(frozen=True)
class GateRow:
    """A limit and what was measured.

    Attributes:
        name: Name of the gate.
        limit: The limit; true for a gate without a number.
        measured: Measured value; None without a measurement, which fails the gate.
        passed: Whether the limit is kept.
    """

    name: str
    limit: float | bool
    measured: float | None
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Report:
    """Measurements of a build.

    Attributes:
        schema: Version of report.json.
        slug: Name of the build.
        task: Task of the network.
        variant: The network and its cost.
        artifacts: Artifacts of the build.
        accuracy: Accuracy of each artifact; empty for random weights.
        latency: Latency of each model file.
        parity: Agreement between the artifacts.
        int8: Integer and float ops of each int8 model file.
        memory: Memory of each folder of C.
        outputs: Each output of each model, where they have several or the data is of arrays.
        layers: Bits of every layer of the first int8 model, where some have 16.
        gates: Limits, and whether they are kept.
    """

    FILE: ClassVar[str] = "report.json"

    schema: int = SCHEMA
    slug: str
    task: str = DEFAULT_TASK
    variant: VariantRow
    artifacts: tuple[ArtifactRow, ...] = ()
    accuracy: tuple[AccuracyRow, ...] = ()
    latency: tuple[LatencyRow, ...] = ()
    parity: tuple[ParityRow, ...] = ()
    int8: tuple[Int8Row, ...] = ()
    memory: tuple[MemoryRow, ...] = ()
    gates: tuple[GateRow, ...] = ()
    outputs: tuple[OutputRow, ...] = ()
    layers: tuple[LayerBits, ...] = ()

    @staticmethod
    def of_stored(values: JsonObject) -> JsonObject:
        """Brings the tables of report.json into the shape of the fields."""
        found = dict(values)
        for name, kind in (("accuracy", AccuracyRow), ("latency", LatencyRow)):
            if isinstance(rows := found.get(name), list):
                found[name] = [kind.of_stored(row) if isinstance(row, dict) else row for row in rows]
        return found

    def _repr_html_(self) -> str:
        passed = sum(gate.passed for gate in self.gates)
        metrics = list(dict.fromkeys(name for row in self.accuracy for name in row.figures.metrics))
        figures = ((row.artifact, row.device, row.images, *map(row.metric, metrics)) for row in self.accuracy)
        times = ((row.artifact, row.device, row.threads, row.p50_ms, row.p90_ms) for row in self.latency)
        limits = ((gate.name, gate.limit, gate.measured, gate.passed) for gate in self.gates)
        tables = (
            shown.table(self.slug, ("artifact", "bytes"), ((row.path, row.bytes) for row in self.artifacts)),
            shown.table("Accuracy", ("artifact", "device", "pictures", *metrics), figures),
            shown.table("Latency", ("artifact", "device", "threads", "p50 ms", "p90 ms"), times),
            shown.table(f"{passed} of {len(self.gates)} gates passed", ("gate", "limit", "measured", "passed"), limits),
        )
        return "".join(tables)


def read_report(path: Path) -> Report:
    """Reads a report by its file or by the folder of its build.

    Raises:
        InputError: There is no report, or it is not one of a schema that this version reads.
    """
    file = path / "report.json" if is_folder(path) else path
    try:
        report = stored.read(file, Report)
    except InputError as exc:
        raise InputError(f"{exc}; {_HELP}") from exc
    if report.schema != SCHEMA:
        raise InputError(f"{file} has schema {report.schema}, this mnedge reads schema {SCHEMA}; {_HELP}")
    return report
