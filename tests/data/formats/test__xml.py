"""XML of others: entities are refused in every encoding, and nothing but a regular file is read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mnedge.data.formats._json import decoded
from mnedge.data.formats._xml import parsed
from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST_BYTES = 1 << 20


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "iso-8859-1"])
def test_entities_are_refused_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    named = "utf-16" if encoding.startswith("utf-16") else encoding
    text = f'<?xml version="1.0" encoding="{named}"?><!DOCTYPE x [<!ENTITY e "e">]><annotation>&e;</annotation>'
    start = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "a.xml").write_bytes((start + text).encode(encoding))
    with pytest.raises(InputError, match="defines entities"):
        parsed(tmp_path / "a.xml", "annotation", "Pascal VOC", _LARGEST_BYTES)


def test_an_encoding_of_two_bytes_is_read(tmp_path: Path) -> None:
    text = '<?xml version="1.0" encoding="utf-16"?><annotation><name>Käfer</name></annotation>'
    (tmp_path / "a.xml").write_bytes(text.encode("utf-16"))
    assert parsed(tmp_path / "a.xml", "annotation", "Pascal VOC", _LARGEST_BYTES).findtext("name") == "Käfer"


def test_a_pipe_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    with pytest.raises(InputError, match="no regular file"):
        parsed(tmp_path / "a", "annotation", "Pascal VOC", _LARGEST_BYTES)
    with pytest.raises(InputError, match="no regular file"):
        decoded(tmp_path / "a", list[int], "COCO")
