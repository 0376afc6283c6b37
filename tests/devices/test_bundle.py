"""The Raspberry Pi bundle on an emulated Pi: its own classify.py with the pinned aarch64 wheels."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from PIL import Image

from mnedge.bundles._archive import archive_path
from mnedge.files import sha256
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph
from mnedge.report.write import CHECKSUMS, MANIFEST, REPORTS
from mnedge.results.manifest import FileRow
from mnedge.results.report import Report, VariantRow
from mnedge.results.stored import to_json
from mnedge.workflows.bundle import bundle
from mnedge.workflows.release import Release

pytestmark = pytest.mark.device


def _build(folder: Path, graph: Graph) -> Path:
    """A folder as `build` leaves it, around a small network."""
    from mnedge import cache

    folder.mkdir()
    (folder / "net.int8.tflite").write_bytes(write_tflite(graph))
    (folder / "labels.txt").write_text("ant\nbee\ncat\ndog\n")
    row = {
        "path": "net.int8.tflite", "format": "tflite", "precision": "int8", "io": "int8", "target": "cpu",
        "bytes": 1, "sha256": sha256(folder / "net.int8.tflite"),
    }  # fmt: skip
    manifest = {
        "slug": "net", "recipe": {"resolution": 8}, "tools": cache.tool_versions(), "weights_sha256": None,
        "calibration_sha256": None, "artifacts": [row],
        "labels": asdict(FileRow.of(folder / "labels.txt")),
        "dataset": {"name": "none", "preprocessing": {"crop_fraction": 1.0, "interpolation": "nearest"}},
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(manifest))
    for name in REPORTS:
        report = Report(slug="net", variant=VariantRow(None, None, 8, 4))
        (folder / name).write_text(to_json(report) if name.endswith(".json") else "")
    rows = [asdict(FileRow.of(folder / name)) for name in (MANIFEST, *REPORTS)]
    (folder / CHECKSUMS).write_text(json.dumps({"files": rows}))
    return folder


@pytest.mark.slow
def test_classify_runs_on_the_board(pi, small_int8: Graph, tmp_path: Path) -> None:  # noqa: ANN001 - a fixture's class
    bundle(_build(tmp_path / "build", small_int8), "raspberry-pi", tmp_path / "bundle", Release())
    inside, outside = pi.tmp("bundle")
    subprocess.run(["tar", "-xzf", archive_path(tmp_path / "bundle"), "-C", outside], check=True)
    wheels = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--target", outside / "lib", "--only-binary=:all:",
         "--implementation", "cp", "--python-version", "3.11", "--abi", "cp311", "--abi", "abi3", "--abi", "none",
         "--platform", "manylinux_2_28_aarch64", "--platform", "manylinux_2_27_aarch64",
         "--platform", "manylinux2014_aarch64", "-r", outside / "net-raspberry-pi" / "requirements.txt"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "Could not fetch" in wheels.stderr or "connection" in wheels.stderr.lower():
        pytest.skip("no package index")
    assert wheels.returncode == 0, f"a pin has no wheel for the board: {wheels.stderr}"
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(outside / "photo.png")
    done = subprocess.run(
        ["chroot", pi.root, "/usr/bin/env", f"QEMU_CPU={pi.cpu}", f"PYTHONPATH={inside}/lib", "/usr/bin/python3.11",
         f"{inside}/net-raspberry-pi/classify.py", "--json", "--top", "4", f"{inside}/photo.png"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])["classes"]
    interpreter = Interpreter(
        str(tmp_path / "bundle" / "net.int8.tflite"), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    picture = (pixels.astype(np.int16) - 128).astype(np.int8)[None]
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
    interpreter.invoke()
    due = (interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0].astype(int) + 128) / 256
    assert len(said) == 4
    for entry in said:
        assert entry["label"] == ["ant", "bee", "cat", "dog"][entry["index"]]
        assert entry["score"] == pytest.approx(due[entry["index"]], abs=1.01 / 256)
