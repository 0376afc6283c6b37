"""Several devices at the same time: one that fails takes nothing from the others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

from mnedge.devices._device import Device, get
from mnedge.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Result = TypeVar("_Result")


def side_by_side(
    uris: Sequence[str], work: Callable[[Device], _Result]
) -> tuple[dict[str, _Result], list[dict[str, str]]]:
    """Does the same work on several devices at the same time; Ctrl-C ends it on all of them.

    Args:
        uris: The devices.
        work: What to do on each; it runs in a thread.

    Returns:
        Results by device name, in the order of `uris`, and {device, error} of the devices that failed.

    Raises:
        MnedgeError: The work failed for another reason than its device.
    """
    results: dict[str, _Result] = {}
    failed: list[dict[str, str]] = []
    opened = []
    for uri in dict.fromkeys(uris):
        try:
            opened.append(get(uri))
        except ToolError as exc:
            failed.append({"device": uri.partition("?")[0], "error": str(exc)})
    if not opened:
        return results, failed
    with ThreadPoolExecutor(len(opened)) as pool:
        futures = [pool.submit(work, device) for device in opened]
        try:
            wait(futures)
        except BaseException:
            for device in opened:
                device.interrupt()
            raise
    for device, future in zip(opened, futures, strict=True):
        try:
            results[device.name] = future.result()
        except ToolError as exc:
            failed.append({"device": device.name, "error": str(exc)})
    return results, failed
