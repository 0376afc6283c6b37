"""The microcontroller bundle, built: CMake on this machine, the Arduino library with the Arm compiler."""

import io
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from mnedge.bundles.microcontroller import _c_string
from mnedge.errors import InputError
from mnedge.workflows.bundle import bundle
from mnedge.workflows.release import Release

_NAME = "mobilenet_v1_0_25_48"
_SANITIZERS = "-DCMAKE_C_FLAGS=-fsanitize=address,undefined -fno-sanitize-recover=all"
_MAIN = """
#include <stdio.h>
#include "NAME.h"
#include "NAME_labels.h"
static uint64_t arena[(UPPER_ARENA_BYTES + 7) / 8];
static int8_t picture[UPPER_INPUT_BYTES], scores[UPPER_OUTPUT_BYTES];
int main(void) {
    for (int at = 0; at < UPPER_INPUT_BYTES; at++) picture[at] = (int8_t)(at * 7);
    if (NAME_run(picture, scores, arena)) return 1;
    for (int at = 0; at < UPPER_OUTPUT_BYTES; at++) printf("%s %d\\n", NAME_labels[at], scores[at]);
    return 0;
}
"""
# Declarations only, so that the sketch is type-checked and compiled; linking is for the board's own package.
_ARDUINO = """
#include <stdint.h>
struct HardwareSerial { void begin(long); void print(const char *); void print(char); void print(unsigned long);
                        void println(const char *); };
extern HardwareSerial Serial;
unsigned long micros();
void delay(unsigned long);
"""


@pytest.fixture(scope="module")
def firmware(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("firmware") / "bundle"
    bundle(built, "microcontroller", out, Release(version="1.2.3"))
    return out


@pytest.mark.skipif(shutil.which("cmake") is None or shutil.which("gcc") is None, reason="no cmake and gcc")
def test_cmake_builds_it_into_a_program_that_says_what_litert_says(firmware: Path, built: Path, tmp_path: Path) -> None:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    (tmp_path / "main.c").write_text(_MAIN.replace("UPPER", _NAME.upper()).replace("NAME", _NAME))
    (tmp_path / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.13)\nproject(app C)\nadd_subdirectory({firmware / 'cmake'} model)\n"
        f"add_executable(app main.c)\ntarget_link_libraries(app PRIVATE {_NAME})\n"
    )
    subprocess.run(["cmake", _SANITIZERS, "-S", tmp_path, "-B", tmp_path / "b"], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", tmp_path / "b"], check=True, capture_output=True)
    said = subprocess.run([tmp_path / "b" / "app"], check=True, capture_output=True, text=True).stdout.split()
    interpreter = Interpreter(
        str(built / "mobilenet_v1_0.25_48.cortex-m4.int8.tflite"),
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    picture = (np.arange(48 * 48 * 3) * 7).astype(np.int8).reshape(1, 48, 48, 3)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
    interpreter.invoke()
    scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
    assert said[0::2] == [str(digit) for digit in range(10)]
    assert list(map(int, said[1::2])) == scores.tolist()


@pytest.mark.skipif(shutil.which("cmake") is None or shutil.which("gcc") is None, reason="no cmake and gcc")
def test_the_project_tests_itself(firmware: Path, tmp_path: Path) -> None:
    configure: list[str | Path] = ["cmake", _SANITIZERS, "-S", firmware / "cmake", "-B", tmp_path / "b"]
    subprocess.run(configure, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", tmp_path / "b"], check=True, capture_output=True)
    done = subprocess.run(
        ["ctest", "--test-dir", tmp_path / "b", "--no-tests=error"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(shutil.which("arm-none-eabi-g++") is None, reason="no arm-none-eabi-g++")
def test_the_arduino_library_compiles_for_the_board(firmware: Path, tmp_path: Path) -> None:
    library = firmware / "arduino" / _NAME
    (tmp_path / "Arduino.h").write_text(_ARDUINO)
    # As the Arduino IDE does with a sketch.
    (tmp_path / "sketch.cpp").write_text(
        f'#include "Arduino.h"\n{(library / "examples" / "classify" / "classify.ino").read_text()}'
    )
    flags = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-Os", "-Wall", "-Werror", "-c"]
    subprocess.run(
        ["arm-none-eabi-gcc", *flags, "-std=gnu11", library / "src" / f"{_NAME}.c", "-o", tmp_path / "model.o"],
        check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(
        ["arm-none-eabi-g++", *flags, "-std=gnu++11", "-I", library / "src", "-I", tmp_path, tmp_path / "sketch.cpp",
         "-o", tmp_path / "sketch.o"], check=True, capture_output=True,
    )  # fmt: skip


def test_the_library_is_laid_out_as_arduino_wants(firmware: Path) -> None:
    library = firmware / "arduino" / _NAME
    rows = dict(line.split("=", 1) for line in (library / "library.properties").read_text().splitlines())
    assert rows["name"] == _NAME
    assert rows["version"] == "1.2.3"
    assert {"author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"} <= set(rows)
    # Everything in src/ is compiled into every sketch: a main of ours must not be there.
    assert not [path for path in (library / "src").iterdir() if re.search(r"\bmain\s*\(", path.read_text())]
    with zipfile.ZipFile(io.BytesIO((firmware / "arduino" / f"{_NAME}.zip").read_bytes())) as archive:
        assert archive.testzip() is None
        packed = {name: archive.read(name) for name in archive.namelist()}
    unpacked = {
        path.relative_to(library.parent).as_posix(): path.read_bytes() for path in library.rglob("*") if path.is_file()
    }
    assert packed == unpacked


def test_the_readme_has_the_exact_sizes(firmware: Path) -> None:
    compiled = json.loads((firmware / "cmake" / "manifest.json").read_text())
    header = (firmware / "cmake" / f"{_NAME}.h").read_text()
    text = (firmware / "README.md").read_text()
    assert f"| {compiled['arena_bytes']:,} |" in text
    assert f"| {compiled['ram_bytes']:,} |" in text
    macro = re.search(r"_ARENA_BYTES (\d+)", header)
    assert macro
    assert int(macro[1]) == compiled["arena_bytes"]


def test_any_label_is_a_c_string(tmp_path: Path) -> None:
    labels = ['quo"te', "back\\slash", "tri??/graph", "Käse", "new\tline", "digits 1\x019"]
    text = "".join(f"puts({_c_string(label)});" for label in labels)
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    (tmp_path / "t.c").write_text(f"#include <stdio.h>\nint main(void) {{ {text} return 0; }}\n")
    subprocess.run(["gcc", "-std=c99", "-trigraphs", tmp_path / "t.c", "-o", tmp_path / "t"], check=True)
    said = subprocess.run([tmp_path / "t"], check=True, capture_output=True).stdout
    assert said == "".join(f"{label}\n" for label in labels).encode()


def test_a_build_without_c_says_what_to_do(own_build: Path, changed_manifest, tmp_path: Path) -> None:  # noqa: ANN001
    def without_c(manifest: dict) -> None:
        manifest["artifacts"] = [row for row in manifest["artifacts"] if row["format"] != "c"]

    changed_manifest(own_build, without_c)
    with pytest.raises(InputError, match="no C sources; build it with a target that takes C"):
        bundle(own_build, "microcontroller", tmp_path / "out", Release())
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="unknown C target of this build 'cortex-m7'"):
        bundle(own_build, "microcontroller", tmp_path / "out", Release(target="cortex-m7"))
