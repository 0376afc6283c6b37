"""Keras model to float Graph, through the TFLite converter (which folds batch norm)."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mnedge.formats.tflite_read import parse_tflite
from mnedge.graph.graph import Graph, fresh_name
from mnedge.graph.ops import LAYERS
from mnedge.silence import native_stderr

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


def keras_to_graph(model: Any) -> Graph:  # noqa: ANN401 - Keras is not imported for a type
    """Converts a Keras model to a float Graph with batch 1.

    A dynamic batch would cost SHAPE, STRIDED_SLICE and PACK ops, so it is fixed before conversion. The function
    is frozen first, because the converter's own freezing gives the constants other names on each run.

    Args:
        model: A built `keras.Model` with one image input, NHWC float32, and one or more outputs.

    Returns:
        The graph. Its input is called "image", its outputs and activations are called after the Keras layers
        that make them, and the outputs stand in the order of `model.outputs`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shape = (1, *model.inputs[0].shape[1:])

    def call(image: Any) -> Any:  # noqa: ANN401 - a traced tensor
        outputs = model(image, training=False)
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        return {f"output_{place:03d}": output for place, output in enumerate(outputs)}

    function = tf.function(call).get_concrete_function(tf.TensorSpec(shape, tf.float32, name="image"))
    frozen = convert_variables_to_constants_v2(function)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], model)
    with native_stderr():
        converted = converter.convert()
    graph = parse_tflite(converted, f"the converted model {model.name}")
    # The converter gives Identity, Identity_1, … in the order of the sorted keys, but not at their places.
    outputs = sorted(graph.outputs, key=lambda name: int("0" + re.sub(r"\D", "", name)))
    every = model._flatten_layers()  # noqa: SLF001 - the only walk into nested models
    layers = {layer.name for layer in every if not hasattr(layer, "layers")}
    return _renamed(graph.replaced(outputs=outputs), layers, model.output_names)


def _renamed(graph: Graph, layers: Collection[str], output_names: Sequence[str]) -> Graph:
    """Calls every tensor after the layer that it comes from, instead of the converter's path names."""
    names: dict[str, str] = dict.fromkeys(graph.inputs, "image")
    taken = set(names.values())

    def give(tensor: str, wish: str) -> None:
        name = fresh_name(wish, taken, first=2)
        taken.add(name)
        names[tensor] = name

    for tensor, name in zip(graph.outputs, output_names, strict=True):
        give(tensor, name)
    for op in graph.ops:
        wish = _layer(op.outputs[0], layers, weighted=op.kind in LAYERS) or op.kind.lower()
        for output in op.outputs:
            if output not in names:
                give(output, wish)
        for place, source in enumerate(op.inputs):
            if source is not None and source not in names:
                role = ("", "weights", "bias")[place] if op.kind in LAYERS and place < 3 else "constant"
                give(source, f"{names[op.outputs[0]]}/{role}")
    tensors = {names[name]: replace(tensor, name=names[name]) for name, tensor in graph.tensors.items()}
    ops = tuple(
        replace(
            op,
            inputs=tuple(name and names[name] for name in op.inputs),
            outputs=tuple(names[name] for name in op.outputs),
        )
        for op in graph.ops
    )
    return Graph(tensors, ops, tuple(names[n] for n in graph.inputs), tuple(names[n] for n in graph.outputs))


def _layer(path_names: str, layers: Collection[str], *, weighted: bool) -> str | None:
    """The layer named in a tensor's path names ("model/layer_1/op;…"); convolutions before activations.

    Tracing puts a number behind every layer's name, so the name without it is tried first.
    """
    found = []
    for part in re.split(r"[;/]", path_names):
        for candidate in (re.sub(r"_\d+$", "", part), part):
            if candidate in layers:
                found.append(candidate)
                break
    if weighted:
        found = [name for name in found if not re.match(r"re_?lu|activation|.*_relu$", name)] or found
    plain = [name for name in found if not re.search(r"_?bn(_|$)", name)]
    return next(iter(plain or found), None)
