"""ONNX Runtime on phones: .ort with the operators that it needs, for a full or a reduced build of the runtime."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.bundles._android_runtimes import KOTLIN, ONNX
from mnedge.bundles._app import SHIPPED, app_of
from mnedge.bundles._bundle import Bundle
from mnedge.errors import InputError
from mnedge.formats.ort import write_ort
from mnedge.pixels import CHANNELS

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
| `OnnxModel.kt`, `OnnxModel.swift` | the model for an app: 8-bit pixels in, real values out |

Version @VERSION@. Input: float32, @INPUT@. Output: @OUTPUT@.

Android, in build.gradle.kts, with the .onnx in src/main/assets:

    implementation("com.microsoft.onnxruntime:onnxruntime-android:@ONNX@")

    val model = OnnxModel(context.assets.open("@SLUG@.int8.onnx").use { it.readBytes() })

R8 needs `-keep class ai.onnxruntime.** { *; }`. `mnedge bundle android --runtime onnx` makes a whole .aar with the
camera.

iOS, in Package.swift, with the .onnx among the app's resources:

    .package(url: "https://github.com/microsoft/onnxruntime-swift-package-manager", exact: "@SWIFT@")

    let model = try OnnxModel(path: Bundle.main.path(forResource: "@SLUG@.int8", ofType: "onnx")!)

## Telemetry

Since 1.29 ONNX Runtime's own builds report to its maker which models are opened. Both classes turn it off before the
first session: Kotlin with `OrtEnvironment.getEnvironment().setTelemetry(false)`, Swift, which has no such call, with
`setenv("ORT_DISABLE_TELEMETRY", "1", 1)` before `ORTEnv`. An app that opens sessions elsewhere does the same first.
"""
# The package for Swift has versions of its own.
_SWIFT = "1.24.2"

# Probability from which a label by itself is a yes.
_YES, _TWO = 0.5, 2
# Outputs of a classifier, by their head.
_OUTPUTS = {
    "softmax": "probabilities",
    "logits": "logits of each class, whose softmax are probabilities",
    "sigmoid": "the probability of the one label, of which @YES@ and more is a yes",
    "multi-label": "a probability for each label by itself, of which @YES@ and more is a yes",
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
        "model.json": json.dumps({**parts.described_input, **parts.told_threshold}, indent=2) + "\n",
        "README.md": _readme(parts),
        "OnnxModel.kt": _filled(KOTLIN / "OnnxModel.kt", parts, model),
        "OnnxModel.swift": _filled(SHIPPED / "_onnx_model.swift", parts, model),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _readme(parts: Parts) -> str:
    text = _README.replace("@LABELS@", "`@SLUG@.labels.txt`, " if parts.labels else "")
    text = text.replace("@NAMES@", "class names, " if parts.labels else "")
    order = "" if parts.pixels.order == "RGB" else f", channels {parts.pixels.order}"
    app = app_of(parts)
    output = _OUTPUTS.get(parts.head, parts.head) if app.names_classes else app.output
    text = text.replace("@INPUT@", f"{parts.pixels.formula}{order}").replace("@VERSION@", parts.version)
    text = text.replace("@ONNX@", ONNX).replace("@SWIFT@", _SWIFT)
    if parts.threshold is not None and len(parts.labels) == _TWO and parts.head in ("softmax", "logits"):
        output += f"; from a probability of @YES@ on it is {parts.labels[1]}"
    output = output.replace("@YES@", f"{_YES if parts.threshold is None else parts.threshold:g}")
    return text.replace("@OUTPUT@", output).replace("@SLUG@", parts.slug)


def _filled(template: Path, parts: Parts, model: Path) -> str:
    """The class of an app, with the model's size, range and layout."""
    import onnx

    height, width = parts.size
    channels = CHANNELS[parts.pixels.order]
    shape = onnx.load(model).graph.input[0].type.tensor_type.shape.dim
    is_planar = shape[1].dim_value == channels != shape[3].dim_value
    scale, offset = (np.broadcast_to(values, channels).tolist() for values in (parts.pixels.scale, parts.pixels.offset))
    words = {
        "SCALE_KOTLIN": ", ".join(f"{value!r}f" for value in scale),
        "OFFSET_KOTLIN": ", ".join(f"{value!r}f" for value in offset),
        "SCALE_SWIFT": ", ".join(map(repr, scale)),
        "OFFSET_SWIFT": ", ".join(map(repr, offset)),
        "SHAPE": ", ".join(map(str, (1, channels, height, width) if is_planar else (1, height, width, channels))),
        "IS_PLANAR": str(is_planar).lower(),
        "CHANNELS": str(channels),
        "WIDTH": str(width),
        "HEIGHT": str(height),
        "ORDER": parts.pixels.order,
        "SLUG": parts.slug,
        "PACKAGE": ".".join(f"`{word}`" for word in (*parts.group.split("."), parts.identifier)),
    }
    text = template.read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


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
