"""Emulated boards as devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.codegen.compile import compile_c
from mnedge.codegen.vectors import reference_outputs
from mnedge.devices import _boards, qemu
from mnedge.errors import InputError, ToolError
from mnedge.formats.tflite_write import write_tflite

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnedge.codegen.vectors import Ends
    from mnedge.graph.graph import Graph


def test_an_address_names_a_core() -> None:
    device = qemu.connect("qemu://m4")
    assert (device.name, device.identity, device.core) == ("qemu://m4", "qemu://m4", "cortex-m4")
    with pytest.raises(InputError, match="cortex-m4"):
        qemu.connect("qemu://m5")


def test_a_file_is_no_folder_of_sources(tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(b"")
    with (
        pytest.raises(InputError, match=r"no folder of C sources.*mnedge compile"),
        qemu.connect("qemu://m4").load(path),
    ):
        pass


def test_without_the_compiler_it_is_said_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match="apt-get install"), qemu.connect("qemu://m4").load(tmp_path):
        pass


@pytest.mark.toolchain
@pytest.mark.skipif(bool(_boards.missing_tools()), reason=f"missing {_boards.missing_tools()}; {_boards.ADVICE}")
def test_a_board_runs_pictures_and_tells_what_they_took(
    tmp_path: Path, small_int8: Graph, ends_of: Callable[[Graph], Ends]
) -> None:
    compile_c(small_int8, name="tiny", target="cortex-m4", out=tmp_path, measure=False)
    images = [np.full((1, 8, 8, 3), step, np.int8) for step in (-128, 3)]
    with qemu.connect("qemu://m4").load(tmp_path) as model:
        made = [outputs[0].reshape(-1) for outputs in model.run(images, len(images))]
        assert "instructions, stack" in model.info.version
    flat = np.stack([image.reshape(-1) for image in images])
    expected = reference_outputs(write_tflite(small_int8), flat, ends_of(small_int8))
    assert expected is not None
    assert np.array_equal(made, expected)
