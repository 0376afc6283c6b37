"""ONNX Runtime on phones: .ort with the operators that it needs, for a full or a reduced build of the runtime."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from mnedge.bundles._app import app_of
from mnedge.bundles._bundle import Bundle
from mnedge.errors import InputError
from mnedge.formats.ort import write_ort

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.bundles._bundle import Parts

_README = """# @SLUG@ for ONNX Runtime on phones

| file | what it is |
|---|---|
| `@SLUG@.int8.onnx` | the model; `com.microsoft.onnxruntime:onnxruntime-android` opens it as it is |
| `@SLUG@.int8.ort` | the same in ORT format, optimized for Arm: opens faster, and a reduced runtime takes it |
| `@SLUG@.required_operators.config` | for a reduced build of the runtime: `build.sh --include_ops_by_config` |
| @LABELS@`model.json` | @NAMES@size, pixels, preprocessing; the .onnx holds them too |

Input: float32, @INPUT@. Output: @OUTPUT@.
"""

# Outputs of a classifier, by their head.
_OUTPUTS = {
    "softmax": "probabilities",
    "logits": "logits of each class, whose softmax are probabilities",
    "sigmoid": "the probability of the one label, of which 0.5 and more is a yes",
    "multi-label": "a probability for each label by itself, of which 0.5 and more is a yes",
}


def _write(parts: Parts, folder: Path) -> None:
    if parts.onnx is None:
        raise InputError(f"the build of {parts.slug} has no int8 .onnx; build it with --target android")
    source = parts.onnx
    parts = replace(parts, pixels=parts.onnx_pixels())
    model = folder / f"{parts.slug}.int8.onnx"
    model.write_bytes(_with_properties(source.read_bytes(), parts))
    ort = write_ort(model)
    (folder / f"{parts.slug}.int8.ort").write_bytes(ort.data)
    texts = {
        f"{parts.slug}.required_operators.config": ort.required_operators,
        **({f"{parts.slug}.labels.txt": parts.labels_text} if parts.labels else {}),
        "model.json": json.dumps(parts.described_input, indent=2) + "\n",
        "README.md": _readme(parts),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _readme(parts: Parts) -> str:
    text = _README.replace("@LABELS@", "`@SLUG@.labels.txt`, " if parts.labels else "")
    text = text.replace("@NAMES@", "class names, " if parts.labels else "")
    order = "" if parts.pixels.order == "RGB" else f", channels {parts.pixels.order}"
    app = app_of(parts)
    output = _OUTPUTS.get(parts.head, parts.head) if app.names_classes else app.output
    text = text.replace("@INPUT@", f"{parts.pixels.formula}{order}")
    return text.replace("@OUTPUT@", output).replace("@SLUG@", parts.slug)


def _with_properties(model: bytes, parts: Parts) -> bytes:
    """The .onnx with labels, preprocessing, version and licence as metadata_props, which runtimes hand out."""
    import onnx

    proto = onnx.load_model_from_string(model)
    properties = {
        # Anchors of a detector.
        **{entry.key: entry.value for entry in proto.metadata_props},
        "name": parts.slug,
        "version": parts.version,
        "license": parts.license,
        "labels": json.dumps(list(parts.labels)),
        "preprocessing": json.dumps(parts.described_input),
    }
    onnx.helper.set_model_props(proto, properties)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


BUNDLE = Bundle(write=_write, needs="onnx")
