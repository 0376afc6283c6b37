"""TFLite Metadata as it is written, read back by the reader of foreign files."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import flatbuffers
import pytest

from mnedge.bundles._metadata import Description, metadata_bytes, table, vector, with_metadata
from mnedge.errors import InputError
from mnedge.formats.tflite_metadata import labels_of, metadata_of
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.pixels import SYMMETRIC
from mnedge.quantization.io import with_io

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph

_LABELS = ("ant", "bee", "cat", "dog")


def _description(labels: tuple[str, ...] = _LABELS) -> Description:
    return Description("pets", "which pet it is", "1.2.0", "who", "terms", (8, 8), SYMMETRIC, labels)


def test_labels_and_normalization_are_read_back(small_int8: Graph) -> None:
    graph = parse_tflite(with_metadata(write_tflite(with_io(small_int8, "uint8")), _description()), "pets")
    assert labels_of(graph) == (_LABELS, 0)
    (image,) = metadata_of(graph).inputs
    assert set(image.mean) == {127.5}
    assert set(image.std) == {127.5}
    assert [(image.low, image.high)] == [((0.0,), (255.0,))]


def test_the_file_is_a_zip_of_its_labels_too(small_int8: Graph) -> None:
    data = with_metadata(write_tflite(with_io(small_int8, "uint8")), _description())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["labels.txt"]
        assert archive.read("labels.txt").decode().split() == list(_LABELS)


def test_labels_of_another_number_are_refused(small_int8: Graph) -> None:
    with pytest.raises(InputError, match=r"pets has 4 outputs, but labels\.txt 2 lines"):
        with_metadata(write_tflite(with_io(small_int8, "uint8")), _description(("ant", "bee")))


def test_the_same_description_gives_the_same_bytes() -> None:
    assert metadata_bytes(_description()) == metadata_bytes(_description())
    assert metadata_bytes(_description())[4:8] == b"M001"


def test_a_table_holds_each_field_at_its_number() -> None:
    builder = flatbuffers.Builder(0)
    name = builder.CreateString("x")
    inner = table(builder, {0: name}, uints={2: 7}, reals={3: 0.5})
    builder.Finish(table(builder, {1: vector(builder, [inner])}))
    root = flatbuffers.table.Table(builder.Output(), int.from_bytes(builder.Output()[:4], "little"))
    assert root.Offset(4) == 0
    place = root.Vector(root.Offset(6))
    found = flatbuffers.table.Table(root.Bytes, root.Indirect(place))
    assert root.VectorLen(root.Offset(6)) == 1
    assert found.String(found.Offset(4) + found.Pos) == b"x"
    assert found.Get(flatbuffers.number_types.Uint32Flags, found.Offset(8) + found.Pos) == 7
    assert found.Get(flatbuffers.number_types.Float32Flags, found.Offset(10) + found.Pos) == 0.5
