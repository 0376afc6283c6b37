"""A Keras model of anybody's in the form that learns: flat, fed as every training is, and giving shares of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.errors import UnsupportedError
from mnedge.pixels import SYMMETRIC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import keras

    from mnedge.pixels import Pixels

# Layers and operations behind a head that keep one value a class; which softmax or sigmoid is read from them.
_BEHIND = (
    "Activation", "Dropout", "Flatten", "GlobalAveragePooling2D", "Identity", "Reshape", "Sigmoid", "Softmax",
    "Squeeze",
)  # fmt: skip
# Layers of a model's own that change pictures in training, which the training does itself; Dropout and noise stay.
_AUGMENTING = ("AugMix", "AutoContrast", "CutMix", "Equalization", "MixUp", "RandAugment")
_SMALLEST_DIFFERENCE = 1e-3


@dataclass(frozen=True, eq=False)
class Head:
    """The layer that tells classes apart, and what stands behind it.

    Attributes:
        layer: Dense, or a convolution of one pixel.
        behind: Layers and operations from there to the output, in order.
        activation: "softmax", "sigmoid" or "linear".
    """

    layer: keras.Operation
    behind: tuple[keras.Operation, ...]
    activation: str

    @property
    def name(self) -> str:
        """Name of the layer."""
        return str(self.layer.name)


@dataclass(frozen=True, eq=False)
class Learner:
    """A copy of a model that learns.

    Attributes:
        model: Flat; takes float32 (n, H, W, 3) in -1..1 and gives shares of classes, float32 (n, classes).
        new_layers: Names of its layers from the head on.
        give_back: Writes the weights of the copy into the model that it was made from.
    """

    model: keras.Model
    new_layers: frozenset[str]
    give_back: Callable[[], None]


def head_of(model: keras.Model, source: str) -> Head:
    """Finds the layer of a model that tells classes apart.

    Raises:
        UnsupportedError: There is none; the message says what makes the output, and the way out.
    """
    behind: list[keras.Operation] = []
    for op in _backwards(model.outputs[0]):
        kind = type(op).__name__
        is_pointwise = kind == "Conv2D" and tuple(op.kernel_size) == (1, 1)
        if kind == "Dense" or is_pointwise:
            found = [name for item in (op, *reversed(behind)) if (name := _activation(item)) != "linear"]
            if len(found) > 1 or (found and found[0] not in ("softmax", "sigmoid")):
                raise UnsupportedError(_no_classifier(source, f"{op.name} ends in {', '.join(found)}"))
            return Head(op, tuple(reversed(behind)), found[0] if found else "linear")
        if kind not in _BEHIND:
            raise UnsupportedError(_no_classifier(source, f"its output comes from {op.name} ({kind})"))
        behind.append(op)
    raise UnsupportedError(_no_classifier(source, "no Dense layer or convolution makes its output"))


def _no_classifier(source: str, why: str) -> str:
    return (
        f"{source} is no classifier: {why}, and train takes models that end in Dense(classes), or in a Conv2D of one "
        "pixel, with softmax, sigmoid or no activation. Put such a layer on it in Keras and save that:\n"
        '    model = keras.Model(model.input, keras.layers.Dense(CLASSES, activation="softmax")(FEATURES))\n'
        '    model.save("classifier.keras")'
    )


def _activation(op: keras.Operation) -> str:
    """Returns the name of an op's elementwise function: "linear" for none."""
    kind = type(op).__name__
    if kind in ("Softmax", "Sigmoid"):
        return kind.lower()
    return str(getattr(getattr(op, "activation", None), "__name__", "linear"))


def _backwards(tensor: keras.KerasTensor) -> Iterator[keras.Operation]:
    """The ops behind a tensor along their first input, the last one first, through models inside the model."""
    import keras

    while True:
        operation, node_index, place = tensor._keras_history  # noqa: SLF001 - the only word of where a tensor is from
        if type(operation).__name__ == "InputLayer":
            return
        if isinstance(operation, keras.Model):
            yield from _backwards(operation.outputs[place])
        else:
            yield operation
        node = operation._inbound_nodes[node_index]  # noqa: SLF001
        tensor = node.input_tensors[0]


