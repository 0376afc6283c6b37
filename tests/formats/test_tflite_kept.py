"""What a .tflite has besides its computation comes back from the writer and goes through every rewrite."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from mnedge.bundles._metadata import Description, metadata_bytes
from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.tflite_metadata import BUFFER, labels_of, metadata_of, refitted
from mnedge.formats.tflite_read import parse_tflite, read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Quantization, Signature
from mnedge.graph.kept import check_kept
from mnedge.pixels import SYMMETRIC
from mnedge.quantization.io import with_io
from mnedge.quantization.ptq import PostTraining, quantize_ptq
from mnedge.workflows.optimize import optimize, passes_for, rewrite

_DIGITS = tuple(f"digit {number}" for number in range(10))


def _described(graph: Graph) -> Graph:
    """The network as a drop-in: signature, free batch, labels, metadata of pixels (p - 127.5) / 127.5."""
    told = metadata_bytes(Description("digits", "", "1", "", "", (16, 16), SYMMETRIC, _DIGITS))
    signature = Signature("serving_default", (("picture", "image"),), (("probability", "scores"),))
    tensors = {
        name: tensor if tensor.is_constant else replace(tensor, open_shape=(-1, *tensor.shape[1:]))
        for name, tensor in graph.tensors.items()
    }
    return replace(
        graph,
        tensors=tensors,
        metadata={BUFFER: told, "min_runtime_version": b"1.5.0"},
        signatures=(signature,),
        associated={"labels.txt": "".join(f"{name}\n" for name in _DIGITS).encode()},
    )


def test_signatures_open_shapes_and_files_come_back(digits_fp32: Graph) -> None:
    graph = _described(digits_fp32)
    data = write_tflite(graph)
    again = parse_tflite(data, "again")
    check_kept(graph, again)
    assert again.signatures == graph.signatures
    assert again.tensors["image"].open_shape == (-1, 16, 16, 3)
    assert again.associated == graph.associated
    assert write_tflite(again) == data
    interpreter = Interpreter(model_content=data)
    assert interpreter.get_input_details()[0]["shape_signature"].tolist() == [-1, 16, 16, 3]
    made = interpreter.get_signature_runner("serving_default")(picture=np.ones((1, 16, 16, 3), np.float32))
    assert made["probability"].shape == (1, 10)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("labels.txt").decode().splitlines() == list(_DIGITS)


def test_metadata_say_pixels_values_and_labels(digits_fp32: Graph) -> None:
    graph = _described(digits_fp32)
    told = metadata_of(graph)
    assert told.inputs[0].is_picture
    assert (told.inputs[0].mean, told.inputs[0].std) == ((127.5,), (127.5,))
    assert (told.outputs[0].low, told.outputs[0].high) == ((0.0,), (255.0,))
    assert labels_of(graph) == (_DIGITS, 0)
    with pytest.raises(InputError, match="TFLITE_METADATA is damaged"):
        metadata_of(replace(graph, metadata={BUFFER: graph.metadata[BUFFER][:60]}))


@pytest.mark.parametrize("io_dtype", ["int8", "uint8", "float32"])
def test_quantization_keeps_a_drop_in(digits_fp32: Graph, io_dtype: str) -> None:
    graph = _described(digits_fp32)
    pictures = np.random.default_rng(0).uniform(-1, 1, (8, 16, 16, 3)).astype(np.float32)
    quantized = quantize_ptq(graph, pictures, PostTraining(effort="fast", ranges="min-max")).graph
    after = with_io(quantized, io_dtype)  # type: ignore[arg-type]
    check_kept(graph, after)
    interpreter = Interpreter(model_content=write_tflite(after))
    runner = interpreter.get_signature_runner("serving_default")
    dtype = runner.get_input_details()["picture"]["dtype"]
    assert np.dtype(dtype).name == io_dtype
    assert runner(picture=np.ones((1, 16, 16, 3), dtype))["probability"].shape == (1, 10)
    # A free batch is one that can be resized.
    assert runner(picture=np.ones((3, 16, 16, 3), dtype))["probability"].shape == (3, 10)


def test_value_ranges_of_metadata_become_steps(digits_fp32: Graph) -> None:
    before = _described(digits_fp32)
    ends = {
        "image": Quantization.per_tensor(1 / 127.5, 128),
        "scores": Quantization.per_tensor(1 / 256, 0),
    }
    tensors = [
        replace(before.tensors[name], dtype="uint8", quantization=quantization) for name, quantization in ends.items()
    ]
    # Metadata of the float file give -1..1 and 0..1.
    told = bytearray(before.metadata[BUFFER])
    image, scores = metadata_of(before).inputs[0], metadata_of(before).outputs[0]
    assert (image.low, image.high) == (scores.low, scores.high) == ((0.0,), (255.0,))
    place = told.index(np.float32(255).tobytes())
    told[place : place + 4] = np.float32(1).tobytes()
    before = replace(before, metadata={BUFFER: bytes(told)})
    after = refitted(before, before.replaced(tensors=tensors))
    entries = metadata_of(after)
    found = {entries.inputs[0].high, entries.outputs[0].high}
    # One of the two was 1 and is the step of 1; the other, of 255, saturates.
    assert found == {(255.0,)}
    assert entries.inputs[0].low == (128.0,)
    assert entries.outputs[0].low == (0.0,)
    other = replace(tensors[0], quantization=Quantization.per_tensor(1 / 64, 0))
    with pytest.raises(UnsupportedError, match="its uint8 steps are not the pixels"):
        refitted(before, before.replaced(tensors=[other, tensors[1]]))


def test_a_loss_is_an_error(digits_fp32: Graph) -> None:
    graph = _described(digits_fp32)
    for changed, words in (
        (replace(graph, signatures=()), "the signatures serving_default do not fit"),
        (replace(graph, associated={}), "associated files labels.txt are gone"),
        (replace(graph, metadata={}), "metadata TFLITE_METADATA, min_runtime_version are gone"),
        (graph.replaced(outputs=["logits"]), "the outputs are logits where they were scores"),
        (digits_fp32, r"the shape of input image is \(1, 16, 16, 3\) where it was \(-1, 16, 16, 3\)"),
    ):
        with pytest.raises(UnsupportedError, match=words):
            check_kept(graph, changed)


def test_optimize_keeps_labels_and_metadata_of_corals_v1(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "models" / "imagenet" / "mobilenet_v1_0.25_128_quant.tflite"
    before = read_tflite(source)
    assert len(labels_of(before)[0]) == 1001
    after, rewrites = rewrite(before, passes_for(before, "cpu", int8=True))
    assert rewrites
    check_kept(before, after)
    out = tmp_path / "out.tflite"
    optimize(source, out, target="cpu", int8=True, measure=False)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out) as new:
        assert new.namelist() == old.namelist()
        assert all(new.read(name) == old.read(name) for name in old.namelist())
    assert labels_of(read_tflite(out)) == labels_of(before)
    assert read_tflite(out).metadata == before.metadata


def test_optimize_does_not_take_an_open_height_for_one(tmp_path: Path, digits_fp32: Graph) -> None:
    image = replace(digits_fp32.tensors["image"], open_shape=(-1, -1, -1, 3))
    source = tmp_path / "m.tflite"
    source.write_bytes(write_tflite(digits_fp32.replaced(tensors=[image])))
    with pytest.raises(UnsupportedError, match=r"leaves its shape open \(\? x \? x \? x 3\)"):
        optimize(source, tmp_path / "o.tflite", measure=False)
