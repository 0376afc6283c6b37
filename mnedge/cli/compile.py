"""`mnedge compile`: an int8 model as C sources, as a TFLM project, or through Vela for an Ethos-U."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnedge.cli._output import force_option, json_option, print_json
from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping


PANEL = "Build"


@click.command()
@click.argument("source", metavar="IN.tflite", type=click.Path(path_type=Path))
@click.option(
    "--target", required=True, metavar="NAME", help="cortex-m4, cortex-m7, cortex-m55, generic, or an ethos-u."
)
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write.")
@click.option("--name", metavar="N", help="Prefix of the C names; the file's name by default.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["c", "tflm"]),
    default="c",
    show_default=True,
    help="C without an interpreter, or a TFLM project.",
)
@click.option(
    "--optimise",
    type=click.Choice(["balanced", "ram", "speed"]),
    default="balanced",
    show_default=True,
    help="What the plan prefers.",
)
@click.option("--input", "feed", metavar="TENSOR", help="Compile from here on: the caller feeds this tensor.")
@click.option("--outputs", metavar="TENSOR,...", help="Compile up to here: the caller gets these tensors.")
@click.option("--budget", metavar="BYTES", help="Largest arena, e.g. 64K.")
@click.option("--stream-input", is_flag=True, help="The caller hands the picture over row by row.")
@click.option("--input-may-be-overwritten", is_flag=True, help="The picture lies in the arena and is overwritten.")
@force_option
@json_option
def command(
    source: Path,
    target: str,
    out: Path,
    name: str | None,
    form: str,
    optimise: str,
    feed: str | None,
    outputs: str | None,
    budget: str | None,
    stream_input: bool,
    input_may_be_overwritten: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Compile an int8 model for a microcontroller.

    The C is bit-exact with TFLite's reference kernels, and needs no interpreter, no allocation and no library. Ops
    that have no kernel are all named; where they stand at the ends, --input and --outputs compile the rest.

    \b
    mnedge compile model.int8.tflite --target cortex-m4 --out firmware/model
    mnedge compile model.int8.tflite --target cortex-m55 --budget 64K --stream-input --out firmware/model
    mnedge compile model.int8.tflite --target ethos-u55-128 --out firmware/model
    """
    from mnedge import targets
    from mnedge.artifact import check_folder

    chosen = targets.get(target)
    check_folder(out, kind="compiled model", force=force)
    name = default_name(source) if name is None else name
    data = _part(_read(source), str(source), feed, outputs)
    digest = hashlib.sha256(data).hexdigest()
    if chosen.accelerator:
        from mnedge.codegen.vela import compile_vela

        result: Mapping[str, Any] = compile_vela(
            data, name=name, target=target, out=out, model_sha256=digest, force=force
        )
    elif form == "tflm":
        from mnedge.codegen.tflm import compile_tflm
        from mnedge.formats.tflite_read import parse_tflite

        graph = parse_tflite(data, str(source))
        result = compile_tflm(graph, model=data, name=name, target=target, out=out, model_sha256=digest, force=force)
    else:
        result = _compile_c(
            source, data, name=name, target=target, out=out, optimise=optimise, budget_bytes=parse_bytes(budget),
            stream_input=stream_input, input_may_be_overwritten=input_may_be_overwritten, model_sha256=digest,
            force=force,
        )  # fmt: skip
    if as_json:
        print_json(result)
    else:
        _print(result, out)


def _compile_c(source: Path, data: bytes, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - passed on
    from dataclasses import asdict

    from mnedge.codegen.compile import compile_c
    from mnedge.formats.tflite_read import parse_tflite

    return asdict(compile_c(parse_tflite(data, str(source)), model=data, **options))


def _part(data: bytes, source: str, feed: str | None, outputs: str | None) -> bytes:
    """The model, or what of it lies between the named tensors."""
    if feed is None and outputs is None:
        return data
    from mnedge.formats.tflite_read import parse_tflite
    from mnedge.formats.tflite_write import write_tflite
    from mnedge.graph.cut import cut

    names = [name.strip() for name in (outputs or "").split(",") if name.strip()]
    return write_tflite(cut(parse_tflite(data, source), [feed] if feed else [], names))


def _read(source: Path) -> bytes:
    try:
        return source.read_bytes()
    except OSError as exc:
        raise InputError(f"{source} cannot be read: {exc.strerror}") from exc


def default_name(source: Path) -> str:
    """A C identifier from the file's name, e.g. mobilenet_v3_small_1_0_224_int8."""
    stem = re.sub(r"\W+", "_", source.name.removesuffix(".tflite"), flags=re.ASCII).strip("_")
    return stem if stem and stem[0].isalpha() else f"model_{stem}".rstrip("_")


def parse_bytes(text: str | None) -> int | None:
    """A number of bytes such as "65536", "64K" or "1M"; K is 1,024 bytes.

    Raises:
        InputError: It is none.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)\s*([KkMm]?)(?:i?[Bb])?", text.strip())
    if match is None or int(match[1]) == 0:
        raise InputError(f"--budget {text!r} is no size; give bytes, or kibibytes as in 64K")
    return int(match[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20}[match[2].lower()]


def _print(result: Mapping[str, Any], out: Path) -> None:
    click.echo(f"{out}: {result['name']} for {result['target']}")
    for key, unit in (
        ("arena_bytes", "bytes"),
        ("ram_bytes", "bytes with input and output"),
        ("flash_bytes", "bytes"),
        ("stack_bytes", "bytes"),
        ("instructions", "an inference, emulated"),
    ):
        if result.get(key) is not None:
            click.echo(f"  {key.removesuffix('_bytes'):<13}{result[key]:>12,} {unit}")
    for key in ("vectors", "verified", "cpu_ops"):
        if result.get(key):
            click.echo(f"  {key:<13}{result[key]}")
    for line in result.get("plan", ()):
        click.echo(f"  {line}")
