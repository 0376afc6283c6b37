import json

from typer.testing import CliRunner

from mnedge.cli import app


def test_the_sets_are_listed_and_shown() -> None:
    rows = json.loads(CliRunner().invoke(app, ["calibration", "--json"], catch_exceptions=False).stdout)
    assert {row["name"] for row in rows} >= {"demo", "folder", "imagenet-200"}
    assert "demo" in CliRunner().invoke(app, ["calibration"], catch_exceptions=False).stdout
    shown = CliRunner().invoke(app, ["calibration", "folder"], catch_exceptions=False).stdout
    assert "data: photos" in shown
