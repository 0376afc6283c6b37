"""The sketches of the app templates, run on this machine with a network that gives known outputs."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from mnedge.bundles._android_text import fill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Enough of Arduino to run a sketch here: what it prints goes to standard output.
_ARDUINO = """
#include <cstdint>
#include <cstdio>
struct HardwareSerial {
    void begin(long) {}
    void print(const char *text) { std::printf("%s", text); }
    void print(char one) { std::printf("%c", one); }
    void print(unsigned long number) { std::printf("%lu", number); }
    void print(double number, int digits) { std::printf("%.*f", digits, number); }
    void println(const char *text) { std::printf("%s\\n", text); }
    void println() { std::printf("\\n"); }
};
static HardwareSerial Serial;
static unsigned long micros() { return 0; }
static void delay(unsigned long) {}
"""
_TURNS = 2


@pytest.fixture
def run_sketch(tmp_path: Path) -> Callable[..., list[str]]:
    """Runs two turns of a sketch; what `net_run` writes in each stands in C.

    The fixture takes the template, its words beside those of the network, and the body of
    `int net_run(const int8_t *input, int8_t *output, void *arena)`, in which `turn` counts from 0.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")

    def run(sketch: str | None, words: dict[str, str], network: str) -> list[str]:
        assert sketch is not None
        own = {"NAME": "net", "UPPER": "NET", "IN": "int8_t", "OUT": "int8_t", "LAYOUT": "RGB"}
        header = (
            "#include <cstdint>\nstatic int turn = 0;\n"
            "#define NET_ARENA_BYTES 16\n#define NET_INPUT_BYTES 3\n#define NET_OUTPUT_BYTES 4\n"
            "#define NET_OUTPUT_ZERO_POINT 2\n#define NET_OUTPUT0_BYTES 2\n#define NET_OUTPUT1_BYTES 2\n"
            f"static int net_run(const int8_t *, int8_t *output, void *) {{ {network} }}\n"
        )
        (tmp_path / "net.h").write_text(header)
        (tmp_path / "net_labels.h").write_text(
            'static const char *const net_labels[] = {"cat", "dog", "hen", "owl"};\n'
        )
        (tmp_path / "net_objects.h").write_text(
            "#define NET_OBJECTS_MOST 4\n"
            "typedef struct { float y1, x1, y2, x2; float score; int32_t label; } net_object;\n"
            "static int32_t net_objects(const int8_t *output, net_object *objects) {\n"
            "  for (int at = 0; at < output[0]; at++) objects[at] = {0.0f, 0.25f, 1.0f, 0.75f, 0.5f, at + 1};\n"
            "  return output[0];\n}\n"
        )
        turns = f"int main() {{ setup(); for (turn = 0; turn < {_TURNS}; turn++) loop(); }}\n"
        (tmp_path / "sketch.cpp").write_text(_ARDUINO + fill(sketch, {**words, **own}) + turns)
        flags = ["-std=gnu++11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function"]
        command = [compiler, *flags, "-I", str(tmp_path), str(tmp_path / "sketch.cpp"), "-o", str(tmp_path / "sketch")]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
        done = subprocess.run([tmp_path / "sketch"], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    return run