def with_new_head(model: keras.Model, head: Head, classes: int, *, softmax: bool) -> keras.Model:
    """A copy of a model whose head has as many outputs as there are classes, and new weights; the others are kept.

    Args:
        model: The model; it is left as it is.
        head: Its head, of `head_of`.
        classes: Number of classes.
        softmax: Whether shares of classes are to come out where the old head gave a sigmoid.

    Raises:
        UnsupportedError: A layer behind the head fixes the number of values, or cannot be copied.
    """
    import keras

    old = int(getattr(head.layer, "units", None) or head.layer.filters)
    squashing = next((item for item in (head.layer, *head.behind) if _activation(item) == "sigmoid"), None)
    pairs: list[tuple[keras.Operation, keras.Operation]] = []

    def copied(layer: keras.Operation) -> keras.Operation:
        config = layer.get_config()
        if layer is head.layer:
            config["units" if "units" in config else "filters"] = classes
        if layer is squashing and softmax and "activation" in config:
            config["activation"] = "softmax"
        if any(layer is item for item in head.behind) and "target_shape" in config:
            if old not in config["target_shape"]:
                raise UnsupportedError(
                    f"{layer.name} behind the head {head.name} shapes its {old} values to {config['target_shape']}, "
                    "and how it would shape others is not known; end the model in a Dense layer"
                )
            config["target_shape"] = [classes if extent == old else extent for extent in config["target_shape"]]
        copy = layer.__class__.from_config(config)
        pairs.append((layer, copy))
        return copy

    made = keras.models.clone_model(model, clone_function=copied, recursive=True)
    for layer, copy in pairs:
        if layer is not head.layer:
            _hand_over(layer, copy)
    return made


def is_untrained(model: keras.Model) -> bool:
    """Returns whether no batch norm of a model has seen a picture: frozen ones would then normalize nothing."""
    import keras

    every = model._flatten_layers()  # noqa: SLF001 - the only walk into nested models
    norms = [layer for layer in every if isinstance(layer, keras.layers.BatchNormalization)]
    return bool(norms) and all(
        not np.any(np.asarray(norm.moving_mean)) and np.all(np.asarray(norm.moving_variance) == 1) for norm in norms
    )


def own_learner(
    model: keras.Model, head: Head, pixels: Pixels, size: tuple[int, int], precision: str = "float32"
) -> Learner:
    """Copies a classifier into the form that learns.

    Its layers are laid flat, so that each can be frozen and named; layers that augment pictures are left out, because
    the training augments. In front stands the way from -1..1 to its own pixels, behind it the way from logits or the
    probability of one class to shares of classes.

    Args:
        model: Takes one picture; its batch is open or 1.
        head: Its head, of `head_of`.
        pixels: Pixels of the model.
        size: Height and width of its input, pixels.
        precision: dtype policy of Keras; from the head on all is float32.

    Raises:
        UnsupportedError: The copy does not compute what the model computes.
    """
    import keras

    copies: dict[int, tuple[keras.Operation, keras.Operation]] = {}
    taken = {"image"}
    behind = {id(item) for item in (head.layer, *head.behind)}

    def copied(op: keras.Operation) -> Callable[..., keras.KerasTensor]:
        if isinstance(op, keras.Model):
            return lambda tensor, **_given: applied(op, tensor)
        kind = type(op).__name__
        if kind in _AUGMENTING or kind.startswith("Random"):
            return lambda tensor, **_given: tensor
        if id(op) not in copies:
            name = _unused(op.name, taken)
            config = op.get_config()
            if isinstance(op, keras.layers.Layer):
                config |= {"name": name, "dtype": "float32" if id(op) in behind else precision}
            copy = op.__class__.from_config(config)
            copy.name = name
            # Layers that the file has frozen may be trained; the schedule says which.
            copy.trainable = True
            copies[id(op)] = op, copy
        found: Callable[..., keras.KerasTensor] = copies[id(op)][1]
        return found

    def applied(inner: keras.Model, tensor: keras.KerasTensor) -> keras.KerasTensor:
        # A Sequential model becomes the chain that it is.
        graph = keras.Model(inner.inputs, inner.outputs)
        made = graph._run_through_graph(tensor, operation_fn=copied)  # noqa: SLF001 - public cloning does not go inside
        found = keras.tree.flatten(made)
        return found[0] if len(found) == 1 else found

    image = keras.Input((*size, 3), name="image")
    output = applied(model, _own_pixels(image, pixels))
    learner = keras.Model(image, _shares(output, head.activation))
    for layer, copy in copies.values():
        _hand_over(layer, copy)
    _check_copy(model, learner, head, pixels, size, precision)

    def give_back() -> None:
        for layer, copy in copies.values():
            _hand_over(copy, layer)

    new = frozenset(copies[key][1].name for key in behind if key in copies)
    return Learner(learner, new, give_back)


