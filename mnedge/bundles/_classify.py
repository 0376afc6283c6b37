#!/usr/bin/env python3
"""Says what is in pictures: files, folders of pictures, or the camera.

classify.py photo.jpg                       one line a picture: the most probable classes, or a yes or no a label
classify.py --json --top 3 pictures/        one JSON object a line
classify.py --camera --every 10             a picture from rpicam-still (or libcamera-still) every 10 seconds

Needs a runtime (ai-edge-litert, or tflite-runtime, or for .onnx onnxruntime), numpy and Pillow.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypedDict

    from numpy.typing import DTypeLike, NDArray

    class Range(TypedDict):
        """Range of a model's pixels: real = scale * pixel + offset, one value for all channels or one a channel."""

        scale: float | list[float]
        offset: float | list[float]
        order: str

    class Anchors(TypedDict):
        """Anchors and limits of a detector: "detection" of model.json."""

        sides: list[tuple[int, int]]
        shapes: list[list[list[float]]]
        least_score: float
        overlap: float
        most: int

    class About(TypedDict, total=False):
        """model.json, and with `pixels` the range of the model that was opened."""

        model: str
        models: dict[str, Range]
        pixels: Range
        head: str
        height: int
        width: int
        crop_fraction: float
        interpolation: str
        fit: str
        detection: Anchors

    class Answer(TypedDict, total=False):
        """A class or label of a picture; "yes" of labels by themselves."""

        label: str
        index: int
        score: float
        yes: bool

    class Detail(TypedDict):
        """Description of an output, as LiteRT gives it."""

        index: int
        quantization: tuple[float, int]

    Model = Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]

HERE = Path(__file__).resolve().parent
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
# Of Pillow's formats, those of photos: of the others, that of EPS starts a program.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
# Width times height of the largest picture that is decoded, where MNEDGE_MAX_PIXELS does not say it.
MOST_PIXELS = 1 << 26
# A JPEG above it is decoded at a fraction of its size, but not below this many times what the model takes.
LARGE_PIXELS = 1 << 24
REDUCING_GAP = 2
CAMERAS = ("rpicam-still", "libcamera-still")
CAMERA_TIMEOUT_S = 60
CHANNELS = {"RGB": 3, "BGR": 3, "GREY": 1, "RGBA": 4}
LUMA = np.array([19595, 38470, 7471], np.uint32)
# Of a step.
NUDGE = 1e-3
# Where the probability of a label by itself says yes.
THRESHOLD = 0.5


def open_model(path: Path, threads: int, told: Range) -> Model:
    """Opens a model; the function that it gives takes pixels, uint8 (height, width, channels), and gives real outputs.

    Args:
        path: A .tflite or .onnx.
        threads: Threads.
        told: What a picture is to it, of "models" in model.json: scale, offset and order.
    """
    return _open_onnx(path, threads, told) if path.suffix == ".onnx" else _open_tflite(path, threads, told)


