"""int8 .tflite to what a TensorFlow Lite Micro project needs: the model as an array, its ops, and the exact arena."""

from __future__ import annotations

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge import artifact, command
from mnedge.codegen.obstacles import check_weights
from mnedge.errors import ToolError
from mnedge.results.compilation import TflmProject
from mnedge.results.stored import to_json

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph

ADVICE = "pip install --pre 'mnedge[tflm]' brings tflite-micro"
# Cortex-M builds need 0.5 to 3 % less than the 64-bit interpreter that measures; CMSIS-NN's own buffers come on top.
_MARGIN_FRACTION = 0.02
_MARGIN_BYTES = 1024
# A process of its own: some failures in the interpreter end the process.
_SCRIPT = """
import sys
from tflite_micro.python.tflite_micro import runtime
model = open(sys.argv[1], "rb").read()
def fits(size):
    try:
        runtime.Interpreter.from_bytes(model, arena_size=size)
        return True
    except Exception as error:
        reason.append(str(error))
        return False
reason = []
high = 16 << 10
while not fits(high):
    high *= 2
    if high > 1 << 30:
        sys.exit(reason[-1])
low = high // 2 if high > 16 << 10 else 0
while high - low > 16:
    middle = (low + high) // 32 * 16
    low, high = (low, middle) if fits(middle) else (middle, high)
print("arena", high)
"""
_SOURCE = """#include "@NAME@_model.h"

alignas(16) const unsigned char @NAME@_model[] = {
@BYTES@
};
const unsigned int @NAME@_model_bytes = sizeof(@NAME@_model);
"""
_HEADER = """// @NAME@ for TensorFlow Lite Micro, written by mnedge.
#ifndef @UPPER@_MODEL_H
#define @UPPER@_MODEL_H

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

extern const unsigned char @NAME@_model[];
extern const unsigned int @NAME@_model_bytes;

// The 64-bit interpreter needs @MEASURED@ bytes; with @MARGIN@ bytes of margin for CMSIS-NN's buffers.
constexpr int k@CAMEL@ArenaBytes = @ARENA@;

using @CAMEL@Resolver = tflite::MicroMutableOpResolver<@COUNT@>;

// Exactly the ops of the model.
inline TfLiteStatus Register@CAMEL@Ops(@CAMEL@Resolver& resolver) {
@CALLS@
  return kTfLiteOk;
}

#endif
"""


def compile_tflm(
    graph: Graph, *, model: bytes, name: str, target: str, out: Path, model_sha256: str = "", force: bool = False
) -> TflmProject:
    """Writes NAME_model.h, NAME_model.cc and manifest.json; the folder appears whole or not at all.

    Args:
        graph: The model, for its ops.
        model: The .tflite.
        name: Prefix of the C++ names.
        target: Target's name, for the manifest.
        out: Folder to write.
        model_sha256: Checksum of the .tflite, for the manifest.
        force: Write into a folder that is not an unchanged one of mnedge's.

    Raises:
        UnsupportedError: Its weights are uint8.
        ToolError: tflite-micro is missing, or refuses the model; its last words say which op.
    """
    check_weights(graph)
    measured = measure_arena(model)
    margin = int(measured * _MARGIN_FRACTION) + _MARGIN_BYTES
    arena = -(-(measured + margin) // 16) * 16
    kinds = sorted({op.kind for op in graph.ops})
    calls = "\n".join(f"  TF_LITE_ENSURE_STATUS(resolver.Add{resolver_name(kind)}());" for kind in kinds)
    lines = [", ".join(str(byte) for byte in model[start : start + 24]) for start in range(0, len(model), 24)]
    words = {
        "NAME": name, "UPPER": name.upper(), "CAMEL": "".join(part.capitalize() for part in name.split("_")),
        "BYTES": ",\n".join(lines), "MEASURED": f"{measured:,}", "MARGIN": f"{arena - measured:,}", "ARENA": str(arena),
        "COUNT": str(len(kinds)), "CALLS": calls,
    }  # fmt: skip
    manifest = TflmProject(
        name=name,
        target=target,
        arena_bytes=arena,
        arena_bytes_measured=measured,
        margin_bytes=arena - measured,
        flash_bytes=len(model),
        ops=tuple(kinds),
        model_sha256=model_sha256,
    )
    with artifact.folder(out, kind="compiled model", force=force) as folder:
        (folder / f"{name}_model.h").write_text(_filled(_HEADER, words))
        (folder / f"{name}_model.cc").write_text(_filled(_SOURCE, words))
        (folder / "manifest.json").write_text(to_json(manifest), encoding="utf-8")
    return manifest


def _filled(template: str, words: dict[str, str]) -> str:
    for key, value in words.items():
        template = template.replace(f"@{key}@", value)
    return template


def resolver_name(kind: str) -> str:
    """TFLM's name of an op in its resolver, e.g. DepthwiseConv2D for DEPTHWISE_CONV_2D."""
    return "".join(part if part == "2D" else part.capitalize() for part in kind.split("_"))


def measure_arena(model: bytes) -> int:
    """The smallest arena, in steps of 16 bytes, with which TFLM's interpreter allocates the model.

    Raises:
        ToolError: tflite-micro is missing, or refuses the model.
    """
    if find_spec("tflite_micro") is None:
        raise ToolError(f"tflite-micro is not installed; {ADVICE}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(model)
        finished = command.run([sys.executable, "-c", _SCRIPT, path], check=False)
    if finished.returncode != 0:
        command.check_room(finished)
        raise ToolError(f"TFLM's interpreter refuses the model: {finished.last_words}")
    return int(finished.text.rpartition("arena ")[2].split()[0])
