"""Event files as TensorFlow's own reader sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mnedge.results.training import Epoch
from mnedge.training.tensorboard import tensorboard_log

if TYPE_CHECKING:
    from pathlib import Path


def test_every_epoch_is_a_step_of_scalars(tmp_path: Path) -> None:
    import tensorflow as tf

    log = tensorboard_log(tmp_path)
    for number in (1, 2):
        log(Epoch("head", number, 1e-3, 2.0 / number, {"top1": 0.25 * number, "loss": 1.0}, 3.0))
    log(Epoch("fine-tune", 1, 1e-4, 0.5, {"top1": 0.75, "loss": 0.9}, 3.0))
    found = {}
    for run in ("head", "fine-tune"):
        (file,) = (tmp_path / run).iterdir()
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                found[run, value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    assert found["head", "validation/top1", 2] == 0.5
    assert found["head", "train/loss", 1] == 2.0
    assert found["fine-tune", "train/learning_rate", 1] == pytest.approx(1e-4)
    assert len(found) == 15
