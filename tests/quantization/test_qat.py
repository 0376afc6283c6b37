"""Training with fake quantization: what it gains, and that a kill costs at most an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.executor import predict
from mnedge.graph.heads import snr_db
from mnedge.quantization.interpret import first_output
from mnedge.quantization.ptq import PostTraining
from mnedge.quantization.qat import _split, augment, quantize_qat
from mnedge.quantization.quantized import agreement_of
from tests.slow import rest_is_slow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnedge.choices import Effort
    from mnedge.graph.graph import Graph


class KilledError(Exception):
    pass


def test_the_result_is_what_was_trained_and_no_worse_than_ptq(
    outliers: Graph, pictures: Any, others: Any, tmp_path: Path
) -> None:
    result = quantize_qat(outliers, pictures, None, checkpoint_dir=tmp_path, epochs=3)
    export = result.settings["export"]
    assert isinstance(export, dict)
    assert export["top1_agreement"] >= 0.99
    # LiteRT's MEAN may be contracted to one rounding less, and its SOFTMAX reads a table: a step of a logit moves a
    # softmax by a quarter of it.
    logits = result.graph.tensors["logits"].quantization
    assert logits is not None
    assert export["max_abs_lsb"] <= 1 + float(logits.scale[0]) / 4 * 256
    assert agreement_of("logits", predict(outliers, others), first_output(result.graph, others)) > 0.95
    assert result.steps[-1].name == "trained with fake quantization"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(swish: Graph, pictures: Any, tmp_path: Path) -> None:
    labels = np.arange(len(pictures)) % 10
    whole = quantize_qat(swish, pictures, labels, checkpoint_dir=tmp_path / "whole", epochs=3)
    shares: list[float] = []

    def kill(stage: str, share: float) -> None:
        # In the middle of the second epoch.
        if stage.startswith("train") and share > 0.5:
            raise KilledError

    def watch(stage: str, share: float) -> None:
        if stage.startswith("train"):
            shares.append(share)

    folder = tmp_path / "killed"
    with pytest.raises(KilledError):
        quantize_qat(swish, pictures, labels, checkpoint_dir=folder, epochs=3, progress=kill)
    assert len(list(folder.glob("*.npz"))) == 1
    (kept,) = folder.glob("*.npz")
    data = kept.read_bytes()
    again = quantize_qat(swish, pictures, labels, checkpoint_dir=folder, epochs=3, progress=watch)
    assert shares[0] > 1 / 3
    assert write_tflite(again.graph) == write_tflite(whole.graph)
    for damaged in (b"", data[: len(data) // 2], data.replace(b"counts", b"amount")):
        kept.write_bytes(damaged)
        shares.clear()
        again = quantize_qat(swish, pictures, labels, checkpoint_dir=folder, epochs=3, progress=watch)
        assert shares[0] < 1 / 3
        assert write_tflite(again.graph) == write_tflite(whole.graph)


def test_training_takes_gates_that_can_be_equalized_but_for_fast(net: Any, images: Any, tmp_path: Path) -> None:
    made = net(seed=5)
    loud = 10.0 ** np.linspace(-0.7, 0.7, 6)
    weights = made.rng.normal(0, 0.4, (6, 3, 3, 3)) * loud[:, None, None, None]
    made.conv("c", 6, weights=weights, activation="NONE").hard_swish("h").conv("d", 8)
    graph = made.mean().dense("logits", 4).softmax().graph()
    kinds = {}
    efforts: tuple[Effort, ...] = ("fast", "default")
    for effort in efforts:
        int8 = quantize_qat(
            graph, images(20), None, PostTraining(effort=effort), checkpoint_dir=tmp_path, epochs=1
        ).graph
        kinds[effort] = int8.producers()["h/gate"].kind
    assert kinds == {"fast": "ADD", "default": "DEPTHWISE_CONV_2D"}


def test_wrong_data_is_refused(swish: Graph, pictures: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least two"):
        quantize_qat(swish, pictures[:1], None, checkpoint_dir=tmp_path)
    with pytest.raises(InputError, match="3 labels for 64"):
        quantize_qat(swish, pictures, np.zeros(3, int), checkpoint_dir=tmp_path)


def test_pictures_that_choose_the_epoch_were_not_calibrated_with(pictures: Any, others: Any) -> None:
    mixed = np.concatenate([pictures[:20], others[:30]])
    split, calibration = _split(pictures, None, mixed, seed=0)
    chosen_by = {image.tobytes() for image in split.held_out}
    trained_on = {image.tobytes() for image in split.train}
    assert len(chosen_by) == round(0.15 * len(pictures))
    assert not chosen_by & trained_on
    assert not chosen_by & {image.tobytes() for image in calibration}
    assert trained_on | chosen_by == {image.tobytes() for image in np.concatenate([pictures, others[:30]])}
    assert len(split.labels) == len(split.train) == len(trained_on)


def test_augmentation_moves_and_mirrors_but_makes_no_new_pixels(pictures: Any) -> None:
    moved = augment(pictures[:8], np.random.default_rng(0))
    assert moved.shape == (8, 16, 16, 3)
    assert not np.array_equal(moved, pictures[:8])
    for before, after in zip(pictures, moved, strict=False):
        assert set(np.unique(after)) <= set(np.unique(before))


@pytest.mark.slow
def test_other_settings_do_not_take_a_checkpoint_up(net: Any, images: Any, tmp_path: Path) -> None:
    small = net().conv("c", 4, stride=2).mean().dense("logits", 3).softmax().graph()

    def kill(stage: str, share: float) -> None:
        if stage.startswith("train") and share > 0.6:
            raise KilledError

    asked: tuple[dict[str, Any], ...] = ({"seed": 0}, {"seed": 1}, {"effort": "fast"}, {"ranges": "mse"})
    for settings in asked:
        with pytest.raises(KilledError):
            quantize_qat(
                small, images(20), None, PostTraining(**settings), checkpoint_dir=tmp_path, epochs=2, progress=kill
            )
    assert len(list(tmp_path.iterdir())) == len(asked)


@pytest.mark.parametrize(
    "end",
    rest_is_slow(["softmax", "two outputs", "logits of one pixel", "logits", "sigmoid", "multi-label", "numbers"], 3),
)
def test_every_kind_of_output_is_trained(
    end: str, ended: Callable[[str], Graph], pictures: Any, others: Any, tmp_path: Path
) -> None:
    graph, pictures, others = ended(end), pictures[:40, ::2, ::2], others[:20, ::2, ::2]
    # Class indices, as a folder of pictures has them, whether or not the output has a column for each.
    labels = np.arange(len(pictures)) % 4
    result = quantize_qat(graph, pictures, labels, PostTraining(effort="fast"), checkpoint_dir=tmp_path, epochs=1)
    exact, made = predict(graph, others), first_output(result.graph, others)
    assert np.isfinite(made).all()
    assert snr_db(exact, made) > 10  # type: ignore[operator]
    assert len(result.graph.outputs) == len(graph.outputs)
