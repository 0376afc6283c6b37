"""Parcels: the same content has the same address, and arrives as it was."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge import data
from mnedge.errors import InputError
from mnedge.results.sweep import Hits
from mnedge.workflows.sweep import parcels

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("private_cache")


def test_pictures_arrive_as_they_were(pictures: Path) -> None:
    dataset = data.open_dataset(str(pictures))
    chosen = dataset.split("eval")[1::2]
    parcel = parcels.of_pictures(dataset, {"eval": chosen})
    assert parcels.find(parcel.address) is None
    folder = parcels.keep(parcel.address, parcel.read())
    assert parcels.find(parcel.address) == folder
    arrived = parcels.open_pictures(folder)
    assert arrived.classes == dataset.classes
    there, labels_there = arrived.pixels(arrived.split("eval"), 24)
    here, labels_here = dataset.pixels(chosen, 24)
    np.testing.assert_array_equal(there, here)
    np.testing.assert_array_equal(labels_there, labels_here)
    # A build reads the same folder as a user's labels.csv.
    assert data.open_dataset(str(parcels.labels_csv(folder))).classes == dataset.classes


def test_a_shard_of_one_class_is_a_shard(pictures: Path) -> None:
    dataset = data.open_dataset(str(pictures))
    chosen = np.flatnonzero(dataset.labels == 2)[:4]
    parcel = parcels.of_pictures(dataset, {"eval": chosen})
    arrived = parcels.open_pictures(parcels.keep(parcel.address, parcel.read()))
    assert arrived.labels.tolist() == [2, 2, 2, 2]


def test_the_address_is_of_the_content_alone(tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "m.bin", tmp_path / "b" / "m.bin"
    for path in (one, other):
        path.parent.mkdir()
        path.write_bytes(b"the same")
    os.utime(one, (0, 0))
    assert parcels.of_file(one).address == parcels.of_file(other).address
    other.write_bytes(b"another")
    assert parcels.of_file(one).address != parcels.of_file(other).address


def test_what_was_damaged_on_its_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(b"content")
    parcel = parcels.of_file(tmp_path / "m.bin")
    with pytest.raises(InputError, match="damaged on its way"):
        parcels.keep(parcel.address, parcel.read()[:-1] + b"x")
    assert parcels.held([parcel.address]) == []


def test_answers_are_remembered_by_their_key() -> None:
    hits = Hits(4, 3, 4, "LiteRT")
    assert parcels.recall({"a": 1}, Hits) is None
    parcels.remember({"a": 1}, hits)
    assert parcels.recall({"a": 1}, Hits) == hits
    assert parcels.recall({"a": 2}, Hits) is None
