"""CONTRIBUTING's steps are followed: a file is added where they say, and the product has one more of its kind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import mnedge
from mnedge import devices, recipe
from mnedge.cli import _run
from mnedge.data import calibration, open_dataset
from mnedge.errors import InputError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Add = Callable[[str, str, str], None]

_ROOT = Path(__file__).parents[1]
_PACKAGE = Path(mnedge.__file__).parent
# Where the steps are followed that need more than a file and a look.
_ELSEWHERE = {
    "bundle": "tests/bundles/test__bundle.py",
    "task": "tests/tasks/test_toy_task.py",
    "variant": "tests/models/families/test_families.py",
}


@contextmanager
def _added(package: str, name: str, text: str, folder: Path) -> Iterator[None]:
    """A file of a registry that the package does not have, where the registry looks."""
    registry = import_module(package)
    folder.mkdir(parents=True)
    (folder / f"{name}.py").write_text(text)
    registry.__path__.append(str(folder))
    try:
        yield
    finally:
        registry.__path__.remove(str(folder))
        sys.modules.pop(f"{package}.{name}", None)
        if name in vars(registry):
            delattr(registry, name)


@pytest.fixture
def add(tmp_path: Path) -> Iterator[Add]:
    """Adds files to registries: (package, name, text)."""
    with ExitStack() as stack:
        yield lambda package, name, text: stack.enter_context(_added(package, name, text, tmp_path / package))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the package that a test may change, for what other processes import; its files are links."""
    copy = tmp_path / "tree" / "mnedge"
    for folder, folders, files in os.walk(_PACKAGE):
        folders[:] = [name for name in folders if name != "__pycache__"]
        place = copy / Path(folder).relative_to(_PACKAGE)
        place.mkdir(parents=True)
        for name in files:
            (place / name).symlink_to(Path(folder) / name)
    return copy.parent


def _write(path: Path, text: str) -> None:
    """Replaces a link of the tree by a file of its own."""
    path.unlink(missing_ok=True)
    path.write_text(text)


def _row(tree: Path, file: str, before: str, row: str) -> None:
    """Adds a row to a table of the tree, before another one."""
    path = tree / file
    text = path.read_text()
    assert text.count(f"\n    {before}") == 1, (file, before)
    _write(path, text.replace(f"\n    {before}", f"\n    {row}\n    {before}"))


def _in(tree: Path, script: str, *arguments: str | Path) -> Any:
    """The JSON that a script prints which imports the tree."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert _run([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def _chain(*kinds: str) -> Graph:
    """A float graph of ops of one value each, on four numbers."""
    names = [f"value_{place}" for place in range(len(kinds) + 1)]
    tensors = {name: Tensor(name, (1, 4), "float32") for name in names}
    ops = tuple(Op(kind, (names[place],), (names[place + 1],)) for place, kind in enumerate(kinds))
    return Graph(tensors, ops, (names[0],), (names[-1],))


def test_every_how_to_is_followed_by_a_test() -> None:
    text = (_ROOT / "CONTRIBUTING.md").read_text()
    told = set(re.findall(r"^## How to add an? (.+)$", text, re.MULTILINE))
    here = {
        re.sub("^test_adding_an?_", "", name).replace("_", " ") for name in globals() if name.startswith("test_add")
    }
    assert told == here | set(_ELSEWHERE)
    for file in _ELSEWHERE.values():
        assert (_ROOT / file).is_file(), file
        assert file in text, f"CONTRIBUTING does not name {file}"


_TARGET = """
from mnedge.targets._target import Target

TARGET = Target(description="a board of this test", passes=("drop-negations",), ram_bytes=32 << 10)
"""
_DROP_NEGATIONS = '''
"""Two negations in a row, dropped.

