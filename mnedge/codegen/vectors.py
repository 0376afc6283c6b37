"""Test vectors: inputs, and the outputs that LiteRT's reference kernels give."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge import command

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.codegen.emit import Unit
    from mnedge.untyped import AnyArray

_COUNT = 2
# A process of its own: the reference SOFTMAX aborts on 512 or more equal logits.
_SCRIPT = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
model, source, target = sys.argv[1:]
interpreter = Interpreter(model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
interpreter.allocate_tensors()
entry = interpreter.get_input_details()[0]
results = []
for image in np.load(source):
    interpreter.set_tensor(entry["index"], image.view(entry["dtype"]).reshape(entry["shape"]))
    interpreter.invoke()
    outputs = [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]
    results.append(np.concatenate([output.view(np.int8).ravel() for output in outputs]))
np.save(target, np.stack(results))
"""


@dataclass(frozen=True)
class Vectors:
    """Inputs (count, input bytes) and outputs (count, output bytes) as int8 bit patterns, or None; and a note."""

    inputs: AnyArray | None
    outputs: AnyArray | None
    note: str


def none(reason: str) -> Vectors:
    """No vectors, and why."""
    return Vectors(None, None, f"none: {reason}")


def noise(size_bytes: int, count: int = _COUNT) -> NDArray[np.int8]:
    """Reproducible inputs, shape (count, size_bytes): a gradient first, then noise."""
    chance = np.random.default_rng(2018)
    images = chance.integers(-128, 128, (count, size_bytes)).astype(np.int8)
    images[0] = (np.arange(size_bytes) * 255 // max(size_bytes - 1, 1) - 128).astype(np.int8)
    return images


def reference_outputs(model: bytes, inputs: NDArray[np.int8]) -> NDArray[np.int8] | None:
    """What LiteRT's reference kernels make of inputs, shape (count, output bytes); None where they abort."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(model)
        np.save(folder / "inputs.npy", inputs)
        paths = (folder / "model.tflite", folder / "inputs.npy", folder / "outputs.npy")
        finished = command.run([sys.executable, "-c", _SCRIPT, *paths], check=False, timeout_s=1800.0)
        if finished.returncode != 0:
            return None
        outputs: NDArray[np.int8] = np.load(paths[2])
        return outputs


def from_reference(model: bytes, unit: Unit) -> Vectors:
    """Vectors for a model; none where the reference kernels abort on it."""
    inputs = noise(unit.input.size_bytes)
    outputs = reference_outputs(model, inputs)
    if outputs is None:
        return none("LiteRT's reference kernels abort on this model (their SOFTMAX does on 512 or more equal logits)")
    return Vectors(inputs, outputs, f"{_COUNT} from LiteRT's reference kernels")
