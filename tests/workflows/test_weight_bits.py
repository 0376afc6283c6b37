"""Weights of 4 bits: LiteRT's answers, the bytes they save, and the choice of layers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from mnedge import targets
from mnedge.codegen.compile import compile_c
from mnedge.devices import _boards
from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.executor import predict
from mnedge.passes._pass import run_passes
from mnedge.quantization.ptq import PostTraining
from mnedge.quantization.reconstruct import best_step, round_with_feedback
from mnedge.recipe import Recipe
from mnedge.report.tables import layers
from mnedge.results.report import LayerBits
from mnedge.workflows.weight_bits import Bits, check_weight_bits, int4_layers, quantize_bits
from tests.quantization.conftest import Net, smooth_pictures

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.choices import Effort
    from mnedge.graph.graph import Graph


@pytest.fixture(scope="module")
def network() -> Graph:
    """Has two layers of 4 bits: a 1x1 convolution of one pixel, and the logits behind it."""
    net = Net((1, 16, 16, 3)).conv("conv", 12, stride=2).conv("deep", depthwise=True).conv("point", 16, kernel=1)
    return _pooled(net).conv("pixel", 20, kernel=1).conv("logits", 10, kernel=1, activation="NONE").graph()


def _pooled(net: Net, name: str = "pooled") -> Net:
    axes, depth = net.constant("axes", np.array([1, 2], np.int32)), net.tensors[net.at].shape[3]
    return net.op("MEAN", name, (net.at, axes), (1, 1, 1, depth), keep_dims=True)


def _with_dead_squeeze() -> Graph:
    """Squeeze-and-excite whose squeeze is 0 on every picture, as one of MobileNetV3 small's: the gate is a bias."""
    net = Net((1, 16, 16, 3)).conv("conv", 8, stride=2)
    _pooled(net).conv("squeeze", 4, kernel=1, bias=np.full(4, -50.0))
    net.conv("excite", 8, kernel=1, activation="RELU6", bias=np.linspace(1.0, 5.0, 8))
    net.op("MUL", "gated", ("conv", "excite"), net.tensors["conv"].shape, activation="NONE")
    return _pooled(net, "features").conv("logits", 6, kernel=1, activation="NONE").graph()


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.float32]:
    made: NDArray[np.float32] = smooth_pictures(64, 1)
    return made


