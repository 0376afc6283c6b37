"""Several devices side by side: what each has done stays, whatever happens to it or to the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mnedge.devices import side_by_side
from mnedge.errors import InputError, ToolError
from mnedge.results.parity import DeviceFailure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnedge.devices import Device


def test_a_device_keeps_what_it_did_before_it_failed() -> None:
    def work(device: Device) -> Iterator[str]:
        yield f"first on {device.name}"
        raise ToolError(f"{device.name} is gone")

    found, failed = side_by_side(["local"], work)
    assert found == {"local": ["first on local"]}
    assert failed == [DeviceFailure("local", "local is gone")]


def test_a_device_that_cannot_be_opened_takes_nothing_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADB", "/no/adb")
    found, failed = side_by_side(["adb://phone?cores=f0", "local"], lambda device: iter([device.name]))
    assert found == {"local": ["local"]}
    assert [row.device for row in failed] == ["adb://phone"]
    assert "/no/adb not found" in failed[0].error


@pytest.mark.parametrize("uri", ["raspberrypi", "pi@board", "ssh:/pi", ""])
def test_what_is_no_uri_is_told_the_form(uri: str) -> None:
    with pytest.raises(InputError, match=r"no device URI; a board is ssh://\[user@\]host"):
        side_by_side([uri], lambda device: iter([device.name]))


def test_one_device_by_two_uris_is_no_comparison() -> None:
    with pytest.raises(InputError, match=r"ssh://pi is named more than once.*one after the other"):
        side_by_side(["ssh://pi", "ssh://pi?tmp=/x"], lambda device: iter([device.name]))
