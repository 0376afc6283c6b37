"""int8 of this project against the stock tools, on this machine: latency as ratios, and file sizes.

    python tests/benchmarks/speed.py [--variant v3-small]... [--seconds 6] [--profile]

Every artifact of a variant is timed in turns in one run. Weights are random (He initialisation), which leaves latency
as it is with trained ones; images are the demo data. The stock artifacts are TFLite's converter (full int8, int8 in
and out) and ONNX Runtime's `quantize_static` (uint8 activations, per-channel) on this project's own float ONNX.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from typer import echo

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from mnedge.formats.keras import keras_to_graph
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_read import read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.models.build import build_model
from mnedge.models.variant import Variant
from mnedge.passes._pass import run_passes
from mnedge.pixels import SYMMETRIC
from mnedge.quantization.ptq import PostTraining, quantize_ptq
from mnedge.targets.cpu import TARGET
from mnedge.validation.latency import Timing, compare, conditions, time_in_turns
from mnedge.validation.op_latency import by_kind, op_latency

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Per variant and runtime: at least so many times faster than the stock int8, and than the own float artifact.
TARGETS = {
    "v3-small": {"tflite": (5.0, 1.9), "onnx": (1.4, 1.2)},
    "v3-large": {"tflite": (3.8, 2.0)},
    "v2": {"tflite": (1.0, 2.1), "onnx": (1.0, 2.2)},
    "v1": {"tflite": (1.0, 2.7)},
}
_MOST_BYTES = 1.06


def images_of(resolution: int, count: int = 32) -> NDArray[np.float32]:
    """Demo pictures in [-1, 1], NHWC."""
    from mnedge.data import open_dataset

    dataset = open_dataset("demo")
    return SYMMETRIC.real(dataset.pixels(dataset.split("calibration", count), resolution)[0])


def build(variant: Variant, folder: Path) -> dict[str, Path]:
    """Makes own and stock artifacts; keys are "tflite" or "onnx", then "float", "int8" or "stock"."""
    images = images_of(variant.resolution)
    model = build_model(variant, "random", 0)
    float_graph = keras_to_graph(model)
    int8 = quantize_ptq(
        run_passes(float_graph, TARGET.passes), images, PostTraining(pixels=SYMMETRIC, effort="fast")
    ).graph
    made = {
        "tflite float": write_tflite(float_graph),
        "tflite int8": write_tflite(int8),
        "tflite stock": stock_tflite(model, images),
        "onnx float": write_onnx(float_graph),
        "onnx int8": write_onnx(run_passes(int8, TARGET.onnx_passes), activations=TARGET.onnx_activations),
    }
    paths = {}
    for name, data in made.items():
        paths[name] = folder / f"{name.replace(' ', '.')}.{name.split()[0]}"
        paths[name].write_bytes(data)
    paths["onnx stock"] = folder / "onnx.stock.onnx"
    stock_onnx(paths["onnx float"], paths["onnx stock"], images)
    weights = {
        name for op in int8.ops if op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D") for name in op.inputs[1:3] if name
    }
    held = [int8.tensors[name].data for name in weights]
    needed = sum(values.nbytes for values in held if values is not None)
    size = len(made["tflite int8"])
    verdict = "ok" if size <= _MOST_BYTES * needed else "MISSED"
    stock_size = len(made["tflite stock"])
    echo(f"int8 .tflite: {size:,} bytes, {size / needed:.3f} x weights and biases ({verdict}); stock {stock_size:,}")
    return paths


def stock_tflite(model: Any, images: NDArray[np.float32]) -> bytes:
    """What TFLite's converter makes of a Keras model, full int8."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    spec = tf.TensorSpec((1, *model.inputs[0].shape[1:]), tf.float32, name="image")
    function = tf.function(lambda image: model(image, training=False)).get_concrete_function(spec)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([convert_variables_to_constants_v2(function)])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def stock_onnx(source: Path, out: Path, images: NDArray[np.float32]) -> None:
    """What ONNX Runtime's own quantizer makes of a float .onnx."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(images[:16])

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            image = next(self.left, None)
            return None if image is None else {"image": image[None]}

    logging.disable(logging.WARNING)
    quantize_static(
        source,
        out,
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )


def quantization(variant: Variant, count: int = 200) -> None:
    """Prints how long own and stock quantization take, calibration included."""
    images = images_of(variant.resolution, count)
    model = build_model(variant, "random", 0)
    graph = run_passes(keras_to_graph(model), TARGET.passes)
    seconds = {}
    for name, work in {
        "stock": lambda: stock_tflite(model, images),
        "own, fast": lambda: quantize_ptq(graph, images, PostTraining(pixels=SYMMETRIC, effort="fast")),
        "own, default": lambda: quantize_ptq(graph, images, PostTraining(pixels=SYMMETRIC)),
    }.items():
        begin = time.perf_counter()
        work()
        seconds[name] = time.perf_counter() - begin
    told = ", ".join(f"{name} {taken:.1f} s" for name, taken in seconds.items())
    echo(f"quantization of {variant.slug}, {len(images)} pictures: {told}")


def multiply_adds(graph: Graph) -> int:
    """Multiply-adds of a graph's convolutions."""
    total = 0
    for op in graph.ops:
        if op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            kernel = graph.tensors[str(op.inputs[1])].shape
            per_output = np.prod(kernel[1:3]) if op.kind == "DEPTHWISE_CONV_2D" else np.prod(kernel[1:])
            total += int(np.prod(graph.tensors[op.outputs[0]].shape) * per_output)
    return total