Exact: -(-x) = x.
"""

from mnedge.graph.graph import Graph


def apply(graph: Graph) -> Graph:
    """Drops the second NEG of a pair together with the first one."""
    if [op.kind for op in graph.ops] != ["NEG", "NEG", "ABS"]:
        return graph
    first, _, last = graph.ops
    return graph.replaced(ops=(type(last)("ABS", first.inputs, last.outputs),))
'''


def test_adding_a_target(add: Add, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["compile", "absent.tflite", "--target", "toy-board", "--out", "out"]) == 2
    assert "toy-board" in capsys.readouterr().err
    add("mnedge.targets", "toy_board", _TARGET)
    (row,) = (row for row in _printed(capsys, "targets") if row["name"] == "toy-board")
    assert (row["description"], row["ram_bytes"]) == ("a board of this test", 32 << 10)
    assert recipe.Recipe(targets=("toy-board",)).targets == ("toy-board",)


def test_adding_a_pass(add: Add, tmp_path: Path) -> None:
    from mnedge.runtimes import open_session
    from mnedge.workflows.optimize import optimize

    add("mnedge.targets", "toy_board", _TARGET)
    add("mnedge.passes", "drop_negations", _DROP_NEGATIONS)
    source, out = tmp_path / "in.tflite", tmp_path / "out.tflite"
    source.write_bytes(write_tflite(_chain("NEG", "NEG", "ABS")))
    (change,) = optimize(source, out, target="toy-board").passes
    assert (change.what, dict(change.removed)) == ("Two negations in a row, dropped", {"NEG": 2})
    image = np.array([[-1.5, 0.0, 2.0, -3.0]], np.float32)
    before, after = (open_session("litert", path.read_bytes(), 1).run(image)[0] for path in (source, out))
    np.testing.assert_array_equal(before, after)


_RUNTIME = '''
"""Doubles numbers: a file of the number of values that it takes."""

from pathlib import Path

import numpy as np

from mnedge.runtimes._runtime import Runtime, TensorSpec, timed_ms


class Doubling:
    version = "doubling 1"
    partitions = None
    undelegated = ()
    ops = 1

    def __init__(self, count):
        self.input = TensorSpec("x", (1, count), "float32")
        self.inputs, self.outputs = (self.input,), (TensorSpec("y", (1, count), "float32"),)

    def run(self, *images):
        return [2 * images[0]]

    look = run

    def time_ms(self, *images, runs, seconds=0.0, copies=True):
        return timed_ms(lambda: self.run(*images), runs, seconds)


def _open(path: Path, threads: int) -> Doubling:
    return Doubling(int(Path(path).read_text()))


RUNTIME = Runtime(".double", _open, lambda: Doubling.version)
'''
_RUN = """
import json, sys
from pathlib import Path
import numpy as np
from mnedge import runtimes
path = Path(sys.argv[1])
session = runtimes.get(runtimes.for_file(path)).open(path, 1)
made = session.run(np.arange(3, dtype=np.float32)[None])[0]
print(json.dumps({"version": session.version, "made": made.tolist(), "runs": len(session.time_ms(made, runs=4))}))
"""


def test_adding_a_runtime(tree: Path, tmp_path: Path) -> None:
    (tree / "mnedge" / "runtimes" / "doubling.py").write_text(_RUNTIME)
    (tmp_path / "three.double").write_text("3")
    # The child that loads the model finds the file as well.
    found = _in(tree, _RUN, tmp_path / "three.double")
    assert (found["version"], found["made"]) == ("doubling 1", [[0.0, 2.0, 4.0]])
    assert found["runs"] >= 4


_DEVICE = '''
"""This machine under another name."""

from mnedge.devices.local import LocalDevice


def connect(uri: str) -> LocalDevice:
    """Opens desk://NAME."""
    return LocalDevice(uri, workers=1)
'''


def test_adding_a_device(add: Add, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown device 'desk'"):
        devices.get("desk://mine")
    add("mnedge.devices", "desk", _DEVICE)
    path = tmp_path / "net.tflite"
    path.write_bytes(write_tflite(_chain("NEG")))
    device, image = devices.get("desk://mine"), np.array([[1, 2, 3, 4]], np.float32)
    assert device.name == "desk://mine"
    with device.load(path, "") as model:
        (outputs,) = model.run([image], 1)
    np.testing.assert_array_equal(outputs[0], -image)


_SOURCE = '''
"""A float .tflite behind four letters."""

