"""Frames of a video file, read by OpenCV where it is installed: `mnedge[video]`.

Nothing is written: the file is read from front to back, once to find the frames and once for each pass over them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data.preprocess import most_pixels
from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import cv2
    from numpy.typing import NDArray

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")
_LEAST_SECONDS = 1e-3
_MILLISECONDS = 1e3
# Threads ask for frames a little out of order, so some stay in memory.
_KEPT = 16


def is_video(path: Path) -> bool:
    """Returns whether a file's name is that of a video."""
    return path.suffix.lower() in SUFFIXES


@dataclass(frozen=True)
class Frame:
    """A frame of a video.

    Attributes:
        video: The video.
        number: Number of the frame, from 0.
        at_s: Its time, seconds.
    """

    video: Video
    number: int
    at_s: float

    @property
    def path(self) -> Path:
        """The video's file."""
        return self.video.path

    def pixels(self) -> NDArray[np.uint8]:
        """Reads the frame, upright: uint8, (height, width, 3), RGB.

        Raises:
            InputError: The video cannot be read any more.
        """
        return self.video.read(self.number)


@dataclass(eq=False)
class Video:
    """A video file, read from front to back; safe to be asked by several threads.

    Attributes:
        path: The file.
        wanted: Numbers of the frames that may be read.
    """

    path: Path
    wanted: frozenset[int] = frozenset()
    _kept: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _capture: cv2.VideoCapture | None = None
    _next: int = 0

    def read(self, number: int) -> NDArray[np.uint8]:
        """Reads a wanted frame, see `Frame.pixels`."""
        with self._lock:
            if number in self._kept:
                return self._kept[number]
            if self._capture is None or number < self._next:
                self.close()
                self._capture = _opened(self.path)
            while self._capture.grab():
                self._next += 1
                if self._next - 1 not in self.wanted:
                    continue
                is_there, pixels = self._capture.retrieve()
                if not is_there:
                    break
                # OpenCV has blue first.
                self._kept[self._next - 1] = np.ascontiguousarray(pixels[..., ::-1], np.uint8)
                while len(self._kept) > _KEPT:
                    del self._kept[next(iter(self._kept))]
                if self._next > number:
                    return self._kept[number]
            raise InputError(
                f"{self.path}: frame {number} cannot be decoded; convert the video, or cut it before there"
            )

    def close(self) -> None:
        """Gives the decoder back."""
        if self._capture is not None:
            self._capture.release()
        self._capture, self._next = None, 0


def frames(path: Path, every_s: float) -> list[Frame]:
    """Finds the frames of a video that lie so far apart.

    Args:
        path: The file.
        every_s: Seconds from one frame to the next; 0 for every frame.

    Raises:
        InputError: OpenCV is not installed, or the file cannot be read as a video.
    """
    if not (every_s == 0 or every_s >= _LEAST_SECONDS):
        raise InputError(f"--every is {every_s}; it is seconds, 0 for every frame, or {_LEAST_SECONDS} and more")
    if find_spec("cv2") is None:
        raise InputError(
            f"{path} is a video, which is read by OpenCV: `pip install 'mnedge[video]'`, or take frames out of it "
            f"first (ffmpeg -i {path.name} -r 1 frames/%05d.png)"
        )
    times = list(_times(path))
    chosen, due = [], 0.0
    for number, at_s in enumerate(times):
        # Times are rounded to milliseconds in many files.
        if at_s >= due - _LEAST_SECONDS:
            chosen.append((number, at_s))
            due = due + every_s * max(1, int((at_s - due) / every_s + 1)) if every_s else 0.0
    video = Video(path, frozenset(number for number, _ in chosen))
    return [Frame(video, number, at_s) for number, at_s in chosen]


def _times(path: Path) -> Iterator[float]:
    """Time of each frame that can be decoded, seconds.

    Raises:
        InputError: There is none.
    """
    import cv2

    capture, found = _opened(path), False
    try:
        rate = capture.get(cv2.CAP_PROP_FPS)
        number, last = 0, 0.0
        while capture.grab():
            told = capture.get(cv2.CAP_PROP_POS_MSEC) / _MILLISECONDS
            # Some files carry no times; the rate says them then.
            last = max(last, told if told > 0 or not rate > 0 else number / rate)
            yield last
            found, number = True, number + 1
    finally:
        capture.release()
    if not found:
        raise InputError(f"{path} holds no frame that can be decoded; convert it, e.g. with ffmpeg to H.264 in .mp4")


def _opened(path: Path) -> cv2.VideoCapture:
    import cv2

    # Damaged files are told in our words, not in those of ffmpeg on the terminal.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise InputError(f"{path} cannot be read as a video; convert it, e.g. with ffmpeg to H.264 in .mp4")
    size = [int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
    if not 0 < size[0] * size[1] <= most_pixels():
        capture.release()
        raise InputError(
            f"{path} has frames of {size[0]} x {size[1]} pixels; decoded are up to {most_pixels():,} pixels "
            "(MNEDGE_MAX_PIXELS raises that)"
        )
    return capture
