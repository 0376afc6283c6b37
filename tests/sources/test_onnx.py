"""Float .onnx files as sources: pixels, labels, sizes, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.onnx_read import read_onnx
from mnedge.formats.onnx_write import write_onnx
from mnedge.pixels import Pixels
from mnedge.sources import OpenSizeError, open_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnedge.graph.graph import Graph


def _model(
    shape: Any = ("batch", 3, 16, 16), *, classes: Any = 3, opset: Any = 17, extra: Any = (), **metadata: str
) -> onnx.ModelProto:
    """A convolution with torch's padding, unfolded batch norm, Relu, pooling and a dense layer."""
    random = np.random.default_rng(3)
    values = {
        "w": random.normal(0, 0.3, (8, 3, 3, 3)), "scale": random.uniform(0.5, 1.5, 8), "shift": random.normal(size=8),
        "mean": random.normal(size=8), "variance": random.uniform(0.5, 1.5, 8), "d": random.normal(size=(classes, 8)),
        "b": random.normal(size=classes),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["conv"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("BatchNormalization", ["conv", "scale", "shift", "mean", "variance"], ["normed"]),
        helper.make_node("Relu", ["normed"], ["relu"]),
        *extra,
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "d", "b"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "torch_jit",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    helper.set_model_props(model, metadata)
    return model


def _saved(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    onnx.save(model, folder / name)
    return folder / name


def test_a_network_is_what_the_tflite_converter_would_give(tmp_path: Path) -> None:
    network = open_source(_saved(_model(), tmp_path))
    kinds = [op.kind for op in network.graph.ops]
    assert kinds == ["PAD", "CONV_2D", "MEAN", "FULLY_CONNECTED"], "batch norm and Relu are in the convolution"
    assert network.graph.ops[1].options["activation"] == "RELU"
    assert network.graph.tensors["input"].shape == (1, 16, 16, 3)
    assert (network.pixels, network.pixels_origin) == (None, "unknown")
    assert network.notes == ("Input input is NCHW in the .onnx and NHWC here",)


def test_mnedge_s_own_float_onnx_comes_back(digits_fp32: Graph, tmp_path: Path, runs: Callable[..., list[Any]]) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(write_onnx(digits_fp32))
    network = open_source(path)
    assert network.pixels == Pixels.parse("-1..1")
    assert network.graph.tensors[network.graph.inputs[0]].shape == (1, 16, 16, 3)
    assert "TRANSPOSE" not in {op.kind for op in network.graph.ops}
    picture = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(runs(network.graph, picture)[0], runs(digits_fp32, picture)[0], atol=1e-5)


@pytest.mark.parametrize(
    "metadata",
    [
        {"mean": "[0.485, 0.456, 0.406]", "std": "[0.229, 0.224, 0.225]"},
        {"mean": "0.485, 0.456, 0.406", "std": "0.229 0.224 0.225"},
        {"image_mean": "(123.675, 116.28, 103.53)", "image_std": "(58.395, 57.12, 57.375)"},
        {"pretrained_cfg": json.dumps({"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]})},
        {"config": json.dumps({"pretrained_cfg": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}})},
    ],
    ids=["lists", "words", "pixels", "timm", "timm inside"],
)
def test_mean_and_deviation_in_the_metadata_are_the_pixels(metadata: dict[str, str], tmp_path: Path) -> None:
    network = open_source(_saved(_model(**metadata), tmp_path))
    assert network.pixels_origin == "metadata"
    wanted = Pixels.parse("imagenet")
    assert network.pixels is not None
    np.testing.assert_allclose(network.pixels.scale, wanted.scale, rtol=1e-6)
    np.testing.assert_allclose(network.pixels.offset, wanted.offset, rtol=1e-6)


@pytest.mark.parametrize("mean", ["nonsense", "[1, 2]", "[0.5, nan, 0.5]", "{}", "[" * 5000], ids=str)
def test_metadata_that_say_nothing_settle_nothing(mean: str, tmp_path: Path) -> None:
    assert open_source(_saved(_model(mean=mean, std="[0.2, 0.2, 0.2]"), tmp_path)).pixels is None


def test_a_name_is_a_hint_that_is_said_and_settles_nothing(tmp_path: Path) -> None:
    network = open_source(_saved(_model(), tmp_path, "torchvision_net.onnx"))
    assert network.pixels is None
    assert network.notes[-1].startswith("The name says torchvision, whose networks take --pixels imagenet")


@pytest.mark.parametrize(
    "labels", ['["a", "b", "c"]', "a,b,c", "a\nb\nc\n", "{0: 'a', 1: 'b', 2: 'c'}", '{"2": "c", "0": "a", "1": "b"}']
)
def test_labels_of_the_metadata_make_logits_of_the_values(labels: str, tmp_path: Path) -> None:
    network = open_source(_saved(_model(names=labels), tmp_path))
    assert network.labels == ("a", "b", "c")
    assert network.outputs[0].head == "logits"


def test_labels_that_do_not_fit_are_said_and_ignored(tmp_path: Path) -> None:
    network = open_source(_saved(_model(names="a,b"), tmp_path))
    assert network.labels == ()
    assert "2 labels in the file do not fit" in network.notes[-1]


def test_open_height_and_width_are_asked_for(tmp_path: Path) -> None:
    path = _saved(_model(("batch", 3, "height", "width")), tmp_path)
    with pytest.raises(OpenSizeError, match="give --size HEIGHTxWIDTH"):
        open_source(path)
    assert open_source(path, (24, 20)).graph.tensors["input"].shape == (1, 24, 20, 3)


def test_a_fixed_batch_of_many_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="fixed batch of 8"):
        open_source(_saved(_model((8, 3, 16, 16)), tmp_path))


@pytest.mark.parametrize("kept", [0, 1, 7, 100, -1, -40])
def test_a_file_that_is_cut_short_is_damage(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(_model().SerializeToString()[:kept])
    with pytest.raises(InputError, match=r"cut\.onnx"):
        open_source(path)


def test_damaged_bytes_never_end_in_a_traceback(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    whole = _model().SerializeToString()
    random = np.random.default_rng(0)
    path = tmp_path / "bits.onnx"
    for _ in range(int(request.config.getoption("--fuzz"))):
        data = bytearray(whole)
        for place in random.integers(0, len(data), random.integers(1, 6)):
            data[place] = random.integers(0, 256)
        path.write_bytes(data)
        try:
            read_onnx(path)
        except (InputError, UnsupportedError) as exc:
            assert str(path) in str(exc) or "input" in str(exc)  # noqa: PT017 - every other error is the failure


def test_an_op_without_a_form_is_named_with_its_node_and_a_way_out(tmp_path: Path) -> None:
    extra = [helper.make_node("LayerNormalization", ["relu", "ones"], ["relu2"], name="/blocks.0/norm")]
    model = _model(extra=extra)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(8, np.float32), "ones"))
    match = r"node /blocks\.0/norm \(LayerNormalization\): .*Export the model without it"
    with pytest.raises(UnsupportedError, match=match):
        open_source(_saved(model, tmp_path))


def test_ops_that_an_exporter_left_as_they_were(tmp_path: Path) -> None:
    # tf2onnx leaves the Erfc of Keras' exact GELU.
    model = _model(extra=[helper.make_node("Erfc", ["relu"], ["relu2"], name="act")])
    with pytest.raises(UnsupportedError, match="node act is Erfc, which is no operator of ONNX; the exporter"):
        open_source(_saved(model, tmp_path))


@pytest.mark.parametrize("opset", [8, 23])
def test_other_opsets_are_refused_with_the_way_out(opset: int, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=rf"opset {opset}; 9 to 22 are read.*convert_version"):
        open_source(_saved(_model(opset=opset), tmp_path))


def test_external_data_beside_the_file_is_read(tmp_path: Path, runs: Callable[..., list[Any]]) -> None:
    inside = open_source(_saved(_model(), tmp_path, "inside.onnx"))
    onnx.save_model(_model(), tmp_path / "out.onnx", save_as_external_data=True, location="out.data", size_threshold=0)
    outside = open_source(tmp_path / "out.onnx")
    picture = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32)
    np.testing.assert_array_equal(runs(inside.graph, picture)[0], runs(outside.graph, picture)[0])


@pytest.mark.parametrize("location", ["../secret.data", "/etc/passwd", "sub/../../secret.data", "", "link.data"])
def test_external_data_elsewhere_is_never_read(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "secret.data").write_bytes(bytes(4096))
    (folder / "link.data").symlink_to(tmp_path / "secret.data")
    model = _model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="outside of its folder"):
        open_source(folder / "model.onnx")


@pytest.mark.parametrize(("offset", "length"), [("0", "1000000"), ("5000", "16"), ("-4", "16"), ("x", "1")])
def test_external_data_of_another_length_is_damage(offset: str, length: str, tmp_path: Path) -> None:
    (tmp_path / "weights.data").write_bytes(bytes(4096))
    model = _model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights.data"), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=value)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"the values of w"):
        open_source(tmp_path / "model.onnx")


@pytest.mark.shared
def test_the_torchvision_v2_is_read_with_its_family(shared_data: Path) -> None:
    network = open_source(shared_data / "models" / "onnx" / "torchvision_mobilenet_v2_opset13.onnx")
    assert (network.family, network.alpha) == ("v2", 1.0)
    assert {op.kind for op in network.graph.ops} == {
        "PAD", "CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "FULLY_CONNECTED",
    }  # fmt: skip
