"""Kills at random moments: no half-written file, nothing of others touched, and the same command again ends right.

`pytest --fuzz 5000 tests/workflows/test_kills.py` kills 50 times, builds among them; without it, a few fast commands.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.files import RECORD, is_scratch, sha256
from mnedge.formats.tflite_write import write_tflite
from mnedge.report.write import CHECKSUMS, REPORTS
from mnedge.results.manifest import Checksums, FileRow
from mnedge.results.report import Report, VariantRow
from mnedge.results.stored import as_json, to_json
from mnedge.workflows.verify import verify

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mnedge.graph.graph import Graph

# Measured times differ from run to run, and what holds their checksums with them.
_MEASURED = (*REPORTS, CHECKSUMS, RECORD)
_BUILDS_FROM = 1000
_PATIENCE_S = 300


@dataclass(frozen=True)
class _Command:
    """A command, and what it writes.

    Attributes:
        name: What failures call it.
        arguments: Of mnedge; IN is the folder of the inputs, OUT that of the outputs.
        outputs: What it writes there.
        is_verified: Whether the first output is verified as a build or bundle.
    """

    name: str
    arguments: tuple[str, ...]
    outputs: tuple[str, ...]
    is_verified: bool = False


_FAST = (
    _Command("optimize", ("optimize", "IN/net.tflite", "-o", "OUT/net.tflite"), ("net.tflite",)),
    _Command("compile", ("compile", "IN/net.tflite", "--target", "generic", "--out", "OUT/c"), ("c",)),
    _Command(
        "bundle", ("bundle", "raspberry-pi", "IN/build", "--out", "OUT/pi"), ("pi", "pi.tar.gz"), is_verified=True
    ),
)
_ONTO = ("--int8", "--target", "generic", "--out", "OUT/b")
_RANDOM = ("--variant", "v1", "--alpha", "0.25", "--resolution", "32", "--classes", "10", "--weights", "random")
_SLOW = (
    _Command("build", ("build", "IN/digits.tflite", "--data", "demo", *_ONTO), ("b",), is_verified=True),
    _Command("build of a variant", ("build", *_RANDOM, *_ONTO), ("b",), is_verified=True),
)


def _build(folder: Path, model: bytes) -> None:
    """A build around a model, as `build` leaves it; written by hand, since a real one takes a minute."""
    folder.mkdir()
    (folder / "net.int8.tflite").write_bytes(model)
    (folder / "labels.txt").write_text("ant\nbee\ncat\ndog\n")
    row = {
        "path": "net.int8.tflite", "format": "tflite", "precision": "int8", "io": "int8", "target": "cpu",
        "bytes": len(model), "sha256": sha256(folder / "net.int8.tflite"),
    }  # fmt: skip
    manifest = {
        "schema": 1, "slug": "net", "recipe": {"resolution": 8}, "tools": {}, "weights_sha256": None,
        "calibration_sha256": "0", "artifacts": [row], "labels": as_json(FileRow.of(folder / "labels.txt")),
        "dataset": {"name": "demo", "preprocessing": {"crop_fraction": 1.0, "interpolation": "bicubic"}},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    report = to_json(Report(slug="net", variant=VariantRow(None, None, 8, 4)))
    for name in REPORTS:
        (folder / name).write_text(report if name.endswith(".json") else name)
    rows = tuple(FileRow.of(folder / name) for name in ("manifest.json", *REPORTS))
    (folder / CHECKSUMS).write_text(to_json(Checksums(rows)))


def _other(graph: Graph) -> Graph:
    """The network with other weights, of which the older outputs are."""
    weights = graph.tensors["weights"]
    assert weights.data is not None
    return graph.replaced(tensors=[replace(weights, data=np.negative(weights.data))])


@dataclass(frozen=True)
class _Place:
    """Folders of one kill: inputs, outputs beside what is the user's, cache and scratch."""

    root: Path

    @property
    def out(self) -> Path:
        return self.root / "out"

    def start(self, command: _Command, inputs: Path) -> subprocess.Popen[bytes]:
        for name in ("tmp", "cache"):
            (self.root / name).mkdir(exist_ok=True)
        words = [word.replace("IN/", f"{inputs}/").replace("OUT/", f"{self.out}/") for word in command.arguments]
        environment = {**os.environ, "MNEDGE_CACHE": str(self.root / "cache"), "TMPDIR": str(self.root / "tmp")}
        # A session of its own, by which its children are found.
        with (self.root / "log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "mnedge", *words], stdout=log, stderr=log, env=environment,
                start_new_session=True,
            )  # fmt: skip

    def run(self, command: _Command, inputs: Path) -> float:
        """Runs a command to its good end; gives its seconds."""
        began = time.monotonic()
        process = self.start(command, inputs)
        assert process.wait(_PATIENCE_S) == 0, (self.root / "log").read_text(errors="replace")
        return time.monotonic() - began

    def sums(self, command: _Command) -> dict[str, str]:
        """Checksums of all outputs, without what is measured."""
        files: dict[str, str] = {}
        for output in command.outputs:
            place = self.out / output
            for file in sorted(place.rglob("*")) if place.is_dir() else [place] if place.exists() else []:
                if file.is_file() and file.name not in _MEASURED:
                    files[file.relative_to(self.out).as_posix()] = sha256(file)
        return files


def _users_files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """What a user has beside the outputs, under names that mnedge's own resemble; their times and contents."""
    folder.mkdir(parents=True)
    for name in (
        "notes.txt",
        ".net.tflite.swp",
        ".c.mnedge-tmp-mine",
        "pi.tar.gz.bak",
        "b.old/photo.png",
        "src/main.c",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"of the user: {name}")
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip


