"""Android: a model for MediaPipe Tasks and ML Kit, one for LiteRT's CompiledModel, as assets and as an .aar."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from mnedge.bundles import _android_text as text
from mnedge.bundles._app import app_of, lacking
from mnedge.bundles._bundle import Bundle
from mnedge.bundles._metadata import Description
from mnedge.errors import UnsupportedError
from mnedge.formats.archive import zip_bytes
from mnedge.pixels import SYMMETRIC

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.bundles._app import AndroidApp
    from mnedge.bundles._bundle import Parts

# What the scores of a classifier are, in Kotlin's comment; other heads give no probabilities.
_SCORES = {
    "softmax": "int8 scores of a softmax",
    "sigmoid": "The int8 score of a sigmoid, of which 0.5 and more is a yes",
    "multi-label": "int8 scores of sigmoids, of which 0.5 and more is a yes",
}
_CHECKSUMS = ("md5", "sha1", "sha256", "sha512")
# What Android Gradle Plugin 4.1 and later reads of an .aar; 1.0 is the only version there is.
_AAR_METADATA = "META-INF/com/android/build/gradle/aar-metadata.properties"


def _kind(parts: Parts) -> AndroidApp:
    found = app_of(parts).android
    if found is None:
        raise lacking(parts, "Android app")
    return found


def _check(parts: Parts) -> None:
    """Refuses what the apps' runtimes cannot be handed.

    Raises:
        UnsupportedError: The input is no RGB pixels, or the outputs are no probabilities where a classifier is due.
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
    if parts.task == "classify" and (parts.head not in _SCORES or not parts.labels):
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
    words = _words(parts)
    kind = _kind(parts)
    kotlin = {f"kotlin/{name}.kt": code for name, code in kind.kotlin.items()}
    for name, template in (text.SNIPPETS | kotlin).items():
        _put(folder / name, text.fill(template, words).encode())


def _assets(parts: Parts) -> dict[str, bytes]:
    """The models and labels under the names that the app opens them by."""
    kind = _kind(parts)
    classes = f"{len(parts.labels)} classes, " if parts.labels else ""
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
    labels = {f"{parts.slug}.labels.txt": parts.labels_text.encode()} if parts.labels else {}
    return {
        f"{parts.slug}.uint8.tflite": kind.described(parts.tflite("uint8"), described),
        f"{parts.slug}.int8.tflite": parts.tflite("int8"),
        **labels,
    }


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
        _AAR_METADATA: b"aarFormatVersion=1.0\naarMetadataVersion=1.0\nminCompileSdk=24\n",
    }
    return zip_bytes(entries | {f"assets/{name}": data for name, data in assets.items()})


def _words(parts: Parts) -> dict[str, str]:
    kind = _kind(parts)
    tasks, *litert = kind.kotlin
    alone = "".join(text.ON_LITERT_ALONE.replace("@LITERT_CLASS@", name) for name in litert)
    height, width = parts.size
    is_square = height == width
    sides = {"SIDE": height} if is_square else {"WIDTH": width, "HEIGHT": height}
    range_ = "" if parts.pixels == SYMMETRIC else text.RANGE.replace("@FORMULA@", parts.pixels.formula)
    return {
        "RANGE": range_,
        "LABELS_INSIDE": text.LABELS_INSIDE if parts.labels else "",
        "LABELS_ROW": text.LABELS_ROW if parts.labels else "",
        "NOUN": kind.noun,
        "TAKERS": kind.takers,
        "TASKS_CLASS": tasks,
        "ON_LITERT_ALONE": alone,
        "LITERT_DEPENDENCY": "".join(text.LITERT_DEPENDENCY.replace("@LITERT_CLASS@", name) for name in litert),
        "LITERT_MODEL": text.LITERT_MODEL,
        "LITERT_RUN": text.LITERT_RUN,
        "LITERT_CLOSE": text.LITERT_CLOSE,
        "GROUP": parts.group,
        "SLUG": parts.slug,
        "IDENTIFIER": parts.identifier,
        "VERSION": parts.version,
        "LICENSE": parts.license,
        "SHOWN_SIZE": parts.shown_size,
        "WIDE": "SIDE" if is_square else "WIDTH",
        "HIGH": "SIDE" if is_square else "HEIGHT",
        "SIDES": "\n".join(f"        const val {name} = {value}" for name, value in sides.items()),
        "CUT": "cropped to its centre square" if is_square else f"cropped to its centre of {parts.shown_size}",
        "SQUARE": "a square" if is_square else parts.shown_size,
        "SCORES": _SCORES.get(parts.head, ""),
        "CLASSES": str(len(parts.labels)),
    }


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


BUNDLE = Bundle(
    description="assets, an .aar in a Maven repository, Gradle and Kotlin to copy", write=_write, has_archive=False
)
