"""The devices' common interface: mypy holds each file of the registry to it here, as a registry hands out Any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mnedge import registry
from mnedge.devices import adb, browser, get, local, qemu, ssh
from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnedge.devices import Device

_DEVICES: dict[str, Callable[[str], Device]] = {
    "adb": adb.connect,
    "browser": browser.connect,
    "local": local.connect,
    "qemu": qemu.connect,
    "ssh": ssh.connect,
}


def test_every_file_of_the_registry_is_held_to_the_interface() -> None:
    assert set(_DEVICES) == set(registry.names("mnedge.devices"))


@pytest.mark.parametrize("uri", ["pi", "telnet://pi", "://", ""])
def test_what_is_no_device_is_refused(uri: str) -> None:
    with pytest.raises(InputError):
        get(uri)


def test_this_machine_has_its_name() -> None:
    device = get("local")
    assert device.name == device.identity == "local"
