"""Microcontroller: the compiled C as a CMake project and as an Arduino library."""

from __future__ import annotations

import math
import re
import shutil
from typing import TYPE_CHECKING

from mnedge.bundles._app import app_of, lacking
from mnedge.bundles._bundle import Bundle
from mnedge.errors import InputError, UnsupportedError
from mnedge.files import RECORD
from mnedge.formats.archive import zip_bytes
from mnedge.formats.pixels import pixels_of
from mnedge.results.compilation import read_compiled
from mnedge.runtimes._runtime import takes_pixels
from mnedge.runtimes.compiled_c import read_header

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mnedge.bundles._bundle import Parts
    from mnedge.results.compilation import Compiled

_PROPERTIES = """name=@NAME@
version=@VERSION@
author=mnedge
maintainer=mnedge
sentence=int8 MobileNet, @KIND@@OF_CLASSES@, @SHOWN_SIZE@ pixels, as plain C.
paragraph=@ARENA@ bytes of working memory, no interpreter, no allocation. Compiled for @TARGET@.
category=Data Processing
url=https://www.arduino.cc/reference/en/libraries/
architectures=@ARCHITECTURES@
includes=@NAME@.h@LABELS_INCLUDE@
"""

_LABELS = """/* Class names of @NAME@ by index. */
#ifndef @UPPER@_LABELS_H
#define @UPPER@_LABELS_H

static const char *const @NAME@_labels[@CLASSES@] = {
@ROWS@
};

#endif
"""

_README = """# @SLUG@ for @TARGET@

| | bytes |
|---|---|
| arena: working memory that you give | @ARENA@ |
| RAM: arena, input and output | @RAM@ |
| flash: code and constants, -O2 | @FLASH@ |
| stack under one run | @STACK@ |

- `cmake/`: `add_subdirectory(cmake)`, then `target_link_libraries(firmware PRIVATE @NAME@)`. With test vectors in the
  folder it tests itself on a PC: `cmake -S cmake -B b && cmake --build b && ctest --test-dir b`. The same folder is a
  component of ESP-IDF (`idf_component.yml`), a PlatformIO library (`library.json`) and a Zephyr module
  (`zephyr/module.yml`).
- `arduino/@NAME@.zip`: in the Arduino IDE, Sketch, Include Library, Add .ZIP Library; its example is a whole sketch.
  `arduino/@NAME@/` is the same unpacked, for `arduino-cli` and PlatformIO.

The calls and every size stand in `@NAME@.h`. `mnedge verify` checks every file against `manifest.json`.
"""

# C that finds the class of a pixel: in a class map, and in scores.
_INDEX_OF_PIXEL = "  return (int)output[pixel];"
_BEST_OF_PIXEL = """  const @OUT@ *scores = output + pixel * @CLASSES@;
  int best = 0;
  for (int index = 1; index < @CLASSES@; index++) {
    if (scores[index] > scores[best]) {
      best = index;
    }
  }
  return best;"""


# Probability from which a label by itself is a yes; a difference that no two logits have.
_YES, _FAR = 0.5, 1e30
_ORDERS = {"RGB": "RGB", "BGR": "BGR", "GREY": "grey", "RGBA": "RGBA"}

# C of a sketch that says what a classifier found: of classes that exclude each other, and of labels by themselves.
_BEST_CLASS = """  int best = 0;
  for (int index = 1; index < @UPPER@_OUTPUT_BYTES; index++) {
    if (scores[index] > scores[best]) {
      best = index;
    }
  }
  Serial.print(status == 0 ? @NAME@_labels[best] : "arena is not aligned");
  Serial.print(' ');
"""
# Of two classes of which the second is taken from a threshold on.
_SECOND_FROM = """  // The second class from a probability of @THRESHOLD@ on.
  const float difference = @UPPER@_OUTPUT_SCALE * (float)(scores[1] - scores[0]);
  const int best = difference >= @DIFFERENCE@f ? 1 : 0;
  Serial.print(status == 0 ? @NAME@_labels[best] : "arena is not aligned");
  Serial.print(' ');
"""
_LEAST = """    if (one->score < @THRESHOLD@f) {
      continue;
    }
"""
_YES_OR_NO = """  for (int index = 0; status == 0 && index < @UPPER@_OUTPUT_BYTES; index++) {
    // A probability of @THRESHOLD@ and more is a yes.
    const float probability = @UPPER@_OUTPUT_SCALE * (float)(scores[index] - @UPPER@_OUTPUT_ZERO_POINT);
    Serial.print(@NAME@_labels[index]);
    Serial.print(probability >= @THRESHOLD@f ? " yes " : " no ");
  }
  Serial.print(status == 0 ? ' ' : '!');
"""


def _check(parts: Parts, target: str, source: Path) -> None:
    """Refuses C whose input is not the pixel, and a classifier without class names.

    Raises:
        UnsupportedError: It is one of these.
    """
    pixels, spec = pixels_of(source), read_header(source).input
    if pixels is None or not takes_pixels(spec, pixels):
        said = "not said" if pixels is None else str(pixels)
        raise UnsupportedError(
            f"{parts.slug} for {target} has an {spec.dtype} input whose steps are no pixels (range {said}), "
            "which a sketch would have to scale; build it with --io int8 or uint8, which folds the range into the model"
        )
    if app_of(parts).names_classes and (parts.head in ("numbers", "map") or not parts.labels):
        raise UnsupportedError(
            f"{parts.slug} gives {parts.head} without labels, and the sketch says names of classes; take the C itself, "
            f"{source.name}, or build the model with --labels"
        )


