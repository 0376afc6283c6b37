"""Noise by tensor, against the values that LiteRT's reference kernels compute."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from mnedge.batch import Batch
from mnedge.errors import InputError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.quantization.ptq import PostTraining, quantize_ptq
from mnedge.results.inspection import LayerNoise
from mnedge.validation.layers import noise_by_tensor


def _float(graph: Graph) -> Graph:
    """The float model of an int8 one: the same ops on the real numbers that its constants stand for."""
    tensors = []
    for tensor in graph.tensors.values():
        if tensor.quantization is None:
            tensors.append(tensor)
        elif tensor.is_constant:
            tensors.append(constant(tensor.name, tensor.real()))
        else:
            tensors.append(Tensor(tensor.name, tensor.shape, "float32"))
    return graph.replaced(tensors=tensors)


def _images(count: int = 20) -> NDArray[np.float32]:
    return np.random.default_rng(2).uniform(-1, 1, (count, 8, 8, 3)).astype(np.float32)


def _every_value(graph: Graph, images: NDArray[Any]) -> list[dict[str, NDArray[Any]]]:
    """All tensors of each image as LiteRT's reference kernels compute them, as stored."""
    model = Interpreter(
        model_content=write_tflite(graph),
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    model.allocate_tensors()
    found = []
    for image in images:
        model.set_tensor(model.get_input_details()[0]["index"], image[None])
        model.invoke()
        details = model.get_tensor_details()
        wanted = [detail for detail in details if detail["name"] in graph.tensors and "_temp" not in detail["name"]]
        found.append({detail["name"]: model.get_tensor(detail["index"]) for detail in wanted})
    return found


def _measure(graph: Graph, reference: Graph, images: NDArray[np.float32]) -> LayerNoise:
    return noise_by_tensor(graph, reference, images, lambda _, __: None)


def test_signal_to_noise_is_that_of_the_runtime(small_int8: Graph) -> None:
    reference, images = _float(small_int8), _images()
    rows = {row.tensor: row for row in _measure(small_int8, reference, images).tensors}
    image_quantization = small_int8.tensors["image"].quantization
    assert image_quantization is not None
    steps = image_quantization.quantize(images, "int8")
    rounded, real = _every_value(small_int8, steps), _every_value(reference, images)
    for name in ("conv", "mean", "scores"):
        quantization = small_int8.tensors[name].quantization
        assert quantization is not None
        signal = sum(np.square(values[name], dtype=float).sum() for values in real)
        noise = sum(
            np.square(quantization.dequantize(values[name]) - there[name], dtype=float).sum()
            for values, there in zip(rounded, real, strict=True)
        )
        assert rows[name].sqnr_db == pytest.approx(10 * np.log10(signal / noise), abs=1.0), name


def test_with_the_weights_of_the_reference_only_activations_lose(small_int8: Graph) -> None:
    result = _measure(small_int8, _float(small_int8), _images())
    assert result.agreement.weights_only == 1.0
    assert result.output_sqnr_db.weights_only is None or result.output_sqnr_db.weights_only > 100
    weights = next(row for row in result.tensors if row.what == "weights")
    assert weights.sqnr_db is None
    assert weights.output_gain_db == pytest.approx(0.0, abs=1e-3)


def test_a_range_that_is_too_wide_or_too_narrow_comes_first(small_int8: Graph) -> None:
    reference = _float(small_int8)
    for scale, clips in ((0.5, False), (0.001, True)):
        conv = replace(small_int8.tensors["conv"], quantization=Quantization.per_tensor(scale, -10))
        worst = _measure(small_int8.replaced(tensors=[conv]), reference, _images()).tensors[0]
        assert worst.tensor == "conv"
        assert worst.output_gain_db > 3.0
        assert ((worst.clipped_fraction or 0.0) > 0.05) is clips


def test_coarse_weights_are_found(small_int8: Graph) -> None:
    reference = _float(small_int8)
    weights = small_int8.tensors["weights"]
    assert weights.quantization is not None
    coarse = Quantization.per_channel(weights.quantization.scale * np.float32(40), 0)
    data = coarse.quantize(weights.real(), "int8")
    graph = small_int8.replaced(tensors=[constant("weights", data, coarse)])
    worst = _measure(graph, reference, _images()).tensors[0]
    assert (worst.tensor, worst.what) == ("weights", "weights")


def test_weights_that_a_pass_rescaled_are_left_out(small_int8: Graph) -> None:
    reference = _float(small_int8)
    rescaled = constant("weights", reference.tensors["weights"].real() * np.float32(3))
    rows = _measure(small_int8, reference.replaced(tensors=[rescaled]), _images(4)).tensors
    assert {row.what for row in rows} == {"activation"}


def test_histograms_hold_every_value(small_int8: Graph) -> None:
    images = _images()
    for row in _measure(small_int8, _float(small_int8), images).tensors:
        size = int(np.prod(small_int8.tensors[row.tensor].shape))
        assert sum(row.histogram.counts) == size * (len(images) if row.what == "activation" else 1)
        assert row.min <= row.max


def test_models_that_do_not_fit_are_refused(small_int8: Graph) -> None:
    reference = _float(small_int8)
    with pytest.raises(InputError, match="no quantized activation"):
        _measure(reference, reference, _images(1))
    other = reference.replaced(tensors=[Tensor("scores", (1, 7), "float32")])
    with pytest.raises(InputError, match="the output of the model"):
        _measure(small_int8, other, _images(1))


def test_noise_of_two_inputs_is_told_of_each() -> None:
    tensors = {name: Tensor(name, (1, 4), "float32") for name in ("x", "z", "y")}
    float_graph = Graph(tensors, (Op("ADD", ("x", "z"), ("y",), {"activation": "NONE"}),), ("x", "z"), ("y",))
    rng = np.random.default_rng(0)
    samples = Batch({"x": rng.uniform(-1, 1, (20, 4)).astype(np.float32),
                     "z": rng.uniform(-9, 9, (20, 4)).astype(np.float32)})  # fmt: skip
    int8 = quantize_ptq(float_graph, samples, PostTraining(effort="fast", ranges="min-max")).graph
    found = noise_by_tensor(int8, float_graph, samples, lambda *_: None)
    rows = {row.tensor: row for row in found.tensors}
    assert set(rows) == {"x", "z", "y"}
    assert rows["z"].output_gain_db > rows["x"].output_gain_db
    with pytest.raises(InputError, match=r"the model has 2 inputs \(x, z\), the reference 1 \(x\)"):
        noise_by_tensor(int8, float_graph.replaced(inputs=["x"]), samples, lambda *_: None)
