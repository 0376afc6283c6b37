#!/usr/bin/env python3
"""Says what is in pictures: files, folders of pictures, or the camera.

classify.py photo.jpg                       one line a picture: the most probable classes
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
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Model = Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]

HERE = Path(__file__).resolve().parent
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
CAMERAS = ("rpicam-still", "libcamera-still")
CAMERA_TIMEOUT_S = 60


def open_model(path: Path, threads: int) -> Model:
    """Opens a model; the function that it gives takes pixels, uint8 (side, side, 3), and gives the real outputs."""
    return _open_onnx(path, threads) if path.suffix == ".onnx" else _open_tflite(path, threads)


def _open_tflite(path: Path, threads: int) -> Model:
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

    def real(target: dict[str, Any]) -> NDArray[np.float32]:
        steps: NDArray[np.float32] = interpreter.get_tensor(target["index"])[0].astype(np.float32)
        scale, zero_point = target["quantization"]
        return steps if scale == 0 else (steps - np.float32(zero_point)) * np.float32(scale)

    def run(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        interpreter.set_tensor(source["index"], _encoded(pixels, source["dtype"])[None])
        interpreter.invoke()
        return [real(target) for target in targets]

    return run


def _open_onnx(path: Path, threads: int) -> Model:
    # ONNX Runtime reports models to its maker unless it is told not to.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError:
        raise SystemExit("no runtime for .onnx: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    is_nchw = source.shape[1] == 3

    def run(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        real = _encoded(pixels, np.float32)[None]
        outputs = session.run(None, {source.name: real.transpose(0, 3, 1, 2) if is_nchw else real})
        return [output[0] for output in outputs]

    return run


def _encoded(pixels: NDArray[np.uint8], dtype: Any) -> NDArray[Any]:  # noqa: ANN401 - numpy takes many
    """Pixels as a model takes them: uint8 as they are, int8 less 128, float32 in [-1, 1]."""
    if dtype == np.uint8:
        return pixels
    if dtype == np.int8:
        return (pixels.astype(np.int16) - 128).astype(np.int8)
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def pixels_of(upright: Image.Image, about: Mapping[str, Any]) -> NDArray[np.uint8]:
    """A picture as the model was measured with it: RGB, cropped or stretched; uint8 (side, side, 3).

    Args:
        upright: Any picture, turned as its EXIF says.
        about: model.json: resolution, crop_fraction, interpolation, and fit ("crop" or "stretch").
    """
    side = about["resolution"]
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        opaque = Image.new("RGBA", upright.size, "white")
        opaque.alpha_composite(upright.convert("RGBA"))
        upright = opaque
    picture = upright.convert("RGB")
    width, height = (max(1.0, extent * about["crop_fraction"]) for extent in picture.size)
    if about.get("fit", "crop") == "crop":
        width = height = min(width, height)
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    resample = Image.Resampling[about["interpolation"].upper()]
    return np.asarray(picture.resize((side, side), resample, box=(left, top, left + width, top + height)), np.uint8)


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


def open_chosen(chosen: argparse.Namespace) -> tuple[dict[str, Any], Model]:
    """model.json of this folder, and the model that it names or that was chosen instead."""
    about = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
    return about, open_model(chosen.model or HERE / about["model"], chosen.threads)


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
    about: Mapping[str, Any]
    status: int = 0

    def __iter__(self) -> Iterator[tuple[str, Image.Image, NDArray[np.uint8]]]:
        """Gives the name of each picture, the picture upright, and its pixels, uint8 (side, side, 3)."""
        chosen = self.chosen
        for name, source in camera(chosen.every) if chosen.camera else pictures(chosen.pictures):
            try:
                with Image.open(source) as image:
                    upright = ImageOps.exif_transpose(image)
                    pixels = pixels_of(upright, self.about)
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as exc:
                print(f"{name}: {exc}", file=sys.stderr)  # noqa: T201 - a program of its own
                self.status = 1
                continue
            yield name, upright, pixels


def start(main: Callable[[], int]) -> NoReturn:
    """Runs a program to its exit status, which is 130 where Ctrl-C ends it."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)


def main(given: Sequence[str] | None = None) -> int:
    """Classifies what the command line names; the status is 1 where a picture could not be read."""
    parser = argument_parser(__doc__)
    parser.add_argument("--top", type=int, default=1, help="classes a picture [default: 1]")
    chosen = parse(parser, given)
    about, run = open_chosen(chosen)
    labels, reading = read_labels(), Reading(chosen, about)
    for name, _, pixels in reading:
        started = time.perf_counter()
        scores = run(pixels)[0]
        spent_ms = (time.perf_counter() - started) * 1e3
        best = np.argsort(-scores, kind="stable")[: chosen.top]
        classes = [{"label": labels[index], "index": int(index), "score": float(scores[index])} for index in best]
        if chosen.json:
            print(json.dumps({"picture": name, "ms": round(spent_ms, 3), "classes": classes}), flush=True)  # noqa: T201
        else:
            said = ", ".join(f"{entry['label']} {entry['score']:.3f}" for entry in classes)
            print(f"{name}: {said} ({spent_ms:.1f} ms)", flush=True)  # noqa: T201
    return reading.status


if __name__ == "__main__":
    start(main)
