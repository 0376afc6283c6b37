"""`mnedge sweep` as a user meets it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from mnedge import cli

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.recipe import Recipe


def _run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["sweep", *(str(arg) for arg in args)])
    captured = capsys.readouterr()
    return int(str(ended.value.code)), captured.out, captured.err


@pytest.mark.slow
@pytest.mark.usefixtures("private_cache")
def test_a_grid_is_printed_and_known_the_second_time(
    tmp_path: Path, small_recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.yaml"
    kept = ("variant", "alpha", "resolution", "weights", "data", "int8", "effort")
    path.write_text(yaml.safe_dump({key: small_recipe.as_json()[key] for key in kept}))
    arguments = (path, "--over", "alpha=0.25", "resolution=32", "--out", tmp_path / "out")
    code, out, err = _run(capsys, *arguments, "--json")
    assert code == 0, err
    result = json.loads(out)
    (row,) = result["rows"]
    assert (row["values"], row["images"], row["status"]) == ({"alpha": 0.25, "resolution": 32}, 18, "front")
    assert row["latency_ms"] > 0
    assert result["units"] == {"done": 3, "known": 0}
    code, out, err = _run(capsys, *arguments)
    assert code == 0, err
    assert "0 units of work done, 3 known from before" in out
    assert "alpha=0.25 resolution=32" in out


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("demo", "--over", "alpha"), 2, "give a key and its values"),
        (("demo", "--over", "alpha=0.5", "resolutoin=96"), 2, "did you mean 'resolution'"),
        (("nothing", "--over", "alpha=0.5"), 2, "no recipe file nothing"),
        (("demo", "--over", "alpha=1.0", "--scheduler", "tcp://127.0.0.1:9"), 4, "no Dask scheduler answers"),
        (("demo", "--over", "alpha=1.0", "--scheduler", "elsewhere"), 2, "no address"),
        (("demo", "--over", "resolution=8"), 2, "too small"),
    ],
)
@pytest.mark.usefixtures("private_cache")
def test_bad_input_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: tuple[str, ...], code: int, said: str
) -> None:
    if "tcp://127.0.0.1:9" in args:
        pytest.importorskip("distributed", reason="sweeps on a cluster need mnedge[dask]")
    got, out, err = _run(capsys, *args, "--out", tmp_path / "out")
    assert (got, out) == (code, "")
    assert err.startswith("mnedge: ")
    assert err.count("\n") == 1
    assert said in err
