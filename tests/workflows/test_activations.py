"""Activations in int16 and mixed: the graphs in LiteRT, TFLM, ONNX Runtime and C, and the choice of layers."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge import targets
from mnedge.codegen import vectors
from mnedge.codegen.compile import compile_c
from mnedge.codegen.emit import Unit
from mnedge.codegen.lower import lower
from mnedge.codegen.plan import plan
from mnedge.codegen.prune import prune
from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.quantization.interpret import first_output
from mnedge.quantization.io import with_io
from mnedge.quantization.ptq import PostTraining, quantize_ptq
from mnedge.quantization.wide import int16_ops
from mnedge.workflows import activations
from mnedge.workflows.activations import check_activations, quantize_activations

if TYPE_CHECKING:
    from pathlib import Path

FAST = PostTraining(effort="fast", ranges="min-max")


def conv(stride: int = 1, activation: str = "NONE", **more: int) -> dict[str, Any]:
    return {
        "stride_h": stride, "stride_w": stride, "padding": "SAME", "activation": activation,
        "dilation_h_factor": 1, "dilation_w_factor": 1, **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def network() -> Graph:
    """conv, hard-swish, depthwise, a gate, a sum, a padded pool, dense and softmax, with random weights."""
    rng = np.random.default_rng(5)

    def some(*shape: int, power: float = 1.0) -> np.ndarray:
        return (rng.normal(0, power, shape) / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else 1)).astype(np.float32)

    values = {
        "w1": some(8, 3, 3, 3), "b1": some(8, power=0.1), "w2": some(1, 3, 3, 8, power=3.0), "b2": some(8, power=0.1),
        "axes": np.array([1, 2], np.int32), "w3": some(8, 1, 1, 8), "b3": some(8, power=0.1),
        "edges": np.array([[0, 0], [1, 0], [0, 1], [0, 0]], np.int32), "w4": some(5, 8, power=6.0), "b4": some(5),
    }  # fmt: skip
    shapes = {
        "image": (1, 12, 10, 3), "conv1": (1, 6, 5, 8), "swish": (1, 6, 5, 8), "conv2": (1, 6, 5, 8),
        "squeezed": (1, 1, 1, 8), "logit": (1, 1, 1, 8), "gate": (1, 1, 1, 8), "gated": (1, 6, 5, 8),
        "sum": (1, 6, 5, 8), "padded": (1, 7, 6, 8), "pooled": (1, 4, 3, 8), "mean": (1, 8), "logits": (1, 5),
        "scores": (1, 5),
    }  # fmt: skip
    pool = {"padding": "SAME", "stride_h": 2, "stride_w": 2, "filter_height": 2, "filter_width": 2}
    ops = (
        Op("CONV_2D", ("image", "w1", "b1"), ("conv1",), conv(2)),
        Op("HARD_SWISH", ("conv1",), ("swish",)),
        Op("DEPTHWISE_CONV_2D", ("swish", "w2", "b2"), ("conv2",), conv(activation="RELU", depth_multiplier=1)),
        Op("MEAN", ("conv2", "axes"), ("squeezed",), {"keep_dims": True}),
        Op("CONV_2D", ("squeezed", "w3", "b3"), ("logit",), conv()),
        Op("LOGISTIC", ("logit",), ("gate",)),
        Op("MUL", ("conv2", "gate"), ("gated",), {"activation": "NONE"}),
        Op("ADD", ("gated", "swish"), ("sum",), {"activation": "NONE", "pot_scale_int16": True}),
        Op("PAD", ("sum", "edges"), ("padded",)),
        Op("MAX_POOL_2D", ("padded",), ("pooled",), {**pool, "activation": "NONE"}),
        Op("MEAN", ("pooled", "axes"), ("mean",), {"keep_dims": False}),
        Op("FULLY_CONNECTED", ("mean", "w4", "b4"), ("logits",), {"activation": "NONE"}),
        Op("SOFTMAX", ("logits",), ("scores",), {"beta": 1.0}),
    )
    tensors = [Tensor(name, shape, "float32") for name, shape in shapes.items()]
    tensors += [constant(name, value) for name, value in values.items()]
    return Graph({tensor.name: tensor for tensor in tensors}, ops, ("image",), ("scores",))


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(6).normal(0, 1, (24, 12, 10, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def mixed(network: Graph, pictures: np.ndarray) -> Graph:
    """Two stretches in int16 with int8 between them."""
    wide = frozenset(("conv2", "squeezed", "logit", "gate", "mean", "logits"))
    return quantize_ptq(network, pictures, replace(FAST, wide=wide)).graph


def noise(graph: Graph, network: Graph, pictures: np.ndarray) -> float:
    made, wanted = first_output(graph, pictures), first_output(network, pictures)
    return float(np.square(made - wanted).mean())


def rectified(network: Graph) -> Graph:
    """The network with RELU in place of HARD_SWISH: all of its ops have 16x8 kernels."""
    return network.replaced(ops=[replace(op, kind="RELU") if op.kind == "HARD_SWISH" else op for op in network.ops])


def dtypes(graph: Graph) -> dict[str, str]:
    return {op.outputs[0]: graph.tensors[op.outputs[0]].dtype for op in graph.ops}


def test_int16_is_everywhere_but_where_litert_has_no_kernel(network: Graph, pictures: np.ndarray) -> None:
    made = quantize_activations(network, pictures, FAST, "int16")
    bits = {row.layer: row.bits for row in made.layers}
    assert bits == {name: 8 if name == "swish" else 16 for name in bits}
    assert set(bits) == {op.outputs[0] for op in network.ops}
    kinds = [op.kind for op in made.graph.ops]
    # In, to and from the hard-swish, and out.
    assert kinds.count("QUANTIZE") == 4
    assert dtypes(made.graph)["scores"] == "int8"
    biases = {made.graph.tensors[name].dtype for name in ("b1", "b3", "b4")}
    # LiteRT's depthwise kernel takes 64 bits alone; the others are several times faster with 32.
    assert (biases, made.graph.tensors["b2"].dtype) == ({"int32"}, "int64")


def test_int16_leaves_the_noise_of_weights_alone(network: Graph, pictures: np.ndarray) -> None:
    whole = rectified(network)
    int8, int16 = (quantize_activations(whole, pictures, FAST, bits).graph for bits in ("int8", "int16"))
    rounded = whole.replaced(tensors=[constant(name, int8.tensors[name].real()) for name in ("w1", "w2", "w3", "w4")])
    ends = [noise(with_io(graph, "float32"), rounded, pictures) for graph in (int8, int16)]
    assert ends[1] < ends[0] / 10


def test_float_ends_are_those_of_int16(mixed: Graph, network: Graph, pictures: np.ndarray) -> None:
    whole = quantize_ptq(network, pictures, replace(FAST, wide=int16_ops(network))).graph
    shipped = with_io(whole, "float32")
    shipped.check()
    first, last = shipped.ops[0], shipped.ops[-1]
    assert (first.kind, shipped.tensors[first.outputs[0]].dtype) == ("QUANTIZE", "int16")
    assert (last.kind, shipped.tensors[str(last.inputs[0])].dtype) == ("DEQUANTIZE", "int16")
    assert with_io(mixed, "uint8").tensors["scores"].dtype == "uint8"


def test_layers_beside_each_other_share_conversions(mixed: Graph) -> None:
    made = dtypes(mixed)
    conversions = [op for op in mixed.ops if op.kind == "QUANTIZE"]
    # swish to conv2; conv2 and the gate to what is gated; pooled to the mean; logits to the softmax.
    assert len(conversions) == 5
    assert {name for name in ("conv1", "swish", "gated", "sum", "pooled", "scores") if made[name] == "int8"} == {
        "conv1", "swish", "gated", "sum", "pooled", "scores",
    }  # fmt: skip
    assert all(int(mixed.tensors[name].quantization.zero_point[0]) == 0 for name in made if made[name] == "int16")  # type: ignore[union-attr]


def test_the_file_says_what_16x8_kernels_need(mixed: Graph, network: Graph, pictures: np.ndarray) -> None:
    back = parse_tflite(write_tflite(mixed), "mixed")
    read = {op.outputs[0]: op for op in back.ops}
    assert read["logit"].options["quantized_bias_type"] == 2
    assert {name: read[name].version for name in ("conv1", "conv2", "logit", "logits", "gate")} == {
        "conv1": 3, "conv2": 5, "logit": 8, "logits": 11, "gate": 3,
    }  # fmt: skip
    summed = quantize_ptq(network, pictures, replace(FAST, wide=frozenset(("sum",)))).graph
    add = next(op for op in summed.ops if op.outputs[0] == "sum")
    assert add.options["pot_scale_int16"] is False


def test_sums_that_may_pass_32_bits_get_a_64_bit_bias() -> None:
    rng = np.random.default_rng(1)
    weights = np.full((4, 1200), 0.5, np.float32)
    tensors = [
        Tensor("x", (1, 1200), "float32"), Tensor("a", (1, 1200), "float32"), Tensor("y", (1, 4), "float32"),
        constant("w", weights), constant("b", np.zeros(4, np.float32)),
    ]  # fmt: skip
    ops = (Op("RELU", ("x",), ("a",)), Op("FULLY_CONNECTED", ("a", "w", "b"), ("y",), {"activation": "NONE"}))
    graph = Graph({tensor.name: tensor for tensor in tensors}, ops, ("x",), ("y",))
    samples = rng.normal(0, 1, (6, 1200)).astype(np.float32)
    made = quantize_activations(graph, samples, FAST, "int16").graph
    assert made.tensors["b"].dtype == "int64"
    assert noise(made, graph, samples) < 1e-3 * float(np.square(first_output(graph, samples)).mean())


def test_a_layer_that_makes_all_but_nothing_still_compiles() -> None:
    """Inputs that cancel: steps of what is made would be so fine that what other inputs make passes 32 bits."""
    weights = np.tile(np.array([[1e3, -1e3]], np.float32), (4, 32))
    shapes = {"x": (1, 64), "a": (1, 64), "y": (1, 4), "z": (1, 4)}
    tensors = [Tensor(name, shape, "float32") for name, shape in shapes.items()]
    tensors += [constant("w", weights), constant("b", np.zeros(4, np.float32))]
    ops = (
        Op("RELU", ("x",), ("a",)),
        Op("FULLY_CONNECTED", ("a", "w", "b"), ("y",), {"activation": "NONE"}),
        Op("RELU", ("y",), ("z",)),
    )
    graph = Graph({tensor.name: tensor for tensor in tensors}, ops, ("x",), ("z",))
    samples = np.repeat(np.random.default_rng(1).uniform(0, 1, (6, 1)), 64, axis=1).astype(np.float32)
    made = quantize_ptq(graph, samples, replace(FAST, wide=frozenset(("a", "y")))).graph
    assert len(lower(made).layers) >= 3


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
def test_c_of_a_mixed_file_is_exact_to_the_bit(tmp_path: Path, mixed: Graph) -> None:
    made = compile_c(mixed, name="m", target="generic", out=tmp_path / "out", model=write_tflite(mixed), measure=False)
    assert made.vectors == "2 from LiteRT's reference kernels"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-fsanitize=address,undefined"]
    subprocess.run(["gcc", *flags, "m.c", "test_m.c", "-o", "test"], cwd=tmp_path / "out", check=True)
    finished = subprocess.run(["./test"], cwd=tmp_path / "out", check=False, capture_output=True, text=True)
    assert (finished.stdout, finished.returncode) == ("2 of 2 vectors equal\n", 0), finished.stderr


@pytest.mark.skipif(find_spec("tflite_micro") is None, reason="pip install --pre 'mnedge[tflm]'")
def test_tflite_micro_makes_of_a_mixed_file_what_litert_makes(mixed: Graph) -> None:
    program, _ = prune(lower(mixed))
    unit = Unit("mixed", program, plan(program, "portable"), "portable", "mixed")
    images = vectors.noise(unit.input_bytes, 6)
    made, wanted = (
        vectors.reference_outputs(write_tflite(mixed), images, vectors.ends_of(unit), kernels=kernels)
        for kernels in ("tflm", "litert")
    )
    assert made is not None
    assert wanted is not None
    assert np.abs(made.astype(int) - wanted).max() <= 1


def test_onnx_runtime_computes_int16_layers_in_float(mixed: Graph, pictures: np.ndarray) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(write_onnx(mixed))
    made = np.concatenate([session.run(None, {"image": picture[None]})[0] for picture in pictures])
    # int8 layers between may come out a step beside LiteRT's.
    assert np.abs(made - first_output(mixed, pictures)).max() <= 3.5 / 256


def test_mixed_measures_what_16_bits_bring_and_cost(network: Graph, pictures: np.ndarray) -> None:
    made = quantize_activations(rectified(network), pictures, FAST, "mixed", 1000.0)
    rows = {row.layer: row for row in made.layers}
    assert sum(row.bits == 16 for row in made.layers) > 2
    wide = {name for name, dtype in dtypes(made.graph).items() if name in rows and dtype == "int16"}
    assert wide <= {name for name, row in rows.items() if row.bits == 16}
    assert 0 < float(str(made.settings["slowdown"])) <= 1000.0
    assert sum(row.error_fraction or 0.0 for row in made.layers) == pytest.approx(1.0)
    assert all(row.cost_fraction is not None for row in made.layers)


def test_mixed_is_int8_where_16_bits_bring_nothing(network: Graph, pictures: np.ndarray) -> None:
    """Two thirds of the noise come from before and behind the HARD_SWISH, which must stay int8."""
    made = quantize_activations(network, pictures, FAST, "mixed", 1000.0)
    rows = {row.layer: row for row in made.layers}
    assert sum(rows[name].error_fraction or 0.0 for name in ("conv1", "swish")) > 0.6
    assert rows["swish"].cost_fraction is None
    assert {row.bits for row in made.layers} == {8}
    assert "int16" not in dtypes(made.graph).values()
    assert made.settings["slowdown"] == 1.0


@pytest.mark.parametrize(
    ("budget", "kept", "tries"), [(2.0, "abcd", 1), (1.25, "ab", 3), (1.1, "a", 3), (1.05, "", 3), (1.35, "abc", 3)]
)
def test_as_many_picks_are_kept_as_the_budget_allows(budget: float, kept: str, tries: int) -> None:
    tried: list[frozenset[str]] = []

    def slowdown_of(wide: frozenset[str]) -> float:
        tried.append(wide)
        return 1 + len(wide) / 10

    wide, slowdown = activations._kept([frozenset(name) for name in "abcd"], slowdown_of, budget)
    assert wide == frozenset(kept)
    assert slowdown == 1 + len(kept) / 10
    assert len(tried) == tries


def test_layers_are_picked_by_error_for_their_time(network: Graph) -> None:
    able = int16_ops(network)
    costs = activations._Costs(network, 60.0, dict.fromkeys(able, 1.0) | {"conv2": 100.0}, 1e-3, 1e-3)
    shares = {"logit": 0.3, "conv2": 0.4, "logits": 0.2, "swish": 0.9, "sum": 1e-5, "scores": 0.9}
    picks = activations._picked(network, shares, costs, 6.0)
    # The hard-swish cannot, the depthwise layer is too dear, the scores are int8 to the caller.
    assert picks == [frozenset(("logit", "gate")), frozenset(("logits", "scores"))]
    assert activations._picked(network, shares, costs, 1.0) == []


@pytest.mark.parametrize(
    ("given", "target", "kind", "words"),
    [
        (("int8", 1.2, "ptq"), "cpu", InputError, "leave it out"),
        (("mixed", 0.5, "ptq"), "cpu", InputError, "at least 1"),
        (("int16", None, "qat"), "cpu", UnsupportedError, "--method ptq"),
        (("mixed", None, "ptq"), "cortex-m4", UnsupportedError, "--activations int16"),
    ],
)
def test_what_cannot_be_is_refused(given: tuple[Any, Any, Any], target: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        check_activations(*given, {target: targets.get(target)})


def test_a_model_without_16x8_kernels_is_refused(pictures: np.ndarray) -> None:
    tensors = [Tensor(name, (1, 12, 10, 3), "float32") for name in ("image", "out")]
    graph = Graph(
        {item.name: item for item in tensors}, (Op("HARD_SWISH", ("image",), ("out",)),), ("image",), ("out",)
    )
    with pytest.raises(UnsupportedError, match="leave --activations int16 out"):
        quantize_activations(graph, pictures, FAST, "int16")
