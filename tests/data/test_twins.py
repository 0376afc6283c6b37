"""Copies in disguise are found, different pictures are not."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from mnedge.data.twins import hashes, is_flat, thumbnails, twins

if TYPE_CHECKING:
    from collections.abc import Callable


def _scenes(count: int, seed: int) -> list[Image.Image]:
    """Pictures with large and small structure, as photos have."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        noise = [Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)) for side in (3, 6, 24)]
        layers = [np.asarray(image.resize((96, 96), Image.Resampling.BICUBIC), np.float32) for image in noise]
        mixed = 0.6 * layers[0] + 0.3 * layers[1] + 0.1 * layers[2]
        made.append(Image.fromarray(mixed.clip(0, 255).astype(np.uint8)))
    return made


def _jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=30)
    return Image.open(buffer).convert("RGB")


def _thumbs(images: list[Image.Image], side: int = 96) -> np.ndarray:
    return thumbnails(np.stack([np.asarray(image.convert("RGB").resize((side, side))) for image in images]))


@pytest.mark.parametrize(
    ("disguise", "is_mirrored"),
    [
        (lambda image: image, False),
        (_jpeg, False),
        (lambda image: image.resize((40, 40)), False),
        (lambda image: ImageEnhance.Brightness(image).enhance(1.2), False),
        (ImageOps.grayscale, False),
        (ImageOps.mirror, True),
    ],
    ids=["copy", "jpeg", "small", "brighter", "grey", "mirrored"],
)
def test_disguised_copies_are_found(disguise: Callable[[Image.Image], Image.Image], is_mirrored: bool) -> None:
    scenes = _scenes(30, seed=1)
    # The copies hide among others, at another size.
    held = _thumbs([*_scenes(20, seed=2), *(disguise(scene) for scene in scenes[10:20])], side=120)
    found = twins(_thumbs(scenes), held)
    assert [(pair.first, pair.second) for pair in found] == [(10 + place, 20 + place) for place in range(10)]
    assert {pair.is_mirrored for pair in found} == {is_mirrored}
    assert all(pair.correlation > 0.9 for pair in found)


def test_different_pictures_are_not_twins() -> None:
    assert twins(_thumbs(_scenes(150, seed=3)), _thumbs(_scenes(150, seed=4))) == []


def test_pictures_of_one_colour_are_flat_and_nobodys_twins() -> None:
    plain = _thumbs([Image.new("RGB", (96, 96), colour) for colour in ("white", "navy")])
    assert is_flat(plain).all()
    assert not is_flat(_thumbs(_scenes(20, seed=5))).any()
    assert twins(plain, plain) == []


def test_hashes_ignore_brightness() -> None:
    thumbs = _thumbs(_scenes(10, seed=6)) * np.float32(0.5)
    distance = np.unpackbits((hashes(thumbs) ^ hashes(thumbs + 40)).view(np.uint8)).sum()
    # The mean itself is one of the 64 frequencies.
    assert distance <= 10 * 2


def test_digits_look_alike_without_being_copies() -> None:
    from mnedge.data.demo import open_demo

    demo = open_demo()
    train, held = (thumbnails(demo.pixels(demo.split(split), 48)[0]) for split in ("train", "eval"))
    # 674 of 1,197 would count without the look at the others.
    assert len({pair.first for pair in twins(train, held)}) < 24
    found = twins(np.concatenate([train[:50], held[7:8]]), held)
    assert (50, 7) in {(pair.first, pair.second) for pair in found}
