"""Training with fake quantization on a tiny network: better than it began, resumable, and what is shipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.executor import predict
from mnedge.graph.precision import float_ops
from mnedge.quantize.qat import augment, quantize_qat
from mnedge.quantize.quantized import top1_agreement

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def small(net: Any) -> Any:
    return net().conv("c", 4, stride=2).mean().dense("logits", 3).softmax().graph()


class Killed(Exception):  # noqa: N818 - what happens to the training, not an error of it
    pass


def test_training_gives_an_int8_graph_that_equals_what_was_trained(
    separable: Any, images: Any, litert: Any, tmp_path: Path
) -> None:
    graph = separable().graph()
    result = quantize_qat(graph, images(48), checkpoint_dir=tmp_path, epochs=3)
    assert float_ops(result.graph) == []
    export: Any = result.settings["export"]
    assert export["top1_agreement"] >= 0.99
    assert export["max_abs_lsb"] >= 0
    assert result.settings["method"] == "qat"
    assert result.steps[-1]["name"] == "trained with fake quantization"
    pictures = images(120, 4)
    assert top1_agreement(predict(graph, pictures), litert(result.graph, pictures, delegate=True)) > 0.85
    assert list(tmp_path.iterdir()) == [], "the checkpoint goes when the training is done"


def test_a_killed_training_goes_on_where_it_was(small: Any, images: Any, tmp_path: Path) -> None:
    graph = small
    whole = quantize_qat(graph, images(24), checkpoint_dir=tmp_path / "whole", epochs=3)
    shares: list[float] = []

    def kill(stage: str, share: float) -> None:
        if stage.startswith("train"):
            shares.append(share)
            if share > 0.7:
                raise Killed

    with pytest.raises(Killed):
        quantize_qat(graph, images(24), checkpoint_dir=tmp_path / "cut", epochs=3, progress=kill)
    assert len(list((tmp_path / "cut").iterdir())) == 1
    resumed: list[float] = []
    again = quantize_qat(
        graph, images(24), checkpoint_dir=tmp_path / "cut", epochs=3,
        progress=lambda stage, share: resumed.append(share) if stage.startswith("train") else None,
    )  # fmt: skip
    assert resumed[0] > 2 / 3 - 1e-6, "two epochs were kept"
    assert write_tflite(again.graph) == write_tflite(whole.graph)


def test_other_settings_do_not_take_the_checkpoint_up(small: Any, images: Any, tmp_path: Path) -> None:
    graph = small

    def kill(stage: str, share: float) -> None:
        if stage.startswith("train") and share > 0.6:
            raise Killed

    for seed in (0, 1):
        with pytest.raises(Killed):
            quantize_qat(graph, images(20), checkpoint_dir=tmp_path, epochs=2, seed=seed, progress=kill)
    assert len(list(tmp_path.iterdir())) == 2


def test_labels_are_taken_where_there_are_any(small: Any, images: Any, tmp_path: Path) -> None:
    labels = np.array([0, 1, 2, -1] * 6)
    result = quantize_qat(small, images(24), labels, checkpoint_dir=tmp_path, epochs=1)
    assert float_ops(result.graph) == []


def test_augmentation_mirrors_and_moves(images: Any) -> None:
    pictures = np.arange(8 * 8, dtype=np.float32).reshape(1, 8, 8, 1).repeat(200, 0)
    made = augment(pictures, np.random.default_rng(0))
    assert made.shape == pictures.shape
    assert set(np.unique(made)) <= set(range(64))
    mirrored = made[:, 4, 5, 0] < made[:, 4, 3, 0]
    assert 0.35 < mirrored.mean() < 0.65
    # An eighth of 8 pixels: rows move by one at most.
    rows = made[:, 4, 4, 0] // 8
    assert set(rows.tolist()) == {3, 4, 5}
    again = augment(images(3), np.random.default_rng(5))
    assert np.array_equal(again, augment(images(3), np.random.default_rng(5)))


def test_one_picture_is_too_few(small: Any, images: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least two pictures, got 1"):
        quantize_qat(small, images(1), checkpoint_dir=tmp_path)


def test_labels_must_be_as_many_as_pictures(small: Any, images: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="3 labels for 4 pictures"):
        quantize_qat(small, images(4), np.zeros(3, int), checkpoint_dir=tmp_path)
