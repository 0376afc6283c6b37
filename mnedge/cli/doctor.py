"""`mnedge doctor`: a diagnosis of this installation, or of a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnedge.cli import _options as options
from mnedge.cli._options import Force, Json
from mnedge.cli._output import print_json, print_table, progress, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnedge.results.diagnosis import Diagnosis, End, Outlook

PANEL = "Look"

_ORIGINS = {
    "told": "as told",
    "metadata": "from the file's metadata or its input's steps",
    "graph": "as the model's first ops show",
    "shown": "as labelled pictures show",
}
_NAMED = 8
_SPELT = 3
_NARROWEST = 40


def command(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MODEL]", help="Also a model to look at: a .keras, .h5, SavedModel folder, .tflite or .onnx."
        ),
    ] = None,
    *,
    data: Annotated[
        str | None, options.data("With MODEL: labelled pictures, which may show the range of its pixels.")
    ] = None,
    pixels: Annotated[str | None, options.pixels("With MODEL: ")] = None,
    size: Annotated[str | None, options.size("With MODEL: ")] = None,
    signature: Annotated[str | None, options.signature("With MODEL: ")] = None,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Also load TensorFlow and ask it for GPUs, which takes seconds.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write versions, machine and log into FILE, without your paths and names."),
    ] = None,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --report: the log to add. [default: that of MNEDGE_LOG]")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Diagnose this installation, or a model.

    Without MODEL: packages, programs and this machine, and how to get missing parts. With MODEL: its content, its way
    to int8, the options that it needs, and the ops that stay float or are refused for each target. Nothing is
    quantized.

    \b
    mnedge doctor
    mnedge doctor my.keras
    mnedge doctor my.keras --data photos
    mnedge doctor --report issue.txt

    Exits with 4 if a part is missing that `mnedge build` needs.
    """
    from mnedge.errors import InputError

    if model is None:
        told = (("--data", data), ("--pixels", pixels), ("--size", size), ("--signature", signature))
        if named := [name for name, value in told if value]:
            raise InputError(f"{named[0]} is of a model; name it: mnedge doctor MODEL {named[0]} …")
        if report is not None:
            _report(report, log, gpu=gpu, force=force)
            return
        if log is not None:
            raise InputError("--log is of --report; give --report FILE")
        _installation(gpu=gpu, as_json=as_json)
        return
    if report is not None or log is not None:
        raise InputError("--report and --log are of this installation; leave MODEL out")
    if gpu:
        raise InputError("--gpu is of this installation; leave MODEL out")
    from mnedge.recipe import parse_size
    from mnedge.workflows.doctor_model import diagnose

    with progress() as said:
        found = diagnose(model, data, pixels=pixels, size=parse_size(size), signature=signature, progress=said)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _report(place: Path, log: Path | None, *, gpu: bool, force: bool) -> None:
    from mnedge.artifact import check_file, deliver
    from mnedge.cli._log import VARIABLE
    from mnedge.workflows.doctor import doctor, issue_report

    check_file(place, force=force)
    kept = os.environ.get(VARIABLE)
    deliver(place, issue_report(doctor(gpu=gpu), log or (Path(kept) if kept else None)), force=force)
    say(f"{place} holds versions, machine and log; read it, and attach it to your report")


def _installation(*, gpu: bool, as_json: bool) -> None:
    from mnedge.errors import ToolError
    from mnedge.workflows.doctor import doctor

    found = doctor(gpu=gpu)
    if as_json:
        print_json(found)
    else:
        for title, needed in (("Needed by build", True), ("Gives more", False)):
            print_table(
                title,
                ("", "part", "version", "what it gives", "how to get it"),
                (
                    (
                        "ok" if part.version else "MISSING" if part.needed else "-",
                        part.name,
                        part.version,
                        part.gives,
                        "" if part.version else part.get,
                    )
                    for part in found.parts
                    if part.needed == needed
                ),
            )
        print_table("This machine", ("", ""), found.machine.items())
        if found.gpus is not None:
            say(f"TensorFlow sees {', '.join(found.gpus) if found.gpus else 'no GPU; training runs on the CPU'}")
    if found.missing:
        commands = "; ".join(part.get for part in found.missing)
        raise ToolError(f"{', '.join(part.name for part in found.missing)} missing, which build needs; {commands}")