def _open_tflite(path: Path, threads: int, told: Range) -> Model:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError:
            raise SystemExit("no runtime: pip install -r requirements.txt") from None
    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    source, targets = interpreter.get_input_details()[0], interpreter.get_output_details()
    table = _table(told, source["dtype"], *source["quantization"])

    def real(target: Detail) -> NDArray[np.float32]:
        steps: NDArray[np.float32] = interpreter.get_tensor(target["index"])[0].astype(np.float32)
        scale, zero_point = target["quantization"]
        return steps if scale == 0 else (steps - np.float32(zero_point)) * np.float32(scale)

    def run(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        interpreter.set_tensor(source["index"], _encoded(pixels, table)[None])
        interpreter.invoke()
        return [real(target) for target in targets]

    return run


def _open_onnx(path: Path, threads: int, told: Range) -> Model:
    # ONNX Runtime reports models to its maker unless it is told not to.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError:
        raise SystemExit("no runtime for .onnx: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # x86 without VNNI adds pairs of products in 16 bits, which saturate, unless it is told to be exact; Arm is exact.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    table = _table(told, np.float32)
    is_nchw = source.shape[1] == CHANNELS[told["order"]] != source.shape[3]

    def run(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        real = _encoded(pixels, table)[None]
        outputs = session.run(None, {source.name: real.transpose(0, 3, 1, 2) if is_nchw else real})
        return [output[0] for output in outputs]

    return run


def _table(told: Range, dtype: DTypeLike, scale: float = 0.0, zero_point: int = 0) -> NDArray[np.generic]:
    """What becomes of each 8-bit value in each channel, (256, channels): reals, or steps of `scale`.

    Args:
        told: scale and offset, one for all channels or one a channel, and order: real = scale * pixel + offset.
        dtype: Of the input.
        scale: Of its steps; 0 for real values.
        zero_point: The step that stands for 0.
    """
    values = np.broadcast_to(np.arange(256.0)[:, None], (256, CHANNELS[told["order"]]))
    real = values * np.asarray(told["scale"]) + np.asarray(told["offset"])
    if scale == 0:
        return np.asarray(real, dtype)
    limits = np.iinfo(dtype)
    # Half-way between two steps, ties go up, all of them, so that each pixel keeps a step of its own.
    steps = np.clip(np.floor(real / scale + 0.5 + NUDGE) + zero_point, limits.min, limits.max)
    return np.asarray(steps, dtype)


def _encoded(pixels: NDArray[np.uint8], table: NDArray[np.generic]) -> NDArray[np.generic]:
    """Pixels, (height, width, channels), as a model takes them."""
    return np.asarray(table[pixels, np.arange(table.shape[1])])


def opened(source: Path | io.BytesIO, least: float | None = None) -> Image.Image:
    """A picture, decoded and turned as its EXIF says.

    Args:
        source: A file, or what the camera gave.
        least: Side in pixels that it is made smaller to, which lets a large JPEG be decoded smaller; None for its own.
    """
    # A pipe would be waited for.
    if isinstance(source, Path) and source.exists() and not source.is_file():
        raise OSError("no regular file")
    # The limit below says what to do, which Pillow's own does not.
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(source, formats=FORMATS) as image:
        pixels, most = image.width * image.height, int(os.environ.get("MNEDGE_MAX_PIXELS") or MOST_PIXELS)
        if pixels > most:
            raise ValueError(
                f"{image.width} x {image.height} pixels, and at most {most:,} are decoded; make it smaller, or set "
                f"MNEDGE_MAX_PIXELS={pixels}"
            )
        if least is not None and pixels > LARGE_PIXELS and image.format in ("JPEG", "MPO"):
            shrink = min(image.size) / (REDUCING_GAP * least)
            if shrink > 1:
                image.draft(None, (int(image.width / shrink), int(image.height / shrink)))
        image.load()
        upright = ImageOps.exif_transpose(image)
        # Which says whether grey of 32 bits is of 16.
        upright.format = image.format
        return upright


def rgb(upright: Image.Image) -> Image.Image:
    """A picture of any mode in RGB: transparency is white, grey of 16 bits becomes one of 8."""
    if upright.mode.startswith("I;16") or upright.mode in ("I", "F"):
        values = np.asarray(upright, np.float32)
        least, most = float(values.min(initial=0.0)), float(values.max(initial=0.0))
        is_16_bits = upright.mode.startswith("I;16") or upright.format in ("PPM", "PNG")
        if not is_16_bits and (not (0 <= least <= most <= 65535) or (upright.mode == "F" and most <= 1)):
            raise ValueError(f"32-bit pixels from {least:g} to {most:g}, whose range nobody says")
        step = 1.0 if most <= 255 and not is_16_bits else 255.0 / 65535.0
        return Image.fromarray(np.rint(values * step).astype(np.uint8)).convert("RGB")
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        opaque = Image.new("RGBA", upright.size, "white")
        opaque.alpha_composite(upright.convert("RGBA"))
        return opaque.convert("RGB")
    return upright.convert("RGB")


def pixels_of(upright: Image.Image, about: About) -> NDArray[np.uint8]:
    """A picture as the model was measured with it: cropped or stretched; uint8 (height, width, channels).

    Args:
        upright: Any picture, turned as its EXIF says.
        about: model.json: height, width, crop_fraction, interpolation, and fit ("crop" or "stretch"); and the pixels of
            the model.
    """
    size, proportion = (about["width"], about["height"]), about["width"] / about["height"]
    picture = rgb(upright)
    width, height = (max(1.0, extent * about["crop_fraction"]) for extent in picture.size)
    if about.get("fit", "crop") == "crop":
        width, height = min(width, height * proportion), min(height, width / proportion)
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    resample = Image.Resampling[about["interpolation"].upper()]
    resized = picture.resize(size, resample, box=(left, top, left + width, top + height))
    return arranged(np.asarray(resized, np.uint8), about["pixels"]["order"])


def arranged(pixels: NDArray[np.uint8], order: str) -> NDArray[np.uint8]:
    """RGB pixels, uint8 (height, width, 3), with the channels that a model takes: RGB, BGR, GREY or RGBA."""
    if order == "BGR":
        return pixels[..., ::-1]
    if order == "GREY":
        # Luma as Pillow computes it, in 1/65536.
        return ((pixels.astype(np.uint32) @ LUMA + 0x8000) >> 16).astype(np.uint8)[..., None]
    if order == "RGBA":
        return np.concatenate([pixels, np.full((*pixels.shape[:-1], 1), 255, np.uint8)], axis=-1)
    return pixels


def pictures(places: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Every picture file named or below a folder that is named, in order."""
    for place in map(Path, places):
        found = (
            sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES) if place.is_dir() else [place]
        )
        if not found:
            raise SystemExit(f"no pictures in {place}: {', '.join(sorted(SUFFIXES))}")
        for path in found:
            yield str(path), path


def camera(every_s: float | None) -> Iterator[tuple[str, io.BytesIO]]:
    """Pictures from the camera, one, or one every so many seconds."""
    program = next(filter(None, map(shutil.which, CAMERAS)), None)
    if program is None:
        raise SystemExit(f"no camera program: apt install rpicam-apps gives {CAMERAS[0]}")
    while True:
        started = time.monotonic()
        command = [program, "--nopreview", "--immediate", "--encoding", "jpg", "--output", "-"]
        done = subprocess.run(command, capture_output=True, timeout=CAMERA_TIMEOUT_S, check=False)  # noqa: S603
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
            raise SystemExit(f"{program} failed: {said[-1]}")
        yield time.strftime("%Y-%m-%dT%H:%M:%S%z"), io.BytesIO(done.stdout)
        if every_s is None:
            return
        time.sleep(max(0.0, every_s - (time.monotonic() - started)))


def argument_parser(description: str) -> argparse.ArgumentParser:
    """The options of every program that uses this one; its own are added to them."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", help="files or folders")
    parser.add_argument("--camera", action="store_true", help="take the picture with the camera")
    parser.add_argument("--every", type=float, metavar="SECONDS", help="with --camera: again and again")
    parser.add_argument("--model", type=Path, help="another model of this folder, e.g. the .onnx")
    parser.add_argument("--threads", type=int, default=4, help="threads [default: 4]")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def parse(parser: argparse.ArgumentParser, given: Sequence[str] | None) -> argparse.Namespace:
    """What the command line chose; ends the program with status 2 where that is not one of pictures and the camera."""
    chosen = parser.parse_args(given)
    if bool(chosen.pictures) == chosen.camera:
        parser.error("give pictures, or --camera")
    return chosen


def open_chosen(chosen: argparse.Namespace) -> tuple[About, Model]:
    """model.json of this folder, and the model that it names or that was chosen instead."""
    about: About = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
    path = chosen.model or HERE / about["model"]
    if path.name not in about["models"]:
        raise SystemExit(
            f"model.json does not say what a picture is to {path.name}; it does of {', '.join(about['models'])}: add "
            'scale, offset and order to "models" there'
        )
    told = about["models"][path.name]
    return {**about, "pixels": told}, open_model(path, chosen.threads, told)


def read_labels() -> list[str]:
    """Class names, by class index."""
    return (HERE / "labels.txt").read_text(encoding="utf-8").splitlines()


@dataclass
class Reading:
    """The pictures that the command line names, one after another; those that cannot be read are told and left out.

    Attributes:
        chosen: The command line.
        about: model.json, by which `pixels_of` scales.
        status: What the program is to end with: 1 once a picture could not be read.
    """

    chosen: argparse.Namespace
    about: About
    status: int = 0

    def __iter__(self) -> Iterator[tuple[str, Image.Image, NDArray[np.uint8]]]:
        """Gives the name of each picture, the picture upright, and its pixels, uint8 (height, width, channels)."""
        chosen = self.chosen
        for name, source in camera(chosen.every) if chosen.camera else pictures(chosen.pictures):
            try:
                upright = opened(source)
                # What is measured is what is decoded small, whatever the program draws on.
                is_large = upright.width * upright.height > LARGE_PIXELS and upright.format in ("JPEG", "MPO")
                small = opened(source, self.least()) if is_large else upright
                pixels = pixels_of(small, self.about)
            except Exception as exc:  # noqa: BLE001 - decoders raise anything on damaged pictures
                print(f"{name}: {exc}", file=sys.stderr)  # noqa: T201 - a program of its own
                self.status = 1
                continue
            yield name, upright, pixels

    def least(self) -> float:
        """The side that the part of a picture that the model sees has at least once it is made smaller, in its own."""
        return float(max(self.about["width"], self.about["height"]) / self.about["crop_fraction"])


def start(main: Callable[[], int]) -> NoReturn:
    """Runs a program to its exit status, which is 130 where Ctrl-C ends it."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)


def answers(scores: NDArray[np.float32], labels: Sequence[str], head: str, top: int) -> list[Answer]:
    """What a model says of a picture: the most probable classes, or of labels by themselves a yes or no for each.

    Args:
        scores: The real outputs, (labels,).
        labels: Class names.
        head: model.json: "softmax", "logits", "sigmoid" (one output) or "multi-label".
        top: How many classes, where they exclude each other.
    """
    if head in ("sigmoid", "multi-label"):
        return [
            {"label": label, "index": index, "score": float(scores[index]), "yes": bool(scores[index] >= THRESHOLD)}
            for index, label in enumerate(labels)
        ]
    if head == "logits":
        shares = np.exp(scores - scores.max())
        scores = shares / shares.sum()
    best = np.argsort(-scores, kind="stable")[:top]
    return [{"label": labels[index], "index": int(index), "score": float(scores[index])} for index in best]


def _said(entry: Answer) -> str:
    answer = "" if "yes" not in entry else " yes" if entry["yes"] else " no"
    return f"{entry['label']}{answer} {entry['score']:.3f}"


def main(given: Sequence[str] | None = None) -> int:
    """Classifies what the command line names; the status is 1 where a picture could not be read."""
    parser = argument_parser(__doc__)
    parser.add_argument("--top", type=int, default=1, help="classes a picture [default: 1]")
    chosen = parse(parser, given)
    about, run = open_chosen(chosen)
    labels, reading = read_labels(), Reading(chosen, about)
    for name, _, pixels in reading:
        started = time.perf_counter()
        scores = run(pixels)[0].ravel()
        spent_ms = (time.perf_counter() - started) * 1e3
        classes = answers(scores, labels, about["head"], chosen.top)
        if chosen.json:
            print(json.dumps({"picture": name, "ms": round(spent_ms, 3), "classes": classes}), flush=True)  # noqa: T201
        else:
            said = ", ".join(_said(entry) for entry in classes)
            print(f"{name}: {said} ({spent_ms:.1f} ms)", flush=True)  # noqa: T201
    return reading.status


if __name__ == "__main__":
    start(main)
