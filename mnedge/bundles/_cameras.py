"""Pictures from a camera: of the board's own connector (CSI) or of USB, through what is installed there.

CSI: picamera2 where this Python has it, else rpicam-still and rpicam-vid (libcamera-still and libcamera-vid before).
USB: video4linux.py.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from pictures import ProgramError  # type: ignore[import-not-found]
from PIL import Image
from video4linux import DEVICES, SETTLED, V4l2Camera, usb_cameras  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    class Camera(Protocol):
        """A camera that is open."""

        def picture(self) -> Image.Image | io.BytesIO:
            """The newest picture, as pixels or as a JPEG."""

        def close(self) -> None:
            """Gives the camera back."""

    class LibraryCamera(Protocol):
        """The methods of picamera2's class that are called here."""

        @staticmethod
        def global_camera_info() -> list[dict[str, object]]: ...
        def create_video_configuration(self, main: dict[str, object]) -> object: ...
        def configure(self, chosen: object) -> None: ...
        def start(self) -> None: ...
        def capture_array(self, name: str) -> NDArray[np.uint8]: ...
        def stop(self) -> None: ...
        def close(self) -> None: ...


STILLS, VIDEOS = ("rpicam-still", "libcamera-still"), ("rpicam-vid", "libcamera-vid")
APPS = "sudo apt install rpicam-apps"
TIMEOUT_S = 60
# Sizes that nearly every camera has; the smallest that shows what the model sees.
SIZES = ((640, 480), (1280, 720), (1920, 1080))
LARGEST_JPEG = 64 << 20
END_OF_JPEG = b"\xff\xd9"


def pictures_of(which: str, least: float, every_s: float | None) -> Iterator[tuple[str, Image.Image | io.BytesIO]]:
    """Pictures from the camera with their time: one every so many seconds, or as fast as they are taken off here.

    Args:
        which: "csi", "usb", a device such as /dev/video0, or "" for the one there is, CSI before USB.
        least: Shortest side in pixels that the model can use.
        every_s: Seconds from one picture to the next; 0 for a stream.
    """
    with closing(opened_camera(which, least, every_s)) as camera:
        while True:
            started = time.monotonic()
            picture = camera.picture()
            now = time.time()
            # A comma, as a dot would end the name of a file that is called after it.
            yield time.strftime(f"%Y-%m-%dT%H:%M:%S,{int(now % 1 * 1000):03d}%z", time.localtime(now)), picture
            if every_s:
                time.sleep(max(0.0, every_s - (time.monotonic() - started)))


def opened_camera(which: str, least: float, every_s: float | None) -> Camera:
    """Opens a camera through what is installed; tells which on standard error."""
    size = next((size for size in SIZES if size[1] >= least), SIZES[-1])
    if which not in ("", "csi", "usb"):
        return _told(f"{which} (Video4Linux)", V4l2Camera(Path(which), size))
    usb = usb_cameras() if which != "csi" else []
    if which == "usb" and not usb:
        raise ProgramError(
            f"no USB camera among {DEVICES}/video*; plug one in, or name its device: --camera /dev/video0"
        )
    if which != "usb":
        module, why = _picamera2()
        program = _program(STILLS if every_s != 0 else VIDEOS)
        if module is not None and any("usb" not in str(row.get("Id")) for row in module.global_camera_info()):
            return _told("CSI (picamera2)", Picamera(module, size))
        if program and not (usb and _sees_none(program)):
            kind = StillCamera(program) if every_s != 0 else VideoCamera(program, size)
            return _told(f"CSI ({Path(program).name})", kind)
        if not usb:
            wanted = STILLS[0] if every_s != 0 else VIDEOS[0]
            raise ProgramError(
                f"no camera: there is no {wanted} ({APPS}), {why or 'picamera2 sees none'}"
                + (f", and no USB camera among {DEVICES}/video*" if not which else "")
            )
    return _told(f"{usb[0]} (USB)", V4l2Camera(usb[0], size))


def _told(words: str, camera: Camera) -> Camera:
    print(f"camera: {words}", file=sys.stderr, flush=True)  # noqa: T201 - a program of its own
    return camera


def _program(names: tuple[str, ...]) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


