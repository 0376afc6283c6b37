"""The configuration of a Keras model file: refused where it runs code, and brought from Keras 2 to Keras 3."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeAlias

from mnedge.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from collections import Counter
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
# Fields that Keras 3 took away, and the value with which they changed nothing; some choose kernels, not results.
_ANY = object()
_DROPPED = {
    "groups": 1, "time_major": False, "ragged": False, "sparse": False, "keepdims": False, "virtual_batch_size": None,
    "adjustment": None, "renorm": False, "fused": _ANY, "implementation": _ANY, "rng_type": _ANY,
    "experimental_autocast": _ANY,
}  # fmt: skip
_TRAINING_FIELDS = ("_initializer", "_regularizer", "_constraint")
# Keras 2 wrote arithmetic on tensors as layers, such as the x / 127.5 - 1 of `preprocess_input`: whether the number
# scales or shifts, and with which exponent or sign.
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
# Where Keras 3 has the classes of models.
_MODEL_MODULES = {"Functional": "keras.src.models.functional", "Sequential": "keras"}
_MOST_DEPTH = 100
# How Keras 3 and Keras 2 write a policy of dtypes, and those of half precision.
_POLICIES = ("DTypePolicy", "Policy")
_HALF = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")


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
        is_unknown = module is None and "config" in node and "inbound_nodes" in node and not _is_of_keras(name)
        if is_own or is_registered or is_unknown:
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
        _in_float32(name, inside)
        module = node.get("module")
        if isinstance(module, str) and module.startswith(_OLD_MODULES) and not module.startswith("keras.src.models"):
            node["module"] = _MODEL_MODULES.get(name) or _new_module(module)
            node["registered_name"] = name if name in _MODEL_MODULES else None
        if name in ("TFOpLambda", "SlicingOpLambda"):
            _rescaling(node, inside, source)
            continue
        if module is None and _is_called_on_values(node) and (part := _operation(name)) is not None:
            # An .h5 names no modules, and some operations share their names with layers.
            node.update(module=part, registered_name=name)
            continue
        if name in _MODEL_MODULES:
            _renumber(inside)
            _with_input_layer(inside)
            continue
        axis = inside.get("axis")
        if name == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
            inside["axis"] = axis[0]
        _drop_fields(name, inside, source)
    return config


def _in_float32(name: str, inside: Config) -> None:
    """Lets a layer that was trained in mixed precision compute in float32, as its weights are; converters need it."""
    if name in _POLICIES and inside.get("name") in _HALF:
        inside["name"] = "float32"
    if inside.get("dtype") in _HALF:
        inside["dtype"] = "float32"


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


def _is_of_keras(name: str) -> bool:
    """Returns whether a layer of a file that names no module (.h5) is Keras' own."""
    import keras

    known = ("TFOpLambda", "SlicingOpLambda", "Functional", "Model", "Sequential")
    return name in known or hasattr(keras.layers, name) or _operation(name) is not None


def _operation(name: str) -> str | None:
    """The module of Keras 3's operation on tensors of this name, e.g. TrueDivide of `x / 127.5`."""
    from keras.src import ops

    for part in ("numpy", "nn", "core", "math"):
        found = getattr(getattr(ops, part), name, None)
        if inspect.isclass(found) and issubclass(found, ops.operation.Operation):
            return f"keras.src.ops.{part}"
    return None


def _is_called_on_values(node: Config) -> bool:
    """Returns whether a node of Keras 3 reads its values one by one, as operations do and merging layers do not."""
    calls = [call for call in node.get("inbound_nodes") or [] if isinstance(call, dict)]
    return any(isinstance(call.get("args"), list) and len(call["args"]) > 1 for call in calls)


def _new_module(module: str) -> str:
    for part in ("initializers", "regularizers", "constraints", "optimizers", "losses", "metrics", "activations"):
        if part in module:
            return f"keras.{part}"
    return "keras.layers"


