"""The same bytes every time, and nothing half done: builds that are killed, doubled, starved of disk, lied to."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mnedge import cache
from mnedge.files import RECORD, sha256
from mnedge.workflows.verify import verify

_ROOT = Path(__file__).parent.parent
_RECIPE = """
variant: v1
alpha: 0.25
resolution: 48
weights: random
int8: true
effort: fast
calibration: few.yaml
targets: [cpu, android, cortex-m4]
bundles: [android, raspberry-pi, microcontroller]
"""
# What differs from run to run, because it was measured.
_MEASURED = ("report.json", "report.html", "checksums.json")


def _start(place: Path, *, limit: str = "", **variables: str) -> subprocess.Popen[str]:
    """Starts a build in a folder of its own: place/out, place/cache."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "tiny.yaml").write_text(_RECIPE)
    (place / "few.yaml").write_text("data: demo\nimages: 8\n")
    command = [sys.executable, "-m", "mnedge", "build", "--recipe", "tiny.yaml", "--out", "out", "--json"]
    if limit:
        command = ["bash", "-c", f'{limit}; exec "$@"', "bash", *command]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "MNEDGE_CACHE": str(place / "cache"), **variables}
    return subprocess.Popen(
        command, cwd=place, env=environment, start_new_session=True, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def _build(place: Path, **variables: str) -> str:
    process = _start(place, **variables)
    _, said = process.communicate()
    assert process.returncode == 0, said
    return said


def _sums(out: Path) -> dict[str, str]:
    """Checksum of every file that a user sees and that was not measured."""
    return {
        path.relative_to(out).as_posix(): sha256(path)
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in _MEASURED and not _is_hidden(path, out)
    }


def _is_hidden(path: Path, out: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(out).parts)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed build."""
    place = tmp_path_factory.mktemp("whole")
    _build(place)
    return place


@pytest.fixture(scope="module")
def due(whole: Path) -> dict[str, str]:
    return _sums(whole / "out")


@pytest.mark.slow
def test_another_folder_time_zone_and_number_of_threads_give_the_same_bytes(
    whole: Path, due: dict[str, str], tmp_path: Path
) -> None:
    _build(
        tmp_path / "elsewhere" / "deep", OMP_NUM_THREADS="1", TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1",
        PYTHONHASHSEED="77", TZ="Asia/Kathmandu", LC_ALL="C",
    )  # fmt: skip
    assert _sums(tmp_path / "elsewhere" / "deep" / "out") == due
    kinds = {path.split("/")[1] for path in due if path.startswith("bundles/")}
    assert kinds == {"android", "raspberry-pi", "raspberry-pi.tar.gz", "microcontroller"}
    for path in due:
        for place in (whole, _ROOT, Path.home()):
            assert str(place).encode() not in (whole / "out" / path).read_bytes(), path


@pytest.mark.slow
def test_float_ops_are_not_counted_where_this_machine_cannot_tell(whole: Path) -> None:
    import platform

    report = json.loads((whole / "out" / "report.json").read_text())
    of_arm = platform.machine() in ("aarch64", "arm64")
    targets = {row["path"]: (row["format"], row["target"]) for row in report["artifacts"]}
    for row in report["int8"]:
        form, target = targets[row["artifact"]]
        is_foreign = form == "onnx" and (target == "android") != of_arm
        assert row["float_ops"] == (None if is_foreign else 0)


def _check_nothing_is_half_done(place: Path, due: dict[str, str]) -> None:
    if (place / "out").is_dir():
        for name, checksum in _sums(place / "out").items():
            # The folder is the old one, the new one, or none.
            assert due.get(name) == checksum, f"{name} is not whole"
        # The reports are those of these models, and the bundles are whole too.
        verify(place / "out")
    for entry in _entries(place):
        assert cache._is_whole(entry), f"{entry.name} is not whole"


def _entries(place: Path) -> list[Path]:
    return [path for path in (place / "cache").glob("*") if not path.name.startswith(".")]


def _kill_at_random_moments(place: Path, due: dict[str, str], kills: int, seed: int, span_s: float) -> None:
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    done = 0
    while done < kills:
        before = {entry: entry.stat().st_ino for entry in _entries(place)}
        process = _start(place)
        time.sleep(chance.uniform(0.2, span_s))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            done += 1
        process.communicate()
        _check_nothing_is_half_done(place, due)
        # What was finished stays and is used: the same folder, not one made again.
        assert before.items() <= {entry: entry.stat().st_ino for entry in _entries(place)}.items()
        if process.returncode == 0:
            shutil.rmtree(place)
    _build(place)
    assert _sums(place / "out") == due


@pytest.fixture(scope="module")
def span_s(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long a build takes here and now, in seconds."""
    started = time.monotonic()
    _build(tmp_path_factory.mktemp("span"), MNEDGE_CACHE=str(whole / "cache"))
    return 2 * (time.monotonic() - started)


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path, due: dict[str, str], span_s: float) -> None:
    _kill_at_random_moments(tmp_path / "a", due, kills=4, seed=time.time_ns(), span_s=span_s)


