"""Damage in every place that passes trust; what comes from a file is checked before they see it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np
import pytest

from mnedge.errors import InputError, MnedgeError, UnsupportedError
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_schema import schema
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.check import check_graph
from mnedge.graph.graph import Graph, Quantization

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _with(graph: Graph, name: str, **changes: Any) -> Graph:
    """The graph with one tensor changed."""
    return replace(graph, tensors={**graph.tensors, name: replace(graph.tensors[name], **changes)})


def _op(graph: Graph, place: int, **changes: Any) -> Graph:
    """The graph with one op changed."""
    ops = list(graph.ops)
    ops[place] = replace(ops[place], **changes)
    return replace(graph, ops=tuple(ops))


def _option(graph: Graph, place: int, **changes: Any) -> Graph:
    return _op(graph, place, options={**graph.ops[place].options, **changes})


def _scale(*scales: float, axis: int | None = None, zero_point: int = 0) -> Quantization:
    return Quantization(np.array(scales, np.float32), np.full(len(scales), zero_point, np.int64), axis)


_DAMAGE: dict[str, tuple[Callable[[Graph], Graph], str]] = {
    "an output listed twice": (
        lambda g: replace(g, outputs=("scores", "scores")),
        "output scores: it is listed 2 times",
    ),
    "an input listed twice": (lambda g: replace(g, inputs=("image", "image")), "input image: it is listed 2 times"),
    "an output that nothing makes": (lambda g: replace(g, ops=g.ops[:2]), "output scores: no op makes it"),
    "a constant input": (lambda g: replace(g, inputs=("image", "axes")), "input axes: it is a constant"),
    "a scale of the weights beyond any multiplier": (
        lambda g: _with(g, "weights", quantization=_scale(0.01, 0.01, 3.4e36, 0.01, axis=0)),
        r"op 0 \(CONV_2D\): its scales ask for a multiplier of 8\.89e\+35; less than 2\^30 is allowed",
    ),
    "a scale of the output below any multiplier": (
        lambda g: _with(g, "mean", quantization=_scale(1e-20)),
        r"op 1 \(MEAN\): its scales ask for a multiplier of 3e\+18; less than 2\^30 is allowed",
    ),
    "a missing input": (lambda g: _op(g, 1, inputs=("conv",)), r"op 1 \(MEAN\): 1 inputs; 2 are allowed"),
    "an input too many": (lambda g: _op(g, 2, inputs=("mean", "axes")), r"op 2 \(SOFTMAX\): 2 inputs; 1 are allowed"),
    "no output": (lambda g: _op(g, 0, outputs=()), r"op 0 \(CONV_2D\): 0 outputs; 1 are allowed"),
    "an input left out": (lambda g: _op(g, 1, inputs=("conv", None)), r"op 1 \(MEAN\): input 1 is left out"),
    "ops out of order": (lambda g: replace(g, ops=g.ops[::-1]), r"op 0 \(SOFTMAX\): it reads mean, which no op before"),
    "a tensor made twice": (
        lambda g: replace(g, ops=(*g.ops, g.ops[2])),
        r"op 3 \(SOFTMAX\): it makes scores, which is",
    ),
    "a constant made": (lambda g: _op(g, 2, outputs=("bias",)), r"op 2 \(SOFTMAX\): it makes bias, which is there"),
    "stride 0": (lambda g: _option(g, 0, stride_h=0), r"op 0 \(CONV_2D\): stride_h is 0; at least 1"),
    "dilation of 2^31 - 1": (
        lambda g: _option(g, 0, dilation_h_factor=2**31 - 1),
        r"op 0 \(CONV_2D\): dilation_h_factor is 2147483647; at least 1 and at most 32,768 is allowed",
    ),
    "dilation -1": (lambda g: _option(g, 0, dilation_w_factor=-1), "dilation_w_factor is -1; at least 1"),
    "an option that is NaN": (lambda g: _option(g, 2, beta=float("nan")), r"op 2 \(SOFTMAX\): beta is nan; a finite"),
    "a window too large": (lambda g: _option(g, 0, padding="VALID", dilation_h_factor=9), "does not fit into 8 x 8"),
    "another padding": (
        lambda g: _option(g, 0, padding="VALID"),
        r"conv has the shape \(1, 4, 4, 4\); \(1, 3, 3, 4\) is",
    ),
    "a scale of NaN": (
        lambda g: _with(g, "conv", quantization=_scale(float("nan"))),
        "tensor conv: scale nan; positive",
    ),
    "a scale of 0": (lambda g: _with(g, "conv", quantization=_scale(0.0)), "tensor conv: scale 0; positive numbers"),
    "a negative scale": (lambda g: _with(g, "bias", quantization=_scale(-1.0)), "tensor bias: scale -1; positive"),
    "a zero point out of range": (
        lambda g: _with(g, "conv", quantization=_scale(1.0, zero_point=300)),
        r"conv: zero point 300 is outside -128\.\.127",
    ),
    "scales along no axis": (
        lambda g: _with(g, "weights", quantization=_scale(*[0.1] * 4, axis=7)),
        r"4 scales do not fit axis 7 of the shape",
    ),
    "too few scales": (
        lambda g: _with(g, "weights", quantization=_scale(0.1, 0.1, axis=0)),
        "2 scales do not fit axis 0",
    ),
    "scales of an activation": (
        lambda g: _with(g, "conv", quantization=_scale(*[0.1] * 4, axis=3)),
        "conv: an activation has 4 scales; one is",
    ),
    "weights without a scale": (lambda g: _with(g, "weights", quantization=None), "weights are int8 without a scale"),
    "an activation without a scale": (
        lambda g: _with(g, "conv", quantization=None),
        "conv is int8 without a scale; one",
    ),
    "float weights": (
        lambda g: _with(g, "weights", dtype="float32", data=np.zeros((4, 3, 3, 3), np.float32), quantization=None),
        "weights weights are float32, data int8; int8 weights are allowed",
    ),
    "an int64 bias": (
        lambda g: _with(g, "bias", dtype="int64", data=np.zeros(4, np.int64)),
        "bias bias is int64; int32 is allowed",
    ),
    "a short bias": (
        lambda g: _with(g, "bias", shape=(3,), data=np.zeros(3, np.int32), quantization=None),
        r"bias bias has the shape \(3,\); \(4,\) is allowed",
    ),
    "weights of rank 3": (
        lambda g: _with(g, "weights", shape=(4, 9, 3), data=np.zeros((4, 9, 3), np.int8)),
        "4 dimensions are allowed",
    ),
    "weights of other channels": (
        lambda g: _with(g, "weights", shape=(4, 3, 3, 2), data=np.zeros((4, 3, 3, 2), np.int8)),
        r"weights \(4, 3, 3, 2\) do not fit data of 3 channels",
    ),
    "other output channels": (
        lambda g: _with(g, "conv", shape=(1, 4, 4, 5)),
        "conv has 5 channels, the weights weights",
    ),
    "float axes": (
        lambda g: _with(g, "axes", dtype="float32", data=np.array([1, 2], np.float32)),
        "axes is float32; int32 or int64",
    ),
    "an axis out of range": (lambda g: _with(g, "axes", data=np.array([1, 9], np.int32)), r"axis 9 is outside -4\.\.3"),
    "another dtype": (lambda g: _with(g, "scores", dtype="float32", quantization=None), "scores is float32; int8 is"),
    "an empty activation": (
        lambda g: _with(g, "mean", shape=(1, 0)),
        r"tensor mean: the shape \(1, 0\) holds no value",
    ),
}


def test_what_is_sound_passes(small_int8: Graph, digits_fp32: Graph) -> None:
    check_graph(small_int8, "m")
    check_graph(digits_fp32, "m")


@pytest.mark.parametrize("case", _DAMAGE)
def test_damage_is_named(small_int8: Graph, case: str) -> None:
    damage, said = _DAMAGE[case]
    with pytest.raises(InputError, match=said) as caught:
        check_graph(damage(small_int8), "m.tflite")
    assert str(caught.value).startswith("m.tflite is damaged: ")


def test_a_custom_op_under_the_name_of_a_builtin_is_refused(small_int8: Graph) -> None:
    graph = _op(small_int8, 0, options={"custom_options": b""})
    with pytest.raises(UnsupportedError, match=r"op 0 \(CONV_2D\) is a custom op under the name 'CONV_2D'"):
        check_graph(graph, "m")
    check_graph(_op(graph, 0, kind="Convolution"), "m")


def test_a_known_custom_op_has_its_inputs_and_outputs(small_int8: Graph) -> None:
    """LiteRT ends the process on one with fewer."""
    graph = _op(small_int8, 2, kind="TFLite_Detection_PostProcess", options={"custom_options": b""})
    with pytest.raises(InputError, match=r"op 2 \(TFLite_Detection_PostProcess\): 1 inputs; 3 are allowed"):
        check_graph(graph, "m")


def test_scales_along_input_channels_are_unsupported(small_int8: Graph) -> None:
    with pytest.raises(UnsupportedError, match="a scale for each place along axis 3; scales along axis 0 are read"):
        check_graph(_with(small_int8, "weights", quantization=_scale(0.1, 0.1, 0.1, axis=3)), "m")


def test_a_graph_without_ends_is_unsupported(small_int8: Graph) -> None:
    with pytest.raises(UnsupportedError, match="m has no output; a model with at least one is read"):
        check_graph(replace(small_int8, outputs=()), "m")


def test_a_scale_of_0_may_stand_for_zeros(small_int8: Graph) -> None:
    """Exporters give a channel whose weights are all 0 the scale 0."""
    weights = small_int8.tensors["weights"]
    assert weights.data is not None
    scales = _scale(0.1, 0.0, 0.1, 0.1, axis=0)
    with pytest.raises(InputError, match="weights: scale 0"):
        check_graph(_with(small_int8, "weights", quantization=scales), "m")
    dead = weights.data.copy()
    dead[1] = 0
    check_graph(_with(small_int8, "weights", quantization=scales, data=dead), "m")


def test_what_the_file_leaves_open_is_not_held_against_shapes(small_int8: Graph) -> None:
    wrong = _with(small_int8, "conv", shape=(1, 1, 1, 4))
    with pytest.raises(InputError, match="conv has the shape"):
        check_graph(wrong, "m")
    check_graph(wrong, "m", unknown={"conv"})
    found = check_graph(_with(small_int8, "conv", shape=()), "m")
    assert found.tensors["conv"].shape == small_int8.tensors["conv"].shape, "it follows from what the op reads"
    assert check_graph(small_int8, "m") is small_int8


def test_a_bias_with_the_axis_of_its_weights_is_read(small_int8: Graph) -> None:
    """Old converters wrote it so; LiteRT refuses it, TFLite Micro runs it."""
    model = schema.ModelT.InitFromPackedBuf(write_tflite(small_int8), 0)
    bias = next(tensor for tensor in model.subgraphs[0].tensors if tensor.name == b"bias")
    bias.quantization.quantizedDimension = 3
    found = parse_tflite(_packed(model), "m").tensors["bias"].quantization
    assert found is not None
    assert found.axis == 0


@pytest.mark.shared
def test_models_of_others_are_read(shared_data: Path) -> None:
    cases = shared_data.parent / "cases"
    files = [path for path in sorted(shared_data.parent.rglob("*.tflite")) if path.parent.name != "hostile"]
    if not (cases / "mcu").is_dir():
        pytest.skip("no cases of others beside the shared data")
    refused = {}
    for path in files:
        try:
            parse_tflite(path.read_bytes(), path.name)
        except MnedgeError as exc:
            refused[path.name] = str(exc)
    # Two subgraphs, an op that is not read, and what Vela compiled.
    assert set(refused) <= {"wake_word_hey_jarvis.tflite", "mnist_lstm.tflite", "person_detect_vela.tflite"}


def _packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("activation", ["TANH", "SIGN_BIT"])
def test_a_fused_activation_that_no_kernel_computes_is_unsupported(small_int8: Graph, activation: str) -> None:
    with pytest.raises(UnsupportedError, match=rf"op 0 \(CONV_2D\) has a fused {activation}"):
        check_graph(_option(small_int8, 0, activation=activation), "m")
