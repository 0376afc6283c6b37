"""Several devices at the same time: a device that fails takes nothing from the others, nor from its own results."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

from mnedge.devices._device import Device, get
from mnedge.errors import InputError, ToolError
from mnedge.results.parity import DeviceFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_Result = TypeVar("_Result")


def side_by_side(
    uris: Sequence[str], work: Callable[[Device], Iterator[_Result]]
) -> tuple[dict[str, list[_Result]], list[DeviceFailure]]:
    """Does the same work on several devices at the same time; Ctrl-C ends it on all of them.

    Args:
        uris: The devices.
        work: Gives the results of a device one by one; it runs in a thread.

    Returns:
        Results by device name, in the order of `uris`, and the devices that failed with their errors. A device that
        failed after some results is in both.

    Raises:
        InputError: Two URIs lead to the same device.
        MnedgeError: The work failed for another reason than its device.
    """
    failed: list[DeviceFailure] = []
    opened: list[Device] = []
    for uri in dict.fromkeys(uris):
        try:
            device = get(uri)
        except ToolError as exc:
            failed.append(DeviceFailure(uri.partition("?")[0], str(exc)))
            continue
        if twin := next((other for other in opened if other.identity == device.identity), None):
            also = "" if twin.name == device.name else f" (it is {twin.name} too)"
            raise InputError(
                f"{device.name}{also} is named more than once; what runs there at the same time disturbs its own "
                "figures, so run one after the other"
            )
        opened.append(device)
    results: dict[str, list[_Result]] = {device.name: [] for device in opened}
    if not opened:
        return results, failed
    with ThreadPoolExecutor(len(opened)) as pool:
        futures = [pool.submit(_collect, work, device, results[device.name]) for device in opened]
        try:
            wait(futures)
        except BaseException:
            for device in opened:
                device.interrupt()
            raise
    for device, future in zip(opened, futures, strict=True):
        try:
            future.result()
        except ToolError as exc:
            failed.append(DeviceFailure(device.name, str(exc)))
    return {name: found for name, found in results.items() if found}, failed


def _collect(work: Callable[[Device], Iterator[_Result]], device: Device, found: list[_Result]) -> None:
    found.extend(work(device))
