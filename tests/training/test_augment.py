"""Warps against SciPy, tints against Pillow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy import ndimage

from mnedge.pixels import SYMMETRIC
from mnedge.training.augment import draw_tints, draw_warps, tint, warp
from mnedge.training.settings import Augmentation

if TYPE_CHECKING:
    from mnedge.choices import Strength

STILL = Augmentation.of("none")


def _pictures(count: int, side: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    small = rng.integers(0, 256, (count, 5, 5, 3), np.uint8)
    resized = [np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC)) for one in small]
    return np.stack(resized)


def test_without_augmentation_a_picture_of_the_same_size_stays_as_it_is() -> None:
    pixels = _pictures(3, 24)
    rng = np.random.default_rng(0)
    warped = warp(pixels, draw_warps(STILL, 3, (24, 24), rng), 24)
    np.testing.assert_allclose(tint(warped, draw_tints(STILL, 3, rng)), SYMMETRIC.real(pixels), atol=1e-5)


def test_a_larger_picture_is_shrunk_about_its_centre() -> None:
    ramp = np.broadcast_to(np.arange(40, dtype=np.uint8)[None, None, :, None] * 6, (1, 40, 40, 3))
    warped = (np.asarray(warp(ramp, draw_warps(STILL, 1, (40, 32), np.random.default_rng(0)), 32)) + 1) * 127.5
    # Pixel centres: x_in + 1/2 = (x_out + 1/2) * 40 / 32.
    expected = ((np.arange(32) + 0.5) * 40 / 32 - 0.5) * 6
    np.testing.assert_allclose(warped[0, 7, :, 1], expected, atol=1e-3)


def test_warps_are_those_of_scipy() -> None:
    pixels, rng = _pictures(6, 40), np.random.default_rng(1)
    warps = draw_warps(Augmentation(degrees=25.0), 6, (40, 32), rng)
    ours = (np.asarray(warp(pixels, warps, 32)) + 1) * 127.5
    for picture, (a0, a1, a2, a3, a4, a5, *_), got in zip(pixels, warps, ours, strict=True):
        # SciPy counts rows first.
        matrix, offset = np.array([[a4, a3], [a1, a0]]), np.array([a5, a2])
        for channel in range(3):
            theirs = ndimage.affine_transform(
                picture[..., channel].astype(np.float64), matrix, offset, (32, 32), order=1, mode="grid-mirror"
            )
            # Beyond the edge the two mirror differently by half a pixel.
            inner = slice(8, 24)
            np.testing.assert_allclose(got[inner, inner, channel], theirs[inner, inner], atol=0.05)


@pytest.mark.parametrize("strength", ["light", "default"])
def test_crops_stay_inside_the_picture(strength: Strength) -> None:
    augmentation = replace(Augmentation.of(strength), degrees=0.0)
    warps = draw_warps(augmentation, 500, (40, 32), np.random.default_rng(2))
    for corner in ((0, 0), (31, 31), (0, 31), (31, 0)):
        x = warps[:, 0] * corner[0] + warps[:, 1] * corner[1] + warps[:, 2]
        y = warps[:, 3] * corner[0] + warps[:, 4] * corner[1] + warps[:, 5]
        assert x.min() > -0.5
        assert x.max() < 39.5
        assert y.min() > -0.5
        assert y.max() < 39.5


def test_half_of_the_pictures_are_mirrored_unless_told_otherwise() -> None:
    def mirrored(flip: bool) -> float:
        warps = draw_warps(Augmentation(degrees=0.0, flip=flip), 1000, (32, 32), np.random.default_rng(3))
        return float((warps[:, 0] < 0).mean())

    assert 0.45 < mirrored(flip=True) < 0.55
    assert mirrored(flip=False) == 0.0


def test_saturation_is_that_of_pillow() -> None:
    pixels = _pictures(2, 16)
    ours = np.asarray(tint(SYMMETRIC.real(pixels), np.array([[0.0, 1.0, 0.5]] * 2, np.float32)))
    for picture, got in zip(pixels, ours, strict=True):
        theirs = SYMMETRIC.real(np.asarray(ImageEnhance.Color(Image.fromarray(picture)).enhance(0.5)))
        # Pillow rounds to whole grey levels twice.
        np.testing.assert_allclose(got, theirs, atol=2 / 127.5)


def test_contrast_keeps_the_mean_and_brightness_moves_it() -> None:
    images = SYMMETRIC.real(_pictures(1, 16)) * np.float32(0.5)
    softer = np.asarray(tint(images, np.array([[0.0, 0.5, 1.0]], np.float32)))
    assert softer.mean() == pytest.approx(images.mean(), abs=1e-4)
    assert softer.std() == pytest.approx(images.std() / 2, rel=1e-3)
    brighter = np.asarray(tint(images, np.array([[0.1, 1.0, 1.0]], np.float32)))
    np.testing.assert_allclose(brighter, images + 0.1, atol=1e-5)


def test_height_and_width_may_differ() -> None:
    # Without augmentation a picture is resized, whatever its proportions: the corners stay where they are.
    across, down = np.meshgrid(np.arange(50), np.arange(25))
    ramp = np.stack([4 * across, 8 * down, 0 * across], -1).astype(np.uint8)[None]
    warps = draw_warps(STILL, 1, ((25, 50), (20, 40)), np.random.default_rng(0))
    small = (np.asarray(warp(ramp, warps, (20, 40))) + 1) * 127.5
    assert small.shape == (1, 20, 40, 3)
    wanted = 1.25 * (np.arange(40) - 19.5) + 24.5
    np.testing.assert_allclose(small[0, 10, 1:-1, 0], 4 * wanted[1:-1], atol=1e-3)
    np.testing.assert_allclose(small[0, 1:-1, 10, 1], 8 * (1.25 * (np.arange(20) - 9.5) + 12)[1:-1], atol=1e-3)
