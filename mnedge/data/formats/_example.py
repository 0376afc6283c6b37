"""TFRecord files and tf.train.Example, read without TensorFlow.

A record is its length (uint64), a checksum of it, the data and a checksum of the data
(https://www.tensorflow.org/tutorials/load_data/tfrecord); the data is a protocol buffer of tensorflow/core/example.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from mnedge.errors import InputError
from mnedge.foreign import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_LARGEST_RECORD = 256 << 20
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_GZIP = b"\x1f\x8b"


class Example:
    """A tf.train.Example: values by key.

    Attributes:
        values: Bytes, real numbers or whole numbers of each key.
    """

    def __init__(self, values: Mapping[str, tuple[bytes | float | int, ...]]) -> None:
        self.values = values

    def names(self) -> list[str]:
        """The keys."""
        return sorted(self.values)

    def has(self, key: str) -> bool:
        """Returns whether a key exists."""
        return key in self.values

    def content(self, *keys: str) -> bytes:
        """The bytes of the first of some keys that has any; b"" for none."""
        found = (value for key in keys for value in self.values.get(key, ()) if isinstance(value, bytes))
        return next(found, b"")

    def texts(self, key: str) -> list[str]:
        """The texts of a key."""
        return [value.decode(errors="replace") for value in self.values.get(key, ()) if isinstance(value, bytes)]

    def reals(self, key: str) -> list[float]:
        """The real numbers of a key."""
        return [value for value in self.values.get(key, ()) if isinstance(value, float)]

    def whole(self, *keys: str) -> list[int]:
        """The whole numbers of the first of some keys that has any."""
        found = ([value for value in self.values.get(key, ()) if isinstance(value, int)] for key in keys)
        return next(filter(None, found), [])


def examples(path: Path) -> Iterator[Example]:
    """Reads the records of a file.

    Raises:
        InputError: It cannot be read, is compressed or damaged, or is no file of tf.train.Example.
    """
    try:
        left = path.stat().st_size
        with open_regular(path) as stream:
            place = 0
            while head := stream.read(12):
                left -= len(head)
                if place == 0 and head.startswith(_GZIP):
                    raise InputError(f"{path} is compressed with gzip; unpack it, with gunzip")
                length = int.from_bytes(head[:8], "little")
                if len(head) < 12 or length > min(_LARGEST_RECORD, left):
                    raise InputError(
                        f"{path}, record {place}: it is cut short or damaged, or no TFRecord; copy it again"
                    )
                data = stream.read(length + 4)[:length]
                left -= length + 4
                try:
                    yield _example(data)
                except (ValueError, IndexError, struct.error) as exc:
                    raise InputError(
                        f"{path}, record {place}: it is no tf.train.Example ({exc}); other records, such as those of "
                        "SequenceExample, are not read"
                    ) from exc
                place += 1
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror}") from exc


def _example(data: bytes) -> Example:
    found: dict[str, tuple[bytes | float | int, ...]] = {}
    for number, features in _fields(data):
        if number != 1:
            continue
        for _, entry in _fields(_bytes(features)):
            parts = dict(_fields(_bytes(entry)))
            found[_bytes(parts.get(1, b"")).decode()] = tuple(_values(_bytes(parts.get(2, b""))))
    return Example(found)


def _values(feature: bytes) -> Iterator[bytes | float | int]:
    for kind, body in _fields(feature):
        for _, value in _fields(_bytes(body)):
            if kind == 1:
                yield _bytes(value)
            elif kind == 2 and isinstance(value, bytes):
                yield from (float(number) for number in struct.unpack(f"<{len(value) // 4}f", value))
            elif kind == 3 and isinstance(value, bytes):
                at = 0
                while at < len(value):
                    whole, at = _varint(value, at)
                    yield _signed(whole)
            elif kind == 3:
                yield _signed(int(value))


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """The fields of a protocol buffer: number and value, bytes or a whole number."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        length = {_FIXED64: 8, _FIXED32: 4}.get(wire, -1)
        if wire == _LENGTH:
            length, at = _varint(data, at)
        if length < 0 or at + length > len(data):
            raise ValueError(f"a field of wire type {wire} ends after the record")
        yield number, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number has more than 64 bits")


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _bytes(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where a message is expected")  # noqa: TRY004 - of foreign bytes, not of a call
    return value
