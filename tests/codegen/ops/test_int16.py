"""int16 activations with int8 weights (16x8): each op and whole networks against LiteRT's reference kernels."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge import runtimes
from mnedge.codegen.compile import compile_c
from mnedge.codegen.emit import Unit
from mnedge.codegen.lower import lower
from mnedge.codegen.plan import plan
from mnedge.errors import UnsupportedError
from mnedge.formats.tflite_read import parse_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")


@dataclass
class Wide:
    """A 16x8 graph under construction."""

    rng: np.random.Generator
    tensors: list[Tensor] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)

    def value(self, shape: tuple[int, ...], scale: float | None = None, dtype: str = "int16") -> Tensor:
        scale = float(self.rng.uniform(0.0001, 0.001)) if scale is None else scale
        zero_point = 0 if dtype == "int16" else int(self.rng.integers(-128, 128))
        tensor = Tensor(f"t{len(self.tensors)}", shape, dtype, Quantization.per_tensor(scale, zero_point))
        self.tensors.append(tensor)
        return tensor

    def like(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        assert x.quantization is not None
        return self.value(shape, float(x.quantization.scale[0]))

    def constant(self, data: np.ndarray, quantization: Quantization | None = None) -> str:
        tensor = constant(f"c{len(self.tensors)}", data, quantization)
        self.tensors.append(tensor)
        return tensor.name

    def op(self, kind: str, inputs: tuple[str, ...], y: Tensor, **options: Any) -> Tensor:
        self.ops.append(Op(kind, inputs, (y.name,), options))
        return y

    def weights(
        self, shape: tuple[int, ...], axis: int, x: Tensor, y: Tensor, bias: str, *, per_tensor: bool = False
    ) -> tuple[str, ...]:
        rng, channels, taps = self.rng, shape[axis], int(np.prod(shape)) // shape[axis]
        assert x.quantization is not None
        assert y.quantization is not None
        reach = 70.0 * np.sqrt(taps)
        scales = (y.quantization.scale[0] / x.quantization.scale[0] / reach * rng.uniform(0.3, 3.0, channels)).astype(
            np.float32
        )
        scales = scales[:1] if per_tensor else scales
        quantization = (
            Quantization.per_tensor(float(scales[0]), 0) if per_tensor else Quantization.per_channel(scales, axis)
        )
        data = rng.integers(-127, 128, shape).astype(np.int8)
        data = np.where(
            np.arange(channels).reshape([-1 if dim == axis else 1 for dim in range(len(shape))]) == 1, 0, data
        )
        names = (self.constant(data.astype(np.int8), quantization),)
        if bias == "none":
            return names
        steps = rng.integers(-(1 << 20), 1 << 20, channels).astype(bias)
        bias_scales = (scales * x.quantization.scale[0]).astype(np.float32)
        of_bias = (
            Quantization.per_tensor(float(bias_scales[0]), 0)
            if per_tensor
            else Quantization.per_channel(bias_scales, 0)
        )
        return (*names, self.constant(steps, of_bias))

    def conv(
        self,
        x: Tensor,
        channels: int,
        kernel: tuple[int, int],
        *,
        stride: int = 1,
        dilation: int = 1,
        padding: str = "SAME",
        bias: str = "int64",
        multiplier: int = 0,
        activation: str = "NONE",
    ) -> Tensor:
        _, rows, columns, depth = x.shape
        reach = [(taps - 1) * dilation + 1 for taps in kernel]
        extents = [rows, columns] if padding == "SAME" else [rows - reach[0] + 1, columns - reach[1] + 1]
        made = [-(-extent // stride) for extent in extents]
        out = depth * multiplier if multiplier else channels
        y = self.value((1, made[0], made[1], out))
        shape = (1, *kernel, out) if multiplier else (out, *kernel, depth)
        names = self.weights(shape, 3 if multiplier else 0, x, y, bias)
        options: dict[str, Any] = {
            "padding": padding, "stride_h": stride, "stride_w": stride, "dilation_h_factor": dilation,
            "dilation_w_factor": dilation, "activation": activation,
        }  # fmt: skip
        if multiplier:
            return self.op("DEPTHWISE_CONV_2D", (x.name, *names), y, **options, depth_multiplier=multiplier)
        # The schema's codes of int32 and int64.
        return self.op("CONV_2D", (x.name, *names), y, **options, quantized_bias_type={"int32": 2}.get(bias, 4))

    def graph(self, *outputs: Tensor) -> Graph:
        tensors = {tensor.name: tensor for tensor in self.tensors}
        return Graph(tensors, tuple(self.ops), (self.tensors[0].name,), tuple(tensor.name for tensor in outputs))


CONVOLUTIONS = [
    {"channels": 7, "kernel": (3, 3)},
    {"channels": 8, "kernel": (3, 3), "stride": 2, "activation": "RELU"},
    {"channels": 5, "kernel": (1, 1), "activation": "RELU6"},
    {"channels": 4, "kernel": (3, 2), "dilation": 2, "padding": "VALID"},
    {"channels": 6, "kernel": (5, 3)},
    {"channels": 6, "kernel": (3, 3), "bias": "int32"},
    {"channels": 0, "kernel": (3, 3), "multiplier": 1},
    {"channels": 0, "kernel": (3, 3), "multiplier": 2, "stride": 2, "padding": "VALID", "activation": "RELU_N1_TO_1"},
    {"channels": 0, "kernel": (5, 5), "multiplier": 1, "bias": "none"},
]


def build_case(name: str, rng: np.random.Generator) -> Graph:  # noqa: C901, PLR0911, PLR0912 - one case a name
    wide = Wide(rng)
    x = wide.value((1, 9, 7, 6))
    pool = {"padding": "SAME", "stride_h": 2, "stride_w": 1, "filter_height": 3, "filter_width": 2}
    axes = wide.constant(np.array([1, 2], np.int32))
    if name.startswith("conv"):
        return wide.graph(wide.conv(x, **CONVOLUTIONS[int(name[4:])]))  # type: ignore[arg-type]
    if name.startswith("fc"):
        y = wide.value((1, 13))
        names = wide.weights((13, 378), 0, x, y, name[2:].split("_", maxsplit=1)[0], per_tensor=name.endswith("tensor"))
        code = 2 if "int32" in name else 4
        return wide.graph(wide.op("FULLY_CONNECTED", (x.name, *names), y, activation="RELU", quantized_bias_type=code))
    if name in ("ADD", "SUB", "MUL"):
        other = wide.conv(x, 6, (1, 1))
        options = {} if name == "MUL" else {"pot_scale_int16": False}
        y = wide.op(name, (x.name, other.name), wide.value(x.shape), activation="RELU", **options)
        scale = Quantization.per_tensor(0.0003, 0)
        row = wide.constant(rng.integers(-32768, 32768, (1, 1, 1, 6)).astype(np.int16), scale)
        y = wide.op(name, (y.name, row), wide.value(x.shape), activation="NONE", **options)
        column = wide.op(
            "MEAN", (y.name, wide.constant(np.array([2], np.int32))), wide.value((1, 9, 1, 6)), keep_dims=True
        )
        return wide.graph(wide.op(name, (column.name, y.name), wide.value(x.shape), activation="NONE", **options))
    if name == "AVERAGE_POOL_2D":
        return wide.graph(wide.op(name, (x.name,), wide.like(x, (1, 5, 7, 6)), activation="NONE", **pool))
    if name == "MAX_POOL_2D":
        return wide.graph(wide.op(name, (x.name,), wide.like(x, (1, 5, 7, 6)), activation="RELU6", **pool))
    if name == "MEAN":
        return wide.graph(wide.op(name, (x.name, axes), wide.value((1, 6)), keep_dims=False))
    if name == "PAD":
        amounts = wide.constant(np.array([[0, 0], [1, 2], [0, 1], [2, 0]], np.int32))
        y = wide.op(name, (x.name, amounts), wide.like(x, (1, 12, 8, 8)))
        amounts = wide.constant(np.array([[0, 0], [1, 2], [0, 1], [0, 0]], np.int32))
        y = wide.op(name, (y.name, amounts), wide.like(x, (1, 15, 9, 8)))
        return wide.graph(wide.conv(y, 4, (3, 3), padding="VALID"))
    if name == "SOFTMAX":
        flat = wide.like(x, (9, 42))
        flat = wide.like(x, (1, 9, 42))
        flat = wide.op("RESHAPE", (x.name, wide.constant(np.array(flat.shape, np.int32))), flat, new_shape=flat.shape)
        return wide.graph(wide.op(name, (flat.name,), wide.value(flat.shape, 1 / 32768), beta=1.0))
    if name in ("MAXIMUM", "MINIMUM"):
        other = wide.op(
            "MAX_POOL_2D", (x.name,), wide.like(x, (1, 9, 7, 6)), activation="NONE", **{**pool, "stride_h": 1}
        )
        y = wide.op(name, (x.name, other.name), wide.like(x, x.shape))
        row = wide.constant(rng.integers(-32768, 32768, (1, 1, 1, 6)).astype(np.int16), x.quantization)
        return wide.graph(wide.op(name, (y.name, row), wide.like(x, x.shape)))
    if name.startswith("RESIZE"):
        size = wide.constant(np.array([4, 15], np.int32))
        return wide.graph(wide.op(name, (x.name, size), wide.like(x, (1, 4, 15, 6)), half_pixel_centers=True))
    if name.startswith("LEAKY_RELU"):
        finest = 2e-5 if name.endswith("saturating") else None
        alpha = -1.3 if name.endswith("negative") else 0.21
        return wide.graph(wide.op("LEAKY_RELU", (x.name,), wide.value(x.shape, finest), alpha=alpha))
    if name in ("LOGISTIC", "TANH"):
        y = wide.op(name, (x.name,), wide.value(x.shape, 1 / 32768))
        other = wide.op("RELU6", (x.name,), wide.value(x.shape, 2.0**-12))
        return wide.graph(y, wide.op(name, (other.name,), wide.value(x.shape, 1 / 32768)))
    if name == "QUANTIZE":
        narrow = wide.op(name, (x.name,), wide.value(x.shape, 0.2, "int8"))
        y = wide.op(name, (narrow.name,), wide.value(x.shape))
        return wide.graph(
            wide.op(name, (y.name,), wide.value(x.shape)), wide.op("RELU", (y.name,), wide.value(x.shape))
        )
    if name == "CONCATENATION":
        other = wide.op(
            "REDUCE_MAX", (x.name, wide.constant(np.array([3], np.int32))), wide.like(x, (1, 9, 7, 1)), keep_dims=True
        )
        y = wide.op(name, (x.name, other.name, x.name), wide.like(x, (1, 9, 7, 13)), axis=3, activation="NONE")
        order = wide.constant(np.array([0, 3, 1, 2], np.int32))
        y = wide.op("TRANSPOSE", (y.name, order), wide.like(x, (1, 13, 9, 7)))
        begin, size = (wide.constant(np.array(place, np.int32)) for place in ([0, 1, 2, 0], [1, 12, 5, 7]))
        y = wide.op("SLICE", (y.name, begin, size), wide.like(x, (1, 12, 5, 7)))
        places = wide.constant(np.array([4, 0, 2], np.int32))
        y = wide.op("GATHER", (y.name, places), wide.like(x, (1, 12, 3, 7)), axis=2, batch_dims=0)
        parts = [wide.like(x, (1, 6, 3, 7)) for _ in range(2)]
        wide.ops.append(
            Op(
                "SPLIT",
                (wide.constant(np.array(1, np.int32)), y.name),
                tuple(part.name for part in parts),
                {"num_splits": 2},
            )
        )
        return wide.graph(parts[1], parts[0])
    raise AssertionError(name)


NAMES = [
    *(f"conv{number}" for number in range(len(CONVOLUTIONS))), "fcint64", "fcint64_tensor", "fcnone_tensor", "fcint32",
    "ADD", "SUB", "MUL", "AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "PAD", "SOFTMAX", "LOGISTIC", "TANH", "QUANTIZE",
    "CONCATENATION", "MAXIMUM", "MINIMUM", "RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR",
    "LEAKY_RELU", "LEAKY_RELU negative", "LEAKY_RELU saturating",
]  # fmt: skip


PLANS: list[dict[str, Any]] = [{"prefer": "ram"}, {"streamed": True}, {"input_in_arena": True}, {"prefer": "speed"}]


def test_each_op_is_bit_exact(tmp_path: Path, run_sanitized: Callable[..., Any], reference: Callable[..., Any]) -> None:
    cases = []
    for number, name in enumerate(NAMES):
        rng = np.random.default_rng(number)
        graph = build_case(name, rng)
        program = lower(graph)
        options = PLANS[number % len(PLANS)]
        if options.get("streamed") and program.layers[0].kernel.form == "whole":
            options = PLANS[0]
        unit = Unit(f"model{number}", program, plan(program, "portable", **options), "portable", name)
        images = rng.integers(-32768, 32768, (6, 9 * 7 * 6)).astype(np.int16)
        images[1] //= 100
        images[2] //= 10
        cases.append((name, graph, unit, images))
    results = run_sanitized(tmp_path, [(unit, images) for _, _, unit, images in cases])
    for (name, graph, _, images), ran in zip(cases, results, strict=True):
        expected = reference(graph, images)
        assert np.array_equal(ran.outputs, expected), (name, int((ran.outputs != expected).sum()))


def test_zero_points_mixed_ends_and_ops_without_a_kernel_are_refused() -> None:
    wide = Wide(np.random.default_rng(0))
    x = wide.value((1, 2, 2, 3))
    squared = wide.graph(wide.op("HARD_SWISH", (x.name,), wide.value(x.shape)))
    with pytest.raises(
        UnsupportedError, match=r"HARD_SWISH .op 0, output t1. is on int16; the ops with a kernel for int16"
    ):
        lower(squared)
    wide = Wide(np.random.default_rng(0))
    x = wide.value((1, 2, 2, 3))
    narrow = wide.op("QUANTIZE", (x.name,), wide.value(x.shape, 0.1, "int8"))
    with pytest.raises(UnsupportedError, match="the outputs are int16, int8; int16 ends"):
        lower(wide.graph(narrow, wide.op("RELU", (x.name,), wide.value(x.shape))))
    steps = Quantization.per_tensor(0.1, 3)
    tensors = {name: Tensor(name, (1, 4), "int16", steps) for name in "xy"}
    with pytest.raises(UnsupportedError, match="int16 with the zero point 3; TFLite's int16 has 0"):
        lower(Graph(tensors, (Op("RELU", ("x",), ("y",)),), ("x",), ("y",)))
    steps = Quantization.per_tensor(2.0**-10, 0)
    tensors = {name: Tensor(name, (1, 4), "int16", steps) for name in "xyz"}
    add = Op("ADD", ("x", "y"), ("z",), {"activation": "NONE", "pot_scale_int16": True})
    with pytest.raises(UnsupportedError, match="convert the model again without that option"):
        lower(Graph(tensors, (add,), ("x", "y"), ("z",)))


def test_sums_beyond_the_accumulators_of_the_runtime_are_refused() -> None:
    steps = Quantization.per_tensor(0.001, 0)
    tensors = (
        Tensor("x", (1, 4), "int16", steps),
        constant("w", np.ones((2, 4), np.int8), Quantization.per_tensor(0.01, 0)),
        constant("b", np.array([1, 1 << 50], np.int64), Quantization.per_tensor(0.00001, 0)),
        Tensor("y", (1, 2), "int16", steps),
    )
    ops = (Op("FULLY_CONNECTED", ("x", "w", "b"), ("y",), {"activation": "NONE"}),)
    graph = Graph({tensor.name: tensor for tensor in tensors}, ops, ("x",), ("y",))
    with pytest.raises(UnsupportedError, match="channel 1 can sum up to 1,125,899,906,"):
        lower(graph)


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["float32", "int16"])
def test_a_converted_keras_model_runs_from_end_to_end(tmp_path: Path, ends: str) -> None:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((24, 20, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    y = layers.ReLU(6)(layers.DepthwiseConv2D(3, padding="same")(x))
    x = layers.Add()([x, layers.Conv2D(8, 1)(y)])
    gate = layers.Dense(8, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.ZeroPadding2D(1)(layers.MaxPooling2D(2)(layers.Multiply()([x, gate])))
    x = layers.AveragePooling2D(2)(layers.Conv2D(12, 3, strides=2, activation="tanh")(x))
    x = layers.Flatten()(layers.Concatenate()([x, x * 0.5]))
    model = keras.Model(image, layers.Dense(5, activation="softmax")(x))
    chance = np.random.default_rng(1)
    model.export(str(tmp_path / "saved"), verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    pictures = chance.normal(0, 1, (20, 1, 24, 20, 3)).astype(np.float32)
    converter.representative_dataset = lambda: ([picture] for picture in pictures)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.as_dtype(ends)
    data = converter.convert()
    graph = parse_tflite(data, "the converted model")
    made = compile_c(graph, name="m", target="generic", out=tmp_path / "out", model=data, measure=False)
    assert made.vectors == "2 from LiteRT's reference kernels"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-fsanitize=address,undefined"]
    subprocess.run(["gcc", *flags, "m.c", "test_m.c", "-o", "test"], cwd=tmp_path / "out", check=True)
    finished = subprocess.run(["./test"], cwd=tmp_path / "out", check=False, capture_output=True, text=True)
    assert (finished.stdout, finished.returncode) == ("2 of 2 vectors equal\n", 0), finished.stderr
    session = runtimes.get("compiled-c").open(tmp_path / "out", threads=1)
    assert [spec.dtype for spec in session.inputs] == ["int16"]