def peak_macs_per_ms(folder: Path) -> float:
    """The highest int8 rate that LiteRT reaches here, one thread: a pointwise convolution, 28 x 28 x 512 to 512."""
    image = Tensor("x", (1, 28, 28, 512), "int8", Quantization.per_tensor(0.02, 0))
    result = Tensor("y", (1, 28, 28, 512), "int8", Quantization.per_tensor(0.5, 0))
    weights = np.random.default_rng(0).integers(-127, 128, (512, 1, 1, 512)).astype(np.int8)
    scale = np.full(512, 0.01, np.float32)
    tensors = (
        image,
        result,
        constant("w", weights, Quantization.per_channel(scale, 0)),
        constant("b", np.zeros(512, np.int32), Quantization.per_channel(scale * np.float32(0.02), 0)),
    )
    options = {"padding": "VALID", "stride_h": 1, "stride_w": 1, "activation": "NONE"}
    convolution = Op("CONV_2D", ("x", "w", "b"), ("y",), {**options, "dilation_h_factor": 1, "dilation_w_factor": 1})
    graph = Graph({tensor.name: tensor for tensor in tensors}, (convolution,), ("x",), ("y",))
    path = folder / "peak.tflite"
    path.write_bytes(write_tflite(graph))
    return multiply_adds(graph) / float(np.percentile(time_in_turns([path], seconds=1.0)[0].samples_ms, 10))


def profile(paths: dict[str, Path], timings: dict[str, Timing], folder: Path) -> None:
    """Prints where the int8 artifacts spend their time, and how far they are from the machine's peak."""
    peak = peak_macs_per_ms(folder)
    macs = multiply_adds(read_tflite(paths["tflite int8"]))
    echo(f"  peak {peak / 1e6:.0f} GMAC/s; {macs / 1e6:.0f} M multiply-adds would take {macs / peak:.3f} ms")
    for name in ("tflite int8", "onnx int8"):
        if name in timings:
            taken = float(np.percentile(timings[name].samples_ms, 10))
            echo(f"  {name}: {taken:.3f} ms in quiet runs, {macs / peak / taken:.0%} of the peak rate")
        for row in by_kind(op_latency(paths[name])):
            echo(f"    {name}: {row.op:24} {row.count:3} {row.ms:.3f} ms {row.share:.0%}")


def report(family: str, timings: dict[str, Timing]) -> bool:
    """Prints the medians and the ratios of a variant; whether all targets are met."""
    met = True
    for runtime, limits in TARGETS[family].items():
        own = timings[f"{runtime} int8"]
        for other, limit in zip(("stock", "float"), limits, strict=True):
            pair = (timings[f"{runtime} {other}"], own)
            ratio = compare(pair)[0]
            # A tie is no miss: the interval must show that the limit is not reached.
            verdict = "ok" if ratio.speedup >= limit else "not shown" if ratio.high >= limit else "MISSED"
            met = met and ratio.high >= limit
            medians = [np.median(timing.samples_ms) for timing in pair]
            # On a busy machine the quiet tenth of the runs says more than the median.
            quiet = [np.percentile(timing.samples_ms, 10) for timing in pair]
            echo(
                f"{family:9} {runtime:6} int8 against {other:5}: {medians[0]:7.3f} -> {medians[1]:.3f} ms, "
                f"{ratio.speedup:.2f} x ({ratio.low:.2f} to {ratio.high:.2f}; quiet runs {quiet[0] / quiet[1]:.2f}), "
                f"at least {limit} {verdict}"
            )
    return met


def main() -> int:
    """Measures the variants that are asked for; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--variant", action="append", choices=sorted(TARGETS))
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--seconds", type=float, default=6.0, help="measured time of each artifact")
    parser.add_argument("--quantization", action="store_true", help="compare how long quantization takes, too")
    parser.add_argument("--profile", action="store_true", help="print the time per op of the int8 artifacts")
    arguments = parser.parse_args()
    machine = conditions()
    echo(f"{machine.cpu} ({' '.join(machine.features)}), {machine.cores} cores, load {machine.load}")
    met = True
    for family in arguments.variant or TARGETS:
        with tempfile.TemporaryDirectory() as folder:
            paths = build(Variant(family, 1.0, arguments.resolution, 1000), Path(folder))
            wanted = [name for name in paths if name.split()[0] in TARGETS[family]]
            timed = time_in_turns([paths[name] for name in wanted], seconds=arguments.seconds)
            timings = dict(zip(wanted, timed, strict=True))
            for name, timing in timings.items():
                echo(f"  {name:13} {timing.runtime}, partitions {timing.partitions}, {timing.samples_ms.size} runs")
            met = report(family, timings) and met
            if arguments.quantization:
                quantization(Variant(family, 1.0, arguments.resolution, 1000))
            if arguments.profile:
                profile(paths, timings, Path(folder))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
