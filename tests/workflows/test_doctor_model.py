"""What doctor says of a model: held against what quantizing and compiling it really give."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mnedge import registry
from mnedge.codegen.compile import compile_c
from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_read import read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.workflows.doctor_model import diagnose
from mnedge.workflows.quantize import quantize

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnedge.results.diagnosis import Diagnosis, Outlook


def _behind_conv(graph: Graph, kind: str, options: dict[str, object]) -> Graph:
    """The network with one more op behind its convolution."""
    made = replace(graph.tensors["conv"], name="more")
    ops = [op.with_inputs({"conv": "more"}) if op.kind == "MEAN" else op for op in graph.ops]
    return graph.replaced(tensors=[made], ops=[ops[0], Op(kind, ("conv",), ("more",), options), *ops[1:]])


def test_a_float_model_is_known_whole(digits_fp32: Graph, tmp_path: Path, written: Callable[..., Path]) -> None:
    path = written(digits_fp32, tmp_path)
    found = diagnose(path)
    assert (found.precision, found.family, found.alpha) == ("float", None, None)
    assert found.bytes == path.stat().st_size
    assert found.parameters == sum(tensor.data.size for tensor in digits_fp32.tensors.values()
                                   if tensor.data is not None and tensor.name != "axes")  # fmt: skip
    assert found.macs == 8 * 8 * 8 * 27 + 10 * 8
    assert [(end.shape, end.dtype) for end in found.inputs] == [((1, 16, 16, 3), "float32")]
    assert [(end.name, end.head) for end in found.outputs] == [("scores", "softmax")]
    assert (found.pixels, found.pixels_origin) == ("-1..1", "metadata")
    assert [(need.option, need.required) for need in found.needs] == [("--labels FILE", False)]
    assert [row.target for row in found.targets] == registry.names("mnedge.targets")
    assert {row.verdict for row in found.targets} == {"int8"}
    assert found.commands[0] == f"mnedge build '{path}' --data PICTURES --int8"


@pytest.mark.parametrize("target", ["cpu", "cortex-m4"])
def test_what_is_said_is_what_quantizing_gives(
    digits_fp32: Graph,
    tmp_path: Path,
    target: str,
    written: Callable[..., Path],
    outlook: Callable[[Diagnosis, str], Outlook],
) -> None:
    path = written(digits_fp32, tmp_path)
    made = quantize(path, tmp_path / "int8.tflite", target=target, effort="fast")
    said = outlook(diagnose(path), target)
    assert (said.ops, dict(said.float_ops)) == (made.ops, {})
    assert made.float_ops == ()


def test_an_op_without_int8_is_float_on_a_phone_and_refused_in_c(
    digits_fp32: Graph, tmp_path: Path, written: Callable[..., Path], outlook: Callable[[Diagnosis, str], Outlook]
) -> None:
    path = written(_behind_conv(digits_fp32, "COS", {}), tmp_path)
    found = diagnose(path)
    said = outlook(found, "cpu")
    assert (said.verdict, dict(said.float_ops)) == ("float ops", {"COS": 1})
    assert "--allow-float" in said.notes[0]
    assert outlook(found, "cortex-m4").verdict == "refused"
    assert not any("--target" in line for line in found.commands)
    with pytest.raises(UnsupportedError):
        quantize(path, tmp_path / "no.tflite", effort="fast")
    made = quantize(path, tmp_path / "int8.tflite", allow_float=["COS"], effort="fast")
    assert "COS" in made.float_ops


def test_an_op_without_a_c_kernel_is_named(
    digits_fp32: Graph, tmp_path: Path, written: Callable[..., Path], outlook: Callable[[Diagnosis, str], Outlook]
) -> None:
    path = written(_behind_conv(digits_fp32, "ELU", {}), tmp_path)
    found = diagnose(path)
    assert outlook(found, "cpu").verdict == "int8"
    said = outlook(found, "cortex-m4")
    assert (said.verdict, dict(said.no_kernel)) == ("refused", {"ELU": 1})
    quantize(path, tmp_path / "int8.tflite", target="cortex-m4", effort="fast")
    with pytest.raises(UnsupportedError, match="ELU"):
        compile_c(read_tflite(tmp_path / "int8.tflite"), name="m", target="cortex-m4", out=tmp_path / "c")


def test_an_open_size_and_unknown_pixels_are_asked_for(tmp_path: Path, written: Callable[..., Path]) -> None:
    tensors = [
        Tensor("image", (1, 1, 1, 3), "float32", open_shape=(-1, -1, -1, 3)),
        constant("axes", np.array([1, 2], np.int32)),
        Tensor("mean", (1, 3), "float32", open_shape=(-1, 3)),
        constant("weights", np.eye(2, 3, dtype=np.float32)),
        constant("bias", np.zeros(2, np.float32)),
        Tensor("logits", (1, 2), "float32", open_shape=(-1, 2)),
    ]
    ops = (
        Op("MEAN", ("image", "axes"), ("mean",), {"keep_dims": False}),
        Op("FULLY_CONNECTED", ("mean", "weights", "bias"), ("logits",), {"activation": "NONE"}),
    )
    path = written(Graph({tensor.name: tensor for tensor in tensors}, ops, ("image",), ("logits",)), tmp_path)
    found = diagnose(path)
    assert found.assumed_size == (224, 224)
    assert found.inputs[0].shape == (1, -1, -1, 3)
    assert {need.option.split(" ")[0] for need in found.needs if need.required} == {"--size", "--pixels"}
    told = diagnose(path, size=(8, 12), pixels="-1..1")
    assert told.assumed_size is None
    assert told.inputs[0].shape == (1, 8, 12, 3)
    assert not any(need.required for need in told.needs)
    assert "--size 8x12 --pixels=-1..1 --int8" in told.commands[0]


def test_pictures_show_the_pixels(tmp_path: Path, written: Callable[..., Path]) -> None:
    """The mean of red against 127.5 is the class."""
    rng = np.random.default_rng(3)
    for place, name in enumerate(("dark", "light")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(80):
            colour = rng.integers(0, 256, 3)
            colour[0] = rng.integers(0, 110) + 140 * place
            picture = np.broadcast_to(colour.astype(np.uint8), (8, 8, 3))
            Image.fromarray(np.ascontiguousarray(picture)).save(tmp_path / "photos" / name / f"{number}.png")
    tensors = [
        Tensor("image", (1, 8, 8, 3), "float32"),
        constant("axes", np.array([1, 2], np.int32)),
        Tensor("mean", (1, 3), "float32"),
        constant("weights", np.array([[0, 0, 0], [1, 0, 0]], np.float32)),
        constant("bias", np.array([0, -127.5], np.float32)),
        Tensor("logits", (1, 2), "float32"),
        Tensor("scores", (1, 2), "float32"),
    ]
    ops = (
        Op("MEAN", ("image", "axes"), ("mean",), {"keep_dims": False}),
        Op("FULLY_CONNECTED", ("mean", "weights", "bias"), ("logits",), {"activation": "NONE"}),
        Op("SOFTMAX", ("logits",), ("scores",), {"beta": 1.0}),
    )
    path = written(Graph({tensor.name: tensor for tensor in tensors}, ops, ("image",), ("scores",)), tmp_path)
    assert diagnose(path).pixels is None
    found = diagnose(path, str(tmp_path / "photos"))
    assert (found.pixels, found.pixels_origin) == ("0..255", "shown")
    assert not any(need.required for need in found.needs)


def test_two_inputs_are_said_and_what_feeds_them(
    digits_fp32: Graph, tmp_path: Path, written: Callable[..., Path], outlook: Callable[[Diagnosis, str], Outlook]
) -> None:
    other = Tensor("other", (1, 10), "float32")
    summed = Tensor("summed", (1, 10), "float32")
    ops = [*digits_fp32.ops, Op("ADD", ("scores", "other"), ("summed",), {"activation": "NONE"})]
    graph = digits_fp32.replaced(tensors=[other, summed], ops=ops, outputs=["summed"])
    graph = replace(graph, inputs=("image", "other"))
    path = written(graph, tmp_path)
    found = diagnose(path)
    assert [end.name for end in found.inputs] == ["image", "other"]
    assert [need.option for need in found.needs if need.required] == ["--data FILE.npz"]
    assert found.commands[0] == f"mnedge build {shlex.quote(str(path))} --data INPUTS.npz --int8"
    assert outlook(found, "cpu").verdict == "int8"


def test_labels_are_of_the_output_that_tells_classes_apart(
    digits_fp32: Graph, tmp_path: Path, written: Callable[..., Path]
) -> None:
    def asked(graph: Graph) -> list[str]:
        return [need.option for need in diagnose(written(graph, tmp_path)).needs]

    assert asked(digits_fp32.replaced(outputs=["mean", "scores"])) == ["--labels FILE"]
    numbers = digits_fp32.replaced(ops=digits_fp32.ops[:-1], outputs=["logits"])
    assert asked(numbers) == ["--labels FILE"]
    points = Op("RESHAPE", ("logits", "rows"), ("points",), {})
    extra = [constant("rows", np.array([1, 5, 2], np.int32)), Tensor("points", (1, 5, 2), "float32")]
    assert asked(numbers.replaced(tensors=extra, ops=[*numbers.ops, points], outputs=["points"])) == []


def test_a_float_onnx_is_a_model_like_any_other(
    digits_fp32: Graph, tmp_path: Path, outlook: Callable[[Diagnosis, str], Outlook]
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(write_onnx(replace(digits_fp32, metadata={})))
    found = diagnose(path)
    assert (found.what, found.precision, found.pixels) == ("a float .onnx", "float", None)
    assert outlook(found, "cpu").verdict == "int8"
    assert any(need.option.startswith("--pixels") for need in found.needs)


def test_a_keras_model_of_a_family_with_layers_for_training(tmp_path: Path) -> None:
    import keras

    from mnedge.models.build import build_model
    from mnedge.models.variant import Variant

    backbone = build_model(Variant("v1", 0.25, 32, classes=3), "random")
    layers = [keras.Input((32, 32, 3)), keras.layers.RandomFlip(), keras.layers.Rescaling(1 / 127.5, -1), backbone]
    path = tmp_path / "m.keras"
    keras.Sequential(layers).save(path)
    found = diagnose(path)
    assert (found.family, found.alpha, found.pixels, found.pixels_origin) == ("v1", 0.25, "0..255", "graph")
    assert any("RandomFlip" in note for note in found.notes)
    assert "goes into the int8 input" in found.plan[0]
    assert found.what == "a Keras model"


def test_what_is_no_model_is_refused(digits_fp32: Graph, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(write_tflite(digits_fp32)[:500])
    with pytest.raises(InputError):
        diagnose(tmp_path / "m.tflite")
    with pytest.raises(InputError, match="there is no"):
        diagnose(tmp_path / "none.keras")


def test_models_of_others_are_understood_or_refused_with_a_reason(shared_data: Path) -> None:
    cases = shared_data.parent / "cases"
    files = [*cases.glob("tflite/*.tflite"), *cases.glob("mcu/*.tflite"), *cases.glob("hostile/*.tflite")]
    if not files:
        pytest.skip("no models of others in the shared cases")
    understood = 0
    for path in sorted(files):
        try:
            found = diagnose(path)
        except (InputError, UnsupportedError):
            continue
        understood += 1
        assert found.targets
        assert found.outputs
    assert understood > len(files) / 2
