"""What two processes exchange: arrays in one file of memory, each as it was, and messages with their length."""

from __future__ import annotations

import json
import tempfile

import numpy as np
import pytest

from mnedge.graph.graph import Quantization
from mnedge.runtimes._exchange import LENGTH, SharedArrays, kinds_of, packed, told
from mnedge.runtimes._runtime import TensorSpec

_DTYPES = ("float32", "int8", "int64", "uint8", "bool")


@pytest.mark.parametrize("count", [0, 1, 4])
def test_the_other_side_reads_what_was_written(count: int) -> None:
    rng = np.random.default_rng(count)
    written = [rng.integers(0, 2, rng.integers(0, 5, 3)).astype(_DTYPES[number]) for number in range(count)]
    written += [np.array(7, np.int64), np.zeros((0, 3), np.float32)]
    with tempfile.TemporaryFile() as file:
        mine, theirs = SharedArrays(file.fileno()), SharedArrays(file.fileno())
        end = mine.write(128, written)
        found, behind = theirs.read(128, kinds_of(written))
        assert end == behind
        assert [array.dtype for array in found] == [array.dtype for array in written]
        for one, other in zip(written, found, strict=True):
            np.testing.assert_array_equal(one, other)


def test_views_stay_good_while_the_file_grows() -> None:
    with tempfile.TemporaryFile() as file:
        shared = SharedArrays(file.fileno())
        end = shared.write(0, [np.arange(3, dtype=np.int32)])
        (view,), _ = shared.read(0, [["int32", [3]]])
        shared.write(end, [np.zeros(1 << 20, np.uint8)])
        assert view.tolist() == [0, 1, 2]


def test_a_message_begins_with_its_length() -> None:
    data = packed({"do": "run", "name": "ä"})
    assert LENGTH.unpack(data[: LENGTH.size])[0] == len(data) - LENGTH.size
    assert json.loads(data[LENGTH.size :]) == {"do": "run", "name": "ä"}


def test_an_end_of_a_model_is_told_in_json_values() -> None:
    spec = TensorSpec("image", (1, 8, 8, 3), "int8", Quantization.per_tensor(0.5, -3))
    found = {"name": "image", "shape": [1, 8, 8, 3], "dtype": "int8", "scale": 0.5, "zero_point": -3}
    assert told(spec) == found
    assert told(TensorSpec("y", (1,), "float32", None))["scale"] is None