def _hand_over(source: keras.Operation, target: keras.Operation) -> None:
    import keras

    if isinstance(source, keras.layers.Layer) and source.weights:
        target.set_weights(source.get_weights())
    if isinstance(target, keras.layers.Normalization):
        # It computes with values that it derives from its weights.
        target.finalize_state()


def _unused(name: str, taken: set[str]) -> str:
    number, wish = 1, name
    while wish in taken:
        number, wish = number + 1, f"{name}_{number}"
    taken.add(wish)
    return wish


def _own_pixels(image: keras.KerasTensor, pixels: Pixels) -> keras.KerasTensor:
    """From RGB in -1..1 to a model's own pixels, as `Pixels.arranged` and `Pixels.real` bring 8-bit ones there."""
    import keras

    arranged = image
    if pixels.order == "BGR":
        arranged = keras.ops.flip(image, axis=-1)
    elif pixels.order == "GREY":
        luma = keras.ops.convert_to_tensor(np.array([0.299, 0.587, 0.114], np.float32))
        arranged = keras.ops.sum(image * luma, axis=-1, keepdims=True)
    elif pixels.order == "RGBA":
        # 1 is 255: opaque.
        arranged = keras.ops.concatenate([image, keras.ops.ones_like(image[..., :1])], axis=-1)
    # pixel = (x - offset) / scale of -1..1.
    (scale,), (offset,) = SYMMETRIC.scale, SYMMETRIC.offset
    factors = [value / scale for value in pixels.scale]
    shifts = np.broadcast_to(pixels.offset, (max(len(pixels.offset), len(factors)),))
    offsets = [
        float(shift) - factor * offset
        for shift, factor in zip(shifts, np.broadcast_to(factors, shifts.shape), strict=True)
    ]
    if pixels == SYMMETRIC:
        return arranged
    return keras.layers.Rescaling(_one_or_all(factors), _one_or_all(offsets), name="own_pixels")(arranged)


def _one_or_all(values: list[float]) -> float | list[float]:
    return values[0] if len(values) == 1 else [float(value) for value in values]


def _shares(output: keras.KerasTensor, activation: str) -> keras.KerasTensor:
    """Class shares from a classifier's output: itself, the softmax of logits, or no and yes of one probability."""
    import keras

    if activation == "linear":
        return keras.layers.Softmax(dtype="float32", name="shares")(output)
    if activation == "sigmoid":
        return keras.ops.concatenate([1 - output, output], axis=-1)
    return output


def _check_copy(
    model: keras.Model, learner: keras.Model, head: Head, pixels: Pixels, size: tuple[int, int], precision: str
) -> None:
    """Makes sure that the copy says what the model says of a picture of noise."""
    if precision != "float32":
        return
    noise = np.random.default_rng(0).integers(0, 256, (1, *size, 3)).astype(np.uint8)
    exact = np.asarray(model(pixels.real(pixels.arranged(noise)), training=False), np.float64)
    made = np.asarray(learner(SYMMETRIC.real(noise), training=False), np.float64)
    if head.activation == "linear":
        exact = np.exp(exact - exact.max(-1, keepdims=True))
        exact /= exact.sum(-1, keepdims=True)
    if head.activation == "sigmoid":
        made = made[..., 1:]
    if not np.allclose(made, exact, atol=_SMALLEST_DIFFERENCE):
        worst = float(np.abs(made - exact).max())
        raise UnsupportedError(
            f"a copy of the model that can be trained gives other scores than the model ({worst:.2g} apart), so one of "
            "its layers cannot be copied; fine-tune it in Keras, and give the result to `mnedge build`"
        )
