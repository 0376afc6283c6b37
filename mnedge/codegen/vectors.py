"""Test vectors: inputs, and the outputs that reference kernels give: LiteRT's, or tflite-micro's where it refuses."""

from __future__ import annotations

import io
import json
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from mnedge import command
from mnedge.graph.arithmetic import divide_multiplier

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.codegen.emit import Unit
    from mnedge.graph.graph import Graph
    from mnedge.untyped import AnyArray

# dtype, scale and zero point of each input, and of each output.
Ends: TypeAlias = "tuple[tuple[tuple[str, float, int], ...], ...]"
_COUNT = 2
# A process of its own: the reference SOFTMAX aborts on 512 or more equal logits. An end that the file has in float32
# stands for the steps of `ends`, which the QUANTIZE or DEQUANTIZE there makes of it, and of which it is made.
_ENDS = """
import io, json, sys
import numpy as np
model, source, target = sys.argv[1:4]
ends = json.loads(sys.argv[4])
def fed(flat, places, details):
    start, arrays = 0, []
    for place, (dtype, scale, zero_point) in zip(details, places, strict=True):
        shape = tuple(int(extent) for extent in place["shape"])
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        steps = flat[start : start + count].view(dtype).reshape(shape)
        start += count
        if np.dtype(place["dtype"]) == np.float32:
            steps = ((steps.astype(np.float64) - zero_point) * scale).astype(np.float32)
        arrays.append(steps)
    return arrays
def kept(arrays, places):
    rows = []
    for made, (dtype, scale, zero_point) in zip(arrays, places, strict=True):
        if made.dtype == np.float32:
            made = (np.round(made.astype(np.float64) / scale) + zero_point).astype(dtype)
        rows.append(np.ascontiguousarray(made).view(np.int8).ravel())
    return np.concatenate(rows)
results = []
def end():
    # np.save into a file of its own drops the reason where the disk is full.
    buffer = io.BytesIO()
    np.save(buffer, np.stack(results))
    with open(target, "wb") as stream:
        stream.write(buffer.getvalue())
"""
_LITERT = """
from ai_edge_litert.interpreter import Interpreter, OpResolverType
interpreter = Interpreter(model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
interpreter.allocate_tensors()
details = interpreter.get_input_details()
for flat in np.load(source):
    for place, array in zip(details, fed(flat, ends[0], details), strict=True):
        interpreter.set_tensor(place["index"], array)
    interpreter.invoke()
    made = [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]
    results.append(kept(made, ends[1]))
end()
"""
_TFLM = """
from tflite_micro.python.tflite_micro import runtime
interpreter = runtime.Interpreter.from_file(model)
details = [interpreter.get_input_details(place) for place in range(len(ends[0]))]
for flat in np.load(source):
    for place, array in enumerate(fed(flat, ends[0], details)):
        interpreter.set_input(array, place)
    interpreter.invoke()
    results.append(kept([interpreter.get_output(place) for place in range(len(ends[1]))], ends[1]))
end()
"""
# Ops whose int8 kernel in LiteRT 2 differs from what the op means, its reference kernels too: its SUM adds up the steps
# with a scale of its own, far from the sum. tflite-micro has it right.
_WRONG_IN_LITERT = frozenset(("SUM",))
LITERT, TFLM = "LiteRT's reference kernels", "tflite-micro"


@dataclass(frozen=True)
class Vectors:
    """Inputs (count, input bytes) and outputs (count, output bytes) as int8 bit patterns, or None; and a note."""

    inputs: AnyArray | None
    outputs: AnyArray | None
    note: str


def none(reason: str) -> Vectors:
    """Test vectors that are absent, and the reason."""
    return Vectors(None, None, f"none: {reason}")


