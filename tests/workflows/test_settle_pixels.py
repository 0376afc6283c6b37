"""A range that is told, said by the file or shown by pictures, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.data.content import Content
from mnedge.data.dataset import Dataset
from mnedge.errors import InputError
from mnedge.formats.pixels import with_pixels
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.pixels import Pixels
from mnedge.sources import open_source
from mnedge.workflows.settle_pixels import settle_pixels

if TYPE_CHECKING:
    from pathlib import Path

_RAW = Pixels.parse("0..255")


@pytest.fixture
def reds() -> Dataset:
    """One colour a picture; its red, dark or light, is the class."""
    levels = np.random.default_rng(3).integers(0, 256, (100, 3)).astype(np.uint8)

    def read(number: int, size: Any) -> Any:
        return np.broadcast_to(levels[number], (*size, 3)).copy()

    return Dataset(
        name="reds",
        classes=("dark", "light"),
        fixed_classes=True,
        labels=(levels[:, 0] // 128).astype(np.int64),
        splits={"eval": np.arange(100)},
        sources=tuple(map(str, range(100))),
        read=read,
        content=Content(other="x"),
    )


@pytest.fixture
def graph() -> Graph:
    """Says whether the mean of red is above 127.5, of pixels as they are."""
    tensors = [
        Tensor("image", (1, 6, 6, 3), "float32"),
        constant("axes", np.array([1, 2], np.int32)),
        Tensor("mean", (1, 3), "float32"),
        constant("weights", np.array([[0, 0, 0], [1, 0, 0]], np.float32)),
        constant("bias", np.array([0, -127.5], np.float32)),
        Tensor("logits", (1, 2), "float32"),
    ]
    ops = (
        Op("MEAN", ("image", "axes"), ("mean",), {"keep_dims": False}),
        Op("FULLY_CONNECTED", ("mean", "weights", "bias"), ("logits",), {"activation": "NONE"}),
    )
    return Graph({tensor.name: tensor for tensor in tensors}, ops, ("image",), ("logits",))


def settled(graph: Graph, dataset: Dataset, folder: Path, told: Pixels | None = None) -> tuple[Pixels, list[str]]:
    path = folder / "m.tflite"
    path.write_bytes(write_tflite(graph))
    said: list[str] = []
    found = settle_pixels(path, open_source(path), dataset, told, notice=said.append, progress=lambda *_: None)
    return found, said


def test_pictures_show_what_nothing_says(graph: Graph, reds: Dataset, tmp_path: Path) -> None:
    found, said = settled(graph, reds, tmp_path)
    assert found == _RAW
    assert said[0].startswith("100 labelled pictures show that pixels are 0..255: 0..255 100.0 %, ")


def test_what_is_told_stands_and_is_warned_of(graph: Graph, reds: Dataset, tmp_path: Path) -> None:
    wrong = Pixels.parse("-1..1")
    found, said = settled(graph, reds, tmp_path, wrong)
    assert found == wrong
    assert said[0].startswith("Warning: pixels are stated as -1..1, but 100 labelled pictures show 0..255")
    assert settled(graph, reds, tmp_path, _RAW) == (_RAW, [])


def test_the_file_is_believed_before_the_pictures(graph: Graph, reds: Dataset, tmp_path: Path) -> None:
    wrong = Pixels.parse("0..1")
    found, said = settled(replace(graph, metadata=with_pixels({}, wrong)), reds, tmp_path)
    assert found == wrong
    assert "100 labelled pictures show 0..255" in said[0]


def test_pictures_of_other_classes_show_nothing(graph: Graph, reds: Dataset, tmp_path: Path) -> None:
    others = replace(reds, labels=reds.labels + 3)
    with pytest.raises(InputError, match=r"nothing is assumed.*do not show it either: the model has 2 classes"):
        settled(graph, others, tmp_path)
    assert settled(graph, others, tmp_path, _RAW) == (_RAW, [])
