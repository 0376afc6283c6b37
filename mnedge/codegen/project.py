"""The rest of the folder: what makes it a package, and a test program with vectors."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from mnedge.codegen.emit import io_types
from mnedge.codegen.packages import Package, package_files
from mnedge.codegen.program import int_array

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.codegen.emit import Unit
    from mnedge.codegen.program import KernelSet
    from mnedge.codegen.vectors import Vectors


def write(folder: Path, unit: Unit, vectors: Vectors, beside: tuple[str, ...] = ()) -> None:
    """Writes the files of a package and, where there are vectors, test_NAME.c.

    Args:
        folder: Where.
        unit: The compiled model.
        vectors: Vectors that the test compares.
        beside: Names of further sources; they need the mathematics library.
    """
    has_test = vectors.inputs is not None and vectors.outputs is not None
    package = Package(
        unit.name,
        f"An int8 model as plain C, {unit.plan.arena_bytes} bytes of working memory.",
        (f"{unit.name}.c", *beside),
        ((unit.name, f"test_{unit.name}.c"),) if has_test else (),
        optimize_option(unit.kernels),
        bool(beside),
    )
    write_package(folder, package)
    if vectors.inputs is None or vectors.outputs is None:
        return
    c_in, c_out = io_types(unit)
    words = {
        "UPPER": unit.name.upper(),
        "COUNT": str(len(vectors.inputs)),
        "OUTPUT_BYTES": str(vectors.outputs.shape[1]),
        "INPUTS": int_array("int8_t", "inputs", vectors.inputs),
        "OUTPUTS": int_array("int8_t", "outputs", vectors.outputs),
        "IN": c_in,
        "OUT": c_out,
        "RESET": f"{unit.name}_reset((unsigned char *)arena_room + GUARD_BYTES)" if unit.program.states else "0",
    }
    text = files("mnedge.codegen").joinpath("test_program.c").read_text()
    for key, value in {**words, "NAME": unit.name}.items():
        text = text.replace(f"@{key}@", value)
    (folder / f"test_{unit.name}.c").write_text(text)


def write_package(folder: Path, package: Package) -> None:
    """Writes the files that make a folder of C a package."""
    for file, text in package_files(package).items():
        path = folder / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def optimize_option(kernels: KernelSet) -> str:
    """Returns the optimization level of the generated build files: portable C gains by -O3, assembly does not."""
    return "-O3" if kernels == "portable" else "-O2"
