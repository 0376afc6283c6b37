"""Result of `quantize`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mnedge.results import shown
from mnedge.results.details import Step
from mnedge.results.report import LayerBits


@dataclass(frozen=True)
class OutputFidelity:
    """An output of an int8 model against the float one, on the samples of the calibration.

    Attributes:
        name: Its name.
        kind: Kind of its values: softmax, logits, sigmoid, multi-label, numbers or map.
        agreement: Share of the answers that are float's, 0..1; None for numbers and maps.
        snr_db: Signal-to-noise ratio; None without noise.
    """

    name: str
    kind: str
    agreement: float | None
    snr_db: float | None


@dataclass(frozen=True, kw_only=True)
class QuantizedModel:
    """An int8 .tflite and how it came to be.

    Attributes:
        source: The float model, as given.
        out: The int8 .tflite.
        bytes: Size of the int8 .tflite.
        ops: Number of ops.
        float_ops: Kinds of the ops that stayed float.
        pixels: Range of a picture's pixels at the input; None for an input that is no picture.
        pixels_origin: Origin of the pixels' range: told, metadata, graph or shown.
        steps: Steps of the quantization, with agreement and noise against float.
        settings: Choices that make the result again.
        notes: Notes for the user, a sentence each.
        outputs: Every output against float, where there are several.
        layers: Bits of every layer, where some have 16.
    """

    source: str
    out: str
    bytes: int
    ops: int
    float_ops: tuple[str, ...]
    pixels: str | None
    pixels_origin: str | None
    steps: tuple[Step, ...]
    settings: Mapping[str, object]
    notes: tuple[str, ...] = ()
    outputs: tuple[OutputFidelity, ...] = ()
    layers: tuple[LayerBits, ...] = ()

    def _repr_html_(self) -> str:
        columns = ("step", "seconds", "agreement with float", "SNR, dB")
        rows = ((step.name, step.seconds, step.agreement, step.snr_db) for step in self.steps)
        return shown.table(f"{self.out}: {self.bytes:,} bytes, {len(self.float_ops)} float ops", columns, rows)
