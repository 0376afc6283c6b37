"""The variants that a search looks at: heads of tasks, and sides that suit the pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from mnedge.data import open_dataset
from mnedge.errors import InputError
from mnedge.models import families
from mnedge.workflows.search.candidates import RESOLUTIONS, candidates, resolutions_for

if TYPE_CHECKING:
    from pathlib import Path


def _photos(root: Path, size: tuple[int, int]) -> Path:
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", size, (40 * number, 0, 0)).save(root / name / f"{number}.png")
    return root


def test_heads_stand_on_the_families_that_carry_them() -> None:
    found = candidates(3, head="lr-aspp", alphas=(1.0,), resolutions=(96,))
    assert {one.variant.head for one in found} == {"lr-aspp"}
    assert {one.variant.family for one in found} <= set(families.names())
    assert found[0].row.head == "lr-aspp"
    assert candidates(3, families=("v2",), alphas=(1.0,), resolutions=(96,))[0].row.head is None


def test_a_head_that_does_not_exist_is_named() -> None:
    with pytest.raises(InputError, match="lr-aspp"):
        candidates(3, head="unet")


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        ((640, 480), RESOLUTIONS),
        ((96, 200), RESOLUTIONS),
        ((64, 200), (32, 48, 64, 96, 128, 160, 192)),
        ((32, 32), (32, 48, 64, 96)),
        ((12, 12), (32, 48, 64, 96)),
    ],
)
def test_small_pictures_get_small_sides(tmp_path: Path, size: tuple[int, int], sides: tuple[int, ...]) -> None:
    assert resolutions_for(open_dataset(str(_photos(tmp_path / "data", size)))) == sides


def test_demo_pictures_get_the_published_sides() -> None:
    assert resolutions_for(open_dataset("demo")) == RESOLUTIONS
