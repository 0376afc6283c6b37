"""What a bundle is made of, and the manifest that is written into it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from mnedge.bundles._bundle import MANIFEST, get, write_manifest
from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.onnx_write import write_onnx
from mnedge.graph.graph import Graph, Op, Tensor
from mnedge.pixels import SYMMETRIC
from mnedge.results.manifest import BundledModel, BundleManifest
from mnedge.results.stored import read

if TYPE_CHECKING:
    from pathlib import Path


def test_names_of_a_slug(parts_of: Any) -> None:
    assert parts_of().identifier == "net_v1_0"
    # Width first, as people say it; the network has the height first.
    assert parts_of().shown_size == "128 x 96"
    assert parts_of().labels_text == "cat\ndog\n"


def test_the_input_is_described_with_its_pixels_and_its_preprocessing(parts_of: Any) -> None:
    described = parts_of().described_input
    assert (described["height"], described["width"], described["crop_fraction"]) == (96, 128, 0.875)
    assert described["pixels"] == {"scale": SYMMETRIC.scale, "offset": SYMMETRIC.offset, "order": "RGB"}


def test_an_onnx_that_does_not_say_its_pixels_is_refused(parts_of: Any, tmp_path: Path) -> None:
    tensors = [Tensor("image", (1, 2, 2, 3), "float32"), Tensor("made", (1, 2, 2, 3), "float32")]
    graph = Graph(
        {tensor.name: tensor for tensor in tensors}, (Op("ABS", ("image",), ("made",)),), ("image",), ("made",)
    )
    (tmp_path / "net.onnx").write_bytes(write_onnx(graph))
    with pytest.raises(UnsupportedError, match="does not say what a picture is"):
        parts_of(onnx=tmp_path / "net.onnx").onnx_pixels()


def test_the_manifest_holds_every_file_but_itself(parts_of: Any, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "net.tflite").write_bytes(b"model")
    (tmp_path / "labels.txt").write_text("cat\n")
    manifest = write_manifest(tmp_path, "android", parts_of(), BundledModel("net-v1.0", None, None, ()))
    assert read(tmp_path / MANIFEST, BundleManifest) == manifest
    assert [row.path for row in manifest.files] == ["labels.txt", "models/net.tflite"]
    assert manifest.files[1].sha256 == hashlib.sha256(b"model").hexdigest()


def test_an_unknown_kind_lists_the_known() -> None:
    assert get("raspberry-pi").has_archive
    with pytest.raises(InputError, match="did you mean 'android'"):
        get("androids")
