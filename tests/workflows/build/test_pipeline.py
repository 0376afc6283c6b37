"""A build from end to end: the contract of its folder and of report.json."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from PIL import Image

from mnedge.data.demo import open_demo
from mnedge.errors import InputError
from mnedge.files import RECORD, sha256
from mnedge.recipe import Recipe
from mnedge.results.report import read_report
from mnedge.workflows.build.pipeline import build
from mnedge.workflows.verify import verify

_TINY = Recipe(variant="v1", alpha=0.25, resolution=48, classes=6, weights="random", int8=True, effort="fast")


def _built(recipe: Recipe, out: Path) -> dict[str, Any]:
    told: list[tuple[str, float]] = []
    report = build(recipe, out, lambda stage, share: told.append((stage, share)))
    assert all(0 <= share <= 1 for _, share in told)
    assert read_report(out) == report
    written: dict[str, Any] = json.loads((out / "report.json").read_text())
    return written


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNEDGE_CACHE", str(folder / "cache"))
        return folder / "out", _built(
            Recipe(int8=True, gates={"max_top1_drop": 0.02, "int8_only": True}), folder / "out"
        )


def test_the_demo_build_writes_all_that_is_promised(demo: tuple[Path, dict[str, Any]]) -> None:
    folder, report = demo
    slug = "mobilenet_v3_small_1.0_96"
    assert {path.name for path in folder.iterdir()} == {
        f"{slug}.fp32.tflite", f"{slug}.int8.tflite", f"{slug}.fp32.onnx", f"{slug}.int8.onnx",
        "labels.txt", "manifest.json", "report.json", "report.html", "checksums.json", RECORD,
    }  # fmt: skip
    assert (folder / "labels.txt").read_text().split() == [str(digit) for digit in range(10)]
    assert report["schema"] == 1
    assert report["slug"] == slug
    assert set(report["variant"]) >= {"family", "alpha", "resolution", "classes", "parameters", "macs"}


def test_the_report_keeps_its_contract(demo: tuple[Path, dict[str, Any]]) -> None:
    folder, report = demo
    fields = {
        "artifacts": {"path", "format", "precision", "io", "target", "bytes", "sha256"},
        "accuracy": {"artifact", "runtime", "device", "dataset", "images", "top1", "top5"},
        "latency": {"artifact", "runtime", "device", "threads", "p50_ms", "p90_ms", "runs"},
        "parity": {"reference", "artifact", "images", "top1_agreement", "max_abs_lsb"},
        "int8": {"artifact", "ops", "float_ops", "delegate_partitions"},
        "gates": {"name", "limit", "measured", "passed"},
    }
    for table, names in fields.items():
        assert report[table], table
        for row in report[table]:
            assert names <= set(row), table
    for row in report["artifacts"]:
        assert row["sha256"] == sha256(folder / row["path"])
    assert verify(folder).files == len(list(folder.iterdir())) - 2  # checksums.json, and the record
    assert all(row["images"] == 400 for row in report["accuracy"])
    assert all(row["passed"] for row in report["gates"])
    assert all(row["float_ops"] == 0 for row in report["int8"])
    assert [row["delegate_partitions"] for row in report["int8"]] == [1, None]


def test_the_demo_is_accurate_in_int8(demo: tuple[Path, dict[str, Any]]) -> None:
    _, report = demo
    top1 = {row["artifact"]: row["top1"] for row in report["accuracy"]}
    assert min(top1.values()) > 0.97
    assert max(top1.values()) - min(top1.values()) <= 0.02


def test_int8_means_int8_in_the_file(demo: tuple[Path, dict[str, Any]]) -> None:
    folder, report = demo
    interpreter = Interpreter(
        str(folder / f"{report['slug']}.int8.tflite"), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    assert interpreter.get_input_details()[0]["dtype"] == np.int8
    assert interpreter.get_output_details()[0]["dtype"] == np.int8
    dtypes = {np.dtype(detail["dtype"]).name for detail in interpreter.get_tensor_details()}
    assert dtypes <= {"int8", "int32"}


def test_the_page_stands_alone(demo: tuple[Path, dict[str, Any]]) -> None:
    page = (demo[0] / "report.html").read_text()
    assert "<svg" in page
    assert 'src="http' not in page
    assert 'href="http' not in page


@pytest.mark.usefixtures("private_cache")
def test_random_weights_take_any_classes_and_leave_accuracy_out(tmp_path: Path) -> None:
    report = _built(_TINY, tmp_path / "out")
    assert report["variant"]["classes"] == 6
    assert report["accuracy"] == []
    assert report["parity"]
    assert len((tmp_path / "out" / "labels.txt").read_text().splitlines()) == 6
    for path in (tmp_path / "out").glob("*.onnx"):
        onnx.checker.check_model(str(path))


def test_the_same_recipe_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = []
    for name in ("one", "two"):
        monkeypatch.setenv("MNEDGE_CACHE", str(tmp_path / f"cache-{name}"))
        report = _built(_TINY, tmp_path / name)
        sums.append({row["path"]: row["sha256"] for row in report["artifacts"]})
        sums[-1]["manifest"] = sha256(tmp_path / name / "manifest.json")
    assert sums[0] == sums[1]


@pytest.mark.parametrize(("io", "dtype"), [("uint8", np.uint8), ("float32", np.float32)])
@pytest.mark.usefixtures("private_cache")
def test_the_ends_take_the_dtype_that_is_asked_for(tmp_path: Path, io: Any, dtype: type) -> None:
    report = _built(Recipe(**{**_TINY.as_json(), "io": io}), tmp_path / "out")
    assert [row["io"] for row in report["artifacts"] if row["path"].endswith("int8.tflite")] == [io]
    interpreter = Interpreter(str(tmp_path / "out" / f"{report['slug']}.int8.tflite"))
    assert interpreter.get_input_details()[0]["dtype"] == dtype
    assert interpreter.get_output_details()[0]["dtype"] == dtype
    assert all(row["float_ops"] == 0 for row in report["int8"])


@pytest.mark.usefixtures("private_cache")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        _built(_TINY, tmp_path / "file" / "out")


def test_a_folder_of_others_is_seen_before_the_data_is_opened(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds notes\.txt, which mnedge did not write"):
        _built(replace(_TINY, data=str(tmp_path / "no data")), tmp_path)


class _Cut(BaseException):
    """What ends a build at a moment that a test chooses, as a signal does."""


@pytest.mark.usefixtures("private_cache")
@pytest.mark.parametrize("moment", ["validate", "measure latency"])
def test_a_build_that_is_cut_off_leaves_the_older_one_whole(tmp_path: Path, moment: str) -> None:
    _built(_TINY, tmp_path / "out")
    before = sha256(tmp_path / "out")

    def told(stage: str, _share: float) -> None:
        if stage == moment:
            raise _Cut

    with pytest.raises(_Cut):
        build(replace(_TINY, seed=1), tmp_path / "out", told)
    assert sha256(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["out"]
    _built(replace(_TINY, seed=1, int8=False), tmp_path / "out")
    # No int8 model of the older build beside the float ones of the newer.
    assert not list((tmp_path / "out").glob("*int8*"))


@pytest.mark.usefixtures("private_cache")
def test_accuracy_is_of_the_pictures_that_are_there(tmp_path: Path) -> None:
    """Other pixels under the same names, sizes and times; once the cache knows the first ones."""
    root = tmp_path / "digits"
    dataset = open_demo()
    for number in dataset.split("eval", 60).tolist():
        place = root / str(dataset.labels[number]) / f"{number}.bmp"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(dataset.read(number, 48)).save(place)
    recipe = Recipe(variant="v3-small", resolution=96, data=str(root), effort="fast")
    (root / "dataset.yaml").write_text("crop_fraction: 1.0\ninterpolation: bicubic\n")
    first = _built(recipe, tmp_path / "one")["accuracy"][0]["top1"]
    pictures = sorted(root.rglob("*.bmp"))
    pixels = [place.read_bytes() for place in pictures]
    for place, other in zip(pictures, pixels[len(pixels) // 2 :] + pixels[: len(pixels) // 2], strict=True):
        status = place.stat()
        place.write_bytes(other)
        os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = _built(recipe, tmp_path / "two")["accuracy"][0]["top1"]
    assert first > 0.9
    assert again < 0.5
