"""Pixels and classes in an .onnx's metadata_props, as mnedge, timm's config and others write them."""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING

from mnedge.pixels import METADATA, Pixels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnedge.pixels import Order

# Keys of a configuration that stands in one value as JSON: timm's, and that of transformers.
_CONFIGS = ("config", "pretrained_cfg", "default_cfg", "preprocessor_config", "timm_config")
_MEANS, _DEVIATIONS = ("mean", "image_mean", "pixel_mean"), ("std", "image_std", "deviation", "pixel_std")
_LABELS = ("labels", "label_names", "classes", "class_names", "names", "id2label")
_LARGEST = 255.0
# A mean of pixels in 0..255 is above this, one in 0..1 below.
_MOST_OF_0_TO_1 = 2.0
_MOST_TEXT = 1 << 22


def pixels_told(metadata: Mapping[str, str], order: Order) -> Pixels | None:
    """Reads the pixels: mnedge's own entry, or a mean and deviation; None if no entry has them.

    A mean and deviation of pixels in 0..1, as torchvision and timm have them, are those of the pixels divided by 255.

    Raises:
        InputError: mnedge's own entry is damaged.
    """
    if METADATA in metadata:
        return Pixels.from_bytes(metadata[METADATA].encode())
    told = _settings(metadata)
    mean, deviation = (_numbers(_first(told, keys)) for keys in (_MEANS, _DEVIATIONS))
    channels = {"GREY": 1, "RGBA": 4}.get(order, 3)
    if mean is None or deviation is None or len(mean) != len(deviation) or len(mean) not in (1, channels):
        return None
    if min(deviation) <= 0 or not all(abs(value) < 1e6 for value in (*mean, *deviation)):
        return None
    factor = _LARGEST if max(map(abs, mean)) <= _MOST_OF_0_TO_1 and max(deviation) <= _MOST_OF_0_TO_1 else 1.0
    return Pixels.normalized(tuple(factor * v for v in mean), tuple(factor * v for v in deviation), order)


def labels_told(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Class names in the order of the outputs; () where nothing names them."""
    found = _parsed(_first(_settings(metadata), _LABELS))
    if isinstance(found, dict):
        try:
            found = [found[key] for key in sorted(found, key=int)]
        except (TypeError, ValueError):
            return ()
    if isinstance(found, str):
        found = [line.strip() for line in (found.splitlines() if "\n" in found else found.split(",")) if line.strip()]
    if not isinstance(found, (list, tuple)) or not all(isinstance(item, (str, int)) for item in found):
        return ()
    return tuple(str(item) for item in found) if len(found) > 1 else ()


def _settings(metadata: Mapping[str, str]) -> dict[str, object]:
    """The entries, and beside them those of a configuration that one of them holds."""
    found: dict[str, object] = {}
    for key in _CONFIGS:
        inner = _parsed(metadata.get(key))
        while isinstance(inner, dict):
            found |= {str(name): value for name, value in inner.items()}
            inner = next((inner[name] for name in _CONFIGS if isinstance(inner.get(name), dict)), None)
    return found | dict(metadata)


def _first(told: Mapping[str, object], keys: tuple[str, ...]) -> object:
    return next((told[key] for key in keys if key in told), None)


def _parsed(value: object) -> object:
    """The value that a text is in JSON, or as Python writes lists and dictionaries; else the text."""
    if not isinstance(value, str) or len(value) > _MOST_TEXT:
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            found: object = read(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        return found
    return value


def _numbers(value: object) -> tuple[float, ...] | None:
    found = _parsed(value)
    if isinstance(found, (int, float)):
        found = [found]
    if isinstance(found, str):
        found = [_parsed(word) for word in found.replace(",", " ").split()]
    if not isinstance(found, (list, tuple)) or not found or not all(isinstance(v, (int, float)) for v in found):
        return None
    return tuple(float(v) for v in found)
