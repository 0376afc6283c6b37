"""The rest of the folder: CMakeLists.txt, and a test program with vectors."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from mnedge.codegen.emit import io_types
from mnedge.codegen.program import int_array

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.codegen.emit import Unit
    from mnedge.codegen.vectors import Vectors

_CMAKE = """cmake_minimum_required(VERSION 3.13)
project(@NAME@ C)

add_library(@NAME@ STATIC @NAME@.c@BESIDE@)
target_include_directories(@NAME@ PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
set_target_properties(@NAME@ PROPERTIES C_STANDARD 99 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF)
if(CMAKE_C_COMPILER_ID MATCHES "GNU|Clang")
  target_compile_options(@NAME@ PRIVATE -O2 -Wall -Wextra -Wconversion -pedantic)
endif()
"""
_CMAKE_MATHEMATICS = """if(UNIX OR CMAKE_CROSSCOMPILING)
  target_link_libraries(@NAME@ PUBLIC m)
endif()
"""
_CMAKE_TEST = """
if(NOT CMAKE_CROSSCOMPILING)
  enable_testing()
  add_executable(test_@NAME@ test_@NAME@.c)
  target_link_libraries(test_@NAME@ PRIVATE @NAME@)
  add_test(NAME test_@NAME@ COMMAND test_@NAME@)
endif()
"""


def write(folder: Path, unit: Unit, vectors: Vectors, beside: tuple[str, ...] = ()) -> None:
    """Writes CMakeLists.txt and, where there are vectors, test_NAME.c.

    Args:
        folder: Where.
        unit: The compiled model.
        vectors: What the test compares.
        beside: Names of further sources; they need the mathematics library.
    """
    has_test = vectors.inputs is not None and vectors.outputs is not None
    cmake = _CMAKE + (_CMAKE_MATHEMATICS if beside else "") + (_CMAKE_TEST if has_test else "")
    cmake = cmake.replace("@BESIDE@", "".join(f" {name}" for name in beside))
    (folder / "CMakeLists.txt").write_text(cmake.replace("@NAME@", unit.name))
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
