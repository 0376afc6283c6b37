"""The Raspberry Pi bundle, run as it ships: classify.py as a program of its own, in an environment without mnedge."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from mnedge.bundles._archive import archive_path
from mnedge.data.preprocess import Preprocessing, read_pixels
from mnedge.errors import InputError
from mnedge.workflows.bundle import bundle
from mnedge.workflows.release import Release
from mnedge.workflows.verify import verify

_SLUG = "mobilenet_v1_0.25_48"


@pytest.fixture(scope="module")
def pi(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pi") / "bundle"
    bundle(built, "raspberry-pi", out, Release())
    return out


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    chance = np.random.default_rng(5)
    Image.fromarray(chance.integers(0, 256, (90, 70, 3), np.uint8)).save(folder / "a.png")
    Image.fromarray(chance.integers(0, 256, (60, 80, 4), np.uint8)).save(folder / "deep" / "b.png")
    turned = Image.fromarray(chance.integers(0, 256, (40, 80, 3), np.uint8))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "c.jpg", exif=exif)
    (folder / "notes.txt").write_text("no picture")
    return folder


def _classify(pi: Path, *arguments: object, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environment["PATH"] = path
    # -P would need 3.11; -I keeps PYTHONPATH and the current folder out as well.
    return subprocess.run(
        [sys.executable, "-I", pi / "classify.py", *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment, timeout=120,
    )  # fmt: skip


def _rows(done: subprocess.CompletedProcess[str]) -> list[dict]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_it_says_what_mnedge_measured(pi: Path, photos: Path) -> None:
    about = json.loads((pi / "model.json").read_text())
    preprocessing = Preprocessing(about["crop_fraction"], about["interpolation"])
    interpreter = Interpreter(str(pi / f"{_SLUG}.int8.tflite"))
    interpreter.allocate_tensors()
    rows = _rows(_classify(pi, "--json", "--top", 10, photos))
    assert [Path(row["picture"]).name for row in rows] == ["a.png", "c.jpg", "b.png"]
    for row in rows:
        pixels = read_pixels(Path(row["picture"]), 48, preprocessing)
        interpreter.set_tensor(
            interpreter.get_input_details()[0]["index"], (pixels.astype(np.int16) - 128).astype(np.int8)[None]
        )
        interpreter.invoke()
        scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
        assert [entry["index"] for entry in row["classes"]] == np.argsort(-scores.astype(int), kind="stable").tolist()
        for entry in row["classes"]:
            assert entry["score"] == pytest.approx((int(scores[entry["index"]]) + 128) / 256, abs=1e-6)
            assert entry["label"] == str(entry["index"])


def test_the_onnx_model_agrees(pi: Path, photos: Path) -> None:
    tflite, onnx = (
        _rows(_classify(pi, "--json", "--top", 10, *model, photos / "a.png"))[0]["classes"]
        for model in ((), ("--model", pi / f"{_SLUG}.int8.onnx"))
    )
    scores = [sorted((entry["index"], entry["score"]) for entry in rows) for rows in (tflite, onnx)]
    np.testing.assert_allclose(scores[0], scores[1], atol=1.01 / 256)


def test_a_broken_picture_is_said_and_the_rest_done(pi: Path, photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    done = _classify(pi, photos)
    assert done.returncode == 1
    assert "broken.jpg" in done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_the_camera_is_the_boards_own_program(pi: Path, photos: Path, tmp_path: Path) -> None:
    camera = tmp_path / "bin" / "rpicam-still"
    camera.parent.mkdir()
    camera.write_text(f"#!/bin/sh\ncat {photos / 'c.jpg'}\n")
    camera.chmod(0o755)
    shown = _rows(_classify(pi, "--json", "--camera", path=f"{camera.parent}:/usr/bin:/bin"))
    filed = _rows(_classify(pi, "--json", photos / "c.jpg"))
    assert shown[0]["classes"] == filed[0]["classes"]
    camera.write_text("#!/bin/sh\necho 'no cameras available' >&2; exit 255\n")
    done = _classify(pi, "--camera", path=f"{camera.parent}:/usr/bin:/bin")
    assert done.returncode != 0
    assert "no cameras available" in done.stderr
    assert "rpicam-apps" in _classify(pi, "--camera", path=str(tmp_path)).stderr


@pytest.mark.parametrize("arguments", [[], ["a.jpg", "--camera"]])
def test_pictures_or_the_camera(pi: Path, arguments: list[str]) -> None:
    assert _classify(pi, *arguments).returncode == 2


def test_a_stream_says_how_many_a_second(pi: Path, photos: Path, tmp_path: Path) -> None:
    camera = tmp_path / "bin" / "rpicam-vid"
    camera.parent.mkdir()
    with Image.open(photos / "c.jpg") as picture:
        picture.save(tmp_path / "frame.jpg")
    camera.write_text(f"#!/bin/sh\nwhile cat {tmp_path / 'frame.jpg'}; do sleep 0.02; done\n")
    camera.chmod(0o755)
    path = f"{camera.parent}:/usr/bin:/bin"
    done = _classify(pi, "--camera", "csi", "--stream", "--count", 5, "--json", path=path)
    rows = _rows(done)
    assert len(rows) == 5
    assert "fps" not in rows[0]
    # Pictures come every 20 ms or later, but the second may have waited for the first.
    assert all(row["fps"] > 0 for row in rows[1:])
    assert rows[-1]["fps"] < 4 / (3 * 0.02)
    assert "5 pictures in " in done.stderr
    assert " a second" in done.stderr.splitlines()[-1]
    said = _classify(pi, "--camera", "csi", "--stream", "--count", 2, path=path).stdout.splitlines()
    assert said[1].endswith(" a second)")


def test_a_stream_ends_in_order_when_it_is_stopped(pi: Path, photos: Path, tmp_path: Path) -> None:
    camera = tmp_path / "bin" / "rpicam-vid"
    camera.parent.mkdir()
    camera.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\ncat {photos / 'c.jpg'}\nexec sleep 60\n")
    camera.chmod(0o755)
    environment = {**os.environ, "PATH": f"{camera.parent}:/usr/bin:/bin"}
    with subprocess.Popen(
        [sys.executable, "-I", pi / "classify.py", "--camera", "--stream"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        assert running.stdout.readline()
        running.terminate()
        said = running.communicate(timeout=30)[1]
    assert running.returncode == 143
    assert "Traceback" not in said
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--threads", "0"], "--threads: '0' is no whole number from 1 to 256"),
        (["--threads", "x"], "'x' is no whole number"),
        (["--top", "-1"], "--top: '-1' is no whole number"),
        (["--every", "nan"], "--every: 'nan' is no number"),
        (["--every", "3"], "--every and --stream are of the camera"),
        (["--model", "none.tflite"], f"there is no model none.tflite; this folder has {_SLUG}.int8.tflite"),
        (["--model", "."], "there is no model"),
        (["--model", "labels.txt"], "model.json does not say what a picture is to labels.txt"),
        (["--count", "0"], "--count: '0'"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_a_mistake_is_told_in_one_line(pi: Path, photos: Path, arguments: list[str], words: str) -> None:
    done = _classify(pi, *arguments, photos / "a.png")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("classify.py: ")
    assert words in done.stderr


def _without(folder: Path, name: str, text: str | None = None) -> None:
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("labels.txt", None, "labels.txt cannot be read ("),
        ("labels.txt", "cat\ndog\n", "labels.txt has 2 lines, and the model tells 10 classes apart"),
        ("model.json", None, "model.json cannot be read ("),
        ("model.json", "{", "model.json cannot be read ("),
        ("model.json", "[]", "model.json cannot be read ("),
        (f"{_SLUG}.int8.tflite", "no model", f"{_SLUG}.int8.tflite cannot be opened: "),
        (f"{_SLUG}.int8.onnx", "no model", f"{_SLUG}.int8.onnx cannot be opened: "),
    ],
)
def test_a_damaged_folder_is_told_in_one_line(
    pi: Path, photos: Path, tmp_path: Path, name: str, text: str | None, words: str
) -> None:
    folder = Path(shutil.copytree(pi, tmp_path / "damaged"))
    _without(folder, name, text)
    done = _classify(folder, *(["--model", name] if name.endswith("onnx") else []), photos / "a.png")
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if words in line] == done.stderr.splitlines()[-1:]
    assert "Traceback" not in done.stderr


def test_a_wrong_limit_of_pixels_is_told(pi: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNEDGE_MAX_PIXELS", "many")
    done = _classify(pi, photos)
    assert done.returncode == 2
    # Above it stands LiteRT's own word.
    assert "MNEDGE_MAX_PIXELS is 'many'" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_it_needs_no_mnedge_and_nothing_that_is_not_pinned(pi: Path) -> None:
    pins = dict(line.split("==") for line in (pi / "requirements.txt").read_text().splitlines())
    assert set(pins) == {"ai-edge-litert", "numpy", "pillow"}
    assert all(pins.values())
    programs = [path for path in pi.iterdir() if path.suffix == ".py"]
    shared = {"program.py", "models.py", "pictures.py", "cameras.py", "video4linux.py"}
    assert {path.name for path in programs} == {"classify.py", *shared}
    assert not [path for path in programs if "import mnedge" in path.read_text() or "from mnedge" in path.read_text()]
    assert json.loads((pi / "model.json").read_text())["program"] == "classify.py"


def test_the_archive_is_the_folder(pi: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xzf", archive_path(pi), "-C", tmp_path], check=True)
    unpacked = tmp_path / f"{_SLUG}-raspberry-pi"
    found = [replace(verify(path), path="") for path in (unpacked, pi, archive_path(pi))]
    assert found[0] == found[1] == found[2]
    assert os.access(unpacked / "classify.py", os.X_OK)
    assert os.access(unpacked / "install.sh", os.X_OK)


@pytest.fixture
def release(pi: Path, tmp_path: Path) -> Path:
    """A bundle whose environment needs no packages: those are the index's, and the script is tested."""
    copy = Path(shutil.copytree(pi, tmp_path / "release 1"))
    (copy / "requirements.txt").write_text("")
    return copy


