"""NAME.h: what it states, and what its inline functions make of real values at and past their limits."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.codegen.emit import Unit
from mnedge.codegen.header import header_text, numbered
from mnedge.codegen.lower import lower
from mnedge.codegen.plan import plan
from mnedge.graph.graph import Graph, Op, Quantization, Tensor
from mnedge.pixels import Pixels

if TYPE_CHECKING:
    from pathlib import Path

# Steps with a tie at every half; beyond -0.5 * 3.5 and 0.5 * 251.5 they end.
STEPS = Quantization.per_tensor(0.5, -124)
FLAGS = "-std=c99 -Wall -Wextra -Wconversion -Werror -fsanitize=undefined -fno-sanitize-recover=all"
_MAIN = """
#include <math.h>
#include <stdio.h>
#include "net.h"

int main(void)
{
    const float reals[] = {@REALS@, NAN, INFINITY, -INFINITY};
    for (unsigned i = 0; i < sizeof reals / sizeof *reals; i++) {
        printf("%d ", net_quantize0(reals[i]));
    }
    printf("%g %g\\n", (double)net_dequantize(-124), (double)net_dequantize(127));
    return 0;
}
"""


def _unit(inputs: int, *, streamed: bool = False) -> Unit:
    names = tuple(f"x{place}" for place in range(inputs))
    tensors = {name: Tensor(name, (1, 4, 6, 3), "int8", STEPS) for name in (*names, "y")}
    op = Op("RELU6", names, ("y",), {}) if inputs == 1 else Op("MAXIMUM", names, ("y",), {})
    program = lower(Graph(tensors, (op,), names, ("y",)))
    return Unit("net", program, plan(program, "portable", streamed=streamed), "portable", "a network")


def _macros(text: str) -> dict[str, str]:
    lines = (line.split() for line in text.splitlines() if line.startswith("#define NET_"))
    return {words[1]: words[2] for words in lines if len(words) > 2}


def test_several_inputs_are_numbered_and_have_their_places() -> None:
    one, two = _macros(header_text(_unit(1))), _macros(header_text(_unit(2)))
    assert one["NET_INPUT_BYTES"] == "72"
    assert {"NET_INPUT0_BYTES", "NET_INPUT_OFFSET"}.isdisjoint(one)
    assert (two["NET_INPUT_BYTES"], two["NET_INPUT0_BYTES"]) == ("144", "72")
    assert (two["NET_INPUT0_OFFSET"], two["NET_INPUT1_OFFSET"]) == ("0", "72")
    assert [numbered("INPUT", 1, [None] * count) for count in (1, 2)] == ["INPUT", "INPUT1"]  # type: ignore[list-item]


def test_calls_row_by_row_are_declared_where_the_picture_is_streamed() -> None:
    assert "int net_row(const int8_t *input, void *arena);" in header_text(_unit(1, streamed=True))
    assert "net_row" not in header_text(_unit(1))


def test_the_picture_is_described_where_its_pixels_are_known() -> None:
    text = header_text(_unit(1), Pixels.between(-1.0, 1.0))
    assert "a picture of 4 rows of 6 pixels" in text
    assert "Each step is round(real / INPUT_SCALE)" in text
    assert "picture" not in header_text(_unit(1)).partition("#define")[0]
    assert "a picture of" not in header_text(_unit(2), Pixels.between(-1.0, 1.0))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
def test_reals_past_the_limits_and_ties_become_the_steps_of_quantize(tmp_path: Path) -> None:
    reals = np.array([-2.0, -1.75, -0.75, -0.25, 0.0, 0.25, 0.74, 0.75, 125.24, 125.25, 400.0])
    # Half away from zero, before the zero point.
    wanted = np.sign(reals) * np.floor(np.abs(reals / 0.5) + 0.5) - 124
    (tmp_path / "net.h").write_text(header_text(_unit(2)))
    listed = ", ".join(f"{real}f" for real in reals)
    (tmp_path / "main.c").write_text(_MAIN.replace("@REALS@", listed))
    subprocess.run(["gcc", *FLAGS.split(), "main.c", "-o", "main"], cwd=tmp_path, check=True)
    words = subprocess.run(["./main"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.split()
    *steps, nan, most, least = (int(word) for word in words[:-2])
    assert steps == np.clip(wanted, -128, 127).astype(int).tolist()
    assert (nan, most, least) == (-128, 127, -128)
    assert words[-2:] == ["0", "125.5"]
