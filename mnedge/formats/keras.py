"""Keras model to float Graph."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mnedge.formats.tensorflow import function_to_graph, renamed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras
    import tensorflow as tf

    from mnedge.graph.graph import Graph


def keras_to_graph(model: keras.Model) -> Graph:
    """Converts a Keras model whose input leaves only the batch open; see `keras_and_first_ops`."""
    return keras_and_first_ops(model, [(1, *entry.shape[1:]) for entry in model.inputs])[0]


def keras_and_first_ops(model: keras.Model, shapes: Sequence[tuple[int, ...]]) -> tuple[Graph, Graph]:
    """Converts a Keras model to a float Graph with batch 1.

    Args:
        model: A built `keras.Model` with one or more inputs and outputs.
        shapes: Shapes of the inputs in the order of `model.inputs`, batch 1.

    Returns:
        The graph. A single input is called "image", several are called as the model calls them; outputs and
        activations are called after the Keras layers that make them. Inputs and outputs stand in the order of
        `model.inputs` and `model.outputs`. Beside it, the arithmetic behind the inputs (see `function_to_graph`).
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    # A Sequential model takes its tensor bare.
    structure = getattr(model, "_inputs_struct", None)

    def call(*values: tf.Tensor) -> list[tf.Tensor]:
        fed = values[0] if structure is None else keras.tree.pack_sequence_as(structure, list(values))
        return list(keras.tree.flatten(model(fed, training=False)))

    inputs = [(shape, entry.dtype) for shape, entry in zip(shapes, model.inputs, strict=True)]
    graph, first = function_to_graph(call, inputs, model.name)
    every = model._flatten_layers()  # noqa: SLF001 - the only walk into nested models
    layers = {layer.name for layer in every if not hasattr(layer, "layers")}
    names = ["image"] if len(inputs) == 1 else [entry.name for entry in model.inputs]
    # A Sequential model has no names for its outputs.
    results = getattr(model, "output_names", None) or [layer.name for layer in model.layers[-1:]]
    return renamed(graph, layers, names, results), first