def _sees_none(program: str) -> bool:
    """Whether the programs for CSI cameras see none, which they say on standard output."""
    done = subprocess.run([program, "--list-cameras"], capture_output=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
    return b"No cameras available" in done.stdout + done.stderr


def _picamera2() -> tuple[type[LibraryCamera] | None, str]:
    """Picamera2's class, or why there is none."""
    try:
        from picamera2 import Picamera2  # type: ignore[import-not-found]
    except ImportError:
        return None, "no picamera2 (sudo apt install python3-picamera2)"
    except Exception as exc:  # noqa: BLE001 - compiled against another NumPy, for example
        return None, f"picamera2 fails to load ({exc})"
    return Picamera2, ""


class Picamera:
    """A CSI camera through picamera2, which keeps running between the pictures."""

    def __init__(self, module: type[LibraryCamera], size: tuple[int, int]) -> None:
        try:
            self.camera: LibraryCamera = module()
            # picamera2 calls by this name pixels whose bytes are R, G, B.
            chosen = self.camera.create_video_configuration(main={"size": size, "format": "BGR888"})
            self.camera.configure(chosen)
            self.camera.start()
        except Exception as exc:
            raise ProgramError(f"picamera2: {exc}; does another program use the camera?") from exc
        for _ in range(SETTLED):
            self.picture()

    def picture(self) -> Image.Image:
        """The newest picture."""
        return Image.fromarray(self.camera.capture_array("main"))

    def close(self) -> None:
        """Gives the camera back."""
        self.camera.stop()
        self.camera.close()


class StillCamera:
    """A CSI camera through rpicam-still, started anew for each picture."""

    def __init__(self, program: str) -> None:
        self.command = [program, "--nopreview", "--immediate", "--encoding", "jpg", "--output", "-"]

    def picture(self) -> io.BytesIO:
        """A picture in the camera's full size."""
        try:
            done = subprocess.run(self.command, capture_output=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            raise ProgramError(f"{self.command[0]} gives no picture within {TIMEOUT_S} s; check the cable") from None
        if done.returncode != 0:
            raise ProgramError(f"{self.command[0]} failed: {_last_line(done.stderr)}")
        return io.BytesIO(done.stdout)

    def close(self) -> None:
        """Nothing is open between two pictures."""


class VideoCamera:
    """A CSI camera through rpicam-vid, whose newest JPEG a thread keeps; older ones are dropped."""

    def __init__(self, program: str, size: tuple[int, int]) -> None:
        self.program = program
        width, height = map(str, size)
        self.process = subprocess.Popen(  # noqa: S603
            [program, "--nopreview", "--codec", "mjpeg", "--timeout", "0", "--flush", "--width", width,
             "--height", height, "--output", "-"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.arrived = threading.Condition()
        self.newest: bytes | None = None
        self.said = bytearray()
        self.over = False
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()
        threading.Thread(target=self._listen, args=(self.process.stderr,), daemon=True).start()

    def _read(self, pipe: IO[bytes]) -> None:
        for jpeg in jpegs(pipe):
            with self.arrived:
                self.newest = jpeg
                self.arrived.notify()
        with self.arrived:
            self.over = True
            self.arrived.notify()

    def _listen(self, pipe: IO[bytes]) -> None:
        while data := os.read(pipe.fileno(), 4096):
            self.said = (self.said + data)[-4096:]

    def picture(self) -> io.BytesIO:
        """A picture that was not given yet."""
        with self.arrived:
            came = self.arrived.wait_for(lambda: self.newest is not None or self.over, TIMEOUT_S)
            newest, self.newest = self.newest, None
        if not came:
            raise ProgramError(f"{self.program} gives no picture within {TIMEOUT_S} s; check the cable")
        if newest is None:
            self.process.wait(TIMEOUT_S)
            raise ProgramError(f"{self.program} ended: {_last_line(self.said)}")
        return io.BytesIO(newest)

    def close(self) -> None:
        """Ends the program."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()


def jpegs(pipe: IO[bytes]) -> Iterator[bytes]:
    """The JPEGs of a stream, one after another; the mark of the end cannot occur inside of one without a thumbnail."""
    kept = bytearray()
    while data := os.read(pipe.fileno(), 1 << 16):
        start = max(0, len(kept) - 1)
        kept += data
        while (end := kept.find(END_OF_JPEG, start)) >= 0:
            yield bytes(kept[: end + 2])
            del kept[: end + 2]
            start = 0
        if len(kept) > LARGEST_JPEG:
            return


def _last_line(said: bytes | bytearray) -> str:
    return (bytes(said).decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
