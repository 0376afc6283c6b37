import numpy as np
from sklearn.datasets import load_digits

from mnedge.data import open_dataset
from mnedge.pixels import SYMMETRIC


def test_the_split_is_fixed_and_without_overlap() -> None:
    found = open_dataset("demo")
    sizes = {name: numbers.size for name, numbers in found.splits.items()}
    assert sizes == {"train": 1197, "calibration": 200, "eval": 400}
    assert len(set(np.concatenate(list(found.splits.values())).tolist())) == 1797
    assert found.splits["eval"][:4].tolist() == open_dataset("demo").splits["eval"][:4].tolist()
    assert set(found.labels[found.splits["eval"]].tolist()) == set(range(10))


def test_pictures_are_digits_in_rgb() -> None:
    found = open_dataset("demo")
    pixels, labels = found.pixels(np.array([0, 1]), 96)
    assert pixels.shape == (2, 96, 96, 3)
    assert labels.tolist() == [0, 1]
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    real = SYMMETRIC.real(np.array([[0, 255]], np.uint8))
    assert real.dtype == np.float32
    assert real.tolist() == [[-1.0, 1.0]]


def test_the_digits_are_scikit_learns() -> None:
    found, bunch = open_dataset("demo"), load_digits()
    assert found.labels.tolist() == bunch.target.tolist()
    shades = found.pixels(np.arange(50), 8)[0][..., 0]
    assert np.array_equal(shades, (bunch.images[:50] * 255 / 16).round())
