"""Content of a model file, its runtime, and where an int8 model loses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mnedge.results import shown
from mnedge.results.stored import ABSENT, FLAT


@dataclass(frozen=True)
class KindRow:
    """The ops of one kind.

    Attributes:
        kind: TFLite's or ONNX's name.
        count: Number of ops of the kind.
        dtypes: dtypes of their outputs, the most frequent first.
        macs: Multiply-adds.
        weights_bytes: Bytes of their constants; shared ones count once.
        dilated: Number of ops with a dilation above 1; None for ONNX.
    """

    kind: str
    count: int
    dtypes: tuple[str, ...]
    macs: int
    weights_bytes: int
    dilated: int | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True)
class EndRow:
    """An input or output; `shape` is None where only the run decides on it, scale and zero point where it is real."""

    name: str
    shape: tuple[int, ...] | None
    dtype: str
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True)
class TensorRow:
    """A tensor and its size."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


@dataclass(frozen=True)
class CustomOp:
    """A custom op, with those of its options that can be read."""

    kind: str
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]
    options: Mapping[str, object]


@dataclass(frozen=True)
class Contents:
    """Content of a model file.

    Attributes:
        ops: The ops by kind, the heaviest first.
        op_count: Number of ops.
        macs: Multiply-adds of one picture.
        parameters: Trained numbers.
        weights_bytes: Bytes of all constants.
        weights_bytes_by_dtype: The same by dtype, the largest first.
        inputs: Inputs.
        outputs: Outputs.
        custom_ops: Custom ops; None for ONNX.
        largest_weights: The largest constants.
        largest_activations: The largest activations.
        metadata: Text, or the number of bytes of other values, by name.
    """

    ops: tuple[KindRow, ...]
    op_count: int
    macs: int
    parameters: int
    weights_bytes: int
    weights_bytes_by_dtype: Mapping[str, int]
    inputs: tuple[EndRow, ...]
    outputs: tuple[EndRow, ...]
    custom_ops: tuple[CustomOp, ...] | None = field(default=None, metadata=ABSENT)
    largest_weights: tuple[TensorRow, ...] = ()
    largest_activations: tuple[TensorRow, ...] = ()
    metadata: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class RuntimeView:
    """A runtime's view of a file.

    Attributes:
        version: Runtime and version.
        partitions: Delegate partitions; None where the notion does not exist.
        ops: Ops (nodes) that it executes.
        outside: Ops outside of the delegate, by kind; None for ONNX Runtime.
        executes: Nodes by kind after the runtime's own rewriting; None for LiteRT.
    """

    version: str
    partitions: int | None
    ops: int
    outside: Mapping[str, int] | None = field(default=None, metadata=ABSENT)
    executes: Mapping[str, int] | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True)
class Refusal:
    """Reason why a runtime does not take a file."""

    error: str


@dataclass(frozen=True)
class Inspection:
    """A model file, and how the runtime takes it.

    Attributes:
        path: The file.
        format: tflite or onnx.
        bytes: Its size.
        quantized: Whether its convolutions and matrix products take integers.
        contents: Content of the file.
        float_ops: Float ops of a quantized model; None for a float model, and where no runtime could tell.
        runtime: The runtime's view of the file, or its reason for refusing it.
    """

    path: str
    format: Literal["tflite", "onnx"]
    bytes: int
    quantized: bool
    contents: Contents = field(metadata=FLAT)
    float_ops: tuple[str, ...] | None
    runtime: RuntimeView | Refusal

    def _repr_html_(self) -> str:
        ops = ((row.kind, row.count, " ".join(row.dtypes), row.macs, row.weights_bytes) for row in self.contents.ops)
        kind = "quantized" if self.quantized else "float"
        title = f"{self.path}: {kind} {self.format}, {self.bytes:,} bytes"
        return shown.table(title, ("op", "count", "makes", "multiply-adds", "bytes of constants"), ops)


@dataclass(frozen=True)
class Histogram:
    """Counts of values in bins of equal width between `low` and `high`."""

    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True)
class TensorNoise:
    """Quantization noise of one tensor.

    Attributes:
        index: Place of its op.
        tensor: Its name.
        op: Kind of the op that makes or holds it.
        what: Whether the tensor is an activation or weights.
        dtype: Its dtype.
        sqnr_db: Signal to quantization noise; None without noise.
        agreement_gain: Top-1 agreement that leaving it unrounded wins, -1..1.
        output_gain_db: Decibels that the output then comes nearer to float.
        low: Lowest value that the dtype can hold; None for weights.
        high: Highest value that it can hold.
        min: Lowest value that came up.
        max: Highest value that came up.
        clipped_fraction: Share of the values beyond the range; None for weights.
        histogram: Frequency of the values.
    """

    index: int
    tensor: str
    op: str
    what: Literal["activation", "weights"]
    dtype: str
    sqnr_db: float | None
    agreement_gain: float
    output_gain_db: float
    low: float | None
    high: float | None
    min: float
    max: float
    clipped_fraction: float | None
    histogram: Histogram


@dataclass(frozen=True)
class Agreement:
    """Agreement with float, 0..1, of the int8 model and of it with real activations; None for numbers and maps."""

    int8: float | None
    weights_only: float | None


@dataclass(frozen=True)
class OutputNoise:
    """Signal to noise at the output, dB, likewise; None without noise."""

    int8: float | None
    weights_only: float | None


@dataclass(frozen=True)
class LayerNoise:
    """Noise of an int8 model's tensors, and its cost at the output.

    Attributes:
        images: Number of pictures.
        agreement: Agreement with float.
        output_sqnr_db: Signal to noise at the output.
        tensors: Every quantized tensor, those that cost most first.
    """

    images: int
    agreement: Agreement
    output_sqnr_db: OutputNoise
    tensors: tuple[TensorNoise, ...]

    def _repr_html_(self) -> str:
        rows = ((row.tensor, row.op, row.what, row.sqnr_db, row.output_gain_db) for row in self.tensors)
        agreement = self.agreement.int8
        title = f"Noise on {self.images} pictures"
        if agreement is not None:
            title += f", agreement with float {100 * agreement:.1f} %"
        return shown.table(title, ("tensor", "op", "what", "SQNR dB", "gain dB"), rows)