def _renumber(model: Config) -> None:
    """Counts the calls of models inside a model of Keras 2 from 0, not from 1, and takes single ends out of lists.

    Keras 3 would give and take a list of one tensor, which a layer around such a model does not expect.
    """
    layers = [layer for layer in model.get("layers") or [] if isinstance(layer, dict)]
    inner = {layer.get("name") for layer in layers if layer.get("class_name") in _MODEL_MODULES}
    entries = [
        entry
        for layer in layers
        for call in layer.get("inbound_nodes") or []
        if isinstance(call, list)
        for entry in _call_entries(call)
    ]
    if not entries:
        return
    ends = [entry for entry in model.get("output_layers") or [] if isinstance(entry, list)]
    for name in inner:
        calls = [entry for entry in entries + ends if len(entry) > 2 and entry[0] == name and isinstance(entry[1], int)]
        if calls and min(entry[1] for entry in calls) == 1:
            for entry in calls:
                entry[1] -= 1
    for side in ("input_layers", "output_layers"):
        ends = model.get(side) or []
        if len(ends) == 1 and isinstance(ends[0], list):
            model[side] = ends[0]


def _with_input_layer(model: Config) -> None:
    """Puts the input shape that Keras 2 kept in a Sequential's first layer into an InputLayer before it."""
    layers = [layer for layer in model.get("layers") or [] if isinstance(layer, dict)]
    insides = [layer["config"] for layer in layers if isinstance(layer.get("config"), dict)]
    shapes = [
        inside.pop("batch_input_shape", None)
        for layer, inside in zip(layers, insides, strict=False)
        if layer.get("class_name") != "InputLayer"
    ]
    if layers and layers[0].get("class_name") != "InputLayer" and shapes and shapes[0] is not None:
        config = {"batch_shape": shapes[0], "dtype": "float32", "name": f"{insides[0].get('name', 'first')}_input"}
        module = {"module": "keras.layers", "registered_name": None} if "module" in layers[0] else {}
        model["layers"] = [{**module, "class_name": "InputLayer", "config": config}, *layers]


def _drop_fields(name: str, inside: Config, source: str) -> None:
    """Takes the fields away that Keras 2 wrote and Keras 3 refuses."""
    import keras

    layer = getattr(keras.layers, name, None)
    if layer is None or not inspect.isclass(layer):
        return
    known = set(inspect.signature(layer.__init__).parameters)
    for field in [field for field in inside if field not in known]:
        # How weights began, and what held them in training, does nothing to a trained network.
        if field.endswith(_TRAINING_FIELDS) or (field in _DROPPED and _acts_in_training(name)):
            del inside[field]
        elif field in _DROPPED:
            if _DROPPED[field] not in (_ANY, inside[field]):
                raise UnsupportedError(
                    f"{source}: layer {inside.get('name', name)} ({name}) has {field} = {inside[field]}, which Keras 3 "
                    f"does not have. {TO_TFLITE}"
                )
            del inside[field]


def _rescaling(node: Config, inside: Config, source: str) -> None:
    """Turns the addition, subtraction, multiplication or division by a number of Keras 2 into a Rescaling layer."""
    function = inside.get("function")
    calls = node.get("inbound_nodes") or []
    entries = [entry for call in calls if isinstance(call, list) for entry in _call_entries(call)]
    numbers = [value for entry in entries for key, value in entry[3].items() if key != "name"]
    is_known = (
        node["class_name"] == "TFOpLambda"
        and function in _ARITHMETIC
        and len(entries) == 1
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
    node["class_name"] = "Rescaling"
    node["config"] = {"name": inside.get("name"), "dtype": "float32", "scale": scale, "offset": offset}
    node["inbound_nodes"] = [[[*entry[:3], {}]] for entry in entries]


def _call_entries(call: list[Any]) -> list[list[Any]]:
    """The tensors that one call of a Keras 2 layer reads: [layer, node, tensor, arguments] each."""
    entries = [call] if call and isinstance(call[0], str) else call
    return [entry for entry in entries if isinstance(entry, list) and len(entry) > 3 and isinstance(entry[3], dict)]
