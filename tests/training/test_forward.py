"""A network is traced once, and its function reads the weights as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.training.forward import forward_of

if TYPE_CHECKING:
    from pathlib import Path

keras = pytest.importorskip("keras")


def _model() -> Any:
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(2, name="dense")(keras.layers.Dropout(0.5)(inputs)))


def test_it_is_traced_once_for_batches_of_any_size_and_sees_new_weights() -> None:
    model = _model()
    for count in (3, 5, 3, 2):
        batch = np.ones((count, 4), np.float32)
        model.get_layer("dense").bias.assign_add([1.0, 2.0])
        # Without dropout, as in use.
        np.testing.assert_allclose(forward_of(model)(batch), model(batch, training=False), rtol=1e-6)
    # One for the first size, one for any.
    assert forward_of(model).experimental_get_tracing_count() == 2  # type: ignore[attr-defined]
    assert forward_of(_model()) is not forward_of(model)


def test_the_model_is_saved_without_it(tmp_path: Path) -> None:
    model = _model()
    forward_of(model)(np.ones((1, 4), np.float32))
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    for one, other in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
