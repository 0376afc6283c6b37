"""Models of others beside the stock converter: accuracy, agreement and noise of int8, on the same pictures in one run.

    python tests/benchmarks/own_models.py [NAME…] [--effort fast|default|max] [--images N] [--json FILE]

Models are those of shared/cases, MLPerf Tiny's float visual wake words, and MobileNets that are made here with Keras:
each kind of head, range and order of pixels, on features of ImageNet weights. Both quantizers calibrate on the same
200 pictures in the right range. A .tflite has no Keras model behind it, so the converter's own quantizer is called as
the converter calls it. A difference is mnedge minus stock; its 95 % interval is a bootstrap over pictures, paired.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from typer import echo

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from mnedge import quantize
from mnedge.data import open_dataset
from mnedge.data.calibration import calibration_of
from mnedge.formats.tflite_read import parse_tflite, read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.heads import THRESHOLD, head_of
from mnedge.graph.precision import float_ops
from mnedge.pixels import Pixels
from mnedge.sources import open_source
from mnedge.sources.keras import load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("MNEDGE_SHARED_DATA") or ROOT.parent / "shared" / "data")
CASES = SHARED.parent / "cases"
FLOWERS = SHARED / "small" / "tf_flowers" / "labels.csv"
WEIGHTS = SHARED / "weights"
V2 = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
V1 = "mobilenet_2_5_224_tf.h5"
V3 = "mobilenet_v3_small_224_1.0_dequantized_int8pc.h5"
SIDE = 96
CALIBRATION = 200
SUNFLOWERS = 3


@dataclass(frozen=True)
class Case:
    """A float model.

    Attributes:
        model: Its file, or what makes the Keras model.
        pixels: The range that it was made for, as `Pixels.parse` reads it.
        answers: What the first output says of the flowers: "class", "sunflowers", "labels", or "" for nothing.
        size: Height and width, pixels, where the file leaves them open.
        is_uint8: Whether the float model takes the 8-bit pixels themselves.
    """

    model: Path | Callable[[], Any]
    pixels: str = "0..255"
    answers: str = ""
    size: tuple[int, int] | None = None
    is_uint8: bool = False


@dataclass(frozen=True, eq=False)
class Said:
    """What a model says: real values (pictures, …) of each output in the order of the float file, and its float ops."""

    outputs: tuple[NDArray[np.float64], ...]
    floats: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """A model: shares in percent, noise in dB, differences in points and dB with their 95 % interval."""

    case: str
    head: str
    float_right: float | None
    stock_right: float | None
    own_right: float | None
    right: tuple[float, float, float] | None
    stock_agreement: float | None
    own_agreement: float | None
    agreement: tuple[float, float, float] | None
    stock_db: float
    own_db: float
    db: tuple[float, float, float]
    stock_float_ops: tuple[str, ...]
    own_float_ops: tuple[str, ...]
    seconds: float

    @property
    def falls_short(self) -> bool:
        """Whether mnedge is below the stock converter beyond the paired interval, or float where that is not."""
        below = any(found is not None and found[2] < 0 for found in (self.right, self.agreement, self.db))
        return below or bool(set(self.own_float_ops) - set(self.stock_float_ops))


@cache
def flowers(split: str, size: tuple[int, int], limit: int | None = None) -> tuple[Any, Any]:
    """uint8 (n, height, width, 3) RGB and class indices."""
    dataset = open_dataset(str(FLOWERS))
    return dataset.pixels(dataset.split(split, limit), size)


@cache
def calibration(size: tuple[int, int]) -> Any:
    """The pictures that mnedge calibrates on, uint8 RGB."""
    return calibration_of(open_dataset(str(FLOWERS))).pixels(size)[:CALIBRATION]


# Models that are made here.


def backbone(family: str = "v2") -> Any:
    """Features of ImageNet weights for -1..1, RGB, 96 px."""
    import keras

    shape = (SIDE, SIDE, 3)
    if family == "v2":
        return keras.applications.MobileNetV2(shape, alpha=0.35, include_top=False, weights=str(WEIGHTS / V2))
    if family == "v1":
        whole = keras.applications.MobileNet((224, 224, 3), alpha=0.25, weights=str(WEIGHTS / V1))
        cut = keras.applications.MobileNet(shape, alpha=0.25, include_top=False, weights=None)
    else:
        options = {"include_preprocessing": False}
        whole = keras.applications.MobileNetV3Small((224, 224, 3), weights=str(WEIGHTS / V3), **options)
        cut = keras.applications.MobileNetV3Small(shape, include_top=False, weights=None, **options)
    # The layers of both stand in the same order up to the top.
    weighted = [[layer for layer in model.layers if layer.weights] for model in (whole, cut)]
    for source, layer in zip(*weighted, strict=False):
        layer.set_weights(source.get_weights())
    return cut


@cache
def features(family: str) -> tuple[Any, Any]:
    """Pooled features of the training photos and their classes."""
    import keras

    base = backbone(family)
    pictures, labels = flowers("train", (SIDE, SIDE))
    pooled = keras.Model(base.input, keras.layers.GlobalAveragePooling2D()(base.output))
    return pooled.predict(pictures.astype(np.float32) / 127.5 - 1, verbose=0), labels


def head(family: str, answers: str) -> tuple[Any, Any]:
    """Weights and bias of a Dense layer on the pooled features."""
    from sklearn.linear_model import LogisticRegression, Ridge

    values, labels = features(family)
    if answers == "numbers":
        # How many of each flower, as a regression sees it.
        fitted = Ridge(1.0).fit(values, np.eye(5)[labels])
        return fitted.coef_.T, fitted.intercept_
    if answers == "class":
        fitted = LogisticRegression(C=0.1, max_iter=500).fit(values, labels)
        return fitted.coef_.T, fitted.intercept_
    wanted = [SUNFLOWERS] if answers == "sunflowers" else list(range(5))
    each = [LogisticRegression(C=0.1, max_iter=500).fit(values, labels == index) for index in wanted]
    return np.concatenate([one.coef_ for one in each]).T, np.concatenate([one.intercept_ for one in each])


def flower_model(
    answers: str = "class",
    *,
    family: str = "v2",
    activation: str | None = None,
    channels: int = 3,
    prepare: Callable[[Any], Any] = lambda image: image,
    extra: Callable[[Any], Any] | None = None,
) -> Any:
    """A Keras model: `prepare` brings its own pixels to RGB in -1..1; `extra` adds an output to the features."""
    import keras

    keras.backend.clear_session()
    base = backbone(family)
    weights, bias = head(family, answers)
    image = keras.Input((SIDE, SIDE, channels))
    pooled = keras.layers.GlobalAveragePooling2D()(base(prepare(image), training=False))
    dense = keras.layers.Dense(weights.shape[1], activation=activation, name="answers")
    result = dense(pooled)
    dense.set_weights([weights.astype(np.float32), bias.astype(np.float32)])
    return keras.Model(image, result if extra is None else [result, extra(pooled)])


def rescaling(scale: Any, offset: Any) -> Callable[[Any], Any]:
    import keras

    return keras.layers.Rescaling(scale, offset)


def symmetric(image: Any) -> Any:
    return rescaling(1 / 127.5, -1)(image)


def grey(image: Any) -> Any:
    import keras

    scaled = symmetric(image)
    return keras.layers.Concatenate()([scaled, scaled, scaled])


def from_imagenet(image: Any) -> Any:
    """From the mean and deviation of ImageNet to -1..1."""
    known = Pixels.parse("imagenet")
    scale = [1 / (127.5 * step) for step in known.scale]
    offset = [mean / 127.5 - 1 for mean in known.mean]
    return rescaling(scale, offset)(image)


def from_caffe(image: Any) -> Any:
    """From BGR without its mean to -1..1, RGB: the order goes with a 1 x 1 convolution, as converters write it."""
    import keras

    mean = Pixels.parse("caffe").mean
    turned = keras.layers.Conv2D(3, 1, use_bias=True, name="order")
    result = turned(image)
    kernel = np.eye(3, dtype=np.float32)[::-1].reshape(1, 1, 3, 3) / 127.5
    turned.set_weights([kernel, np.array(mean[::-1], np.float32) / 127.5 - 1])
    return result


def normalization(image: Any) -> Any:
    """A Normalization layer as `adapt` leaves it: the mean and variance of the training photos, then back to -1..1."""
    import keras

    pictures = flowers("train", (SIDE, SIDE))[0].astype(np.float32)
    mean, variance = pictures.mean((0, 1, 2)), pictures.var((0, 1, 2))
    layer = keras.layers.Normalization(mean=mean.tolist(), variance=variance.tolist())
    return rescaling([0.5] * 3, [0.0] * 3)(layer(image))


def two_outputs() -> Any:
    import keras

    weights, bias = head("v2", "numbers")
    dense = keras.layers.Dense(5, name="counts")

    def extra(pooled: Any) -> Any:
        result = dense(pooled)
        dense.set_weights([weights.astype(np.float32), bias.astype(np.float32)])
        return result

    return flower_model(activation="softmax", prepare=symmetric, extra=extra)


def cases() -> dict[str, Case]:
    """Every model by name."""
    own, small = CASES / "own", CASES / "tflite"
    found = {
        "v2_rescale_softmax.keras": Case(own / "v2_rescale_softmax.keras", answers="class"),
        "v2_rescale_sigmoid.keras": Case(own / "v2_rescale_sigmoid.keras", answers="sunflowers"),
        "v2_host01_softmax.keras": Case(own / "v2_host01_softmax.keras", "0..1", "class"),
        "tutorial_augmentation.keras": Case(own / "tutorial_augmentation.keras"),
        "tutorial_augmentation.h5": Case(own / "tutorial_augmentation.h5"),
        "sequential_flatten.keras": Case(own / "sequential_flatten.keras"),
        "v2_rescale_softmax.tflite": Case(own / "v2_rescale_softmax.f32.tflite", answers="class"),
        "v2_host_tf_softmax.fp16": Case(own / "v2_host_tf_softmax.fp16.tflite", "-1..1", "class"),
        "vww_96_float": Case(SHARED / "models" / "mlperf_tiny" / "vww_96_float.tflite", "0..1"),
    }
    for file in sorted(small.glob("*.f32.tflite")):
        name = file.name.removesuffix(".f32.tflite")
        inner = "0..255" if name in ("norm", "sub_div", "uint8_in") else "-1..1"
        found[name] = Case(file, inner, size=(32, 32) if name == "dyn_hw" else None, is_uint8=name == "uint8_in")
    found |= {
        "made softmax": Case(lambda: flower_model(activation="softmax", prepare=symmetric), answers="class"),
        "made logits": Case(lambda: flower_model(prepare=symmetric), answers="class"),
        "made sigmoid": Case(
            lambda: flower_model("sunflowers", activation="sigmoid", prepare=symmetric), answers="sunflowers"
        ),
        "made multi-label": Case(
            lambda: flower_model("labels", activation="sigmoid", prepare=symmetric), answers="labels"
        ),
        "made numbers": Case(lambda: flower_model("numbers", activation="relu", prepare=symmetric)),
        "made two outputs": Case(two_outputs, answers="class"),
        "made grey": Case(
            lambda: flower_model(activation="softmax", channels=1, prepare=grey), "0..255 GREY", "class"
        ),
        "made -1..1": Case(lambda: flower_model(activation="softmax"), "-1..1", "class"),
        "made imagenet": Case(lambda: flower_model(activation="softmax", prepare=from_imagenet), "imagenet", "class"),
        "made caffe BGR": Case(lambda: flower_model(activation="softmax", prepare=from_caffe), "caffe", "class"),
        "made Normalization": Case(
            lambda: flower_model(activation="softmax", prepare=normalization), answers="class"
        ),
        "made v1 0.25": Case(
            lambda: flower_model(family="v1", activation="softmax", prepare=symmetric), answers="class"
        ),
        "made v3 small": Case(
            lambda: flower_model(family="v3", activation="softmax", prepare=symmetric), answers="class"
        ),
    }  # fmt: skip
    return found


# Running and quantizing.


def stock(model: Any, feeds: list[list[Any]]) -> bytes:
    """Full int8 of the TFLite converter from a Keras model."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: iter(feeds)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def stock_of_tflite(content: bytes, feeds: list[list[Any]]) -> bytes:
    """Full int8 of a float .tflite by the quantizer inside the converter, called as the converter calls it."""
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize
    from tensorflow.lite.python.optimize import calibrator

    def samples() -> Iterator[list[Any]]:
        yield from feeds

    work = calibrator.Calibrator(calibrator.add_intermediate_tensors(content))
    calibrated = work.calibrate(samples)
    ends = {"input_data_type": tf.int8, "output_data_type": tf.int8}
    if feeds[0][0].dtype == np.uint8:
        ends["input_data_type"] = tf.uint8
    return bytes(mlir_quantize(calibrated, **ends))


