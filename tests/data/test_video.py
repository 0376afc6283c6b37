"""Frames of a video: which ones, and that each is what was written at its time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.data import video
from mnedge.data.video import frames, is_video
from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_RATE, _COUNT = 10, 60
needs_opencv = pytest.mark.skipif(find_spec("cv2") is None, reason="OpenCV is not installed: mnedge[video]")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Six seconds of ten frames each; the red of a frame is four times its number, its blue 20."""
    import cv2

    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), _RATE, (32, 24))
    for number in range(_COUNT):
        writer.write(np.full((24, 32, 3), (20, 60, 4 * number), np.uint8))
    writer.release()
    return path


def test_without_opencv_it_is_said_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "find_spec", lambda _name: None)
    path = tmp_path / "Street.MP4"
    path.write_bytes(b"")
    assert is_video(path)
    with pytest.raises(InputError, match=r"pip install 'mnedge\[video\]'`, or .*first \(ffmpeg -i Street\.MP4 -r 1"):
        frames(path, 1.0)


@pytest.mark.parametrize("every", [-1.0, 1e-9, float("nan")])
def test_a_time_between_frames_is_a_time(tmp_path: Path, every: float) -> None:
    with pytest.raises(InputError, match="--every is"):
        frames(tmp_path / "a.mp4", every)


@needs_opencv
@pytest.mark.parametrize(
    ("every", "numbers"),
    [(1.0, range(0, 60, 10)), (0, range(60)), (0.25, [0, 3, 5, 8, 10, 13]), (100.0, [0])],
)
def test_frames_lie_as_far_apart_as_asked_for(clip: Path, every: float, numbers: list[int]) -> None:
    found = frames(clip, every)
    assert [frame.number for frame in found][: len(numbers)] == list(numbers)
    assert [frame.at_s for frame in found][: len(numbers)] == pytest.approx([number / _RATE for number in numbers])


@needs_opencv
def test_frames_are_those_of_their_time_whoever_asks_first(clip: Path) -> None:
    found = frames(clip, 0)
    order = np.random.default_rng(0).permutation(_COUNT)
    with ThreadPoolExecutor(4) as pool:
        pixels = list(pool.map(lambda place: found[place].pixels(), order.tolist()))
    for place, one in zip(order, pixels, strict=True):
        assert one.shape == (24, 32, 3)
        # JPEG rounds; blue and red are not changed over.
        np.testing.assert_allclose(one.mean((0, 1)), [4 * place, 60, 20], atol=4)


@needs_opencv
def test_what_is_no_video_is_told(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(clip.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read as a video; convert it"):
        frames(path, 1.0)
    monkeypatch.setenv("MNEDGE_MAX_PIXELS", "700")
    with pytest.raises(InputError, match="frames of 32 x 24 pixels; decoded are up to 700 pixels"):
        frames(clip, 1.0)
