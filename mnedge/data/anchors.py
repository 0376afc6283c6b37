"""Anchors: the boxes that SSD predicts corrections of, and the code of those corrections.

Everything is in fractions of the picture, y before x, as TFLite's post-processing takes it: a box is (y1, x1, y2, x2),
an anchor (centre y, centre x, height, width).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import tensorflow as tf
    from numpy.typing import NDArray

    from mnedge.untyped import AnyArray, AnyFloats

# Factors of centre and extent codes, so that all four have about variance one
# (https://arxiv.org/abs/1512.02325, the released code's variances 0.1 and 0.2).
CENTRE_SCALE, EXTENT_SCALE = 10.0, 5.0
MAPS = 6
PER_CELL = 6
_RATIOS = (1.0, 2.0, 1 / 2, 3.0, 1 / 3)
_MIN_SCALE, _MAX_SCALE = 0.2, 0.95
# Crops enlarge what they show; anchors should know it at these sizes too.
_ZOOMS = (1.0, 0.8, 0.65)
_LEAST_TO_FIT = 24
_ROUNDS = 50
# Keeps the loss of a box finite while its code is still wild; a logarithm.
_MOST_GROWTH = 4.0


def paper_shapes(maps: int = MAPS, min_scale: float = _MIN_SCALE, max_scale: float = _MAX_SCALE) -> NDArray[np.float32]:
    """Heights and widths of the anchors of each map (https://arxiv.org/abs/1512.02325, eq. 4 and section 2.2).

    The scales lie evenly between the two ends; each map has five aspect ratios of its scale, and a square of the
    geometric mean of its scale and the next one.

    Args:
        maps: Number of feature maps, finest first.
        min_scale: Scale of the first map's boxes, a share of the picture's side.
        max_scale: Scale of the last map's boxes.

    Returns:
        float32, (maps, 6, 2).
    """
    scales = np.linspace(min_scale, max_scale, maps)
    following = np.append(scales[1:], 1.0)
    shapes = np.empty((maps, len(_RATIOS) + 1, 2), np.float32)
    for place, ratio in enumerate(_RATIOS):
        # A ratio is width to height.
        shapes[:, place] = np.stack([scales / np.sqrt(ratio), scales * np.sqrt(ratio)], axis=1)
    shapes[:, -1] = np.sqrt(scales * following)[:, None]
    return shapes


def fitted_shapes(extents: AnyFloats, maps: int = MAPS) -> NDArray[np.float32]:
    """Heights and widths of anchors that suit the boxes of a data set.

    A box belongs to the map whose scale in `paper_shapes` is the nearest, however small it is to the first. The anchors
    of a map are its boxes' clusters by 1 - IoU (https://arxiv.org/abs/1612.08242, section 2, "dimension clusters");
    a map with hardly any boxes keeps the paper's.

    Args:
        extents: Heights and widths of the training boxes, (n, 2).
        maps: Number of feature maps, finest first.

    Returns:
        float32, (maps, 6, 2).
    """
    shapes = paper_shapes(maps)
    grown = np.concatenate([np.minimum(extents / zoom, 1.0) for zoom in _ZOOMS]) if extents.size else extents
    scales = np.sqrt(grown.prod(axis=1))
    own = shapes[:, 0, 0]
    band = np.searchsorted(np.sqrt(own[:-1] * own[1:]), scales)
    for place in range(maps):
        boxes = grown[band == place]
        if len(boxes) >= _LEAST_TO_FIT * len(_ZOOMS):
            shapes[place] = _clusters(boxes, shapes.shape[1])
    return shapes


def _clusters(extents: AnyFloats, count: int) -> NDArray[np.float32]:
    """Lloyd's algorithm with 1 - IoU; it starts from even steps of size, so that rare small boxes get their share."""
    sizes = np.sqrt(extents.prod(axis=1))
    ratio = np.median(extents[:, 0] / extents[:, 1])
    least, most = np.quantile(sizes, (0.02, 0.98))
    start = np.geomspace(least, most, count)
    centres = np.stack([start * np.sqrt(ratio), start / np.sqrt(ratio)], axis=1)
    for _ in range(_ROUNDS):
        nearest = shape_iou(extents, centres).argmax(axis=1)
        moved = np.stack([
            np.median(extents[nearest == place], axis=0) if (nearest == place).any() else centres[place]
            for place in range(count)
        ])  # fmt: skip
        if np.allclose(moved, centres):
            break
        centres = moved
    return centres[np.argsort(centres.prod(axis=1), kind="stable")].astype(np.float32)


def shape_iou(first: AnyArray, second: AnyArray) -> NDArray[np.float64]:
    """Intersection over union of boxes with one centre: (n, 2) and (m, 2) heights and widths give (n, m)."""
    shared = np.minimum(first[:, None], second[None]).prod(axis=2)
    union = first.prod(axis=1)[:, None] + second.prod(axis=1)[None] - shared
    return np.asarray(shared / union)


def place_anchors(sides: Sequence[tuple[int, int]], shapes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Puts each map's shapes on the centre of each of its cells.

    Args:
        sides: Height and width of each feature map in cells. They are taken as they are: 300 pixels give 19 and 10
            cells, whatever the strides say.
        shapes: float32, (maps, per cell, 2).

    Returns:
        float32, (anchors, 4): centre y, centre x, height, width; map by map, row by row, in the order of a
        convolution's output.
    """
    parts = []
    for (height, width), own in zip(sides, shapes, strict=True):
        y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
        centres = np.repeat(np.stack([y, x], axis=-1).reshape(-1, 1, 2), len(own), axis=1)
        parts.append(np.concatenate([centres, np.broadcast_to(own, centres.shape)], axis=2).reshape(-1, 4))
    return np.concatenate(parts).astype(np.float32)


def encode(boxes: NDArray[np.float32], anchors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Codes boxes against anchors (https://arxiv.org/abs/1512.02325, eq. 2, times the scale factors).

    Args:
        boxes: float32, (n, 4): y1, x1, y2, x2, with some height and width.
        anchors: float32, (n, 4), one a box.

    Returns:
        float32, (n, 4): codes of centre y, centre x, height, width.
    """
    extents = boxes[:, 2:] - boxes[:, :2]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    moved = (centres - anchors[:, :2]) / anchors[:, 2:] * CENTRE_SCALE
    grown = np.log(extents / anchors[:, 2:]) * EXTENT_SCALE
    return np.concatenate([moved, grown], axis=1).astype(np.float32)


def decode(codes: NDArray[np.float32], anchors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Decodes boxes: (…, n, 4) codes and (n, 4) anchors give y1, x1, y2, x2, not cut at the picture's edges."""
    centres = codes[..., :2] / CENTRE_SCALE * anchors[:, 2:] + anchors[:, :2]
    halves = np.exp(codes[..., 2:] / EXTENT_SCALE) * anchors[:, 2:] / 2
    return np.concatenate([centres - halves, centres + halves], axis=-1)


def decode_tensor(codes: tf.Tensor, anchors: NDArray[np.float32]) -> tf.Tensor:
    """`decode` of TensorFlow's tensors, which can be differentiated; extents grow at most e^4 times."""
    import tensorflow as tf

    centres = codes[..., :2] / CENTRE_SCALE * anchors[:, 2:] + anchors[:, :2]
    halves = tf.exp(tf.minimum(codes[..., 2:] / EXTENT_SCALE, _MOST_GROWTH)) * anchors[:, 2:] / 2
    return tf.concat([centres - halves, centres + halves], axis=-1)


def corners_of(anchors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Anchors as boxes: y1, x1, y2, x2, float32, (n, 4)."""
    return np.concatenate([anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2], axis=1)


def iou(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of boxes y1, x1, y2, x2: (n, 4) and (m, 4) give (n, m); 0 where both are empty."""
    near = np.maximum(first[:, None, :2], second[None, :, :2])
    far = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.maximum(far - near, 0).prod(axis=2)
    areas = [np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.maximum(union, np.finfo(np.float32).tiny), np.float32)
