"""A new task is one file and its app templates: it learns, is built, gated, shown and shipped like the others."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from mnedge import tasks
from mnedge.bundles import _apps
from mnedge.cli import _run
from mnedge.models import Variant
from mnedge.models.build import build_model
from mnedge.recipe import Recipe, known_gates, known_tolerances

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SIDE = 32
# How full a picture is with red: its class is a step, and a neighbouring step is nearly right.
_TASK = '''
"""Fill: how full a picture is with red, in steps."""

import numpy as np

from mnedge.data import open_dataset
from mnedge.data.check import check_layout
from mnedge.results.accuracy import Figures
from mnedge.results.metric import Metric
from mnedge.results.outcome import ClassRow, MetPicture, Outcome
from mnedge.tasks._task import Task
from mnedge.training.settings import Schedule


def _closeness(scores, labels):
    """1 where the step is right, less by its distance."""
    return 1.0 - np.abs(scores.argmax(axis=1) - labels) / (scores.shape[1] - 1)


def _objective(data):
    from dataclasses import replace

    from mnedge.training.classify import Labelled, classify, predictor

    labels = data.dataset.labels
    train = Labelled(data.train.pixels, data.rows, labels[data.train.numbers[data.rows]])
    held = Labelled(data.held.pixels, np.arange(data.held.numbers.size), labels[data.held.numbers])
    learned = classify(train, held, data.variant.classes, data.schedule, lambda *_features: None, data.new_layers)

    def freeze(learner, progress):
        frozen = learned.freeze(learner, progress)
        return replace(frozen, score=lambda model: _scored(frozen.score(model)))

    return replace(learned, metric="closeness", score=lambda model: _scored(learned.score(model)), freeze=freeze)


def _scored(scores):
    return {"closeness": scores["top1"], "loss": scores["loss"]}


def _outcome(arrays, numbers, dataset):
    labels, scores = dataset.labels[numbers], arrays["probabilities"]
    close = _closeness(scores, labels)
    return Outcome(
        figures={"closeness": float(close.mean())},
        classes=tuple(
            ClassRow(name, int((labels == index).sum()), {"nearness": float(close[labels == index].mean())})
            for index, name in enumerate(dataset.classes)
        ),
        worst=tuple(
            MetPicture(dataset.sources[numbers[place]], words=f"off by {1 - close[place]:.2f}")
            for place in np.argsort(close)[:3]
        ),
    )


def _accuracy(predictions, dataset):
    close = _closeness(predictions.outputs, predictions.labels)
    each = {name: float(close[predictions.labels == index].mean()) for index, name in enumerate(dataset.classes)}
    return Figures({"closeness": float(close.mean())}, classes={"nearness": each})


TASK = Task(
    name="fill",
    title="estimation of a step",
    metrics=(
        Metric("closeness", "closeness of the step", is_headline=True),
        Metric("nearness", "nearness", by_class=True),
    ),
    heads=("classifier",),
    open_dataset=open_dataset,
    classes=lambda dataset: len(dataset.classes),
    check=check_layout,
    objective=_objective,
    outcome=_outcome,
    show=lambda _arrays, _numbers, dataset, number: dataset.read(number, 48),
    accuracy=_accuracy,
    mistakes=lambda _predictions, _dataset: [],
    schedule=Schedule(head_epochs=20, head_learning_rate=0.02, epochs=1),
)
'''

_APP = """
'A fill gauge.'

from pathlib import Path

from mnedge.bundles._app import App

