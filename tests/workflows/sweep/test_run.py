"""`sweep` as a notebook calls it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.models import Variant
from mnedge.models.build import build_model
from mnedge.models.transfer import save_trained
from mnedge.recipe import Recipe
from mnedge.results import stored
from mnedge.results.sweep import SweepResult
from mnedge.workflows.build.pipeline import build
from mnedge.workflows.sweep.run import default_out, sweep
from mnedge.workflows.validate import validate


@pytest.mark.slow
@pytest.mark.usefixtures("private_cache")
def test_a_recipe_and_values_give_the_result_that_sweep_json_says(tmp_path: Path, small_recipe: Recipe) -> None:
    result = sweep(small_recipe, {"granularity": ["per-tensor"]}, out=tmp_path / "out", workers=1, device="")
    (row,) = result.rows
    assert (row.tradeoff.status, row.images, row.error) == ("front", 18, None)
    assert (result.schema, result.recipe, result.units.done) == (2, "v1", 3)
    assert result == stored.read(tmp_path / "out" / "sweep.json", SweepResult)
    assert "granularity=per-tensor" in result._repr_html_()


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """Eight pictures of two halves, dark and bright, with their masks; half of them are the validation split."""
    from PIL import Image

    root, rows = tmp_path / "masks", ["filename,split"]
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(8):
        mask = np.zeros((40, 40), np.uint8)
        mask[:, : 10 + 2 * number] = 1
        pixels = generator.integers(0, 60, (40, 40, 3)) + 180 * mask[..., None]
        Image.fromarray(pixels.astype(np.uint8)).save(root / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
        rows.append(f"{number}.png,{'val' if number % 2 else 'train'}")
    (root / "split.csv").write_text("\n".join(rows) + "\n")
    (root / "classes.txt").write_text("dark\nbright\n")
    return root


@pytest.fixture
def segmenting(masks: Path, tmp_path: Path) -> Recipe:
    """A recipe to segment them, with weights in a file; they are random, and yet have an accuracy."""
    weights, variant = tmp_path / "s.keras", Variant("v1", 0.25, 32, classes=2, head="lr-aspp")
    told = {"task": "segment", "head": "lr-aspp", "output_stride": 16, "classes": ["dark", "bright"], "outputs": 2}
    save_trained(build_model(variant, "random", 3), weights, told)
    return Recipe(
        variant="v1", alpha=0.25, resolution=32, task="segment", weights=str(weights), data=str(masks), int8=True,
        effort="fast", calibration=str(masks / "images"),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("private_cache")
def test_a_segmenter_is_ranked_by_its_own_headline(tmp_path: Path, segmenting: Recipe) -> None:
    arguments: dict[str, Any] = {"out": tmp_path / "out", "workers": 1, "device": "", "shard": 1}
    result = sweep(segmenting, {"granularity": ["per-channel"]}, **arguments)
    (row,) = result.rows
    assert row.error is None
    # One build, and the whole split at once for each of the two artifacts: unions of parts do not add up.
    assert (row.images, row.tradeoff.status, result.units.done) == (4, "front", 3)
    assert (result.metric, row.tradeoff.top1, row.top1_interval) == ("mean_iou", None, None)
    found = {entry.artifact: entry.metrics["mean_iou"] for entry in row.accuracy if entry.metrics is not None}
    folder = tmp_path / "out" / row.folder
    for name, score in found.items():
        measured = validate((folder / name,), segmenting.data, task="segment").accuracy[0]
        assert score == pytest.approx(measured.metric("mean_iou"))
    assert (row.fp32_score, row.tradeoff.score) == (found[f"{row.slug}.fp32.tflite"], found[f"{row.slug}.int8.tflite"])
    page = (tmp_path / "out" / "sweep.html").read_text()
    assert "mean IoU" in page
    assert "top-1" not in page.lower()
    again = sweep(segmenting, {"granularity": ["per-channel"]}, **arguments)
    assert (again.units.done, again.rows) == (0, result.rows)
    assert again == stored.read(tmp_path / "out" / "sweep.json", SweepResult)


@pytest.mark.usefixtures("private_cache")
def test_masks_are_not_sent_to_a_cluster(tmp_path: Path, segmenting: Recipe) -> None:
    with pytest.raises(InputError, match="--scheduler takes recipes to classify, and this one is to segment"):
        sweep(segmenting, {"seed": [1]}, out=tmp_path / "out", scheduler="tcp://127.0.0.1:9")


def _model(path: Path, activation: str, outputs: int) -> Path:
    """A .keras that tells the pictures apart by their mean colours; one output says whether green is the strongest."""
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Rescaling(1 / 127.5, -1.0),
            layers.Conv2D(3, 1, name="colours"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(outputs, activation=activation, name="classes"),
        ]
    )
    model.get_layer("colours").set_weights([np.eye(3)[None, None], np.full(3, 0.5)])
    # Folders come in the order of names: green's "bananas" first.
    lines = 20 * np.eye(3)[:, [1, 0, 2]] if outputs == 3 else np.array([[-20.0], [30.0], [-20.0]])
    model.get_layer("classes").set_weights([lines, np.full(outputs, 0.25)])
    model.save(path)
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("private_cache")
def test_a_model_is_swept_and_scored_as_a_build_scores_it(tmp_path: Path, pictures: Path) -> None:
    model = _model(tmp_path / "mine.keras", "softmax", 3)
    recipe = Recipe(model=str(model), data=str(pictures), int8=True, effort="fast")
    arguments: dict[str, Any] = {"out": tmp_path / "out", "workers": 1, "device": "", "shard": 5}
    result = sweep(recipe, {"granularity": ["per-channel"]}, **arguments)
    (row,) = result.rows
    assert row.error is None
    # One build, and the whole split at once for each of the two artifacts.
    assert (row.slug, row.images, row.tradeoff.status, result.units.done) == ("mine", 18, "front", 3)
    assert row.tradeoff.parameters == 2 * (3 * 3 + 3)
    report = build(replace(recipe, granularity="per-channel"), tmp_path / "built")
    built = {entry.artifact: entry.metric("top1") for entry in report.accuracy}
    assert row.tradeoff.top1 == built["mine.int8.tflite"] == 1.0
    assert row.fp32_top1 == built["mine.fp32.tflite"]
    assert (tmp_path / "out" / row.folder / "mine.int8.tflite").read_bytes() == (
        tmp_path / "built" / "mine.int8.tflite"
    ).read_bytes()
    again = sweep(recipe, {"granularity": ["per-channel"]}, **arguments)
    assert (again.units.done, again.rows) == (0, result.rows)


@pytest.mark.slow
@pytest.mark.usefixtures("private_cache")
def test_a_model_with_one_output_is_ranked_by_its_own_top1(tmp_path: Path, pictures: Path) -> None:
    model = _model(tmp_path / "mine.keras", "sigmoid", 1)
    recipe = Recipe(model=str(model), data=str(pictures), int8=True, effort="fast", positive="bananas")
    (row,) = sweep(recipe, {"seed": [1]}, out=tmp_path / "out", workers=1, device="").rows
    assert (row.error, row.tradeoff.status, row.images) == (None, "front", 18)
    metrics = next(entry.metrics for entry in row.accuracy if entry.artifact == "mine.int8.tflite")
    assert metrics is not None
    assert row.tradeoff.headline == metrics["top1"]
    assert 0.0 <= metrics["roc_auc"] <= 1.0


def test_a_model_is_not_sent_to_a_cluster(tmp_path: Path, pictures: Path) -> None:
    recipe = Recipe(model=str(_model(tmp_path / "mine.keras", "softmax", 3)), data=str(pictures))
    with pytest.raises(InputError, match=r"--scheduler takes recipes of variants, and this one names the model"):
        sweep(recipe, {"seed": [1]}, out=tmp_path / "out", scheduler="tcp://127.0.0.1:9")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"over": {"alfa": (1.0,)}}, "did you mean 'alpha'"),
        ({"over": {}, "workers": 0}, "--workers is 0"),
        ({"over": {}, "shard": 0}, "--shard is 0"),
        ({"over": {}, "recipe": "nothing"}, "no recipe file nothing"),
    ],
)
def test_arguments_that_a_command_line_would_refuse_are_refused_too(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        sweep(**{"recipe": Recipe(), **arguments}, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_sweep_without_a_folder_goes_to_artifacts() -> None:
    assert default_out("recipes/mine.yaml") == Path("artifacts/sweep-mine")
    assert default_out(Recipe(variant="v2")) == Path("artifacts/sweep-v2")
