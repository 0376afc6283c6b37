"""The forward pass of a network in training, traced once however often its epochs are scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras
    import tensorflow as tf

    from mnedge.untyped import AnyArray

_TRACED = "_mnedge_forward"


def forward_of(model: keras.Model) -> Callable[[AnyArray], tf.Tensor]:
    """The function from a batch of inputs to outputs in inference mode; a model has one, which reads its weights anew.

    Tracing a MobileNet takes a second of processor time, as long as hundreds of small pictures.
    """
    import tensorflow as tf

    # Beside Keras' own bookkeeping of attributes, which would take it for a part of the model.
    kept = vars(model)
    if _TRACED not in kept:
        kept[_TRACED] = tf.function(lambda batch: model(batch, training=False), reduce_retracing=True)
    traced: Callable[[AnyArray], tf.Tensor] = kept[_TRACED]
    return traced