APP = App(network="fill gauge", output="scores of the steps", program=Path(__file__).with_name("_fill.py"))
"""
_PROGRAM = "print('how full it is')\n"


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[None]:
    """The files of a task that the package does not have, where the registries look."""
    files = {tasks: {"fill.py": _TASK}, _apps: {"fill.py": _APP, "_fill.py": _PROGRAM}}
    for package, texts in files.items():
        folder = tmp_path / package.__name__
        folder.mkdir()
        for name, text in texts.items():
            (folder / name).write_text(text)
        package.__path__.append(str(folder))
    yield
    for package in files:
        package.__path__.remove(str(tmp_path / package.__name__))
        sys.modules.pop(f"{package.__name__}.fill", None)


def _pictures(root: Path) -> Path:
    """Three steps from blue to red, as folders."""
    for split, count in (("train", 12), ("val", 6)):
        for step, name in enumerate(("empty", "half", "full")):
            for number in range(count):
                path = root / split / f"{step}_{name}" / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise = np.random.default_rng(1000 * count + 100 * step + number).integers(0, 60, (6, 6, 3))
                noise[..., 0] += 75 * step
                noise[..., 2] += 150 - 75 * step
                picture = Image.fromarray(noise.astype(np.uint8))
                picture.resize((44, 44), Image.Resampling.BICUBIC).save(path)
    return root


def _printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert _run([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("toy")
def test_gates_and_tolerances_come_from_the_metrics_of_a_task() -> None:
    assert known_gates()["min_closeness"] == "lowest closeness of the step of any int8 artifact, 0..1"
    assert "max_closeness_drop" in known_gates()
    assert "closeness" in known_tolerances()
    # A figure of classes is no limit.
    assert "min_nearness" not in known_gates()
    assert Recipe(task="fill", gates={"min_closeness": 0.5}).tolerances["closeness"] == 0.005


def test_without_its_file_there_is_no_such_task() -> None:
    assert "fill" not in tasks.names()
    assert "min_closeness" not in known_gates()


@pytest.mark.slow
@pytest.mark.usefixtures("toy", "private_cache")
def test_a_new_task_goes_from_pictures_to_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, weights, out = str(_pictures(tmp_path / "data")), tmp_path / "my.keras", tmp_path / "out"
    body = tmp_path / "body.weights.h5"
    build_model(Variant("v1", 0.25, _SIDE, classes=5), "random", seed=3).save_weights(body)
    network = ["--task", "fill", "--variant", "v1", "--alpha", "0.25", "--resolution", str(_SIDE), "--data", data]

    trained = _printed(capsys, "train", *network, "--weights", str(body), "--augment", "none", "--out", str(weights))
    assert (trained["task"], trained["metric"]) == ("fill", "closeness")
    assert len(trained["history"]) == 21
    # Whoever always says the middle is at 0.67.
    assert trained["closeness"] > 0.75
    page = (tmp_path / "my.report.html").read_text()
    for words in ("Closeness of the step", "Lowest nearness", "nearness %"):
        assert words in page, words

    recipe = tmp_path / "fill.yaml"
    recipe.write_text("task: fill\nint8: true\neffort: fast\ngates: {min_closeness: 0.6, max_closeness_drop: 0.4}\n")
    built = _printed(
        capsys, "build", "--recipe", str(recipe), *network[2:], "--weights", str(weights), "--out", str(out)
    )
    slug = f"mobilenet_v1_0.25_{_SIDE}"
    scored = {row["artifact"]: row["closeness"] for row in built["accuracy"]}
    assert scored[f"{slug}.fp32.tflite"] == pytest.approx(trained["closeness"], abs=0.02)
    gates = {row["name"]: row["measured"] for row in built["gates"]}
    assert gates["min_closeness"] == pytest.approx(min(scored[name] for name in scored if ".int8." in name))
    assert set(gates) == {"min_closeness", "max_closeness_drop"}
    page = (out / "report.html").read_text()
    assert "closeness of the step %" in page
    assert "nearness of each class, %" in page

    artifact = str(out / f"{slug}.int8.tflite")
    again = _printed(capsys, "validate", artifact, "--task", "fill", "--data", data)
    assert again["accuracy"][0]["closeness"] == pytest.approx(scored[f"{slug}.int8.tflite"])
    # The head alone does not say what the network is for: the recipe does.
    assert _run(["build", *network[2:], "--weights", str(weights), "--out", str(tmp_path / "other")]) == 2
    assert "were trained to fill, asked for is classify" in " ".join(capsys.readouterr().err.split())

    _printed(capsys, "bundle", "raspberry-pi", str(out), "--out", str(tmp_path / "pi"))
    assert (tmp_path / "pi" / "fill.py").read_text() == _PROGRAM
    assert "fill.py photo.jpg" in (tmp_path / "pi" / "README.md").read_text()
    assert _run(["bundle", "android", str(out), "--out", str(tmp_path / "app")]) == 3
    assert "built to fill, whose app templates have no Android app" in " ".join(capsys.readouterr().err.split())
