from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data import calibration, open_dataset
from mnedge.data.calibration import calibration_of, open_calibration
from mnedge.errors import InputError
from mnedge.graph.graph import Tensor


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve pictures without labels."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(folder / f"{number:02}.png")
    return folder


def _yaml(photos: Path, *lines: str) -> str:
    path = photos.parent / "mine.yaml"
    path.write_text("\n".join(("data: photos", *lines)) + "\n")
    return str(path)


def test_the_demo_set_is_the_calibration_split_of_the_demo_data() -> None:
    demo = open_dataset("demo")
    numbers = demo.split("calibration", 200)
    shown = open_calibration("demo").pixels(32)
    assert np.array_equal(shown, demo.pixels(numbers, 32)[0])
    assert open_calibration("demo").sha256 == calibration_of(demo).sha256


def test_a_folder_needs_no_labels(photos: Path) -> None:
    found = open_calibration(str(photos))
    assert len(found) == 12
    assert found.pixels(16).shape == (12, 16, 16, 3)


def test_a_yaml_says_how_many_and_how(photos: Path) -> None:
    found = open_calibration(
        _yaml(photos, "split: all", "images: 5", "fit: stretch", "crop_fraction: 1.0", "source: mine", "licence: CC0")
    )
    assert (len(found), found.source, found.licence) == (5, "mine", "CC0")
    first = Image.open(photos / "00.png").resize((16, 16), Image.Resampling.BILINEAR)
    assert np.array_equal(found.pixels(16)[0], np.asarray(first))


def test_another_picture_under_the_same_name_is_another_set(photos: Path) -> None:
    before = open_calibration(str(photos)).sha256
    pinned = _yaml(photos, "split: all", f"sha256: {before}")
    assert open_calibration(pinned).sha256 == before
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(photos / "03.png")
    assert open_calibration(str(photos)).sha256 != before
    with pytest.raises(InputError, match="have the checksum"):
        open_calibration(pinned)


def test_arrays_are_taken_as_they_are(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype(np.float32)
    np.save(tmp_path / "inputs.npy", values)
    found = open_calibration(str(tmp_path / "inputs.npy"))
    assert found.arrays is not None
    batch = found.batch([Tensor("image", (1, 8, 8, 1), "float32")])
    assert np.array_equal(batch.arrays["image"], values)
    with pytest.raises(InputError, match="holds arrays"):
        found.pixels(8)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("images: 0", "1 to 256"),
        ("images: many", "whole number"),
        ("seed: -1", "seed"),
        ("split: evl", "did you mean 'eval'"),
        ("picture: x", "unknown key"),
        ("source: [1]", "it is text"),
        ("crop_fraction: 2", "at most 1"),
    ],
)
def test_what_a_yaml_may_not_say(photos: Path, line: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_calibration(_yaml(photos, line))


def test_a_set_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(InputError, match="Known: demo, folder, imagenet-200"):
        open_calibration("dmo")


def test_a_set_whose_pictures_are_elsewhere_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMAGENET_200", raising=False)
    with pytest.raises(InputError, match=r"\$IMAGENET_200"):
        open_calibration("imagenet-200")


def test_the_imagenet_set_is_the_one_that_was_measured(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGENET_200", str(shared_data / "imagenet" / "labels.csv"))
    assert len(open_calibration("imagenet-200")) == 200


@pytest.mark.parametrize("name", calibration.names())
def test_every_set_describes_itself(name: str) -> None:
    assert set(calibration.describe(name)) == {"data", "split", "images", "source", "licence", "sha256"}
