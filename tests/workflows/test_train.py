"""`train`: arguments that contradict each other are refused before a model or a picture is read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnedge.errors import InputError
from mnedge.workflows.train import train


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"model": "m.keras", "variant": "v2", "alpha": 0.35},
            "--variant is of a variant, .* leave --variant, --a",
        ),
        ({"model": "m.keras", "weights": "imagenet"}, "--weights is of a variant, and --model is a network already"),
        ({"model": "m.keras", "task": "embed"}, "--model is for the task classify, and --task is embed"),
        ({"pixels": "0..255"}, "--pixels is of a model; leave --pixels out, or give --model"),
        ({"head": "lr-aspp"}, "unknown head for --task classify 'lr-aspp'"),
        ({"weights": "absent.h5"}, "no weights file absent.h5"),
        ({"variant": "v9"}, "v9"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train("demo", tmp_path / "my.keras", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_the_model_file_ends_in_keras(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not end in \.keras, which is what is written; give e\.g\. my\.keras"):
        train("demo", tmp_path / "my.h5")


def test_splits_that_the_data_has_are_not_drawn(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("cats", "dogs"):
            (tmp_path / "d" / split / name).mkdir(parents=True)
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "d" / split / name / "0.png")
    with pytest.raises(InputError, match="comes with its own splits, so --split-seed changes nothing"):
        train(tmp_path / "d", tmp_path / "my.keras", split_seed=3)


def test_the_length_of_an_embedding_is_refused_where_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--dimensions is the length of an embedding, and --task classify makes none"):
        train("demo", tmp_path / "my.keras", dimensions=64)
