"""The frame of every program of this folder: its options, the pictures that they name, its model, and its end.

models.py opens the model, pictures.py reads pictures, and cameras.py takes them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from models import open_model  # type: ignore[import-not-found]
from pictures import (  # type: ignore[import-not-found]
    LARGE_PIXELS,
    ProgramError,
    most_pixels,
    opened,
    pictures,
    pixels_of,
)
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypedDict

    import numpy as np
    from models import Model, Range
    from numpy.typing import NDArray

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
        white: float
        detection: Anchors
        threshold: float


HERE = Path(__file__).resolve().parent
MOST_THREADS = 256
# Pictures over which their rate is taken.
RATED = 30


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Tells a mistake in one line, which the usage above it would hide."""
        self.exit(2, f"{self.prog}: error: {message}; {self.prog} --help lists the options\n")


def whole(least: int, most: int) -> Callable[[str], int]:
    """A reader of whole numbers within limits, for an option."""

    def read(text: str) -> int:
        if not (text.isascii() and text.lstrip("-").isdigit() and least <= int(text[:12]) <= most):
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number from {least} to {most}")
        return int(text)

    return read


def number(least: float, most: float) -> Callable[[str], float]:
    """A reader of numbers within limits, for an option."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number from {least:g} to {most:g}")
        return value

    return read


def argument_parser(description: str) -> argparse.ArgumentParser:
    """The options of every program that uses this one; its own are added to them."""
    parser = _Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", help="files or folders")
    parser.add_argument(
        "--camera", nargs="?", const="", metavar="WHICH",
        help="take pictures with the camera: csi, usb, or a device such as /dev/video0 [default: the one there is]",
    )  # fmt: skip
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument(
        "--every", type=number(0.001, 1e6), metavar="SECONDS", help="with --camera: again and again, every so often"
    )
    pace.add_argument("--stream", action="store_true", help="with --camera: as many as it can, with how many a second")
    parser.add_argument("--count", type=whole(1, 1 << 30), metavar="N", help="end after N pictures")
    parser.add_argument("--model", type=Path, help="another model of this folder, e.g. the .onnx")
    parser.add_argument("--threads", type=whole(1, MOST_THREADS), default=4, help="threads [default: 4]")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def parse(parser: argparse.ArgumentParser, given: Sequence[str] | None) -> argparse.Namespace:
    """Parses the command line, and ends the program with status 2 where it names neither pictures nor the camera."""
    chosen = parser.parse_args(given)
    has_camera = chosen.camera is not None
    if bool(chosen.pictures) == has_camera:
        parser.error("give pictures, or --camera")
    if (chosen.every or chosen.stream) and not has_camera:
        parser.error("--every and --stream are of the camera: give --camera")
    if has_camera and chosen.camera not in ("", "csi", "usb") and not Path(chosen.camera).exists():
        parser.error(f"--camera {chosen.camera}: no csi, usb, or device such as /dev/video0")
    return chosen


def open_chosen(chosen: argparse.Namespace) -> tuple[About, Model]:
    """model.json of this folder, and the model that it names or that was chosen instead."""
    try:
        about: About = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
        path, known = chosen.model or HERE / about["model"], about["models"]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ProgramError(f"{HERE / 'model.json'} cannot be read ({exc}); unpack the bundle again") from exc
    if not path.exists() and path.name == str(path):
        path = HERE / path
    if not path.is_file():
        raise ProgramError(f"there is no model {chosen.model or path}; this folder has {', '.join(known)}")
    if path.name not in known:
        raise ProgramError(
            f"model.json does not say what a picture is to {path.name}; it does of {', '.join(known)}: add "
            'scale, offset and order to "models" there'
        )
    told = known[path.name]
    try:
        return {**about, "pixels": told}, open_model(path, chosen.threads, told)
    except ProgramError:
        raise
    except Exception as exc:
        words = (str(exc).strip().splitlines() or [type(exc).__name__])[-1]
        raise ProgramError(f"{path} cannot be opened: {words}; unpack the bundle again") from exc


def read_labels() -> list[str]:
    """Class names, by class index."""
    path = HERE / "labels.txt"
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as exc:
        raise ProgramError(f"{path} cannot be read ({exc}); it has the name of each class, one a line") from exc
    return lines[:-1] if not lines[-1] else lines


def check_labels(labels: Sequence[str], classes: int) -> None:
    """Makes sure that every class of the model has a name."""
    if len(labels) != classes:
        raise ProgramError(
            f"{HERE / 'labels.txt'} has {len(labels)} lines, and the model tells {classes} classes apart; take the "
            "labels.txt of this model"
        )


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
    _moments: deque[float] = field(default_factory=lambda: deque(maxlen=RATED + 1))

    def __iter__(self) -> Iterator[tuple[str, Image.Image, NDArray[np.uint8]]]:
        """Gives the name of each picture, the picture upright, and its pixels, uint8 (height, width, channels)."""
        chosen = self.chosen
        most_pixels()
        given = 0
        started = time.monotonic()
        try:
            for name, source in islice(self._sources(), chosen.count):
                try:
                    upright = source if isinstance(source, Image.Image) else opened(source)
                    # What is measured is what is decoded small, whatever the program draws on.
                    is_large = upright.width * upright.height > LARGE_PIXELS and upright.format in ("JPEG", "MPO")
                    small = opened(source, self.least()) if is_large else upright
                    pixels = pixels_of(small, self.about)
                except Exception as exc:  # noqa: BLE001 - decoders raise anything on damaged pictures
                    print(f"{name}: {exc}", file=sys.stderr)  # noqa: T201 - a program of its own
                    self.status = 1
                    continue
                self._moments.append(time.monotonic())
                given += 1
                yield name, upright, pixels
        finally:
            if chosen.stream and given:
                spent_s = time.monotonic() - started
                words = f"{given} pictures in {spent_s:.1f} s, {given / spent_s:.1f} a second"
                print(words, file=sys.stderr, flush=True)  # noqa: T201

    def _sources(self) -> Iterator[tuple[str, Path | Image.Image]]:
        chosen = self.chosen
        if chosen.camera is None:
            yield from pictures(chosen.pictures)
            return
        from cameras import pictures_of  # type: ignore[import-not-found]

        taken: Iterator[tuple[str, Path | Image.Image]] = pictures_of(
            chosen.camera, self.least(), 0.0 if chosen.stream else chosen.every
        )
        yield from taken if chosen.stream or chosen.every or chosen.count else islice(taken, 1)

    def least(self) -> float:
        """The side that the part of a picture that the model sees has at least once it is made smaller, in its own."""
        return float(max(self.about["width"], self.about["height"]) / self.about["crop_fraction"])

    @property
    def rate(self) -> float | None:
        """Pictures a second, of the last ones of a stream; None where there is no stream, or one picture yet."""
        if not self.chosen.stream or len(self._moments) < 2:
            return None
        return (len(self._moments) - 1) / max(self._moments[-1] - self._moments[0], 1e-9)

    def row(self, name: str, spent_ms: float) -> dict[str, object]:
        """The JSON fields that every picture has: its name, its latency, and the rate of a stream."""
        row: dict[str, object] = {"picture": name, "ms": round(spent_ms, 3)}
        return row if self.rate is None else {**row, "fps": round(self.rate, 2)}

    def pace(self, spent_ms: float) -> str:
        """The time of a picture, and the rate of a stream, in words."""
        return f"{spent_ms:.1f} ms" + ("" if self.rate is None else f", {self.rate:.1f} a second")


def start(main: Callable[[], int]) -> NoReturn:
    """Runs a program to its exit status: 2 where it cannot do what it is asked to, 130 where Ctrl-C ends it."""
    # As an end of the program, so that the camera is given back.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except ProgramError as exc:
        print(f"{Path(sys.argv[0]).name}: {exc}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except BrokenPipeError:
        # Who reads has gone, and the interpreter would tell so once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt:
        sys.exit(130)
