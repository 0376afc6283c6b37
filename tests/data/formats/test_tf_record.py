"""TFRecord files, written byte by byte and by TensorFlow."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data import open_dataset
from mnedge.data.boxes import open_boxes
from mnedge.errors import InputError

Values = list[bytes] | list[float] | list[int]


def _varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _feature(values: Values) -> bytes:
    if values and isinstance(values[0], bytes):
        return _field(1, b"".join(_field(1, value) for value in values if isinstance(value, bytes)))
    if values and isinstance(values[0], float):
        return _field(2, _field(1, struct.pack(f"<{len(values)}f", *values)))
    return _field(3, _field(1, b"".join(_varint(value) for value in values if isinstance(value, int))))


def example(features: dict[str, Values]) -> bytes:
    """A tf.train.Example."""
    entries = (_field(1, key.encode()) + _field(2, _feature(values)) for key, values in features.items())
    return _field(1, b"".join(_field(1, entry) for entry in entries))


def _record(data: bytes) -> bytes:
    return struct.pack("<QI", len(data), 0) + data + bytes(4)


def jpeg(shade: int) -> bytes:
    """A picture of 40 x 20 pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20), (shade, shade, shade)).save(buffer, "JPEG")
    return buffer.getvalue()


def _object(shade: int, **more: Values) -> dict[str, Values]:
    found: dict[str, Values] = {"image/encoded": [jpeg(shade)], "image/format": [b"jpeg"], "image/filename": [b"a.jpg"]}
    found |= {
        f"image/object/bbox/{side}": [value]
        for side, value in zip(("xmin", "ymin", "xmax", "ymax"), (0.25, 0.25, 0.75, 0.75), strict=True)
    }
    found |= {"image/object/class/text": [b"dog"], "image/object/class/label": [2]}
    return {**found, **{key.replace("__", "/"): values for key, values in more.items()}}


def _write(path: Path, *records: dict[str, Values]) -> None:
    path.write_bytes(b"".join(_record(example(record)) for record in records))


def test_detection(tmp_path: Path, private_cache: Path) -> None:
    root = tmp_path / "d"
    root.mkdir()
    none: dict[str, Values] = {"image/encoded": [jpeg(3)]}
    none |= {f"image/object/bbox/{side}": [] for side in ("xmin", "ymin", "xmax", "ymax")}
    _write(root / "train.tfrecord-00000-of-00002", _object(1), none)
    _write(root / "train.tfrecord-00001-of-00002", _object(2))
    _write(root / "valid.tfrecord", _object(4))
    (root / "label_map.pbtxt").write_text("item {\n  id: 1\n  name: 'cat'\n}\nitem {\n  id: 2\n  name: 'dog'\n}\n")
    found = open_boxes(root)
    assert found.classes == ("cat", "dog")
    assert (found.splits["train"].size, found.splits["eval"].size) == (3, 1)
    assert found.truths is not None
    np.testing.assert_allclose(found.truths(0, 96).corners, [[0.25, 0.25, 0.75, 0.75]], atol=1e-6)
    assert found.truths(0, 96).classes.tolist() == [1]
    assert [found.truths(number, 96).classes.size for number in range(4)] == [1, 0, 1, 1]
    assert private_cache.is_dir()


@pytest.mark.usefixtures("private_cache")
def test_classification(tmp_path: Path) -> None:
    root = tmp_path / "d"
    root.mkdir()
    rows: list[dict[str, Values]] = [{"image/encoded": [jpeg(20 * n)], "image/class/label": [n % 2]} for n in range(6)]
    _write(root / "flowers-train.tfrecord", *rows)
    (root / "labels.txt").write_text("0:daisy\n1:rose\n")
    found = open_dataset(str(root))
    assert found.classes == ("daisy", "rose")
    assert found.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert abs(int(found.read(3, 8)[0, 0, 0]) - 60) < 3
    (root / "labels.txt").unlink()
    assert open_dataset(str(root)).classes == ("0", "1")


@pytest.mark.usefixtures("private_cache")
def test_what_tensorflow_writes(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    root = tmp_path / "d"
    root.mkdir()
    with tf.io.TFRecordWriter(str(root / "train.record")) as writer:
        for number in range(4):
            features = {
                "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[jpeg(number)])),
                "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[number % 2])),
                "image/class/text": tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[b"cat" if number % 2 else b"dog"])
                ),
                "image/height": tf.train.Feature(int64_list=tf.train.Int64List(value=[-1])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    found = open_dataset(str(root))
    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [1, 0, 1, 0]


@pytest.mark.usefixtures("private_cache")
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x1f\x8b" + bytes(30), "compressed with gzip"),
        (_record(example({"a": [1]}))[:-9], "record 0: it is cut short or damaged"),
        (_record(b"\xff" * 20), "record 0: it is no tf.train.Example"),
        (_record(example({"a": [1]})), "record 0: no image/encoded; it has a"),
        (_record(example(_object(1, image__object__bbox__xmin=[25.0]))), "they are fractions of the picture"),
        (_record(example(_object(1, image__object__bbox__xmin=[0.1, 0.2]))), "are of different lengths"),
        (_record(example({"image/encoded": [jpeg(1)], "image/class/label": [1]})), "has no image/object/bbox; give"),
        (b"", "holds no records"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "train.tfrecord").write_bytes(data)
    with pytest.raises(InputError, match=said):
        open_boxes(tmp_path / "train.tfrecord")
