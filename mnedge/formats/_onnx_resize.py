"""ONNX's Resize and Upsample: the modes in which TFLite reads the same pixels with the same weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.formats._onnx_values import NHWC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mnedge.formats._onnx_values import Handler, Node, Reading, Value

# (align_corners, half_pixel_centers) of TFLite's RESIZE ops; both together are refused there.
_FORMS = ((False, True), (False, False), (True, False))
_NEAR = 1e-4
_MODES = {"nearest": "RESIZE_NEAREST_NEIGHBOR", "linear": "RESIZE_BILINEAR", "bilinear": "RESIZE_BILINEAR"}


def _weights(places: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """(new, old) what each new pixel takes of the old ones, where it lies at a real place among them."""
    low = np.floor(places)
    share = places - low
    found = np.zeros((places.size, size))
    rows = np.arange(places.size)
    np.add.at(found, (rows, np.clip(low, 0, size - 1).astype(int)), 1 - share)
    np.add.at(found, (rows, np.clip(low + 1, 0, size - 1).astype(int)), share)
    return found


def _onnx_places(node: Node, new: int, old: int, scale: float) -> NDArray[np.float64]:
    """Source coordinates of a resize."""
    x = np.arange(new, dtype=np.float64)
    half_pixel = (x + 0.5) / scale - 0.5
    forms: dict[str, NDArray[np.float64]] = {
        "asymmetric": x / scale,
        "align_corners": x * (old - 1) / max(new - 1, 1),
        "half_pixel": half_pixel,
        "half_pixel_symmetric": old / 2 * (1 - new / (scale * old)) + half_pixel,
        "pytorch_half_pixel": half_pixel if new > 1 else x * 0,
        "tf_half_pixel_for_nn": half_pixel + 0.5,
    }
    mode = "asymmetric" if node.kind == "Upsample" else node.text("coordinate_transformation_mode", "half_pixel")
    if mode not in forms:
        node.refuse(f"its coordinate_transformation_mode is {mode}", f"Export it with one of {', '.join(forms)}")
    return forms[mode]


def _onnx_nearest(node: Node, places: NDArray[np.float64]) -> NDArray[np.float64]:
    rounding = "floor" if node.kind == "Upsample" else node.text("nearest_mode", "round_prefer_floor")
    # Places that should lie on the middle between two are a rounding error beside it.
    places = np.round(places, 9)
    if rounding == "floor":
        return np.floor(places)
    if rounding == "ceil":
        return np.ceil(places)
    return np.floor(places + 0.5) if rounding == "round_prefer_ceil" else np.ceil(places - 0.5)


def _tflite_places(new: int, old: int, *, align: bool, half: bool, nearest: bool) -> NDArray[np.float64]:
    """Source coordinates of LiteRT's kernels, in their float32."""
    x = np.arange(new, dtype=np.float32)
    scale = np.float32(old - 1) / np.float32(new - 1) if align and new > 1 else np.float32(old) / np.float32(new)
    offset = np.float32(0.5) if half else np.float32(0)
    if nearest:
        places = (x + offset) * scale
        return np.asarray(np.floor(places + np.float32(0.5) if align else places), np.float64)
    return np.asarray((x + offset) * scale - offset, np.float64)


def _resize(reading: Reading, node: Node) -> Sequence[Value]:
    value = reading.held(node, 0)
    if reading.opset < 11:
        # The first Resize had no modes beside Upsample's.
        node = replace(node, kind="Upsample")
    mode = node.text("mode", "nearest")
    if mode not in _MODES:
        node.refuse(f"its mode is {mode}", "nearest and linear are read; export the model with one of them")
    if value.rank != 4:
        node.refuse(f"its input has the shape {value.shape}", "A picture of four dimensions is read")
    if node.whole("antialias", 0) or node.whole("exclude_outside", 0):
        node.refuse("it has antialias or exclude_outside", "Export it without")
    sizes, scales = _target(reading, node, value.shape)
    if sizes == value.shape:
        return [value]
    nearest = mode == "nearest"
    for align, half in _FORMS:
        if all(_agrees(node, sizes[axis], value.shape[axis], scales[axis], align=align, half=half, nearest=nearest)
               for axis in (2, 3)):  # fmt: skip
            name = reading.ordered(node, value, NHWC)
            told = reading.fixed(np.array(sizes[2:], np.int32), f"{node.outputs[0]}/size")
            options = {"align_corners": align, "half_pixel_centers": half}
            return [reading.make(node, _MODES[mode], (name, told), NHWC, options)]
    transformation = node.text("coordinate_transformation_mode", "half_pixel")
    rounding = f" and nearest_mode {node.text('nearest_mode', 'round_prefer_floor')}" if nearest else ""
    return node.refuse(
        f"{mode} from {value.shape[2]} x {value.shape[3]} to {sizes[2]} x {sizes[3]} with {transformation}{rounding} "
        "reads other pixels than any of TFLite's forms",
        "Export it with half_pixel or align_corners, and with sizes instead of scales that are no whole numbers",
    )


def _agrees(node: Node, new: int, old: int, scale: float, *, align: bool, half: bool, nearest: bool) -> bool:
    theirs = _onnx_places(node, new, old, scale)
    ours = _tflite_places(new, old, align=align, half=half, nearest=nearest)
    if nearest:
        return bool(np.all(np.clip(_onnx_nearest(node, theirs), 0, old - 1) == np.clip(ours, 0, old - 1)))
    return bool(np.abs(_weights(theirs, old) - _weights(ours, old)).max() < _NEAR)


def _target(reading: Reading, node: Node, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The new shape, and by which factors the node's places are computed."""
    at = 1 if node.kind == "Upsample" or reading.opset < 11 else 2
    factors = reading.known(node, at)
    sizes = reading.ints(node, 3) if at == 2 else None
    axes = node.wholes("axes") or tuple(range(len(shape)))
    if node.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        node.refuse("it keeps the aspect ratio", "Export the model with the sizes of its result")
    if any(not -4 <= axis < 4 for axis in axes):
        node.damaged(f"the axes {list(axes)} are outside of four dimensions")
    made, told = list(shape), [1.0] * len(shape)
    if sizes:
        if len(sizes) != len(axes) or min(sizes) < 1:
            node.damaged(f"the sizes {list(sizes)} do not fit {len(axes)} axes")
        for axis, size in zip(axes, sizes, strict=True):
            made[axis], told[axis] = size, size / shape[axis]
    elif factors is not None and factors.size == len(axes) and np.all(factors > 0) and np.all(np.isfinite(factors)):
        for axis, factor in zip(axes, factors.ravel(), strict=True):
            made[axis], told[axis] = int(np.floor(shape[axis] * float(factor) + 1e-6)), float(factor)
    else:
        node.damaged("its scales or sizes are left out or do not fit")
    if min(made) < 1 or max(made) > 1 << 20:
        node.damaged(f"it makes {tuple(made)}")
    if made[:2] != list(shape[:2]):
        node.refuse(f"it makes {tuple(made)} of {shape}", "Resizing of height and width is read")
    return tuple(made), tuple(told)


RESIZE: Mapping[str, Handler] = {"Resize": _resize, "Upsample": _resize}
