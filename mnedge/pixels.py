"""Pixels: what a picture is to a network, as one value from the source to every artifact."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Order = Literal["RGB", "BGR", "GREY", "RGBA"]
CHANNELS: dict[Order, int] = {"RGB": 3, "BGR": 3, "GREY": 1, "RGBA": 4}
RANGES = ("0..255", "0..1", "-1..1", "imagenet", "caffe")
# Name of the metadata that carries a `Pixels` in every .tflite, .onnx and folder of C that mnedge makes.
METADATA = "mnedge.pixels"

_LARGEST = 255.0
# Mean and deviation of ImageNet's pixels divided by 255, RGB, as torchvision and timm have them.
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Mean of ImageNet's pixels, BGR, which Caffe's networks subtract.
_CAFFE_MEAN = (103.939, 116.779, 123.68)
# Shares of red, green and blue in luma (ITU-R BT.601), in 1/65536.
_LUMA = np.array([19595, 38470, 7471], np.uint32)


@dataclass(frozen=True)
class Pixels:
    """The map from an 8-bit picture to the network's input: real = scale * pixel + offset, channel by channel.

    Attributes:
        scale: One value for all channels, or one per channel in the order of `order`.
        offset: Likewise.
        order: Channels of the input, in order.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    order: Order = "RGB"

    def __post_init__(self) -> None:
        channels = CHANNELS[self.order]
        for name, values in (("scale", self.scale), ("offset", self.offset)):
            if len(values) not in (1, channels):
                raise InputError(f"pixels have {len(values)} values of {name}; {self.order} takes 1 or {channels}")
            if not all(math.isfinite(value) for value in values):
                raise InputError(f"the {name} of pixels is {values}; every value must be finite")
        if any(value <= 0 for value in self.scale):
            raise InputError(f"the scale of pixels is {self.scale}; every value must be above 0")

    @classmethod
    def between(cls, low: float, high: float, order: Order = "RGB") -> Pixels:
        """Builds the map that sends pixel 0 to `low` and pixel 255 to `high`."""
        return cls(((high - low) / _LARGEST,), (low,), order)

    @classmethod
    def normalized(cls, mean: tuple[float, ...], std: tuple[float, ...], order: Order = "RGB") -> Pixels:
        """Builds the map (pixel - mean) / std; both are in units of 8-bit pixels, one a channel."""
        if any(value <= 0 for value in std):
            raise InputError(f"the deviation of pixels is {std}; every value must be above 0")
        return cls(
            tuple(1 / value for value in std),
            tuple(-middle / value for middle, value in zip(mean, std, strict=True)),
            order,
        )

    @classmethod
    def parse(cls, text: str, order: Order | None = None) -> Pixels:
        """Reads what `--pixels` takes: 0..255, 0..1, -1..1, imagenet, caffe, LOW..HIGH, or MEAN,STD in 8-bit pixels.

        MEAN,STD is two numbers, or two numbers a channel: all means first (`123.7,116.3,103.5,58.4,57.1,57.4`). An
        order may follow behind a space: `0..255 BGR`.

        Args:
            text: The words.
            order: Channels of the network's input; None for RGB (BGR with caffe).

        Raises:
            InputError: The words are none of these.
        """
        words, _, tail = text.strip().lower().partition(" ")
        if tail:
            named: dict[str, Order] = {known.lower(): known for known in CHANNELS}
            if tail.strip() not in named:
                raise InputError.unknown("order of channels", tail.strip().upper(), CHANNELS)
            order = named[tail.strip()]
        if words == "imagenet":
            mean = tuple(_LARGEST * value for value in _IMAGENET_MEAN)
            std = tuple(_LARGEST * value for value in _IMAGENET_STD)
            return cls.normalized(*_ordered(mean, std, order or "RGB"), order or "RGB")
        if words == "caffe":
            if order not in (None, "RGB", "BGR"):
                raise InputError(f"the range caffe is of three colours; the network takes {order}: give MEAN,STD")
            reverse = order == "RGB"
            mean = tuple(reversed(_CAFFE_MEAN)) if reverse else _CAFFE_MEAN
            return cls.normalized(mean, (1.0, 1.0, 1.0), order or "BGR")
        try:
            if ".." in words:
                low, high = (float(value) for value in words.split(".."))
                if low >= high:
                    raise InputError(f"--pixels {text}: the lower end must be below the upper one")
                return cls.between(low, high, order or "RGB")
            values = tuple(float(value) for value in words.split(","))
        except ValueError as exc:
            raise InputError(_unreadable(text)) from exc
        half = len(values) // 2
        if len(values) % 2 or half not in (1, CHANNELS[order or "RGB"]):
            raise InputError(_unreadable(text))
        return cls.normalized(values[:half], values[half:], order or "RGB")

    def real(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The network's input: float32, of the shape of `pixels` (…, channels), channels already in `order`."""
        # Division is exact where multiplication by the rounded inverse is not: p / 127.5 - 1 sends 255 to 1.
        inverse = np.float32(1) / np.asarray(self.scale, np.float32)
        rounded = np.round(inverse * 2) / 2
        divisor = np.where(np.abs(inverse - rounded) < 1e-4 * np.abs(inverse), rounded, inverse).astype(np.float32)
        return pixels.astype(np.float32) / divisor + np.asarray(self.offset, np.float32)

    def arranged(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Channels of RGB pictures, uint8 (…, 3), in `order`: grey is luma as Pillow computes it, alpha is 255."""
        if self.order == "RGB":
            return pictures
        if self.order == "BGR":
            return np.ascontiguousarray(pictures[..., ::-1])
        if self.order == "GREY":
            return ((pictures.astype(np.uint32) @ _LUMA + 0x8000) >> 16).astype(np.uint8)[..., None]
        return np.concatenate([pictures, np.full((*pictures.shape[:-1], 1), 255, np.uint8)], axis=-1)

    def to_bytes(self) -> bytes:
        """The metadata `METADATA`: JSON in ASCII, the same for the same value."""
        told = {"scale": self.scale, "offset": self.offset, "order": self.order}
        return json.dumps(told, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Pixels:
        """Reads what `to_bytes` wrote.

        Raises:
            InputError: It did not write this.
        """
        try:
            told = json.loads(content)
            values = [tuple(float(value) for value in told[name]) for name in ("scale", "offset")]
            return cls(values[0], values[1], next(order for order in CHANNELS if order == told["order"]))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError, StopIteration) as exc:
            raise InputError(f"the metadata {METADATA} is damaged ({exc!r}); state the range with --pixels") from exc

    @property
    def is_per_tensor(self) -> bool:
        """Returns whether one scale and one offset serve all channels, so that an int8 step can be the pixel."""
        return len(set(self.scale)) == 1 and len(set(self.offset)) == 1

    @property
    def mean(self) -> tuple[float, ...]:
        """The 8-bit pixel that is 0 to the network, one a channel or one for all: real = (pixel - mean) / deviation."""
        return tuple(_exact(-offset / scale) for scale, offset in self._pairs())

    @property
    def deviation(self) -> tuple[float, ...]:
        """The 8-bit pixels that make 1 to the network, likewise."""
        return tuple(_exact(1 / scale) for scale, _ in self._pairs())

    @property
    def formula(self) -> str:
        """The map in words of arithmetic, for READMEs and headers: e.g. "pixel / 127.5 - 1"."""
        if not self.is_per_tensor:
            means, deviations = (", ".join(f"{value:.9g}" for value in own) for own in (self.mean, self.deviation))
            return f"(pixel - ({means})) / ({deviations}), channel by channel"
        (scale, offset), (deviation, *_) = next(self._pairs()), self.deviation
        scaled = "pixel" if deviation == 1 else f"pixel / {deviation:.9g}" if deviation > 1 else f"pixel * {scale:.9g}"
        return scaled if offset == 0 else f"{scaled} {'-' if offset < 0 else '+'} {abs(offset):.9g}"

    def _pairs(self) -> Iterator[tuple[float, float]]:
        """Scale and offset of each channel; one pair where one serves all."""
        channels = max(len(self.scale), len(self.offset))
        scale, offset = (values * channels if len(values) == 1 else values for values in (self.scale, self.offset))
        return zip(scale, offset, strict=True)

    def __str__(self) -> str:
        """The range as `parse` takes it, e.g. "-1..1", "imagenet" or "0..1 BGR"; else mean and deviation in words."""
        for name, usual in (("imagenet", "RGB"), ("caffe", "BGR")):
            if self.order in ("RGB", "BGR") and self == Pixels.parse(name, self.order):
                return name if self.order == usual else f"{name} {self.order}"
        if self.is_per_tensor:
            low, high = self.offset[0], self.offset[0] + _LARGEST * self.scale[0]
            words = f"{_short(low)}..{_short(high)}"
        else:
            channels = CHANNELS[self.order]
            scale = self.scale * channels if len(self.scale) == 1 else self.scale
            offset = self.offset * channels if len(self.offset) == 1 else self.offset
            mean = " ".join(f"{-shift / step:.1f}" for shift, step in zip(offset, scale, strict=True))
            words = f"mean {mean}, deviation {' '.join(f'{1 / step:.1f}' for step in scale)}"
        return words if self.order == "RGB" else f"{words} {self.order}"


SYMMETRIC = Pixels((1 / 127.5,), (-1.0,))


def _exact(value: float) -> float:
    """A value without the noise that the inverse of a float32 or of a quotient leaves: 127.49999999999999 is 127.5."""
    rounded = round(value, 4)
    return rounded + 0.0 if abs(value - rounded) <= 1e-6 * max(abs(value), 1.0) else value


def _ordered(
    mean: tuple[float, ...], std: tuple[float, ...], order: Order
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if order == "BGR":
        return mean[::-1], std[::-1]
    if order != "RGB":
        raise InputError(f"the range imagenet is of RGB; the network takes {order}: give MEAN,STD")
    return mean, std


def _unreadable(text: str) -> str:
    return (
        f"--pixels {text!r} is no range; give {', '.join(RANGES)}, LOW..HIGH, or MEAN,STD in 8-bit pixels "
        "(two numbers, or two a channel)"
    )


def _short(value: float) -> str:
    return f"{round(value, 9) + 0.0:.4g}"
