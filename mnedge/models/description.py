"""The description in a .keras of mnedge: what it was trained for, its class names, how its splits were drawn."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, cast

from mnedge.data.draw import draw_of
from mnedge.data.names import checked_name
from mnedge.errors import InputError
from mnedge.foreign import parse_json
from mnedge.formats.archive import read_member
from mnedge.models.pytorch import Style
from mnedge.pixels import Pixels

if TYPE_CHECKING:
    from mnedge.data.draw import Draw
    from mnedge.untyped import JsonObject

# Words of `--weights`, or a file.
Weights = Literal["demo", "imagenet", "random"] | Path

# The member of a .keras archive that mnedge adds; Keras reads past it.
DESCRIPTION = "mnedge.json"
_DESCRIPTION_BYTES = 64 << 20


class Description(TypedDict, total=False):
    """Description in a .keras of mnedge; empty for other weights.

    Attributes:
        task: Task of the training.
        head: Its head; "classifier", or that of another task.
        output_stride: Output stride of the backbone; None for its own.
        classes: Class names.
        outputs: Number of outputs.
        draw: Draw of the splits of its training (see `Draw`); None where the data came with its own.
        detection: The anchors of a detector.
        pytorch: Differences of a network with weights of PyTorch from Keras' own; None for none.
        pixels: Pixels of a fine-tuned model of one's own, by `Pixels.to_bytes`; None for a variant.
    """

    task: str
    head: str
    output_stride: int | None
    classes: list[str]
    outputs: int
    draw: JsonObject | None
    detection: JsonObject
    pytorch: JsonObject | None
    pixels: str | None


def description_of(weights: Weights) -> Description:
    """Reads the description that `save_trained` wrote; empty for other weights.

    Raises:
        InputError: The description is damaged.
    """
    if not isinstance(weights, Path) or not zipfile.is_zipfile(weights):
        return {}
    try:
        with zipfile.ZipFile(weights) as archive:
            if DESCRIPTION not in archive.namelist():
                return {}
            told = _checked(parse_json(read_member(archive, DESCRIPTION, _DESCRIPTION_BYTES, str(weights))))
        for name in told["classes"]:
            checked_name(name, f"{weights}, {DESCRIPTION}")
        if (style := told.get("pytorch")) is not None:
            Style.from_json(style)
        pixels = told.get("pixels")
        if pixels is not None:
            Pixels.from_bytes(pixels.encode())
    except (OSError, KeyError, TypeError, ValueError, RecursionError, zipfile.BadZipFile, zlib.error) as exc:
        raise InputError(
            f"{weights}: its {DESCRIPTION} with the class names is broken ({exc}); train it again"
        ) from exc
    return told


def trained_draw(weights: Weights) -> Draw | None:
    """Reads how the splits of a .keras' training were drawn; None for other weights and for data with its own splits.

    Raises:
        InputError: The description is damaged.
    """
    told = description_of(weights).get("draw")
    return draw_of(told, str(weights)) if told else None


def _checked(told: object) -> Description:
    """Makes sure that a description has the kinds of values that building and naming rely on.

    Raises:
        TypeError: It has not.
        KeyError: It names no classes.
    """
    if not isinstance(told, dict):
        raise TypeError("it is no object")
    kinds = {"classes": list, "task": str, "head": str, "outputs": int, "output_stride": int, "draw": dict,
             "pixels": str}  # fmt: skip
    for name, kind in kinds.items():
        value = told[name] if name == "classes" else told.get(name)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise TypeError(f"{name} is {value!r}")
    classes = told["classes"]
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise TypeError("classes is no list of names")
    return cast("Description", told)
