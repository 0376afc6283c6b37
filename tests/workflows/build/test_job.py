import json
import os
import time
from pathlib import Path

import pytest
from PIL import Image

from mnedge import cache
from mnedge.data import content
from mnedge.errors import InputError
from mnedge.workflows.build.job import resolve
from mnedge.recipe import Recipe


def _photos(root: Path, classes: int) -> str:
    for index in range(classes):
        for number in range(4):
            path = root / f"class_{index}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (index * 20, number, 0)).save(path)
    return str(root)


def test_the_demo_sets_resolution_and_classes() -> None:
    job = resolve(Recipe())
    assert (job.network.resolution, job.network.classes) == (96, 10)
    assert job.is_labelled
    assert job.weights_sha256


def test_random_weights_take_the_classes_of_the_folder(tmp_path: Path) -> None:
    job = resolve(Recipe(weights="random", data=_photos(tmp_path / "p", 3)))
    assert (job.network.resolution, job.network.classes) == (224, 3)
    assert job.labels() == ["class_0", "class_1", "class_2"]
    assert not job.is_labelled


def test_random_weights_take_any_classes(tmp_path: Path) -> None:
    job = resolve(Recipe(weights="random", classes=5, data=_photos(tmp_path / "p", 3)))
    assert job.labels() == ["0", "1", "2", "3", "4"]


def test_classes_of_weights_and_data_must_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tell 10 classes apart, but .* has 3 classes"):
        resolve(Recipe(data=_photos(tmp_path / "p", 3)))
    with pytest.raises(InputError, match="--classes 4 does not fit the weights demo"):
        resolve(Recipe(classes=4))


def test_a_csv_may_show_only_some_of_the_classes(tmp_path: Path) -> None:
    _photos(tmp_path, 2)
    rows = "filename,class_index\nclass_0/0.png,2\nclass_1/0.png,7\n"
    (tmp_path / "labels.csv").write_text(rows)
    assert resolve(Recipe(data=str(tmp_path / "labels.csv"))).network.classes == 10
    (tmp_path / "labels.csv").write_text(rows.replace(",7", ",10"))
    with pytest.raises(InputError, match="class_index 10"):
        resolve(Recipe(data=str(tmp_path / "labels.csv")))


@pytest.mark.usefixtures("private_cache")
def test_check_data_reads_files_that_the_cache_would_stand_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "_SETTLED_NS", 0)
    recipe = Recipe(weights="random", data=_photos(tmp_path / "p", 2))
    time.sleep(0.02)
    before = resolve(recipe).dataset.fingerprint
    work, name = cache.resumable("digests", {}), os.fsencode(tmp_path / "p")
    rows = json.loads(cache.recall(work, name) or b"")
    cache.keep(work, name, json.dumps({path: [mark, "0" * 64] for path, (mark, _) in rows.items()}).encode())
    assert resolve(recipe).dataset.fingerprint != before
    assert resolve(recipe, check_data=True).dataset.fingerprint == before
