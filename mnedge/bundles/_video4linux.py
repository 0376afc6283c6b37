"""Pictures from a camera of USB, through Video4Linux itself, which needs nothing installed."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import io
import mmap
import os
import select
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pictures import ProgramError  # type: ignore[import-not-found]
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEVICES = Path("/dev")
TIMEOUT_S = 60
# Exposure and white balance settle in the first pictures.
SETTLED = 8


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