from pathlib import Path

from mnedge.sources._source import Float, Source
from mnedge.sources.tflite import read_float

_MARK = b"BOX1"


def _read(path: Path, size: tuple[int, int] | None) -> Float:
    return read_float(path.read_bytes().removeprefix(_MARK), str(path), size)


SOURCE = Source("a boxed model", (".box",), lambda path: path.read_bytes()[:4] == _MARK, _read)
'''


def test_adding_a_source(add: Add, tmp_path: Path) -> None:
    from mnedge.sources import open_source

    path = tmp_path / "net.box"
    path.write_bytes(b"BOX1" + write_tflite(_chain("NEG", "ABS")))
    with pytest.raises(InputError, match=r"of another kind"):
        open_source(path)
    add("mnedge.sources", "boxed", _SOURCE)
    assert [op.kind for op in open_source(path).graph.ops] == ["NEG", "ABS"]
    with pytest.raises(InputError, match=r"a boxed model \(\.box\)"):
        open_source(tmp_path / "absent")


_FORMAT = '''
"""Graph to Graphviz."""

from mnedge.graph.graph import Graph


def write_dot(graph: Graph) -> bytes:
    """One line per edge."""
    edges = [f'  "{op.inputs[0]}" -> "{op.outputs[0]}" [label={op.kind}];' for op in graph.ops]
    return "\\n".join(["digraph {", *edges, "}", ""]).encode()
'''


def test_adding_a_format(add: Add) -> None:
    add("mnedge.formats", "dot", _FORMAT)
    write = import_module("mnedge.formats.dot").write_dot
    assert write(_chain("NEG")) == b'digraph {\n  "value_0" -> "value_1" [label=NEG];\n}\n'
    assert write(_chain("NEG", "ABS")) == write(_chain("NEG", "ABS"))


_DATA_FORMAT = '''
"""Classes from a .list of "NAME: CLASS"."""

from mnedge.data.formats._format import Format, Labelled
from mnedge.errors import InputError


def _recognise(listing):
    found = listing.with_suffix(".list")
    return listing.relative(found[0]) if found else ""


def _read(listing):
    path = listing.with_suffix(".list")[0]
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        name, colon, label = line.partition(": ")
        if not colon:
            raise InputError(f"{path} line {number}: {line!r} is not NAME: CLASS")
        rows.append((path.parent / name, label))
    classes = tuple(sorted({label for _, label in rows}))
    return Labelled(listing.root, [(file, classes.index(label), "") for file, label in rows], classes)


FORMAT = Format("list of classes", "a .list of NAME: CLASS", _recognise, classes=_read)
'''


def test_adding_a_data_format(add: Add, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(np.full((8, 8, 3), 60 * number, np.uint8)).save(folder / f"{number}.png")
    (folder / "all.list").write_text("0.png: even\n1.png: odd\n2.png: even\n3.png: odd\n")
    add("mnedge.data.formats", "listed_classes", _DATA_FORMAT)
    dataset = open_dataset(str(folder))
    assert (dataset.classes, dataset.labels.tolist()) == (("even", "odd"), [0, 1, 0, 1])
    (folder / "all.list").write_text("0.png even\n")
    with pytest.raises(InputError, match=r"all\.list line 1: '0\.png even' is not NAME: CLASS"):
        open_dataset(str(folder))


_SIGN = """
import json, sys
from pathlib import Path
import numpy as np
from mnedge.formats.tflite_read import read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor
from mnedge.graph.kernels import KERNELS
from mnedge.runtimes import open_session
tensors = {name: Tensor(name, (1, 4), "float32") for name in ("x", "y")}
path = Path(sys.argv[1])
path.write_bytes(write_tflite(Graph(tensors, (Op("SIGN", ("x",), ("y",)),), ("x",), ("y",))))
made = open_session("litert", path.read_bytes(), 1).run(np.array([[-3, -0.5, 0, 2]], np.float32))[0]
kinds = [op.kind for op in read_tflite(path).ops]
print(json.dumps({"made": made.tolist(), "kinds": kinds, "runs": "SIGN" in KERNELS}))
"""


def test_adding_an_op(tree: Path, tmp_path: Path) -> None:
    _row(tree, "mnedge/graph/ops.py", '"SIN": ', '"SIGN": _unary(),')
    _row(tree, "mnedge/formats/tflite_schema.py", '"SIN": ', '"SIGN": "SignOptions",')
    _row(tree, "mnedge/graph/kernels.py", '"SIN": ', '"SIGN": _elementwise("sign"),')
    found = _in(tree, _SIGN, tmp_path / "sign.tflite")
    assert found == {"made": [[-1.0, -1.0, 0.0, 1.0]], "kinds": ["SIGN"], "runs": True}


_HEAD = '''
"""Two numbers of a picture."""

