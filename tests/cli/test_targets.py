from __future__ import annotations

import json

from typer.testing import CliRunner

from mnedge import registry
from mnedge.cli import app


def test_every_target_has_a_row() -> None:
    done = CliRunner().invoke(app, ["targets"], catch_exceptions=False)
    for name in registry.names("mnedge.targets"):
        assert f" {name} " in f" {' '.join(done.stdout.split())} ", name
    row = next(line for line in done.stdout.splitlines() if line.strip().startswith("cortex-m4"))
    assert row.split()[-2:] == ["640", "2048"]


def test_json_is_the_data_of_the_targets() -> None:
    rows = json.loads(CliRunner().invoke(app, ["targets", "--json"], catch_exceptions=False).stdout)
    assert [row["name"] for row in rows] == registry.names("mnedge.targets")
    board = next(row for row in rows if row["name"] == "cortex-m4")
    assert (board["ram_bytes"], board["kernels"], board["formats"]) == (640 << 10, "dsp", ["tflite", "c"])
