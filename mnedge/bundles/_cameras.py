"""Pictures from a camera: of the board's own connector (CSI) or of USB, through what is installed there.

CSI: picamera2 where this Python has it, else rpicam-still and rpicam-vid (libcamera-still and libcamera-vid before).
USB: Video4Linux itself, which needs nothing installed.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import io
import mmap
import os
import select
import shutil
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import numpy as np
from pictures import ProgramError  # type: ignore[import-not-found]
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

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


DEVICES = Path("/dev")
STILLS, VIDEOS = ("rpicam-still", "libcamera-still"), ("rpicam-vid", "libcamera-vid")
APPS = "sudo apt install rpicam-apps"
# Sizes that nearly every camera has; the smallest that shows what the model sees.
SIZES = ((640, 480), (1280, 720), (1920, 1080))
TIMEOUT_S = 60
# Exposure and white balance settle in the first pictures.
SETTLED = 8
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


class _Capability(ctypes.Structure):
    _fields_ = (
        ("driver", ctypes.c_char * 16),
        ("card", ctypes.c_char * 32),
        ("bus_info", ctypes.c_char * 32),
        ("version", ctypes.c_uint32),
        ("capabilities", ctypes.c_uint32),
        ("device_caps", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 3),
    )


class _Described(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("description", ctypes.c_char * 32),
        ("pixelformat", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 4),
    )


class _Pixels(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint32)
        for name in ("width", "height", "pixelformat", "field", "bytesperline", "sizeimage", "colorspace", "priv",
                     "flags", "encoding", "quantization", "transfer")
    )  # fmt: skip


class _AnyFormat(ctypes.Union):
    # The pointer is another member's, and puts the union where the kernel has it.
    _fields_ = (("pixels", _Pixels), ("raw", ctypes.c_uint8 * 200), ("pointer", ctypes.c_void_p))


class _Format(ctypes.Structure):
    _fields_ = (("type", ctypes.c_uint32), ("any", _AnyFormat))


class _Request(ctypes.Structure):
    _fields_ = (
        ("count", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("memory", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 2),
    )


class _Buffer(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("bytesused", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("field", ctypes.c_uint32),
        ("timestamp", ctypes.c_long * 2),
        ("timecode", ctypes.c_uint32 * 4),
        ("sequence", ctypes.c_uint32),
        ("memory", ctypes.c_uint32),
        # A union of an offset with pointers: little-endian, as every Raspberry Pi is.
        ("offset", ctypes.c_ulong),
        ("length", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 2),
    )


def _number(direction: int, number: int, kind: type[ctypes.Structure | ctypes.c_int]) -> int:
    return direction << 30 | ctypes.sizeof(kind) << 16 | ord("V") << 8 | number


# linux/videodev2.h
_READ, _WRITE = 2, 1
QUERYCAP = _number(_READ, 0, _Capability)
ENUM_FMT = _number(_READ | _WRITE, 2, _Described)
S_FMT = _number(_READ | _WRITE, 5, _Format)
REQBUFS = _number(_READ | _WRITE, 8, _Request)
QUERYBUF = _number(_READ | _WRITE, 9, _Buffer)
QBUF = _number(_READ | _WRITE, 15, _Buffer)
DQBUF = _number(_READ | _WRITE, 17, _Buffer)
STREAMON = _number(_WRITE, 18, ctypes.c_int)
CAPTURE, MEMORY_MMAP, FIELD_ANY = 1, 1, 0
CAN_CAPTURE, CAN_STREAM, HAS_DEVICE_CAPS = 0x1, 0x04000000, 0x80000000
WAS_DAMAGED = 0x40
MJPG, YUYV = (int.from_bytes(name, "little") for name in (b"MJPG", b"YUYV"))
BUFFERS = 4


def usb_cameras() -> list[Path]:
    """The devices of USB cameras; a camera has further devices, for what is not pictures."""
    found = []
    for path in sorted(DEVICES.glob("video*"), key=lambda path: (len(path.name), path.name)):
        with suppress(OSError):
            handle = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                about = _asked(handle)
            finally:
                os.close(handle)
            if about.bus_info.startswith(b"usb-") and _can_capture(about):
                found.append(path)
    return found


def _asked(handle: int) -> _Capability:
    about = _Capability()
    fcntl.ioctl(handle, QUERYCAP, about)
    return about


def _can_capture(about: _Capability) -> bool:
    can = about.device_caps if about.capabilities & HAS_DEVICE_CAPS else about.capabilities
    return bool(can & CAN_CAPTURE and can & CAN_STREAM)


class V4l2Camera:
    """A camera of Video4Linux that gives JPEGs (MJPG) or YUYV, through buffers of the kernel that are mapped here."""

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self.path = path
        self.maps: list[mmap.mmap] = []
        try:
            self.handle = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as exc:
            hint = "; add the user to the group video" if exc.errno == errno.EACCES else ""
            raise ProgramError(f"{path} cannot be opened: {exc.strerror}{hint}") from exc
        try:
            self._start(size)
            for _ in range(SETTLED):
                self._wait()
        except OSError as exc:
            self.close()
            raise ProgramError(self._why(exc)) from exc
        except BaseException:
            self.close()
            raise

    def _start(self, size: tuple[int, int]) -> None:
        if not _can_capture(_asked(self.handle)):
            raise ProgramError(f"{self.path} gives no pictures; a camera has several devices, try another")
        kinds = self._kinds()
        kind = next((kind for kind in (MJPG, YUYV) if kind in kinds), None)
        if kind is None:
            names = ", ".join(sorted(kind.to_bytes(4, "little").decode("latin-1") for kind in kinds))
            raise ProgramError(f"{self.path} gives {names or 'nothing'}, and MJPG or YUYV is read; try --camera csi")
        wanted = _Format(type=CAPTURE)
        wanted.any.pixels = _Pixels(width=size[0], height=size[1], pixelformat=kind, field=FIELD_ANY)
        fcntl.ioctl(self.handle, S_FMT, wanted)
        self.given = wanted.any.pixels
        request = _Request(count=BUFFERS, type=CAPTURE, memory=MEMORY_MMAP)
        fcntl.ioctl(self.handle, REQBUFS, request)
        for index in range(request.count):
            buffer = _Buffer(index=index, type=CAPTURE, memory=MEMORY_MMAP)
            fcntl.ioctl(self.handle, QUERYBUF, buffer)
            offset = buffer.offset & 0xFFFFFFFF
            self.maps.append(mmap.mmap(self.handle, buffer.length, prot=mmap.PROT_READ, offset=offset))
            fcntl.ioctl(self.handle, QBUF, buffer)
        fcntl.ioctl(self.handle, STREAMON, ctypes.c_int(CAPTURE))

    def _kinds(self) -> set[int]:
        found = set()
        with suppress(OSError):
            for index in range(64):
                described = _Described(index=index, type=CAPTURE)
                fcntl.ioctl(self.handle, ENUM_FMT, described)
                found.add(described.pixelformat)
        return found

    def picture(self) -> Image.Image | io.BytesIO:
        """The newest picture: those that waited are dropped."""
        try:
            data = self._wait()
            while (newer := self._taken()) is not None:
                data = newer
        except OSError as exc:
            raise ProgramError(self._why(exc)) from exc
        if self.given.pixelformat == MJPG:
            return io.BytesIO(data)
        return Image.fromarray(rgb_of_yuyv(data, self.given.width, self.given.height, self.given.bytesperline))

    def _wait(self) -> bytes:
        until = time.monotonic() + TIMEOUT_S
        while (left := until - time.monotonic()) > 0:
            select.select([self.handle], [], [], left)
            if (data := self._taken()) is not None:
                return data
        raise ProgramError(f"{self.path} gives no picture within {TIMEOUT_S} s; unplug it, and plug it in again")

    def _taken(self) -> bytes | None:
        """The next picture that is there, whose buffer the camera then has again; None where none is."""
        buffer = _Buffer(type=CAPTURE, memory=MEMORY_MMAP)
        try:
            fcntl.ioctl(self.handle, DQBUF, buffer)
        except BlockingIOError:
            return None
        data = self.maps[buffer.index][: buffer.bytesused]
        fcntl.ioctl(self.handle, QBUF, buffer)
        is_short = self.given.pixelformat == YUYV and len(data) < self.given.height * self.given.bytesperline
        return None if buffer.flags & WAS_DAMAGED or is_short else data

    def _why(self, exc: OSError) -> str:
        if exc.errno == errno.EBUSY:
            return f"{self.path} is in use by another program"
        if exc.errno in (errno.ENOTTY, errno.EINVAL):
            return f"{self.path} is no camera: {exc.strerror}"
        return f"{self.path} fails: {exc.strerror}; is it still plugged in?"

    def close(self) -> None:
        """Gives the camera back; the kernel ends its stream."""
        for held in self.maps:
            held.close()
        os.close(self.handle)


def rgb_of_yuyv(data: bytes, width: int, height: int, bytes_per_line: int) -> NDArray[np.uint8]:
    """YUYV pixels in RGB, uint8 (height, width, 3), by BT.601 with the limited range that cameras have."""
    rows = np.frombuffer(data, np.uint8)[: height * bytes_per_line].reshape(height, bytes_per_line)
    pairs = rows[:, : width * 2].reshape(height, width // 2, 4).astype(np.float32)
    luma = (pairs[..., (0, 2)].reshape(height, width) - 16) * np.float32(255 / 219)
    blue, red = (np.repeat(pairs[..., at], 2, axis=1) - 128 for at in (1, 3))
    channels = (luma + 1.596 * red, luma - 0.392 * blue - 0.813 * red, luma + 2.017 * blue)
    return np.asarray(np.rint(np.clip(np.stack(channels, axis=-1), 0, 255)), np.uint8)
