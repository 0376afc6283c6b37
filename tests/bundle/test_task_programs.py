"""Bundles of segmenters and embeddings: their programs, run as they ship, say what mnedge says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from mnedge import tasks
from mnedge.pipeline import build
from mnedge.recipe import Recipe
from mnedge.runtimes._runtime import decode, encode
from mnedge.runtimes.litert import LiteRtSession
from mnedge.ship import Release, ship
from mnedge.validation.segment import enlarged

if TYPE_CHECKING:
    from pathlib import Path

_SIDE = 32
_LABELS = ("ground", "cat", "dog")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures with masks, of which the first is twice as wide as high."""
    root = tmp_path_factory.mktemp("data")
    chance = np.random.default_rng(4)
    for number in range(6):
        shape = (40, 80) if number == 0 else (50, 60)
        for kind, pixels in (("images", chance.integers(0, 256, (*shape, 3))), ("masks", chance.integers(0, 3, shape))):
            (root / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(root / kind / f"{number}.png")
    (root / "classes.txt").write_text("\n".join(_LABELS) + "\n")
    return root


def _shipped(folder: Path, **recipe: Any) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNEDGE_CACHE", str(folder / "cache"))
        network = Recipe(
            variant="v1", alpha=0.25, resolution=_SIDE, weights="random", int8=True, effort="fast", **recipe
        )
        build(network, folder / "built", lambda *_: None)
    ship(folder / "built", "raspberry-pi", folder / "bundle", Release())
    return folder / "bundle"


def _rows(shipped: Path, program: str, *arguments: object) -> list[dict[str, Any]]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, shipped / program, "--json", *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module", params=["outside", "inside"])
def segmenter(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("segmenter")
    return _shipped(where, task="segment", data=str(data), classes=3, post_processing=request.param)


def test_masks_are_those_that_are_validated(segmenter: Path, data: Path, tmp_path: Path) -> None:
    (model,) = segmenter.glob("*.int8.tflite")
    session = LiteRtSession(model, 1)
    rows = _rows(segmenter, "segment.py", "--masks", tmp_path, data / "images")
    dataset = tasks.get("segment").open_dataset(str(data))
    assert len(rows) == 6
    for number, row in enumerate(rows):
        output = decode(session.run(encode(dataset.read(number, _SIDE)[None], session.input))[0], session.outputs[0])[0]
        mask = np.asarray(Image.open(tmp_path / f"{number}.png"))
        assert mask.shape == ((40, 80) if number == 0 else (50, 60))
        expected = enlarged(output, mask.shape, is_indices=output.ndim == 2)
        # Scores of random weights may tie to the last bit.
        assert (mask == expected).mean() > 0.99
        assert [entry["label"] for entry in row["classes"]] == list(_LABELS)
        shares = [entry["fraction"] for entry in row["classes"]]
        np.testing.assert_allclose(shares, np.bincount(mask.ravel(), minlength=3) / mask.size, atol=1e-6)


def test_the_onnx_model_segments_alike(segmenter: Path, data: Path) -> None:
    (onnx,) = segmenter.glob("*.int8.onnx")
    picture = data / "images" / "0.png"
    shares = [
        [entry["fraction"] for entry in _rows(segmenter, "segment.py", *model, picture)[0]["classes"]]
        for model in ((), ("--model", onnx))
    ]
    np.testing.assert_allclose(shares[0], shares[1], atol=0.1)


def test_similarities_are_cosines_of_what_the_model_says(data: Path, tmp_path: Path) -> None:
    shipped = _shipped(tmp_path, task="embed", classes=16)
    (model,), (onnx,) = shipped.glob("*.int8.tflite"), shipped.glob("*.int8.onnx")
    rows = _rows(shipped, "embed.py", data / "images")
    vectors = np.array([row["embedding"] for row in rows])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert rows[0]["similarity"] == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose([row["similarity"] for row in rows], vectors @ vectors[0], atol=1e-5)
    about = json.loads((shipped / "model.json").read_text())
    assert about["model"] == model.name
    assert not (shipped / "labels.txt").exists()
    session = LiteRtSession(model, 1)
    dataset = tasks.get("segment").open_dataset(str(data))
    Image.fromarray(dataset.read(0, _SIDE)).save(tmp_path / "square.png")
    (shipped / "model.json").write_text(json.dumps({**about, "crop_fraction": 1.0}))
    (row,) = _rows(shipped, "embed.py", tmp_path / "square.png")
    own = decode(session.run(encode(dataset.read(0, _SIDE)[None], session.input))[0], session.outputs[0])[0]
    np.testing.assert_allclose(row["embedding"], own / np.linalg.norm(own), atol=1e-5)
    (again,) = _rows(shipped, "embed.py", "--model", onnx, tmp_path / "square.png")
    assert float(np.dot(again["embedding"], row["embedding"])) > 0.9
