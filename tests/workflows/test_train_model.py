"""`train --model`: somebody's own Keras model learns own pictures, and `build MODEL` knows all of the result."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

from mnedge.cli import _run
from mnedge.data import open_dataset
from mnedge.errors import InputError, UnsupportedError
from mnedge.results.training import read_training
from mnedge.sources import open_source
from mnedge.workflows.train import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnedge.results.training import Epoch

layers = keras.layers
_SIZE = (16, 20)
_CLASSES = ("amber", "blue", "cyan")
pytestmark = pytest.mark.usefixtures("private_cache")


def _pictures(root: Path, classes: tuple[str, ...] = _CLASSES) -> str:
    """Pictures that are told by their colour, and of which no two are alike."""
    for split, count in (("train", 12), ("val", 6)):
        for colour, name in enumerate(classes):
            for number in range(count):
                path = root / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise = np.random.default_rng(1000 * count + 100 * colour + number).integers(0, 90, (6, 6, 3))
                noise[..., colour] += 150
                Image.fromarray(noise.astype(np.uint8)).resize((44, 44), Image.Resampling.BICUBIC).save(path)
    return str(root)


def _model(end: Callable[[Any], Any], *, rescale: bool = True) -> keras.Model:
    """A transfer-learning tutorial in small: augmentation, a nested backbone that is frozen, Dropout, a head."""
    keras.utils.set_random_seed(3)
    inside = keras.Input((*_SIZE, 3))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(8, 3, name="conv")(inside))
    backbone = keras.Model(inside, layers.ReLU()(x), name="backbone")
    image = keras.Input((*_SIZE, 3))
    x = layers.RandomFlip()(image)
    x = backbone(layers.Rescaling(1 / 127.5, -1)(x) if rescale else x, training=False)
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, end(x))
    norm = backbone.get_layer("norm")
    norm.set_weights([*norm.get_weights()[:2], np.full(8, 0.1, np.float32), np.full(8, 0.5, np.float32)])
    backbone.trainable = False
    return model


def _softmax(classes: int) -> Callable[[Any], Any]:
    return layers.Dense(classes, activation="softmax", name="scores")


def _saved(model: keras.Model, path: Path) -> Path:
    model.save(path)
    return path


def _train(data: str, out: Path, model: Path, **options: Any) -> list[str]:
    said: list[str] = []
    short = {"head_epochs": 60, "epochs": 3, "learning_rate": 0.01, "augment": "none", **options}
    train(data, out, model=model, notice=said.append, **short)
    return said


def test_a_new_head_learns_other_classes_and_build_knows_the_result(tmp_path: Path) -> None:
    data, out = _pictures(tmp_path / "d"), tmp_path / "mine.keras"
    source = _saved(_model(_softmax(5)), tmp_path / "theirs.keras")
    said = _train(data, out, source)
    assert any("head scores (5 classes) is replaced by a new one of 3 classes (amber, blue, cyan)" in x for x in said)
    report = read_training(tmp_path / "mine.report.json")
    assert report.score >= 0.9
    assert report.account.settings.variant is None
    own = report.account.settings.model
    assert own is not None
    assert (own.is_new_head, own.pixels, own.size, own.classes) == (True, "0..255", _SIZE, 3)
    page = (tmp_path / "mine.report.html").read_text()
    assert "fine-tuned" in page
    assert "the head scores is new" in page
    # Keras alone says the same of the pictures as the report.
    model, dataset = keras.models.load_model(out), open_dataset(data)
    pictures, labels = dataset.pixels(dataset.split("eval"), _SIZE)
    found = model.predict(pictures.astype(np.float32), verbose=0).argmax(-1)
    assert (found == labels).mean() == pytest.approx(report.score)
    # It is the user's own network still: nesting, augmentation and the frozen norm.
    assert {"backbone", "random_flip"} <= {layer.name.rstrip("_0123456789") for layer in model.layers}
    np.testing.assert_array_equal(
        np.asarray(model.get_layer("backbone").get_layer("norm").moving_mean), np.full(8, np.float32(0.1))
    )
    network = open_source(out)
    assert (network.labels, str(network.pixels), network.pixels_origin) == (_CLASSES, "0..255", "metadata")


@pytest.mark.slow
def test_a_head_that_fits_is_kept_and_its_weights_are_the_beginning(tmp_path: Path) -> None:
    data = _pictures(tmp_path / "d")
    _train(data, tmp_path / "once.keras", _saved(_model(_softmax(5)), tmp_path / "theirs.keras"))
    said = _train(data, tmp_path / "twice.keras", tmp_path / "once.keras", head_epochs=1, epochs=1)
    assert any("head scores is kept" in words for words in said)
    report = read_training(tmp_path / "twice.report.json")
    assert report.account.settings.model is not None
    assert not report.account.settings.model.is_new_head
    first = read_training(tmp_path / "once.report.json")
    assert report.score >= first.score


@pytest.mark.slow
def test_other_names_of_as_many_classes_get_a_new_head(tmp_path: Path) -> None:
    names = tmp_path / "labels.txt"
    names.write_text("ash\nbirch\ncedar\n")
    source = _saved(_model(_softmax(3)), tmp_path / "theirs.keras")
    data = _pictures(tmp_path / "d")
    said = _train(data, tmp_path / "new.keras", source, labels=names, head_epochs=1, epochs=0)
    assert any("(ash, birch, cedar) is replaced" in words and "other names" in words for words in said)
    names.write_text("cyan\namber\nblue\n")
    said = _train(data, tmp_path / "kept.keras", source, labels=names, head_epochs=1, epochs=0)
    assert any("is kept" in words for words in said)
    assert open_source(tmp_path / "kept.keras").labels == ("cyan", "amber", "blue")


@pytest.mark.slow
def test_one_output_learns_yes_and_no(tmp_path: Path) -> None:
    source = _saved(_model(layers.Dense(1, activation="sigmoid", name="scores")), tmp_path / "theirs.keras")
    data, out = _pictures(tmp_path / "d"), tmp_path / "mine.keras"
    _train(data, out, source, positive="cyan")
    dataset = open_dataset(data)
    pictures, labels = dataset.pixels(dataset.split("eval"), _SIZE)
    scores = keras.models.load_model(out).predict(pictures.astype(np.float32), verbose=0)
    assert scores.shape[-1] == 1
    # Few pictures and short training: the yes is above the no, wherever 0.5 lies.
    assert scores[labels == 2].mean() > scores[labels != 2].mean() + 0.05


@pytest.mark.slow
def test_a_model_of_keras_2_and_logits_and_a_second_run_that_trains_nothing(tmp_path: Path) -> None:
    source = _saved(_model(layers.Dense(3, name="scores")), tmp_path / "theirs.h5")
    with h5py.File(source, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        text = json.dumps(config)
        # A field that Keras 2 wrote and Keras 3 refuses.
        text = text.replace('"momentum": 0.99', '"virtual_batch_size": null, "momentum": 0.99')
        assert text != json.dumps(config)
        file.attrs["model_config"] = text
    data, out = _pictures(tmp_path / "d"), tmp_path / "mine.keras"
    heard: list[object] = []
    for _ in range(2):
        said = _train(data, out, source, on_epoch=heard.append, force=True)
        assert any("is kept; its 3 classes are taken to be amber, blue, cyan, in this order" in x for x in said)
    # The second time all of it is remembered.
    assert len(heard) == 63
    losses = [epoch.loss for epoch in read_training(tmp_path / "mine.report.json").account.history]
    assert losses[0] is not None
    assert losses[-1] is not None
    assert losses[-1] < losses[0]


def test_what_was_interrupted_goes_on_at_the_epoch_under_way(tmp_path: Path) -> None:
    data, source = _pictures(tmp_path / "d"), _saved(_model(_softmax(3)), tmp_path / "own.keras")
    short = {"head_epochs": 2, "epochs": 2}
    heard: list[tuple[str, int]] = []

    def stop(epoch: Epoch) -> None:
        heard.append((epoch.phase, epoch.number))
        if heard[-1] == ("fine-tune", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _train(data, tmp_path / "tuned.keras", source, on_epoch=stop, **short)
    assert not (tmp_path / "tuned.keras").exists()
    heard.clear()
    _train(data, tmp_path / "tuned.keras", source, on_epoch=stop, **short)
    # Neither the head nor the first epoch is trained again.
    assert heard == [("fine-tune", 2)]
    assert (tmp_path / "tuned.keras").exists()


def test_pixels_are_asked_for_where_nothing_says_them(tmp_path: Path) -> None:
    source = _saved(_model(_softmax(5), rescale=False), tmp_path / "theirs.keras")
    data = _pictures(tmp_path / "d")
    with pytest.raises(InputError, match=r"state it with --pixels: 0\.\.255"):
        _train(data, tmp_path / "mine.keras", source)
    _train(data, tmp_path / "mine.keras", source, pixels="-1..1", head_epochs=1, epochs=0)
    assert str(open_source(tmp_path / "mine.keras").pixels) == "-1..1"


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (layers.Dense(1), "output .* is numbers of shape 1 x 1"),
        (layers.Dense(4, activation="tanh"), "ends in tanh"),
        (lambda x: [_softmax(3)(x), layers.Dense(2)(x)], "has 2 outputs"),
    ],
)
def test_what_is_no_classifier_is_refused_with_the_way_out(
    end: Callable[[Any], Any], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = _saved(_model(end), tmp_path / "theirs.keras")
    data, out = _pictures(tmp_path / "d"), tmp_path / "mine.keras"
    with pytest.raises(UnsupportedError, match=why):
        _train(data, out, source)
    assert _run(["train", "--model", str(source), "--data", data, "--out", str(out)]) == 3
    assert "theirs.keras" in capsys.readouterr().err
    assert not out.exists()
