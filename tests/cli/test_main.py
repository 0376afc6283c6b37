"""The command line as a user meets it: exit codes, messages, JSON alone on stdout."""

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mnedge import registry
from mnedge.cli import _run
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph
from tests.slow import rest_is_slow

_ROOT = Path(__file__).parents[2]


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
        "  if name.split('.')[0] in sys.argv[1].split():\n"
        "   raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from mnedge.cli import main\n"
        "main(sys.argv[2:])\n"
    )
    heavy = "tensorflow keras onnx onnxruntime ai_edge_litert sklearn"
    for refused, words in (
        (f"{heavy} numpy", ["--help"]),
        (f"{heavy} numpy", ["build", "--help"]),
        (f"{heavy} numpy", ["bundle", "--help"]),
        (heavy, ["targets", "--json"]),
        (heavy, ["variants", "--json"]),
    ):
        argv = [sys.executable, "-c", code, refused, *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
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
        (["build", "--variant", "v1", "--alpha", "-1"], 2, "alpha is -1.0; it is a number above 0"),
        (["build", "--resolution", "16"], 2, "resolution 16"),
        (["build", "--weights", "gone.h5"], 2, "no weights file gone.h5"),
        (["build", "--data", "gone"], 2, "gone does not exist; --data takes a folder"),
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


def test_ctrl_c_that_native_code_makes_an_error_of_is_still_ctrl_c() -> None:
    # As TensorFlow's own flatten does: a TypeError without words and without a cause.
    code = (
        "import os, signal\n"
        "from mnedge import cli\n"
        "def work(words):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n"
        "        pass\n"
        "    raise TypeError\n"
        "cli._invoke = work\n"
        "cli.main(['build'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "mnedge: interrupted\n"


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m mnedge variants --json | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"
    assert "Traceback" not in done.stderr


def _piped(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in which `mnedge` is the program."""
    start = f'mnedge() {{ {shlex.quote(sys.executable)} -m mnedge "$@"; }}; '
    return subprocess.run(
        ["bash", "-c", start + line], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("words", ["inspect small.tflite", "inspect small.tflite --json", "variants", "build --help"])
def test_the_exit_code_is_the_commands_own_whoever_reads(words: str, small_int8: Graph, tmp_path: Path) -> None:
    (tmp_path / "small.tflite").write_bytes(write_tflite(small_int8))
    for reader in ("head -1", "true"):
        done = _piped(f"cd {tmp_path}; mnedge {words} | {reader}; echo ${{PIPESTATUS[0]}}")
        assert done.stdout.splitlines()[-1] == "0", (reader, done.stderr)
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr


def test_a_failure_is_told_where_the_reader_has_left(tmp_path: Path) -> None:
    done = _piped(f"mnedge verify {tmp_path} | true; echo ${{PIPESTATUS[0]}}")
    assert done.stdout.strip() == "2"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_standard_output_is_a_full_disk() -> None:
    for words in ("variants", "--help", "recipes demo", "targets --json"):
        done = _piped(f"mnedge {words} > /dev/full")
        assert done.returncode == 74, (words, done.stderr)
        assert done.stderr == "mnedge: standard output cannot be written: No space left on device\n"
    done = _piped("mnedge inspect gone.tflite > /dev/full 2> /dev/full")
    assert done.returncode == 2


def test_closed_streams_are_like_none(small_int8: Graph, tmp_path: Path) -> None:
    model, out = tmp_path / "small.tflite", tmp_path / "o.tflite"
    model.write_bytes(write_tflite(small_int8))
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        done = _piped(f"mnedge inspect {model} {closed}")
        assert done.returncode == 0, (closed, done.stderr)
        assert "Traceback" not in done.stderr
        # What is printed must not end up in the file that is open instead.
        done = _piped(f"mnedge optimize {model} -o {out} --no-measure --force {closed}")
        assert done.returncode == 0, (closed, done.stderr)
        assert out.read_bytes() == model.read_bytes()


def test_names_that_are_no_text_can_be_printed(small_int8: Graph, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    Path(os.fsdecode(folder + b"/m\xff.tflite")).write_bytes(write_tflite(small_int8))
    done = subprocess.run(
        [sys.executable.encode(), b"-m", b"mnedge", b"optimize", folder + b"/m\xff.tflite", b"-o", folder + b"/o\xfe",
         b"--no-measure"],
        capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"o\\udcfe is" in done.stdout


def test_a_bug_has_its_own_code_and_names_the_file_with_the_traceback(tmp_path: Path) -> None:
    code = (
        "import mnedge.cli.targets as targets, mnedge.cli\n"
        "def command(): raise KeyError('weights')\n"
        "targets.command = command\n"
        "mnedge.cli.main(['targets'])\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 70
    assert "Traceback" not in done.stderr
    (report,) = tmp_path.glob("mnedge-bug-*.txt")
    assert "this is a bug in mnedge, not in what you gave it: KeyError: 'weights'" in done.stderr
    assert f"the traceback is in {report}; report it with that file" in done.stderr
    told = report.read_text()
    for part in ("command: mnedge targets", "versions: mnedge ", "Traceback", "KeyError: 'weights'"):
        assert part in told
    # Where no file can be written either, the traceback is printed.
    environment["TMPDIR"] = "/dev/full"
    report.unlink()
    done = subprocess.run(
        [sys.executable, "-c", f"import tempfile; tempfile.tempdir = '/dev/full'\n{code}"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 70
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "no memory left"),
        (RuntimeError("can't start new thread"), "no memory left"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "no memory left"),
        (OSError(errno.EMFILE, "Too many open files"), "too many files are open; raise the limit, e.g. ulimit -n"),
    ],
)
def test_a_machine_that_gives_no_more_is_no_bug(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        # Libraries make errors of their own of it.
        raise ValueError("it failed") from error

    monkeypatch.setattr("mnedge.cli.targets.command", command)
    assert _run(["targets"]) == 4
    assert told in capsys.readouterr().err


_BUILD = ["build", "--variant", "v3-small", "--int8", "--weights", "random", "--resolution", "96"]


def _terminated(tmp_path: Path, prefix: list[str], line: str) -> subprocess.CompletedProcess[str]:
    """Starts a build, waits for a stage to end, and sends SIGTERM to the process of mnedge itself."""
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "MNEDGE_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path / "tmp")}
    command = [*prefix, sys.executable, "-m", "mnedge", *_BUILD, "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for said in process.stderr:
            if line in said:
                break
        children = psutil.Process(process.pid).children()
        (children[0] if prefix else process).send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    return subprocess.CompletedProcess(command, process.returncode, "", rest)


def _check_terminated(done: subprocess.CompletedProcess[str], tmp_path: Path) -> None:
    assert done.returncode == 143, done.stderr
    assert done.stderr.strip().splitlines()[-1] == "mnedge: ended by SIGTERM"
    assert not (tmp_path / "out").exists()
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith(".")]
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize("line", rest_is_slow(["Keras model", "convert to float"]))
def test_sigterm_ends_with_143_and_leaves_nothing(tmp_path: Path, line: str) -> None:
    _check_terminated(_terminated(tmp_path, [], line), tmp_path)


@pytest.mark.slow
def test_sigterm_ends_process_1_of_a_container_too(tmp_path: Path) -> None:
    prefix = ["unshare", "--pid", "--fork"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no process namespace can be made here")
    _check_terminated(_terminated(tmp_path, prefix, "Keras model"), tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["build", "--variant", "v1", "--out", "file/x"], "file/x cannot be written"),
        (["build", "--variant", "v1", "--markdown", "file"], "file exists, and mnedge did not write it"),
        (["build", "--variant", "v1", "--junit", "file/x.xml"], "file/x.xml cannot be written"),
        (["build", "--variant", "v1", "--int8", "--allow-float", "CONV2D"], "unknown op for --allow-float 'CONV2D'"),
        (["build", "--recipe", "bundles.yaml"], "the bundle microcontroller ships c, which none of the targets cpu is"),
        (["build", "--recipe", "float.yaml"], "the bundle android ships int8 artifacts, and none are built"),
        (["quantize", "small.tflite", "-o", "o.tflite", "--ranges", "minmax"], "'minmax' is not one of 'min-max'"),
        (["quantize", "small.tflite", "-o", "file"], "file exists, and mnedge did not write it"),
        (["optimize", "small.tflite", "-o", "file/o"], "file/o cannot be written"),
        (["compile", "small.tflite", "--target", "generic", "--out", "folder"], "folder holds mine.txt, which mnedge"),
        (["search", "--target", "cortex-m4", "--out", "file/x"], "file/x cannot be written"),
        (["sweep", "demo", "--over", "alpha=0.25", "--out", "file/x"], "file/x cannot be written"),
        (["train", "--data", "demo", "-o", "file/x.keras"], "file/x.keras cannot be written"),
        (["cost", "--compare", "--plot", "file.html"], "file.html exists, and mnedge did not write it"),
    ],
)  # fmt: skip
def test_what_will_fail_fails_before_tensorflow_is_loaded(
    words: list[str], said: str, small_int8: Graph, tmp_path: Path
) -> None:
    (tmp_path / "small.tflite").write_bytes(write_tflite(small_int8))
    for name in ("file", "file.html"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("mine")
    (tmp_path / "bundles.yaml").write_text("int8: true\nbundles: [microcontroller]\n")
    (tmp_path / "float.yaml").write_text("bundles: [android]\n")
    code = (
        "import sys; from mnedge.cli import _run\n"
        "code = _run(sys.argv[1:])\n"
        "sys.exit(100 if {'tensorflow', 'keras'} & sys.modules.keys() else code)"
    )
    environment = {**os.environ, "MNEDGE_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert said in " ".join(done.stderr.split())
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "mine.txt").read_text() == "mine"


def test_a_log_keeps_what_was_run_with_times(tmp_path: Path, small_int8: Graph) -> None:
    model = tmp_path / "net.tflite"
    model.write_bytes(write_tflite(small_int8))
    log = tmp_path / "log.txt"
    done = _cli("bench", str(model), "--seconds", "0.1", MNEDGE_LOG=str(log), MNEDGE_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    lines = log.read_text().splitlines()
    assert f"mnedge bench {model} --seconds 0.1" in lines[0]
    assert any(" run " in line for line in lines)
    assert any(line.endswith(" s") and ": done in " in line for line in lines)
    assert all(line[:4].isdecimal() or line.startswith("  ") for line in lines)
    # Nothing more than without it stands in the terminal.
    assert " run " not in done.stderr
    done = _cli("targets", MNEDGE_LOG=str(tmp_path / "none" / "log.txt"))
    assert done.returncode == 2
    assert "name another file" in done.stderr
    (tmp_path / "labels.csv").write_text("filename,class\n")
    done = _cli("targets", MNEDGE_LOG=str(tmp_path / "labels.csv"))
    assert done.returncode == 2
    assert "holds something else than a log of mnedge" in done.stderr
    assert (tmp_path / "labels.csv").read_text() == "filename,class\n"
    assert _cli("targets", MNEDGE_LOG=str(log)).returncode == 0
    assert len(log.read_text().splitlines()) > len(lines)


def test_verbose_tells_each_stage_once(tmp_path: Path, small_int8: Graph) -> None:
    model = tmp_path / "net.tflite"
    model.write_bytes(write_tflite(small_int8))
    done = _cli("-v", "bench", str(model), "--seconds", "0.1", MNEDGE_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    stages = [line for line in done.stderr.splitlines() if ": done in " in line]
    assert stages
    assert len(stages) == len(set(stages))
