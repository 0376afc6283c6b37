"""Top-1 of int8 models side by side, on the same pictures in one run: mnedge, and what people use today.

    python tests/benchmarks/accuracy.py [v1-0.25 v1-0.75 v2 v2-per-tensor v3-small] [--qat] [--images N]

Calibration uses the calibration split of the shared pictures (training the train split too), accuracy the eval
split. A drop is float minus int8 in points; its 95 % interval is a bootstrap over pictures, paired.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from typer import echo

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from mnedge.pixels import SYMMETRIC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent.parent
SHARED = Path(os.environ.get("MNEDGE_SHARED_DATA") or ROOT.parent / "shared" / "data")
SIDE = 224


@dataclass(frozen=True)
class Case:
    """A network: Keras builder, its arguments, weights file, and granularity of mnedge's weight scales."""

    builder: str
    arguments: dict[str, Any]
    weights: str
    granularity: Literal["per-channel", "per-tensor"] = "per-channel"


V2_WEIGHTS = "mobilenet_v2_1.0_224_dequantized_int8pc.h5"
CASES = {
    "v1-0.25": Case("MobileNet", {"alpha": 0.25}, "mobilenet_2_5_224_tf.h5"),
    "v1-0.75": Case("MobileNet", {"alpha": 0.75}, "mobilenet_7_5_224_tf.h5"),
    "v2": Case("MobileNetV2", {}, V2_WEIGHTS),
    "v2-per-tensor": Case("MobileNetV2", {}, V2_WEIGHTS, "per-tensor"),
    "v3-small": Case(
        "MobileNetV3Small", {"include_preprocessing": False}, "mobilenet_v3_small_224_1.0_dequantized_int8pc.h5"
    ),
}


@dataclass(frozen=True, eq=False)
class Pictures:
    """uint8 (N, 224, 224, 3) and class indices."""

    pixels: Any
    labels: Any

    def real(self) -> Any:
        return (self.pixels / np.float32(127.5) - 1).astype(np.float32)


def pictures(split: str, limit: int | None = None) -> Pictures:
    from mnedge.data import open_dataset

    dataset = open_dataset(str(SHARED / "imagenet" / "labels.csv"))
    return Pictures(*dataset.pixels(dataset.split(split, limit), SIDE))


def keras_model(case: Case) -> Any:
    import keras

    keras.backend.clear_session()
    model = getattr(keras.applications, case.builder)(
        weights=str(SHARED / "weights" / case.weights), input_shape=(SIDE, SIDE, 3), **case.arguments
    )
    image = keras.Input(batch_shape=(1, SIDE, SIDE, 3))
    return keras.Model(image, model(image, training=False))


