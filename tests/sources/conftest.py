"""LiteRT on the graph that a source made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from mnedge.formats.tflite_write import write_tflite

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnedge.graph.graph import Graph


@pytest.fixture
def runs() -> Callable[..., list[Any]]:
    """Runs a graph, or a .tflite, on one array an input."""

    def run(model: Graph | bytes, *feeds: Any) -> list[Any]:
        data = model if isinstance(model, bytes) else write_tflite(model)
        interpreter = Interpreter(model_content=data)
        details = interpreter.get_input_details()
        for detail, value in zip(details, feeds, strict=True):
            interpreter.resize_tensor_input(detail["index"], value.shape)
        interpreter.allocate_tensors()
        for detail, value in zip(details, feeds, strict=True):
            interpreter.set_tensor(detail["index"], value.astype(detail["dtype"]))
        interpreter.invoke()
        return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]

    return run


@pytest.fixture
def picture() -> Any:
    """Random pixels, float32 (1, 16, 16, 3)."""
    return np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3)).astype(np.float32)
