"""Three splits in a training: validation chooses, the test is only reported, twins stay together."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data import open_dataset
from mnedge.data.draw import Draw
from mnedge.errors import InputError
from mnedge.models import Variant
from mnedge.models.description import description_of
from mnedge.results.training import read_training
from mnedge.training.settings import Augmentation, Schedule
from mnedge.workflows.train import publish
from mnedge.workflows.train_network import train_network

_VARIANT = Variant("v2", 0.35, 32)
_SCHEDULE = Schedule(epochs=2, batch_size=8, feature_copies=1, augmentation=Augmentation.of("none"))


def _picture(path: Path, colour: int, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 90, (6, 6, 3))
    noise[..., colour] += 150
    Image.fromarray(noise.astype(np.uint8)).resize((44, 44), Image.Resampling.BICUBIC).save(path)


def _folder(root: Path, counts: tuple[int, int, int] = (20, 10, 4)) -> Path:
    for colour, (name, count) in enumerate(zip(("red", "green", "blue"), counts, strict=True)):
        for number in range(count):
            _picture(root / name / f"{number}.png", colour, 100 * colour + number)
    return root


@pytest.mark.slow
@pytest.mark.usefixtures("private_cache")
def test_a_test_split_is_reported_and_chooses_nothing(tmp_path: Path) -> None:
    root = _folder(tmp_path / "d")
    dataset = open_dataset(str(root), draw=Draw(seed=3, val_fraction=0.25, test_fraction=0.25))
    trained = train_network(_VARIANT, dataset, _SCHEDULE, weights="random")
    count = dataset.splits["test"].size
    assert trained.account.images.test == count >= 7
    assert trained.test is not None
    assert trained.test.confusion is not None
    assert np.sum(trained.test.confusion.counts) == count
    # 20 to 4: accuracy alone would choose an epoch that gives up the small class.
    assert trained.account.chosen_by == "balanced_accuracy"
    scores = [epoch.scores["balanced_accuracy"] for epoch in trained.account.history]
    assert trained.account.best.scores["balanced_accuracy"] == max(score for score in scores if score is not None)
    report = publish(trained, dataset, tmp_path / "m.keras")
    assert report == read_training(tmp_path / "m.report.json")
    notes = report.notes()
    assert any(note.startswith("balanced accuracy") for note in notes)
    assert any(note.endswith(f"on {count} pictures that chose nothing") for note in notes)
    assert f"{count} test pictures, which chose nothing" in (tmp_path / "m.report.html").read_text()
    # A build finds the same pictures again.
    assert description_of(tmp_path / "m.keras")["draw"] == {
        "seed": 3, "val_fraction": 0.25, "test_fraction": 0.25, "group_by": "", "keeps_twins": True,
    }  # fmt: skip
    without = train_network(_VARIANT, open_dataset(str(root)), _SCHEDULE, weights="random")
    assert without.test is None
    assert any("there is no test split" in note for note in publish(without, dataset, tmp_path / "n.keras").notes())


@pytest.mark.usefixtures("private_cache")
def test_equal_folders_of_train_and_validation_are_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        _folder(tmp_path / "d" / split, (4, 4, 4))
    with pytest.raises(InputError, match="every training picture is in the val or test split too"):
        train_network(_VARIANT, open_dataset(str(tmp_path / "d")), _SCHEDULE, weights="random")
    _picture(tmp_path / "d" / "train" / "red" / "new.png", 0, 999)
    with pytest.raises(InputError, match="no training picture is left of 'blue', 'green'"):
        train_network(_VARIANT, open_dataset(str(tmp_path / "d")), _SCHEDULE, weights="random")
