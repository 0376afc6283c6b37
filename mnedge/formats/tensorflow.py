"""TensorFlow function to float Graph, through the TFLite converter (which folds batch norm)."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mnedge.formats.tflite_read import parse_tflite
from mnedge.graph.graph import Graph, Op, Tensor, constant, fresh_name
from mnedge.graph.ops import LAYERS
from mnedge.silence import native_stderr, paused_collection

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import tensorflow as tf

    from mnedge.untyped import AnyArray

# TensorFlow's arithmetic under TFLite's names, and the ops that change no value.
_ARITHMETIC = {"AddV2": "ADD", "Add": "ADD", "BiasAdd": "ADD", "Sub": "SUB", "Mul": "MUL", "RealDiv": "DIV"}
_PASSING = ("Identity", "Cast")


def function_to_graph(
    function: Callable[..., Sequence[tf.Tensor]],
    inputs: Sequence[tuple[tuple[int, ...], str]],
    name: str,
) -> tuple[Graph, Graph]:
    """Converts a function of tensors to a float Graph.

    A dynamic batch would cost SHAPE, STRIDED_SLICE and PACK ops, so it is fixed before conversion. The function
    is frozen first, because the converter's own freezing gives the constants other names on each run.

    Args:
        function: Takes one tensor an input and returns a sequence of tensors.
        inputs: (shape, dtype) of each input.
        name: Name of the model, for errors.

    Returns:
        The graph, inputs and outputs in the function's order; and the arithmetic with constants right behind its
        inputs as a graph of its own, because the converter folds it into a first convolution without padding.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    names = ["image"] if len(inputs) == 1 else [f"input_{place:03d}" for place in range(len(inputs))]
    specs = [tf.TensorSpec(shape, dtype, name=end) for (shape, dtype), end in zip(inputs, names, strict=True)]

    def call(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        return {f"output_{place:03d}": output for place, output in enumerate(function(*tensors))}

    with native_stderr(), paused_collection():
        frozen = convert_variables_to_constants_v2(tf.function(call).get_concrete_function(*specs))
        # The converter saves and loads what owns the variables, a Keras model with every trace of its layers: most of
        # the time. What is frozen has no variables, so an empty module owns them.
        converted = tf.lite.TFLiteConverter.from_concrete_functions([frozen], tf.Module()).convert()
    graph = parse_tflite(converted, f"the converted model {name}")
    # The converter gives Identity, Identity_1, … in the order of the sorted keys, but not at their places.
    outputs = sorted(graph.outputs, key=lambda output: int("0" + re.sub(r"\D", "", output)))
    return graph.replaced(inputs=sorted(graph.inputs), outputs=outputs), _first_ops(
        frozen.graph.as_graph_def(), names, inputs
    )


def _first_ops(
    definition: tf.compat.v1.GraphDef, names: Sequence[str], inputs: Sequence[tuple[tuple[int, ...], str]]
) -> Graph:
    """The chains of arithmetic with constants behind each input, with the turning around of its channels."""
    nodes = {node.name: node for node in definition.node}
    readers: dict[str, list[tf.compat.v1.NodeDef]] = {}
    for node in definition.node:
        for source in _tensors_of(node):
            readers.setdefault(_node_of(source), []).append(node)

    value = partial(_constant_value, nodes)
    tensors: list[Tensor] = []
    ops: list[Op] = []
    for name, (shape, _) in zip(names, inputs, strict=True):
        tensors.append(Tensor(name, shape, "float32"))
        current, place = name, name
        while place in readers:
            turned = _turned(readers, place, value)
            if turned is not None:
                tensors += [
                    constant(f"{turned}/axis", np.array([3], np.int32)),
                    Tensor(f"{turned}/made", shape, "float32"),
                ]
                ops.append(Op("REVERSE_V2", (current, f"{turned}/axis"), (f"{turned}/made",)))
                current, place = f"{turned}/made", turned
                continue
            node, *others = readers[place]
            if others:
                break
            if node.op in _PASSING:
                place = node.name
                continue
            sides = [None if _node_of(source) == place else value(source) for source in _tensors_of(node)]
            known = [item for item in sides if item is not None]
            if node.op not in _ARITHMETIC or len(sides) != 2 or len(known) != 1:
                break
            other = constant(f"{node.name}/constant", known[0].astype("float32"))
            tensors += [other, Tensor(f"{node.name}/made", shape, "float32")]
            ends = [current if item is None else other.name for item in sides]
            ops.append(Op(_ARITHMETIC[node.op], tuple(ends), (f"{node.name}/made",)))
            current, place = f"{node.name}/made", node.name
    return Graph({tensor.name: tensor for tensor in tensors}, tuple(ops), tuple(names), ())


def _constant_value(nodes: Mapping[str, tf.compat.v1.NodeDef], source: str) -> AnyArray | None:
    """The value of a constant that a node reads; None where it is computed."""
    from tensorflow.python.framework.tensor_util import MakeNdarray

    node = nodes.get(_node_of(source))
    # An offset that is a whole number, as in Rescaling(1 / 127.5, -1), is cast.
    while node is not None and node.op in _PASSING:
        node = nodes.get(_node_of(node.input[0]))
    return np.asarray(MakeNdarray(node.attr["value"].tensor)) if node is not None and node.op == "Const" else None


def _turned(
    readers: Mapping[str, Sequence[tf.compat.v1.NodeDef]], place: str, value: Callable[[str], AnyArray | None]
) -> str | None:
    """The node that stacks the channels of a picture the other way around, as Caffe's order needs it; None if none."""
    slices = readers[place]
    packs = {node.name for item in slices for node in readers.get(item.name, ())}
    if len(packs) != 1 or any(item.op != "StridedSlice" for item in slices):
        return None
    (pack,) = readers[slices[0].name]
    begins = {item.name: value(item.input[1]) for item in slices}
    if pack.op != "Pack" or pack.attr["axis"].i not in (-1, 3) or any(begin is None for begin in begins.values()):
        return None
    places = [int(np.asarray(begins[_node_of(source)])[-1]) for source in _tensors_of(pack)]
    return pack.name if len(places) > 1 and places == list(range(len(places)))[::-1] else None


def _tensors_of(node: tf.compat.v1.NodeDef) -> list[str]:
    """Returns the data inputs of a node, without those that it only waits for."""
    return [source for source in node.input if not source.startswith("^")]


def _node_of(source: str) -> str:
    return source.split(":", maxsplit=1)[0]


def renamed(graph: Graph, layers: Collection[str], input_names: Sequence[str], output_names: Sequence[str]) -> Graph:
    """Calls every tensor after the layer that it comes from, instead of the converter's path names.

    Args:
        graph: As the converter made it.
        layers: Names of layers; tensors of none of them are called after their op.
        input_names: Names of the graph's inputs, in order.
        output_names: Names of its outputs, in order.
    """
    names: dict[str, str] = dict(zip(graph.inputs, input_names, strict=True))
    taken = set(names.values())

    def give(tensor: str, wish: str) -> None:
        name = fresh_name(wish, taken, first=2)
        taken.add(name)
        names[tensor] = name

    for tensor, name in zip(graph.outputs, output_names, strict=True):
        if tensor not in names:
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
