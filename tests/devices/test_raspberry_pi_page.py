"""The tutorial "A Raspberry Pi with a camera", line by line, on the emulated board behind a real sshd."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mnedge.cli import _run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.devices.conftest import Pi

_PAGE = (Path(__file__).parents[2] / "docs" / "tutorials" / "raspberry_pi.md").read_text(encoding="utf-8")
_ADDRESS = "pi@raspberrypi.local"
# What each mnedge command prints that the page promises.
_PRINTED = {
    "build": ("top-1", "int8.tflite"),
    "device setup": ("ai-edge-litert",),
    "device check": ("Raspberry Pi 4", "Cortex-A72"),
    "validate": ("ssh://pi", "same answers"),
    "bench": ("flowers.fp32.tflite", "flowers.int8.tflite", "ms"),
    "bundle": ("classify.py", "install.sh", "requirements.txt"),
    "verify": ("files as they were",),
}
# Programs that Raspberry Pi OS has and the small userland lacks, and a camera that sees a rose.
_PROGRAMS = {
    "sudo": 'exec "$@"',
    "gzip": "exec python3 -c 'import gzip, shutil, sys; "
    "shutil.copyfileobj(gzip.open(sys.stdin.buffer), sys.stdout.buffer)'",
    "rpicam-still": 'case "$*" in *--list-cameras*) echo "0 : imx708";; *) exec cat /root/rose.png;; esac',
}
_CLASSES = ("daisy", "rose", "tulip")


def _make(folder: Path) -> None:
    """flowers.keras with hand-set weights that tell three colours apart, and photos/ of these colours."""
    import keras

    for split, count in (("train", 4), ("val", 3)):
        for colour, name in enumerate(_CLASSES):
            (folder / "photos" / split / name).mkdir(parents=True)
            for number in range(count):
                noise = np.random.default_rng(1000 * count + 100 * colour + number).integers(0, 90, (6, 6, 3))
                noise[..., colour] += 150
                picture = Image.fromarray(noise.astype(np.uint8)).resize((40, 40), Image.Resampling.BICUBIC)
                picture.save(folder / "photos" / split / name / f"{number}.png")
    model = keras.Sequential([
        keras.Input((32, 32, 3)),
        keras.layers.Rescaling(1 / 127.5, offset=-1),
        keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="first"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3, activation="softmax", name="head"),
    ])  # fmt: skip
    first = np.random.default_rng(2).normal(0, 0.02, (3, 3, 3, 4)).astype(np.float32)
    first[1, 1, :, :3] += np.eye(3, dtype=np.float32)
    head = np.zeros((4, 3), np.float32)
    head[:3] = 5 * np.eye(3)
    model.get_layer("first").set_weights([first, np.ones(4, np.float32)])
    model.get_layer("head").set_weights([head, np.zeros(3, np.float32)])
    model.save(folder / "flowers.keras")


@contextmanager
def _equipped(pi: Pi) -> Iterator[Path]:
    """The board with the programs of its system; gives the folder from which its pip takes wheels."""
    wheels = pi.root / "tmp" / "wheels"
    made = [pi.root / "usr/local/bin" / name for name in _PROGRAMS]
    made[0].parent.mkdir(parents=True, exist_ok=True)
    for path in made:
        path.write_text(f"#!/bin/sh\n{_PROGRAMS[path.name]}\n")
        path.chmod(0o755)
    settings = pi.root / "etc" / "pip.conf"
    settings.write_text("[global]\nno-index = true\nfind-links = /tmp/wheels\n")
    wheels.mkdir()
    try:
        yield wheels
    finally:
        for path in (*made, settings, pi.root / "root/rose.png"):
            path.unlink(missing_ok=True)
        for folder in (wheels, pi.root / "root/flowers-raspberry-pi", pi.root / "opt/flowers"):
            shutil.rmtree(folder, ignore_errors=True)


def _fetch(requirements: Path, wheels: Path) -> None:
    """Fetches the pinned wheels for the board, as its own pip would."""
    tags = [f"manylinux_2_{minor}_aarch64" for minor in (28, 27)] + ["manylinux2014_aarch64"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--dest", wheels, "--only-binary=:all:",
         "--implementation", "cp", "--python-version", "3.11", "--abi", "cp311", "--abi", "abi3", "--abi", "none",
         *(word for tag in tags for word in ("--platform", tag)), "-r", requirements],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "Could not fetch" in done.stderr or "connection" in done.stderr.lower():
        pytest.skip("no package index")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.device
def test_the_page(pi: Pi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNEDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    _make(tmp_path)
    text = re.sub(r"^```.*?^```$", "", _PAGE, flags=re.DOTALL | re.MULTILINE)
    commands = re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    seen, said = set(), []
    with _equipped(pi) as wheels:
        for line in commands:
            if line.startswith(f"ssh {_ADDRESS} "):
                if "install.sh" in line:
                    _fetch(Path("flowers-pi/requirements.txt"), wheels)
                typed = line.replace(f"ssh {_ADDRESS}", f"ssh -F {shlex.quote(str(pi.folder / 'ssh_config'))} pi")
                done = subprocess.run(["bash", "-c", typed], capture_output=True, text=True, check=False, timeout=900)
                assert done.returncode == 0, (line, done.stderr)
                said.append(done.stdout)
                continue
            # An emulated board may be silent for long while other tests use the processor.
            words = shlex.split(line.replace(f"ssh://{_ADDRESS}", pi.uri(silence_s=300)))
            assert words[0] == "mnedge"
            name = " ".join(words[1:3]) if words[1] == "device" else words[1]
            seen.add(name)
            assert _run(words[1:]) == 0, (line, capsys.readouterr().err)
            printed = "".join(capsys.readouterr())
            for promised in _PRINTED[name]:
                assert promised in printed, (line, promised, printed)
    assert seen == set(_PRINTED)
    # The file and what the camera sees are the same picture.
    assert "rose" in said[-2]
    assert '"label": "rose"' in said[-1]
