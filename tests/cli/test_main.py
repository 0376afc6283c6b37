"""The command line as a user meets it: exit codes, messages, JSON alone on stdout."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mnedge import registry
from mnedge.cli import _run
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph


def _cli(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mnedge", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_help_needs_neither_tensorflow_nor_numpy() -> None:
    code = (
        "import sys\n"
        "class Refuse:\n"
        " def find_spec(self, name, path=None, target=None):\n"
        "  if name.split('.')[0] in ('tensorflow', 'keras', 'onnx', 'onnxruntime', 'ai_edge_litert', 'sklearn'):\n"
        "   raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from mnedge.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    for words in (["--help"], ["build", "--help"], ["targets", "--json"], ["variants", "--json"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout


@pytest.mark.parametrize("words", [["targets"], ["recipes"], ["cache"], ["variants"], ["cost", "--variant", "v1"]])
def test_json_stands_alone_on_stdout(words: list[str], tmp_path: Path) -> None:
    done = _cli(*words, "--json", MNEDGE_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)


@pytest.mark.parametrize("name", registry.names("mnedge.cli"))
def test_every_command_answers_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run([name, "--help"]) == 0
    assert "Usage: mnedge " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["biuld"], 2, "did you mean 'build'?"),
        (["build", "--varaint", "v1"], 2, "--variant"),
        (["build", "--variant", "v4"], 2, "unknown variant 'v4'"),
        (["build", "--variant", "v1", "--alpha", "-1"], 2, "alpha -1.0 is not a width"),
        (["build", "--resolution", "16"], 2, "resolution 16"),
        (["build", "--weights", "gone.h5"], 2, "no weights file gone.h5"),
        (["build", "--data", "gone"], 2, "gone is neither `demo`, nor a folder"),
        (["build", "--classes", "7"], 2, "10 classes"),
        (["build", "--method", "magic"], 2, "'magic' is not one of 'ptq', 'qat'"),
        (["build", "--target", "cortex-m5"], 2, "did you mean 'cortex-m55'"),
        (["build", "--recipe", "gone"], 2, "no recipe file gone"),
        (["inspect", "gone.tflite"], 2, "gone.tflite"),
        (["validate", "gone.tflite"], 2, "gone.tflite"),
        (["recipes", "dmeo"], 2, "did you mean 'demo'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_message(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNEDGE_CACHE", str(tmp_path / "cache"))
    assert _run(words) == code
    printed = capsys.readouterr()
    assert said in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert not (tmp_path / "artifacts").exists()


def test_a_file_cut_short_says_so(small_int8: Graph, tmp_path: Path) -> None:
    data = write_tflite(small_int8)
    (tmp_path / "cut.tflite").write_bytes(data[: len(data) // 2])
    for words in (["inspect"], ["validate"], ["compile", "--target", "generic", "--out", str(tmp_path / "c")]):
        done = _cli(words[0], str(tmp_path / "cut.tflite"), *words[1:], MNEDGE_CACHE=str(tmp_path / "cache"))
        assert done.returncode == 2, (words, done.stderr)
        assert "Traceback" not in done.stderr
        assert "cut.tflite" in done.stderr
    assert not (tmp_path / "c").exists()


def test_ctrl_c_ends_with_130_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "MNEDGE_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen(
        [sys.executable, "-m", "mnedge", "build", "--variant", "v3-small", "--int8", "--out", str(tmp_path / "out")],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Keras model" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "interrupted" in rest
    assert not (tmp_path / "out").exists()
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith(".")]


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m mnedge variants --json | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"
    assert "Traceback" not in done.stderr
