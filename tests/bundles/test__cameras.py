"""Cameras of boards. There is none here: rpicam's programs, picamera2 and the kernel's device have stand-ins.

The device is a library that answers the program's calls with the kernel's own numbers and structures; that of a real
camera, its exposure and its plug are not tested.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

_HERE = Path(__file__).parent
# Takes some pictures, and says of each its size, its mean colour, and which camera it was.
_TAKE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import cameras
from PIL import Image
import numpy as np
import video4linux
video4linux.DEVICES = Path(sys.argv[2])
cameras.TIMEOUT_S = video4linux.TIMEOUT_S = 5
which, least, every, count = sys.argv[3], float(sys.argv[4]), json.loads(sys.argv[5]), int(sys.argv[6])
try:
    for _, (name, source) in zip(range(count), cameras.pictures_of(which, least, every)):
        picture = source if isinstance(source, Image.Image) else Image.open(source)
        mean = np.asarray(picture.convert("RGB")).mean(axis=(0, 1))
        print(json.dumps({"name": name, "size": picture.size, "mean": mean.tolist()}), flush=True)
except cameras.ProgramError as exc:
    sys.exit(f"{type(exc).__name__}: {exc}")
"""
_COLOURS = ((200, 40, 30), (30, 190, 40), (40, 30, 180))


