"""The table of a compiled model's layers, as `bench` and `compile` print it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.cli._output import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.results.compilation import Layer


def print_layers(layers: Sequence[Layer]) -> None:
    """Prints what each layer takes, in the order given."""
    columns = (">layer", "op", "kernel", "output", ">multiply-adds", ">instructions", ">a multiply-add")
    cells = [
        (
            layer.index,
            layer.op,
            layer.kernel,
            "x".join(map(str, layer.output[1:])),
            f"{layer.macs:,}",
            None if layer.instructions is None else f"{layer.instructions:,}",
            None if layer.instructions_a_mac is None else f"{layer.instructions_a_mac:.2f}",
        )
        for layer in layers
    ]
    print_table("Layers, by emulated instructions", columns, cells)