def run_tflite(data: bytes, pixels: Any) -> tuple[Any, str]:
    """Classes of a .tflite for 8-bit pixels; says so where the default delegate refuses the model."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    note = ""
    try:
        interpreter = Interpreter(model_content=data, num_threads=2)
        interpreter.allocate_tensors()
    except RuntimeError:
        note = "delegate refuses it: run without"
        resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter = Interpreter(model_content=data, num_threads=2, experimental_op_resolver_type=resolver)
        interpreter.allocate_tensors()
    first, last = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    shift = {"uint8": 0, "int8": -128}.get(np.dtype(first["dtype"]).name)
    classes = []
    for pixel in pixels:
        given = pixel / np.float32(127.5) - 1 if shift is None else pixel.astype(np.int16) + shift
        interpreter.set_tensor(first["index"], given.astype(first["dtype"])[None])
        interpreter.invoke()
        scores = interpreter.get_tensor(last["index"]).reshape(-1)
        # 1001 outputs: class 0 is background.
        classes.append(int(scores.argmax()) - (scores.size - 1000))
    return np.array(classes), note


def run_onnx(path: Path, pixels: Any) -> tuple[Any, str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    images = Pictures(pixels, None).real()
    return np.array([int(session.run(None, {name: image[None]})[0].argmax()) for image in images]), ""


def saved_converter(model: Any, folder: Path) -> Any:
    import tensorflow as tf

    model.export(str(folder / "saved"), verbose=False)
    return tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))


def stock(model: Any, calibration: Any, folder: Path) -> bytes:
    import tensorflow as tf

    def representative() -> Iterator[list[Any]]:
        for image in calibration:
            yield [image[None]]

    converter = saved_converter(model, folder)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def ai_edge(model: Any, calibration: Any, folder: Path) -> bytes:
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    source, made = folder / "float.tflite", folder / "ai_edge.tflite"
    source.write_bytes(saved_converter(model, folder).convert())
    signatures = Interpreter(str(source)).get_signature_list()
    key = next(iter(signatures))
    name = signatures[key]["inputs"][0]
    work = quantizer.Quantizer(str(source), recipe.static_wi8_ai8())
    result = work.calibrate({key: [{name: image[None]} for image in calibration]})
    work.quantize(result).export_model(str(made))
    return made.read_bytes()


def onnx_static(graph: Any, calibration: Any, folder: Path) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    from mnedge.formats.onnx_write import write_onnx

    source, made = folder / "float.onnx", folder / "static.onnx"
    source.write_bytes(write_onnx(graph, activations="uint8"))

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.images = iter(calibration)

        def get_next(self) -> Any:
            image = next(self.images, None)
            return None if image is None else {graph.inputs[0]: image[None]}

    quantize_static(
        str(source), str(made), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return made


def interval(reference: Any, other: Any, labels: Any, draws: int = 4000) -> tuple[float, float, float]:
    """Drop in points and its 95 % bootstrap interval, paired by picture."""
    difference = (reference == labels).astype(float) - (other == labels)
    rng = np.random.default_rng(0)
    means = difference[rng.integers(0, len(difference), (draws, len(difference)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return 100 * difference.mean(), 100 * low, 100 * high


def measure(name: str, case: Case, evaluation: Pictures, *, qat: bool) -> list[dict[str, Any]]:
    from mnedge.formats.keras import keras_to_graph
    from mnedge.formats.tflite_write import write_tflite
    from mnedge.passes._pass import run_passes
    from mnedge.quantization.ptq import PostTraining, quantize_ptq
    from mnedge.quantization.qat import quantize_qat
    from mnedge.targets.cpu import TARGET

    calibration = pictures("calibration").real()
    model = keras_model(case)
    graph = keras_to_graph(model)
    lowered = run_passes(graph, TARGET.passes)
    float_classes, _ = run_tflite(write_tflite(graph), evaluation.pixels)
    rows = [row(name, "float", float_classes, float_classes, evaluation, 0.0, "")]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)

        def ptq(**options: Any) -> bytes:
            return write_tflite(
                quantize_ptq(
                    lowered, calibration, PostTraining(pixels=SYMMETRIC, granularity=case.granularity, **options)
                ).graph
            )

        def trained(effort: Any = "default") -> bytes:
            train = pictures("train")
            result = quantize_qat(
                lowered, train.real(), train.labels, PostTraining(effort=effort, granularity=case.granularity),
                calibration=calibration, checkpoint_dir=folder,
            )  # fmt: skip
            return write_tflite(result.graph)

        makers: dict[str, Callable[[], Any]] = {
            "mnedge ptq": ptq,
            "mnedge ptq fast": lambda: ptq(effort="fast"),
            "mnedge ptq max": lambda: ptq(effort="max"),
            **({"mnedge qat": trained, "mnedge qat max": lambda: trained("max")} if qat else {}),
            "stock converter": lambda: stock(model, calibration, folder),
            "ai-edge-quantizer": lambda: ai_edge(model, calibration, folder),
            "ORT quantize_static": lambda: onnx_static(graph, calibration, folder),
        }
        for maker, make in makers.items():
            started = time.monotonic()
            try:
                made = make()
                seconds = time.monotonic() - started
                run = run_onnx if isinstance(made, Path) else run_tflite
                classes, note = run(made, evaluation.pixels)
            except Exception as exc:  # noqa: BLE001 - a peer that fails is a result
                echo(f"{name} {maker}: {type(exc).__name__}: {str(exc)[:200]}", err=True)
                continue
            rows.append(row(name, maker, float_classes, classes, evaluation, seconds, note))
    if name == "v3-small":
        data = (SHARED / "models" / "imagenet" / "v3-small_224_1.0_uint8.tflite").read_bytes()
        classes, note = run_tflite(data, evaluation.pixels)
        rows.append(row(name, "Google's uint8, trained", float_classes, classes, evaluation, 0.0, note))
    return rows


def row(
    case: str, maker: str, reference: Any, classes: Any, evaluation: Pictures, seconds: float, note: str
) -> dict[str, Any]:
    drop, low, high = interval(reference, classes, evaluation.labels)
    found = {
        "case": case,
        "maker": maker,
        "top1": 100 * float(np.mean(classes == evaluation.labels)),
        "drop": drop,
        "low": low,
        "high": high,
        "agreement": 100 * float(np.mean(classes == reference)),
        "seconds": seconds,
        "note": note,
    }
    echo(
        f"{case:14} {maker:24} top-1 {found['top1']:6.2f}  drop {drop:6.2f} ({low:6.2f} to {high:6.2f})  "
        f"agreement {found['agreement']:6.2f}  {seconds:6.1f} s  {note}"
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], default=list(CASES))
    parser.add_argument("--qat", action="store_true", help="train with fake quantization too (minutes per case)")
    parser.add_argument("--images", type=int, help="eval pictures, all by default")
    parser.add_argument("--json", type=Path, help="write the rows here")
    arguments = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit("no shared data: set MNEDGE_SHARED_DATA to the folder with the real weights and pictures")
    evaluation = pictures("eval", arguments.images)
    rows = [found for name in arguments.cases for found in measure(name, CASES[name], evaluation, qat=arguments.qat)]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
