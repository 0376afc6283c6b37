"""`train` from a folder to a .keras: learned, checked, kept through a real kill, and taken on by `build`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data import open_dataset
from mnedge.errors import InputError
from mnedge.files import RECORD
from mnedge.models import Variant
from mnedge.models.build import build_model
from mnedge.models.description import description_of
from mnedge.results.training import Images, read_training
from mnedge.training.settings import Augmentation, Schedule
from mnedge.workflows.train import publish
from mnedge.workflows.train_network import Trained, train_network

VARIANT = Variant("v2", 0.35, 32)
SCHEDULE = Schedule(
    head_epochs=3,
    head_learning_rate=0.02,
    epochs=4,
    batch_size=8,
    feature_copies=2,
    from_layer="block_16_project",
    augmentation=Augmentation.of("light"),
)
CLASSES = ("кот", "рыба", "птица")
_ROOT = Path(__file__).parents[2]


def _picture(path: Path, colour: int, seed: int) -> None:
    """A picture that is told by its colour, and of which no two are alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 90, (6, 6, 3))
    noise[..., colour] += 150
    Image.fromarray(noise.astype(np.uint8)).resize((44, 44), Image.Resampling.BICUBIC).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for split, count in (("train", 12), ("val", 6)):
        for colour, name in enumerate(CLASSES):
            for number in range(count):
                _picture(root / split / name / f"{number}.png", colour, 1000 * count + 100 * colour + number)
    with Image.open(root / "val" / CLASSES[0] / "0.png") as image:
        image.resize((80, 80)).save(root / "train" / CLASSES[0] / "copy.png")
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "old.weights.h5"
    build_model(replace(VARIANT, classes=7), "random", seed=4).save_weights(path)
    return path


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(folder: Path, weights: Path, cache_folder: Path) -> Trained:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNEDGE_CACHE", str(cache_folder))
        return train_network(VARIANT, open_dataset(str(folder)), SCHEDULE, weights=weights)


def _losses(trained: Trained) -> np.ndarray:
    return np.array([epoch.loss for epoch in trained.account.history], np.float64)


@pytest.mark.slow
def test_it_learns_and_says_how_well(trained: Trained, folder: Path) -> None:
    assert trained.score >= 0.9
    assert trained.account.is_complete
    assert trained.outcome.confusion is not None
    confusion = np.array(trained.outcome.confusion.counts)
    assert confusion.sum() == 18
    assert confusion.diagonal().sum() / 18 == pytest.approx(trained.score)
    assert [epoch.phase for epoch in trained.account.history] == ["head"] * 3 + ["fine-tune"] * 4
    assert trained.account.history[2].loss < trained.account.history[0].loss  # type: ignore[operator]
    # Class folders are sorted by name.
    names = tuple(row.name for row in trained.outcome.classes)
    assert names == open_dataset(str(folder)).classes == tuple(sorted(CLASSES))


@pytest.mark.slow
def test_the_file_itself_scores_what_was_said(trained: Trained, folder: Path) -> None:
    import keras

    dataset, model = open_dataset(str(folder)), keras.models.load_model(trained.path)
    pixels, labels = dataset.pixels(dataset.split("eval"), 32)
    images = pixels / np.float32(127.5) - np.float32(1)
    predicted = np.array([model(image[None]).numpy().argmax() for image in images])
    assert (predicted == labels).mean() == pytest.approx(trained.score)
    assert description_of(trained.path)["classes"] == sorted(CLASSES)


@pytest.mark.slow
def test_what_validation_has_too_is_left_out_of_training(trained: Trained) -> None:
    (shared,) = trained.account.findings.shared
    assert (shared.train, shared.held) == (f"train/{CLASSES[0]}/copy.png", f"val/{CLASSES[0]}/0.png")
    assert trained.account.images == Images(36, 18)


