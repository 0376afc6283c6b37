"""Which pictures `validate` measures on, and whose classes are whose."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.codegen.compile import compile_c
from mnedge.data import open_dataset
from mnedge.data.dataset import Dataset
from mnedge.data.draw import Draw
from mnedge.data.origin import METADATA, origin_of
from mnedge.errors import InputError
from mnedge.formats.tflite_read import read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph
from mnedge.workflows.validate import validate
from mnedge.workflows.which_pictures import choose


def _pictures(root: Path, count: int = 15, classes: tuple[str, ...] = ("ant", "bee", "cow", "doe")) -> Path:
    for index, name in enumerate(classes):
        for number in range(count):
            small = np.random.default_rng(100 * index + number).integers(0, 256, (4, 4, 3), np.uint8)
            path = root / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(small).resize((24, 24), Image.Resampling.BICUBIC).save(path)
    return root


def _model(path: Path, graph: Graph, dataset: Dataset | None = None) -> Path:
    metadata = dict(graph.metadata)
    if dataset is not None:
        origin = origin_of(dataset, "training")
        assert origin is not None
        metadata[METADATA] = origin.to_bytes()
    path.write_bytes(write_tflite(replace(graph, metadata=metadata)))
    return path


def test_a_folder_without_splits_is_measured_whole(tmp_path: Path, small_int8: Graph) -> None:
    root = _pictures(tmp_path / "d")
    result = validate([_model(tmp_path / "m.tflite", small_int8)], str(root))
    assert result.accuracy[0].images == 60
    assert result.pictures == "all 60 pictures"


def test_the_pictures_that_training_kept_apart(tmp_path: Path, small_int8: Graph) -> None:
    root = _pictures(tmp_path / "d")
    drawn = open_dataset(str(root), draw=Draw(seed=7, val_fraction=0.2))
    model = _model(tmp_path / "m.tflite", small_int8, drawn)
    result = validate([model], str(root))
    assert result.pictures == "12 of 60 pictures, as drawn for training"
    assert result.accuracy[0].images == 12
    found = choose([model], None, None, lambda draw: open_dataset(str(root), draw=draw))
    assert found.numbers.tolist() == drawn.splits["eval"].tolist()
    opened: list[Draw | None] = []

    def noted(draw: Draw | None) -> Dataset:
        opened.append(draw)
        return open_dataset(str(root), draw=draw)

    choose([model], None, None, noted)
    assert opened == [drawn.draw], "opening looks at every picture, and once is enough"
    # Pictures that came later do not make it another data set; those of another folder do.
    _pictures(root, 18)
    again = choose([model], None, None, lambda draw: open_dataset(str(root), draw=draw))
    assert again.dataset.draw == drawn.draw
    kept = {drawn.sources[number] for number in drawn.splits["train"]}
    assert len(kept & {again.dataset.sources[number] for number in again.numbers}) <= 4
    other = _pictures(tmp_path / "e", 5, ("cow", "ant", "elk", "fox"))
    assert validate([model], str(other)).pictures == "all 20 pictures"
    assert validate([model], str(root), split="all").pictures == "all 72 pictures"


def test_a_folder_of_c_knows_what_training_kept_apart(tmp_path: Path, small_int8: Graph) -> None:
    root = _pictures(tmp_path / "d")
    drawn = open_dataset(str(root), draw=Draw(seed=7, val_fraction=0.2))
    model = read_tflite(_model(tmp_path / "m.tflite", small_int8, drawn))
    compile_c(model, name="m", target="generic", out=tmp_path / "c", measure=False)
    found = choose([tmp_path / "c"], None, None, lambda draw: open_dataset(str(root), draw=draw))
    assert found.numbers.tolist() == drawn.splits["eval"].tolist()
    assert found.words == "12 of 60 pictures, as drawn for training"


def test_the_test_split_is_measured(tmp_path: Path, small_int8: Graph) -> None:
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        _pictures(tmp_path / "d" / split, count)
    model = _model(tmp_path / "m.tflite", small_int8)
    assert validate([model], str(tmp_path / "d")).pictures == "12 pictures of the test split"
    assert validate([model], str(tmp_path / "d"), split="val").pictures == "8 pictures of the validation split"
    assert validate([model], str(tmp_path / "d"), split="all").accuracy[0].images == 36
    with pytest.raises(InputError, match="unknown split 'tests'; did you mean 'test'"):
        validate([model], str(tmp_path / "d"), split="tests")


def test_classes_are_met_by_their_names(tmp_path: Path, small_int8: Graph) -> None:
    root = _pictures(tmp_path / "d")
    model = _model(tmp_path / "m.tflite", small_int8)
    plain = validate([model], str(root)).accuracy[0].figures
    # The model's own order is another one; by position the figure is of other classes.
    (tmp_path / "labels.txt").write_text("doe\nCow\nbee\nant\n")
    named = validate([model], str(root)).accuracy[0].figures
    order = ("doe", "cow", "bee", "ant")
    rows = [f"{name}/{number}.png,{place}" for place, name in enumerate(order) for number in range(15)]
    (root / "labels.csv").write_text("\n".join(["filename,class_index", *rows]))
    by_hand = validate([model], str(root / "labels.csv"), split="all").accuracy[0].figures
    (root / "labels.csv").unlink()
    assert named.metrics["top1"] == by_hand.metrics["top1"] != plain.metrics["top1"]
    assert set(named.classes["recall"]) == {"doe", "Cow", "bee", "ant"}
    (tmp_path / "labels.txt").write_text("doe\ncow\nbee\nape\n")
    with pytest.raises(
        InputError, match=r"m.tflite does not know: ant\. The data's are ant, bee, cow, doe; the model's"
    ):
        validate([model], str(root))
    assert validate([model], str(root), class_map="offset=0").accuracy[0].figures.metrics == plain.metrics


def test_a_figure_below_the_largest_class_is_warned_of(tmp_path: Path, small_int8: Graph) -> None:
    root = _pictures(tmp_path / "d", 2)
    _pictures(root, 40, ("ant",))
    result = validate([_model(tmp_path / "m.tflite", small_int8)], str(root))
    row = result.accuracy[0].figures
    recall = [value for value in row.classes["recall"].values() if value is not None]
    assert row.metrics["balanced_accuracy"] == pytest.approx(np.mean(recall))
    assert bool(result.warnings) == (row.metrics["top1"] <= 40 / 46)
