"""A learner whose frozen batch norms are part of the convolutions before them: the same function in fewer passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.training.learner import strategy

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def folded(learner: keras.Model) -> keras.Model:
    """Gives a form of a learner that computes each convolution with the frozen batch norm behind it at once.

    gamma (W * x + b - mean) / deviation + beta is a convolution by the kernel gamma W / deviation
    (https://arxiv.org/abs/1712.05877, section 3.2). What learns is W, as before; the product is made in every step.

    Args:
        learner: Built in the scope of its distribution strategy; stays as it is.

    Returns:
        A model that shares the learner's variables; the learner itself if it has no such pair.
    """
    import keras

    norms = _frozen_norms(learner)
    if not norms:
        return learner
    behind = {norm.name for norm in norms.values()}

    def form(layer: keras.Layer) -> keras.Layer:
        if layer.name in norms:
            return _folded_layer(layer, norms[layer.name])
        if layer.name in behind:
            return _passing(layer.name)
        # A layer with variables is shared; others must not be called twice.
        is_shared = not isinstance(layer, keras.layers.Layer) or layer.variables
        return layer if is_shared else layer.__class__.from_config(layer.get_config())

    # A model that was compiled would have its loss looked up by name in the clone.
    uncompiled = keras.Model(learner.input, learner.output, name=learner.name)
    with strategy().scope():
        return keras.models.clone_model(uncompiled, clone_function=form)


def _frozen_norms(learner: keras.Model) -> dict[str, keras.Layer]:
    """Batch norms that keep all they know, by the name of the convolution that nothing but they reads."""
    import keras

    operations = learner.operations
    makers = {id(tensor): each.name for each in operations for tensor in keras.tree.flatten(each.output)}
    readers: dict[str, list[keras.Operation]] = {each.name: [] for each in operations}
    for each in operations:
        # An input reads itself.
        for maker in {makers[id(tensor)] for tensor in keras.tree.flatten(each.input)} - {each.name}:
            readers[maker].append(each)
    ends = {makers[id(tensor)] for tensor in learner.outputs}
    return {
        layer.name: norm
        for layer in learner.layers
        if _is_plain_convolution(layer) and layer.name not in ends and len(readers[layer.name]) == 1
        for norm in readers[layer.name]
        if isinstance(norm, keras.layers.BatchNormalization) and not norm.trainable and norm.axis in {-1, 3}
    }


def _is_plain_convolution(layer: keras.Layer) -> bool:
    import keras

    return (
        type(layer) in {keras.layers.Conv2D, keras.layers.DepthwiseConv2D}
        and layer.data_format == "channels_last"
        and layer.activation is keras.activations.linear
        and getattr(layer, "groups", 1) == 1
        # In float16 the product would lose what the statistics know.
        and layer.compute_dtype == "float32"
    )


def _folded_layer(convolution: keras.Layer, norm: keras.Layer) -> keras.Layer:
    import keras

    is_depthwise = isinstance(convolution, keras.layers.DepthwiseConv2D)
    convolve = keras.ops.depthwise_conv if is_depthwise else keras.ops.conv

    class Folded(keras.layers.Layer):  # type: ignore[misc,unused-ignore]
        """A convolution and the batch norm behind it."""

        def __init__(self) -> None:
            super().__init__(name=convolution.name)
            self.convolution, self.norm = convolution, norm
            self.built = True

        def call(self, images: tf.Tensor) -> tf.Tensor:
            """Float32 (n, height, width, channels) to the norm's output."""
            factor = keras.ops.rsqrt(norm.moving_variance + norm.epsilon)
            if norm.scale:
                factor *= norm.gamma
            shift = -norm.moving_mean if not convolution.use_bias else convolution.bias - norm.moving_mean
            shift *= factor
            if norm.center:
                shift += norm.beta
            kernel = convolution.kernel
            scaled = kernel * keras.ops.reshape(factor, kernel.shape[2:] if is_depthwise else (-1,))
            return shift + convolve(
                images,
                scaled,
                strides=convolution.strides,
                padding=convolution.padding,
                dilation_rate=convolution.dilation_rate,
            )

    return Folded()


def _passing(name: str) -> keras.Layer:
    """A layer in the place of a batch norm that is computed already."""
    import keras

    class Passing(keras.layers.Layer):  # type: ignore[misc,unused-ignore]
        """Gives what it takes."""

        def call(self, images: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
            """Takes the arguments that a batch norm takes."""
            del training, mask
            return images

    return Passing(name=name)
