"""`doctor MODEL` for models that are int8 already."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mnedge.formats.onnx_write import write_onnx
from mnedge.graph.graph import Graph, Quantization
from mnedge.workflows.doctor_model import diagnose

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnedge.results.diagnosis import Diagnosis, Outlook


def test_an_int8_model_is_said_to_be_one(
    small_int8: Graph, tmp_path: Path, written: Callable[..., Path], outlook: Callable[[Diagnosis, str], Outlook]
) -> None:
    path = written(small_int8, tmp_path, "m.tflite")
    found = diagnose(path)
    assert (found.precision, found.pixels) == ("int8", "-1..1")
    assert [(end.dtype, end.head) for end in found.outputs] == [("int8", "softmax")]
    assert outlook(found, "cpu").verdict == "int8"
    assert found.notes == ()
    assert f"mnedge compile {path} --target cortex-m0plus --out m-c" in found.commands
    unknown = diagnose(written(replace(small_int8, metadata={}), tmp_path, "n.tflite"))
    assert unknown.pixels == "-1..1", "the steps of the input say it"


def test_an_onnx_is_looked_at(small_int8: Graph, tmp_path: Path, outlook: Callable[[Diagnosis, str], Outlook]) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(write_onnx(small_int8))
    found = diagnose(path)
    assert found.precision == "int8"
    assert found.pixels == "-1..1"
    assert found.notes == ()
    assert outlook(found, "cortex-m4").verdict == "int8"
    assert f"mnedge inspect {path}" in found.commands
    assert f"mnedge compile {path} --target cortex-m0plus --out m-c" in found.commands


def test_what_litert_does_not_load_is_not_called_ok(
    small_int8: Graph, tmp_path: Path, written: Callable[..., Path], outlook: Callable[[Diagnosis, str], Outlook]
) -> None:
    # LiteRT takes an int8 softmax in steps of 1/256 alone.
    scores = replace(small_int8.tensors["scores"], quantization=Quantization.per_tensor(1 / 100, -128))
    found = diagnose(written(small_int8.replaced(tensors=[scores]), tmp_path))
    said = outlook(found, "cpu")
    assert said.verdict == "refused"
    assert "LiteRT does not load" in said.reason
    assert "mends that" not in " ".join(found.notes)


def test_what_optimize_mends_is_called_ok(
    small_int8: Graph, tmp_path: Path, written: Callable[..., Path], outlook: Callable[[Diagnosis, str], Outlook]
) -> None:
    path = written(small_int8, tmp_path)
    path.write_bytes(_with_bias_axis(path.read_bytes(), 3))
    found = diagnose(path)
    assert outlook(found, "cpu").verdict == "int8"
    assert any("`mnedge optimize` mends that" in note for note in found.notes)


def _with_bias_axis(content: bytes, axis: int) -> bytes:
    """The same file with scales of its biases along another axis, as old converters wrote it."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content)
    for tensor in model.subgraphs[0].tensors:
        scales = None if tensor.quantization is None else tensor.quantization.scale
        if tensor.type == schema.TensorType.INT32 and scales is not None:
            tensor.quantization.quantizedDimension = axis
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
