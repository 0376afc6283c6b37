"""The learning copy of a network computes what the network computes; freezing freezes."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.models import Variant
from mnedge.models.build import build_model
from mnedge.training.learner import check_layer, make_learner, split_at_head, unfreeze
from tests.slow import rest_is_slow

FAMILIES = ("v1", "v2", "v3-small", "v3-large-minimalistic")


def _images(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, 32, 32, 3)).astype(np.float32)


def _head(model: keras.Model) -> frozenset[str]:
    """Names of the layers behind the last pooling."""
    pools = [
        place for place, layer in enumerate(model.layers) if isinstance(layer, keras.layers.GlobalAveragePooling2D)
    ]
    return frozenset(layer.name for layer in model.layers[pools[-1] + 1 :])


@pytest.mark.parametrize("family", rest_is_slow(FAMILIES, 2))
def test_the_learner_and_its_parts_compute_what_the_network_computes(family: str) -> None:
    model = build_model(Variant(family, 0.25, 32, classes=6), "random")
    learner, images = make_learner(model, "float32", frozenset()), _images(3)
    expected = np.concatenate([model(image[None]).numpy() for image in images])
    np.testing.assert_allclose(learner(images), expected, atol=1e-5)
    backbone, head = split_at_head(learner, _head(learner))
    np.testing.assert_allclose(head(backbone(images)), expected, atol=1e-5)
    # The parts share the weights, so the head that learns is the learner's.
    assert {id(weight) for weight in head.weights} <= {id(weight) for weight in learner.weights}


@pytest.mark.parametrize("precision", rest_is_slow(["mixed_bfloat16", "mixed_float16"]))
def test_mixed_precision_computes_low_and_keeps_float32_weights(precision: str) -> None:
    model = build_model(Variant("v2", 0.35, 32, classes=6), "random")
    learner = make_learner(model, precision, _head(model))
    backbone, _ = split_at_head(learner, _head(learner))
    assert backbone.output.dtype == precision.removeprefix("mixed_")
    assert learner.output.dtype == "float32"
    assert {weight.dtype for weight in learner.trainable_weights} == {"float32"}
    np.testing.assert_allclose(learner(_images(2)), make_learner(model, "float32", frozenset())(_images(2)), atol=0.1)


def test_unfreezing_from_a_layer_leaves_those_before_and_every_batch_norm() -> None:
    learner = make_learner(build_model(Variant("v2", 0.35, 32, classes=6), "random"), "float32", frozenset())
    unfreeze(learner, "block_13_expand", batch_norm=False, new_layers=frozenset())
    learning = {weight.path.split("/")[0] for weight in learner.trainable_weights}
    assert "block_13_expand" in learning
    assert "predictions" in learning
    assert not {name for name in learning if "BN" in name or name.startswith(("block_12", "Conv1", "bn_"))}
    unfreeze(learner, None, batch_norm=True, new_layers=frozenset())
    assert len(learner.trainable_weights) > 100


def test_an_unknown_layer_is_named_with_the_nearest_one() -> None:
    model = build_model(Variant("v2", 0.35, 32, classes=6), "random")
    check_layer(model, None)
    with pytest.raises(InputError, match=r"unknown layer 'block_13_expnd'; did you mean 'block_13_expand'"):
        check_layer(model, "block_13_expnd")


_TWO_DEVICES = """
import json, sys
import numpy as np
import tensorflow as tf
from pathlib import Path
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from mnedge.models import Variant
from mnedge.models.transfer import transfer_model
from mnedge.training.classify import Labelled, classify
from mnedge.training.learner import make_learner
from mnedge.training.phases import train_in_phases
from mnedge.training.settings import Augmentation, Schedule
rng = np.random.default_rng(0)
labels = np.arange(24) % 2
pixels = np.clip(labels[:, None, None, None] * 120 + rng.integers(0, 100, (24, 32, 32, 3)), 0, 255).astype(np.uint8)
pictures = Labelled(pixels, np.arange(24), labels)
schedule = Schedule(head_epochs=1, epochs=2, batch_size=12, augmentation=Augmentation.of("none"), feature_copies=1,
                    from_layer="conv_pw_13")
result = {}
for name, strategy in (
    ("one", tf.distribute.get_strategy()),
    ("two", tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])),
):
    model, new_layers = transfer_model(Variant("v1", 0.25, 32, classes=2), "random")
    with strategy.scope():
        learner = make_learner(model, "float32", new_layers)
        lesson = classify(pictures, pictures, 2, schedule, lambda *_: None, new_layers)
        courses = train_in_phases(learner, lesson, schedule, from_scratch=False, new_layers=new_layers,
                                  work=Path(sys.argv[1]) / name, progress=lambda *_: None, on_epoch=lambda _: None)
    result[name] = [[epoch.loss for epoch in course.history] for course in courses]
    result[name + " replicas"] = strategy.num_replicas_in_sync
print(json.dumps(result))
"""


@pytest.mark.soak
def test_two_devices_learn_what_one_learns(tmp_path: object) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _TWO_DEVICES, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["one replicas"], found["two replicas"]) == (1, 2)
    for one, two in zip(found["one"], found["two"], strict=True):
        assert len(one) in (1, 2)
        np.testing.assert_allclose(one, two, rtol=2e-2)
