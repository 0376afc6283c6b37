"""A float .tflite, anybody's: float16 weights, a free batch, and with a size a free height and width."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge import command
from mnedge.errors import InputError, ToolError, UnsupportedError
from mnedge.foreign import is_file
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.sources._float import float_of
from mnedge.sources._source import Float, Source, sized

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph

_IDENTIFIER = b"TFL3"
_TIMEOUT_S = 120.0
# LiteRT knows the shape of every tensor once it has run. It runs in a process of its own: a damaged file may end it.
_SHAPES = """
import json, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
model = Interpreter(sys.argv[1], experimental_op_resolver_type=kind, experimental_preserve_all_tensors=True)
for detail, shape in zip(model.get_input_details(), json.loads(sys.argv[2])):
    model.resize_tensor_input(detail["index"], shape)
model.allocate_tensors()
for detail in model.get_input_details():
    model.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
model.invoke()
shapes = {}
for detail in model.get_tensor_details():
    try:
        shapes[detail["index"]] = list(model.get_tensor(detail["index"]).shape)
    except ValueError:
        shapes[detail["index"]] = [int(extent) for extent in detail["shape"]]
print(json.dumps(shapes))
"""


def _accepts(path: Path) -> bool:
    if not is_file(path):
        return False
    with path.open("rb") as stream:
        return stream.read(8)[4:] == _IDENTIFIER


def _read(path: Path, size: tuple[int, int] | None) -> Float:
    """Reads a float .tflite; see `Source.read`."""
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror}") from exc
    return read_float(data, str(path), size)


def read_float(data: bytes, source: str, size: tuple[int, int] | None = None) -> Float:
    """Reads the bytes of a float .tflite; `source` names it in errors.

    Raises:
        InputError: Damage, or open extents without a size.
        UnsupportedError: It is quantized, or holds an op outside the supported ones.
    """
    graph = parse_tflite(data, source)
    return float_of(_fixed(graph, source, size), source)


def _fixed(graph: Graph, source: str, size: tuple[int, int] | None) -> Graph:
    """The graph with batch 1 and the extents that the file leaves open."""
    told_shapes = {name: graph.tensors[name].open_shape or graph.tensors[name].shape for name in graph.inputs}
    shapes = [sized(shape, name, source, size) for name, shape in told_shapes.items()]
    same = all(shape == graph.tensors[name].shape for name, shape in zip(graph.inputs, shapes, strict=True))
    if same and not any(-1 in tensor.open_shape[1:] for tensor in graph.tensors.values()):
        return graph
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "model.tflite"
        file.write_bytes(write_tflite(graph))
        try:
            told = command.run([sys.executable, "-c", _SHAPES, str(file), json.dumps(shapes)], timeout_s=_TIMEOUT_S)
        except ToolError as exc:
            lines = str(exc).strip().splitlines()
            raise UnsupportedError(
                f"LiteRT cannot run {source} with inputs of {', '.join(str(shape) for shape in shapes)}: {lines[-1]}; "
                "give another --size, or convert the model with a fixed size"
            ) from exc
    found = json.loads(told.stdout.decode().splitlines()[-1])
    tensors = []
    for index, tensor in enumerate(graph.tensors.values()):
        shape = tuple(found.get(str(index), tensor.shape))
        if not tensor.is_constant and (shape != tensor.shape or -1 in tensor.open_shape[1:]):
            free_batch = (-1, *shape[1:]) if tensor.open_shape[:1] == (-1,) else ()
            tensors.append(replace(tensor, shape=shape, open_shape=free_batch))
    return graph.replaced(tensors=tensors)


SOURCE = Source(what="a float .tflite", suffixes=(".tflite",), accepts=_accepts, read=_read)