def _jpeg(colour: tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


class _Board:
    """A board with what a test puts there: programs on PATH, modules, devices."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        self.environment = {"PATH": str(folder / "bin"), "PYTHONPATH": str(folder / "modules")}
        for name in ("bin", "dev", "modules"):
            (folder / name).mkdir()

    def program(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}")
        path.chmod(0o755)

    def take(
        self, which: str = "", *, least: float = 256, every: float | None = None, count: int = 1
    ) -> tuple[list[dict], str]:
        arguments = [self.programs, self.folder / "dev", which, least, json.dumps(every), count]
        done = subprocess.run(
            [sys.executable, "-c", _TAKE, *map(str, arguments)],
            capture_output=True, text=True, check=False, timeout=60, env=self.environment,
        )  # fmt: skip
        return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.fixture
def board(programs: Path, tmp_path: Path) -> _Board:
    return _Board(programs, tmp_path)


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None or not Path("/usr/include/linux/videodev2.h").exists():
        pytest.skip("no gcc, or no header of Video4Linux")
    library = tmp_path_factory.mktemp("standin") / "standin.so"
    command = ["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, _HERE / "v4l2_standin.c", "-ldl"]
    subprocess.run(list(map(str, command)), check=True)
    return library


def _plugged(board: _Board, standin: Path, kind: str, frames: list[bytes]) -> Path:
    """Plugs a USB camera in, and gives its device."""
    (board.folder / "frames").mkdir()
    for number, data in enumerate(frames):
        (board.folder / "frames" / str(number)).write_bytes(data)
    # An entry of the folder, which what is opened by its name replaces.
    device = board.folder / "dev" / "video0"
    device.touch()
    board.environment |= {
        "LD_PRELOAD": str(standin), "STANDIN_VIDEO": str(device), "STANDIN_KIND": kind,
        "STANDIN_FRAMES": str(board.folder / "frames"),
    }  # fmt: skip
    return device


def test_a_usb_camera_gives_its_newest_jpegs(board: _Board, standin: Path) -> None:
    device = _plugged(board, standin, "MJPG", [_jpeg(colour) for colour in _COLOURS])
    rows, said = board.take(every=0.0, count=6)
    assert f"camera: {device} (USB)" in said
    assert [row["size"] for row in rows] == [[64, 48]] * 6
    # Those that waited while others were looked at are left out, so which ones come depends on the machine.
    distances = [np.abs(np.array(_COLOURS) - row["mean"]).max(axis=1).min() for row in rows]
    assert max(distances) < 6
    (named,), said = board.take(str(device))
    assert f"camera: {device} (Video4Linux)" in said
    assert named["name"][10] == "T"


def test_yuyv_is_turned_to_rgb(board: _Board, standin: Path) -> None:
    # Lines of 16 pixels with 8 bytes of padding; BT.601: 81, 90, 240 is red, 145, 54, 34 green, 41, 240, 110 blue.
    lines = [bytes([y, u, y, v]) * 8 + bytes(8) for y, u, v in ((81, 90, 240), (145, 54, 34), (41, 240, 110))]
    frames = [line * 8 for line in lines]
    # One that came short is left out.
    _plugged(board, standin, "YUYV", [*frames, frames[0][:100]])
    rows, _ = board.take("usb", every=0.0, count=3)
    assert all(row["size"] == [16, 8] for row in rows)
    pure = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]])
    for row in rows:
        assert np.abs(np.array(row["mean"]) - pure).max(axis=1).min() < 3
    assert len({int(np.argmax(row["mean"])) for row in rows}) == 3


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("H264", "gives H264, and MJPG or YUYV is read"),
        ("busy", "is in use by another program"),
        ("node", "gives no pictures; a camera has several devices"),
    ],
)
def test_why_a_device_gives_no_pictures(board: _Board, standin: Path, kind: str, words: str) -> None:
    device = _plugged(board, standin, kind, [_jpeg(_COLOURS[0])])
    rows, said = board.take(str(device))
    assert rows == []
    assert said.startswith("ProgramError: ")
    assert f"{device} {words}" in said


def test_a_file_is_no_camera(board: _Board) -> None:
    (board.folder / "dev" / "video0").write_text("")
    assert "video0 is no camera" in board.take(str(board.folder / "dev" / "video0"))[1]
    assert "no USB camera among" in board.take("usb")[1]
    assert "No such file" in board.take(str(board.folder / "dev" / "video1"))[1]


def test_a_node_without_pictures_is_no_usb_camera(board: _Board, standin: Path) -> None:
    _plugged(board, standin, "node", [b""])
    assert "no USB camera among" in board.take("usb")[1]


_STILL = """[ "$1" = --list-cameras ] && { echo "$LISTED"; exit 0; }
cat "$STILL"
"""


def test_stills_come_from_rpicams_program(board: _Board) -> None:
    (board.folder / "photo.jpg").write_bytes(_jpeg(_COLOURS[1], (320, 240)))
    board.environment |= {"STILL": str(board.folder / "photo.jpg")}
    board.program("rpicam-still", _STILL)
    (row,), said = board.take()
    assert "camera: CSI (rpicam-still)" in said
    assert row["size"] == [320, 240]
    board.program("rpicam-still", "echo 'ERROR: *** no cameras available ***' >&2; exit 255\n")
    assert "rpicam-still failed: ERROR: *** no cameras available ***" in board.take("csi")[1]


def test_usb_is_taken_where_no_csi_camera_is_plugged_in(board: _Board, standin: Path) -> None:
    _plugged(board, standin, "MJPG", [_jpeg(_COLOURS[0])])
    (board.folder / "photo.jpg").write_bytes(_jpeg(_COLOURS[1], (320, 240)))
    board.environment |= {"STILL": str(board.folder / "photo.jpg"), "LISTED": "No cameras available!"}
    board.program("rpicam-still", _STILL)
    assert "(USB)" in board.take()[1]
    board.environment["LISTED"] = "0 : imx708 [4608x2592] (/base/soc/i2c0mux/i2c@1/imx708@1a)"
    assert "camera: CSI (rpicam-still)" in board.take()[1]


def test_a_stream_comes_from_rpicams_program(board: _Board) -> None:
    (board.folder / "stream").write_bytes(b"".join(map(_jpeg, _COLOURS)) + _jpeg(_COLOURS[0])[:90])
    command = f'echo "$@" > {board.folder}/asked\ncat {board.folder}/stream\necho "ERROR: cable" >&2\nexit 1\n'
    board.program("rpicam-vid", command)
    rows, said = board.take(every=0.0, least=500, count=9)
    # Older pictures are dropped, the newest never.
    assert 1 <= len(rows) <= 3
    np.testing.assert_allclose(rows[-1]["mean"], _COLOURS[2], atol=6)
    assert "ProgramError: " in said
    assert "rpicam-vid ended: ERROR: cable" in said
    asked = (board.folder / "asked").read_text().split()
    assert asked[asked.index("--codec") + 1] == "mjpeg"
    assert [asked[asked.index(side) + 1] for side in ("--width", "--height")] == ["1280", "720"]


def test_the_program_of_a_stream_ends_with_it(board: _Board) -> None:
    (board.folder / "stream").write_bytes(_jpeg(_COLOURS[0]))
    board.program("rpicam-vid", f"echo $$ > {board.folder}/pid\ncat {board.folder}/stream\nexec sleep 100\n")
    rows, _ = board.take(every=0.0)
    assert len(rows) == 1
    pid = int((board.folder / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


_PICAMERA2 = """
import json, os, sys
import numpy as np
def said(*words): print(*words, file=sys.stderr)
class Picamera2:
    number = 0
    @staticmethod
    def global_camera_info():
        return json.loads(os.environ["CAMERAS"])
    def create_video_configuration(self, main):
        return main
    def configure(self, chosen):
        assert chosen["format"] == "BGR888", "the name of R, G, B in memory"
        said("configured", chosen["size"])
    def start(self): said("started")
    def capture_array(self, name):
        assert name == "main"
        self.number += 1
        return np.full((48, 64, 3), (200, 40, self.number), np.uint8)
    def stop(self): said("stopped")
    def close(self): said("closed")
"""


def test_picamera2_is_taken_where_it_is_installed(board: _Board) -> None:
    (board.folder / "modules" / "picamera2.py").write_text(_PICAMERA2)
    board.environment["CAMERAS"] = json.dumps([{"Id": "/base/soc/i2c0mux/i2c@1/imx708@1a"}])
    rows, said = board.take(every=0.0, count=2)
    assert [row["mean"] for row in rows] == [[200, 40, 9], [200, 40, 10]]
    assert said.split("\n")[:3] == ["configured (640, 480)", "started", "camera: CSI (picamera2)"]
    assert "stopped\nclosed" in said
    # What it lists of USB is read by the device itself; without any, rpicam's programs are looked for.
    board.environment["CAMERAS"] = json.dumps([{"Id": r"\_SB_.PCI0.RP01.usb-1.2"}])
    assert "no rpicam-still (sudo apt install rpicam-apps), picamera2 sees none" in board.take("csi")[1]


def test_a_picamera2_that_fails_is_told(board: _Board) -> None:
    (board.folder / "modules" / "picamera2.py").write_text("raise ValueError('numpy.dtype size changed')\n")
    said = board.take()[1]
    assert said.count("\n") == 1
    assert "picamera2 fails to load (numpy.dtype size changed)" in said
    assert "and no USB camera among" in said
