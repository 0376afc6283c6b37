"""Embedding: the pooled features, projected and brought to length 1, so that a dot product is a cosine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.models.heads._head import Head

if TYPE_CHECKING:
    import keras

    from mnedge.models.features import Features


def _build(maps: Features, classes: int, _alpha: float) -> dict[str, keras.KerasTensor]:
    """Pools the last map and projects it to `classes` dimensions.

    Gives "embedding", float32 (1, dimensions), of length 1 (https://arxiv.org/abs/1503.03832, section 3.1).
    """
    import keras

    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name="head_pool")(maps.last)
    projected = keras.layers.Conv2D(classes, 1, use_bias=False, name="head_projection")(pooled)
    flat = keras.layers.Flatten(name="head_flat")(projected)
    return {"embedding": keras.layers.UnitNormalization(name="embedding")(flat)}


HEAD = Head("embedding", (), _build)
