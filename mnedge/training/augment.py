"""Random crops, rotations, mirror images and tints, drawn by NumPy's generator and applied by TensorFlow.

A picture is resampled once: crop, stretch, rotation, mirror and the way to the network's resolution are one affine map,
so small inputs do not blur twice, and the same map moves boxes and masks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf
    from numpy.typing import NDArray

    from mnedge.data.preprocess import Size
    from mnedge.training.settings import Augmentation

# Pictures are kept this much larger than the network's input, so that a crop has detail to show.
MARGIN = 1.25
# Luma of ITU-R BT.601.
_LUMA = (0.299, 0.587, 0.114)


def draw_warps(
    augmentation: Augmentation, count: int, sizes: tuple[Size, Size], generator: np.random.Generator
) -> NDArray[np.float32]:
    """Draws affine maps from pixels of the output to pixels of the input.

    Args:
        augmentation: The ranges.
        count: Number of warps.
        sizes: Sizes of the input and of the output: sides of squares, or height and width, pixels.
        generator: Source of randomness.

    Returns:
        float32, (count, 8), as TensorFlow's projective transform takes them: x_in = a0 x + a1 y + a2 and
        y_in = a3 x + a4 y + a5; the last two are 0.
    """
    (height_in, width_in), (height, width) = (_height_and_width(size) for size in sizes)
    zoom = generator.uniform(*augmentation.zoom, count)
    stretch = np.exp(generator.uniform(-1, 1, count) * np.log(augmentation.stretch) / 2)
    angle = np.deg2rad(generator.uniform(-1, 1, count) * augmentation.degrees)
    mirror = np.where(generator.random(count) < 0.5 * augmentation.flip, -1.0, 1.0)
    across, down = np.minimum(zoom * stretch, 1.0), np.minimum(zoom / stretch, 1.0)
    # The centre may wander as far as the crop leaves room.
    wander = generator.uniform(-0.5, 0.5, (2, count))
    warps = np.zeros((count, 8), np.float32)
    scale_x, scale_y = width_in / width, height_in / height
    warps[:, 0], warps[:, 1] = scale_x * across * mirror * np.cos(angle), scale_x * across * np.sin(angle)
    warps[:, 3], warps[:, 4] = -scale_y * down * mirror * np.sin(angle), scale_y * down * np.cos(angle)
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    for row, extent, room in (
        (0, width_in, wander[0] * width_in * (1 - across)),
        (3, height_in, wander[1] * height_in * (1 - down)),
    ):
        warps[:, row + 2] = (extent - 1) / 2 + room - centre_x * warps[:, row] - centre_y * warps[:, row + 1]
    return warps


def draw_tints(augmentation: Augmentation, count: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Draws brightness shifts, contrast factors and saturation factors, float32, (count, 3)."""
    spread = generator.uniform(-1, 1, (count, 3))
    brightness = 2 * augmentation.brightness * spread[:, 0]
    contrast, saturation = 1 + augmentation.contrast * spread[:, 1], 1 + augmentation.saturation * spread[:, 2]
    return np.stack([brightness, contrast, saturation], axis=1).astype(np.float32)


def _height_and_width(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def warp(pixels: tf.Tensor, warps: tf.Tensor, size: Size, *, reflect: bool = True) -> tf.Tensor:
    """Resamples pictures along affine maps, bilinearly.

    Args:
        pixels: uint8, (n, H, W, 3).
        warps: float32, (n, 8), see `draw_warps`.
        size: Side of the square output, or its height and width, pixels.
        reflect: Mirrors the outside at the edge; otherwise the outside is grey, so that no objects appear there
            that nobody has marked.

    Returns:
        float32, (n, height, width, 3), in [-1, 1].
    """
    import tensorflow as tf

    extents = _height_and_width(size)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(pixels, tf.float32),
        transforms=warps,
        output_shape=extents,
        fill_value=127.5,
        interpolation="BILINEAR",
        fill_mode="REFLECT" if reflect else "CONSTANT",
    )
    return tf.ensure_shape(moved, (None, *extents, 3)) / 127.5 - 1.0


def warp_masks(masks: tf.Tensor, warps: tf.Tensor, side: int) -> tf.Tensor:
    """Moves masks as `warp` moves their pictures; each pixel takes the class of the nearest one.

    Args:
        masks: uint8, (n, S, S).
        warps: float32, (n, 8), see `draw_warps`.
        side: Side of the output.

    Returns:
        uint8, (n, side, side).
    """
    import tensorflow as tf

    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=masks[..., None],
        transforms=warps,
        output_shape=(side, side),
        fill_value=0.0,
        interpolation="NEAREST",
        fill_mode="REFLECT",
    )
    return tf.ensure_shape(moved[..., 0], (None, side, side))


def tint(images: tf.Tensor, tints: tf.Tensor) -> tf.Tensor:
    """Applies brightness, contrast and saturation, in this order, and cuts to [-1, 1].

    All three are affine in the pixels of a picture, so they are one 3 x 3 matrix and one shift: half the time of three
    passes.

    Args:
        images: float32, (n, H, W, 3), in [-1, 1].
        tints: float32, (n, 3), see `draw_tints`.
    """
    import tensorflow as tf

    brightness, contrast, saturation = (tints[:, place, None, None] for place in range(3))
    mean = tf.reduce_mean(images, axis=(1, 2, 3))[:, None, None]
    shift = brightness + mean * (1.0 - contrast)
    mixed = contrast * (saturation * tf.eye(3) + (1.0 - saturation) * tf.constant(_LUMA)[:, None])
    shape = tf.shape(images)
    flat = tf.matmul(tf.reshape(images, (shape[0], -1, 3)), mixed) + shift
    return tf.ensure_shape(tf.reshape(tf.clip_by_value(flat, -1.0, 1.0), shape), images.shape)
