"""Top-1 of int8 models side by side, on the same pictures in one run: mnedge, and what people use today.

    python tests/benchmarks/scoreboard.py [v1-0.25 v1-0.75 v2 v2-per-tensor v3-small] [--seeds 3] [--qat] [--write]

A seed draws 150 of the calibration split's 200 pictures and everything else that is random; accuracy is measured on the
eval split, which nothing is tuned on. A drop is float minus int8 in points, the mean over the seeds; its 95 % interval
is a bootstrap over pictures, paired. Divergence is the mean over pictures of the Kullback-Leibler divergence of the
int8 scores from the float ones, nats. Peers that are not installed are left out, and said.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
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
TABLE = ROOT / "docs" / "scoreboard.md"
SIDE = 224
CALIBRATION_IMAGES = 150
# The least score that an int8 softmax can tell, half a step.
LEAST_SCORE = 1 / 512


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
    """Scores (N, 1000) of a .tflite for 8-bit pixels; says so where the default delegate refuses the model."""
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
    scale, zero_point = last["quantization"]
    made = []
    for pixel in pixels:
        given = pixel / np.float32(127.5) - 1 if shift is None else pixel.astype(np.int16) + shift
        interpreter.set_tensor(first["index"], given.astype(first["dtype"])[None])
        interpreter.invoke()
        # 1001 outputs: class 0 is background.
        scores = interpreter.get_tensor(last["index"]).reshape(-1)[-1000:].astype(np.float32)
        made.append((scores - zero_point) * scale if scale else scores)
    return np.array(made), note


def run_onnx(path: Path, pixels: Any) -> tuple[Any, str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    images = Pictures(pixels, None).real()
    return np.array([session.run(None, {name: image[None]})[0].reshape(-1) for image in images]), ""


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
    # An earlier seed's.
    made.unlink(missing_ok=True)
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


def nncf_static(graph: Any, calibration: Any, folder: Path) -> Path:
    import nncf
    import onnx

    from mnedge.formats.onnx_write import write_onnx

    made = folder / "nncf.onnx"
    name = graph.inputs[0]
    quantized = nncf.quantize(
        onnx.load_from_string(write_onnx(graph, activations="uint8")),
        nncf.Dataset([{name: image[None]} for image in calibration]),
        subset_size=len(calibration),
    )
    onnx.save(quantized, str(made))
    return made


@dataclass(frozen=True)
class Row:
    """A maker's int8 model of a network, over the seeds: points, percent, nats, and seconds of making one."""

    case: str
    maker: str
    top1: float
    drop: float
    low: float
    high: float
    drops: tuple[float, ...]
    agreement: float
    divergence: float
    seconds: float
    note: str

    def __str__(self) -> str:
        return (
            f"{self.case:14} {self.maker:22} top-1 {self.top1:6.2f}  drop {self.drop:6.2f} ({self.low:6.2f} to "
            f"{self.high:6.2f})  agreement {self.agreement:6.2f}  divergence {self.divergence:7.4f}  "
            f"{self.seconds:6.1f} s  {self.note}"
        )


@dataclass(frozen=True, eq=False)
class Scored:
    """What a model says of the evaluation pictures: scores (N, 1000)."""

    scores: Any
    seconds: float
    note: str


def distribution(scores: Any) -> Any:
    """Chances (N, 1000) that sum to 1, none below what an int8 softmax can tell."""
    chances = np.maximum(scores, LEAST_SCORE)
    return chances / chances.sum(axis=1, keepdims=True)


