"""Which wheels a board can take, and what a check advises."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mnedge.devices._check import advice
from mnedge.devices._setup import platforms, suitable
from mnedge.devices._uri import parse
from mnedge.errors import InputError, ToolError
from mnedge.results.device import BoardFacts, RuntimeTrial

_BOARD = BoardFacts(
    machine="aarch64",
    bits=64,
    python="3.11.2",
    python_path="/usr/bin/python3",
    libc="glibc 2.36",
    throttled=(),
    governor="performance",
    temperature_c=48.0,
    memory_available_bytes=3 << 30,
    disk_free_bytes=8 << 30,
    packages={"numpy": None},
)


def board(**changes: Any) -> BoardFacts:
    return replace(_BOARD, **changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["ai-edge-litert", "onnxruntime"]),
        ({"python": "3.13.5"}, ["ai-edge-litert", "onnxruntime"]),
        ({"python": "3.9.2"}, ["tflite-runtime", "numpy<2", "onnxruntime"]),
        ({"machine": "armv7l", "bits": 32}, ["tflite-runtime", "numpy<2"]),
        ({"machine": "armv7l", "bits": 32, "packages": {"numpy": "1.24.2"}}, ["tflite-runtime"]),
        # A 64-bit kernel under a 32-bit Raspberry Pi OS
        ({"machine": "aarch64", "bits": 32}, ["tflite-runtime", "numpy<2"]),
    ],
)
def test_a_board_gets_the_newest_runtime_there_is(changes: dict[str, object], expected: list[str]) -> None:
    assert suitable(board(**changes), "ssh://pi") == expected


@pytest.mark.parametrize("changes", [{"machine": "armv6l", "bits": 32}, {"bits": 32, "python": "3.13.5"}])
def test_a_board_without_any_wheel_is_told_so(changes: dict[str, object]) -> None:
    with pytest.raises(ToolError, match=r"no wheel of LiteRT for Python .* 64-bit"):
        suitable(board(**changes), "ssh://pi")


def test_wheels_are_never_newer_than_the_c_library() -> None:
    tags = platforms(board(libc="glibc 2.31"))
    assert tags[0] == "manylinux_2_31_aarch64"
    assert "manylinux_2_36_aarch64" not in tags
    assert platforms(board(bits=32))[0] == "manylinux_2_36_armv7l"


def test_advice_names_what_to_fix() -> None:
    works = RuntimeTrial(works=True, says="ai-edge-litert 2.3.0 (XNNPACK)", partitions=1)
    assert advice(board(), {"litert": works}, "ssh://pi") == []
    assert "without XNNPACK" in advice(board(), {"litert": replace(works, partitions=0)}, "ssh://pi")[0]
    bad = board(throttled=("under-voltage",), governor="ondemand", temperature_c=81.0, memory_available_bytes=1 << 20)
    text = "\n".join(advice(bad, {"litert": RuntimeTrial(works=False, says="not installed")}, "ssh://pi"))
    for words in ("device setup ssh://pi", "power supply", "scaling_governor", "81 °C", "MiB of memory"):
        assert words in text


def test_uri_options_are_checked_by_name() -> None:
    parts = parse("ssh://pi@board:2222?tmp=/mnt/a b", ("tmp",))
    assert (parts.place, parts.name, parts.options) == ("pi@board:2222", "ssh://pi@board:2222", {"tmp": "/mnt/a b"})
    with pytest.raises(InputError, match="did you mean 'tmp'"):
        parse("ssh://pi?tpm=/x", ("tmp",))
