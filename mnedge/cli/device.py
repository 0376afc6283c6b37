"""`mnedge device`: boards and phones that measure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnedge.cli._group import plain_app
from mnedge.cli._output import Json, print_json, print_table

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.devices.adb import AdbDevice
    from mnedge.devices.ssh import SshDevice


PANEL = "Measure"


command = plain_app(no_args_is_help=True)


@command.callback()
def _device() -> None:
    """Set up and check the boards and phones that measure.

    \b
    mnedge device setup ssh://pi@raspberrypi.local
    mnedge device check ssh://pi@raspberrypi.local
    mnedge device check adb://

    \b
    A device is a URI, the same for `validate --device` and `bench --device`:
      ssh://[user@]host[:port]  a Linux board, over your own ssh and its configuration
      adb://[serial]            a phone, over your own adb; no serial if it is the only one
    Options stand behind ?, joined by &:
      python=PATH               the Python there, if not that of `device setup`
      tmp=DIR                   the folder there for temporary files
      silence_s=30              seconds without a sign of life until it is given up
      delegate=optional         accept figures without the delegate; they say so
      ssh_config=FILE           ssh: as `ssh -F FILE`
      benchmark_model=FILE      adb: the program to measure with, here or there
      accelerator=gpu           adb: cpu, gpu or npu, for benchmark_model
      cores=big                 adb: big, or a hexadecimal mask of cores
    """


@command.command()
def setup(
    uri: Annotated[str, typer.Argument(help="The board.", show_default=False)],
    *,
    wheels: Annotated[
        bool, typer.Option("--wheels", help="Fetch wheels here and copy them: for a board without internet.")
    ] = False,
    package: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="What is installed instead, as pip takes it; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a Python environment with the runtimes on a board.

    It lies in ~/.local/share/mnedge/env there; an older one stays until the new one is whole. URI is
    ssh://[user@]host[:port].
    """
    from mnedge.devices import _setup
    from mnedge.devices.ssh import ENVIRONMENT

    device = _open(uri)
    installed = _setup.setup(
        device,
        device.facts(),
        f'"{ENVIRONMENT}"',
        tuple(package or ()),
        wheels=wheels,
        progress=lambda words: typer.echo(f"{device.name}: {words}", err=True),
    )
    result = _check(device)
    if as_json:
        print_json({"installed": installed, **result})
        return
    _print(result)


@command.command()
def check(
    uri: Annotated[str, typer.Argument(help="The device.", show_default=False)], *, as_json: Json = False
) -> None:
    """Show what a device is, whether its runtimes work, and what to fix.

    URI is ssh://[user@]host[:port] or adb://[serial].
    """
    if uri.startswith("adb:"):
        result = _check_phone(uri)
        if as_json:
            print_json(result)
        else:
            _print_phone(result)
        return
    result = _check(_open(uri))
    if as_json:
        print_json(result)
        return
    _print(result)


def _check_phone(uri: str) -> dict[str, Any]:
    """Facts of a phone, what measures there, and advice."""
    from mnedge.devices._check import phone_advice
    from mnedge.devices.adb import connect
    from mnedge.errors import ToolError

    phone = connect(uri)
    facts, missing, tried, program = phone.facts(), None, {}, None
    try:
        program = phone.program()
    except ToolError as exc:
        missing = str(exc)
    if program is None and missing is None:
        tried = _try(phone, phone.python_facts())
    measures_with = program or ("Python there" if missing is None else None)
    advice = phone_advice(facts, tried, missing)
    return {"device": phone.name, **facts, "measures_with": measures_with, "runtimes": tried, "advice": advice}


def _open(uri: str) -> SshDevice:
    from mnedge import devices
    from mnedge.devices.ssh import SshDevice
    from mnedge.errors import InputError

    device = devices.get(uri)
    if not isinstance(device, SshDevice):
        raise InputError(f"{uri}: `mnedge device` is for ssh://[user@]host[:port]; `check` also for adb://[serial]")
    return device


def _check(device: SshDevice) -> dict[str, Any]:
    """Facts, what each runtime does with a small model, and advice."""
    from mnedge.devices._check import advice

    facts = device.facts()
    tried = _try(device, facts)
    return {"device": device.name, **facts, "runtimes": tried, "advice": advice(facts, tried, device.uri)}


def _try(device: SshDevice | AdbDevice, facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What each runtime there does with a small model."""
    import tempfile
    from pathlib import Path

    from mnedge.devices._check import try_runtimes

    with tempfile.TemporaryDirectory(prefix="mnedge-check-") as folder:
        return try_runtimes(device, facts, _probes(Path(folder)))


def _probes(folder: Path) -> dict[str, Path]:
    """The smallest model that XNNPACK takes, for each runtime."""
    import numpy as np

    from mnedge.formats.onnx_write import write_onnx
    from mnedge.formats.tflite_write import write_tflite
    from mnedge.graph.graph import Graph, Op, Tensor, constant

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


def _print(result: dict[str, Any]) -> None:
    def gib(count: int | None) -> str | None:
        return None if count is None else f"{count / 2**30:.1f} GiB"

    packages = ", ".join(f"{name} {version}" for name, version in result["packages"].items() if version)
    throttled = result["throttled"]
    clock = result["clock_mhz"] and f"{result['clock_mhz']:.0f} of {result['clock_max_mhz'] or 0:.0f} MHz"
    rows = [
        ("board", result["board"]),
        ("emulated", "yes: its times are not a board's" if result["emulated"] else "no"),
        ("CPU", f"{result['cores']} x {result['cpu']} ({result['machine']}, {result['bits']} bits)"),
        ("memory", f"{gib(result['memory_bytes'])}, {gib(result['memory_available_bytes'])} free"),
        ("disk", f"{gib(result['disk_free_bytes'])} free"),
        ("system", f"{result['os']}, kernel {result['kernel']}, {result['libc']}"),
        ("Python", f"{result['python']} ({result['python_path']})"),
        ("packages", packages),
        *((f"{name} works", tried["says"]) for name, tried in result["runtimes"].items()),
        ("governor", result["governor"]),
        ("clock", clock),
        ("temperature", result["temperature_c"] and f"{result['temperature_c']:.1f} °C"),
        ("power", None if throttled is None else ", ".join(throttled) or "good"),
    ]
    print_table(result["device"], ("", ""), rows)
    _print_advice(result["advice"])


def _print_phone(result: dict[str, Any]) -> None:
    level = result["battery_percent"]
    battery = None if level is None else f"{level} %, {'charging' if result['charging'] else 'not charging'}"
    rows = [
        ("model", result["model"]),
        ("emulated", "yes: its times are not a phone's" if result["emulated"] else "no"),
        ("SoC", result["soc"]),
        ("Android", f"{result['android']} (SDK {result['sdk']}, {result['abi']})"),
        ("battery", battery),
        ("thermal status", result["thermal_status"]),
        ("pinned with", result["pinned"]),
        ("measures with", result["measures_with"]),
        *((f"{name} works", tried["says"]) for name, tried in result["runtimes"].items()),
    ]
    print_table(result["device"], ("", ""), rows)
    _print_advice(result["advice"])


def _print_advice(advice: list[str]) -> None:
    for line in advice:
        typer.echo(f"! {line}")
    if not advice:
        typer.echo("Ready.")
