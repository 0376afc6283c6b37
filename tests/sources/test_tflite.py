"""Float .tflite files of others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.bundles._metadata import Description, metadata_bytes
from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.tflite_metadata import BUFFER
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.pixels import SYMMETRIC
from mnedge.sources import open_source
from mnedge.sources.tflite import read_float

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _entered(graph: Graph, op: Op, tensor: Tensor) -> Graph:
    """The graph behind an op that makes its input of another tensor."""
    return graph.replaced(tensors=[tensor], ops=[op, *graph.ops], inputs=[tensor.name])


def test_float16_constants_become_float32(digits_fp32: Graph, runs: Callable[..., Any]) -> None:
    ops, tensors = [], []
    for name, tensor in digits_fp32.tensors.items():
        if tensor.is_constant and tensor.dtype == "float32":
            assert tensor.data is not None
            tensors += [constant(f"{name}/half", tensor.data.astype(np.float16)), Tensor(name, tensor.shape, "float32")]
            ops.append(Op("DEQUANTIZE", (f"{name}/half",), (name,)))
    # The converter puts them anywhere before their reader.
    halves = digits_fp32.replaced(tensors=tensors, ops=[*ops[::-1], *digits_fp32.ops])
    data = write_tflite(halves)
    network = read_float(data, "half.tflite")
    assert [op.kind for op in network.graph.ops] == ["CONV_2D", "MEAN", "FULLY_CONNECTED", "SOFTMAX"]
    picture = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(runs(network.graph, picture)[0], runs(data, picture)[0], rtol=1e-4, atol=1e-6)


def test_int8_weights_of_dynamic_range_become_float_and_say_so(digits_fp32: Graph) -> None:
    weights = digits_fp32.tensors["head"]
    assert weights.data is not None
    scales = (np.abs(weights.data).max(1) / 127).astype(np.float32)
    quantization = Quantization.per_channel(scales, 0)
    stored = replace(weights, dtype="int8", quantization=quantization, data=quantization.quantize(weights.data, "int8"))
    network = read_float(write_tflite(digits_fp32.replaced(tensors=[stored])), "dynamic.tflite")
    made = network.graph.tensors["head"]
    assert made.dtype == "float32"
    assert made.data is not None
    np.testing.assert_allclose(made.data, weights.data, atol=float(scales.max()) / 2 + 1e-6)
    assert network.notes[0].startswith("1 constants are stored in int8")


@pytest.mark.parametrize(
    ("kind", "dtype", "quantization", "words"),
    [
        ("CAST", "uint8", None, "0..255"),
        ("DEQUANTIZE", "uint8", (1 / 127.5, 128), "-1.004..0.9961"),
        ("DEQUANTIZE", "int8", (1 / 255, -128), "0..1"),
        ("CAST", "int32", None, "None"),
    ],
)
def test_an_8_bit_input_is_a_pixel(
    digits_fp32: Graph, kind: str, dtype: str, quantization: tuple[float, int] | None, words: str
) -> None:
    steps = Tensor("steps", (1, 16, 16, 3), dtype, quantization and Quantization.per_tensor(*quantization))
    silent = replace(digits_fp32, metadata={})
    network = read_float(write_tflite(_entered(silent, Op(kind, ("steps",), ("image",)), steps)), "m.tflite")
    assert network.graph.inputs == ("steps",)
    assert network.graph.tensors["steps"].dtype == "float32"
    assert [op.kind for op in network.graph.ops] == [op.kind for op in digits_fp32.ops]
    assert str(network.pixels) == words


def test_quantized_outputs_of_a_float_graph_become_float(digits_fp32: Graph) -> None:
    steps = Tensor("steps", (1, 10), "uint8", Quantization.per_tensor(1 / 256, 0))
    graph = digits_fp32.replaced(
        tensors=[steps], ops=[*digits_fp32.ops, Op("QUANTIZE", ("scores",), ("steps",))], outputs=["steps"]
    )
    network = read_float(write_tflite(graph), "m.tflite")
    assert network.graph.outputs == ("steps",)
    assert network.graph.tensors["steps"].dtype == "float32"
    assert network.outputs[0].head == "softmax"


def test_free_extents_need_a_size_and_change_every_shape(digits_fp32: Graph, runs: Callable[..., Any]) -> None:
    tensors = [
        replace(digits_fp32.tensors["image"], shape=(1, 1, 1, 3), open_shape=(-1, -1, -1, 3)),
        replace(digits_fp32.tensors["conv"], shape=(1, 1, 1, 8), open_shape=(-1, -1, -1, 8)),
    ]
    data = write_tflite(digits_fp32.replaced(tensors=tensors))
    with pytest.raises(InputError, match=r"input image of m.tflite leaves its shape open \(1 x \? x \? x 3\)"):
        read_float(data, "m.tflite")
    network = read_float(data, "m.tflite", (12, 20))
    assert network.graph.tensors["image"].shape == (1, 12, 20, 3)
    assert network.graph.tensors["conv"].shape == (1, 6, 10, 8)
    picture = np.random.default_rng(0).normal(size=(1, 12, 20, 3)).astype(np.float32)
    np.testing.assert_allclose(runs(network.graph, picture)[0], runs(data, picture)[0], rtol=1e-4)
    with pytest.raises(InputError, match=r"is 16 x 16 \(height x width\), not 12 x 20; leave --size out"):
        read_float(write_tflite(digits_fp32), "m.tflite", (12, 20))


def test_metadata_say_pixels_and_labels(digits_fp32: Graph) -> None:
    labels = tuple(f"digit {number}" for number in range(10))
    told = replace(
        digits_fp32.replaced(ops=digits_fp32.ops[:-1], outputs=["logits"]),
        metadata={BUFFER: metadata_bytes(Description("digits", "", "1", "", "", (16, 16), SYMMETRIC, labels))},
        associated={"labels.txt": "\n".join(labels).encode()},
    )
    network = read_float(write_tflite(told), "m.tflite")
    assert str(network.pixels) == "-1..1"
    assert network.pixels_origin == "metadata"
    assert network.labels == labels
    # Ten names for ten plain numbers show what these are.
    assert network.outputs[0].head == "logits"
    fewer = replace(told, associated={"labels.txt": b"one\ntwo\n"})
    network = read_float(write_tflite(fewer), "m.tflite")
    assert network.labels == ()
    assert network.outputs[0].head == "numbers"
    assert network.notes == ("2 labels in the file do not fit the 10 values of its output and are ignored",)


def test_a_quantized_file_is_refused_with_the_way_out(small_int8: Graph, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(write_tflite(small_int8))
    with pytest.raises(
        UnsupportedError, match=r"is quantized already: CONV_2D makes int8 values \(conv\). Give the float"
    ):
        open_source(path)
