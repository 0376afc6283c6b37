"""program.py of the Raspberry Pi: options, the pictures that they name, and what lies beside it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_ABOUT: Any = {
    "width": 24, "height": 24, "crop_fraction": 0.875, "interpolation": "bilinear", "fit": "crop", "white": 65535.0,
    "pixels": {"scale": 1.0, "offset": 0.0, "order": "RGB"},
}  # fmt: skip


@pytest.fixture
def program(program_of: Callable[[str], Any]) -> Any:
    """program.py as a module."""
    return program_of("program")


def _read(program: Any, paths: list[str]) -> tuple[list[np.ndarray], int]:
    chosen = program.parse(program.argument_parser("x"), paths)
    reading = program.Reading(chosen, _ABOUT)
    return [pixels for _, _, pixels in reading], reading.status


def test_the_size_of_a_large_photo_is_its_own(program: Any, tmp_path: Path) -> None:
    # Boxes and masks are told in its pixels, though it is decoded small for the model.
    Image.new("RGB", (4800, 3600)).save(tmp_path / "large.jpg")
    chosen = program.parse(program.argument_parser("x"), [str(tmp_path)])
    ((_, upright, _),) = program.Reading(chosen, _ABOUT)
    assert upright.size == (4800, 3600)


def test_what_is_not_opened_is_told_and_the_rest_read(
    program: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "evil.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    Image.new("1", (14_000, 14_000)).save(tmp_path / "huge.png")
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "reals.tiff")
    os.mkfifo(tmp_path / "pipe.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "z.png")
    found: list[tuple[list[np.ndarray], int]] = []
    reader = threading.Thread(target=lambda: found.append(_read(program, [str(tmp_path)])), daemon=True)
    reader.start()
    reader.join(60)
    ((pixels, status),) = found
    assert len(pixels) == status == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0].rpartition("/")[2] for line in said] == [
        "evil.jpg",
        "huge.png",
        "pipe.png",
        "reals.tiff",
    ]
    assert "cannot identify" in said[0]
    assert (
        "14000 x 14000 pixels, and at most 67,108,864 are decoded; make it smaller, or set MNEDGE_MAX_PIXELS" in said[1]
    )
    assert "no regular file" in said[2]
    assert "whose range nobody says" in said[3]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "give pictures, or --camera"),
        (("a.png", "--camera"), "give pictures, or --camera"),
        (("a.png", "--stream"), "give --camera"),
        (("--camera", "nowhere"), "no csi, usb, or device"),
        (("a.png", "--threads", "0"), "'0' is no whole number from 1 to 256"),
        (("--camera", "--every", "soon"), "'soon' is no number from 0.001 to 1e+06"),
        (("--camera", "--every", "nan"), "'nan' is no number"),
    ],
)
def test_a_mistake_is_one_line(
    program: Any, given: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        program.parse(program.argument_parser("x"), given)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert "--help lists the options" in line


@pytest.mark.parametrize(
    ("text", "names"), [("a\nb\n", ["a", "b"]), ("a\nb", ["a", "b"]), ("a\n\nb\n", ["a", "", "b"])]
)
def test_labels_are_the_lines(
    program: Any, text: str, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "HERE", tmp_path)
    (tmp_path / "labels.txt").write_text(text)
    assert program.read_labels() == names


def test_labels_of_another_model_are_refused(program: Any) -> None:
    program.check_labels(["a", "b"], 2)
    with pytest.raises(program.ProgramError, match="has 2 lines, and the model tells 3 classes apart"):
        program.check_labels(["a", "b"], 3)