def _session(leader: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names alone
        try:
            with open(f"/proc/{entry}/stat") as stream:  # noqa: PTH123 - it may be gone the next moment
                _, _, rest = stream.read().rpartition(") ")
        except OSError:
            continue
        state, _, _, session = rest.split()[:4]
        if int(session) == leader and state != "Z":
            found.append(int(entry))
    return found


@dataclass(frozen=True)
class _Reference:
    """What a command writes when nobody kills it.

    Attributes:
        seconds: How long it takes, with an empty cache and with a full one.
        old: Checksums of what the older inputs give.
        new: Checksums of what the inputs give.
        place: Where they were made.
    """

    seconds: tuple[float, float]
    old: dict[str, str]
    new: dict[str, str]
    place: _Place


def _reference(root: Path, command: _Command, old: Path, new: Path) -> _Reference:
    first = _Place(root / "first")
    first.out.mkdir(parents=True)
    first.run(command, old)
    sums = first.sums(command)
    again = _Place(root / "reference")
    again.out.mkdir(parents=True)
    cold = again.run(command, new)
    made = again.sums(command)
    warm = again.run(command, new)
    assert again.sums(command) == made
    return _Reference((cold, warm), sums, made, first)


def _kill(place: _Place, command: _Command, inputs: Path, chance: random.Random, seconds: float) -> tuple[int, int]:
    """Starts a command and kills it; gives the signal and the exit code, negative for a signal."""
    process = place.start(command, inputs)
    number = chance.choice((signal.SIGKILL, signal.SIGTERM))
    # Closer to the end, where things are put in their places.
    time.sleep(0.9 * seconds * (1 - chance.random() ** 1.5))
    process.send_signal(number)
    code = process.wait(60)
    patience = time.monotonic() + 30
    while (left := _session(process.pid)) and time.monotonic() < patience:
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"{command.name}: {len(left)} children outlived it"
    return number, code


def _check_whole(place: _Place, command: _Command, reference: _Reference) -> None:
    """Makes sure that each output is the old one, the new one, or not there."""
    found = place.sums(command)
    for output in command.outputs:
        here, old, new = (_of(sums, output) for sums in (found, reference.old, reference.new))
        assert here in ({}, old, new), f"{command.name}: {output} is neither the old nor the new one: {here}"
        if here and command.is_verified and output == command.outputs[0]:
            verify(place.out / output)


def _of(sums: Mapping[str, str], output: str) -> dict[str, str]:
    return {name: value for name, value in sums.items() if name == output or name.startswith(f"{output}/")}


@pytest.mark.slow
def test_kills(tmp_path: Path, small_int8: Graph, digits_fp32: Graph, request: pytest.FixtureRequest) -> None:
    fuzz = request.config.getoption("--fuzz")
    commands = (*_FAST, *_SLOW) if fuzz >= _BUILDS_FROM else _FAST
    inputs = {}
    for name, graph in (("new", small_int8), ("old", _other(small_int8))):
        inputs[name] = tmp_path / name
        inputs[name].mkdir()
        (inputs[name] / "net.tflite").write_bytes(write_tflite(graph))
        (inputs[name] / "digits.tflite").write_bytes(write_tflite(digits_fp32))
        _build(inputs[name] / "build", write_tflite(graph))
    references: dict[str, _Reference] = {}
    for seed in range(max(fuzz // 100, 3)):
        chance = random.Random(seed)  # noqa: S311 - moments, not secrets
        command = commands[seed % len(commands)]
        if command.name not in references:
            references[command.name] = _reference(
                tmp_path / command.name.replace(" ", "-"), command, inputs["old"], inputs["new"]
            )
        reference = references[command.name]
        place = _Place(tmp_path / "killed")
        users = _users_files(place.out)
        # Over an older output and with its cache, or over nothing and with none.
        is_warm = chance.random() < 0.5
        if is_warm:
            shutil.copytree(reference.place.root / "cache", place.root / "cache", dirs_exist_ok=True)
            shutil.copytree(reference.place.out, place.out, dirs_exist_ok=True)
        number, code = _kill(place, command, inputs["new"], chance, reference.seconds[is_warm])
        log = (place.root / "log").read_text(errors="replace")
        assert code in (0, -number) or (number == signal.SIGTERM and code == 143), f"{command.name}: {code}, {log}"
        _check_whole(place, command, reference)
        scratch = [path for path in place.root.rglob("*") if is_scratch(path.name)]
        if number == signal.SIGTERM:
            assert not [path for path in scratch if place.root / "cache" not in path.parents], command.name
            assert not list((place.root / "tmp").iterdir()), f"{command.name}: {list((place.root / 'tmp').iterdir())}"
        strangers = {path.name for path in place.out.iterdir() if not is_scratch(path.name)} - {
            *command.outputs,
            RECORD,
        }
        assert strangers == {name.partition("/")[0] for name in users}, command.name
        place.run(command, inputs["new"])
        assert place.sums(command) == reference.new, f"{command.name}: another result than without the kill"
        if command.is_verified:
            verify(place.out / command.outputs[0])
        kept = {
            name: ((place.out / name).stat().st_mtime_ns, (place.out / name).read_bytes()) for name in users
        }  # fmt: skip
        assert kept == users, command.name
        said = f"{command.name}, {'warm' if is_warm else 'cold'}, {signal.Signals(number).name}: {code}"
        print(said, flush=True)  # noqa: T201 - shown with -s
        shutil.rmtree(place.root)
