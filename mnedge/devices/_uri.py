"""Device URIs: `scheme://place?option=value&…`; the options are the device's own and checked by name."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# Characters of a user, host and port: none that a shell or an option parser would take as its own.
HOST = re.compile(r"[A-Za-z0-9_.:@%\[\]-]*")
# A phone that pairs over Wi-Fi twice has a name such as "adb-R3CN30-Ab3x (2)._adb-tls-connect._tcp".
SERIAL = re.compile(r"[A-Za-z0-9_.:@%\[\] (),+=#~-]*")


@dataclass(frozen=True)
class DeviceUri:
    """A device URI in its parts.

    Attributes:
        scheme: Way to get there: ssh, adb, …
        place: Text between `://` and `?`: [user@]host[:port], or a serial; may be empty.
        options: Values behind `?`, by name.
    """

    scheme: str
    place: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The device as reports call it: without the options, which may hold paths of this machine."""
        return f"{self.scheme}://{self.place}"

    def seconds(self, name: str, default: float) -> float:
        """An option that is a time in seconds.

        Raises:
            InputError: It is no number above 0.
        """
        text = self.options.get(name, str(default))
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not (value > 0 and math.isfinite(value)):
            raise InputError(f"{self.name}: {name}={text!r} is no number of seconds above 0")
        return value


def parse(uri: str, options: Collection[str], places: re.Pattern[str] = HOST) -> DeviceUri:
    """Takes a device URI apart.

    Args:
        uri: URI as the user gave it.
        options: Names of the options that the device knows.
        places: Form of its place.

    Raises:
        InputError: A character that no host or serial has, or an option that the device does not know.
    """
    scheme, _, rest = uri.partition("://")
    place, _, query = rest.partition("?")
    place = place.rstrip("/")
    if not places.fullmatch(place) or place.startswith("-") or "@-" in place:
        raise InputError(f"{uri!r} is not a device URI; a host or serial has letters, digits and . _ - : @ only")
    given = dict(parse_qsl(query, keep_blank_values=True))
    for name in given:
        if name not in options:
            raise InputError.unknown(f"option of {scheme}://", name, options)
    return DeviceUri(scheme, place, given)
