from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.executor import predict, simulate
from mnedge.graph.graph import Graph, Op, constant
from mnedge.pixels import SYMMETRIC
from mnedge.quantization.honesty import check_int8
from mnedge.quantization.interpret import first_output
from mnedge.quantization.ptq import PostTraining, quantize_ptq
from mnedge.quantization.quantized import agreement_of


def agreement(graph: Graph, int8: Graph, images: Any) -> float:
    return agreement_of("logits", predict(graph, images), first_output(int8, images))


def litert(graph: Graph, images: Any) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=write_tflite(graph))
    interpreter.allocate_tensors()
    rows = []
    for steps in np.round(images * 127.5 - 0.5).astype(np.int8):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], steps[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0].copy())
    return np.array(rows)


@pytest.mark.parametrize("granularity", ["per-channel", "per-tensor"])
def test_planted_outliers_break_min_max_and_not_the_default(
    outliers: Graph, pictures: Any, others: Any, granularity: Any
) -> None:
    plain = quantize_ptq(outliers, pictures, PostTraining(effort="fast", ranges="min-max", granularity=granularity))
    best = quantize_ptq(outliers, pictures, PostTraining(granularity=granularity))
    assert agreement(outliers, plain.graph, others) < 0.8
    assert agreement(outliers, best.graph, others) > 0.95


def test_the_delegate_runs_the_int8_graph_as_simulated(outliers: Graph, pictures: Any, others: Any) -> None:
    int8 = quantize_ptq(outliers, pictures).graph
    integers = litert(int8, others[:32])
    quantization = int8.tensors["scores"].quantization
    assert quantization is not None
    simulated = predict(int8, others[:32], on_tensor=simulate(int8))
    difference = np.abs(quantization.dequantize(integers) - simulated) * 256
    assert np.mean(difference) < 0.5
    assert np.mean(integers.argmax(-1) == simulated.argmax(-1)) > 0.96


def test_every_op_is_int8_and_names_are_kept(swish: Graph, pictures: Any) -> None:
    int8 = quantize_ptq(swish, pictures, PostTraining(effort="fast")).graph
    assert check_int8(int8) == []
    assert {op.outputs for op in int8.ops} == {op.outputs for op in swish.ops}
    assert int8.tensors["image"].dtype == int8.tensors["scores"].dtype == "int8"


def test_every_pixel_keeps_a_step_of_its_own(swish: Graph, pictures: Any) -> None:
    quantization = (
        quantize_ptq(swish, pictures, PostTraining(pixels=SYMMETRIC, effort="fast")).graph.tensors["image"].quantization
    )
    assert quantization is not None
    assert quantization.scale[0] == np.float32(1 / 127.5)
    assert quantization.zero_point[0] == -1


def test_the_same_seed_gives_the_same_bytes(swish: Graph, pictures: Any) -> None:
    first, second = (write_tflite(quantize_ptq(swish, pictures, PostTraining(seed=3)).graph) for _ in range(2))
    assert first == second


def test_steps_say_what_was_done(swish: Graph, pictures: Any) -> None:
    seen: list[float] = []
    result = quantize_ptq(swish, pictures, progress=lambda _, share: seen.append(share))
    first, last = (result.steps[place].agreement for place in (0, -1))
    assert first is not None
    assert last is not None
    assert last >= first - 0.02
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_max_agrees_on_pictures_it_never_saw(swish: Graph, pictures: Any, others: Any) -> None:
    assert agreement(swish, quantize_ptq(swish, pictures, PostTraining(effort="max")).graph, others) > 0.95


def test_a_dead_channel_and_a_dead_layer_still_load(outliers: Graph, pictures: Any) -> None:
    weights, bias = outliers.tensors["w1"].real().copy(), outliers.tensors["b1"].real().copy()
    weights[3], bias[3] = 1e-9, 2.0
    # All of conv3 is cut off by its ReLU: seen from calibration it is zero.
    cut = outliers.tensors["b3"].real() - 100
    graph = outliers.replaced(tensors=[constant("w1", weights), constant("b1", bias), constant("b3", cut)])
    int8 = quantize_ptq(graph, pictures).graph
    for op in int8.ops:
        if op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            data, fine, made = (int8.tensors[str(name)].quantization for name in (*op.inputs[:2], op.outputs[0]))
            assert data is not None
            assert fine is not None
            assert made is not None
            assert np.all(data.scale[0] * fine.scale / made.scale[0] < 256)
    assert litert(int8, pictures[:2]).shape == (2, 10)


def test_no_images_are_refused(swish: Graph) -> None:
    with pytest.raises(InputError, match="no calibration images"):
        quantize_ptq(swish, np.zeros((0, 16, 16, 3), np.float32))


def test_an_unknown_range_method_names_the_known(swish: Graph, pictures: Any) -> None:
    with pytest.raises(InputError, match=r"percentile"):
        quantize_ptq(swish, pictures, PostTraining(ranges="minmax"))


def test_an_op_without_int8_form_is_refused_or_kept_float(swish: Graph, pictures: Any, others: Any) -> None:
    ops = list(swish.ops)
    ops[-1] = Op("COS", ("logits",), ("scores",))
    graph = swish.replaced(ops=ops)
    with pytest.raises(UnsupportedError, match="COS"):
        quantize_ptq(graph, pictures)
    result = quantize_ptq(graph, pictures, PostTraining(effort="fast", allow_float=frozenset({"COS"})))
    assert [op.kind for op in check_int8(result.graph, ("COS",)) if op.kind == "COS"] == ["COS"]
    assert litert(result.graph, others[:1]).shape == (1, 10)


def test_a_quantized_graph_is_not_quantized_again(small_int8: Graph) -> None:
    with pytest.raises(UnsupportedError, match="quantized already"):
        quantize_ptq(small_int8, np.zeros((1, 8, 8, 3), np.float32), PostTraining(effort="fast"))
