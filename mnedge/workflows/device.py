"""`device`: a board made ready to measure, and whether a board, a phone or a browser is."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge import devices
from mnedge.devices import _setup, browser
from mnedge.devices._check import advice, browser_advice, phone_advice, try_runtimes
from mnedge.devices.adb import connect
from mnedge.devices.ssh import ENVIRONMENT, SshDevice
from mnedge.errors import InputError, ToolError
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.progress import telling
from mnedge.results.device import BoardCheck, BrowserCheck, PhoneCheck

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnedge.devices.adb import AdbDevice
    from mnedge.devices.browser import BrowserDevice
    from mnedge.progress import Progress
    from mnedge.results.device import RuntimeTrial


def check_device(uri: str) -> BoardCheck | PhoneCheck | BrowserCheck:
    """Checks a device: its facts, its runtimes, and what to fix.

    Args:
        uri: ssh://[user@]host[:port] of a board, adb://[serial] of a phone, or browser://chromium, with options
            behind ?.

    Raises:
        InputError: The URI is of another kind, or has unknown options.
        ToolError: The device cannot be reached.
    """
    if uri.startswith("browser:"):
        return _check_browser(uri)
    return _check_phone(uri) if uri.startswith("adb:") else _check_board(_open(uri))


def setup_device(
    uri: str, *, packages: Sequence[str] = (), wheels: bool = False, progress: Progress | None = None
) -> BoardCheck:
    """Makes a Python environment with the runtimes on a board, and checks the board.

    The environment lies in ~/.local/share/mnedge/env there; an older one stays until the new one is whole.

    Args:
        uri: ssh://[user@]host[:port], with options behind ?.
        packages: Packages to install, as pip takes them; none for those that suit the board.
        wheels: Fetch wheels here and copy them, for a board without internet.
        progress: Called with the name of a stage and the share of it that is done, 0..1.

    Raises:
        InputError: The URI is of another kind, or has unknown options.
        ToolError: The board cannot be reached, or has no Python, space or network; or no wheel fits it.
    """
    device, told = _open(uri), telling(progress)
    begun: list[str] = []

    def begin(stage: str) -> None:
        if begun:
            told(begun[-1], 1.0)
        begun.append(f"{device.name}: {stage}")
        told(begun[-1], 0.0)

    environment = f'"{ENVIRONMENT}"'
    installed = _setup.setup(device, device.facts(), environment, tuple(packages), wheels=wheels, progress=begin)
    begin("checking")
    checked = _check_board(device, tuple(installed))
    told(begun[-1], 1.0)
    return checked


def _open(uri: str) -> SshDevice:
    device = devices.get(uri)
    if not isinstance(device, SshDevice):
        raise InputError(
            f"{uri}: `mnedge device` is for ssh://[user@]host[:port]; `check` also for adb://[serial] and "
            "browser://chromium"
        )
    return device


def _check_board(device: SshDevice, installed: tuple[str, ...] | None = None) -> BoardCheck:
    facts = device.facts()
    tried = _try(device, facts.packages)
    found = tuple(advice(facts, tried, device.uri))
    return BoardCheck(installed=installed, device=device.name, facts=facts, runtimes=tried, advice=found)


def _check_phone(uri: str) -> PhoneCheck:
    phone = connect(uri)
    facts = phone.facts()
    tried: Mapping[str, RuntimeTrial] = {}
    program, missing = None, None
    try:
        program = phone.program()
    except ToolError as exc:
        missing = str(exc)
    if program is None and missing is None:
        tried = _try(phone, phone.python_facts().packages)
    measures_with = program or ("Python there" if missing is None else None)
    found = tuple(phone_advice(facts, tried, missing))
    return PhoneCheck(device=phone.name, facts=facts, measures_with=measures_with, runtimes=tried, advice=found)


def _check_browser(uri: str) -> BrowserCheck:
    device = browser.connect(uri)
    facts = device.facts()
    tried = _try(device, facts.packages)
    return BrowserCheck(device=device.name, facts=facts, runtimes=tried, advice=tuple(browser_advice(facts, tried)))


def _try(
    device: SshDevice | AdbDevice | BrowserDevice, packages: Mapping[str, str | None]
) -> Mapping[str, RuntimeTrial]:
    """Runs a small model with each runtime of the device."""
    with tempfile.TemporaryDirectory(prefix="mnedge-check-") as folder:
        return try_runtimes(device, packages, _probes(Path(folder)))


def _probes(folder: Path) -> dict[str, Path]:
    """The smallest model that XNNPACK takes, for each runtime."""
    options = {"stride_h": 1, "stride_w": 1, "padding": "SAME", "activation": "NONE"}
    graph = Graph(
        tensors={
            "input": Tensor("input", (1, 8, 8, 3), "float32"),
            "weights": constant("weights", np.full((4, 3, 3, 3), 0.1, np.float32)),
            "bias": constant("bias", np.zeros(4, np.float32)),
            "output": Tensor("output", (1, 8, 8, 4), "float32"),
        },
        ops=(Op("CONV_2D", ("input", "weights", "bias"), ("output",), options),),
        inputs=("input",),
        outputs=("output",),
    )
    paths = {"litert": folder / "probe.tflite", "onnxruntime": folder / "probe.onnx"}
    paths["litert"].write_bytes(write_tflite(graph))
    paths["onnxruntime"].write_bytes(write_onnx(graph))
    return paths
