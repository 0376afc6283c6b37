"""Choice of the phone that adb talks to, out of those that it sees."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from mnedge import command
from mnedge.devices._link import MOST_SAID_BYTES, plain
from mnedge.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Mapping

# A desk holds no more; what a broken adb prints does.
_MOST_PHONES = 20


def find_adb() -> str:
    """Path of adb: $ADB, the PATH, or the folder of Android's tools."""
    named = os.environ.get("ADB") or shutil.which("adb")
    for home in (os.environ.get("ANDROID_HOME"), os.environ.get("ANDROID_SDK_ROOT")):
        if not named and home and (Path(home) / "platform-tools" / "adb").is_file():
            named = str(Path(home) / "platform-tools" / "adb")
    return command.find(named or "adb", "install Android's platform tools (apt install adb), or set ADB to it")


def ready_serial(adb: str, place: str) -> str:
    """The serial to talk to, whose phone is ready; adb's own ANDROID_SERIAL where none is named."""
    phones = _phones(adb)
    named = place or os.environ.get("ANDROID_SERIAL", "")
    if named not in phones:
        # As in a browser's address, a space may be %20.
        named = unquote(named)
    if ":" in named and phones.get(named) != "device":
        command.run([adb, "connect", named], timeout_s=20.0, check=False)
        phones = _phones(adb)
    if not named:
        named = _only(adb, phones)
    state = phones.get(named, "")
    if state != "device":
        origin = "" if place or not os.environ.get("ANDROID_SERIAL") else " (ANDROID_SERIAL)"
        raise ToolError(f"adb://{named}{origin} {_why_not_ready(state, phones)}")
    return named


def _only(adb: str, phones: Mapping[str, str]) -> str:
    """The serial of the only phone that is there or ready; one that is there by USB and Wi-Fi is one, by USB."""
    if not phones:
        raise ToolError("adb:// finds no phone; connect one by USB, switch USB debugging on, and see `adb devices`")
    ready = [serial for serial, state in phones.items() if state == "device"]
    if len(phones) == 1 or len(ready) == 1:
        return ready[0] if ready else next(iter(phones))
    identities = {identity_of(adb, serial) or serial for serial in ready}
    if len(identities) == 1:
        return min(ready, key=lambda serial: (":" in serial or serial.endswith("._tcp"), serial))
    shown = ", ".join(shlex.quote(f"adb://{name}") for name in phones)
    raise ToolError(f"adb:// finds {len(phones)} phones; name one: {shown}")


def identity_of(adb: str, serial: str) -> str:
    """The phone behind a serial, whichever way it is connected; "" where it does not tell.

    Emulators share their hardware's serial, and containers their kernel's boot: only both together are one phone's.
    """
    script = "getprop ro.serialno; cat /proc/sys/kernel/random/boot_id"
    words = [adb, "-s", serial, "shell", "-T", script]
    try:
        done = command.run(words, timeout_s=15.0, check=False, most_bytes=MOST_SAID_BYTES)
    except ToolError:
        # What hangs or talks without an end is told where it is asked for something that is needed.
        return ""
    told = [plain(line.strip(), 100) for line in done.text.split("\n")[:2]]
    return "/".join(told) if done.returncode == 0 and len(told) == 2 and all(told) else ""


def _why_not_ready(state: str, phones: Mapping[str, str]) -> str:
    """Describes the fault of a phone in a state of `adb devices`, and its repair."""
    untrusted = "does not trust this machine yet; unlock it and accept the dialog about USB debugging"
    for known, words in {
        "unauthorized": untrusted,
        "authorizing": untrusted,
        "offline": "is offline; unlock it, plug it in again, or run `adb reconnect offline`",
        "no permissions": "may not be opened by you; install the udev rules (apt install "
        "android-sdk-platform-tools-common), and plug it in again",
    }.items():
        if state.startswith(known):
            return words
    if state:
        return f"is in state {state}; see `adb devices`"
    return f"is not there; `adb devices` shows {', '.join(phones) or 'none'}"


def _phones(adb: str) -> dict[str, str]:
    """State of each phone by serial; one that is just being found gets a second to be."""
    for _ in range(3):
        text = command.run([adb, "devices"], timeout_s=30.0, most_bytes=MOST_SAID_BYTES).text
        # Names of phones that pair over Wi-Fi may hold spaces. Serials and states are shown in messages: what is no
        # line of theirs is no phone.
        phones = dict(re.findall(r"^([ -~]{1,128})\t([ -~]{1,200}?)\s*$", text, re.MULTILINE)[:_MOST_PHONES])
        if "offline" not in phones.values():
            break
        time.sleep(0.5)
    return phones
