import json
from pathlib import Path

import pytest

from mnedge.cli import main
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph
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
    monkeypatch.delenv("MNEDGE_WEB_MODULES", raising=False)
    code, out, _ = _run(capsys, "doctor", "--json")
    programs = [part for part in json.loads(out)["parts"] if "install" in part["get"] and "pip" not in part["get"]]
    assert code == 0
    names = "arm-none-eabi-gcc qemu-system-arm gcc ssh adb qemu-aarch64-static chromium @litertjs/core onnxruntime-web"
    assert [part["name"] for part in programs] == names.split()
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


@pytest.fixture
def model(digits_fp32: Graph, tmp_path: Path) -> Path:
    path = tmp_path / "my model.tflite"
    path.write_bytes(write_tflite(digits_fp32))
    return path


@pytest.mark.parametrize("columns", [80, 120])
def test_a_model_is_a_page_that_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model: Path, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, _ = _run(capsys, "doctor", str(model))
    assert code == 0
    page, _, commands = out.partition("\nNext\n")
    words = page.split()
    assert max(len(line) for line in page.splitlines() if str(model.parent)[:20] not in line) <= columns
    assert len(out.splitlines()) < 60
    for word in ("softmax", "-1..1", "network", "cortex-"):
        assert any(word in other for other in words), word
    # Commands are pasted: each stands on one line, with the file in quotes.
    assert commands.splitlines()[0] == f"  mnedge build '{model}' --data PICTURES --int8"


def test_a_model_as_json(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    code, out, _ = _run(capsys, "doctor", "--json", str(model))
    found = json.loads(out)
    assert code == 0
    assert found["pixels"] == "-1..1"
    assert found["outputs"][0]["head"] == "softmax"
    assert {row["target"]: row["verdict"] for row in found["targets"]}["cortex-m4"] == "int8"


def test_options_of_a_model_need_one(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    code, _, err = _run(capsys, "doctor", "--pixels", "0..1")
    assert code == 2
    assert "mnedge doctor MODEL --pixels" in err
    code, _, err = _run(capsys, "doctor", "--gpu", str(model))
    assert code == 2
    assert "--gpu" in err


def test_a_report_holds_what_a_fault_needs_and_no_names(
    capsys: pytest.CaptureFixture[str], private_cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "log.txt").write_text(f"mnedge build {tmp_path}/secret.keras\nrun gcc\n")
    place = tmp_path / "issue.txt"
    code, out, _ = _run(capsys, "doctor", "--report", str(place), "--log", str(tmp_path / "log.txt"))
    text = place.read_text()
    assert code == 0
    assert "read it" in out
    assert str(tmp_path) not in text
    assert str(private_cache) not in text
    assert "secret" not in text
    assert "mnedge build <path" in text
    assert text.endswith("run gcc\n")
    assert "numpy: " in text
    code, _, error = _run(capsys, "doctor", "--log", str(tmp_path / "log.txt"))
    assert code == 2
    assert "give --report" in error