import keras

from mnedge.models.features import Features
from mnedge.models.heads._head import Head


def _build(features: Features, classes: int, alpha: float) -> dict[str, keras.KerasTensor]:
    pooled = keras.layers.GlobalAveragePooling2D(name="head_pool")(features.last)
    return {"scores": keras.layers.Dense(classes, name="head_scores")(pooled)}


HEAD = Head("pair", (), _build)
'''


def test_adding_a_head(add: Add) -> None:
    from mnedge.models import Variant
    from mnedge.models.build import build_model

    with pytest.raises(InputError, match="pair"):
        Variant("v1", 0.25, 32, 2, head="pair")
    add("mnedge.models.heads", "pair", _HEAD)
    variant = Variant("v1", 0.25, 32, 2, head="pair")
    assert variant.slug == "pair_mobilenet_v1_0.25_32"
    model = build_model(variant, "random", 1)
    assert model.output_shape == (1, 2)
    assert model.layers[-1].name.startswith("head_")


def test_adding_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "toy.yaml").write_text("# A recipe of this test.\nvariant: v2\nalpha: 0.35\nint8: true\n")
    monkeypatch.setattr(recipe, "folder", lambda: tmp_path)
    assert "toy" in json.dumps(_printed(capsys, "recipes"))
    assert recipe.load("toy") == recipe.Recipe(
        variant="v2", alpha=0.35, int8=True, data="demo", weights="demo", calibration=None
    )


def test_adding_a_calibration_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "# 20 digits.\ndata: demo\nsplit: train\nimages: 20\nsource: this test\nlicence: CC0-1.0\n"
    (tmp_path / "few.yaml").write_text(told)
    monkeypatch.setattr(calibration, "folder", lambda: tmp_path)
    assert "few" in json.dumps(_printed(capsys, "calibration"))
    opened = calibration.open_calibration("few")
    assert opened.row() == {"name": "few", "images": 20, "source": "this test", "licence": "CC0-1.0"}
    assert re.fullmatch("[0-9a-f]{64}", opened.sha256)
    # The checksum, written down, holds the pictures to it.
    (tmp_path / "few.yaml").write_text(f"{told}sha256: {'a' * 64}\n")
    with pytest.raises(InputError, match=f"have the checksum {opened.sha256}"):
        calibration.open_calibration("few")


_COMMAND = '''
"""`mnedge double`: twice a number."""

from typing import Annotated

import typer

from mnedge.cli._options import Json
from mnedge.cli._output import print_json

PANEL = "Look"


def command(number: Annotated[int, typer.Argument(help="The number.")], *, as_json: Json = False) -> None:
    """Double a number."""
    print_json({"doubled": 2 * number}) if as_json else typer.echo(2 * number)
'''


def test_adding_a_command(add: Add, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["double", "21"]) == 2
    add("mnedge.cli", "double", _COMMAND)
    assert _printed(capsys, "double", "21") == {"doubled": 42}
    assert _run(["--help"]) == 0
    assert re.search(r"Look:\n(?s:.*)  double +Double a number\.\n", capsys.readouterr().out)
    assert _run(["doubel", "21"]) == 2
    assert "did you mean 'double'?" in capsys.readouterr().err
