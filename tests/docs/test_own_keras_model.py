"""The page "I have a Keras model and an Android app": its commands, line by line, on a small model and its pictures."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from mnedge.cli import _run

_PAGE = (Path(__file__).parents[2] / "docs" / "own_keras_model.md").read_text(encoding="utf-8")
_COMMANDS = [shlex.split(line) for line in re.findall(r"^ {4}(mnedge .+)$", _PAGE, re.MULTILINE)]
_CLASSES = ("daisy", "rose", "tulip")
# What each command prints that the page promises.
_PRINTED = {
    "doctor": ("What it is", "pixels", "For each target", "mnedge build flowers.keras"),
    "build": ("top-1", "flowers, ", "int8.tflite", "report.html"),
    "validate": ("flowers.int8.tflite", "same answers"),
    "inspect": ("CONV_2D", "int8"),
    "bench": ("flowers.fp32.tflite", "ms"),
    "train": ("recall", "precision", "tuned.report.html"),
    "bundle": ("app",),
}


def _model(path: Path) -> None:
    """A tutorial's classifier in small: Rescaling inside, softmax."""
    layers = keras.layers
    keras.utils.set_random_seed(5)
    model = keras.Sequential([
        keras.Input((32, 32, 3)),
        layers.RandomFlip("horizontal"),
        layers.Rescaling(1 / 127.5, offset=-1),
        layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
        layers.DepthwiseConv2D(3, padding="same", activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(len(_CLASSES), activation="softmax"),
    ])  # fmt: skip
    model.save(path)


def _pictures(root: Path) -> None:
    for split, count in (("train", 8), ("val", 5)):
        for colour, name in enumerate(_CLASSES):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                noise = np.random.default_rng(1000 * count + 100 * colour + number).integers(0, 90, (6, 6, 3))
                noise[..., colour] += 150
                picture = Image.fromarray(noise.astype(np.uint8)).resize((40, 40), Image.Resampling.BICUBIC)
                picture.save(root / split / name / f"{number}.png")


def test_the_page_has_ten_commands_at_most_and_says_what_each_prints() -> None:
    assert 5 < len(_COMMANDS) <= 10
    assert {words[1] for words in _COMMANDS} == set(_PRINTED)


@pytest.mark.slow
@pytest.mark.usefixtures("private_cache")
def test_every_command_of_the_page_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    _model(tmp_path / "flowers.keras")
    _pictures(tmp_path / "photos")
    for words in _COMMANDS:
        assert _run(words[1:]) == 0, (words, capsys.readouterr().err)
        printed = capsys.readouterr().out
        for promised in _PRINTED[words[1]]:
            assert promised in printed, (words, promised, printed)
    assert {"flowers.fp32.tflite", "flowers.int8.tflite", "report.html"} <= {
        path.name for path in Path("built").iterdir()
    }
    # The Kotlin itself is compiled where bundles are tested.
    assert list(Path("app").rglob("*.kt"))
    assert list(Path("app").rglob("*.tflite"))
    assert Path("tuned.keras").is_file()
