"""What a bundle is made of, and the manifest that is written into it."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

from mnedge import bundles
from mnedge.bundles._bundle import MANIFEST, get, write_manifest
from mnedge.cli import _run
from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.onnx_write import write_onnx
from mnedge.graph.graph import Graph, Op, Tensor
from mnedge.pixels import SYMMETRIC
from mnedge.recipe import Recipe
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


_NEW = '''
"""The model and its classes in one folder."""

from mnedge.bundles._bundle import Bundle


def _write(parts, folder):
    (folder / f"{parts.identifier}.tflite").write_bytes(parts.tflite("int8"))
    (folder / "classes.txt").write_text(parts.labels_text)


BUNDLE = Bundle(write=_write)
'''


def test_a_new_kind_of_bundle_is_one_file(parts_of: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="unknown bundle 'plain-folder'"):
        Recipe(bundles=("plain-folder",))
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds" / "plain_folder.py").write_text(_NEW)
    bundles.__path__.append(str(tmp_path / "kinds"))
    # A process that has read the list of kinds does not read it again.
    sys.modules.pop("mnedge.cli.bundle", None)
    try:
        assert Recipe(bundles=("plain-folder",)).bundles == ("plain-folder",)
        assert _run(["bundle", "--help"]) == 0
        assert "plain-folder" in capsys.readouterr().out
        folder, parts = tmp_path / "out", parts_of()
        folder.mkdir()
        get("plain-folder").write(parts, folder)
    finally:
        bundles.__path__.remove(str(tmp_path / "kinds"))
        for name in ("mnedge.bundles.plain_folder", "mnedge.cli.bundle"):
            sys.modules.pop(name, None)
    model = BundledModel(slug=parts.slug, weights_sha256=None, calibration_sha256=None, artifacts=())
    manifest = write_manifest(folder, "plain-folder", parts, model)
    assert [row.path for row in manifest.files] == ["classes.txt", "net_v1_0.tflite"]
    assert manifest == read(folder / MANIFEST, BundleManifest)


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
