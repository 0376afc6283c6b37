"""The verbs of devices as far as they need none: which URIs they take, the probes, and what their nouns say."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

import mnedge
from mnedge import runtimes
from mnedge.errors import InputError
from mnedge.results.device import BoardCheck, BoardFacts, BrowserCheck, PhoneCheck, PhoneFacts, RuntimeTrial
from mnedge.results.stored import from_json, to_json
from mnedge.workflows.device import _probes

if TYPE_CHECKING:
    from pathlib import Path

_FACTS = BoardFacts(
    board="Raspberry Pi 4 Model B", machine="aarch64", bits=64, cpu="Cortex-A72", cores=4, disk_free_bytes=8 << 30,
    libc="glibc 2.36", python="3.11.2", python_path="/usr/bin/python3", packages={"numpy": "1.24.2"}, throttled=(),
)  # fmt: skip


@pytest.mark.parametrize("uri", ["local", "qemu://cortex-m4"])
def test_only_boards_are_set_up(uri: str) -> None:
    with pytest.raises(InputError, match=r"is for ssh://"):
        mnedge.setup_device(uri)
    with pytest.raises(InputError, match=r"also for adb://.* and browser://"):
        mnedge.check_device(uri)


def test_a_browser_says_version_and_runtimes(web_modules: Path, tmp_path: Path) -> None:
    found = mnedge.check_device(f"browser://chromium?modules={web_modules}")
    assert isinstance(found, BrowserCheck)
    assert found.measures
    assert found.advice == ()
    said = dict(found.rows())
    assert re.match(r"Chrome \d+ \(/", said["browser"] or "")
    assert re.match(r"relaxed SIMD, (unsigned|signed|no) int8 dot product, threads share memory", said["wasm"] or "")
    version = json.loads((web_modules / "@litertjs" / "core" / "package.json").read_text())["version"]
    assert f"@litertjs/core {version}" in (said["packages"] or "")
    assert f"LiteRT.js {version} (wasm, relaxed SIMD, " in found.runtimes["litert"].says
    assert json.loads(to_json(found))["simd"] is True
    for name in ("@litertjs", "onnxruntime-web"):
        (tmp_path / name).symlink_to(web_modules / name)
    (tmp_path / "onnxruntime-web").unlink()
    part = mnedge.check_device(f"browser://chromium?modules={tmp_path}")
    assert part.measures
    assert [line.partition(":")[0] for line in part.advice] == ["onnxruntime-web is missing"]


def test_both_runtimes_load_their_probe(tmp_path: Path) -> None:
    probes = _probes(tmp_path)
    assert set(probes) == {"litert", "onnxruntime"}
    for runtime, path in probes.items():
        session = runtimes.get(runtime).open(path, 1)
        assert session.input.shape == (1, 8, 8, 3)
    assert runtimes.get("litert").open(probes["litert"], 1).partitions == 1


def test_facts_stand_in_the_row_of_their_check() -> None:
    tried = {"litert": RuntimeTrial(works=True, says="ai-edge-litert 2.3.0 (XNNPACK)", partitions=1)}
    check = BoardCheck(device="ssh://pi", facts=_FACTS, runtimes=tried, advice=("add a fan",))
    row = json.loads(to_json(check))
    assert row["board"] == "Raspberry Pi 4 Model B"
    assert row["runtimes"]["litert"]["partitions"] == 1
    assert "installed" not in row
    assert from_json(json.dumps(row), BoardFacts, "the row") == _FACTS
    assert dict(check.rows())["power"] == "good"
    assert dict(check.rows())["clock"] is None
    assert "add a fan" in check._repr_html_()


def test_a_phone_says_its_battery() -> None:
    facts = PhoneFacts(model="Pixel", battery_percent=17)
    check = PhoneCheck(device="adb://x", facts=facts, measures_with="Python there", runtimes={}, advice=())
    assert dict(check.rows())["battery"] == "17 %, not charging"
    assert json.loads(to_json(check))["model"] == "Pixel"
