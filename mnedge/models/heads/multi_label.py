"""Multi-label: the pooled features, and a probability for each label by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.models.heads._head import Head

if TYPE_CHECKING:
    import keras

    from mnedge.models.features import Features

# Share of the pooled features that a training step leaves out (https://jmlr.org/papers/v15/srivastava14a.html).
_DROPOUT = 0.2


def _build(maps: Features, classes: int, _alpha: float) -> dict[str, keras.KerasTensor]:
    """Gives "labels", float32 (1, classes), each the sigmoid of its own logit; a picture may have several or none."""
    import keras

    pooled = keras.layers.GlobalAveragePooling2D(name="head_pool")(maps.last)
    kept = keras.layers.Dropout(_DROPOUT, name="head_dropout")(pooled)
    logits = keras.layers.Dense(classes, name="head_logits")(kept)
    return {"labels": keras.layers.Activation("sigmoid", name="labels")(logits)}


HEAD = Head("multi_label", (), _build)
