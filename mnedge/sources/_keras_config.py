"""The configuration of a Keras model file: refused where it runs code, and brought from Keras 2 to Keras 3."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

from mnedge.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Any JSON object; its fields are checked where they are read.
Config: TypeAlias = "dict[str, Any]"

TO_TFLITE = (
    "In the Python that made the model:\n"
    "    converter = tf.lite.TFLiteConverter.from_keras_model(model)\n"
    '    open("model.tflite", "wb").write(converter.convert())\n'
    "and give model.tflite instead"
)
_CODE_RUNNERS = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__"}
# Where Keras 2 and tf_keras keep what Keras 3 keeps in `keras`.
_OLD_MODULES = ("keras.src.engine.", "keras.engine.", "keras.layers.", "keras.src.layers.", "tf_keras.", "tensorflow.")
# Fields that Keras 3 took away, and the value with which they changed nothing.
_DROPPED = {
    "groups": 1, "time_major": False, "ragged": False, "sparse": False, "implementation": 2, "sublayer": None,
    "batch_input_shape": None, "keepdims": False, "virtual_batch_size": None, "adjustment": None, "renorm": False,
    "fused": None, "auto_vectorize": True,
}  # fmt: skip
# Keras 2 wrote arithmetic on tensors as layers: x / 127.5 - 1 of `preprocess_input`. (operation, whether a number
# scales; the sign or exponent of the number).
_ARITHMETIC = {
    "math.truediv": ("scale", -1), "math.divide": ("scale", -1), "__operators__.truediv": ("scale", -1),
    "math.multiply": ("scale", 1), "__operators__.mul": ("scale", 1),
    "math.subtract": ("offset", -1), "__operators__.sub": ("offset", -1),
    "math.add": ("offset", 1), "__operators__.add": ("offset", 1),
}  # fmt: skip
_ONLY_IN_TRAINING = (
    "ActivityRegularization", "AlphaDropout", "AugMix", "AutoContrast", "CenterCropAndFlip", "CutMix", "Dropout",
    "Equalization", "GaussianDropout", "GaussianNoise", "MixUp", "RandAugment", "SpatialDropout1D", "SpatialDropout2D",
    "SpatialDropout3D",
)  # fmt: skip
_MOST_DEPTH = 100


def check_harmless(config: object, source: str) -> None:
    """Walks a configuration and refuses what would bring code of its own.

    Raises:
        UnsupportedError: A Lambda or custom layer, with the way around it.
        InputError: It nests deeper than any model does.
    """
    for node in _nodes(config, source):
        name, module = node.get("class_name"), node.get("module")
        registered = node.get("registered_name")
        if not isinstance(name, str):
            continue
        if name in _CODE_RUNNERS:
            called = _called(node)
            raise UnsupportedError(
                f"{source} holds a {name} layer{called}, whose Python code a file cannot be trusted with. {TO_TFLITE}"
            )
        is_own = isinstance(module, str) and module.split(".")[0] not in ("keras", "tf_keras", "builtins", "tensorflow")
        is_registered = isinstance(registered, str) and ">" in registered and not registered.startswith("keras")
        if (
            is_own
            or is_registered
            or (module is None and "config" in node and "inbound_nodes" in node and _custom(name))
        ):
            kind = registered if is_registered else name
            raise UnsupportedError(
                f"{source} holds the custom layer {kind}{_called(node)}, whose code is not in the file. {TO_TFLITE}"
            )


def modern(config: Config, source: str) -> Config:
    """A configuration as Keras 3 takes it; the same one where it is of Keras 3 already.

    Fields that Keras 3 does not know are dropped where they hold the value that changes nothing, and arithmetic on
    tensors becomes Rescaling layers.

    Args:
        config: As the file has it; changed in place.
        source: The file, in errors.

    Raises:
        UnsupportedError: A field or an operation has no counterpart in Keras 3.
    """
    for node in _nodes(config, source):
        name = node.get("class_name")
        inside = node.get("config")
        if not isinstance(name, str) or not isinstance(inside, dict):
            continue
        module = node.get("module")
        if isinstance(module, str) and module.startswith(_OLD_MODULES) and not module.startswith("keras.src.models"):
            node["module"] = "keras.models" if name in ("Functional", "Sequential", "Model") else _new_module(module)
            node["registered_name"] = None
        if name in ("TFOpLambda", "SlicingOpLambda"):
            _rescaling(node, inside, source)
            continue
        if name in ("Functional", "Sequential", "Model"):
            continue
        _drop_fields(name, inside, source)
    return config


def training_only(names: Counter[str]) -> str | None:
    """A sentence on the layers that act in training only; None where there are none.

    Args:
        names: Class names of all layers, with their counts.
    """
    found = {name: count for name, count in sorted(names.items()) if _acts_in_training(name)}
    if not found:
        return None
    words = ", ".join(f"{count} {name}" for name, count in found.items())
    return f"Layers that act in training only are gone: {words}"


def _acts_in_training(name: str) -> bool:
    return name in _ONLY_IN_TRAINING or name.startswith("Random")


def _nodes(config: object, source: str) -> Iterator[Config]:
    """Every object inside a configuration, outermost first."""
    level: list[object] = [config]
    for _ in range(_MOST_DEPTH):
        if not level:
            return
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                yield item
                below += item.values()
            elif isinstance(item, list):
                below += item
        level = [item for item in below if isinstance(item, (dict, list))]
    raise InputError(f"the configuration in {source} nests deeper than {_MOST_DEPTH} levels; save the model again")


def _called(node: Config) -> str:
    inside = node.get("config")
    name = inside.get("name") if isinstance(inside, dict) else None
    return f" ({name})" if isinstance(name, str) else ""


def _custom(name: str) -> bool:
    """Whether a layer of a Keras 2 file, which names no module, is none of Keras'."""
    import keras

    known = ("TFOpLambda", "SlicingOpLambda", "Functional", "Model", "Sequential")
    return name not in known and not hasattr(keras.layers, name)


