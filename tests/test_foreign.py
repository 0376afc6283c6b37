import math
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mnedge import recipe
from mnedge.data import open_dataset
from mnedge.data.calibration import open_calibration
from mnedge.data.detections import of_metadata
from mnedge.errors import InputError
from mnedge.foreign import checked_number, open_regular, parse_json, read_file, read_mapping
from mnedge.formats.pixels import pixels_of
from mnedge.formats.tflite_read import read_tflite
from mnedge.pixels import Pixels
from mnedge.training.settings import Schedule
from mnedge.validation.raw_boxes import read_anchors
from mnedge.workflows.bench import bench
from mnedge.workflows.search.limits import Limits
from mnedge.workflows.search.timing import stopwatch

_NONE = (-1.0, 0.0, math.nan, math.inf, -math.inf)


@pytest.mark.parametrize("value", _NONE)
def test_what_is_no_amount_is_refused(value: float) -> None:
    with pytest.raises(InputError, match=r"seconds is .*; it is a number above 0 and at most 60"):
        checked_number("seconds", value, most=60)


def test_an_amount_comes_back() -> None:
    assert checked_number("seconds", 0.5) == 0.5
    with pytest.raises(InputError, match="at most 60"):
        checked_number("seconds", 60.5, most=60)


@pytest.mark.parametrize("value", _NONE)
def test_times_and_clocks_of_commands(value: float) -> None:
    with pytest.raises(InputError, match="--seconds is"):
        bench([], seconds=value)
    with pytest.raises(InputError, match="--sustained, in seconds, is"):
        bench([], sustained_s=value)
    with pytest.raises(InputError, match="--max-ms is"):
        Limits(max_ms=value)
    for clock, cycles, said in ((value, 1.0, "--clock-mhz is"), (480.0, value, "--cycles-per-instruction is")):
        with pytest.raises(InputError, match=said):
            stopwatch("cortex-m7", device=None, threads=1, clock_mhz=clock, cycles_per_instruction=cycles)
    with pytest.raises(InputError, match="learning_rate is"):
        Schedule(learning_rate=value)


def test_seeds_are_what_the_generators_take() -> None:
    for seed in (-1, 2**32):
        with pytest.raises(InputError, match=r"seed is .*; it is a whole number from 0"):
            Schedule(seed=seed)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"12345")
    for place in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match="it is no regular file"):
            open_regular(place)
        with pytest.raises(InputError, match="cannot be read: it is no regular file"):
            read_file(place, 10)
    assert read_file(tmp_path / "link", 5) == b"12345"
    with pytest.raises(InputError, match="link cannot be read: it is a symbolic link"):
        read_file(tmp_path / "link", 5, follow=False)
    with pytest.raises(InputError, match="file has 5 bytes, and such a file has at most 4"):
        read_file(tmp_path / "file", 4)
    for name in ("x" * 300, "a\0b", "gone"):
        with pytest.raises(InputError, match="cannot be read"):
            read_file(tmp_path / name, 4)
    with pytest.raises(InputError, match="it is no regular file"):
        read_mapping(tmp_path / "pipe", "key: value")
    os.mkfifo(tmp_path / "pipe.tflite")
    for read in (read_tflite, pixels_of):
        with pytest.raises(InputError, match=r"pipe\.tflite cannot be read: it is no regular file"):
            read(tmp_path / "pipe.tflite")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "NaN", "[Infinity]", "1e999", "9" * 5000, b"\xff", "{", ""]
)
def test_json_that_is_none(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
    content = text if isinstance(text, bytes) else text.encode()
    for read in (of_metadata, Pixels.from_bytes):
        with pytest.raises(InputError, match=r"broken|damaged"):
            read(content)


_BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)
)


