import numpy as np
import pytest

from mnedge.data.content import Content
from mnedge.data.dataset import Dataset
from mnedge.errors import InputError


def _dataset(read, count: int = 50, **changes) -> Dataset:  # noqa: ANN001, ANN003
    numbers = np.arange(count)
    given = {
        "name": "n", "classes": ("a", "b"), "fixed_classes": True, "labels": numbers % 2, "splits": {"eval": numbers},
        "sources": tuple(map(str, numbers)), "read": read, "content": Content(other="f"), **changes,
    }  # fmt: skip
    return Dataset(**given)


def test_pictures_come_in_order() -> None:
    found = _dataset(lambda number, side: np.full((side, side, 3), number, np.uint8))
    pixels, labels = found.pixels(found.split("eval"), 2)
    assert pixels[:, 0, 0, 0].tolist() == list(range(50))
    assert labels.tolist() == [number % 2 for number in range(50)]


def test_reading_stops_with_the_caller() -> None:
    read: list[int] = []

    def picture(number: int, side: int) -> np.ndarray:
        read.append(number)
        return np.zeros((side, side, 3), np.uint8)

    stream = _dataset(picture, count=5000).stream(np.arange(5000), 2)
    next(stream)
    stream.close()
    assert len(read) < 200


def test_an_empty_split_says_so() -> None:
    with pytest.raises(InputError, match="no pictures in its train split"):
        _dataset(None).split("train")


def test_all_broken_is_an_error_even_when_skipping() -> None:
    def broken(number: int, side: int) -> np.ndarray:
        raise InputError(f"{number} {side}")

    with pytest.raises(InputError, match="none of the 50 pictures"):
        _dataset(broken, skip_broken=True).pixels(np.arange(50), 2)