@pytest.mark.soak
def test_killed_at_30_random_moments(tmp_path: Path, due: dict[str, str], span_s: float) -> None:
    _kill_at_random_moments(tmp_path / "a", due, kills=30, seed=time.time_ns(), span_s=span_s)


@pytest.mark.slow
def test_two_builds_at_once_in_one_folder(tmp_path: Path, due: dict[str, str]) -> None:
    both = [_start(tmp_path / "a") for _ in range(2)]
    for process in both:
        _, said = process.communicate()
        assert process.returncode == 0, said
    assert _sums(tmp_path / "a" / "out") == due
    assert not list((tmp_path / "a" / "cache").glob(".*"))
    assert {path.name for path in (tmp_path / "a" / "out").rglob(".*")} == {RECORD}


@pytest.mark.slow
def test_a_corrupted_entry_is_found_and_made_again(whole: Path, due: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(whole / "cache", tmp_path / "a" / "cache")
    chance = random.Random(1)  # noqa: S311 - bytes to flip
    for entry in _entries(tmp_path / "a"):
        # Without its record an entry is nobody's, and stays as it is: tests/test_cache.py.
        path = chance.choice(sorted(path for path in entry.rglob("*") if path.is_file() and path.name != cache._ENTRY))
        data = bytearray(path.read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
    assert "does not fit its checksum; making it again" in _build(tmp_path / "a")
    assert _sums(tmp_path / "a" / "out") == due
    _check_nothing_is_half_done(tmp_path / "a", due)


@pytest.mark.slow
def test_a_file_that_may_not_grow(whole: Path, due: dict[str, str], tmp_path: Path) -> None:
    place = tmp_path / "a"
    shutil.copytree(whole / "cache", place / "cache")
    process = _start(place, limit="ulimit -f 100")
    _, said = process.communicate()
    assert process.returncode == 74, said
    assert "cannot be written: File too large" in said
    assert "Traceback" not in said
    _check_nothing_is_half_done(place, due)
    assert not [path for path in place.rglob(".*") if path.name != RECORD]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("full", ["cache", "out"])
def test_a_full_disk_and_then_room_again(
    whole: Path, due: dict[str, str], small_disk: Path, tmp_path: Path, full: str
) -> None:
    variables: dict[str, str] = {}
    if full == "out":
        shutil.copytree(whole / "cache", tmp_path / "cache")
        variables["MNEDGE_CACHE"] = str(tmp_path / "cache")
    process = _start(small_disk, **variables)
    _, said = process.communicate()
    assert process.returncode == 74, said
    assert "cannot be written: No space left on device" in said
    assert ("MNEDGE_CACHE" in said) == (full == "cache")
    assert "Traceback" not in said
    _check_nothing_is_half_done(small_disk, due)
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    _build(small_disk, **variables)
    assert _sums(small_disk / "out") == due