def _environment(place: Path) -> None:
    """Makes an environment without pip, as making a whole one takes seconds; no packages are asked for."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / "venv"], check=True)


def _install(
    release: Path, *arguments: Path | str, within: tuple[str | Path, ...] = ()
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*within, "sh", release / "install.sh", *arguments], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done


def _files(folder: Path) -> set[str]:
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in files if path.parts[0] != "venv"}


def test_install_takes_the_files_of_the_manifest(release: Path, tmp_path: Path) -> None:
    # What people have beside it, such as the README's own environment, stays there.
    _environment(release)
    (release / "__pycache__").mkdir()
    (release / "notes.txt").write_text("mine")
    place = tmp_path / "opt" / "model"
    _environment(place)
    _install(release, place)
    due = {row["path"] for row in json.loads((release / "manifest.json").read_text())["files"]}
    assert _files(place) == due | {"manifest.json"}
    assert all((place / name).read_bytes() == (release / name).read_bytes() for name in due)
    assert os.access(place / "classify.py", os.X_OK)
    assert not (place / "labels.txt").stat().st_mode & 0o133
    told = subprocess.run([place / "venv/bin/python", "-c", "import sys; print(sys.prefix)"], check=True,
                          capture_output=True, text=True)  # fmt: skip
    assert told.stdout.strip() == str(place / "venv")


def test_the_next_release_replaces_the_last(release: Path, tmp_path: Path) -> None:
    place = tmp_path / "opt"
    _environment(place)
    _install(release, place)
    _install(release, place)
    later = Path(shutil.copytree(release, tmp_path / "release 2"))
    manifest = json.loads((later / "manifest.json").read_text())
    gone = next(row["path"] for row in manifest["files"] if row["path"].endswith(".onnx"))
    manifest["files"] = [row for row in manifest["files"] if row["path"] != gone]
    (later / "manifest.json").write_text(json.dumps(manifest))
    (later / gone).unlink()
    (later / "labels.txt").write_text("new\n")
    (place / "mine.txt").write_text("of the user")
    shutil.rmtree(release)
    _install(later, place)
    assert (place / "labels.txt").read_text() == "new\n"
    assert not (place / gone).exists()
    assert (place / "mine.txt").exists()
    subprocess.run([place / "venv/bin/python", "-c", ""], check=True)


@pytest.mark.slow
def test_install_runs_from_its_own_target(release: Path, tmp_path: Path) -> None:
    place = tmp_path / "opt"
    _environment(place)
    _install(release, place)
    before = _files(place)
    # As after an upgrade of the system: the Python of the environment has gone.
    for path in (place / "venv/bin").glob("python*"):
        path.unlink()
    (place / "venv/bin/python").symlink_to("/usr/bin/python2.0")
    _install(place, place)
    assert _files(place) == before
    subprocess.run([place / "venv/bin/python", "-m", "pip", "--version"], check=True, capture_output=True)


def test_install_says_what_is_missing(release: Path, tmp_path: Path) -> None:
    (release / "labels.txt").unlink()
    _environment(tmp_path / "opt")
    done = subprocess.run(["sh", release / "install.sh", tmp_path / "opt"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{release} lacks labels.txt; unpack the bundle again" in done.stderr
    assert not (tmp_path / "opt" / "classify.py").exists()


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
@pytest.mark.parametrize(("enabled", "verb"), [("0", "restart"), ("1", "try-restart")])
def test_the_service_is_started_anew(release: Path, tmp_path: Path, enabled: str, verb: str) -> None:
    # Mounts of its own, in which /opt, the units and systemd's mark are a test's; systemctl writes down its orders.
    for name in ("opt", "units", "run", "bin"):
        (tmp_path / name).mkdir()
    (tmp_path / "run" / "systemd" / "system").mkdir(parents=True)
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/orders\n[ "$1" != is-enabled ] || exit {enabled}\n'
    )  # fmt: skip
    systemctl.chmod(0o755)
    mounts = f"mount --bind {tmp_path}/opt /opt; mount --bind {tmp_path}/units /etc/systemd/system; "
    mounts += f'mount --bind {tmp_path}/run /run; PATH={tmp_path}/bin:$PATH exec "$@"'
    within: tuple[str | Path, ...] = ("unshare", "--mount", "sh", "-ec", mounts, "-")
    _environment(tmp_path / "opt" / _SLUG)
    for _ in range(2):
        _install(release, within=within)
    assert (tmp_path / "units" / f"{_SLUG}.service").read_text() == (release / f"{_SLUG}.service").read_text()
    orders = (tmp_path / "orders").read_text().splitlines()
    assert orders == ["daemon-reload", f"is-enabled --quiet {_SLUG}", f"{verb} {_SLUG}"] * 2
    assert (tmp_path / "opt" / _SLUG / "classify.py").exists()


def test_verify_passes_over_what_python_makes(pi: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pi, tmp_path / "used"))
    _environment(folder)
    subprocess.run([sys.executable, "-m", "compileall", "-q", folder / "classify.py"], check=True)
    found = verify(folder)
    assert found.passed_over == ("__pycache__/", "venv/")
    assert found.files == verify(pi).files
    # What is no compiled file there, or a folder without the mark of an environment, is not Python's.
    (folder / "__pycache__" / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"__pycache__/notes\.txt does not belong"):
        verify(folder)
    (folder / "__pycache__" / "notes.txt").unlink()
    (folder / "venv" / "pyvenv.cfg").unlink()
    with pytest.raises(InputError, match=r"venv/bin/.* does not belong to it"):
        verify(folder)


def test_verify_lists_some_of_many_faults(pi: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pi, tmp_path / "used"))
    (folder / "more").mkdir()
    for number in range(5000):
        (folder / "more" / f"{number:04}").touch()
    with pytest.raises(InputError) as told:
        verify(folder)
    assert str(told.value).endswith("more/0009 does not belong to it; and 4,990 more; make it again")


def test_the_unit_is_systemds(pi: Path) -> None:
    unit = pi / f"{_SLUG}.service"
    text = unit.read_text()
    assert f"ExecStart=/opt/{_SLUG}/venv/bin/python /opt/{_SLUG}/classify.py --camera --every 10 --json" in text
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    # The program itself is not installed here, which is the one thing it may say.
    assert not [line for line in done.stderr.splitlines() if _SLUG in line and "is not executable" not in line]
