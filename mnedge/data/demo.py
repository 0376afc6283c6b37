"""The data set of a first try: scikit-learn's 1,797 handwritten digits, enlarged, in RGB, offline."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data.content import Content
from mnedge.data.dataset import Dataset
from mnedge.data.preprocess import Preprocessing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.data.preprocess import Size

RESOLUTION = 96
_EVAL, _CALIBRATION = 400, 200
_SEED = 0


@cache
def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures, uint8 (1797, 8, 8), and labels."""
    # What `sklearn.datasets.load_digits` reads; the import of scikit-learn takes ten times as long as the reading.
    package = find_spec("sklearn")
    assert package is not None, "a dependency"
    assert package.origin is not None, "a regular package"
    table = np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", np.int64, delimiter=",")
    return (table[:, :64].reshape(-1, 8, 8) * (255.0 / 16.0)).round().astype(np.uint8), table[:, 64].copy()


def _read(number: int, size: Size) -> NDArray[np.uint8]:
    from PIL import Image

    height, width = (size, size) if isinstance(size, int) else size
    picture = Image.fromarray(_digits()[0][number]).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture.convert("RGB"), np.uint8)


def open_demo() -> Dataset:
    """Opens the digits with their fixed split: 1,197 train, 200 calibration, 400 eval."""
    _, labels = _digits()
    order = np.random.default_rng(_SEED).permutation(labels.size)
    splits = {
        "eval": np.sort(order[:_EVAL]),
        "calibration": np.sort(order[_EVAL : _EVAL + _CALIBRATION]),
        "train": np.sort(order[_EVAL + _CALIBRATION :]),
    }
    return Dataset(
        name="demo",
        classes=tuple(str(digit) for digit in range(10)),
        fixed_classes=True,
        labels=labels,
        splits=splits,
        sources=tuple(f"digit {number}" for number in range(labels.size)),
        read=_read,
        content=Content(other=f"demo-{_SEED}-{version('scikit-learn')}"),
        preprocessing=Preprocessing(crop_fraction=1.0, interpolation="bicubic"),
        default_resolution=RESOLUTION,
    )
