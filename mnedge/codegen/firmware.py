"""Several models as one library of C: each in a folder of its own, compiled as one unit, so that kernels are shared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge import artifact, targets
from mnedge.codegen.compile import MemoryOptions, check_name, compile_c, core_of
from mnedge.codegen.packages import Package
from mnedge.codegen.project import optimize_option, write_package
from mnedge.devices import _boards, _emulated
from mnedge.errors import InputError, UnsupportedError
from mnedge.results.compilation import CSources, Firmware
from mnedge.results.stored import to_json
from mnedge.runtimes.compiled_c import read_header

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnedge.graph.graph import Graph

_DEFAULTS = MemoryOptions()


@dataclass(frozen=True)
class Part:
    """A model of the firmware.

    Attributes:
        name: Prefix of its C names, and its folder.
        graph: The model.
        data: Its .tflite.
        sha256: Checksum of that.
    """

    name: str
    graph: Graph
    data: bytes
    sha256: str


def compile_firmware(
    parts: Sequence[Part],
    *,
    name: str,
    target: str,
    out: Path,
    options: MemoryOptions = _DEFAULTS,
    measure: bool = True,
    force: bool = False,
) -> Firmware:
    """Writes a library of several models; the folder appears whole or not at all.

    Args:
        parts: The models.
        name: Name of the library: NAME.c and NAME.h stand for all models.
        target: Name of a target with a kernel set.
        out: Folder to write.
        options: Options of the models' memory.
        measure: Build and run the code of each model on the emulated board where the tools are there.
        force: Write into a folder that is not an unchanged one of mnedge's.

    Raises:
        InputError: Two models have one name, or a name is no C identifier.
        UnsupportedError: The target takes no C, or an op has no kernel.
        BudgetError: No plan fits the budget.
        ToolError: The cross compiler or the emulator failed.
    """
    names = [part.name for part in parts]
    _check_names(name, names)
    with artifact.folder(out, kind="compiled model", force=force) as folder:
        models = tuple(
            compile_c(
                part.graph,
                name=part.name,
                target=target,
                out=folder / part.name,
                options=options,
                model_sha256=part.sha256,
                model=part.data,
                measure=measure,
            )
            for part in parts
        )
        write_firmware(folder, name, target, names)
        result = _result(folder, name, target, models)
        (folder / "manifest.json").write_text(to_json(result), encoding="utf-8")
    return result


def write_firmware(folder: Path, name: str, target: str, names: Sequence[str]) -> None:
    """Writes what stands for all models: NAME.c, NAME.h and the files of a package.

    Args:
        folder: Folder that holds the models' folders.
        name: Name of the library.
        target: Target that the models were compiled for.
        names: Names of the models.
    """
    kernels = targets.get(target).kernels
    if not kernels:
        raise UnsupportedError(f"target {target} takes no C sources")
    sources = [path for each in names for path in (f"{each}/{each}.c", f"{each}/{each}_objects.c")]
    headers = [path for each in names for path in (f"{each}/{each}.h", f"{each}/{each}_objects.h")]
    tests = [(each, f"{each}/test_{each}.c") for each in names]
    title = f"/* {', '.join(names)}: compiled by mnedge for {target} as one unit, so that they share kernels. */\n"
    guard = f"{name.upper()}_H"
    (folder / f"{name}.c").write_text(title + _includes(folder, sources))
    (folder / f"{name}.h").write_text(
        f"{title}#ifndef {guard}\n#define {guard}\n\n{_includes(folder, headers)}\n#endif\n"
    )
    package = Package(
        name,
        f"{len(names)} int8 models as plain C that share kernels: {', '.join(names)}.",
        (f"{name}.c",),
        tuple((each, path) for each, path in tests if (folder / path).is_file()),
        optimize_option(kernels),
        any(path.endswith("_objects.c") and (folder / path).is_file() for path in sources),
    )
    write_package(folder, package)


def _includes(folder: Path, paths: Sequence[str]) -> str:
    return "".join(f'#include "{path}"\n' for path in paths if (folder / path).is_file())


def _check_names(name: str, names: Sequence[str]) -> None:
    for each in (name, *names):
        check_name(each)
    twice = sorted({each for each in names if [other.lower() for other in (name, *names)].count(each.lower()) > 1})
    if twice:
        raise InputError(
            f"{', '.join(twice)} would name two things in {name}.c; C names come from file names: rename a file, or "
            "give the library another --name"
        )


def _result(folder: Path, name: str, target: str, models: Sequence[CSources]) -> Firmware:
    """The figures of all models together."""
    kept = [model.arena_bytes for model in models if read_header(folder / model.name).has_state]
    lent = [model.arena_bytes for model in models if not read_header(folder / model.name).has_state]
    core = core_of(target)
    size = None
    if _boards.board(core).tools.compiler not in _boards.missing_tools(core):
        size = _emulated.measure_size(folder / f"{name}.c", core)
    return Firmware(
        name=name,
        target=target,
        arena_bytes=sum(kept) + max(lent, default=0),
        flash_bytes=None if size is None else size.flash_bytes,
        code_bytes=None if size is None else size.code_bytes,
        models=tuple(models),
    )