def run_tflite(content: bytes, feeds: list[list[Any]], *, is_pixel: bool = False) -> Said:
    """Real outputs of a .tflite.

    Args:
        content: The file.
        feeds: For each sample the real values of every input; with `is_pixel` the 8-bit pixels of the only one.
        is_pixel: Whether an int8 input takes the pixel minus 128.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    def opened(**options: Any) -> Any:
        made = Interpreter(model_content=content, num_threads=2, **options)
        for entry, value in zip(made.get_input_details(), feeds[0], strict=True):
            if tuple(entry["shape"]) != value.shape:
                made.resize_tensor_input(entry["index"], value.shape)
        made.allocate_tensors()
        return made

    try:
        interpreter = opened()
    except RuntimeError:  # the default delegate refuses some of the stock converter's files
        interpreter = opened(experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    said: list[list[Any]] = []
    for sample in feeds:
        for entry, value in zip(interpreter.get_input_details(), sample, strict=True):
            interpreter.set_tensor(entry["index"], _steps(entry, value, is_pixel=is_pixel))
        interpreter.invoke()
        said.append(
            [_real(entry, interpreter.get_tensor(entry["index"])) for entry in interpreter.get_output_details()]
        )
    outputs = tuple(np.concatenate(values) for values in zip(*said, strict=True))
    return Said(outputs, tuple(sorted({op.kind for op in float_ops(parse_tflite(content, "the file"))})))


def _steps(entry: Any, value: Any, *, is_pixel: bool) -> Any:
    dtype, (scale, zero) = np.dtype(entry["dtype"]), entry["quantization"]
    if dtype == np.float32 or not scale:
        return value.astype(dtype)
    if is_pixel:
        return (value.astype(np.int16) - (128 if dtype == np.int8 else 0)).astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.round(value / scale) + zero, limits.min, limits.max).astype(dtype)


def _real(entry: Any, value: Any) -> Any:
    scale, zero = entry["quantization"]
    return (value.astype(np.float64) - zero) * scale if scale else value.astype(np.float64)


def run_keras(model: Any, images: Any) -> Said:
    import keras

    return Said(tuple(np.asarray(made, np.float64) for made in keras.tree.flatten(model.predict(images, verbose=0))))


def in_order_of(said: Said, reference: Said) -> tuple[Said, list[int]]:
    """Outputs in the order of the reference, and their places: converters sort them by name; the nearest is it."""
    left, order = list(range(len(said.outputs))), []
    for exact in reference.outputs:
        fits = [place for place in left if said.outputs[place].shape == exact.shape]
        nearest = min(fits, key=lambda place: float(np.square(said.outputs[place] - exact).sum()))
        left.remove(nearest)
        order.append(nearest)
    return Said(tuple(said.outputs[place] for place in order), said.floats), order


# Figures.


def interval(values: Any, draws: int = 4000) -> tuple[float, float, float]:
    """Mean of paired differences, and its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (draws, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def noise(exact: Said, made: Said) -> tuple[Any, Any]:
    """Power of the signal and of the noise, (pictures,), each output's as a share of its whole signal."""
    signal = np.zeros(len(exact.outputs[0]))
    error = np.zeros_like(signal)
    for one, two in zip(exact.outputs, made.outputs, strict=True):
        count = len(one)
        whole = np.square(one).sum()
        signal += np.square(one).reshape(count, -1).sum(1) / whole
        error += np.square(two - one).reshape(count, -1).sum(1) / whole
    return signal, error


def decibels(signal: Any, error: Any) -> Any:
    return 10 * np.log10(signal / np.maximum(error, 1e-12))


def noise_interval(signal: Any, stock_error: Any, own_error: Any, draws: int = 4000) -> tuple[float, float, float]:
    """mnedge's signal-to-noise ratio minus the stock converter's, dB, and its 95 % bootstrap interval over pictures."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(signal), (draws, len(signal)))
    drawn = decibels(stock_error[picks].sum(1), own_error[picks].sum(1))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(decibels(stock_error.sum(), own_error.sum())), float(low), float(high)


def answered(kind: str, values: Any) -> Any:
    """What an output says of each picture, (pictures, answers); None of plain numbers."""
    if kind in ("softmax", "logits", "map"):
        return values.argmax(-1).reshape(len(values), -1)
    if kind in ("sigmoid", "multi-label"):
        return (values >= THRESHOLD).reshape(len(values), -1)
    return None


def truths(answers: str, labels: Any) -> Any:
    """The right answers, (pictures, answers)."""
    if answers == "sunflowers":
        return (labels == SUNFLOWERS)[:, None]
    return labels[:, None] if answers == "class" else labels[:, None] == np.arange(5)


def compared(name: str, case: Case, kind: str, labels: Any, said: tuple[Said, Said, Said], seconds: float) -> Row:
    """The row of float, stock and mnedge, in this order, whose outputs stand in one order."""
    floats, theirs, ours = (answered(kind, one.outputs[0]) for one in said)
    right: list[Any] = [None] * 3
    if case.answers:
        right = [(one == truths(case.answers, labels)).mean(1) for one in (floats, theirs, ours)]
    same = [None if floats is None else (one == floats).mean(1) for one in (theirs, ours)]
    (signal, stock_error), (_, own_error) = (noise(said[0], one) for one in said[1:])
    figures = [None if one is None else float(100 * one.mean()) for one in (*right, *same)]
    return Row(
        case=name,
        head=kind,
        float_right=figures[0],
        stock_right=figures[1],
        own_right=figures[2],
        right=None if right[0] is None else interval(100 * (right[2] - right[1])),
        stock_agreement=figures[3],
        own_agreement=figures[4],
        agreement=None if same[0] is None else interval(100 * (same[1] - same[0])),
        stock_db=float(decibels(signal.sum(), stock_error.sum())),
        own_db=float(decibels(signal.sum(), own_error.sum())),
        db=noise_interval(signal, stock_error, own_error),
        stock_float_ops=said[1].floats,
        own_float_ops=said[2].floats,
        seconds=seconds,
    )


def measure(name: str, case: Case, effort: Any, limit: int | None) -> Row:
    """Quantizes a model with both, and runs all three on the validation photos."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        path = case.model if isinstance(case.model, Path) else folder / "made.keras"
        if not isinstance(case.model, Path):
            case.model().save(path)
        # Keras does not load the arithmetic on tensors of an .h5 of its own.
        model = None if path.suffix == ".tflite" else load_model(path)[0]
        inputs = _inputs(path, model)
        shape = next(shape for shape in inputs.values() if len(shape) == 4)
        size = case.size or (shape[1], shape[2])
        pixels = Pixels.parse(case.pixels)
        seen = pixels.arranged(calibration(size))
        asked, labels = flowers("eval", size, limit or (None if case.answers else 300))
        asked = pixels.arranged(asked)
        learnt, feeds = (_feeds(inputs, case, pixels, pictures) for pictures in (seen, asked))
        data, told = str(FLOWERS), {"pixels": case.pixels}
        if len(inputs) > 1:
            data, told = str(folder / "inputs.npz"), {}
            arrays: Any = {key: np.concatenate([row[at] for row in learnt]) for at, key in enumerate(inputs)}
            np.savez(data, **arrays)
        if case.answers == "sunflowers":
            told["positive"] = "sunflowers"
        made = folder / "own.tflite"
        started = time.monotonic()
        quantize(path, made, data, size=case.size, effort=effort, **told)  # type: ignore[arg-type]
        seconds = time.monotonic() - started
        content = made.read_bytes()
        if model is not None:
            exact = run_keras(model, np.concatenate([row[0] for row in feeds]))
            peer = run_tflite(stock(model, learnt), feeds)
        else:
            theirs = _plain(path, case.size)
            exact, peer = run_tflite(theirs, feeds), run_tflite(stock_of_tflite(theirs, learnt), feeds)
        is_pixel = len(inputs) == 1
        own = run_tflite(content, [[picture[None]] for picture in asked] if is_pixel else feeds, is_pixel=is_pixel)
    own, order = in_order_of(own, exact)
    graph = parse_tflite(content, name)
    kind = head_of(graph, graph.outputs[order[0]])
    return compared(name, case, kind, labels, (exact, in_order_of(peer, exact)[0], own), seconds)


def _inputs(path: Path, model: Any) -> dict[str, tuple[int, ...]]:
    """Shape of each input by its name, in the order of the file."""
    if model is not None:
        return {entry.name: tuple(entry.shape) for entry in model.inputs}
    graph = read_tflite(path)
    return {name: graph.tensors[name].shape for name in graph.inputs}


def _feeds(inputs: dict[str, tuple[int, ...]], case: Case, pixels: Pixels, pictures: Any) -> list[list[Any]]:
    """For each picture the values of all inputs, as the float model takes them."""
    rng = np.random.default_rng(1)
    real = pictures if case.is_uint8 else pixels.real(pictures)
    return [
        [
            image[None] if len(shape) == 4 else rng.normal(size=(1, *shape[1:])).astype(np.float32)
            for shape in inputs.values()
        ]
        for image in real
    ]


def _plain(path: Path, size: tuple[int, int] | None) -> bytes:
    """A float .tflite as the stock quantizer takes it: float32 weights instead of float16 ones, and a known size."""
    is_plain = size is None and not path.name.endswith(".fp16.tflite")
    return path.read_bytes() if is_plain else write_tflite(open_source(path, size).graph)


def shown(value: float | None, form: str = ".1f") -> str:
    return "" if value is None else format(value, form)


def line(row: Row) -> str:
    """One row of the table."""

    def between(found: tuple[float, float, float] | None) -> str:
        return "" if found is None else f"{found[0]:+.1f} ({found[1]:+.1f} to {found[2]:+.1f})"

    floats = " / ".join(",".join(kinds) or "none" for kinds in (row.stock_float_ops, row.own_float_ops))
    return (
        f"{row.case:27}{row.head:12}{shown(row.float_right):>6}{shown(row.stock_right):>6}{shown(row.own_right):>6} "
        f"{between(row.right):23}{shown(row.stock_agreement):>6}{shown(row.own_agreement):>6} "
        f"{between(row.agreement):23}{row.stock_db:>6.1f}{row.own_db:>6.1f} {between(row.db):23}{row.seconds:>6.1f}  "
        f"{floats}{'  FALLS SHORT' if row.falls_short else ''}"
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="models, all by default; the beginning of a name is enough")
    parser.add_argument("--effort", choices=["fast", "default", "max"], default="default")
    parser.add_argument("--images", type=int, help="validation photos; by default all of them, 300 without answers")
    parser.add_argument("--json", type=Path, help="write the rows here")
    arguments = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit("no shared data: set MNEDGE_SHARED_DATA to the folder with the real weights and pictures")
    echo(
        f"{'model':27}{'head':12}{'float':>6}{'stock':>6}{'ours':>6} {'difference, points':23}{'stock':>6}{'ours':>6} "
        f"{'agreement, points':23}{'stock':>6}{'ours':>6} {'SNR, dB':23}{'s':>6}  float ops of stock / ours"
    )
    rows = []
    for name, case in cases().items():
        if arguments.names and not any(name.startswith(wish) for wish in arguments.names):
            continue
        try:
            rows.append(measure(name, case, arguments.effort, arguments.images))
        except Exception as exc:  # noqa: BLE001 - a quantizer that fails is a result
            echo(f"{name:27}{type(exc).__name__}: {str(exc)[:300]}")
            continue
        echo(line(rows[-1]))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
