from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import mnedge
from mnedge.cli import _run
from mnedge.formats.tflite_write import write_tflite
from mnedge.results.stored import as_json

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.graph.graph import Graph


@pytest.fixture
def model(tmp_path: Path, digits_fp32: Graph) -> str:
    path = tmp_path / "digits.tflite"
    path.write_bytes(write_tflite(digits_fp32))
    return str(path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    return folder


def test_a_line_a_picture(model: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = tmp_path / "names.txt"
    names.write_text("".join(f"digit {index}\n" for index in range(10)))
    options = ["--crop", "0.875", "--labels", str(names), "--top", "2"]
    assert _run(["predict", model, str(pictures), *options]) == 0
    told = capsys.readouterr()
    found = mnedge.predict(model, [pictures], crop=0.875, labels=names, top=2)
    assert told.out.splitlines() == [f"{row.picture}: {row.answer.said}" for row in found.pictures]
    assert len(told.out.splitlines()) == 3
    assert "digits.tflite on local: done" in told.err
    assert found.pictures[0].answer.said in found._repr_html_()


def test_json_is_the_noun_alone(model: str, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["predict", model, str(pictures), "--crop", "0.875", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == as_json(mnedge.predict(model, [pictures], crop=0.875))
    assert {len(row["classes"]) for row in printed["pictures"]} == {3}
    assert "objects" not in printed["pictures"][0]


def test_a_broken_picture_is_named_and_ends_with_1(
    model: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "1.png").write_bytes(b"nothing")
    assert _run(["predict", model, str(pictures), "--crop", "0.875"]) == 1
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 2
    assert "1.png is broken or not a picture" in told.err


def test_names_that_a_terminal_obeys_are_escaped(
    model: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "0.png").rename(pictures / "0\x1b[2J\n.png")
    assert _run(["predict", model, str(pictures), "--crop", "0.875"]) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert len(told.splitlines()) == 3


def test_what_is_not_known_is_asked_for(model: str, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["predict", model, str(pictures)]) == 2
    assert "state it with --crop" in capsys.readouterr().err
    assert _run(["predict", model, str(pictures), "--crop", "1", "--task", "guess"]) == 2
    assert "unknown task 'guess'" in capsys.readouterr().err
    assert _run(["predict", model, str(pictures), "--crop", "1", "--task", "segment"]) == 2
    assert "no map of classes" in capsys.readouterr().err
    assert _run(["predict", model, str(pictures), "--crop", "1", "--runtime", "onnxruntime"]) == 2
    assert "refuses" in capsys.readouterr().err