def _write(parts: Parts, folder: Path) -> None:
    if not parts.sources:
        raise InputError(
            f"the build of {parts.slug} has no C sources; "
            "build it with a target that takes C, e.g. --target cortex-m4, esp32-s3 or generic"
        )
    for target, source in sorted(parts.sources.items()):
        _write_target(parts, target, source, folder if len(parts.sources) == 1 else folder / target)


def _write_target(parts: Parts, target: str, source: Path, folder: Path) -> None:
    _check(parts, target, source)
    compiled = read_compiled(source)
    name = compiled.name
    words = _words(parts, target, compiled, (source / f"{name}.h").read_text(encoding="utf-8"))
    labels = _filled(_LABELS, words)
    shutil.copytree(source, folder / "cmake", ignore=shutil.ignore_patterns(RECORD))
    if parts.labels:
        (folder / "cmake" / f"{name}_labels.h").write_text(labels, encoding="utf-8")
    library = {
        "library.properties": _filled(_PROPERTIES, words),
        f"src/{name}.h": (source / f"{name}.h").read_text(encoding="utf-8"),
        f"src/{name}.c": (source / f"{name}.c").read_text(encoding="utf-8"),
        **({f"src/{name}_labels.h": labels} if parts.labels else {}),
        **_example(parts, source, name, words),
    }
    for place, text in library.items():
        path = folder / "arduino" / name / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    packed = zip_bytes({f"{name}/{place}": text.encode() for place, text in library.items()})
    (folder / "arduino" / f"{name}.zip").write_bytes(packed)
    (folder / "README.md").write_text(_filled(_README, words), encoding="utf-8")


def _example(parts: Parts, source: Path, name: str, words: Mapping[str, str]) -> dict[str, str]:
    """The sketch; of a detector also its decoder, which the compiler has written beside the network."""
    decoder = [source / f"{name}_objects.{kind}" for kind in ("c", "h")]
    files = {f"src/{path.name}": path.read_text(encoding="utf-8") for path in decoder if path.is_file()}
    sketch = app_of(parts).sketch
    if sketch is None:
        raise lacking(parts, "Arduino sketch")
    return {**files, f"examples/{parts.task}/{parts.task}.ino": _filled(sketch, words)}


def _words(parts: Parts, target: str, compiled: Compiled, header: str) -> dict[str, str]:
    name = compiled.name
    prototype = re.search(rf"{name}_run\(const (\w+) \*input, (\w+) \*output", header)
    assert prototype is not None, name
    c_in, c_out = prototype.groups()
    is_index = c_out not in ("int8_t", "uint8_t")
    sizes = {
        "ARENA": compiled.arena_bytes,
        "RAM": compiled.ram_bytes,
        "FLASH": compiled.flash_bytes,
        "STACK": compiled.stack_bytes,
    }
    return {
        # The inserted text has words of its own, so it stands first.
        "CLASS_OF": _INDEX_OF_PIXEL if is_index else _BEST_OF_PIXEL,
        "ANSWER": _answer(parts),
        "LEAST": "" if parts.threshold is None else _LEAST,
        "THRESHOLD": str(float(_YES if parts.threshold is None else parts.threshold)),
        "DIFFERENCE": repr(_difference(parts)),
        "PIXELS": "(@UPPER@_OUTPUT_BYTES / sizeof(@OUT@))" if is_index else "(@UPPER@_OUTPUT_BYTES / @CLASSES@)",
        "OF_CLASSES": f" of {parts.shown_classes}" if parts.labels else "",
        "LABELS_INCLUDE": ",@NAME@_labels.h" if parts.labels else "",
        "NAME": name,
        "UPPER": name.upper(),
        "SLUG": parts.slug,
        "TARGET": target,
        "VERSION": parts.version,
        "CLASSES": str(len(parts.labels)),
        "KIND": app_of(parts).network,
        "SHOWN_SIZE": parts.shown_size,
        "LAYOUT": f"{_ORDERS[parts.pixels.order]}, row by row; an int8 model takes pixel - 128",
        # The portable kernels run on every board that Arduino knows; the others need their core's instructions.
        "ARCHITECTURES": "*",
        "IN": c_in,
        "OUT": c_out,
        "ROWS": ",\n".join(f"    {_c_string(label)}" for label in parts.labels),
        **{key: "not measured" if size is None else f"{size:,}" for key, size in sizes.items()},
    }


def _answer(parts: Parts) -> str:
    if parts.head in ("sigmoid", "multi-label"):
        return _YES_OR_NO
    return _BEST_CLASS if parts.threshold is None else _SECOND_FROM


def _difference(parts: Parts) -> float:
    """The least difference of two classes' outputs, second minus first, at which the second one is taken."""
    threshold = _YES if parts.threshold is None else parts.threshold
    if parts.head == "softmax":
        # p1 >= t, where p0 + p1 = 1.
        return 2 * threshold - 1
    # The difference of two logits is the logit of the second class' probability; a float holds no infinity here.
    if threshold in (0.0, 1.0):
        return _FAR if threshold else -_FAR
    return math.log(threshold / (1 - threshold))


def _c_string(text: str) -> str:
    """A C string literal of any text: UTF-8 bytes outside printable ASCII, quotes and trigraphs as octal."""
    plain = (chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode())
    return f'"{"".join(plain)}"'


def _filled(template: str, words: Mapping[str, str]) -> str:
    text = template
    for key, word in words.items():
        text = text.replace(f"@{key}@", word)
    return text


BUNDLE = Bundle(write=_write, needs="c")
