"""A build as `build` leaves it, written by hand around the small network, for what reads builds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnedge.files import sha256
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph
from mnedge.report.write import CHECKSUMS, REPORTS
from mnedge.results.diagnosis import Diagnosis, Outlook
from mnedge.results.manifest import Checksums, FileRow
from mnedge.results.report import GateRow, Report, VariantRow
from mnedge.results.stored import as_json, to_json


def _seal(folder: Path, manifest: dict[str, Any] | None = None, gates: tuple[GateRow, ...] = ()) -> None:
    """Writes the manifest and the reports of a build, and the record of these, for the files as they are."""
    whole = manifest or json.loads((folder / "manifest.json").read_text())
    whole["labels"] = as_json(FileRow.of(folder / "labels.txt"))
    for row in whole["artifacts"]:
        row["sha256"] = sha256(folder / row["path"])
    (folder / "manifest.json").write_text(json.dumps(whole))
    report = Report(slug=whole["slug"], variant=VariantRow(None, None, 8, 4), gates=gates)
    for name in REPORTS:
        (folder / name).write_text(to_json(report) if name.endswith(".json") else f"the {name} of 1.5 ms")
    rows = tuple(FileRow.of(folder / name) for name in ("manifest.json", *REPORTS))
    (folder / CHECKSUMS).write_text(to_json(Checksums(rows)))


@pytest.fixture
def seal_build() -> Callable[..., None]:
    """Writes the manifest and reports of a build for the files as they are; see `_seal`."""
    return _seal


@pytest.fixture
def small_build(tmp_path: Path, small_int8: Graph) -> Path:
    """A folder as `build` leaves it, around the small network; written by hand, so that these tests take no build."""
    folder = tmp_path / "build"
    folder.mkdir()
    (folder / "net.int8.tflite").write_bytes(write_tflite(small_int8))
    (folder / "labels.txt").write_text("ant\nbee\ncat\ndog\n")
    row = {
        "path": "net.int8.tflite", "format": "tflite", "precision": "int8", "io": "int8", "target": "cpu",
        "bytes": 1, "sha256": sha256(folder / "net.int8.tflite"),
    }  # fmt: skip
    manifest = {
        "schema": 1, "slug": "net", "recipe": {"resolution": 8}, "tools": {"ai-edge-litert": "2.3.0"},
        "weights_sha256": None, "calibration_sha256": "0",
        "dataset": {"name": "demo", "preprocessing": {"crop_fraction": 1.0, "interpolation": "bicubic"}},
        "artifacts": [row],
    }  # fmt: skip
    _seal(folder, manifest)
    return folder


@pytest.fixture
def written() -> Callable[..., Path]:
    """Writes a graph as a .tflite into a folder; the default name has a space, as users' files do."""

    def write(graph: Graph, folder: Path, name: str = "my model.tflite") -> Path:
        path = folder / name
        path.write_bytes(write_tflite(graph))
        return path

    return write


@pytest.fixture
def outlook() -> Callable[[Diagnosis, str], Outlook]:
    """The row of one target in a diagnosis."""
    return lambda found, target: next(row for row in found.targets if row.target == target)
