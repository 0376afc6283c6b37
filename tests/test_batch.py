import numpy as np
import pytest

from mnedge.batch import Batch, batch_of, fed_dtype
from mnedge.errors import InputError
from mnedge.graph.graph import Quantization, Tensor


def test_a_batch_follows_the_order_of_the_inputs_and_is_cut_whole() -> None:
    x, z = np.zeros((5, 2), np.float32), np.ones((5, 3), np.float32)
    batch = batch_of(("x", "z"), Batch({"z": z, "x": x}))
    assert list(batch.arrays) == ["x", "z"]
    assert [values.shape for values in batch[1:3].arrays.values()] == [(2, 2), (2, 3)]
    assert (len(batch), len(batch[:0])) == (5, 0)
    assert batch_of(("x",), x).arrays["x"] is x
    with pytest.raises(InputError, match=r"2 inputs \(x, z\), and one array is given"):
        batch_of(("x", "z"), x)
    with pytest.raises(InputError, match="the batch has z, and the graph's inputs are x"):
        batch_of(("x",), Batch({"z": z}))


def test_steps_are_fed_as_the_real_numbers_that_they_stand_for() -> None:
    steps = Tensor("x", (1, 2), "int8", Quantization.per_tensor(0.5, 0))
    assert [fed_dtype(entry) for entry in (steps, Tensor("i", (1,), "int32"), Tensor("f", (1,), "float32"))] == [
        "float32", "int32", "float32",
    ]  # fmt: skip
