"""Post-training quantization as a whole, judged by LiteRT on pictures that calibration has not seen."""

from __future__ import annotations

from typing import Any

import pytest

from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.executor import predict
from mnedge.graph.precision import float_ops
from mnedge.pixels import SYMMETRIC
from mnedge.quantization.ptq import MOST_IMAGES, PostTraining, quantize_ptq
from mnedge.quantization.quantized import agreement_of
from mnedge.runtimes.litert import LiteRtSession


@pytest.mark.parametrize("granularity", ["per-channel", "per-tensor"])
def test_planted_outliers_break_min_max_and_not_the_default(
    planted: Any, images: Any, litert: Any, granularity: Any
) -> None:
    pictures = images(150, 2)
    reference = predict(planted, pictures)
    plain = quantize_ptq(
        planted, images(24, 1), PostTraining(pixels=SYMMETRIC, effort="fast", ranges="min-max", granularity=granularity)
    )
    ours = quantize_ptq(planted, images(24, 1), PostTraining(pixels=SYMMETRIC, granularity=granularity))
    assert agreement_of("logits", reference, litert(plain.graph, pictures, delegate=True)) < 0.65
    assert agreement_of("logits", reference, litert(ours.graph, pictures, delegate=True)) > 0.88
    # What the account says is what LiteRT does, on the pictures that it was said of.
    seen = agreement_of("logits", predict(planted, images(24, 1)), litert(ours.graph, images(24, 1)))
    assert abs((ours.steps[-1].agreement or 0.0) - seen) <= 0.1


@pytest.mark.parametrize("granularity", ["per-channel", "per-tensor"])
def test_the_result_is_int8_throughout_and_one_partition(
    separable: Any, images: Any, tmp_path: Any, granularity: Any
) -> None:
    result = quantize_ptq(separable().graph(), images(12), PostTraining(granularity=granularity))
    assert float_ops(result.graph) == []
    for op in result.graph.ops:
        for name in (*op.inputs, *op.outputs):
            assert result.graph.tensors[str(name)].dtype in ("int8", "int32")
    (tmp_path / "model.tflite").write_bytes(write_tflite(result.graph))
    session = LiteRtSession(tmp_path / "model.tflite", threads=1)
    assert session.partitions == 1
    # XNNPACK has no int8 SOFTMAX; it stands behind the one partition.
    assert session.undelegated == ("SOFTMAX",)
    for name in ("stem/w", "deep/w", "point/w", "wide/w"):
        quantization = result.graph.tensors[name].quantization
        assert quantization is not None
        assert (quantization.axis is None) == (granularity == "per-tensor")
        assert (quantization.scale.size == 1) == (granularity == "per-tensor")


@pytest.mark.parametrize("effort", ["fast", "max"])
def test_a_seed_gives_the_same_bytes(net: Any, images: Any, effort: Any) -> None:
    made = net(seed=7).conv("c", 6, activation="NONE").hard_swish("h").conv("d", 8, stride=2, activation="NONE")
    graph = made.hard_swish("g").mean().dense("logits", 4).softmax().graph()
    first, second = (
        write_tflite(quantize_ptq(graph, images(10), PostTraining(effort=effort, seed=3)).graph) for _ in range(2)
    )
    assert first == second


def test_the_account_names_every_step(separable: Any, images: Any) -> None:
    graph = separable().graph()
    result = quantize_ptq(graph, images(10))
    names = [step.name for step in result.steps]
    fitted = "layers fitted, rounding with feedback, bias correction"
    assert names == ["equalized channels, ranges: output", fitted]
    assert all(0 <= (step.agreement or 0.0) <= 1 and step.seconds >= 0 for step in result.steps)
    assert result.settings == {
        "method": "ptq", "effort": "default", "granularity": "per-channel", "ranges": "output", "seed": 0,
        "images": 10,
    }  # fmt: skip
    plain = quantize_ptq(graph, images(10), PostTraining(effort="fast", ranges="min-max"))
    assert [step.name for step in plain.steps] == ["ranges: min-max"]
    assert plain.settings["ranges"] == "min-max"


def test_names_and_shapes_are_those_of_the_float_graph(separable: Any, images: Any) -> None:
    graph = separable().graph()
    int8 = quantize_ptq(graph, images(4), PostTraining(effort="fast")).graph
    assert (int8.inputs, int8.outputs) == (graph.inputs, graph.outputs)
    assert {name: tensor.shape for name, tensor in int8.tensors.items()} == {
        name: tensor.shape for name, tensor in graph.tensors.items()
    }


def test_images_beyond_the_limit_are_left_out(net: Any, images: Any) -> None:
    graph = net(shape=(1, 2, 2, 3)).conv("c", 2).graph()
    many = images(MOST_IMAGES + 40, side=2)
    first, second = (quantize_ptq(graph, part, PostTraining(effort="fast")) for part in (many, many[:MOST_IMAGES]))
    assert first.settings["images"] == MOST_IMAGES
    assert write_tflite(first.graph) == write_tflite(second.graph)


def test_one_image_is_enough_to_go_through(separable: Any, images: Any) -> None:
    assert float_ops(quantize_ptq(separable().graph(), images(1)).graph) == []
