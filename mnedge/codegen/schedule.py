"""Segments: runs of layers that pass rows on to each other as soon as they can, simulated row by row.

Within a segment a value that nobody else reads is a ring of its last few rows and never exists whole: the
expanded tensor of an inverted residual block (Sandler et al. 2018, sec. 5.1, arXiv:1801.04381), or the first
blocks of a network while its picture streams in. The simulation does exactly what the generated code does,
so ring sizes and the distance between overlapping inputs and outputs are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnedge.codegen.program import KernelSet, Layer, Program

# A pointwise kernel reads this many pixels before it has written the first of them.
_TILE_PIXELS = 4
# Instructions around one row: the call, the counters, the row pointers.
_ROW_OVERHEAD = 90


@dataclass(frozen=True)
class Segment:
    """Layers first … last of a program, run together.

    Attributes:
        first: Index of the first layer.
        last: Index of the last layer.
        rings: Rows kept of each value that lives in this segment only.
        whole: Names of the values it makes that are kept whole.
        reads: Names of the values it reads that were there before.
        distances: For each (whole output, value read): how many bytes the output must lie below the input, at
            least, for both to share memory while rows are written from the first to the last.
        scratch_bytes: Scratch of its hungriest kernel.
        overhead: Estimated instructions that running row by row costs.
    """

    first: int
    last: int
    rings: dict[str, int]
    whole: tuple[str, ...]
    reads: tuple[str, ...]
    distances: dict[tuple[str, str], int]
    scratch_bytes: int
    overhead: int

    @property
    def is_single(self) -> bool:
        """Returns whether it is one layer on its own."""
        return self.first == self.last


def streams(program: Program, layer: Layer) -> bool:
    """Returns whether a layer can make its rows one by one from rows of its inputs."""
    if layer.kernel.form == "whole" or layer.kernel.output.rows < 2:
        return False
    for index, name in enumerate(layer.inputs):
        value = program.values[name]
        if layer.kernel.takes_whole(index):
            continue
        seen = getattr(layer.kernel, "input", layer.kernel.output)
        # A RESHAPE in between changes what a row is.
        if (value.rows, value.row_bytes) != (seen.rows, seen.row_bytes) and layer.kernel.form == "window":
            return False
        if value.rows != layer.kernel.output.rows and layer.kernel.form == "pixels":
            return False
    return True


def readers_of(program: Program) -> dict[str, list[int]]:
    """Indices of the layers that read each value; an output of the program is also read at the very end."""
    readers: dict[str, list[int]] = {name: [] for name in program.values}
    for index, layer in enumerate(program.layers):
        for name in layer.inputs:
            readers[name].append(index)
    for name in program.outputs:
        readers[name].append(len(program.layers))
    return readers


def segment(program: Program, first: int, last: int, kernels: KernelSet, *, streamed: bool = False) -> Segment | None:
    """The segment of layers first … last; None where they cannot run together.

    Args:
        program: The program.
        first: Index of the first layer.
        last: Index of the last layer.
        kernels: Kernel set, which decides the scratch memory.
        streamed: The program's input is handed over row by row.
    """
    layers = program.layers[first : last + 1]
    streamed = streamed and first == 0
    if first == last and not streamed:
        return _single(program, first, kernels)
    if not all(streams(program, layer) for layer in layers):
        return None
    readers = readers_of(program)
    made_here = {layer.output for layer in layers}
    given = set(program.inputs) if streamed else set()
    if streamed and any(max(readers[name], default=0) > last for name in program.inputs):
        return None
    for position, layer in enumerate(layers):
        rows = [name for index, name in enumerate(layer.inputs) if not layer.kernel.takes_whole(index)]
        wholes = [name for index, name in enumerate(layer.inputs) if layer.kernel.takes_whole(index)]
        if made_here.union(given).intersection(wholes):
            return None
        if not (made_here | given).intersection(rows) and (position > 0 or streamed):
            return None
    return _Simulation(program, first, last, kernels, given, readers).run()


def _single(program: Program, index: int, kernels: KernelSet) -> Segment:
    layer = program.layers[index]
    kernel, size = layer.kernel, layer.kernel.output.size_bytes
    distances = {}
    for position, name in enumerate(layer.inputs):
        distance = size
        if kernel.takes_whole(position) or kernel.form == "whole":
            pass
        elif kernel.in_place:
            distance = 0
        elif kernel.form == "pixels" and not kernel.reads_twice(kernels):
            pixels = kernel.output.rows * kernel.output.columns
            before, after = program.values[name].size_bytes // pixels, size // pixels
            distance = max(_TILE_PIXELS * after, size - (pixels - _TILE_PIXELS) * before)
        elif kernel.form == "window":
            rows, row_bytes = kernel.output.rows, kernel.output.row_bytes
            seen = getattr(kernel, "input", kernel.output)
            starts = (max(kernel.input_rows(row, position)[0], 0) * seen.row_bytes for row in range(rows))
            distance = max((row + 1) * row_bytes - start for row, start in enumerate(starts))
        distances[layer.output, name] = min(max(distance, 0), size)
    scratch = kernel.scratch_bytes(kernels)
    return Segment(index, index, {}, (layer.output,), tuple(dict.fromkeys(layer.inputs)), distances, scratch, 0)


class _Simulation:
    """Runs the rows of one segment and keeps the worst cases."""

    def __init__(
        self,
        program: Program,
        first: int,
        last: int,
        kernels: KernelSet,
        given: set[str],
        readers: dict[str, list[int]],
    ) -> None:
        self.program, self.first, self.last, self.kernels = program, first, last, kernels
        self.layers = program.layers[first : last + 1]
        self.given = given
        made = [layer.output for layer in self.layers]
        self.whole = tuple(name for name in made if max(readers[name], default=last + 1) > last)
        self.made = dict.fromkeys([*made, *given], 0)
        self.inside: dict[str, list[int]] = {name: [] for name in self.made}
        self.outside: dict[str, list[int]] = {}
        for index, layer in enumerate(self.layers):
            for name in dict.fromkeys(layer.inputs):
                (self.inside if name in self.made else self.outside).setdefault(name, []).append(index)
        self.rings = {name: 1 for name in self.made if name not in self.whole}
        self.distances = {(output, name): 0 for output in self.whole for name in self.outside}

    def run(self) -> Segment | None:
        if self.given:
            (name,) = self.given  # of several inputs none is streamed
            for _ in range(self.program.values[name].rows):
                self._grow(name)
        else:
            self._fire(0)
        if any(self.made[layer.output] < layer.kernel.output.rows for layer in self.layers):
            return None
        return Segment(
            self.first,
            self.last,
            self.rings,
            self.whole,
            tuple(self.outside),
            {pair: min(distance, self.program.values[pair[0]].size_bytes) for pair, distance in self.distances.items()},
            max(layer.kernel.scratch_bytes(self.kernels) for layer in self.layers),
            sum(_overhead(layer) for layer in self.layers),
        )

    def _needs(self, index: int, name: str) -> int:
        """First row of `name` that layer `index` still reads; past the end when it is done."""
        layer = self.layers[index]
        row = self.made[layer.output]
        if row >= layer.kernel.output.rows:
            return self.program.values[name].rows
        positions = [position for position, entry in enumerate(layer.inputs) if entry == name]
        return max(min(layer.kernel.input_rows(row, position)[0] for position in positions), 0)

    def _ready(self, index: int) -> bool:
        layer = self.layers[index]
        row = self.made[layer.output]
        if row >= layer.kernel.output.rows:
            return False
        for position, name in enumerate(layer.inputs):
            if name in self.made:
                end = layer.kernel.input_rows(row, position)[1]
                if self.made[name] < min(end, self.program.values[name].rows):
                    return False
        return True

    def _fire(self, index: int) -> None:
        while self._ready(index):
            output = self.layers[index].output
            if output in self.whole:
                self._overlap(index, output)
            self._grow(output)

    def _grow(self, name: str) -> None:
        self.made[name] += 1
        if name in self.rings:
            oldest = min((self._needs(reader, name) for reader in self.inside[name]), default=self.made[name])
            self.rings[name] = max(self.rings[name], self.made[name] - oldest)
        for reader in self.inside[name]:
            self._fire(reader)

    def _overlap(self, index: int, output: str) -> None:
        """Notes how far below each outside value the row about to be written must lie."""
        row = self.made[output]
        row_bytes = self.program.values[output].row_bytes
        for name, readers in self.outside.items():
            for reader in readers:
                start = self._needs(reader, name) * self.program.values[name].row_bytes
                layer = self.layers[reader]
                if start >= self.program.values[name].size_bytes:
                    continue
                taken_whole = layer.kernel.takes_whole(layer.inputs.index(name))
                together = reader == index and layer.kernel.in_place and not taken_whole
                end = (row + (0 if together else 1)) * row_bytes
                self.distances[output, name] = max(self.distances[output, name], end - start)


def _overhead(layer: Layer) -> int:
    """Instructions lost when a layer runs row by row: calls, and the odd pixel of a row that computes two at a time."""
    output = layer.kernel.output
    lost = output.rows * _ROW_OVERHEAD
    if layer.kernel.form == "pixels" and output.columns % 2:
        lost += output.rows * layer.kernel.macs() // (2 * output.rows * output.columns)
    return lost
