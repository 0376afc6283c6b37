"""Android: the model of one runtime, as assets and as an .aar with R8's rules, and Kotlin for it and the camera."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from mnedge.bundles import _android_text as text
from mnedge.bundles._android_runtimes import NAMES, flavour
from mnedge.bundles._app import app_of, lacking
from mnedge.bundles._app_file import check_app_file
from mnedge.bundles._bundle import Bundle
from mnedge.bundles._metadata import Description
from mnedge.data.detections import METADATA, of_metadata
from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.archive import zip_bytes
from mnedge.formats.tflite_read import parse_tflite
from mnedge.pixels import CHANNELS, SYMMETRIC

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.bundles._app import AndroidApp
    from mnedge.bundles._bundle import Parts

# Heads of a classifier whose values are probabilities.
_PROBABILITIES = ("softmax", "sigmoid", "multi-label")
# Score from which MediaPipe's object counts.
_OBJECT = 0.3
# Words of Kotlin that are none of Java, and stand in backticks as parts of a package.
_KOTLIN_WORDS = frozenset(("as", "fun", "in", "is", "object", "typealias", "typeof", "val", "var", "when"))
_CHECKSUMS = ("md5", "sha1", "sha256", "sha512")
# Content of an .aar for Android Gradle Plugin 4.1 and later; 1.0 is the only version there is.
_AAR_METADATA = "META-INF/com/android/build/gradle/aar-metadata.properties"


def _kind(parts: Parts) -> AndroidApp:
    found = app_of(parts).android
    if found is None:
        raise lacking(parts, "Android app")
    return found


def _check(parts: Parts) -> None:
    """Refuses models that the apps' runtimes do not take.

    Raises:
        UnsupportedError: The input is no RGB pixels, or the outputs of a classifier are no probabilities.
    """
    others = "the other kinds of bundles take it"
    if parts.pixels.order != "RGB":
        raise UnsupportedError(
            f"{parts.slug} takes {parts.pixels.order} pictures, and MediaPipe and ML Kit hand over RGB; {others}, or "
            "build a model whose first layers take RGB"
        )
    if not parts.takes_pixels:
        raise UnsupportedError(
            f"{parts.slug} has an int8 input whose steps are not 8-bit pixels ({parts.pixels}), which an app would "
            "have to scale; build it with --io int8 or uint8, which folds the range into the first layer"
        )
    if app_of(parts).names_classes and (parts.head not in _PROBABILITIES or not parts.labels):
        raise UnsupportedError(
            f"{parts.slug} gives {parts.head}, and the Android apps show probabilities of labels; {others}, or end the "
            "model with a softmax or a sigmoid"
        )


def _extent(parts: Parts) -> str:
    height, width = parts.size
    return str(height) if height == width else parts.shown_size


def _write(parts: Parts, folder: Path) -> None:
    _check(parts)
    assets = _assets(parts)
    for name, data in assets.items():
        _put(folder / "assets" / name, data)
    _write_maven(parts, assets, folder / "maven")
    for name, template in text.SNIPPETS.items():
        _put(folder / name, text.fill(template, _words(parts)).encode())
    for name, code in kotlin_of(parts).items():
        _put(folder / "kotlin" / name, code.encode())
    _put(folder / "gradle" / "proguard-rules.pro", flavour(parts.runtime).keep.encode())


def kotlin_of(parts: Parts) -> dict[str, str]:
    """Kotlin files of an app by name: what asks the model on the app's runtime, and the camera's screen."""
    words = _words(parts)
    return {name: text.fill(code, words) for name, code in flavour(parts.runtime).kotlin(_kind(parts).model).items()}


def _assets(parts: Parts) -> dict[str, bytes]:
    """The model, its description and its labels under the names that the app opens them by."""
    labels = {f"{parts.slug}.labels.txt": parts.labels_text.encode()} if parts.labels else {}
    model = {"tasks": _described_model, "litert": lambda parts: parts.tflite("int8"), "onnx": _onnx}[parts.runtime]
    return {
        f"{parts.slug}.{flavour(parts.runtime).model}": model(parts),
        f"{parts.slug}.model.json": (json.dumps(model_json(parts), indent=2) + "\n").encode(),
        **labels,
    }


def _described_model(parts: Parts) -> bytes:
    kind = _kind(parts)
    classes = f"{parts.shown_classes}, " if parts.labels else ""
    described = Description(
        name=parts.slug,
        text=f"MobileNet image {kind.noun}, int8, {classes}{_extent(parts)} px",
        version=parts.version,
        author="mnedge",
        license=parts.license,
        size=parts.size,
        pixels=parts.pixels,
        labels=parts.labels,
    )
    return kind.described(parts.tflite("uint8"), described)


def _onnx(parts: Parts) -> bytes:
    if parts.onnx is None:
        raise InputError(f"the build of {parts.slug} has no int8 .onnx; build it with --target android")
    return parts.onnx.read_bytes()


def model_json(parts: Parts) -> dict[str, object]:
    """Gives the content of model.json, which ModelFile.kt reads: the way of a picture to the input, and the outputs.

    Raises:
        UnsupportedError: A detector's own Kotlin has no anchors to decode boxes with.
    """
    graph = parse_tflite(parts.tflite("int8"), parts.slug)
    outputs = [graph.tensors[name] for name in graph.outputs]
    pixels, layout = parts.pixels, "NHWC"
    if parts.runtime == "onnx":
        pixels, layout = parts.onnx_pixels(), _layout(_onnx(parts))
    scales = [out.quantization for out in outputs]
    detection = graph.metadata.get(METADATA)
    finds_boxes = _kind(parts).finds_boxes
    if finds_boxes and parts.runtime != "tasks" and (detection is None or len(outputs) != 2):
        raise UnsupportedError(
            f"{parts.slug} gives objects, not scores and codes of boxes, and Detector.kt decodes codes; take "
            "--runtime tasks, or build it without post-processing"
        )
    missing = [name for name in ("crop_fraction", "interpolation") if name not in parts.preprocessing]
    if missing:
        raise UnsupportedError(
            f"the manifest of {parts.slug} does not say the {' and '.join(missing)} of its pictures, by which the app "
            "would crop and scale them; build it again"
        )
    channels = CHANNELS[pixels.order]
    said: dict[str, object] = {
        "slug": parts.slug,
        "version": parts.version,
        "task": parts.task,
        "head": parts.head,
        "labels": list(parts.labels),
        **({"threshold": _OBJECT} if finds_boxes else {}),
        **parts.told_threshold,
        "height": parts.size[0],
        "width": parts.size[1],
        "layout": layout,
        "pixels": {
            "scale": _by_channel(pixels.scale, channels),
            "offset": _by_channel(pixels.offset, channels),
            "order": pixels.order,
        },
        # Builds from before pictures could be stretched do not say how they fit.
        "fit": "crop",
        **parts.preprocessing,
        "output_scales": [1.0 if scale is None else float(scale.scale[0]) for scale in scales],
        "output_zero_points": [0 if scale is None else int(scale.zero_point[0]) for scale in scales],
    }
    if outputs and len(outputs[0].shape) == 4:
        said["output_width"] = outputs[0].shape[2]
    if detection is not None:
        said["detection"] = of_metadata(detection).as_json()
    return said


def _by_channel(values: tuple[float, ...], channels: int) -> list[float]:
    return [float(value) for value in (values * channels if len(values) == 1 else values)]


def _layout(model: bytes) -> str:
    import onnx

    shape = onnx.load_model_from_string(model).graph.input[0].type.tensor_type.shape.dim
    return "NCHW" if shape[1].dim_value == CHANNELS["RGB"] != shape[3].dim_value else "NHWC"


def _write_maven(parts: Parts, assets: dict[str, bytes], repository: Path) -> None:
    """A Maven repository with the one library; Gradle takes it with `maven { url = … }`."""
    place = repository.joinpath(*parts.group.split("."), parts.slug)
    stem = f"{parts.slug}-{parts.version}"
    words = _words(parts)
    files = {
        f"{parts.version}/{stem}.aar": _aar(parts, assets),
        f"{parts.version}/{stem}.pom": text.fill(text.POM, words).encode(),
        "maven-metadata.xml": text.fill(text.MAVEN_METADATA, words).encode(),
    }
    for name, data in files.items():
        _put(place / name, data)
        for algorithm in _CHECKSUMS:
            _put(place / f"{name}.{algorithm}", hashlib.new(algorithm, data).hexdigest().encode())


def _aar(parts: Parts, assets: dict[str, bytes]) -> bytes:
    """The library: assets and no code. Nothing is deflated, so an app can map the model into memory."""
    entries = {
        "AndroidManifest.xml": text.fill(text.ANDROID_MANIFEST, _words(parts)).encode(),
        "R.txt": b"",
        "classes.jar": zip_bytes({"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\r\n\r\n"}),
        "proguard.txt": flavour(parts.runtime).keep.encode(),
        _AAR_METADATA: b"aarFormatVersion=1.0\naarMetadataVersion=1.0\nminCompileSdk=24\n",
    }
    return zip_bytes(entries | {f"assets/{name}": data for name, data in assets.items()})


def _words(parts: Parts) -> dict[str, str]:
    kind, chosen = _kind(parts), flavour(parts.runtime)
    package = f"{parts.group}.{parts.identifier}"
    return {
        "RANGE": "" if parts.pixels == SYMMETRIC else text.RANGE.replace("@FORMULA@", parts.pixels.formula),
        "TAKES": chosen.takes,
        "LABELS_INSIDE": text.LABELS_INSIDE if parts.labels else "",
        "LABELS_ROW": text.LABELS_ROW if parts.labels else "",
        "NOUN": kind.noun,
        "TAKERS": kind.takers,
        "RUNTIME": chosen.title,
        "OTHERS": "|".join(name for name in NAMES if name != parts.runtime),
        "MODEL_FILE": chosen.model,
        "MODEL": chosen.asked(kind.model),
        "ENGINE": chosen.engine,
        "SHOW": kind.show.rstrip("\n"),
        "DEPENDENCY": chosen.dependency,
        "PACKAGE": ".".join(f"`{word}`" if word in _KOTLIN_WORDS else word for word in package.split(".")),
        "FOLDERS": package.replace(".", "/"),
        "GROUP": parts.group,
        "SLUG": parts.slug,
        "IDENTIFIER": parts.identifier,
        "VERSION": parts.version,
        "LICENSE": parts.license,
        "CLASS_NAMES": f"{len(parts.labels)} class name{'' if len(parts.labels) == 1 else 's'}",
    }


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


BUNDLE = Bundle(write=_write, check=check_app_file)
