import json
from pathlib import Path

import pytest

from mnedge.cli import main
from mnedge.workflows import doctor as diagnosis


def _run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(list(args))
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def test_json_names_every_part(capsys: pytest.CaptureFixture[str], private_cache: Path) -> None:
    code, out, _ = _run(capsys, "doctor", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["ok"]
    parts = {part["name"]: part for part in found["parts"]}
    assert parts["numpy"]["version"]
    assert all(part["gives"] and part["get"] for part in parts.values())
    assert str(private_cache) in found["machine"]["cache"]
    assert found["gpus"] is None


def test_missing_programs_are_shown_with_their_command_and_are_no_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, _ = _run(capsys, "doctor", "--json")
    programs = [part for part in json.loads(out)["parts"] if "install" in part["get"] and "pip" not in part["get"]]
    assert code == 0
    assert len(programs) == 6
    assert {part["version"] for part in programs} == {None}
    _, table, _ = _run(capsys, "doctor")
    assert "qemu-system-arm" in table
    assert "install" in table


def test_a_missing_package_that_build_needs_is_exit_4(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = (*diagnosis._NEEDED, (("no-such-distribution",), "nothing"))
    monkeypatch.setattr(diagnosis, "_NEEDED", needed)
    code, out, err = _run(capsys, "doctor", "--json")
    assert code == 4
    assert json.loads(out)["ok"] is False
    assert err == "mnedge: no-such-distribution missing, which build needs; pip install no-such-distribution\n"
