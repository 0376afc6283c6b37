"""`mnedge compile`: an int8 model as C sources, as a TFLM project, or through Vela for an Ethos-U."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnedge.choices import Form, Prefer
from mnedge.cli import _options as options
from mnedge.cli._layers import print_layers
from mnedge.cli._options import Force, Json
from mnedge.cli._output import print_json, say

if TYPE_CHECKING:
    from mnedge.results.compilation import Compilation, CSources


PANEL = "Build"


def command(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL",
            help="An int8 .tflite or QDQ .onnx; several become one library that shares kernels.",
            show_default=False,
        ),
    ],
    *,
    target: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Target: a Cortex-M, esp32-c3, esp32-s3, rv32imc, generic, or an ethos-u; see `mnedge targets`.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, options.out_folder("Write into this folder.")],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Prefix of the C names; of several models, the library. [default: the file's name; models]",
        ),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="C without an interpreter, or a TFLM project.")] = "c",
    prefer: Annotated[
        Prefer,
        typer.Option(
            help="Preference: ram, the smallest arena; speed, layer by layer; balanced, in between; flash, that with "
            "weights of one byte where two are faster on a Cortex-M4, M7 or M33."
        ),
    ] = "balanced",
    feed: Annotated[
        str | None, typer.Option("--input", metavar="TENSOR", help="Compile from this tensor on: the caller feeds it.")
    ] = None,
    outputs: Annotated[
        str | None, typer.Option(metavar="TENSOR,...", help="Compile up to these tensors: the caller gets them.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="BYTES", help="Largest arena: bytes, or with a unit, e.g. 64K.")
    ] = None,
    stream_input: Annotated[
        bool, typer.Option("--stream-input", help="Let the caller hand the picture over row by row.")
    ] = False,
    input_may_be_overwritten: Annotated[
        bool,
        typer.Option("--input-may-be-overwritten", help="Keep the picture in the arena, where values overwrite it."),
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compile an int8 model for a microcontroller.

    The C is bit-exact with TFLite's reference kernels, and needs no interpreter, no allocation and no library. The
    folder is a CMake project, an Arduino library, a component of ESP-IDF, a PlatformIO library and a Zephyr module. Ops
    that have no kernel are all named; where they stand at the ends, --input and --outputs compile the rest.

    \b
    mnedge compile model.int8.tflite --target cortex-m4 --out firmware/model
    mnedge compile model.int8.tflite --target cortex-m55 --budget 64K --stream-input --out firmware/model
    mnedge compile wake.tflite person.tflite --target esp32-s3 --out firmware/models
    mnedge compile model.int8.tflite --target ethos-u55-128 --out firmware/model
    """
    from mnedge.workflows.compile import compile  # noqa: A004 - the verb is called so

    result = compile(
        models,
        out,
        target,
        name=name,
        form=form,
        prefer=prefer,
        feed=feed,
        outputs=[entry.strip() for entry in (outputs or "").split(",") if entry.strip()],
        # Plain bytes need no unit here.
        budget_bytes=int(budget) if budget is not None and budget.isdecimal() else budget,
        stream_input=stream_input,
        input_may_be_overwritten=input_may_be_overwritten,
        force=force,
    )
    if as_json:
        print_json(result)
    else:
        _print(result, out)


def _print(result: Compilation, out: Path) -> None:
    from mnedge.results.compilation import CSources, Firmware, VelaModel

    say(f"{out}: {result.name} for {result.target}")
    for name, value, unit in result.figures():
        if value is not None:
            say(f"  {name:<13}{value:>12,} {unit}")
    if isinstance(result, Firmware):
        for model in result.models:
            _print(model, out / model.name)
    elif isinstance(result, CSources):
        _print_sources(result)
    elif isinstance(result, VelaModel) and result.cpu_ops:
        say(f"  {'cpu_ops':<13}{', '.join(result.cpu_ops)}")


def _print_sources(result: CSources) -> None:
    from mnedge.results.compilation import slowest_first

    for name, text in (("vectors", result.vectors), ("verified", result.verified)):
        if text:
            say(f"  {name:<13}{text}")
    for line in result.plan:
        say(f"  {line}")
    if result.instructions is not None:
        print_layers(slowest_first(result.layers))
