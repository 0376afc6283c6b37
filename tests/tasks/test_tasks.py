"""Every task that learns from pictures goes the whole way: trained, built to int8, validated by the command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from mnedge import tasks
from mnedge.cli import _run
from mnedge.models import Variant, heads
from mnedge.models.build import build_model
from mnedge.models.transfer import save_trained

if TYPE_CHECKING:
    from pathlib import Path

_SIDE = 64


def _disc(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A bright red or blue disc on noise, and its mask: 1 for red, 2 for blue."""
    rows, columns = np.mgrid[:80, :80]
    centre, radius = generator.uniform(25, 55, 2), generator.uniform(14, 22)
    inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
    kind = int(generator.integers(1, 3))
    pixels = generator.integers(0, 90, (80, 80, 3))
    pixels[inside, 0 if kind == 1 else 2] += 150
    return pixels.astype(np.uint8), (inside * kind).astype(np.uint8)


def _masks(root: Path) -> Path:
    generator = np.random.default_rng(0)
    rows = ["filename,split"]
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(40):
        pixels, mask = _disc(generator)
        Image.fromarray(pixels).save(root / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
        rows.append(f"{number}.png,{'val' if number % 4 == 0 else 'train'}")
    (root / "split.csv").write_text("\n".join(rows) + "\n")
    (root / "classes.txt").write_text("background\nred\nblue\n")
    return root


def _folders(root: Path) -> Path:
    generator = np.random.default_rng(1)
    for number in range(40):
        pixels, mask = _disc(generator)
        folder = root / ("val" if number % 4 == 0 else "train") / ("red" if mask.max() == 1 else "blue")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def _tags(root: Path) -> Path:
    """Pictures of noise with a red disc, a blue one, both or none."""
    generator = np.random.default_rng(3)
    for split, count in (("train", 36), ("valid", 12)):
        (root / split).mkdir(parents=True)
        rows = ["filename,red,blue"]
        for number in range(count):
            pixels = generator.integers(0, 90, (80, 80, 3)).astype(np.uint8)
            for place in (0, 2):
                if number & (1 + place // 2):
                    disc = _disc(generator)[1] > 0
                    pixels[disc, place] += 150
            Image.fromarray(pixels).save(root / split / f"{number}.png")
            rows.append(f"{number}.png,{number & 1},{number >> 1 & 1}")
        (root / split / "_classes.csv").write_text("\n".join(rows) + "\n")
    return root


def _boxes(root: Path) -> Path:
    generator = np.random.default_rng(2)
    rows = ["filename,split,class,x1,y1,x2,y2"]
    root.mkdir()
    for number in range(40):
        pixels, mask = _disc(generator)
        Image.fromarray(pixels).save(root / f"{number}.png")
        down, across = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        split, name = "val" if number % 4 == 0 else "train", "red" if mask.max() == 1 else "blue"
        rows.append(f"{number}.png,{split},{name},{across[0]},{down[0]},{across[-1] + 1},{down[-1] + 1}")
    Image.fromarray(generator.integers(0, 90, (80, 80, 3)).astype(np.uint8)).save(root / "nothing.png")
    (root / "labels.csv").write_text("\n".join([*rows, "nothing.png,train,,,,,"]) + "\n")
    return root


# The data, what to train for a minute at most, the least that it has to reach (chance is far below), and what int8 may
# change: ten boxes are few for a mean of precisions.
_CASES = {
    # So fast that scores leave the first step of int8's 256 in so few epochs.
    "detect": (
        _boxes,
        ["--head-epochs", "3", "--epochs", "18", "--batch-size", "6", "--learning-rate", "0.02"],
        0.1,
        0.3,
    ),
    "segment": (_masks, ["--head-epochs", "6", "--epochs", "12", "--batch-size", "6"], 0.45, 0.15),
    "tag": (_tags, ["--head-epochs", "10", "--epochs", "8"], 0.7, 0.15),
    "embed": (_folders, ["--head-epochs", "4", "--epochs", "2", "--dimensions", "16"], 0.8, 0.15),
}


_FINDINGS = {
    "detect": ["1 pictures have no boxes; they count as background"],
    "tag": ["12 pictures have no label; they count as a no to each"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(_CASES))
@pytest.mark.usefixtures("private_cache")
def test_a_task_goes_the_whole_way(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> Any:
        capsys.readouterr()
        assert _run([*arguments, "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    make, settings, least, drift = _CASES[name]
    data, weights = str(make(tmp_path / "data")), str(tmp_path / "my.keras")
    body = tmp_path / "body.weights.h5"
    build_model(Variant("v1", 0.25, _SIDE, classes=5), "random", seed=3).save_weights(body)
    network = ["--task", name, "--variant", "v1", "--alpha", "0.25", "--resolution", str(_SIDE), "--data", data]
    report = run("train", *network, "--weights", str(body), "--out", weights, "--learning-rate", "0.003", *settings)
    metric = tasks.get(name).metric
    assert (report["task"], report["metric"]) == (name, metric)
    assert report[metric] >= least
    page = (tmp_path / "my.report.html").read_text()
    assert page.count("data:image/jpeg") >= len(report["worst"][:5])
    assert page.count('alt="augmented training picture') == 18
    found = [f"{len(row['where'])} {row['what']}" for row in report["findings"]["annotations"]]
    assert found == _FINDINGS.get(name, [])
    assert all(words in page for words in found)

    out = tmp_path / "out"
    built = run("build", *network, "--weights", weights, "--int8", "--out", str(out))
    slug = f"{heads.get(tasks.get(name).heads[0]).slug}_mobilenet_v1_0.25_{_SIDE}"
    assert built["slug"] == slug
    assert built["variant"]["parameters"] > 0
    scored = {row["artifact"]: row[metric] for row in built["accuracy"]}
    # What was trained is what was built, and int8 keeps it.
    assert scored[f"{slug}.fp32.tflite"] == pytest.approx(report[metric], abs=0.02)
    assert scored[f"{slug}.int8.tflite"] == pytest.approx(scored[f"{slug}.fp32.tflite"], abs=drift)
    assert scored[f"{slug}.int8.onnx"] == pytest.approx(scored[f"{slug}.int8.tflite"], abs=drift)
    int8 = {row["artifact"]: row for row in built["int8"]}[f"{slug}.int8.tflite"]
    assert (int8["float_ops"], int8["delegate_partitions"]) == (0, 1)
    assert (out / "report.html").stat().st_size > 10_000
    assert all(words in (out / "report.html").read_text() for words in found)

    again = run("validate", str(out / f"{slug}.int8.tflite"), "--task", name, "--data", data)
    assert again["accuracy"][0][metric] == pytest.approx(scored[f"{slug}.int8.tflite"])


@pytest.mark.usefixtures("private_cache")
def test_weights_of_another_task_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, data, masks = tmp_path / "c.keras", str(_folders(tmp_path / "data")), str(_masks(tmp_path / "masks"))
    variant = Variant("v1", 0.25, 32, classes=3, head="lr-aspp")
    description = {"task": "segment", "head": "lr-aspp", "output_stride": 16, "classes": ["a", "b", "c"], "outputs": 3}
    save_trained(build_model(variant, "random"), weights, description)
    base = ["build", "--variant", "v1", "--alpha", "0.25", "--resolution", "32", "--weights", str(weights)]
    for more, message in (
        (["--data", data], "were trained to segment, asked for is classify; give --task segment"),
        (["--task", "segment", "--head", "deeplab", "--data", masks], "have the head lr-aspp, asked for is deeplab"),
        (["--task", "segment", "--data", data], "holds no masks; they come as"),
        (["--task", "segment", "--data", masks], "class 0 is 'background' in"),
        (
            ["--task", "segment", "--weights", "demo", "--data", masks],
            "a classifier's and know nothing of --task segment",
        ),
        (["--task", "paint"], "unknown task 'paint'"),
    ):
        assert _run([*base, *more]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
