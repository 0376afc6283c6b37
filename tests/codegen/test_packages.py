"""The folder as a package: each build system's own file, read as that build system reads it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from mnedge.codegen.compile import compile_c
from mnedge.codegen.packages import Package, package_files
from mnedge.devices import _boards
from mnedge.formats.tflite_write import write_tflite

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.graph.graph import Graph

PACKAGE = Package("tiny", "An int8 model.", ("tiny.c",), (("tiny", "test_tiny.c"),), "-O3")
# What the Arduino core for SAMD (1.8.14) passes, as its platform.txt and boards.txt of the MKR Zero say.
ARDUINO = (
    "-mcpu=cortex-m0plus -mthumb -c -g -Os -Wall -Wextra -Werror -std=gnu11 -ffunction-sections -fdata-sections "
    "-nostdlib --param max-inline-insns-single=500 -DF_CPU=48000000L -DARDUINO=10819 -DARDUINO_SAMD_MKRZERO "
    "-DARDUINO_ARCH_SAMD -D__SAMD21G18A__"
)
# Stand-ins for the functions of ESP-IDF and of Zephyr that build a library as those do.
_IDF = """function(idf_component_register)
  cmake_parse_arguments(PARSED "" "" "SRCS;INCLUDE_DIRS" ${ARGN})
  add_library(component STATIC ${PARSED_SRCS})
  target_include_directories(component PUBLIC ${PARSED_INCLUDE_DIRS})
  set(COMPONENT_LIB component PARENT_SCOPE)
endfunction()
set(ESP_PLATFORM 1)
"""
_ZEPHYR = """macro(zephyr_library_named name)
  set(ZEPHYR_CURRENT_LIBRARY ${name})
  add_library(${name} STATIC)
endmacro()
function(zephyr_library_sources)
  target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
function(zephyr_library_compile_options)
  target_compile_options(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
function(zephyr_include_directories)
  include_directories(${ARGN})
endfunction()
"""


@pytest.fixture
def folder(tmp_path: Path, small_int8: Graph) -> Path:
    out = tmp_path / "out"
    compile_c(small_int8, name="tiny", target="esp32-s3", out=out, model=write_tflite(small_int8), measure=False)
    return out


def test_platformio_compiles_the_model_alone_with_o3() -> None:
    manifest = json.loads(package_files(PACKAGE)["library.json"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", manifest["version"])
    assert (manifest["name"], manifest["headers"]) == ("tiny", "tiny.h")
    build = manifest["build"]
    assert (build["srcFilter"], build["flags"], build["unflags"]) == (["+<tiny.c>"], ["-O3"], ["-Os"])


def test_the_manifests_of_esp_idf_and_zephyr_are_yaml() -> None:
    files = package_files(PACKAGE)
    assert yaml.safe_load(files["idf_component.yml"]) == {"version": "1.0.0", "description": "An int8 model."}
    assert yaml.safe_load(files["zephyr/module.yml"]) == {"name": "tiny", "build": {"cmake": "."}}


def test_arduino_finds_a_library_with_every_property_that_it_requires() -> None:
    properties = dict(line.split("=", 1) for line in package_files(PACKAGE)["library.properties"].splitlines())
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert required <= properties.keys()
    assert properties["includes"] == "tiny.h"


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason=f"no arm-none-eabi-gcc; {_boards.ADVICE}")
def test_every_file_that_arduino_compiles_does_so_and_no_main_is_among_them(folder: Path, tmp_path: Path) -> None:
    sources = sorted(folder.glob("*.c"))
    assert [source.name for source in sources] == ["test_tiny.c", "tiny.c"]
    for source in sources:
        target = tmp_path / f"{source.stem}.o"
        subprocess.run(["arm-none-eabi-gcc", *ARDUINO.split(), "-I", folder, source, "-o", target], check=True)
    symbols = [
        subprocess.run(["arm-none-eabi-nm", tmp_path / name], check=True, capture_output=True, text=True).stdout
        for name in ("test_tiny.o", "tiny.o")
    ]
    assert symbols[0] == ""
    assert " T tiny_run\n" in symbols[1]


@pytest.mark.skipif(shutil.which("cmake") is None or shutil.which("gcc") is None, reason="no cmake and gcc")
@pytest.mark.parametrize("system", [_IDF, _ZEPHYR, ""], ids=["esp-idf", "zephyr", "cmake"])
def test_one_cmake_file_serves_each_build_system(folder: Path, tmp_path: Path, system: str) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.13)\nproject(app C)\n{system}add_subdirectory({folder} model)\n"
    )
    argv = ["cmake", "-DCMAKE_EXPORT_COMPILE_COMMANDS=1", "-S", str(tmp_path), "-B", str(tmp_path / "b")]
    subprocess.run(argv, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", tmp_path / "b"], check=True, capture_output=True)
    (library,) = (tmp_path / "b").rglob("*.a")
    assert library.name == ("libcomponent.a" if system == _IDF else "libtiny.a")
    commands = json.loads((tmp_path / "b" / "compile_commands.json").read_text())
    (command,) = [entry["command"] for entry in commands if entry["file"].endswith("/tiny.c")]
    assert "-O3" in command
