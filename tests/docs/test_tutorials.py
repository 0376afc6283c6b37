"""The tutorials, line by line: every command ends well and prints what its step promises."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from mnedge.cli import _run
from mnedge.devices._boards import BOARDS, missing_tools

if TYPE_CHECKING:
    from collections.abc import Callable

    Hold = Callable[[str, str], None]

_TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"


def _commands(page: str) -> list[list[str]]:
    text = (_TUTORIALS / f"{page}.md").read_text(encoding="utf-8")
    # Code that is to be read, not typed, stands between fences.
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return [shlex.split(line) for line in re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)]


def _follow(
    page: str,
    promised: dict[str, tuple[str, ...]],
    capsys: pytest.CaptureFixture[str],
    shorter: dict[str, tuple[str, ...]] | None = None,
) -> None:
    """Runs the commands of a page; `shorter` has options that are added to a command, as the page says."""
    commands = _commands(page)
    assert {words[1] for words in commands} == set(promised)
    for words in commands:
        assert words[0] == "mnedge"
        _mnedge([*words[1:], *(shorter or {}).get(words[1], ())], promised[words[1]], capsys)


def _mnedge(words: list[str], promised: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    found = [path for word in words for path in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
    assert _run(found) == 0, (words, capsys.readouterr().err)
    printed = capsys.readouterr().out
    for text in promised:
        assert text in printed, (words, text, printed)


def _hold_build(built: Path, hold: Hold) -> None:
    """The files of a build are those of the published schemas."""
    for name in ("report", "manifest", "checksums"):
        hold(f"{name}-1", (built / f"{name}.json").read_text())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where the commands run, with a cache of its own."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MNEDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    return folder


@pytest.mark.slow
@pytest.mark.toolchain
@pytest.mark.skipif(
    None in (shutil.which("arm-none-eabi-gcc"), shutil.which("qemu-system-arm")),
    reason="no arm-none-eabi-gcc or no qemu-system-arm on this machine",
)
def test_firmware(flowers: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(flowers, here, dirs_exist_ok=True)
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
    header = Path("library/cmake/flowers.h").read_text()
    assert all(name in header for name in re.findall(r"FLOWERS_\w+", page))
    assert "flowers" in Path("library/README.md").read_text()


@pytest.mark.slow
def test_browser(
    flowers: Path,
    web_modules: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(flowers, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("MNEDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    Path("web").mkdir()
    Path("web/node_modules").symlink_to(web_modules)
    monkeypatch.setenv("MNEDGE_WEB_MODULES", "web/node_modules")
    _follow(
        "browser",
        {
            "build": ("top-1", "int8.tflite"),
            "validate": ("browser://chromium",),
            "bench": ("browser://chromium", "ms"),
            "bundle": ("index.html", "mnedge.js"),
            "verify": ("files as they were",),
        },
        capsys,
    )
    assert "litert" in " ".join(path.name for path in Path("site").rglob("*"))


@pytest.mark.slow
def test_ci(flowers: Path, here: Path, capsys: pytest.CaptureFixture[str], hold_to_schema: Hold) -> None:
    shutil.copytree(flowers, here, dirs_exist_ok=True)
    text = (_TUTORIALS / "ci.md").read_text(encoding="utf-8")
    recipe = re.search(r"```yaml\n(model:.*?)```", text, re.DOTALL)
    assert recipe is not None
    Path("model.yaml").write_text(recipe[1])
    _follow("ci", {"build": ("pass", "int8.tflite"), "verify": ("files as they were",)}, capsys)
    suite = ET.parse("gates.xml").getroot()  # noqa: S314 - our own file
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("3", "0")
    assert Path("summary.md").read_text().startswith("## ")
    _hold_build(Path("built"), hold_to_schema)
    hold_to_schema("bundle-manifest-1", Path("built/bundles/raspberry-pi/manifest.json").read_text())
    assert "Tells three flowers apart" in Path("built/bundles/raspberry-pi/MODEL_CARD.md").read_text()


@pytest.mark.slow
@pytest.mark.toolchain
@pytest.mark.skipif(bool(missing_tools("esp32-c3")), reason="no gcc or no QEMU for RISC-V on this machine")
def test_esp32(flowers: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(flowers, here, dirs_exist_ok=True)
    _follow(
        "esp32",
        {
            "build": ("arena", "flash", "stack", "esp32-c3"),
            "compile": ("arena", "flash", "instructions"),
            "validate": ("qemu://esp32-c3",),
            "bench": ("instructions an inference",),
            "bundle": ("CMakeLists.txt", "idf_component.yml", "library.properties"),
            "verify": ("files as they were",),
        },
        capsys,
    )
    (source,) = re.findall(r"```c\n(.*?)```", (_TUTORIALS / "esp32.md").read_text(encoding="utf-8"), re.DOTALL)
    Path("main.c").write_text(source)
    board = BOARDS["rv32imc"]
    command = [board.tools.compiler, *board.flags, *board.tools.specs, "-std=c99", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*command, "-Icomponent/cmake", "-c", "main.c"], check=True)


def _draw_parts(root: Path) -> None:
    """Grey pictures with coloured rectangles, and their boxes."""
    rows = ["filename,class,xmin,ymin,xmax,ymax"]
    rng = np.random.default_rng(3)
    for split, count in (("train", 10), ("val", 4)):
        (root / split).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(90, 130, (128, 128, 3)).astype(np.uint8)
            for name, colour, left in (("nut", (230, 60, 40), 6), ("screw", (40, 80, 230), 68)):
                width, height = rng.integers(24, 50, 2)
                x, y = left + int(rng.integers(0, 8)), int(rng.integers(4, 70))
                pixels[y : y + height, x : x + width] = colour
                rows.append(f"{split}/{number:03}.png,{name},{x},{y},{x + width},{y + height}")
            Image.fromarray(pixels).save(root / split / f"{number:03}.png")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.slow
def test_detector(here: Path, capsys: pytest.CaptureFixture[str], hold_to_schema: Hold) -> None:
    _draw_parts(here / "parts")
    _follow(
        "detector",
        {
            "train": ("nut", "screw", "parts.keras"),
            "build": ("mAP", "int8.tflite"),
            "predict": ("000.png", "003.png"),
            "validate": ("mAP", "fp32.tflite", "int8.tflite"),
            "bundle": ("detect.py", "model.json"),
            "verify": ("files as they were",),
        },
        capsys,
        {"train": ("--weights", "random", "--epochs", "1", "--head-epochs", "1", "--batch-size", "5")},
    )
    _hold_build(Path("built"), hold_to_schema)
    assert Path("parts.report.html").is_file()
    assert len(list(Path("marked").rglob("*.png"))) == 4
    assert "detection" in json.loads(Path("parts-pi/model.json").read_text())


def _export(path: Path) -> None:
    """The file that PyTorch would export: NCHW, two convolutions that look at the colours, mean, fully connected."""
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(8)
    first = rng.normal(0, 0.02, (6, 3, 3, 3)).astype(np.float32)
    for colour in range(3):
        first[colour, colour, 1, 1] += 1.0
    depthwise = np.full((6, 1, 3, 3), 1 / 9, np.float32)
    head = rng.normal(0, 0.02, (3, 6)).astype(np.float32)
    head[:, :3] += 3 * np.eye(3, dtype=np.float32)
    weights = {"first": first, "depthwise": depthwise, "head": head, "bias": np.zeros(3, np.float32)}
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["a"], strides=[2, 2], **same),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "depthwise"], ["c"], group=6, **same),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "head", "bias"], ["scores"], transB=1),
    ]
    image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 3, 32, 32])
    scores = helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [1, 3])
    constants = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "main_graph", [image], [scores], constants)
    made = helper.make_model(graph, producer_name="pytorch", opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    onnx.save(made, path)


@pytest.mark.slow
def test_pytorch(photos: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(photos, here / "photos")
    _export(here / "flowers.onnx")
    _follow(
        "pytorch",
        {
            "doctor": ("What it is", "For each target"),
            "build": ("top-1", "int8.tflite", "int8.onnx"),
            "inspect": ("CONV_2D", "DEPTHWISE_CONV_2D"),
            "validate": ("flowers.int8.onnx", "same answers"),
            "predict": ("rose",),
        },
        capsys,
    )
    assert _run(["inspect", "built/flowers.int8.tflite"]) == 0
    assert "TRANSPOSE" not in capsys.readouterr().out


def test_the_export_of_pytorch_is_what_pytorch_does(here: Path) -> None:
    torch = pytest.importorskip("torch")
    (source,) = re.findall(r"```python\n(.*?)```", (_TUTORIALS / "pytorch.md").read_text(encoding="utf-8"), re.DOTALL)
    nn = torch.nn
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    exec(source, {"model": model})  # noqa: S102 - our own page
    assert (here / "flowers.onnx").is_file()
