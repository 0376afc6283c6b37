"""`compile`: an int8 .tflite or QDQ .onnx to C sources, to a TFLM project, or through Vela for an Ethos-U."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge import targets
from mnedge.amounts import bytes_of
from mnedge.artifact import check_folder
from mnedge.errors import InputError
from mnedge.foreign import MODEL_BYTES, read_file
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.sources.onnx import read_int8

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.choices import Form, Prefer
    from mnedge.codegen.firmware import Part as FirmwarePart
    from mnedge.results.compilation import Compilation


# Internal names that C99 compilers tell apart have so many characters.
_LONGEST_NAME = 63


def compile(  # noqa: A001 - the verb is called so, as the command is
    model: Path | str | Sequence[Path | str],
    out: Path | str,
    target: str,
    *,
    name: str | None = None,
    form: Form = "c",
    prefer: Prefer = "balanced",
    feed: str | None = None,
    outputs: Sequence[str] = (),
    budget_bytes: int | str | None = None,
    stream_input: bool = False,
    input_may_be_overwritten: bool = False,
    measure: bool = True,
    force: bool = False,
) -> Compilation:
    """Compiles an int8 model for a microcontroller; the folder appears whole or not at all.

    Args:
        model: An int8 .tflite, with int8 or uint8 ends; or a QDQ int8 .onnx, whose ends become int8. Several become one
            library of C, in which they share kernels.
        out: Folder to write.
        target: Name of a target with C kernels or an Ethos-U, which is compiled for through Vela.
        name: Prefix of the C names; None for the file's name. Of several models, the name of the library; None for
            "models".
        form: C without an interpreter, or a TFLM project; an Ethos-U has one form.
        prefer: Preference: "ram", the smallest arena; "speed", layer by layer; "balanced"; "flash", as balanced with
            weights of one byte where two are faster on Armv7E-M.
        feed: Tensor to compile from, which the caller feeds; None for the input.
        outputs: Tensors to compile up to, which the caller gets; none for the outputs.
        budget_bytes: Largest arena, as a number of bytes or as text with its unit, e.g. "64K"; None for any.
        stream_input: Make calls that take the picture row by row.
        input_may_be_overwritten: Keep the input in the arena, where later values overwrite it.
        measure: Build C and run it on the emulated board, where the tools are there.
        force: Write into a folder that is not an unchanged one of mnedge's.

    Returns:
        The CSources, Firmware, TflmProject or VelaModel; its JSON is the folder's manifest.json.

    Raises:
        InputError: The model cannot be read, a tensor or target is not there, or the name is no C identifier.
        UnsupportedError: The target takes no C, or an op has no kernel.
        BudgetError: No plan fits the budget.
        ToolError: A compiler, the emulator, tflite-micro or Vela failed or is missing.
    """
    from mnedge.codegen.compile import MemoryOptions, compile_c

    sources = [Path(model)] if isinstance(model, (str, Path)) else [Path(entry) for entry in model]
    folder = Path(out)
    chosen = targets.get(target)
    options = MemoryOptions(prefer, bytes_of(budget_bytes, "--budget"), stream_input, input_may_be_overwritten)
    check_folder(folder, kind="compiled model", force=force)
    if len(sources) != 1:
        if not sources or form != "c" or chosen.accelerator or feed or outputs:
            raise InputError(
                f"{len(sources)} models were given; several become C together, whole; compile one at a time for an "
                "Ethos-U, --format tflm, --input and --outputs"
            )
        from mnedge.codegen.firmware import compile_firmware

        return compile_firmware(
            [_firmware_part(source) for source in sources],
            name=name or "models",
            target=target,
            out=folder,
            options=options,
            measure=measure,
            force=force,
        )
    (source,) = sources
    prefix = default_name(source) if name is None else name
    data = _part(_read(source), str(source), feed, outputs)
    digest = hashlib.sha256(data).hexdigest()
    if chosen.accelerator:
        from mnedge.codegen.vela import compile_vela

        return compile_vela(data, name=prefix, target=target, out=folder, model_sha256=digest, force=force)
    if form == "tflm":
        from mnedge.codegen.tflm import compile_tflm

        return compile_tflm(data, name=prefix, target=target, out=folder, model_sha256=digest, force=force)
    graph = parse_tflite(data, str(source), stateful=True)

    return compile_c(
        graph,
        model=data,
        name=prefix,
        target=target,
        out=folder,
        options=options,
        model_sha256=digest,
        measure=measure,
        force=force,
    )


def _firmware_part(source: Path) -> FirmwarePart:
    from mnedge.codegen.firmware import Part

    data = _read(source)
    graph = parse_tflite(data, str(source), stateful=True)
    return Part(default_name(source), graph, data, hashlib.sha256(data).hexdigest())


def default_name(source: Path) -> str:
    """A C identifier from the file's name, e.g. mobilenet_v3_small_1_0_224_int8, at most 63 characters."""
    base = re.sub(r"\.(tflite|lite|onnx)$", "", source.name)
    stem = re.sub(r"\W+", "_", base, flags=re.ASCII).strip("_")
    name = stem if stem and stem[0].isalpha() else f"model_{stem}".rstrip("_")
    return name[:_LONGEST_NAME].rstrip("_")


def _part(data: bytes, source: str, feed: str | None, outputs: Sequence[str]) -> bytes:
    """The model, or what of it lies between the named tensors."""
    if feed is None and not outputs:
        return data
    from mnedge.graph.cut import cut

    return write_tflite(cut(parse_tflite(data, source), [feed] if feed else [], list(outputs)))


def _read(source: Path) -> bytes:
    return write_tflite(read_int8(source)) if source.suffix == ".onnx" else read_file(source, MODEL_BYTES)