def noise(size_bytes: int, count: int = _COUNT) -> NDArray[np.int8]:
    """Reproducible inputs, shape (count, size_bytes): a gradient first, then noise."""
    chance = np.random.default_rng(2018)
    images = chance.integers(-128, 128, (count, size_bytes)).astype(np.int8)
    images[0] = (np.arange(size_bytes) * 255 // max(size_bytes - 1, 1) - 128).astype(np.int8)
    return images


def reference_outputs(
    model: bytes, inputs: NDArray[np.int8], ends: Ends, *, kernels: Literal["litert", "tflm"] = "litert"
) -> NDArray[np.int8] | None:
    """Returns outputs of reference kernels for inputs one after another, (count, output bytes); None where they refuse.

    Args:
        model: The .tflite.
        inputs: Steps, shape (count, input bytes).
        ends: dtype, scale and zero point of each input and of each output.
        kernels: LiteRT's, or those of tflite-micro.

    Raises:
        StorageError: The temporary folder is full.
    """
    script = _ENDS + (_LITERT if kernels == "litert" else _TFLM)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(model)
        (folder / "inputs.npy").write_bytes(_saved(inputs))
        paths = (folder / "model.tflite", folder / "inputs.npy", folder / "outputs.npy")
        finished = command.run([sys.executable, "-c", script, *paths, json.dumps(ends)], check=False, timeout_s=1800.0)
        command.check_room(finished)
        if finished.returncode != 0:
            return None
        outputs: NDArray[np.int8] = np.load(paths[2])
        return outputs


def _saved(array: AnyArray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def undefined(graph: Graph) -> str:
    """Why the reference kernels may give anything for some inputs; "" where they may not.

    DIV shifts quotients that are small by more than 31 bits, and divides by 0.
    """
    for op in graph.ops:
        steps = [graph.tensors[str(name)] for name in (*op.inputs[:2], op.outputs[0])] if op.kind == "DIV" else []
        if not steps or any(tensor.quantization is None for tensor in steps):
            continue
        a, b, y = (float(tensor.quantization.scale[0]) for tensor in steps if tensor.quantization is not None)
        divisor = steps[1]
        limits = np.iinfo(divisor.dtype)
        possible = np.arange(limits.min, limits.max + 1) if divisor.data is None else np.ravel(divisor.data)
        assert divisor.quantization is not None
        largest = np.abs(possible.astype(np.int64) - int(divisor.quantization.zero_point[0]))
        if not largest.all() or int(largest.max()).bit_length() - 1 > divide_multiplier(a, b, y)[1]:
            return (
                f"DIV (output {op.outputs[0]}) is undefined in the reference kernels for divisors of 0 or much above 1"
            )
    return ""


def ends_of(unit: Unit) -> Ends:
    """dtype, scale and zero point of each input and of each output of a compiled model."""
    outputs = [unit.program.values[name] for name in unit.program.outputs]
    return tuple(
        tuple((value.dtype, value.scale, value.zero_point) for value in values) for values in (unit.inputs, outputs)
    )


def from_reference(model: bytes, unit: Unit) -> Vectors:
    """Vectors for a model: from LiteRT; from tflite-micro where that refuses it or is wrong; none where both are."""
    inputs, ends = noise(unit.input_bytes), ends_of(unit)
    kinds = {kind for layer in unit.program.layers for kind in layer.op.split(" + ")}
    wrong = ", ".join(sorted(kinds & _WRONG_IN_LITERT))
    if not wrong:
        outputs = reference_outputs(model, inputs, ends)
        if outputs is not None:
            return Vectors(inputs, outputs, f"{_COUNT} from {LITERT}")
    if find_spec("tflite_micro") is not None:
        outputs = reference_outputs(model, inputs, ends, kernels="tflm")
        if outputs is not None:
            why = f"LiteRT's int8 {wrong} is wrong" if wrong else "LiteRT refuses the model"
            return Vectors(inputs, outputs, f"{_COUNT} from {TFLM}, since {why}")
    if wrong:
        return none(f"LiteRT's int8 {wrong} is wrong, and {TFLM} is not here or refuses the model")
    return none(
        "LiteRT's reference kernels refuse this model or abort on it (their SOFTMAX does on 512 or more equal logits)"
    )
