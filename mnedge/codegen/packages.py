"""Package files of a folder of C: CMake, ESP-IDF, Zephyr, Arduino and PlatformIO, one file each."""

from __future__ import annotations

import json
from dataclasses import dataclass

VERSION = "1.0.0"
_CMAKE = """cmake_minimum_required(VERSION 3.13)

# A component of ESP-IDF, a module of Zephyr, or a library of any other project.
if(ESP_PLATFORM)
  idf_component_register(SRCS @SOURCES@ INCLUDE_DIRS .)
  target_compile_options(${COMPONENT_LIB} PRIVATE @OPTIMIZE@)
  return()
endif()
if(COMMAND zephyr_library_named)
  zephyr_library_named(@NAME@)
  zephyr_library_sources(@SOURCES@)
  zephyr_library_compile_options(@OPTIMIZE@)
  zephyr_include_directories(${CMAKE_CURRENT_SOURCE_DIR})
  return()
endif()

project(@NAME@ C)
add_library(@NAME@ STATIC @SOURCES@)
target_include_directories(@NAME@ PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
set_target_properties(@NAME@ PROPERTIES C_STANDARD 99 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF)
if(CMAKE_C_COMPILER_ID MATCHES "GNU|Clang")
  target_compile_options(@NAME@ PRIVATE @OPTIMIZE@ -Wall -Wextra -Wconversion -pedantic)
endif()
"""
_CMAKE_MATHEMATICS = """if(UNIX OR CMAKE_CROSSCOMPILING)
  target_link_libraries(@NAME@ PUBLIC m)
endif()
"""
_CMAKE_TESTS = """
if(NOT CMAKE_CROSSCOMPILING)
  enable_testing()
@TESTS@endif()
"""
_CMAKE_TEST = """  add_executable(test_@TEST@ @FILE@)
  target_link_libraries(test_@TEST@ PRIVATE @NAME@)
  add_test(NAME test_@TEST@ COMMAND test_@TEST@)
"""
_IDF = """version: "@VERSION@"
description: "@SENTENCE@"
"""
_ZEPHYR = """name: @NAME@
build:
  cmake: .
"""
_ARDUINO = """name=@NAME@
version=@VERSION@
author=mnedge
maintainer=mnedge
sentence=@SENTENCE@
paragraph=No interpreter, no allocation, no library.
category=Data Processing
url=https://www.arduino.cc/reference/en/libraries/
architectures=*
includes=@NAME@.h
"""


@dataclass(frozen=True)
class Package:
    """A folder of C as a library.

    Attributes:
        name: The library's, and of its header.
        sentence: Description of it.
        sources: Names of the files to compile.
        tests: Test programs by their model's name, as paths in the folder.
        optimize: Option of the compiler, e.g. "-O3".
        mathematics: Whether it needs the mathematics library.
    """

    name: str
    sentence: str
    sources: tuple[str, ...]
    tests: tuple[tuple[str, str], ...]
    optimize: str
    mathematics: bool = False


def package_files(package: Package) -> dict[str, str]:
    """The files by their path in the folder.

    The IDE of Arduino compiles every source beside library.properties; the others name theirs.
    """
    tests = "".join(_CMAKE_TEST.replace("@TEST@", test).replace("@FILE@", file) for test, file in package.tests)
    cmake = _CMAKE + (_CMAKE_MATHEMATICS if package.mathematics else "")
    cmake += _CMAKE_TESTS.replace("@TESTS@", tests) if tests else ""
    words = {
        "NAME": package.name,
        "SENTENCE": package.sentence,
        "SOURCES": " ".join(package.sources),
        "OPTIMIZE": package.optimize,
        "VERSION": VERSION,
    }
    texts = {
        "CMakeLists.txt": cmake,
        "idf_component.yml": _IDF,
        "library.properties": _ARDUINO,
        "zephyr/module.yml": _ZEPHYR,
    }
    for key, word in words.items():
        texts = {file: text.replace(f"@{key}@", word) for file, text in texts.items()}
    return {**texts, "library.json": _platformio(package)}


def _platformio(package: Package) -> str:
    manifest = {
        "name": package.name,
        "version": VERSION,
        "description": package.sentence,
        "headers": f"{package.name}.h",
        "frameworks": "*",
        "platforms": "*",
        "build": {
            "srcDir": ".",
            "includeDir": ".",
            "srcFilter": [f"+<{source}>" for source in package.sources],
            "unflags": ["-Os"],
            "flags": [package.optimize],
        },
    }
    return json.dumps(manifest, indent=2) + "\n"