def row_of(case: str, maker: str, reference: Any, found: list[Scored], labels: Any, draws: int = 4000) -> Row:
    """Means over the seeds, and the drop's bootstrap interval over pictures."""
    right = (reference.argmax(1) == labels).astype(float)
    chances = distribution(reference)
    saved = np.array([(one.scores.argmax(1) == labels).astype(float) for one in found])
    lost = right - saved.mean(axis=0)
    generator = np.random.default_rng(0)
    means = lost[generator.integers(0, len(lost), (draws, len(lost)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Row(
        case=case,
        maker=maker,
        top1=100 * float(saved.mean()),
        drop=100 * float(lost.mean()),
        low=100 * float(low),
        high=100 * float(high),
        drops=tuple(100 * float(right.mean() - one.mean()) for one in saved),
        agreement=100 * float(np.mean([(one.scores.argmax(1) == reference.argmax(1)).mean() for one in found])),
        divergence=float(
            np.mean([(chances * np.log(chances / distribution(one.scores))).sum(1).mean() for one in found])
        ),
        seconds=float(np.mean([one.seconds for one in found])),
        note=found[0].note,
    )


def makers_of(case: Case, model: Any, graph: Any, folder: Path, *, qat: bool) -> dict[str, Callable[[int, Any], Any]]:
    """What makes int8 of a network, by name: from a seed and calibration pictures to bytes or a file."""
    from mnedge.formats.tflite_write import write_tflite
    from mnedge.passes._pass import run_passes
    from mnedge.quantization.ptq import PostTraining, quantize_ptq
    from mnedge.quantization.qat import quantize_qat
    from mnedge.targets.cpu import TARGET

    lowered = run_passes(graph, TARGET.passes)

    def ptq(seed: int, calibration: Any, effort: Any = "default") -> bytes:
        chosen = PostTraining(pixels=SYMMETRIC, granularity=case.granularity, effort=effort, seed=seed)
        return write_tflite(quantize_ptq(lowered, calibration, chosen).graph)

    def trained(seed: int, calibration: Any) -> bytes:
        train = pictures("train")
        result = quantize_qat(
            lowered, train.real(), train.labels, PostTraining(granularity=case.granularity, seed=seed),
            calibration=calibration, checkpoint_dir=folder / f"qat-{seed}",
        )  # fmt: skip
        return write_tflite(result.graph)

    return {
        "mnedge": ptq,
        "mnedge, fast": lambda seed, calibration: ptq(seed, calibration, "fast"),
        "mnedge, max": lambda seed, calibration: ptq(seed, calibration, "max"),
        **({"mnedge, trained": trained} if qat else {}),
        "stock converter": lambda _, calibration: stock(model, calibration, folder),
        "ai-edge-quantizer": lambda _, calibration: ai_edge(model, calibration, folder),
        "ORT quantize_static": lambda _, calibration: onnx_static(graph, calibration, folder),
        "NNCF quantize": lambda _, calibration: nncf_static(graph, calibration, folder),
    }


def measure(name: str, case: Case, evaluation: Pictures, *, seeds: int, qat: bool) -> list[Row]:
    from mnedge.formats.keras import keras_to_graph
    from mnedge.formats.tflite_write import write_tflite

    calibration = pictures("calibration").real()
    model = keras_model(case)
    graph = keras_to_graph(model)
    reference, _ = run_tflite(write_tflite(graph), evaluation.pixels)
    rows = [row_of(name, "float", reference, [Scored(reference, 0.0, "")], evaluation.labels)]
    echo(str(rows[0]))
    with tempfile.TemporaryDirectory() as scratch:
        for maker, make in makers_of(case, model, graph, Path(scratch), qat=qat).items():
            found = []
            try:
                for seed in range(seeds):
                    drawn = np.sort(np.random.default_rng(seed).permutation(len(calibration))[:CALIBRATION_IMAGES])
                    started = time.monotonic()
                    made = make(seed, calibration[drawn])
                    seconds = time.monotonic() - started
                    run = run_onnx if isinstance(made, Path) else run_tflite
                    scores, note = run(made, evaluation.pixels)
                    found.append(Scored(scores, seconds, note))
            except ImportError as exc:
                echo(f"{name} {maker}: left out, {exc}", err=True)
                continue
            except Exception as exc:  # noqa: BLE001 - a peer that fails is a result
                echo(f"{name} {maker}: {type(exc).__name__}: {str(exc)[:200]}", err=True)
                continue
            rows.append(row_of(name, maker, reference, found, evaluation.labels))
            echo(str(rows[-1]))
    for file in sorted((SHARED / "models" / "imagenet").glob(f"{name}_224_1.0_uint8.tflite")):
        scores, note = run_tflite(file.read_bytes(), evaluation.pixels)
        rows.append(row_of(name, "Google's uint8, trained", reference, [Scored(scores, 0.0, note)], evaluation.labels))
        echo(str(rows[-1]))
    return rows


def table(rows: list[Row], seeds: int, images: int) -> str:
    """The rows as a page of the documentation."""
    lines = [
        "# Scoreboard",
        "",
        f"Points of top-1 that int8 loses on {images} ImageNet photos that no maker saw: the mean of {seeds} seeds,",
        f"each of which draws {CALIBRATION_IMAGES} of 200 calibration photos, with the paired 95 % interval over",
        "pictures; the share of pictures that keep their class; and the divergence of the scores from the float ones.",
        "`python tests/benchmarks/scoreboard.py --write` measures this page anew.",
        "",
        "| network | maker | top-1, % | loss, points | 95 % interval | a seed | same class, % | divergence, nats |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        each = ", ".join(f"{drop:.2f}" for drop in row.drops)
        interval_95 = f"{row.low:.2f} to {row.high:.2f}"
        said = f"| {row.drop:.2f} | {interval_95} | {each} | {row.agreement:.1f} | {row.divergence:.4f} |"
        if row.maker == "float":
            said = "| | | | | |"
        note = f" ({row.note})" if row.note else ""
        lines.append(f"| {row.case} | {row.maker}{note} | {row.top1:.2f} {said}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], default=list(CASES))
    parser.add_argument("--seeds", type=int, default=3, help="draws of the calibration pictures (3)")
    parser.add_argument("--qat", action="store_true", help="train with fake quantization too (minutes per case)")
    parser.add_argument("--images", type=int, help="eval pictures, all by default")
    parser.add_argument("--json", type=Path, help="write the rows here; those of other networks stay")
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.name} of the documentation")
    arguments = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit("no shared data: set MNEDGE_SHARED_DATA to the folder with the real weights and pictures")
    evaluation = pictures("eval", arguments.images)
    rows = [
        row
        for name in arguments.cases
        for row in measure(name, CASES[name], evaluation, seeds=arguments.seeds, qat=arguments.qat)
    ]
    if arguments.json:
        if arguments.json.is_file():
            held = [Row(**{**row, "drops": tuple(row["drops"])}) for row in json.loads(arguments.json.read_text())]
            rows = [row for row in held if row.case not in arguments.cases] + rows
            rows.sort(key=lambda row: list(CASES).index(row.case))
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    if arguments.write:
        TABLE.write_text(table(rows, arguments.seeds, len(evaluation.labels)))


if __name__ == "__main__":
    main()