@pytest.mark.slow
def test_the_same_training_is_not_done_twice(
    trained: Trained, folder: Path, weights: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNEDGE_CACHE", str(cache_folder))
    heard: list[object] = []
    again = train_network(VARIANT, open_dataset(str(folder)), SCHEDULE, weights=weights, on_epoch=heard.append)
    assert again.path == trained.path
    assert heard == []
    # What was kept on the way is gone once the end is reached.
    assert not list(cache_folder.glob("transfer-work-*"))


@pytest.mark.slow
def test_the_report_names_and_shows_it(trained: Trained, folder: Path, tmp_path: Path) -> None:
    report = publish(trained, open_dataset(str(folder)), tmp_path / "my.keras")
    assert sorted(path.name for path in tmp_path.iterdir()) == [RECORD, "my.keras", "my.report.html", "my.report.json"]
    assert report == read_training(tmp_path / "my.report.json")
    assert report.outcome.confusion is not None
    assert np.sum(report.outcome.confusion.counts) == trained.numbers.size
    assert sum(row.images for row in report.outcome.classes) == 18
    page = (tmp_path / "my.report.html").read_text()
    assert "data:image/jpeg;base64," in page
    assert all(name in page for name in CLASSES)


_KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from tests_of_transfer import SCHEDULE, VARIANT
from mnedge.data import open_dataset
from mnedge.workflows.train_network import train_network
def heard(epoch):
    print(epoch.phase, epoch.number, flush=True)
    if sys.argv[3] == "stop" and (epoch.phase, epoch.number) == ("fine-tune", 2):
        import time
        time.sleep(600)
trained = train_network(VARIANT, open_dataset(sys.argv[1]), SCHEDULE, weights=Path(sys.argv[2]), on_epoch=heard)
print("top1", trained.score, *[epoch.loss for epoch in trained.account.history])
"""


def _process(folder: Path, weights: Path, cache: Path, how: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "MNEDGE_CACHE": str(cache), "PYTHONPATH": str(_ROOT)}
    script = _KILLED.replace("tests_of_transfer", Path(__file__).stem)
    args: list[str | Path] = [sys.executable, "-W", "ignore", "-c", script, folder, weights, how, Path(__file__).parent]
    return subprocess.Popen(args, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_kill_costs_at_most_the_epoch_under_way(
    trained: Trained, folder: Path, weights: Path, tmp_path: Path
) -> None:
    with _process(folder, weights, tmp_path, "stop") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.split() == ["fine-tune", "2"]:
                break
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    with _process(folder, weights, tmp_path, "go on") as process:
        said, error = process.communicate()
    assert process.returncode == 0, error[-2000:]
    lines = [line.split() for line in said.splitlines()]
    # Neither the head nor the first two epochs are trained again.
    assert [line for line in lines if line[0] != "top1"] == [["fine-tune", "3"], ["fine-tune", "4"]]
    losses = [float(loss) for loss in lines[-1][2:]]
    np.testing.assert_allclose(losses, _losses(trained), rtol=1e-2)


@pytest.mark.soak
def test_rounds_of_training_end_where_one_run_ends(
    trained: Trained, folder: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNEDGE_CACHE", str(tmp_path))
    dataset = open_dataset(str(folder))
    heard: list[tuple[str, int]] = []
    for until in (0, 2, 4):
        schedule = replace(SCHEDULE, until_epoch=until)
        found = train_network(
            VARIANT,
            dataset,
            schedule,
            weights=weights,
            on_epoch=lambda epoch: heard.append((epoch.phase, epoch.number)),
        )
        assert found.account.is_complete == (until == 4)
    assert heard == [("head", number) for number in (1, 2, 3)] + [("fine-tune", number) for number in (1, 2, 3, 4)]
    np.testing.assert_allclose(_losses(found), _losses(trained), rtol=1e-2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 10**20), ("head_epochs", 10**20), ("batch_size", 10**20), ("batch_size", 0), ("patience", 0),
        ("weight_decay", float("nan")), ("label_smoothing", -0.1), ("learning_rate", float("inf")),
    ],
)  # fmt: skip
def test_numbers_of_a_schedule_have_limits(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} is "):
        Schedule(**{name: value})  # type: ignore[arg-type] # what a command line may give


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (Schedule(epochs=0), "epochs is 0 and random weights have no frozen phase, so nothing would be trained"),
        (replace(SCHEDULE, until_epoch=0), "until_epoch is 0 and random weights"),
        (replace(SCHEDULE, head_epochs=0, until_epoch=0), "until_epoch is 0 and"),
    ],
)
def test_nothing_to_train_is_said_at_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: Schedule, message: str
) -> None:
    monkeypatch.setenv("MNEDGE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match=message):
        train_network(VARIANT, open_dataset(str(folder)), schedule, weights="random")
    assert not list(tmp_path.rglob("*.keras"))