@pytest.mark.parametrize(
    "text",
    [
        _BOMB,
        "a: &a [*a]",
        "a: " + "[" * 20_000,
        "a: " + "{b: " * 20_000,
        "a: !!python/object/apply:os.system [id]",
        "? [1]\n: 2",
        "a: 2024-13-45",
        "a: " + "9" * 5000,
        "a: 0x",
        "a: 1:99:99999999999999999999",
        "<<: 1",
        "<<: [a]\na: 1",
        "a: !!set 1",
        "a: !!timestamp x",
        "a: !!binary \u00e4",
        "a: !!int ''",
        "a: !!float x",
        "%YAML 9.9\n---\na: 1",
        "a: 1\n---\nb: 2",
        "=: 1",
        "a: =",
        "~: 1",
        "a: \x1b",
        "\ufeff\ufeff",
    ],
)
def test_yaml_that_would_do_more_than_say_something(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    for read in (
        lambda: recipe.load(str(tmp_path / "x.yaml")), lambda: open_calibration(str(tmp_path / "x.yaml")),
        lambda: Schedule(seed=len(read_mapping(tmp_path / "x.yaml", "a: 1"))) and recipe.load(str(tmp_path / "x.yaml")),
    ):  # fmt: skip
        with pytest.raises(InputError):
            read()


_YAML_WORDS = (
    b"",
    b"\x00",
    b"\xff\xfe",
    b"\xe2\x80\xa8",
    b"\n",
    b"\n  ",
    b'"',
    b"'",
    b": ",
    b"- ",
    b"*a",
    b"&a ",
    b"!!set ",
    b"{",
    b"}",
    b"[" * 2000,
    b".nan",
    b".inf",
    b"-.inf",
    b"1e999",
    b"9" * 5000,
    b"-1",
    b"0",
    b"1",
    b"2",
    b"0.5",
    b" # x",
    b"x" * 300,
    b"2024-13-45",
    b"true",
    b"null",
    b"~",
    b"|\n",
    b">\n",
    b"%",
    b"@",
    b"`",
    b"<<: ",
    b"? ",
    b"\t",
    b"../../..",
    b"$HOME",
    b"demo",
)
_RECIPE = (
    b"variant: v1\nalpha: 0.25\nresolution: 48\nclasses: 3\nint8: true\nmethod: ptq\ntargets: [cpu, generic]\nseed: 1\n"
    b"size: 96x128\nio: uint8\nallow_float: [SOFTMAX]\nbundles: [android]\ngates:\n  min_top1: 0.5\n  int8_only: true\n"
    b"tolerances:\n  bytes: 0.1\n"
)
_SETTINGS = b"crop_fraction: 0.9\ninterpolation: bicubic\nfit: crop\n"
_CALIBRATION = (
    b"data: photos\nsplit: all\nimages: 3\nseed: 4\nsource: mine\nlicence: CC0\ncrop_fraction: 0.5\nfit: stretch\n"
)
_ANCHORS = (
    b'{"anchors": [[0.5, 0.5, 1, 1], [0.1, 0.2, 0.5, 0.25]],\n"centre_scale": 10,\n"extent_scale": 5,\n'
    b'"activation": "none",\n"least_score": 0.02,\n"overlap": 0.5,\n"most": 100}'
)
_JSON_WORDS = (
    b"NaN",
    b"1e999",
    b"null",
    b'"x"',
    b"[]",
    b"{}",
    b"[[",
    b"9" * 400,
    b"-1",
    b"0",
    b"1.5",
    b",",
    b'"most": "x"',
)


def _mutant(text: bytes, words: tuple[bytes, ...], chance: random.Random) -> bytes:
    """Some bytes lost, changed or put in, a line lost or doubled."""
    if chance.random() < 0.1 and text.count(b"\n") > 1:
        kept = text.splitlines(keepends=True)
        del kept[chance.randrange(len(kept))]
        return b"".join(kept)
    data = bytearray(text)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        start = chance.randrange(len(data) + 1)
        data[start : start + chance.choice((0, 0, 1, 1, 4, 30))] = chance.choice(words)
    if chance.random() < 0.2:
        lines = bytes(data).splitlines(keepends=True)
        lines.insert(chance.randrange(len(lines) + 1), chance.choice(lines) if lines else b"")
        data = bytearray(b"".join(lines))
    return bytes(data[: chance.randrange(len(data) + 1)] if chance.random() < 0.1 else data)


def _opened_recipe(path: Path) -> object:
    found = recipe.load(str(path))
    return found.input_size, found.as_json()


def _opened_settings(path: Path) -> object:
    return open_dataset(str(path.parent / "labels.csv")).read(0, 8)


def _opened_calibration(path: Path) -> object:
    return open_calibration(str(path)).pixels(8)


@pytest.mark.parametrize(
    ("name", "text", "words", "read"),
    [
        ("r.yaml", _RECIPE, _YAML_WORDS, _opened_recipe),
        ("photos/dataset.yaml", _SETTINGS, _YAML_WORDS, _opened_settings),
        ("c.yaml", _CALIBRATION, _YAML_WORDS, _opened_calibration),
        ("a.json", _ANCHORS, _JSON_WORDS, read_anchors),
    ],
    ids=["recipe", "settings", "calibration", "anchors"],
)
def test_damaged_files(
    tmp_path: Path, request: pytest.FixtureRequest, name: str, text: bytes, words: tuple[bytes, ...],
    read: Callable[[Path], object],
) -> None:  # fmt: skip
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (9, 9), (number, 0, 0)).save(tmp_path / "photos" / f"{number}.png")
    if "dataset" in name:
        (tmp_path / "photos" / "labels.csv").write_text("filename,class_index,split\n0.png,0,train\n1.png,1,eval\n")
    taken = 0
    (tmp_path / name).write_bytes(text)
    read(tmp_path / name)
    for seed in range(request.config.getoption("--fuzz") // 3):
        (tmp_path / name).write_bytes(_mutant(text, words, random.Random(seed)))  # noqa: S311 - damage, not secrets
        try:
            read(tmp_path / name)
        except InputError:
            continue
        except Exception as exc:
            raise AssertionError(f"seed {seed}: {exc!r} from {(tmp_path / name).read_bytes()[:500]!r}") from exc
        taken += 1
    assert taken > 0
