"""Which phone is meant, by `adb devices`; a program stands for adb, since serials of phones are not made here."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from mnedge import devices
from mnedge.devices import side_by_side
from mnedge.errors import InputError, ToolError

if TYPE_CHECKING:
    from pathlib import Path

_WIFI = "adb-R3CN30 (2)._adb-tls-connect._tcp"
_ADB = """#!/bin/sh
dir=$(dirname "$0")
[ "$1" = devices ] && { echo 'List of devices attached'; cat "$dir/phones"; exit 0; }
[ "$1" = connect ] && exit 1
[ "$1" = -s ] || exit 9
serial=$2
case "$3 $5" in
  "get-state ") echo device ;;
  shell*getprop*) cat "$dir/identity of $serial" 2> /dev/null ;;
  shell*) sh -c "$5" ;;
esac
"""


class _Adb:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "adb").write_text(_ADB)
        (folder / "adb").chmod(0o755)
        self.phones()

    def phones(self, **identities: str) -> None:
        self.show(dict.fromkeys(identities, "device"))
        for serial, identity in identities.items():
            (self.folder / f"identity of {serial}").write_text(identity)

    def show(self, states: dict[str, str]) -> None:
        (self.folder / "phones").write_text("".join(f"{serial}\t{state}\n" for serial, state in states.items()))


@pytest.fixture
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Adb:
    monkeypatch.setenv("ADB", str(tmp_path / "adb"))
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    return _Adb(tmp_path)


@pytest.mark.parametrize("uri", [f"adb://{_WIFI}", f"adb://{_WIFI.replace(' ', '%20')}", "adb://"])
def test_a_serial_may_hold_spaces(adb: _Adb, uri: str) -> None:
    adb.phones(**{_WIFI: "R3CN30\nboot-1\n"})
    assert devices.get(uri).name == f"adb://{_WIFI}"


@pytest.mark.parametrize("uri", ["adb://-s", "adb://x;id", "adb://x$(id)", "adb://x|id", "adb://x`id`", "adb://x\ny"])
def test_what_no_serial_has_is_refused(adb: _Adb, uri: str) -> None:
    adb.phones(x="")
    with pytest.raises(InputError, match="is not a device URI"):
        devices.get(uri)


def test_android_serial_names_the_phone(adb: _Adb, monkeypatch: pytest.MonkeyPatch) -> None:
    adb.phones(one="1\nboot-1\n", two="2\nboot-2\n")
    with pytest.raises(ToolError, match="finds 2 phones; name one: adb://one, adb://two"):
        devices.get("adb://")
    monkeypatch.setenv("ANDROID_SERIAL", "two")
    assert devices.get("adb://").name == "adb://two"
    # A phone that the URI names counts before it.
    assert devices.get("adb://one").name == "adb://one"
    monkeypatch.setenv("ANDROID_SERIAL", "three")
    with pytest.raises(ToolError, match=r"adb://three \(ANDROID_SERIAL\) is not there; `adb devices` shows one, two"):
        devices.get("adb://")


def test_a_phone_by_cable_and_wifi_is_one(adb: _Adb) -> None:
    adb.phones(**{_WIFI: "R3CN30\nboot-1\n", "192.168.1.7:5555": "R3CN30\nboot-1\n", "R3CN30": "R3CN30\nboot-1\n"})
    assert devices.get("adb://").name == "adb://R3CN30"
    with pytest.raises(InputError, match=r"adb://R3CN30 \(it is adb://adb-R3CN30 .* too\) is named more than once"):
        side_by_side([f"adb://{_WIFI}", "adb://R3CN30"], lambda device: iter([device.name]))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("EMULATOR\nboot-1\n", "EMULATOR\nboot-2\n"),  # emulators of one image
        ("1\nboot\n", "2\nboot\n"),  # containers of one machine
        ("", ""),  # what does not tell
        ("\nboot\n", "\nboot\n"),
    ],
)
def test_other_phones_stay_others(adb: _Adb, one: str, two: str) -> None:
    adb.phones(a=one, **{"b (2)": two})
    with pytest.raises(ToolError, match=r"finds 2 phones; name one: adb://a, 'adb://b \(2\)'"):
        devices.get("adb://")
    assert side_by_side(["adb://a", "adb://b (2)"], lambda device: iter([device.name]))[1] == []


def test_a_phone_that_is_not_ready_leaves_the_other(adb: _Adb) -> None:
    adb.show({"one": "unauthorized", "two": "device"})
    assert devices.get("adb://").name == "adb://two"


def test_a_wrong_python_is_named(adb: _Adb, tmp_path: Path) -> None:
    adb.phones(one="1\nboot\n")
    model = tmp_path / "m.tflite"
    for wrong in ("/no/python", "/bin/true", "/bin/ls"):
        with (
            pytest.raises(ToolError, match=rf"adb://one: python={wrong} is no Python there; name the path of one"),
            devices.get(f"adb://one?python={wrong}").load(model, ""),
        ):
            pass


def test_the_way_to_benchmark_model_can_be_pasted(adb: _Adb, tmp_path: Path) -> None:
    adb.phones(**{"a (2)": ""})
    # A shell without any program.
    (tmp_path / "adb").write_text(_ADB.replace('sh -c "$5"', 'PATH=/none; eval "$5"'))
    with pytest.raises(ToolError) as told, devices.get("adb://a (2)").load(tmp_path / "m.tflite", ""):
        pass
    words = str(told.value).rpartition("pass ")[2]
    assert shlex.split(words) == ["adb://a (2)?benchmark_model=FILE"]
