"""The table of layers: figures with separators, and nothing where nothing was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mnedge.cli._layers import print_layers
from mnedge.results.compilation import Layer

if TYPE_CHECKING:
    import pytest


def test_each_layer_has_a_row_and_what_is_unknown_stays_empty(capsys: pytest.CaptureFixture[str]) -> None:
    measured = Layer(
        index=0, op="CONV_2D", inputs=((1, 4, 4, 3),), output=(1, 4, 4, 8), macs=12_345, kernel="dsp_convolution",
        segment=0, instructions=24_690,
    )  # fmt: skip
    print_layers([measured, replace(measured, index=1, op="MEAN", macs=0, instructions=None)])
    shown = capsys.readouterr().out
    assert "Layers, by emulated instructions" in shown
    row = next(line for line in shown.splitlines() if "CONV_2D" in line)
    assert "4x4x8" in row
    assert ("12,345" in row, "24,690" in row, "2.00" in row) == (True, True, True)
    assert "None" not in shown