def _new_module(module: str) -> str:
    for part in ("initializers", "regularizers", "constraints", "optimizers", "losses", "metrics", "activations"):
        if part in module:
            return f"keras.{part}"
    return "keras.layers"


def _drop_fields(name: str, inside: Config, source: str) -> None:
    """Takes the fields away that Keras 2 wrote and Keras 3 refuses."""
    import keras

    layer = getattr(keras.layers, name, None)
    if layer is None or not inspect.isclass(layer):
        return
    known = set(inspect.signature(layer.__init__).parameters)
    for field, neutral in _DROPPED.items():
        if field not in inside or field in known or field == "batch_input_shape":
            continue
        # BatchNormalization's `fused` and recurrent `implementation` choose kernels, not results.
        if inside[field] != neutral and field not in ("fused", "implementation"):
            raise UnsupportedError(
                f"{source}: layer {inside.get('name', name)} ({name}) has {field} = {inside[field]}, which Keras 3 does "
                f"not have. {TO_TFLITE}"
            )
        del inside[field]


def _rescaling(node: Config, inside: Config, source: str) -> None:
    """Turns the addition, subtraction, multiplication or division by a number of Keras 2 into a Rescaling layer."""
    function = inside.get("function")
    arguments = [
        call[3] for call in node.get("inbound_nodes") or [] if isinstance(call, list) for call in call_entries(call)
    ]
    numbers = [value for entry in arguments for key, value in entry.items() if key != "name"]
    is_known = (
        node["class_name"] == "TFOpLambda"
        and function in _ARITHMETIC
        and len(arguments) == 1
        and len(numbers) == 1
        and isinstance(numbers[0], (int, float))
        and numbers[0] != 0
    )
    if not is_known:
        raise UnsupportedError(
            f"{source} holds the operation {function or node['class_name']}{_called(node)} as Keras 2 wrote it, which "
            f"Keras 3 does not read. {TO_TFLITE}"
        )
    what, sign = _ARITHMETIC[str(function)]
    number = float(numbers[0])
    scale = (number if sign > 0 else 1 / number) if what == "scale" else 1.0
    offset = sign * number if what == "offset" else 0.0
    for entry in arguments:
        entry.clear()
    # A dot in a name is no name of a Keras 3 layer inside a weights file.
    node["class_name"] = "Rescaling"
    node["config"] = {
        "name": inside.get("name"),
        "trainable": False,
        "dtype": "float32",
        "scale": scale,
        "offset": offset,
    }


def call_entries(call: list[Any]) -> list[list[Any]]:
    """The tensors that one call of a Keras 2 layer reads: [layer, node, tensor, arguments] each."""
    entries = [call] if call and isinstance(call[0], str) else call
    return [entry for entry in entries if isinstance(entry, list) and len(entry) > 3 and isinstance(entry[3], dict)]
