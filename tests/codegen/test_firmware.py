"""Several models in one firmware: shared kernels, one translation unit, C and C++."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from mnedge.devices import _boards
from mnedge.errors import InputError
from mnedge.formats.tflite_write import write_tflite
from mnedge.results.compilation import Firmware
from mnedge.workflows.compile import compile as compile_model
from tests.slow import rest_is_slow

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.graph.graph import Graph


@pytest.fixture
def models(tmp_path: Path, small_int8: Graph) -> list[Path]:
    paths = [tmp_path / "wake word.tflite", tmp_path / "person.lite"]
    for path in paths:
        path.write_bytes(write_tflite(small_int8))
    return paths


def test_models_of_one_library_share_kernels(tmp_path: Path, models: list[Path]) -> None:
    result = compile_model(models, tmp_path / "out", "cortex-m4")
    assert isinstance(result, Firmware)
    assert [model.name for model in result.models] == ["wake_word", "person"]
    assert result.arena_bytes == max(model.arena_bytes for model in result.models)
    written = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [model["name"] for model in written["models"]] == ["wake_word", "person"]
    if not _boards.missing_tools():
        assert result.flash_bytes is not None
        assert result.code_bytes is not None
        apart = [model.code_bytes for model in result.models]
        assert None not in apart
        assert result.code_bytes < 0.8 * sum(code or 0 for code in apart)


@pytest.mark.skipif(shutil.which("cmake") is None or shutil.which("gcc") is None, reason="no cmake and gcc")
def test_the_library_tests_each_model(tmp_path: Path, models: list[Path]) -> None:
    compile_model(models, tmp_path / "out", "generic", name="firmware")
    for argv in (
        ["cmake", "-S", str(tmp_path / "out"), "-B", str(tmp_path / "b")],
        ["cmake", "--build", str(tmp_path / "b")],
    ):
        subprocess.run(argv, check=True, capture_output=True)
    ran = subprocess.run(["ctest", "--test-dir", tmp_path / "b"], check=True, capture_output=True, text=True)
    assert "tests passed, 0 tests failed out of 2" in ran.stdout


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on this machine")
@pytest.mark.parametrize("target", rest_is_slow(["cortex-m55", "generic", "cortex-m4"]))
def test_the_library_is_c_plus_plus_too(tmp_path: Path, models: list[Path], target: str) -> None:
    compile_model(models, tmp_path / "out", target)
    for standard in ("c++20", "gnu++17"):
        flags = ["-x", "c++", f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
        subprocess.run(["g++", *flags, tmp_path / "out" / "models.c"], check=True)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
def test_kernels_of_another_version_in_one_unit_are_an_error(tmp_path: Path, models: list[Path]) -> None:
    compile_model(models, tmp_path / "out", "generic")
    other = tmp_path / "out" / "person" / "person.c"
    marked = other.read_text().replace("#define MNEDGE_REQUANTIZE 0x", "#define MNEDGE_REQUANTIZE 0x1")
    other.write_text(marked.replace("#elif MNEDGE_REQUANTIZE != 0x", "#elif MNEDGE_REQUANTIZE != 0x1"))
    argv: list[str | Path] = ["gcc", "-fsyntax-only", tmp_path / "out" / "models.c"]
    finished = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert "another version of mnedge made requantize above" in finished.stderr


def test_two_models_of_one_name_are_told_apart_by_nobody(tmp_path: Path, models: list[Path]) -> None:
    (tmp_path / "other").mkdir()
    again = shutil.copy(models[0], tmp_path / "other" / "Wake word.tflite")
    with pytest.raises(InputError, match="rename a file"):
        compile_model([models[0], again], tmp_path / "out", "generic")
    with pytest.raises(InputError, match="rename a file"):
        compile_model(models, tmp_path / "out", "generic", name="person")
    assert not (tmp_path / "out").exists()


def test_what_is_for_one_model_is_refused_for_several(tmp_path: Path, models: list[Path]) -> None:
    with pytest.raises(InputError, match="compile one at a time"):
        compile_model(models, tmp_path / "out", "cortex-m4", form="tflm")
    with pytest.raises(InputError, match="compile one at a time"):
        compile_model([], tmp_path / "out", "cortex-m4")
