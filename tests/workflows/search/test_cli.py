"""`mnedge search` as a user meets it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from mnedge import cli, recipe

if TYPE_CHECKING:
    from pathlib import Path

_SMALL = ("--target", "generic", "--variant", "v1", "--alpha", "0.25", "--resolution", "32,48", "--classes", "3")


def _run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["search", *(str(arg) for arg in args)])
    captured = capsys.readouterr()
    return int(str(ended.value.code)), captured.out, captured.err


@pytest.mark.slow
@pytest.mark.usefixtures("private_cache")
def test_a_search_prints_and_writes_its_account_and_a_miss_ends_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    code, said, err = _run(capsys, *_SMALL, "--max-arena", "64K", "--out", out)
    assert code == 0, err
    assert "Chosen: v1 0.25 48" in said
    assert f"mnedge build --recipe {out / 'recipe.yaml'}" in said
    assert "compile what may fit: done" in err
    chosen = recipe.load(str(out / "recipe.yaml"))
    assert (chosen.resolution, chosen.weights, chosen.int8) == (48, "random", True)
    assert chosen.gates == {"int8_only": True, "max_arena_kib": 64.0}

    code, said, err = _run(capsys, *_SMALL, "--max-arena", "1K", "--max-size", "1M", "--out", out, "--json")
    result = json.loads(said)
    assert code == 3
    assert result["chosen"] is None
    assert result["nearest"] == "v1 0.25 32"
    assert all(row["broken"][0]["limit"] == "max_arena_bytes" for row in result["rows"])
    assert err.splitlines()[-1].startswith("mnedge: no variant fits. The nearest is v1 0.25 32: arena ")
    # A recipe of an earlier search would no longer be what was asked for.
    assert not (out / "recipe.yaml").exists()
    assert "No variant fits" in (out / "search.html").read_text()


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--target", "cortex-m7", "--max-arena", "256"), 2, "256 of what?"),
        (("--target", "cortex-m7", "--max-flash", "1Mbit"), 2, "1M"),
        (("--target", "cortex-m7", "--max-macs", "10"), 2, "10 of what?"),
        (("--target", "cortex-m8"), 2, "did you mean 'cortex-m"),
        (("--target", "cpu", "--max-arena", "1M"), 3, "--max-size"),
        (("--target", "cpu", "--variant", "v4"), 2, "unknown variant 'v4'"),
        (("--target", "cpu", "--alpha", "0.5;1"), 2, "--alpha 0.5;1"),
        (("--target", "cpu", "--resolution", "8"), 2, "resolution 8 is too small"),
        (("--target", "cpu", "--granularity", "per-row"), 2, "per-tensor"),
        (("--target", "cpu", "--data", "nowhere"), 2, "nowhere"),
        (("--target", "cpu", "--data", "demo", "--classes", "3"), 2, "--classes 3"),
        (("--target", "cpu", "--data", "demo", "--weights", "no.h5"), 2, "no weights file no.h5"),
        (("--target", "ethos-u55-128", "--device", "local"), 3, "drop --device"),
    ],
)
def test_bad_input_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: tuple[str, ...], code: int, said: str
) -> None:
    got, out, err = _run(capsys, *args, "--out", tmp_path / "out")
    assert (got, out) == (code, "")
    assert err.startswith("mnedge: ")
    assert err.count("\n") == 1
    assert said in err
    assert not (tmp_path / "out").exists()


def test_pictures_that_cannot_be_trained_on_are_told_before_anything_is_compiled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    for name in ("one/1.png", "one/2.png", "梨/1.png"):
        (tmp_path / "few" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20)).save(tmp_path / "few" / name)
    code, out, err = _run(capsys, "--target", "cortex-m7", "--data", tmp_path / "few", "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "too few to train on" in err


@pytest.mark.soak
@pytest.mark.usefixtures("private_cache")
def test_a_search_trains_on_the_demo_digits_and_its_recipe_builds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    small = ("--target", "generic", "--variant", "v1", "--alpha", "0.25", "--resolution", "32,48")
    arguments = (
        *small,
        "--data",
        "demo",
        "--weights",
        "random",
        "--train",
        "2",
        "--epochs",
        "2",
        "--out",
        out,
        "--json",
    )
    code, said, err = _run(capsys, *arguments)
    assert code == 0, err
    first = json.loads(said)
    assert [row["epochs"] for row in first["rows"]] == [2, 2]
    assert first["rows"][0]["top1"] == max(row["top1"] for row in first["rows"])
    # Nothing is trained twice.
    code, said, err = _run(capsys, *arguments)
    assert json.loads(said)["rows"] == first["rows"]
    assert yaml.safe_load((out / "recipe.yaml").read_text())["weights"].endswith(".keras")
    with pytest.raises(SystemExit) as ended:
        cli.main(["build", "--recipe", str(out / "recipe.yaml"), "--out", str(tmp_path / "built"), "--json"])
    assert ended.value.code == 0
    report = json.loads(capsys.readouterr().out)
    row = next(row for row in report["accuracy"] if row["artifact"].endswith("fp32.tflite"))
    assert row["top1"] == pytest.approx(first["rows"][0]["top1"], abs=0.01)
