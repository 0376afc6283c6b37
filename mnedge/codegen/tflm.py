"""int8 .tflite to what a TensorFlow Lite Micro project needs: the model as an array, its ops, and the exact arena."""

from __future__ import annotations

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge import artifact, command
from mnedge.codegen.obstacles import check_weights
from mnedge.errors import InputError, ToolError, UnsupportedError
from mnedge.formats.tflite_ops import ops_of
from mnedge.formats.tflite_read import VELA, parse_tflite
from mnedge.results.compilation import TflmProject
from mnedge.results.stored import to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.formats.tflite_ops import FileOp
    from mnedge.graph.graph import Graph

ADVICE = "pip install --pre 'mnedge[tflm]' brings tflite-micro"
# Cortex-M builds need 0.5 to 3 % less than the 64-bit interpreter that measures; CMSIS-NN's own buffers come on top.
_MARGIN_FRACTION = 0.02
_MARGIN_BYTES = 1024
# A process a probe: some failures in the interpreter end the process, and some leave it unable to allocate again.
_SCRIPT = """
import sys
from tflite_micro.python.tflite_micro import runtime
runtime.Interpreter.from_bytes(open(sys.argv[1], "rb").read(), arena_size=int(sys.argv[2]))
"""
_SMALLEST, _LARGEST, _STEP = 16 << 10, 1 << 30, 16
# Names of the resolver that do not follow from the op's.
_RESOLVER_NAMES = {
    "BATCH_MATMUL": "BatchMatMul",
    "CUMSUM": "CumSum",
    "PADV2": "PadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}
# Custom ops that TFLM's resolver has a method for.
_CUSTOM_NAMES = {"CIRCULAR_BUFFER": "CircularBuffer", "TFLite_Detection_PostProcess": "DetectionPostprocess"}
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
    model: bytes, *, name: str, target: str, out: Path, model_sha256: str = "", force: bool = False
) -> TflmProject:
    """Writes NAME_model.h, NAME_model.cc and manifest.json; the folder appears whole or not at all.

    Any model that TFLM's interpreter takes is packed, also where mnedge has no C kernel for its ops.

    Args:
        model: The .tflite.
        name: Prefix of the C++ names.
        target: Target's name, for the manifest.
        out: Folder to write.
        model_sha256: Checksum of the .tflite, for the manifest.
        force: Write into a folder that is not an unchanged one of mnedge's.

    Raises:
        InputError: The file is damaged.
        UnsupportedError: Its weights are uint8, it has a custom op that TFLM does not know, or Vela compiled it.
        ToolError: tflite-micro is missing, or refuses the model; its last words say which op.
    """
    ops = ops_of(model, name)
    _check_custom(ops)
    graph = _graph(model, name)
    if graph is not None:
        check_weights(graph)
    measured = measure_arena(model)
    margin = int(measured * _MARGIN_FRACTION) + _MARGIN_BYTES
    arena = -(-(measured + margin) // 16) * 16
    kinds = sorted({op.kind for op in ops})
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


def _graph(model: bytes, name: str) -> Graph | None:
    """The model as mnedge reads it; None where only TFLM can tell whether it runs."""
    try:
        return parse_tflite(model, name, stateful=True)
    except (InputError, UnsupportedError):
        return None


def _check_custom(ops: Sequence[FileOp]) -> None:
    for op in ops:
        if op.is_custom and op.kind == VELA:
            raise UnsupportedError(
                f"the model was compiled for Arm's Ethos-U already (output {op.output}), which the interpreter here "
                "cannot run; give the .tflite that Vela was given"
            )
        if op.is_custom and op.kind not in _CUSTOM_NAMES:
            raise UnsupportedError(
                f"the model has the custom op {op.kind} (output {op.output}), which TFLM's resolver has no method for; "
                f"{', '.join(_CUSTOM_NAMES)} are known"
            )


def resolver_name(kind: str) -> str:
    """TFLM's name of an op in its resolver, e.g. DepthwiseConv2D for DEPTHWISE_CONV_2D."""
    known = {**_RESOLVER_NAMES, **_CUSTOM_NAMES}.get(kind)
    return known or "".join(part if part == "2D" else part.capitalize() for part in kind.split("_"))


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

        def refusal(size: int) -> str:
            """The last words of an interpreter with an arena of so many bytes; "" if it takes the model."""
            finished = command.run([sys.executable, "-c", _SCRIPT, path, str(size)], check=False)
            if finished.returncode != 0:
                command.check_room(finished)
            return "" if finished.returncode == 0 else finished.last_words or "it ends without a word"

        # What does not fit the largest arena fits none, and says why.
        words = refusal(_LARGEST)
        if words:
            raise ToolError(f"TFLM's interpreter refuses the model: {words}")
        low, high = 0, _SMALLEST
        while refusal(high):
            low, high = high, high * 2
        while high - low > _STEP:
            middle = (low + high) // (2 * _STEP) * _STEP
            low, high = (middle, high) if refusal(middle) else (low, middle)
    return high
