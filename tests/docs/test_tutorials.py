"""The tutorials, line by line: every command ends well and prints what its step promises."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from mnedge.cli import _run

_TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"


def _commands(page: str) -> list[list[str]]:
    text = (_TUTORIALS / f"{page}.md").read_text(encoding="utf-8")
    return [shlex.split(line) for line in re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)]


def _follow(page: str, promised: dict[str, tuple[str, ...]], capsys: pytest.CaptureFixture[str]) -> None:
    commands = _commands(page)
    assert {words[1] for words in commands} == set(promised)
    for words in commands:
        assert words[0] == "mnedge"
        assert _run(words[1:]) == 0, (words, capsys.readouterr().err)
        printed = capsys.readouterr().out
        for text in promised[words[1]]:
            assert text in printed, (words, text, printed)


@pytest.mark.slow
@pytest.mark.toolchain
@pytest.mark.skipif(
    None in (shutil.which("arm-none-eabi-gcc"), shutil.which("qemu-system-arm")),
    reason="no arm-none-eabi-gcc or no qemu-system-arm on this machine",
)
def test_firmware(
    flowers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(flowers, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("MNEDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    _follow(
        "firmware",
        {
            "doctor": ("multiply-adds", "cortex-m"),
            "build": ("arena", "flash", "top-1"),
            "compile": ("arena", "flash", "stack", "instructions"),
            "validate": ("qemu://cortex-m4",),
            "bench": ("instructions an inference",),
            "bundle": ("library.properties", "CMakeLists.txt"),
            "verify": ("files as they were",),
        },
        capsys,
    )
    page = (_TUTORIALS / "firmware.md").read_text(encoding="utf-8")
    header = Path("firmware/flowers_int8.h").read_text()
    assert all(name in header for name in re.findall(r"FLOWERS_INT8_\w+", page))
    assert "flowers" in Path("library/README.md").read_text()


@pytest.mark.slow
def test_ci(flowers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(flowers, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("MNEDGE_CACHE", str(tmp_path / "cache"))
    text = (_TUTORIALS / "ci.md").read_text(encoding="utf-8")
    recipe = re.search(r"```yaml\n(model:.*?)```", text, re.DOTALL)
    assert recipe is not None
    Path("model.yaml").write_text(recipe[1])
    _follow("ci", {"build": ("pass", "int8.tflite"), "verify": ("files as they were",)}, capsys)
    suite = ET.parse("gates.xml").getroot()  # noqa: S314 - our own file
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("3", "0")
    assert Path("summary.md").read_text().startswith("## ")
    assert "Tells three flowers apart" in Path("built/bundles/raspberry-pi/MODEL_CARD.md").read_text()