def _answers(graph: Graph, images: NDArray[np.float32], *, delegate: bool = False) -> NDArray[np.int8]:
    """Steps that LiteRT's reference kernels, or those of its delegate, give of the written file."""
    resolver = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_REF
    interpreter = Interpreter(model_content=write_tflite(graph), experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = source["quantization"]
    found = []
    for image in images:
        steps = np.clip(np.round(image / scale) + zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(source["index"], steps[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(result["index"]))
    return np.concatenate(found)


@pytest.mark.parametrize("effort", ["fast", "default"])
def test_a_squeeze_that_is_always_0_does_not_kill_the_gate(pictures: NDArray[np.float32], effort: Effort) -> None:
    graph = _with_dead_squeeze()
    made = quantize_bits(graph, pictures, PostTraining(effort=effort), Bits(weights="4"))
    assert {row.layer for row in made.layers if row.weights_bits == 4} == {"squeeze", "excite", "logits"}
    # The delegate's kernels sum sixteenfold: biases of 2^27 steps and more wrap around in them alone.
    steps = _answers(made.graph, pictures[:16]), _answers(made.graph, pictures[:16], delegate=True)
    assert np.abs(steps[0].astype(int) - steps[1]).max() <= 3
    quantization = made.graph.tensors[made.graph.outputs[0]].quantization
    assert quantization is not None
    exact = predict(graph, pictures[:16])
    assert np.square(quantization.dequantize(steps[1]) - exact).mean() < 0.03 * exact.var()


@pytest.mark.parametrize("effort", ["fast", "default"])
def test_weights_of_4_bits_are_what_litert_takes(network: Graph, pictures: NDArray[np.float32], effort: Effort) -> None:
    chosen = PostTraining(effort=effort)
    made = quantize_bits(network, pictures, chosen, Bits(weights="4"))
    narrow = {row.layer for row in made.layers if row.weights_bits == 4}
    assert narrow == {"pixel", "logits"}
    assert made.settings["weights_bits"] == "4"
    for op in made.graph.ops:
        assert (op.kind == "FULLY_CONNECTED") == (op.outputs[0] in narrow)
        weights = made.graph.tensors[str(op.inputs[1])] if len(op.inputs) == 3 else None
        if weights is not None and weights.data is not None:
            assert weights.is_int4 == (op.outputs[0] in narrow)
            assert np.abs(weights.data).max() <= (7 if weights.is_int4 else 127)
    # As a file of 8 bits with the same steps answers.
    plain = made.graph.replaced(tensors=[replace(tensor, is_int4=False) for tensor in made.graph.tensors.values()])
    np.testing.assert_array_equal(_answers(made.graph, pictures[:8]), _answers(plain, pictures[:8]))
    saved = len(write_tflite(plain)) - len(write_tflite(made.graph))
    told = [row.weights_bytes_saved for row in made.layers if row.layer in narrow]
    assert told == [160, 100]
    assert abs(saved - 260) <= 32
    read = parse_tflite(write_tflite(made.graph), "made.tflite")
    assert read.tensors["pixel/w"].is_int4
    np.testing.assert_array_equal(read.tensors["pixel/w"].data, made.graph.tensors["pixel/w"].data)


def test_rounding_with_feedback_on_the_best_grid_loses_less_than_rounding_to_the_nearest() -> None:
    random = np.random.default_rng(0)
    # Inputs that go together, as channels of a network do.
    inputs = random.normal(size=(500, 40)) @ random.normal(size=(40, 40)) / 6
    weights, hessian = random.normal(size=(1, 20, 40)), (inputs.T @ inputs / 500)[None]
    damped = hessian + 0.01 * np.eye(40)
    largest = np.abs(weights).max(axis=2) / 7
    nearest = np.clip(np.round(weights / largest[..., None]), -7, 7) * largest[..., None]
    step = best_step(weights, largest, damped, hessian, np.linspace(0.5, 1.0, 11), 7)
    made = round_with_feedback(weights, step, damped, 7)
    assert np.abs(np.round(made / step[..., None])).max() <= 7
    lost = [np.square((rounded - weights)[0] @ inputs.T).mean() for rounded in (nearest, made)]
    assert lost[1] < 0.5 * lost[0]


def test_mixed_takes_layers_whose_noise_is_below_that_of_int8(network: Graph, pictures: NDArray[np.float32]) -> None:
    made = quantize_bits(network, pictures, PostTraining(), Bits(weights="mixed"))
    rows = {row.layer: row for row in made.layers}
    noise = {name: row.weights_noise for name, row in rows.items() if row.weights_noise is not None}
    assert set(noise) == {"pixel", "logits"}
    narrow = [name for name, row in rows.items() if row.weights_bits == 4]
    assert sum(noise[name] for name in narrow) <= 1.0
    # What is left out would have gone beyond it.
    for name in set(noise) - set(narrow):
        assert noise[name] + sum(noise[other] for other in narrow) > 1.0


def test_what_has_no_kernel_or_no_layer_is_refused(pictures: NDArray[np.float32]) -> None:
    cpu = {"cpu": targets.get("cpu")}
    check_weight_bits(Bits("int16", None, "8"), "qat", "per-tensor", {"cortex-m4": targets.get("cortex-m4")})
    with pytest.raises(InputError, match="--weights-bits 4 goes with activations in int8"):
        check_weight_bits(Bits("mixed", None, "4"), "ptq", None, cpu)
    with pytest.raises(InputError, match="leave --granularity per-tensor out"):
        check_weight_bits(Bits(weights="mixed"), "ptq", "per-tensor", cpu)
    with pytest.raises(UnsupportedError, match="give --method ptq, or leave --weights-bits out"):
        check_weight_bits(Bits(weights="4"), "qat", None, cpu)
    check_weight_bits(Bits(weights="4"), "ptq", None, {**cpu, "cortex-m4": targets.get("cortex-m4")})
    with pytest.raises(UnsupportedError, match="saves nothing on the target ethos-u55-128"):
        check_weight_bits(Bits(weights="4"), "ptq", None, {**cpu, "ethos-u55-128": targets.get("ethos-u55-128")})
    bare = Net((1, 16, 16, 3)).conv("conv", 4).graph()
    assert int4_layers(bare) == []
    with pytest.raises(UnsupportedError, match="no dense layer with an even number of inputs"):
        quantize_bits(bare, pictures, PostTraining(), Bits(weights="4"))


@pytest.mark.toolchain
@pytest.mark.skipif(bool(_boards.missing_tools()), reason=f"missing {_boards.missing_tools()}; {_boards.ADVICE}")
def test_a_microcontroller_gives_the_answers_of_the_file(
    network: Graph, pictures: NDArray[np.float32], tmp_path: Path
) -> None:
    made = {
        bits: write_tflite(quantize_bits(network, pictures, PostTraining(effort="fast"), Bits(weights=bits)).graph)
        for bits in ("4", "8")
    }
    compiled = {
        bits: compile_c(
            parse_tflite(model, "net.tflite"), name="net", target="cortex-m4", out=tmp_path / bits, model=model
        )
        for bits, model in made.items()
    }
    assert compiled["4"].verified.startswith("emulated cortex-m4")
    narrow = {bits: ["int4" in layer.kernel for layer in each.layers].count(True) for bits, each in compiled.items()}
    assert narrow == {"4": 2, "8": 0}


def test_a_recipe_may_give_a_number() -> None:
    assert Recipe(weights_bits="4").weights_bits == "4"
    assert Recipe().with_flags({"weights_bits": 4}).weights_bits == "4"
    with pytest.raises(InputError, match="weights_bits"):
        Recipe().with_flags({"weights_bits": 5})


def test_layers_without_fast_kernels_stay_at_8_bits(network: Graph) -> None:
    odd = _pooled(Net((1, 16, 16, 3)).conv("conv", 6, kernel=1)).conv("pixel", 7, kernel=1).conv("logits", 4, kernel=1)
    layers_of_4_bits = int4_layers(run_passes(odd.graph(), ("pixel-conv-to-dense",)))
    # Seven inputs are odd, and 1x1 convolutions of larger maps stay outside the delegate.
    assert [layer.output for layer in layers_of_4_bits] == ["pixel"]
    assert int4_layers(network) == []


def test_the_table_counts_what_it_does_not_show() -> None:
    rows = [
        LayerBits("a", "CONV_2D", 8, weights_bits=8),
        LayerBits("b", "FULLY_CONNECTED", 8, weights_bits=4, weights_noise=0.25, weights_bytes_saved=160),
    ]
    table = layers(rows)
    assert [[cell.text for cell in row] for row in table.rows] == [["b", "FULLY_CONNECTED", "4", "160", "25.00"]]
    assert table.notes[:2] == ("4 bits save 160 bytes.", "1 other layers have weights of 8 bits.")