def _print(found: Diagnosis) -> None:
    """Writes the page, wrapped to the terminal; commands stay unbroken for pasting."""
    _section("What it is", _is(found))
    _section("What mnedge does with it", _sentences(found.plan))
    _section("What it needs to be told", _needs(found))
    _section("For each target", _outlooks(found))
    if found.commands:
        say("Next")
        for command in found.commands:
            say(f"  {command}")


def _section(title: str, rows: Iterator[tuple[str, str]]) -> None:
    """Prints rows of a word and a text that is wrapped beside it."""
    import shutil
    import textwrap

    from mnedge.text import line

    listed = list(rows)
    if not listed:
        return
    width = max((len(word) for word, _ in listed), default=0)
    indent = " " * (width + 4 if width else 4)
    columns = max(shutil.get_terminal_size((120, 24)).columns, len(indent) + _NARROWEST)
    say(title)
    for word, text in listed:
        first = f"  {word:<{width}}  " if width else "  - "
        wrapped = textwrap.fill(
            line(text),
            columns,
            initial_indent=first,
            subsequent_indent=indent,
            break_long_words=True,
            break_on_hyphens=False,
        )
        typer.echo(wrapped)
    say("")


def _is(found: Diagnosis) -> Iterator[tuple[str, str]]:
    from mnedge.report import figures

    kind = found.what if found.precision in found.what else f"{found.what}, {found.precision}"
    yield "file", f"{found.path}: {kind}, {figures.size(found.bytes)}"
    family = "of no published MobileNet" if found.family is None else f"{found.family}, alpha {found.alpha}"
    if not found.path.endswith(".onnx"):
        yield "network", family
    cost = f"{figures.magnitude(found.parameters)} parameters, {figures.magnitude(found.macs)} multiply-adds"
    yield "cost", cost if found.assumed_size is None else f"{cost} at {'x'.join(map(str, found.assumed_size))}"
    for end in found.inputs:
        yield "input", _end(end)
    for end in found.outputs:
        yield "output", _end(end)
    if found.pixels is not None:
        yield "pixels", f"{found.pixels}, {_ORIGINS[found.pixels_origin]}"
    else:
        yield "pixels", "not known"
    labels = found.labels
    more = f", … ({len(labels)})" if len(labels) > _NAMED else ""
    yield "labels", ", ".join(labels[:_NAMED]) + more if labels else "none in the file"
    for note in found.notes:
        yield "note", note


def _end(end: End) -> str:
    if end.shape is None:
        shape = "known when run"
    else:
        shape = " x ".join("?" if extent < 0 else str(extent) for extent in end.shape) or "scalar"
    return f"{end.name}: {shape}, {end.dtype}" + (f", {end.head}" if end.head else "")


def _sentences(sentences: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    yield from (("", sentence) for sentence in sentences)


def _needs(found: Diagnosis) -> Iterator[tuple[str, str]]:
    for need in found.needs:
        yield need.option, need.why if need.required else f"{need.why} (optional)"
    if not found.needs:
        yield "", "Nothing: the file says all of it"


def _outlooks(found: Diagnosis) -> Iterator[tuple[str, str]]:
    """Targets that fare the same share a line."""
    groups: dict[str, list[str]] = {}
    for row in found.targets:
        groups.setdefault(_verdict(row), []).append(row.target)
    for verdict, names in groups.items():
        yield "", f"{_joined(names)}: {verdict}"


def _verdict(row: Outlook) -> str:
    if row.reason:
        words = f"refused: {row.reason}"
    elif row.verdict == "int8":
        words = f"ok, all {row.ops} ops int8"
    else:
        words = f"{sum(row.float_ops.values())} of {row.ops} ops stay float"
    return "; ".join((words, *row.notes))


def _joined(names: list[str]) -> str:
    """Names; many of one kind by their beginning and number."""
    begins: dict[str, list[str]] = {}
    for name in names:
        begins.setdefault(name.split("-", maxsplit=1)[0], []).append(name)
    return ", ".join(
        f"{begin}-… ({len(same)})" if len(same) > _SPELT else ", ".join(same) for begin, same in begins.items()
    )
